"""Fragments of shapes with known faces: split, pressed in, loose, and put back."""

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.surgery.bodies import name_pieces, pieces
from organtwin.surgery.cuts import divide
from organtwin.surgery.fractures import (
    depress,
    displace,
    faces_towards,
    floating,
    gap_between,
    require_held,
    split,
)
from organtwin.surgery.reduction import faces_on, fit_faces, grown_faces, step_off
from organtwin.surgery.rigid import Rigid, fit_pairs, moved
from organtwin.surgery.screws import rod
from organtwin.surgery.tools import Common, HalfSpace, Plug, Sheet
from tests.bone_shapes import ball, block, body

HALF = np.array([20.0, 15.0, 12.0])
UP = np.array([0.0, 0.0, 1.0])


def bone(voxel=1.0, margin=8.0):
    return body(block(HALF), -HALF - margin, HALF + margin, voxel)


def bent(x):
    """Height of a fracture surface over the plane x = 0, as points."""
    return 5.0 + 0.02 * x[:, 0] ** 2 + 0.1 * x[:, 1]


def sheet():
    y, z = (c.ravel() for c in np.meshgrid(np.linspace(-18, 18, 7), [-14.0, 0, 14]))
    points = np.stack([bent(np.stack([y, z], axis=1)), y, z], axis=1)
    return Sheet(points, np.array([30.0, 0.0, 0.0]))


def test_a_split_has_its_gap_and_volumes():
    border = HalfSpace(np.array([4.0, 0, 0]), np.array([1.0, 0.5, 0.2]))
    made = split(bone(), "bone", border, ("lateral", "medial"), gap=0.4)
    surfaces = made.bodies.surfaces()
    # Below a voxel, and yet there: fragments don't grow together.
    assert gap_between(surfaces["lateral"], surfaces["medial"]) == pytest.approx(0.4, abs=0.01)
    area = 30.0 * 24.0 / (1.0 / np.sqrt(1.29))
    assert made.area == pytest.approx(area, rel=0.02)
    # The plane passes (4, 0, 0) and its mean over y and z is there: 16 mm of 40 are in front.
    assert made.volumes["lateral"] == pytest.approx(30 * 24 * 16 - 0.2 * area, rel=0.01)
    assert made.volumes["medial"] == pytest.approx(30 * 24 * 24 - 0.2 * area, rel=0.01)


def test_a_curved_fracture_passes_its_points():
    made = split(bone(), "bone", sheet(), ("lateral", "medial"))
    for name in ("lateral", "medial"):
        inside = (np.abs(sheet().points[:, 1:]) < 14.0).all(axis=1)
        assert np.abs(made.bodies.at(name, sheet().points[inside])).max() < 0.05
    y = np.linspace(-15, 15, 301)
    exact = 24.0 * np.trapezoid(20.0 - bent(np.stack([y, 0 * y], axis=1)), y)
    assert made.volumes["lateral"] == pytest.approx(exact, rel=0.02)
    with pytest.raises(InputError, match="on a line"):
        Sheet(np.outer(np.arange(4.0), UP), UP).distance(np.zeros((1, 3)))


def test_a_pressed_piece_crushes_what_is_under_it_and_leaves_a_void():
    ring = np.array([[-6.0, -5, 12], [8, -5, 12], [8, 6, 12], [-6, 6, 12]])
    made = depress(bone(1.0), "bone", Plug(ring, -UP, 6.0), "plateau", 4.0)
    area = 14.0 * 11.0
    assert made.crushed["bone"] == pytest.approx(4.0 * area, rel=0.04)
    assert made.void == pytest.approx(4.0 * area, rel=0.04)
    assert made.bodies.volume("plateau") == pytest.approx(6.0 * area, rel=0.04)
    assert made.bodies.surface("plateau").points[:, 2].max() == pytest.approx(8.0, abs=0.01)
    step = step_off(made.bodies.surface("plateau"), made.bodies.surface("bone"), UP)
    assert step.mean_step == pytest.approx(-4.0, abs=0.1)


def test_a_surface_that_cuts_off_two_pieces_is_refused_and_they_can_be_named():
    """A block with a notch from above: a level cut leaves two towers."""
    whole = bone()
    points = whole.grid.points(np.indices(whole.grid.shape).reshape(3, -1).T)
    notch = block((6, 20, 8))(points - 10.0 * UP).reshape(whole.grid.shape).astype(np.float32)
    towers = whole.changed({"bone": np.maximum(whole.field("bone"), -notch)})
    border = HalfSpace(6.0 * UP, UP)
    with pytest.raises(InputError, match=r"`top` is in 2 pieces: 2\.5\d mL at \(.*name_pieces"):
        split(towers, "bone", border, ("top", "base"))
    made = name_pieces(divide(towers, "bone", border, ("top", "base")).bodies, "top", ("a", "b"))
    assert set(made.names) == {"base", "a", "b"}
    assert made.volume("a") == pytest.approx(14 * 30 * 6, rel=0.03)
    assert len(pieces(made, "a")) == 1


def test_what_nothing_holds_is_named():
    made = split(bone(), "bone", HalfSpace(np.zeros(3), np.array([1.0, 0, 0])), ("one", "two"))
    assert floating(made.bodies, ("two",), {}) == (("one",),)
    with pytest.raises(InputError, match="nothing holds `one`"):
        require_held(made.bodies, ("two",), {"short": rod([4.0, 0, 0], [30.0, 0, 0], 4.0)})
    require_held(made.bodies, ("two",), {"lag": rod([-10.0, 0, 0], [30.0, 0, 0], 4.0)})
    require_held(made.bodies, ("two",), {}, contact=True)


def test_a_fragment_may_not_come_to_lie_in_another():
    made = split(bone(), "bone", HalfSpace(np.zeros(3), np.array([1.0, 0, 0])), ("one", "two"))
    with pytest.raises(InputError, match=r"lie 5\.\d mm deep in `two`"):
        displace(made.bodies, "one", Rigid.by([-5.0, 0, 0]))
    with pytest.raises(InputError, match="leave the grid"):
        moved(made.bodies, "one", Rigid.by([20.0, 0, 0]))


def test_landmark_pairs_give_the_motion_and_refuse_mirrors():
    motion = Rigid.turn(np.array([1.0, 2.0, 0.5]), 25.0, np.array([3.0, 0, 0]))
    places = np.array([[0.0, 0, 0], [30, 2, 1], [5, 25, -4], [-3, 4, 18]])
    marks = dict(zip("abcd", places, strict=True))
    fit = fit_pairs(marks, {name: motion.points(x) for name, x in marks.items()})
    assert fit.motion.rotation == pytest.approx(motion.rotation, abs=1e-12)
    assert fit.rms < 1e-9
    with pytest.raises(InputError, match="Left and right are swapped"):
        fit_pairs(marks, {name: motion.points(x * [-1, 1, 1]) for name, x in marks.items()})
    with pytest.raises(InputError, match="2 landmarks have a partner"):
        fit_pairs(marks, {"a": marks["a"], "b": marks["b"]})
    matrix = np.eye(4)
    matrix[:3, 3] = (1.0, 2.0, 3.0)
    assert Rigid.of_matrix(matrix, "RAS").translation == pytest.approx([-1.0, -2.0, 3.0])
    with pytest.raises(InputError, match="mirrors"):
        Rigid(np.diag([-1.0, 1.0, 1.0]), np.zeros(3))


def displaced(border, voxel=1.0):
    """Fragments and the motion that took one of them away."""
    made = split(bone(voxel, 14.0), "bone", border, ("one", "two")).bodies
    away = Rigid.by([4.0, 2.0, -1.5]).after(Rigid.turn(np.array([0.3, 1.0, 0.2]), 7.0, HALF))
    return made, away


@pytest.mark.parametrize("curved", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_fracture_faces_bring_a_fragment_back(curved):
    border = sheet() if curved else HalfSpace(np.zeros(3), np.array([1.0, 0.2, 0.1]))
    made, away = displaced(border)
    surfaces = made.surfaces()
    one, two = (faces_on(surfaces[name], border, 0.05) for name in ("one", "two"))
    gone = away.surface(surfaces["one"])
    fit = fit_faces(gone, one, surfaces["two"], two)
    error = fit.motion.points(gone.points) - surfaces["one"].points
    assert np.linalg.norm(error, axis=1).max() < 0.25
    assert fit.rms < 0.05 and fit.free == 0
    # On the bodies, too: what is read between voxels twice has its place and volume again.
    back = moved(moved(made, "one", away), "one", fit.motion)
    assert back.volume("one") == pytest.approx(made.volume("one"), rel=0.01)
    assert gap_between(back.surface("one"), surfaces["two"]) > -0.5


def test_faces_that_do_not_belong_together_are_refused():
    made, _ = displaced(sheet(), 2.0)
    surfaces = made.surfaces()
    face = faces_on(surfaces["one"], sheet(), 0.1)
    small = body(ball(9.0), (-12, -12, -12), (12, 12, 12), 2.0).surface("bone")
    with pytest.raises(InputError, match=r"match within \d+\.\d mm only"):
        fit_faces(surfaces["one"], face, small, np.ones(len(small.triangles), bool))


def test_a_fracture_face_grows_to_its_crease():
    border = HalfSpace(np.zeros(3), np.array([1.0, 0.2, 0.1]))
    made, _ = displaced(border)
    surface = made.surface("one")
    grown = grown_faces(surface, np.zeros(3))
    exact = faces_on(surface, border, 0.05)
    both = surface.areas[grown & exact].sum()
    assert both > 0.9 * surface.areas[exact].sum()
    assert both > 0.85 * surface.areas[grown].sum()
    facing = faces_towards(surface, made.surface("two"), reach=1.0)
    assert surface.areas[facing & exact].sum() > 0.9 * surface.areas[exact].sum()


def test_steps_and_gaps_of_a_joint_are_measured():
    cut = Common([HalfSpace(np.array([3.0, 0, 0]), np.array([1.0, 0, 0]))])
    made = split(bone(), "bone", cut, ("lateral", "medial")).bodies
    off = moved(made, "lateral", Rigid.by([1.5, 0.0, -2.0]))
    found = step_off(off.surface("lateral"), off.surface("medial"), UP)
    assert found.mean_step == pytest.approx(-2.0, abs=0.1)
    # Both rims are chamfered by up to half a voxel of 1 mm.
    assert 1.5 < found.mean_gap < 2.5
    assert found.extent == pytest.approx(30.0, rel=0.15)
    with pytest.raises(InputError, match="within 1 mm"):
        step_off(off.surface("lateral"), off.surface("medial"), UP, reach=1.0)
