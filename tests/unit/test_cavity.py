"""Cavities: volume, load and their balance."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.materials.isotropic import NeoHookean
from organtwin.mechanics.cavity import Cavity
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import Incompressibility, PassiveStress, Spring
from organtwin.verify.geometry import box, truncated_ellipsoid

LV = Cavity("lv", "lv_endo", "base")


@pytest.fixture(scope="module")
def ellipsoid(tmp_path_factory):
    return truncated_ellipsoid(MPI.COMM_SELF, tmp_path_factory.mktemp("e") / "e.msh", size=3.0)


@pytest.fixture
def ventricle(ellipsoid):
    terms = [PassiveStress(NeoHookean(2.0)), Incompressibility(), Spring(("base",), 0.5)]
    return Mechanics(ellipsoid, terms, cavities=[LV])


def closed_form() -> float:
    """Volume of the ellipsoid 7, 7, 17 below z = 5, by integration of its sections."""
    return np.pi * 49 * ((5 + 17) - (5**3 + 17**3) / (3 * 17**2))


def test_volume_against_the_closed_form(tmp_path):
    errors = []
    for size in (3.0, 1.5):
        domain = truncated_ellipsoid(MPI.COMM_SELF, tmp_path / f"{size}.msh", size=size)
        terms = [PassiveStress(NeoHookean(2.0)), Incompressibility()]
        volume = Mechanics(domain, terms, cavities=[LV]).volumes()[0]
        errors.append(1 - volume / closed_form())
    assert 0 < errors[1] < 0.02  # facets lie inside
    assert np.log2(errors[0] / errors[1]) > 1.5


def test_rigid_motion_keeps_the_volume(ventricle):
    x = ufl.SpatialCoordinate(ventricle.domain.mesh)
    a = 0.6
    Q = ufl.as_matrix([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    before = ventricle.volumes()[0]
    ventricle.guess(Q * x - x + ufl.as_vector([5.0, -3.0, 20.0]))
    assert ventricle.volumes()[0] == pytest.approx(before, rel=1e-10)


def load(problem: Mechanics) -> np.ndarray:
    """∂V/∂u, the rim's share included."""
    problem._equations.evaluate()
    return problem._equations._b[0].array.copy()


def test_load_is_the_derivative_of_the_volume(ventricle):
    rng = np.random.default_rng(3)
    x = ufl.SpatialCoordinate(ventricle.domain.mesh)
    ventricle.guess(0.1 * ufl.as_vector([x[0] + 0.2 * x[1], 0.5 * x[1], x[2] * x[0] / 10]))
    b, w = load(ventricle), ventricle.w.x.array
    start, d = w.copy(), rng.standard_normal(len(w)) * 1e-5
    w[:] = start + d
    up = ventricle.volumes()[0]
    w[:] = start - d
    down = ventricle.volumes()[0]
    assert (up - down) / 2 == pytest.approx(b @ d, rel=1e-6)


def test_pressurised_cavity_balances_itself(ventricle):
    """Lid and wall together push and turn nothing."""
    x = ufl.SpatialCoordinate(ventricle.domain.mesh)
    ventricle.guess(0.1 * ufl.as_vector([x[0], 0.5 * x[1], x[2]]))
    b = load(ventricle)[ventricle._u_dofs].reshape(-1, 3)
    X = ventricle.V.tabulate_dof_coordinates() + ventricle.u.x.array.reshape(-1, 3)
    scale = np.abs(b).sum()
    assert np.abs(b.sum(axis=0)).max() < 1e-10 * scale
    assert np.abs(np.cross(X, b).sum(axis=0)).max() < 1e-10 * scale * np.abs(X).max()


def test_volume_constraint_finds_the_pressure_that_made_the_volume(ventricle):
    assert ventricle.solve(pressures=[0.05]).outcome.name == "CONVERGED"
    volume = ventricle.volumes()
    ventricle.w.x.array[:] = 0.0
    ventricle.pressures[:] = 0.0
    solution = ventricle.solve(supply=lambda p: (volume, np.zeros((1, 1))), fresh=True)
    assert solution.outcome.name == "CONVERGED"
    assert ventricle.pressures == pytest.approx([0.05], rel=1e-5)


def test_failed_solve_leaves_everything(ventricle):
    before, pressure = ventricle.w.x.array.copy(), ventricle.pressures.copy()
    solution = ventricle.solve(supply=lambda p: (np.array([-1e6]), np.zeros((1, 1))))
    assert solution.outcome.name != "CONVERGED"
    assert ventricle.w.x.array == pytest.approx(before)
    assert ventricle.pressures == pytest.approx(pressure)


def test_cavity_without_rim_is_refused():
    domain = box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1))
    with pytest.raises(InputError, match=r"`x0` and `x1` do not meet"):
        Mechanics(domain, [Incompressibility()], cavities=[Cavity("c", "x0", "x1")])


def test_spring_balances_the_load():
    """F = k A u of a block on springs that is pushed from above."""
    from organtwin.mechanics.terms import Traction

    domain = box(MPI.COMM_SELF, (1.0, 2.0, 1.0), (2, 2, 2))
    push = Traction(("z1",), ufl.as_vector([0.0, 0.0, -0.01]))
    terms = [PassiveStress(NeoHookean(1e3)), Incompressibility(), Spring(("z0",), 0.5), push]
    block = Mechanics(domain, terms)
    assert block.solve().outcome.name == "CONVERGED"
    z0 = fem.assemble_scalar(fem.form(block.displacement[2] * domain.ds("z0"))) / 2.0
    assert z0 == pytest.approx(-0.01 / 0.5, rel=1e-3)


def test_uniaxial_bar():
    """Cauchy stress μ (λ² − 1/λ) of an incompressible neo-Hookean bar."""
    mu, stretch = 4.0, 1.3
    domain = box(MPI.COMM_SELF, (2.0, 1.0, 1.0), (2, 1, 1))
    x = ufl.SpatialCoordinate(domain.mesh)
    side = stretch**-0.5 - 1
    exact = ufl.as_vector([(stretch - 1) * x[0], side * x[1], side * x[2]])
    held = [Dirichlet(name, exact) for name in ("x0", "x1")]
    bar = Mechanics(domain, [PassiveStress(NeoHookean(mu)), Incompressibility()], dirichlet=held)
    bar.guess(exact)
    assert bar.solve().outcome.name == "CONVERGED"
    nodes = bar.V.tabulate_dof_coordinates()
    u = bar.u.x.array.reshape(-1, 3)
    assert u[:, 1] == pytest.approx(side * nodes[:, 1], abs=1e-8)
    # On the free sides σ = μ B_dev + p = 0 gives p; along the bar the rest is the stress.
    B = np.array([stretch**2, 1 / stretch, 1 / stretch])
    deviator = mu * (B - B.mean())
    assert bar.p.x.array == pytest.approx(-deviator[1], rel=1e-6)
    assert deviator[0] + bar.p.x.array[0] == pytest.approx(mu * (stretch**2 - 1 / stretch))
