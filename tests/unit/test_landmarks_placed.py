"""Landmarks to 3D Slicer's markups and back, and that what a person placed wins."""

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.image import markups
from organtwin.image.markups import read_markups, write_markups
from organtwin.image.volume import LabelMap
from organtwin.landmarks.catalogue import CATALOGUE, landmarks_of
from organtwin.landmarks.placed import markups_of, placed
from organtwin.landmarks.record import Curve, Landmark, Line, Plane, Point, Sphere, find

KINDS = {name: kind for names in CATALOGUE.values() for name, kind in names.items()}
UP = np.array([0.6, 0.0, 0.8])
SOME = (
    Landmark("lv_apex", Point(np.array([1.0, 2.0, 3.0]))),
    Landmark("hinge_left", Point(np.array([4.0, 5.0, 6.0]))),
    Landmark("mitral_valve", Plane(np.array([7.0, 8.0, 9.0]), UP, 31.0)),
    Landmark("femoral_neck_axis", Line(np.zeros(3), np.array([3.0, 4.0, 0.0]))),
    Landmark("aortic_centreline", Curve(np.arange(12.0).reshape(4, 3))),
    Landmark("femoral_head", Sphere(np.array([1.0, 0.0, -1.0]), 24.0)),
)


@pytest.mark.parametrize("axes", ["LPS", "RAS"])
def test_there_and_back(tmp_path, axes):
    file = tmp_path / "some.mrk.json"
    write_markups(markups_of(SOME), file, coordinate_system=axes)
    back = placed(read_markups(file), KINDS, "markups some.mrk.json")
    assert set(back) == {landmark.name for landmark in SOME}
    for landmark in SOME:
        other = back[landmark.name]
        assert other.source == "markups some.mrk.json"
        assert other.kind == landmark.kind
        assert other.confidence.value == 1.0
        for key, value in vars(landmark.geometry).items():
            if key != "radii":
                assert getattr(other.geometry, key) == pytest.approx(value, abs=1e-9)


def box(spacing=4.0):
    index = np.indices((24, 24, 24))
    values = np.zeros((24, 24, 24), np.uint8)
    inside = (np.hypot(index[0] - 12, index[1] - 12) < 6) & (index[2] > 4) & (index[2] < 20)
    values[inside] = 1
    values[inside & (index[2] > 15)] = 2
    names = {"lv_blood": 1, "left_atrium": 2}
    return LabelMap(values, names, np.full(3, spacing), np.zeros(3), np.eye(3))


def test_what_is_placed_wins_and_other_organs_are_passed_over(tmp_path):
    file = tmp_path / "mine.mrk.json"
    apex = markups.Landmarks("F", np.array([[40.0, 40, 8], [1, 1, 1]]), ("LV apex", "hinge-left"))
    write_markups([apex], file)
    found = landmarks_of("ventricles", box(), overrides=file)
    assert find(found, "lv_apex").source == "markups mine.mrk.json"
    assert find(found, "lv_apex").geometry.at == pytest.approx([40.0, 40.0, 8.0])
    assert find(found, "lv_long_axis").geometry.start == pytest.approx([40.0, 40.0, 8.0])
    assert find(found, "mitral_valve").source == "automatic"
    assert "hinge_left" not in {landmark.name for landmark in found}


def test_what_was_written_and_left_alone_stays_automatic(tmp_path):
    file = tmp_path / "all.mrk.json"
    found = landmarks_of("ventricles", box())
    write_markups(markups_of(found), file)
    again = landmarks_of("ventricles", box(), overrides=file)
    assert {mark.source for mark in again} == {"automatic"}
    assert [str(mark.confidence) for mark in again] == [str(mark.confidence) for mark in found]
    moved = [
        Landmark(mark.name, Point(mark.geometry.at + 3.0)) if mark.name == "lv_apex" else mark
        for mark in found
    ]
    write_markups(markups_of(moved), file)
    placed_ones = [m.name for m in landmarks_of("ventricles", box(), overrides=file)
                   if m.source != "automatic"]  # fmt: skip
    assert placed_ones[0] == "lv_apex"
    # The axis that was written with the old apex was not moved, so it follows the new one.
    assert placed_ones == ["lv_apex"]


def test_three_points_make_a_plane():
    ring = np.array([[10.0, 0, 5], [-5, 8, 5], [-5, -8, 5]])
    three = markups.Landmarks("Aortic annulus", ring, ("a", "b", "c"))
    plane = placed([three], KINDS, "m")["aortic_annulus"].geometry
    assert plane.normal == pytest.approx([0.0, 0.0, 1.0])
    assert plane.centre == pytest.approx([0.0, 0.0, 5.0])


@pytest.mark.parametrize(
    ("markup", "message"),
    [
        (markups.Landmarks("F", np.zeros((1, 3)), ("lv_apx",)), "Did you mean `lv_apex`"),
        (markups.Line("lv_apex", np.zeros(3), np.ones(3)), "is a line, it should be a point"),
        (markups.Landmarks("F", np.zeros((2, 3)), ("lv_apex", "LV-apex")), "placed twice"),
        (markups.Landmarks("femoral_head", np.zeros((2, 3)), ("1", "2")), "it takes 4"),
        (markups.Box("lv_apex", np.zeros(3), np.eye(3), np.ones(3)), "is a box"),
    ],
)
def test_mistakes_are_told(markup, message):
    with pytest.raises(InputError, match=message):
        placed([markup], KINDS, "markups")
