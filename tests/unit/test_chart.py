from __future__ import annotations

import numpy as np
import pytest

from organtwin.anatomy.chart import WallChart
from organtwin.anatomy.coordinates import LongAxis

X, Y, Z = np.eye(3)


def free_wall() -> WallChart:
    """Axis along z, septum towards +x, front towards +y; the free wall lies at −x."""
    return WallChart(LongAxis(np.zeros(3), 80 * Z, Z, X, Y), height=0.5, angle=np.pi)


def test_the_origin_is_at_its_height_and_angle_in_all_layers():
    x = np.array([-25 * X + 40 * Z, -35 * X + 40 * Z])
    assert free_wall().along(x) == pytest.approx([0.0, 0.0], abs=1e-12)
    assert free_wall().about(x) == pytest.approx([0.0, 0.0], abs=1e-12)


def test_distances_are_in_millimetres():
    x = np.array([-30 * X + 50 * Z, -30 * Y + 40 * Z])
    assert free_wall().along(x) == pytest.approx([10.0, 0.0], abs=1e-12)
    assert free_wall().about(x) == pytest.approx([0.0, 30 * np.pi / 2])


def test_the_arc_goes_on_where_angles_jump():
    turn = 0.01
    x = 30 * np.array([[-np.cos(turn), np.sin(turn), 0], [-np.cos(turn), -np.sin(turn), 0]])
    assert free_wall().about(x) == pytest.approx([-0.3, 0.3])


def test_ellipse_and_strip_end_at_their_axes():
    heights = 40.0 + np.array([-10.1, -9.9, 0.0, 9.9, 10.1])
    x = np.column_stack([np.full(5, -30.0), np.zeros(5), heights])
    expected = [False, True, True, True, False]
    assert free_wall().in_ellipse(x, along=10.0, about=1.0).tolist() == expected
    assert free_wall().in_strip(x, along=10.0, about=1.0).tolist() == expected
