"""Tissue whose activation is known beforehand, each node following the trace of a single cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.cells.pacing import PacedCell
from organtwin.electrophysiology.reaction_diffusion import NOT_ACTIVATED
from organtwin.electrophysiology.recorders import Recorder
from organtwin.solve.outcome import Step

Array = NDArray[np.float64]


class PrescribedActivation:
    """The eikonal model of tissue: v and calcium of a paced cell, shifted by the arrival time.

        v(x, t) = V(t − T(x)),   V the last beat of the paced cell, at rest before

    Args:
        arrival: T (ms) in the space of the potential, `NOT_ACTIVATED` where no wave comes.
        cell: Paced cell.
        period: Time between beats (ms); infinite for a single one.
        interval: Longest step that recorders see (ms).
        recorders: Called after each step.
    """

    def __init__(
        self,
        arrival: fem.Function,
        cell: PacedCell,
        *,
        period: float = np.inf,
        interval: float = 0.5,
        recorders: Sequence[Recorder] = (),
    ) -> None:
        V = arrival.function_space
        self.comm = V.mesh.comm
        self.arrival = arrival
        self.v = fem.Function(V, name="transmembrane_potential")
        self.activation_time = fem.Function(V, name="activation_time")
        self.activation_time.x.array[:] = NOT_ACTIVATED
        self._cell, self._period, self._interval = cell, period, interval
        # The trace begins with the stimulus, an arrival is the upstroke.
        self._upstroke = float(cell.time[np.argmax(np.diff(cell.potential))])
        self._recorders = tuple(recorders)
        self._owned = V.dofmap.index_map.size_local
        self._size = V.dofmap.index_map.size_global
        self._t = np.zeros(1)
        self._follow(0.0)

    @property
    def calcium(self) -> Array:
        """Free calcium (µM) at the local nodes."""
        return self._trace(self._cell.calcium, float(self._t[0]))

    @property
    def state(self) -> Mapping[str, Array]:
        """The time tells all."""
        recorded = {
            f"recorder_{k}_{name}": values
            for k, recorder in enumerate(self._recorders)
            for name, values in recorder.state.items()
        }
        return {
            "t": self._t,
            "v": self.v.x.array,
            "activation_time": self.activation_time.x.array,
            **recorded,
        }

    def activated_fraction(self) -> float:
        """Share of the nodes activated in this beat, 0 to 1; collective."""
        active = np.count_nonzero(self.activation_time.x.array[: self._owned] != NOT_ACTIVATED)
        return float(self.comm.allreduce(active, op=MPI.SUM) / self._size)

    def advance(self, t0: float, t1: float) -> Step:
        """Go to ``t1``."""
        parts = max(1, int(np.ceil((t1 - t0) / self._interval - 1e-9)))
        times = np.linspace(t0, t1, parts + 1)
        for start, end in pairwise(times):
            before = self.v.x.array.copy()
            self._follow(float(end))
            for recorder in self._recorders:
                recorder.record(float(start), float(end - start), before, self.v.x.array)
        return Step(t0, t1)

    def _follow(self, t: float) -> None:
        self._t[0] = t
        self.v.x.array[:] = self._trace(self._cell.potential, t)
        beat = self._beat(t)
        arrived = (self.arrival.x.array >= 0) & (self.arrival.x.array + beat <= t)
        self.activation_time.x.array[:] = np.where(
            arrived, self.arrival.x.array + beat, NOT_ACTIVATED
        )

    def _beat(self, t: float) -> float:
        """Beginning of the present beat (ms)."""
        return (
            float((t + 1e-9) // self._period) * self._period if np.isfinite(self._period) else 0.0
        )

    def _trace(self, values: Array, t: float) -> Array:
        T = self.arrival.x.array
        since = t - self._beat(t) - T
        if self._beat(t) > 0:
            # Until the wave comes, the action potential of the beat before goes on.
            since = np.where(since < 0, since + self._period, since)
        since = np.where(T >= 0, since, -1.0)
        at = np.where(since >= 0, since + self._upstroke, 0.0)
        return np.interp(at, self._cell.time, values)
