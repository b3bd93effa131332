"""Bone: linear orthotropic elasticity."""

from __future__ import annotations

from dataclasses import dataclass, field

import ufl
from ufl.core.expr import Expr

from organtwin.materials.kinematics import Directions, Scalar, frame, green_lagrange
from organtwin.materials.parameters import (
    check_parameters,
    parameter,
    require_positive_definite,
)

_MODULUS = parameter("kPa", above=0.0)
_RATIO = parameter("1")


@dataclass(frozen=True)
class OrthotropicBone:
    """Hooke's law with nine constants in the frame f, s, n, in the Green–Lagrange strain.

        Ψ = ½ εᵀ S⁻¹ ε + 2 (G_fs E_fs² + G_fn E_fn² + G_sn E_sn²),     ε = (E_ff, E_ss, E_nn),
        S_ii = 1/E_i,     S_ij = −ν_ij/E_i

    For strains of a few per cent at most, which is all that bone stands; rotations may be large.
    It has a pressure of its own: it goes without `Incompressibility`.

    Attributes:
        E_f, E_s, E_n: Young's moduli (kPa), > 0.
        G_fs, G_fn, G_sn: Shear moduli (kPa), > 0.
        nu_fs, nu_fn, nu_sn: Poisson ratios: ν_ij is the contraction along j under a stress along i.

    Source:
        Lekhnitskii (1981), Theory of Elasticity of an Anisotropic Body, Mir.
    """

    E_f: Scalar = field(metadata=_MODULUS)
    E_s: Scalar = field(metadata=_MODULUS)
    E_n: Scalar = field(metadata=_MODULUS)
    G_fs: Scalar = field(metadata=_MODULUS)
    G_fn: Scalar = field(metadata=_MODULUS)
    G_sn: Scalar = field(metadata=_MODULUS)
    nu_fs: Scalar = field(metadata=_RATIO)
    nu_fn: Scalar = field(metadata=_RATIO)
    nu_sn: Scalar = field(metadata=_RATIO)

    def __post_init__(self) -> None:
        check_parameters(self)
        require_positive_definite(self._compliance(), "OrthotropicBone", "the compliance matrix")

    @classmethod
    def isotropic(cls, youngs_modulus: Scalar, poisson_ratio: Scalar) -> OrthotropicBone:
        """The same in all directions."""
        E, nu = youngs_modulus, poisson_ratio
        G = E / (2 * (1 + nu))
        return cls(E, E, E, G, G, G, nu, nu, nu)

    @classmethod
    def transversely_isotropic(
        cls, E_f: float, E_t: float, G_ft: float, nu_ft: float, nu_tt: float
    ) -> OrthotropicBone:
        """Osteons along f: E_f along them, E_t across; ν_tt and G = E_t/(2(1 + ν_tt)) across."""
        return cls(E_f, E_t, E_t, G_ft, G_ft, E_t / (2 * (1 + nu_tt)), nu_ft, nu_ft, nu_tt)

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        axes, E = frame(directions, self), green_lagrange(C)
        f, s, n = axes.f0, axes.s0, axes.n0
        strain = ufl.as_vector([ufl.dot(d, E * d) for d in (f, s, n)])
        stiffness = ufl.inv(ufl.as_matrix(self._compliance()))
        shear = (
            self.G_fs * ufl.dot(f, E * s) ** 2
            + self.G_fn * ufl.dot(f, E * n) ** 2
            + self.G_sn * ufl.dot(s, E * n) ** 2
        )
        return ufl.dot(strain, stiffness * strain) / 2 + 2 * shear

    def _compliance(self) -> list[list[Scalar]]:
        fs, fn, sn = -self.nu_fs / self.E_f, -self.nu_fn / self.E_f, -self.nu_sn / self.E_s
        return [[1 / self.E_f, fs, fn], [fs, 1 / self.E_s, sn], [fn, sn, 1 / self.E_n]]
