"""The time loop, its observers and checkpoints, on a process without physics."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.errors import SolverError
from organtwin.export.tables import read_table
from organtwin.run.checkpoint import Checkpoint, read_checkpoint, restore
from organtwin.run.observers import Table
from organtwin.run.simulate import on_grid, simulate
from organtwin.solve.outcome import Outcome, Step

COMM = MPI.COMM_SELF


class Decay:
    """y' = −y/10, which refuses steps longer than ``longest`` after ``since``."""

    def __init__(self, longest: float = np.inf, since: float = 0.0) -> None:
        self.y = np.ones(3)
        self.longest, self.since = longest, since

    @property
    def state(self):
        return {"y": self.y}

    def advance(self, t0: float, t1: float) -> Step:
        if t0 >= self.since and t1 - t0 > self.longest * (1 + 1e-9):
            return Step(t0, t1, Outcome.NEWTON_STALLED)
        self.y *= np.exp(-(t1 - t0) / 10)
        return Step(t0, t1, newton=2)


class Clock:
    def __init__(self, every: float) -> None:
        self.every = every
        self.times: list[float] = []

    def observe(self, t: float, step: Step) -> None:
        self.times.append(t)


def test_output_times_are_hit_exactly():
    clock, each = Clock(0.3), Clock(0.0)
    statistics = simulate(Decay(), t_end=3.0, dt=0.1, observers=[clock, each])
    assert clock.times == pytest.approx(np.arange(11) * 0.3, abs=1e-12)
    assert len(each.times) == 31
    assert statistics.steps == 30
    assert statistics.newton == 60


def test_refused_steps_are_halved():
    process = Decay(longest=0.3, since=1.0)
    statistics = simulate(process, t_end=2.0, dt=1.0)
    assert process.y == pytest.approx(np.exp(-0.2))
    assert statistics.refused == 3  # 1, and both halves of it
    assert statistics.steps == 1 + 4


def test_steps_grow_where_they_may_and_meet_every_output_time():
    process, clock, each = Decay(), Clock(3.0), Clock(0.0)
    wishes = iter([0.5, 1.0, 100.0, *[4.0] * 20])
    simulate(process, t_end=9.0, dt=0.5, observers=[clock, each], wanted=lambda: next(wishes))
    assert clock.times == [0.0, 3.0, 6.0, 9.0]
    # From 0.5 on: a power of two of 0.5 that divides the time and passes no output.
    assert each.times == [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 9.0]
    assert process.y == pytest.approx(np.exp(-0.9))


def test_a_run_that_goes_on_takes_the_steps_of_the_first():
    each = Clock(0.0)
    simulate(Decay(), t_start=4.0, t_end=9.0, dt=0.5, observers=[Clock(3.0), each],
             wanted=lambda: 4.0)  # fmt: skip
    assert each.times == [4.0, 6.0, 8.0, 9.0]


def test_rows_at_the_time_of_resuming_are_written_anew_but_for_those_kept(tmp_path):
    file = tmp_path / "t.csv"
    for resume, kept, rows in ((None, 0, [0, 1, 2]), (2.0, 1, [0, 1, 2, 2]), (2.0, 1, [0, 1, 2, 2]),
                               (2.0, 0, [0, 1, 2]), (1.0, 0, [0, 1, 2])):  # fmt: skip
        table = Table(COMM, file, lambda t, step: {"t [ms]": t}, resume=resume, kept=kept)
        for t in np.arange(resume or 0.0, 3.0):
            table.observe(float(t), Step(t, t))
        table.close()
        assert read_table(file)["t [ms]"].tolist() == rows


def test_a_new_checkpoint_leaves_the_files_of_the_last_one(tmp_path):
    process = Decay()
    for y in (1.0, 2.0):
        process.y[:] = y
        Checkpoint(COMM, tmp_path, process, 1.0, dict).observe(y, Step(y, y))
    saved = {float(np.load(file)["y"][0]) for file in tmp_path.glob("state_*.npz")}
    assert saved == {1.0, 2.0}


def test_failure_keeps_the_state_and_says_where():
    process, saved = Decay(longest=0.01, since=2.0), []
    with pytest.raises(SolverError, match=r"t = 2 to .*NEWTON_STALLED"):
        simulate(process, t_end=5.0, dt=1.0, on_failure=lambda t, step: saved.append(t))
    assert saved == [2.0]
    assert process.y == pytest.approx(np.exp(-0.2))


def test_table_goes_on_where_it_was_stopped(tmp_path):
    path = tmp_path / "scalars.csv"
    process = Decay()

    def run(t_start: float, t_end: float, resume: float | None) -> None:
        table = Table(COMM, path, lambda t, step: {"t [ms]": t, "y [1]": process.y[0]}, 0.0, resume)
        simulate(process, t_start=t_start, t_end=t_end, dt=1.0, observers=[table])
        table.close()

    run(0.0, 5.0, None)
    process.y[:] = np.exp(-0.3)
    run(3.0, 8.0, 3.0)
    table = read_table(path)
    assert table["t [ms]"] == pytest.approx(np.arange(9))
    assert table["y [1]"] == pytest.approx(np.exp(-np.arange(9) / 10))


def test_checkpoint_round_trip(tmp_path):
    process = Decay()
    keep = Checkpoint(COMM, tmp_path, process, 2.0, lambda: {"key": "abc"})
    simulate(process, t_end=5.0, dt=1.0, observers=[keep])
    assert read_checkpoint(tmp_path, COMM) == (4.0, {"key": "abc"})
    other = Decay()
    restore(tmp_path, other, COMM)
    assert other.y == pytest.approx(np.exp(-0.4))


@pytest.mark.parametrize("damage", ["garbage", "other ranks", "lost file", "none"])
def test_unusable_checkpoints_are_ignored(tmp_path, damage):
    if damage != "none":
        Checkpoint(COMM, tmp_path, Decay(), 1.0, dict).observe(1.0, Step(0.0, 1.0))
    record = tmp_path / "checkpoint.json"
    if damage == "garbage":
        record.write_text("{")
    elif damage == "other ranks":
        record.write_text(json.dumps({**json.loads(record.read_text()), "mpi_size": 3}))
    elif damage == "lost file":
        for file in tmp_path.glob("*.npz"):
            file.unlink()
    assert read_checkpoint(tmp_path, COMM) is None


@pytest.mark.parametrize(
    ("t", "first"), [(0.0, 0.0), (3.0, 3.0), (3.2, 4.0), (4.0 - 1e-9, 4.0 - 1e-9), (9.9, 10.0)]
)
def test_a_run_comes_back_to_the_grid(t, first):
    assert on_grid(t, 10.0, 1.0) == pytest.approx(first, abs=1e-8)
