"""Isotropic passive laws."""

from __future__ import annotations

from dataclasses import dataclass

from ufl.core.expr import Expr

from organtwin.materials.kinematics import Directions, Scalar, isochoric_first_invariant


@dataclass(frozen=True)
class NeoHookean:
    """Ψ = μ/2 (Ī₁ − 3), the rubber-like law with a constant shear modulus.

    Attributes:
        mu: Shear modulus (kPa), > 0.

    Source:
        Holzapfel (2000), Nonlinear Solid Mechanics, Wiley.
    """

    mu: Scalar

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        return self.mu / 2 * (isochoric_first_invariant(C) - 3)
