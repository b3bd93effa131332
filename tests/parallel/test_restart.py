"""A heart that is stopped in mid-beat goes on as if it had not been, on any number of ranks."""

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.coupling.places import places
from organtwin.coupling.steps import Steps
from organtwin.errors import InputError
from organtwin.parallel import on_root
from organtwin.run.checkpoint import Checkpoint, read_checkpoint, restore
from organtwin.run.simulate import simulate
from organtwin.solve.outcome import Step
from tests.beating import beating_heart
from tests.hearts import small_ventricles

pytestmark = pytest.mark.slow

STOP, END = 24.0, 40.0  # ms
STEPS = Steps(shortest=0.5, longest=4.0)


class Curve:
    """Observer that notes pressures and volumes."""

    every = 0.0

    def __init__(self, heart):
        self.heart, self.rows = heart, []

    def observe(self, t: float, step: Step) -> None:
        mechanics = self.heart.mechanics
        self.rows.append([t, *mechanics.pressures, *mechanics.volumes()])


def run(heart, start, end, observers=()):
    """Curve from ``start`` to ``end`` (ms)."""
    curve = Curve(heart)
    simulate(
        heart, t_start=start, t_end=end, dt=STEPS.shortest, observers=[curve, *observers],
        wanted=lambda: heart.wanted_step,
    )  # fmt: skip
    return np.array(curve.rows)


def heart_on(comm, path, filled=True):
    return beating_heart(small_ventricles(comm, path), steps=STEPS, filled=filled)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder, curve of an uninterrupted run on all ranks, and the heart that made it."""
    folder = on_root(MPI.COMM_WORLD, lambda: tmp_path_factory.mktemp("restart"))
    heart = heart_on(MPI.COMM_WORLD, folder)
    keep = Checkpoint(MPI.COMM_WORLD, folder, heart, STOP, dict, places(heart))
    return folder, run(heart, 0.0, STOP, [keep]), run(heart, STOP, END), heart


def test_it_goes_on_where_it_was(whole):
    folder, _, after, heart = whole
    t, _ = read_checkpoint(folder, MPI.COMM_WORLD)
    assert t == STOP
    restore(folder, heart, MPI.COMM_WORLD)
    again = run(heart, t, END)
    assert again[:, 0] == pytest.approx(after[:, 0], abs=1e-12)
    # But for the tolerance of the solver, whose factors are those of later steps.
    assert again == pytest.approx(after, rel=1e-10)


def test_it_goes_on_in_another_process(whole):
    """One that knows nothing but the files."""
    folder, _, after, _ = whole
    heart = heart_on(MPI.COMM_WORLD, folder, filled=False)
    heart.loop = whole[3].loop
    restore(folder, heart, MPI.COMM_WORLD, places(heart))
    assert run(heart, STOP, END) == pytest.approx(after, rel=1e-10)


def test_it_goes_on_on_one_rank(whole):
    folder, _, after, _ = whole
    comm = MPI.COMM_SELF
    assert read_checkpoint(folder, comm) is not None
    heart = heart_on(comm, folder, filled=False)
    heart.loop = whole[3].loop
    restore(folder, heart, comm, places(heart))
    assert run(heart, STOP, END) == pytest.approx(after, rel=1e-6)


@pytest.mark.skipif(MPI.COMM_WORLD.size == 1, reason="one rank")
def test_without_places_the_number_of_ranks_is_fixed(whole):
    with pytest.raises(InputError, match="number of ranks"):
        restore(whole[0], whole[3], MPI.COMM_SELF)
