"""Pseudo-ECG against a direct quadrature of its integral, and the laws of the limb leads."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.electrophysiology.ecg import LIMBS, PseudoECG, einthoven, limb_electrodes
from organtwin.verify.geometry import box

SIZE = np.array([4.0, 6.0, 5.0])
SIGMA = np.diag([0.3, 0.1, 0.05])
SLOPE = np.array([2.0, -3.0, 5.0])


@pytest.fixture(scope="module")
def domain():
    return box(MPI.COMM_SELF, tuple(SIZE), (4, 6, 5))


def potential(domain, formula):
    v = fem.Function(fem.functionspace(domain.mesh, ("P", 1)))
    v.interpolate(formula)
    return v


def quadrature(electrode, sigma_b):
    """−1/(4πσ_b) ∫ σ∇v·∇(1/r) dx over the box with Gauss's rule, 12 points along each edge."""
    at, weight = np.polynomial.legendre.leggauss(12)
    points = [s * (at + 1) / 2 for s in SIZE]
    x = np.stack(np.meshgrid(*points, indexing="ij"))
    w = np.einsum("i,j,k->ijk", weight, weight, weight) * SIZE.prod() / 8
    d = x - electrode[:, None, None, None]
    gradient = -d / np.linalg.norm(d, axis=0) ** 3
    return -np.sum(w * np.einsum("i,ijkl->jkl", SIGMA @ SLOPE, gradient)) / (4 * np.pi * sigma_b)


@pytest.mark.parametrize("electrode", [(40.0, -10.0, 25.0), (2.0, 3.0, -12.0), (-60.0, 3.0, 2.5)])
def test_linear_potential(domain, electrode):
    point = np.array(electrode)
    ecg = PseudoECG(
        fem.functionspace(domain.mesh, ("P", 1)),
        ufl.as_matrix(SIGMA.tolist()),
        {"e": point},
        sigma_b=0.25,
    )
    found = ecg(potential(domain, lambda x: SLOPE @ x - 80.0))["e"]
    assert found == pytest.approx(quadrature(point, 0.25), rel=1e-4)


def test_wave_that_comes_is_positive(domain):
    """An electrode that a front of depolarisation runs towards sees a positive potential."""
    V = fem.functionspace(domain.mesh, ("P", 1))
    ecg = PseudoECG(V, 0.1 * ufl.Identity(3), {"ahead": [50, 3, 2.5], "behind": [-50, 3, 2.5]})
    front = ecg(potential(domain, lambda x: np.where(x[0] < 2.0, 30.0, -85.0)))
    assert front["ahead"] > 0 > front["behind"]


def test_rest_gives_no_signal(domain):
    V = fem.functionspace(domain.mesh, ("P", 1))
    ecg = PseudoECG(V, 0.1 * ufl.Identity(3), {"e": [50, 3, 2.5]})
    assert ecg(potential(domain, lambda x: np.full(x.shape[1], -85.0)))["e"] == pytest.approx(
        0.0, abs=1e-12
    )


def test_electrodes_surround_the_centre_of_the_tissue(domain):
    electrodes = limb_electrodes(domain)
    for name, offset in LIMBS.items():
        np.testing.assert_allclose(electrodes[name], SIZE / 2 + np.array(offset))
    # Patient axes LPS: the left arm lies on the positive side, the leg below.
    assert electrodes["LA"][0] > electrodes["RA"][0]
    assert electrodes["LL"][2] < electrodes["RA"][2]


def test_einthoven():
    leads = einthoven({"RA": -0.31, "LA": 0.12, "LL": 0.47})
    assert leads["I"] == pytest.approx(0.43)
    assert leads["I"] + leads["III"] == pytest.approx(leads["II"])
