"""Cuts, holes and cavities in shapes whose volumes, faces and misses are known."""

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.image.markups import Plane as MarkupPlane
from organtwin.image.volume import LabelMap
from organtwin.landmarks.record import Landmark, Line, Plane, Point
from organtwin.surgery.bodies import bodies_of_labels, bodies_of_surfaces
from organtwin.surgery.cuts import calcar_height, neck_resection, osteotomy, remove, resection_plane
from organtwin.surgery.screws import rod
from organtwin.surgery.signed import signed_distances
from organtwin.surgery.tools import BallReamer, Drill, Envelope, Slab
from tests.bone_shapes import ball, block, body, cylinder

R, L = 15.0, 60.0
TILTED = np.array([0.3, 0.2, 0.93])


def bone(voxel):
    return body(cylinder(R, L), (-20, -20, -5), (20, 20, 65), voxel)


def crossing(radius, drill):
    """Volume that two cylinders with axes at right angles have in common, by quadrature."""
    x = np.linspace(-drill, drill, 40001)
    return np.trapezoid(
        4.0 * np.sqrt(radius**2 - x**2) * np.sqrt(np.maximum(drill**2 - x**2, 0)), x
    )


def test_a_drill_hole_has_its_volume_and_converges():
    drill = Drill(np.array([0.0, -25.0, 30.2]), np.array([0.0, 25.0, 30.2]), 6.0)
    exact = crossing(R, 3.0)
    errors = []
    for voxel in (2.0, 1.0, 0.5):
        whole = bone(voxel)
        made = remove(whole, drill)
        left = whole.surface("bone").volume - made.bodies.surface("bone").volume
        errors.append(abs(left / exact - 1.0))
        assert made.volumes["bone"] == pytest.approx(exact, rel=0.05 * voxel**2)
    # Of second order in the voxel's edge: a quarter each time, less what chance takes.
    assert errors[1] < 0.4 * errors[0] and errors[2] < 0.4 * errors[1]
    assert errors[2] < 0.01


def test_a_drill_with_a_point_leaves_a_cone():
    deep = Drill(np.array([0.0, 0.0, 70.0]), np.array([0.0, 0.0, 20.0]), 8.0, 118.0)
    cone = 4.0 / np.tan(np.radians(59.0))
    exact = np.pi * 16.0 * (40.0 - cone + cone / 3.0)
    assert remove(bone(0.5), deep).volumes["bone"] == pytest.approx(exact, rel=0.01)


def test_an_osteotomy_has_its_volumes_its_area_and_plane_faces():
    point = np.array([0.0, 0.0, 30.0])
    plane = Plane(point, TILTED / np.linalg.norm(TILTED))
    made = osteotomy(bone(1.0), "bone", plane, ("upper", "lower"), kerf=1.2)
    area = np.pi * R**2 / plane.normal[2]
    assert made.area == pytest.approx(area, rel=0.01)
    # The rims of both parts are chamfered by parts of a voxel.
    assert made.lost == pytest.approx(1.2 * area, rel=0.03)
    half = 0.5 * (np.pi * R**2 * L - 1.2 * area)
    assert made.volumes == pytest.approx({"upper": half, "lower": half}, rel=3e-3)
    # No stairs: all that is near the cut lies in its plane, but for the rim's chamfer.
    surface = made.bodies.surface("upper")
    height = (surface.points - point) @ plane.normal - 0.6
    inner = (np.abs(height) < 0.9) & (np.linalg.norm(surface.points[:, :2], axis=1) < R - 1.5)
    assert np.count_nonzero(inner) > 300
    assert np.abs(height[inner]).max() < 2e-3


def test_faces_of_labels_are_cut_without_stairs():
    cube = np.zeros((24, 20, 22), np.uint8)
    cube[3:-3, 3:-3, 3:-3] = 7
    labels = LabelMap(cube, {"tibia": 7}, np.array([1.0, 1.2, 0.9]), np.zeros(3), np.eye(3))
    bodies = bodies_of_labels(labels, voxel=0.8)
    assert bodies.volume("tibia") == pytest.approx(18 * 14 * 16 * 1.08, rel=0.01)
    middle = labels.points(np.array([[11.5, 9.5, 10.5]]))[0]
    made = osteotomy(bodies, "tibia", MarkupPlane.at("cut", middle, TILTED), ("one", "two"))
    points = made.bodies.surface("one").points
    height = (points - middle) @ (TILTED / np.linalg.norm(TILTED))
    near = (np.abs(height) < 0.7) & (np.linalg.norm(points - middle, axis=1) < 5.0)
    assert near.any() and np.abs(height[near]).max() < 2e-3


def test_a_plane_that_misses_is_told_with_its_distance():
    plane = Plane(np.array([0.0, 0.0, 72.0]), np.array([0.0, 0.0, 1.0]))
    with pytest.raises(InputError, match=r"misses `bone`.*`upper`.*12\.0 mm away.*RAS"):
        osteotomy(bone(2.0), "bone", plane, ("upper", "lower"))
    with pytest.raises(InputError, match="name `lower` is taken"):
        osteotomy(bone(2.0), "bone", plane, ("lower", "lower"))


def test_a_drill_beside_the_bone_is_told():
    beside = Drill(np.array([22.0, -25.0, 30.0]), np.array([22.0, 25.0, 30.0]), 4.0)
    with pytest.raises(InputError, match=r"takes nothing from `bone`; it passes 5\.\d mm off"):
        remove(bone(1.0), beside, place="drill 2")
    with pytest.raises(InputError, match="nothing is left"):
        remove(bone(2.0), BallReamer(np.array([0, 0, 0.0]), np.array([0, 0, 60.0]), 40.0))


def test_a_saw_through_and_through_tells_of_two_pieces():
    made = remove(bone(1.0), Slab(np.array([0.0, 0, 30]), np.array([0.0, 0, 1]), 2.0), place="saw")
    assert made.notes == ("`bone` is in 2 pieces after saw, 1 before.",)


def test_a_hemispherical_reamer_takes_half_a_ball():
    made = remove(
        body(block((20, 20, 12)), (-24, -24, -16), (24, 24, 16), 0.8),
        BallReamer(np.array([0.0, 0.0, 12.0]), np.array([0.0, 0.0, 12.0]), 9.0),
    )
    assert made.volumes["bone"] == pytest.approx(2.0 / 3.0 * np.pi * 729.0, rel=5e-3)


def test_a_broach_leaves_no_undercut():
    """A ball moved in: without its way it leaves a ball, with it the hole above, too."""
    surface = body(ball(6.0), (-9, -9, -9), (9, 9, 9), 0.6).surface("bone")
    host = body(block((10, 10, 14)), (-12, -12, -16), (12, 12, 16), 0.8)
    kept = remove(host, Envelope(surface, 0.5))
    assert kept.volumes["bone"] == pytest.approx(4.0 / 3.0 * np.pi * 6.5**3, rel=0.01)
    swept = remove(host, Envelope(surface, 0.5, way=np.array([0.0, 0.0, 22.0])))
    whole = 2.0 / 3.0 * np.pi * 6.5**3 + np.pi * 6.5**2 * 14.0
    assert swept.volumes["bone"] == pytest.approx(whole, rel=0.01)


def femur():
    """Shaft along z, a neck at 45 degrees towards the right, a head at its end; landmarks."""
    head = np.array([-40.0, 0.0, 40.0])
    surfaces = rod(np.zeros(3), head, 24.0)
    bodies = bodies_of_surfaces({"neck": surfaces}, 1.5)
    every = bodies.grid.points(np.indices(bodies.grid.shape).reshape(3, -1).T)
    top = ball(20.0, head)(every).reshape(bodies.grid.shape).astype(np.float32)
    made = bodies.changed({"femur": np.minimum(bodies.field("neck"), top), "neck": None})
    marks = (
        Landmark("femoral_head_centre", Point(head)),
        Landmark("femoral_neck_axis", Line(np.zeros(3), head)),
        Landmark("femoral_shaft_axis", Line(np.array([0.0, 0, 10]), np.array([0.0, 0, -80]))),
        Landmark("lesser_trochanter", Point(np.array([-8.0, 4.0, -2.0]))),
    )
    return made, marks


def test_a_neck_is_resected_square_to_it_or_at_an_angle_with_the_shaft():
    bodies, marks = femur()
    bone = bodies.surface("femur")
    plane = resection_plane(bone, marks, height=8.0)
    assert plane.normal == pytest.approx([-np.sqrt(0.5), 0.0, np.sqrt(0.5)])
    # Square to a rod of radius 12 the lowest place lies 12 sin 45° below its axis.
    axis = 8.0 - 2.0 + 12.0 * np.sqrt(0.5)
    assert plane.centre == pytest.approx([-axis, 0.0, axis], abs=0.15)
    assert calcar_height(bone, plane, marks) == pytest.approx(8.0, abs=0.02)
    steep = resection_plane(bone, marks, height=8.0, tilt=60.0)
    assert steep.normal == pytest.approx([-0.5, 0.0, np.sin(np.radians(60))])
    made = neck_resection(bodies, "femur", marks, height=8.0)
    assert made.area == pytest.approx(np.pi * 144.0, rel=0.02)
    assert made.parts == ("femur_head", "femur")
    # With a second cut along the shaft what lies beyond it stays.
    stopped = neck_resection(bodies, "femur", marks, height=8.0, stop=15.0)
    assert stopped.bodies.surface("femur_head").points[:, 0].max() == pytest.approx(-15.0, abs=0.02)
    assert "45 degrees with the shaft; it leaves 8.0 mm" in made.notes[-1]


def test_landmarks_of_another_bone_or_height_are_refused():
    bodies, marks = femur()
    with pytest.raises(InputError, match=r"no cut 60 mm above .* can be -inf to \d+ mm"):
        resection_plane(bodies.surface("femur"), marks, height=60.0)
    mirrored = tuple(
        Landmark(mark.name, Point(mark.geometry.at * [-1, 1, 1]))
        if isinstance(mark.geometry, Point)
        else Landmark(mark.name, Line(mark.geometry.start * [-1, 1, 1],
                                      mark.geometry.end * [-1, 1, 1]))
        for mark in marks
    )  # fmt: skip
    with pytest.raises(InputError, match="landmarks of the other side"):
        neck_resection(bodies, "femur", mirrored, height=8.0)


def test_signed_distances_have_the_right_side_at_edges_and_corners():
    surface = rod(np.zeros(3), np.array([0.0, 0.0, 20.0]), 10.0, sides=6)
    places = np.random.default_rng(3).uniform((-8, -8, -4), (8, 8, 24), (4000, 3))
    found = signed_distances(places, surface)
    ring = surface.points[:6, :2]
    turned = np.roll(ring, -1, axis=0) - ring
    normals = np.stack([turned[:, 1], -turned[:, 0]], axis=1)
    normals /= (
        np.linalg.norm(normals, axis=1)[:, None] * np.sign(np.sum(normals * ring, axis=1))[:, None]
    )
    across = ((places[:, None, :2] - ring) * normals).sum(axis=2).max(axis=1)
    exact = np.maximum(across, np.abs(places[:, 2] - 10.0) - 10.0)
    assert ((found < 0.0) == (exact < 0.0)).all()
    assert found[exact < 0.0] == pytest.approx(exact[exact < 0.0], abs=1e-9)
