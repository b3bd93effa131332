"""Squares between voxels that belong to different bodies, and how they hang together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from organtwin.mesh.surface import nets

type Index = NDArray[np.int64]

#: Squares of an edge where two sheets may pass each other.
_CROSSED = 4


@dataclass(frozen=True)
class Net:
    """Squares around voxels.

    Sheets that only touch at a corner or an edge of the voxels, such as both sides of a thin
    oblique wall, have vertices of their own there.

    Attributes:
        corners: Corner of the voxel grid at which each vertex rests, in the order of the grid,
            shape (n, 3); corner c lies half a voxel below voxel c.
        away: Side of its corner, -1 or 1 along each axis, on which a vertex has to stay clear of
            another sheet's vertex at the same corner; 0 where it need not, shape (n, 3).
        pinned: Vertices where two sheets that pass each other come together, shape (n,).
        quads: Vertices around each square, normals out of the first of its bodies, shape (q, 4).
        axes: Grid axis that each square is normal to, shape (q,).
        bodies: Bodies behind and in front of each square, shape (q, 2).
        kinds: Label of each body, shape (b,); that behind a square is larger than that in front.
        edges: Vertices of each edge, the smaller one first, in ascending order, shape (e, 2).
        junction: Edges that have not two squares, where sheets are joined, and those around what
            the image's border cuts off, shape (e,).
        planes: Plane of the image's border that each square lies in, 0 for none, shape (q,).
        bound: Axes across whose plane of the image's border each vertex must not move, (n, 3).
    """

    corners: Index
    away: Index
    pinned: NDArray[np.bool_]
    quads: Index
    axes: Index
    bodies: Index
    kinds: NDArray[np.uint8]
    edges: Index
    junction: NDArray[np.bool_]
    planes: Index
    bound: NDArray[np.bool_]


def net_around(
    bodies: NDArray[np.int32],
    kinds: NDArray[np.uint8],
    cut: NDArray[np.bool_] = np.zeros((3, 2), bool),
) -> Net:
    """Net around bodies.

    Args:
        bodies: Body of each voxel; 0 lies around the grid, too.
        kinds: Label of each body.
        cut: Whether the grid's low and high end, along each axis, is the border of the image.
    """
    padded = np.pad(bodies, 1)
    codes = np.arange(256)
    # One byte for each pair of neighbours, of which there are three for each voxel.
    table: Any = (codes[:, None] > codes).view(np.uint8)
    index, triangles, _ = nets(kinds[padded], table)
    half = len(triangles) // 2
    quads = np.column_stack([triangles[:half], triangles[half:, 2]])
    axes = np.argmin(np.ptp(index[quads], axis=1), axis=1)
    voxels = _voxels(index[quads].min(axis=1), axes, kinds[padded])
    fan = _fans(quads, voxels, kinds[padded].ravel())
    corner, quads, away = _apart(index, quads, fan)
    ends = np.where(cut, [[1, n + 1] for n in bodies.shape], -1)
    bound = (corner[:, :, None] == ends).any(axis=2)
    planes = _planes(corner, quads, axes, ends)
    edges, count, apart = _edges(quads, len(corner), planes)
    sides = padded.ravel()[voxels].astype(np.int64)
    pinned = _pinned(corner, edges)
    return Net(
        corner - 1, away, pinned, quads, axes, sides, kinds, edges, (count != 2) | apart,
        planes, bound,
    )  # fmt: skip


def _planes(corner: Index, quads: Index, axes: Index, ends: Index) -> Index:
    """Number from 1 of the end of the grid that each square lies in, 0 for none."""
    place = np.take_along_axis(corner[quads[:, 0]], axes[:, None], axis=1)
    low, high = (place == ends[axes]).T
    return np.where(low, 1 + 2 * axes, np.where(high, 2 + 2 * axes, 0))


def _voxels(high: Index, axes: Index, labels: NDArray[np.uint8]) -> Index:
    """Numbers of the voxels behind and in front of squares, by the voxel above each."""
    low = high - np.eye(3, dtype=np.int64)[axes]
    one, two = (np.ravel_multi_index(tuple(x.T), labels.shape) for x in (low, high))
    behind = labels.ravel()[one] > labels.ravel()[two]
    return np.column_stack([np.where(behind, one, two), np.where(behind, two, one)])


def _edges(quads: Index, vertices: int, planes: Index) -> tuple[Index, Index, NDArray[np.bool_]]:
    """Edges of squares, how many squares each has, and whether their planes differ."""
    ends = np.stack([quads, np.roll(quads, -1, axis=1)], axis=2).reshape(-1, 2)
    keys, which, count = np.unique(
        ends.min(axis=1) * vertices + ends.max(axis=1), return_inverse=True, return_counts=True
    )
    plane = np.repeat(planes, 4)
    one = np.zeros(len(keys), np.int64)
    one[which.ravel()] = plane
    apart = np.bincount(which.ravel(), plane != one[which.ravel()], len(keys)) > 0
    return np.stack(np.divmod(keys, vertices), axis=1), count, apart


def _pinned(corner: Index, edges: Index) -> NDArray[np.bool_]:
    """Vertices with edges to several vertices at the same corner of the grid."""
    place = np.cumsum(np.concatenate([[0], (np.diff(corner, axis=0) != 0).any(axis=1)]))
    both = np.concatenate([edges, edges[:, ::-1]])
    keys, count = np.unique(both[:, 0] * len(corner) + place[both[:, 1]], return_counts=True)
    pinned = np.zeros(len(corner), bool)
    pinned[keys[count > 1] // len(corner)] = True
    return pinned


def _fans(quads: Index, voxels: Index, labels: NDArray[np.uint8]) -> Index:
    """Sheet to which each corner of each square belongs where it lies, shape (q, 4)."""
    start, end = quads, np.roll(quads, -1, axis=1)
    keys = np.minimum(start, end) * (int(quads.max()) + 1) + np.maximum(start, end)
    _, edge, count = np.unique(keys, return_inverse=True, return_counts=True)
    link = 2 * edge.ravel() + _sheet(edge.ravel(), count, voxels, labels)
    upwards = (start < end).ravel()
    corner = np.arange(quads.size)
    following = np.roll(corner.reshape(quads.shape), -1, axis=1).ravel()
    # The two ends of each edge, of each of its sheets, join the corners there.
    rows = np.concatenate([corner, following])
    columns = quads.size + np.concatenate([2 * link + ~upwards, 2 * link + upwards])
    size = quads.size + 4 * len(count)
    graph = sparse.coo_array((np.ones(len(rows), np.int8), (rows, columns)), (size, size))
    fan = connected_components(graph, directed=False)[1][: quads.size]
    return np.asarray(fan, np.int64).reshape(quads.shape)


def _sheet(edge: Index, count: Index, voxels: Index, labels: NDArray[np.uint8]) -> Index:
    """Which of the two sheets at its edge each side of a square belongs to, 0 where all are one.

    Four squares around an edge that all border on one label are two sheets with that label
    between. If two labels alternate there, the larger one is taken to be between.
    """
    sheet = np.zeros(len(edge), np.int64)
    crossed = np.flatnonzero(count[edge] == _CROSSED)
    side = crossed[np.argsort(edge[crossed], kind="stable")].reshape(-1, _CROSSED)
    around = voxels[side // _CROSSED]  # (k, 4, 2)
    here = labels[around]
    between = np.zeros(len(side), np.int64) - 1
    for candidate in (here[:, 0, 1], here[:, 0, 0]):
        everywhere = (here == candidate[:, None, None]).any(axis=2).all(axis=1)
        between = np.where(everywhere, candidate, between)
    other = np.where(here[:, :, 0] == between[:, None], around[:, :, 1], around[:, :, 0])
    sheet[side] = (other != other[:, :1]) & (between >= 0)[:, None]
    return sheet


def _apart(index: Index, quads: Index, fan: Index) -> tuple[Index, Index, Index]:
    """Vertices of their own for sheets that an axis can hold apart at their corner.

    Returns:
        Corner of each vertex, squares, and the side of its corner where each vertex has to stay.
    """
    number = int(fan.max()) + 1
    pairs, numbered = np.unique(quads.ravel() * number + fan.ravel(), return_inverse=True)
    corner = pairs // number
    towards = np.repeat(index[quads].sum(axis=1), 4, axis=0) - 4 * index[quads].reshape(-1, 3)
    side = np.stack([np.bincount(numbered, towards[:, k], len(pairs)) for k in range(3)], axis=1)
    way = np.sign(side).astype(np.int64)
    glued = np.zeros(len(index), bool)
    away = np.zeros_like(way)
    for step in range(1, int(np.bincount(corner).max())):
        one = np.flatnonzero(corner[:-step] == corner[step:])
        opposite = way[one] * way[one + step] < 0
        glued[corner[one[~opposite.any(axis=1)]]] = True
        for fans in (one, one + step):
            away[fans] = np.where(opposite, way[fans], away[fans])
    first = np.concatenate([[True], corner[1:] != corner[:-1]])
    kept = first | ~glued[corner]
    vertex = np.cumsum(kept) - 1
    away[glued[corner]] = 0
    return index[corner[kept]], vertex[numbered].reshape(quads.shape), away[kept]
