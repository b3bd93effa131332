"""Members of a rehearsal on the ranks of MPI: one hands them out, the others do them."""

import json

import pytest
from mpi4py import MPI

from organtwin.case.members import INDICES, Ensemble, Member, Workers
from organtwin.errors import InputError, SolverError
from organtwin.parallel import on_root

COMM = MPI.COMM_WORLD


class Made:
    """Fails for one of them."""

    def prepare(self, members):
        """Nothing is shared."""

    def key(self, member):
        return member.name

    def __call__(self, member, out):
        if member.name == "b":
            raise SolverError("deployment", "no equilibrium.")
        (out / INDICES).write_text(json.dumps({"rank": COMM.rank}))


def test_members_are_done_by_the_other_ranks(tmp_path):
    folder = COMM.bcast(tmp_path)
    members = [Member(name, {}) for name in "abc"]

    def work(run):
        ensemble = Ensemble(members, Made(), folder)
        run(ensemble)
        return [state.status for state in ensemble.states()]

    found = Workers().lead(work)
    assert found == (["finished", "failed", "finished"] if COMM.rank == 0 else None)
    done_by = on_root(COMM, lambda: {
        json.loads((folder / name / INDICES).read_text())["rank"] for name in "ac"
    })  # fmt: skip
    assert done_by == {0} if COMM.size == 1 else 0 not in done_by


def test_what_one_refuses_all_refuse():
    def work(run):
        raise InputError("[sweep]", "nothing to do.")

    with pytest.raises(InputError, match="nothing to do"):
        Workers().lead(work)
