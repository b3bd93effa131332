"""What ranks do together."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.parallel import quantiles

COMM = MPI.COMM_WORLD


def test_quantiles_are_values_that_shares_do_not_exceed():
    values = np.random.default_rng(1).permutation(np.arange(1.0, 101.0))
    found = quantiles(MPI.COMM_SELF, values, (0.0, 0.05, 0.5, 1.0))
    np.testing.assert_allclose(found, [1.0, 5.0, 50.0, 100.0], atol=1e-9)


def test_quantiles_do_not_depend_on_the_ranks():
    values = np.random.default_rng(2).normal(size=1000)
    mine = values[COMM.rank :: COMM.size]
    np.testing.assert_allclose(
        quantiles(COMM, mine, (0.1, 0.5, 0.9)),
        quantiles(MPI.COMM_SELF, values, (0.1, 0.5, 0.9)),
        atol=1e-9,
    )


def test_quantiles_of_nothing():
    assert np.isnan(quantiles(MPI.COMM_SELF, np.empty(0), (0.5,))).all()


@pytest.mark.parametrize("value", [3.0, -2.5])
def test_quantiles_of_equal_values(value):
    assert quantiles(MPI.COMM_SELF, np.full(7, value), (0.0, 0.5, 1.0)) == pytest.approx(value)
