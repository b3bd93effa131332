"""A case file of an organ's mesh, from labels or a surface to report."""

import json

import numpy as np
import pytest
from mpi4py import MPI
from typer.testing import CliRunner

from organtwin import audit
from organtwin.cli import app
from organtwin.image.slicer import write_slicer
from organtwin.image.volume import LabelMap
from organtwin.mesh.domain import read_domain
from organtwin.mesh.surface_files import TriangleSurface, write_surface
from organtwin.solve.assembly import integral

CASE = """
title = "A ball in a ball"
[source]
labels = "labels.seg.nrrd"
[labels]
islands_below = "0.1 mL"
[mesh]
size = "5 mm"
by_region = { blood = "4 mm" }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("organ")
    distance = np.linalg.norm(np.stack(np.indices((32, 32, 32)), axis=3) - 15.5, axis=3)
    values = (distance < 14).astype(np.uint8) + (distance < 9)
    values[1, 1, 1] = 1  # an island
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, -1.0]])
    names = {"muscle": 1, "blood": 2}
    labels = LabelMap(values, names, np.full(3, 1.5), np.array([3.0, 50.0, -8.0]), turn)
    write_slicer(labels, path / "labels.seg.nrrd")
    (path / "case.toml").write_text(CASE)
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["mesh", *map(str, arguments)])


@pytest.fixture(scope="module")
def result(folder):
    out = folder / "out"
    ended = run(folder / "case.toml", "--out", out)
    assert ended.exit_code == 0, ended.output
    return out


def test_the_mesh_is_what_the_record_says(result):
    record = json.loads((result / "stages/mesh/mesh.json").read_text())
    assert record["missed"] == []
    assert record["attempts"][0]["outcome"] == "good"
    domain = read_domain(result / "mesh.msh", MPI.COMM_SELF)
    assert set(domain.regions) == {"muscle", "blood"}
    assert {"blood-muscle", "muscle-outside"} == set(domain.surfaces)
    for name, region in record["proof"]["regions"].items():
        volume = integral(1.0 * domain.dx(name)) / 1000
        assert volume == pytest.approx(region["volume_ml"], rel=1e-9)
        assert volume == pytest.approx(region["wanted_ml"], rel=0.01)
    assert record["proof"]["quality"]["min_dihedral"] > 9.8


def test_report_pictures_and_manifest_are_there(result):
    html = (result / "report.html").read_text()
    assert "A ball in a ball" in html
    assert "blood" in html
    for name in ("mesh.png", "mesh_quality.png", "outlines.png"):
        assert (result / "pictures" / name).stat().st_size > 5000
    assert json.loads((result / "pictures/missing.json").read_text()) == {}
    manifest = json.loads((result / "run.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["results"]["volume_blood"]["unit"] == "mL"


def test_what_is_written_is_its_owners_and_the_run_is_noted(result):
    written = [result, *result.rglob("*")]
    wide = {str(path): oct(path.stat().st_mode) for path in written if path.stat().st_mode & 0o077}
    assert len(written) > 10
    assert not wide
    assert audit.verify(result / audit.NAME).broken is None


def test_an_unchanged_stage_is_reused_and_a_changed_one_is_not(folder, result):
    before = (result / "mesh.msh").stat().st_mtime_ns
    assert run(folder / "case.toml", "--out", result).exit_code == 0
    assert (result / "mesh.msh").stat().st_mtime_ns == before
    stages = json.loads((result / "run.json").read_text())["stages"]
    assert stages["source"]["reused"]
    assert stages["mesh"]["reused"]


def test_a_mesh_below_its_threshold_is_refused_with_a_report(folder):
    out = folder / "refused"
    ended = run(folder / "case.toml", "--out", out, "--set", "mesh.threshold.hausdorff=0.01 mm")
    assert ended.exit_code == 1
    assert "[mesh.threshold]: the mesh is below its threshold: surface of" in ended.output
    assert (out / "report.html").is_file()


def test_a_broken_surface_is_repaired_and_meshed(folder):
    distance = np.linspace(0, np.pi, 14)[1:-1]
    rings = [[np.sin(d) * np.cos(a), np.sin(d) * np.sin(a), np.cos(d)]
             for d in distance for a in np.arange(16) * np.pi / 8]  # fmt: skip
    points = 20.0 * np.array(rings)
    quads = [[16 * k + j, 16 * k + (j + 1) % 16, 16 * k + 16 + (j + 1) % 16, 16 * k + 16 + j]
             for k in range(11) for j in range(16)]  # fmt: skip
    quads = np.array(quads)
    triangles = np.concatenate([quads[:, [0, 2, 1]], quads[:, [0, 3, 2]]])
    triangles[5] = triangles[5][::-1]
    write_surface(TriangleSurface(points, triangles), folder / "ball.vtp")
    case = folder / "surface.toml"
    case.write_text('[source]\nsurfaces = { ball = "ball.vtp" }\n[mesh]\nsize = "6 mm"\n')
    ended = run(case, "--out", folder / "surface")
    assert ended.exit_code == 0, ended.output
    decisions = json.loads((folder / "surface/run.json").read_text())["decisions"]
    assert any("holes" in decision for decision in decisions)
    assert any("turned" in decision for decision in decisions), decisions
