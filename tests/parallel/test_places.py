"""A state that is shared out among ranks goes on shared out otherwise."""

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.process import Places, keyed
from organtwin.run.checkpoint import Checkpoint, read_checkpoint, restore
from organtwin.solve.outcome import Step

COMM = MPI.COMM_WORLD


class Line:
    """Two components at each of twelve points, shared out in blocks; a number that all have."""

    def __init__(self, comm, order=1):
        points = np.arange(12.0)[::order]
        mine = np.array_split(points, comm.size)[comm.rank]
        self.at = np.column_stack([mine, 0 * mine, 0 * mine])
        self.u = np.zeros(2 * len(mine))
        self.cells = np.zeros((3, len(mine)))
        self.clock = np.zeros(1)
        self.places = Places(
            {"nodes": keyed(self.at), "both": keyed(self.at, 2)}, {"u": "both", "cells": "nodes"}
        )

    @property
    def state(self):
        return {"u": self.u, "cells": self.cells, "clock": self.clock}

    @property
    def expected(self):
        x = self.at[:, 0]
        return np.column_stack([x, 10 * x]).ravel(), np.outer([1.0, 2.0, 3.0], x)

    def fill(self):
        self.u[:], self.cells[:] = self.expected
        self.clock[:] = 7.0
        return self


def test_it_arrives_where_it_belongs(shared_tmp_path):
    line = Line(COMM).fill()
    keep = Checkpoint(COMM, shared_tmp_path, line, 1.0, lambda: {"key": "a"}, line.places)
    keep.observe(3.0, Step(2.0, 3.0))
    for comm in (COMM, MPI.COMM_SELF):
        other = Line(comm, order=1 if comm.size == COMM.size else -1)
        assert read_checkpoint(shared_tmp_path, comm) == (3.0, {"key": "a"})
        restore(shared_tmp_path, other, comm, other.places)
        assert [*other.u] == [*other.expected[0]]
        assert (other.cells == other.expected[1]).all()
        assert other.clock[0] == 7.0


@pytest.mark.skipif(COMM.size == 1, reason="one rank")
def test_without_places_it_stays_on_its_ranks(shared_tmp_path):
    line = Line(COMM).fill()
    Checkpoint(COMM, shared_tmp_path, line, 1.0, dict).observe(3.0, Step(2.0, 3.0))
    assert read_checkpoint(shared_tmp_path, COMM) is not None
    assert read_checkpoint(shared_tmp_path, MPI.COMM_SELF) is None


@pytest.mark.skipif(COMM.size == 1, reason="one rank")
def test_entries_that_are_missing_are_told(shared_tmp_path):
    line = Line(COMM).fill()
    keep = Checkpoint(COMM, shared_tmp_path, line, 1.0, dict, line.places)
    keep.observe(3.0, Step(2.0, 3.0))
    other = Line(MPI.COMM_SELF)
    moved = {kind: keys + 0.5 for kind, keys in other.places.keys.items()}
    with pytest.raises(InputError, match="lacks entries"):
        restore(shared_tmp_path, other, MPI.COMM_SELF, Places(moved, other.places.of))
