"""A calibration from its case file to its report, and what is wrong with others."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tomli_w
from typer.testing import CliRunner

from organtwin.case.calibration import observations_of, parameters_of
from organtwin.case.case_model import CaseModel
from organtwin.case.load import CaseError, load_calibration_case
from organtwin.case.reference import calibration_reference
from organtwin.cli import app
from organtwin.errors import InputError
from organtwin.units import MMHG

ROOT = Path(__file__).parents[2]
CASE = """
title = "A small one"
[calibration.observations]
files = ["a.csv"]
hold_out = ["lv_volume@300ms"]
[calibration.observations.values.lv_ejection_fraction]
value = "55 %"
error = "3 %"
[calibration.parameters]
"lv.active_elastance" = { prior = "lognormal", median = "3 mmHg/mL", spread = 0.3 }
"circulation.systemic_resistance" = { prior = "uniform", low = "40 Pa*s/mL", high = "0.2 kPa*s/mL" }
[calibration.smoother]
members = 12
assimilations = 2
[calibration.sensitivity]
samples = 8
"""
TABLE = """quantity,value,unit,error,time
heart_rate,70,1/min,1,
arterial_mean_pressure,90,mmHg,4,
lv_volume,70,mL,5,300 ms
lv_volume,110,mL,5,700 ms
"""


@pytest.fixture
def case(tmp_path):
    (tmp_path / "a.csv").write_text(TABLE)

    def write(text=CASE, **replaced):
        for old, new in replaced.items():
            text = text.replace(old, new)
        file = tmp_path / "case.toml"
        file.write_text(text)
        return file

    return write


def calibrate(file, out, *more):
    return CliRunner().invoke(app, ["calibrate", str(file), "--out", str(out), *more])


def test_a_calibration_writes_tables_pictures_and_a_report(case, tmp_path):
    out = tmp_path / "out"
    result = calibrate(case(), out)
    assert result.exit_code == 0, result.output
    assert str(out / "report.html") in result.output
    run = json.loads((out / "run.json").read_text())
    found = json.loads((out / "calibration.json").read_text())
    assert run["status"] == "complete"
    assert {"sensitivity", "calibration", "report"} <= set(run["stages"])
    assert [p["parameter"] for p in found["parameters"]] == [
        "lv.active_elastance", "circulation.systemic_resistance",
    ]  # fmt: skip
    by_key = {row["observation"]: row for row in found["predictions"]}
    assert by_key["lv_volume@300ms"]["held_out"]
    assert "heart_rate" not in by_key  # it sets the beat
    assert by_key["arterial_mean_pressure"]["measured"] == pytest.approx(90.0)
    assert found["computed"] == 8 * 4 + 12 * 3
    assert not found["failures"]
    pictures = {path.name for path in (out / "pictures").glob("*.png")}
    assert pictures == {
        "parameters.png", "predictions.png", "curves.png", "influence.png", "correlations.png",
        "sensitivity.png",
    }  # fmt: skip
    page = (out / "report.html").read_text()
    assert "A small one" in page
    assert page.count("data:image/") == 6
    assert "Of 1 held-out measurements" in page


@pytest.mark.slow
def test_ranks_give_what_one_process_does_and_a_second_start_goes_on(case, tmp_path):
    one = tmp_path / "one"
    assert calibrate(case(), one).exit_code == 0
    out = tmp_path / "two"
    launcher = Path(sys.executable).with_name("mpiexec")
    subprocess.run(
        [launcher if launcher.exists() else "mpiexec", "-n", "2", sys.executable, "-m",
         "organtwin", "calibrate", str(case()), "--out", str(out)],
        cwd=ROOT, check=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    first, second = (json.loads((o / "calibration.json").read_text()) for o in (one, out))
    for a, b in zip(first["parameters"], second["parameters"], strict=True):
        assert b["value"] == pytest.approx(a["value"], rel=1e-4)
    next((one / "members").glob("*.npy")).unlink()  # as if it had been stopped before
    assert calibrate(case(), one).exit_code == 0
    again = json.loads((one / "calibration.json").read_text())
    assert again["computed"] == 1
    assert again["parameters"] == first["parameters"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lv.active_elastance", "lv.active_elastanc", "Did you mean `lv.active_elastance`"),
        ("3 mmHg/mL", "3 mmHg", "median: .*is in mmHg, a elastance is needed"),
        ('"lognormal"', '"lognorm"', "unknown prior .lognorm"),
        ("spread = 0.3", "spread = 0.0", "must be more than 0"),
        ('"a.csv"', '"b.csv"', 'no such file or folder "b.csv"'),
        ("lv_volume@300ms", "lv_volume@301ms", "no observation `lv_volume@301ms`"),
        ("lv_ejection_fraction", "lv_ejektion_fraction", "Did you mean `lv_ejection_fraction`"),
        ("samples = 8", "samples = 9", "not a power of two"),
        ("members = 12", "members = 2", "must be at least 8"),
        ("assimilations", "asimilations", "Did you mean `assimilations`"),
        ('title = "A small one"', "[calibration]\nmodel = \"case\"", "`case` belongs to model"),
        ('title = "A small one"', '[calibration]\nstages = ["fillin"]', "Did you mean `filling`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(case, tmp_path, old, new, message):
    assert old in CASE
    result = calibrate(case(CASE.replace(old, new)), tmp_path / "out")
    assert result.exit_code == 2
    assert re.search(message, result.output), result.output


def test_klotz_gives_priors_from_volume_and_pressure(case, tmp_path):
    text = CASE.replace(
        "[calibration.smoother]",
        """"lv.unloaded_volume" = { prior = "klotz" }
"lv.passive_elastance" = { prior = "klotz", spread = 0.3 }
[calibration.smoother]""",
    )
    read = load_calibration_case(case(text))
    with pytest.raises(InputError, match="needs 'lv_end_diastolic_volume'"):
        parameters_of(read, observations_of(read.calibration.observations))
    with (tmp_path / "a.csv").open("a") as table:
        table.write("lv_end_diastolic_volume,120,mL,4,\nlv_end_diastolic_pressure,10,mmHg,1,\n")
    found = parameters_of(read, observations_of(read.calibration.observations))
    priors = {p.name: p.prior for p in found}
    assert priors["lv.unloaded_volume"].median == pytest.approx(64.8e3)
    assert priors["lv.passive_elastance"].median == pytest.approx(10 * MMHG / 55.2e3)
    assert priors["lv.passive_elastance"].spread == 0.3
    read = load_calibration_case(case(text), ["calibration.observations.klotz_error=0.15"])
    one = observations_of(read.calibration.observations).all[-1]
    assert (one.name, one.source) == ("lv_unloaded_volume", "Klotz curve")
    assert one.value == pytest.approx(64.8e3)
    assert one.standard_error == pytest.approx(0.15 * 64.8e3)


def test_all_mistakes_of_a_case_are_told_at_once(case):
    text = CASE.replace("members = 12", "members = 2").replace("samples = 8", "samples = 9")
    with pytest.raises(CaseError) as caught:
        load_calibration_case(case(text))
    assert len(caught.value.problems) == 2


def test_settings_of_the_3d_heart_have_the_units_of_their_schema():
    assert CaseModel.unit("circulation.systemic_resistance", "")[0] == "kPa*ms/mm^3"
    assert CaseModel.unit("mechanics.passive.a", "")[0] == "kPa"
    assert CaseModel.unit("electrophysiology.conduction_velocity.fibre", "")[0] == "mm/ms"
    assert CaseModel.unit("mechanics.passive.b", "")[0] == "1"
    with pytest.raises(InputError, match="Did you mean `passive`"):
        CaseModel.unit("mechanics.pasive.a", "here")
    with pytest.raises(InputError, match="not a number"):
        CaseModel.unit("mechanics.passive", "here")


def test_the_reference_page_is_that_of_the_schema():
    page = (ROOT / "docs/calibration-case-file.md").read_text(encoding="utf-8")
    assert page == calibration_reference(), (
        "docs/calibration-case-file.md is out of date: make docs"
    )


def test_the_demo_reads():
    read = load_calibration_case(ROOT / "demos/calibration/case.toml")
    observations = observations_of(read.calibration.observations)
    assert len(observations.all) == 28
    assert len(parameters_of(read, observations)) == 12


@pytest.mark.slow
@pytest.mark.limit(1500)
def test_conduction_of_a_3d_heart_is_found_from_its_activation(tmp_path):
    """A coarse eikonal heart: faster fibres activate it sooner; image and mesh are made once."""
    demo = ROOT / "demos/ecg_twelve_lead/case.toml"
    heart = tomllib.loads(demo.read_text(encoding="utf-8"))
    del heart["electrophysiology"]["layers"]
    heart["image"]["file"] = str((demo.parent / heart["image"]["file"]).resolve())
    heart["mesh"]["size"], heart["geometry"] = "9 mm", {"resolution": "2 mm"}
    heart["electrophysiology"] |= {"model": "eikonal", "refinements": 1, "pacing_beats": 1}
    heart["output"] = {"field_interval": "500 ms"}
    (tmp_path / "heart.toml").write_text(tomli_w.dumps(heart), encoding="utf-8")
    path = "electrophysiology.conduction_velocity.fibre"
    content = {
        "calibration": {
            "model": "case",
            "case": "heart.toml",
            "stages": ["activation"],
            "observations": {
                "values": {"total_activation_time": {"value": "60 ms", "error": "2 ms"}}
            },
            "parameters": {path: {"prior": "lognormal", "median": "0.55 m/s", "spread": 0.2}},
            "smoother": {"members": 8, "assimilations": 1},
        }
    }
    file = tmp_path / "case.toml"
    file.write_text(tomli_w.dumps(content), encoding="utf-8")
    out = tmp_path / "out"
    result = calibrate(file, out)
    assert result.exit_code == 0, result.output
    found = json.loads((out / "calibration.json").read_text())
    (row,), (predicted,) = found["parameters"], found["predictions"]
    assert row["unit"] == "m/s"
    assert row["contraction"] > 0.5
    assert abs(predicted["predicted"] - 60.0) < 4.0
    runs = [json.loads(run.read_text()) for run in (out / "members").glob("*/run.json")]
    members = [run for run in runs if "solve" in run["stages"]]
    assert len(members) == 16
    assert all(run["stages"]["mesh"]["reused"] for run in members)
    velocities = [run["case"]["electrophysiology"]["conduction_velocity"]["fibre"]
                  for run in members]  # fmt: skip
    times = [run["results"]["total_activation_time"]["value"] for run in members]
    slow, fast = (
        times[pick([float(v.split()[0]) for v in velocities])] for pick in (_least, _most)
    )
    assert slow > fast


def _least(values):
    return values.index(min(values))


def _most(values):
    return values.index(max(values))
