"""Tension that follows the potential: its limits, and its step against tight integration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from organtwin.cells.active_stress import NashPanfilov
from organtwin.errors import InputError

MODEL = NashPanfilov(k_T=0.5)


def potential(t: float) -> float:
    """A smooth action potential of some 300 ms (mV)."""
    return -80 + 100 / (1 + np.exp(-(t - 20) / 2)) / (1 + np.exp((t - 300) / 15))


def stepped(dt: float, end: float) -> float:
    Ta = MODEL.rest(1)
    for n in range(round(end / dt)):
        Ta = MODEL.kinetics(Ta, np.array([potential((n + 0.5) * dt)]), dt)
    return float(Ta[0])


@pytest.mark.parametrize("end", [60.0, 200.0, 310.0])
def test_steps_converge_to_the_equation(end):
    def rhs(t, Ta):
        v = potential(t)
        return MODEL.rate(np.array([v]))[0] * (MODEL.k_T * max(v + 80, 0) - Ta)

    exact = solve_ivp(rhs, (0, end), [0.0], rtol=1e-10, atol=1e-12, max_step=0.5).y[0, -1]
    assert stepped(0.05, end) == pytest.approx(exact, rel=1e-3)


def test_rates_at_rest_and_at_the_plateau():
    assert MODEL.rate(np.array([-1e4, -80.0, 20.0])) == pytest.approx([0.1, 0.1, 1.0])


def test_tension_of_a_held_potential():
    Ta = MODEL.rest(3)
    for _ in range(500):
        Ta = MODEL.kinetics(Ta, np.array([-80.0, 20.0, -95.0]), 1.0)
    assert Ta == pytest.approx([0.0, 50.0, 0.0])


@pytest.mark.parametrize("name", ["k_T", "rate_rest", "rate_active", "steepness"])
def test_impossible_parameters(name):
    with pytest.raises(InputError, match=name):
        NashPanfilov(**{"k_T": 1.0, name: 0.0})
