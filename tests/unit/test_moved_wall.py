"""A measured wall moved out of the blood, as far as its segmentation leaves open."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import CubicSpline, make_interp_spline

from organtwin.aortic_root.measured_wall import Axis, MeasuredWall
from organtwin.landmarks.record import Plane


def cone(slope):
    """Radius 10 mm + slope s around the z axis, s from −10 to 20 mm."""
    ways = np.linspace(-10.0, 20.0, 31)
    curve = CubicSpline(ways, np.column_stack([0 * ways, 0 * ways, ways]))
    first = CubicSpline(ways, np.tile([1.0, 0.0, 0.0], (31, 1)))
    series = np.zeros((31, 15))
    series[:, 0] = 10.0 + slope * ways
    return MeasuredWall(Axis(curve, first), make_interp_spline(ways, series), -10.0, 20.0)


@pytest.mark.parametrize("slope", [0.0, 0.3, -0.5])
@pytest.mark.parametrize("outwards", [0.4, -0.4])
def test_a_cone_moves_along_its_normal(slope, outwards):
    wall = cone(slope)
    moved = replace(wall, outwards=outwards)
    angles, ways = np.linspace(0.0, 6.0, 7), np.linspace(-8.0, 18.0, 7)
    for way in ways:
        x = moved.place(angles, np.full(7, way))
        distance = (np.hypot(x[:, 0], x[:, 1]) - 10.0 - slope * x[:, 2]) / np.hypot(1.0, slope)
        assert distance == pytest.approx(np.full(7, outwards), abs=1e-6)


def test_its_thickness_stays():
    wall = replace(cone(0.3), outwards=0.4)
    at = np.linspace(0.0, 6.0, 7), np.full(7, 5.0)
    thick = np.linalg.norm(wall.place(*at, 2.0) - wall.place(*at), axis=1)
    assert thick / np.hypot(1.0, 0.3) == pytest.approx(np.full(7, 2.0), abs=1e-6)


def test_its_annulus_grows():
    plane = Plane(np.zeros(3), np.array([0.0, 0.0, 1.0]))
    wall = cone(0.0)
    grown = replace(wall, outwards=0.5).area(plane) / wall.area(plane)
    assert grown == pytest.approx(1.05**2, rel=1e-6)
