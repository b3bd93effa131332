"""How far a tetrahedron is from flat, as one number that all improvements raise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Weight of the sine of obtuse angles: 165° count as much as 10.4°.
OBTUSE = 0.7
#: Number of tetrahedra looked at in one go, which then stay in the cache.
_CHUNK = 16384


def shape_of(angle: float) -> float:
    """Shape of a tetrahedron whose smallest angle (degrees) is its worst."""
    return float(np.sin(np.radians(angle)))


def shapes(points: Points, cells: Index) -> Points:
    """Shape of each cell: the least sine of its dihedral angles, obtuse ones weighted, signed.

    Args:
        points: Vertices (mm), shape (n, 3).
        cells: Vertex indices, shape (m, 4).

    Returns:
        At most 0.94; zero for flat, negative for inverted cells; shape (m,).

    Source:
        Klingner & Shewchuk (2007), 16th International Meshing Roundtable, section 2 (the
        minimum sine with obtuse angles weighted by 0.7).
    """
    result = np.empty(len(cells))
    for start in range(0, len(cells), _CHUNK):
        part = slice(start, start + _CHUNK)
        a, b, c, d = (points[cells[part, k]].T for k in range(4))
        result[part] = shapes_at(a, b, c, d)
    return result


def shapes_at(a: Points, b: Points, c: Points, d: Points) -> Points:
    """Shape of cells by the coordinates (mm) of their four vertices, each of shape (3, m).

    With N_i the normals of the faces opposite to the vertices, as long as twice their areas, V the
    volume and l the edge common to faces i and j: sin θ = 6 V l / (|N_i| |N_j|).
    """
    u, v, w = b - a, c - a, d - a
    nb, nc, nd = _cross(v, w), _cross(w, u), _cross(u, v)
    na = -(nb + nc + nd)
    volume = _dot(u, nb)
    inverse = [1.0 / np.sqrt(np.maximum(_dot(n, n), 1e-60)) for n in (na, nb, nc, nd)]
    worst = np.full(volume.shape, np.inf)
    for (i, m), (j, n), edge in (
        ((0, na), (1, nb), w - v), ((0, na), (2, nc), w - u), ((0, na), (3, nd), v - u),
        ((1, nb), (2, nc), w), ((1, nb), (3, nd), v), ((2, nc), (3, nd), u),
    ):  # fmt: skip
        sine = np.sqrt(_dot(edge, edge)) * (inverse[i] * inverse[j])
        np.minimum(worst, np.where(_dot(m, n) > 0, OBTUSE * sine, sine), out=worst)
    # For inverted cells the largest of the six would do as well: only the sign matters.
    return np.asarray(worst * volume)


def _cross(u: Points, v: Points) -> Points:
    return np.stack([
        u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]
    ])  # fmt: skip


def _dot(u: Points, v: Points) -> Points:
    return np.asarray(u[0] * v[0] + u[1] * v[1] + u[2] * v[2])
