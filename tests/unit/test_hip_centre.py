"""Necks, heads and cuts that bring the hip's centre back, on a femur of a rod and a ball."""

from dataclasses import replace

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.implants.stem import NECKS, HipStem
from organtwin.landmarks.record import Landmark, Line, Point, Sphere
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.orthopaedics.hip_centre import CUTS, centre_indices, restored
from organtwin.surgery.bodies import bodies_of_surfaces
from organtwin.surgery.screws import rod

HEAD = np.array([-40.0, 0.0, 40.0])
#: Height of the cut's medial end over that of the axis, with the lesser trochanter 2 mm below 0.
MEDIAL = 2.0 - 12.0 * np.sqrt(0.5)
STEM = HipStem(offset=40.0, neck_length=40.0, coating_height=60.0)


@pytest.fixture(scope="module")
def bone() -> TriangleSurface:
    return bodies_of_surfaces({"femur": rod(np.zeros(3), 1.2 * HEAD, 24.0)}, 1.5).surface("femur")


MARKS = (
    Landmark("femoral_head", Sphere(HEAD, 20.0)),
    Landmark("femoral_head_centre", Point(HEAD)),
    Landmark("femoral_neck_axis", Line(np.zeros(3), HEAD)),
    Landmark("femoral_shaft_axis", Line(np.array([0.0, 0, 10]), np.array([0.0, 0, -80]))),
    Landmark("lesser_trochanter", Point(np.array([-8.0, 4.0, -2.0]))),
)


@pytest.mark.parametrize("name", NECKS)
def test_a_neck_moves_the_head_as_it_says(name):
    beside, up = NECKS[name]
    moved = STEM.with_neck(name).head_point - STEM.head_point
    assert moved == pytest.approx([beside, 0.0, up], abs=1e-9)
    longer = STEM.with_neck(name).with_head(4.0).head_point - STEM.with_neck(name).head_point
    assert longer == pytest.approx(4.0 * np.array([np.sqrt(0.5), 0.0, np.sqrt(0.5)]))


def test_a_stem_of_the_bones_own_shape_needs_no_other_neck(bone):
    """The cut lies a neck's length from the head: 40 √2 - 40 mm from where both axes meet."""
    found = restored(bone, MARKS, STEM)
    at = (40.0 * np.sqrt(2.0) - 40.0) * np.sqrt(0.5)
    assert found.cut == pytest.approx(at + MEDIAL, abs=0.3)
    assert np.hypot(found.leg, found.offset) < 0.3
    assert (found.stem.name, found.stem.head_length) == (STEM.name, 0.0)
    assert "0 mm above" in found.note or "mm above the lesser trochanter" in found.note


def test_what_is_given_is_kept_and_its_error_told(bone):
    found = restored(bone, MARKS, STEM, cut=15.0, neck="standard", head=0.0)
    at = (40.0 * np.sqrt(2.0) - 40.0) * np.sqrt(0.5)
    assert found.leg == pytest.approx(2.0 * (15.0 - MEDIAL - at), abs=0.6)
    assert found.offset == pytest.approx(0.0, abs=0.1)
    assert found.note == ""


def test_a_larger_offset_takes_another_neck(bone):
    small = replace(STEM, offset=33.0, neck_length=40.0 - 7.0 * np.sqrt(0.5))
    found = restored(bone, MARKS, small)
    assert found.stem.name.endswith("neck")
    assert np.hypot(found.leg, found.offset) < 1.0
    plain = restored(bone, MARKS, small, neck="standard", head=0.0)
    assert plain.offset == pytest.approx(-7.0, abs=0.1)
    assert CUTS[0] <= found.cut <= CUTS[1]


def test_changes_have_verdicts():
    leg, offset = centre_indices(12.0, -3.0)
    assert (leg.verdict, offset.verdict) == ("above", "within")


def test_unknown_necks_are_named(bone):
    with pytest.raises(InputError, match="no neck `vara`"):
        restored(bone, MARKS, STEM, neck="vara")
