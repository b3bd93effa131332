"""Order of the monodomain solver against Pathmanathan & Gray's solution."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.verify.electrophysiology import manufactured_monodomain


@pytest.mark.parametrize("lumped", [False, True])
def test_second_order(lumped):
    """Second order in h with Δt ∝ h², for both mass matrices."""
    coarse, fine = (manufactured_monodomain(MPI.COMM_SELF, n, lumped=lumped) for n in (12, 24))
    assert np.log2(coarse / fine) > 1.9
    assert fine < 0.02
