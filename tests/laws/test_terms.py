"""Laws of every summand of the weak form: its tangent is its derivative, and it does something."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.coupling.transfer import quadrature_space
from organtwin.materials.active import ActiveStress, AffineTension, ConstantTension
from organtwin.materials.holzapfel_ogden import HolzapfelOgden
from organtwin.materials.isotropic import NeoHookean
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import (
    ActiveTension,
    BodyForce,
    FollowerPressure,
    Incompressibility,
    PassiveStress,
    Spring,
    Term,
    Traction,
    Viscosity,
)
from organtwin.mesh.domain import Domain
from organtwin.verify.geometry import box
from organtwin.verify.mechanics import axes

DOMAIN = box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1))
MATRIX = PassiveStress(NeoHookean(5.0))


def muscle(domain: Domain) -> AffineTension:
    """Tension that grows with the stretch."""
    space = quadrature_space(domain.mesh, 4)
    Ta0, K, old = (fem.Function(space) for _ in range(3))
    Ta0.x.array[:], K.x.array[:], old.x.array[:] = 2.0, 5.0, 1.0
    return AffineTension(Ta0, K, old, 2.3)


UP = ufl.as_vector([0.0, 0.0, 0.1])
TERMS: dict[str, Term] = {
    "passive": PassiveStress(HolzapfelOgden.holzapfel_ogden_2009(), axes()),
    "constant tension": ActiveTension(ActiveStress(ConstantTension(1.0), 0.4), axes()),
    "affine tension": ActiveTension(ActiveStress(muscle(DOMAIN)), axes()),
    "viscosity": Viscosity(50.0),
    "incompressibility": Incompressibility(100.0),
    "spring": Spring(("z1",), 3.0),
    "normal spring": Spring(("z1",), 3.0, normal_only=True),
    "dashpot": Spring(("z1",), 0.0, damping=30.0),
    "follower pressure": FollowerPressure(("z1",), 0.2),
    "body force": BodyForce(UP),
    "traction": Traction(("z1",), UP),
}


def body(*terms: Term) -> Mechanics:
    """A cube that is pulled up, fixed below."""
    base = [MATRIX, Incompressibility(500.0), Traction(("z1",), 3 * UP)]
    problem = Mechanics(DOMAIN, [*base, *terms], dirichlet=[Dirichlet("z0")])
    problem.dt.value = 1.0
    return problem


@pytest.mark.parametrize("name", TERMS)
def test_tangent_is_the_derivative_of_the_residual(name):
    problem, rng = body(TERMS[name]), np.random.default_rng(7)
    equations = problem._equations
    problem.w.x.array[:] = 0.03 * rng.standard_normal(len(problem.w.x.array))
    start = equations.get()
    step = 1e-6 * rng.standard_normal(len(start))
    step[problem._bcs[0].dof_indices()[0]] = 0.0
    equations.factorise()
    x, expected = equations._R.duplicate(), equations._R.duplicate()
    x.array[:] = step
    equations._A.mult(x, expected)
    sides = []
    for sign in (1, -1):
        equations.set(start + sign * step)
        equations.evaluate()
        sides.append(equations._R.array.copy())
    found = (sides[0] - sides[1]) / 2
    error = np.linalg.norm(found - expected.array) / np.linalg.norm(expected.array)
    assert error < 1e-6


@pytest.mark.parametrize("name", TERMS)
def test_has_an_effect(name):
    """Adding it moves the cube by more than rounding."""
    with_it, without = body(TERMS[name]), body()
    for problem in (with_it, without):
        assert problem.solve().outcome.name == "CONVERGED"
    change = np.linalg.norm(with_it.u.x.array - without.u.x.array)
    assert change > 1e-3 * np.linalg.norm(without.u.x.array)
