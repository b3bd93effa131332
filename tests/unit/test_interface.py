"""Interfaces: the law and its derivative, pairs of points, friction's memory, what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI

from organtwin.errors import InputError, SolverError
from organtwin.materials.bone import OrthotropicBone
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.formulation import PENALTY_P1
from organtwin.mechanics.frictional import FrictionalElasticity
from organtwin.mechanics.interface import Interface
from organtwin.mechanics.interface_law import InterfaceLaw, Trial
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.load_steps import LoadStep, follow, press_fit, ramp
from organtwin.mechanics.problem import Mechanics
from organtwin.mechanics.small_strain import SmallStrain
from organtwin.mechanics.terms import Traction
from organtwin.mesh.distribute import distribute
from organtwin.mesh.separating import separate
from organtwin.verify.solid_grids import blocks

COMM = MPI.COMM_SELF
E = 1000.0


def stack(n=2, comm=COMM):
    """A block of 1 × 1 × 0.5 mm on another, with nodes of their own."""
    mesh = blocks((n, n, 2), (1.0, 1.0, 1.0), lambda x: np.where(x[:, 2] < 0.5, "low", "high"))
    return distribute(separate(mesh, [("high", "low")]), comm)


@pytest.fixture(scope="module")
def domain():
    return stack()


def joined(domain, law, *terms, moved=None, **options):
    link = Interface(domain, "high_at_low", "low_at_high", law, **options)
    bone = SmallStrain(OrthotropicBone.isotropic(E, 0.0), cartesian())
    held = [Dirichlet("z0")] + ([] if moved is None else [Dirichlet("z1", moved)])
    return FrictionalElasticity(domain, [bone, link, *terms], dirichlet=held), link


# --- the law


def trials(seed=0, n=60):
    """Points that are open, stick and slide, none near a kink."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(n, 3))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    return rng.normal(size=(n, 3)), normals


def tractions(law, jump, normals, eps=3.0, eps_t=2.0):
    along = np.einsum("nd,nd->n", jump, normals)
    shear = eps_t * (jump - along[:, None] * normals)
    trial = Trial(eps * along - 0.2, shear, normals, (eps, eps_t))
    return law.respond(trial, np.ones(len(jump)))


@pytest.mark.parametrize(
    "law",
    [
        InterfaceLaw(penalty=1.0),
        InterfaceLaw(penalty=1.0, friction=0.4),
        InterfaceLaw(penalty=1.0, friction=0.4, cohesion=0.8),
        InterfaceLaw(penalty=1.0, friction=0.4, cohesion=0.8, tension=1.5),
    ],
)
def test_the_tangent_is_the_derivative(law):
    jump, normals = trials()
    D, h = tractions(law, jump, normals).tangent(), 1e-6
    for i, e in enumerate(np.eye(3) * h):
        ahead, behind = (tractions(law, jump + s * e, normals).traction for s in (1, -1))
        np.testing.assert_allclose((ahead - behind) / (2 * h), D[:, :, i], atol=1e-6)
    symmetric = tractions(law, jump, normals).tangent(symmetric=True, least=1e-3)
    np.testing.assert_allclose(symmetric, symmetric.transpose(0, 2, 1), atol=1e-14)
    assert np.linalg.eigvalsh(symmetric).min() > 1e-4


def test_shear_stays_within_its_limit():
    law, (jump, normals) = InterfaceLaw(penalty=1.0, friction=0.4, cohesion=0.1), trials()
    found = tractions(law, jump, normals)
    size = np.linalg.norm(found.shear, axis=1)
    assert (size <= 0.1 + 0.4 * found.pressure + 1e-12).all()
    assert (size[found.slides & found.closed] == pytest.approx(
        0.1 + 0.4 * found.pressure[found.slides & found.closed]))  # fmt: skip
    assert set(found.state) == {0, 1, 2}
    assert (found.traction[found.state == 0] == 0).all()


def test_a_bond_carries_tension_up_to_its_strength():
    law = InterfaceLaw(penalty=1.0, tension=2.0)
    t, n = np.array([-3.0, -1.0, 1.0]), np.tile([0.0, 0.0, 1.0], (3, 1))
    trial = Trial(t, np.zeros((3, 3)), n, (1.0, 1.0))
    assert law.respond(trial, np.ones(3)).pressure.tolist() == [-2.0, -1.0, 1.0]
    assert law.respond(trial, np.zeros(3)).pressure.tolist() == [0.0, 0.0, 1.0]


def test_laws_that_make_no_sense_are_refused():
    for options, message in (
        ({}, "neither penalty nor stiffness"), ({"penalty": -1.0}, "penalty = -1"),
        ({"stiffness": E, "friction": -0.1}, "friction = -0.1"),
        ({"stiffness": E, "bond_length": 0.0}, "bond_length = 0"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            InterfaceLaw(**options)


# --- pairs


def test_every_facet_finds_the_one_opposite(domain):
    link = Interface(domain, "high_at_low", "low_at_high", InterfaceLaw(stiffness=E))
    points = link.points()
    assert link.paired == pytest.approx(1.0)
    assert len(points.area) == 8 * 6
    assert points.normal == pytest.approx(np.tile([0.0, 0.0, -1.0], (48, 1)))
    assert points.position[:, 2] == pytest.approx(0.5)
    assert link.penalties[0] == pytest.approx(20 * E / 0.5)


def test_a_rigid_motion_of_both_parts_makes_no_force(domain):
    V = fem.functionspace(domain.mesh, ("P", 1, (3,)))
    w = fem.Function(V)
    w.x.array[:] = np.tile([0.1, -0.2, 0.3], len(w.x.array) // 3)
    problem = SimpleNamespace(
        domain=domain, V=V, W=V, w=w, _u_dofs=np.arange(len(w.x.array), dtype=np.int32),
        levels=None, at_level=lambda: w.x.array,
    )  # fmt: skip
    link = Interface(domain, "high_at_low", "low_at_high", InterfaceLaw(stiffness=E, friction=0.3))
    link.refresh(problem)
    R = fem_petsc.create_vector(V)
    link.add_residual(R)
    assert R.norm() < 1e-9
    assert np.linalg.norm(link.points().jump, axis=1).max() < 1e-13


# --- problems


def test_blocks_are_pressed_and_pulled_apart(domain):
    """Without lateral strain the stress is E times the mean strain; pulled, nothing holds."""
    place = fem.Constant(domain.mesh, np.zeros(3))
    problem, link = joined(domain, InterfaceLaw(penalty=1e3 * E), moved=place)
    place.value[2] = -0.01
    problem.solve()
    report = link.report()
    # Two springs E/0.5 and the penalty in series, by 0.01 mm.
    p = 0.01 / (1.0 / E + 1.0 / (1e3 * E))
    assert report.force == pytest.approx([0.0, 0.0, p], abs=1e-6)
    assert report.pressure == pytest.approx(p, rel=1e-6)
    assert problem.reaction("z0")[2] == pytest.approx(p, rel=1e-6)
    place.value[2] = 0.02
    problem.solve()
    report = link.report()
    assert report.open == pytest.approx(1.0)
    assert report.force == pytest.approx([0.0, 0.0, 0.0])
    assert link.points().opening == pytest.approx(0.02)


def test_an_interference_presses(domain):
    """Both outer faces are held: the strain of each block is half of δ over its height."""
    place = fem.Constant(domain.mesh, np.zeros(3))
    problem, link = joined(domain, InterfaceLaw(penalty=1e3 * E), moved=place, interference=0.01)
    follow(problem, [press_fit([link])])
    assert link.report().pressure == pytest.approx(0.01 / (1 / E + 1e-3 / E), rel=1e-6)
    fields = link.fields()
    assert fields["contact_pressure"].x.array.max() == pytest.approx(link.report().pressure)


def test_what_nothing_acts_on_any_more_comes_to_rest(domain):
    """Without interfaces and loads only the start tells what is small."""
    place = fem.Constant(domain.mesh, np.array([0.0, 0.0, 0.01]))
    bone = SmallStrain(OrthotropicBone.isotropic(E, 0.0), cartesian())
    held = [Dirichlet("z0"), Dirichlet("low_at_high"), Dirichlet("high_at_low", place),
            Dirichlet("z1")]  # fmt: skip
    problem = FrictionalElasticity(domain, [bone], dirichlet=held)
    problem.solve()
    assert np.abs(problem.u.x.array).max() == pytest.approx(0.01)
    place.value[:] = 0.0
    assert problem.solve().residual < 1e-7
    assert np.abs(problem.u.x.array).max() < 1e-10


def test_a_gap_of_the_geometry_is_closed_before_anything_presses():
    """The upper block was meshed 0.02 mm above the lower one: 0.03 mm of way press by 0.01 mm."""
    mesh = blocks((1, 1, 2), (1.0, 1.0, 1.0), lambda x: np.where(x[:, 2] < 0.5, "low", "high"))
    mesh = separate(mesh, [("high", "low")])
    upper = np.unique(mesh.cells[mesh.regions == mesh.region_names["high"]])
    mesh.points[upper, 2] += 0.02
    apart = distribute(mesh, COMM)
    place = fem.Constant(apart.mesh, np.array([0.0, 0.0, -0.03]))
    law = InterfaceLaw(penalty=1e3 * E)
    for geometric, pressed in ((True, 0.01), (False, 0.03)):
        problem, link = joined(
            apart, law, moved=place, geometric=geometric, distance=0.05, interference=1e-4
        )
        follow(problem, [LoadStep("press", lambda share: None)])
        expected = (pressed + 1e-4) / (1 / E + 1e-3 / E)
        assert link.report().pressure == pytest.approx(expected, rel=1e-6)


def test_augmented_tractions_leave_no_penetration(domain):
    """The exact contact pressure, E times the strain, from a penalty as soft as the blocks."""
    place = fem.Constant(domain.mesh, np.array([0.0, 0.0, -0.01]))
    problem, link = joined(domain, InterfaceLaw(penalty=2 * E), moved=place)
    for _ in range(8):
        problem.solve()
        link.augment()
    problem.solve()
    assert link.report().penetration < 0.01 * 3.0**-8
    assert link.report().pressure == pytest.approx(0.01 * E, rel=3.0**-8)


def test_finite_strain_problems_take_interfaces_too(domain):
    """`Mechanics` with the same linear material and interface comes to the same place."""
    place = fem.Constant(domain.mesh, np.array([0.002, 0.0, -0.01]))
    law = InterfaceLaw(stiffness=E, friction=0.4)
    reference, there = joined(domain, law, moved=place)
    reference.solve()
    bone = SmallStrain(OrthotropicBone.isotropic(E, 0.0), cartesian())
    link = Interface(domain, "high_at_low", "low_at_high", law)
    held = [Dirichlet("z0"), Dirichlet("z1", place)]
    problem = Mechanics(domain, [bone, link], dirichlet=held, formulation=PENALTY_P1)
    problem.solve()
    assert problem.u.x.array == pytest.approx(reference.u.x.array, abs=1e-8)
    assert link.report().force == pytest.approx(there.report().force, rel=1e-5)
    assert link.report().sticking == pytest.approx(1.0)


def slid(domain, law, path):
    """Shear force and report after each sideways displacement of the pressed upper block."""
    place = fem.Constant(domain.mesh, np.array([0.0, 0.0, -0.01]))
    problem, link = joined(domain, law, moved=place)
    found = []
    for x in path:
        place.value[0] = x
        problem.solve()
        problem.commit()
        found.append((-problem.reaction("z1")[0], link.report()))
    return found


def test_friction_slips_at_its_limit_and_remembers(domain):
    law = InterfaceLaw(stiffness=E, friction=0.2)
    go, back, rest = slid(domain, law, [0.02, -0.02, 0.02])
    limit = 0.2 * 0.01 / (1 / E + 0.5 / (20 * E))  # μ times the pressure of springs in series
    for (force, report), sign in ((go, -1), (back, 1), (rest, -1)):
        assert sign * force == pytest.approx(limit, rel=1e-3)
        assert np.hypot(*report.force[:2]) == pytest.approx(0.2 * report.force[2], rel=1e-3)
        assert report.sliding == pytest.approx(1.0)


def test_cohesion_holds_until_its_length_is_used_up(domain):
    law = InterfaceLaw(penalty=1e3 * E, cohesion=3.0, bond_length=0.01)
    first, second = slid(domain, law, [0.02, 0.03])
    assert abs(first[0]) == pytest.approx(3.0, rel=1e-3)
    assert first[1].bonded == 0.0
    assert abs(second[0]) < 1e-6


def test_the_state_can_be_taken_back(domain):
    place = fem.Constant(domain.mesh, np.array([0.0, 0.0, -0.01]))
    problem, _ = joined(domain, InterfaceLaw(stiffness=E, friction=0.2), moved=place)
    forces = []
    for x in (0.0, 0.02):
        place.value[0] = x
        problem.solve()
        problem.commit()
    saved = {name: values.copy() for name, values in problem.state.items()}
    for again in (False, True):
        if again:
            problem.restore(saved)
        place.value[0] = 0.012
        problem.solve()
        problem.commit()
        forces.append(problem.reaction("z1"))
    assert forces[1] == pytest.approx(forces[0], rel=1e-6, abs=1e-9)


def test_what_nothing_holds_is_named():
    domain = stack()
    load = Traction(("z1",), ufl.as_vector([0.0, 0.0, fem.Constant(domain.mesh, -1.0)]))
    # A gap of 0.1 mm: the upper block touches nothing.
    problem, _ = joined(domain, InterfaceLaw(stiffness=E), load, interference=-0.1)
    with pytest.raises(InputError) as caught:
        problem.solve()
    message = str(caught.value)
    assert "cells of `high` (0.5 mm³)" in message
    assert "shift in 3 directions" in message
    assert "interference" in message


def test_more_than_friction_holds_has_no_equilibrium(domain):
    """Pressed by 10 kPa with μ = 0.2, the upper block can be pulled by 2 mN, not by 4."""
    force = fem.Constant(domain.mesh, np.array([0.0, 0.0, -10.0]))
    problem, _ = joined(domain, InterfaceLaw(stiffness=E, friction=0.2), Traction(("z1",), force))
    follow(problem, [LoadStep("press", lambda share: None)])
    follow(problem, [ramp("pull", [(force, [1.0, 0.0, -10.0])])])
    with pytest.raises(SolverError, match=r"step `pull`.*slides.*of `high`.*can ") as caught:
        follow(problem, [ramp("pull", [(force, [4.0, 0.0, -10.0])])], smallest=0.2)
    assert "friction" in str(caught.value)
    # It is where it was, and goes on from there.
    force.value[:] = [1.0, 0.0, -10.0]
    assert problem.solve().newton <= 1


def test_interfaces_are_refused_where_they_cannot_be(domain):
    bone = SmallStrain(OrthotropicBone.isotropic(E, 0.0), cartesian())
    link = Interface(domain, "high_at_low", "low_at_high", InterfaceLaw(stiffness=E))
    with pytest.raises(InputError, match="FrictionalElasticity"):
        LinearElasticity(domain, [bone, link])
    with pytest.raises(InputError, match="do not lie on each other"):
        Interface(domain, "z0", "z1", InterfaceLaw(stiffness=E))
    with pytest.raises(InputError, match="of shape"):
        Interface(domain, "high_at_low", "low_at_high", InterfaceLaw(stiffness=E),
                  interference=lambda x: x)  # fmt: skip
