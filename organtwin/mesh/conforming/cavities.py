"""New vertices inside hollowed-out groups of cells, and vertices taken out of a mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from organtwin.mesh.conforming.batches import (
    EDGES,
    OPPOSITE,
    Changes,
    Mask,
    Patch,
    least,
    neighbours,
    none,
    stars,
)
from organtwin.mesh.conforming.cell_shape import Index, Points, shapes
from organtwin.mesh.conforming.vertex_moves import FIRST_STEP, RISE, cones

#: How often a cavity grows beyond faces that would give bad cells, and how many cells it may have.
_GROWTHS, _LARGEST = 8, 60
#: Rounds of the search for the best place of a new vertex.
_ROUNDS = 10
#: Corners whose mean is where a new vertex is tried: the cell, its faces, its edges.
_SEEDS = ((0, 1, 2, 3), *map(tuple, OPPOSITE), *map(tuple, EDGES[:, :2]))


@dataclass(frozen=True)
class _Cavities:
    """Cells of each cavity, ascending by cavity, and the faces around them (cell and corner)."""

    by: Index
    cell: Index
    face_by: Index
    face_cell: Index
    face_corner: Index


def insert(patch: Patch, bad: Mask, goal: float) -> Changes:
    """New vertices near bad cells, each joined to the faces of a cavity made for it.

    From the cell with the new vertex on, the cavity grows beyond all faces that would give bad
    cells; faces on interfaces stay. The vertex is then moved to its best place.

    Args:
        patch: Cells.
        bad: Cells near which vertices are tried, shape (m,).
        goal: Shape that is good enough.

    Source:
        Klingner & Shewchuk (2007), 16th International Meshing Roundtable, section 3 (vertex
        insertion by a star-shaped cavity; here it grows by the quality of its faces).
    """
    cells = np.flatnonzero(bad)
    if not len(cells):
        return none()
    beyond = neighbours(patch.cells)
    seeds = [patch.points[patch.cells[cells][:, list(s)]].mean(axis=1) for s in _SEEDS]
    places = np.concatenate([np.concatenate(seeds)] * 2)
    origin = np.tile(cells, 2 * len(_SEEDS))
    wanted = np.repeat([0.5 * goal, goal], len(cells) * len(_SEEDS))
    cavities = _grown(patch, beyond, origin, places, wanted)
    after = _worst(patch, cavities, places[:, None, :])[:, 0]
    shape = shapes(patch.points, patch.cells)
    before = least(shape[cavities.cell], cavities.by, len(places))
    # A good search can start from a bad place, hence two candidates of each cell, whatever they
    # gain so far.
    best = _two_best(after - before, np.tile(np.arange(len(cells)), 2 * len(_SEEDS)))
    cavities = _only(cavities, best)
    places, after = _settled(patch, cavities, places[best], goal)
    gain = np.minimum(after, goal) - before[best]
    gain[gain <= RISE] = 0.0
    base = patch.cells[cavities.face_cell].copy()
    base[np.arange(len(base)), cavities.face_corner] = -1
    regions = patch.regions[cavities.face_cell]
    return Changes(cavities.cell, cavities.by, base, cavities.face_by, regions, gain, places)


def contract(patch: Patch, bad: Mask, goal: float) -> Changes:
    """Vertices inside regions that are drawn into a neighbour along an edge of a bad cell.

    Args:
        patch: Cells.
        bad: Cells whose edges are tried, shape (m,).
        goal: Shape that is good enough.
    """
    pairs = patch.cells[bad][:, EDGES[:, :2]].reshape(-1, 2)
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    pairs = pairs[np.isinf(patch.reach[pairs[:, 0]])]
    if not len(pairs):
        return none()
    vertices, number = np.unique(pairs[:, 0], return_inverse=True)
    by, cell, corner = stars(patch.cells, vertices, len(patch.points))
    size = np.bincount(by, minlength=len(vertices))
    begin = np.cumsum(size) - size
    many = size[number]
    pair = np.repeat(np.arange(len(pairs)), many)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(many) - many, many) + begin[number[pair]]
    cell, corner = cell[place], corner[place]
    before = least(shapes(patch.points, patch.cells)[cell], pair, len(pairs))
    kept = ~(patch.cells[cell] == pairs[pair, 1][:, None]).any(axis=1)
    new = patch.cells[cell[kept]].copy()
    new[np.arange(len(new)), corner[kept]] = pairs[pair[kept], 1]
    after = least(shapes(patch.points, new), pair[kept], len(pairs))
    gain = np.minimum(after, goal) - before
    gain[(gain <= RISE) | ~np.isfinite(after)] = 0.0
    return Changes(cell, pair, new, pair[kept], patch.regions[cell[kept]], gain)


def _grown(patch: Patch, beyond: Index, first: Index, places: Points, wanted: Points) -> _Cavities:
    """Cavities around places (k, 3), each from one cell on until all its new cells are good."""
    m = len(patch.cells)
    key = np.arange(len(first)) * m + first
    for growth in range(_GROWTHS + 1):
        by, cell = np.divmod(key, m)
        other = beyond[cell]
        there = _member(key, np.where(other >= 0, by[:, None] * m + other, -1))
        row, corner = np.nonzero(~there)
        cavities = _Cavities(by, cell, by[row], cell[row], corner)
        if growth == _GROWTHS:
            break
        shape = _faces(patch, cavities, places[:, None, :])[:, 0]
        other = beyond[cavities.face_cell, corner]
        size = np.bincount(by, minlength=len(first))
        grow = (shape < wanted[by[row]]) & (other >= 0) & (size[by[row]] < _LARGEST)
        grow &= patch.regions[other] == patch.regions[cavities.face_cell]
        if not grow.any():
            break
        key = np.union1d(key, by[row][grow] * m + other[grow])
    return cavities


def _member(keys: Index, wanted: Index) -> Mask:
    """Whether numbers are among ascending keys."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.asarray(keys[at] == wanted)


def _faces(patch: Patch, cavities: _Cavities, places: Points) -> Points:
    """Shapes of the cells between each face of the cavities and places (k, t, 3); (f, t)."""
    cells = patch.cells[cavities.face_cell]
    return cones(patch.points, cells, cavities.face_corner, places[cavities.face_by])


def _worst(patch: Patch, cavities: _Cavities, places: Points) -> Points:
    """Worst shape in each cavity for its places (k, t, 3); (k, t)."""
    return least(_faces(patch, cavities, places), cavities.face_by, len(places))


def _two_best(value: Points, group: Index) -> Index:
    """The two numbers of each group with the largest values."""
    order = np.lexsort((np.arange(len(value)), -value, group))
    rank = np.arange(len(order)) - np.searchsorted(group[order], group[order])
    return np.sort(order[rank < 2])


def _only(cavities: _Cavities, chosen: Index) -> _Cavities:
    """Some of the cavities, numbered anew."""
    number = np.full(max(int(cavities.by.max()), int(chosen.max())) + 1, -1)
    number[chosen] = np.arange(len(chosen))
    own, face = number[cavities.by] >= 0, number[cavities.face_by] >= 0
    return _Cavities(
        number[cavities.by[own]],
        cavities.cell[own],
        number[cavities.face_by[face]],
        cavities.face_cell[face],
        cavities.face_corner[face],
    )


def _settled(
    patch: Patch, cavities: _Cavities, places: Points, goal: float
) -> tuple[Points, Points]:
    """The best places found by a pattern search, and the worst shapes there."""
    corners = patch.points[patch.cells[cavities.cell, 0]]
    size = np.linalg.norm(corners - places[cavities.by], axis=1)
    count = np.bincount(cavities.by, minlength=len(places))
    step = FIRST_STEP * np.bincount(cavities.by, size, len(places)) / np.maximum(count, 1)
    places = places.copy()
    now = _worst(patch, cavities, places[:, None, :])[:, 0]
    turns = np.random.default_rng(2)
    row = np.arange(len(places))
    for _ in range(_ROUNDS):
        frame = np.linalg.qr(turns.standard_normal((3, 3)))[0]
        tried = places[:, None, :] + step[:, None, None] * np.concatenate([frame, -frame])
        found = _worst(patch, cavities, tried)
        best = np.argmax(found, axis=1)
        better = (found[row, best] > now + RISE) & (now < goal)
        places[better] = tried[row, best][better]
        now = np.where(better, found[row, best], now)
        step = np.where(better, step, 0.5 * step)
    return places, now
