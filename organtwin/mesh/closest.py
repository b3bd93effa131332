"""Nearest places on a surface of triangles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

type Points = NDArray[np.float64]
type Triangles = NDArray[np.int64]

#: Triangles looked at for each place: those with the nearest middles.
CANDIDATES = 12
#: Places handled at once, which bounds the memory.
BATCH = 200_000


def closest_on_triangles(
    places: Points, points: Points, triangles: Triangles, candidates: int = CANDIDATES
) -> tuple[Points, NDArray[np.int64]]:
    """Nearest place on a surface, searched on the triangles with the nearest middles.

    Where triangles are of very different size the nearest one may not be among these; the distance
    then found is too large, never too small.

    Args:
        places: Where from (mm), shape (n, 3).
        points: Vertices of the surface (mm), shape (v, 3).
        triangles: Vertex indices, shape (m, 3), at least one.
        candidates: Triangles looked at for each place.

    Returns:
        Places on the surface (mm), (n, 3), and their triangles, (n,).
    """
    corners = points[triangles]
    tree = cKDTree(corners.mean(axis=1))
    number = min(candidates, len(triangles))
    found, owner = np.empty_like(places), np.empty(len(places), np.int64)
    for first in range(0, len(places), BATCH):
        part = slice(first, first + BATCH)
        near = np.asarray(tree.query(places[part], number)[1]).reshape(-1, number)
        feet = _on_triangles(places[part, None], corners[near])
        best = np.argmin(np.sum((feet - places[part, None]) ** 2, axis=2), axis=1)
        rows = np.arange(len(best))
        found[part], owner[part] = feet[rows, best], near[rows, best]
    return found, owner


def distances(places: Points, points: Points, triangles: Triangles) -> NDArray[np.float64]:
    """Distance (mm) of each place from a surface, see `closest_on_triangles`, shape (n,)."""
    nearest, _ = closest_on_triangles(places, points, triangles)
    return np.asarray(np.linalg.norm(places - nearest, axis=1))


def _on_triangles(p: Points, corners: Points) -> Points:
    """Nearest place of triangles, by the regions of Voronoi of vertices, edges and the inside.

    Args:
        p: Places, shape (..., 3), broadcast against the triangles.
        corners: Vertices of the triangles, shape (..., 3, 3).

    Source:
        Ericson (2005), Real-Time Collision Detection, section 5.1.5.
    """
    a, b, c = (corners[..., k, :] for k in range(3))
    ab, ac = b - a, c - a
    d1, d2 = _dot(ab, p - a), _dot(ac, p - a)
    d3, d4 = _dot(ab, p - b), _dot(ac, p - b)
    d5, d6 = _dot(ab, p - c), _dot(ac, p - c)
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    # Barycentric weights (v, w) of b and c; each case overwrites those tested after it.
    total = va + vb + vc
    inside = np.where(total > 0.0, total, 1.0)
    v, w = vb / inside, vc / inside
    beyond_bc = (va <= 0.0) & (d4 >= d3) & (d5 >= d6) | (total <= 0.0)
    t = _part(d4 - d3, d5 - d6)
    v, w = np.where(beyond_bc, 1.0 - t, v), np.where(beyond_bc, t, w)
    beyond_ac = (vb <= 0.0) & (d2 >= 0.0) & (d6 <= 0.0)
    v, w = np.where(beyond_ac, 0.0, v), np.where(beyond_ac, _part(d2, -d6), w)
    at_c = (d6 >= 0.0) & (d5 <= d6)
    v, w = np.where(at_c, 0.0, v), np.where(at_c, 1.0, w)
    beyond_ab = (vc <= 0.0) & (d1 >= 0.0) & (d3 <= 0.0)
    v, w = np.where(beyond_ab, _part(d1, -d3), v), np.where(beyond_ab, 0.0, w)
    at_b = (d3 >= 0.0) & (d4 <= d3)
    v, w = np.where(at_b, 1.0, v), np.where(at_b, 0.0, w)
    at_a = (d1 <= 0.0) & (d2 <= 0.0)
    v, w = np.where(at_a, 0.0, v), np.where(at_a, 0.0, w)
    return np.asarray(a + v[..., None] * ab + w[..., None] * ac)


def _part(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part of x in x + y, 0 where both vanish, kept within 0 and 1."""
    total = x + y
    return np.clip(x / np.where(total == 0.0, 1.0, total), 0.0, 1.0)


def _dot(x: Points, y: Points) -> NDArray[np.float64]:
    return np.asarray(np.einsum("...i,...i->...", x, y))
