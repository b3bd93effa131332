"""Two surfaces whose points are paired once, as they lie on each other in the reference state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
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
from organtwin.mesh.domain import Domain
from organtwin.parallel import total

if TYPE_CHECKING:
    from organtwin.mechanics.problem import Mechanics

#: Corners of two facets nearer than this share of their size are the same point.
SAME = 1e-6
#: Points whose blocks are made at once, which bounds the memory.
CHUNK = 6_000


@dataclass(frozen=True)
class Overlaps:
    """Quadrature points of the pieces in which facets overlap, on the rank of the first side.

    Points of one piece follow each other.

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


class SurfacePairs:
    """Points on one surface, what lies opposite on another, and forces between both.

    The integral over the first surface is exact over the pieces in which facets of both sides
    overlap, seen along the normals of the first.

    Args:
        domain: Mesh with names; of tetrahedra.
        surface: Name of the surface that is integrated over.
        other: Name of the other one.
        distance: Facets farther apart (mm) are no partners; a quarter of the largest if None.
        degree: Of the quadrature.
        place: Who asks, for messages.

    Attributes:
        own: Straight facets of the first surface on this rank.
        points: The pieces' quadrature points.
        paired: Share of the first surface's area that has a partner.
        size: Mean edge of its facets (mm).

    Raises:
        InputError: no surface of that name, no partners, or facets that are no triangles.
    """

    def __init__(
        self,
        domain: Domain,
        surface: str,
        other: str,
        *,
        distance: float | None,
        degree: int,
        place: str,
    ) -> None:
        self.domain, self.surface, self.other = domain, surface, other
        self.own = reference_surface(domain, surface)
        self._facets = Facets(domain.comm, reference_surface(domain, other))
        if not self.own.element.is_triangle:
            problem = "facets that are quadrilaterals."
            raise InputError(place, problem, "It takes meshes of tetrahedra.")
        self.points = overlaps(self.own, self._facets, distance, degree)
        areas = _areas(self.own.X)
        everything = total(domain.comm, float(areas.sum()))
        self.paired = total(domain.comm, float(self.points.area.sum())) / everything
        if self.paired < 1e-6:
            raise InputError(
                place,
                f"`{surface}` and `{other}` do not lie on each other.",
                "Check the names, or raise `distance` above the gap between them.",
            )
        edges = np.sqrt(2 * areas)
        count = max(domain.comm.allreduce(len(edges)), 1)
        self.size = total(domain.comm, float(edges.sum())) / count
        p = self.points
        new = (p.facet[1:] != p.facet[:-1]) | (p.other[1:] != p.other[:-1])
        self._first: Integers = np.flatnonzero(np.concatenate([[len(p.facet) > 0], new]))
        self.problem: Mechanics | None = None

    def bind(self, problem: Mechanics) -> None:
        """Take the unknowns of a problem; collective. Again and again is once."""
        if self.problem is problem:
            return
        self._near, self._far = surface(problem, self.surface), surface(problem, self.other)
        p = self.points
        N, M = (
            side.element.values(xi) for side, xi in ((self._near, p.xi), (self._far, p.xi_other))
        )
        self._N, self._M, self._both = N, M, np.concatenate([N, -M], axis=1)
        rows = self.of_dofs(self._near.rows, self._far.rows)
        self._rows = rows.reshape(len(rows), 3 * rows.shape[1])
        self.problem = problem

    def jump(self, w: Floats) -> Floats:
        """Displacement of the first side less that of the other (mm), (points, 3); collective."""
        other, p = self._facets.gathered(w[self._far.dofs]), self.points
        here = np.einsum("nk,nkd->nd", self._N, w[self._near.dofs][p.facet])
        return np.asarray(here - np.einsum("nk,nkd->nd", self._M, other[p.other]))

    def gap(self, normal: Floats) -> Floats:
        """Distance (mm) of the sides in the reference state along normals, (points,)."""
        p = self.points
        there = self._facets.at(p.other, p.xi_other)
        return np.einsum("nd,nd->n", there - self.positions(), normal)

    def positions(self) -> Floats:
        """Points on the first side in the reference state (mm), (points, 3)."""
        N = self.own.element.values(self.points.xi)
        return np.einsum("nk,nkd->nd", N, self.own.X[self.points.facet])

    def of_dofs[T: np.generic](
        self,
        near: np.ndarray[tuple[int, ...], np.dtype[T]],
        far: np.ndarray[tuple[int, ...], np.dtype[T]],
    ) -> np.ndarray[tuple[int, ...], np.dtype[T]]:
        """Values at the facets' nodes of both sides, for each piece, (pieces, nodes, …)."""
        gathered = self._facets.gathered(far)
        f, m = self.points.facet[self._first], self.points.other[self._first]
        return np.concatenate([near[f], gathered[m]], axis=1)

    def supported(self, fixed: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Floats:
        """Zero for the rows of each piece that local dofs in ``fixed`` hold, else one; collective.

        Shape (pieces, rows of one).
        """
        held = self.of_dofs(fixed[self._near.dofs], fixed[self._far.dofs])
        return np.asarray(1.0 - held.reshape(len(held), 3 * held.shape[1]))

    def add(self, R: PETSc.Vec, traction: Floats) -> None:
        """Add ∫ f · (δu − δū) dA with tractions f (kPa), (points, 3); collective."""
        force = traction * self.points.area[:, None]
        values = self._both[:, :, None] * force[:, None, :]
        if len(self._first):
            values = np.add.reduceat(values, self._first, axis=0)
        rows = self._rows.astype(PETSc.IntType).ravel()
        R.setValues(rows, values.ravel(), addv=PETSc.InsertMode.ADD_VALUES)
        R.assemble()

    def blocks(self, slope: Floats) -> tuple[Integers, Floats]:
        """Rows (pieces, L) and ∫ (δu − δū) · D (du − dū) dA, (pieces, L, L), of D (points, 3, 3).

        D is in kPa/mm.
        """
        L = 3 * self._both.shape[1]
        K = np.zeros((len(self._first), L, L))
        ends = np.append(self._first[1:], len(self.points.area))
        start = 0
        while start < len(self._first):
            limit = self._first[start] + CHUNK
            stop = max(int(np.searchsorted(ends, limit, side="right")), start + 1)
            some = slice(int(self._first[start]), int(ends[stop - 1]))
            c, D = self._both[some], slope[some] * self.points.area[some, None, None]
            every = np.einsum("na,nb,nij->naibj", c, c, D).reshape(len(c), L, L)
            K[start:stop] = np.add.reduceat(every, self._first[start:stop] - some.start, axis=0)
            start = stop
        return self._rows, K

    def force(self, traction: Floats) -> Floats:
        """−∫ f dA (mN), the resultant on the first side, shape (3,); collective."""
        here = -(traction * self.points.area[:, None]).sum(axis=0)
        return np.asarray(self.domain.comm.allreduce(here))

    def largest(self, values: Floats) -> float:
        """Largest over the points of all ranks, at least 0; collective."""
        return float(self.domain.comm.allreduce(float(values.max(initial=0.0)), op=MPI.MAX))


def overlaps(own: Surface, facets: Facets, distance: float | None, degree: int) -> Overlaps:
    """Points of the pieces in which facets of ``own`` and of ``facets`` overlap."""
    spans = np.linalg.norm(np.ptp(facets.x, axis=1), axis=1)
    apart = 0.25 * float(spans.max()) if distance is None else distance
    points, weights = own.element.quadrature(degree)
    f, m = _neighbours(own, facets, apart)
    same = _coincident(own.X[f], facets.x[m])
    matched = np.zeros(len(own.X), bool)
    matched[f[same.any(axis=1)]] = True
    found = [_matched(own, f, m, same, points, weights)]
    rest = ~matched[f]
    for one, two in zip(f[rest], m[rest], strict=True):
        piece = _overlap(own.X[one], facets.x[two], apart, points, weights)
        n = len(piece[2])
        if n:
            found.append((np.full(n, one), piece[0], np.full(n, two), piece[1], piece[2]))
    facet, xi, other, xi_other, area = (np.concatenate([p[i] for p in found]) for i in range(5))
    return Overlaps(facet, xi, other, xi_other, area)


#: The ways to turn a triangle over onto another: the corner that lies on each one's corner.
TURNS = np.array([[0, 2, 1], [2, 1, 0], [1, 0, 2], [0, 1, 2], [1, 2, 0], [2, 0, 1]])


def _coincident(X: Floats, Y: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """By which of `TURNS` the corners of facets are those of others, (pairs, 6)."""
    size = np.linalg.norm(np.ptp(X, axis=1), axis=1) if len(X) else np.zeros(0)
    off = np.stack([np.abs(X - Y[:, turn]).max(axis=(1, 2), initial=0.0) for turn in TURNS], axis=1)
    return np.asarray(off <= SAME * size[:, None])


def _matched(
    own: Surface,
    f: Integers,
    m: Integers,
    same: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    points: Floats,
    weights: Floats,
) -> tuple[Integers, Floats, Integers, Floats, Floats]:
    """Points of facets that lie exactly on others."""
    at, turn = np.nonzero(same)
    barycentric = np.column_stack([1 - points.sum(axis=1), points])
    q = len(points)
    there = np.zeros((len(at), q, 3))
    np.put_along_axis(
        there, np.repeat(TURNS[turn][:, None], q, axis=1),
        np.broadcast_to(barycentric, there.shape), axis=2,
    )  # fmt: skip
    area = np.outer(2 * _areas(own.X)[f[at]], weights).ravel()
    return (
        np.repeat(f[at], q), np.tile(points, (len(at), 1)), np.repeat(m[at], q),
        there[:, :, 1:].reshape(-1, 2), area,
    )  # fmt: skip


def _neighbours(own: Surface, facets: Facets, apart: float) -> tuple[Integers, Integers]:
    """Pairs of facets that may overlap and look at each other."""
    centre = own.X.mean(axis=1)
    radius = np.linalg.norm(own.X - centre[:, None], axis=2).max(axis=1, initial=0.0)
    f, m = facets.tree.near(centre, radius + apart)
    n, n_other = facet_normals(own.X, own.side), facet_normals(facets.x, facets.side)
    opposed = np.einsum("nd,nd->n", n[f], n_other[m]) < -0.5
    order = np.lexsort([m[opposed], f[opposed]])
    return f[opposed][order], m[opposed][order]


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


def facet_normals(X: Floats, side: Floats) -> Floats:
    """Unit outward normals of straight facets, (facets, 3)."""
    n = np.cross(X[:, 1] - X[:, 0], X[:, 2] - X[:, 0]) * side[:, None]
    return n / np.linalg.norm(n, axis=1, keepdims=True)


def _areas(X: Floats) -> Floats:
    return np.linalg.norm(np.cross(X[:, 1] - X[:, 0], X[:, 2] - X[:, 0]), axis=1) / 2
