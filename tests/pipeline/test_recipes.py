"""Recipes on phantoms, on the real scans where they are at hand, and through the command line."""

import functools
import importlib.metadata
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from organtwin.cli import app
from organtwin.errors import InputError, SetupError
from organtwin.image.slicer import read_slicer, write_slicer
from organtwin.image.volume import Grid, Image, LabelMap, Sequence
from organtwin.landmarks.catalogue import landmarks_of
from organtwin.landmarks.record import find
from organtwin.segment.agreement import agreement, compare, structures
from organtwin.segment.catalogue import RECIPES, recipes, segment
from organtwin.segment.cine_reading import short_and_long
from organtwin.segment.morphology import opened
from organtwin.segment.recipe import Options
from organtwin.segment.references import read_names, read_references

SHARED = Path(__file__).parents[3] / "shared/data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data here")
OWN = Options(engine="own")


def on_grid(low, high, spacing):
    shape = tuple(int(n) for n in np.ceil((np.array(high) - low) / spacing))
    grid = Grid(shape, np.full(3, float(spacing)), np.array(low, float), np.eye(3))
    return grid, np.moveaxis(np.indices(shape), 0, -1) * grid.spacing + grid.origin


def tube(where, start, end, radius):
    start, axis = np.array(start, float), np.subtract(end, start).astype(float)
    along = np.clip((where - start) @ axis / (axis @ axis), 0.0, 1.0)
    return np.linalg.norm(where - start - along[..., None] * axis, axis=-1) <= radius


def ball(where, centre, radius):
    return np.linalg.norm(where - centre, axis=-1) <= radius


def chest(*, dissected):
    """Blood at 400 HU in an aorta, a left ventricle and atrium; spine, lung and fat around it."""
    grid, where = on_grid((-45, -40, -75), (65, 95, 105), 2.0)
    x, y, z = np.moveaxis(where, -1, 0)
    arch = (np.hypot(np.hypot(y - 28, z - 60) - 28, x) <= 11) & (z >= 60)
    aorta = (
        tube(where, (0, 0, 8), (0, 0, 60), 13) | arch | tube(where, (0, 56, 60), (0, 56, -80), 11)
    )
    ventricle = ball(where, (24, 4, -30), 22) & ~aorta
    outflow = tube(where, (0, 0, 0), (14, 4, -20), 7) & ~aorta & ~ventricle
    atrium = ball(where, (0, 28, -4), 13)
    wall = ball(where, (24, 4, -30), 32) | tube(where, (0, 0, 0), (0, 0, 60), 15)
    spine = np.hypot(x + 22, y - 80) <= 13
    values = np.full(grid.shape, -90.0)
    values[wall], values[spine] = 90.0, 180.0
    values[spine & (np.hypot(x + 22, y - 80) >= 11)] = 600.0
    values[aorta | ventricle | outflow | atrium] = 400.0
    false = np.zeros_like(aorta)
    if dissected:
        false = tube(where, (10, 62, 30), (10, 62, -80), 13) & ~aorta
        values[false] = 190.0
    values += np.random.default_rng(3).normal(0.0, 20.0, values.shape)
    values[0, 0, 0] = -1000.0
    truth = {"aorta": aorta | false, "aorta_false_lumen": false, "lv_blood": ventricle}
    return Image(values.astype(np.int16), grid, "HU"), truth


@functools.cache
def segmented_chest(*, dissected):
    return segment(chest(dissected=dissected)[0], "heart_and_aorta_ct", OWN)


@pytest.mark.parametrize("dissected", [False, True])
def test_aorta_and_chambers_of_a_phantom(dissected):
    image, truth = chest(dissected=dissected)
    found = segmented_chest(dissected=dissected)
    masks = structures(found.labels, found.wholes)
    dice = {row.name: row.dice for row in agreement(masks, truth, image.grid)}
    assert dice["aorta"] > 0.9
    assert dice["lv_blood"] > 0.9
    assert ("aorta_false_lumen" in found.labels.names) == dissected
    if dissected:
        assert dice["aorta_false_lumen"] > 0.8
        false = masks["aorta_false_lumen"]  # no rim of the true lumen's wall
        assert opened(false, image.grid, 2.0).sum() > 0.93 * false.sum()
    parts = ("aortic_root", "ascending_aorta", "aortic_arch", "descending_aorta")
    assert set(parts) < set(found.labels.names)
    heights = {p: image.grid.points(np.argwhere(found.labels.mask(p)))[:, 2].mean() for p in parts}
    assert heights["aortic_root"] < heights["ascending_aorta"] < heights["aortic_arch"]
    assert heights["descending_aorta"] < heights["aortic_arch"]
    assert found.engine.startswith("organtwin") and found.thresholds["contrast"] > 200.0
    assert found.seeds["ascending aorta"][0] == pytest.approx(0.0, abs=4.0)


def test_labels_of_the_recipe_show_the_valves_of_the_left_heart():
    found = landmarks_of("ventricles", segmented_chest(dissected=False).labels)
    names = {landmark.name for landmark in found}
    assert "aortic_valve" in names and "lv_opening" not in names
    valve = find(found, "aortic_valve").geometry
    assert np.linalg.norm(valve.centre - [8.0, 2.0, -6.0]) < 12.0


def test_axes_of_the_file_do_not_matter():
    image, _ = chest(dissected=False)
    turned = sitk.DICOMOrient(image.to_sitk(), "SAR")
    again = segment(Image.from_sitk(turned, "HU"), "heart_and_aorta_ct", OWN).labels
    back = sitk.GetArrayFromImage(sitk.DICOMOrient(again.to_sitk(), "LPS")).transpose(2, 1, 0)
    assert (back == segmented_chest(dissected=False).labels.values).mean() > 0.999


def leg(*, metal=False):
    """A hollow bone with a gap in its cortex."""
    grid, where = on_grid((-40, -40, -30), (40, 40, 30), 2.0)
    x, y, z = np.moveaxis(where, -1, 0)
    bone = (np.hypot(x, y) <= 22) & (np.abs(z) <= 24)
    core = (np.hypot(x, y) <= 17) & (np.abs(z) <= 20)
    values = np.where(bone, 900.0, 40.0)
    values[core] = 160.0
    values[bone & ~core & (np.abs(x) <= 2) & (y > 0) & (np.abs(z) <= 6)] = 30.0
    if metal:
        values[ball(where, (0, 0, 0), 8)] = 3000.0
    values += np.random.default_rng(4).normal(0.0, 10.0, values.shape)
    values[0, 0, 0] = -1000.0
    return Image(values.astype(np.int16), grid, "HU"), bone, core


def test_cortical_and_trabecular_bone_of_a_phantom():
    image, bone, core = leg()
    found = segment(image, "bone_ct", OWN)
    masks = structures(found.labels, found.wholes)
    assert compare("bone", masks["bone"], bone, image.grid).dice > 0.98
    assert compare("cortex", masks["bone_cortical"], bone & ~core, image.grid).dice > 0.95
    assert "metal" not in found.labels.names
    assert 160.0 < found.thresholds["cortical"] < 900.0
    steel = segment(leg(metal=True)[0], "bone_ct", OWN).labels
    assert steel.volume_ml("metal") == pytest.approx(4.0 / 3.0 * np.pi * 0.8**3, rel=0.1)


def test_what_cannot_be_segmented_is_refused():
    image, *_ = leg()
    assert recipes() == tuple(RECIPES)
    with pytest.raises(InputError, match="Did you mean `bone_ct`"):
        segment(image, "bone_CT")
    with pytest.raises(InputError, match="no engine"):
        segment(image, "bone_ct", Options(engine="total"))
    with pytest.raises(InputError, match="Hounsfield"):
        segment(Image(image.values, image.grid, "MR"), "bone_ct", OWN)
    with pytest.raises(InputError, match="sequence"):
        segment(Sequence((image,), np.zeros(1)), "bone_ct", OWN)
    with pytest.raises(InputError, match="single image"):
        segment(image, "lv_cine_mr", OWN)
    soft = Image(np.clip(image.values, -1000, 60), image.grid, "HU")
    with pytest.raises(InputError, match="no contrast"):
        segment(soft, "heart_and_aorta_ct", OWN)
    with pytest.raises(InputError, match="no vessel"):
        block = np.full(image.grid.shape, 40, np.int16)
        block[2:38, 5:15, 5:25] = 400
        segment(Image(block, image.grid, "HU"), "heart_and_aorta_ct", OWN)


def test_short_axis_is_the_largest_group_of_parallel_scans():
    def scan(direction):
        grid = Grid((8, 8, 1), np.ones(3), np.zeros(3), np.array(direction, float))
        return Sequence((Image(np.zeros((8, 8, 1), np.int16), grid, "MR"),), np.zeros(1))

    axial, coronal = np.eye(3), np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    scans = [scan(coronal), scan(axial), scan(axial), scan(np.diag([1, -1, -1]))]
    short, long = short_and_long(scans)
    assert short == scans[1:] and long == scans[:1]
    with pytest.raises(InputError, match="no cine"):
        short_and_long([])


# --- other programs -------------------------------------------------------------------------------


def fake_totalsegmentator(monkeypatch, masks, *, stop=None):
    """TotalSegmentator's entry point, writing masks of some names; returns what it was asked."""
    asked = {}

    def totalsegmentator(
        input, output=None, ml=False, nr_thr_resamp=1, nr_thr_saving=6, fast=False,  # noqa: A002
        nora_tag="None", preview=False, task="total", roi_subset=None, statistics=False,
        radiomics=False, crop_path=None, body_seg=False, force_split=False, output_type="nifti",
        quiet=False, verbose=False, test=0, skip_saving=False, device="gpu", license_number=None,
        statistics_exclude_masks_at_border=True, no_derived_masks=False, v1_order=False,
        fastest=False, roi_subset_robust=None,
    ):  # fmt: skip
        if stop is not None:
            raise stop
        assert type(roi_subset) is list and not ml
        asked.update(task=task, classes=roi_subset, device=device, fast=fast)
        scan = sitk.ReadImage(str(input))
        Path(output).mkdir()
        for name in roi_subset:
            mask = masks.get(name, np.zeros(scan.GetSize(), bool))
            image = sitk.GetImageFromArray(mask.transpose(2, 1, 0).astype(np.uint8))
            image.CopyInformation(scan)
            sitk.WriteImage(image, str(Path(output) / f"{name}.nii.gz"))

    api = types.ModuleType("totalsegmentator.python_api")
    api.totalsegmentator = totalsegmentator
    monkeypatch.setitem(sys.modules, "totalsegmentator", types.ModuleType("totalsegmentator"))
    monkeypatch.setitem(sys.modules, "totalsegmentator.python_api", api)
    real = importlib.metadata.version
    monkeypatch.setattr(
        "organtwin.segment.outside.version",
        lambda name: "2.4.0" if name == "TotalSegmentator" else real(name),
    )
    return asked


@pytest.fixture
def nothing_installed(monkeypatch):
    for name in ("totalsegmentator", "totalsegmentator.python_api", "monai", "monai.bundle"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("engine", ["auto", "totalsegmentator"])
def test_totalsegmentator_is_used_where_it_is_installed(monkeypatch, engine):
    image, bone, core = leg()
    half = bone & (np.arange(bone.shape[0]) < 20)[:, None, None]
    asked = fake_totalsegmentator(monkeypatch, {"femur_left": half, "hip_left": bone & ~half})
    found = segment(image, "bone_ct", Options(engine=engine, fast=True))
    assert found.engine.startswith("TotalSegmentator 2.4.0 with organtwin")
    assert "TotalSegmentator 2.4.0 found bone" in found.decisions[0]
    assert asked["task"] == "total" and asked["device"] == "cpu" and asked["fast"]
    assert {"femur_left", "vertebrae_L5", "rib_right_12"} < set(asked["classes"])
    masks = structures(found.labels, found.wholes)
    assert (masks["bone"] == bone).all()
    assert compare("cortex", masks["bone_cortical"], bone & ~core, image.grid).dice > 0.95


def test_its_aorta_is_taken_and_divided(monkeypatch):
    image, truth = chest(dissected=True)
    fake_totalsegmentator(monkeypatch, {"aorta": truth["aorta"]})
    found = segment(image, "heart_and_aorta_ct", Options())
    masks = structures(found.labels, found.wholes)
    assert compare("aorta", masks["aorta"], truth["aorta"], image.grid).dice > 0.98
    assert "aorta_false_lumen" in masks and "lv_blood" in masks


def test_a_failure_of_another_program_is_told(monkeypatch):
    image, *_ = leg()
    fake_totalsegmentator(monkeypatch, {}, stop=SystemExit(1))
    found = segment(image, "bone_ct", Options())
    assert found.engine.startswith("organtwin") and "failed" in found.decisions[0]
    with pytest.raises(InputError, match="gave up"):
        segment(image, "bone_ct", Options(engine="totalsegmentator"))
    fake_totalsegmentator(monkeypatch, {}, stop=RuntimeError("no weights"))
    assert "no weights" in segment(image, "bone_ct", Options()).decisions[0]


@pytest.mark.parametrize("engine", ["totalsegmentator", "monai"])
def test_a_missing_program_is_refused_only_if_asked_for(nothing_installed, engine):
    image, *_ = leg()
    with pytest.raises(SetupError, match=r"isn't installed.*pip install"):
        segment(image, "bone_ct", Options(engine=engine))
    assert segment(image, "bone_ct", Options()).engine.startswith("organtwin")


def test_a_monai_bundle_is_run_where_one_is_given(monkeypatch, tmp_path, nothing_installed):
    image, bone, _ = leg()
    configs = tmp_path / "wholeBody_ct_segmentation" / "configs"
    configs.mkdir(parents=True)
    (configs / "inference.json").write_text("{}")
    table = {"0": "background", "1": "spleen", "88": "femur_left", "90": "hip_left"}
    outputs = {"pred": {"channel_def": table}}
    (configs / "metadata.json").write_text(
        json.dumps({"network_data_format": {"outputs": outputs}})
    )
    steps = []

    class ConfigWorkflow:
        def __init__(
            self, config_file, meta_file=None, logging_file=None, init_id="initialize",
            run_id="run", final_id="finalize", tracking=None, workflow_type=None, **override,
        ):  # fmt: skip
            assert Path(config_file).is_file() and Path(meta_file).is_file()
            assert workflow_type == "infer"
            self.settings = override

        def initialize(self):
            steps.append("initialize")

        def run(self):
            steps.append("run")
            scan = sitk.ReadImage(self.settings["datalist"][0])
            labels = sitk.GetImageFromArray(88.0 * bone.transpose(2, 1, 0).astype(np.float32))
            labels.CopyInformation(scan)
            folder = Path(self.settings["output_dir"]) / "scan"
            folder.mkdir(parents=True)
            sitk.WriteImage(labels, str(folder / "scan_trans.nii.gz"))

        def finalize(self):
            steps.append("finalize")

    package = types.ModuleType("monai.bundle")
    package.ConfigWorkflow = ConfigWorkflow
    monkeypatch.setitem(sys.modules, "monai", types.ModuleType("monai"))
    monkeypatch.setitem(sys.modules, "monai.bundle", package)
    found = segment(image, "bone_ct", Options(bundle=configs.parent))
    assert found.engine.startswith("monai") and steps == ["initialize", "run", "finalize"]
    assert (structures(found.labels, found.wholes)["bone"] == bone).all()
    assert segment(image, "bone_ct", Options()).engine.startswith("organtwin")
    with pytest.raises(InputError, match="no bundle"):
        segment(image, "bone_ct", Options(engine="monai", bundle=tmp_path))


# --- command line ---------------------------------------------------------------------------------


def organtwin(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_labels_go_to_slicer_and_back_with_report_and_picture(tmp_path):
    image, bone, _ = leg()
    sitk.WriteImage(image.to_sitk(), str(tmp_path / "leg.nii.gz"))
    grid = image.grid
    truth = LabelMap(
        bone.astype(np.uint8), {"hip_left": 1}, grid.spacing, grid.origin, grid.direction
    )
    write_slicer(truth, tmp_path / "truth.seg.nrrd")
    assert "bone_ct" in organtwin("segment", "recipes")
    out = tmp_path / "out" / "leg.seg.nrrd"
    text = organtwin(
        "segment", tmp_path / "leg.nii.gz", "--recipe", "bone_ct", "-o", out, "--engine", "own",
        "--reference", tmp_path / "truth.seg.nrrd", "--picture",
    )  # fmt: skip
    assert "Dice" in text and "organtwin" in text
    report = json.loads((tmp_path / "out" / "leg.json").read_text())
    (row,) = report["agreement"]
    assert row["name"] == "bone" and row["dice"] > 0.98 and row["mean_distance"] < 1.0
    assert report["scan"] == "leg.nii.gz" and report["seconds"] >= 0.0
    assert (tmp_path / "out" / "leg.png").stat().st_size > 20_000

    labels = read_slicer(out)
    assert labels.colours and set(labels.labels.names) == {"bone_trabecular", "bone_cortical"}
    values = labels.labels.values.copy()
    values[20, 20, :] = 0
    lost = int(np.count_nonzero(labels.labels.values[20, 20]))
    mine = LabelMap(values, labels.labels.names, grid.spacing, grid.origin, grid.direction)
    write_slicer(mine, tmp_path / "mine.seg.nrrd")
    text = organtwin(
        "segment", tmp_path / "leg.nii.gz", "-o", out, "--corrected", tmp_path / "mine.seg.nrrd"
    )
    assert "removed" in text
    rows = json.loads((tmp_path / "out" / "leg.json").read_text())["correction"]
    removed = sum(row["removed"] for row in rows)
    assert removed == pytest.approx(lost * 8.0 / 1000.0) and not any(r["added"] for r in rows)


def test_command_line_says_what_is_missing(tmp_path):
    assert "no recipe" in organtwin("segment", tmp_path / "leg.nii.gz", code=2)
    wrong = organtwin("segment", "leg.nii.gz", "--recipe", "bone_ct", "-o", "x.nrrd", code=2)
    assert ".seg.nrrd" in wrong


# --- the real scans -------------------------------------------------------------------------------


@needs_shared
@pytest.mark.slow
def test_heart_and_aorta_of_a_patient_with_a_dissection_and_a_stent():
    from organtwin.image.readers import read_image

    folder = SHARED / "aorta-ct"
    image = read_image(folder / "ct_cropped.nii.gz")
    found = segment(image, "heart_and_aorta_ct", OWN)
    files = [folder / f"{n}.nii.gz" for n in ("aorta", "aorta_true_lumen", "aorta_false_lumen")]
    files.append(SHARED / "heart-ct" / "pulmonary_artery.nii.gz")
    masks = structures(found.labels, found.wholes)
    rows = agreement(masks, read_references(files, image.grid), image.grid)
    dice = {row.name: row.dice for row in rows}
    assert dice["aorta"] > 0.92 and dice["aorta_true_lumen"] > 0.92
    assert dice["aorta_false_lumen"] > 0.85 and dice["pulmonary_artery"] > 0.7
    assert {row.name: row.mean_distance for row in rows}["aorta"] < 1.5
    heart = read_references([SHARED / "heart-ct" / "heart.nii.gz"], image.grid)["heart"]
    for name in ("lv_blood", "rv_blood"):
        assert (masks[name] & heart).sum() > 0.95 * masks[name].sum()
    assert 90.0 < found.labels.volume_ml("lv_blood") < 150.0


@needs_shared
@pytest.mark.slow
def test_bones_of_a_torso():
    from organtwin.image.readers import read_image

    folder = SHARED / "torso-ct"
    image = read_image(folder / "example_ct.nii.gz")
    found = segment(image, "bone_ct", OWN)
    reference = read_references(
        [folder / "example_seg_fast_force_split.nii.gz"], image.grid,
        names=read_names(folder / "label_names.json"), unions=RECIPES["bone_ct"].wanted.regions,
    )  # fmt: skip
    (row,) = agreement(structures(found.labels, found.wholes), reference, image.grid)
    assert row.name == "bone" and row.dice > 0.88 and abs(row.volume_difference) < 0.05
    assert found.labels.volume_ml("metal") > 5.0
