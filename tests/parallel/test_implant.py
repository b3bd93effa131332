"""An operated bone on all ranks equals that on one."""

import json

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.parallel import on_root
from tests.unit.test_implant_model import solved

COMM = MPI.COMM_WORLD


@pytest.mark.slow
def test_results_do_not_depend_on_the_ranks(tmp_path):
    folder = COMM.bcast(tmp_path)
    on_root(COMM, lambda: solved(folder / "alone"))
    from organtwin.case.implant_solve import solve
    from tests.unit.test_implant_model import case_of

    planned, stage = folder / "alone" / "plan", folder / "all" / "solve"
    on_root(COMM, lambda: stage.mkdir(parents=True))
    solve(case_of(), planned, folder / "all", stage, "key", lambda *_: None, COMM)

    def compare():
        from organtwin.orthopaedics.outcome import Outcome

        one, several = (Outcome.load(folder / k / "result.npz") for k in ("alone", "all"))
        for step in one.steps:
            assert several.moved[step] == pytest.approx(one.moved[step], abs=2e-5)
            a, b = (x.operated[step]["energy"] for x in (one, several))
            assert np.isnan(a).tolist() == np.isnan(b).tolist()
            assert np.nansum(b * several.volumes) == pytest.approx(
                np.nansum(a * one.volumes), rel=1e-3
            )
        records = [
            json.loads((folder / k / "solve" / "solve.json").read_text()) for k in ("alone", "all")
        ]
        for a, b in zip(records[0]["steps"], records[1]["steps"], strict=True):
            for seat, found in a["seats"].items():
                assert b["seats"][seat]["area"] == pytest.approx(found["area"])
                assert b["seats"][seat]["force"] == pytest.approx(found["force"], abs=50.0)

    on_root(COMM, compare)
