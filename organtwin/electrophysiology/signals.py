"""ECG and electrograms over time, while the wave runs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.electrophysiology.recorders import Schedule, between, samples_until
from organtwin.parallel import on_root

Array = NDArray[np.float64]


class Signals:
    """Voltages that are linear in v, at regular times.

    Between the ends of a step v, and so the voltages, are linear in time.

    Args:
        V: Space of v.
        source: Gives the voltages (mV) of v by name, as `PseudoECG`, `LeadField` or
            `Electrograms`, or leads made of theirs; collective.
        until: Last time to sample (ms); memory for it is set aside.
        every: Interval (ms).
    """

    def __init__(
        self,
        V: fem.FunctionSpace,
        source: Callable[[fem.Function], Mapping[str, float]],
        *,
        until: float,
        every: float = 1.0,
    ) -> None:
        self._comm = V.mesh.comm
        self._source = source
        self._v = fem.Function(V)
        self._schedule = Schedule(every)
        self.names = tuple(source(self._v))
        self._table = np.zeros((samples_until(until, every), 1 + len(self.names)))
        self._count = np.zeros(1)

    @property
    def state(self) -> Mapping[str, Array]:
        """The signals so far."""
        return {"table": self._table, "count": self._count, "next": self._schedule.next}

    def record(self, t: float, dt: float, before: Array, after: Array) -> None:
        """Sample; collective at sampling times."""
        for time in self._schedule.due(t, dt):
            row = int(self._count[0])
            if row >= len(self._table):
                continue
            between(time, t, dt, before, after, self._v.x.array)
            self._table[row] = (time, *self._source(self._v).values())
            self._count[0] += 1

    @property
    def times(self) -> Array:
        """Sampling times (ms) so far."""
        return self._table[: int(self._count[0]), 0]

    @property
    def voltages(self) -> dict[str, Array]:
        """Signals (mV) by name, on every rank."""
        rows = self._table[: int(self._count[0]), 1:]
        return dict(zip(self.names, rows.T, strict=True))

    def write(self, path: Path) -> None:
        """Write time and signals as CSV; collective."""

        def work() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.writer(stream)
                writer.writerow(("t [ms]", *(f"{name} [mV]" for name in self.names)))
                for row in self._table[: int(self._count[0])]:
                    writer.writerow([f"{value:.10g}" for value in row])

        on_root(self._comm, work)
