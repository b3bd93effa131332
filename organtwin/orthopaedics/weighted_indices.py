"""Shares, quantiles and averages of values that stand for areas or volumes, over all ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.parallel import agree, total

type Floats = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: Halvings of the interval of values in the search for a quantile.
HALVINGS = 60
#: Places whose neighbours are looked up at once, which bounds the memory.
CHUNK = 20_000


def share(comm: MPI.Comm, where: Mask, weights: Floats) -> float:
    """Share of the weight for which a condition holds; NaN without weight. Collective."""
    part, whole = total(comm, float(weights[where].sum())), total(comm, float(weights.sum()))
    return part / whole if whole > 0.0 else float("nan")


def mean(comm: MPI.Comm, values: Floats, weights: Floats) -> float:
    """Weighted mean; NaN without weight. Collective."""
    part, whole = total(comm, float(values @ weights)), total(comm, float(weights.sum()))
    return part / whole if whole > 0.0 else float("nan")


def largest(comm: MPI.Comm, values: Floats) -> float:
    """Largest value, −∞ of none. Collective."""
    return float(comm.allreduce(float(np.max(values, initial=-np.inf)), op=MPI.MAX))


def quantiles(
    comm: MPI.Comm, values: Floats, weights: Floats, shares: Sequence[float]
) -> list[float]:
    """Least values that are exceeded by no more than the rest of the weight; collective.

    Found by bisection, so that nothing is gathered.

    Args:
        comm: Communicator.
        values: This rank's values, finite, (n,).
        weights: Areas or volumes, (n,).
        shares: Shares of the weight, 0 to 1.

    Returns:
        One value per share; NaN without weight.
    """
    whole = total(comm, float(weights.sum()))
    if not whole > 0.0:
        return [float("nan")] * len(shares)
    used = weights > 0.0
    order = np.argsort(values[used], kind="stable")
    ordered, summed = values[used][order], np.cumsum(weights[used][order])
    low = np.full(len(shares), -largest(comm, -ordered))
    high = np.full(len(shares), largest(comm, ordered))
    low -= 1e-12 * np.maximum(1.0, np.abs(low))  # so that the least value can be found
    wanted = np.asarray(shares) * whole * (1.0 - 1e-12)
    summed = np.concatenate([[0.0], summed])
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        below = comm.allreduce(summed[np.searchsorted(ordered, middle, side="right")])
        enough = below >= wanted
        high, low = np.where(enough, middle, high), np.where(enough, low, middle)
    return [float(x) for x in high]


def ball_average(
    comm: MPI.Comm, points: Floats, weights: Floats, values: Floats, radius: float
) -> Floats:
    """Mean of values within a radius of each point, those of other ranks included; collective.

    Args:
        comm: Communicator.
        points: Places of this rank (mm), such as middles of its cells, (n, 3).
        weights: Their volumes, (n,).
        values: (n,) or (n, k).
        radius: Radius of the balls (mm).

    Raises:
        InputError: the radius is negative, or lengths differ.
    """
    flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
    error = None
    if not radius >= 0.0 or not len(points) == len(weights) == len(values):
        error = InputError(
            "ball_average", f"radius {radius:g} mm, {len(points)} points, {len(weights)} weights, "
            f"{len(values)} values.", "Give a radius ≥ 0 and arrays of one length.",
        )  # fmt: skip
    agree(comm, error)
    at = np.column_stack([points, weights, flat])
    at = np.concatenate([at, *_from_others(comm, points, at, radius)])
    # A hair more than the radius, so that rounding does not decide on what lies on the sphere.
    tree = cKDTree(at[:, :3])
    result = np.empty_like(flat, dtype=np.float64)
    for rows in _chunks(len(points)):
        near = tree.query_ball_point(points[rows], radius * (1.0 + 1e-9) + 1e-12)
        count = np.array([len(one) for one in near])
        columns = np.concatenate(near) if len(near) else np.zeros(0)
        which = np.asarray(columns, dtype=np.int64)
        starts = np.concatenate([[0], np.cumsum(count)])
        matrix = csr_array((at[which, 3], which, starts), shape=(len(near), len(at)))
        result[rows] = (matrix @ at[:, 4:]) / matrix.sum(axis=1)[:, None]
    return result.reshape(values.shape)


def _from_others(
    comm: MPI.Comm, points: Floats, rows: Floats, radius: float
) -> list[NDArray[np.float64]]:
    """Rows of other ranks whose points may lie within a radius of this rank's."""
    if comm.size == 1:
        return []
    box = (points.min(axis=0) - radius, points.max(axis=0) + radius) if len(points) else None
    boxes = comm.allgather(box)
    sent = []
    for rank, other in enumerate(boxes):
        if rank == comm.rank or other is None:
            sent.append(rows[:0])
        else:
            sent.append(rows[((points >= other[0]) & (points <= other[1])).all(axis=1)])
    return list(comm.alltoall(sent))


def _chunks(count: int) -> Iterator[slice]:
    return (slice(i, min(i + CHUNK, count)) for i in range(0, count, CHUNK))
