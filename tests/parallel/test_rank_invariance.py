"""Every verification problem tells the same on all ranks as on one: mpiexec -n 2 or 3 pytest."""

import pytest
from mpi4py import MPI

from organtwin.verify.problems import PROBLEMS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MPI.COMM_WORLD.size == 1, reason="one rank"),
]
#: Relative difference; or, of values that are zero but for rounding, part of their tolerance.
RELATIVE, OF_TOLERANCE = 1e-6, 1e-3


@pytest.mark.limit(7200)
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_all_ranks_tell_what_one_tells(problem):
    together = problem.compute(MPI.COMM_WORLD, True)
    alone = problem.compute(MPI.COMM_SELF, True)
    assert [r.quantity for r in together] == [r.quantity for r in alone]
    for record, known in zip(together, alone, strict=True):
        assert record.verdict == known.verdict, record.quantity
        allowed = OF_TOLERANCE * known.tolerance
        assert record.value == pytest.approx(known.value, rel=RELATIVE, abs=allowed), (
            f"{record.quantity}: {record.value} on {MPI.COMM_WORLD.size} ranks"
        )
