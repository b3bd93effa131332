"""Land et al. (2015), Proc. R. Soc. A 471:20150641."""

from __future__ import annotations

import pytest
from mpi4py import MPI

from organtwin.verify.mechanics import land_problem_1, land_problem_2


def test_problem_1_deflection():
    """The published band of the deflected end is 4.17 ± 0.03 mm."""
    assert land_problem_1(MPI.COMM_SELF, (24, 4, 4)) == pytest.approx(4.17, abs=0.03)


@pytest.mark.slow
def test_problem_2_inflation(tmp_path):
    """Apex at −26.6 (endocardium) and −28.3 mm (epicardium), as an axisymmetric Q2–P1 solution."""
    result = land_problem_2(MPI.COMM_SELF, tmp_path / "ellipsoid.msh", size=1.25)
    assert result["endocardium"] == pytest.approx(-26.606, abs=0.15)
    assert result["epicardium"] == pytest.approx(-28.273, abs=0.15)
    assert result["volume"] == pytest.approx(10734.6, rel=0.015)
