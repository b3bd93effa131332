"""Deployed valves whose indices are known: round frames in round tubes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from organtwin.devices.device_files import load_device
from organtwin.devices.frame import Part, build
from organtwin.devices.tissue_contact import Pressed
from organtwin.tavr.deployed import Deployed
from organtwin.tavr.root_record import Coronary, RootRecord

#: Depth of the frame's inflow below the annulus (mm).
DEPTH = 4.0


def tube(radius, low, high, around=120, along=30):
    """Triangles of a cylinder about z whose normals point to its axis."""
    turn = np.arange(around) * 2 * np.pi / around
    heights = np.linspace(low, high, along + 1)
    ring = radius * np.column_stack([np.cos(turn), np.sin(turn)])
    points = np.concatenate([np.column_stack([ring, np.full(around, z)]) for z in heights])
    i, k = np.meshgrid(np.arange(around), np.arange(along))
    a, b = (i + k * around).ravel(), ((i + 1) % around + k * around).ravel()
    up = around
    return points, np.concatenate([np.stack([a, b + up, b], 1), np.stack([a, a + up, b + up], 1)])


def patch(points, triangles, chosen):
    """Some of the triangles with the points that they use."""
    used, at = np.unique(triangles[chosen], return_inverse=True)
    return points[used], at.reshape(-1, 3)


def root(radius=12.86, **changes):
    """A round root, the annulus at z = 0 and the right cusp along x."""
    area, around = np.pi * radius**2, 2 * np.pi * radius
    ostia = {
        "right": Coronary(np.array([radius, 0.0, 14.0]), 4.0, 12.0),
        "left": Coronary(np.array([-radius, 0.0, 14.0]), 3.0, 12.5),
    }
    made = RootRecord(
        origin=np.zeros(3), axes=np.eye(3), annulus_area=area, annulus_perimeter=around,
        junction_height=20.0, coronaries=ostia, septum_direction=0.5 * np.pi, septum_below=2.1,
    )  # fmt: skip
    return replace(made, **changes)


@cache
def made_of(name, size):
    """A device and its frame."""
    made = load_device(name, size)
    return made, build(made.pattern, 4, Part.WHOLE).mesh


def deployed(device=("sapien3_like", "26"), radius=12.86, stretch=(1.0, 1.0, 1.0), depth=DEPTH,
             pressed=None, **changes):  # fmt: skip
    """A frame about z in a tube, its inflow below the annulus by a depth (mm)."""
    made, mesh = made_of(*device)
    m = len(mesh.ends)
    points, triangles = tube(radius, -15.0, 45.0)
    middle = points[triangles].mean(axis=1)
    turn = np.arctan2(middle[:, 1], middle[:, 0])
    septum = (np.abs(turn - 0.5 * np.pi) * radius < 5.1) & (np.abs(middle[:, 2] - 1.2) < 3.3)
    right, left = (np.linalg.norm(middle - at, axis=1) < 2.0 for at in
                   (np.array([radius, 0, 14.0]), np.array([-radius, 0, 14.0])))  # fmt: skip
    inner = ~(septum | right | left)
    surfaces = {
        name: patch(points, triangles, here)
        for name, here in (("inner", inner), ("ostium_right", right), ("ostium_left", left),
                           ("membranous_septum", septum))
    }  # fmt: skip
    none = np.zeros((0, 3))
    empty = Pressed(none, np.zeros(0), np.zeros(0), np.zeros(0))
    felt = pressed or empty
    valve = Deployed(
        device=made.name.rpartition(" ")[0], size=device[1], family=made.family,
        nominal=made.nominal, skirt=made.skirt, friction=0.2,
        nodes=mesh.points * stretch - [0.0, 0.0, depth], rest=mesh.points, ends=mesh.ends,
        thickness=np.full(m, made.struts.thickness), width=np.full(m, 0.4),
        strain=np.tile([-0.01, 0.02], (m, 1)), placement_centre=np.zeros(3),
        placement_axes=np.eye(3), pressed=felt, pressed_width=np.full(len(felt.places), 0.4),
        surfaces=surfaces, surfaces_before={name: one[0] for name, one in surfaces.items()},
    )  # fmt: skip
    return replace(valve, **changes)
