"""Passive myocardium of Guccione."""

from __future__ import annotations

from dataclasses import dataclass

import ufl
from ufl.core.expr import Expr

from organtwin.errors import InputError
from organtwin.materials.kinematics import Directions, Scalar, green_lagrange


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
        b_f, b_t, b_fs: Exponents in the fibre direction, across it and in shear.

    Source:
        Guccione et al. (1991), J. Biomech. Eng. 113:42–55; in the notation of Land et al. (2015),
        Proc. R. Soc. A 471:20150641.
    """

    stiffness: Scalar
    b_f: Scalar
    b_t: Scalar
    b_fs: Scalar

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        if directions is None:
            raise InputError("Guccione", "no fibre directions.", "Pass `Directions`.")
        E = green_lagrange(ufl.det(C) ** (-1 / 3) * C)
        f, s, n = directions.f0, directions.s0, directions.n0
        Q = (
            self.b_f * ufl.inner(f, E * f) ** 2
            + self.b_t
            * (ufl.inner(s, E * s) ** 2 + ufl.inner(n, E * n) ** 2 + 2 * ufl.inner(s, E * n) ** 2)
            + 2 * self.b_fs * (ufl.inner(f, E * s) ** 2 + ufl.inner(f, E * n) ** 2)
        )
        return self.stiffness / 2 * (ufl.exp(Q) - 1)
