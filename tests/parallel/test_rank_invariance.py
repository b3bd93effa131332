"""Every verification problem tells the same on all ranks as on one: mpiexec -n 2 or 3 pytest."""

import pytest
from mpi4py import MPI

from organtwin.verify.invariance import compare
from organtwin.verify.problems import PROBLEMS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MPI.COMM_WORLD.size == 1, reason="one rank"),
]


@pytest.mark.limit(7200)
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_all_ranks_tell_what_one_tells(problem):
    together = problem.compute(MPI.COMM_WORLD, True)
    alone = problem.compute(MPI.COMM_SELF, True)
    for found in compare(alone, together):
        assert found.same, f"{found} on {MPI.COMM_WORLD.size} ranks"
