"""Whether a verification problem tells the same on any number of ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from organtwin.errors import InputError
from organtwin.verify.record import Record

#: Relative difference; or, of values that are zero but for rounding, part of their tolerance.
RELATIVE, OF_TOLERANCE = 1e-6, 1e-3


@dataclass(frozen=True)
class Difference:
    """A quantity on one rank and on several.

    Attributes:
        quantity: What was computed, in words.
        alone: On one rank.
        together: On several.
        allowed: max(`RELATIVE` |alone|, `OF_TOLERANCE` times its tolerance).
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
    """Differences of each quantity.

    Args:
        alone: Records on one rank.
        together: Of the same problem on several.

    Raises:
        InputError: they are of other quantities.
    """
    if [one.quantity for one in alone] != [one.quantity for one in together]:
        raise InputError("ranks", "other quantities are told on several.", "Compute both anew.")
    return [
        Difference(
            one.quantity, one.value, other.value,
            max(RELATIVE * abs(one.value), OF_TOLERANCE * one.tolerance),
            one.verdict == other.verdict,
        )
        for one, other in zip(alone, together, strict=True)
    ]  # fmt: skip


def worst(found: Sequence[Difference]) -> Difference:
    """The one that uses most of what is allowed; of other verdicts first."""
    return max(found, key=lambda one: (not one.same_verdict, one.used))
