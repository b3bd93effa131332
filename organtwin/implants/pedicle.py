"""Pedicle screws that come as surfaces: axis, length, diameters, tip and tulip measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from organtwin.errors import InputError
from organtwin.implants.implant import Implant, LocalFrame
from organtwin.implants.materials import ImplantMaterial, load_material
from organtwin.landmarks.fits import frame
from organtwin.mesh.repair import repair
from organtwin.mesh.surface_files import TriangleSurface, read_surface
from organtwin.mesh.vectors import unit

type Points = NDArray[np.float64]

#: Width (mm) of the slices along the axis in which a screw is measured.
SLICE = 1.0
#: Radius of the tulip against the shank's from which a slice belongs to it.
WIDE = 1.5
#: Share of the shank's slices, in its middle, whose radii make the diameters.
MIDDLE = (0.15, 0.85)
SURFACES = ("shank", "tulip")


@dataclass(frozen=True)
class Measured:
    """What was measured of a screw.

    Attributes:
        tip: Place of the tip on the axis (mm), shape (3,).
        entry: Where the axis leaves the tulip (mm), shape (3,).
        axis: Unit vector from tulip to tip, shape (3,).
        length: From entry to tip (mm).
        diameter: Outer diameter of the thread (mm): twice the 98th percentile of the distance of
            the surface from the axis, in the middle of the shank.
        core: Diameter of its core (mm): twice the 2nd percentile.
        tulip_diameter: Largest width of the tulip, through the axis (mm).
        tulip_height: Of the tulip (mm).
        residual: Root mean square distance (mm) of the middles of the shank's slices from the axis.
    """

    tip: Points
    entry: Points
    axis: Points
    length: float
    diameter: float
    core: float
    tulip_diameter: float
    tulip_height: float
    residual: float


def read_pedicle_screw(
    path: str | Path, *, material: str | ImplantMaterial = "Ti6Al4V"
) -> tuple[Implant, Measured]:
    """A pedicle screw from a surface of shank and tulip.

    The surface is repaired; its frame is that of `BoneScrew`: the origin where the axis leaves the
    tulip, z to the tip, x at the tulip's longest side. Its surfaces are ``shank`` and ``tulip``.

    Args:
        path: Surface file in mm.
        material: Name of its material in the catalogue, or a material.

    Raises:
        InputError: the file can't be read, or it has not the shape of a screw.
        MeshError: it can't be repaired.
    """
    file = Path(path)
    done = repair(read_surface(file, organ=False), place=str(file))
    found = measure(done.surface, str(file))
    surface = done.surface
    middles = surface.points[surface.triangles].mean(axis=1)
    along = (middles - found.entry) @ found.axis
    surface = TriangleSurface(
        surface.points, surface.triangles,
        triangle_values={"part": np.where(along > 0.0, 1, 2)}, names={"shank": 1, "tulip": 2},
    )  # fmt: skip
    made = load_material(material) if isinstance(material, str) else material
    head = (done.surface.points - found.entry) @ found.axis < 0.0
    away = done.surface.points[head] - found.entry
    away = away - (away @ found.axis)[:, None] * found.axis
    beside = away[np.argmax(np.linalg.norm(away, axis=1))]
    axes = frame(found.axis, beside)
    notes = [str(change) for change in done.changes]
    notes.append(f"Repair moved the surface by {done.hausdorff:.3f} mm at most.")
    implant = Implant(
        file.stem, "screw", surface, LocalFrame(found.entry, axes),
        {
            "entry": found.entry, "tip": found.tip,
            "head_top": found.entry - found.tulip_height * found.axis,
        },
        {"axis": found.axis}, made, None, None, tuple(notes),
    )  # fmt: skip
    return implant, found


def measure(surface: TriangleSurface, place: str = "screw") -> Measured:
    """Axis, lengths and diameters of a screw with a tulip.

    The axis is first that of inertia, then the line through the middles of circles fitted to the
    shank's slices.

    Raises:
        InputError: it has not the shape of a screw.
    """
    x = _sampled(surface)
    centre = x.mean(axis=0)
    axis = np.linalg.svd(x - centre, full_matrices=False)[2][0]
    along = (x - centre) @ axis
    radius = np.linalg.norm(x - centre - along[:, None] * axis, axis=1)
    # The tulip is the wide end.
    if radius[along > np.median(along)].mean() > radius[along < np.median(along)].mean():
        axis = -axis
    point, residual = centre, 0.0
    for _ in range(6):
        point, axis, residual = _line(x, point, axis, place)
    along = (x - point) @ axis
    radius = np.linalg.norm(x - point - along[:, None] * axis, axis=1)
    end = float(along.max())
    entry = _entry(along, radius, place)
    length = end - entry
    low, high = entry + MIDDLE[0] * length, entry + MIDDLE[1] * length
    shank = radius[(along > low) & (along < high)]
    core, outer = (2.0 * np.percentile(shank, share) for share in (2.0, 98.0))
    head = radius[along < entry]
    if length < outer or outer / core > 3.0:
        raise InputError(
            place, f"a shank of {length:.1f} mm with a thread of {outer:.1f} and a core of "
            f"{core:.1f} mm.", "Give a screw with shank and tulip.",
        )  # fmt: skip
    return Measured(
        point + end * axis, point + entry * axis, axis, length, float(outer), float(core),
        float(2.0 * head.max()), entry - float(along.min()), residual,
    )  # fmt: skip


def _sampled(surface: TriangleSurface) -> Points:
    """Vertices and middles of edges: the triangles' crests and roots."""
    corners = surface.points[surface.triangles]
    middles = 0.5 * (corners + np.roll(corners, 1, axis=1))
    return np.concatenate([surface.points[np.unique(surface.triangles)], middles.reshape(-1, 3)])


def _entry(along: Points, radius: Points, place: str) -> float:
    """Where the wide end ends, from the tulip towards the tip."""
    low, high = float(along.min()), float(along.max())
    edges = np.arange(low, high, 0.5 * SLICE)
    widest = np.array([radius[(along >= a) & (along < a + SLICE)].max(initial=0.0) for a in edges])
    shank = float(np.median(widest[edges > 0.5 * (low + high)]))
    wide = np.flatnonzero(widest > WIDE * shank)
    if not len(wide) or edges[wide[-1]] > 0.7 * high + 0.3 * low:
        raise InputError(place, "no tulip on one end only.", "Give a screw with shank and tulip.")
    # The last vertex that is wide, not the slice it lies in.
    near = (along < edges[wide[-1]] + SLICE) & (radius > WIDE * shank)
    return float(along[near].max())


def _line(x: Points, point: Points, axis: Points, place: str) -> tuple[Points, Points, float]:
    """Line through the middles of circles around the shank's slices, and their distance from it."""
    along = (x - point) @ axis
    high = along.max()
    low = along.min() + 0.45 * (high - along.min())
    across = frame(axis, np.eye(3)[np.argmin(np.abs(axis))])[:2]
    flat = (x - point) @ across.T
    middles = []
    for start in np.arange(low, high - 2.0 * SLICE, SLICE):
        own = flat[(along >= start) & (along < start + 3.0 * SLICE)]
        if len(own) < 12:
            continue
        fit = least_squares(
            lambda c, own=own: np.linalg.norm(own - c[:2], axis=1) - c[2],
            [*own.mean(axis=0), 2.0], loss="soft_l1",
        )  # fmt: skip
        middles.append(point + fit.x[:2] @ across + (start + 1.5 * SLICE) * axis)
    if len(middles) < 4:
        raise InputError(place, "its shank is too short.", "Give a screw with shank and tulip.")
    places = np.array(middles)
    centre = places.mean(axis=0)
    way = np.linalg.svd(places - centre)[2][0]
    way = unit(way if way @ axis > 0 else -way)
    off = places - centre - ((places - centre) @ way)[:, None] * way
    return centre, way, float(np.sqrt(np.mean(np.sum(off**2, axis=1))))
