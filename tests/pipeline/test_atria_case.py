"""Both atria from the labels of a whole heart to fibres, by a case file."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from organtwin.cli import app
from organtwin.mesh.mesh_files import read_mesh

pytestmark = pytest.mark.slow

LABELS = Path(__file__).parents[2] / "meshes" / "wholeheart" / "wh.nii.gz"
VEINS = {
    "left": ([20, 37, -62], [22, 57, -79]), "right": ([-44, 29, -82], [-38, 49, -95]),
    "caval": ([-37, 9, -55], [-16, 34, -149]),
}  # fmt: skip
CASE = f"""
[source]
labels = "{LABELS}"
names = {{ left_atrium = 2, lv_blood = 3, right_atrium = 4, rv_blood = 5 }}
[labels]
keep = ["left_atrium", "lv_blood", "right_atrium", "rv_blood", "la_wall", "ra_wall"]
islands_below = "0.1 mL"
[labels.walls.la_wall]
around = "left_atrium"
thickness = "2.5 mm"
open = {[*VEINS["left"], *VEINS["right"]]}
[labels.walls.ra_wall]
around = "right_atrium"
thickness = "2.5 mm"
open = {[*VEINS["caval"]]}
[mesh]
size = "4 mm"
smallest = "2.5 mm"
[anatomy.left_atrium]
wall = "la_wall"
blood = "left_atrium"
mitral = "lv_blood"
left_veins = {[*VEINS["left"]]}
right_veins = {[*VEINS["right"]]}
appendage = [38, 0, -68]
[anatomy.right_atrium]
wall = "ra_wall"
blood = "right_atrium"
tricuspid = "rv_blood"
superior = [{VEINS["caval"][0]}]
inferior = [{VEINS["caval"][1]}]
appendage = [-11, -28, -70]
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    if not LABELS.exists():
        pytest.skip("the labels of the whole heart are not there")
    folder = tmp_path_factory.mktemp("atria")
    (folder / "case.toml").write_text(CASE)
    ended = CliRunner().invoke(
        app, ["mesh", str(folder / "case.toml"), "--out", str(folder / "out")]
    )
    assert ended.exit_code == 0, ended.output
    return folder / "out"


@pytest.fixture(scope="module")
def found(result):
    return read_mesh(result / "fields/anatomy.vtu")


def middles(mesh, wall):
    chosen = mesh.regions == mesh.region_names[wall]
    return mesh.points[mesh.cells[chosen]].mean(axis=1), chosen


def test_bundles_of_both_atria_have_cells(result):
    record = json.loads((result / "stages/anatomy/anatomy.json").read_text())
    volumes = {tissue["name"]: dict(tissue["parts"]) for tissue in record["tissues"]}
    assert set(volumes) == {"left_atrium", "right_atrium"}
    for parts in volumes.values():
        assert min(parts.values()) > 0.1, parts
    assert volumes["left_atrium"]["body"] == max(volumes["left_atrium"].values())


def test_fibres_run_around_the_veins(found):
    # Axes of the veins where they end, from the label: near +x on the left, -x on the right,
    # and along z for the caval veins.
    axes = {
        (20, 37, -62): (0.94, -0.12, 0.31), (-44, 29, -82): (-1.0, 0.0, 0.0),
        (-37, 9, -55): (-0.12, 0.21, 0.97),
    }  # fmt: skip
    for tip, axis in axes.items():
        x, chosen = middles(found, "ra_wall" if tip[2] == -55 else "la_wall")
        near = np.linalg.norm(x - tip, axis=1) < 11.0
        assert np.count_nonzero(near) > 30
        f = found.fibres["f0"][chosen][near]
        assert np.mean(np.abs(f @ np.array(axis)) / np.linalg.norm(axis)) < 0.35, tip


def test_bundles_lie_at_their_veins(found):
    left, chosen = middles(found, "la_wall")
    number = found.cell_values["bundle"][chosen]
    assert left[number == 2][:, 0].min() > left[number == 3][:, 0].max()
    right, chosen = middles(found, "ra_wall")
    number = found.cell_values["bundle"][chosen]
    # Superior cava above, inferior cava below, tricuspid ring in front of both.
    assert right[number == 5][:, 2].mean() > -80.0
    assert right[number == 3][:, 2].mean() < -135.0
    assert right[number == 1][:, 1].mean() < right[number == 3][:, 1].mean()
    # The pectinate muscles lie laterally (right), the septum towards the left atrium.
    assert right[number == 7][:, 0].mean() < right[number == 11][:, 0].mean()


def test_pictures_are_drawn(result):
    assert json.loads((result / "pictures/missing.json").read_text()) == {}
    for side in ("left", "right"):
        for what in ("fibres", "coordinates"):
            assert (result / f"pictures/{what}_{side}_atrium.png").stat().st_size > 5000


def test_an_end_that_is_no_vein_is_refused(result):
    case = result.parent / "case.toml"
    there = "labels.walls.la_wall.open=[[3, 58, -100]]"
    ended = CliRunner().invoke(
        app, ["mesh", str(case), "--out", str(result.parent / "no"), "--set", there]
    )
    assert ended.exit_code != 0
    assert "[labels.walls.la_wall] open" in " ".join(ended.output.split())
