"""Cases of implants whose input is wrong: each is told by name, with a remedy, before any solve."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import meshio
import numpy as np
import pytest
import SimpleITK as sitk
from mpi4py import MPI

from organtwin.case.implant_pipeline import run_implant
from organtwin.case.implant_plan import left_out
from organtwin.case.load import load_implant_case
from organtwin.case.manifest import read_manifest
from organtwin.errors import InputError
from organtwin.image.markups import Line, write_markups
from organtwin.image.readers import write_labels
from organtwin.image.segmentations import read_segmentation

ROOT = Path(__file__).parents[2]
SCREWS = ROOT / "demos/pedicle_screw/case.toml"
STEM = ROOT / "demos/hip_stem/case.toml"
TORSO = ROOT / "demos/hip_stem/torso.toml"
CT = ROOT / "meshes/torso/example_ct.nii.gz"
LABELS = ROOT / "meshes/torso/example_seg_fast_force_split.nii.gz"
FEMUR = ROOT / "meshes/femur/m4_lfemur_mm.stl"


def planned(case, folder, *settings):
    """Result directory of a case's first stage."""
    found = load_implant_case(case, settings)
    return run_implant(found, out=folder / "out", only={"plan"}, comm=MPI.COMM_SELF)


def scan(folder, change):
    """Setting of a CT whose values are changed."""
    image = sitk.ReadImage(str(CT))
    values = change(sitk.GetArrayFromImage(image).astype(np.float32)).astype(np.float32)
    found = sitk.GetImageFromArray(values)
    found.CopyInformation(image)
    sitk.WriteImage(found, str(folder / "ct.nii.gz"))
    return f'bone.scan="{folder / "ct.nii.gz"}"'


def labels(folder, change):
    """Settings of labels of L3 and its canal that are changed."""
    found = read_segmentation(LABELS, ["vertebrae_L3", "spinal_cord"]).labels
    write_labels(change(found), folder / "labels.nrrd")
    names = ", ".join(f"{name} = {k}" for name, k in found.names.items())
    return f'bone.labels="{folder / "labels.nrrd"}"', f"bone.names={{{names}}}"


def surface(folder, change):
    """Setting of a femur whose triangles are changed."""
    mesh = meshio.read(FEMUR)
    points, triangles = change(mesh.points.copy(), mesh.cells_dict["triangle"])
    meshio.Mesh(points, [("triangle", triangles)]).write(folder / "femur.stl")
    return f'bone.surface="{folder / "femur.stl"}"'


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda hu: np.clip(hu, -1024, 1023), r"1023 HU: it is cut off .* 12 bits"),
        (lambda hu: hu - 1024, r"the intercept was used twice. Add 1024"),
        (lambda hu: hu + 1024, r"not HU. Read the CT from its DICOM series"),
    ],
)  # fmt: skip
def test_hounsfield_units_that_are_none(tmp_path, change, told):
    with pytest.raises(InputError, match=told):
        planned(SCREWS, tmp_path, scan(tmp_path, change))


def test_a_mirrored_ct_under_labels_that_are_not(tmp_path):
    with pytest.raises(InputError, match=r"no bone\. Look at both .*left and right swapped"):
        planned(SCREWS, tmp_path, scan(tmp_path, lambda hu: hu[:, :, ::-1]))


def test_labels_that_are_moved(tmp_path):
    def away(found):
        return dataclasses.replace(found, origin=np.asarray(found.origin) + 2000.0)

    with pytest.raises(InputError, match=r"lies outside of the CT"):
        planned(SCREWS, tmp_path, *labels(tmp_path, away))


def test_a_label_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"no segment is called .* Did you mean `vertebrae_L3`"):
        planned(SCREWS, tmp_path, 'bone.label="vertebrae_L33"')


def test_the_other_side_of_the_body(tmp_path):
    told = r"it is a left one, right was asked for.*mirrored \(left and right swapped\)"
    with pytest.raises(InputError, match=told):
        planned(STEM, tmp_path, "bone.side=right")
    mirrored = surface(tmp_path, lambda points, cells: (points * [-1, 1, 1], cells[:, ::-1]))
    with pytest.raises(InputError, match=r"it is a right one, left was asked for"):
        planned(STEM, tmp_path, mirrored)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda points, cells: (points, cells[200:]), r"no closed surface: .* --repair"),
        (lambda points, cells: (points / 1000, cells), r"in metres instead of mm"),
    ],
)  # fmt: skip
def test_surfaces_that_are_open_or_in_metres(tmp_path, change, told):
    with pytest.raises(InputError, match=told):
        planned(STEM, tmp_path, surface(tmp_path, change))


def test_a_stem_that_is_larger_than_the_canal(tmp_path):
    with pytest.raises(InputError, match=r"stem 8: it leaves .* smaller size"):
        planned(STEM, tmp_path, 'hip_stem.size="8"')
    with pytest.raises(InputError, match=r"no size `9`"):
        planned(STEM, tmp_path, 'hip_stem.size="9"')


def test_a_femur_without_its_shaft(tmp_path):
    def above(points, cells):
        z = points[:, 2]
        low = z.max() - 120.0
        points[:, 2] = np.maximum(z, low)  # what lies below becomes its flat end
        return points, cells

    with pytest.raises(InputError, match=r"shaft"):
        planned(STEM, tmp_path, surface(tmp_path, above))


def middle(name):
    """Centre of a label of the CT (LPS, mm)."""
    found = read_segmentation(LABELS, [name]).labels
    return found.points(np.argwhere(found.mask(name))).mean(axis=0)


@pytest.mark.parametrize(
    ("of", "to_the_left", "told"),
    [
        ("vertebrae_L3", 70.0, r"screw_left"),  # beside the bone
        ("spinal_cord", 3.0, r"canal"),
        ("vertebrae_L3", -20.0, r"screw_left.* right"),
    ],
)
def test_a_screw_beside_the_bone_in_the_canal_or_on_the_other_side(tmp_path, of, to_the_left, told):
    at = middle(of)
    at[0] += to_the_left
    at[2] = middle("vertebrae_L3")[2]
    ahead = np.array([0.0, -25.0, 0.0])
    line = Line("screw_left", at - ahead, at + ahead)
    write_markups([line], tmp_path / "plan.mrk.json")
    with pytest.raises(InputError, match=told):
        planned(SCREWS, tmp_path, f'bone.landmarks="{tmp_path / "plan.mrk.json"}"')


def test_pieces_that_hang_on_nothing_are_told():
    found = read_segmentation(LABELS, ["vertebrae_L3"]).labels
    assert left_out(found, "vertebrae_L3") == ()
    values = found.values.copy()
    front = np.flatnonzero(found.mask("vertebrae_L3").any(axis=(0, 2))).min() - 6
    i, _, k = np.round(np.argwhere(found.mask("vertebrae_L3")).mean(axis=0)).astype(int)
    values[i - 2 : i + 3, front - 2 : front + 2, k - 2 : k + 3] = found.names["vertebrae_L3"]
    (told,) = left_out(dataclasses.replace(found, values=values), "vertebrae_L3")
    assert "in 2 pieces" in told
    assert "2.7 mL are left out" in told  # 100 voxels of 3 mm


def test_the_command_tells_it_in_one_message(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "organtwin", "run", str(STEM), "--out", str(tmp_path / "out"),
         "--set", 'hip_stem.size="8"'],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr + done.stdout
    assert "Take a smaller size" in " ".join((done.stderr + done.stdout).split())


@pytest.mark.slow
def test_a_ct_without_calibration_is_told_in_the_record(tmp_path):
    out = planned(SCREWS, tmp_path, "bone.calibration=default")
    assert any("not calibrated" in one for one in read_manifest(out)["decisions"])
