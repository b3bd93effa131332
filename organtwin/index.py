"""An index: its value, where it comes from, and what it is held against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from organtwin.errors import InputError

#: What an index can be; ``none`` where nothing is known to hold it against.
VERDICTS = ("within", "below", "above", "none")


@dataclass(frozen=True)
class Index:
    """One number that something is judged by.

    Attributes:
        name: Key, stable from version to version.
        value: Value.
        unit: Unit; ``1`` for a plain number.
        formula: How it is computed.
        source: Where formula and threshold come from, and whether that was read.
        threshold: Least and largest value that raise no concern; none where there is no such.
        verdict: ``within``, ``below`` or ``above`` the threshold, ``none`` without one.
        group: What it is told with; see `require_groups`.
    """

    name: str
    value: float
    unit: str
    formula: str
    source: str
    threshold: tuple[float | None, float | None]
    verdict: str
    group: str

    def __post_init__(self) -> None:
        if not self.group or self.verdict not in VERDICTS or not np.isfinite(self.value):
            raise InputError(
                f"index `{self.name}`",
                f"{self.value!r} in group {self.group!r}, judged {self.verdict!r}.",
                f"Give it a group; verdicts: {', '.join(VERDICTS)}; finite values.",
            )

    @classmethod
    def of(
        cls, group: str, name: str, value: float, unit: str, formula: str, source: str,
        low: float | None = None, high: float | None = None,
    ) -> Index:  # fmt: skip
        """An index with its verdict; the threshold itself is within."""
        number = float(value)
        if low is None and high is None:
            verdict = "none"
        elif low is not None and number < low:
            verdict = "below"
        elif high is not None and number > high:
            verdict = "above"
        else:
            verdict = "within"
        return cls(name, number, unit, formula, source, (low, high), verdict, group)

    @property
    def concerns(self) -> bool:
        """Whether it lies outside of its threshold."""
        return self.verdict in {"below", "above"}

    def record(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {**vars(self), "threshold": list(self.threshold)}

    @classmethod
    def from_record(cls, found: Mapping[str, Any]) -> Index:
        """What `record` gave.

        Raises:
            InputError: something is missing or wrong.
        """
        try:
            low, high = found["threshold"]
            return cls(
                str(found["name"]), float(found["value"]), str(found["unit"]),
                str(found["formula"]), str(found["source"]), (low, high), str(found["verdict"]),
                str(found["group"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "index", f"{error!r} in {dict(found)!r}.", "Compute the indices again."
            ) from None


def require_groups(indices: Iterable[Index], groups: Sequence[str]) -> None:
    """Refuse indices that belong to no known group, which a report would leave out.

    Args:
        indices: Indices.
        groups: Those that a report knows.

    Raises:
        InputError: a group is not among them.
    """
    for one in indices:
        if one.group not in groups:
            raise InputError(
                f"index `{one.name}`", f"group {one.group!r}.", f"Groups: {', '.join(groups)}."
            )


#: Indices that could be computed, and one sentence for each that could not.
type Found = tuple[list[Index], list[str]]
