"""Where members run: here, in processes, on the ranks of MPI, on a Dask cluster."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

from mpi4py import MPI

from organtwin.errors import InputError, SetupError


class Serial(Executor):
    """Runs what is submitted at once, in this process."""

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do it now; the future is done."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def executor(
    workers: int = 1, *, cluster: str | None = None, comm: MPI.Intracomm = MPI.COMM_WORLD
) -> Iterator[Executor | None]:
    """An executor for members, as `concurrent.futures` defines it.

    On several ranks, rank 0 hands out the work and the others do it: they get None, and leave when
    rank 0 does. Otherwise a Dask cluster, if there is an address, or processes.

    Args:
        workers: Number of processes on this machine; 1 works in this one.
        cluster: Address of a Dask scheduler, such as ``tcp://10.0.0.1:8786``.
        comm: Communicator whose ranks work, if there are several.

    Raises:
        InputError: fewer than one worker.
        SetupError: a cluster is asked for and Dask is missing.
    """
    if workers < 1:
        raise InputError("--workers", f"{workers} workers.", "Give at least one.")
    if comm.size > 1:
        from mpi4py.futures import MPICommExecutor

        with MPICommExecutor(comm, root=0) as pool:
            yield cast("Executor | None", pool)
    elif cluster is not None:
        with _dask(cluster) as pool:
            yield pool
    elif workers > 1:
        # A forked child would share MPI's connections: start anew.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            yield pool
    else:
        yield Serial()


@contextmanager
def _dask(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError:
        raise SetupError(
            "--cluster", "Dask is not installed.", "`pip install distributed` brings it."
        ) from None
    with Client(address) as client:
        yield client.get_executor(pure=False)
