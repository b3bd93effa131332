"""Edges and faces taken out of a tetrahedral mesh where other cells fill their place better."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from organtwin.mesh.conforming.batches import (
    EDGES,
    OPPOSITE,
    Changes,
    Mask,
    Patch,
    joined,
    neighbours,
    none,
)
from organtwin.mesh.conforming.cell_shape import Index, Points, shapes
from organtwin.mesh.conforming.vertex_moves import RISE

#: Edges with more vertices around them stay: filling these polygons anew is seldom better.
LARGEST_RING = 8
#: Region of what lies outside the mesh.
_OUTSIDE = -1


@dataclass(frozen=True)
class _Rings:
    """Edges with as many vertices around them, in turn from ``a`` to ``b`` to the right."""

    ends: Index  # (e, 2)
    ring: Index  # (e, m)
    cells: Index  # (e, m): the cell between each vertex of the ring and the next, -1 outside
    regions: Index  # (e, m): its region


def remove_faces(patch: Patch, bad: Mask, goal: float) -> Changes:
    """Three cells around a new edge instead of two at a face (2-3 swap), inside regions.

    Args:
        patch: Cells.
        bad: Cells whose faces are tried, shape (m,).
        goal: Shape that is good enough.
    """
    beyond = neighbours(patch.cells)
    cell, corner = np.nonzero((beyond >= 0) & bad[:, None])
    other = beyond[cell, corner]
    use = (patch.regions[cell] == patch.regions[other]) & ~(bad[other] & (other < cell))
    cell, corner, other = cell[use], corner[use], other[use]
    if not len(cell):
        return none()
    face = patch.cells[cell[:, None], OPPOSITE[corner]]
    a = patch.cells[cell, corner]
    b = patch.cells[other].sum(axis=1) - face.sum(axis=1)
    new = np.stack([
        np.stack([a, b, face[:, k], face[:, (k + 1) % 3]], axis=1) for k in range(3)
    ], axis=1)  # fmt: skip
    shape = shapes(patch.points, patch.cells)
    before = np.minimum(shape[cell], shape[other])
    after = shapes(patch.points, new.reshape(-1, 4)).reshape(-1, 3).min(axis=1)
    gain = np.minimum(after, goal) - before
    return _chosen(np.stack([cell, other], axis=1), new, patch.regions[cell][:, None], gain)


def remove_edges(patch: Patch, bad: Mask, goal: float) -> tuple[Changes, Changes]:
    """Edges of bad cells replaced by the best triangulation of the polygon around each.

    Inside a region that takes the edge out (3-2, 4-4 and wider swaps). An edge on an interface
    that separates two regions is turned into the other diagonal of its two triangles, where that
    stays within reach of the old interface.

    Args:
        patch: Cells.
        bad: Cells whose edges are tried, shape (m,).
        goal: Shape that is good enough.

    Returns:
        Changes inside regions, and changes of interfaces.

    Source:
        Shewchuk (2002), Two discrete optimization algorithms for the topological improvement of
        tetrahedral meshes (edge removal by the best triangulation of the ring).
    """
    inside, across = [none()], [none()]
    shape = shapes(patch.points, patch.cells)
    taken = _interface_edges(patch)
    for rings in _rings(patch, bad):
        m = rings.ring.shape[1]
        border = rings.regions != np.roll(rings.regions, 1, axis=1)
        quiet = ~border.any(axis=1) & (rings.regions[:, 0] != _OUTSIDE)
        inside.append(_refill(patch, _pick(rings, quiet), shape, goal, 0))
        two = border.sum(axis=1) == 2
        turned = _turned(_pick(rings, two), np.argmax(border[two], axis=1))
        turned = _pick(turned, _flat(patch, turned, taken))
        last = _second_border(turned)
        for k in range(1, m):
            across.append(_refill(patch, _pick(turned, last == k), shape, goal, k))
    return joined(inside), joined(across)


def _refill(patch: Patch, rings: _Rings, shape: Points, goal: float, diagonal: int) -> Changes:
    """The best triangulation of each ring, one with the edge from its vertex 0 to ``diagonal``."""
    count, m = rings.ring.shape
    triangles, choices = _triangulations(m)
    if diagonal:
        choices = choices[_with_edge(triangles[choices], 0, diagonal)]
    if not count or not len(choices):
        return none()
    corners = rings.ring[:, triangles]
    low, high = (np.broadcast_to(rings.ends[:, k, None], corners.shape[:2]) for k in range(2))
    above = np.concatenate([corners, high[..., None]], axis=2)
    below = np.concatenate([corners[..., [0, 2, 1]], low[..., None]], axis=2)
    new = np.stack([above, below], axis=2)  # (e, t, 2, 4)
    quality = shapes(patch.points, new.reshape(-1, 4)).reshape(new.shape[:3]).min(axis=2)
    after = quality[:, choices].min(axis=2)
    best = np.argmax(after, axis=1)
    row = np.arange(count)
    there = np.where(rings.cells >= 0, shape[rings.cells], np.inf)
    gain = np.minimum(after[row, best], goal) - there.min(axis=1)
    use = choices[best]  # (e, m - 2)
    # A triangle lies before the diagonal if none of its vertices come after it.
    side = (
        np.where(triangles.max(axis=1) <= diagonal, 0, m - 1) if diagonal else 0 * triangles[:, 0]
    )
    regions = rings.regions[row[:, None], side[use]]
    filled = regions != _OUTSIDE
    cells = new[row[:, None], use]
    changes = _ragged(rings.cells, cells, regions, filled, gain)
    if not diagonal:
        return changes
    laid = _keys(rings.ring[:, 0], rings.ring[:, diagonal], len(patch.points))
    return replace(changes, edges=laid[gain > RISE])


def _keys(one: Index, two: Index, count: int) -> Index:
    """A number for each edge."""
    return np.asarray(np.minimum(one, two) * count + np.maximum(one, two))


def _ragged(removed: Index, new: Index, regions: Index, filled: Mask, gain: Points) -> Changes:
    keep = gain > RISE
    by, place = np.nonzero(keep[:, None] & (removed >= 0))
    new_by, number = np.nonzero(keep[:, None] & filled)
    index = np.cumsum(keep) - 1
    return Changes(
        removed[by, place],
        index[by],
        new[new_by, number].reshape(-1, 4),
        np.repeat(index[new_by], 2),
        np.repeat(regions[new_by, number], 2),
        gain[keep],
    )


def _chosen(removed: Index, new: Index, regions: Index, gain: Points) -> Changes:
    """Changes of equal size that gain something."""
    keep = np.flatnonzero(gain > RISE)
    number = np.arange(len(keep))
    size = new.shape[1]
    return Changes(
        removed[keep].ravel(),
        np.repeat(number, removed.shape[1]),
        new[keep].reshape(-1, 4),
        np.repeat(number, size),
        np.repeat(regions[keep, 0], size),
        gain[keep],
    )


def _rings(patch: Patch, bad: Mask) -> list[_Rings]:
    """The edges of bad cells with all cells around known, by the number of vertices around."""
    edges = patch.cells[:, EDGES].reshape(-1, 4)
    swap = edges[:, 0] > edges[:, 1]
    edges[swap] = edges[swap][:, [1, 0, 3, 2]]
    cell = np.repeat(np.arange(len(patch.cells)), 6)
    key = edges[:, 0] * len(patch.points) + edges[:, 1]
    wanted = np.unique(key[bad[cell] & patch.whole[edges[:, :2]].any(axis=1)])
    at = np.minimum(np.searchsorted(wanted, key), max(len(wanted) - 1, 0))
    places = np.flatnonzero(wanted[at] == key) if len(wanted) else np.empty(0, np.int64)
    places = places[np.argsort(at[places], kind="stable")]
    at = at[places]
    size = np.bincount(at, minlength=len(wanted))
    begin = np.cumsum(size) - size
    found: dict[int, list[_Rings]] = {}
    for n in range(1, LARGEST_RING + 1):
        own = places[begin[size == n][:, None] + np.arange(n)]
        if len(own):
            for rings in _in_turn(edges[own], cell[own], patch.regions[cell[own]]):
                found.setdefault(rings.ring.shape[1], []).append(rings)
    return [_stacked(rings) for m, rings in sorted(found.items()) if 3 <= m <= LARGEST_RING]


def _stacked(rings: list[_Rings]) -> _Rings:
    return _Rings(*(
        np.concatenate([getattr(r, name) for r in rings])
        for name in ("ends", "ring", "cells", "regions")
    ))  # fmt: skip


def _in_turn(edges: Index, cell: Index, regions: Index) -> list[_Rings]:
    """Order the cells (e, n) around each edge; open fans get the outside for a last cell."""
    count, n = cell.shape
    x, y = edges[..., 2], edges[..., 3]
    headless = ~(x[:, :, None] == y[:, None, :]).any(axis=2)
    row = np.arange(count)
    order = np.empty((count, n), np.int64)
    order[:, 0] = np.argmax(headless, axis=1)
    linked = headless.sum(axis=1) <= 1
    for step in range(1, n):
        match = x == y[row, order[:, step - 1]][:, None]
        linked &= match.any(axis=1)
        order[:, step] = np.argmax(match, axis=1)
    linked &= (np.sort(order, axis=1) == np.arange(n)).all(axis=1)
    closed = ~headless.any(axis=1)
    ends = edges[:, 0, :2]
    line = row[:, None]
    ring, cells, around = x[line, order], cell[line, order], regions[line, order]
    whole = linked & closed
    fan = linked & ~closed
    last = y[row, order[:, -1]][fan][:, None]
    outside = np.full((int(fan.sum()), 1), -1)
    return [
        _Rings(ends[whole], ring[whole], cells[whole], around[whole]),
        _Rings(
            ends[fan],
            np.concatenate([ring[fan], last], axis=1),
            np.concatenate([cells[fan], outside], axis=1),
            np.concatenate([around[fan], outside * 0 + _OUTSIDE], axis=1),
        ),
    ]


def _pick(rings: _Rings, use: Mask) -> _Rings:
    return _Rings(rings.ends[use], rings.ring[use], rings.cells[use], rings.regions[use])


def _turned(rings: _Rings, first: Index) -> _Rings:
    """Rings that begin at their vertex number ``first``."""
    m = rings.ring.shape[1]
    order = (first[:, None] + np.arange(m)) % m
    row = np.arange(len(first))[:, None]
    return _Rings(
        rings.ends, rings.ring[row, order], rings.cells[row, order], rings.regions[row, order]
    )


def _second_border(rings: _Rings) -> Index:
    """Where the region changes in the ring, besides at its begin."""
    return np.asarray(np.argmax(rings.regions != rings.regions[:, :1], axis=1))


def _flat(patch: Patch, rings: _Rings, taken: Index) -> Mask:
    """Whether an interface may turn: within reach, convex, its new edge on no other interface."""
    row = np.arange(len(rings.ring))
    (i, j), p, q = rings.ends.T, rings.ring[:, 0], rings.ring[row, _second_border(rings)]
    a, b, c, d = (patch.points[v] for v in (i, j, p, q))
    u, v, w = b - a, d - c, c - a
    normal = np.cross(u, v)
    size = np.maximum(np.einsum("ij,ij->i", normal, normal), 1e-300)
    gap = np.abs(np.einsum("ij,ij->i", w, normal)) / np.sqrt(size)
    s = np.einsum("ij,ij->i", np.cross(w, v), normal) / size
    t = np.einsum("ij,ij->i", np.cross(w, u), normal) / size
    crossed = (np.minimum(s, t) > 0.05) & (np.maximum(s, t) < 0.95)
    reach = np.minimum.reduce([patch.reach[v] for v in (i, j, p, q)])
    laid = _keys(p, q, len(patch.points))
    return np.asarray(crossed & (gap <= reach) & ~np.isin(laid, taken))


def _interface_edges(patch: Patch) -> Index:
    """Keys of the edges of faces between regions and of faces with nothing beyond."""
    beyond = neighbours(patch.cells)
    there = np.where(beyond >= 0, patch.regions[beyond], _OUTSIDE)
    cell, corner = np.nonzero(there != patch.regions[:, None])
    face = np.sort(patch.cells[cell[:, None], OPPOSITE[corner]], axis=1)
    n = len(patch.points)
    return np.unique(
        np.concatenate([face[:, i] * n + face[:, j] for i, j in ((0, 1), (0, 2), (1, 2))])
    )


@cache
def _triangulations(m: int) -> tuple[Index, Index]:
    """Triangles of a polygon with m vertices, (t, 3), and the triangulations, (c, m - 2)."""
    triangles = [(i, j, k) for i in range(m) for j in range(i + 1, m) for k in range(j + 1, m)]
    number = {triangle: n for n, triangle in enumerate(triangles)}

    def fill(i: int, k: int) -> list[list[int]]:
        if k - i < 2:
            return [[]]
        return [
            [number[i, j, k], *left, *right]
            for j in range(i + 1, k)
            for left in fill(i, j)
            for right in fill(j, k)
        ]

    return np.array(triangles), np.array(fill(0, m - 1))


def _with_edge(triangulations: Index, i: int, k: int) -> Mask:
    """Whether triangulations (c, m - 2, 3) have a triangle with both vertices."""
    has = (triangulations == i).any(axis=2) & (triangulations == k).any(axis=2)
    return np.asarray(has.any(axis=1))
