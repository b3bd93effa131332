"""Landmarks of real scans and bones, against independent fits and what labels say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from organtwin.export.landmark_pictures import draw_landmarks, draw_root
from organtwin.image.readers import read_image, read_labels
from organtwin.image.volume import LabelMap
from organtwin.landmarks.catalogue import landmarks_of
from organtwin.landmarks.fits import fit_plane
from organtwin.landmarks.hips import surface_of
from organtwin.landmarks.record import find
from organtwin.landmarks.root import Lumen, unroll
from organtwin.landmarks.sinuses import look_at
from organtwin.mesh.surface_files import read_surface

SHARED = Path(__file__).parents[3] / "shared/data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data here")
SIDE = "side (1 left, -1 right)"
CHAMBERS = {
    "lv_myocardium": 1, "left_atrium": 2, "lv_blood": 3, "right_atrium": 4, "rv_blood": 5,
    "aorta": 6, "pulmonary_artery": 7,
}  # fmt: skip


def coarser(labels, step):
    values = np.ascontiguousarray(labels.values[::step, ::step, ::step])
    return replace(labels, values=values, spacing=step * labels.spacing)


def tilt(one, other):
    return np.degrees(np.arccos(np.clip(abs(one @ other), 0.0, 1.0)))


@needs_shared
def test_head_of_a_scanned_femur_agrees_with_another_fit():
    surface = read_surface(SHARED / "femur/m4_lfemur_mm.stl")
    found = landmarks_of("femur", surface)
    head = find(found, "femoral_head")
    # Another fit: absolute distances of all vertices on the side away from the neck.
    medial = -find(found, "femoral_neck_axis").geometry.direction
    away = surface.points - head.geometry.centre
    near = (np.linalg.norm(away, axis=1) < 29.0) & (away @ medial > 0.0)

    def off(x):
        return np.linalg.norm(surface.points[near] - x[:3], axis=1) - x[3]

    start = [*(head.geometry.centre + 3.0), 20.0]
    other = least_squares(off, start, loss="soft_l1", f_scale=0.2).x
    assert np.linalg.norm(other[:3] - head.geometry.centre) < 0.5
    assert abs(other[3] - head.geometry.radius) < 0.5
    assert head.confidence.value > 0.7
    assert find(found, "lesser_trochanter").measures[SIDE] == 1.0
    assert 105.0 < find(found, "femoral_neck_axis").measures["neck-shaft angle °"] < 145.0


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize(
    ("organ", "file"),
    [
        ("femur", "femur/m4_lfemur_mm.stl"),
        ("femur", "devices/comodo_bones/femur.stl"),
        ("tibia", "knee-atlas/Model_96_tibia.vtk"),
    ],
)
def test_pose_of_a_scanned_bone_does_not_matter(organ, file):
    surface = read_surface(SHARED / file)
    turn, shift = Rotation.from_rotvec([0.4, 2.0, -1.0]), np.array([300.0, -80.0, 5.0])
    moved = replace(surface, points=turn.apply(surface.points) + shift)
    for one, other in zip(landmarks_of(organ, surface), landmarks_of(organ, moved), strict=True):
        for key, value in vars(one.geometry).items():
            there = turn.apply(value) if np.ndim(value) else value
            there = there + shift if np.ndim(value) and key != "normal" else there
            assert np.abs(there - getattr(other.geometry, key)).max() < 1e-6, one.name


@needs_shared
@pytest.mark.slow
def test_whole_femur_is_a_right_one_with_anteversion(tmp_path):
    surface = read_surface(SHARED / "devices/comodo_bones/femur.stl")
    found = landmarks_of("femur", surface)
    line, small = (find(found, n) for n in ("posterior_condylar_line", "lesser_trochanter"))
    # Two independent looks at the side: the condyles below, the lesser trochanter above.
    assert line.measures[SIDE] == small.measures[SIDE] == -1.0
    assert 0.0 < line.measures["anteversion °"] < 30.0
    draw_landmarks(surface, found, tmp_path / "femur.png", title="femur")
    assert (tmp_path / "femur.png").stat().st_size > 20_000


@needs_shared
@pytest.mark.slow
def test_tibia_from_surface_and_from_labels_agree():
    model = read_surface(SHARED / "knee-atlas/Model_96_tibia.vtk", space="RAS")
    names = {"tibia": 96, "fibula": 97}
    labels = read_labels(SHARED / "knee-atlas/seg.nrrd", names)
    one = find(landmarks_of("tibia", model), "tibial_plateau")
    found = landmarks_of("tibia", labels)
    other = find(found, "tibial_plateau")
    assert tilt(one.geometry.normal, other.geometry.normal) < 3.0
    assert abs(one.geometry.height(other.geometry.centre)) < 1.5
    fibula = labels.points(np.argwhere(labels.mask("fibula"))).mean(axis=0)
    lateral, medial = (find(found, n).geometry.at for n in ("plateau_lateral", "plateau_medial"))
    assert np.linalg.norm(lateral - fibula) < np.linalg.norm(medial - fibula)
    # 46 mm of bone are too little for an axis, and it says so.
    assert find(found, "tibial_axis").confidence.value < 0.1 < other.confidence.value


@needs_shared
@pytest.mark.slow
def test_heads_and_sockets_of_both_hips_agree():
    names = {"femur_left": 75, "femur_right": 76, "hip_left": 77, "hip_right": 78}
    labels = read_labels(SHARED / "torso-ct/example_seg_fast_force_split.nii.gz", names)
    found = landmarks_of("hips", labels)
    for side in ("left", "right"):
        head, cup = (find(found, f"{n}_{side}") for n in ("femoral_head", "acetabulum"))
        assert np.linalg.norm(head.geometry.centre - cup.geometry.centre) < 3.0
        assert head.geometry.centre[0] * (1.0 if side == "left" else -1.0) > 0.0
        assert head.confidence.value > 0.4
    assert surface_of(labels, "femur_left").volume > 0.0


@needs_shared
@pytest.mark.slow
def test_valves_of_a_whole_heart_do_not_hang_on_the_voxel_size():
    labels = read_labels(SHARED / "wholeheart-labels/wh.nii.gz", CHAMBERS)
    fine, coarse = (landmarks_of("ventricles", coarser(labels, step)) for step in (2, 4))
    for one, other in zip(fine, coarse, strict=True):
        assert one.name == other.name
        if hasattr(one.geometry, "normal"):
            assert tilt(one.geometry.normal, other.geometry.normal) < 15.0
            assert np.linalg.norm(one.geometry.centre - other.geometry.centre) < 4.0
        if hasattr(one.geometry, "at"):
            assert np.linalg.norm(one.geometry.at - other.geometry.at) < 5.0
    names = {"mitral_valve", "aortic_valve", "tricuspid_valve", "pulmonary_valve", "lv_apex"}
    assert names <= {landmark.name for landmark in fine}
    root = landmarks_of("aorta", coarser(labels, 2))
    annulus = find(root, "aortic_annulus").geometry
    valve = find(fine, "aortic_valve").geometry
    # Hinge points from the shape of the root against the contact of both labels.
    assert tilt(annulus.normal, valve.normal) < 15.0
    assert abs(annulus.height(valve.centre)) < 5.0


@needs_shared
@pytest.mark.slow
def test_root_of_a_contrast_scan(tmp_path):
    scan = read_image(SHARED / "aorta-ct/ct_cropped.nii.gz")
    labels = read_labels(SHARED / "aorta-ct/aorta.nii.gz", {"aorta": 1})
    found = landmarks_of("aorta", labels, image=scan)
    annulus, junction = (find(found, n) for n in ("aortic_annulus", "sinotubular_junction"))
    assert 18.0 < annulus.geometry.diameter < 32.0
    assert 22.0 < junction.geometry.diameter < 36.0
    assert 12.0 < junction.measures["height over the annulus mm"] < 28.0
    # The label alone ends near the annulus: less is known, and it says so.
    alone = landmarks_of("aorta", labels)
    assert find(alone, "aortic_annulus").confidence.value < annulus.confidence.value
    draw_root(scan, found, tmp_path / "root.png", title="root")
    assert (tmp_path / "root.png").stat().st_size > 20_000


@needs_shared
@pytest.mark.slow
def test_a_vessel_without_a_root_is_not_trusted():
    names = {
        "aorta": 1
    }  # in truth the pulmonary artery, whose longest way leads through both lungs
    labels = read_labels(SHARED / "heart-ct/pulmonary_artery.nii.gz", names)
    assert isinstance(labels, LabelMap)
    found = landmarks_of("aorta", labels)
    assert find(found, "aortic_annulus").confidence.value < 0.1
    assert find(found, "sinotubular_junction").confidence.value < 0.1


@needs_shared
@pytest.mark.slow
def test_junction_of_the_pulmonary_trunk_agrees_with_its_label():
    folder = SHARED / "heart-ct"
    scan = read_image(folder / "ct_cropped.nii.gz")
    trunk = read_labels(folder / "pulmonary_artery.nii.gz", {"trunk": 1})
    planes = []
    for name in ("pul_annulus", "pul_sinotubular_junction"):
        labels = read_labels(folder / f"{name}.nii.gz", {"slab": 1})
        planes.append(fit_plane(labels.points(np.argwhere(labels.mask("slab")))))
    valve, there = planes
    lumen = Lumen.of_image(scan, trunk.mask("trunk"))
    junction = look_at(lumen, unroll(lumen, valve.centre, there.centre)).junction
    assert tilt(junction.normal, there.normal) < 10.0
    assert abs(junction.height(there.centre)) < 3.0
