"""Ranks that wait for rank 0 leave their cores to others."""

from __future__ import annotations

import time

from mpi4py import MPI

from organtwin.parallel import on_root


def test_ranks_sleep_while_the_first_one_works() -> None:
    comm = MPI.COMM_WORLD
    before = time.process_time()
    assert on_root(comm, lambda: (time.sleep(1.0), 5)[1]) == 5
    spent = comm.allreduce(time.process_time() - before, op=MPI.MAX)
    assert spent < 0.5  # of processor time, whatever else the machine does
