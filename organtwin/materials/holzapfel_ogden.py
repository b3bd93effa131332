"""Passive myocardium of Holzapfel and Ogden."""

from __future__ import annotations

from dataclasses import dataclass, field

import ufl
from ufl.core.expr import Expr

from organtwin.materials import tension_only
from organtwin.materials.kinematics import Directions, Scalar, frame, isochoric_first_invariant
from organtwin.materials.parameters import check_parameters, parameter

_STIFFNESS = parameter("kPa", at_least=0.0)
_EXPONENT = parameter("1", above=0.0)
_DISPERSION = parameter("1", at_least=0.0, at_most=1 / 3)


@dataclass(frozen=True)
class HolzapfelOgden:
    """Orthotropic exponential law of passive myocardium.

        Ψ = a/2b (e^{b(Ī₁−3)} − 1) + Σ_{i=f,s} aᵢ/2bᵢ (e^{bᵢ⟨I₄ᵢ−1⟩²} − 1)
            + a_fs/2b_fs (e^{b_fs I₈fs²} − 1)

    with I₄ᵢ = i₀·C i₀ and I₈fs = f₀·C s₀. Ī₁ is isochoric, the anisotropic invariants are those of
    the full ``C``. Fibres and sheets carry tension only, ⟨x⟩ = max(x, 0). The stiffness of the
    source jumps at I₄ = 1, by a factor of a hundred; here it grows from zero within 0 < x < δ
    (`tension_only.smooth`), and above δ it is the source's. Ψ is convex in x either way, which
    with the logistic switch it is not: that one softens the tissue under compression.

    With dispersion, I₄ᵢ − 1 is replaced by κᵢ I₁ + (1 − 3κᵢ) I₄ᵢ − 1.

    Attributes:
        a, a_f, a_s, a_fs: Stiffnesses (kPa), ≥ 0.
        b, b_f, b_s, b_fs: Exponents (dimensionless), > 0.
        delta: δ, width of the switch in I₄ (dimensionless), > 0.
        logistic: k of the logistic switch 1/(1 + e^{−k(I₄−1)}), which then takes the place of
            the smooth one; None for that. 100 in Aróstica et al. (2025).
        kappa_f, kappa_s: Dispersion of fibres and sheets, 0 to 1/3; None for none.

    Source:
        Holzapfel & Ogden (2009), Phil. Trans. R. Soc. A 367:3445–3475; logistic switch of
        Aróstica et al. (2025), Comput. Methods Appl. Mech. Eng. 435:117485; dispersion as in
        Gasser, Ogden & Holzapfel (2006), J. R. Soc. Interface 3:15–35.
    """

    a: Scalar = field(metadata=_STIFFNESS)
    b: Scalar = field(metadata=_EXPONENT)
    a_f: Scalar = field(metadata=_STIFFNESS)
    b_f: Scalar = field(metadata=_EXPONENT)
    a_s: Scalar = field(metadata=_STIFFNESS)
    b_s: Scalar = field(metadata=_EXPONENT)
    a_fs: Scalar = field(metadata=_STIFFNESS)
    b_fs: Scalar = field(metadata=_EXPONENT)
    delta: Scalar = field(default=0.04, metadata=_EXPONENT)
    logistic: Scalar | None = field(default=None, metadata=_EXPONENT)
    kappa_f: Scalar | None = field(default=None, metadata=_DISPERSION)
    kappa_s: Scalar | None = field(default=None, metadata=_DISPERSION)

    def __post_init__(self) -> None:
        check_parameters(self)

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
        f0, s0 = frame(directions, self).f0, frame(directions, self).s0
        f = tension_only.dispersed_strain(C, f0, self.kappa_f)
        s = tension_only.dispersed_strain(C, s0, self.kappa_s)
        I1 = isochoric_first_invariant(C)
        matrix = self.a / (2 * self.b) * (ufl.exp(self.b * (I1 - 3)) - 1)
        shear = tension_only.exponential(self.a_fs, self.b_fs, ufl.dot(f0, C * s0) ** 2)
        return (
            matrix
            + self._family(self.a_f, self.b_f, f)
            + self._family(self.a_s, self.b_s, s)
            + shear
        )

    def _family(self, a: Scalar, b: Scalar, x: Expr) -> Expr:
        if self.logistic is not None:
            return tension_only.logistic(a, b, x, self.logistic)
        return tension_only.smooth(a, b, x, self.delta)
