"""Length, twist, thickness and stretches of ventricles whose motion is known."""

from __future__ import annotations

import numpy as np
import pytest
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.anatomy.coordinates import Coordinates, LongAxis, coordinates
from organtwin.coupling.wall_motion import APICAL, BASAL, WallMotion
from organtwin.mesh.domain import Domain
from organtwin.verify.biventricle import biventricle

INNER, OUTER, HEIGHT = 20.0, 30.0, 80.0
STRETCHES = [
    "lv_longitudinal_stretch [1]", "lv_circumferential_stretch [1]",
    "lv_endocardial_longitudinal_stretch [1]", "lv_endocardial_circumferential_stretch [1]",
]  # fmt: skip


@pytest.fixture(scope="module")
def motion(tmp_path_factory):
    domain = biventricle(MPI.COMM_WORLD, tmp_path_factory.mktemp("heart") / "heart.msh", size=14.0)
    u = fem.Function(fem.functionspace(domain.mesh, ("P", 2, (3,))))
    at = coordinates(domain, degree=2)
    return u, at.axis, WallMotion(u, domain, at)


def moved(motion, move) -> dict[str, float]:
    """Table of the points X → move(X), (n, 3)."""
    u, _, measure = motion
    u.interpolate(lambda x: (move(x.T) - x.T).T)
    return measure()


def turned(X, axis, angle):
    """X turned about the axis by angles (rad)."""
    d, r = axis.direction, X - axis.apex
    along = np.outer(r @ d, d)
    across = r - along
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return axis.apex + along + c * across + s * np.cross(d, across)


def test_a_rigid_motion_is_none(motion):
    rest = moved(motion, lambda X: X)
    found = moved(motion, lambda X: turned(X, motion[1], np.full(len(X), 0.3)) + 5.0)
    assert found["lv_length [mm]"] == pytest.approx(rest["lv_length [mm]"], rel=1e-9)
    assert found["lv_twist [deg]"] == pytest.approx(0.0, abs=1e-8)
    assert found["lv_thickness_ratio [1]"] == pytest.approx(1.0, rel=1e-9)
    for name in (*STRETCHES, "rv_longitudinal_stretch [1]"):
        assert found[name] == pytest.approx(1.0, rel=1e-9)


def test_scaling_and_shortening(motion):
    rest, axis = moved(motion, lambda X: X), motion[1]
    larger = moved(motion, lambda X: 1.3 * X)
    assert larger["lv_length [mm]"] == pytest.approx(1.3 * rest["lv_length [mm]"], rel=1e-9)
    assert larger["lv_thickness_ratio [1]"] == pytest.approx(1.3, rel=1e-9)
    for name in (*STRETCHES, "rv_longitudinal_stretch [1]"):
        assert larger[name] == pytest.approx(1.3, rel=1e-9)
    d = axis.direction
    shorter = moved(motion, lambda X: X - 0.2 * np.outer((X - axis.base) @ d, d))
    # Means of slices need not lie on one line along the axis.
    assert shorter["lv_length [mm]"] == pytest.approx(0.8 * rest["lv_length [mm]"], rel=2e-3)


def test_an_apex_that_turns_counterclockwise_seen_from_below(motion):
    axis, total = motion[1], np.deg2rad(15.0)
    # Seen from below, the axis points away: counterclockwise is against the right hand about it.
    found = moved(motion, lambda X: turned(X, axis, -total * (1 - axis.height(X))))
    assert found["lv_twist [deg]"] == pytest.approx(15.0 * (BASAL - APICAL), rel=0.1)
    rest = moved(motion, lambda X: X)
    assert found["lv_length [mm]"] == pytest.approx(rest["lv_length [mm]"], rel=0.01)


@pytest.fixture(scope="module")
def tube():
    """Half a tube along z with the region ``lv``, radii 20 and 30 mm, and its motion."""
    box = mesh.create_box(
        MPI.COMM_WORLD, [[INNER, 0.0, 0.0], [OUTER, np.pi, HEIGHT]], [2, 24, 8],
    )  # fmt: skip
    inside = mesh.locate_entities_boundary(box, 2, lambda x: np.isclose(x[0], INNER))
    r, angle, z = box.geometry.x.T.copy()
    box.geometry.x[:] = np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)
    cells = np.arange(box.topology.index_map(3).size_local, dtype=np.int32)
    domain = Domain(
        box, mesh.meshtags(box, 3, cells, 1), mesh.meshtags(box, 2, np.sort(inside), 1),
        {"lv": 1}, {"lv_endo": 1},
    )  # fmt: skip
    depth = fem.Function(fem.functionspace(box, ("P", 2)))
    depth.interpolate(lambda x: -(x[0] ** 2 + x[1] ** 2))  # its gradient is radial
    axis = LongAxis(np.zeros(3), np.array([0.0, 0.0, HEIGHT]), *np.eye(3)[[2, 0, 1]])
    u = fem.Function(fem.functionspace(box, ("P", 2, (3,))))
    return u, axis, WallMotion(u, domain, Coordinates(depth, depth, depth, depth, axis))


def test_stretches_of_a_tube_are_those_of_its_radius_and_its_length(tube):
    found = moved(tube, lambda X: X * [0.7, 0.7, 0.85])
    along, around, inside_along, inside_around = (found[name] for name in STRETCHES)
    assert (along, inside_along) == pytest.approx((0.85, 0.85), rel=1e-9)
    assert (around, inside_around) == pytest.approx((0.7, 0.7), rel=1e-9)
    assert "rv_longitudinal_stretch [1]" not in found


def test_an_inner_circle_shortens_more(tube):
    """Incompressible: r² = R² − k, the mean over the wall is ∫ √(R² − k) dR / ∫ R dR."""
    k = 180.0

    def closed(X):
        R = np.hypot(X[:, 0], X[:, 1])[:, None]
        return np.where([True, True, False], X * np.sqrt(R**2 - k) / R, X)

    found = moved(tube, closed)
    R = np.linspace(INNER, OUTER, 10001)
    mean = np.trapezoid(np.sqrt(R**2 - k), R) / ((OUTER**2 - INNER**2) / 2)
    assert found["lv_circumferential_stretch [1]"] == pytest.approx(mean, rel=2e-3)
    at_wall = np.sqrt(INNER**2 - k) / INNER
    assert found["lv_endocardial_circumferential_stretch [1]"] == pytest.approx(at_wall, rel=2e-3)
    assert at_wall < mean - 0.05
    assert found["lv_longitudinal_stretch [1]"] == pytest.approx(1.0, rel=1e-9)


def test_a_twisted_tube_has_longer_lines_along_it_and_equal_ones_around(tube):
    """Turned by φ(z) = κz about the axis: |F e_z| = √(1 + (κr)²), |F e_φ| = 1."""
    kappa = 0.01
    found = moved(tube, lambda X: turned(X, tube[1], kappa * X[:, 2]))
    R = np.linspace(INNER, OUTER, 10001)
    mean = np.trapezoid(np.sqrt(1 + (kappa * R) ** 2) * R, R) / ((OUTER**2 - INNER**2) / 2)
    assert found["lv_longitudinal_stretch [1]"] == pytest.approx(mean, rel=1e-3)
    assert found["lv_circumferential_stretch [1]"] == pytest.approx(1.0, abs=1e-3)


def test_an_ellipsoid_that_shortens_along_its_axis(motion):
    """Circles about the axis keep their length, meridians shorten less than the axis."""
    d, base = motion[1].direction, motion[1].base
    found = moved(motion, lambda X: X - 0.2 * np.outer((X - base) @ d, d))
    assert found["lv_circumferential_stretch [1]"] == pytest.approx(1.0, abs=1e-9)
    assert 0.8 < found["lv_longitudinal_stretch [1]"] < 0.87
