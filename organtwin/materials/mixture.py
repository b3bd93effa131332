"""Tissue of several parts that are strained alike."""

from __future__ import annotations

from dataclasses import dataclass

from ufl.core.expr import Expr

from organtwin.errors import InputError
from organtwin.materials.kinematics import Directions, Material, Scalar


@dataclass(frozen=True)
class Mixture:
    """Parts that share one deformation.

        Ψ(C) = Σ_p φ_p Ψ_p(C)

    A share may be a field, so that there is more of a part in one place than in another; above 1
    it stands for a part that is stiffer than its law.

    Attributes:
        parts: Laws.
        shares: φ_p, ≥ 0, one for each law.

    Raises:
        InputError: there are not as many shares as parts, or none.
    """

    parts: tuple[Material, ...]
    shares: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        if len(self.parts) != len(self.shares) or not self.parts:
            raise InputError(
                "Mixture",
                f"{len(self.parts)} parts with {len(self.shares)} shares.",
                "Give one share for each part.",
            )

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        pairs = zip(self.parts, self.shares, strict=True)
        return sum(share * part.strain_energy(C, directions) for part, share in pairs)
