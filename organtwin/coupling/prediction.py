"""Where a step is expected to end: the first guess of its solver, and a measure of its error."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.mechanics.problem import Mechanics

Array = NDArray[np.float64]


class Prediction:
    """Displacement and pressures if their rates of the last step last.

    Args:
        mechanics: Whose.
    """

    def __init__(self, mechanics: Mechanics) -> None:
        self._mechanics = mechanics
        self._w_before = mechanics.w.x.array.copy()
        self._p_before = mechanics.pressures.copy()
        self._dt = np.zeros(1)  # of the last step (ms); 0 if everything was at rest
        self._w, self._p = self._w_before.copy(), self._p_before.copy()

    @property
    def state(self) -> Mapping[str, Array]:
        """The step before."""
        return {
            "displacement_pressure_before": self._w_before,
            "pressures_before": self._p_before,
            "step_before": self._dt,
        }

    def rest(self) -> None:
        """Take the present state as one that has lasted."""
        self._w_before[:] = self._mechanics.w.x.array
        self._p_before[:] = self._mechanics.pressures
        self._dt[0] = 0.0

    def guess(self, dt: float) -> float:
        """Move displacement and pressures by ``dt`` (ms); returns the step before, or ``dt``."""
        mechanics, before = self._mechanics, float(self._dt[0])
        w, p = mechanics.w.x.array, mechanics.pressures
        self._w[:], self._p[:] = w, p
        share = dt / before if before > 0 else 0.0
        self._w += share * (w - self._w_before)
        self._p += share * (p - self._p_before)
        self._w_before[:], self._p_before[:], self._dt[0] = w, p, dt
        w[:], p[:] = self._w, self._p
        return before or dt

    def difference(self) -> tuple[float, float]:
        """Largest differences of displacement (mm) and pressures (kPa) from the guess."""
        mechanics = self._mechanics
        off = np.abs((mechanics.w.x.array - self._w)[mechanics._u_dofs]).max(initial=0.0)
        largest = mechanics.domain.comm.allreduce(float(off), op=MPI.MAX)
        return float(largest), float(np.abs(mechanics.pressures - self._p).max(initial=0.0))
