"""Loads of bones: frames of both sides, published sizes, forces spread over patches."""

from dataclasses import replace

import numpy as np
import pytest
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.landmarks.record import Landmark, Line, Plane, Point
from organtwin.mechanics.terms import Fields
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.orthopaedics.anatomical_frames import (
    AnatomicalFrame,
    femoral_frame,
    stem_frame,
    tibial_frame,
    vertebral_frame,
)
from organtwin.orthopaedics.hip_loads import HIP_LOADS, attachments, hip_load
from organtwin.orthopaedics.joint_loads import weight_of
from organtwin.orthopaedics.knee_loads import KNEE_LOADS, axial_load, knee_load
from organtwin.orthopaedics.spine_loads import SPINE_LOADS, screw_load, spine_load
from organtwin.orthopaedics.spread_loads import Patch, SpreadForces
from organtwin.surgery.placement import Frame
from organtwin.surgery.sides import MEASURE
from organtwin.verify.geometry import box

WEIGHT = weight_of(75.0)
MIRROR = np.array([-1.0, 1.0, 1.0])
HEAD = np.array([50.0, -10.0, 60.0])  # LPS, of a left femur whose shaft is the z axis at x = 95


def mirrored(landmarks):
    def flip(geometry):
        return replace(geometry, **{
            name: value * MIRROR for name, value in vars(geometry).items()
            if isinstance(value, np.ndarray)
        })  # fmt: skip

    return [
        replace(one, geometry=flip(one.geometry),
                measures={name: -value if name == MEASURE else value
                          for name, value in one.measures.items()})
        for one in landmarks
    ]  # fmt: skip


def femur(*, condyles=True):
    shaft = Line(np.array([95.0, 0.0, -20.0]), np.array([95.0, 0.0, -300.0]))
    found = [
        Landmark("femoral_head_centre", Point(HEAD)),
        Landmark("femoral_shaft_axis", shaft),
        Landmark("femoral_neck_axis", Line(HEAD, np.array([95.0, 0.0, 20.0]))),
        Landmark("lesser_trochanter", Point(np.zeros(3)), measures={MEASURE: 1.0}),
    ]
    line = Line(np.array([120.0, 30.0, -400.0]), np.array([60.0, 30.0, -395.0]))
    if condyles:
        found.append(Landmark("posterior_condylar_line", line, measures={MEASURE: 1.0}))
    return found


def tibia(*, overhang=6.0):
    return [
        Landmark("tibial_plateau", Plane(np.array([0.0, overhang, 0]), np.array([0.0, 0.0, 1.0]))),
        Landmark("tibial_axis", Line(np.array([0.0, 0.0, -20.0]), np.array([0.0, 0.0, -120.0]))),
        Landmark("plateau_medial", Point(np.array([-22.0, overhang, 0.0]))),
        Landmark("plateau_lateral", Point(np.array([22.0, overhang, 0.0]))),
    ]  # of a left knee: medial is towards the right, -x in LPS


# --- frames -------------------------------------------------------------------------------------


def test_axes_of_a_femur_are_medial_anterior_proximal():
    frame = femoral_frame(femur())
    np.testing.assert_allclose(frame.axes, [[-1, 0, 0], [0, -1, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_array_equal(frame.origin, HEAD)
    assert (frame.side, np.linalg.det(frame.axes)) == ("left", pytest.approx(1.0))
    x = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(frame.place(frame.point(x)), x)
    np.testing.assert_allclose(frame.components(frame.vector(x)), x)


def test_a_line_placed_the_other_way_round_makes_the_same_frame():
    turned = [
        replace(one, geometry=Line(one.geometry.end, one.geometry.start))
        if one.name in ("posterior_condylar_line", "femoral_shaft_axis") else one
        for one in femur()
    ]  # fmt: skip
    np.testing.assert_allclose(femoral_frame(turned).axes, femoral_frame(femur()).axes, atol=1e-12)


@pytest.mark.parametrize("condyles", [True, False])
def test_forces_on_a_right_femur_are_those_of_a_left_one_in_the_mirror(condyles):
    left = femoral_frame(femur(condyles=condyles))
    right = femoral_frame(mirrored(femur(condyles=condyles)))
    assert (left.side, right.side) == ("left", "right")
    for name in ("walking", "stairs_up"):
        one, other = (hip_load(name).in_mesh(frame, WEIGHT) for frame in (left, right))
        assert one.keys() == other.keys()
        for place, force in one.items():
            np.testing.assert_allclose(other[place], force * MIRROR, rtol=1e-12)
        # The joint pushes outwards, backwards and down, the abductors pull inwards and up (LPS).
        np.testing.assert_array_equal(np.sign(one["head"]), [1, 1, -1])
        assert one["greater_trochanter"][0] < 0.0 < one["greater_trochanter"][2]
        assert one["vastus_lateralis"][1] < 0.0  # forwards, to the patella


def test_without_condyles_the_neck_tells_what_is_medial():
    version = np.degrees(np.arctan2(10.0, 45.0))  # of the neck to the line behind the condyles
    bare = femur(condyles=False)
    np.testing.assert_allclose(
        femoral_frame(bare, anteversion=version).axes, femoral_frame(femur()).axes, atol=1e-12
    )
    assert "no condyles" in femoral_frame(bare).notes[1]
    neck = femoral_frame(bare, anteversion=0.0)
    assert neck.axes[0] @ [-1, 0, 0] == pytest.approx(np.cos(np.radians(version)))


def test_the_side_has_to_be_told():
    bare = [one for one in femur(condyles=False) if one.name != "lesser_trochanter"]
    with pytest.raises(InputError, match="left or a right"):
        femoral_frame(bare)
    assert femoral_frame(bare, side="right").side == "right"
    assert "Beware" in femoral_frame(femur(), side="right").notes[0]
    with pytest.raises(InputError, match="side"):
        femoral_frame(bare, side="both")
    with pytest.raises(InputError, match="no head"):
        femoral_frame(bare[1:], side="left")
    with pytest.raises(InputError, match="right angles"):
        AnatomicalFrame(np.zeros(3), 2 * np.eye(3), "left")


def test_axes_of_a_tibia():
    frame = tibial_frame(tibia())
    np.testing.assert_allclose(frame.axes, [[-1, 0, 0], [0, -1, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(frame.origin, [0.0, 6.0, 0.0])
    other = tibial_frame(mirrored(tibia()))
    assert (frame.side, other.side) == ("left", "right")
    np.testing.assert_allclose(other.axes, frame.axes * MIRROR, atol=1e-12)
    with pytest.raises(InputError, match="front and back"):
        tibial_frame(tibia(overhang=0.5))
    assert tibial_frame(tibia(overhang=0.5), side="left").side == "left"
    tilted = tibia()
    tilted[0] = Landmark("tibial_plateau", Plane(np.zeros(3), np.array([0.0, -0.1, -0.995])))
    up = tibial_frame(tilted, along="plateau").axes[2]
    np.testing.assert_allclose(up, np.array([0, 0.1, 0.995]) / np.hypot(0.1, 0.995), atol=1e-12)
    with pytest.raises(InputError, match="along"):
        tibial_frame(tibia(), along="floor")


def test_frames_of_a_vertebra_and_of_a_stem():
    vertebra = vertebral_frame(Frame(np.zeros(3), np.eye(3)))  # x left, y back, z up
    np.testing.assert_array_equal(vertebra.axes, np.diag([1.0, -1.0, 1.0]))
    medial = Frame(np.zeros(3), np.array([[-1.0, 0, 0], [0, -1.0, 0], [0, 0, 1.0]]))
    np.testing.assert_array_equal(stem_frame(medial, "left").axes, medial.axes)
    other = Frame(np.zeros(3), np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]))
    np.testing.assert_array_equal(stem_frame(other, "right").axes, medial.axes * MIRROR)


# --- loads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size"),
    [("walking", 2.38), ("stairs_up", 2.51), ("walking_measured", 2.465),
     ("one_legged_stance", 2.599), ("stumbling", 8.7)],
)  # fmt: skip
def test_sizes_of_hip_forces_are_the_published_ones(name, size):
    alone = hip_load(name).only("joint")
    force = alone.in_mesh(femoral_frame(femur()), WEIGHT)["head"]
    assert np.linalg.norm(force) == pytest.approx(size * WEIGHT, rel=0.003)


def test_sums_over_the_muscles_at_the_trochanter():
    force = hip_load("walking").in_mesh(femoral_frame(femur()), 1e6)["greater_trochanter"]
    np.testing.assert_allclose(force, 1e4 * np.array([-64.7, -15.2, 80.7]))


def test_the_bench_test_of_a_stem():
    load = hip_load("iso_7206_4")
    x, y, z = load.in_mesh(AnatomicalFrame(np.zeros(3), np.eye(3), "left"))["head"]
    assert np.linalg.norm([x, y, z]) == pytest.approx(2.3e6)
    assert np.degrees(np.arctan(x / z)) == pytest.approx(10.0)
    assert np.degrees(np.arctan(y / z)) == pytest.approx(9.0)
    assert z < 0.0
    assert load.least * 2300.0 == pytest.approx(300.0)


def test_knee_forces_are_split_between_both_halves():
    frame = tibial_frame(tibia())
    forces = knee_load("walking", medial=0.6).in_mesh(frame, WEIGHT)
    np.testing.assert_allclose(forces["plateau_medial"], [0, 0, -0.6 * 2.61 * WEIGHT], atol=1e-6)
    np.testing.assert_allclose(forces["plateau_lateral"], [0, 0, -0.4 * 2.61 * WEIGHT], atol=1e-6)
    bench = axial_load(1500.0).in_mesh(frame)
    assert sum(bench.values())[2] == pytest.approx(-1.5e6)
    part = knee_load("stairs_up").scaled(0.2).in_mesh(frame, WEIGHT)
    assert sum(part.values())[2] == pytest.approx(-0.2 * 3.16 * WEIGHT)
    for bad in (lambda: knee_load("walking", medial=1.2), lambda: axial_load(-1.0),
                lambda: knee_load("jumping")):  # fmt: skip
        with pytest.raises(InputError):
            bad()


def test_spine_and_screw_forces():
    frame = vertebral_frame(Frame(np.zeros(3), np.eye(3)))
    force = spine_load("standing").in_mesh(frame)["endplate_upper"]
    np.testing.assert_allclose(force, [0, 0, -5e5])
    own = AnatomicalFrame(np.zeros(3), np.eye(3))
    for kind, way in (("pull_out", [0, 0, 1]), ("toggle", [1, 0, 0])):
        found = screw_load("screw_left", kind, 300.0).in_mesh(own)
        np.testing.assert_allclose(found["screw_left_head"], 3e5 * np.array(way))
    with pytest.raises(InputError, match="pull_out"):
        screw_load("screw_left", "twist")


def test_every_load_tells_where_it_comes_from():
    for load in (*HIP_LOADS.values(), *KNEE_LOADS.values(), *SPINE_LOADS.values()):
        assert load.phase and load.places and all(force.source for force in load.forces)
        assert len(load.sources()) >= 1
        assert load.read or any("not read" in told for told in load.sources())
    assert hip_load("one_legged_stance").read
    assert not hip_load("walking").read


def test_bad_loads_are_refused():
    frame = femoral_frame(femur())
    for weight in (None, 75.0, 735.0):  # kg and N instead of mN
        with pytest.raises(InputError, match="body weight"):
            hip_load("walking").in_mesh(frame, weight)
    with pytest.raises(InputError, match="frame of a stem, not of a femur"):
        hip_load("iso_7206_4").in_mesh(frame)
    with pytest.raises(InputError, match="mass"):
        weight_of(75e3)
    with pytest.raises(InputError, match="no load `walk`"):
        hip_load("walk")
    with pytest.raises(InputError, match="no force of `psoas`"):
        hip_load("walking").only("psoas")
    with pytest.raises(InputError, match="least"):
        replace(hip_load("walking"), least=1.0)
    with pytest.raises(InputError, match="frame"):
        replace(hip_load("walking"), frame="skull")


def test_muscles_attach_where_the_bone_is():
    frame = AnatomicalFrame(np.zeros(3), np.eye(3), "left")  # medial, anterior, proximal
    turn = np.linspace(0.0, 2.0 * np.pi, 60, endpoint=False)
    ring = np.stack([15.0 * np.cos(turn) - 45.0, 15.0 * np.sin(turn)], axis=1)
    shaft = [np.column_stack([ring, np.full(60, z)]) for z in np.arange(-140.0, 5.0, 2.5)]
    points = np.concatenate([*shaft, [[-62.0, -5.0, 8.0]]])
    surface = TriangleSurface(points, np.zeros((0, 3), np.int64))
    found, notes = attachments(surface, frame, 25.0)
    np.testing.assert_array_equal(found["greater_trochanter"], [-62.0, -5.0, 8.0])
    assert found["vastus_lateralis"][0] < -58.0
    assert abs(found["vastus_lateralis"][2] + 80.0) < 4.0
    assert found["vastus_medialis"][0] > -35.0 and found["vastus_medialis"][1] > 5.0
    assert not notes
    short = TriangleSurface(points[points[:, 2] > -97.0], surface.triangles)
    assert "vastus_medialis" in attachments(short, frame, 25.0)[1][0]
    with pytest.raises(InputError, match="ends"):
        attachments(TriangleSurface(points[points[:, 2] > -40.0], surface.triangles), frame, 25.0)
    with pytest.raises(InputError, match="trochanter"):
        attachments(surface, replace(frame, origin=np.array([-90.0, 0.0, 0.0])), 25.0)


# --- spreading ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spread():
    domain = box(MPI.COMM_WORLD, (20.0, 20.0, 10.0), (8, 8, 4))
    term = SpreadForces(domain, {
        "muscle": Patch((5.0, 6.0, 10.0), ("z1",), 4.5),
        "beside": Patch((8.0, 6.0, 10.0), ("z1",), 4.5),  # shares facets with it
        "joint": Patch((20.0, 5.0, 25.0), ("x1",)),  # a point off the surface, as a head's centre
    })  # fmt: skip
    space = fem.functionspace(domain.mesh, ("P", 1, (3,)))
    u = fem.Function(space)
    fields = Fields(u, None, u, ufl.TestFunction(space), None,
                    fem.Constant(domain.mesh, 1e9), 0)  # fmt: skip
    return domain, term, fem.form(-term.form(domain, fields)), space


def resultants(spread, point):
    """Sum and moment about a point of the consistent nodal forces."""
    _, _, form, space = spread
    vector = fem_petsc.assemble_vector(form)
    nodes = vector.array.reshape(-1, 3)
    arm = space.tabulate_dof_coordinates()[: len(nodes)] - point
    return nodes.sum(axis=0), np.cross(arm, nodes).sum(axis=0)


def test_spread_forces_have_the_resultant_that_was_asked_for(spread):
    _, term, _, _ = spread
    force, moment = np.array([3.0, -20.0, 50.0]), np.array([10.0, 200.0, -30.0])
    for name in term.patches:
        point = np.array(term.patches[name].point)
        term.set({name: force})
        found, about = resultants(spread, point)
        np.testing.assert_allclose(found, force, rtol=1e-10)
        np.testing.assert_allclose(about, 0.0, atol=1e-8)
        term.set({name: force}, {name: moment})
        np.testing.assert_allclose(resultants(spread, point)[1], moment, rtol=1e-9)


def test_patches_that_overlap_add_up(spread):
    _, term, _, _ = spread
    one, other = np.array([0.0, 0.0, 7.0]), np.array([1.0, 0.0, 5.0])
    term.set({"muscle": one, "beside": other})
    point = np.array(term.patches["muscle"].point)
    force, moment = resultants(spread, point)
    np.testing.assert_allclose(force, one + other, atol=1e-9)
    np.testing.assert_allclose(moment, np.cross([3.0, 0.0, 0.0], other), atol=1e-8)
    term.set({})
    np.testing.assert_allclose(resultants(spread, point)[0], 0.0, atol=1e-12)


def test_areas_of_patches(spread):
    _, term, _, _ = spread
    assert term.areas["joint"] == pytest.approx(200.0)
    assert term.areas["muscle"] == pytest.approx(np.pi * 4.5**2, rel=0.25)
    assert term.shift["muscle"] < 1.5


def test_bad_patches_are_refused(spread):
    domain, term, _, _ = spread
    with pytest.raises(InputError, match=r"nearest is \d"):
        SpreadForces(domain, {"a": Patch((5.0, 5.0, 30.0), ("z1",), 3.0)})
    with pytest.raises(InputError, match="no surface"):
        SpreadForces(domain, {"a": Patch((5.0, 5.0, 30.0), ("skin",))})
    with pytest.raises(InputError, match="no patches"):
        SpreadForces(domain, {})
    with pytest.raises(InputError, match="Patches: muscle"):
        term.set({"psoas": np.zeros(3)})
    with pytest.raises(InputError, match="finite"):
        term.set({"muscle": np.full(3, np.nan)})
