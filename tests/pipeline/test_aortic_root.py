"""An aortic root measured from a real contrast CT, end to end."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from organtwin.aortic_root.measurements import measure_root
from organtwin.aortic_root.measures_file import write_measures
from organtwin.aortic_root.sizing import DeviceSize
from organtwin.cli import app
from organtwin.export.root_sheet import draw_root_sheet
from organtwin.image import markups
from organtwin.image.readers import read_image
from organtwin.landmarks.aorta import HINGES
from organtwin.landmarks.fits import angle
from organtwin.landmarks.record import find
from organtwin.mesh.mesh_files import read_mesh
from organtwin.segment.catalogue import segment
from organtwin.segment.recipe import Options

SCAN = Path(__file__).parents[2] / "meshes/aortic_root/ct_cropped.nii.gz"


@pytest.fixture(scope="module")
def real():
    image = read_image(SCAN)
    return image, segment(image, "heart_and_aorta_ct", Options(engine="own")).labels


@pytest.mark.slow
def test_a_real_root_is_measured_end_to_end(real, tmp_path):
    image, labels = real
    found = measure_root(image, labels)
    value = {name: one.value for name, one in found.quantities.items()}
    # A small root of 1.5 mm voxels without calcium. By eye, in its planes, the annulus has
    # 320 to 350 mm²; the other ranges are those of adults.
    assert 300.0 < value["annulus_area"] < 380.0
    assert 0.7 < value["annulus_ellipticity"] < 0.9
    assert 24.0 < value["junction_area_diameter"] < 34.0
    assert 26.0 < value["sinus_diameter_mean"] < 42.0
    assert 20.0 < value["aortic_angulation"] < 70.0
    assert 5.0 < value["coronary_height_left"] < 22.0
    assert found.calcium.lesions == 0
    assert found.calcium.blood.mean == pytest.approx(480.0, abs=25.0)
    # The leaflets show, and give an annulus as little tilted as in most people.
    tops = found.outlines["junction"].axes[2]
    assert angle(found.frame.axes[2], tops) < 25.0
    assert all(find(found.landmarks, name).confidence.value > 0.3 for name in HINGES)
    assert not any("hinge" in note for note in found.notes)
    devices = [DeviceSize("23", 22.74), DeviceSize("26", 25.71)]
    record = json.loads(write_measures(found, tmp_path / "root.json", devices).read_text())
    assert record["measures"]["annulus_area"]["unit"] == "mm²"
    assert set(record["oversizing"]) == {"23", "26"}
    sheet = draw_root_sheet(image, found, tmp_path / "root.png", title="root", devices=devices)
    assert sheet.stat().st_size > 100_000


@pytest.mark.slow
def test_hinge_points_placed_on_a_real_scan_win(real):
    image, labels = real
    before = measure_root(image, labels)
    up = before.frame.axes[2]
    hinge = find(before.landmarks, "hinge_left").geometry.at - 4.0 * up
    mine = markups.Landmarks("points", hinge[None], ("hinge_left",))
    found = measure_root(image, labels, overrides=[mine])
    placed = find(found.landmarks, "hinge_left")
    assert np.linalg.norm(placed.geometry.at - hinge) < 1e-6
    assert 5.0 < angle(found.frame.axes[2], up) < 30.0


@pytest.mark.slow
def test_a_real_root_is_meshed_by_one_command(tmp_path):
    out = tmp_path / "root.msh"
    command = ["root", str(SCAN), "--mesh", str(out), "--leaflets", "open", "--size", "2 mm"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    mesh = read_mesh(out)
    assert {"wall", "leaflet_right", "leaflet_left", "leaflet_non"} == set(mesh.region_names)
    assert {"inner", "ostium_left", "membranous_septum"} <= set(mesh.facet_names)
    assert f"{len(mesh.cells)} cells" in result.output
