"""Fits to made-up tests find what they were made with, and say how sure they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.materials.fit import BiaxialTest, Fit, ShearTest, StressMeasure, fit, predict
from organtwin.materials.guccione import Guccione
from organtwin.materials.holzapfel_ogden import HolzapfelOgden
from organtwin.materials.isotropic import NeoHookean, Ogden
from organtwin.materials.organs import Liver

HO = HolzapfelOgden.holzapfel_ogden_2009()
HO_SHEAR = ("a", "b", "a_f", "b_f", "a_s", "b_s", "a_fs", "b_fs")
MODES = ("fs", "fn", "sf", "sn", "nf", "ns")


def sheared(law, mode: str) -> ShearTest:
    """Test of a law up to γ = 0.5."""
    amount = np.linspace(0, 0.5, 11)
    return ShearTest(mode, amount, predict(law, ShearTest(mode, amount, 0 * amount)))


def stretched(
    law, ratio: float = 1.0, scatter: float = 0.0, rng=None, measure=StressMeasure.CAUCHY, **known
) -> BiaxialTest:
    """Stretches up to 1.25 along the fibre and in a ratio to that across it, with scatter."""
    first = np.linspace(1, 1.25, 12)
    second = 1 + ratio * (first - 1)
    zero = 0 * first
    stress = predict(law, BiaxialTest(first, second, zero, zero, measure=measure))
    stress += 0.0 if rng is None else scatter * rng.standard_normal(len(stress))
    return BiaxialTest(first, second, stress[:12], stress[12:], measure=measure, **known)


def test_six_modes_of_shear_determine_holzapfel_ogden():
    guess = replace(HO, a=0.1, b=5.0, a_f=10.0, b_f=10.0, a_s=1.5, a_fs=0.4)
    found = fit(guess, [sheared(HO, mode) for mode in MODES], vary=HO_SHEAR)
    assert found.names == HO_SHEAR
    assert found.values == pytest.approx([getattr(HO, name) for name in HO_SHEAR], rel=1e-6)
    assert found.law.a_f == pytest.approx(HO.a_f, rel=1e-6)
    assert found.residual < 1e-8
    assert found.explained == pytest.approx(1.0)


@pytest.mark.parametrize("measure", StressMeasure)
def test_biaxial_tests_determine_guccione(measure):
    law = Guccione(0.5, 18.0, 5.0, 9.0)
    tests = [stretched(law, ratio, measure=measure) for ratio in (1.0, 0.5, 0.2)]
    found = fit(Guccione(1.0, 8.0, 2.0, 9.0), tests, vary=("stiffness", "b_f", "b_t"))
    assert found.law.stiffness == pytest.approx(0.5, rel=1e-6)
    assert found.law.b_f == pytest.approx(18.0, rel=1e-6)


def test_parameters_in_tuples():
    law = Ogden(mu=(2.0,), alpha=(9.0,))
    found = fit(Ogden(mu=(1.0,), alpha=(4.0,)), [stretched(law)])
    assert found.names == ("mu[0]", "alpha[0]")
    assert (found.law.mu[0], found.law.alpha[0]) == pytest.approx((2.0, 9.0), rel=1e-6)


def test_neo_hooke_by_hand():
    """Equibiaxial: σ = μ(λ² − λ⁻⁴), so that the least squares are those of a line through 0."""
    stretch, rng = np.linspace(1.05, 1.4, 8), np.random.default_rng(3)
    slope = stretch**2 - stretch**-4
    stress = 5.0 * slope + 0.1 * rng.standard_normal(8)
    found = fit(NeoHookean(mu=1.0), [BiaxialTest(stretch, stretch, stress, stress)])
    mu = (slope @ stress) / (slope @ slope)
    off = 2 * np.sum((mu * slope - stress) ** 2)
    variance = off / 15 / (2 * slope @ slope)
    assert found.values[0] == pytest.approx(mu, rel=1e-9)
    assert found.covariance[0, 0] == pytest.approx(variance, rel=1e-6)
    width = 2.131449546 * np.sqrt(variance)  # Student's t of 15 degrees of freedom at 97.5 %
    assert found.intervals[0] == pytest.approx([mu - width, mu + width], rel=1e-6)
    assert found.residual == pytest.approx(np.sqrt(off / 16), rel=1e-6)


@pytest.mark.parametrize("noise_is_known", [False, True])
def test_covariance_is_that_of_repeated_tests(noise_is_known):
    """Errors in units of their stated standard deviation have a mean square of one."""
    law, noise, rng = Liver(a=2.0, b=3.0), 0.1, np.random.default_rng(11)
    truth, known = np.array([law.a, law.b]), {"noise": noise} if noise_is_known else {}
    distances, covered = [], []
    for _ in range(16):
        found = fit(Liver(a=1.0, b=1.0), [stretched(law, 1.0, noise, rng, **known)])
        off = found.values - truth
        distances.append(off @ np.linalg.solve(found.covariance, off))  # χ² of 2 degrees
        covered += list((found.intervals[:, 0] < truth) & (truth < found.intervals[:, 1]))
    assert 1.2 < np.mean(distances) < 3.0
    assert 0.87 <= np.mean(covered) <= 1.0


def test_tight_known_noise_narrows_intervals():
    law, rng = Liver(a=2.0, b=3.0), np.random.default_rng(2)
    width = {}
    for noise in (0.01, 0.1):
        found = fit(law, [stretched(law, 1.0, noise, rng, noise=noise)])
        width[noise] = np.ptp(found.intervals[0])
    assert width[0.1] == pytest.approx(10 * width[0.01], rel=0.2)


def test_several_starts_find_what_one_misses_or_equals():
    law = Liver(a=2.0, b=3.0)
    once, often = (fit(Liver(a=0.01, b=20.0), [stretched(law)], starts=n) for n in (1, 4))
    assert often.residual <= once.residual + 1e-12
    assert often.law.a == pytest.approx(2.0, rel=1e-5)


def test_a_parameter_at_its_bound_is_told():
    """Fibres in isotropic tissue: their stiffness ends at zero and has no interval."""
    tests = [stretched(NeoHookean(mu=3.0), ratio) for ratio in (1.0, 0.4)]
    found = fit(replace(HO, a=2.0, b=0.1, a_s=0.0, a_fs=0.0), tests, vary=("a", "a_f"))
    assert found.at_bound == ("a_f",)
    assert np.isnan(found.intervals[1]).all()
    assert np.isfinite(found.intervals[0]).all()
    assert any("at its bound" in line for line in found.lines())
    assert isinstance(found, Fit)


# --- what is refused ----------------------------------------------------------------------------

COLUMN = np.linspace(1.0, 1.2, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ShearTest("ff", [0.1], [1.0]), "no pair of axes"),
        (lambda: ShearTest("fx", [0.1], [1.0]), "no pair of axes"),
        (lambda: ShearTest("fs", [0.1, 0.2], [1.0]), "amount .2,., stress .1,."),
        (lambda: ShearTest("fs", [], []), "no data"),
        (lambda: ShearTest("fs", [0.1, 0.2], [1.0, np.nan]), r"stress\[1\] = nan"),
        (lambda: ShearTest("fs", [0.1], [1.0], noise=0.0), "noise of 0.0 kPa"),
        (lambda: BiaxialTest(COLUMN - 1, COLUMN, COLUMN, COLUMN), "stretch_1 falls to 0"),
        (lambda: BiaxialTest(COLUMN, COLUMN, COLUMN, COLUMN[:3]), "stress_2 .3,."),
    ],
)
def test_bad_data(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("law", "tests", "vary", "message"),
    [
        (HO, [], None, "no tests"),
        (HO, [sheared(HO, "fs")], ("a_ff",), "no parameter `a_ff`. Did you mean"),
        (HO, [ShearTest("fs", [0.1], [1.0])], ("a", "b"), "1 stresses for 2 parameters"),
        (HO, [sheared(HO, "fs")], ("kappa_f",), "`kappa_f` is no number"),
        (HO, [sheared(HO, "ns")], ("a", "a_f"), "don't depend on `a_f`"),
        (
            HO,
            [sheared(HO, "ns"), replace(sheared(HO, "fs"), noise=0.1)],
            ("a",),
            "1 of 2 tests state their noise",
        ),
        (
            Guccione(2.0, 8.0, 2.0, 4.0),
            [ShearTest("fs", [1e-6, 2e-6, 3e-6], [4e-6, 8e-6, 1.2e-5])],
            ("stiffness", "b_fs"),
            "can't tell `stiffness`, `b_fs` apart",
        ),
    ],
)
def test_fits_that_make_no_sense(law, tests, vary, message):
    with pytest.raises(InputError, match=message):
        fit(law, tests, vary)
