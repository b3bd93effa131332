"""Laplace coordinates and the long axis on the synthetic heart, whose axes are known."""

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.anatomy.coordinates import coordinates, smooth_gradient
from organtwin.errors import MeshError
from organtwin.mesh.domain import Domain
from organtwin.verify.biventricle import BASE, LV_OUTER, ROTATION, biventricle


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    return biventricle(MPI.COMM_SELF, tmp_path_factory.mktemp("heart") / "heart.msh")


@pytest.fixture(scope="module", params=[1, 2])
def at(heart, request):
    return coordinates(heart, degree=request.param)


def test_axis_is_that_of_the_ellipsoids(at):
    axis = at.axis
    np.testing.assert_allclose(axis.apex, ROTATION @ [0, 0, -LV_OUTER.semi_axes[2]], atol=0.5)
    np.testing.assert_allclose(axis.base, ROTATION @ [0, 0, BASE], atol=0.5)
    assert axis.direction @ ROTATION[:, 2] > np.cos(np.deg2rad(1))
    assert axis.septum @ ROTATION[:, 0] > np.cos(np.deg2rad(1))
    assert axis.front[1] < 0.0, "the front of the body is at negative y"
    assert axis.length == pytest.approx(LV_OUTER.semi_axes[2] + BASE, abs=0.5)


def test_angle_is_zero_at_the_septum_and_positive_in_front(at):
    septum, front = ROTATION[:, 0], ROTATION[:, 1]
    points = np.array([septum, front, -front, septum + front]) * 20.0
    angles = np.rad2deg(at.axis.angle(points))
    np.testing.assert_allclose(angles, [0, 90, -90, 45], atol=3.0)


def test_laplace_fields_keep_their_bounds_and_sum_to_one(heart, at):
    for field in (at.lv, at.rv, at.apicobasal):
        assert field.x.array.min() > -0.06, "P2 may overshoot a little, no more"
        assert field.x.array.max() < 1.06
    np.testing.assert_allclose(at.lv.x.array + at.rv.x.array + at.epi.x.array, 1.0, atol=1e-12)
    V = at.lv.function_space
    for name, field in (("lv_endo", at.lv), ("rv_endo", at.rv)):
        dofs = fem.locate_dofs_topological(V, 2, heart.facets(name))
        np.testing.assert_allclose(field.x.array[dofs], 1.0, atol=1e-11)


def test_smooth_gradient_of_a_linear_field_is_exact(heart):
    V = fem.functionspace(heart.mesh, ("Lagrange", 2))
    u = fem.Function(V)
    u.interpolate(lambda x: 2.0 * x[0] - 3.0 * x[1] + 0.5 * x[2])
    gradient = smooth_gradient(u).x.array.reshape(-1, 3)
    np.testing.assert_allclose(gradient, np.tile([2.0, -3.0, 0.5], (len(gradient), 1)), atol=1e-11)


def test_an_empty_surface_is_named(heart):
    bad = Domain(
        heart.mesh, heart.cell_tags, heart.facet_tags, heart.regions, {**heart.surfaces, "epi": 99}
    )
    with pytest.raises(MeshError, match="`epi` has no facets"):
        coordinates(bad)
