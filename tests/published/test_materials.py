"""Constitutive laws against published measurements and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from organtwin.materials.fit import BiaxialTest, ShearTest, predict
from organtwin.materials.holzapfel_ogden import HolzapfelOgden
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.organs import LungParenchyma
from organtwin.materials.pointwise import PointLaw
from organtwin.verify.material_laws import (
    CAROTID,
    CAROTID_PRESSURES,
    RUBBER_PRESSURES,
    RUBBER_TUBE,
    tube_errors,
)

PIG = replace(HolzapfelOgden.holzapfel_ogden_2009(), delta=1e-6)
AMOUNTS = np.array([0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("fs", (0.388, 1.354, 4.187)),
        ("fn", (0.319, 1.172, 3.649)),
        ("sf", (0.125, 0.364, 1.046)),
        ("sn", (0.057, 0.183, 0.507, 1.462)),
        ("nf", (0.016, 0.036, 0.085, 0.219)),
        ("ns", (0.016, 0.036, 0.085, 0.219)),
    ],
)
def test_holzapfel_ogden_simple_shear(mode, expected):
    """Six modes of simple shear (kPa) of the 2009 set, evaluated from the formula."""
    amounts = AMOUNTS[: len(expected)]
    found = predict(PIG, ShearTest(mode, amounts, 0 * amounts))
    assert found == pytest.approx(expected, abs=6e-4)


def test_shear_of_the_soft_plane_in_closed_form():
    """σ = a γ e^{bγ²} where neither fibres nor sheets are stretched."""
    found = predict(PIG, ShearTest("ns", AMOUNTS, 0 * AMOUNTS))
    assert found == pytest.approx(PIG.a * AMOUNTS * np.exp(PIG.b * AMOUNTS**2), rel=1e-9)


@pytest.mark.parametrize(
    ("mode", "measured"), [("fs", (0.42, 1.53, 5.29)), ("fn", (0.29, 1.27, 4.13))]
)
def test_holzapfel_ogden_is_near_the_measured_shear_of_the_stiff_modes(mode, measured):
    """Pig myocardium, Dokos et al. (2002), figure 6; the set misses the soft modes by far more."""
    found = predict(PIG, ShearTest(mode, AMOUNTS[:3], 0 * AMOUNTS[:3]))
    assert found == pytest.approx(measured, rel=0.25)


@pytest.mark.parametrize(
    ("layers", "pressures"), [(CAROTID, CAROTID_PRESSURES), (RUBBER_TUBE, RUBBER_PRESSURES)]
)
def test_inflated_tubes(layers, pressures):
    for radius, stretch, found, expected in tube_errors(layers, pressures):
        assert found == pytest.approx(expected, abs=2e-6), (radius, stretch)


def test_lung_stiffens_as_published():
    """Birzle et al. (2019): E = 1.91 kPa at rest; in isotropic expansion the volumetric term."""
    law = LungParenchyma.birzle_2019()
    stretch = np.array([1.2, 1.5, 1.8])
    sigma = PointLaw(law).cauchy(stretch[:, None, None] * np.eye(3))[:, 0, 0]
    c = law.youngs_modulus / (4 * (1 + law.poisson_ratio))
    beta = law.poisson_ratio / (1 - 2 * law.poisson_ratio)
    # W(λ) = 3c(λ² − 1) + c/β (λ^(−6β) − 1) + c₃(λ² − 1)⁶, and σ = W'/(3λ²).
    slope = 6 * c * (stretch - stretch ** (-6 * beta - 1))
    slope += 12 * law.c_3 * stretch * (stretch**2 - 1) ** 5
    assert sigma == pytest.approx(slope / (3 * stretch**2), rel=1e-9)


def test_lung_parameters_are_the_published_ones():
    """The abstract gives 356.7 Pa (I₁ − 3) + 331.7 Pa (I₃^−1.075 − 1) and two further terms."""
    law = LungParenchyma.birzle_2019()
    c = law.youngs_modulus / (4 * (1 + law.poisson_ratio))
    beta = law.poisson_ratio / (1 - 2 * law.poisson_ratio)
    assert (c, c / beta, beta) == pytest.approx((0.3567, 0.3317, 1.075), rel=4e-4)


def test_biaxial_stress_of_neo_hooke():
    """σ₁ = μ(λ₁² − λ₃²), the classical membrane."""
    one, two = np.array([1.1, 1.3, 1.0]), np.array([1.0, 1.2, 1.4])
    found = predict(NeoHookean(mu=4.0), BiaxialTest(one, two, 0 * one, 0 * one, axes="sn"))
    three = 1 / (one * two)
    assert found == pytest.approx(4 * np.concatenate([one**2 - three**2, two**2 - three**2]))
