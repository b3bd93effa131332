"""An index of a deployed valve: its value, where it comes from, and what it is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from organtwin.errors import InputError

#: Groups, in the order of a report.
GROUPS = (
    "frame", "position", "anchoring", "contact", "wall", "leak", "coronary", "flow", "fatigue",
)  # fmt: skip
#: What an index can be; ``none`` where nothing is known to hold it against.
VERDICTS = ("within", "below", "above", "none")


@dataclass(frozen=True)
class Index:
    """One number about a deployed valve.

    Attributes:
        name: Key, stable from version to version.
        value: Value.
        unit: Unit; ``1`` for a plain number.
        formula: How it is computed.
        source: Where formula and threshold come from, and whether that was read.
        threshold: Least and largest value that raise no concern; none where there is no such.
        verdict: ``within``, ``below`` or ``above`` the threshold, ``none`` without one.
        group: One of `GROUPS`.
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
        if self.group not in GROUPS or self.verdict not in VERDICTS or not np.isfinite(self.value):
            raise InputError(
                f"index `{self.name}`",
                f"{self.value!r} in group {self.group!r}, judged {self.verdict!r}.",
                f"Groups: {', '.join(GROUPS)}; verdicts: {', '.join(VERDICTS)}; finite values.",
            )  # fmt: skip

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
                "index", f"{error!r} in {dict(found)!r}.", "Judge the deployment again."
            ) from None


#: Indices that could be computed, and one sentence for each that could not.
type Found = tuple[list[Index], list[str]]
