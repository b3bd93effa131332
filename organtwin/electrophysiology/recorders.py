"""On-the-fly observers of the electrical activity: what they are, and when they sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError

Array = NDArray[np.float64]

#: Part of a sampling interval that rounding of the time may cost.
ROUNDING = 1e-9


class Recorder(Protocol):
    """Looks at every electrical step.

    A step may be taken back by writing an earlier `state` into the views: all that a recorder
    knows lies in there, in arrays whose shapes never change.
    """

    @property
    def state(self) -> Mapping[str, Array]:
        """Views of what has to be kept to go on from here."""
        ...

    def record(self, t: float, dt: float, before: Array, after: Array) -> None:
        """Look at the step from ``t`` to ``t + dt`` (ms): v (mV) at its ends, at local nodes.

        Called by all ranks for the same steps, one after the other without gaps.
        """
        ...


class Schedule:
    """Sampling times ``offset + k every``, k = 0, 1, …, met by steps of any length.

    Args:
        every: Interval (ms), > 0.
        offset: Shift of all times (ms).

    Raises:
        InputError: the interval is zero or negative.
    """

    def __init__(self, every: float, offset: float = 0.0) -> None:
        if not every > 0:
            raise InputError("sampling", f"an interval of {every:g} ms.", "It must be > 0.")
        self._every = every
        self._offset = offset
        #: Number of the next sample, −1 before the first step.
        self.next = np.full(1, -1.0)

    def due(self, t: float, dt: float) -> Iterator[float]:
        """Times (ms) in the step from ``t`` to ``t + dt`` that were not sampled yet."""
        slack = ROUNDING * self._every
        if self.next[0] < 0:
            first = np.ceil((t - slack - self._offset) / self._every)
            self.next[0] = max(0.0, float(first))
        while self._offset + self.next[0] * self._every <= t + dt + slack:
            time = float(self._offset + self.next[0] * self._every)
            self.next[0] += 1
            yield time


def between(time: float, t: float, dt: float, before: Array, after: Array, out: Array) -> None:
    """Write v at ``time`` in the step from ``t`` to ``t + dt`` into ``out``, linear in time."""
    share = min(max((time - t) / dt, 0.0), 1.0)
    np.subtract(after, before, out=out)
    out *= share
    out += before


def samples_until(until: float, every: float) -> int:
    """Number of samples that fit between 0 and ``until`` (ms), both included.

    >>> samples_until(10.0, 2.5)
    5
    """
    return int(np.floor(until / every + ROUNDING)) + 1
