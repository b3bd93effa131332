import numpy as np
import pytest
import ufl

from organtwin.errors import InputError
from organtwin.materials.arterial import HolzapfelGasserOgden
from organtwin.materials.pointwise import PointLaw
from organtwin.materials.prestretch import OpenedRing, Prestretched

LAW = HolzapfelGasserOgden(c=3.0, k_1=2.3632, k_2=0.8393, angle=29.0)
F0 = np.array([[1.2, 0.1, 0.0], [0.0, 0.9, 0.05], [0.02, 0.0, 1.0]])
FREE = Prestretched(LAW, ufl.as_matrix(F0.tolist()))
RING = OpenedRing(14.3, 4.924, 160.0, 1.7)


def test_going_back_to_the_free_state_leaves_no_stress():
    assert np.abs(PointLaw(FREE).first_piola(np.linalg.inv(F0))).max() < 1e-12
    assert np.abs(PointLaw(FREE).first_piola(np.eye(3))).max() > 0.1


def test_stress_is_that_of_the_law_at_the_whole_deformation():
    F = np.array([[1.1, 0.2, 0.0], [0.0, 1.0, 0.1], [0.05, 0.0, 1.2]])
    np.testing.assert_allclose(PointLaw(FREE).cauchy(F), PointLaw(LAW).cauchy(F @ F0), rtol=1e-12)


def test_a_sector_bends_to_a_ring_without_a_change_of_volume():
    assert RING.free_radius(RING.inner_radius) == RING.free_inner_radius
    assert RING.radius(RING.free_radius(7.0)) == pytest.approx(7.0)
    share = (360.0 - RING.opening_angle) / 360.0
    free = share * np.pi * (RING.free_radius(8.0) ** 2 - RING.free_inner_radius**2)
    assert np.pi * (8.0**2 - RING.inner_radius**2) * 1.7 == pytest.approx(free)


def test_the_gradient_is_that_of_the_bending():
    x = np.array([3.0, 4.5, 0.2])
    r = np.hypot(x[0], x[1])
    F = np.array(
        [
            [float(RING.gradient(ufl.as_vector(x.tolist()))[i, j]) for j in range(3)]
            for i in range(3)
        ]
    )
    out, around = np.array([x[0], x[1], 0]) / r, np.array([-x[1], x[0], 0]) / r
    R, step = RING.free_radius(r), 1e-6
    slope = (RING.radius(R + step) - RING.radius(R - step)) / (2 * step)
    assert out @ F @ out == pytest.approx(slope)
    assert around @ F @ around == pytest.approx(RING.k * r / R)
    assert np.linalg.det(F) == pytest.approx(1.0)


@pytest.mark.parametrize("wrong", [{"inner_radius": 0.0}, {"opening_angle": 360.0}])
def test_rings_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        OpenedRing(
            **{"free_inner_radius": 14.3, "inner_radius": 5.0, "opening_angle": 90.0} | wrong
        )
