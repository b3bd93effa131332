"""A tension curve that starts with each excitation of a point."""

from __future__ import annotations

import numpy as np
import pytest

from organtwin.cells.prescribed_tension import CurveTension
from organtwin.errors import InputError
from organtwin.materials.active import TensionCurve

CURVE = TensionCurve((0.0, 100.0, 300.0), (0.0, 60.0, 0.0))


def tensions(model: CurveTension, potentials, dt: float) -> np.ndarray:
    """Tension (kPa) of one point after each step to the given potential (mV)."""
    states, found = model.rest(1), []
    for v in potentials:
        states = model.kinetics(states, np.array([v]), np.ones(1), dt)
        found.append(model.tension(states, np.ones(1))[0])
    return np.array(found)


def action_potential(t, start=0.0):
    """Rises within 1 ms, falls over 250 ms."""
    since = np.asarray(t) - start
    rising, falling = -85 + 115 * since, 30 - 115 * (since - 1) / 250
    return np.where(since <= 0, -85.0, np.where(since < 1, rising, np.maximum(falling, -85.0)))


@pytest.mark.parametrize("dt", [0.05, 0.5, 2.5])
def test_the_clock_starts_where_the_potential_crosses(dt):
    t = dt * np.arange(1, round(400 / dt) + 1)
    found = tensions(CurveTension(CURVE), action_potential(t, start=12.0), dt)
    crossing = 12.0 + 65 / 115
    np.testing.assert_allclose(found, CURVE(t - crossing), atol=0.6 * min(dt, 1.0) + 1e-9)
    assert found.max() == pytest.approx(60.0, rel=0.02)


def test_points_start_one_after_the_other():
    model, states = CurveTension(CURVE), CurveTension(CURVE).rest(3)
    for t in range(1, 111):
        v = np.array([action_potential(float(t), start) for start in (0.0, 50.0, 1e9)])
        states = model.kinetics(states, v, np.ones(3), 1.0)
    early, late, never = model.tension(states, np.ones(3))
    assert early == pytest.approx(CURVE(110 - 65 / 115), abs=0.5)
    assert late == pytest.approx(CURVE(60 - 65 / 115), abs=0.5)
    assert never == 0.0


def test_a_depolarised_cell_is_not_excited_again():
    t = np.arange(1.0, 200.0)
    wave = action_potential(t)
    flicker = np.where((t > 60) & (t < 64), -40.0, wave)  # below the threshold, not repolarised
    expected = tensions(CurveTension(CURVE), wave, 1.0)
    np.testing.assert_array_equal(tensions(CurveTension(CURVE), flicker, 1.0), expected)


def test_an_early_beat_cuts_no_tension_short():
    t = np.arange(1.0, 700.0)
    second = 255.0
    wave = np.where(t < second, action_potential(t), action_potential(t, second))
    found = tensions(CurveTension(CURVE), wave, 1.0)
    assert np.abs(np.diff(found)).max() <= 0.61
    assert found[int(second) + 99] == pytest.approx(60.0, abs=1.0)


def test_length_dependence_is_optional():
    states = CurveTension(CURVE).rest(2)
    states[2] = 100.0
    stretch = np.array([1.0, 1.1])
    assert CurveTension(CURVE).tension(states, stretch) == pytest.approx([60.0, 60.0])
    assert CurveTension(CURVE, beta_0=2.3).tension(states, stretch) == pytest.approx([60.0, 73.8])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"curve": TensionCurve((0.0, 10.0), (0.0, 1.0), period=800.0)}, "period"),
        ({"curve": CURVE, "repolarised": 0.0}, "repolarised"),
    ],
)
def test_impossible_curves(arguments, message):
    with pytest.raises(InputError, match=message):
        CurveTension(**arguments)


@pytest.mark.parametrize("dt", [0.5, 4.0])
def test_steady_shortening_takes_its_share_of_the_tension(dt):
    """1 + λ̇ / v₀, and nothing is left at −v₀."""
    model, held = CurveTension(TensionCurve((0.0, 1.0), (60.0, 60.0)), v_0=0.004), np.ones(3)
    rates = np.array([0.0, -0.001, -0.004])
    states = model.kinetics(model.rest(3), np.zeros(3), held, 2.0)
    for _ in range(round(100 / dt)):
        states = model.distort(model.kinetics(states, np.zeros(3), held, dt), rates * dt, dt)
    np.testing.assert_allclose(model.tension(states, held), [60.0, 45.0, 0.0], atol=1e-6)


def test_a_quick_release_takes_the_tension_away_which_comes_back():
    model, held = CurveTension(TensionCurve((0.0, 1.0), (60.0, 60.0)), v_0=0.004), np.ones(1)
    states = model.distort(model.rest(1), np.array([-0.01]), 1e-6)
    assert model.tension(states, held) == pytest.approx(30.0, rel=1e-6)
    states = model.distort(states, np.zeros(1), 5.0)
    assert model.tension(states, held) == pytest.approx(60.0 - 30.0 * np.exp(-1.0), rel=1e-6)


def test_no_velocity_is_refused():
    with pytest.raises(InputError, match="v_0"):
        CurveTension(CURVE, v_0=0.0)
