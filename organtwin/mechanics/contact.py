"""Finite-strain contact of bodies with each other and with rigid obstacles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import ufl
from dolfinx import fem, la
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc

from organtwin.errors import InputError
from organtwin.mechanics.contact_pairs import Body, Solid
from organtwin.mechanics.contact_points import Points, blank
from organtwin.mechanics.contact_surface import (
    Facets,
    Floats,
    Surface,
    facet_nodes,
    largest_facet,
    surface,
)
from organtwin.mechanics.coupling_matrix import force_share, outer_blocks, over_dofs
from organtwin.mechanics.rigid import Obstacle
from organtwin.mechanics.terms import Fields
from organtwin.mesh.domain import Domain
from organtwin.parallel import total

if TYPE_CHECKING:
    from organtwin.mechanics.problem import Mechanics

#: Automatic penalty: this many times stiffness / facet size.
PENALTY_FACTOR = 20.0
#: Automatic tangential penalty relative to the normal one.
TANGENTIAL_SHARE = 0.5


@dataclass(frozen=True)
class ContactLaw:
    """What surfaces in contact do to each other.

    The nominal pressure (per reference area of the surface) is p = max(0, λ − ε g) with the gap g
    and the multiplier λ, zero unless augmented. Friction holds |τ| ≤ μ p by a return mapping from
    the trial τ = P (τₙ + ε_T s), with the slip s since the last accepted step and the projection P
    on the tangent plane.

    Attributes:
        penalty: ε (kPa/mm). If None, 20 E/h facet by facet, with the stiffness E and the edge h
            of a facet, so that a pressure of E/20 leaves a penetration of h/400.
        stiffness: E (kPa), of the order of Young's modulus of the softer body.
        friction: μ, ≥ 0.
        tangential_penalty: ε_T (kPa/mm); ε/2 if None.

    Source:
        Wriggers (2006), Computational Contact Mechanics, chapters 5 and 6 (penalty, augmented
        Lagrangian, return mapping of Coulomb friction).
    """

    penalty: float | None = None
    stiffness: float | None = None
    friction: float = 0.0
    tangential_penalty: float | None = None

    def __post_init__(self) -> None:
        if not self.friction >= 0:
            raise InputError("ContactLaw", f"friction = {self.friction:g}.", "It must be ≥ 0.")
        for name in ("penalty", "stiffness", "tangential_penalty"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError("ContactLaw", f"{name} = {value:g}.", "It must be > 0.")
        if self.penalty is None and self.stiffness is None:
            raise InputError(
                "ContactLaw",
                "neither penalty nor stiffness is given.",
                "Give the stiffness of the softer body (kPa); the penalty follows from it.",
            )

    def normal(self, size: Floats) -> Floats:
        """ε (kPa/mm) for facets of the given sizes (mm)."""
        if self.penalty is not None:
            return np.full_like(size, self.penalty)
        assert self.stiffness is not None
        return PENALTY_FACTOR * self.stiffness / size

    def tangential(self, size: Floats) -> Floats:
        """ε_T (kPa/mm)."""
        if self.tangential_penalty is not None:
            return np.full_like(size, self.tangential_penalty)
        return TANGENTIAL_SHARE * self.normal(size)


@dataclass(frozen=True)
class ContactReport:
    """What a contact came to, over all ranks.

    Attributes:
        force: On the body of the first surface (mN), shape (3,).
        area: Present area in contact (mm²).
        pressure: Largest true pressure at a quadrature point (kPa).
        penetration: Largest penetration (mm).
        sticking: Share of the area in contact that friction holds, 0 without friction.
    """

    force: Floats
    area: float
    pressure: float
    penetration: float
    sticking: float


class Contact:
    """Contact of a surface with another one, with itself, or with a rigid obstacle.

    At every quadrature point of the surface the nearest point of the other side is searched and
    the virtual work −p δg + τ·δs integrated over the reference area. The gap is linearised
    completely (with the curvature of the other side), friction without its geometric terms.

    Args:
        domain: Mesh with names.
        surface: Name of the surface that is integrated over; the finer or softer one.
        other: Name of the surface that it meets (the same name for self-contact), or the obstacle.
        law: Penalty and friction.
        two_pass: Whether both surfaces are integrated over, each with half the weight; less
            biased where their meshes differ. Not for obstacles.
        degree: Of the quadrature on facets.
        reach: Farther points (mm), outside or inside, are not in contact; twice the largest facet
            of both sides if None, half of it in self-contact. An obstacle's inside has no limit.

    Attributes:
        switches: This rank's points that opened, closed, changed facets or began or ceased to slide
            between the last two calls of `refresh`.

    Raises:
        InputError: no surface of that name; two passes against an obstacle.
    """

    def __init__(
        self,
        domain: Domain,
        surface: str,
        other: str | Obstacle,
        law: ContactLaw,
        *,
        two_pass: bool = False,
        degree: int = 4,
        reach: float | None = None,
    ) -> None:
        domain.facets(surface)
        if isinstance(other, str):
            domain.facets(other)
        elif two_pass:
            raise InputError(
                "Contact",
                "two passes with a rigid obstacle.",
                "It has no facets: leave two_pass out.",
            )
        self.domain, self.law, self.degree = domain, law, degree
        self.surface, self.other, self.reach = surface, other, reach
        surfaces = [surface, str(other)] if two_pass and other != surface else [surface]
        self._memories = [blank(domain, name, degree) for name in surfaces]
        self._started = np.zeros(1)
        self.switches = 0
        self._is_finite = True
        self._passes: list[Points] = []
        self._problem: Mechanics | None = None

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """Nothing: the contribution is assembled by `add_residual` and `tangent`."""
        return ufl.Form([])

    def refresh(self, problem: Mechanics) -> None:
        """Search the pairs and evaluate tractions at the present displacement; collective.

        Where the displacement is not finite there are none: the pairs stay as they were, and the
        residual becomes NaN.

        Raises:
            InputError: at the first call, surfaces penetrate by more than a facet.
        """
        if self._problem is not problem:
            self._bind(problem)
        w, before = problem.at_level(), self.pattern()
        # Decided by all: to search is collective, and fails where there are no positions.
        here = bool(np.isfinite(w).all())
        self._is_finite = bool(self.domain.comm.allreduce(here, op=MPI.LAND))
        if not self._is_finite:
            return
        for side in self._passes:
            side.refresh(w)
        self.switches = int(np.count_nonzero(self.pattern() != before))
        if not self._started[0]:
            self._check_start()
            self._start()

    def add_residual(self, R: PETSc.Vec) -> None:
        """Add −p δg + τ·δs to the residual; collective."""
        if not self._is_finite:
            R.set(np.nan)
            return
        for side in self._passes:
            side.add_residual(R)
        R.assemble()

    def tangent(self) -> PETSc.Mat:
        """Derivative of the residual by the unknowns; collective."""
        assert self._problem is not None
        entries = outer_blocks([side.blocks() for side in self._passes])
        return over_dofs(self._problem.W, *entries, force_share(self._problem))

    def commit(self) -> None:
        """Take tractions and places of contact as the start of the next step's friction."""
        for side in self._passes:
            side.commit()

    def soften(self, share: float) -> None:
        """Work with a share of the penalties from the next `refresh` on."""
        for side in self._passes:
            side.softness = share
        for memory in self._memories:
            memory.changes[:] = 0.0

    def augment(self) -> None:
        """Take the present tractions as multipliers (Uzawa's update)."""
        for side in self._passes:
            side.augment()

    @property
    def state(self) -> Mapping[str, Floats]:
        """Memory of the quadrature points of this rank."""
        state = {"started": self._started}
        for i, memory in enumerate(self._memories):
            state |= {f"{name}_{i}": values for name, values in vars(memory).items()}
        return state

    def report(self) -> ContactReport:
        """Resultants at the last `refresh`; collective."""
        comm = self.domain.comm
        parts = [side.resultants() for side in self._passes]
        force = comm.allreduce(parts[0][0] - sum((p[0] for p in parts[1:]), np.zeros(3)))
        area = total(comm, sum(p[1] for p in parts))
        stuck = total(comm, sum(p[2] for p in parts))
        pressure = comm.allreduce(max(p[3] for p in parts), op=MPI.MAX)
        depth = comm.allreduce(max(p[4] for p in parts), op=MPI.MAX)
        return ContactReport(
            force, area, float(pressure), float(depth), stuck / area if area else 0.0
        )

    def pattern(self) -> NDArray[np.int64]:
        """Which of this rank's points touch and slide, and on which facets, as integers."""
        none = np.zeros(0, dtype=np.int64)
        return np.concatenate([none, *(side.pattern() for side in self._passes)])

    def samples(self) -> tuple[Floats, Floats]:
        """Present positions (mm) and true pressures (kPa) of this rank's points in contact."""
        found = [side.samples() for side in self._passes]
        return np.concatenate([x for x, _ in found]), np.concatenate([p for _, p in found])

    def pressure(self) -> fem.Function:
        """True contact pressure (kPa), averaged around each vertex of the surfaces; collective."""
        Q = fem.functionspace(self.domain.mesh, ("P", 1))
        load, area = la.vector(Q.dofmap.index_map, 1), la.vector(Q.dofmap.index_map, 1)
        names = (self.surface, self.other)
        for name, side in zip(names, self._passes, strict=False):
            assert isinstance(name, str)
            _, nodes, element = facet_nodes(self.domain, Q, name)
            weights = element.values(side.xi)
            da = side.present_area()
            for sums, values in ((load, side.true_pressure() * da), (area, da)):
                at_nodes = values.reshape(-1, len(side.xi)) @ weights
                np.add.at(sums.array, nodes, at_nodes)
        field = fem.Function(Q, name="contact_pressure")
        for sums in (load, area):
            sums.scatter_reverse(la.InsertMode.add)
            sums.scatter_forward()
        field.x.array[:] = np.divide(
            load.array, area.array, out=np.zeros_like(load.array), where=area.array > 0
        )
        return field

    # --- setting up

    def _bind(self, problem: Mechanics) -> None:
        comm = self.domain.comm
        one = surface(problem, self.surface)
        two_pass = len(self._memories) == 2
        size = largest_facet(comm, one.X)
        if size == 0:
            raise InputError("Contact", f"surface `{self.surface}` has no facets.", "Tag some.")
        if isinstance(self.other, Obstacle):
            reach = self.reach or 2 * size
            targets: list[tuple[Surface, Body | Solid]] = [(one, Solid(self.other, reach))]
        else:
            itself = self.other == self.surface
            two = one if itself else surface(problem, self.other)
            size = max(size, largest_facet(comm, two.X))
            reach = self.reach or (0.5 if itself else 2.0) * size
            targets = [(one, Body(Facets(comm, two), reach, itself=itself))]
            if two_pass:
                targets.append((two, Body(Facets(comm, one), reach)))
        # In self-contact, too, both sides are integrated over.
        share = 0.5 if two_pass or self.other == self.surface else 1.0
        self._passes = [
            Points(own, other, self.law, self.degree, share, memory)
            for (own, other), memory in zip(targets, self._memories, strict=True)
        ]
        self._size, self._problem = size, problem

    def _check_start(self) -> None:
        worst = min((side.deepest() for side in self._passes), key=lambda found: found[0])
        depth, place = min(self.domain.comm.allgather(worst), key=lambda found: found[0])
        if self.other != self.surface and -depth > self._size:
            at = ", ".join(f"{c:.3g}" for c in place)
            other = "the obstacle" if isinstance(self.other, Obstacle) else f"`{self.other}`"
            raise InputError(
                "Contact",
                f"`{self.surface}` starts {-depth:.3g} mm inside {other}, at ({at}) mm; "
                f"its facets measure up to {self._size:.3g} mm.",
                "Move one of them, or start apart and approach in steps.",
            )

    def _start(self) -> None:
        for side in self._passes:
            side.take_anchors()
        self._started[0] = 1.0
