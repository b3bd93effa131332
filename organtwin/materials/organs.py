"""Soft tissue of organs other than the heart: skin, lung, liver, cartilage."""

from __future__ import annotations

from dataclasses import dataclass, field

import ufl
from ufl.core.expr import Expr

from organtwin.materials.isotropic import lame_parameters
from organtwin.materials.kinematics import (
    Directions,
    Scalar,
    isochoric_first_invariant,
    isochoric_second_invariant,
)
from organtwin.materials.parameters import check_parameters, parameter


@dataclass(frozen=True)
class VerondaWestmann:
    """Isotropic exponential law, made for skin.

        Ψ = c₁ (e^{c₂(Ī₁−3)} − 1) − c₁c₂/2 (Ī₂ − 3)

    The shear modulus at rest is c₁c₂.

    Attributes:
        c_1: c₁ (kPa), > 0.
        c_2: c₂, > 0.

    Source:
        Veronda & Westmann (1970), J. Biomech. 3:111–124.
    """

    c_1: Scalar = field(metadata=parameter("kPa", above=0.0))
    c_2: Scalar = field(metadata=parameter("1", above=0.0))

    def __post_init__(self) -> None:
        check_parameters(self)

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        I1, I2 = isochoric_first_invariant(C), isochoric_second_invariant(C)
        return self.c_1 * (ufl.exp(self.c_2 * (I1 - 3)) - 1 - self.c_2 / 2 * (I2 - 3))


@dataclass(frozen=True)
class LungParenchyma:
    """Compressible law of lung tissue that stiffens in shape and in volume.

        Ψ = c (I₁ − 3) + c/β (I₃^(−β) − 1) + c₁ (I₃^(−1/3) I₁ − 3)^d₁ + c₃ (I₃^(1/3) − 1)^d₃,
        c = E / (4(1 + ν)),     β = ν / (1 − 2ν)

    E and ν are the moduli at rest. It has a pressure of its own: it goes without
    `Incompressibility`. The last term is even, |I₃^(1/3) − 1|^d₃.

    Attributes:
        youngs_modulus: E (kPa), > 0.
        poisson_ratio: ν, > 0 and < 0.5.
        c_1, c_3: Stiffening in shape and in volume (kPa), ≥ 0.
        d_1, d_3: Their exponents, ≥ 2 and ≥ 4 so that the stiffness is finite at rest.

    Source:
        Birzle et al. (2019), J. Mech. Behav. Biomed. Mater. 94:126–143.
    """

    youngs_modulus: Scalar = field(metadata=parameter("kPa", above=0.0))
    poisson_ratio: Scalar = field(metadata=parameter("1", above=0.0, below=0.5))
    c_1: Scalar = field(metadata=parameter("kPa", at_least=0.0))
    d_1: Scalar = field(metadata=parameter("1", at_least=2.0))
    c_3: Scalar = field(metadata=parameter("kPa", at_least=0.0))
    d_3: Scalar = field(metadata=parameter("1", at_least=4.0))

    def __post_init__(self) -> None:
        check_parameters(self)

    @classmethod
    def birzle_2019(cls) -> LungParenchyma:
        """The set of the source, fitted to expansion and uniaxial tension of rat lungs."""
        return cls(
            youngs_modulus=1.9137, poisson_ratio=0.3413,
            c_1=0.2782, d_1=3.0, c_3=0.005766, d_3=6.0,
        )  # fmt: skip

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        c = self.youngs_modulus / (4 * (1 + self.poisson_ratio))
        beta = self.poisson_ratio / (1 - 2 * self.poisson_ratio)
        I3 = ufl.det(C)
        base = c * (ufl.tr(C) - 3) + c / beta * (I3**-beta - 1)
        shape = ufl.max_value(isochoric_first_invariant(C) - 3, 0)  # rounding makes it −1e-16
        volume = (I3 ** (1 / 3) - 1) ** 2
        return base + self.c_1 * shape**self.d_1 + self.c_3 * volume ** (self.d_3 / 2)


@dataclass(frozen=True)
class Liver:
    """Isotropic exponential law of liver parenchyma.

        Ψ = a/2b (e^{b(Ī₁−3)} − 1)

    Attributes:
        a: Shear modulus at rest (kPa), > 0.
        b: Exponent, > 0.

    Source:
        Roan & Vemaganti (2007), J. Biomech. Eng. 129:450–456, who find it in compression of bovine
        liver; the form is Demiray's (1972), J. Biomech. 5:309–311.
    """

    a: Scalar = field(metadata=parameter("kPa", above=0.0))
    b: Scalar = field(metadata=parameter("1", above=0.0))

    def __post_init__(self) -> None:
        check_parameters(self)

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        return self.a / (2 * self.b) * (ufl.exp(self.b * (isochoric_first_invariant(C) - 3)) - 1)


@dataclass(frozen=True)
class Cartilage:
    """Compressible exponential law of the drained matrix of cartilage.

        Ψ = c/2 (e^Q − 1),     c = (λ + 2μ) / 2β,
        Q = β/(λ + 2μ) [(2μ − λ)(I₁ − 3) + λ(I₂ − 3) − (λ + 2μ) ln I₃]

    with λ and μ of E and ν at rest. Crushing it to nothing costs an infinite energy. It has a
    pressure of its own: it goes without `Incompressibility`.

    Attributes:
        youngs_modulus: E (kPa), > 0.
        poisson_ratio: ν, ≥ 0 and < 0.5.
        beta: β, exponent of the stiffening, > 0.

    Source:
        Holmes & Mow (1990), J. Biomech. 23:1145–1156.
    """

    youngs_modulus: Scalar = field(metadata=parameter("kPa", above=0.0))
    poisson_ratio: Scalar = field(metadata=parameter("1", at_least=0.0, below=0.5))
    beta: Scalar = field(metadata=parameter("1", above=0.0))

    def __post_init__(self) -> None:
        check_parameters(self)

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        lame, mu = lame_parameters(self.youngs_modulus, self.poisson_ratio)
        axial = lame + 2 * mu
        I1, I2 = ufl.tr(C), (ufl.tr(C) ** 2 - ufl.inner(C, C)) / 2
        work = (2 * mu - lame) * (I1 - 3) + lame * (I2 - 3) - axial * ufl.ln(ufl.det(C))
        return axial / (4 * self.beta) * (ufl.exp(self.beta / axial * work) - 1)
