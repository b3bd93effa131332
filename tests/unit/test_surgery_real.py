"""A broken plateau, a drilled vertebra and a femur for a stem, from real images."""

from pathlib import Path

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.image.readers import read_image, read_labels
from organtwin.landmarks.catalogue import landmarks_of
from organtwin.landmarks.fits import unit
from organtwin.landmarks.record import Landmark, Line, find
from organtwin.mesh.conforming.ladder import conform
from organtwin.mesh.conforming.route import MeshOptions
from organtwin.mesh.conforming.sizes import Sizes
from organtwin.mesh.surface_files import read_surface
from organtwin.surgery.bodies import bodies_of_labels, bodies_of_surfaces
from organtwin.surgery.cuts import calcar_height, neck_resection, remove, resection_plane
from organtwin.surgery.fit import canal_fill, require_fits
from organtwin.surgery.fractures import depress, displace, floating, split
from organtwin.surgery.interfaces import apart
from organtwin.surgery.reduction import faces_on, fit_faces, step_off
from organtwin.surgery.rigid import Rigid
from organtwin.surgery.screws import (
    Screw,
    clearance,
    purchase,
    rod,
    shell,
    tissue_of_scan,
    trajectory,
)
from organtwin.surgery.sides import (
    femur_side,
    require_label_sides,
    require_named_sides,
    require_near,
    require_side,
)
from organtwin.surgery.tools import HalfSpace, Plug, Sheet

MESHES = Path(__file__).parents[2] / "meshes"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plateau():
    """Tibia of the knee atlas, directions at its lateral plateau, and a split of it."""
    knee = read_labels(MESHES / "knee/seg.nrrd", {"tibia": 96, "fibula": 97})
    marks = landmarks_of("tibia", knee)
    up = find(marks, "tibial_plateau").geometry.normal
    lateral, medial = (find(marks, f"plateau_{s}").geometry.at for s in ("lateral", "medial"))
    out = unit((lateral - medial) - ((lateral - medial) @ up) * up)
    front = np.cross(out, up)
    places = ((-18, 0, 3), (0, 0, 0), (18, 0, 2), (-14, -18, 7), (0, -18, 6), (14, -18, 8),
              (-8, -34, 16), (8, -34, 17))  # fmt: skip
    points = np.array([lateral + (4.0 + c) * out + a * front + b * up for a, b, c in places])
    bodies = bodies_of_labels(knee, ("tibia",), voxel=1.0, margin=15.0)
    assert bodies.volume_ml("tibia") == pytest.approx(knee.volume_ml("tibia"), rel=2e-3)
    border = Sheet(points, lateral + 60.0 * out)
    made = split(bodies, "tibia", border, ("fragment", "tibia"), gap=0.2)
    return {"bodies": bodies, "split": made, "border": border, "up": up, "out": out,
            "front": front, "lateral": lateral}  # fmt: skip


def test_a_split_and_depression_of_a_real_plateau(plateau):
    up, out, front, lateral = (plateau[k] for k in ("up", "out", "front", "lateral"))
    made, whole = plateau["split"], plateau["bodies"]
    assert 3000.0 < made.volumes["fragment"] < 9000.0
    assert made.lost == pytest.approx(0.2 * made.area, rel=0.25)
    turn = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    ring = np.array([lateral - 5.5 * out + 7.0 * np.cos(t) * out + 10.0 * np.sin(t) * front
                     for t in turn])  # fmt: skip
    pressed = depress(made.bodies, "tibia", Plug(ring, -up, 9.0), "pressed", 6.0, gap=0.2)
    # What it pushes away and what it leaves above is its outline times the way.
    assert pressed.crushed["tibia"] == pytest.approx(6.0 * np.pi * 70.0, rel=0.1)
    assert pressed.void == pytest.approx(6.0 * np.pi * 70.0, rel=0.1)
    surfaces = pressed.bodies.surfaces()
    step = step_off(surfaces["pressed"], surfaces["tibia"], up,
                    region=HalfSpace(lateral - 9.0 * up, up))  # fmt: skip
    assert step.mean_step == pytest.approx(-6.0, abs=0.6)
    away = Rigid.by(4.0 * out - 1.0 * up).after(Rigid.turn(front, -4.0, lateral - 35.0 * up))
    opened = displace(pressed.bodies, "fragment", away, yields=("tibia",))
    assert floating(opened.bodies, ("tibia",), {}) == (("fragment",), ("pressed",))
    entry = lateral + 22.0 * out - 9.0 * up
    lag = Screw(entry, entry - 75.0 * out, 6.5, 4.5, thread=32.0)
    assert floating(made.bodies, ("tibia",), {"lag": lag.surface()}) == ()
    held = purchase(lag, shell(whole.surface("tibia"), 1.5))
    assert held.trabecular == pytest.approx(32.0, abs=0.1) and not held.bicortical
    with pytest.raises(InputError, match="outside the bone"):
        purchase(Screw(entry + 30 * up, lag.tip + 30 * up, 6.5, 4.5), shell(
            whole.surface("tibia"), 1.5))  # fmt: skip


def test_a_real_fragment_is_put_back_by_its_face(plateau):
    made, border = plateau["split"].bodies, plateau["border"]
    up, out, front, lateral = (plateau[k] for k in ("up", "out", "front", "lateral"))
    surfaces = made.surfaces()
    away = Rigid.by(4.0 * out - 3.0 * up + 2.0 * front).after(Rigid.turn(front, -6.0, lateral))
    gone = away.surface(surfaces["fragment"])
    faces = [faces_on(surfaces[name], border, 0.5) for name in ("fragment", "tibia")]
    fit = fit_faces(gone, faces[0], surfaces["tibia"], faces[1], gap=0.2)
    left = fit.motion.points(gone.points) - surfaces["fragment"].points
    assert fit.rms < 0.1
    # Along the face the rims of voxels of 1 mm hold it, by parts of a voxel.
    assert np.linalg.norm(left, axis=1).max() < 1.0


def test_a_broken_real_tibia_is_meshed_with_its_gap(plateau):
    mesh = conform(
        apart(plateau["split"].bodies), MeshOptions(Sizes(5.0), crease=40.0), "tibia"
    ).mesh
    for name in ("fragment", "tibia"):
        assert mesh.volume(name) == pytest.approx(plateau["split"].volumes[name], rel=0.03)


def test_pedicle_screws_in_a_real_vertebra():
    folder = MESHES / "torso"
    scan = read_image(folder / "example_ct.nii.gz")
    labels = read_labels(
        folder / "example_seg_fast_force_split.nii.gz",
        {"L3": 29, "spinal_cord": 79, "hip_left": 77, "hip_right": 78},
    )
    require_label_sides(labels)
    bodies = bodies_of_labels(labels, ("L3", "spinal_cord"), voxel=1.0)
    bone, canal = bodies.surface("L3"), bodies.surface("spinal_cord")
    lines = {
        "screw_left": Line(np.array([22.5, -101.0, 322.5]), np.array([8.5, -146.0, 318.5])),
        "screw_right": Line(np.array([-19.7, -101.0, 322.5]), np.array([-5.7, -146.0, 318.5])),
    }
    marks = [Landmark(name, line) for name, line in lines.items()]
    middle = bone.points.mean(axis=0)
    require_named_sides(marks, middle, place="plan")
    require_near(marks, bone, place="plan")
    turned = [Landmark(m.name, Line(m.geometry.start * [-1, -1, 1], m.geometry.end * [-1, -1, 1]))
              for m in marks]  # fmt: skip
    with pytest.raises(InputError, match="were RAS"):
        require_near(turned, bone, place="plan")
    with pytest.raises(InputError, match="right of the middle"):
        require_named_sides(turned, middle, place="plan")
    for name, line in lines.items():
        screw = Screw(line.start, line.end, 6.25, 4.4, thread=40.0, name=name)
        hole = remove(bodies, screw.pilot(), ("L3",), place=name)
        assert hole.volumes["L3"] == pytest.approx(np.pi * 2.2**2 * screw.length, rel=0.15)
        held = purchase(screw, tissue_of_scan(scan, bone, 250.0))
        assert held.cortical + held.trabecular > 39.0 and held.tip_beyond < -10.0
        assert held.wall < 2.0 and clearance(screw, canal) > 1.0
        along = trajectory(screw, scan)
        # Dense in the pedicle, spongy in the body.
        assert along.values[:20].mean() > 1.5 * along.values[-20:].mean()
        assert 80.0 < along.lowest < along.mean < 350.0
        assert "coarser than the thread" in along.notes[0]


def test_a_real_femur_is_resected_and_too_large_a_stem_refused():
    femur = read_surface(MESHES / "femur/m4_lfemur_mm.stl")
    marks = landmarks_of("femur", femur)
    assert femur_side(marks) == "left"
    with pytest.raises(InputError, match="it is a left one, right was asked for"):
        require_side("right", femur_side(marks), place="femur")
    bodies = bodies_of_surfaces({"femur": femur}, 1.5)
    assert bodies.volume("femur") == pytest.approx(femur.volume, rel=2e-3)
    plane = resection_plane(femur, marks, height=12.0, tilt=40.0)
    assert calcar_height(femur, plane, marks) == pytest.approx(12.0, abs=0.1)
    made = neck_resection(bodies, "femur", marks, height=12.0, tilt=40.0, stop=4.0, kerf=1.0)
    head = find(marks, "femoral_head").geometry
    assert made.bodies.at("femur_head", head.centre[None])[0] < -15.0
    assert made.volumes["femur_head"] > 4.0 / 3.0 * np.pi * head.radius**3
    shaft = find(marks, "femoral_shaft_axis").geometry
    bodies = made.bodies.changed({"canal": bodies.field("femur") + np.float32(7.0)})
    canal = bodies.surface("canal")
    stems = [rod(shaft.start, shaft.end, width) for width in (10.0, 26.0)]
    fills = [canal_fill(stem, canal, shaft.start, shaft.end, (10.0, 20.0, 30.0)) for stem in stems]
    require_fits(fills[0], thickness=0.5)
    with pytest.raises(InputError, match="larger than the canal"):
        require_fits(fills[1], thickness=0.5)
