"""Leaflets of heart valves."""

from __future__ import annotations

from dataclasses import dataclass, field

import ufl
from ufl.core.expr import Expr

from organtwin.materials.kinematics import Directions, Scalar, frame, isochoric_first_invariant
from organtwin.materials.parameters import check_parameters, parameter


@dataclass(frozen=True)
class LeeSacks:
    """Transversely isotropic leaflet law with separate exponentials of matrix and fibres.

        Ψ = c₁₀ (Ī₁ − 3) + c₀/2 [w e^{c₁(Ī₁−3)²} + (1 − w) e^{c₂⟨I₄−1⟩²} − 1]

    with the fibres along f₀, the circumferential direction. They carry tension only.

    Attributes:
        c_10: c₁₀ (kPa), > 0: half the shear modulus at rest.
        c_0: c₀ (kPa), ≥ 0.
        c_1, c_2: Exponents of matrix and fibres, > 0.
        weight: w, share of the matrix, 0 to 1.

    Source:
        Lee et al. (2014), J. Biomech. 47:2055–2063.
    """

    c_10: Scalar = field(metadata=parameter("kPa", above=0.0))
    c_0: Scalar = field(metadata=parameter("kPa", at_least=0.0))
    c_1: Scalar = field(metadata=parameter("1", above=0.0))
    c_2: Scalar = field(metadata=parameter("1", above=0.0))
    weight: Scalar = field(metadata=parameter("1", at_least=0.0, at_most=1.0))

    def __post_init__(self) -> None:
        check_parameters(self)

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        f0 = frame(directions, self).f0
        matrix = isochoric_first_invariant(C) - 3
        fibre = ufl.max_value(ufl.dot(f0, C * f0) - 1, 0)
        exponentials = self.weight * ufl.exp(self.c_1 * matrix**2) + (1 - self.weight) * ufl.exp(
            self.c_2 * fibre**2
        )
        return self.c_10 * matrix + self.c_0 / 2 * (exponentials - 1)


@dataclass(frozen=True)
class MayNewmanYin:
    """Leaflet law with one exponential of both invariants.

        Ψ = μ/2 (Ī₁ − 3) + c₀ (e^{c₁(Ī₁−3)² + c₂(λ_f−1)⁴} − 1),     λ_f = |F f₀|

    It was fitted to biaxial tests of mitral leaflets, and the three-coefficient form to those of
    the aortic and the pulmonary valve, too. Without μ, which the source does not have, the leaflet
    has no stiffness at all at rest, and no solver starts from there.

    Attributes:
        mu: μ, shear modulus at rest (kPa), > 0; small beside c₀ c₁.
        c_0: c₀ (kPa), ≥ 0.
        c_1, c_2: Exponents of matrix and fibres, ≥ 0.

    Source:
        May-Newman & Yin (1998), J. Biomech. Eng. 120:38–47; May-Newman, Lam & Yin (2009),
        J. Biomech. Eng. 131:081009.
    """

    mu: Scalar = field(metadata=parameter("kPa", above=0.0))
    c_0: Scalar = field(metadata=parameter("kPa", at_least=0.0))
    c_1: Scalar = field(metadata=parameter("1", at_least=0.0))
    c_2: Scalar = field(metadata=parameter("1", at_least=0.0))

    def __post_init__(self) -> None:
        check_parameters(self)

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        f0 = frame(directions, self).f0
        matrix = isochoric_first_invariant(C) - 3
        fibre = ufl.sqrt(ufl.dot(f0, C * f0)) - 1
        exponent = self.c_1 * matrix**2 + self.c_2 * fibre**4
        return self.mu / 2 * matrix + self.c_0 * (ufl.exp(exponent) - 1)
