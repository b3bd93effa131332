"""What a verification problem is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mpi4py import MPI

from organtwin.parallel import on_root
from organtwin.verify.record import Record


@dataclass(frozen=True)
class Problem:
    """A problem with a known answer.

    Attributes:
        name: Name on the command line.
        about: What it verifies, in a line.
        compute: ``(comm, quick) -> records``; ``quick`` takes a coarser mesh. Collective.
    """

    name: str
    about: str
    compute: Callable[[MPI.Comm, bool], list[Record]]


@contextmanager
def shared_file(comm: MPI.Comm, name: str) -> Iterator[Path]:
    """Path of a file in a folder that all ranks have in common while the block runs."""
    folder = on_root(comm, lambda: Path(tempfile.mkdtemp()))
    try:
        yield folder / name
    finally:
        comm.barrier()
        if comm.rank == 0:
            shutil.rmtree(folder)
