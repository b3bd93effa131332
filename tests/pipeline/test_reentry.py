from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.electrophysiology.reentry import Verdict
from organtwin.verify.reentry import Slab, run, spiral

SMALL = Slab(h=1.0)


def test_two_stimuli_across_each_other_make_a_wave_turn():
    end = SMALL.s2 + 300.0
    activity = run(spiral(MPI.COMM_WORLD, SMALL, end), end)
    assert activity.verdict is Verdict.UNDECIDED
    assert activity.last_activation > end - 20.0
    assert (activity.rotors[-10:] == 1).all()
    assert 80.0 < activity.cycle_length < 160.0
    rotor = activity.tracks[-1]
    assert rotor.lifetime > 100.0
    assert ((rotor.positions > 0) & (rotor.positions < SMALL.size)).all()


def test_s1_alone_dies_out():
    alone = Slab(h=1.5, s2=450.0, corner=(1.0, 1.0))
    activity = run(spiral(MPI.COMM_WORLD, alone, 440.0), 440.0)
    assert activity.verdict is Verdict.TERMINATED
    assert not activity.rotors.any()


@pytest.mark.slow
def test_a_spiral_goes_on_for_two_seconds():
    slab = Slab()
    found = spiral(MPI.COMM_WORLD, slab, 2000.0)
    activity = run(found, 2000.0)
    assert activity.verdict is Verdict.SUSTAINED
    assert activity.last_activation > 1990.0
    assert (activity.rotors[-100:] == 1).all()
    assert 100.0 < activity.cycle_length < 135.0
    v = found.tissue.v.x.array
    assert np.isfinite(v).all()
    assert -95.0 < v.min() < -60.0 < 0.0 < v.max() < 30.0
