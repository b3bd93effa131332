"""Factors, and what they are known to miss, are kept: a solve goes on as if not stopped."""

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.materials.guccione import Guccione
from organtwin.materials.kinematics import as_constants
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.formulation import PENALTY_P1
from organtwin.mechanics.problem import Mechanics
from organtwin.mechanics.terms import Incompressibility, PassiveStress
from organtwin.run.checkpoint import Checkpoint, restore
from organtwin.solve.outcome import Step
from organtwin.verify.geometry import box

COMM = MPI.COMM_SELF


class Pulled:
    """A block of muscle that is pulled, a little more with each step."""

    def __init__(self):
        domain = box(COMM, (10.0, 10.0, 10.0), (3, 3, 3))
        law = as_constants(Guccione(stiffness=2.0, b_f=8.0, b_t=2.0, b_fs=4.0), domain.mesh)
        self.pull = fem.Constant(domain.mesh, 0.0)
        self.problem = Mechanics(
            domain, [PassiveStress(law, cartesian()), Incompressibility(20.0)],
            formulation=PENALTY_P1,
            dirichlet=[Dirichlet("z0"), Dirichlet("z1", ufl.as_vector([0.0, 0.0, self.pull]))],
        )  # fmt: skip
        self.state, self.factors = {}, self.problem.factors
        self.take_factors = self.problem.take_factors

    def go(self, loads):
        iterations = []
        for load in loads:
            self.pull.value = load
            iterations.append(self.problem.solve().iterations)
            self.problem.commit()
        self.state = self.problem.state
        return np.array(self.problem.w.x.array), iterations


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Folder of a checkpoint after three loads, and what came of two more."""
    folder, one = tmp_path_factory.mktemp("pulled"), Pulled()
    one.go([0.4, 0.8, 1.2])
    Checkpoint(COMM, folder, one, 1.0, dict).observe(3.0, Step(2.0, 3.0))
    return folder, one.go([1.5, 1.8])


def test_the_next_solves_take_the_same_way(kept):
    folder, (after, iterations) = kept
    other = Pulled()
    other.state = other.problem.state
    restore(folder, other, COMM)
    found, again = other.go([1.5, 1.8])
    assert again == iterations
    assert np.abs(found - after).max() < 1e-12 * np.abs(after).max()


def test_without_them_they_end_within_the_tolerance_alone(kept):
    """What is kept beside the state makes the difference."""
    folder, (after, iterations) = kept
    other = Pulled()
    other.state = other.problem.state
    other.take_factors = lambda known: other.problem.take_factors({})
    restore(folder, other, COMM)
    found, again = other.go([1.5, 1.8])
    assert again != iterations
    away = np.abs(found - after).max() / np.abs(after).max()
    assert 1e-12 < away < 1e-4


def test_there_are_none_before_the_first_solve():
    fresh = Pulled()
    assert fresh.factors() == {}
    fresh.take_factors({"matrix": np.zeros(3)})  # of another mesh
    assert fresh.factors() == {}
