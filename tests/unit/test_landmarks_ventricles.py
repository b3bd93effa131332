"""Valve planes and apices of a half ellipsoid, and what makes them doubtful."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap
from organtwin.landmarks.record import Landmark, Point, against, favouring, find
from organtwin.landmarks.ventricles import ventricle_landmarks

TILT = Rotation.from_euler("xyz", [25.0, -30.0, 10.0], degrees=True)
AXES = np.array([18.0, 18.0, 50.0])
ORIGIN = np.array([-3.0, 12.0, 100.0])


def heart(spacing, ragged=0.0):
    """Half ellipsoid below a plane through the grid's middle, wall around it, atrium above."""
    shape = (np.array([90.0, 90.0, 100.0]) / spacing).astype(int)
    index = np.indices(tuple(shape)).reshape(3, -1).T
    local = TILT.inv().apply((index - (shape / 2.0 - 0.5)) * spacing) - [0.0, 0.0, 20.0]
    height = local[:, 2]
    if ragged:
        waves = np.random.default_rng(3).standard_normal((4, 2)) / 4.0
        height = height + ragged * np.sin(local[:, :2] @ waves.T).sum(axis=1)
    size = np.linalg.norm(local / AXES, axis=1)
    values = np.zeros(len(index), np.uint8)
    values[(np.linalg.norm(local / (AXES + 8.0), axis=1) < 1.0) & (height < 0.0)] = 2
    values[(size < 1.0) & (height < 0.0)] = 1
    values[(np.linalg.norm(local / 18.0, axis=1) < 1.0) & (height >= 0.0)] = 3
    names = {"lv_blood": 1, "lv_myocardium": 2, "left_atrium": 3}
    return LabelMap(values.reshape(shape), names, np.full(3, spacing), ORIGIN, np.eye(3))


def middle(labels):
    base = labels.points((np.array(labels.values.shape) / 2.0 - 0.5)[None])[0]
    return base + TILT.apply([0.0, 0.0, 20.0])


def tilt_of(normal):
    return np.degrees(np.arccos(np.clip(normal @ TILT.apply([0.0, 0.0, 1.0]), -1.0, 1.0)))


def test_valve_apex_and_axis_of_a_half_ellipsoid():
    labels = heart(1.0)
    found = ventricle_landmarks(labels)
    valve = find(found, "mitral_valve")
    assert np.linalg.norm(valve.geometry.centre - middle(labels)) < 0.5
    assert tilt_of(valve.geometry.normal) < 1.0
    assert valve.geometry.diameter == pytest.approx(36.0, rel=0.02)
    assert valve.measures["roundness"] > 0.95
    tip = find(found, "lv_apex").geometry.at
    assert np.linalg.norm(tip - (middle(labels) - TILT.apply([0, 0, 50.0]))) < 1.0
    outside = find(found, "lv_apex_outside").geometry.at
    assert np.linalg.norm(outside - (middle(labels) - TILT.apply([0, 0, 58.0]))) < 1.0
    assert tilt_of(find(found, "lv_long_axis").geometry.direction) < 1.0
    assert all(landmark.confidence.value > 0.8 for landmark in found)


def test_confidence_falls_with_a_ragged_border_and_coarse_voxels():
    sure, ragged, coarse = (
        find(ventricle_landmarks(labels), "mitral_valve").confidence.value
        for labels in (heart(1.5), heart(1.5, ragged=3.0), heart(5.0))
    )
    assert ragged < 0.8 * sure
    assert coarse < 0.8 * sure


def test_turning_the_grid_turns_the_landmarks():
    labels = heart(2.0)
    turn = Rotation.from_rotvec([0.3, -1.0, 0.7])
    turned = replace(
        labels,
        origin=turn.apply(labels.origin) + 7.0,
        direction=turn.as_matrix() @ labels.direction,
    )
    for one, other in zip(ventricle_landmarks(labels), ventricle_landmarks(turned), strict=True):
        for key in ("at", "centre", "start", "end"):
            if hasattr(one.geometry, key):
                moved = turn.apply(getattr(one.geometry, key)) + 7.0
                assert np.abs(moved - getattr(other.geometry, key)).max() < 1e-6
        if hasattr(one.geometry, "normal"):
            off = turn.apply(one.geometry.normal) - other.geometry.normal
            assert np.abs(off).max() < 1e-6


def test_a_ventricle_without_atrium_opens_to_the_background():
    labels = heart(2.0)
    values = np.where(labels.values == 3, 0, labels.values).astype(np.uint8)
    found = ventricle_landmarks(replace(labels, values=values))
    opening = find(found, "lv_opening").geometry
    assert tilt_of(opening.normal) < 2.0
    assert np.linalg.norm(opening.centre - middle(labels)) < 1.0


def test_a_placed_apex_moves_the_axis():
    labels = heart(2.0)
    mine = Landmark("lv_apex", Point(middle(labels) - TILT.apply([9.0, 0, 40.0])), source="markups")
    found = ventricle_landmarks(labels, {"lv_apex": mine})
    assert find(found, "lv_apex") is mine
    assert np.array_equal(find(found, "lv_long_axis").geometry.start, mine.geometry.at)
    assert find(found, "lv_long_axis").confidence.value < 1.0


def test_labels_without_ventricles_are_refused():
    with pytest.raises(InputError, match="neither `lv_blood` nor"):
        ventricle_landmarks(replace(heart(5.0), names={"liver": 1}))
    with pytest.raises(InputError, match="Did you mean `lv_apex`"):
        find(ventricle_landmarks(heart(5.0)), "lv_apx")


def test_evidence_halves_where_it_says():
    assert against("error", 2.0, 2.0, "mm").factor == favouring("contrast", 3.0, 3.0).factor == 0.5
    assert against("error", np.nan, 2.0).factor == favouring("contrast", -1.0, 3.0).factor == 0.0
    assert str(against("error", 1.0, 1.0, "mm")) == "error 1 mm (0.50)"
