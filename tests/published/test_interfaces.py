"""Interfaces and bending against closed forms, as `organtwin verify` has them."""

import pytest
from mpi4py import MPI

from organtwin.verify.interface_problems import INTERFACES


@pytest.mark.parametrize(
    "name",
    [
        "opening_joint",
        pytest.param("press_fit_contact", marks=pytest.mark.slow),
        pytest.param("pull_out_friction", marks=pytest.mark.slow),
        pytest.param("four_point_bending", marks=pytest.mark.slow),
    ],
)
def test_closed_forms_are_met(name):
    (problem,) = (problem for problem in INTERFACES if problem.name == name)
    records = problem.compute(MPI.COMM_SELF, True)
    missed = [f"{r.quantity}: {r.value}" for r in records if not r.met]
    assert not missed
    assert len(records) >= 3
