"""Doing a run again from its record, and telling what differs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.case.manifest import git_commit, read_manifest, versions
from organtwin.case.recorded import do_again, read_run
from organtwin.case.records import write_record
from organtwin.case.stages import files_in, sha256
from organtwin.errors import InputError
from organtwin.export.tables import read_table
from organtwin.parallel import on_root

#: Relative difference that is allowed on as many ranks and on others.
SAME_RANKS, OTHER_RANKS = 1e-10, 1e-6
#: Results and columns that tell of the machine, not of the case.
COSTS = {"wall_time", "peak_memory", "newton", "krylov", "factorisations", "calibration_time"}
#: What would be zero but for rounding: compared with this, not with each other.
_ROUNDING = {"blood_volume_drift", "mass_balance", "cavity_volume_gap", "volume_gap [mL]"}
_NOTHING = 1e-5


@dataclass(frozen=True)
class Difference:
    """One result of both runs.

    Attributes:
        name: Of the result, or ``scalars.csv`` and a column.
        before, now: Values; None where there is none, or the largest of a column.
        relative: Largest difference over the size of the value, 0 if they are equal.
        allowed: Largest that is allowed.
    """

    name: str
    before: float | None
    now: float | None
    relative: float
    allowed: float

    @property
    def met(self) -> bool:
        """Whether both are the same within what is allowed."""
        return self.relative <= self.allowed


@dataclass(frozen=True)
class Repetition:
    """What came out of doing a run again.

    Attributes:
        directory: Results of the second run.
        differences: Of results and curves.
        changed: What is not as it was: versions, sources, ranks; in words.
    """

    directory: Path
    differences: tuple[Difference, ...]
    changed: tuple[str, ...]

    @property
    def met(self) -> bool:
        """Whether everything is the same within what is allowed."""
        return all(one.met for one in self.differences)


def repeat(
    record: Path,
    *,
    out: Path | None = None,
    inputs: Sequence[Path] = (),
    other_ranks: bool = False,
    tolerance: float | None = None,
    comm: MPI.Comm = MPI.COMM_WORLD,
) -> Repetition:
    """Do a run again from its record, into another directory, and compare; collective.

    Args:
        record: ``run.json``, or the directory that holds it.
        out: Directory of the second run; that of the first with ``-repeated`` behind by default.
        inputs: Files, and folders of them, that are where the record does not say; files are known
            by their content.
        other_ranks: Go on although the number of ranks is another.
        tolerance: Allowed relative difference; by the ranks if None.
        comm: Communicator.

    Raises:
        InputError: the record is unreadable, of a run that was not complete or of a kind that
            can't be repeated; an input is missing or was changed; or the ranks differ.
    """
    first = record if record.is_dir() else record.parent
    before = on_root(comm, lambda: read_run(first))
    same = before["mpi_size"] == comm.size
    if not same and not other_ranks:
        raise InputError(
            str(first / "run.json"),
            f"the run was made on {before['mpi_size']} MPI rank(s), this one has {comm.size}.",
            f"Use `mpirun -n {before['mpi_size']}`, or --other-ranks for a comparison to "
            f"{OTHER_RANKS:g}.",
        )
    moved = on_root(comm, lambda: _found(before["inputs"], inputs))
    directory = out or first.absolute().with_name(f"{first.absolute().name}-repeated")
    if directory.absolute() == first.absolute():
        raise InputError("--out", "that is where the first run lies.", "Choose another directory.")
    done = on_root(comm, lambda: (read_manifest(directory) or {}).get("status"))
    if done == "complete":
        raise InputError(
            str(directory), "it holds a complete run already.", "Choose another with --out."
        )
    do_again(_with(before["case"], moved), directory, set(before["stages"]), comm)
    allowed = tolerance if tolerance is not None else (SAME_RANKS if same else OTHER_RANKS)

    def compare() -> Repetition:
        now = read_run(directory)
        differences = (
            *results_differ(before["results"], now["results"], allowed),
            *curves_differ(first / "scalars.csv", directory / "scalars.csv", allowed),
        )
        found = Repetition(directory, differences, tuple(changes(before)))
        write_record(
            directory / "repeat.json",
            {
                "met": found.met, "changed": found.changed, "allowed": allowed,
                "differences": [{**asdict(one), "met": one.met} for one in found.differences],
            },
        )  # fmt: skip
        return found

    return on_root(comm, compare)


def results_differ(
    before: Mapping[str, Any], now: Mapping[str, Any], allowed: float
) -> list[Difference]:
    """Differences of the results of two records; those of one alone are told too."""
    found = []
    for name in sorted({*before, *now} - COSTS):
        a, b = (results.get(name, {}).get("value") for results in (before, now))
        if (name in before) != (name in now) or (a is None) != (b is None):
            found.append(Difference(name, a, b, math.inf, allowed))
        elif a is not None:
            small = name in _ROUNDING and max(abs(a), abs(b)) < _NOTHING
            found.append(Difference(name, a, b, 0.0 if small else _relative(a, b), allowed))
    return found


def curves_differ(before: Path, now: Path, allowed: float) -> list[Difference]:
    """Largest differences of the columns of two tables over their sizes."""
    if before.is_file() != now.is_file():
        return [Difference("scalars.csv", None, None, math.inf, allowed)]
    if not before.is_file():
        return []
    one, other = read_table(before), read_table(now)
    found = []
    for name in sorted({*one, *other} - COSTS):
        place = f"scalars.csv, {name}"
        if name not in one or name not in other or len(one[name]) != len(other[name]):
            found.append(Difference(place, None, None, math.inf, allowed))
            continue
        a, b = one[name], other[name]
        if (np.isnan(a) != np.isnan(b)).any():
            found.append(Difference(place, None, None, math.inf, allowed))
            continue
        a, b = a[~np.isnan(a)], b[~np.isnan(b)]
        size = max(float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0)))
        change = float(np.abs(a - b).max(initial=0.0))
        small = name in _ROUNDING and size < _NOTHING
        relative = 0.0 if change == 0.0 or small else change / size
        found.append(Difference(place, _top(a), _top(b), relative, allowed))
    return found


def changes(before: Mapping[str, Any]) -> list[str]:
    """What this installation has otherwise than that of a record, in words."""
    told = []
    now, then = versions(), before["versions"]
    for name in sorted({*now, *then}):
        if now.get(name) != then.get(name):
            told.append(f"{name}: {then.get(name, 'none')} → {now.get(name, 'none')}")
    commit = git_commit()
    if commit != before.get("git_commit"):
        told.append(f"sources: {before.get('git_commit')} → {commit}")
    elif commit is not None and commit.endswith("+changes"):
        told.append(f"sources: changed since {commit.removesuffix('+changes')} in both runs")
    return told


def _top(column: NDArray[np.float64]) -> float | None:
    return float(column.max()) if len(column) else None


def _relative(a: float, b: float) -> float:
    return 0.0 if a == b else abs(a - b) / max(abs(a), abs(b))


def _found(recorded: Mapping[str, str], given: Sequence[Path]) -> dict[str, str]:
    """Path in the record → path now, of inputs that have the content that they had.

    Raises:
        InputError: naming all that are missing or changed.
    """
    by_content = {sha256(file): file for file in files_in(given)}
    moved, lacking = {}, []
    for name, digest in recorded.items():
        there = Path(name)
        if digest in by_content:
            moved[name] = str(by_content[digest].absolute())
        elif not there.is_file():
            lacking.append(f"{name} is missing")
        elif sha256(there) != digest:
            lacking.append(f"{name} was changed")
    if lacking:
        raise InputError(
            "inputs", "; ".join(lacking) + ".",
            "Bring back the files as they were; --input says where a file or a folder is now.",
        )  # fmt: skip
    return moved | _folders(moved)


def _folders(moved: Mapping[str, str]) -> dict[str, str]:
    """Folders of inputs, all of which are in the same places below another folder now."""
    found: dict[str, set[str]] = {}
    for name, now in moved.items():
        parts, there = Path(name).parts, Path(now).parts
        for depth in range(1, len(parts)):
            below = len(parts) - depth
            same = there[-below:] == parts[depth:]
            new = str(Path(*there[:-below])) if same and len(there) > below else ""
            found.setdefault(str(Path(*parts[:depth])), set()).add(new)
    return {name: new.pop() for name, new in found.items() if len(new) == 1 and new != {""}}


def _with(value: Any, moved: Mapping[str, str]) -> Any:
    """A case with its input files where they are now."""
    if isinstance(value, dict):
        return {key: _with(one, moved) for key, one in value.items()}
    if isinstance(value, list):
        return [_with(one, moved) for one in value]
    return moved.get(value, value) if isinstance(value, str) else value
