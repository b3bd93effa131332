"""Ventricles of muscle alone: their surfaces told by shape, their right free wall by distance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.closest import distances
from organtwin.mesh.defects import components, edges_of
from organtwin.mesh.vectors import lengths_of

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]
type Mask = NDArray[np.bool_]

#: Cosine of the angle to the base's normal, and distance from its plane in parts of an edge, up to
#: which a triangle belongs to the base.
FLAT, OFF = np.cos(np.radians(15.0)), 0.2
#: Parts that the normals' components are counted in, and rounds in which the plane is fitted.
BINS, ROUNDS = 12, 3
#: Least share of the surface that the base has, and that of a cavity.
LEAST_BASE, LEAST_CAVITY = 0.01, 0.03


def surfaces_by_shape(points: Points, triangles: Index, place: str) -> dict[str, Mask]:
    """Tell base, epicardium and endocardia of ventricles with a flat base apart.

    The base is the largest flat part of the surface. Of the pieces that it separates the largest is
    the epicardium, the others are endocardia: that of the left ventricle is the one with the
    thicker wall, judged by the lower quartile of its distance from the epicardium.

    Args:
        points: Vertices (mm), shape (n, 3).
        triangles: Surface of the muscle, shape (m, 3).
        place: Section of the case file, for messages.

    Returns:
        ``base``, ``epi``, ``lv_endo`` and, of two ventricles, ``rv_endo`` → which triangles, (m,).

    Raises:
        InputError: there is no flat base that separates them.
    """
    base = _flat_part(points, triangles)
    corners = points[triangles]
    area = lengths_of(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    piece = np.full(len(triangles), -1)
    piece[~base] = components(edges_of(triangles[~base]))
    size = np.bincount(piece[~base], area[~base]) / area.sum()
    order = np.argsort(-size, kind="stable")
    cavities = [k for k in order[1:3] if size[k] > LEAST_CAVITY]
    if area[base].sum() < LEAST_BASE * area.sum() or not cavities:
        raise InputError(
            place,
            "the surfaces of the ventricles can't be told by shape: no flat base parts them.",
            "Keep the blood in the mesh and name it as `lv_blood` and `rv_blood`.",
        )
    epi = piece == order[0]
    thickness = [_thickness(points, triangles[piece == k], triangles[epi]) for k in cavities]
    cavities = [cavities[k] for k in np.argsort(thickness)[::-1]]
    found = {"epi": epi, "lv_endo": piece == cavities[0]}
    if len(cavities) > 1:
        found["rv_endo"] = piece == cavities[1]
    found["base"] = ~np.any(list(found.values()), axis=0)
    return found


def in_free_wall(places: Points, points: Points, surfaces: Mapping[str, Index]) -> Mask:
    """Which places lie in the free wall of the right ventricle.

    Each lies between two of the surfaces ``lv_endo``, ``rv_endo`` and ``epi``; the third is the
    farthest. Where it is that of the left ventricle, it is the right free wall.

    Args:
        places: Where (mm), shape (n, 3).
        points: Vertices (mm).
        surfaces: Triangles of the three surfaces.
    """
    away = [distances(places, points, surfaces[name]) for name in ("lv_endo", "rv_endo", "epi")]
    return np.asarray(np.argmax(away, axis=0) == 0)


def _flat_part(points: Points, triangles: Index) -> Mask:
    """Triangles of the plane that has most of them."""
    corners = points[triangles]
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = lengths_of(doubled)
    normals = doubled / np.maximum(area, 1e-300)[:, None]
    # A normal and its opposite are the same: of a sorted triangle the sign has no meaning.
    leading = normals[np.arange(len(normals)), np.abs(normals).argmax(axis=1)]
    normals *= np.sign(leading)[:, None]
    edge = np.sqrt(np.median(area) * 2.0 / np.sqrt(3.0))
    middles = corners.mean(axis=1)
    kinds, which = np.unique(np.round(normals * BINS), axis=0, return_inverse=True)
    best, most = np.zeros(len(triangles), bool), 0.0
    for k in np.argsort(-np.bincount(which.ravel(), area, len(kinds)))[:BINS]:
        inside = which.ravel() == k
        for _ in range(ROUNDS):
            normal = normals[inside].T @ area[inside]
            normal /= np.linalg.norm(normal)
            alike = np.abs(normals @ normal) > FLAT
            height = middles @ normal
            inside = alike & (
                np.abs(height - _level(height[alike], area[alike], edge)) < OFF * edge
            )
        if area[inside].sum() > most:
            best, most = inside, float(area[inside].sum())
    return best


def _level(height: Points, area: Points, edge: float) -> float:
    """Height at which most of the area lies."""
    bins = np.floor((height - height.min()) / (OFF * edge)).astype(np.int64)
    top = int(np.argmax(np.convolve(np.bincount(bins, area), [1.0, 1.0])))
    near = np.isin(bins, (top - 1, top))
    return float(np.average(height[near], weights=area[near]))


def _thickness(points: Points, inner: Index, outer: Index) -> float:
    """Lower quartile of the distance between two surfaces (mm)."""
    return float(np.quantile(distances(points[np.unique(inner)], points, outer), 0.25))
