"""Stopping and going on: the state of a process in files, one per rank."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.parallel import on_root
from organtwin.process import Process
from organtwin.solve.outcome import Step

Array = NDArray[np.float64]


class Checkpoint:
    """Observer that keeps the newest state.

    The state goes to files of alternating names, and ``checkpoint.json``, which names them, is
    replaced last: a run that is killed while writing leaves the state before.

    Args:
        comm: Communicator.
        folder: Where the files go.
        process: Whose state.
        every: Interval (ms).
        note: Whatever else is needed to go on (JSON), and to tell whether this is the same run.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        folder: Path,
        process: Process,
        every: float,
        note: Mapping[str, Any],
    ) -> None:
        self.every = every
        self._comm = comm
        self._folder = folder
        self._process = process
        self._note = dict(note)
        self._turn = 0

    def observe(self, t: float, step: Step) -> None:
        """Write the present state; collective."""
        self._turn = 1 - self._turn
        on_root(self._comm, lambda: self._folder.mkdir(parents=True, exist_ok=True))
        with _state_file(self._folder, self._turn, self._comm.rank).open("wb") as stream:
            np.savez(stream, allow_pickle=False, **self._process.state)
            stream.flush()
            os.fsync(stream.fileno())
        self._comm.barrier()
        record = {"t": t, "turn": self._turn, "mpi_size": self._comm.size, "note": self._note}
        on_root(self._comm, lambda: _replace(self._folder / "checkpoint.json", record))


def read_checkpoint(folder: Path, comm: MPI.Comm) -> tuple[float, dict[str, Any]] | None:
    """Time (ms) and note of a checkpoint that this number of ranks can go on from; collective."""

    def find() -> tuple[float, dict[str, Any]] | None:
        try:
            record = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
            files = [_state_file(folder, record["turn"], r) for r in range(record["mpi_size"])]
            if record["mpi_size"] != comm.size or not all(file.is_file() for file in files):
                return None
            return float(record["t"]), dict(record["note"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # absent or damaged: the run starts from the beginning

    return on_root(comm, find)


def restore(folder: Path, process: Process, comm: MPI.Comm) -> None:
    """Write the state of `read_checkpoint` into a process on the same mesh; collective."""
    record = on_root(comm, lambda: json.loads((folder / "checkpoint.json").read_text()))
    with np.load(_state_file(folder, record["turn"], comm.rank)) as saved:
        for name, values in process.state.items():
            values[...] = saved[name]


def _state_file(folder: Path, turn: int, rank: int) -> Path:
    return folder / f"state_{turn}_{rank}.npz"


def _replace(path: Path, record: Mapping[str, Any]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(record), encoding="utf-8")
    draft.replace(path)
