"""The whole chain on the real image at a coarse size: from the file to the report.

It runs on one rank in one go, on two ranks, and on one rank with a kill in the middle: all must
tell the same.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from organtwin.case.load import load_case
from organtwin.case.pipeline import stages
from organtwin.export.tables import read_table

ROOT = Path(__file__).parents[2]
CASE = ROOT / "demos/heartbeat/case.toml"
#: Coarse, and a heart that beats five times a second.
SETTINGS = {
    "mesh.size": "8 mm",
    "electrophysiology.model": "reaction_eikonal",  # no conductivities to tune, which takes minutes
    "electrophysiology.refinements": 1,
    "electrophysiology.pacing_beats": 2,
    "circulation.heart_rate": "300 / min",
    "output.field_interval": "20 ms",
}
PERIOD = 200.0
#: What solvers leave or take, which differs by rounding.
ROUNDING = ("newton", "factorisations", "volume_gap [mL]")


def command(ranks: int, verb: str, out: Path) -> list[str]:
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    mpiexec = str(Path(sys.executable).parent / "mpiexec")
    program = [sys.executable, "-m", "organtwin", verb, str(CASE), "--out", str(out), *settings]
    return [mpiexec, "-n", str(ranks), *program]


def run(ranks: int, verb: str, out: Path) -> None:
    done = subprocess.run(
        command(ranks, verb, out), capture_output=True, text=True, check=False, timeout=550
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def beat(tmp_path_factory) -> Path:
    """Result directory of the run on one rank."""
    out = tmp_path_factory.mktemp("one") / "result"
    run(1, "run", out)
    return out


def results(out: Path) -> dict[str, float]:
    manifest = json.loads((out / "run.json").read_text())
    return {name: entry["value"] for name, entry in manifest["results"].items()}


@pytest.mark.limit(600)
def test_everything_is_written(beat):
    manifest = json.loads((beat / "run.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["mpi_size"] == 1
    assert set(manifest["stages"]) == {"image", "mesh", "cell", "solve", "report"}
    for name in (
        "lv_end_diastolic_volume", "lv_end_systolic_volume", "lv_ejection_fraction",
        "lv_peak_pressure", "rv_ejection_fraction", "total_activation_time",
        "tissue_volume_change", "mesh_cells", "mesh_min_dihedral_angle", "wall_time",
        "peak_memory",
    ):  # fmt: skip
        assert math.isfinite(manifest["results"][name]["value"]), name
        assert manifest["results"][name]["unit"], name
    assert len(list((beat / "pictures").glob("*.png"))) >= 8
    assert (beat / "pictures" / "heartbeat.gif").stat().st_size > 10_000
    html = (beat / "report.html").read_text()
    assert len(html) < 10_000_000
    assert "ejection fraction" in html
    assert 'src="http' not in html  # self-contained
    for series in ("mechanics", "electrophysiology", "activation"):
        assert (beat / "fields" / f"{series}.pvd").is_file()


@pytest.mark.limit(600)
def test_physics(beat):
    """No blood and hardly any tissue is lost; blood leaves while its pressure is the higher."""
    found = results(beat)
    scalars = read_table(beat / "scalars.csv")
    assert abs(found["blood_volume_drift"]) < 1e-8 * found["lv_stroke_volume"]
    assert found["tissue_volume_change"] < 1.0
    assert found["activated_fraction"] == 100.0
    assert 60 < found["lv_peak_pressure"] < 150
    assert scalars["t [ms]"][-1] == PERIOD
    ejecting = scalars["Q_av [mL/s]"] > 1.0
    assert ejecting.any()
    assert (scalars["p_lv [mmHg]"] > scalars["p_ar_sys [mmHg]"])[ejecting].all()
    volume = scalars["V_lv [mL]"]
    assert volume.min() < 0.9 * volume[0]


def tell_the_same(one: Path, other: Path) -> None:
    first, second = read_table(one / "scalars.csv"), read_table(other / "scalars.csv")
    assert first["t [ms]"] == pytest.approx(second["t [ms]"])
    for name, values in second.items():
        if name not in ROUNDING:
            assert first[name] == pytest.approx(values, rel=1e-6, abs=1e-6 * np.abs(values).max())
    for name in ("lv_ejection_fraction", "lv_peak_pressure", "total_activation_time"):
        assert results(one)[name] == pytest.approx(results(other)[name], rel=1e-6)


@pytest.mark.slow
@pytest.mark.limit(900)
def test_two_ranks_tell_the_same(beat, tmp_path):
    out = tmp_path / "result"
    run(2, "run", out)
    assert json.loads((out / "run.json").read_text())["mpi_size"] == 2
    tell_the_same(out, beat)


@pytest.mark.slow
@pytest.mark.limit(900)
def test_one_rank_killed_and_resumed_tells_the_same(beat, tmp_path):
    out = tmp_path / "result"
    process = subprocess.Popen(
        command(1, "solve", out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    checkpoint = out / "stages" / "solve" / "checkpoint" / "checkpoint.json"
    deadline = time.monotonic() + 400
    while process.poll() is None and time.monotonic() < deadline:
        if checkpoint.is_file() and json.loads(checkpoint.read_text())["t"] >= 100:
            break
        time.sleep(0.1)
    assert process.poll() is None, "it ended before it could be killed"
    process.kill()
    process.wait()
    before = read_table(out / "scalars.csv")  # readable after the kill
    assert before["t [ms]"][-1] >= 100 - 1e-9
    run(1, "solve", out)
    tell_the_same(out, beat)


@pytest.mark.limit(600)
def test_finished_stages_are_reused(beat):
    """The same case again computes nothing."""
    run(1, "solve", beat)
    manifest = json.loads((beat / "run.json").read_text())
    assert all(manifest["stages"][name]["reused"] for name in ("image", "mesh", "cell", "solve"))


def test_heart_rate_does_not_remesh():
    slow, fast = (
        stages(load_case(CASE, [f"circulation.heart_rate={rate} / min"])) for rate in (60, 90)
    )
    assert slow["mesh"].key == fast["mesh"].key
    assert slow["cell"].key != fast["cell"].key
    assert slow["solve"].key != fast["solve"].key


def test_bad_input_is_refused_and_nothing_written(tmp_path):
    """Exit code 2, one message, no files."""
    case = tmp_path / "case.toml"
    bad = tmp_path / "image.nii.gz"
    bad.write_bytes(b"not an image")
    labels = "lv_myocardium = 1\nlv_blood = 3\nrv_blood = 5\n"
    case.write_text(f'[image]\nfile = "{bad.name}"\n[image.labels]\n{labels}')
    out = tmp_path / "result"
    done = subprocess.run(
        [sys.executable, "-m", "organtwin", "run", str(case), "--out", str(out)],
        capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "image.nii.gz" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.limit(1500)
def test_a_protocol_killed_in_its_second_phase_and_resumed_tells_the_same(tmp_path):
    """So fast a heart has no limit cycle, but is led on between its beats all the same."""
    text = CASE.read_text().replace("../../meshes", (ROOT / "meshes").as_posix())
    text = text.replace("beats = 1", "beats = 2\nlimit_cycle = 0.05")
    case = tmp_path / "case.toml"
    case.write_text(text + '\n[[protocol]]\nbeats = 1\nheart_rate = "240 / min"\nafterload = 1.5\n')
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    solve = command(2, "solve", whole)
    solve[solve.index(str(CASE))] = str(case)
    subprocess.run(solve, check=True, capture_output=True, timeout=700)
    solve[solve.index(str(whole))] = str(stopped)
    process = subprocess.Popen(solve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = stopped / "stages" / "solve" / "checkpoint" / "checkpoint.json"
    while not checkpoint.is_file() or json.loads(checkpoint.read_text())["note"]["phase"] < 1:
        assert process.poll() is None
        time.sleep(0.2)
    process.kill()
    process.wait()
    subprocess.run(solve, check=True, capture_output=True, timeout=700)

    beats = read_table(whole / "beats.csv")
    assert beats["phase [1]"].tolist() == [0, 0, 1]
    assert beats["start [ms]"].tolist() == [0, 200, 400]
    assert beats["period [ms]"].tolist() == [200, 200, 250]
    assert results(whole)["mass_balance"] < 1e-8
    assert results(whole)["cavity_volume_gap"] < 1e-8
    one, other = (read_table(out / "scalars.csv") for out in (whole, stopped))
    assert one["t [ms]"][-1] == 650.0
    for name in ("V_lv [mL]", "p_lv [mmHg]", "V_rv [mL]", "p_ar_sys [mmHg]"):
        scale = np.abs(one[name]).max()
        np.testing.assert_allclose(other[name], one[name], rtol=0.0, atol=1e-8 * scale)
