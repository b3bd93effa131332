"""Contact as a straight step would leave it, and how far to go towards what it leads to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from organtwin.devices.newton import Guess
from organtwin.devices.tissue_contact import TissueContact

#: Most tries of how far to go, and what work may be left, over that at the start.
TRIES, ENOUGH = 12, 0.3
#: Least to go: where tools are stiff, the next guess gains more by what it learns beyond.
LEAST = 0.1


def same(contact: TissueContact, a: Sequence[Guess], b: Sequence[Guess]) -> bool:
    """Whether two guesses have the same in contact, and the same sliding.

    Args:
        contact: With the tissue.
        a: Nodes that touch each tool, and last the motion of the points relative to the tissue.
        b: The other.
    """
    *tools, one = a
    *others, other = b
    if not all(np.array_equal(x, y) for x, y in zip(tools, others, strict=True)):
        return False
    first, second = contact.felt(one), contact.felt(other)
    slides = first.rub.slides, second.rub.slides
    return np.array_equal(first.on, second.on) and np.array_equal(*slides)


def when_done(guess: Sequence[Guess]) -> list[Guess]:
    """What is left of a guess when the motion is done: tools as foreseen, tissue as it is."""
    *tools, motion = guess
    return [*tools, np.zeros_like(motion)]


def stops(work: Callable[[float], float]) -> float:
    """Where a rising function from 0 to 1 is about zero, or `LEAST`; 1 where it stays negative.

    By the false position, where an end that stays counts half (the Illinois rule).
    """
    first = work(0.0)
    low, high, below, above = 0.0, 1.0, first, work(1.0)
    if first >= 0.0 or above <= ENOUGH * abs(first):
        return 1.0
    middle, side = 0.0, 0
    for _ in range(TRIES):
        middle = low - below * (high - low) / (above - below)
        found = work(middle)
        if abs(found) <= ENOUGH * abs(first):
            break
        if found < 0.0:
            low, below = middle, found
            above, side = (0.5 * above, -1) if side == -1 else (above, -1)
        else:
            high, above = middle, found
            below, side = (0.5 * below, 1) if side == 1 else (below, 1)
    return max(middle, LEAST)
