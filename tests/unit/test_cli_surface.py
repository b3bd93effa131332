import numpy as np
import pytest
from typer.testing import CliRunner

from organtwin.cli import app
from organtwin.mesh.surface_files import TriangleSurface, write_surface

CUBE = np.indices((2, 2, 2)).reshape(3, -1).T * 30.0
SIDES = np.array([
    [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
    [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
])  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    write_surface(TriangleSurface(CUBE, SIDES), tmp_path / "whole.stl")
    write_surface(TriangleSurface(CUBE, SIDES[2:]), tmp_path / "open.stl")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["surface", *map(str, arguments)])


def test_a_sound_surface_is_told_so(folder):
    result = run(folder / "whole.stl")
    assert result.exit_code == 0
    assert "12 triangles, 30.0 x 30.0 x 30.0 mm, 54.0 cm2, 27.00 mL" in result.output
    assert "No defects" in result.output


def test_a_defect_ends_with_code_1_and_is_mended_on_demand(folder):
    result = run(folder / "open.stl")
    assert result.exit_code == 1
    assert "hole with a rim of 120 mm at (0.0, 15.0, 15.0)" in result.output
    out = folder / "mended.vtp"
    result = run(folder / "open.stl", "--repair", out)
    assert result.exit_code == 0, result.output
    assert "Largest distance from the input: 0 mm" in result.output
    assert run(out).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cap", "end=0,1,2"], "caps are made by a repair"),
        (["--repair", "x.vtp", "--cap", "end=0,1"], "not of the form NAME=X,Y,Z"),
    ],
)
def test_wrong_caps_are_refused(folder, arguments, message):
    result = run(folder / "open.stl", *arguments)
    assert result.exit_code == 2
    assert message in result.output
