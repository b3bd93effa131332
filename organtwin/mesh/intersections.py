"""Pairs of triangles that cut each other, found by a tree of boxes and decided exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

_EPS = np.finfo(np.float64).eps / 2
#: Parts of the permanent by which rounding can change determinants of differences, themselves
#: rounded; doubled, as the sums below are taken in another order than in the source.
_BOUND_3D = 2.0 * (7.0 + 56.0 * _EPS) * _EPS
_BOUND_2D = 2.0 * (3.0 + 16.0 * _EPS) * _EPS
#: Candidate pairs that are decided at a time, which bounds the memory.
_CHUNK = 200_000
#: Vertices of the edge opposite each corner, in the order of the triangle.
_OPPOSITE = ((1, 2), (2, 0), (0, 1))


def intersecting_pairs(
    points: Points, triangles: Index, among: NDArray[np.bool_] | None = None
) -> Index:
    """Pairs of triangles that meet elsewhere than in the vertices and edges they share.

    Triangles that touch count, for a volume mesher can't fill around them; triangles in one plane
    count where they overlap by an area. Triangles with the same three vertices, and triangles
    without area, are left out: they are duplicates and degenerate. Orientations are exact: signs
    that rounding could change are computed again with whole numbers.

    Args:
        points: Vertices (mm), shape (n, 3).
        triangles: Vertex indices, shape (m, 3).
        among: Triangles of which each pair must have one, all without it, shape (m,).

    Returns:
        Indices of triangles, the smaller one first, sorted, shape (k, 2).

    Source:
        Shewchuk (1997), Discrete Comput Geom 18:305-363, for the bounds of rounding.
    """
    sound = np.flatnonzero(_has_area(points, triangles))
    corners = triangles[sound]
    pairs = box_pairs(points[corners].min(axis=1), points[corners].max(axis=1))
    if among is not None:
        pairs = pairs[among[sound][pairs].any(axis=1)]
    found = [
        part[_meet(points, corners[part[:, 0]], corners[part[:, 1]])]
        for part in np.array_split(pairs, max(1, len(pairs) // _CHUNK))
    ]
    result = np.sort(sound[np.concatenate(found)], axis=1)
    return np.asarray(result[np.lexsort(result.T[::-1])])


def box_pairs(low: Points, high: Points) -> Index:
    """Pairs of boxes that overlap, by a tree whose levels are walked through at once.

    Args:
        low: Lower corners, shape (m, 3) or (m, 2).
        high: Upper corners, of the same shape.

    Returns:
        Pairs of different boxes, each once, shape (k, 2).
    """
    if len(low) < 2:
        return np.empty((0, 2), np.int64)
    order = _along_curve(0.5 * (low + high))
    levels = [_Level(low[order], high[order])]
    while len(levels[-1].low) > 1:
        levels.append(levels[-1].joined())
    pairs = np.zeros((1, 2), np.int64)
    for level in reversed(levels[:-1]):
        pairs = _children(pairs, len(level.low))
        pairs = pairs[level.overlap(pairs)]
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return np.asarray(order[pairs])


class _Level:
    """Boxes of one level of the tree; box k has the boxes 2k and 2k + 1 below it."""

    def __init__(self, low: Points, high: Points) -> None:
        self.low, self.high = low, high

    def joined(self) -> _Level:
        starts = np.arange(0, len(self.low), 2)
        return _Level(np.minimum.reduceat(self.low, starts), np.maximum.reduceat(self.high, starts))

    def overlap(self, pairs: Index) -> NDArray[np.bool_]:
        one, two = pairs.T
        apart = (self.low[one] > self.high[two]) | (self.low[two] > self.high[one])
        return np.asarray(~apart.any(axis=1))


def _children(pairs: Index, number: int) -> Index:
    """Pairs of the boxes below; of a box with itself its two halves and their pair."""
    one, two = pairs.T
    steps = [
        np.stack([2 * one + i, 2 * two + j], axis=1)[(one != two) | (i <= j)]
        for i in (0, 1)
        for j in (0, 1)
    ]
    below = np.concatenate(steps)
    return np.asarray(below[(below < number).all(axis=1)])


def _along_curve(centres: Points) -> Index:
    """Order in which boxes next to each other lie close in space."""
    low, high = centres.min(axis=0), centres.max(axis=0)
    scaled = (centres - low) / max(float((high - low).max()), 1e-300)
    # The order of Morton: the bits of the three coordinates interleaved.
    cell = np.minimum((scaled * 2**20).astype(np.uint64), np.uint64(2**20 - 1))
    code = np.zeros(len(centres), np.uint64)
    for bit in range(20):
        for axis in range(centres.shape[1]):
            place = np.uint64(3 * bit + axis)
            code |= ((cell[:, axis] >> np.uint64(bit)) & np.uint64(1)) << place
    return np.argsort(code, kind="stable")


def _has_area(points: Points, triangles: Index) -> NDArray[np.bool_]:
    different = (
        (triangles[:, 0] != triangles[:, 1])
        & (triangles[:, 1] != triangles[:, 2])
        & (triangles[:, 2] != triangles[:, 0])
    )
    flat = np.ones(len(triangles), bool)
    for axis in range(3):
        kept = [k for k in range(3) if k != axis]
        corner = [points[triangles[:, k]][:, kept] for k in range(3)]
        flat &= orientation_2d(*corner) == 0
    return np.asarray(different & ~flat)


def _meet(points: Points, one: Index, two: Index) -> NDArray[np.bool_]:
    """Whether triangles meet beyond what they share, (k,)."""
    same = one[:, :, None] == two[:, None, :]
    shared = same.sum(axis=(1, 2))
    result = np.zeros(len(one), bool)
    near = np.flatnonzero(shared < 3)
    sides_two = _sides(points, one[near], two[near])
    open_ = ~_beyond(sides_two, shared[near])
    near, sides_two = near[open_], sides_two[open_]
    sides_one = _sides(points, two[near], one[near])
    flat = (sides_two == 0).all(axis=1)
    result[near[flat]] = _overlap_in_plane(points, one[near[flat]], two[near[flat]])
    cross = ~flat & ~_beyond(sides_one, shared[near]) & (shared[near] < 2)
    near, sides_one, sides_two = near[cross], sides_one[cross], sides_two[cross]
    found = np.zeros(len(near), bool)
    for first, second, sides in ((one, two, sides_two), (two, one, sides_one)):
        for start, end in _OPPOSITE:
            found |= _pierces(points, first[near], second[near], sides, start, end)
    result[near] |= found
    return result


def _sides(points: Points, one: Index, two: Index) -> NDArray[np.int8]:
    """Side of each corner of ``two`` on the plane of ``one``, (k, 3)."""
    sides = np.zeros(two.shape, np.int8)
    for k in range(3):
        apart = np.flatnonzero((two[:, k, None] != one).all(axis=1))
        a, b, c = (points[one[apart, i]] for i in range(3))
        sides[apart, k] = orientation_3d(a, b, c, points[two[apart, k]])
    return sides


def _beyond(sides: NDArray[np.int8], shared: Index) -> NDArray[np.bool_]:
    """Whether all corners but the shared ones lie strictly on one side."""
    above, below = (sides > 0).sum(axis=1), (sides < 0).sum(axis=1)
    return np.asarray(np.maximum(above, below) == 3 - shared)


def _pierces(
    points: Points, face: Index, other: Index, sides: NDArray[np.int8], start: int, end: int
) -> NDArray[np.bool_]:
    """Whether the edge of ``other`` from ``start`` to ``end`` meets ``face``."""
    one, two = sides[:, start], sides[:, end]
    at_start = (other[:, start, None] == face).any(axis=1)
    at_end = (other[:, end, None] == face).any(axis=1)
    crosses = (one.astype(int) * two <= 0) & ((one != 0) | (two != 0)) & ~at_start & ~at_end
    result = np.zeros(len(face), bool)
    where = np.flatnonzero(crosses)
    p, q = points[other[where, start]], points[other[where, end]]
    a, b, c = (points[face[where, k]] for k in range(3))
    turns = np.stack([orientation_3d(p, q, *edge) for edge in ((a, b), (b, c), (c, a))], axis=1)
    result[where] = (turns >= 0).all(axis=1) | (turns <= 0).all(axis=1)
    return result


def _overlap_in_plane(points: Points, one: Index, two: Index) -> NDArray[np.bool_]:
    """Whether triangles in one plane share an area: no edge has the other on its outer side."""
    a, b, c = (points[one[:, k]] for k in range(3))
    drop = np.abs(np.cross(b - a, c - a)).argmax(axis=1)
    kept = np.array([[1, 2], [0, 2], [0, 1]])[drop]
    rows = np.arange(len(one))[:, None]
    first = [points[one[:, k]][rows, kept] for k in range(3)]
    second = [points[two[:, k]][rows, kept] for k in range(3)]
    overlap = np.ones(len(one), bool)
    for face, other in ((first, second), (second, first)):
        inner = orientation_2d(*face)
        for start, end in ((0, 1), (1, 2), (2, 0)):
            side = np.stack([orientation_2d(face[start], face[end], x) for x in other], axis=1)
            overlap &= ~(side * inner[:, None] <= 0).all(axis=1)
    return overlap


def orientation_3d(a: Points, b: Points, c: Points, d: Points) -> NDArray[np.int8]:
    """Sign of the volume of tetrahedra a, b, c, d (shape (k, 3) each), exact."""
    u, v, w = b - a, c - a, d - a
    vx, vy, vz = v.T
    wx, wy, wz = w.T
    minors = (vy * wz - vz * wy, vz * wx - vx * wz, vx * wy - vy * wx)
    det = u[:, 0] * minors[0] + u[:, 1] * minors[1] + u[:, 2] * minors[2]
    size = (
        np.abs(u[:, 0]) * (np.abs(vy * wz) + np.abs(vz * wy))
        + np.abs(u[:, 1]) * (np.abs(vz * wx) + np.abs(vx * wz))
        + np.abs(u[:, 2]) * (np.abs(vx * wy) + np.abs(vy * wx))
    )
    sign = np.sign(det).astype(np.int8)
    unsure = np.flatnonzero((np.abs(det) <= _BOUND_3D * size) & (size > 0))
    if len(unsure):
        sign[unsure] = _exact_3d(*(x[unsure] for x in (a, b, c, d)))
    return sign


def orientation_2d(a: Points, b: Points, c: Points) -> NDArray[np.int8]:
    """Sign of the area of triangles a, b, c (shape (k, 2) each), exact."""
    u, v = b - a, c - a
    left, right = u[:, 0] * v[:, 1], u[:, 1] * v[:, 0]
    sign = np.sign(left - right).astype(np.int8)
    size = np.abs(left) + np.abs(right)
    unsure = np.flatnonzero((np.abs(left - right) <= _BOUND_2D * size) & (size > 0))
    if len(unsure):
        p, q, r = _whole(np.stack([x[unsure] for x in (a, b, c)]))
        u, v = q - p, r - p
        sign[unsure] = _signs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    return sign


def _exact_3d(*corners: Points) -> NDArray[np.int8]:
    a, b, c, d = _whole(np.stack(corners))
    u, v, w = (x - a for x in (b, c, d))
    det = (
        u[:, 0] * (v[:, 1] * w[:, 2] - v[:, 2] * w[:, 1])
        + u[:, 1] * (v[:, 2] * w[:, 0] - v[:, 0] * w[:, 2])
        + u[:, 2] * (v[:, 0] * w[:, 1] - v[:, 1] * w[:, 0])
    )
    return _signs(det)


def _whole(x: Points) -> NDArray[np.object_]:
    """Coordinates as whole numbers of the smallest unit among them, without rounding."""
    mantissa, exponent = np.frexp(x)
    digits = (mantissa * 2.0**53).astype(np.int64).astype(object)
    shift = np.where(x == 0, 0, exponent - exponent[x != 0].min(initial=0))
    return np.asarray(digits * (2 ** shift.astype(object)))


def _signs(values: NDArray[np.object_]) -> NDArray[np.int8]:
    return np.array([(v > 0) - (v < 0) for v in values], np.int8)
