"""Growth that is not found, on one rank or another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import ufl
from mpi4py import MPI

from organtwin.errors import SolverError
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.formulation import PENALTY_P1
from organtwin.mechanics.history import GrowingTissue
from organtwin.mechanics.problem import Mechanics
from organtwin.parallel import total
from organtwin.verify.geometry import box

DOMAIN = box(MPI.COMM_WORLD, (1.0, 1.0, 1.0), (2, 1, 1))


@dataclass(frozen=True)
class Stretching:
    """ϑ = ϑ_old + Δt (λᵉ(ϑ) − 1) by sweeps that settle for short steps only."""

    implicit = True

    def grown(self, theta_old, guess, load, dt):
        return theta_old + dt * (load.fibre_stretch(guess) - 1) * ufl.as_vector([1.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def tissue():
    growing = GrowingTissue(
        DOMAIN, NeoHookean(2.0), Stretching(), cartesian(), bulk_modulus=200.0, degree=2
    )
    cube = Mechanics(DOMAIN, [growing], formulation=PENALTY_P1, degree=2)
    X = ufl.SpatialCoordinate(DOMAIN.mesh)
    cube.guess(ufl.as_vector([0.2 * X[0], 0.0 * X[0], 0.0 * X[0]]))
    return growing, cube


def unbalanced(problem):
    R = problem.residual()
    return np.sqrt(total(DOMAIN.comm, float(R @ R)))


@pytest.mark.parametrize("corner", [(0, 1, 1), (1, 0, 0)])
def test_growth_is_found_again_after_a_deformation_out_of_bounds(tissue, corner):
    """On whatever rank: two see cells at one of these corners each."""
    growing, cube = tissue
    growing.dt.value = 0.1
    saved = {name: values.copy() for name, values in cube.state.items()}
    before = unbalanced(cube)
    assert 0 < before < np.inf
    there = np.linalg.norm(cube.V.tabulate_dof_coordinates() - corner, axis=1) < 1e-9
    cube.w.x.array.reshape(-1, 3)[there] = np.nan
    assert not np.isfinite(unbalanced(cube))
    cube.restore(saved)
    assert unbalanced(cube) == before


def test_growth_that_is_not_found_makes_no_residual_and_no_history(tissue):
    growing, cube = tissue
    growing.dt.value = 5.0
    assert not np.isfinite(unbalanced(cube))
    with pytest.raises(SolverError, match="no growth"):
        cube.commit()
    assert set(growing.state["theta"]) == {1.0}
    growing.dt.value = 0.1
    assert np.isfinite(unbalanced(cube))
    cube.commit()
    theta = growing.growth.x.array.reshape(-1, 3)[:, 0]
    assert theta == pytest.approx(1 + 0.1 * (1.2 / theta - 1), abs=1e-9)
