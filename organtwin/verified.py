"""What `organtwin verify` found on this installation, kept for the credibility of later runs."""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import organtwin
from organtwin.errors import InputError
from organtwin.export.atomic import write_text
from organtwin.solve.options import cache_directory

#: Sources that only show, describe or export what was computed.
_ASIDE = ("cli", "export", "verified", "credibility")


@dataclass(frozen=True)
class Verified:
    """The latest values of a verification problem.

    Attributes:
        problem: Its name.
        version: Of organtwin.
        sources: Hash of the sources that computed it (`sources`).
        date: When.
        quick: Whether coarser than usual.
        mpi_size: Ranks.
        records: Quantities with value, unit, reference, tolerance, source and verdict.
    """

    problem: str
    version: str
    sources: str
    date: str
    quick: bool
    mpi_size: int
    records: tuple[Mapping[str, Any], ...]

    @property
    def met(self) -> bool:
        """Whether every quantity keeps to its reference."""
        return all(record["verdict"] == "pass" for record in self.records)

    @property
    def of_these_sources(self) -> bool:
        """Whether the installed sources are those that computed it."""
        return self.version == organtwin.__version__ and self.sources == sources()


def place() -> Path:
    """File of the values, beside the compiled forms; ``ORGANTWIN_CACHE`` moves both."""
    return cache_directory() / "verified.json"


def note(
    problem: str, records: Sequence[Mapping[str, Any]], *, quick: bool, mpi_size: int
) -> Verified:
    """Keep the values of a problem, instead of earlier ones; on one rank.

    Args:
        problem: Its name.
        records: As `organtwin.verify.record.Record.as_dict` gives them.
        quick: Whether coarser than usual.
        mpi_size: Ranks.

    Raises:
        InputError: the file can't be written.
    """
    found = Verified(
        problem, organtwin.__version__, sources(), time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        quick, mpi_size, tuple(records),
    )  # fmt: skip
    try:
        place().parent.mkdir(parents=True, exist_ok=True)
        with place().with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            content = {**_content(), problem: asdict(found)}
            write_text(place(), json.dumps(content, indent=1, default=float) + "\n")
    except OSError as error:
        raise InputError(
            str(place()), f"can't be written ({error.strerror}).", "Set ORGANTWIN_CACHE."
        ) from None
    return found


def latest(problem: str) -> Verified | None:
    """Values of a problem that were kept last; None if it was not run."""
    try:
        entry = _content()[problem]
        return Verified(**{**entry, "records": tuple(entry["records"])})
    except (KeyError, TypeError):
        return None


@cache
def sources() -> str:
    """Hash of the installed sources that decide numbers, by name and content."""
    root = Path(organtwin.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*")):
        first = file.relative_to(root).parts[0]
        computes = file.suffix in (".py", ".toml") and not first.startswith(_ASIDE)
        if computes and file.is_file():
            digest.update(file.relative_to(root).as_posix().encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _content() -> dict[str, Any]:
    try:
        content = json.loads(place().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
