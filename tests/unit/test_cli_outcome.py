"""Exit codes of commands, and going on with a run by name."""

import errno
import json
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from organtwin.case.load import load_implant_case
from organtwin.cli import app
from organtwin.cli_outcome import outcome
from organtwin.errors import DiskError, InputError, SolverError

CASE = str(Path(__file__).parents[2] / "demos/hip_stem/case.toml")


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        (InputError("file", "it is empty.", "Write it."), 2, "it is empty"),
        (SolverError("solve", "it diverged.", "Shorter steps."), 1, "diverged"),
        (DiskError("out", "it is full.", "Make room."), 74, "full"),
        (OSError(errno.ENOSPC, "No space left", "a.vtu"), 74, "a.vtu: can't be written"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_goes_wrong_has_its_code_and_one_message(raised, code, told, capsys):
    with pytest.raises((typer.Exit, click.exceptions.Exit)) as caught, outcome():
        raise raised
    assert caught.value.exit_code == code
    assert told in capsys.readouterr().err


def test_what_is_a_mistake_of_the_program_is_not_hidden():
    with pytest.raises(OSError, match="reset"), outcome():
        raise OSError(errno.ECONNRESET, "reset")


def test_going_on_needs_a_run(tmp_path):
    found = CliRunner().invoke(app, ["run", CASE, "--out", str(tmp_path), "--resume"])
    assert found.exit_code == 2
    assert "holds no run" in found.output
    found = CliRunner().invoke(app, ["run", CASE, "--resume", "--fresh"])
    assert found.exit_code == 2
    assert "--fresh begins anew" in found.output


@pytest.mark.parametrize("command", [["run", "--resume"], ["report"]])
def test_a_run_of_other_settings_is_left_alone(tmp_path, command):
    """Neither gone on with nor drawn as if it were this case."""
    case = load_implant_case(CASE).model_dump(mode="json", exclude_none=True)
    record = {"case": case, "status": "interrupted", "results": {"x": {"value": 1.0, "unit": "1"}}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    before = (tmp_path / "run.json").read_text()
    name, *options = command
    setting = "loads.mass=91 kg"
    found = CliRunner().invoke(
        app, [name, CASE, *options, "--out", str(tmp_path), "--set", setting]
    )
    assert found.exit_code == 2
    assert "has other settings: loads.mass = " in found.output
    assert (tmp_path / "run.json").read_text() == before
    nowhere = CliRunner().invoke(app, [name, CASE, *options, "--out", str(tmp_path / "none")])
    assert nowhere.exit_code == 2 and "holds no run" in nowhere.output
    assert not (tmp_path / "none").exists()
