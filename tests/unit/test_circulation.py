"""The closed loop: its balance, its beat, and its valves."""

from __future__ import annotations

import numpy as np
import pytest

from organtwin.circulation.elements import Chamber, Valve
from organtwin.circulation.network import AR_SYS, LV, RV, ClosedLoop
from organtwin.errors import InputError
from organtwin.units import ML, MMHG


@pytest.fixture(scope="module")
def beat() -> tuple[ClosedLoop, np.ndarray, np.ndarray]:
    """States and chamber pressures of one settled beat, at 1 ms."""
    loop = ClosedLoop.regazzoni_2022()
    y = loop.settle(25)
    states, pressures = [y], [loop.chamber_pressures(y, 0.0)]
    for t in range(800):
        y, _ = loop.step(y, float(t), 1.0)
        states.append(y)
        pressures.append(loop.chamber_pressures(y, t + 1.0))
    return loop, np.array(states), np.array(pressures)


def test_no_blood_is_lost(beat):
    loop, states, _ = beat
    volumes = [loop.blood_volume(y) for y in states]
    stroke = np.ptp(states[:, LV])
    assert np.ptp(volumes) < 1e-8 * stroke


def test_limit_cycle(beat):
    """A settled beat ends where it began, and both ventricles eject the same."""
    _, states, _ = beat
    assert states[-1] == pytest.approx(states[0], rel=2e-3)
    assert np.ptp(states[:, LV]) == pytest.approx(np.ptp(states[:, RV]), rel=0.01)


def test_beat_is_that_of_the_source(beat):
    """Systemic and left ventricular pressures in the range of the published defaults."""
    _, states, pressures = beat
    assert 100 < pressures[:, 1].max() / MMHG < 130
    assert 70 < states[:, AR_SYS].min() / MMHG < 90
    assert 0.45 < np.ptp(states[:, LV]) / states[:, LV].max() < 0.65


def test_scaling_keeps_pressures():
    loop = ClosedLoop.regazzoni_2022()
    half = loop.scaled(0.5)
    y = loop.rest()
    small = y.copy()
    small[:4] *= 0.5
    small[8:] *= 0.5
    for t in range(200):
        y, _ = loop.step(y, float(t), 1.0)
        small, _ = half.step(small, float(t), 1.0)
    assert small[4:8] == pytest.approx(y[4:8], rel=1e-9)
    assert small[:4] == pytest.approx(0.5 * y[:4], rel=1e-9)


def test_slope_is_the_derivative():
    loop = ClosedLoop.regazzoni_2022()
    y, p, h = loop.settle(3), np.array([12.0, 3.0]), 1e-4
    _, slope = loop.step(y, 100.0, 2.0, p)
    for i in range(2):
        up, down = p.copy(), p.copy()
        up[i] += h
        down[i] -= h
        change = loop.step(y, 100.0, 2.0, up)[0] - loop.step(y, 100.0, 2.0, down)[0]
        assert change[[LV, RV]] / (2 * h) == pytest.approx(slope[:, i], rel=1e-6, abs=1e-3)


def test_first_order_in_time():
    loop = ClosedLoop.regazzoni_2022()

    def after(dt: float) -> np.ndarray:
        y = loop.rest()
        for n in range(round(200 / dt)):
            y, _ = loop.step(y, n * dt, dt)
        return y[:8]

    exact = after(0.05)
    errors = [np.linalg.norm((after(dt) - exact) / exact) for dt in (2.0, 1.0)]
    assert 0.8 < np.log2(errors[0] / errors[1]) < 1.3


def test_closed_valves_hold():
    """A ventricle at a pressure between atrium and artery keeps its volume."""
    loop = ClosedLoop.regazzoni_2022()
    y = loop.settle(3)
    p_la = loop.chamber_pressures(y, 50.0)[0]
    between = np.array([(p_la + y[AR_SYS]) / 2, 0.8])
    new, _ = loop.step(y, 50.0, 1.0, between)
    assert abs(new[LV] - y[LV]) < 1e-2 * ML / 1000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Valve(1.0, 0.5), "open resistance"),
        (lambda: Chamber(1.0, 0.0, 0.0, 100.0, 100.0, 0.0), "E_B"),
        (lambda: ClosedLoop.regazzoni_2022(period=0.0), "period"),
    ],
)
def test_impossible_parameters(make, message):
    with pytest.raises(InputError, match=message):
        make()
