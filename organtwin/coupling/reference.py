"""The state that the muscle's strain is measured from, when the mesh is that of an image.

Everything of a heart lives on the image's mesh. Its tissue is free of load there, or somewhere
else, or nowhere; these three know how to write a term of the weak form, and a deformation gradient,
accordingly. What they hold is found after the heart is put together, and goes into checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray
from ufl.core.expr import Expr

from organtwin.coupling.transfer import quadrature_space
from organtwin.materials.kinematics import Directions
from organtwin.mechanics.configuration import FromReference, pull, pulled_back
from organtwin.mechanics.formulation import Formulation
from organtwin.mechanics.prestress import Corrections, Prestress, Prestressed, prestress
from organtwin.mechanics.problem import Mechanics
from organtwin.mechanics.terms import Incompressibility, PassiveStress, Spring, Term
from organtwin.mechanics.unloaded import (
    LoadedBody,
    ReferenceState,
    unload,
    unload_by_fixed_point,
)
from organtwin.mesh.domain import Domain
from organtwin.solve.assembly import integral

Array = NDArray[np.float64]
#: Terms that act while nothing contracts and nothing moves.
AT_REST = (PassiveStress, Incompressibility, Spring)
#: Corrections become slow as they end, and no image is as sharp as this (mm).
ENOUGH = Corrections(tolerance=1e-3)


class Reference(Protocol):
    """A reference state seen from the image's mesh."""

    @property
    def state(self) -> Mapping[str, Array]:
        """Views of what was found, for checkpoints."""
        ...

    def term(self, term: Term) -> Term:
        """A term of the reference state as one of the mesh."""
        ...

    def F(self, u: Expr, *, in_cells: bool = False) -> Expr:
        """Deformation gradient from the reference state to the image displaced by ``u`` (mm).

        At the muscle's quadrature points, or for the midpoints of the cells.
        """
        ...

    def directions(self, seen: Directions, *, in_cells: bool = False) -> Directions:
        """Directions of the reference state that are the given ones in the image."""
        ...

    def volume(self, domain: Domain) -> float:
        """Volume of the tissue without load (mm³); collective."""
        ...


@dataclass(frozen=True)
class FreeOfLoad:
    """The image's shape is the reference state."""

    @property
    def state(self) -> Mapping[str, Array]:
        """Nothing."""
        return {}

    def term(self, term: Term) -> Term:
        """The term itself."""
        return term

    def F(self, u: Expr, *, in_cells: bool = False) -> Expr:
        """I + ∇u."""
        return ufl.Identity(3) + ufl.grad(u)

    def directions(self, seen: Directions, *, in_cells: bool = False) -> Directions:
        """The same."""
        return seen

    def volume(self, domain: Domain) -> float:
        """That of the image (mm³)."""
        return domain.volume()


#: The reference state of an image that shows no load.
IMAGE = FreeOfLoad()


@dataclass(frozen=True)
class Unloaded:
    """The reference state is the image's shape displaced by U.

    Attributes:
        domain: Mesh of the image.
        U: Displacement (mm) from the image to the reference state; zero until it is found.
        loaded_fibres: Whether directions are those that the image shows, and turn with the tissue
            on the way back. If not, they are those of the reference state.
    """

    domain: Domain
    U: fem.Function
    loaded_fibres: bool = False

    @classmethod
    def sought(
        cls, domain: Domain, formulation: Formulation, *, loaded_fibres: bool = False
    ) -> Unloaded:
        """Not yet found; collective."""
        U = fem.Function(formulation.displacements(domain.mesh), name="unloading")
        return cls(domain, U, loaded_fibres)

    @property
    def state(self) -> Mapping[str, Array]:
        """U."""
        return {"unloading": self.U.x.array}

    def find(
        self, mechanics: Mechanics, pressures: Sequence[float], *, by_fixed_point: bool = False
    ) -> ReferenceState:
        """Find U; collective.

        Args:
            mechanics: Of the relaxed heart, whose terms come from here.
            pressures: Of its cavities in the image (kPa).
            by_fixed_point: By repeated filling instead of the inverse problem.

        Raises:
            SolverError: there is no such state.
        """
        body = _body(mechanics, pressures, self.loaded_fibres)
        found = unload_by_fixed_point(body) if by_fixed_point else unload(body)
        self.U.x.array[:] = found.U.x.array
        return found

    def term(self, term: Term) -> Term:
        """The term with u − U, integrated over the reference state."""
        return FromReference(term, self.U, self.loaded_fibres)

    def F(self, u: Expr, *, in_cells: bool = False) -> Expr:
        """(I + ∇u)(I + ∇U)⁻¹."""
        return (ufl.Identity(3) + ufl.grad(u)) * pull(self.domain, self.U).G

    def directions(self, seen: Directions, *, in_cells: bool = False) -> Directions:
        """Pulled back by (I + ∇U)⁻¹, if they are those of the image."""
        return pulled_back(seen, pull(self.domain, self.U).G) if self.loaded_fibres else seen

    def volume(self, domain: Domain) -> float:
        """∫ det(I + ∇U) dx (mm³)."""
        return integral(ufl.det(pull(domain, self.U).f) * domain.dx(degree=4))


@dataclass(frozen=True)
class Held:
    """There is no reference state; the image is prestressed.

    Attributes:
        carried: F_pre at the muscle's points and the displacement that strains springs.
        mean: Mean of F_pre in each cell.
        loaded_fibres: Whether directions are those that the image shows.
    """

    carried: Prestress
    mean: fem.Function
    loaded_fibres: bool = False

    @classmethod
    def sought(
        cls,
        domain: Domain,
        formulation: Formulation,
        *,
        loaded_fibres: bool = False,
        degree: int = 4,
    ) -> Held:
        """Without stress so far; collective."""
        F = fem.Function(quadrature_space(domain.mesh, degree, (3, 3)), name="prestress")
        mean = fem.Function(fem.functionspace(domain.mesh, ("DG", 0, (3, 3))))
        for function in (F, mean):
            function.x.array.reshape(-1, 9)[:] = np.eye(3).ravel()
        u = fem.Function(formulation.displacements(domain.mesh))
        return cls(Prestress(F, u), mean, loaded_fibres)

    @property
    def state(self) -> Mapping[str, Array]:
        """F_pre, its means and the displacement."""
        carried = self.carried
        return {
            "prestress": carried.F.x.array,
            "prestress_mean": self.mean.x.array,
            "prestress_displacement": carried.u.x.array,
        }

    def find(self, mechanics: Mechanics, pressures: Sequence[float]) -> Prestress:
        """Find the prestress; collective.

        Args:
            mechanics: Of the relaxed heart, whose terms come from here.
            pressures: Of its cavities in the image (kPa).

        Raises:
            SolverError: the image is not held.
        """
        found = prestress(_body(mechanics, pressures, self.loaded_fibres), ENOUGH)
        self.carried.F.x.array[:] = found.F.x.array
        self.carried.u.x.array[:] = found.u.x.array
        cells = self.mean.function_space.dofmap.list[:, 0]
        points = found.F.function_space.dofmap.list
        values = found.F.x.array.reshape(-1, 9)[points].mean(axis=1)
        self.mean.x.array.reshape(-1, 9)[cells] = values
        return found

    def term(self, term: Term) -> Term:
        """The term with (I + ∇u) F_pre."""
        return Prestressed(term, self.carried, self.loaded_fibres)

    def F(self, u: Expr, *, in_cells: bool = False) -> Expr:
        """(I + ∇u) F_pre."""
        return (ufl.Identity(3) + ufl.grad(u)) * self._carried(in_cells)

    def directions(self, seen: Directions, *, in_cells: bool = False) -> Directions:
        """Pulled back by F_pre, if they are those of the image."""
        return pulled_back(seen, self._carried(in_cells)) if self.loaded_fibres else seen

    def volume(self, domain: Domain) -> float:
        """∫ 1/det F_pre dx (mm³)."""
        return integral(1 / ufl.det(self.carried.F) * domain.dx(degree=4))

    def _carried(self, in_cells: bool) -> fem.Function:
        return self.mean if in_cells else self.carried.F


def _body(mechanics: Mechanics, pressures: Sequence[float], loaded_fibres: bool) -> LoadedBody:
    """What the image shows of a relaxed heart."""
    terms = [getattr(term, "term", term) for term in mechanics.terms]
    return LoadedBody(
        mechanics.domain,
        [term for term in terms if isinstance(term, AT_REST)],
        cavities=mechanics.cavities,
        pressures=[float(p) for p in pressures],
        loaded_fibres=loaded_fibres,
        formulation=mechanics.formulation,
        degree=mechanics.fields.degree,
    )
