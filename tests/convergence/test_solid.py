"""Order and accuracy of the finite-strain solver in every formulation."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.mechanics.formulation import (
    P1_P1,
    P2_P0,
    PENALTY,
    PENALTY_P1,
    Q2_DPC1,
    TAYLOR_HOOD,
)
from organtwin.verify.mechanics import manufactured_solid
from organtwin.verify.solids import COOK, cook, manufactured, sphere_inflation, sphere_pressure

COMM = MPI.COMM_SELF

#: Divisions, κ/μ, and the least orders of u in L² and H¹ and of p in L².
ORDERS = {
    P1_P1: (6, 20.0, (1.8, 0.9, 1.5)),
    PENALTY_P1: (8, 2.0, (1.8, 0.9, 0.9)),
    P2_P0: (6, 20.0, (1.7, 0.8, 0.9)),
    TAYLOR_HOOD: (4, 20.0, (2.8, 1.8, 1.8)),
    PENALTY: (4, 20.0, (2.8, 1.8, 1.7)),
    Q2_DPC1: (4, 20.0, (2.8, 1.8, 1.8)),
}


def test_taylor_hood_orders():
    """Third order in u, second in its gradient and in p, and no locking at κ ≫ µ."""
    coarse, fine = (np.array(manufactured_solid(MPI.COMM_SELF, n)) for n in (5, 10))
    orders = np.log2(coarse / fine)
    assert orders[0] > 2.8
    assert orders[1] > 1.8
    assert orders[2] > 1.8


@pytest.mark.slow
@pytest.mark.parametrize("formulation", ORDERS, ids=lambda f: f.name)
def test_orders(formulation):
    n, kappa, least = ORDERS[formulation]
    coarse, fine = (np.array(manufactured(COMM, formulation, k * n, kappa)) for k in (1, 2))
    assert (np.log2(coarse / fine) > least).all()


def test_stabilised_linear_elements_do_not_lock():
    """On a coarse mesh Cook's membrane is 6 % too stiff, with linear elements alone 68 %."""
    assert cook(COMM, P1_P1, 16) > 0.92 * COOK
    assert cook(COMM, PENALTY_P1, 16) < 0.4 * COOK


@pytest.mark.slow
@pytest.mark.parametrize(
    ("formulation", "n", "tolerance"),
    [(TAYLOR_HOOD, 16, 0.06), (P2_P0, 16, 0.03), (P1_P1, 64, 0.08)],
    ids=lambda value: getattr(value, "name", None),
)
def test_cook_membrane_has_one_value(formulation, n, tolerance):
    assert cook(COMM, formulation, n) == pytest.approx(COOK, abs=tolerance)


@pytest.mark.slow
def test_sphere_inflates_as_its_formula_says(tmp_path):
    stretches = [1.1, 1.2, 1.3]
    coarse, fine = (
        np.array(sphere_inflation(COMM, tmp_path / "sphere.msh", stretches, size=size))
        for size in (4.0, 2.0)
    )
    assert fine == pytest.approx(stretches, abs=4e-4)
    assert (np.abs(fine - stretches) < np.abs(coarse - stretches) / 3).all()


def test_pressure_of_the_sphere_is_the_integral():
    """p = ∫ 2 (σ_t − σ_r)/r dr by quadrature, against the closed form."""
    inner, outer, stretch = 10.0, 12.0, 1.3
    a = inner * stretch
    b = (outer**3 + a**3 - inner**3) ** (1 / 3)
    r, weight = np.polynomial.legendre.leggauss(40)
    r, weight = (a + b) / 2 + (b - a) / 2 * r, weight * (b - a) / 2
    hoop = r / (r**3 - a**3 + inner**3) ** (1 / 3)
    assert sphere_pressure(stretch) == pytest.approx(weight @ (2 * (hoop**2 - hoop**-4) / r))
