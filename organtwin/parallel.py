"""What ranks do together: work done once, errors raised by all or by none."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from types import TracebackType

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import OrgantwinError

#: Sleep of a waiting rank between two looks at the others (s), doubled from look to look.
SHORTEST_SLEEP, LONGEST_SLEEP = 1e-5, 0.05


def on_root[T](comm: MPI.Comm, work: Callable[[], T]) -> T:
    """Run ``work`` on rank 0 and hand its (small, picklable) result to every rank.

    An error on rank 0 is raised on every rank, so that none waits for ever. The others sleep
    meanwhile.

    Args:
        comm: Communicator; all of its ranks must call.
        work: Function without arguments; runs on rank 0 only.

    Returns:
        What ``work`` returned, on every rank.
    """
    outcome: tuple[T | None, BaseException | None] = (None, None)
    if comm.rank == 0:
        try:
            outcome = (work(), None)
        except Exception as error:
            outcome = (None, error)
    _meet(comm)
    result, failure = comm.bcast(outcome)
    if failure is not None:
        raise failure
    return result


def _meet(comm: MPI.Comm) -> None:
    """Wait for all ranks asleep: MPI's own waiting keeps a core busy, which others may need."""
    if comm.size == 1:
        return
    here, pause = comm.Ibarrier(), SHORTEST_SLEEP
    while not here.Test():
        time.sleep(pause)
        pause = min(2.0 * pause, LONGEST_SLEEP)


def agree(comm: MPI.Comm, error: OrgantwinError | None) -> None:
    """Raise on every rank the error of the lowest rank that has one; collective."""
    errors = [found for found in comm.allgather(error) if found is not None]
    if errors:
        raise errors[0]


def total(comm: MPI.Comm, value: float) -> float:
    """Sum of ``value`` over the ranks."""
    return float(comm.allreduce(value, op=MPI.SUM))


def quantiles(
    comm: MPI.Comm, values: NDArray[np.float64], shares: Sequence[float]
) -> NDArray[np.float64]:
    """Values that given shares of all ranks' values do not exceed; NaN of none; collective.

    Found by bisection on the number of values below, so that nothing is gathered.

    Args:
        comm: Communicator.
        values: This rank's values, finite.
        shares: Shares, 0 to 1.
    """
    count = comm.allreduce(len(values))
    if count == 0:
        return np.full(len(shares), np.nan)
    low = np.full(len(shares), comm.allreduce(float(values.min(initial=np.inf)), op=MPI.MIN))
    high = np.full(len(shares), comm.allreduce(float(values.max(initial=-np.inf)), op=MPI.MAX))
    wanted = np.maximum(1, np.ceil(np.asarray(shares) * count))
    ordered = np.sort(values)
    below = np.empty(len(shares), dtype=np.int64)
    for _ in range(60):
        middle = (low + high) / 2
        comm.Allreduce(np.searchsorted(ordered, middle, side="right").astype(np.int64), below)
        enough = below >= wanted
        high = np.where(enough, middle, high)
        low = np.where(enough, low, middle)
    return np.asarray(high)


def abort_on_uncaught_error(comm: MPI.Comm = MPI.COMM_WORLD) -> None:
    """Make an error that only one rank meets end the whole run instead of hanging it."""
    if comm.size == 1:
        return

    def hook(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        traceback.print_exception(kind, value, trace)
        sys.stderr.flush()
        comm.Abort(1)

    sys.excepthook = hook
