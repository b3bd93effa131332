"""Isotropic passive laws."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import ufl
from ufl.core.expr import Expr

from organtwin.errors import InputError
from organtwin.materials.kinematics import (
    Directions,
    Scalar,
    green_lagrange,
    isochoric_first_invariant,
    isochoric_second_invariant,
)
from organtwin.materials.parameters import check_parameters, parameter
from organtwin.materials.stretches import isochoric_power_sums


@dataclass(frozen=True)
class NeoHookean:
    """Ψ = μ/2 (Ī₁ − 3), the rubber-like law with a constant shear modulus.

    Attributes:
        mu: Shear modulus (kPa), > 0.

    Source:
        Holzapfel (2000), Nonlinear Solid Mechanics, Wiley.
    """

    mu: Scalar = field(metadata=parameter("kPa", above=0.0))

    def __post_init__(self) -> None:
        check_parameters(self)

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        return self.mu / 2 * (isochoric_first_invariant(C) - 3)


@dataclass(frozen=True)
class MooneyRivlin:
    """Ψ = c₁ (Ī₁ − 3) + c₂ (Ī₂ − 3); the shear modulus at rest is 2 (c₁ + c₂).

    Attributes:
        c_1: c₁ (kPa), > 0.
        c_2: c₂ (kPa), ≥ 0: with a negative one the law is not elliptic.

    Source:
        Holzapfel (2000), Nonlinear Solid Mechanics, Wiley.
    """

    c_1: Scalar = field(metadata=parameter("kPa", above=0.0))
    c_2: Scalar = field(metadata=parameter("kPa", at_least=0.0))

    def __post_init__(self) -> None:
        check_parameters(self)

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        first = self.c_1 * (isochoric_first_invariant(C) - 3)
        return first + self.c_2 * (isochoric_second_invariant(C) - 3)


@dataclass(frozen=True)
class SaintVenantKirchhoff:
    """Ψ = λ/2 (tr E)² + μ tr E², Hooke's law in the Green–Lagrange strain.

    For teaching and for small strains. It is compressible and needs no pressure, and it fails in
    compression: a bar under uniaxial strain gets softer below a stretch of 1/√3 = 0.58, and
    crushing it to nothing costs a finite energy. The first one made in a run warns of that.

    Attributes:
        youngs_modulus: E (kPa), > 0.
        poisson_ratio: ν, ≥ 0 and < 0.5.

    Source:
        Holzapfel (2000), Nonlinear Solid Mechanics, Wiley.
    """

    youngs_modulus: Scalar = field(metadata=parameter("kPa", above=0.0))
    poisson_ratio: Scalar = field(metadata=parameter("1", at_least=0.0, below=0.5))

    def __post_init__(self) -> None:
        check_parameters(self)
        _warn_of_compression()

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        E = green_lagrange(C)
        lame, mu = lame_parameters(self.youngs_modulus, self.poisson_ratio)
        return lame / 2 * ufl.tr(E) ** 2 + mu * ufl.inner(E, E)


@dataclass(frozen=True)
class Ogden:
    """Law in the principal stretches of the volume-preserving deformation.

        Ψ = Σ_p μ_p/α_p (λ̄₁^α_p + λ̄₂^α_p + λ̄₃^α_p − 3)

    The shear modulus at rest is Σ μ_p α_p / 2. Its form takes a quarter of a minute to compile,
    once, which is several times what the other laws take.

    Attributes:
        mu: μ_p (kPa), one per term, of the sign of its α_p.
        alpha: α_p, not zero.

    Source:
        Ogden (1972), Proc. R. Soc. Lond. A 326:565–584.
    """

    mu: tuple[Scalar, ...] = field(metadata=parameter("kPa"))
    alpha: tuple[Scalar, ...] = field(metadata=parameter("1"))

    def __post_init__(self) -> None:
        check_parameters(self)
        if len(self.mu) != len(self.alpha) or not self.mu:
            found = f"{len(self.mu)} values of mu and {len(self.alpha)} of alpha."
            raise InputError("Ogden", found, "Give one of each per term.")
        for mu, alpha in zip(self.mu, self.alpha, strict=True):
            numbers = isinstance(mu, float | int) and isinstance(alpha, float | int)
            if numbers and mu * alpha <= 0:
                raise InputError(
                    "Ogden",
                    f"mu = {mu} kPa with alpha = {alpha}.",
                    "Each product must be > 0, or the law is unstable.",
                )

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        sums = isochoric_power_sums(C, [alpha / 2 for alpha in self.alpha])
        terms = zip(self.mu, self.alpha, sums, strict=True)
        return sum(mu / alpha * (total - 3) for mu, alpha, total in terms)


def lame_parameters(youngs_modulus: Scalar, poisson_ratio: Scalar) -> tuple[Scalar, Scalar]:
    """λ = Eν / ((1 + ν)(1 − 2ν)) and μ = E / (2(1 + ν)) (kPa)."""
    E, nu = youngs_modulus, poisson_ratio
    return E * nu / ((1 + nu) * (1 - 2 * nu)), E / (2 * (1 + nu))


def _warn_of_compression() -> None:
    """Once per run, wherever the law is made."""
    if not _warned:
        _warned.append(True)
        warnings.warn(
            "SaintVenantKirchhoff fails in compression and at large strains; for these take "
            "NeoHookean with Incompressibility.",
            stacklevel=4,
        )


_warned: list[bool] = []
