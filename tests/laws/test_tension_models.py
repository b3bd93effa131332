"""Laws that every model of active tension obeys, whatever drives it."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from scipy.optimize import brentq

from organtwin.cells.prescribed_tension import CurveTension
from organtwin.cells.rdq20 import RDQ20MF
from organtwin.cells.tension import Land2017, TensionModel
from organtwin.materials.active import TensionCurve

BEAT = TensionCurve((0.0, 120.0, 400.0), (0.0, 60.0, 0.0))
MODELS = {
    "Land 2017": Land2017(),
    "RDQ20-MF": RDQ20MF(),
    "prescribed": CurveTension(BEAT),
    "prescribed, length-dependent": CurveTension(BEAT, beta_0=2.3),
    "twitch, velocity-dependent": CurveTension(
        TensionCurve.twitch(120.0, 60.0, 50.0, 300.0, 15.0), beta_0=2.3, v_0=0.004
    ),
    "twitch": CurveTension(TensionCurve.twitch(120.0, 60.0, 50.0, 300.0, 15.0), beta_0=2.3),
}
#: The working fibre is looked at until then (ms).
END = 60.0
CROSS_BRIDGES = ("Land 2017", "RDQ20-MF")


@pytest.fixture(params=MODELS)
def model(request) -> TensionModel:
    return MODELS[request.param]


def drive(model: TensionModel, t: float) -> float:
    """Calcium (µM) or potential (mV) of a cell that is excited at 10 ms."""
    s = max(t - 10.0, 0.0)
    if model.driven_by == "calcium":
        return 0.02 + 1.2 * (np.exp(-s / 90) - np.exp(-s / 25))
    return 30.0 - 115.0 * s / 280 if 0 < s < 280 else -85.0


def isometric(model: TensionModel, stretch: np.ndarray, end: float, dt: float = 2.0) -> np.ndarray:
    """Tensions (kPa) over time, shape (steps, points)."""
    states, history = model.rest(len(stretch)), []
    for t in dt * np.arange(1, round(end / dt) + 1):
        states = model.kinetics(states, np.full(len(stretch), drive(model, t)), stretch, dt)
        states = model.distort(states, np.zeros(len(stretch)), dt)
        history.append(model.tension(states, stretch))
    return np.array(history)


def working_fibre(model: TensionModel, dt: float, *, naive: bool = False) -> np.ndarray:
    """Stretches over the rise of a beat of a fibre that shortens against a spring."""

    def passive(stretch: float) -> float:
        return 40.0 * (stretch - 1.1)

    states, stretch, history = model.rest(1), 1.1, []
    for t in dt * np.arange(1, round(END / dt) + 1):
        old = np.array([stretch])
        states = model.kinetics(states, np.array([drive(model, t)]), old, dt)
        (Ta0,), (K,) = model.affine(states, dt)

        def force(new: float) -> float:
            change = 0.0 if naive else new - stretch  # noqa: B023 - called within the step
            h = model.overlap(np.array([stretch if naive else new]))[0]  # noqa: B023
            return float(h * (Ta0 + K * change) + passive(new))  # noqa: B023

        stretch = brentq(force, -50.0, 50.0)
        states = model.distort(states, np.array([stretch]) - old, dt)
        history.append(stretch)
    return np.array(history)


def test_nothing_happens_at_rest(model):
    states, stretch = model.rest(3), np.array([0.9, 1.0, 1.1])
    quiet = np.full(3, drive(model, 0.0))
    for _ in range(400):
        states = model.distort(model.kinetics(states, quiet, stretch, 2.0), np.zeros(3), 2.0)
    assert states.shape == (len(model.state_names), 3)
    assert np.all(model.tension(states, stretch) >= 0.0)
    assert np.all(model.tension(states, stretch) < 0.01 * isometric(model, stretch, 400.0).max())


def test_one_twitch(model):
    tension = isometric(model, np.array([0.95, 1.0, 1.1]), 800.0)
    peak = tension.argmax(axis=0)
    assert tension.min() >= 0.0
    assert np.all(tension.max(axis=0) > 15.0)
    assert np.all((peak > 30) & (peak < 125))
    assert np.all(tension[-1] < 0.05 * tension.max(axis=0))
    for row, top in zip(tension.T, peak, strict=True):
        assert np.all(np.diff(row[5:top]) >= -1e-9)
        assert np.all(np.diff(row[top:]) <= 1e-9)


def test_longer_is_not_weaker(model):
    peaks = isometric(model, np.array([0.9, 0.95, 1.0, 1.05]), 400.0).max(axis=0)
    assert np.all(np.diff(peaks) >= 0.0)
    assert (peaks[-1] > 1.2 * peaks[0]) == (model.overlap.slope > 0)


@pytest.mark.parametrize("change", [-0.02, 0.0, 0.01])
def test_affine_tension_is_that_of_the_distorted_states(model, change):
    states, stretch = model.rest(1), np.array([1.05])
    for t in (20.0, 40.0, 60.0, 80.0):
        states = model.kinetics(states, np.array([drive(model, t)]), stretch, 20.0)
        Ta0, K = model.affine(states, 20.0)
        new = stretch + change
        states = model.distort(states, new - stretch, 20.0)
        assert model.tension(states, new) == pytest.approx(
            model.overlap(new) * (Ta0 + K * (new - stretch)), rel=1e-12, abs=1e-12
        )


def test_points_do_not_know_of_each_other(model):
    stretch = np.linspace(0.9, 1.15, 70)
    together = isometric(model, stretch, 200.0)
    apart = np.hstack([isometric(model, part, 200.0) for part in np.split(stretch, [1, 34])])
    np.testing.assert_allclose(apart, together, rtol=1e-9)


def test_overlap_in_a_weak_form_is_that_of_the_states(model):
    stretch = np.linspace(0.4, 2.2, 37)
    in_form = [model.overlap.form(ufl.as_ufl(value))(()) for value in stretch]
    np.testing.assert_allclose(in_form, model.overlap(stretch), atol=1e-14)


@pytest.mark.parametrize("name", CROSS_BRIDGES)
def test_cross_bridges_in_the_solve_keep_a_staggered_step_from_oscillating(name):
    stable = working_fibre(MODELS[name], 2.0)
    naive = working_fibre(MODELS[name], 2.0, naive=True)
    finest = working_fibre(MODELS[name], 0.2)[9::10]
    assert np.all(np.diff(stable) <= 1e-6)
    assert np.abs(stable - finest).max() < 0.01
    assert np.diff(naive).max() > 0.05


@pytest.mark.parametrize("name", CROSS_BRIDGES)
def test_staggered_steps_converge_with_order_one(name):
    finest, *coarser = (
        working_fibre(MODELS[name], dt)[round(0.5 / dt) - 1 :: round(0.5 / dt)]
        for dt in (1 / 16, 0.5, 0.25)
    )
    errors = np.abs(np.array(coarser) - finest).max(axis=1)
    assert 0.9 < np.log2(errors[0] / errors[1]) < 1.4
