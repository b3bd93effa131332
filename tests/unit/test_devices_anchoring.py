"""What holds a deployed valve, and how hard it presses on the septum."""

import numpy as np
import pytest

from organtwin.devices.anchoring import anchoring, pressed_region
from organtwin.devices.tissue_contact import Pressed
from organtwin.errors import InputError

#: A patch of 4 by 2 mm in the plane z = 0.
PATCH = np.array([[0.0, 0, 0], [4, 0, 0], [4, 2, 0], [0, 2, 0]])
HALVES = np.array([[0, 1, 2], [0, 2, 3]])


def struts():
    """Two points on the patch, one beside it; each stands for half a millimetre of strut."""
    places = np.array([[1.0, 1.0, 0.02], [3.0, 1.5, 0.0], [5.0, 1.0, 0.0]])
    normal = np.array([20.0, 60.0, 500.0])
    return Pressed(places, normal, 0.1 * normal, np.full(3, 0.5))


def test_pressure_on_a_region_is_that_of_the_struts_within():
    found = pressed_region(struts(), 0.4, PATCH, HALVES)
    assert found.area == pytest.approx(8.0)
    assert found.force == pytest.approx(80.0)
    assert found.share == pytest.approx(2 * 0.5 * 0.4 / 8.0)
    assert found.largest == pytest.approx(60.0 / (0.5 * 0.4))


def test_a_region_that_no_strut_touches():
    none = Pressed(np.zeros((0, 3)), np.zeros(0), np.zeros(0), np.zeros(0))
    for pressed in (none, Pressed(*(part[2:] for part in vars(struts()).values()))):
        found = pressed_region(pressed, 0.4, PATCH, HALVES)
        assert (found.share, found.largest, found.force) == (0.0, 0.0, 0.0)


def test_a_region_without_area_is_refused():
    with pytest.raises(InputError, match="0 mm²"):
        pressed_region(struts(), 0.4, PATCH, np.zeros((0, 3), np.int64))


def test_safety_against_migration():
    found = anchoring(struts(), 0.3, 8.0, 10.0)
    assert found.holding == pytest.approx(0.3 * 580.0)
    assert found.load == pytest.approx(80.0)
    assert found.safety == pytest.approx(2.175)
    with pytest.raises(InputError, match="positive"):
        anchoring(struts(), 0.3, 0.0, 10.0)
