"""Laws of every summand of the weak form: its tangent is its derivative, and it does something."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.coupling.transfer import quadrature_space
from organtwin.materials.active import ActiveStress, AffineTension, ConstantTension, FilamentOverlap
from organtwin.materials.holzapfel_ogden import HolzapfelOgden
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.dynamics import QUASI_STATIC, GeneralisedAlpha
from organtwin.mechanics.formulation import P1_P1, PENALTY_P1, TAYLOR_HOOD
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import (
    ActiveTension,
    BodyForce,
    FollowerPressure,
    Incompressibility,
    Inertia,
    PassiveStress,
    RigidLoad,
    Robin,
    Spring,
    SpringBed,
    Term,
    Traction,
    Viscosity,
    VolumeEnergy,
)
from organtwin.mesh.domain import Domain
from organtwin.verify.geometry import box

DOMAIN = box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1))
MATRIX = PassiveStress(NeoHookean(5.0))


class Elastic:
    """Linear elasticity, a matrix that costs nothing to compile."""

    def form(self, domain, s):
        """∫ 10 ε : ∇δu dx."""
        return ufl.inner(10 * ufl.sym(ufl.grad(s.u)), ufl.grad(s.u_test)) * domain.dx(degree=1)


def muscle(domain: Domain) -> AffineTension:
    """Tension that grows with the stretch."""
    space = quadrature_space(domain.mesh, 4)
    Ta0, K, old = (fem.Function(space) for _ in range(3))
    Ta0.x.array[:], K.x.array[:], old.x.array[:] = 2.0, 5.0, 1.0
    return AffineTension(Ta0, K, old, FilamentOverlap.land_2017(2.3))


def soft_spot(domain: Domain) -> fem.Function:
    """A stiffness that grows along x, as that of a pericardium."""
    stiffness = fem.Function(fem.functionspace(domain.mesh, ("P", 1)))
    stiffness.interpolate(lambda x: 4.0 * x[0])
    return stiffness


UP = ufl.as_vector([0.0, 0.0, 0.1])
ACROSS = ufl.as_vector([0.6, 0.0, 0.8])
TERMS: dict[str, Term] = {
    "passive": PassiveStress(HolzapfelOgden.holzapfel_ogden_2009(), cartesian()),
    "constant tension": ActiveTension(ActiveStress(ConstantTension(1.0), 0.4), cartesian()),
    "affine tension": ActiveTension(ActiveStress(muscle(DOMAIN)), cartesian()),
    "viscosity": Viscosity(50.0),
    "incompressibility": Incompressibility(100.0),
    "logarithmic volume energy": Incompressibility(100.0, 5.0, VolumeEnergy.LOGARITHMIC),
    "stabilised incompressibility": Incompressibility(100.0, shear_modulus=5.0),
    "penalty": Incompressibility(100.0),
    "quadratic penalty": Incompressibility(100.0, energy=VolumeEnergy.QUADRATIC),
    "spring": Spring(("z1",), 3.0),
    "normal spring": Spring(("z1",), 3.0, normal_only=True),
    "pericardium": Spring(("z1",), soft_spot(DOMAIN), normal_only=True),
    "dashpot": Spring(("z1",), 0.0, damping=30.0),
    "normal Robin": Robin(("z1", "x1"), normal=3.0, normal_damping=3.0),
    "tangential Robin": Robin(("z1", "x1"), tangential=3.0, tangential_damping=3.0),
    "spring bed": SpringBed(("x1",), 3.0, ACROSS, foundation=UP),
    "bed that does not pull": SpringBed(("x1",), 3.0, -ACROSS, compression_only=True),
    "follower pressure": FollowerPressure(("z1",), 0.2),
    "body force": BodyForce(UP),
    "traction": Traction(("z1",), UP),
    "rigid load": RigidLoad(DOMAIN, ("z1",), UP, 2 * UP, (0.3, 0.5, 1.0)),
    "inertia": Inertia(3.0),
    "viscosity in motion": Viscosity(50.0),
}
#: Of terms that need other elements than the linear ones with a penalty.
FORMULATIONS = {
    "incompressibility": TAYLOR_HOOD,
    "logarithmic volume energy": P1_P1,
    "stabilised incompressibility": P1_P1,
}
MOVING = ("inertia", "viscosity in motion")


def body(name: str, *terms: Term) -> Mechanics:
    """A cube that is pulled up, fixed below."""
    formulation = FORMULATIONS.get(name, PENALTY_P1)
    base = [Elastic()] if formulation is PENALTY_P1 else [MATRIX, Incompressibility(500.0, 5.0)]
    problem = Mechanics(
        DOMAIN,
        [*base, Traction(("z1",), 3 * UP), *terms],
        formulation=formulation,
        dirichlet=[Dirichlet("z0")],
        scheme=GeneralisedAlpha(0.2, 0.4) if name in MOVING else QUASI_STATIC,
    )
    problem.dt.value = 1.0
    return problem


@pytest.mark.parametrize("name", TERMS)
def test_tangent_is_the_derivative_of_the_residual(name):
    problem, rng = body(name, TERMS[name]), np.random.default_rng(7)
    equations = problem._equations
    problem.w.x.array[:] = 0.03 * rng.standard_normal(len(problem.w.x.array))
    start = equations.get()
    step = 1e-6 * rng.standard_normal(len(start))
    step[problem.supports.bcs[0].dof_indices()[0]] = 0.0
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
    with_it, without = body(name, TERMS[name]), body(name)
    for problem in (with_it, without):
        assert problem.solve().outcome.name == "CONVERGED"
    change = np.linalg.norm(with_it.u.x.array - without.u.x.array)
    assert change > 1e-3 * np.linalg.norm(without.u.x.array)


def test_robin_of_equal_stiffness_is_a_spring():
    """Normal and tangential parts make up the whole."""
    spring = body("", Spring(("z1", "x1"), 2.0, damping=3.0))
    robin = body("", Robin(("z1", "x1"), 2.0, 2.0, 3.0, 3.0))
    for problem in (spring, robin):
        assert problem.solve().outcome.name == "CONVERGED"
    assert robin.u.x.array == pytest.approx(spring.u.x.array, rel=1e-9, abs=1e-12)


def test_rigid_load_has_its_resultants():
    """Force and moment about any point, of a traction on two faces."""
    force, moment = np.array([0.2, -0.1, 0.4]), np.array([0.05, 0.3, -0.2])
    about = np.array([0.3, -0.5, 1.0])
    load = RigidLoad(
        DOMAIN, ("z1", "x1"), ufl.as_vector(force.tolist()), ufl.as_vector(moment.tolist()),
        tuple(about),
    )  # fmt: skip
    problem = Mechanics(DOMAIN, [load], formulation=PENALTY_P1)
    problem._equations.evaluate()
    nodal = -problem._equations._R.array.reshape(-1, 3)
    X = problem.V.tabulate_dof_coordinates()
    assert nodal.sum(axis=0) == pytest.approx(force)
    assert np.cross(X - about, nodal).sum(axis=0) == pytest.approx(moment)


def test_bed_that_does_not_pull_lets_go():
    """It resists being pressed and not being left."""
    held = {
        name: body("", SpringBed(("z1",), 50.0, ufl.as_vector(d), compression_only=True))
        for name, d in (("above", [0.0, 0.0, -1.0]), ("below", [0.0, 0.0, 1.0]))
    }
    free = body("")
    for problem in (*held.values(), free):
        assert problem.solve().outcome.name == "CONVERGED"
    assert held["below"].u.x.array == pytest.approx(free.u.x.array, abs=1e-9)
    assert np.abs(held["above"].u.x.array).max() < 0.5 * np.abs(free.u.x.array).max()
