"""A case whose image shows a loaded heart, on the real image at a coarse size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mpi4py import MPI

from organtwin.case.load import load_case
from organtwin.case.pipeline import run_case
from organtwin.errors import SolverError

CASE = Path(__file__).parents[2] / "demos/heartbeat/case.toml"
#: Coarse, and a heart that beats five times a second.
SETTINGS = [
    "mesh.size=8 mm",
    "electrophysiology.refinements=1",
    "electrophysiology.pacing_beats=2",
    "circulation.heart_rate=300 / min",
    "circulation.warm_up_beats=3",
    "output.field_interval=20 ms",
]


@pytest.mark.slow
def test_a_beat_from_a_loaded_image(tmp_path):
    settings = [
        "mechanics.reference_state=unloaded",
        "mechanics.image_pressure.lv=5 mmHg",
        "mechanics.image_pressure.rv=2 mmHg",
    ]
    case = load_case(CASE, [*SETTINGS, *settings])
    run_case(case, out=tmp_path, only={"solve", "report"}, comm=MPI.COMM_SELF)
    record = json.loads((tmp_path / "run.json").read_text())
    results = {name: entry["value"] for name, entry in record["results"].items()}
    assert results["reference_residual"] < 1e-6
    assert results["lv_unloaded_volume"] < 0.9 * results["lv_end_diastolic_volume"]
    assert results["tissue_volume_change"] < 1.0
    told = " ".join(record["decisions"])
    assert "inverse elastostatic problem" in told
    assert "under LV 5.0 mmHg, RV 2.0 mmHg" in told
    assert "inverse elastostatic problem" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_pressures_that_the_wall_can_not_have_been_under_are_told_with_a_remedy(tmp_path):
    settings = [
        "mechanics.reference_state=unloaded",
        "mechanics.image_pressure.lv=60 mmHg",
        "mechanics.image_pressure.rv=40 mmHg",
    ]
    case = load_case(CASE, [*SETTINGS, *settings])
    with pytest.raises(SolverError, match=r"% of the load.*\[mechanics.image_pressure\]"):
        run_case(case, out=tmp_path, only={"solve"}, comm=MPI.COMM_SELF)
