"""Gaps, fillings, purchases and densities of shapes for which they are known."""

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.image.markups import Landmarks, write_markups
from organtwin.image.markups import Line as MarkupLine
from organtwin.image.volume import Grid, Image, LabelMap
from organtwin.landmarks.record import Landmark, Line, Plane, Point
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.surgery.fit import canal_fill, gap_map, plate_fit, require_fits, seated
from organtwin.surgery.placement import Device, Frame, planned, screw_at, stem_frame
from organtwin.surgery.screws import (
    CORTICAL,
    OUTSIDE,
    TRABECULAR,
    Screw,
    breach_grade,
    clearance,
    purchase,
    rod,
    shell,
    tissue_of_labels,
    tissue_of_scan,
    trajectory,
)
from organtwin.surgery.sides import (
    femur_side,
    require_label_sides,
    require_named_sides,
    require_near,
    require_side,
    side_of_name,
)
from tests.bone_shapes import ball, body

R, WALL = 14.0, 3.0


def sphere(radius, centre=(0.0, 0.0, 0.0), voxel=1.0):
    low = np.asarray(centre) - radius - 3
    return body(ball(radius, centre), low, low + 2 * radius + 6, voxel).surface("bone")


def inside_out(surface):
    return TriangleSurface(surface.points, surface.triangles[:, ::-1])


def tube(points):
    """Tissue of a long bone along z: a tube with a wall, marrow in it."""
    r = np.linalg.norm(points[:, :2], axis=1)
    there = (r <= R) & (np.abs(points[:, 2]) <= 60.0)
    return np.where(there, np.where(r >= R - WALL, CORTICAL, TRABECULAR), OUTSIDE)


def test_a_ball_off_the_middle_of_its_cavity_has_the_known_gaps():
    """d(cos a) runs evenly from R - r - e to R - r + e over a sphere, to first order in e."""
    found = gap_map(sphere(10.0, (0, 0, 0.8)), inside_out(sphere(11.0)))
    assert found.mean == pytest.approx(1.0, abs=0.05)
    assert found.largest_gap == pytest.approx(1.8, abs=0.05)
    assert found.largest_interference == 0.0
    assert found.share(0.6, 1.4) == pytest.approx(0.5, abs=0.03)
    assert sum(found.bands().values()) == pytest.approx(1.0)
    press = gap_map(sphere(11.4), inside_out(sphere(11.0)))
    assert press.largest_interference == pytest.approx(0.4, abs=0.05)
    assert press.share(high=-0.1) == pytest.approx(1.0)


def test_bodies_that_touch_share_nothing():
    host = body(ball(9.0), (-13, -13, -13), (13, 13, 13), 1.0)
    points = host.grid.points(np.indices(host.grid.shape).reshape(3, -1).T)
    touching = -host.field("bone")
    inner = ball(5.0)(points).reshape(host.grid.shape).astype(np.float32)
    cap = (points[:, 2] - 4.5).reshape(host.grid.shape).astype(np.float32)
    both = host.changed({"around": touching, "inner": inner, "above": -cap})
    assert both.shared("bone", "around") == pytest.approx(0.0, abs=1e-3)
    assert both.shared("bone", "inner") == pytest.approx(both.volume("inner"), rel=1e-6)
    assert both.shared("bone", "above") == pytest.approx(
        np.pi * 4.5**2 * (27.0 - 4.5) / 3.0, rel=0.03
    )


def test_a_gap_map_can_be_written(tmp_path):
    import pyvista as pv

    found = gap_map(rod([-4.0, 0, 3], [4.0, 0, 3], 4.0), sphere(5.0))
    found.write(tmp_path / "gap.vtp")
    assert pv.read(tmp_path / "gap.vtp").cell_data["gap"] == pytest.approx(found.distances)


def test_a_flat_plate_on_a_round_bone_has_the_distances_of_circle_and_tangent():
    bone = rod([0.0, 0, -60], [0.0, 0, 60], 2 * R, sides=160)
    # A rod of four sides, drawn out to a rhombus of 10 by 40 mm.
    box = rod([R + 0.5, 0, 0], [R + 3.5, 0, 0], 2.0, sides=4)
    span = np.ptp(box.points, axis=0)
    plate = TriangleSurface(box.points * [1.0, 10.0 / span[1], 40.0 / span[2]], box.triangles)
    fit = plate_fit(gap_map(plate, bone, fine=0.8), np.array([-1.0, 0, 0]), bands=(1.0, 2.0))
    assert fit.interference == 0.0
    y = np.linspace(-5.0, 5.0, 2001)
    exact = np.sqrt(y**2 + (R + 0.5) ** 2) - R
    weight = 5.0 - np.abs(y)
    assert fit.mean == pytest.approx(np.average(exact, weights=weight), abs=0.02)
    assert fit.largest == pytest.approx(exact.max(), abs=0.1)
    assert fit.area == pytest.approx(0.5 * 10.0 * 40.0, rel=1e-6)
    near = np.abs(y) < np.sqrt((R + 1.0) ** 2 - (R + 0.5) ** 2)
    assert fit.shares[1.0] == pytest.approx(weight[near].sum() / weight.sum(), abs=0.03)


def test_a_ball_is_seated_on_the_bone():
    bone = rod([0.0, 0, -40], [0.0, 0, 40], 2 * R, sides=96)
    start = sphere(5.0, (R + 20.0, 0, 0), 1.3)
    motion = seated(start, bone, np.array([-1.0, 0, 0]), clearance=0.5)
    assert motion.translation == pytest.approx([-14.5, 0, 0], abs=0.06)
    sunk = seated(sphere(5.0, (R + 2.0, 0, 0), 1.3), bone, np.array([-1.0, 0, 0]))
    assert sunk.translation == pytest.approx([3.0, 0, 0], abs=0.06)
    with pytest.raises(InputError, match="does not meet the bone"):
        seated(start, bone, np.array([1.0, 0, 0]))


def test_a_cone_fills_its_canal_more_and_more():
    canal = rod([0.0, 0, 0], [0.0, 0, 100], 16.0, sides=96)
    stem = rod([0.0, 0, -5], [0.0, 0, 105], 2.0, sides=96)
    shrunk = stem.points.copy()
    shrunk[:, :2] *= (4.0 + 0.05 * shrunk[:, 2])[:, None]  # radius from 4 mm at 0 to 9 at 100
    stem = TriangleSurface(shrunk, stem.triangles)
    axis = np.zeros(3), np.array([0.0, 0, 1])
    found = canal_fill(stem, canal, *axis, (20.0, 60.0, 90.0))
    assert [level.width_ratios[0] for level in found] == pytest.approx(
        [5 / 8, 7 / 8, 8.5 / 8], 3e-3
    )
    assert [level.area_ratio for level in found] == pytest.approx(
        [(5 / 8) ** 2, (7 / 8) ** 2, (8.5 / 8) ** 2], rel=3e-3
    )
    assert [level.outside for level in found] == pytest.approx([0.0, 0.0, 0.5], abs=0.02)
    require_fits(found, thickness=0.6)
    with pytest.raises(InputError, match=r"larger than the canal: 0\.5 mm into the cortex at 90"):
        require_fits(found, thickness=0.2)
    with pytest.raises(InputError, match="no level"):
        canal_fill(stem, canal, *axis, (300.0,))


def test_a_screw_across_a_tube_has_both_cortices():
    screw = Screw(np.array([-20.0, 0, 0]), np.array([16.0, 0, 0]), 3.5, 2.4)
    found = purchase(screw, tube)
    # On the circle of mean diameter the walls are hardly thicker than on the axis.
    assert found.near_cortex == pytest.approx(WALL, abs=0.15)
    assert found.far_cortex == pytest.approx(WALL, abs=0.15)
    assert found.cortical == pytest.approx(2 * WALL, abs=0.2)
    assert found.trabecular == pytest.approx(2 * (R - WALL), abs=0.2)
    assert found.outside == pytest.approx(8.0, abs=0.2)
    assert found.bicortical and found.tip_beyond == pytest.approx(2.0, abs=0.06)
    assert found.standoff == pytest.approx(6.0, abs=0.06)
    assert found.through == pytest.approx(34.0, abs=0.06)
    assert found.wall == 0.0


@pytest.mark.parametrize(("tip", "bicortical", "beyond"), [(5.0, False, -9.0), (11.5, False, -2.5),
                                                           (12.5, True, -1.5)])  # fmt: skip
def test_a_short_screw_holds_in_one_cortex(tip, bicortical, beyond):
    found = purchase(Screw(np.array([-20.0, 0, 0]), np.array([tip, 0, 0]), 3.5, 2.4), tube)
    assert found.bicortical is bicortical
    assert found.tip_beyond == pytest.approx(beyond, abs=0.06)


def test_a_lag_screw_holds_with_its_thread_only():
    lag = Screw(np.array([-20.0, 0, 0]), np.array([14.0, 0, 0]), 3.5, 2.4, thread=12.0)
    found = purchase(lag, tube)
    assert found.near_cortex == 0.0 and not found.bicortical
    assert found.trabecular == pytest.approx(9.0, abs=0.2)


def test_a_screw_beside_the_bone_is_refused():
    for entry, tip in (([-20.0, 15.5, 0], [16.0, 15.5, 0]), ([-40.0, 0, 0], [-16.0, 0, 0])):
        with pytest.raises(InputError, match=r"lies outside the bone: on its way of \d\d mm"):
            purchase(Screw(np.array(entry), np.array(tip), 3.5, 2.4, name="screw 3"), tube)
    with pytest.raises(InputError, match="core of 4 mm"):
        Screw(np.zeros(3), np.ones(3), 3.5, 4.0)


def test_a_screw_that_breaks_a_wall_is_measured_and_graded():
    """Along the bone, 2 mm too far out: the thread of 6 mm sticks out by 2 + 3 - 4."""
    narrow = shell(rod([0.0, 0, 0], [0.0, 0, 60], 8.0, sides=48), 1.0)
    off = Screw(np.array([2.0, 0, -4]), np.array([2.0, 0, 40]), 6.0, 4.0)
    assert purchase(off, narrow).wall == pytest.approx(1.0, abs=0.15)
    assert [breach_grade(x) for x in (0.0, 1.0, 2.0, 3.9, 5.0, 7.0)] == list("ABBCDE")
    canal = sphere(5.0, (12.0, 0, 30.0))
    assert clearance(off, canal) == pytest.approx(10.0 - 5.0 - 3.0, abs=0.02)
    assert clearance(Screw(np.array([8.0, 0, 0]), np.array([8.0, 0, 60]), 6.0, 4.0), canal) < -3.9


def test_labels_and_scans_tell_tissues():
    grid = Grid((31, 31, 21), np.ones(3), np.array([-15.0, -15, -10]), np.eye(3))
    points = grid.points(np.indices(grid.shape).reshape(3, -1).T)
    codes = tube(points).reshape(grid.shape).astype(np.uint8)
    labels = LabelMap(codes, {"spongy": 1, "cortex": 2}, grid.spacing, grid.origin, grid.direction)
    screw = Screw(np.array([-18.0, 0.2, 0.1]), np.array([15.0, 0.2, 0.1]), 3.5, 2.4)
    by_label = purchase(screw, tissue_of_labels(labels, ("cortex",), ("spongy",)))
    assert by_label.cortical == pytest.approx(2 * WALL, abs=1.0) and by_label.bicortical
    scan = Image(np.array([0, 150, 900], np.int16)[codes], grid, "HU")
    bone = rod([0.0, 0, -9], [0.0, 0, 9], 2 * R, sides=96)
    by_scan = purchase(screw, tissue_of_scan(scan, bone, 500.0))
    assert by_scan.cortical == pytest.approx(2 * WALL, abs=1.2)


def test_density_along_a_screw_is_the_mean_over_its_thread():
    """h = 100 + 5 x + r²: along x the profile is 100 + 5 x + (d² + D²) / 8."""
    grid = Grid((61, 41, 41), np.full(3, 0.5), np.array([-5.0, -10, -10]), np.eye(3))
    x, y, z = grid.points(np.indices(grid.shape).reshape(3, -1).T).T
    values = (100.0 + 5.0 * x + y**2 + z**2).reshape(grid.shape).astype(np.float32)
    screw = Screw(np.array([-4.0, 0, 0]), np.array([20.0, 0, 0]), 6.5, 4.5, thread=20.0)
    found = trajectory(screw, Image(values, grid, "HU"))
    assert found.along[0] == pytest.approx(4.25) and len(found.along) == 40
    exact = 100.0 + 5.0 * (found.along - 4.0) + (6.5**2 + 4.5**2) / 8.0
    assert found.values == pytest.approx(exact, abs=0.2)
    assert found.lowest < found.mean
    coarse = Image(values[::8, ::8, ::8], Grid((8, 6, 6), np.full(3, 4.0), grid.origin, np.eye(3)))
    notes = trajectory(screw, coarse).notes
    assert "Voxels of 4 x 4 x 4 mm are coarser" in notes[0] and "not HU" in notes[1]
    with pytest.raises(InputError, match=r"lies off it.*RAS"):
        trajectory(Screw(np.array([0.0, 0, 0]), np.array([0, 0, 30.0]), 6.5, 4.5), coarse)


def test_a_plan_is_overridden_by_markups(tmp_path):
    plan = (
        Landmark("screw_left", Line(np.zeros(3), np.array([0.0, 0, 40]))),
        Landmark("plate_1", Point(np.array([5.0, 0, 0]))),
        Landmark("neck_cut", Plane(np.zeros(3), np.array([0.0, 0, 1]))),
    )
    file = tmp_path / "plan.mrk.json"
    lower = np.array([1.0, 2.0, 3.0])
    write_markups(
        (MarkupLine("screw left", lower, lower + np.array([0, 0, 45.0])),
         Landmarks("points", np.array([[5.0, 0, 0]]), ("plate_1",))), file, coordinate_system="RAS",
    )  # fmt: skip
    made = {mark.name: mark for mark in planned(plan, file)}
    assert made["screw_left"].source == "markups plan.mrk.json"
    assert made["plate_1"].source == "automatic" and made["neck_cut"] is plan[2]
    screw = screw_at(made["screw_left"], 6.5, 4.5)
    assert screw.entry == pytest.approx(lower) and screw.length == pytest.approx(45.0)
    write_markups((MarkupLine("screw middle", lower, -lower),), file)
    with pytest.raises(InputError, match="no landmark `screw_middle`"):
        planned(plan, file)


def test_devices_are_placed_by_frames_and_points():
    points = {"tip": (0, 0, -80), "shoulder": (-5, 0, 0), "taper": (30, 0, 30)}
    stem = Device(
        "stem",
        rod([0.0, 0, 0], [0.0, 0, -80], 10.0),
        Frame.of(np.zeros(3), [0.0, 0, 1], [1.0, 0, 0]),
        {name: np.array(place, float) for name, place in points.items()},
    )
    head = np.array([-40.0, 0.0, 40.0])
    target = stem_frame(
        head, Line(np.zeros(3), head), Line(np.array([0.0, 0, 20]), np.array([0.0, 0, -80])),
        Plane(np.array([-14.0, 0, 14]), np.array([-1.0, 0, 1]) / np.sqrt(2)),
    )  # fmt: skip
    assert target.origin == pytest.approx([0, 0, 28])
    made = stem.at(target)
    assert made.points["tip"] == pytest.approx([0, 0, -52])
    assert made.points["taper"] == pytest.approx([-30, 0, 58])
    again, fit = stem.by_points(made.points)
    assert fit.rms < 1e-9 and again.frame.origin == pytest.approx(target.origin)
    with pytest.raises(InputError, match="parallel"):
        Frame.of(np.zeros(3), [0.0, 0, 1], [0.0, 0, -2])


def test_left_and_right_are_told_apart():
    assert side_of_name("femur_left") == "left" and side_of_name("R-tibia") == "right"
    assert side_of_name("tibia") is None and side_of_name("upright") is None
    values = np.zeros((20, 4, 4), np.uint8)
    values[3], values[15] = 1, 2
    swapped = LabelMap(values, {"hip_left": 1, "hip_right": 2}, np.ones(3), np.zeros(3), np.eye(3))
    with pytest.raises(InputError, match=r"`hip_left` lies at x = 3 mm, to the right of"):
        require_label_sides(swapped)
    good = LabelMap(values, {"hip_left": 2, "hip_right": 1}, np.ones(3), np.zeros(3), np.eye(3))
    require_label_sides(good)
    with pytest.raises(InputError, match="a left one, right was asked for"):
        require_side("right", "left", place="plate")
    require_side("right", None, place="plate")
    mark = Landmark("lesser_trochanter", Point(np.zeros(3)),
                    measures={"side (1 left, -1 right)": -1.0})  # fmt: skip
    assert femur_side([mark]) == "right" and femur_side([]) is None
    entry = Landmark("pedicle_left", Line(np.array([-12.0, 0, 0]), np.array([-5.0, -30, 0])))
    with pytest.raises(InputError, match="`pedicle_left` lies 12 mm to the right"):
        require_named_sides([entry], np.zeros(3), place="screws")


def test_landmarks_off_the_bone_say_what_would_fit():
    bone = sphere(10.0, (40.0, 25.0, 0.0))
    require_near([Landmark("a", Point(np.array([45.0, 25, 0])))], bone, place="plan")
    for at, match in (([-40.0, -25, 0], "were RAS"), ([-40.0, 25, 0], "Mirrored"),
                      ([40.0, 90, 0], "which bone")):  # fmt: skip
        with pytest.raises(InputError, match=match):
            require_near([Landmark("a", Point(np.array(at)))], bone, place="plan")
