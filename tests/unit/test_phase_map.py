"""Phases meet at points, and states follow the beat of a paced cell."""

from types import SimpleNamespace

import numpy as np
import pytest
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import pace
from organtwin.electrophysiology.filaments import tips
from organtwin.electrophysiology.phase_map import random_phases, states_at_phases
from organtwin.electrophysiology.simplices import Simplices
from organtwin.errors import SolverError


def sheet(size=100.0, cells=60):
    corners = [[0.0, 0.0], [size, size]]
    return fem.functionspace(
        mesh.create_rectangle(MPI.COMM_SELF, corners, [cells, cells]), ("P", 1)
    )


def turning_points(wavelength):
    V = sheet()
    angle = 2 * np.pi * random_phases(V.tabulate_dof_coordinates(), wavelength=wavelength)
    return len(tips(Simplices.of(V), np.cos(angle), np.sin(angle)))


def test_phases_meet_at_more_points_of_shorter_waves():
    assert 0 < turning_points(80.0) < turning_points(40.0) < turning_points(20.0)


def test_phases_depend_on_place_and_seed_alone():
    x = sheet().tabulate_dof_coordinates()
    phases = random_phases(x)
    assert phases.min() >= 0.0
    assert phases.max() < 1.0
    np.testing.assert_allclose(random_phases(x[::-1])[::-1], phases, atol=1e-12)
    assert np.abs(random_phases(x, seed=2) - phases).max() > 0.1


def test_states_follow_the_beat():
    kernel = compile_kernel(CellModel.load("mitchell_schaeffer_2003"))
    phases = np.linspace(0.0, 0.999, 200)
    states, v = states_at_phases(kernel, phases, cycle_length=600.0, beats=2)
    assert states.shape == (kernel.n_states, 200)
    assert v[0] == pytest.approx(v[-1], abs=1.0)
    assert v.argmax() < 20
    assert v.max() - v[0] > 80.0
    # The first phase goes over into the second by a stimulated step, the others by themselves.
    k = 120
    state, potential = states[:, k : k + 1].copy(), v[k : k + 1].copy()
    for _ in range(round((phases[k + 1] - phases[k]) * 600.0 / 0.05)):
        kernel.step(state, potential, 0.0, 0.05)
    assert potential[0] == pytest.approx(v[k + 1], abs=0.1)


def test_stimulus_brings_its_potassium_along():
    """As in `pace`, which the states of a whole number of beats must agree with."""
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"))
    beats, row = 3, kernel.states.index("K_i")
    assert kernel.model.stimulus_ions
    # Strong pulses: 3 × 600 mV/ms × 1 ms bring 0.2 mM.
    pulse = {"cycle_length": 400.0, "strength": 600.0, "duration": 1.0}
    paced = pace(kernel, beats=beats, **pulse)
    states, _ = states_at_phases(kernel, np.zeros(1), beats=beats + 1, **pulse)
    assert states[row, 0] == pytest.approx(paced.states[row], abs=0.01)


class Inert:
    """Cells that do nothing but gather charge."""

    model = SimpleNamespace(stimulus_ions={"K_i": 1e-4}, name="inert")
    states, n_states, initial_potential = ("K_i",), 1, -80.0

    def initial_states(self, n):
        return np.full((1, n), 138.0)

    def step(self, states, v, t, dt, stimulus):
        v += dt * stimulus


@pytest.mark.parametrize("dt", [0.05, 0.3, 0.7])
def test_charge_of_the_stimulus_does_not_depend_on_the_steps(dt):
    states, v = states_at_phases(
        Inert(), np.array([0.999]), cycle_length=10.1, beats=3, dt=dt, strength=5.0, duration=0.93
    )
    assert v[0] == pytest.approx(-80.0 + 3 * 5.0 * 0.93)
    assert states[0, 0] == pytest.approx(138.0 + 1e-4 * 3 * 5.0 * 0.93)


def test_cell_that_diverges_is_told():
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"))
    with pytest.raises(SolverError, match="diverged"):
        states_at_phases(kernel, np.zeros(1), beats=2, strength=1e300)
