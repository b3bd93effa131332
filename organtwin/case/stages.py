"""Stages whose results are kept: reused as long as what they were made from stays the same.

Between stages lie files. A stage's key is the hash of everything that decides its files: settings,
contents of input files, keys of the stages before it, and the code. ``stage.json`` holds the key
and is written last, so a stage that was stopped half-way is never taken for a finished one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import resource
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from mpi4py import MPI
from pydantic import BaseModel

from organtwin import __version__
from organtwin.case.progress import Progress, showing
from organtwin.errors import InputError
from organtwin.export.atomic import write_text
from organtwin.parallel import on_root

logger = logging.getLogger(__name__)

#: Does a stage's work, given its folder and a function that takes the fraction done.
type Work = Callable[[Path, Progress], None]


@dataclass(frozen=True)
class Stage:
    """What a stage is made from and what it leaves.

    Attributes:
        name: Name, also of its folder in ``stages/``.
        settings: Sections of the case (or plain values) that its results depend on.
        inputs: Files that it reads; their contents count, not their names.
        upstream: Stages whose files it reads.
        code: Modules and packages whose source counts, for example ``"organtwin.image"``.
        outputs: Files that it leaves, relative to its folder.
    """

    name: str
    settings: tuple[Any, ...] = ()
    inputs: tuple[Path, ...] = ()
    upstream: tuple[Stage, ...] = ()
    code: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def folder(self, directory: Path) -> Path:
        """Where its files lie in a result directory."""
        return directory / "stages" / self.name

    @cached_property
    def key(self) -> str:
        """Hash of everything that decides this stage's files."""
        content = {
            "stage": self.name,
            "settings": [_plain(setting) for setting in self.settings],
            "inputs": [sha256(file) for file in self.inputs],
            "upstream": [stage.key for stage in self.upstream],
            "code": [_source_hash(module) for module in self.code],
            "version": __version__,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def files_in(places: Iterable[Path | None]) -> tuple[Path, ...]:
    """The places that are files, and the files in those that are folders, each once."""
    found = [
        file
        for place in places
        if place is not None
        for file in (sorted(place.rglob("*")) if place.is_dir() else [place])
        if file.is_file()
    ]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class StageAccount:
    """What a stage cost.

    Attributes:
        name: Name of the stage.
        key: Hash of what it was made from.
        wall_time_s: Time it took when it ran (s).
        peak_memory_mib: Largest resident memory while it ran, summed over the ranks (MiB).
        peak_memory_rank_mib: The same of the rank that needed most (MiB).
        mpi_size: Ranks it ran on.
        reused: Whether it was taken from an earlier run.
    """

    name: str
    key: str
    wall_time_s: float
    peak_memory_mib: float
    peak_memory_rank_mib: float
    mpi_size: int
    reused: bool = False


def run_stage(
    stage: Stage,
    directory: Path,
    work: Work,
    *,
    comm: MPI.Comm,
    ranks: Literal["one", "all"] = "one",
    fresh: bool = False,
) -> StageAccount:
    """Do a stage's work, unless the files of an earlier run still hold; collective.

    Args:
        stage: What the files depend on.
        directory: Result directory.
        work: Writes the stage's outputs into the folder it is given.
        comm: All of its ranks call.
        ranks: Whether rank 0 does the work alone, or all ranks together.
        fresh: Do the work in any case.

    Returns:
        What it cost, also when it was reused.

    Raises:
        OrgantwinError: what ``work`` raised; on all ranks.
    """
    earlier = on_root(comm, lambda: None if fresh else finished(stage, directory))
    if earlier is not None:
        logger.info("%s: reused", stage.name)
        return earlier
    folder = stage.folder(directory)
    on_root(comm, lambda: _prepare(folder))
    restart_memory_peak()
    start = time.perf_counter()
    try:
        with showing(stage.name, comm) as progress:
            if ranks == "one":
                on_root(comm, lambda: work(folder, progress))
            else:
                work(folder, progress)
    except InputError:
        if comm.rank == 0:
            _remove_empty(folder, directory)
        raise
    peak = memory_peak()
    account = StageAccount(
        name=stage.name,
        key=stage.key,
        wall_time_s=round(comm.allreduce(time.perf_counter() - start, op=MPI.MAX), 3),
        peak_memory_mib=round(comm.allreduce(peak, op=MPI.SUM), 1),
        peak_memory_rank_mib=round(comm.allreduce(peak, op=MPI.MAX), 1),
        mpi_size=comm.size,
    )
    on_root(comm, lambda: _record(stage, folder, account))
    logger.info("%s: %.1f s, %.0f MiB", stage.name, account.wall_time_s, account.peak_memory_mib)
    return account


def finished(stage: Stage, directory: Path) -> StageAccount | None:
    """Account of the earlier run whose files still hold, if there is one."""
    folder = stage.folder(directory)
    try:
        record = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
        sizes = {name: (folder / name).stat().st_size for name in stage.outputs}
        if record["account"]["key"] != stage.key:
            return None
        sums = {name: content_key(folder / name) for name in record.get("sums", ())}
        changed = [name for name in sizes if record["sizes"].get(name) != sizes[name]]
        changed += [name for name in sums if record["sums"][name] != sums[name]]
        if changed:
            name = Path(changed[0]).name
            logger.warning("%s: made anew, since %s is not as it was written", stage.name, name)
            return None
        return StageAccount(**{**record["account"], "reused": True})
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent, cut short, or of another version: make it anew


def sha256(file: Path) -> str:
    """Hash of a file's contents."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_key(file: Path) -> str:
    """Hash of a file's contents, computed once as long as the file is as it was."""
    found = file.stat()
    return _hashed(file, found.st_mtime_ns, found.st_size)


@cache
def _hashed(file: Path, changed: int, size: int) -> str:
    return sha256(file)


def memory_peak() -> float:
    """Largest resident memory of this rank since the stage began (MiB)."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass  # not Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def restart_memory_peak() -> None:
    """Let `memory_peak` count from now on, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        logger.debug("the memory peak can't be reset: stages show the peak since the start")


def _prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stage.json").unlink(missing_ok=True)


def _record(stage: Stage, folder: Path, account: StageAccount) -> None:
    sizes = {name: (folder / name).stat().st_size for name in stage.outputs}
    sums = {name: sha256(folder / name) for name in stage.outputs if (folder / name).is_file()}
    record = {"account": asdict(account), "sizes": sizes, "sums": sums}
    write_text(folder / "stage.json", json.dumps(record, indent=2) + "\n")


def _remove_empty(folder: Path, directory: Path) -> None:
    """Remove folders that were made for a stage whose input was refused."""
    for path in (folder, folder.parent, directory):
        if path.is_dir() and not any(path.iterdir()):
            shutil.rmtree(path)


def _plain(setting: Any) -> Any:
    """A setting as JSON can hold it; files count by content, so their place does not matter."""
    if isinstance(setting, BaseModel):
        return _plain(setting.model_dump(mode="python"))
    if isinstance(setting, dict):
        return {str(name): _plain(value) for name, value in setting.items()}
    if isinstance(setting, list | tuple):
        return [_plain(value) for value in setting]
    if isinstance(setting, Path):
        return setting.suffix
    return setting


@cache
def _source_hash(module: str) -> str:
    """Hash of a module's source, or of all files of a package; the module is not imported."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*")) if spec.submodule_search_locations else [origin]
    digest = hashlib.sha256()
    for file in files:
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(file.relative_to(origin.parent).as_posix().encode())
            digest.update(sha256(file).encode())
    return digest.hexdigest()
