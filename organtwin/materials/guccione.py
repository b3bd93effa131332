"""Exponential laws in the strains of the fibre frame: Guccione, Usyk and Fung."""

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

_STIFFNESS = parameter("kPa", above=0.0)
_EXPONENT = parameter("1", above=0.0)


@dataclass(frozen=True)
class Guccione:
    """Transversely isotropic Fung-type law.

        Ψ = C/2 (e^Q − 1),
        Q = b_f E_ff² + b_t (E_ss² + E_nn² + 2 E_sn²) + 2 b_fs (E_fs² + E_fn²)

    with the components in the fibre frame of the Green–Lagrange strain of the volume-preserving
    part of the deformation, E = (J^(−2/3) C − I)/2. For incompressible tissue that is the strain
    itself; on the way there it keeps the pressure out of the law, without which thick walls of
    Taylor–Hood elements lose their stability at large inflations.

    Attributes:
        stiffness: C (kPa), > 0.
        b_f, b_t, b_fs: Exponents in the fibre direction, across it and in shear, > 0.

    Source:
        Guccione et al. (1991), J. Biomech. Eng. 113:42–55; in the notation of Land et al. (2015),
        Proc. R. Soc. A 471:20150641.
    """

    stiffness: Scalar = field(metadata=_STIFFNESS)
    b_f: Scalar = field(metadata=_EXPONENT)
    b_t: Scalar = field(metadata=_EXPONENT)
    b_fs: Scalar = field(metadata=_EXPONENT)

    def __post_init__(self) -> None:
        check_parameters(self)

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        E = _strains(C, frame(directions, self))
        across = E["ss"] ** 2 + E["nn"] ** 2 + 2 * E["sn"] ** 2
        Q = (
            self.b_f * E["ff"] ** 2
            + self.b_t * across
            + 2 * self.b_fs * (E["fs"] ** 2 + E["fn"] ** 2)
        )
        return self.stiffness / 2 * (ufl.exp(Q) - 1)


@dataclass(frozen=True)
class Usyk:
    """Orthotropic Fung-type law of myocardium.

        Ψ = C/2 (e^Q − 1),
        Q = b_f E_ff² + b_s E_ss² + b_n E_nn² + 2 (b_fs E_fs² + b_fn E_fn² + b_sn E_sn²)

    with the isochoric strains of `Guccione`.

    Attributes:
        stiffness: C (kPa), > 0.
        b_f, b_s, b_n: Exponents along fibre, sheet and normal, > 0.
        b_fs, b_fn, b_sn: Exponents in shear, > 0.

    Source:
        Usyk, Mazhari & McCulloch (2000), J. Elasticity 61:143–164.
    """

    stiffness: Scalar = field(metadata=_STIFFNESS)
    b_f: Scalar = field(metadata=_EXPONENT)
    b_s: Scalar = field(metadata=_EXPONENT)
    b_n: Scalar = field(metadata=_EXPONENT)
    b_fs: Scalar = field(metadata=_EXPONENT)
    b_fn: Scalar = field(metadata=_EXPONENT)
    b_sn: Scalar = field(metadata=_EXPONENT)

    def __post_init__(self) -> None:
        check_parameters(self)

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        E = _strains(C, frame(directions, self))
        normal = self.b_f * E["ff"] ** 2 + self.b_s * E["ss"] ** 2 + self.b_n * E["nn"] ** 2
        shear = self.b_fs * E["fs"] ** 2 + self.b_fn * E["fn"] ** 2 + self.b_sn * E["sn"] ** 2
        return self.stiffness / 2 * (ufl.exp(normal + 2 * shear) - 1)


@dataclass(frozen=True)
class Fung:
    """General orthotropic exponential law, for vessels and membranes too.

        Ψ = C/2 (e^Q − 1),
        Q = a_ff E_ff² + a_ss E_ss² + a_nn E_nn²
            + 2 (a_fs E_ff E_ss + a_fn E_ff E_nn + a_sn E_ss E_nn)
            + 2 (b_fs E_fs² + b_fn E_fn² + b_sn E_sn²)

    with the isochoric strains of `Guccione`. In a vessel f is the circumferential direction, s the
    axial and n the radial one.

    Attributes:
        stiffness: C (kPa), > 0.
        a_ff, a_ss, a_nn: Exponents of the normal strains, > 0.
        a_fs, a_fn, a_sn: Exponents that couple them; the matrix of all six is positive definite.
        b_fs, b_fn, b_sn: Exponents in shear, > 0.

    Source:
        Chuong & Fung (1983), J. Biomech. Eng. 105:268–274; Fung (1993), Biomechanics, Springer.
    """

    stiffness: Scalar = field(metadata=_STIFFNESS)
    a_ff: Scalar = field(metadata=_EXPONENT)
    a_ss: Scalar = field(metadata=_EXPONENT)
    a_nn: Scalar = field(metadata=_EXPONENT)
    a_fs: Scalar = field(metadata=parameter("1"))
    a_fn: Scalar = field(metadata=parameter("1"))
    a_sn: Scalar = field(metadata=parameter("1"))
    b_fs: Scalar = field(metadata=_EXPONENT)
    b_fn: Scalar = field(metadata=_EXPONENT)
    b_sn: Scalar = field(metadata=_EXPONENT)

    def __post_init__(self) -> None:
        check_parameters(self)
        require_positive_definite(
            [
                [self.a_ff, self.a_fs, self.a_fn],
                [self.a_fs, self.a_ss, self.a_sn],
                [self.a_fn, self.a_sn, self.a_nn],
            ],
            "Fung",
            "the matrix of the exponents of normal strains",
        )

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        E = _strains(C, frame(directions, self))
        ff, ss, nn = E["ff"], E["ss"], E["nn"]
        normal = self.a_ff * ff**2 + self.a_ss * ss**2 + self.a_nn * nn**2
        coupling = self.a_fs * ff * ss + self.a_fn * ff * nn + self.a_sn * ss * nn
        shear = self.b_fs * E["fs"] ** 2 + self.b_fn * E["fn"] ** 2 + self.b_sn * E["sn"] ** 2
        return self.stiffness / 2 * (ufl.exp(normal + 2 * coupling + 2 * shear) - 1)


def _strains(C: Expr, directions: Directions) -> dict[str, Expr]:
    """Components of the isochoric Green–Lagrange strain in the fibre frame, by their letters."""
    E = green_lagrange(ufl.det(C) ** (-1 / 3) * C)
    axes = {"f": directions.f0, "s": directions.s0, "n": directions.n0}
    pairs = ("ff", "ss", "nn", "fs", "fn", "sn")
    return {pair: ufl.inner(axes[pair[0]], E * axes[pair[1]]) for pair in pairs}
