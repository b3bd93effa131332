"""One quantity of a verification problem beside its reference."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Record:
    """A computed quantity and what it ought to be.

    Attributes:
        name: Problem that it belongs to.
        quantity: What was computed, in words.
        value: Result.
        unit: Its unit; "1" for a plain number.
        reference: What it ought to be.
        tolerance: Largest difference from the reference, in the same unit.
        source: Where the reference comes from.
    """

    name: str
    quantity: str
    value: float
    unit: str
    reference: float
    tolerance: float
    source: str

    @property
    def met(self) -> bool:
        """Whether the value lies within the tolerance; a value that is no number does not."""
        return math.isfinite(self.value) and abs(self.value - self.reference) <= self.tolerance

    @property
    def verdict(self) -> str:
        """``pass`` or ``miss``."""
        return "pass" if self.met else "miss"

    def as_dict(self) -> dict[str, Any]:
        """The record for JSON, which knows no NaN."""
        value = self.value if math.isfinite(self.value) else None
        return {**asdict(self), "value": value, "verdict": self.verdict}


def at_least(
    name: str, quantity: str, value: float, unit: str, least: float, source: str
) -> Record:
    """A quantity that may not fall below ``least``, such as an order of convergence.

    The reference is ``least`` and the tolerance what keeps every larger value inside.
    """
    return Record(name, quantity, value, unit, least, max(value - least, 0.0), source)


def at_most(name: str, quantity: str, value: float, unit: str, most: float, source: str) -> Record:
    """A quantity that ought to vanish and may not exceed ``most``, such as an error."""
    return Record(name, quantity, value, unit, 0.0, most, source)
