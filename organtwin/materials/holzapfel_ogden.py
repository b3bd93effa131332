"""Passive myocardium of Holzapfel and Ogden."""

from __future__ import annotations

from dataclasses import dataclass

import ufl
from ufl.core.expr import Expr

from organtwin.errors import InputError
from organtwin.materials.kinematics import Directions, Scalar, isochoric_first_invariant


@dataclass(frozen=True)
class HolzapfelOgden:
    """Orthotropic exponential law of passive myocardium.

        Ψ = a/2b (e^{b(Ī₁−3)} − 1) + Σ_{i=f,s} aᵢ/2bᵢ (e^{bᵢ⟨I₄ᵢ−1⟩²} − 1)
            + a_fs/2b_fs (e^{b_fs I₈fs²} − 1)

    with I₄ᵢ = i₀·C i₀, I₈fs = f₀·C s₀ and ⟨x⟩ = max(x, 0): fibres and sheets carry tension only.
    Ī₁ is isochoric, the anisotropic invariants are those of the full ``C``.

    Attributes:
        a, a_f, a_s, a_fs: Stiffnesses (kPa), ≥ 0.
        b, b_f, b_s, b_fs: Exponents (dimensionless), > 0.

    Source:
        Holzapfel & Ogden (2009), Phil. Trans. R. Soc. A 367:3445–3475, eq. 5.38.
    """

    a: Scalar
    b: Scalar
    a_f: Scalar
    b_f: Scalar
    a_s: Scalar
    b_s: Scalar
    a_fs: Scalar
    b_fs: Scalar

    def __post_init__(self) -> None:
        for name in ("a", "a_f", "a_s", "a_fs"):
            _at_least_zero(name, getattr(self, name), strictly=False)
        for name in ("b", "b_f", "b_s", "b_fs"):
            _at_least_zero(name, getattr(self, name), strictly=True)

    @classmethod
    def holzapfel_ogden_2009(cls) -> HolzapfelOgden:
        """The set fitted to simple shear of pig myocardium (table 1 of the source)."""
        return cls(
            a=0.059, b=8.023, a_f=18.472, b_f=16.026,
            a_s=2.481, b_s=11.120, a_fs=0.216, b_fs=11.436,
        )  # fmt: skip

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        if directions is None:
            raise InputError("HolzapfelOgden", "no fibre directions.", "Pass `Directions`.")
        f0, s0 = directions.f0, directions.s0
        f, s = ufl.dot(f0, C * f0) - 1, ufl.dot(s0, C * s0) - 1
        fs = ufl.dot(f0, C * s0)
        matrix = self.a / (2 * self.b) * (ufl.exp(self.b * (isochoric_first_invariant(C) - 3)) - 1)
        return (
            matrix
            + _exponential(self.a_f, self.b_f, _tension(f))
            + _exponential(self.a_s, self.b_s, _tension(s))
            + _exponential(self.a_fs, self.b_fs, fs)
        )


def _tension(strain: Expr) -> Expr:
    return ufl.conditional(ufl.gt(strain, 0), strain, 0 * strain)


def _exponential(a: Scalar, b: Scalar, strain: Expr) -> Expr:
    return a / (2 * b) * (ufl.exp(b * strain**2) - 1)


def _at_least_zero(name: str, value: Scalar, *, strictly: bool) -> None:
    if isinstance(value, float | int) and (value < 0 or (strictly and value == 0)):
        bound = "> 0" if strictly else "≥ 0"
        raise InputError("HolzapfelOgden", f"{name} = {value}.", f"It must be {bound}.")
