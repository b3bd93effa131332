"""Parameters that are fields are refused by all ranks or by none."""

from __future__ import annotations

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.materials.isotropic import NeoHookean
from organtwin.verify.geometry import box


def test_one_bad_cell_is_refused_by_every_rank():
    msh = box(MPI.COMM_WORLD, (1.0, 1.0, 1.0), (2, 2, 2)).mesh
    mu = fem.Function(fem.functionspace(msh, ("DG", 0)))
    mu.x.array[:] = 2.0
    assert NeoHookean(mu=mu).mu is mu
    if msh.comm.rank == msh.comm.size - 1:
        mu.x.array[0] = -1.0
    with pytest.raises(InputError, match="mu = -1 to 2 kPa"):
        NeoHookean(mu=mu)
    if msh.comm.rank == 0:
        mu.x.array[0] = np.nan
    with pytest.raises(InputError, match="mu = "):
        NeoHookean(mu=mu)
