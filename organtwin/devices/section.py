"""Sections of struts: shapes, and resultants by integration over fibres."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.fibre_laws import FibreLaw
from organtwin.materials.parameters import check_parameters, parameter

Array = NDArray[np.float64]
History = Mapping[str, Array]


@dataclass(frozen=True)
class Fibres:
    """Places of the fibres in a section: ``y``, ``z`` (mm) along its axes, ``area`` (mm²), (f,)."""

    y: Array
    z: Array
    area: Array


class Shape(Protocol):
    """Outline of a section."""

    @property
    def area(self) -> float:
        """A (mm²)."""
        ...

    @property
    def torsion(self) -> float:
        """J of the torsional stiffness G J (mm⁴)."""
        ...

    @property
    def depth(self) -> float:
        """Extent along the second axis (mm)."""
        ...

    def shear_factors(self, nu: float) -> tuple[float, float]:
        """Factors k of the shear stiffnesses k G A along the second and the third axis."""
        ...

    def fibres(self) -> Fibres:
        """Points and weights to integrate over the section."""
        ...


@dataclass(frozen=True)
class Rectangle:
    """Strut cut from a tube.

    Fibres lie on Gauss–Lobatto points: the outermost ones on the surface, where strains are
    largest, and polynomials up to degree 2n − 3 are integrated exactly.

    Attributes:
        thickness: Along the second axis, of the tube's wall (mm), > 0.
        width: Along the third axis, in the tube's surface (mm), > 0.
        count: Fibres along each edge, at least 3 (our choice: 8, which bends Nitinol 1 % too
            stiff, 6 would 2 %).

    Source:
        Torsion: Timoshenko & Goodier, Theory of Elasticity, section 109. Shear: Cowper (1966),
        J. Appl. Mech. 33:335–340.
    """

    thickness: float = field(metadata=parameter("mm", above=0.0))
    width: float = field(metadata=parameter("mm", above=0.0))
    count: int = field(default=8, metadata=parameter("1", at_least=3, at_most=30))

    def __post_init__(self) -> None:
        check_parameters(self)

    @property
    def area(self) -> float:
        """A (mm²)."""
        return self.thickness * self.width

    @property
    def torsion(self) -> float:
        """J = a³ b/3 [1 − 192 a/(π⁵ b) Σ tanh(nπb/2a)/n⁵ over odd n] with a ≤ b (mm⁴)."""
        a, b = sorted((self.thickness, self.width))
        total = sum(math.tanh(n * math.pi * b / (2 * a)) / n**5 for n in range(1, 40, 2))
        return a**3 * b / 3 * (1 - 192 * a / (math.pi**5 * b) * total)

    @property
    def depth(self) -> float:
        """The thickness (mm)."""
        return self.thickness

    def shear_factors(self, nu: float) -> tuple[float, float]:
        """10 (1 + ν) / (12 + 11 ν) along both axes."""
        k = 10 * (1 + nu) / (12 + 11 * nu)
        return k, k

    def fibres(self) -> Fibres:
        """Lobatto points across thickness and width."""
        x, w = _lobatto(self.count)
        y, z = np.meshgrid(0.5 * self.thickness * x, 0.5 * self.width * x, indexing="ij")
        return Fibres(y.ravel(), z.ravel(), (np.outer(w, w) * self.area / 4).ravel())


@dataclass(frozen=True)
class Circle:
    """Wire.

    Attributes:
        diameter: d (mm), > 0.
        rings: Gauss points along the radius (our choice: 4), besides the surface, which carries no
            weight.
        spokes: Points around (our choice: 16).

    Source:
        Shear: Cowper (1966), J. Appl. Mech. 33:335–340.
    """

    diameter: float = field(metadata=parameter("mm", above=0.0))
    rings: int = field(default=4, metadata=parameter("1", at_least=2, at_most=30))
    spokes: int = field(default=16, metadata=parameter("1", at_least=6, at_most=120))

    def __post_init__(self) -> None:
        check_parameters(self)

    @property
    def area(self) -> float:
        """A (mm²)."""
        return math.pi * self.diameter**2 / 4

    @property
    def torsion(self) -> float:
        """π d⁴/32 (mm⁴)."""
        return math.pi * self.diameter**4 / 32

    @property
    def depth(self) -> float:
        """The diameter (mm)."""
        return self.diameter

    def shear_factors(self, nu: float) -> tuple[float, float]:
        """6 (1 + ν) / (7 + 6 ν) along both axes."""
        k = 6 * (1 + nu) / (7 + 6 * nu)
        return k, k

    def fibres(self) -> Fibres:
        """Gauss points in the square of the radius, equal angles; last the surface."""
        x, w = np.polynomial.legendre.leggauss(self.rings)
        radius = 0.5 * self.diameter * np.append(np.sqrt(0.5 * (x + 1)), 1.0)
        weight = np.append(0.5 * w, 0.0) * self.area / self.spokes
        angle = 2 * math.pi * np.arange(self.spokes) / self.spokes
        y, z = np.outer(radius, np.cos(angle)), np.outer(radius, np.sin(angle))
        return Fibres(y.ravel(), z.ravel(), np.repeat(weight, self.spokes))


@dataclass(frozen=True)
class SectionStep:
    """Answer of sections to their strains.

    Attributes:
        resultants: Forces (mN) and moments (mN mm) in the section's axes, (m, 6).
        tangent: Their derivative by the strains, (m, 6, 6).
        history: For the next step, once this one is accepted.
    """

    resultants: Array
    tangent: Array
    history: History


class Section(Protocol):
    """Law of a section: strains Γ₁ Γ₂ Γ₃ κ₁ κ₂ κ₃ → forces and moments."""

    def start(self, elements: int) -> History:
        """History of elements that were never strained."""
        ...

    def step(self, strain: Array, history: History) -> SectionStep:
        """Resultants at the end of a step that began with ``history``."""
        ...

    def energies(self, strain: Array, history: History) -> tuple[Array, Array]:
        """Elastic energy, and work that is not elastic, per length (mN), (m,) each."""
        ...

    def fibre_strains(self, strain: Array) -> Array:
        """ε along the fibres, (m, f)."""
        ...


@dataclass(frozen=True)
class LinearSection:
    """Section of given stiffnesses.

    Attributes:
        stiffness: E A, G A₂, G A₃ (mN), G J, E I₂, E I₃ (mN mm²).
    """

    stiffness: tuple[float, float, float, float, float, float]

    def start(self, elements: int) -> History:
        """Nothing to remember."""
        return {}

    def step(self, strain: Array, history: History) -> SectionStep:
        """Diagonal law."""
        C = np.diag(self.stiffness)
        return SectionStep(strain @ C, np.broadcast_to(C, (len(strain), 6, 6)), {})

    def energies(self, strain: Array, history: History) -> tuple[Array, Array]:
        """½ strain · C strain, and nothing."""
        return 0.5 * strain**2 @ np.array(self.stiffness), np.zeros(len(strain))

    def fibre_strains(self, strain: Array) -> Array:
        """That of the axis."""
        return strain[:, :1]


@dataclass(frozen=True)
class FibreSection:
    """Section that stays plane, made of fibres.

        ε = Γ₁ + z κ₂ − y κ₃,   n₁ = ∫ P dA,  m₂ = ∫ z P dA,  m₃ = −∫ y P dA

    Shear and torsion stay elastic, with the modulus of the metal at rest: n₂,₃ = k G A Γ₂,₃ and
    m₁ = G J κ₁. That is our choice. It is sound where struts bend in the surface of the tube; where
    they twist while they yield or transform, they are too stiff. Fibres do not feel shear stress.

    Attributes:
        shape: Outline.
        law: Law of a fibre.
    """

    shape: Shape
    law: FibreLaw

    @cached_property
    def _fibres(self) -> Fibres:
        return self.shape.fibres()

    @cached_property
    def _arms(self) -> Array:
        """dε/d(strains), (f, 6)."""
        arms = np.zeros((len(self._fibres.y), 6))
        arms[:, 0], arms[:, 4], arms[:, 5] = 1.0, self._fibres.z, -self._fibres.y
        return arms

    @cached_property
    def _elastic(self) -> Array:
        """G A₂, G A₃ and G J where they stand, (6,)."""
        G = self.law.youngs_modulus / (2 * (1 + self.law.poissons_ratio))
        k2, k3 = self.shape.shear_factors(self.law.poissons_ratio)
        A = self.shape.area
        return np.array([0.0, k2 * G * A, k3 * G * A, G * self.shape.torsion, 0.0, 0.0])

    def start(self, elements: int) -> History:
        """History of all fibres, (m, f) each."""
        return self.law.start((elements, len(self._fibres.y)))

    def step(self, strain: Array, history: History) -> SectionStep:
        """Sum over the fibres."""
        fibres = self.law.step(self.fibre_strains(strain), history)
        weighted = self._arms * self._fibres.area[:, None]
        resultants = fibres.stress @ weighted + strain * self._elastic
        pairs = np.einsum("fi,fj->fij", weighted, self._arms).reshape(-1, 36)
        tangent = (fibres.tangent @ pairs).reshape(-1, 6, 6) + np.diag(self._elastic)
        return SectionStep(resultants, tangent, fibres.history)

    def energies(self, strain: Array, history: History) -> tuple[Array, Array]:
        """Integrals over the section, with those of shear and torsion."""
        elastic, other = (part @ self._fibres.area for part in self.law.energies(history))
        return elastic + 0.5 * strain**2 @ self._elastic, other

    def fibre_strains(self, strain: Array) -> Array:
        """ε of all fibres, (m, f)."""
        return np.asarray(strain @ self._arms.T)


def _lobatto(n: int) -> tuple[Array, Array]:
    """Points and weights of Gauss–Lobatto quadrature on [−1, 1]."""
    legendre = np.polynomial.legendre.Legendre.basis(n - 1)
    x = np.concatenate([[-1.0], np.sort(legendre.deriv().roots().real), [1.0]])
    return x, 2.0 / (n * (n - 1) * legendre(x) ** 2)
