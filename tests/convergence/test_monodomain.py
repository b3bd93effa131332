"""Orders of the monodomain and bidomain solvers against Pathmanathan & Gray's solutions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.electrophysiology.diffusion import Mass
from organtwin.electrophysiology.reaction_diffusion import Splitting
from organtwin.verify.electrophysiology import NODAL, Equations, manufactured

GODUNOV = {"splitting": Splitting.GODUNOV, "theta": 1.0}
QUADRATIC = replace(NODAL, mass=Mass.CONSISTENT)


@pytest.mark.parametrize("mass", Mass)
def test_monodomain_has_order_two(mass):
    """In h with Δt ∝ h², for each mass matrix."""
    scheme = replace(NODAL, mass=mass, **GODUNOV)
    coarse, fine = (manufactured(MPI.COMM_SELF, n, scheme=scheme)[0] for n in (12, 24))
    assert np.log2(coarse / fine) > 1.9
    assert fine < 0.02


@pytest.mark.parametrize(
    ("equations", "dim", "n"), [(Equations.BIDOMAIN, 2, 12), (Equations.BATH, 1, 12)]
)
def test_bidomain_has_order_two(equations, dim, n):
    """Both potentials, with and without baths that a current flows through."""
    coarse, fine = (
        manufactured(MPI.COMM_SELF, m, dim=dim, equations=equations) for m in (n, 2 * n)
    )
    orders = np.log2(np.array(coarse) / np.array(fine))
    assert (orders > 1.9).all()
    assert max(fine) < 0.02


def test_quadratic_elements_have_order_three():
    coarse, fine = (
        manufactured(MPI.COMM_SELF, n, degree=2, scheme=QUADRATIC, steps=400)[0] for n in (4, 8)
    )
    assert np.log2(coarse / fine) > 2.8


@pytest.mark.parametrize(
    ("splitting", "theta", "order"), [(Splitting.GODUNOV, 1.0, 1.0), (Splitting.STRANG, 0.5, 2.0)]
)
def test_order_in_time(splitting, theta, order):
    scheme = replace(QUADRATIC, splitting=splitting, theta=theta)
    slow, fast = (
        manufactured(MPI.COMM_SELF, 32, dim=1, degree=2, scheme=scheme, steps=steps, t_end=1.0)[0]
        for steps in (4, 8)
    )
    assert np.log2(slow / fast) == pytest.approx(order, abs=0.15)
