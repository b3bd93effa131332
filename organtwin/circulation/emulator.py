"""A beat of another model of the ventricles, repeated by time-varying lines of pressure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from organtwin.circulation.limit_cycle import Extrapolation, limit_cycle
from organtwin.circulation.stepping import Circulation, Matrix, Vector

#: Volume at which an emulated ventricle has no pressure, as a part of its smallest one.
_EMPTY = 0.5


@dataclass(frozen=True)
class BeatTrace:
    """What both ventricles did in a beat.

    Attributes:
        times: Ends of the time steps since the beat began (ms), shape (n,), the period last.
        volumes: Of LV and RV (mm³), shape (n, 2).
        pressures: Of LV and RV (kPa), shape (n, 2).
    """

    times: Vector
    volumes: Matrix
    pressures: Matrix

    @property
    def stroke_volume(self) -> float:
        """Of the left ventricle (mm³)."""
        return float(np.ptp(self.volumes[:, 0]))


@dataclass(frozen=True)
class TracedVentricle:
    """A ventricle that repeats a beat and answers to other volumes as an elastance does.

        p(t, V) = p̂(t) + E(t) (V − V̂(t)),      E = max(p̂, 0) / (V̂ − V₀)

    with the volume V̂ and pressure p̂ of the beat, linear in time between its steps.

    Attributes:
        times: Ends of the steps since the beat began (ms), shape (n,).
        slopes: E (kPa/mm³), shape (n,).
        intercepts: p̂ − E V̂ (kPa), shape (n,).
    """

    times: Vector
    slopes: Vector
    intercepts: Vector

    @classmethod
    def of(cls, times: Vector, volumes: Vector, pressures: Vector) -> TracedVentricle:
        """The ventricle of a beat; V₀ is half of its smallest volume."""
        slopes = np.maximum(pressures, 0.0) / (volumes - _EMPTY * volumes.min())
        return cls(times, slopes, pressures - slopes * volumes)

    def line(self, t: float, period: float) -> tuple[float, float]:
        """E(t) (kPa/mm³) and p̂ − E V̂ (kPa)."""
        slope, intercept = self.lines(np.array([t]), period)
        return float(slope[0]), float(intercept[0])

    def lines(self, t: Vector, period: float) -> tuple[Vector, Vector]:
        """E (kPa/mm³) and p̂ − E V̂ (kPa) at several times (ms)."""
        slopes, intercepts = (
            np.interp(t, self.times, values, period=period)
            for values in (self.slopes, self.intercepts)
        )
        return slopes, intercepts

    def scaled(self, size: float) -> TracedVentricle:
        """The same pressures at ``size`` times the volumes."""
        return replace(self, slopes=self.slopes / size)


class Emulator:
    """Where a heart that is costly to simulate will come to a limit cycle, from few of its beats.

    After each beat, ventricles that repeat it are put into the circulation, which is cheap to bring
    to a limit cycle: an estimate Φ(y) from the state y that the beat began with. At the heart's own
    limit cycle the estimate is that state. Anderson's method finds this fixed point of Φ; it begins
    anew after a beat that moved twice the blood of the best one. No estimate changes the amount of
    blood.

    Source:
        Emulation of the 3D ventricles: Regazzoni & Quarteroni (2021), Comput. Biol. Med.
        135:104641, there by fitted elastances.

    Args:
        known: `known` of an emulator whose search goes on.
    """

    def __init__(self, known: Sequence[Sequence[Sequence[float]]] = ()) -> None:
        self._extrapolation = Extrapolation()
        #: Of the beats so far: state that it began with, estimate after it, and the blood that it
        #: moved for good as a part of its stroke volume.
        self.known: list[list[list[float]]] = []
        for begun, estimate, moved in known:
            self._next(np.array(begun), np.array(estimate), moved[0])

    def next_start(
        self,
        circulation: Circulation,
        begun: Vector,
        ended: Vector,
        trace: BeatTrace,
        moved: float,
    ) -> Vector:
        """State of the circulation that the next beat should start from.

        Args:
            circulation: Around the heart.
            begun: Its state when the last beat began.
            ended: Its state when the last beat ended.
            trace: The last beat.
            moved: Blood that it moved for good, see `shifted_blood`, over its stroke volume.

        Raises:
            SolverError: the emulated heart has no limit cycle.
        """
        lv, rv = (
            TracedVentricle.of(trace.times, trace.volumes[:, k], trace.pressures[:, k])
            for k in (0, 1)
        )
        emulated = circulation.with_ventricles(lv, rv)
        estimate = limit_cycle(emulated, ended, dt=trace.times).state
        return self._next(begun, estimate, moved)

    def _next(self, begun: Vector, estimate: Vector, moved: float) -> Vector:
        if moved > 2.0 * min((known[2][0] for known in self.known), default=np.inf):
            self._extrapolation, self.known = Extrapolation(), []
        self.known.append([begun.tolist(), estimate.tolist(), [moved]])
        return self._extrapolation.next(begun, estimate)


def shifted_blood(circulation: Circulation, begun: Vector, ended: Vector) -> float:
    """Blood (mm³) that a beat moved from some compartments into others for good."""
    return float(np.abs(circulation.blood(ended) - circulation.blood(begun)).sum() / 2)
