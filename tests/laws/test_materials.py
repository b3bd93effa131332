"""Laws that every passive material must satisfy, at random states away from switches."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.materials import catalogue, isotropic
from organtwin.materials.active import ActiveStrain, PrescribedTension, TensionCurve
from organtwin.materials.arterial import HolzapfelGasserOgden
from organtwin.materials.bone import OrthotropicBone
from organtwin.materials.guccione import Fung, Guccione, Usyk
from organtwin.materials.holzapfel_ogden import HolzapfelOgden
from organtwin.materials.isotropic import MooneyRivlin, NeoHookean, Ogden, SaintVenantKirchhoff
from organtwin.materials.kinematics import Directions, as_constants, first_piola
from organtwin.materials.organs import Cartilage, LungParenchyma
from organtwin.materials.parameters import ranges
from organtwin.materials.pointwise import PointLaw, Program, symbol
from organtwin.solve import options
from organtwin.verify.geometry import box
from organtwin.verify.material_laws import SHEARED, consistency

pytestmark = pytest.mark.filterwarnings("ignore:SaintVenantKirchhoff")

NAMES = catalogue.names()
#: Laws without an `Incompressibility` of their own beside them.
COMPRESSIBLE = {"lung", "cartilage", "bone", "Saint-Venant-Kirchhoff"}
HO = HolzapfelOgden.holzapfel_ogden_2009()


def tilted_axes() -> np.ndarray:
    """Rows: fibre, sheet and normal, not aligned with the axes."""
    a, b = 0.4, 0.3
    f = [np.cos(a) * np.cos(b), np.sin(a) * np.cos(b), np.sin(b)]
    s = [-np.sin(a), np.cos(a), 0.0]
    return np.array([f, s, np.cross(f, s)])


def directions() -> Directions:
    return Directions(*(ufl.as_vector(row) for row in tilted_axes().tolist()))


def as_point(law) -> PointLaw:
    return PointLaw(law, directions())


@cache
def point(name: str) -> PointLaw:
    return as_point(catalogue.example(name))


def strains() -> np.ndarray:
    """Five independent symmetric tensors without trace."""
    e = np.zeros((5, 3, 3))
    for k, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
        e[k, i, j] = e[k, j, i] = 1
    e[3], e[4] = np.diag([1.0, -1.0, 0.0]), np.diag([1.0, 1.0, -2.0])
    return e


@pytest.mark.parametrize("name", [name for name in NAMES if name != "active strain"])
def test_stress_free_at_rest(name):
    law = point(name)
    scale = np.abs(law.first_piola(SHEARED)).max()
    assert law.energy(np.eye(3))[0] == pytest.approx(0.0, abs=1e-14 * scale)
    assert np.abs(law.first_piola(np.eye(3))).max() < 1e-13 * scale


@pytest.mark.parametrize("name", NAMES)
def test_stress_tangent_and_energy_belong_together(name):
    """P is the derivative of Ψ, the tangent that of P, and a rotation only turns P."""
    found = consistency(point(name))
    assert found.stress < 1e-7
    assert found.tangent < 1e-7
    assert found.objectivity < 1e-11


@pytest.mark.parametrize("name", [name for name in NAMES if name != "active strain"])
def test_stiff_at_rest(name):
    """Each volume-preserving strain meets a resistance, and the tangent is symmetric."""
    A = point(name).tangent(np.eye(3))[0]
    assert np.allclose(A, A.transpose(2, 3, 0, 1), rtol=1e-9, atol=1e-12 * np.abs(A).max())
    basis = strains().reshape(5, 9)
    assert np.linalg.eigvalsh(basis @ A.reshape(9, 9) @ basis.T).min() > 1e-3
    bulk = np.einsum("iijj->", A) / 9
    assert bulk > (0.1 if name in COMPRESSIBLE else -1e-9 * np.abs(A).max())


@pytest.mark.parametrize("name", ["Ogden", "Holzapfel-Ogden", "Holzapfel-Gasser-Ogden, dispersed"])
def test_the_frame_turns_with_the_material(name):
    """With the tissue turned before it is loaded, the stress turns with it."""
    law = catalogue.example(name)
    R = tilted_axes().T  # turns the axes into the tilted frame
    P = PointLaw(law).first_piola(SHEARED)[0]
    assert as_point(law).first_piola(SHEARED @ R.T)[0] == pytest.approx(P @ R.T, rel=1e-9)


def test_compiled_laws_are_those_that_numpy_evaluates():
    """One compiled expression holds the energies of all laws."""
    msh = box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1)).mesh
    F = fem.Constant(msh, SHEARED)
    energies = [catalogue.example(n).strain_energy(F.T * F, directions()) for n in NAMES]
    here = np.array([[0.25, 0.25, 0.25]])
    compiled = fem.Expression(ufl.as_vector(energies), here, jit_options=options.jit())
    found = compiled.eval(msh, np.array([0], dtype=np.int32)).ravel()
    assert found == pytest.approx([point(n).energy(SHEARED)[0] for n in NAMES], rel=1e-9)


# --- isotropic laws -----------------------------------------------------------------------------


def spectral(law: Ogden, stretches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energy and principal P of an Ogden law from the stretches themselves."""
    J = stretches.prod(axis=-1, keepdims=True)
    bar = stretches / J ** (1 / 3)
    energy = sum(m / a * ((bar**a).sum(-1) - 3) for m, a in zip(law.mu, law.alpha, strict=True))
    slope = sum(m * bar**a for m, a in zip(law.mu, law.alpha, strict=True))
    return energy, (slope - slope.mean(-1, keepdims=True)) / stretches


@pytest.mark.parametrize("gap", [0.5, 0.05, 2e-3, 1e-5, 1e-9, 0.0])
def test_ogden_near_equal_stretches(gap):
    """At rest, uniaxial and equibiaxial states and ever closer to them: Ψ, P and the tangent."""
    law, rng = catalogue.example("Ogden"), np.random.default_rng(5)
    base = np.array([[1, 1, 1], [1.6, 0.8, 0.8], [0.6, 1.3, 1.3], [3, 0.5, 0.5]], dtype=float)
    stretches = base * np.exp(gap * rng.uniform(-0.5, 0.5, (4, 3)))
    R, Q = (np.linalg.qr(rng.standard_normal((4, 3, 3)))[0] for _ in range(2))
    F = (R * stretches[:, None, :]) @ Q
    energy, principal = spectral(law, stretches)
    scale = 1 + np.abs(principal).max()
    assert point("Ogden").energy(F) == pytest.approx(energy, rel=1e-10, abs=1e-12)
    P = (R * principal[:, None, :]) @ Q
    assert np.abs(point("Ogden").first_piola(F) - P).max() < 1e-10 * scale
    h, A = 1e-5, point("Ogden").tangent(F)
    H = rng.standard_normal((3, 3))
    slope = (point("Ogden").first_piola(F + h * H) - point("Ogden").first_piola(F - h * H)) / 2 / h
    assert np.abs(slope - np.einsum("nijkl,kl->nij", A, H)).max() < 1e-6 * np.abs(A).max()


@pytest.mark.slow
def test_compiled_ogden_tangent_at_rest_and_in_uniaxial_stretch():
    """At rest it is that of a neo-Hookean law; with -ffast-math a stray NaN would spoil it."""
    msh = box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1)).mesh
    space = fem.functionspace(msh, ("P", 1, (3,)))
    u, rng = fem.Function(space), np.random.default_rng(4)

    def forms(law) -> list[fem.Form]:
        P = first_piola(law, ufl.Identity(3) + ufl.grad(u), None)
        residual = ufl.inner(P, ufl.grad(ufl.TestFunction(space))) * ufl.dx(degree=2)
        wanted = (residual, ufl.derivative(residual, u))
        return [fem.form(form, jit_options=options.jit()) for form in wanted]

    residual, tangent = forms(catalogue.example("Ogden"))
    shear = (1.3 * 7.3 + 0.2 * 5.1) / 2
    at_rest = fem.assemble_matrix(tangent).to_dense()
    expected = fem.assemble_matrix(forms(NeoHookean(mu=shear))[1]).to_dense()
    assert at_rest == pytest.approx(expected, abs=1e-9)
    u.interpolate(lambda x: np.array([0.6, -0.2, -0.2])[:, None] * x)
    stretched, start = fem.assemble_matrix(tangent).to_dense(), u.x.array.copy()
    step, sides = 1e-6 * rng.standard_normal(len(start)), []
    for sign in (1, -1):
        u.x.array[:] = start + sign * step
        sides.append(fem.assemble_vector(residual).array.copy())
    assert stretched @ step == pytest.approx((sides[0] - sides[1]) / 2, rel=1e-6, abs=1e-13)


@pytest.mark.parametrize(
    ("ogden", "same"),
    [
        (Ogden(mu=(3.0,), alpha=(2.0,)), NeoHookean(mu=3.0)),
        (Ogden(mu=(2.0, -1.0), alpha=(2.0, -2.0)), MooneyRivlin(c_1=1.0, c_2=0.5)),
    ],
)
def test_ogden_contains_the_polynomial_laws(ogden, same):
    found, expected = (as_point(law).first_piola(SHEARED) for law in (ogden, same))
    assert found == pytest.approx(expected, rel=1e-9)


def uniaxial(law, stretch: float) -> float:
    """P along the fibre of an incompressible bar that contracts equally across it."""
    side = stretch**-0.5
    P = PointLaw(law).first_piola(np.diag([stretch, side, side]))[0]
    return P[0, 0] - P[2, 2] * side / stretch


@pytest.mark.parametrize(
    ("law", "stretch", "expected"),
    [
        (NeoHookean(mu=10.0), 2.0, 17.5),
        (MooneyRivlin(c_1=2.5, c_2=2.5), 2.0, 13.125),
        (replace(HO, delta=1e-6), 1.1, 17.32206451195601),
    ],
)
def test_uniaxial_closed_forms(law, stretch, expected):
    """μ(λ − λ⁻²), 2c₁(λ − λ⁻²) + 2c₂(1 − λ⁻³), and the matrix and fibre terms of the third."""
    assert uniaxial(law, stretch) == pytest.approx(expected, rel=1e-8)


def test_saint_venant_kirchhoff_warns_once(monkeypatch):
    monkeypatch.setattr(isotropic, "_warned", [])
    with pytest.warns(UserWarning, match="fails in compression"):
        SaintVenantKirchhoff(youngs_modulus=10.0, poisson_ratio=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SaintVenantKirchhoff(youngs_modulus=10.0, poisson_ratio=0.3)


def test_saint_venant_kirchhoff_softens_below_one_over_root_three():
    """What the warning is about."""
    law = PointLaw(SaintVenantKirchhoff(youngs_modulus=10.0, poisson_ratio=0.3))
    above, below = (law.tangent(np.diag([s, 1, 1]))[0, 0, 0, 0, 0] for s in (0.58, 0.57))
    assert above > 0 > below


# --- laws with small-strain moduli --------------------------------------------------------------


def moduli(law) -> tuple[float, float]:
    """Young's modulus along the fibre and Poisson ratio at rest."""
    A = PointLaw(law).tangent(np.eye(3))[0]
    stiffness = np.array([[A[i, i, j, j] for j in range(3)] for i in range(3)])
    compliance = np.linalg.inv(stiffness)
    return 1 / compliance[0, 0], -compliance[0, 1] / compliance[0, 0]


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (LungParenchyma.birzle_2019(), (1.9137, 0.3413)),
        (Cartilage(youngs_modulus=500.0, poisson_ratio=0.15, beta=0.7), (500.0, 0.15)),
        (OrthotropicBone.isotropic(17e6, 0.3), (17e6, 0.3)),
        (OrthotropicBone.transversely_isotropic(17e6, 11e6, 3e6, 0.31, 0.4), (17e6, 0.31)),
    ],
)
def test_moduli_at_rest(law, expected):
    assert moduli(law) == pytest.approx(expected, rel=1e-9)


def test_isotropic_bone_is_saint_venant_kirchhoff():
    bone = as_point(OrthotropicBone.isotropic(10.0, 0.3)).first_piola(SHEARED)
    assert bone == pytest.approx(point("Saint-Venant-Kirchhoff").first_piola(SHEARED) * 1.0)


def test_cartilage_resists_being_crushed():
    law = PointLaw(catalogue.example("cartilage"))
    crushed = np.array([s * np.eye(3) for s in (0.8, 0.5, 0.2, 0.1)])
    pressure = -law.cauchy(crushed)[:, 0, 0]
    assert (np.diff(pressure) > 0).all()
    assert pressure[-1] > 1e4


# --- fibres -------------------------------------------------------------------------------------


def shear_stress(law, mode: str, gamma: float) -> float:
    """Cauchy shear stress σ_ij at F = I + γ e_j ⊗ e_i in the axes of ``mode``."""
    i, j = ("fsn".index(letter) for letter in mode)
    F = np.eye(3)
    F[j, i] += gamma
    return PointLaw(law).cauchy(F)[0, i, j]


def test_switch_only_touches_small_strains():
    """Above δ the stress is that of the sharp law, whatever δ."""
    F = np.diag([1.05, 1.0, 1.0])
    smooth, sharp = (PointLaw(replace(HO, delta=d)).first_piola(F) for d in (0.04, 1e-6))
    assert smooth == pytest.approx(sharp, rel=1e-9, abs=1e-12)


def test_logistic_switch_is_the_sharp_one_far_from_rest():
    F = np.array([np.diag([1.2, 1.0, 1.0]), np.diag([0.8, 1.0, 1.0])])
    logistic, sharp = (
        PointLaw(replace(HO, a_s=0.0, **kind)).first_piola(F)[:, 0, 0]
        for kind in ({"logistic": 100.0}, {"delta": 1e-6})
    )
    assert logistic == pytest.approx(sharp, rel=1e-6)


def test_logistic_switch_softens_under_compression():
    """It isn't convex: past some compression the fibre's own stiffness is negative."""
    fibre = replace(HO, a=0.0, a_s=0.0, a_fs=0.0)
    F = np.array([np.diag([s, 1, 1]) for s in np.linspace(0.96, 1.0, 41)])
    stiffness = [
        PointLaw(law).tangent(F)[:, 0, 0, 0, 0].min()
        for law in (replace(fibre, logistic=100.0), fibre)
    ]
    assert stiffness[0] < -0.1
    assert stiffness[1] >= 0


@pytest.mark.parametrize("turn", [0.0, 0.5, 1.2])
def test_fully_dispersed_fibres_have_no_direction(turn):
    law = HolzapfelGasserOgden(c=3.0, k_1=2.0, k_2=0.8, angle=30.0, kappa=1 / 3)
    Q = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    F = np.diag([1.3, 0.9, 1 / 1.17])
    assert PointLaw(law).energy(F @ Q) == pytest.approx(PointLaw(law).energy(F), rel=1e-10)


def test_no_dispersion_is_parallel_fibres():
    parallel = HolzapfelGasserOgden(c=3.0, k_1=2.0, k_2=0.8, angle=30.0)
    laws = (parallel, replace(parallel, kappa=0.0), HO, replace(HO, kappa_f=0.0, kappa_s=0.0))
    P = [as_point(law).first_piola(SHEARED) for law in laws]
    assert P[0] == pytest.approx(P[1], rel=1e-12)
    assert P[2] == pytest.approx(P[3], rel=1e-12)


def test_fung_contains_usyk_contains_guccione():
    guccione = Guccione(stiffness=2.0, b_f=8.0, b_t=2.0, b_fs=4.0)
    usyk = Usyk(stiffness=2.0, b_f=8.0, b_s=2.0, b_n=2.0, b_fs=4.0, b_fn=4.0, b_sn=2.0)
    fung = Fung(2.0, 8.0, 2.0, 2.0, 0.0, 0.0, 0.0, 4.0, 4.0, 2.0)
    P = [as_point(law).first_piola(SHEARED) for law in (guccione, usyk, fung)]
    assert P[1] == pytest.approx(P[0], rel=1e-12)
    assert P[2] == pytest.approx(P[0], rel=1e-12)


def test_laws_with_fibres_ask_for_directions():
    C = ufl.Identity(3)
    for name in ("Holzapfel-Ogden", "Guccione", "Fung", "Lee-Sacks", "bone", "active strain"):
        with pytest.raises(InputError, match="no fibre directions"):
            catalogue.example(name).strain_energy(C, None)


# --- contraction --------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_active_strain_relaxes_in_its_contracted_shape(share):
    law = ActiveStrain(HO, gamma=-0.15, sheet_share=share)
    stretch = 0.85
    contracted = np.diag([stretch, stretch**-share, stretch ** (share - 1)])
    assert np.linalg.det(contracted) == pytest.approx(1.0)
    assert np.abs(PointLaw(law).first_piola(contracted)).max() < 1e-12
    assert PointLaw(law).first_piola(np.eye(3))[0, 0, 0] > 1.0
    idle = ActiveStrain(HO, gamma=0.0)
    assert PointLaw(idle).first_piola(SHEARED) == pytest.approx(PointLaw(HO).first_piola(SHEARED))


def test_prescribed_tension_follows_its_curve():
    msh = box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1)).mesh
    curve = TensionCurve(times=(0.0, 100.0, 300.0), values=(0.0, 60.0, 0.0), period=800.0)
    uniform = PrescribedTension(curve, fem.Constant(msh, 0.0))
    space = fem.functionspace(msh, ("P", 1))
    late = fem.Function(space)
    late.x.array[:] = 50.0
    late.x.array[0] = np.inf
    delayed = PrescribedTension(curve, fem.Function(space), late)
    for t, expected in ((50.0, 30.0), (100.0, 60.0), (200.0, 30.0), (700.0, 0.0), (850.0, 30.0)):
        uniform.set_time(t)
        delayed.set_time(t + 50)
        assert float(uniform.Ta.value) == pytest.approx(expected)
        assert delayed.Ta.x.array[1:] == pytest.approx(expected)
        assert delayed.Ta.x.array[0] == 0.0


@pytest.mark.parametrize(
    ("times", "values", "message"),
    [
        ((0.0, 1.0), (0.0,), "2 instants and 1 tensions"),
        ((0.0, 0.0), (0.0, 1.0), "do not increase"),
        ((0.0, 1.0), (0.0, -1.0), "tension of -1"),
        ((0.0, 1.0), (0.0, np.nan), "no number"),
    ],
)
def test_bad_tension_curves(times, values, message):
    with pytest.raises(InputError, match=message):
        TensionCurve(times, values)


# --- parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NeoHookean(mu=0.0), "mu = 0 kPa. It must be > 0 kPa"),
        (lambda: NeoHookean(mu=np.nan), "mu = nan"),
        (lambda: replace(HO, a_f=-1.0), "a_f = -1 kPa. It must be ≥ 0 kPa"),
        (lambda: replace(HO, kappa_f=0.4), "kappa_f = 0.4. It must be ≥ 0 and ≤ 0.333"),
        (lambda: Cartilage(1.0, 0.5, 1.0), "poisson_ratio = 0.5. It must be ≥ 0 and < 0.5"),
        (lambda: Ogden(mu=(1.0,), alpha=(2.0, 3.0)), "1 values of mu and 2 of alpha"),
        (lambda: Ogden(mu=(1.0,), alpha=(-2.0,)), "unstable"),
        (lambda: Fung(1.0, 1, 1, 1, 2.0, 0, 0, 1, 1, 1), "eigenvalue -1"),
        (lambda: OrthotropicBone(1, 1, 1, 1, 1, 1, 0.6, 0.6, 0.6), "positive definite"),
        (lambda: ActiveStrain(HO, gamma=-1.0), "gamma = -1. It must be > -1"),
    ],
)
def test_impossible_parameters(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_parameter_fields_are_checked_too():
    msh = box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1)).mesh
    mu = fem.Function(fem.functionspace(msh, ("DG", 0)))
    mu.x.array[:] = 2.0
    NeoHookean(mu=mu)
    mu.x.array[1] = -3.0
    with pytest.raises(InputError, match="mu = -3 to 2 kPa"):
        NeoHookean(mu=mu)


def test_every_parameter_has_a_unit():
    for name in NAMES:
        law = catalogue.example(name)
        assert ranges(law), name
        assert {r.unit for r in ranges(law).values()} <= {"kPa", "1", "degree"}


def test_numbers_become_constants_at_every_depth():
    msh = box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1)).mesh
    ogden = as_constants(Ogden(mu=(3.0, 1.0), alpha=(2.0, 4.0)), msh)
    assert all(isinstance(value, fem.Constant) for value in (*ogden.mu, *ogden.alpha))
    active = as_constants(ActiveStrain(HO, gamma=-0.1), msh)
    assert isinstance(active.material.a_f, fem.Constant)
    before = as_point(active).first_piola(SHEARED)
    active.gamma.value = 0.0
    assert as_point(active).first_piola(SHEARED) == pytest.approx(as_point(HO).first_piola(SHEARED))
    assert before != pytest.approx(as_point(HO).first_piola(SHEARED))
    assert as_constants(HO, msh, vary=("a_f",)).a == HO.a


def test_pointwise_values_need_no_place():
    x = ufl.SpatialCoordinate(box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1)).mesh)
    with pytest.raises(InputError, match="SpatialCoordinate"):
        Program(x[0], [])
    a = symbol()
    assert Program(ufl.conditional(ufl.gt(a, 0), ufl.ln(a), 0.0), [a])([np.e, -1.0]).tolist() == [
        1,
        0,
    ]


def test_catalogue_helps_with_names():
    with pytest.raises(InputError, match="Did you mean `Guccione`"):
        catalogue.example("Gucione")


def test_first_piola_is_the_stress_of_the_point():
    F = symbol((3, 3))
    found = Program(first_piola(HO, F, directions()), [F])(SHEARED)
    assert found == pytest.approx(as_point(HO).first_piola(SHEARED), rel=1e-12)
