"""Plane sections of a closed triangle surface: outlines with their area and centre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from organtwin.landmarks.fits import frame
from organtwin.mesh.surface_files import TriangleSurface

type Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Outlines:
    """What a plane cuts out of a closed surface.

    Attributes:
        areas: Area inside each outline, negative around a hollow (mm²), shape (n,).
        centres: Centroid of each (mm), shape (n, 3).
        segments: Ends of the pieces of all outlines (mm), shape (m, 2, 3).
        outline: Number of the outline of each piece, shape (m,).
    """

    areas: Vector
    centres: Vector
    segments: Vector
    outline: NDArray[np.int64]

    def nearest(self, point: Vector) -> tuple[float, Vector]:
        """Area and centroid of the outline that is nearest to a point; nothing and NaN of none."""
        whole = np.flatnonzero(self.areas > 0.0)
        if not len(whole):
            return 0.0, np.full(3, np.nan)
        middle = self.segments.mean(axis=1)
        distance = np.full(len(self.areas), np.inf)
        np.minimum.at(distance, self.outline, np.linalg.norm(middle - point, axis=1))
        centre = np.linalg.norm(self.centres - point, axis=1)
        best = whole[np.argmin(np.minimum(distance, centre)[whole])]
        return float(self.areas[best]), self.centres[best]


def cut(surface: TriangleSurface, point: Vector, normal: Vector) -> Outlines:
    """Section of a closed surface whose triangles face outwards.

    Area and centroid follow from Green's theorem over the pieces, so nothing needs sorting.

    Args:
        surface: Closed surface.
        point: A point of the plane (mm), shape (3,).
        normal: Normal of the plane, shape (3,).
    """
    axes = frame(normal)
    height = (surface.points - point) @ axes[2]
    # What lies in the plane counts as above, so each triangle is cut in two edges or in none.
    above = height >= 0.0
    number = above[surface.triangles].sum(axis=1)
    triangles = surface.triangles[(number == 1) | (number == 2)]
    if not len(triangles):
        return Outlines(np.zeros(0), np.zeros((0, 3)), np.zeros((0, 2, 3)), np.zeros(0, int))
    edges = triangles[:, [[0, 1], [1, 2], [2, 0]]]
    crossed = above[edges[..., 0]] != above[edges[..., 1]]
    # From the edge that leads down to the one that leads up the interior is on the left.
    up = edges[crossed & above[edges[..., 1]]]
    down = edges[crossed & above[edges[..., 0]]]
    pairs = np.stack([down, up], axis=1)
    low, high = height[pairs[..., 0]], height[pairs[..., 1]]
    share = (low / (low - high))[..., None]
    segments = surface.points[pairs[..., 0]] * (1.0 - share) + surface.points[pairs[..., 1]] * share
    outline = _joined(np.sort(pairs, axis=2), len(surface.points))
    return _measured(segments, outline, point, axes)


def _joined(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Number of the outline of each piece; pieces with a mesh edge in common belong together."""
    keys = pairs[..., 0] * np.int64(count) + pairs[..., 1]
    unique, number = np.unique(keys, return_inverse=True)
    number = number.reshape(keys.shape)
    graph = sparse.coo_matrix(
        (np.ones(len(number)), (number[:, 0], number[:, 1])), shape=(len(unique), len(unique))
    )
    label = connected_components(graph, directed=False)[1]
    return np.asarray(label[number[:, 0]], np.int64)


def _measured(
    segments: Vector, outline: NDArray[np.int64], point: Vector, axes: Vector
) -> Outlines:
    flat = (segments - point) @ axes[:2].T
    a, b = flat[:, 0], flat[:, 1]
    cross = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    areas = 0.5 * np.bincount(outline, cross)
    moments = np.stack(
        [np.bincount(outline, cross * (a[:, k] + b[:, k])) / 6.0 for k in range(2)], axis=1
    )
    safe = np.where(np.abs(areas) > 1e-9, areas, 1.0)
    centres = point + (moments / safe[:, None]) @ axes[:2]
    return Outlines(areas, centres, segments, outline)
