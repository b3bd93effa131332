"""Activation in the last beat of the heart, not of each node."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from organtwin.electrophysiology.reaction_diffusion import NOT_ACTIVATED, mark_crossings

Array = NDArray[np.float64]


class LastBeat:
    """First upward crossing of the threshold by each node in the last beat that was begun.

    Beats are [kP, (k + 1)P). What a further pulse in the same beat activates once more, or a run
    that ends as the next beat begins, does not mix two waves.

    Args:
        n: Number of local nodes (owned and ghosts).
        period: P (ms).
        begun: When the clock of the process began (ms), added to all times.
    """

    def __init__(self, n: int, period: float, begun: float = 0.0) -> None:
        self._period = period
        self._begun = begun
        self._beat = np.full(1, begun)
        #: Times (ms), shape (n,), `NOT_ACTIVATED` where there was none.
        self.activation = np.full(n, NOT_ACTIVATED)

    @property
    def state(self) -> Mapping[str, Array]:
        """Views, for checkpoints."""
        return {"activation": self.activation, "beat": self._beat}

    def record(self, t: float, dt: float, before: Array, after: Array) -> None:
        """Look at a step from ``t`` to ``t + dt`` (ms)."""
        beat = self._begun + self._period * ((t + 1e-6) // self._period)
        if beat != self._beat[0]:
            self._beat[0] = beat
            self.activation[:] = NOT_ACTIVATED
        mark_crossings(self.activation, before, after, self._begun + t, dt)
