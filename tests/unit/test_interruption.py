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


POOL = """
import sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
import typer
from organtwin.cli_outcome import outcome
def work(started):
    with outcome(), ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        pool.submit(abs, 1).result()
        busy = [pool.submit(time.sleep, 60) for _ in range(2)]
        started.touch()
        busy[0].result()
if __name__ == "__main__":
    try:
        work(Path(sys.argv[1]))
    except typer.Exit as end:
        sys.exit(end.exit_code)
"""


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75)])
def test_workers_end_with_their_command(tmp_path, kind, code):
    (tmp_path / "pool.py").write_text(POOL)
    command = [sys.executable, tmp_path / "pool.py", tmp_path / "started"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables) as process:
        for _ in range(300):
            if (tmp_path / "started").exists():
                break
            time.sleep(0.1)
        process.send_signal(kind)
        _, error = process.communicate(timeout=30)  # much less than the workers would take
    assert process.returncode == code
    assert "interrupted; what was computed is kept" in error


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
