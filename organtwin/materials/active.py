"""Active stress along the fibres, and the part of it that acts across them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from organtwin.materials.kinematics import Directions, Scalar


class FibreTension(Protocol):
    """Active tension of the muscle as a function of its present stretch."""

    def tension(self, stretch: Expr) -> Expr:
        """Tension per reference area (kPa) at the fibre stretch λ."""
        ...


@dataclass(frozen=True)
class ConstantTension:
    """A tension that does not depend on the stretch.

    Attributes:
        Ta: Tension per reference area (kPa).
    """

    Ta: Scalar

    def tension(self, stretch: Expr) -> Expr:
        """``Ta``, whatever the stretch."""
        return self.Ta


@dataclass(frozen=True)
class AffineTension:
    """Tension whose dependence on the stretch is carried through the solve of a time step.

        Ta(λ) = h(λ) [Ta₀ + K (λ − λ₀)],
        h(λ) = max(0, 1 + β₀ (min(λ, 1.2) + min(λ, 0.87) − 1.87))

    ``Ta₀`` and ``K`` come from `organtwin.cells.tension.Land2017.affine`: K is the stiffness that
    the attached cross-bridges show against a fast stretch. Leaving it out makes staggered
    electromechanics oscillate.

    Attributes:
        Ta0: Tension/h if the stretch stays as it was (kPa).
        K: Stiffness of the attached cross-bridges (kPa).
        stretch_old: λ₀ at the start of the step.
        beta_0: Strength of the length dependence.

    Source:
        Regazzoni & Quarteroni (2021), Comput. Methods Appl. Mech. Eng. 373:113506; h(λ) of
        Land et al. (2017).
    """

    Ta0: fem.Function
    K: fem.Function
    stretch_old: fem.Function
    beta_0: Scalar

    def tension(self, stretch: Expr) -> Expr:
        """Ta(λ) (kPa)."""
        overlap = ufl.min_value(stretch, 1.2) + ufl.min_value(stretch, 0.87) - 1.87
        h = ufl.max_value(1 + self.beta_0 * overlap, 0.0)
        return h * (self.Ta0 + self.K * (stretch - self.stretch_old))


@dataclass(frozen=True)
class ActiveStress:
    """Orthotropic active stress.

        P = Ta(λ) [F f₀⊗f₀ / |F f₀| + ν F n₀⊗n₀ / |F n₀|]

    The second term stands for the dispersion of the myofibrils about the mean fibre, within the
    wall: along the sheet, which thickens in systole, there is none.

    Attributes:
        muscle: Tension Ta(λ) with λ = |F f₀|.
        cross_fibre_fraction: ν, share of the tension along the sheet normal, 0 to 1.

    Source:
        Regazzoni et al. (2022), J. Comput. Phys. 457:111083; dispersion after
        Genet et al. (2014), J. Appl. Physiol. 117:142–152.
    """

    muscle: FibreTension
    cross_fibre_fraction: Scalar = 0.0

    def first_piola(self, F: Expr, directions: Directions) -> Expr:
        """Active first Piola–Kirchhoff stress (kPa)."""
        f0 = directions.f0
        Ta = self.muscle.tension(fibre_stretch(F, f0))
        return Ta * (_along(F, f0) + self.cross_fibre_fraction * _along(F, directions.n0))


def fibre_stretch(F: Expr, direction: Expr) -> Expr:
    """Stretch |F d| of the material direction ``d``."""
    return ufl.sqrt(ufl.inner(F * direction, F * direction))


def _along(F: Expr, direction: Expr) -> Expr:
    return ufl.outer(F * direction, direction) / fibre_stretch(F, direction)
