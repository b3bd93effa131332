"""RDQ20-MF against its authors' trajectory and against what its equations give in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from organtwin.cells.rdq20 import MU_0, RATE, RDQ20MF
from organtwin.errors import InputError

#: t (ms), Ta (kPa) and a_XB (μ⁰_P + μ⁰_N) h (kPa) of human cells at body temperature in the
#: protocol of `calcium` and `stretch`: every tenth line of `transient-test.csv` of Thunderbolt.jl
#: (MIT licence), made with the authors' C++ code (MIT licence), in steps of 0.025 ms.
TRAJECTORY = np.array([
    (10, 0.378131442, 15.8703419), (20, 1.51183982, 63.4525778), (30, 5.84241626, 245.208764),
    (50, 23.7921003, 998.564845), (60, 28.5488383, 1337.13768), (80, 43.7102807, 2028.42618),
    (100, 55.7149990, 2515.95376), (150, 66.1910010, 2861.42122), (200, 57.1847758, 2427.60159),
    (250, 39.6641619, 1672.00067), (300, 22.6506959, 952.242889), (350, 10.9741048, 460.878406),
    (360, 10.2496438, 342.635833), (380, 7.53603220, 274.679184), (400, 5.71009767, 225.356099),
])  # fmt: skip


def calcium(t: float) -> float:
    """Transient (µM) of the authors' example: 0.1 at rest, 0.9 at the peak."""
    rise, fall = 20.0, 50.0
    scale = (rise / fall) ** (-1 / (rise / fall - 1)) - (rise / fall) ** (-1 / (1 - fall / rise))
    if t < 10.0:
        return 0.1
    return 0.1 + 0.8 / scale * (np.exp((10 - t) / rise) - np.exp((10 - t) / fall))


def stretch(t: float) -> float:
    """Shortening by 3 % from 50 ms on, lengthening from 350 ms on."""
    shortened = max(1 - np.exp((50 - t) / 50), 0) - max(1 - np.exp((350 - t) / 20), 0)
    return 1 - 0.03 * shortened


def trajectory(dt: float) -> np.ndarray:
    """Ta and stiffness at the instants of `TRAJECTORY`, shape (instants, 2)."""
    model, found = RDQ20MF(), {}
    states, now = model.rest(1), np.ones(1)
    for t in dt * np.arange(1, round(400 / dt) + 1):
        states = model.kinetics(states, np.array([calcium(t)]), now, dt)
        new = np.array([stretch(t)])
        states, now = model.distort(states, new - now, dt), new
        stiffness = model.overlap(now) * model.a_XB * states[MU_0]
        found[t] = model.tension(states, now)[0], stiffness[0]
    return np.array([found[t] for t in TRAJECTORY[:, 0]])


def steady(model: RDQ20MF, ca, lam, end: float = 3000.0) -> np.ndarray:
    """States after a long time at held calcium and stretch."""
    ca, lam = np.broadcast_arrays(np.asarray(ca, float), np.asarray(lam, float))
    return model.kinetics(model.rest(ca.size), ca, lam, end)


def equilibrium(model: RDQ20MF, ca, lam):
    """Permissivity of an infinite chain of units in equilibrium.

    Rates are in detailed balance: a chain with weights 1 + x of a non-permissive and Q (1/μ + x) of
    a permissive unit, x = [Ca]/K_d, and 1/γ of unlike neighbours; its transfer matrix is 2 × 2.
    """
    x = np.asarray(ca) / model.dissociation(np.asarray(lam))
    closed, opened = 1 + x, model.Q * (1 / model.mu + x)
    root = np.sqrt((opened - closed) ** 2 + 4 * opened * closed / model.gamma**2)
    return 0.5 * (1 + (opened - closed) / root)


def test_trajectory_of_the_authors():
    found = trajectory(0.1)
    np.testing.assert_allclose(found, TRAJECTORY[:, 1:], rtol=8e-3)
    assert np.abs(found[:, 0] - TRAJECTORY[:, 1]).max() < 1e-3 * TRAJECTORY[:, 1].max()


def test_trajectory_converges_with_order_one():
    finest, *coarser = (trajectory(dt)[:, 0] for dt in (1 / 8, 2.0, 1.0, 0.5))
    errors = np.abs(np.array(coarser) - finest).max(axis=1)
    assert errors[0] < 0.02 * finest.max()  # the step of the mechanics
    orders = np.log2(errors[:-1] / errors[1:])
    assert np.all((orders > 0.9) & (orders < 1.3))


@pytest.mark.parametrize("model", [RDQ20MF(), RDQ20MF.rat()], ids=["human", "rat"])
def test_steady_permissivity_is_that_of_a_chain_in_equilibrium(model):
    ca, lam = np.meshgrid(np.logspace(-1, 1, 9), [0.8, 0.9, 1.0])
    found = model.permissivity(steady(model, ca.ravel(), lam.ravel()))
    np.testing.assert_allclose(found, equilibrium(model, ca.ravel(), lam.ravel()), rtol=1e-4)


def test_force_calcium_relation():
    """Half activation at 0.8 K_d(SL); the Hill coefficient there comes from γ, at all lengths."""
    model = RDQ20MF()
    share = (1 - model.Q / model.mu) / (model.Q - 1)
    hill = model.gamma * share * (model.Q - 1) / (1 + share)
    assert (share, hill) == pytest.approx((0.8, 16 / 3))
    for length in (1.8, 2.0, 2.2):
        lam = length / model.SL0
        near = share * model.dissociation(np.array(lam)) * np.array([1.0, 1.02])
        P = model.permissivity(steady(model, near, lam))
        odds = np.log(P / (1 - P))
        assert P[0] == pytest.approx(0.5, abs=1e-4)
        assert (odds[1] - odds[0]) / np.log(1.02) == pytest.approx(hill, rel=0.01)


def test_twitches_of_longer_sarcomeres_are_stronger_and_last_longer():
    """Isometric twitches of human cells, as the source shows them: peak force and duration grow."""
    model, dt = RDQ20MF(), 1.0
    lam = np.array([1.7, 1.8, 1.9, 2.0, 2.1, 2.2]) / model.SL0
    states, tension = model.rest(lam.size), []
    for t in dt * np.arange(1, 601):
        states = model.kinetics(states, np.full(lam.size, calcium(t)), lam, dt)
        states = model.distort(states, np.zeros(lam.size), dt)
        tension.append(model.tension(states, lam))
    peaks = np.max(tension, axis=0)
    assert np.all(np.diff(peaks) > 0)
    assert np.all(np.diff(np.sum(np.array(tension) > peaks / 2, axis=0) * dt) > 2.0)
    assert np.all(np.diff(np.argmax(tension, axis=0)) > 0)


def test_force_velocity_relation():
    """Steady shortening at full activation; without load at μ¹_f r₀/(μ⁰_f − α μ¹_f)."""
    model, dt = RDQ20MF(), 0.02
    fastest = model.mu1_f * model.r0 / (model.mu0_f - model.alpha * model.mu1_f)
    assert fastest == pytest.approx(8e-3, rel=1e-3)
    shares = np.array([0.0, 0.25, 0.5, 0.75, 1.0, -0.25])
    rate = -fastest * shares
    states = steady(model, np.full(6, 1e3), 1.0)
    saturated = model.permissivity(states)[0]
    states[RATE] = rate
    for _ in range(6000):
        states = model.kinetics(states, np.full(6, 1e3), np.ones(6), dt)
        states = model.distort(states, rate * dt, dt)
    force = model.tension(states, np.ones(6))
    r = model.r0 + model.alpha * np.abs(rate)
    exact = saturated * (model.mu1_f / r + rate * model.mu0_f / r**2)
    np.testing.assert_allclose(force, model.a_XB * model.overlap(np.ones(6)) * exact, atol=1e-3)
    assert force[4] == pytest.approx(0.0, abs=1e-3)
    assert force[5] > force[0] > force[1] > force[2] > force[3]
    assert force[2] < 0.5 * (force[0] + force[4])


def test_stiffness_against_a_fast_stretch():
    """For short steps K is that of the attached cross-bridges."""
    model = RDQ20MF()
    states = steady(model, np.array([1.0]), 1.0)
    states = model.kinetics(states, np.array([1.0]), np.ones(1), 1e-3)
    _, K = model.affine(states, 1e-3)
    np.testing.assert_allclose(K, model.a_XB * states[MU_0], rtol=1e-3)
    assert K[0] > 20 * model.tension(states, np.ones(1))[0]


def test_filament_overlap():
    """Plateau where each head faces one filament; none where they do not meet."""
    model = RDQ20MF()
    length = np.array([1.25, 1.65, 2.2, 2.32, 2.5, 2.68, 4.15, 4.3])
    expected = [0.0, 0.4 / 0.735, 1.35 / 1.47, 1.0, 1.0, 1.0, 0.0, 0.0]
    np.testing.assert_allclose(model.overlap(length / model.SL0), expected, atol=1e-12)


def test_saturating_calcium_and_long_sarcomeres_stay_finite():
    model = RDQ20MF()
    ca, lam = np.array([0.0, 5.0, 100.0, 1e4]), np.array([1.0, 1.3, 1.5, 0.6])
    states = steady(model, ca, lam, end=500.0)
    assert np.isfinite(states).all()
    assert states[:16].min() > -1e-9
    np.testing.assert_allclose(states[:16].sum(axis=0), 1.0, atol=1e-10)


def test_impossible_parameters():
    with pytest.raises(InputError, match="a_XB"):
        RDQ20MF(a_XB=0.0)
    with pytest.raises(InputError, match="could not leave troponin"):
        RDQ20MF(SL_sensitive=2.9)
