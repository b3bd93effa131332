"""Cook's membrane of nearly incompressible rubber."""

from __future__ import annotations

import pytest
from mpi4py import MPI

from organtwin.verify.solids import COOK_OGS, cook_like_opengeosys


@pytest.mark.slow
def test_cook_membrane_rises_as_in_opengeosys():
    """Whose value still rises when its mesh is refined, as its F-bar elements do."""
    tip = cook_like_opengeosys(MPI.COMM_WORLD, 16)
    assert COOK_OGS < tip < COOK_OGS + 0.05
