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

    with I₄ᵢ = i₀·C i₀ and I₈fs = f₀·C s₀. Ī₁ is isochoric, the anisotropic invariants are those of
    the full ``C``. Fibres and sheets carry tension only, ⟨x⟩ = max(x, 0). The stiffness of the
    source jumps at I₄ = 1, by a factor of a hundred; here it grows from zero within 0 < x < δ,

        ∂Ψᵢ/∂x = aᵢ x e^{bᵢx²} (3t² − 2t³),     t = x/δ,

    up to a factor of e^{0.3 b δ²} below δ; above it is the source's. Ψ is convex in x either way,
    which a logistic switch is not: that one softens the tissue under compression.

    Attributes:
        a, a_f, a_s, a_fs: Stiffnesses (kPa), ≥ 0.
        b, b_f, b_s, b_fs: Exponents (dimensionless), > 0.
        delta: δ, width of the switch in I₄ (dimensionless), > 0.

    Source:
        Holzapfel & Ogden (2009), Phil. Trans. R. Soc. A 367:3445–3475.
    """

    a: Scalar
    b: Scalar
    a_f: Scalar
    b_f: Scalar
    a_s: Scalar
    b_s: Scalar
    a_fs: Scalar
    b_fs: Scalar
    delta: Scalar = 0.04

    def __post_init__(self) -> None:
        for name in ("a", "a_f", "a_s", "a_fs"):
            _at_least_zero(name, getattr(self, name), strictly=False)
        for name in ("b", "b_f", "b_s", "b_fs", "delta"):
            _at_least_zero(name, getattr(self, name), strictly=True)

    @classmethod
    def holzapfel_ogden_2009(cls) -> HolzapfelOgden:
        """The set fitted to simple shear of pig myocardium by the source."""
        return cls(
            a=0.059, b=8.023, a_f=18.472, b_f=16.026,
            a_s=2.481, b_s=11.120, a_fs=0.216, b_fs=11.436,
        )  # fmt: skip

    @classmethod
    def cardiomechanics(cls) -> HolzapfelOgden:
        """A stiffer matrix for whole-heart models: example EM01 of KIT's CardioMechanics code."""
        return cls(
            a=0.330, b=9.242, a_f=18.535, b_f=15.972,
            a_s=2.564, b_s=10.446, a_fs=0.417, b_fs=11.602,
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
            + self._tension_only(self.a_f, self.b_f, f)
            + self._tension_only(self.a_s, self.b_s, s)
            + _exponential(self.a_fs, self.b_fs, fs**2)
        )

    def _tension_only(self, a: Scalar, b: Scalar, x: Expr) -> Expr:
        # h(x) replaces x²: its derivative is 2x (3t² − 2t³), so h = x² − 0.3 δ² above δ.
        x = ufl.max_value(x, 0)
        t = ufl.min_value(x / self.delta, 1)
        below = self.delta**2 * (1.5 * t**4 - 0.8 * t**5)
        above = x**2 - (self.delta * t) ** 2
        return _exponential(a * ufl.exp(0.3 * b * self.delta**2), b, below + above)


def _exponential(a: Scalar | Expr, b: Scalar, square: Expr) -> Expr:
    return a / (2 * b) * (ufl.exp(b * square) - 1)


def _at_least_zero(name: str, value: Scalar, *, strictly: bool) -> None:
    if isinstance(value, float | int) and (value < 0 or (strictly and value == 0)):
        bound = "> 0" if strictly else "≥ 0"
        raise InputError("HolzapfelOgden", f"{name} = {value}.", f"It must be {bound}.")
