"""Whether a verification problem tells the same on any number of ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from organtwin.errors import InputError
from organtwin.verify.record import Record, Sense

#: Relative difference, or part of the tolerance; and that of errors, which would be zero but for
#: what a solver is stopped at.
RELATIVE, OF_TOLERANCE, OF_ERROR = 1e-6, 1e-3, 0.05
#: Units of what clocks measure, which no two runs share.
CLOCKS = ("s", "s/s")


@dataclass(frozen=True)
class Difference:
    """A quantity on one rank and on several.

    Attributes:
        quantity: What was computed, in words.
        alone: On one rank.
        together: On several.
        allowed: max(`RELATIVE` |alone|, `OF_TOLERANCE` times its tolerance), `OF_ERROR` times it
            for an error.
        same_verdict: Whether both meet the reference, or both miss it.
    """

    quantity: str
    alone: float
    together: float
    allowed: float
    same_verdict: bool

    @property
    def relative(self) -> float:
        """|together − alone| / |alone|; that of two equal ones is 0."""
        away = abs(self.together - self.alone)
        return away / abs(self.alone) if self.alone and away else (math.inf if away else 0.0)

    @property
    def used(self) -> float:
        """|together − alone| / allowed: up to 1 they are the same."""
        away = abs(self.together - self.alone)
        return away / self.allowed if self.allowed else (math.inf if away else 0.0)

    @property
    def same(self) -> bool:
        """Whether both tell the same."""
        return self.same_verdict and (self.used <= 1.0 or self.alone == self.together)


def compare(alone: Sequence[Record], together: Sequence[Record]) -> list[Difference]:
    """Differences of each quantity but those that a clock measures.

    Args:
        alone: Records on one rank.
        together: Of the same problem on several.

    Raises:
        InputError: they are of other quantities.
    """
    if [one.quantity for one in alone] != [one.quantity for one in together]:
        raise InputError("ranks", "other quantities are told on several.", "Compute both anew.")
    pairs = zip(alone, together, strict=True)
    return [
        Difference(
            one.quantity, one.value, other.value, _allowed(one), one.verdict == other.verdict
        )
        for one, other in pairs
        if one.unit not in CLOCKS
    ]


def _allowed(record: Record) -> float:
    is_error = record.sense is Sense.AT_MOST and record.reference == 0.0
    part = OF_ERROR if is_error else OF_TOLERANCE
    return max(RELATIVE * abs(record.value), part * record.tolerance)


def worst(found: Sequence[Difference]) -> Difference:
    """The one that uses most of what is allowed; of other verdicts first."""
    return max(found, key=lambda one: (not one.same_verdict, one.used))
