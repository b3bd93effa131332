"""Length, twist and thickness of a left ventricle whose motion is known."""

from __future__ import annotations

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.anatomy.coordinates import coordinates
from organtwin.coupling.wall_motion import APICAL, BASAL, WallMotion
from organtwin.verify.biventricle import biventricle


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


def test_scaling_and_shortening(motion):
    rest, axis = moved(motion, lambda X: X), motion[1]
    larger = moved(motion, lambda X: 1.3 * X)
    assert larger["lv_length [mm]"] == pytest.approx(1.3 * rest["lv_length [mm]"], rel=1e-9)
    assert larger["lv_thickness_ratio [1]"] == pytest.approx(1.3, rel=1e-9)
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
