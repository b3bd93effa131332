import pytest
from mpi4py import MPI

from organtwin.verify.problems import run


@pytest.mark.slow
def test_unloaded_shapes_are_found_again():
    (records,) = run(["unloaded_ventricle"], MPI.COMM_WORLD, quick=True)
    assert [r.quantity for r in records if not r.met] == []
