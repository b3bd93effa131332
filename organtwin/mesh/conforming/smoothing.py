"""Bounded smoothing of nets: the least bending that the voxels allow, volumes kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from organtwin.errors import MeshError
from organtwin.mesh.conforming.folding import crossing, diagonals, folded, split
from organtwin.mesh.conforming.net import Net
from organtwin.mesh.conforming.room import Room, room_of
from organtwin.mesh.conforming.volumes import Keeper

type Points = NDArray[np.float64]
type Triangles = NDArray[np.int64]


@dataclass(frozen=True)
class Smoothing:
    """How nets are smoothed.

    Attributes:
        reach: How far a vertex may move along each grid axis (voxels), below one half.
        gap: How close sheets on both sides of one voxel may come (voxels), along a grid axis.
        rounds: Most rounds of the minimisation.
        still: Largest step in a round (voxels) at which it ends.
        volume: Relative error of a body's volume that is allowed.
        attempts: Most rounds of keeping volumes while unfolding squares.
    """

    reach: float = 0.499
    gap: float = 0.5
    rounds: int = 200
    still: float = 1e-3
    volume: float = 1e-4
    attempts: int = 12


@dataclass(frozen=True)
class Smoothed:
    """Where the vertices went.

    Attributes:
        moved: Shift of each vertex from its corner (voxels), shape (n, 3).
        triangles: Two for each square, first halves first, shape (2 q, 3).
        unfolded: Number of vertices whose room was reduced.
    """

    moved: Points
    triangles: Triangles
    unfolded: int


def smooth(net: Net, spacing: Points, sizes: Points, options: Smoothing) -> Smoothed:
    """Move vertices within boxes until borders bend least, with the volumes that bodies have.

    The bending is Σ |x_v - mean of its neighbours|² over the vertices inside of a patch and, with
    the neighbours on the curve only, over those inside of a junction curve; vertices where curves
    meet have no term. It is minimised for each grid axis by itself. Then patches are shifted along
    their normals until each body has its size, and where a square can't be split such that it
    stays clear of all others the room of its vertices is reduced.

    Args:
        net: Squares around the voxels.
        spacing: Edges of a voxel (mm), shape (3,).
        sizes: Volume of each body (mm³), shape (b,).
        options: How far and how long.

    Raises:
        MeshError: squares stay folded or cut others whatever is tried.
    """
    room = room_of(net, options.reach, options.gap)
    moved = minimise(bending(net), net.corners, room, options)
    keeper = Keeper(net, spacing, sizes)
    tight = np.zeros(len(moved), bool)
    along = diagonals(net, moved, spacing)
    triangles = split(net, along)
    calm = False
    for attempt in range(2 * options.attempts):
        # Volumes that can't be kept give way to squares that can't be unfolded otherwise.
        if attempt < options.attempts:
            moved = keeper.kept(moved, triangles, room, options.volume)
        along = diagonals(net, moved, spacing, along)
        triangles = split(net, along)
        bad = folded(net, moved)
        if not bad.any():
            bad = crossing(net, moved, triangles)
        if bad.any():
            calm = False
        elif calm or attempt >= options.attempts or keeper.near(moved, triangles, options.volume):
            break
        else:
            calm = True
        vertices = np.unique(net.quads[bad])
        tight[vertices] = True
        room = room.reduced(vertices)
        moved = room.clip(moved)
    if bad.any():
        raise MeshError(
            "smoothing", f"{int(bad.sum())} squares stay folded or cut others.", "Lower its reach."
        )
    return Smoothed(moved, triangles, int(tight.sum()))


def bending(net: Net) -> sparse.csr_matrix:
    """Matrix B whose rows are the mean of some neighbours of a vertex minus the vertex.

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
    along = _around(net, of_junction == 2)
    return sparse.vstack([_means(both[used], number), _means(along, number)]).tocsr()


def _means(pairs: NDArray[np.int64], number: int) -> sparse.csr_matrix:
    """Mean over the second of pairs minus the first, a row for each first one."""
    first, row = np.unique(pairs[:, 0], return_inverse=True)
    weight = 1.0 / np.bincount(row)[row]
    mean = sparse.csr_matrix((weight, (row, pairs[:, 1])), (len(first), number))
    own = sparse.csr_matrix((np.ones(len(first)), (np.arange(len(first)), first)), mean.shape)
    return (mean - own).astype(np.float32).tocsr()


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


def minimise(
    matrix: sparse.csr_matrix,
    corners: NDArray[np.int64],
    room: Room,
    options: Smoothing,
) -> Points:
    """Shifts d with the least |B (x + d)|² in the room, by accelerated projected gradients.

    The acceleration restarts where it leads uphill.

    Source:
        Beck & Teboulle (2009), SIAM J Imaging Sci 2:183-202 (the method); O'Donoghue & Candès
        (2015), Found Comput Math 15:715-732 (restart by the gradient).
    """
    bent = (matrix.astype(np.float64) @ corners.astype(np.float64)).astype(np.float32)
    back = matrix.T.tocsr()
    step = np.float32(1.0 / _largest(matrix, back))
    low, high = room.low.astype(np.float32), room.high.astype(np.float32)
    here = room.rest.astype(np.float32)
    ahead, momentum = here, 1.0
    for _ in range(options.rounds):
        slope = back @ (matrix @ ahead + bent)
        there = np.clip(ahead - step * slope, low, high)
        change = there - here
        if float(np.abs(change).max()) < options.still:
            return there.astype(np.float64)
        if float(np.vdot(ahead - there, change)) > 0.0:
            momentum = 1.0
        following = 0.5 * (1.0 + float(np.sqrt(1.0 + 4.0 * momentum**2)))
        ahead = there + np.float32((momentum - 1.0) / following) * change
        here, momentum = there, following
    return here.astype(np.float64)


def _largest(matrix: sparse.csr_matrix, back: sparse.csr_matrix) -> float:
    """Bound of the largest eigenvalue of Bᵀ B: the product of the largest row and column sums."""
    rows, columns = (float(np.abs(m).sum(axis=1).max()) for m in (matrix, back))
    return max(rows * columns, 1e-12)
