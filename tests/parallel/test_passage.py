"""An arch that snaps through: no equilibrium lies beside the last one before it does."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.kinematics import as_constants
from organtwin.mechanics.formulation import PENALTY
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import BodyForce, Incompressibility, PassiveStress
from organtwin.parallel import total
from organtwin.solve.nonlinear import Tolerances
from organtwin.solve.steward import follow
from organtwin.verify.geometry import box

COMM = MPI.COMM_WORLD
LENGTH, RISE = 20.0, 6.0
#: Weights (mN/mm³) that the arch does not bear and bears.
HEAVY, LIGHT = 0.1, 0.005


@pytest.fixture(scope="module")
def arch():
    domain = box(COMM, (LENGTH, 1.0, 0.4), (10, 1, 1), mesh.CellType.hexahedron)
    x = domain.mesh.geometry.x
    x[:, 2] += RISE * np.sin(np.pi * x[:, 0] / LENGTH)
    weight = fem.Constant(domain.mesh, 0.0)
    problem = Mechanics(
        domain,
        [
            PassiveStress(as_constants(NeoHookean(10.0), domain.mesh)),
            Incompressibility(fem.Constant(domain.mesh, 50.0)),
            BodyForce(ufl.as_vector([0.0, 0.0, -weight])),
        ],
        formulation=PENALTY,
        dirichlet=[Dirichlet("x0"), Dirichlet("x1")],
        tolerances=Tolerances(increment=1e-10),
        name="arch",
    )
    rest = {name: values.copy() for name, values in problem.state.items()}
    sag = fem.form(-problem.displacement[2] * ufl.dx(domain.mesh))
    return SimpleNamespace(
        problem=problem,
        weight=weight,
        rest=rest,
        sag=lambda: total(COMM, fem.assemble_scalar(sag)) / (LENGTH * 0.4),
    )


def loaded(arch, weight, **settings):
    arch.problem.restore(arch.rest)

    def apply(factor):
        arch.weight.value = weight * factor

    return follow(arch.problem, apply, smallest=1e-3, **settings)


def test_without_damping_the_arch_is_given_up_where_it_snaps(arch, tmp_path):
    path = loaded(arch, HEAVY, damping=None, save_to=COMM.bcast(tmp_path))
    assert not path.converged
    assert path.passages == 0
    assert arch.sag() < RISE


def test_the_arch_snaps_through_to_the_equilibrium_on_the_other_side(arch):
    path = loaded(arch, HEAVY)
    assert path.converged
    assert path.passages == 1
    behind = arch.sag()
    assert behind > RISE
    # From far below, where the arch hangs as a chain, the same equilibrium is found.
    arch.weight.value = 2 * HEAVY
    assert arch.problem.solve().outcome.name == "CONVERGED"
    arch.weight.value = HEAVY
    assert arch.problem.solve().outcome.name == "CONVERGED"
    assert arch.sag() == pytest.approx(behind, rel=1e-6)


def test_springs_leave_nothing_behind(arch):
    path = loaded(arch, LIGHT)
    assert path.converged
    before = arch.sag()
    arch.problem.anchor(1.0)
    arch.weight.value = 0.9 * LIGHT
    arch.problem.solve()
    tied = arch.sag()
    arch.problem.anchor(0.0)
    arch.problem.solve()
    assert before - tied < 0.5 * (before - arch.sag())
    arch.weight.value = LIGHT
    arch.problem.solve()
    assert arch.sag() == pytest.approx(before, rel=1e-7)
