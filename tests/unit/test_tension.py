"""Land 2017: against a tight stiff integration of its equations, and its own laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from organtwin.cells.tension import Land2017
from organtwin.errors import InputError


def calcium(t: float) -> float:
    """Transient (µM): 0.1 at rest, 0.7 at the peak after some 60 ms."""
    return 0.1 + 1.63 * (np.exp(-t / 120) - np.exp(-t / 25)) * (t > 0)


def reference(model: Land2017, stretch, rate, t_end: float) -> np.ndarray:
    """Equations of the source as they stand there, integrated to 1e-10."""

    def rhs(t, y):
        trpn, B, W, S, zw, zs = y
        lam = stretch(t)
        U = 1 - B - W - S
        ca50 = model.ca50 + model.beta_1 * (min(lam, 1.2) - 1)
        g_su = model.gamma_s * (zs if zs > 0 else -zs - 1 if zs < -1 else 0.0)
        dS = model.k_ws * W - (model.k_su + g_su) * S
        dW = model.k_uw * U - (model.k_wu + model.k_ws + model.gamma_w * abs(zw)) * W
        dB = model.k_b * min(100, trpn ** (-model.n_tm / 2)) * U
        dB -= model.k_u * trpn ** (model.n_tm / 2) * B
        d_trpn = model.k_trpn * ((calcium(t) / ca50) ** model.n_trpn * (1 - trpn) - trpn)
        dzw = model.distortion * rate(t) - model.decay_w * zw
        dzs = model.distortion * rate(t) - model.decay_s * zs
        return [d_trpn, dB, dW, dS, dzw, dzs]

    y0 = model.rest(1)[:, 0]
    y0[0] = 0.015
    return solve_ivp(rhs, (0, t_end), y0, method="LSODA", rtol=1e-10, atol=1e-12).y[:, -1]


def integrate(model: Land2017, stretch, t_end: float, dt: float) -> np.ndarray:
    states = model.rest(1)
    states[0] = 0.015
    lam = np.array([stretch(0.0)])
    for n in range(round(t_end / dt)):
        t = (n + 1) * dt
        states = model.kinetics(states, np.array([calcium(t)]), lam, dt)
        new = np.array([stretch(t)])
        states = model.distort(states, new - lam, dt)
        lam = new
    return states[:, 0]


@pytest.mark.parametrize("t_end", [80.0, 200.0])
def test_converges_to_the_equations(t_end):
    model = Land2017()

    def stretch(t):
        return 1.05 - 0.10 * np.sin(np.pi * t / 400) ** 2

    def rate(t):
        return -0.10 * np.pi / 400 * np.sin(2 * np.pi * t / 400)

    exact = reference(model, stretch, rate, t_end)
    lam = np.array([stretch(t_end)])
    Ta = model.tension(exact[:, None], lam)[0]
    errors = [
        model.tension(integrate(model, stretch, t_end, dt)[:, None], lam)[0] / Ta - 1
        for dt in (2.0, 0.25, 0.125)
    ]
    assert abs(errors[0]) < 0.03
    assert 0.8 < np.log2(errors[1] / errors[2]) < 1.2  # first order below the largest sub-step


def test_tension_is_affine_in_the_stretch_change():
    """`affine` is what `distort` followed by `tension` gives, for any stretch change."""
    model = Land2017()
    states = integrate(model, lambda t: 1.0, 100.0, 1.0)[:, None]
    Ta0, K = model.affine(states, 2.0)
    for change in (-0.01, 0.0, 0.02):
        stretch = np.array([1.0 + change])
        moved = model.distort(states, np.array([change]), 2.0)
        expected = model.overlap(stretch) * (Ta0 + K * change)
        assert model.tension(moved, stretch) == pytest.approx(expected, rel=1e-12)


def test_steady_force_calcium_relation():
    """Half of the maximal force near ca50 at rest length, the closed form at saturating calcium."""
    model = Land2017()

    def steady(ca: float) -> float:
        states = model.rest(1)
        for _ in range(8000):
            states = model.kinetics(states, np.array([ca]), np.ones(1), 0.5)
        return float(model.tension(states, np.ones(1))[0])

    saturated = steady(50.0)
    trpn = 50.0**2 / (50.0**2 + model.ca50**2)
    U, B = 1.0, model.k_b / model.k_u * trpn**-model.n_tm
    W = model.k_uw * U / (model.k_wu + model.k_ws)
    S = model.k_ws * W / model.k_su
    assert saturated == pytest.approx(model.T_ref / model.r_s * S / (U + B + W + S), rel=1e-6)
    assert saturated > 0.9 * model.T_ref
    assert 0.2 < steady(model.ca50) / saturated < 0.8
    assert steady(0.05) < 0.01 * saturated


def test_longer_is_stronger():
    """Length-dependent activation: the Frank–Starling law at the level of the fibre."""
    model = Land2017()
    short, long = (
        model.tension(
            integrate(model, lambda t, lam=lam: lam, 150.0, 1.0)[:, None], np.array([lam])
        )
        for lam in (0.95, 1.1)
    )
    assert long > 1.5 * short


def test_impossible_parameters():
    with pytest.raises(InputError, match="T_ref"):
        Land2017(T_ref=0.0)
