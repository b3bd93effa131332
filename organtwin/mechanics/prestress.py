"""Stress that holds a loaded body where its image shows it, without a reference shape."""

from __future__ import annotations

from dataclasses import dataclass, replace

import basix
import basix.ufl
import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.errors import SolverError
from organtwin.mechanics.configuration import (
    Pull,
    on_mesh,
    refuse_histories,
    with_directions,
)
from organtwin.mechanics.problem import Mechanics
from organtwin.mechanics.terms import Fields, Term
from organtwin.mechanics.unloaded import LoadedBody, largest, no_state
from organtwin.mesh.domain import Domain
from organtwin.solve import options
from organtwin.solve.outcome import Outcome

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Prestress:
    """Deformation that the image already carries.

    Attributes:
        F: F_pre at the quadrature points, 3×3; not the gradient of a field.
        u: Sum of the displacements (mm) that it is made of, which strains springs.
        p: Hydrostatic pressure (kPa) of the loaded body.
        steps: Load steps.
        iterations: Solves at the full load.
        residual: How far (mm) the loads still move the prestressed image.
        pressures: Of the cavities (kPa).
    """

    F: fem.Function
    u: fem.Function
    p: fem.Function | None = None
    steps: int = 0
    iterations: int = 0
    residual: float = np.inf
    pressures: tuple[float, ...] = ()

    def sentence(self) -> str:
        """What a report says of it."""
        pressures = ", ".join(f"{p:g}" for p in self.pressures)
        return (
            f"Reference state: none; the image's shape was kept and prestressed in {self.steps} "
            f"load steps and {self.iterations} corrections, so that {pressures or 'the loads'}"
            f"{' kPa' if pressures else ''} hold it where it is within {self.residual:.1e} mm."
        )


@dataclass(frozen=True)
class Prestressed:
    """A term of a prestressed body on the mesh of its image.

    The unknown is the displacement ũ from the image; the term sees F = (I + ∇ũ) F_pre and volumes
    of the state without stress. On surfaces, where F_pre is not known, areas and normals are those
    of the image, and springs are strained by the sum of both displacements.

    Attributes:
        term: As if the mesh were the reference state.
        prestress: What the image carries.
        loaded_fibres: Whether the term's directions are those of the image, to be pulled back.
    """

    term: Term
    prestress: Prestress
    loaded_fibres: bool = False

    def __post_init__(self) -> None:
        refuse_histories((self.term,))

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """The term on the mesh."""
        F, u, one = self.prestress.F, self.prestress.u, ufl.Identity(3)
        place = ufl.SpatialCoordinate(domain.mesh) - u
        volume = Pull(F, ufl.inv(F), place, {u: F - one})
        surface = Pull(one, one, place, {u: one - one})
        seen = replace(s, u=s.u + u, u_old=s.u_old + u)
        term = with_directions(self.term, u) if self.loaded_fibres else self.term
        return on_mesh(term.form(domain, seen), domain, volume, surface)


@dataclass(frozen=True)
class Corrections:
    """When the shape counts as kept.

    Attributes:
        step: Largest load step, as a share of the load.
        smallest: Smallest load step that is tried.
        tolerance: Displacement (mm) that ends the corrections at the full load.
        most: Corrections.
    """

    step: float = 0.1
    smallest: float = 1e-3
    tolerance: float = 1e-4
    most: int = 1000


def prestress(body: LoadedBody, corrections: Corrections = Corrections()) -> Prestress:
    """Prestress the image step by step; collective.

    Under a small step of the load the image moves by ũ. Its deformation is kept, its displacement
    is not: F_pre ← (I + ∇ũ) F_pre, ũ ← 0. At the full load this goes on until nothing moves, so
    that the result is an equilibrium on the image itself.

    Raises:
        SolverError: a step has no equilibrium, or the image keeps moving.

    Source:
        Gee, Förster & Wall (2010), Int. J. Numer. Methods Biomed. Eng. 26:52–72.
    """
    held = _Holding(body)
    share, step, steps, iterations = 0.0, corrections.step, 0, 0
    while iterations < corrections.most:
        target = min(share + step, 1.0)
        if held.attempt(target) is not Outcome.CONVERGED:
            step /= 2
            if step < corrections.smallest or share == 1.0:
                raise no_state("prestress", share, body.pressures, "No equilibrium near it.")
            continue
        moved = largest(held.problem.u)
        if share == 1.0 and moved < corrections.tolerance:
            return held.record(steps, iterations, moved)
        steps, iterations = steps + (share < 1.0), iterations + (share == 1.0)
        share = target
        held.take_over()
    raise SolverError(
        "prestress",
        f"after {iterations} corrections at the full load the image still moves by {moved:.3g} mm.",
        "The tissue is soft for these pressures: find the unloaded state instead (`unload`).",
    )


class _Holding:
    """The problem on the image, and what it carries so far."""

    def __init__(self, body: LoadedBody) -> None:
        self.body = body
        msh = body.domain.mesh
        element = basix.ufl.quadrature_element(
            msh.basix_cell(), value_shape=(3, 3), degree=body.degree
        )
        F = fem.Function(fem.functionspace(msh, element), name="prestress")
        F.x.array.reshape(-1, 9)[:] = np.eye(3).ravel()
        self.carried = Prestress(F, fem.Function(body.space()))
        self.problem = Mechanics(
            body.domain,
            [Prestressed(term, self.carried, body.loaded_fibres) for term in body.terms],
            formulation=body.formulation,
            cavities=body.cavities,
            dirichlet=body.dirichlet,
            degree=body.degree,
            tolerances=body.tolerances,
            name="prestress",
        )
        points, _ = basix.make_quadrature(msh.basix_cell(), body.degree)
        gradient = ufl.Identity(3) + ufl.grad(self.problem.displacement)
        self._gradient = fem.Expression(gradient, points, jit_options=options.jit())
        self._cells = np.arange(msh.topology.index_map(3).size_local, dtype=np.int32)
        self._still = fem.Constant(msh, np.zeros(3))

    def attempt(self, share: float) -> Outcome:
        """Equilibrium at a share of the load."""
        self.body.scale(share)
        pressures = share * np.asarray(self.body.pressures, dtype=float)
        return self.problem.solve(pressures=pressures).outcome

    def take_over(self) -> None:
        """F_pre ← (I + ∇ũ) F_pre, ũ ← 0."""
        F = self.carried.F
        places = F.function_space.dofmap.list[: len(self._cells)].ravel()
        new = self._gradient.eval(self.body.domain.mesh, self._cells).reshape(-1, 3, 3)
        values = F.x.array.reshape(-1, 3, 3)
        values[places] = new @ values[places]
        F.x.scatter_forward()
        self.carried.u.x.array[:] += self.problem.u.x.array
        self.problem.guess(self._still)

    def record(self, steps: int, iterations: int, residual: float) -> Prestress:
        """Account of what is carried now."""
        p = self.problem.p if self.problem.Q is not None else None
        return replace(
            self.carried, p=p, steps=steps, iterations=iterations, residual=residual,
            pressures=tuple(self.body.pressures),
        )  # fmt: skip
