"""The demos run, and the checks at their ends hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DEMOS = Path(__file__).parents[1] / "demos"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("heartbeat/heartbeat.py", "ejection fraction"),
        ("ecg_twelve_lead/ecg_twelve_lead.py", "qrs duration"),
        ("ventricular_tachycardia/ventricular_tachycardia.py", "tachycardia"),
        ("atrial_fibrillation_drug/atrial_fibrillation_drug.py", "wave fronts"),
        ("inflate_ventricle/inflate_ventricle.py", "left ventricle"),
        ("aorta_tube/aorta_tube.py", "inner radius"),
        ("calibration/calibration.py", "volume curve"),
        ("healthy_heart/healthy_heart.py", "ejection fraction"),
        ("cine_patient/cine_patient.py", "volume curve"),
        ("tavr/tavr.py", "deployed valve"),
        ("hip_stem/hip_stem.py", "of the coating move less"),
        ("pedicle_screw/pedicle_screw.py", "held with"),
        ("tibial_plateau/tibial_plateau.py", "median strain of the callus"),
        ("load_and_rate/load_and_rate.py", "stroke volume"),
    ],
)
def test_demo_on_two_ranks(script, result, tmp_path):
    """Each demo ends in assertions of its own."""
    mpiexec = Path(sys.executable).parent / "mpiexec"
    done = subprocess.run(
        [str(mpiexec), "-n", "2", sys.executable, str(DEMOS / script)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert result in done.stdout
