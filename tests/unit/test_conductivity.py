"""Conductivity tensor, endocardial layer, and the tuning to a velocity."""

from __future__ import annotations

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.electrophysiology.conductivity import (
    Conductivity,
    _Guess,
    _searched,
    conduction_velocity,
    conductivity_tensor,
    monodomain_conductivity,
    structured_bar,
    tune,
    unstructured_bar,
)
from organtwin.electrophysiology.diffusion import Membrane
from organtwin.electrophysiology.reaction_diffusion import COARSE
from organtwin.errors import InputError
from organtwin.mesh.domain import cellwise_vectors
from organtwin.verify.geometry import box

SIGMA = Conductivity(fibre=0.3, sheet=0.12, normal=0.05, endocardial_layer=0.9)


@pytest.fixture(scope="module")
def domain():
    return box(MPI.COMM_SELF, (3.0, 3.0, 3.0), (3, 3, 3))


@pytest.fixture(scope="module")
def frame(domain):
    """Fibre, sheet and normal that turn about z from cell to cell."""
    V = cellwise_vectors(domain)
    f0, s0, n0 = (fem.Function(V) for _ in range(3))
    f0.interpolate(lambda x: np.stack([np.cos(x[2]), np.sin(x[2]), 0 * x[2]]))
    s0.interpolate(lambda x: np.stack([-np.sin(x[2]), np.cos(x[2]), 0 * x[2]]))
    n0.interpolate(lambda x: np.stack([0 * x[2], 0 * x[2], 1 + 0 * x[2]]))
    return f0, s0, n0


def cell_values(domain, tensor):
    W = fem.functionspace(domain.mesh, ("DG", 0, (3, 3)))
    values = fem.Function(W)
    values.interpolate(fem.Expression(tensor, W.element.interpolation_points))
    return values.x.array.reshape(-1, 3, 3)


def test_eigenvalues_and_fibre_direction(domain, frame):
    sigma = cell_values(domain, conductivity_tensor(domain, SIGMA, *frame))
    np.testing.assert_allclose(
        np.linalg.eigvalsh(sigma), np.broadcast_to([0.05, 0.12, 0.3], (len(sigma), 3)), atol=1e-14
    )
    along = frame[0].x.array.reshape(-1, 3)
    np.testing.assert_allclose(np.einsum("cij,cj->ci", sigma, along), 0.3 * along, atol=1e-14)


def test_layer_is_isotropic_in_the_cells_that_touch_the_surface(domain, frame):
    tensor = conductivity_tensor(domain, SIGMA, *frame, endocardium=("z0", "x1"))
    sigma = cell_values(domain, tensor)
    corners = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0]]
    touches = (np.isclose(corners[..., 2], 0.0) | np.isclose(corners[..., 0], 3.0)).any(axis=1)
    in_layer = np.isclose(sigma, 0.9 * np.eye(3)).all(axis=(1, 2))
    np.testing.assert_array_equal(in_layer, touches)
    assert 0 < touches.sum() < len(touches)


def test_monodomain_conductivity():
    """Values of the N-version benchmark of Niederer et al. (2011)."""
    assert monodomain_conductivity(0.17, 0.62) == pytest.approx(0.13341772, abs=1e-8)
    assert monodomain_conductivity(0.019, 0.24) == pytest.approx(0.01760618, abs=1e-8)
    with pytest.raises(InputError, match="Both must be > 0"):
        monodomain_conductivity(0.0, 0.62)


@pytest.fixture(scope="module")
def cell():
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"))
    return kernel, kernel.initial_states()[:, 0], kernel.initial_potential


@pytest.mark.parametrize("velocity", [0.3, 0.65, 2.0])
def test_tuning_reaches_its_target(cell, velocity):
    tuned, *_ = tune(*cell, (velocity,) * 3, 1.3, membrane=Membrane(), dt=0.05, scheme=COARSE)
    assert tuned.velocity == pytest.approx(velocity, rel=0.01)
    sigma = (tuned.sigma,) * 3
    again = conduction_velocity(
        *cell, sigma, unstructured_bar(1.3), Membrane(), 0.05, scheme=COARSE
    )
    assert again == tuned.velocity


def test_tuning_takes_the_other_directions_into_account(cell):
    """Waves along and across the fibres of one tissue."""
    tuned = tune(*cell, (0.6, 0.3, 0.3), 1.3, membrane=Membrane(), dt=0.05, scheme=COARSE)
    assert [t.velocity for t in tuned] == pytest.approx([0.6, 0.3, 0.3], rel=0.01)
    assert tuned[0].sigma > tuned[1].sigma == pytest.approx(tuned[2].sigma)


def found_by_search(measure, target):
    """Where a search ends that begins with c ∝ √σ, and how many waves it took."""
    asked = []

    def told(sigma):
        asked.append(sigma.copy())
        return measure(sigma)

    start = _Guess(0.1334 * (target / 0.6) ** 2, 0.5 * np.eye(len(target)))
    return _searched(told, target, start, 0.01, 12), len(asked)


def test_search_learns_how_waves_along_and_across_depend_on_each_other():
    """A formula in place of waves: the slow one is faster beside good conduction across it."""
    target = np.array([0.3, 0.6])

    def measure(sigma):
        slow, fast = sigma
        return np.array([slow**0.2 * fast**0.5, fast**0.9 * slow**0.1])

    found, waves = found_by_search(measure, target)
    assert found.reached and waves <= 7
    np.testing.assert_allclose(measure(found.guess.sigma), target, rtol=0.01)
    np.testing.assert_array_equal(found.velocity, measure(found.guess.sigma))


def test_search_comes_back_from_where_waves_die():
    """As on coarse meshes: no wave below 0.2 mS/mm, a steep rise of the velocity above."""
    target = np.array([0.3])

    def measure(sigma):
        return np.where(sigma > 0.2, 0.25 + np.sqrt(np.maximum(sigma - 0.2, 0.0)), 0.0)

    found, _ = found_by_search(measure, target)
    assert found.reached
    np.testing.assert_allclose(found.guess.sigma, 0.2 + 0.05**2, atol=4e-4)
    dead, waves = found_by_search(np.zeros_like, target)
    assert not dead.reached and waves == 12


def test_velocity_out_of_reach_is_refused(cell):
    with pytest.raises(
        InputError, match=r"no conductivities give 30, 30, 30 mm/ms with cells of 1\.3 mm"
    ):
        tune(*cell, (30.0,) * 3, 1.3, membrane=Membrane(), dt=0.05, scheme=COARSE, iterations=2)


def test_wave_that_dies_has_no_velocity(cell):
    bar = structured_bar(1.3)
    assert conduction_velocity(*cell, (1e-5,) * 3, bar, Membrane(), 0.05, scheme=COARSE) == 0.0


def test_a_tuning_says_for_which_scheme(cell):
    """Velocities of one scheme are not those of another."""
    with pytest.raises(TypeError, match="scheme"):
        tune(*cell, (0.6,) * 3, 1.3, membrane=Membrane(), dt=0.05)
    with pytest.raises(TypeError, match="scheme"):
        conduction_velocity(*cell, (0.1,) * 3, structured_bar(1.3), Membrane(), 0.05)
