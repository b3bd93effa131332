"""Ctrl-C and a polite kill end a command with a word, on one rank and on two that it starts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from organtwin.doctor import mpiexec

ROOT = Path(__file__).parents[2]

WAIT = """
import sys, time
from pathlib import Path
from organtwin import cli
with cli._outcome() as comm:
    if comm.rank == 0:
        Path(sys.argv[1]).touch()
    time.sleep(60)
"""


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(
    ("kind", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)]
)
def test_interruption_is_told_and_has_its_exit_code(tmp_path, ranks, kind, code):
    launcher = [mpiexec(), "-n", "2"] if ranks == 2 else []
    command = [*launcher, sys.executable, "-c", WAIT, tmp_path / "started"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables) as process:
        for _ in range(300):
            if (tmp_path / "started").exists():
                break
            time.sleep(0.1)
        process.send_signal(kind)
        _, error = process.communicate(timeout=30)
    if ranks == 1:
        assert process.returncode == code
        assert "interrupted; what was computed is kept" in error
    assert process.returncode != 0
