"""Two checkpoints are kept; what is damaged, full, not finite or asked to stop loses neither."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.export.tables import read_table
from organtwin.run import checkpoint as module
from organtwin.run.checkpoint import Checkpoint, read_checkpoint, restore
from organtwin.run.lock import NAME, locked
from organtwin.run.observers import Table
from organtwin.run.simulate import simulate
from organtwin.run.stopping import Keeper, StopAtOnce, StoppedError, exit_code, listening
from organtwin.solve.outcome import Step

COMM = MPI.COMM_SELF


class Decay:
    """y' = −y/10; ``at`` a time something happens."""

    def __init__(self, at=None, happens=None):
        self.y = np.ones(50)
        self.at, self.happens = at, happens

    @property
    def state(self):
        return {"y": self.y}

    def advance(self, t0, t1):
        self.y *= np.exp(-(t1 - t0) / 10)
        if self.at is not None and t0 == self.at:
            self.happens(self)
        return Step(t0, t1)


@pytest.fixture
def kept(tmp_path):
    """Folder with checkpoints at 2 and 4 ms."""
    process = Decay()
    keep = Checkpoint(COMM, tmp_path, process, 2.0, lambda: {"key": "abc", "beats": [1.5, (2, 3)]})
    simulate(process, t_end=5.0, dt=1.0, observers=[keep])
    return tmp_path


def newest_state(folder):
    return folder / f"state_{json.loads((folder / 'checkpoint.json').read_text())['turn']}_0.npz"


def cut(file):
    os.truncate(file, file.stat().st_size // 2)


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def delete(file):
    file.unlink()


@pytest.mark.parametrize("damage", [cut, flip, delete])
@pytest.mark.parametrize("what", ["state", "record"])
def test_a_damaged_checkpoint_leaves_the_one_before(kept, damage, what, caplog):
    damage(newest_state(kept) if what == "state" else kept / "checkpoint.json")
    t, note = read_checkpoint(kept, COMM)
    assert t == 2.0
    assert note == {"key": "abc", "beats": [1.5, [2, 3]]}
    other = Decay()
    restore(kept, other, COMM)
    assert other.y == pytest.approx(np.exp(-0.2))
    if (damage, what) != (delete, "record"):
        assert "going on from the one before, at t = 2 ms" in caplog.text
    # The next one takes the place of the damaged one.
    Checkpoint(COMM, kept, other, 2.0, dict).observe(3.0, Step(3.0, 3.0))
    assert read_checkpoint(kept, COMM)[0] == 3.0
    flip(newest_state(kept))
    assert read_checkpoint(kept, COMM)[0] == 2.0


def test_two_damaged_checkpoints_are_none(kept, caplog):
    for file in kept.glob("state_*.npz"):
        flip(file)
    assert read_checkpoint(kept, COMM) is None
    assert "starting from the beginning" in caplog.text
    with pytest.raises(InputError, match="no whole checkpoint"):
        restore(kept, Decay(), COMM)


def test_a_state_that_got_nan_is_not_kept(kept, caplog):
    process = Decay()
    keep = Checkpoint(COMM, kept, process, 2.0, dict)
    process.y[3] = np.nan
    keep.observe(6.0, Step(6.0, 6.0))
    assert "`y` is not a number somewhere" in caplog.text
    assert read_checkpoint(kept, COMM)[0] == 4.0


def test_infinite_entries_and_nan_from_the_beginning_are_kept(tmp_path):
    """Recorders begin with them."""
    process = Decay()
    process.y[:2] = np.inf, np.nan
    Checkpoint(COMM, tmp_path, process, 2.0, dict).observe(6.0, Step(6.0, 6.0))
    assert read_checkpoint(tmp_path, COMM)[0] == 6.0


@pytest.mark.parametrize("when", ["state", "record"])
def test_a_full_disk_leaves_both(kept, caplog, monkeypatch, when):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_save" if when == "state" else "_replace", full)
    keep = Checkpoint(COMM, kept, Decay(), 2.0, dict)
    keep.observe(6.0, Step(6.0, 6.0))
    assert "No space left on device" in caplog.text
    assert read_checkpoint(kept, COMM)[0] == 4.0
    assert keep.last is None
    assert not list(kept.glob(".*.part"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_ends_the_run_after_the_step_and_keeps_its_state(tmp_path, number):
    process = Decay(7.0, lambda _: os.kill(os.getpid(), number))
    keep = Checkpoint(COMM, tmp_path, process, 5.0, dict)
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with (
        pytest.raises(StoppedError, match=r"t = 8 ms; kept is 8 ms") as stopped,
        listening() as ask,
    ):
        simulate(process, t_end=20.0, dt=1.0, observers=[keep, Keeper(COMM, keep, ask)])
    assert stopped.value.code == exit_code(number) == (130 if number == signal.SIGINT else 75)
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert read_checkpoint(tmp_path, COMM)[0] == 8.0


def test_the_second_signal_ends_it_at_once():
    with listening(), pytest.raises(StopAtOnce) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.value.code == 75


def test_the_clock_asks_for_checkpoints_too(tmp_path):
    process = Decay()
    keep = Checkpoint(COMM, tmp_path, process, 100.0, dict)
    with listening() as ask:
        simulate(process, t_end=7.0, dt=1.0, observers=[Keeper(COMM, keep, ask, seconds=0.0)])
    assert read_checkpoint(tmp_path, COMM)[0] == 7.0
    kept = sorted(float(np.load(file)["y"][0]) for file in tmp_path.glob("state_*.npz"))
    assert kept == pytest.approx([np.exp(-0.7), np.exp(-0.6)])


def test_a_row_that_was_cut_short_is_left_out(tmp_path):
    path = tmp_path / "scalars.csv"
    path.write_text("t [ms],y [1]\r\n0,5\r\n1,6\r\n2,7\r\n1")  # of "10,8"
    table = Table(COMM, path, lambda t, step: {"t [ms]": t, "y [1]": 1.0}, resume=3.0)
    table.observe(3.0, Step(3.0, 3.0))
    table.close()
    assert read_table(path)["t [ms]"].tolist() == [0, 1, 2, 3]


def test_a_directory_takes_one_run(tmp_path):
    with locked(tmp_path, COMM):
        with pytest.raises(InputError, match=rf"another run writes there \(process {os.getpid()}"):
            locked(tmp_path, COMM).__enter__()
        assert (tmp_path / NAME).is_file()
    assert not tmp_path.exists()  # nothing was written
    tmp_path.mkdir()
    (tmp_path / NAME).write_text("left by a killed run")
    with locked(tmp_path, COMM):
        (tmp_path / "result").touch()
    assert [file.name for file in tmp_path.iterdir()] == ["result"]
