"""Laws that every passive material must satisfy, at random states away from switches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

import organtwin.mesh.domain
from organtwin.materials.guccione import Guccione
from organtwin.materials.holzapfel_ogden import HolzapfelOgden
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.kinematics import Directions, Material, first_piola
from organtwin.verify.geometry import box

MATERIALS = [
    NeoHookean(mu=2.0),
    Guccione(stiffness=2.0, b_f=8.0, b_t=2.0, b_fs=4.0),
    HolzapfelOgden.holzapfel_ogden_2009(),
]
#: Stretched along the fibre, so that no fibre term is at its switch.
F0 = np.array([[1.12, 0.03, -0.02], [0.02, 1.05, 0.04], [0.01, -0.03, 0.93]])


@pytest.fixture(scope="module")
def unit_box() -> organtwin.mesh.domain.Domain:
    return box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1))


def directions() -> Directions:
    """A fibre frame that is not aligned with the axes."""
    a, b = 0.4, 0.3
    f = [np.cos(a) * np.cos(b), np.sin(a) * np.cos(b), np.sin(b)]
    s = [-np.sin(a), np.cos(a), 0.0]
    return Directions(*(ufl.as_vector(list(v)) for v in (f, s, np.cross(f, s))))


class Point:
    """Energy and stress of a material as functions of numbers."""

    def __init__(self, domain: organtwin.mesh.domain.Domain, material: Material) -> None:
        F = fem.Constant(domain.mesh, np.eye(3))
        self.F = F
        x = np.array([[0.25, 0.25, 0.25]])
        C = F.T * F
        self._mesh = domain.mesh
        self._energy = fem.Expression(material.strain_energy(C, directions()), x)
        self._P = fem.Expression(first_piola(material, F, directions()), x)

    def energy(self, F: np.ndarray) -> float:
        self.F.value[...] = F
        return float(self._energy.eval(self._mesh, np.array([0], dtype=np.int32)).ravel()[0])

    def P(self, F: np.ndarray) -> np.ndarray:
        self.F.value[...] = F
        return self._P.eval(self._mesh, np.array([0], dtype=np.int32)).reshape(3, 3)


@pytest.mark.parametrize("material", MATERIALS, ids=lambda m: type(m).__name__)
class TestLaws:
    def test_stress_free_at_rest(self, unit_box, material):
        point = Point(unit_box, material)
        assert point.energy(np.eye(3)) == pytest.approx(0.0, abs=1e-14)
        assert np.abs(point.P(np.eye(3))).max() < 1e-12

    def test_stress_is_the_derivative_of_the_energy(self, unit_box, material):
        point, h = Point(unit_box, material), 1e-6
        numerical = np.empty((3, 3))
        for i, j in np.ndindex(3, 3):
            d = np.zeros((3, 3))
            d[i, j] = h
            numerical[i, j] = (point.energy(F0 + d) - point.energy(F0 - d)) / (2 * h)
        assert point.P(F0) == pytest.approx(numerical, rel=1e-6, abs=1e-8)

    def test_objectivity(self, unit_box, material):
        a = 0.7
        Q = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        point = Point(unit_box, material)
        assert point.energy(Q @ F0) == pytest.approx(point.energy(F0), rel=1e-12)
        assert point.P(Q @ F0) == pytest.approx(Q @ point.P(F0), rel=1e-10)

    def test_stiff_at_rest(self, unit_box, material):
        """Each volume-preserving strain costs energy."""
        point = Point(unit_box, material)
        rng = np.random.default_rng(1)
        for _ in range(20):
            e = rng.standard_normal((3, 3))
            e = (e + e.T) / 2
            e -= np.trace(e) / 3 * np.eye(3)
            F = np.eye(3) + 0.02 * e / np.linalg.norm(e)
            assert point.energy(F / np.linalg.det(F) ** (1 / 3)) > 0


def shear_stress(point: Point, mode: str, gamma: float) -> float:
    """Cauchy shear stress σ_ij at F = I + γ e_j ⊗ e_i in the axes of ``mode``."""
    i, j = ("fsn".index(letter) for letter in mode)
    frame = np.array([[float(c) for c in d.ufl_operands] for d in vars(directions()).values()])
    F = np.eye(3) + gamma * np.outer(frame[j], frame[i])
    sigma = point.P(F) @ F.T
    return float(frame[i] @ sigma @ frame[j])


@pytest.mark.parametrize(
    ("mode", "gamma", "expected"),
    [
        ("fs", 0.2, 0.388), ("fs", 0.3, 1.354), ("fn", 0.3, 1.172), ("sf", 0.3, 0.364),
        ("sn", 0.3, 0.183), ("nf", 0.3, 0.036), ("ns", 0.4, 0.085), ("sn", 0.5, 1.462),
    ],
)  # fmt: skip
def test_holzapfel_ogden_simple_shear(unit_box, mode, gamma, expected):
    """Six modes of simple shear of the 2009 set, evaluated by hand from the formula."""
    sharp = replace(HolzapfelOgden.holzapfel_ogden_2009(), delta=1e-6)
    point = Point(unit_box, sharp)
    assert shear_stress(point, mode, gamma) == pytest.approx(expected, abs=0.0006)


def test_switch_only_touches_small_strains(unit_box):
    """Above δ the stress is that of the sharp law, whatever δ."""
    law = HolzapfelOgden.holzapfel_ogden_2009()
    smooth, sharp = (Point(unit_box, replace(law, delta=d)) for d in (0.04, 1e-6))
    frame = np.array([[float(c) for c in d.ufl_operands] for d in vars(directions()).values()])
    F = np.eye(3) + 0.05 * np.outer(frame[0], frame[0])
    assert smooth.P(F) == pytest.approx(sharp.P(F), rel=1e-9, abs=1e-12)


def test_neo_hookean_uniaxial(unit_box):
    """P = μ (λ − λ⁻²) of an incompressible bar: 17.5 kPa at λ = 2 for μ = 10 kPa."""
    point = Point(unit_box, NeoHookean(mu=10.0))
    F = np.diag([2.0, 2**-0.5, 2**-0.5])
    P = point.P(F)
    assert P[0, 0] - P[1, 1] * F[1, 1] / F[0, 0] == pytest.approx(17.5, rel=1e-12)
