"""``run.json``: what was computed, from what, with what, at what cost, and what came out."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import psutil
from mpi4py import MPI

import organtwin
from organtwin import audit
from organtwin.case.organ import OrganCase
from organtwin.case.schema import Case
from organtwin.case.schema_calibration import CalibrationCase
from organtwin.case.schema_implant import ImplantCase
from organtwin.case.schema_tavr import TavrCase
from organtwin.case.stages import StageAccount, sha256
from organtwin.credibility import write_credibility
from organtwin.errors import InputError
from organtwin.export.atomic import write_text
from organtwin.parallel import on_root
from organtwin.permissions import close_folder, restricted
from organtwin.run import lock
from organtwin.run.lock import locked
from organtwin.run.stopping import StoppedError

logger = logging.getLogger(__name__)

PACKAGES = (
    "fenics-dolfinx", "dolfinx-solver-real", "fenics-basix", "fenics-ffcx", "fenics-ufl",
    "mpi4py", "mpich", "numpy", "scipy", "gmsh", "mmgpy", "simpleitk", "sympy", "h5py",
    "pydantic", "pint", "dageo", "SALib", "pyvista", "vtk", "matplotlib",
)  # fmt: skip


type AnyCase = Case | OrganCase | CalibrationCase | TavrCase | ImplantCase


@dataclass
class Manifest:
    """The record of a run, kept on rank 0 and written after every stage.

    Attributes:
        path: Where it is written; None on the other ranks, which then write nothing.
        content: What ``run.json`` holds.
    """

    path: Path | None
    content: dict[str, Any] = field(default_factory=dict)

    def add_stage(self, account: StageAccount) -> None:
        """Note what a stage cost."""
        entry = asdict(account)
        self.content["stages"][entry.pop("name")] = entry
        self.write()

    def add_decisions(self, decisions: Sequence[str]) -> None:
        """Note modelling decisions, in words."""
        known = self.content["decisions"]
        known += [decision for decision in decisions if decision not in known]
        self.write()

    def add_solver(self, statistics: Mapping[str, Any]) -> None:
        """Note iterations, factorisations and the like."""
        self.content["solver"].update(statistics)
        self.write()

    def add_results(self, results: Mapping[str, tuple[float, str]]) -> None:
        """Note results as name → (value, unit)."""
        for name, (value, unit) in results.items():
            number = float(value) if math.isfinite(value) else None  # JSON knows no NaN
            self.content["results"][name] = {"value": number, "unit": unit}
        self.write()

    def write(self) -> None:
        """Write ``run.json`` in one step."""
        if self.path is not None:
            text = json.dumps(self.content, indent=2, allow_nan=False, default=float)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, text + "\n")


@contextmanager
def recording(
    directory: Path, case: AnyCase, inputs: Sequence[Path], comm: MPI.Comm
) -> Iterator[Manifest]:
    """Keep ``run.json`` while the block runs; its ``status`` tells how the block ended.

    ``running``, then ``complete``, ``interrupted`` or ``failed``. The stages and results of an
    earlier run of the same case stay, so that stages can be run one by one.

    Args:
        directory: Result directory.
        case: The resolved case.
        inputs: Files that the case reads.
        comm: Rank 0 writes.

    Raises:
        InputError: nothing can be written in the directory, or another run writes there; or what
            the block raised.
    """
    with restricted():
        on_root(comm, lambda: _check_writable(directory))
        with locked(directory, comm):
            yield from _recorded(directory, case, inputs, comm)


def _recorded(
    directory: Path, case: AnyCase, inputs: Sequence[Path], comm: MPI.Comm
) -> Iterator[Manifest]:
    path = directory / "run.json" if comm.rank == 0 else None
    content = describe(case, inputs, comm)
    earlier = read_manifest(directory)
    if (
        earlier
        and earlier.get("case") == content["case"]
        and earlier["inputs"] == content["inputs"]
    ):
        content.update({key: earlier[key] for key in ("stages", "solver", "decisions", "results")})
    manifest = Manifest(path, content)
    manifest.write()
    first = on_root(comm, lambda: not (directory / audit.NAME).exists())
    log = on_root(comm, lambda: _begin(directory, content, earlier))
    start = time.perf_counter()
    try:
        yield manifest
        _finish(manifest, "complete", start)
        if manifest.path is not None:
            write_credibility(directory)
        _end(log, "complete", comm)
    except BaseException as error:
        try:
            _note_end(error, manifest, earlier, log, first, start, comm)
        except OSError as problem:  # of a disk that is full, say: the error itself tells more
            logger.warning("run.json could not be written: %s", problem)
        raise


def _note_end(
    error: BaseException,
    manifest: Manifest,
    earlier: Mapping[str, Any] | None,
    log: audit.Run,
    first: bool,
    start: float,
    comm: MPI.Comm,
) -> None:
    """Note that a run ended by an error; this rank alone, since others may not answer."""
    stopped = isinstance(error, KeyboardInterrupt | StoppedError)
    _end(log, "interrupted" if stopped else audit.outcome(error), comm)
    if isinstance(error, InputError):
        if manifest.path is not None and not _undone(manifest.path.parent, earlier, first):
            manifest.content["error"] = str(error)
            _finish(manifest, "failed", start)
    elif stopped:
        _finish(manifest, "interrupted", start)
    else:
        manifest.content["error"] = f"{type(error).__name__}: {error}"
        _finish(manifest, "failed", start)


def _begin(
    directory: Path, content: Mapping[str, Any], earlier: Mapping[str, Any] | None
) -> audit.Run:
    """Close an earlier run's directory to others, and begin an entry of the audit log; rank 0."""
    if earlier is not None:
        close_folder(directory)
    facts = {"version": content["versions"]["organtwin"], "commit": content["git_commit"],
             "ranks": content["mpi_size"]}  # fmt: skip
    hashes = audit.numbered(content["inputs"].values())
    return audit.begin(audit.place(directory), audit.command(), hashes, facts)


def _end(log: audit.Run, outcome: str, comm: MPI.Comm) -> None:
    if comm.rank == 0:
        log.end(outcome)


def _undone(directory: Path, earlier: Mapping[str, Any] | None, first: bool) -> bool:
    """Leave a directory as if a wrong case had not been run there, if nothing was done for it."""
    path, log = directory / "run.json", directory / audit.NAME
    if earlier is not None:
        Manifest(path, dict(earlier)).write()
        return True
    own = {path.name, audit.NAME, f"{audit.NAME}.head", lock.NAME}
    if not first or {file.name for file in directory.iterdir()} - own:
        return False
    path.unlink(missing_ok=True)
    if audit.place(directory) == log:
        audit.forget(log)
    if not any(directory.iterdir()):
        directory.rmdir()
    return True


def _check_writable(directory: Path) -> None:
    """Refuse a result directory before anything is computed for it."""
    there = next(folder for folder in (directory, *directory.absolute().parents) if folder.exists())
    try:
        if not there.is_dir():
            raise NotADirectoryError
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise InputError(
            f"result directory {directory}",
            f"nothing can be written there ({error.strerror or 'not a directory'}).",
            "Choose another with --out or [output] directory.",
        ) from None


def describe(case: AnyCase, inputs: Sequence[Path], comm: MPI.Comm) -> dict[str, Any]:
    """What is known of a run before it starts."""
    return {
        "status": "running",
        "title": case.title,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "case": case.model_dump(mode="json", exclude_none=True),
        "inputs": {str(file): sha256(file) for file in inputs},
        "versions": versions(),
        "git_commit": git_commit(),
        "machine": machine(),
        "mpi_size": comm.size,
        "stages": {},
        "solver": {},
        "decisions": [],
        "results": {},
    }


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """``run.json`` of a result directory, if it is there and whole."""
    try:
        content = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def versions() -> dict[str, str]:
    """Versions of organtwin and of all that decides its numbers."""
    found = {"organtwin": organtwin.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # conda-forge and the wheels name some packages differently
    library = MPI.Get_library_version().splitlines()[0].strip().rstrip("\x00")
    found["mpi"] = " ".join(library.replace("\t", " ").split())
    try:
        from petsc4py import PETSc
    except ImportError:
        return found
    found["petsc"] = ".".join(str(part) for part in PETSc.Sys.getVersion())
    return found


def git_commit() -> str | None:
    """Commit of the sources, ``+changes`` if they differ from it; None outside a repository."""
    root = Path(organtwin.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    return (
        f"{commit}+changes"
        if commit and _git(root, "status", "--porcelain", "organtwin")
        else commit
    )


def machine() -> dict[str, Any]:
    """What the run was made on."""
    return {
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }


def _finish(manifest: Manifest, status: str, start: float) -> None:
    manifest.content["status"] = status
    manifest.content["last_wall_time_s"] = round(time.perf_counter() - start, 3)
    manifest.write()


def _git(root: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True, text=True, check=False, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
