"""Contact: obstacles, nearest facets, forces and their derivative, what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import pyvista as pv
from dolfinx import fem, mesh
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap
from organtwin.mechanics.contact import Contact, ContactLaw
from organtwin.mechanics.contact_solve import augmented
from organtwin.mechanics.contact_surface import BoxTree, Facets, reference_surface
from organtwin.mechanics.formulation import PENALTY_P1
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.rigid import (
    Cylinder,
    Obstacle,
    Plane,
    SignedDistance,
    Sphere,
    read_solid,
)
from organtwin.mechanics.terms import Incompressibility, PassiveStress
from organtwin.mechanics.tie import Tie
from organtwin.mesh.domain import Domain
from organtwin.solve.outcome import Outcome
from organtwin.verify.contact import KAPPA, SKIN, E, PatchResult, sliding_block, two_blocks
from organtwin.verify.geometry import box
from organtwin.verify.mechanical_problems import MECHANICS

COMM = MPI.COMM_SELF
LAW = ContactLaw(stiffness=E)
RUBBING = ContactLaw(stiffness=E, friction=0.2)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    return two_blocks(COMM, tmp_path_factory.mktemp("contact") / "blocks.msh")


@pytest.fixture(scope="module")
def cube():
    return box(COMM, (1.0, 1.0, 1.0), (3, 3, 3))


def bare(domain, degree=2):
    """Just what a contact asks of a problem, without any form."""
    V = fem.functionspace(domain.mesh, ("P", degree, (3,)))
    w = fem.Function(V)
    nodes = V.dofmap.index_map.size_local
    return SimpleNamespace(
        domain=domain, V=V, W=V, w=w, _u_dofs=np.arange(3 * nodes, dtype=np.int32), levels=None,
        at_level=lambda: w.x.array,
    )  # fmt: skip


def pressed(domain, term, *, fixed, moved, path):
    """A problem whose surface ``moved`` is led along a path."""
    place = fem.Constant(domain.mesh, np.zeros(3))
    problem = Mechanics(
        domain,
        [PassiveStress(SKIN), Incompressibility(KAPPA), term],
        formulation=PENALTY_P1,
        dirichlet=[Dirichlet(fixed), Dirichlet(moved, place)],
    )
    for x in path:
        place.value[:] = x
        assert problem.solve().outcome is Outcome.CONVERGED
        problem.commit()
    return problem


def residual(contact, problem):
    R = fem_petsc.create_vector(problem.W)
    contact.refresh(problem)
    contact.add_residual(R)
    return R.array.copy()


# --- obstacles


@pytest.mark.parametrize(
    "shape",
    [
        Plane((0.1, 0.2, 0.3), (1.0, 2.0, -1.0)),
        Sphere((0.1, 0.2, 0.3), 0.7),
        Sphere((0.1, 0.2, 0.3), 0.7, hollow=True),
        Cylinder((0.1, 0.2, 0.3), (1.0, 1.0, 0.5), 0.4),
        Cylinder((0.1, 0.2, 0.3), (1.0, 1.0, 0.5), 0.4, hollow=True),
    ],
)
def test_normal_and_curvature_are_derivatives_of_the_distance(shape):
    y, h = np.random.default_rng(0).normal(size=(20, 3)), 1e-6
    _, n, H = shape.distance(y)
    for i, e in enumerate(np.eye(3) * h):
        ahead, behind = shape.distance(y + e), shape.distance(y - e)
        np.testing.assert_allclose((ahead[0] - behind[0]) / (2 * h), n[:, i], atol=1e-8)
        np.testing.assert_allclose((ahead[1] - behind[1]) / (2 * h), H[:, :, i], atol=1e-7)


def test_an_obstacle_moves_with_its_constants(cube):
    turn, shift = fem.Constant(cube.mesh, np.zeros(3)), fem.Constant(cube.mesh, np.zeros(3))
    obstacle = Obstacle(Cylinder((0, 0, 0), (0, 0, 1), 0.5), shift, turn)
    turn.value[:], shift.value[:] = (np.pi / 2, 0, 0), (0, 0, 2.0)
    x = np.array([[3.0, 7.0, 2.0]])
    g, n, _ = obstacle.gap(x)
    np.testing.assert_allclose(g, 2.5)
    np.testing.assert_allclose(n, [[1.0, 0.0, 0.0]], atol=1e-15)
    np.testing.assert_allclose(obstacle.present(obstacle.material(x)), x)


def grid_of_sphere(n=41, radius=0.6):
    axis = np.linspace(-1, 1, n)
    X = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    return SignedDistance(
        np.linalg.norm(X, axis=0) - radius, np.full(3, axis[1] - axis[0]), np.full(3, -1.0)
    )


def test_a_sampled_distance_is_that_of_the_sphere():
    y = np.random.default_rng(1).normal(size=(200, 3))
    y *= (0.6 + 0.1 * np.sin(np.arange(200)) / 1.0)[:, None] / np.linalg.norm(y, axis=1)[:, None]
    g, n, _ = grid_of_sphere().distance(y)
    exact, normal, _ = Sphere((0, 0, 0), 0.6).distance(y)
    np.testing.assert_allclose(g, exact, atol=2e-3)
    np.testing.assert_allclose(n, normal, atol=1e-2)


def test_a_sampled_sphere_presses_like_the_sphere(cube):
    problem, place = bare(cube), (0.5, 0.5, 1.55)
    forces = []
    for shape in (Sphere((0, 0, 0), 0.6), grid_of_sphere()):
        contact = Contact(cube, "z1", Obstacle(shape, translation=place), LAW)
        contact.refresh(problem)
        forces.append(contact.report().force)
    assert forces[0][2] < 0
    np.testing.assert_allclose(forces[1], forces[0], rtol=0.02, atol=0.02 * abs(forces[0][2]))


def test_beyond_its_grid_a_solid_is_not_met():
    g, _, _ = grid_of_sphere(radius=1.5).distance(np.array([[1.2, 0.0, 0.0], [0.0, 0.0, -3.0]]))
    np.testing.assert_allclose(g, [0.2, 2.0])


def test_labels_become_a_solid():
    X = np.stack(np.meshgrid(*[np.arange(30)] * 3, indexing="ij"))
    ball = np.linalg.norm(X - 15.0, axis=0) < 9.0
    labels = LabelMap(ball.astype(np.uint8), {"valve": 1}, np.full(3, 0.5), np.zeros(3), np.eye(3))
    solid = SignedDistance.of_labels(labels, "valve")
    g, n, _ = solid.distance(np.array([[7.5 + 4.5, 7.5, 7.5], [7.5, 7.5, 7.5 - 6.0]]))
    np.testing.assert_allclose(g, [0.0, 1.5], atol=0.3)
    np.testing.assert_allclose(n, [[1, 0, 0], [0, 0, -1]], atol=0.05)


def test_an_stl_file_becomes_a_solid(tmp_path):
    pv.Sphere(radius=1.0, theta_resolution=60, phi_resolution=60).save(tmp_path / "ball.stl")
    solid = read_solid(tmp_path / "ball.stl", COMM, spacing=0.1, margin=0.3)
    g, n, _ = solid.distance(np.array([[0.9, 0.0, 0.0], [0.0, 1.1, 0.0]]))
    np.testing.assert_allclose(g, [-0.1, 0.1], atol=0.01)
    np.testing.assert_allclose(n, [[1, 0, 0], [0, 1, 0]], atol=0.05)


def test_an_open_stl_surface_is_refused(tmp_path):
    pv.Plane().triangulate().save(tmp_path / "sheet.stl")
    with pytest.raises(InputError, match="holes"):
        read_solid(tmp_path / "sheet.stl", COMM, spacing=0.1, margin=0.1)


@pytest.mark.parametrize("name", ["ball.stl", "ball.ply", "ball.txt"])
def test_a_file_without_a_surface_is_refused(tmp_path, name):
    (tmp_path / name).write_text("no surface")
    with pytest.raises(InputError, match=name + ".* no surface can be read"):
        read_solid(tmp_path / name, COMM, spacing=0.1, margin=0.1)


@pytest.mark.parametrize(
    ("spacing", "margin"), [(0.0, 0.1), (-1.0, 0.1), (np.nan, 0.1), (np.inf, 0.1), (0.1, -1.0)]
)
def test_a_grid_that_cannot_be_is_refused(tmp_path, spacing, margin):
    pv.Sphere().save(tmp_path / "ball.stl")
    with pytest.raises(InputError, match=r"spacing = .*margin = "):
        read_solid(tmp_path / "ball.stl", COMM, spacing=spacing, margin=margin)


# --- nearest facets


def test_the_box_tree_finds_what_a_search_of_all_boxes_finds():
    rng = np.random.default_rng(2)
    X = rng.uniform(size=(50, 1, 3)) + 0.1 * rng.normal(size=(50, 3, 3))
    points, radius = rng.uniform(size=(30, 3)), rng.uniform(0.0, 0.3, size=30)
    tree = BoxTree(X + 5.0)
    tree.refit(X)
    margin = 0.25 * np.ptp(X, axis=1).max(axis=1)[:, None]
    low, high = X.min(axis=1) - margin, X.max(axis=1) + margin
    apart = np.maximum(low[None] - points[:, None], points[:, None] - high[None]).clip(0.0)
    wanted = np.linalg.norm(apart, axis=2) <= radius[:, None]
    found = np.zeros_like(wanted)
    found[tree.near(points, radius)] = True
    np.testing.assert_array_equal(found, wanted)


def test_projection_finds_the_nearest_point_and_the_side(cube):
    facets = Facets(COMM, reference_surface(cube, "z1"))
    points = np.array([[0.2, 0.3, 1.05], [0.7, 0.55, 0.9], [0.5, 0.5, 3.0], [1.3, 0.5, 1.0]])
    down = np.tile([0.0, 0.0, -1.0], (4, 1))
    found = facets.project(points, down, 0.5, np.full(4, -1))
    np.testing.assert_array_equal(found.point, [0, 1])
    np.testing.assert_allclose(found.gap, [0.05, -0.1])
    np.testing.assert_allclose(found.normal, -down[:2], atol=1e-14)
    np.testing.assert_allclose(facets.at(found.facet, found.xi)[:, :2], points[:2, :2])


def test_surfaces_that_look_the_same_way_are_no_partners(cube):
    facets = Facets(COMM, reference_surface(cube, "z1"))
    up = np.array([[0.0, 0.0, 1.0]])
    assert len(facets.project(np.array([[0.2, 0.3, 1.01]]), up, 0.5, np.array([-1])).point) == 0


def test_a_point_keeps_its_facet_a_little_beyond_the_border(cube):
    facets = Facets(COMM, reference_surface(cube, "z1"))
    first = facets.project(
        np.array([[0.30, 0.5, 1.0]]), np.array([[0.0, 0.0, -1.0]]), 0.5, np.array([-1])
    )
    just_over = np.array([[1 / 3 + 0.002, 0.45, 1.0]])
    down = np.array([[0.0, 0.0, -1.0]])
    held = facets.project(just_over, down, 0.5, first.facet)
    free = facets.project(just_over, down, 0.5, np.array([-1]))
    assert held.facet[0] == first.facet[0] != free.facet[0]


# --- forces and their derivative


def bumpy(problem):
    X = problem.V.tabulate_dof_coordinates()
    upper = X[:, 2] > 0.5 + 1e-9
    cells = problem.domain.cells("upper") if "upper" in problem.domain.regions else []
    for c in cells:
        upper[problem.V.dofmap.cell_dofs(c)] = True
    u = np.zeros_like(X)
    u[:, 2] = 0.02 * np.sin(2 * X[:, 0]) + 0.01 * X[:, 1] ** 2 - 0.03 * upper
    u[:, 0] = 0.04 * X[:, 2]
    problem.w.x.array[:] = u.ravel()


def slope_error(contact, problem):
    """Of the tangent in a random direction, against differences of the residual."""
    R = fem_petsc.create_vector(problem.W)
    direction, product = R.duplicate(), R.duplicate()
    direction.array[:] = np.random.default_rng(3).normal(size=len(direction.array))
    contact.refresh(problem)
    contact.tangent().mult(direction, product)
    start, h = problem.w.x.array.copy(), 1e-6
    sides = []
    for sign in (1, -1):
        problem.w.x.array[:] = start + sign * h * direction.array
        sides.append(residual(contact, problem))
    problem.w.x.array[:] = start
    slope = (sides[0] - sides[1]) / (2 * h)
    return np.linalg.norm(slope - product.array) / np.linalg.norm(slope)


@pytest.mark.parametrize("degree", [1, 2])
def test_the_tangent_of_body_contact_is_the_derivative_of_its_force(blocks, degree):
    problem = bare(blocks, degree)
    contact = Contact(blocks, "upper_bottom", "lower_top", LAW, two_pass=True)
    contact.refresh(problem)
    bumpy(problem)
    assert slope_error(contact, problem) < 1e-6
    assert contact.report().area > 0.5


def test_the_tangent_of_rubbing_on_an_obstacle_is_the_derivative_of_its_force(cube):
    problem = bare(cube)
    ball = Obstacle(Sphere((0.5, 0.5, 1.75), 0.8))
    contact = Contact(cube, "z1", ball, RUBBING)
    contact.refresh(problem)
    problem.w.x.array[:] = 0.01 * np.random.default_rng(4).normal(size=problem.w.x.array.size)
    contact.refresh(problem)
    contact.commit()
    problem.w.x.array[0::3] += 5e-4
    assert slope_error(contact, problem) < 1e-6
    assert 0 < contact.report().sticking < 1


def test_a_dynamic_scheme_scales_the_tangent(cube):
    """Forces are evaluated at u_{n+1−αf}, whose derivative by u_{n+1} is 1 − αf."""
    problem = bare(cube, 1)
    contact = Contact(cube, "z1", Obstacle(Plane((0, 0, 0.99), (0, 0, -1))), LAW)
    contact.refresh(problem)
    static = contact.tangent().norm()
    problem.levels = SimpleNamespace(scheme=SimpleNamespace(alpha_f=0.3))
    assert contact.tangent().norm() == pytest.approx(0.7 * static)


@pytest.mark.parametrize("degree", [1, 2])
def test_facets_may_be_quadrilaterals(degree):
    msh = mesh.create_box(
        COMM, [[0.0] * 3, [1.0] * 3], [2, 2, 2], cell_type=mesh.CellType.hexahedron
    )
    msh.topology.create_connectivity(2, 3)
    top = np.sort(mesh.locate_entities_boundary(msh, 2, lambda x: np.isclose(x[2], 1.0)))
    cells = np.arange(msh.topology.index_map(3).size_local, dtype=np.int32)
    domain = Domain(
        msh,
        mesh.meshtags(msh, 3, cells, np.ones_like(cells)),
        mesh.meshtags(msh, 2, top, np.ones_like(top)),
        {"box": 1},
        {"top": 1},
    )
    problem = bare(domain, degree)
    contact = Contact(domain, "top", Obstacle(Sphere((0.5, 0.5, 1.75), 0.8)), RUBBING)
    contact.refresh(problem)
    problem.w.x.array[0::3] += 5e-4
    assert slope_error(contact, problem) < 1e-6
    force = contact.report().force
    assert force[2] < 0 and force[0] < 0


@pytest.mark.parametrize("two_pass", [False, True])
def test_forces_on_both_bodies_balance(blocks, two_pass):
    problem = bare(blocks)
    contact = Contact(blocks, "upper_bottom", "lower_top", RUBBING, two_pass=two_pass)
    contact.refresh(problem)
    bumpy(problem)
    forces = residual(contact, problem).reshape(-1, 3)
    assert np.abs(forces).sum() > 1.0
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-12)


def test_the_pressure_field_of_a_plane_is_even(cube):
    """The top sinks evenly into a plane: the same nominal pressure ε g everywhere."""
    problem = bare(cube)
    contact = Contact(cube, "z1", Obstacle(Plane((0, 0, 0.999), (0, 0, -1))), LAW)
    contact.refresh(problem)
    report, field = contact.report(), contact.pressure()
    nominal = 20 * E * 3 * 1e-3
    top = cube.mesh.geometry.x[:, 2] > 1 - 1e-9
    np.testing.assert_allclose(np.sort(field.x.array)[-top.sum() :], nominal)
    assert np.count_nonzero(field.x.array) == top.sum()
    np.testing.assert_allclose(report.force, [0, 0, -nominal], atol=1e-9)
    assert report.area == pytest.approx(1.0) and report.penetration == pytest.approx(1e-3)


def test_a_block_that_slides_is_held_by_coulombs_limit():
    result = sliding_block(COMM, n=2)
    assert result.ratio[0] < 0.8
    assert result.ratio[-1] == pytest.approx(1.0, abs=1e-3)
    assert result.sticking[-1] == 0.0


def test_augmentation_closes_the_gap(blocks):
    contact = Contact(blocks, "lower_top", "upper_bottom", LAW)
    problem = pressed(
        blocks, contact, fixed="lower_bottom", moved="upper_top", path=[(0, 0, -0.02)]
    )
    before = contact.report()

    def solve():
        return problem.solve().outcome is Outcome.CONVERGED

    account = augmented([contact], solve, penetration=1e-5)
    after = contact.report()
    assert account.converged and account.penetration == after.penetration <= 1e-5
    assert before.penetration > 1e-4
    assert after.force[2] == pytest.approx(before.force[2], rel=0.1)


def test_what_friction_remembers_can_be_taken_back(blocks):
    contact = Contact(blocks, "lower_top", "upper_bottom", RUBBING)
    problem = pressed(
        blocks, contact, fixed="lower_bottom", moved="upper_top", path=[(0, 0, -0.02)]
    )
    saved = {name: values.copy() for name, values in problem.state.items()}
    before = residual(contact, problem)
    problem.w.x.array[:] *= 1.2
    contact.refresh(problem)
    problem.commit()
    problem.restore(saved)
    np.testing.assert_allclose(residual(contact, problem), before, atol=1e-12)


def test_a_step_tried_again_finds_the_same_pairs(blocks):
    """Points that have come and gone in a refused step must not keep their facets in the next."""
    problem = bare(blocks, 1)
    contact = Contact(blocks, "upper_bottom", "lower_top", LAW)
    upper = np.unique([problem.V.dofmap.cell_dofs(c) for c in blocks.cells("upper")])

    def pairs_at(x):
        problem.w.x.array[3 * upper], problem.w.x.array[3 * upper + 2] = x, -0.002
        contact.refresh(problem)
        return contact.pattern()

    contact.refresh(problem)
    saved = {name: values.copy() for name, values in contact.state.items()}
    first = pairs_at(0.05)
    for x in (0.4, 0.0, 0.4, 0.0, 0.07):
        pairs_at(x)
    misled = pairs_at(0.05)
    for name, values in contact.state.items():
        values[...] = saved[name]
    np.testing.assert_array_equal(pairs_at(0.05), first)
    assert np.count_nonzero(misled != first) > 0


def test_what_is_not_finite_makes_the_residual_so_and_is_forgotten(cube):
    problem = bare(cube, 1)
    contact = Contact(cube, "z1", "z0", LAW)
    before = residual(contact, problem)
    problem.w.x.array[0] = np.nan
    assert np.isnan(residual(contact, problem)).all()
    problem.w.x.array[0] = 0.0
    np.testing.assert_array_equal(residual(contact, problem), before)


def test_an_augmentation_that_fails_leaves_no_trace(cube):
    problem = bare(cube, 1)
    contact = Contact(cube, "z1", Obstacle(Plane((0, 0, 0.99), (0, 0, -1))), RUBBING)
    contact.refresh(problem)
    before = {name: values.copy() for name, values in contact.state.items()}
    outcomes = iter([True, False])

    def solve():
        problem.w.x.array[0::3] += 1e-3
        contact.refresh(problem)
        return next(outcomes)

    account = augmented([contact], solve, penetration=1e-5)
    assert not account.converged and account.rounds == 2
    for name, values in contact.state.items():
        np.testing.assert_array_equal(values, before[name])


def test_nothing_sticks_without_friction(cube):
    for law, share in ((LAW, 0.0), (RUBBING, 1.0)):
        contact = Contact(cube, "z1", Obstacle(Plane((0, 0, 0.99), (0, 0, -1))), law)
        contact.refresh(bare(cube, 1))
        assert contact.report().sticking == share


def test_a_surface_meets_itself(blocks):
    """Both blocks carry one skin; the facets of the gap find each other and nothing else does."""
    tags = blocks.facet_tags
    skin = Domain(
        blocks.mesh,
        blocks.cell_tags,
        mesh.meshtags(blocks.mesh, 2, tags.indices, np.ones_like(tags.values)),
        blocks.regions,
        {"skin": 1},
    )
    problem, own = bare(blocks, 1), bare(skin, 1)
    own.w, own.at_level = problem.w, problem.at_level
    alone = Contact(skin, "skin", "skin", LAW, reach=0.1)
    pair = Contact(blocks, "upper_bottom", "lower_top", LAW, two_pass=True, reach=0.1)
    alone.refresh(own)
    pair.refresh(problem)
    for c in skin.cells("upper"):
        for node in problem.V.dofmap.cell_dofs(c):
            problem.w.x.array[3 * node + 2] = -0.004
    both = residual(alone, own)
    assert np.abs(both).max() > 0.1
    np.testing.assert_allclose(both, residual(pair, problem), atol=1e-9 * np.abs(both).max())


def test_points_that_switch_are_counted(cube):
    problem = bare(cube, 1)
    contact = Contact(cube, "z1", Obstacle(Plane((0, 0, 1.01), (0, 0, -1))), LAW)
    contact.refresh(problem)
    assert contact.switches == 0
    problem.w.x.array[2::3] = 0.02
    contact.refresh(problem)
    assert contact.switches == 18 * 6
    contact.refresh(problem)
    assert contact.switches == 0


def test_the_patch_test_misses_a_wrong_force_and_a_wrong_jump(monkeypatch):
    wrong = PatchResult(0.0, 0.9, 2.0)
    monkeypatch.setattr("organtwin.verify.contact.contact_patch", lambda *_, **__: wrong)
    (problem,) = (problem for problem in MECHANICS if problem.name == "contact_patch")
    records = problem.compute(COMM, True)
    for quantity in ("stress", "force", "jump"):
        met = {record.met for record in records if quantity in record.quantity}
        assert met == {quantity == "stress"}


# --- ties


def test_a_tie_passes_a_rigid_motion_without_force(blocks):
    problem = bare(blocks)
    tie = Tie(blocks, "lower_top", "upper_bottom", stiffness=E)
    X = problem.V.tabulate_dof_coordinates()
    problem.w.x.array[:] = (X @ np.array([[0, 0.3, 0], [-0.3, 0, 0.1], [0, -0.1, 0]]) + 1).ravel()
    assert tie.tied == pytest.approx(1.0)
    assert np.abs(residual(tie, problem)).max() < 1e-9
    assert tie.largest_jump() < 1e-13


def test_parts_that_do_not_touch_cannot_be_tied(blocks):
    with pytest.raises(InputError, match="do not lie on each other"):
        Tie(blocks, "lower_bottom", "upper_top", stiffness=E)


# --- what is refused


def test_names_and_numbers_that_cannot_be(cube):
    floor = Obstacle(Plane((0, 0, 0), (0, 0, 1)))
    with pytest.raises(InputError, match="no surface `top`"):
        Contact(cube, "top", floor, LAW)
    with pytest.raises(InputError, match="no surface `z3`"):
        Contact(cube, "z1", "z3", LAW)
    with pytest.raises(InputError, match=r"friction = -0\.1"):
        ContactLaw(stiffness=1.0, friction=-0.1)
    with pytest.raises(InputError, match="neither penalty nor stiffness"):
        ContactLaw()
    with pytest.raises(InputError, match="penalty = 0"):
        ContactLaw(penalty=0.0)
    with pytest.raises(InputError, match="two passes"):
        Contact(cube, "z1", floor, LAW, two_pass=True)
    with pytest.raises(InputError, match="radius"):
        Sphere((0, 0, 0), 0.0)
    with pytest.raises(InputError, match=r"normal .* no direction"):
        Plane((0, 0, 0), (0, 0, 0))
    with pytest.raises(InputError, match=r"axis .* no direction"):
        Cylinder((0, 0, 0), (0, 0, np.nan), 1.0)
    with pytest.raises(InputError, match="spacing"):
        SignedDistance(np.zeros((3, 3, 3)), np.array([1.0, 0.0, 1.0]), np.zeros(3))


def test_bodies_that_start_inside_each_other_are_told_where(cube):
    ball = Obstacle(Sphere((0.5, 0.5, 0.9), 0.8))
    contact = Contact(cube, "z1", ball, LAW)
    with pytest.raises(InputError, match=r"starts 0\.\d+ mm inside the obstacle, at \(0\.\d+, 0\."):
        contact.refresh(bare(cube, 1))
