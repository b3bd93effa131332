"""The demos of therapies: a sweep of two lead positions that goes on where it stopped, and gel."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

DEMOS = Path(__file__).parents[2] / "demos"


def run(script: str, folder: Path, *arguments: str) -> str:
    mpiexec = Path(sys.executable).parent / "mpiexec"
    done = subprocess.run(
        [str(mpiexec), "-n", "2", sys.executable, str(DEMOS / script), *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_two_lead_positions(tmp_path):
    sites = ("--sites", "mid_inferolateral", "basal_anterior")
    first = run("crt_optimisation/crt_optimisation.py", tmp_path, *sites)
    assert "mid_inferolateral" in first
    assert (tmp_path / "results/crt_optimisation/crt_bullseye.png").is_file()
    start = time.perf_counter()
    assert run("crt_optimisation/crt_optimisation.py", tmp_path, *sites) == first
    assert time.perf_counter() - start < 60.0


@pytest.mark.slow
def test_gel_around_an_infarct(tmp_path):
    assert "border zone" in run("infarct_injection/infarct_injection.py", tmp_path)
    assert (tmp_path / "results/infarct_injection/infarct_stress.png").is_file()
