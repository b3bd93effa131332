"""Stopping and going on: the state of a process in files, one per rank."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.parallel import agree, on_root
from organtwin.process import Places, Process
from organtwin.solve.outcome import Step

Array = NDArray[np.float64]

#: Distance (mm) of two entries that are the same one, and of two components of one entry.
_SAME, _APART = 1e-5, 1e6


class Checkpoint:
    """Observer that keeps the newest state.

    The state goes to files of alternating names, and ``checkpoint.json``, which names them, is
    replaced last: a run that is killed while writing leaves the state before.

    Args:
        comm: Communicator.
        folder: Where the files go.
        process: Whose state.
        every: Interval (ms).
        note: Gives whatever else is needed to go on (JSON), and to tell whether this is the same
            run.
        places: Where the entries of the state are. With it a run on another number of ranks can
            go on from here.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        folder: Path,
        process: Process,
        every: float,
        note: Callable[[], Mapping[str, Any]],
        places: Places | None = None,
    ) -> None:
        self.every = every
        self._comm = comm
        self._folder = folder
        self._process = process
        self._note = note
        self._places = places
        # Never write over the files that a run may have to go on from.
        self._turn = on_root(comm, lambda: _newest_turn(folder))

    def observe(self, t: float, step: Step) -> None:
        """Write the present state; collective."""
        self._turn = 1 - self._turn
        on_root(self._comm, lambda: self._folder.mkdir(parents=True, exist_ok=True))
        with _state_file(self._folder, self._turn, self._comm.rank).open("wb") as stream:
            np.savez(stream, allow_pickle=False, **self._process.state)
            stream.flush()
            os.fsync(stream.fileno())
        if self._places is not None:
            _write_places(self._places, _places_file(self._folder, self._turn, self._comm.rank))
        self._comm.barrier()
        record = {
            "t": t,
            "turn": self._turn,
            "mpi_size": self._comm.size,
            "any_ranks": self._places is not None,
            "note": dict(self._note()),
        }
        on_root(self._comm, lambda: _replace(self._folder / "checkpoint.json", record))


def read_checkpoint(folder: Path, comm: MPI.Comm) -> tuple[float, dict[str, Any]] | None:
    """Time (ms) and note of a checkpoint that this number of ranks can go on from; collective."""

    def find() -> tuple[float, dict[str, Any]] | None:
        try:
            record = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
            files = [_state_file(folder, record["turn"], r) for r in range(record["mpi_size"])]
            if record["mpi_size"] != comm.size:
                if not record["any_ranks"]:
                    return None
                files += [_places_file(folder, record["turn"], r) for r in range(len(files))]
            if not all(file.is_file() for file in files):
                return None
            return float(record["t"]), dict(record["note"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # absent or damaged: the run starts from the beginning

    return on_root(comm, find)


def restore(folder: Path, process: Process, comm: MPI.Comm, places: Places | None = None) -> None:
    """Write the state of `read_checkpoint` into a process on the same mesh; collective.

    Args:
        folder: Folder of the checkpoint.
        process: Whose state is written.
        comm: Communicator.
        places: Where the entries of its state are; needed if the number of ranks is another.

    Raises:
        InputError: the state does not fit another number of ranks.
    """
    record = on_root(comm, lambda: json.loads((folder / "checkpoint.json").read_text()))
    if record["mpi_size"] != comm.size:
        agree(comm, _share_out(folder, record, process.state, places))
        return
    with np.load(_state_file(folder, record["turn"], comm.rank)) as saved:
        for name, values in process.state.items():
            values[...] = saved[name]


def _share_out(
    folder: Path, record: Mapping[str, Any], state: Mapping[str, Array], places: Places | None
) -> InputError | None:
    """Write the entries that this rank has; why that is not possible, if it is not."""
    remedy = f"Go on with {record['mpi_size']} MPI ranks, or delete {folder}."
    if places is None:
        return InputError(str(folder), "it is of a run on another number of ranks.", remedy)
    ranks = range(record["mpi_size"])
    saved = [dict(np.load(_state_file(folder, record["turn"], rank))) for rank in ranks]
    known = [dict(np.load(_places_file(folder, record["turn"], rank))) for rank in ranks]
    found: dict[str, NDArray[np.int64]] = {}
    for kind, keys in places.keys.items():
        distance, found[kind] = cKDTree(
            _spread_out(np.concatenate([k[kind] for k in known]))
        ).query(_spread_out(keys))
        if len(keys) and distance.max() > _SAME:
            return InputError(str(folder), f"it lacks entries of `{kind}`.", remedy)
    for name, values in state.items():
        if name in places.of:
            at = found[places.of[name]]
            values[...] = np.concatenate([s[name] for s in saved], axis=-1)[..., at]
        elif values.shape == saved[0][name].shape:
            values[...] = saved[0][name]
        else:
            return InputError(str(folder), f"`{name}` cannot be shared out otherwise.", remedy)
    return None


def _spread_out(keys: Array) -> Array:
    return keys * [1.0, 1.0, 1.0, _APART]


def _write_places(places: Places, file: Path) -> None:
    with file.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **places.keys)
        stream.flush()
        os.fsync(stream.fileno())


def _places_file(folder: Path, turn: int, rank: int) -> Path:
    return folder / f"places_{turn}_{rank}.npz"


def _newest_turn(folder: Path) -> int:
    try:
        return int(json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))["turn"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0  # none, or damaged


def _state_file(folder: Path, turn: int, rank: int) -> Path:
    return folder / f"state_{turn}_{rank}.npz"


def _replace(path: Path, record: Mapping[str, Any]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(record), encoding="utf-8")
    draft.replace(path)
