"""Axes and angles of bones built of balls and rods, and that their pose doesn't matter."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from skimage.measure import marching_cubes

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap
from organtwin.landmarks.catalogue import landmarks_of
from organtwin.landmarks.cuts import cut
from organtwin.landmarks.femoral_head import find_head
from organtwin.landmarks.femur import femur_landmarks
from organtwin.landmarks.fits import fit_plane_robustly, fit_sphere
from organtwin.landmarks.hips import hip_landmarks
from organtwin.landmarks.record import Landmark, Line, Plane, Point, Sphere, find
from organtwin.landmarks.tibia import tibia_landmarks
from organtwin.mesh.surface_files import TriangleSurface

NECK_SHAFT, VERSION, HEAD = 128.0, 14.0, 24.0


def rod(points, start, end, radius):
    """Signed distance inside a rod with round ends."""
    way = np.subtract(end, start)
    share = np.clip(((points - start) @ way) / (way @ way), 0.0, 1.0)
    return radius - np.linalg.norm(points - start - share[..., None] * way, axis=-1)


def surface_from(field, low, high, step):
    """Surface of a field's zero in a box."""
    axes = [np.arange(a, b, step) for a, b in zip(low, high, strict=True)]
    values = field(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))
    points, triangles, _, _ = marching_cubes(values, 0.0, spacing=(step,) * 3)
    surface = TriangleSurface(points + np.array(low, float), triangles.astype(np.int64))
    flipped = TriangleSurface(surface.points, surface.triangles[:, ::-1])
    return surface if surface.volume > 0.0 else flipped


def femur(side=1.0, *, whole=False, step=2.5):
    """Ball, neck, shaft, lesser trochanter and condyles of a left (1) or right (-1) femur, LPS."""
    down = np.radians(NECK_SHAFT)
    turn = np.radians(VERSION)
    # From the foot of the neck to the head: medial (right of a left femur), forwards and upwards.
    flat = np.array([-np.cos(turn) * side, -np.sin(turn), 0.0])
    neck = np.sin(down) * flat - np.cos(down) * np.array([0.0, 0.0, 1.0])
    head = 52.0 / np.sin(down) * neck
    length = 400.0 if whole else 150.0

    def field(p):
        parts = [
            HEAD - np.linalg.norm(p - head, axis=-1),
            rod(p, np.zeros(3), head, 15.0),
            rod(p, np.array([0, 0, 15.0]), np.array([0, 0, -length]), 14.5),
            rod(p, np.array([-6.0 * side, 12.0, -24.0]), np.array([-8.0 * side, 17.0, -28.0]), 6.0),
        ]
        if whole:
            left, right = np.array([-26.0, 18, -length]), np.array([26.0, 18, -length])
            parts.append(rod(p, left, right, 19.0))
            parts.append(rod(p, np.array([0, 0, -length + 30.0]), 0.5 * (left + right), 17.0))
        return np.max(parts, axis=0)

    low = (-80.0, -50.0, -length - 24.0 if whole else -length + 30.0)
    surface = surface_from(lambda p: np.minimum(field(p), p[..., 2] - low[2] - step * 1.01),
                           (low[0], low[1], low[2]), (80.0, 52.0, 74.0), step)  # fmt: skip
    return surface, head, neck


@pytest.fixture(scope="module")
def proximal():
    surface, head, neck = femur()
    return surface, head, neck, femur_landmarks(surface)


def test_head_neck_and_shaft(proximal):
    _, head, neck, found = proximal
    ball = find(found, "femoral_head").geometry
    assert np.linalg.norm(ball.centre - head) < 0.3
    assert ball.radius == pytest.approx(HEAD, abs=0.3)
    axis = find(found, "femoral_neck_axis")
    assert np.degrees(np.arccos(-axis.geometry.direction @ neck)) < 1.5
    assert axis.measures["neck-shaft angle °"] == pytest.approx(NECK_SHAFT, abs=1.5)
    shaft = find(found, "femoral_shaft_axis").geometry
    assert np.degrees(np.arccos(shaft.direction @ [0.0, 0.0, -1.0])) < 1.0
    assert find(found, "lesser_trochanter").measures["side (1 left, -1 right)"] == 1.0


def test_pose_does_not_matter(proximal):
    surface, _, _, found = proximal
    turn, shift = Rotation.from_rotvec([2.0, -1.0, 0.4]), np.array([100.0, -300.0, 55.0])
    moved = femur_landmarks(replace(surface, points=turn.apply(surface.points) + shift))
    for one, other in zip(found, moved, strict=True):
        for key in ("at", "centre", "start", "end"):
            if hasattr(one.geometry, key):
                there = turn.apply(getattr(one.geometry, key)) + shift
                assert np.abs(there - getattr(other.geometry, key)).max() < 1e-6
        for name, value in one.measures.items():
            assert other.measures[name] == pytest.approx(value, abs=1e-6)


def test_anteversion_and_side_of_a_whole_femur():
    surface, _, _ = femur(-1.0, whole=True, step=4.0)
    line = find(femur_landmarks(surface), "posterior_condylar_line")
    assert line.measures["anteversion °"] == pytest.approx(VERSION, abs=2.0)
    assert line.measures["side (1 left, -1 right)"] == -1.0


def test_confidence_of_the_head_falls_with_dents_and_with_less_of_it(proximal):
    surface, _, _, found = proximal
    sure = find(found, "femoral_head").confidence.value
    noise = np.random.default_rng(0).standard_normal(surface.points.shape)
    rough = replace(surface, points=surface.points + 0.8 * noise)
    assert find_head(rough)[1].value < 0.8 * sure


def test_an_arm_of_a_lamp_is_no_femur():
    stick = surface_from(lambda p: rod(p, np.zeros(3), np.array([0.0, 0, 90.0]), 6.0),
                         (-10, -10, -10), (10, 10, 100), 2.0)  # fmt: skip
    with pytest.raises(InputError, match="round as a femoral head"):
        find_head(stick)


def test_a_placed_axis_wins(proximal):
    surface = proximal[0]
    mine = Landmark("femoral_shaft_axis", Line(np.zeros(3), np.array([9.0, 0, -90])), source="mine")
    found = femur_landmarks(surface, {"femoral_shaft_axis": mine})
    assert find(found, "femoral_shaft_axis") is mine
    angle = find(found, "femoral_neck_axis").measures["neck-shaft angle °"]
    assert angle != pytest.approx(NECK_SHAFT, abs=2.0)


def test_head_and_socket_agree_in_labels():
    index = np.indices((30, 30, 30)).reshape(3, -1).T * 3.0
    head = np.array([45.0, 44.0, 43.0])
    distance = np.linalg.norm(index - head, axis=1)
    values = np.zeros(len(index), np.uint8)
    values[(distance < 24.0) | (rod(index, head, head + np.array([30.0, 0, -35.0]), 12.0) > 0)] = 1
    values[(distance > 27.0) & (distance < 36.0) & (index[:, 2] > 48.0)] = 2
    labels = LabelMap(values.reshape(30, 30, 30), {"femur_left": 1, "hip_left": 2},
                      np.full(3, 3.0), np.zeros(3), np.eye(3))  # fmt: skip
    ball, cup = (find(hip_landmarks(labels), n) for n in ("femoral_head_left", "acetabulum_left"))
    assert np.linalg.norm(ball.geometry.centre - head) < 0.5
    assert np.linalg.norm(cup.geometry.centre - head) < 1.0
    assert cup.geometry.radius == pytest.approx(27.0, abs=1.0)
    assert ball.confidence.value > 0.6


def headless():
    """A thin neck and shaft without anything as large as a head."""
    head = np.array([-40.0, -8.0, 34.0])

    def field(p):
        shaft = rod(p, np.array([0.0, 0, 10.0]), np.array([0.0, 0, -150.0]), 9.0)
        return np.maximum(shaft, rod(p, np.zeros(3), head, 8.0))

    return surface_from(field, (-60, -24, -164), (16, 16, 50), 3.0), head


def test_a_placed_head_helps_where_none_is_found():
    surface, head = headless()
    with pytest.raises(InputError, match="or place `femoral_head`"):
        femur_landmarks(surface)
    ball = Landmark("femoral_head", Sphere(head, HEAD), source="mine")
    found = femur_landmarks(surface, {"femoral_head": ball})
    assert find(found, "femoral_head") is ball
    shaft = find(found, "femoral_shaft_axis").geometry
    assert np.degrees(np.arccos(shaft.direction @ [0.0, 0.0, -1.0])) < 2.0
    far = Landmark("femoral_head_centre", Point(head + 500.0), source="mine")
    with pytest.raises(InputError, match="no surface lies around the placed"):
        femur_landmarks(surface, {"femoral_head_centre": far})


def test_a_placed_centre_gets_the_radius_of_the_surface_around_it(proximal):
    surface, head, _, _ = proximal
    mine = Landmark("femoral_head_centre", Point(head), source="mine")
    ball = find(femur_landmarks(surface, {"femoral_head_centre": mine}), "femoral_head")
    assert ball.source == "mine"
    assert ball.geometry.radius == pytest.approx(HEAD, abs=0.3)


def test_sections_that_miss_the_bone_are_left_out(proximal):
    surface, head, _, _ = proximal
    small = Landmark("femoral_head", Sphere(head + np.array([300.0, 0, 0]), 4.0), source="mine")
    names = {landmark.name for landmark in femur_landmarks(surface, {"femoral_head": small})}
    assert "femoral_head" in names  # the rest may be there or not, but nothing breaks


def test_a_placed_head_helps_at_the_hip():
    index = np.indices((30, 30, 30)).reshape(3, -1).T * 3.0
    head = np.array([45.0, 44.0, 43.0])
    distance = np.linalg.norm(index - head, axis=1)
    values = np.zeros(len(index), np.uint8)
    values[rod(index, head - np.array([0, 0, 9.0]), head + np.array([30.0, 0, -35.0]), 6.0) > 0] = 1
    values[(distance > 27.0) & (distance < 36.0) & (index[:, 2] > 48.0)] = 2
    labels = LabelMap(values.reshape(30, 30, 30), {"femur_left": 1, "hip_left": 2},
                      np.full(3, 3.0), np.zeros(3), np.eye(3))  # fmt: skip
    with pytest.raises(InputError, match="round as a femoral head"):
        hip_landmarks(labels)
    ball = Landmark("femoral_head_left", Sphere(head, 24.0), source="mine")
    found = hip_landmarks(labels, {"femoral_head_left": ball})
    assert find(found, "femoral_head_left") is ball
    assert np.linalg.norm(find(found, "acetabulum_left").geometry.centre - head) < 1.0


SLOPE = 8.0


@pytest.fixture(scope="module")
def shin():
    """Plateau 70 mm wide that falls backwards by ``SLOPE``, on a shaft that sits in front."""
    fall = np.array([0.0, np.sin(np.radians(SLOPE)), np.cos(np.radians(SLOPE))])

    def field(p):
        flare = np.clip((p[..., 2] + 45.0) / 45.0, 0.0, 1.0)
        x, y = p[..., 0] / (13.0 + 23.0 * flare), (p[..., 1] - 8.0 * flare) / (13.0 + 12.0 * flare)
        side = (1.0 - np.hypot(x, y)) * 14.0
        bump = 5.0 * np.exp(-((p[..., 0] / 5.0) ** 2))
        return np.minimum.reduce([side, bump - (p @ fall), p[..., 2] + 150.0])

    return surface_from(field, (-40, -22, -153), (40, 40, 14), 2.0), fall


def test_plateau_slope_and_axis(shin):
    surface, fall = shin
    found = tibia_landmarks(surface, fibula=np.array([[-40.0, 10.0, -30.0]]))
    plane = find(found, "tibial_plateau").geometry
    assert np.degrees(np.arccos(plane.normal @ fall)) < 0.5
    assert abs(plane.centre @ fall) < 0.5
    axis = find(found, "tibial_axis")
    assert axis.measures["slope °"] == pytest.approx(SLOPE, abs=3.0)
    assert find(found, "plateau_lateral").geometry.at[0] < 0.0
    assert find(found, "tibial_plateau").confidence.value > 0.5
    turn, shift = Rotation.from_rotvec([1.0, 0.5, -2.0]), np.array([5.0, 60.0, -7.0])
    moved = tibia_landmarks(replace(surface, points=turn.apply(surface.points) + shift))
    other = find(moved, "tibial_plateau").geometry
    assert np.abs(turn.apply(plane.centre) + shift - other.centre).max() < 1e-6
    assert np.abs(turn.apply(plane.normal) - other.normal).max() < 1e-6


def test_a_placed_plateau_helps_where_none_is_seen():
    def spike(p):
        return np.minimum(-p[..., 2] / 8.0 - np.hypot(p[..., 0], p[..., 1]), p[..., 2] + 150.0)

    surface = surface_from(spike, (-24, -24, -156), (24, 24, 6), 3.0)
    with pytest.raises(InputError, match="place `tibial_plateau`"):
        tibia_landmarks(surface)
    top = Plane(np.array([0.0, 4.0, 0.0]), np.array([0.0, 0.0, -1.0]))
    mine = Landmark("tibial_plateau", top, source="mine")
    found = tibia_landmarks(surface, {"tibial_plateau": mine})
    axis = find(found, "tibial_axis").geometry
    assert np.degrees(np.arccos(axis.direction @ [0.0, 0.0, -1.0])) < 2.0
    assert {landmark.name for landmark in found} == {"tibial_plateau", "tibial_axis"}


def test_a_short_piece_has_a_doubtful_axis(shin):
    surface, _ = shin
    whole = find(tibia_landmarks(surface), "tibial_axis").confidence.value
    short = replace(surface, points=surface.points.copy())
    short.points[:, 2] = np.maximum(short.points[:, 2], -52.0)
    assert find(tibia_landmarks(short), "tibial_axis").confidence.value < 0.6 * whole


def test_sections_of_a_ball_and_fits():
    ball = surface_from(lambda p: 10.0 - np.linalg.norm(p, axis=-1), (-12,) * 3, (12,) * 3, 1.0)
    found = cut(ball, np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 0.0]))
    assert found.areas == pytest.approx([np.pi * 95.5], rel=0.02)
    assert found.centres[0] == pytest.approx([1.5, 1.5, 0.0], abs=0.05)
    fit = fit_sphere(ball.points)
    assert fit.radius == pytest.approx(10.0, abs=0.05) and fit.residual < 0.1
    rng = np.random.default_rng(0)
    sheet = np.column_stack([rng.uniform(-9, 9, (200, 2)), np.zeros(200)])
    sheet[:30, 2] = 8.0
    assert abs(fit_plane_robustly(sheet).normal[2]) == pytest.approx(1.0, abs=1e-6)


def test_unknown_organ_and_wrong_source(shin):
    with pytest.raises(InputError, match="Did you mean `tibia`"):
        landmarks_of("tibya", shin[0])
    with pytest.raises(InputError, match="found in labels"):
        landmarks_of("aorta", shin[0])
