"""One quantity of a verification problem beside its reference."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Sense(StrEnum):
    """What a value ought to do to its reference."""

    EQUAL = "equal"
    AT_LEAST = "at least"
    AT_MOST = "at most"


@dataclass(frozen=True)
class Record:
    """A computed quantity and what it ought to be.

    Attributes:
        name: Problem that it belongs to.
        quantity: What was computed, in words.
        value: Result.
        unit: Its unit; "1" for a plain number.
        reference: What it ought to be.
        tolerance: How far it may be off, in the same unit.
        source: Where the reference comes from.
        sense: Whether it ought to equal the reference, to reach it (an order of convergence) or
            to stay below it (an error).
    """

    name: str
    quantity: str
    value: float
    unit: str
    reference: float
    tolerance: float
    source: str
    sense: Sense = Sense.EQUAL

    @property
    def bound(self) -> float:
        """What the value must reach or stay below, with the tolerance; the reference if equal."""
        sign = {Sense.EQUAL: 0, Sense.AT_LEAST: -1, Sense.AT_MOST: 1}[self.sense]
        return self.reference + sign * self.tolerance

    @property
    def met(self) -> bool:
        """Whether the value keeps to its reference; one that is no number does not."""
        excess = self.value - self.reference
        miss = {Sense.EQUAL: abs(excess), Sense.AT_LEAST: -excess, Sense.AT_MOST: excess}
        return math.isfinite(self.value) and miss[self.sense] <= self.tolerance

    @property
    def verdict(self) -> str:
        """``pass`` or ``miss``."""
        return "pass" if self.met else "miss"

    def as_dict(self) -> dict[str, Any]:
        """The record for JSON, which knows no NaN."""
        value = self.value if math.isfinite(self.value) else None
        return {**asdict(self), "value": value, "verdict": self.verdict}
