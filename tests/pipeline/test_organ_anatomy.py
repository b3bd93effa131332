"""A vessel from labels to fibres on the mesh, by its case file."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from organtwin.cli import app
from organtwin.image.slicer import write_slicer
from organtwin.image.volume import LabelMap
from organtwin.mesh.mesh_files import read_mesh

pytestmark = pytest.mark.slow

CASE = """
[source]
labels = "labels.seg.nrrd"
[mesh]
size = "5 mm"
by_region = { wall = "3.5 mm" }
[[mesh.near]]
point = [0.0, 0.0, 17.0]
size = "3.5 mm"
distance = "2 mm"
[anatomy.vessels.pipe]
wall = "wall"
lumen = "blood"
inlet = [0.0, 0.0, 0.0]
outlets = [[0.0, 0.0, 34.0]]
[output]
formats = ["vtu", "carp"]
"""


def run(*arguments):
    return CliRunner().invoke(app, ["mesh", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("vessel")
    x = np.stack(np.indices((20, 20, 18)), axis=3) - [9.5, 9.5, 0.0]
    radius = np.hypot(x[..., 0], x[..., 1])
    values = np.select([radius < 5.0, radius < 8.0], [1, 2], 0).astype(np.uint8)
    origin = np.array([-19.0, -19.0, 0.0])
    labels = LabelMap(values, {"blood": 1, "wall": 2}, np.full(3, 2.0), origin, np.eye(3))
    write_slicer(labels, path / "labels.seg.nrrd")
    (path / "case.toml").write_text(CASE)
    return path


@pytest.fixture(scope="module")
def result(folder):
    out = folder / "out"
    ended = run(folder / "case.toml", "--out", out)
    assert ended.exit_code == 0, ended.output
    return out


def test_fibres_run_around_the_vessel_in_all_files(result):
    for name in ("fields/anatomy.vtu", "mesh.vtu", "mesh.pts"):
        mesh = read_mesh(result / name)
        length = np.linalg.norm(mesh.fibres["f0"], axis=1)
        wall = np.isclose(length, 1.0)
        assert (wall | np.isclose(length, 0.0)).all()
        middles = mesh.points[mesh.cells[wall]].mean(axis=1)
        inside = np.abs(middles[:, 2] - 17.0) < 10.0
        around = np.cross([0.0, 0.0, 1.0], middles * [1.0, 1.0, 0.0])
        around /= np.linalg.norm(around, axis=1, keepdims=True)
        cosine = np.abs(np.einsum("ij,ij->i", mesh.fibres["f0"][wall], around))[inside]
        assert np.degrees(np.arccos(np.clip(cosine, 0.0, 1.0))).mean() < 6.0
        if mesh.region_names.get("wall"):
            np.testing.assert_array_equal(wall, mesh.regions == mesh.region_names["wall"])


def test_coordinates_are_read_back_and_told(result):
    mesh = read_mesh(result / "fields/anatomy.vtu")
    wall = mesh.regions == mesh.region_names["wall"]
    for name in ("along", "transmural"):
        values = mesh.cell_values[name]
        np.testing.assert_array_equal(np.isfinite(values), wall)
        assert values[wall].min() > -1e-6
        assert values[wall].max() < 1.0 + 1e-6
    html = (result / "report.html").read_text()
    assert "Fibres to the vessel&#39;s axis" in html
    assert "Fibres: pipe" in html
    assert json.loads((result / "pictures/missing.json").read_text()) == {}
    for name in ("fibres_pipe.png", "coordinates_pipe.png"):
        assert (result / "pictures" / name).stat().st_size > 5000


def test_other_angles_do_not_mesh_again(folder, result):
    out = ["--out", result]
    ended = run(folder / "case.toml", *out, "--set", "anatomy.vessels.pipe.angle=30 deg")
    assert ended.exit_code == 0, ended.output
    stages = json.loads((result / "run.json").read_text())["stages"]
    reused = {name: stage["reused"] for name, stage in stages.items()}
    assert reused == {
        "source": True, "mesh": True, "anatomy": False, "files": False, "report": False,
    }  # fmt: skip


def test_a_refused_mesh_is_written_without_the_fibres_of_an_earlier_one(folder, result):
    out = folder / "refused"
    shutil.copytree(result, out)
    settings = ("mesh.size=6 mm", "mesh.threshold.hausdorff=0.01 mm")
    ended = run(folder / "case.toml", "--out", out, *(x for s in settings for x in ("--set", s)))
    assert ended.exit_code != 0
    written, made = read_mesh(out / "mesh.vtu"), read_mesh(out / "mesh.msh")
    assert len(made.cells) != len(read_mesh(result / "mesh.msh").cells)
    assert len(written.cells) == len(made.cells)
    assert not written.fibres


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("wall=wal", "[anatomy.vessels.pipe]: no region `wal` in the mesh. Did you mean `wall`?"),
        ("inlet=valve", "[anatomy.vessels.pipe] inlet: nothing called `valve`. The wall touches"),
    ],
)
def test_surfaces_that_are_not_there_are_refused(folder, result, setting, message):
    ended = run(folder / "case.toml", "--out", result, "--set", f"anatomy.vessels.pipe.{setting}")
    assert ended.exit_code != 0
    assert message in " ".join(ended.output.split())
