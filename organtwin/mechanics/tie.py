"""Parts whose meshes do not match, tied together along a surface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import ufl
from mpi4py import MPI
from petsc4py import PETSc

from organtwin.errors import InputError
from organtwin.mechanics.contact_surface import (
    Facets,
    Floats,
    Integers,
    Surface,
    reference_surface,
    surface,
)
from organtwin.mechanics.coupling_matrix import force_share, outer_blocks, over_dofs
from organtwin.mechanics.terms import Fields, above_zero
from organtwin.mesh.domain import Domain
from organtwin.parallel import total

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
        own = reference_surface(domain, surface)
        self._facets = Facets(domain.comm, reference_surface(domain, other))
        self._pieces = _pieces(own, self._facets, distance)
        self.tied = self._check(own)
        # One for the whole surface: where it varied, a uniform stress would need uneven jumps.
        self._eps = penalty or PENALTY_FACTOR * (stiffness or 0.0) / _size(domain.comm, own)
        self._multiplier = np.zeros((len(self._pieces.area), 3))
        self._jump = np.zeros_like(self._multiplier)
        self._problem: Mechanics | None = None

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """Nothing: the contribution is assembled by `add_residual` and `tangent`."""
        return ufl.Form([])

    def refresh(self, problem: Mechanics) -> None:
        """Evaluate u − ū at the present displacement; collective."""
        if self._problem is not problem:
            self._bind(problem)
        w, pieces = problem.at_level(), self._pieces
        other = self._facets.gathered(w[self._other.dofs])
        here = np.einsum("nk,nkd->nd", self._N, w[self._own.dofs][pieces.facet])
        self._jump = here - np.einsum("nk,nkd->nd", self._M, other[pieces.other])

    def add_residual(self, R: PETSc.Vec) -> None:
        """Add the work of the tie's tractions; collective."""
        force = (self._multiplier + self._eps * self._jump) * self._pieces.area[:, None]
        values = self._both[:, :, None] * force[:, None, :]
        R.setValues(self._rows.astype(PETSc.IntType).ravel(), values.ravel(), addv=True)
        R.assemble()

    def tangent(self) -> PETSc.Mat:
        """∫ ε (N, −N̄)ᵀ (N, −N̄) dA; collective."""
        assert self._problem is not None
        K = np.einsum("na,nb,ij->naibj", self._both, self._both, np.eye(3))
        K *= (self._eps * self._pieces.area)[:, None, None, None, None]
        L = 3 * self._both.shape[1]
        entries = outer_blocks([(self._rows.reshape(-1, L), K.reshape(-1, L, L))])
        return over_dofs(self._problem.W, *entries, force_share(self._problem))

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
        apart = np.linalg.norm(self._jump, axis=1).max(initial=0.0)
        return float(self.domain.comm.allreduce(apart, op=MPI.MAX))

    def force(self) -> Floats:
        """Resultant on the first surface (mN), shape (3,); collective."""
        traction = self._multiplier + self._eps * self._jump
        here = -(traction * self._pieces.area[:, None]).sum(axis=0)
        return np.asarray(self.domain.comm.allreduce(here))

    def _bind(self, problem: Mechanics) -> None:
        self._own, self._other = surface(problem, self.surface), surface(problem, self.other)
        pieces = self._pieces
        self._N, self._M = (
            side.element.values(xi)
            for side, xi in ((self._own, pieces.xi), (self._other, pieces.xi_other))
        )
        self._both = np.concatenate([self._N, -self._M], axis=1)
        rows = self._facets.gathered(self._other.rows)
        self._rows = np.concatenate([self._own.rows[pieces.facet], rows[pieces.other]], axis=1)
        self._problem = problem

    def _check(self, own: Surface) -> float:
        comm = self.domain.comm
        everything = total(comm, float(_areas(own.X).sum()))
        tied = total(comm, float(self._pieces.area.sum())) / everything
        if tied < 1e-6:
            raise InputError(
                "Tie",
                f"`{self.surface}` and `{self.other}` do not lie on each other.",
                "Check the names, or raise `distance` above the gap between them.",
            )
        return tied


@dataclass(frozen=True)
class _Pieces:
    """Quadrature points of the pieces in which facets overlap, on the rank of the first side.

    Attributes:
        facet: Facet of the first side, xi: parameters on it.
        other: Facet of the other side, among those of all ranks, xi_other: parameters on it.
        area: Weight (mm²).
    """

    facet: Integers
    xi: Floats
    other: Integers
    xi_other: Floats
    area: Floats


def _pieces(own: Surface, facets: Facets, distance: float | None) -> _Pieces:
    if not own.element.is_triangle:
        raise InputError("Tie", "facets that are quadrilaterals.", "Tie meshes of tetrahedra.")
    spans = np.linalg.norm(np.ptp(facets.x, axis=1), axis=1)
    apart = 0.25 * float(spans.max()) if distance is None else distance
    points, weights = own.element.quadrature(4)
    found = [
        (f, m, *_overlap(own.X[f], facets.x[m], apart, points, weights))
        for f, m in zip(*_neighbours(own, facets, apart), strict=True)
    ]
    found = [piece for piece in found if len(piece[4])]
    lengths = [len(piece[4]) for piece in found]
    xi, xi_other = (
        np.concatenate([piece[i] for piece in found]) if found else np.zeros((0, 2)) for i in (2, 3)
    )
    area = np.concatenate([piece[4] for piece in found]) if found else np.zeros(0)
    first, second = (
        np.repeat(np.array([piece[i] for piece in found], dtype=np.int64), lengths) for i in (0, 1)
    )
    return _Pieces(first, xi, second, xi_other, area)


def _neighbours(own: Surface, facets: Facets, apart: float) -> tuple[Integers, Integers]:
    """Pairs of facets that may overlap and look at each other."""
    centre = own.X.mean(axis=1)
    radius = np.linalg.norm(own.X - centre[:, None], axis=2).max(axis=1, initial=0.0)
    f, m = facets.tree.near(centre, radius + apart)
    n, n_other = _normals(own.X, own.side), _normals(facets.x, facets.side)
    opposed = np.einsum("nd,nd->n", n[f], n_other[m]) < -0.5
    return f[opposed], m[opposed]


def _overlap(
    X: Floats, Y: Floats, apart: float, points: Floats, weights: Floats
) -> tuple[Floats, Floats, Floats]:
    """Parameters on both facets and weights of the quadrature points of their overlap."""
    t = np.array([X[1] - X[0], X[2] - X[0]])
    onto = np.linalg.solve(t @ t.T, t)
    corners = (Y - X[0]) @ onto.T
    polygon = _clipped(corners)
    s = np.array([corners[1] - corners[0], corners[2] - corners[0]])
    none = np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0)
    if len(polygon) < 3 or abs(np.linalg.det(s)) < 1e-12:
        return none
    fan = [(polygon[0], polygon[i], polygon[i + 1]) for i in range(1, len(polygon) - 1)]
    twice = np.array([abs(np.linalg.det([b - a, c - a])) for a, b, c in fan])
    xi = np.concatenate([a + points @ np.array([b - a, c - a]) for a, b, c in fan])
    xi_other = np.linalg.solve(s.T, (xi - corners[0]).T).T
    gap = np.linalg.norm(
        Y[0] + xi_other @ np.array([Y[1] - Y[0], Y[2] - Y[0]]) - (X[0] + xi @ t), axis=1
    )
    area = np.outer(twice, weights).ravel() * np.linalg.norm(np.cross(t[0], t[1]))
    near = (gap <= apart) & (area > 1e-14 * area.max(initial=1.0))
    return xi[near], xi_other[near], area[near]


def _clipped(polygon: Floats) -> Floats:
    """Part of a polygon in the reference triangle (Sutherland and Hodgman's clipping)."""
    for normal, level in (((1.0, 0.0), 0.0), ((0.0, 1.0), 0.0), ((-1.0, -1.0), -1.0)):
        height = polygon @ np.array(normal) - level
        kept: list[Floats] = []
        for i in range(len(polygon)):
            a, b, ha, hb = polygon[i - 1], polygon[i], height[i - 1], height[i]
            if ha * hb < 0:
                kept.append(a + ha / (ha - hb) * (b - a))
            if hb >= 0:
                kept.append(b)
        polygon = np.array(kept).reshape(-1, 2)
    return polygon


def _size(comm: MPI.Comm, own: Surface) -> float:
    """Mean edge of the facets (mm): of the square of twice the area."""
    edges = np.sqrt(2 * _areas(own.X))
    return total(comm, float(edges.sum())) / max(comm.allreduce(len(edges)), 1)


def _areas(X: Floats) -> Floats:
    return np.linalg.norm(np.cross(X[:, 1] - X[:, 0], X[:, 2] - X[:, 0]), axis=1) / 2


def _normals(X: Floats, side: Floats) -> Floats:
    n = np.cross(X[:, 1] - X[:, 0], X[:, 2] - X[:, 0]) * side[:, None]
    return n / np.linalg.norm(n, axis=1, keepdims=True)
