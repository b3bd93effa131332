"""Order of the finite-strain solver against a manufactured solution."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from organtwin.verify.mechanics import manufactured_solid


def test_taylor_hood_orders():
    """Third order in u, second in its gradient and in p, and no locking at κ ≫ µ."""
    coarse, fine = (np.array(manufactured_solid(MPI.COMM_SELF, n)) for n in (5, 10))
    orders = np.log2(coarse / fine)
    assert orders[0] > 2.8
    assert orders[1] > 1.8
    assert orders[2] > 1.8
