"""Fibres: orthonormal, at the angles asked for, and without kinks."""

import basix.ufl
import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI
from scipy.spatial.transform import Rotation

from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.fibres import FibreAngles, WallPoints, _evaluate, bayer, fibres
from organtwin.errors import InputError
from organtwin.mesh.domain import refine
from organtwin.verify.biventricle import biventricle

ANGLES = FibreAngles(60.0, -60.0, -65.0, 25.0)


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    """Synthetic heart with some 18 000 cells."""
    path = tmp_path_factory.mktemp("heart") / "heart.msh"
    return refine(biventricle(MPI.COMM_SELF, path)).fine


@pytest.fixture(scope="module")
def at(heart):
    return coordinates(heart)


@pytest.fixture(scope="module")
def by_cell(heart, at):
    return fibres(heart, ANGLES, fem.functionspace(heart.mesh, ("DG", 0, (3,))), at=at)


def rows(function):
    return function.x.array.reshape(-1, 3)


def frames(found):
    return np.stack([rows(u) for u in (found.f0, found.s0, found.n0)], axis=2)


def assert_orthonormal(q):
    np.testing.assert_allclose(
        q.transpose(0, 2, 1) @ q, np.tile(np.eye(3), (len(q), 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(q), 1.0, atol=1e-12)


def test_orthonormal_in_cells(by_cell):
    assert_orthonormal(frames(by_cell))


@pytest.mark.parametrize("kind", ["quadrature", "P1"])
def test_orthonormal_at_the_points_of_other_spaces(heart, at, kind):
    quadrature = basix.ufl.quadrature_element("tetrahedron", value_shape=(3,), degree=4)
    element = quadrature if kind == "quadrature" else ("Lagrange", 1, (3,))
    space = fem.functionspace(heart.mesh, element)
    assert_orthonormal(frames(fibres(heart, ANGLES, space, at=at)))


def test_orthonormal_for_any_input():
    rng = np.random.default_rng(1)
    n = 200
    points = WallPoints(rng.uniform(0, 0.5, n), rng.uniform(0, 0.5, n), *rng.normal(size=(3, n, 3)))
    points.grad_lv[:20] = points.grad_rv[:20] = 0.0
    points.grad_apicobasal[10:30] = 0.0
    points.grad_lv[30:40] = points.grad_apicobasal[30:40]
    points.grad_apicobasal[40:50] *= 1e-200
    assert_orthonormal(np.stack(bayer(points, ANGLES), axis=2))


def wall(depth, normal=(1.0, 0.0, 0.0)):
    """Points across a left ventricular free wall whose outward normal is given, base upwards."""
    n = len(depth)
    zero = np.zeros((n, 3))
    grad_lv = -np.tile(normal, (n, 1))
    return WallPoints(1.0 - depth, 0.0 * depth, grad_lv, zero, np.tile([0.0, 0.0, 1.0], (n, 1)))


def test_helix_angle_is_linear_through_a_flat_wall():
    depth = np.linspace(0.0, 1.0, 11)
    f, s, _ = bayer(wall(depth), ANGLES)
    # Circumferential is counter-clockwise seen from the base: z × x = y.
    helix = np.rad2deg(np.arctan2(f[:, 2], f[:, 1]))
    np.testing.assert_allclose(helix, 60.0 - 120.0 * depth, atol=1e-10)
    beta = np.rad2deg(np.arcsin(np.linalg.norm(np.cross(s, [1.0, 0.0, 0.0]), axis=1)))
    np.testing.assert_allclose(beta, np.abs(-65.0 + 90.0 * depth), atol=1e-10)


def helix_at(domain, at, found, surface):
    """Helix angles (degrees) of the P1 fibres on a surface, against its analytic normal."""
    V = found.f0.function_space
    dofs = fem.locate_dofs_topological(V, 2, domain.facets(surface))
    x = V.tabulate_dof_coordinates()[dofs]
    height = at.axis.height(x)
    keep = dofs[(height > 0.3) & (height < 0.9)]
    x = V.tabulate_dof_coordinates()[keep]
    f = rows(found.f0)[keep]
    r = x - at.axis.apex
    r -= (r @ at.axis.direction)[:, None] * at.axis.direction
    circumferential = np.cross(at.axis.direction, r / np.linalg.norm(r, axis=1, keepdims=True))
    sign = np.sign(np.einsum("ij,ij->i", f, circumferential))
    return np.rad2deg(np.arcsin(sign * (f @ at.axis.direction))), x


def test_helix_angles_at_the_surfaces_are_those_asked_for(heart, at):
    space = fem.functionspace(heart.mesh, ("Lagrange", 1, (3,)))
    found = fibres(heart, ANGLES, space, at=at)
    endo, _ = helix_at(heart, at, found, "lv_endo")
    epi, x = helix_at(heart, at, found, "epi")
    free = epi[np.abs(at.axis.angle(x)) > np.deg2rad(110)]
    assert np.median(endo) == pytest.approx(60.0, abs=5.0)
    assert np.median(free) == pytest.approx(-60.0, abs=5.0)
    assert np.percentile(np.abs(endo - 60.0), 90) < 12.0, "the walls of an ellipsoid are inclined"


def excess_turns(domain, at, f):
    """How much more fibres turn between neighbouring cells than depth asks for (degrees), by wall.

    Left out are the insertions of the right ventricle and the apices, about which every field of
    frames that is normal to all surfaces turns.
    """
    topology = domain.mesh.topology
    topology.create_connectivity(2, 3)
    to_cells = topology.connectivity(2, 3)
    facets = range(topology.index_map(2).size_local)
    pairs = np.array([to_cells.links(i) for i in facets if len(to_cells.links(i)) == 2])
    phi = np.column_stack([cell_means(u) for u in (at.lv, at.rv, at.epi)])
    x = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0]].mean(axis=1)
    angle = np.abs(np.rad2deg(at.axis.angle(x)))
    walls = {
        "septum": (angle < 50) & (phi[:, :2].min(axis=1) > 0.02) & (phi[:, 2] < 0.25),
        "right free wall": (angle < 50) & (phi[:, 0] < 0.02),
        "left free wall": angle > 105,
    }
    result = {}
    for name, wall in walls.items():
        inside = pairs[(wall & (at.axis.height(x) > 0.4))[pairs].all(axis=1)]
        cosine = np.abs(np.einsum("ij,ij->i", f[inside[:, 0]], f[inside[:, 1]]))
        turn = np.rad2deg(np.arccos(np.clip(cosine, 0.0, 1.0)))
        result[name] = turn - 120.0 * np.abs(phi[inside[:, 0]] - phi[inside[:, 1]]).max(axis=1)
    return result


def cell_means(u):
    space = fem.functionspace(u.function_space.mesh, ("DG", 0))
    mean = fem.Function(space)
    mean.interpolate(fem.Expression(u, space.element.interpolation_points))
    return mean.x.array


def naive(at, angles, turn):
    """Bayer's frames as quaternions, blended with the signs that they happen to have."""
    turned = WallPoints(
        at.lv, at.rv, *(g @ turn.T for g in (at.grad_lv, at.grad_rv, at.grad_apicobasal))
    )
    return naive_here(turned, angles) @ turn


def naive_here(at, angles):
    e_l = at.grad_apicobasal / np.linalg.norm(at.grad_apicobasal, axis=1, keepdims=True)
    epi = np.clip(1.0 - at.lv - at.rv, 0.0, 1.0)
    depth = at.rv / (at.lv + at.rv)

    def frame(outward, alpha):
        t = outward - np.einsum("ij,ij->i", outward, e_l)[:, None] * e_l
        t /= np.linalg.norm(t, axis=1, keepdims=True)
        axes = Rotation.from_matrix(np.stack([np.cross(e_l, t), e_l, t], axis=2))
        turn = Rotation.from_euler("z", alpha[:, None], degrees=True)
        return (axes * turn).as_quat(canonical=True)

    def blend(a, b, weight):
        mean = (1.0 - weight)[:, None] * a + weight[:, None] * b
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    septal = angles.alpha_endo * (1.0 - 2.0 * depth)
    endo = blend(frame(-at.grad_lv, septal), frame(at.grad_rv, septal), depth)
    through = (1.0 - epi) * angles.alpha_endo + epi * angles.alpha_epi
    outer = frame(-at.grad_lv - at.grad_rv, through)
    return Rotation.from_quat(blend(endo, outer, epi)).as_matrix()[:, :, 0]


def test_no_kink_in_any_wall(heart, at, by_cell):
    for wall, excess in excess_turns(heart, at, rows(by_cell.f0)).items():
        assert len(excess) > 1000, wall
        assert np.max(excess) < 10.0, f"{wall}: more than the curvature of the wall"


def test_the_bound_on_kinks_catches_a_naive_rule(heart, at, by_cell):
    points = _evaluate(at, by_cell.f0.function_space)
    for degrees in (0, 180):
        turn = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
        worst = excess_turns(heart, at, naive(points, ANGLES, turn))
        assert max(np.max(excess) for excess in worst.values()) > 50.0


def test_rule_and_space_are_checked(heart, at):
    space = fem.functionspace(heart.mesh, ("DG", 0, (3,)))
    with pytest.raises(InputError, match=r"no rule `bayre`\. Did you mean `bayer`"):
        fibres(heart, ANGLES, space, rule="bayre", at=at)
    with pytest.raises(InputError, match="not three values at each point"):
        fibres(heart, ANGLES, fem.functionspace(heart.mesh, ("DG", 0)), at=at)
