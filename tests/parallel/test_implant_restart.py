"""An operated bone that was stopped on all ranks goes on on one: mpiexec -n 2 pytest."""

import json

import pytest
from mpi4py import MPI

from organtwin.case import implant_solve
from organtwin.case.implant_files import write_plan
from organtwin.orthopaedics.outcome import Outcome
from organtwin.parallel import on_root
from tests import implanted_block
from tests.unit.test_implant_model import case_of

pytestmark = pytest.mark.slow


def solved(folder, comm):
    planned, stage = folder / "plan", folder / "solve"

    def plan():
        for place in (planned, stage):
            place.mkdir(parents=True, exist_ok=True)
        if not (planned / "plan.json").is_file():
            write_plan(
                planned, implanted_block.assembly(), implanted_block.operation(),
                implanted_block.frame(), implanted_block.LINE, [],
            )  # fmt: skip

    on_root(comm, plan)
    implant_solve.solve(case_of(), planned, folder, stage, "key", lambda *_: None, comm)


def test_it_goes_on_on_one_rank(tmp_path_factory, monkeypatch):
    comm = MPI.COMM_WORLD
    folder = on_root(comm, lambda: tmp_path_factory.mktemp("implant"))
    solved(folder / "whole", comm)
    calls, follow = [], implant_solve.follow

    def stops(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return follow(*arguments, **keywords)

    monkeypatch.setattr(implant_solve, "follow", stops)
    with pytest.raises(KeyboardInterrupt):
        solved(folder / "stopped", comm)
    comm.barrier()
    if comm.rank == 0:
        solved(folder / "stopped", MPI.COMM_SELF)
        assert len(calls) == 4  # press fit and load are not done again
        record = json.loads((folder / "stopped" / "solve" / "solve.json").read_text())
        whole, found = (Outcome.load(folder / n / "result.npz") for n in ("whole", "stopped"))
        assert [one["name"] for one in record["steps"]] == found.steps == whole.steps
        for step in whole.steps:
            assert found.moved[step] == pytest.approx(whole.moved[step], abs=1e-5)
        seat = "stem, coated"
        last = whole.steps[-1]
        slips = [o.contacts[seat].steps[last]["slip"] for o in (found, whole)]
        assert slips[0].shape == slips[1].shape
    comm.barrier()
