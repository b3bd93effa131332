"""Laws of materials that remember: closed forms, objectivity, bounds."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from scipy.optimize import brentq

from organtwin.errors import InputError
from organtwin.materials import viscoelastic
from organtwin.materials.growth import (
    KerckhoffsGrowth,
    KroonGrowth,
    LimitedGrowth,
    Load,
    Pattern,
    PrescribedGrowth,
    Trigger,
    growth_inverse,
    growth_tensor,
)
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.kinematics import Directions
from organtwin.materials.nitinol import Nitinol, asymmetry, logarithmic_deviator
from organtwin.materials.plastic import J2Plasticity
from organtwin.materials.pointwise import Program, symbol
from organtwin.materials.viscoelastic import MaxwellBranch, prony

TENSOR = (3, 3)
EYE = np.eye(3)
AXES = Directions(*(ufl.as_vector(row.tolist()) for row in EYE))
NITINOL = Nitinol.stent()
STEEL = J2Plasticity(80e6, 450e3, hardening=130e3, saturation_stress=715e3, saturation_rate=17.0)


def rotation(seed: int = 3) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def deformation(size: float, seed: int = 5) -> np.ndarray:
    return EYE + size * np.random.default_rng(seed).uniform(-1, 1, (3, 3))


def logarithm(C: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(C)
    return vectors @ np.diag(np.log(values)) @ vectors.T


# --- viscoelasticity ----------------------------------------------------------------------------


def branch_program(branch: MaxwellBranch) -> Program:
    Q, S_old, S, dt = symbol(TENSOR), symbol(TENSOR), symbol(TENSOR), symbol()
    return Program(viscoelastic.overstress(Q, S_old, S, branch, dt), [Q, S_old, S, dt])


def test_branch_relaxes_exponentially_in_steps_of_any_length():
    run = branch_program(MaxwellBranch(0.7, 30.0))
    S, zero = np.diag([2.0, -1.0, -1.0]), np.zeros((3, 3))
    Q, t = run(zero, zero, S, 1e-12)[0], 0.0
    for dt in (0.001, 1.0, 7.0, 60.0):
        Q, t = run(Q, S, S, dt)[0], t + dt
        assert np.allclose(Q, 0.7 * np.exp(-t / 30.0) * S, rtol=1e-10)


def test_branch_under_a_ramp_is_exact_whatever_the_step():
    run = branch_program(MaxwellBranch(0.7, 30.0))
    S, zero = np.diag([2.0, -1.0, -1.0]), np.zeros((3, 3))
    whole = run(zero, zero, S, 45.0)[0]
    Q = zero
    for i in range(9):
        Q = run(Q, i / 9 * S, (i + 1) / 9 * S, 5.0)[0]
    assert np.allclose(Q, whole, rtol=1e-12)
    assert np.allclose(whole, 0.7 * 30 / 45 * (1 - np.exp(-1.5)) * S, rtol=1e-12)


def test_branch_is_continuous_where_its_series_takes_over():
    run = branch_program(MaxwellBranch(1.0, 1.0))
    zero = np.zeros((3, 3))
    below, above = (run(zero, zero, EYE, x)[0, 0, 0] for x in (0.99999e-4, 1.00001e-4))
    assert below == pytest.approx(above, abs=3e-9)


def test_overstress_has_no_pressure_and_is_objective():
    F = symbol(TENSOR)
    law = NeoHookean(4.0)
    S = viscoelastic.isochoric_stress(law, F.T * F, None)
    run = Program(viscoelastic.first_piola(S, F), [F])
    G, Q = deformation(0.3), rotation()
    P = run(G)[0]
    assert np.trace(P @ G.T) == pytest.approx(0, abs=1e-12)
    assert np.allclose(run(Q @ G)[0], Q @ P, atol=1e-12)
    C = G.T @ G
    b = np.linalg.det(G) ** (-2 / 3) * G @ G.T
    assert np.allclose(P @ G.T, 4.0 * (b - np.trace(b) / 3 * EYE)), C


def test_prony_series_from_instantaneous_shares():
    (a, b) = prony([0.3, 0.2], [5.0, 50.0])
    assert (a.share, b.share) == pytest.approx((0.6, 0.4))
    # Relaxed over instantaneous stiffness.
    assert 1 / (1 + a.share + b.share) == pytest.approx(0.5)


# --- plasticity ---------------------------------------------------------------------------------


class Metal:
    """Return mapping at a point."""

    def __init__(self, law: J2Plasticity) -> None:
        F, metric, alpha = symbol(TENSOR), symbol(TENSOR), symbol()
        step = law.return_map(F, metric, alpha)
        symbols = [F, metric, alpha]
        self._all = Program(
            ufl.as_vector(
                [*(step.stress[i, j] for i in range(3) for j in range(3)), step.alpha,
                 *(step.metric(F)[i, j] for i in range(3) for j in range(3))]
            ),
            symbols,
        )  # fmt: skip
        self.metric, self.alpha = EYE, 0.0

    def move(self, F: np.ndarray, *, keep: bool = True) -> np.ndarray:
        values = self._all(F, self.metric, self.alpha)[0]
        if keep:
            self.alpha, self.metric = values[9], values[10:].reshape(3, 3)
        return values[:9].reshape(3, 3)


@pytest.fixture(scope="module")
def steel():
    return Metal(STEEL)


@pytest.fixture(autouse=True)
def fresh(request):
    if "steel" in request.fixturenames:
        metal = request.getfixturevalue("steel")
        metal.metric, metal.alpha = EYE, 0.0


def shear(gamma: float) -> np.ndarray:
    F = EYE.copy()
    F[0, 1] = gamma
    return F


def test_metal_is_neo_hookean_below_the_yield_stress(steel):
    F = shear(2e-3)
    tau = steel.move(F)
    b = F @ F.T
    assert np.allclose(tau, STEEL.mu * (b - np.trace(b) / 3 * EYE), rtol=1e-9, atol=1.0)
    assert steel.alpha == 0
    assert np.allclose(steel.metric, EYE, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.01, 0.1, 0.5])
def test_plastic_stress_lies_on_the_yield_surface(steel, gamma):
    tau = steel.move(shear(gamma))
    flow = float(Program(STEEL.flow_stress(ufl.as_ufl(float(steel.alpha))), [])()[0])
    assert np.linalg.norm(tau) == pytest.approx(np.sqrt(2 / 3) * flow, rel=1e-8)
    assert steel.alpha > 0


def test_plastic_flow_keeps_the_volume_over_many_steps(steel):
    for i in range(1, 101):
        F = shear(0.5 * np.sin(i / 10)) @ np.diag([1 + i / 1000, 1.0, 1.0])
        steel.move(F)
    assert np.linalg.det(steel.metric) == pytest.approx(1, abs=1e-12)


def test_unloading_is_elastic(steel):
    steel.move(shear(0.05))
    before = steel.alpha
    steel.move(shear(0.049))
    assert steel.alpha == before


def test_metal_is_objective(steel):
    steel.move(shear(0.05))
    Q, F = rotation(), deformation(0.1)
    tau = steel.move(F, keep=False)
    assert np.allclose(steel.move(Q @ F, keep=False), Q @ tau @ Q.T, rtol=1e-9, atol=1e-3)


def test_tension_follows_the_flow_curve(steel):
    """Plastic strain is the logarithmic one less the elastic, within terms of its size."""
    for strain in np.linspace(0, 0.2, 101)[1:]:
        tau = steel.move(np.diag(np.exp([strain, -strain / 2, -strain / 2])))
    stress, alpha = tau[0, 0] - tau[1, 1], steel.alpha
    curve = 450e3 + 130e3 * alpha + 265e3 * (1 - np.exp(-17 * alpha))
    assert stress == pytest.approx(curve, rel=1e-8)
    elastic = stress / (3 * STEEL.mu)
    assert alpha == pytest.approx(0.2 - elastic, rel=1.5 * elastic)


# --- Nitinol ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "accuracy"), [(0.02, 1e-15), (0.1, 1e-10), (0.25, 1e-6)])
def test_logarithmic_strain(size, accuracy):
    C = symbol(TENSOR)
    run = Program(logarithmic_deviator(C), [C])
    F = deformation(size)
    exact = logarithm(F.T @ F) / 2
    assert np.allclose(run(F.T @ F)[0], exact - np.trace(exact) / 3 * EYE, atol=accuracy)


class Wire:
    """Uniaxial stress: the lateral stretch follows from the lateral stress being zero."""

    def __init__(self, law: Nitinol) -> None:
        F, xi, force = symbol(TENSOR), symbol(), symbol()
        P, new, f = law.step(F, xi, force)
        outputs = [P[0, 0], P[1, 1], new, f]
        self._run = Program(ufl.as_vector(outputs), [F, xi, force])
        self.xi = self.force = 0.0

    def pull(self, strain: float) -> float:
        """Kirchhoff stress (kPa) at a logarithmic strain; a step."""

        def at(lateral: float) -> np.ndarray:
            F = np.diag(np.exp([strain, lateral, lateral]))
            return self._run(F, self.xi, self.force)[0]

        lateral = brentq(lambda x: at(x)[1], -0.6 * strain, 0.3 * strain, xtol=1e-15)
        P, _, self.xi, self.force = at(lateral)
        return P * np.exp(strain)


@pytest.fixture(scope="module")
def wire_program():
    return Wire(NITINOL)


@pytest.fixture
def wire(wire_program):
    wire_program.xi = wire_program.force = 0.0
    return wire_program


def loading(law: Nitinol, stress: float) -> float:
    """Strain of the closed form on loading."""
    xi = np.clip((stress - law.AM_start) / (law.AM_finish - law.AM_start), 0, 1)
    E = law.E_austenite + xi * (law.E_martensite - law.E_austenite)
    return stress / E + law.eps_L * xi


def test_nitinol_meets_the_closed_form_whatever_the_steps(wire):
    path = [0.004, 0.0072, 0.03, 0.031, 0.05, 0.08]
    for strain in path:
        stress = wire.pull(strain)
        assert loading(NITINOL, stress) == pytest.approx(strain, abs=2e-7)
    wire.xi = wire.force = 0.0
    assert wire.pull(path[-1]) == pytest.approx(stress, rel=1e-6)
    assert wire.xi == 1


def test_nitinol_closes_its_loop(wire):
    for strain in (0.03, 0.08, 0.05, 0.02, 0.003):
        wire.pull(strain)
    assert wire.xi == 0
    assert wire.pull(0.001) == pytest.approx(NITINOL.E_austenite * 0.001, rel=1e-3)


def test_nitinol_unloads_elastically_within_the_loop(wire):
    wire.pull(0.04)
    xi = wire.xi
    wire.pull(0.0375)
    assert 0 < wire.xi == xi


def test_nitinol_is_objective():
    F, xi, force = symbol(TENSOR), symbol(), symbol()
    run = Program(NITINOL.step(F, xi, force)[0], [F, xi, force])
    G, Q = deformation(0.03), rotation()
    P = run(G, 0.2, 3e5)[0]
    assert np.allclose(run(Q @ G, 0.2, 3e5)[0], Q @ P, rtol=1e-9, atol=1e-3)
    assert np.allclose(P @ G.T, (P @ G.T).T, atol=1e-3)


def test_asymmetry_raises_the_stress_in_compression_only():
    alpha = asymmetry(385e3, 600e3)
    law = Nitinol(52.65e6, 38.25e6, 0.33, 0.06, 385e3, 460e3, 200e3, 180e3, alpha)
    starts = []
    for sign in (1, -1):
        wire, points = Wire(law), []
        for strain in (0.016, 0.02):
            stress = wire.pull(sign * strain)
            points.append((wire.xi, abs(stress)))
        (xi, low), (more, high) = points
        starts.append(low - xi * (high - low) / (more - xi))
    assert starts == pytest.approx([385e3, 600e3], rel=2e-3)


# --- growth -------------------------------------------------------------------------------------


def test_growth_tensor_and_its_inverse():
    theta = symbol((3,))
    run = Program(growth_tensor(theta, AXES) * growth_inverse(theta, AXES), [theta])
    assert np.allclose(run([1.2, 0.9, 1.4])[0], EYE)
    size = Program(growth_tensor(theta, AXES), [theta])([1.2, 0.9, 1.4])[0]
    assert np.allclose(np.diag(size), [1.2, 0.9, 1.4])


@pytest.mark.parametrize(
    ("pattern", "multipliers"),
    [
        ("isotropic", (2, 2, 2)),
        ("fibre", (2, 1, 1)),
        ("cross_fibre", (1, 2, 2)),
        ("sheet", (1, 2, 1)),
    ],
)
def test_patterns(pattern, multipliers):
    theta = symbol()
    found = Program(Pattern(pattern).multipliers(theta), [theta])(2.0)[0]
    assert tuple(found) == multipliers


def sweeps(law: LimitedGrowth, stretch: float, dt: float) -> float:
    """ϑ after one implicit step from rest."""
    old, guess, F = symbol((3,)), symbol((3,)), symbol(TENSOR)
    load = Load(F, AXES, lambda theta: ufl.as_ufl(0.0))
    run = Program(law.grown(old, guess, load, ufl.as_ufl(dt)), [old, guess, F])
    theta = np.ones(3)
    for _ in range(8):
        theta = run(np.ones(3), theta, np.diag([stretch, 1.0, 1.0]))[0]
    return theta[0]


def test_limited_growth_solves_its_implicit_step():
    law = LimitedGrowth(Pattern.FIBRE, Trigger.FIBRE_STRETCH, 1.01, 1.5, 0.5, 2.0)
    theta = sweeps(law, 1.2, 0.3)
    rate = ((1.5 - theta) / 0.5) ** 2 / 0.5 * (1.2 / theta - 1.01)
    assert theta - 1 == pytest.approx(0.3 * rate, rel=1e-12)
    assert 1 < theta < 1.5


def test_growth_never_passes_its_limit_and_only_shrinks_if_asked_to():
    law = LimitedGrowth(Pattern.FIBRE, Trigger.FIBRE_STRETCH, 1.01, 1.5, 0.5, 2.0)
    assert 1.3 < sweeps(law, 3.0, 10.0) < 1.5
    assert sweeps(law, 0.9, 1.0) == 1
    back = LimitedGrowth(
        Pattern.FIBRE, Trigger.FIBRE_STRETCH, 1.01, 1.5, 0.5, theta_min=0.5, tau_reverse=1.0
    )
    assert 0.5 < sweeps(back, 0.9, 1.0) < 1


def explicit(law, stretch, dt):
    old, F = symbol((3,)), symbol(TENSOR)
    load = Load(F, AXES, lambda theta: ufl.as_ufl(0.0))
    return Program(law.grown(old, old, load, ufl.as_ufl(dt)), [old, F])(
        np.ones(3), np.diag([stretch, 0.95, 0.95])
    )[0]


def test_kerckhoffs_growth_is_half_its_largest_at_the_half_strain():
    stretch = np.sqrt(1 + 2 * 0.06)
    along, across, _ = explicit(KerckhoffsGrowth(), stretch, 0.01)
    room = 1 / (1 + np.exp(40 * (1 - 1.35)))
    assert along - 1 == pytest.approx(0.01 * 0.31 * room / 2, rel=1e-9)
    assert across < 1  # the wall is compressed across the fibres


def test_kroon_growth_rests_at_its_set_point():
    assert explicit(KroonGrowth(), 1.13, 1.0) == pytest.approx(np.ones(3))
    assert np.prod(explicit(KroonGrowth(), 1.23, 1.0)) == pytest.approx(1.001)


# --- bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: MaxwellBranch(-0.1, 1.0), "share"),
        (lambda: MaxwellBranch(0.1, 0.0), "time"),
        (lambda: prony([0.6, 0.5], [1.0, 2.0]), "below 1"),
        (lambda: prony([0.6], [1.0, 2.0]), "each share"),
        (lambda: J2Plasticity(0.0, 1.0), "mu"),
        (lambda: J2Plasticity(1.0, -1.0), "yield_stress"),
        (lambda: J2Plasticity(1.0, 1.0, -1.0), "hardening"),
        (lambda: J2Plasticity(1.0, 1.0, 0.0, 0.5, 1.0), "Softening"),
        (lambda: J2Plasticity(1.0, 1.0, 0.0, 2.0), "saturation_rate"),
        (lambda: J2Plasticity.from_engineering(1.0, 0.6, 1.0), "at most 0.5"),
        (lambda: J2Plasticity.from_engineering(1.0, 0.3, 1.0, hardning=2.0), "hardening"),
        (lambda: Nitinol(-1.0, 1.0, 0.3, 0.06, 4.0, 5.0, 3.0, 2.0), "E_austenite"),
        (lambda: Nitinol(1.0, 1.0, 0.5, 0.06, 4.0, 5.0, 3.0, 2.0), "nu"),
        (lambda: Nitinol(1.0, 1.0, 0.3, 0.06, 5.0, 4.0, 3.0, 2.0), "AM_start"),
        (lambda: Nitinol(1.0, 1.0, 0.3, 0.06, 4.0, 5.0, 2.0, 3.0), "MA_finish"),
        (lambda: Nitinol(1.0, 1.0, 0.3, 0.06, 4.0, 5.0, 3.0, 2.0, 0.9), "alpha"),
        (lambda: asymmetry(2.0, 1.0), "larger"),
        (lambda: LimitedGrowth(Pattern.FIBRE, Trigger.FIBRE_STRETCH, 1.0, 0.9, 1.0), "theta_max"),
        (lambda: KerckhoffsGrowth(rate_f=-1.0), "rate_f"),
        (lambda: PrescribedGrowth(fibre=0.0), "fibre"),
    ],
)
def test_parameters_out_of_bounds_are_refused(make, word):
    with pytest.raises(InputError, match=word):
        make()
