"""Walls of arteries: layers with two families of collagen fibres."""

from __future__ import annotations

from dataclasses import dataclass, field

import ufl
from ufl.core.expr import Expr

from organtwin.materials import tension_only
from organtwin.materials.kinematics import Directions, Scalar, frame, isochoric_first_invariant
from organtwin.materials.parameters import check_parameters, parameter


@dataclass(frozen=True)
class HolzapfelGasserOgden:
    """A layer of an artery: rubber-like matrix and two symmetric families of fibres.

        Ψ = c/2 (Ī₁ − 3) + Σ_{i=1,2} k₁/2k₂ (e^{k₂⟨Eᵢ⟩²} − 1),
        Eᵢ = κ I₁ + (1 − 3κ) I₄ᵢ − 1,     aᵢ = cos β f₀ ± sin β s₀

    with f₀ the circumferential and s₀ the axial direction. Ī₁ of the matrix is isochoric; the
    fibres stretch with the full ``C``, as they do not know of a split into volume and shape.
    Without dispersion, κ = 0, it is the law of Holzapfel, Gasser & Ogden (2000). A family
    carries tension only, ⟨x⟩ = max(x, 0).

    Attributes:
        c: Matrix (kPa), > 0; its shear modulus.
        k_1: Fibres (kPa), ≥ 0.
        k_2: Exponent, > 0.
        angle: β between fibres and the circumference (degrees), 0 to 90.
        kappa: κ, 0 (parallel) to 1/3 (no direction); None for parallel.
        delta: Width of a smooth switch at Eᵢ = 0, as in `HolzapfelOgden`; None for the source's,
            whose stiffness jumps.

    Source:
        Holzapfel, Gasser & Ogden (2000), J. Elasticity 61:1–48; dispersion of Gasser, Ogden &
        Holzapfel (2006), J. R. Soc. Interface 3:15–35; full invariants after Nolan et al. (2014),
        J. Mech. Behav. Biomed. Mater. 39:48–60.
    """

    c: Scalar = field(metadata=parameter("kPa", above=0.0))
    k_1: Scalar = field(metadata=parameter("kPa", at_least=0.0))
    k_2: Scalar = field(metadata=parameter("1", above=0.0))
    angle: Scalar = field(metadata=parameter("degree", at_least=0.0, at_most=90.0))
    kappa: Scalar | None = field(default=None, metadata=parameter("1", at_least=0.0, at_most=1 / 3))
    delta: Scalar | None = field(default=None, metadata=parameter("1", above=0.0))

    def __post_init__(self) -> None:
        check_parameters(self)

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        around, along = frame(directions, self).f0, frame(directions, self).s0
        beta = ufl.pi / 180 * self.angle
        psi = self.c / 2 * (isochoric_first_invariant(C) - 3)
        for sign in (1, -1):
            fibre = ufl.cos(beta) * around + sign * ufl.sin(beta) * along
            psi += self._family(tension_only.dispersed_strain(C, fibre, self.kappa))
        return psi

    def _family(self, x: Expr) -> Expr:
        if self.delta is None:
            return tension_only.sharp(self.k_1, self.k_2, x)
        return tension_only.smooth(self.k_1, self.k_2, x, self.delta)
