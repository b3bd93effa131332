from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from organtwin.circulation.emulator import BeatTrace, Emulator, TracedVentricle, shifted_blood
from organtwin.circulation.limit_cycle import beat, limit_cycle
from organtwin.circulation.network import ClosedLoop
from organtwin.circulation.open_loop import OpenLoop
from organtwin.circulation.stepping import Circulation
from organtwin.units import ML, MMHG

Array = NDArray[np.float64]
STEP = 5.0
EVEN = STEP * np.arange(1, 161)
#: As a control of steps chooses them: short in contraction and relaxation, long elsewhere.
UNEVEN = np.concatenate([np.arange(1, 121), np.arange(128, 257, 8), np.arange(258, 401, 2),
                         np.arange(408, 801, 8)]).astype(float)  # fmt: skip


@dataclass(frozen=True)
class StiffeningHeart:
    """Ventricles that no elastance describes: exponential when relaxed, saturating when not."""

    a: Array
    b: Array
    empty: Array
    active: Array

    def pressure(self, V: Array, t: float, period: float) -> tuple[Array, Array]:
        f = np.sin(np.pi * min(t % period / 400.0, 1.0)) ** 2
        stretched = np.exp(self.b * (V - self.empty))
        root = np.sqrt(1 + (V / 150e3) ** 2)
        p = self.a * (stretched - 1) + f * self.active * V / root
        return p, self.a * self.b * stretched + f * self.active / root**3

    def beat(self, loop: Circulation, y: Array, ends: Array = EVEN) -> tuple[Array, BeatTrace]:
        rows = []
        p = self.pressure(y[loop.ventricles], 0.0, loop.period)[0]
        for t, end in zip([0.0, *ends[:-1]], ends, strict=True):
            for _ in range(50):
                new, slope = loop.step(y, t, end - t, p)
                V = new[loop.ventricles]
                wall, stiffness = self.pressure(V, end, loop.period)
                if np.abs(p - wall).max() < 1e-11:
                    break
                p = p - np.linalg.solve(np.eye(2) - stiffness[:, None] * slope, p - wall)
            y = new
            rows.append([*V, *p])
        table = np.array(rows)
        return y, BeatTrace(ends, table[:, :2], table[:, 2:])


HEART = StiffeningHeart(
    np.array([0.15, 0.08]), np.array([0.028, 0.018]) / ML, np.array([60.0, 80.0]) * ML,
    np.array([2.6, 0.55]) * MMHG / ML,
)  # fmt: skip


@pytest.mark.parametrize("loop", [ClosedLoop.regazzoni_2022(), OpenLoop.adult()])
def test_an_emulated_beat_repeats_the_beat(loop: Circulation) -> None:
    start = beat(loop, loop.rest(), STEP)[-1]
    end, trace = HEART.beat(loop, start)
    ventricles = [
        TracedVentricle.of(trace.times, trace.volumes[:, k], trace.pressures[:, k]) for k in (0, 1)
    ]
    emulated = beat(loop.with_ventricles(*ventricles), start, STEP)
    assert emulated[1:, loop.ventricles] == pytest.approx(trace.volumes, rel=1e-7)
    assert emulated[-1] == pytest.approx(end, rel=1e-6, abs=1e-4)


def test_uneven_steps_lead_to_their_own_limit_cycle() -> None:
    loop, emulator = ClosedLoop.regazzoni_2022(), Emulator()
    y = limit_cycle(loop, loop.filled(loop.rest(), -200 * ML), dt=STEP).state
    for _ in range(6):
        begun = y
        ended, trace = HEART.beat(loop, begun, UNEVEN)
        moved = shifted_blood(loop, begun, ended) / trace.stroke_volume
        y = emulator.next_start(loop, begun, ended, trace, moved)
    assert moved < 1e-3


def test_few_beats_lead_to_the_limit_cycle_and_keep_the_blood() -> None:
    loop = ClosedLoop.regazzoni_2022()
    y = limit_cycle(loop, loop.filled(loop.rest(), -200 * ML), dt=STEP).state
    blood = loop.blood(y).sum()
    emulator = Emulator()
    shifted = []
    for _ in range(5):
        begun = y
        ended, trace = HEART.beat(loop, begun)
        shifted.append(shifted_blood(loop, begun, ended) / trace.stroke_volume)
        if len(emulator.known) == 2:  # a search that is taken up again goes the same way
            emulator = Emulator(emulator.known)
        y = emulator.next_start(loop, begun, ended, trace, shifted[-1])
        assert loop.blood(y).sum() == pytest.approx(blood, rel=1e-12)
    assert shifted[0] > 0.5
    assert shifted[2] < 0.03 and shifted[3] < 0.003 and shifted[4] < 1e-3
