"""What organtwin raises: the place, the problem and the remedy, in that order."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class OrgantwinError(Exception):
    """A problem that a user can act on.

    Args:
        place: File and field, or function, where the problem stands.
        problem: What is wrong, with the offending value.
        remedy: What to do about it.
    """

    def __init__(self, place: str, problem: str, remedy: str = "") -> None:
        self.place = place
        self.problem = problem
        self.remedy = remedy
        super().__init__(place, problem, remedy)

    def __str__(self) -> str:
        return " ".join(part for part in (f"{self.place}: {self.problem}", self.remedy) if part)


class InputError(OrgantwinError):
    """Something handed to organtwin can't be used (exit code 2 of the command line)."""


class MeshError(OrgantwinError):
    """No usable mesh could be made from a geometry."""


class SolverError(OrgantwinError):
    """A solve failed; what was computed before it is kept."""


class DiskError(OrgantwinError):
    """A file can't be written, on a full disk for example (exit code 74); the rest is kept."""


class SetupError(OrgantwinError):
    """A library or program that organtwin needs is missing; the remedy installs it."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Sentence that helps whoever mistyped ``name``.

    >>> suggestion("ionc_model", ["ionic_model", "mesh"])
    'Did you mean `ionic_model`?'
    >>> suggestion("ina", ["INa", "IKr"])
    'Did you mean `INa`?'
    >>> suggestion("x", ["lv_endo", "base"])
    'Known: base, lv_endo.'
    """
    names = sorted(known)
    written = {known_name.lower(): known_name for known_name in names}
    close = get_close_matches(name, names, n=1) or [
        written[match] for match in get_close_matches(name.lower(), written, n=1)
    ]
    return f"Did you mean `{close[0]}`?" if close else f"Known: {', '.join(names)}."
