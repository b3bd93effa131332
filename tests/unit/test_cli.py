"""The command line: help that teaches, exit codes, nothing written on wrong input."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from organtwin import __version__
from organtwin.cli import app

ROOT = Path(__file__).parents[2]
CASE = ROOT / "demos/heartbeat/case.toml"


@pytest.fixture
def organtwin(tmp_path, monkeypatch):
    """Run the command in an empty folder, in this process: a new one takes seconds to start."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "100"})

    return run


def test_help_teaches(organtwin):
    result = organtwin("--help")
    assert result.exit_code == 0
    for word in ("run", "doctor", "verify", "mpirun -n 2 organtwin run demos/heartbeat/case.toml"):
        assert word in result.stdout


def test_help_needs_no_heavy_library():
    program = (
        "import sys; sys.argv = ['organtwin', '--help']\n"
        "from organtwin.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'dolfinx', 'gmsh', 'vtk', 'pyvista', 'scipy', 'SimpleITK'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


def test_version_of_the_program(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "organtwin", "--version"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode == 0
    assert result.stdout.strip() == f"organtwin {__version__}"


def test_dry_run_prints_a_case_that_reads_back(organtwin, tmp_path):
    result = organtwin("run", CASE, "--dry-run", "--set", 'mesh.size="8 mm"')
    assert result.exit_code == 0, result.stderr
    assert tomllib.loads(result.stdout)["mesh"]["size"] == "8 mm"
    assert "tetrahedra" in result.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "no.toml"), "no such case file"),
        (("run", CASE, "--set", "mesh.siz=3"), "unknown key `siz`. Did you mean `size`?"),
        (("mesh", CASE, "--set", "mesh.size=3 s"), "a length is needed"),
        (("verify", "nothing"), "no problem `nothing`"),
        (("image", "info", "no.nrrd"), "no such image file"),
        (("run", CASE, "--sett", "x"), "No such option"),
    ],
)
def test_wrong_input_is_refused_and_nothing_written(organtwin, tmp_path, arguments, message):
    result = organtwin(*arguments)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_message_comes_once_from_two_ranks(tmp_path):
    from organtwin.doctor import mpiexec

    result = subprocess.run(
        [mpiexec(), "-n", "2", sys.executable, "-m", "organtwin", "run", "no.toml"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr.count("no such case file") == 1
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_image_info(organtwin):
    result = organtwin("image", "info", ROOT / "meshes/wholeheart/wh.nii.gz")
    assert result.exit_code == 0, result.stderr
    assert "512 x 512 x 248" in result.stdout
    assert "87.6 mL" in result.stdout


def test_verify_lists_its_problems(organtwin):
    result = organtwin("verify", "--list")
    assert result.exit_code == 0, result.stderr
    assert "land" in result.stdout


def test_a_case_without_a_source_is_told_so(tmp_path):
    file = tmp_path / "organ.toml"
    file.write_text('[mesh]\nsize = "4 mm"\n')
    result = CliRunner().invoke(app, ["mesh", str(file)])
    assert result.exit_code == 2
    assert "organ.toml: `[source]` is missing: the labels, the image or the surf" in result.output
    assert "lv_" not in result.output
    file.write_text('[sorce]\nlabels = "x.seg.nrrd"\n[mesh]\nsize = "4 mm"\n')
    assert "mean it by `[sorce]`" in CliRunner().invoke(app, ["mesh", str(file)]).output


def test_a_simulation_of_an_organ_case_is_refused(tmp_path):
    file = tmp_path / "organ.toml"
    file.write_text('[source]\nlabels = "x.seg.nrrd"\n[mesh]\nsize = "4 mm"\n')
    result = CliRunner().invoke(app, ["run", str(file)])
    assert result.exit_code == 2
    assert f"Mesh it: `organtwin mesh {file}`" in result.output
