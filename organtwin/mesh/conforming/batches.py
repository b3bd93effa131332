"""Many local changes of a tetrahedral mesh at once: those that don't meet are made together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from organtwin.mesh.conforming.cell_shape import Index, Points

type Mask = NDArray[np.bool_]

#: Vertices opposite to corner k, in the order that leaves the cell as it is oriented.
OPPOSITE = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])
#: The six edges of a cell (a, b) and the other two corners (x, y), so that a, b, x, y is positive.
EDGES = np.array([
    [0, 1, 2, 3], [0, 2, 3, 1], [0, 3, 1, 2], [1, 2, 0, 3], [1, 3, 2, 0], [2, 3, 0, 1]
])  # fmt: skip
#: Up to so many vertices the three numbers of a face fit into one of 64 bits.
_PACKED = 2**21


@dataclass(frozen=True)
class Patch:
    """Part of a mesh under work.

    Attributes:
        points: Vertices (mm), shape (n, 3).
        cells: Vertex indices, positive volumes, shape (m, 4).
        regions: Region of each cell, shape (m,).
        start: Where the vertices were before any change (mm), shape (n, 3).
        reach: How far from there each may get (mm): 0 for vertices that stay, infinite inside
            regions; shape (n,).
        whole: Whether all cells around a vertex belong to the patch, shape (n,).
    """

    points: Points
    cells: Index
    regions: Index
    start: Points
    reach: Points
    whole: Mask


@dataclass(frozen=True)
class Changes:
    """Groups of cells to take out, each with cells that fill the same place.

    Attributes:
        removed: Cells taken out, shape (r,); `removed_by` is the change of each.
        added: Vertices of new cells, shape (s, 4); -1 is the new vertex of the change.
        added_by: Change of each new cell, shape (s,).
        added_regions: Region of each, shape (s,).
        gain: Rise of the worst shape by each change, shape (k,).
        places: New vertex of each change (mm), shape (k, 3), or empty.
        edges: Key of the edge that each change lays on an interface, shape (k,), or empty; two
            changes with the same would join interfaces there.
    """

    removed: Index
    removed_by: Index
    added: Index
    added_by: Index
    added_regions: Index
    gain: Points
    places: Points = field(default_factory=lambda: np.empty((0, 3)))
    edges: Index = field(default_factory=lambda: np.empty(0, np.int64))


def none() -> Changes:
    """No changes at all."""
    empty = np.empty(0, np.int64)
    return Changes(empty, empty, np.empty((0, 4), np.int64), empty, empty, np.empty(0))


def joined(parts: list[Changes]) -> Changes:
    """Changes, none of them with new vertices, in one record."""
    sizes = np.cumsum([0] + [len(part.gain) for part in parts])[:-1]
    return Changes(
        np.concatenate([part.removed for part in parts]),
        np.concatenate([part.removed_by + n for part, n in zip(parts, sizes, strict=True)]),
        np.concatenate([part.added for part in parts]),
        np.concatenate([part.added_by + n for part, n in zip(parts, sizes, strict=True)]),
        np.concatenate([part.added_regions for part in parts]),
        np.concatenate([part.gain for part in parts]),
        edges=np.concatenate([part.edges for part in parts]),
    )


def independent(claimed: Index, by: Index, gain: Points, cells: int, rounds: int = 6) -> Mask:
    """Changes that share no cell, those with the largest gain first.

    Args:
        claimed: Cells that changes touch, shape (r,).
        by: Which change touches each, shape (r,).
        gain: What each change is worth, shape (k,); without a positive one it is left out.
        cells: Number of cells.
        rounds: How often the rest is looked through.

    Returns:
        Whether each change is chosen, shape (k,).
    """
    rank = np.empty(len(gain), np.int64)
    rank[np.argsort(gain, kind="stable")] = np.arange(1, len(gain) + 1)
    open_ = gain > 0
    chosen = np.zeros(len(gain), bool)
    for _ in range(rounds):
        use = open_[by]
        if not use.any():
            break
        top = np.zeros(cells, np.int64)
        np.maximum.at(top, claimed[use], rank[by[use]])
        beaten = np.zeros(len(gain), bool)
        beaten[by[use][top[claimed[use]] != rank[by[use]]]] = True
        won = open_ & ~beaten
        chosen |= won
        taken = np.zeros(cells, bool)
        taken[claimed[won[by]]] = True
        open_ &= ~won
        open_[by[taken[claimed]]] = False
    return chosen


def apply(patch: Patch, changes: Changes) -> tuple[Patch, int]:
    """Make as many changes as go together; also returns how many these were."""
    # An edge is claimed as if it were one more cell.
    keys, edge = np.unique(changes.edges, return_inverse=True)
    chosen = independent(
        np.concatenate([changes.removed, len(patch.cells) + edge]),
        np.concatenate([changes.removed_by, np.arange(len(edge))]),
        changes.gain,
        len(patch.cells) + len(keys),
    )
    count = int(chosen.sum())
    if not count:
        return patch, 0
    keep = np.ones(len(patch.cells), bool)
    keep[changes.removed[chosen[changes.removed_by]]] = False
    use = chosen[changes.added_by]
    added = changes.added[use]
    points, start, reach, whole = patch.points, patch.start, patch.reach, patch.whole
    if len(changes.places):
        number = len(points) - 1 + np.cumsum(chosen)
        added = np.where(added < 0, number[changes.added_by[use]][:, None], added)
        points = np.concatenate([points, changes.places[chosen]])
        start = np.concatenate([start, changes.places[chosen]])
        reach = np.concatenate([reach, np.full(count, np.inf)])
        whole = np.concatenate([whole, np.ones(count, bool)])
    return replace(
        patch,
        points=points,
        cells=np.concatenate([patch.cells[keep], added]),
        regions=np.concatenate([patch.regions[keep], changes.added_regions[use]]),
        start=start,
        reach=reach,
        whole=whole,
    ), count


def neighbours(cells: Index) -> Index:
    """Cell beyond the face opposite to each corner, -1 where there is none; shape (m, 4)."""
    base = int(cells.max()) + 1 if len(cells) else 1
    corners = np.sort(cells[:, OPPOSITE].reshape(-1, 3), axis=1)
    high, low = corners[:, 2], corners[:, 0] * base + corners[:, 1]
    if base < _PACKED:
        order = np.argsort(low * base + high, kind="stable")
    else:
        order = np.lexsort((high, low))
    same = (high[order[1:]] == high[order[:-1]]) & (low[order[1:]] == low[order[:-1]])
    first, second = order[:-1][same], order[1:][same]
    result = np.full(len(high), -1)
    result[first], result[second] = second // 4, first // 4
    return result.reshape(-1, 4)


def stars(cells: Index, vertices: Index, count: int) -> tuple[Index, Index, Index]:
    """Cells around vertices.

    Args:
        cells: Vertex indices, shape (m, 4).
        vertices: Distinct vertices, each in some cell, shape (k,).
        count: Number of all vertices.

    Returns:
        Numbers in ``vertices``, in ascending order, the cell and its corner, each of shape (r,).
    """
    number = np.full(count, -1)
    number[vertices] = np.arange(len(vertices))
    by = number[cells.ravel()]
    places = np.flatnonzero(by >= 0)
    places = places[np.argsort(by[places], kind="stable")]
    return by[places], places // 4, places % 4


def least(values: Points, by: Index, count: int) -> Points:
    """Smallest value of each group; groups are numbered and in ascending order."""
    result = np.full((count, *values.shape[1:]), np.inf)
    if len(by):
        begin = np.flatnonzero(np.concatenate([[True], by[1:] != by[:-1]]))
        result[by[begin]] = np.minimum.reduceat(values, begin, axis=0)
    return result
