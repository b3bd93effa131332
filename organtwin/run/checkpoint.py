"""Stopping and going on: the state of a process in files, one per rank, the last two of them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError, OrgantwinError
from organtwin.parallel import agree, on_root
from organtwin.process import HasFactors, HasState, Places
from organtwin.solve.outcome import Step

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

#: Records of the newest state and of the one before.
NEWEST, OLDER = "checkpoint.json", "checkpoint_older.json"
#: Distance (mm) of two entries that are the same one, and of two components of one entry.
_SAME, _APART = 1e-5, 1e6


@dataclass(frozen=True)
class Kept:
    """Arrays that a checkpoint writes or reads, by name."""

    state: Mapping[str, Array]


class Checkpoint:
    """Observer that keeps the newest state and the one before.

    A state goes to files of its own, first under other names; when all ranks have written and
    synced theirs they get their names, and ``checkpoint.json``, which holds the checksums of all
    of them, is replaced last. So a kill at any time leaves a state that is whole, and so does a
    disk that is full: the run then warns and goes on. A state in which an array got NaN is not
    kept, since no run could go on from it.

    Args:
        comm: Communicator.
        folder: Where the files go.
        process: Whose state.
        every: Interval (ms).
        note: Gives whatever else is needed to go on (JSON), and to tell whether this is the same
            run.
        places: Where the entries of the state are. With it a run on another number of ranks can
            go on from here.
        before: Called before each state is written: brings to the disk what others wrote up to it.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        folder: Path,
        process: HasState,
        every: float,
        note: Callable[[], Mapping[str, Any]],
        places: Places | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self.every = every
        #: Time (ms) of the state that was written last, and when that was (`time.monotonic`, s).
        self.last: float | None = None
        self.written = time.monotonic()
        self._comm = comm
        self._folder = folder
        self._process = process
        self._note = note
        self._places = places
        self._bring = before
        # What begins as NaN means "not yet".
        self._blank = _without_number(process.state)
        # Never write over the files that a run may have to go on from.
        self._before = on_root(comm, lambda: _whole(folder))

    def observe(self, t: float, step: Step) -> None:
        """Write the present state; collective."""
        spoiled = self._spoiled()
        if spoiled:
            logger.warning(
                "The state at t = %g ms is not kept: `%s` is not a number somewhere. Running the "
                "case again goes on from the checkpoint before.", t, spoiled,
            )  # fmt: skip
            return
        turn = 1 - self._before["turn"] if self._before else 0
        try:
            self._bring()
            self._before = self._write(t, turn)
        except _WriteError as error:
            logger.warning(
                "The state at t = %g ms could not be kept (%s); the checkpoint before stays.",
                t, error.problem,
            )  # fmt: skip
            return
        self.last, self.written = t, time.monotonic()

    def _spoiled(self) -> str:
        """Name of an array that got NaN on some rank, else nothing; collective."""
        mine = sorted(_without_number(self._process.state) - self._blank)
        told = self._comm.allgather(mine[0] if mine else "")
        return next((name for name in told if name), "")

    def _write(self, t: float, turn: int) -> dict[str, Any]:
        """Write files and record, and give the record; what fails on one rank is raised on all."""
        comm, folder = self._comm, self._folder
        arrays: dict[Path, Mapping[str, Array]] = {
            _state_file(folder, turn, comm.rank): self._process.state
        }
        if isinstance(self._process, HasFactors):
            arrays[_factors_file(folder, turn, comm.rank)] = self._process.factors()
        if self._places is not None:
            arrays[_places_file(folder, turn, comm.rank)] = self._places.keys
        digests: dict[str, str] = {}
        error: _WriteError | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file, content in arrays.items():
                digests[file.name] = _save(_draft(file), content)
        except OSError as problem:
            error = _WriteError(str(folder), problem.strerror or str(problem))
        try:
            agree(comm, error)
        except _WriteError:
            for file in arrays:
                _draft(file).unlink(missing_ok=True)
            raise
        for file in arrays:
            _draft(file).replace(file)
        every = comm.gather(digests)
        record = {
            "t": t,
            "turn": turn,
            "mpi_size": comm.size,
            "any_ranks": self._places is not None,
            "note": dict(self._note()),
        }

        def note() -> dict[str, Any]:
            files = {name: digest for found in every or [] for name, digest in found.items()}
            try:
                return _record(folder, {**record, "files": files}, self._before)
            except OSError as problem:
                raise _WriteError(str(folder), problem.strerror or str(problem)) from None

        return on_root(comm, note)


class _WriteError(OrgantwinError):
    """A checkpoint could not be written."""


def _without_number(state: Mapping[str, Array]) -> set[str]:
    return {name for name, values in state.items() if np.isnan(values).any()}


def read_checkpoint(folder: Path, comm: MPI.Comm) -> tuple[float, dict[str, Any]] | None:
    """Time (ms) and note of a checkpoint that this number of ranks can go on from; collective.

    Of two that are there the newest whose files have their checksums; a damaged one is told.
    """

    def find() -> tuple[float, dict[str, Any]] | None:
        record = _whole(folder, tell=True)
        if record is None or (record["mpi_size"] != comm.size and not record["any_ranks"]):
            return None
        return float(record["t"]), dict(record["note"])

    return on_root(comm, find)


def restore(folder: Path, process: HasState, comm: MPI.Comm, places: Places | None = None) -> None:
    """Write the state of `read_checkpoint` into a process on the same mesh; collective.

    Args:
        folder: Folder of the checkpoint.
        process: Whose state is written.
        comm: Communicator.
        places: Where the entries of its state are; needed if the number of ranks is another.

    Raises:
        InputError: there is no whole checkpoint, or its state does not fit this process.
    """
    record = on_root(comm, lambda: _whole(folder))
    if record is None:
        raise InputError(str(folder), "it holds no whole checkpoint.", f"Delete {folder}.")
    if record["mpi_size"] != comm.size:
        agree(comm, _share_out(folder, record, process.state, places))
        return
    with np.load(_state_file(folder, record["turn"], comm.rank)) as saved:
        for name, values in process.state.items():
            values[...] = saved[name]
    factors = _factors_file(folder, record["turn"], comm.rank)
    if isinstance(process, HasFactors) and factors.name in record["files"]:
        with np.load(factors) as known:
            process.take_factors(dict(known))


def _share_out(
    folder: Path, record: Mapping[str, Any], state: Mapping[str, Array], places: Places | None
) -> InputError | None:
    """Write the entries that this rank has, from one file after the other; why not, if not."""
    remedy = f"Go on with {record['mpi_size']} MPI ranks, or delete {folder}."
    if places is None:
        return InputError(str(folder), "it is of a run on another number of ranks.", remedy)
    missing = {kind: np.ones(len(keys), dtype=bool) for kind, keys in places.keys.items()}
    for rank in range(record["mpi_size"]):
        with (
            np.load(_places_file(folder, record["turn"], rank)) as known,
            np.load(_state_file(folder, record["turn"], rank)) as saved,
        ):
            here = {}
            for kind, keys in places.keys.items():
                here[kind] = _matched(known[kind], keys)
                missing[kind][here[kind][0]] = False
            for name, values in state.items():
                if name in places.of:
                    mine, theirs = here[places.of[name]]
                    values[..., mine] = saved[name][..., theirs]
                elif rank == 0 and values.shape == saved[name].shape:
                    values[...] = saved[name]
                elif rank == 0:
                    return InputError(str(folder), f"`{name}` cannot be shared out.", remedy)
    for kind, lacking in missing.items():
        if lacking.any():
            return InputError(str(folder), f"it lacks entries of `{kind}`.", remedy)
    return None


def _matched(theirs: Array, mine: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the entries of ``mine`` that are among ``theirs``, and which these are."""
    if len(theirs) == 0 or len(mine) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    _, found = cKDTree(_spread_out(theirs)).query(_spread_out(mine), distance_upper_bound=_SAME)
    hit = np.flatnonzero(found < len(theirs))
    return hit, np.asarray(found)[hit]


def _spread_out(keys: Array) -> Array:
    return keys * [1.0, 1.0, 1.0, _APART]


# --- files ---------------------------------------------------------------------------------------


def _whole(folder: Path, *, tell: bool = False) -> dict[str, Any] | None:
    """Record of the newest checkpoint whose files are as they were written; on one rank."""
    damaged = ""
    for name in (NEWEST, OLDER):
        file = folder / name
        if not file.is_file():
            continue
        try:
            record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            reason = _damage(folder, record)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"{name} can't be read ({type(error).__name__})"
        if reason:
            damaged = damaged or reason
            continue
        if tell and damaged:
            logger.warning(
                "The newest checkpoint is damaged (%s): going on from the one before, at "
                "t = %g ms.", damaged, record["t"],
            )  # fmt: skip
        return record
    if tell and damaged:
        logger.warning("No checkpoint is whole (%s): starting from the beginning.", damaged)
    return None


def _damage(folder: Path, record: Mapping[str, Any]) -> str:
    """What is wrong with a record or its files, else nothing."""
    content = {name: value for name, value in record.items() if name != "sum"}
    if record["sum"] != _sum(content):
        return "its record was changed"
    for name, digest in record["files"].items():
        file = folder / name
        try:
            found = file.stat()
            same = _digest(file, found.st_mtime_ns, found.st_size) == digest
        except OSError:
            return f"{name} is missing"
        if not same:
            return f"{name} is not as it was written"
    return ""


def _record(
    folder: Path, record: Mapping[str, Any], before: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Put a record in the place of the newest, and the one before in that of the older one."""
    # As it will be read, so that the sum is that of what is read.
    content: dict[str, Any] = json.loads(json.dumps(record))
    content["sum"] = _sum(content)
    if before is not None:
        _replace(folder / OLDER, json.dumps(before))
    _replace(folder / NEWEST, json.dumps(content))
    return content


def _sum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _save(file: Path, arrays: Mapping[str, Array]) -> str:
    """Write arrays to the disk itself; the checksum of the file."""
    with file.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
        stream.flush()
        os.fsync(stream.fileno())
    found = file.stat()
    return _digest(file, found.st_mtime_ns, found.st_size)


@cache
def _digest(file: Path, changed: int, size: int) -> str:
    """SHA-256 of a file, computed once as long as it is as it was."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _replace(path: Path, text: str) -> None:
    """Write a whole file, on the disk itself, in the place of another."""
    with _draft(path).open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    _draft(path).replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _places_file(folder: Path, turn: int, rank: int) -> Path:
    return folder / f"places_{turn}_{rank}.npz"


def _factors_file(folder: Path, turn: int, rank: int) -> Path:
    return folder / f"factors_{turn}_{rank}.npz"


def _state_file(folder: Path, turn: int, rank: int) -> Path:
    return folder / f"state_{turn}_{rank}.npz"
