"""Points of a surface and what they meet: another body, or a rigid solid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from organtwin.mechanics.contact_surface import Facets, Floats, Integers, Projection
from organtwin.mechanics.rigid import Obstacle

Flags = NDArray[np.bool_]


class Pairs(Protocol):
    """Points near the other side; arrays have one entry per pair."""

    @property
    def point(self) -> Integers:
        """Which of the points, sorted."""
        ...

    @property
    def facet(self) -> Integers:
        """Facet of the other side, −1 of a rigid one."""
        ...

    @property
    def anchor(self) -> Floats:
        """Material place of the other side that is met, three numbers each."""
        ...

    @property
    def gap(self) -> Floats:
        """Distance (mm), negative inside."""
        ...

    @property
    def normal(self) -> Floats:
        """Unit normal out of the other side, shape (n, 3)."""
        ...

    @property
    def shape(self) -> Floats:
        """Shape functions of the other side where it is met, shape (n, m); m = 0 if rigid."""
        ...

    @property
    def rows(self) -> Integers:
        """Global rows of its dofs, shape (n, m, 3)."""
        ...

    def second_variation(self, on: Integers, N: Floats) -> Floats:
        """Second derivative of the gaps ``on`` by the dofs of both sides, shape (k, L, L).

        Args:
            on: Pairs.
            N: Shape functions of the points' own surface, shape (k, nodes).
        """
        ...

    def normal_variation(self, on: Integers, N: Floats) -> Floats:
        """Derivative of the normals ``on`` by the dofs of both sides, shape (k, 3, L)."""
        ...

    def drift(self, on: Integers, N: Floats, force: Floats) -> Floats:
        """What forces on the other side gain from the place where they act, shape (k, L, L).

        Args:
            on: Pairs.
            N: Shape functions of the points' own surface.
            force: On the other side, shape (k, 3).
        """
        ...


@dataclass(frozen=True)
class SolidPairs:
    """Points near a rigid solid; see `Pairs`."""

    point: Integers
    gap: Floats
    normal: Floats
    curvature: Floats
    anchor: Floats

    @property
    def facet(self) -> Integers:
        """None: −1."""
        return np.full(len(self.point), -1)

    @property
    def shape(self) -> Floats:
        """None: a rigid solid has no dofs."""
        return np.zeros((len(self.point), 0))

    @property
    def rows(self) -> Integers:
        """None."""
        return np.zeros((len(self.point), 0, 3), dtype=np.int64)

    def second_variation(self, on: Integers, N: Floats) -> Floats:
        """N_a N_b ∇∇g."""
        L = 3 * N.shape[1]
        H = np.einsum("na,nb,nij->naibj", N, N, self.curvature[on])
        return H.reshape(len(on), L, L)

    def normal_variation(self, on: Integers, N: Floats) -> Floats:
        """∇∇g N_a."""
        H = np.einsum("nij,na->niaj", self.curvature[on], N)
        return H.reshape(len(on), 3, 3 * N.shape[1])

    def drift(self, on: Integers, N: Floats, force: Floats) -> Floats:
        """Nothing: the solid has no dofs."""
        return np.zeros((len(on), 3 * N.shape[1], 3 * N.shape[1]))


@dataclass(frozen=True)
class BodyPairs:
    """Points near facets; see `Pairs`.

    Attributes:
        projection: Nearest points.
        shape: Shape functions there, slope: their parametric derivatives, shape (n, 2, m).
        rows: Global rows.
        tangent: Tangents x_,α, shape (n, 2, 3).
        bend: n · x_,αβ, shape (n, 2, 2).
    """

    projection: Projection
    shape: Floats
    slope: Floats
    rows: Integers
    tangent: Floats
    bend: Floats

    @property
    def point(self) -> Integers:
        """Which of the points."""
        return self.projection.point

    @property
    def facet(self) -> Integers:
        """Facet that holds the nearest point."""
        return self.projection.facet

    @property
    def anchor(self) -> Floats:
        """Facet and parameters."""
        found = self.projection
        return np.column_stack([found.facet.astype(float), found.xi])

    @property
    def gap(self) -> Floats:
        """Distance (mm)."""
        return self.projection.gap

    @property
    def normal(self) -> Floats:
        """Unit normal."""
        return self.projection.normal

    def second_variation(self, on: Integers, N: Floats) -> Floats:
        """Second variation of the distance from the nearest point.

        With the variations of the parameters δξ = A⁻¹ (x_,β · δ(x − x̄) + g n · δx̄_,β),
        A = m − g κ, the metric m, the bend κ and S_α = n · δx̄_,α + κ_αβ δξ^β,

            Δδg = −δξ^α n·Δx̄_,α − Δξ^α n·δx̄_,α − κ_αβ δξ^α Δξ^β + g m^αβ S_α ΔS_β

        Source:
            Laursen (2002), Computational Contact and Impact Mechanics, chapter 5 (derived here
            anew from the orthogonality of the offset).
        """
        Q, D, S = self._variations(on, N)
        metric, bend = self._metric(on), self.bend[on]
        cross = np.einsum("nai,naj->nij", Q, D)
        rest = self.gap[on, None, None] * np.linalg.solve(metric, S)
        return (
            -cross
            - cross.transpose(0, 2, 1)
            - np.einsum("nai,naj->nij", D, bend @ D)
            + np.einsum("nai,naj->nij", S, rest)
        )

    def normal_variation(self, on: Integers, N: Floats) -> Floats:
        """Δn = −x_,α m^αβ ΔS_β."""
        _, _, S = self._variations(on, N)
        return -np.einsum("nai,naj->nij", self.tangent[on], np.linalg.solve(self._metric(on), S))

    def drift(self, on: Integers, N: Floats, force: Floats) -> Floats:
        """Force · δx̄_,α Δξ^α."""
        _, D, _ = self._variations(on, N)
        k, own = N.shape
        slope = np.concatenate([np.zeros((k, 2, own)), self.slope[on]], axis=2)
        rows = np.einsum("nab,ni->nabi", slope, force).reshape(D.shape)
        return np.einsum("nai,naj->nij", rows, D)

    def _metric(self, on: Integers) -> Floats:
        return np.einsum("nai,nbi->nab", self.tangent[on], self.tangent[on])

    def _variations(self, on: Integers, N: Floats) -> tuple[Floats, Floats, Floats]:
        """Of n · δx̄_,α, δξ^α and S_α by the dofs of both sides, each of shape (k, 2, L)."""
        k, own = N.shape
        L = 3 * (own + self.shape.shape[1])
        g, n, bend = self.gap[on, None, None], self.normal[on], self.bend[on]
        both = np.concatenate([N, -self.shape[on]], axis=1)
        T = np.einsum("nb,nai->nabi", both, self.tangent[on]).reshape(k, 2, L)
        slope = np.concatenate([np.zeros((k, 2, own)), self.slope[on]], axis=2)
        Q = np.einsum("nab,ni->nabi", slope, n).reshape(k, 2, L)
        D = np.linalg.solve(self._metric(on) - g * bend, T + g * Q)
        return Q, D, Q + bend @ D


@dataclass(frozen=True)
class Solid:
    """A rigid obstacle as the other side; points nearer than ``reach`` (mm) are told."""

    obstacle: Obstacle
    reach: float

    def move(self, w: Floats) -> None:
        """An obstacle is moved by its own constants."""

    def pair(self, x: Floats, normals: Floats, held: Integers, stays: Flags) -> SolidPairs:
        """Points inside the solid, or near it."""
        g, n, H = self.obstacle.gap(x)
        near = np.flatnonzero(g <= self.reach)
        g, n = g[near], n[near]
        met = self.obstacle.material(x[near] - g[:, None] * n)
        return SolidPairs(near, g, n, H[near], met)

    def follow(self, anchors: Floats) -> Floats:
        """Where those material points of the solid are now (mm)."""
        return self.obstacle.present(anchors)


@dataclass(frozen=True)
class Body:
    """A deforming surface as the other side.

    Attributes:
        facets: The surface, gathered on every rank.
        reach: Farther points (mm) are not told, outside or inside.
        itself: Whether the points are on this very surface.
    """

    facets: Facets
    reach: float
    itself: bool = False

    def move(self, w: Floats) -> None:
        """Take the displacement of the present unknowns; collective."""
        self.facets.move(w)

    def pair(self, x: Floats, normals: Floats, held: Integers, stays: Flags) -> BodyPairs:
        """Nearest points of the surface, preferably on the facets ``held``; see `project`."""
        found = self.facets.project(x, normals, self.reach, held, stays=stays, itself=self.itself)
        nodes = self.facets.x[found.facet]
        value, first, second = self.facets.element.derivatives(found.xi)
        bend = np.einsum("nabk,nkd,nd->nab", second, nodes, found.normal)
        tangent = np.einsum("nak,nkd->nad", first, nodes)
        shape, slope = self.facets.reduced(value), self.facets.reduced(first)
        return BodyPairs(found, shape, slope, self.facets.rows[found.facet], tangent, bend)

    def follow(self, anchors: Floats) -> Floats:
        """Where those points of the surface are now (mm)."""
        return self.facets.at(anchors[:, 0].astype(np.int64), anchors[:, 1:])
