"""The least bending of a net within the room that its vertices have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from organtwin.mesh.conforming.net import Net
from organtwin.mesh.conforming.room import Room

type Points = NDArray[np.float64]
type Single = NDArray[np.float32]

#: Part of the rounds that find the normals, and the fewest of those that follow.
_FIRST, _FEWEST = 0.25, 20
#: Largest weight of a row against the middle one, and the inverse of the smallest.
_UNEVEN = 4.0


@dataclass(frozen=True)
class Weights:
    """What the rows of a bending count for: w (a |r|² + (1 - a) (n · r)²).

    Attributes:
        rows: Weight w of each row, shape (k, 1).
        along: Weight a of what lies along the surface, shape (k, 1).
        normals: Unit normal n at each row's vertex, in voxels, shape (k, 3).
    """

    rows: Single
    along: Single
    normals: Single


def least_bending(net: Net, room: Room, rounds: int, still: float, along: float) -> Points:
    """Shifts (voxels) of vertices in their room with which a net bends least, shape (n, 3).

    With r_v the mean of a vertex' neighbours minus the vertex, the first rounds minimise Σ |r_v|².
    Those that follow minimise

        Σ w_v (a |r_v|² + (1 - a) (n_v · r_v)²)

    with the normals n_v that the first ones found. Along the surface r_v says how evenly its
    vertices are spaced, which voxels don't allow: with a = 1 the surface gives way across instead
    and waves. Vertices lie closer on oblique parts; w_v = area / edge⁴ makes the sum the integral
    of the squared mean curvature wherever the surface points. Junction curves have w = a = 1, and
    a = 1 where room is short, as in walls of one voxel.

    Args:
        net: Squares around the voxels.
        room: Where vertices may go.
        rounds: Most rounds.
        still: Largest step in a round (voxels) at which it ends.
        along: The weight a.
    """
    rows = bending(net)
    first = int(_FIRST * rounds)
    room = _with_rims(net, rows, room, rounds, still)
    moved = _minimise(rows.matrix, net.corners, room, room.rest, None, first, still)
    size = room.high - room.low
    narrow = (size < size.max() - 1e-9).any(axis=1) & ~net.bound.any(axis=1)
    weights = _weights(net, rows, net.corners + moved, np.where(narrow, 1.0, along))
    return _minimise(rows.matrix, net.corners, room, moved, weights, rounds - first, still)


def _with_rims(net: Net, rows: Rows, room: Room, rounds: int, still: float) -> Room:
    """Room in which rims in the image's border lie where each bends least by itself.

    The surface behind them would open them like bells: nothing beyond the border makes up for its
    bending along them.
    """
    taken = ~rows.inside & net.bound[rows.vertices].any(axis=1)
    if not taken.any():
        return room
    curves = rows.matrix[taken]
    moved = _minimise(curves, net.corners, room, room.rest, None, rounds, still)
    low, high = room.low.copy(), room.high.copy()
    fixed = rows.vertices[taken]
    low[fixed] = high[fixed] = moved[fixed]
    return Room(low, high)


@dataclass(frozen=True)
class Rows:
    """Matrix B of a bending, and what its rows belong to.

    Attributes:
        matrix: The mean of some neighbours of a vertex minus the vertex, shape (k, n).
        vertices: That vertex, shape (k,).
        inside: Whether it lies inside of a patch, shape (k,).
    """

    matrix: sparse.csr_matrix
    vertices: NDArray[np.int64]
    inside: NDArray[np.bool_]


def bending(net: Net) -> Rows:
    """Rows of the mean of some neighbours of a vertex minus the vertex.

    The neighbours are all for the vertices inside of a patch; those on the curve for the vertices
    of a junction curve and, in a second row, those around the region that borders on most squares
    there, whose surface goes on smoothly where two others meet on it. Vertices where curves meet
    have no row.
    """
    number = len(net.corners)
    of_junction = np.bincount(net.edges[net.junction].ravel(), minlength=number)
    both = np.concatenate([net.edges, net.edges[:, ::-1]])
    curve = np.tile(net.junction, 2)
    of_start = of_junction[both[:, 0]]
    used = (of_start == 0) | ((of_start == 2) & curve)
    # A rim in the image's border is as sharp as the cut.
    along = _around(net, (of_junction == 2) & ~net.bound.any(axis=1))
    one, two = _means(both[used], number), _means(along, number)
    vertices = np.concatenate([one[1], two[1]])
    matrix = sparse.vstack([one[0], two[0]]).tocsr()
    return Rows(matrix, vertices, of_junction[vertices] == 0)


def _means(pairs: NDArray[np.int64], number: int) -> tuple[sparse.csr_matrix, NDArray[np.int64]]:
    """Mean over the second of pairs minus the first, a row for each first one, and those."""
    first, row = np.unique(pairs[:, 0], return_inverse=True)
    weight = 1.0 / np.bincount(row)[row]
    mean = sparse.csr_matrix((weight, (row, pairs[:, 1])), (len(first), number))
    own = sparse.csr_matrix((np.ones(len(first)), (np.arange(len(first)), first)), mean.shape)
    return (mean - own).astype(np.float32).tocsr(), first


def _around(net: Net, on_curve: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Vertices of curves and their neighbours around the region with most squares there."""
    number = len(net.corners)
    near = np.flatnonzero(on_curve[net.quads].any(axis=1))
    labels = net.kinds[net.bodies[near]].astype(np.int64)
    quads = net.quads[near]
    keys = (quads[:, :, None] * 256 + labels[:, None, :]).ravel()
    found, count = np.unique(keys, return_counts=True)
    order = np.lexsort((found % 256, count))
    region = np.full(number, -1)
    region[found[order] // 256] = found[order] % 256
    start, end = quads, np.roll(quads, -1, axis=1)
    both = np.stack([np.stack([start, end], 2), np.stack([end, start], 2)], 2).reshape(-1, 2)
    its_labels = np.repeat(labels, 8, axis=0)
    used = (its_labels == region[both[:, :1]]).any(axis=1) & on_curve[both[:, 0]]
    pairs = np.unique(both[used] @ np.array([number, 1]))
    return np.stack(np.divmod(pairs, number), axis=1)


def _weights(net: Net, rows: Rows, points: Points, along: Points) -> Weights:
    """Weights of rows by what squares and edges measure at places (voxels)."""
    number = len(points)
    a, b, c, d = (points[net.quads[:, k]] for k in range(4))
    vector = np.repeat(0.125 * np.cross(c - a, d - b), 4, axis=0)
    at = net.quads.ravel()
    normal = np.stack([np.bincount(at, vector[:, k], number) for k in range(3)], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1), 1e-12)[:, None]
    area = np.bincount(at, np.linalg.norm(vector, axis=1), number)
    square = ((points[net.edges[:, 0]] - points[net.edges[:, 1]]) ** 2).sum(axis=1)
    ends = net.edges.T.ravel()
    count = np.maximum(np.bincount(ends, minlength=number), 1)
    square = np.bincount(ends, np.tile(square, 2), number) / count
    weight = (area / np.maximum(square, 1e-12) ** 2)[rows.vertices]
    if rows.inside.any():
        weight = (weight / np.median(weight[rows.inside])).clip(1.0 / _UNEVEN, _UNEVEN)
    weight[~rows.inside] = 1.0
    return Weights(
        weight.astype(np.float32)[:, None],
        np.where(rows.inside, along[rows.vertices], 1.0).astype(np.float32)[:, None],
        normal[rows.vertices].astype(np.float32),
    )


def _minimise(
    matrix: sparse.csr_matrix,
    corners: NDArray[np.int64],
    room: Room,
    start: Points,
    weights: Weights | None,
    rounds: int,
    still: float,
) -> Points:
    """Shifts d in the room with the least Σ |B (x + d)|², weighted, by projected gradients.

    Each vertex has a step of its own: with |B| the absolute values, Bᵀ W B is at most the diagonal
    matrix of |B|ᵀ W |B| 1. They are accelerated, anew where that leads uphill.

    Source:
        Beck & Teboulle (2009), SIAM J Imaging Sci 2:183-202 (the method); O'Donoghue & Candès
        (2015), Found Comput Math 15:715-732 (restart by the gradient).
    """
    bent = (matrix.astype(np.float64) @ corners.astype(np.float64)).astype(np.float32)
    back = matrix.T.tocsr()
    weight = np.float32(1.0) if weights is None else weights.rows
    bound = abs(back) @ (weight * np.asarray(abs(matrix).sum(axis=1)))
    step = (1.0 / np.maximum(bound, 1e-6)).astype(np.float32)
    low, high = room.low.astype(np.float32), room.high.astype(np.float32)
    here = start.astype(np.float32)
    ahead, momentum = here, 1.0
    for done in range(rounds):
        left = matrix @ ahead + bent
        if weights is not None:
            left = _weighted(left, weights)
        there = np.clip(ahead - step * (back @ left), low, high)
        change = there - here
        # Where most vertices have arrived already, the rest sets off slowly.
        if done >= _FEWEST and float(np.abs(change).max()) < still:
            return there.astype(np.float64)
        if float(np.vdot((ahead - there) / step, change)) > 0.0:
            momentum = 1.0
        following = 0.5 * (1.0 + float(np.sqrt(1.0 + 4.0 * momentum**2)))
        ahead = there + np.float32((momentum - 1.0) / following) * change
        here, momentum = there, following
    return here.astype(np.float64)


def _weighted(left: Single, weights: Weights) -> Single:
    across = np.einsum("ij,ij->i", weights.normals, left)[:, None]
    result = weights.along * left + ((1.0 - weights.along) * across) * weights.normals
    return np.asarray(weights.rows * result, np.float32)
