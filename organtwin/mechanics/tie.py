"""Parts whose meshes do not match, tied together along a surface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import ufl
from petsc4py import PETSc

from organtwin.errors import InputError
from organtwin.mechanics.contact_surface import Floats
from organtwin.mechanics.coupling_matrix import force_share, outer_blocks, over_dofs
from organtwin.mechanics.surface_pairs import SurfacePairs
from organtwin.mechanics.terms import Fields, above_zero
from organtwin.mesh.domain import Domain

if TYPE_CHECKING:
    from organtwin.mechanics.problem import Mechanics

#: Automatic penalty: this many times stiffness / facet size.
PENALTY_FACTOR = 100.0


class Tie:
    """Holds two surfaces together: u = ū where they lie on each other in the reference state.

    The virtual work ∫ (λ + ε (u − ū)) · (δu − δū) dA is integrated exactly over the pieces in which
    the facets of both sides overlap, seen along the normals of the first, so that a constant
    stress passes from one mesh to the other. A gap between the surfaces stays as it is.

    Args:
        domain: Mesh with names; the parts share no nodes.
        surface: Name of the surface that is integrated over, the one with the finer mesh.
        other: Name of the surface that it is tied to.
        stiffness: E (kPa), of the order of Young's modulus of the softer part; ε = 100 E/h with
            the mean edge h of its facets.
        penalty: ε (kPa/mm), if it is not to follow from the stiffness.
        distance: Facets farther apart (mm) are not tied; a quarter of the largest facet if None.

    Attributes:
        tied: Share of the surface's area that is tied.

    Raises:
        InputError: no surface of that name, nothing to tie, or facets that are no triangles.
    """

    def __init__(
        self,
        domain: Domain,
        surface: str,
        other: str,
        *,
        stiffness: float | None = None,
        penalty: float | None = None,
        distance: float | None = None,
    ) -> None:
        above_zero("Tie", "stiffness", stiffness)
        above_zero("Tie", "penalty", penalty)
        if stiffness is None and penalty is None:
            raise InputError("Tie", "neither stiffness nor penalty is given.", "Give one.")
        self.domain, self.surface, self.other = domain, surface, other
        self._pairs = SurfacePairs(domain, surface, other, distance=distance, degree=4, place="Tie")
        self.tied = self._pairs.paired
        # One for the whole surface: where it varied, a uniform stress would need uneven jumps.
        self._eps = penalty or PENALTY_FACTOR * (stiffness or 0.0) / self._pairs.size
        self._multiplier = np.zeros((len(self._pairs.points.area), 3))
        self._jump = np.zeros_like(self._multiplier)

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """Nothing: the contribution is assembled by `add_residual` and `tangent`."""
        return ufl.Form([])

    def refresh(self, problem: Mechanics) -> None:
        """Evaluate u − ū at the present displacement; collective."""
        self._pairs.bind(problem)
        self._jump = self._pairs.jump(problem.at_level())

    def add_residual(self, R: PETSc.Vec) -> None:
        """Add the work of the tie's tractions; collective."""
        self._pairs.add(R, self._traction)

    def tangent(self) -> PETSc.Mat:
        """∫ ε (N, −N̄)ᵀ (N, −N̄) dA; collective."""
        problem = self._pairs.problem
        assert problem is not None
        slope = np.broadcast_to(self._eps * np.eye(3), (len(self._jump), 3, 3))
        entries = outer_blocks([self._pairs.blocks(slope)])
        return over_dofs(problem.W, *entries, force_share(problem))

    def commit(self) -> None:
        """Nothing to remember but the multiplier, which `augment` changes."""

    @property
    def state(self) -> Mapping[str, Floats]:
        """The multiplier."""
        return {"multiplier": self._multiplier}

    def augment(self) -> None:
        """Take the present tractions as multipliers (Uzawa's update)."""
        self._multiplier += self._eps * self._jump

    def largest_jump(self) -> float:
        """Largest distance (mm) by which tied points have come apart; collective."""
        return self._pairs.largest(np.linalg.norm(self._jump, axis=1))

    def force(self) -> Floats:
        """Resultant on the first surface (mN), shape (3,); collective."""
        return self._pairs.force(self._traction)

    @property
    def _traction(self) -> Floats:
        return self._multiplier + self._eps * self._jump
