"""Femoral heads in a label map, each from the femur and, independently, from its socket."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from scipy import ndimage
from skimage.measure import marching_cubes

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap
from organtwin.landmarks.femoral_head import find_head
from organtwin.landmarks.fits import SphereFit, fit_sphere
from organtwin.landmarks.record import (
    Confidence,
    Evidence,
    Landmark,
    Sphere,
    against,
    favouring,
)
from organtwin.mesh.surface_files import TriangleSurface

#: Smoothing before a surface is taken from a mask (voxels).
BLUR = 0.7
#: Joint space that lies between head and socket at most (mm), besides a voxel.
GAP = 6.0


def hip_landmarks(
    labels: LabelMap, given: Mapping[str, Landmark] | None = None
) -> tuple[Landmark, ...]:
    """Heads and sockets of both hips as far as they are labelled.

    Args:
        labels: Label map with ``femur_left``, ``hip_left``, ``femur_right``, ``hip_right``.
        given: Landmarks placed by a person; they replace those of the same name and aren't sought.
            A socket is sought around a head that was placed.

    Raises:
        InputError: there is no femur, or one without a head and none was placed.
    """
    sides = [side for side in ("left", "right") if f"femur_{side}" in labels.names]
    if not sides:
        raise InputError("hips", "no label `femur_left` or `femur_right`.", "Name the labels so.")
    known = dict(given or {})
    for side in sides:
        for landmark in _hip(labels, side, known):
            known.setdefault(landmark.name, landmark)
    return tuple(known.values())


def _hip(labels: LabelMap, side: str, known: Mapping[str, Landmark]) -> list[Landmark]:
    """Head and socket of one side; a head that a person placed isn't sought."""
    placed = known.get(f"femoral_head_{side}")
    evidence: list[Evidence] = []
    if placed is not None and isinstance(placed.geometry, Sphere):
        ball = placed.geometry
    else:
        fit, trust = find_head(surface_of(labels, f"femur_{side}"))
        ball = Sphere(fit.centre, fit.radius)
        voxel = float(np.mean(labels.spacing))
        evidence = [*trust.evidence, favouring("radius in voxels", fit.radius / voxel, 3.0)]
    socket = None if f"acetabulum_{side}" in known else _socket(labels, f"hip_{side}", ball)
    found = []
    if socket is not None:
        apart = float(np.linalg.norm(socket.centre - ball.centre))
        both = against("distance to the socket's centre", apart, 5.0, "mm")
        evidence.append(both)
        own = (
            against("distance from the sphere", socket.residual, 2.0, "mm"),
            both,
            against("gap to the head", socket.radius - ball.radius - 3.0, 4.0, "mm over 3"),
        )
        cup = Sphere(socket.centre, socket.radius)
        found.append(Landmark(f"acetabulum_{side}", cup, Confidence(own)))
    found.append(Landmark(f"femoral_head_{side}", ball, Confidence(tuple(evidence))))
    return found


def _socket(labels: LabelMap, name: str, head: Sphere) -> SphereFit | None:
    """Sphere through the hip bone's surface that faces the head."""
    if name not in labels.names or not labels.mask(name).any():
        return None
    surface = surface_of(labels, name)
    a, b, c = (surface.points[surface.triangles[:, k]] for k in range(3))
    middles, cross = (a + b + c) / 3.0, np.cross(b - a, c - a)
    away = middles - head.centre
    distance = np.linalg.norm(away, axis=1)
    size = np.maximum(np.linalg.norm(cross, axis=1), 1e-12)
    facing = -np.einsum("ij,ij->i", away, cross) / (np.maximum(distance, 1e-12) * size)
    reach = GAP + float(np.max(labels.spacing))
    near = (np.abs(distance - head.radius) < reach) & (facing > 0.7)
    if np.count_nonzero(near) < 30:
        return None
    return fit_sphere(middles[near], size[near])


def surface_of(labels: LabelMap, name: str) -> TriangleSurface:
    """Smooth closed surface of the largest part of a label, its normals outwards.

    Raises:
        InputError: the label has no voxels.
    """
    mask = labels.mask(name)
    found = ndimage.find_objects(mask.astype(np.int8))
    if not found:
        raise InputError("surface", f"the label `{name}` has no voxels.", "Segment it first.")
    part, count = ndimage.label(mask[found[0]])
    if count > 1:
        part = part == 1 + int(np.argmax(np.bincount(part.ravel())[1:]))
    soft = ndimage.gaussian_filter(np.pad(part > 0, 3).astype(np.float32), BLUR)
    points, triangles, _, _ = marching_cubes(soft, 0.5)  # type: ignore[no-untyped-call]
    low = np.array([axis.start for axis in found[0]]) - 3.0
    surface = TriangleSurface(labels.points(points + low), triangles.astype(np.int64))
    if surface.volume < 0.0:
        surface = TriangleSurface(surface.points, surface.triangles[:, ::-1])
    return surface


def surfaces_of(labels: LabelMap, names: Iterable[str]) -> TriangleSurface:
    """Surfaces of some labels in one, to look at; they may cut each other.

    Args:
        labels: Label map.
        names: Labels; those without voxels are left out, and if none is left, all are drawn.
    """
    there = [name for name in names if name in labels.names and labels.mask(name).any()]
    known = there or [name for name in labels.names if labels.mask(name).any()]
    parts = [surface_of(labels, name) for name in known]
    first = np.cumsum([0, *(len(part.points) for part in parts)])
    return TriangleSurface(
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.triangles + n for part, n in zip(parts, first, strict=False)]),
    )
