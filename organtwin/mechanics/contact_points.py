"""The quadrature points of a surface in contact: tractions, their derivative, their memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from petsc4py import PETSc

from organtwin.mechanics.contact_pairs import Body, Pairs, Solid
from organtwin.mechanics.contact_surface import Floats, Integers, Surface, quadrature_points
from organtwin.mesh.domain import Domain

#: A point that has changed its facet so often in a step keeps the one that it has.
CHATTER = 3


class Law(Protocol):
    """What the points need of a contact law, see `ContactLaw`."""

    @property
    def friction(self) -> float:
        """Coulomb's coefficient."""
        ...

    def normal(self, size: Floats) -> Floats:
        """Penalties (kPa/mm) of facets of the given sizes (mm)."""
        ...

    def tangential(self, size: Floats) -> Floats:
        """Tangential penalties (kPa/mm)."""
        ...


@dataclass(frozen=True)
class Memory:
    """What a surface's quadrature points remember, on this rank.

    Attributes:
        multiplier: λ (kPa).
        traction: τ at the last accepted step (kPa), its multiplier when augmented; shape (n, 3).
        anchor: Place on the other side where the last accepted step ended (3 numbers), and whether
            there is one; shape (n, 4).
        facet: Facet of the last call, −1 without one, and how often it has changed in this step:
            a step that is tried again must find the pairs that it would have found the first time.
        changes: See facet.
    """

    multiplier: Floats
    traction: Floats
    anchor: Floats
    facet: Floats
    changes: Floats

    def preferred(self) -> tuple[Integers, NDArray[np.bool_]]:
        """Facet that each point keeps as long as it is near, −1 for none; and whether far beyond.

        Of the last accepted step, so that what is in contact depends on the displacement and not
        on the way to it; of the last call, and far beyond, where an iteration comes and goes
        between two: there may be no equilibrium where either is left as soon as it ends.
        """
        stays = (self.changes >= CHATTER) & (self.facet >= 0)
        held = np.where(self.anchor[:, 3] > 0, self.anchor[:, 0], -1.0)
        return np.where(stays, self.facet, held).astype(np.int64), stays


def blank(domain: Domain, name: str, degree: int) -> Memory:
    """Memory of points that have not touched anything yet."""
    n = quadrature_points(domain, name, degree)
    return Memory(np.zeros(n), np.zeros((n, 3)), np.zeros((n, 4)), np.full(n, -1.0), np.zeros(n))


@dataclass(frozen=True)
class Rub:
    """Friction at points in contact, all arrays with one entry for each.

    Attributes:
        friction: μ.
        eps, eps_t: Normal and tangential penalty.
        p: Normal traction or force.
        pull: Trial before it is projected on the tangent plane, (n, 3).
        trial, slides, tau: As `returned` gives them.
        known: Whether the point was in contact at the last accepted step.
    """

    friction: float
    eps: Floats
    eps_t: Floats
    p: Floats
    pull: Floats
    trial: Floats
    slides: NDArray[np.bool_]
    tau: Floats
    known: NDArray[np.bool_]

    def tangent(self, pairs: Pairs, on: NDArray[np.int64], N: Floats) -> Floats:
        """Derivative of τ·δs by the dofs of both sides, with dp = −ε n·ds, ds = N du − M du_other.

        Args:
            pairs: Points and what they meet.
            on: Pairs in contact, those of the arrays.
            N: Shape functions of the points' own body, shape (n, nodes).
        """
        n, c = pairs.normal[on], np.concatenate([N, -pairs.shape[on]], axis=1)
        L = 3 * c.shape[1]
        ds = np.einsum("na,ij->niaj", c, np.eye(3)).reshape(len(on), 3, L)
        dn = pairs.normal_variation(on, N)
        d = self.eps_t[:, None, None] * ds
        across_n = np.einsum("ni,nij->nj", n, d) + np.einsum("ni,nij->nj", self.pull, dn)
        d -= n[:, :, None] * across_n[:, None]
        d -= np.einsum("ni,ni->n", n, self.pull)[:, None, None] * dn
        size = np.linalg.norm(self.trial, axis=1)
        size = np.where(size > 0, size, 1.0)
        e = self.trial / size[:, None]
        across = d - e[:, :, None] * np.einsum("ni,nij->nj", e, d)[:, None]
        across *= np.where(self.slides, self.friction * self.p / size, 0.0)[:, None, None]
        dp = -self.eps[:, None] * np.einsum("ni,nij->nj", n, ds)
        along = self.friction * e[:, :, None] * dp[:, None]
        d = np.where(self.slides[:, None, None], across + along, d)
        d[~self.known] = 0.0
        K = np.einsum("na,nij->naij", c, d).reshape(len(on), L, L)
        return K - pairs.drift(on, N, self.tau)


def returned(
    pull: Floats, normal: Floats, limit: Floats
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Coulomb's return mapping: trial in the tangent plane, whether it slides, traction.

    Args:
        pull: Trial before it is projected, shape (n, 3).
        normal: Unit normals, shape (n, 3).
        limit: Largest tangential traction, shape (n,).
    """
    trial = _tangential(pull, normal)
    size = np.linalg.norm(trial, axis=1)
    slides = size > limit
    shrink = np.divide(limit, size, out=np.ones_like(size), where=slides)
    return trial, slides, trial * shrink[:, None]


class Points:
    """One surface's quadrature points against one other side; arrays are this rank's."""

    def __init__(
        self,
        own: Surface,
        other: Body | Solid,
        law: Law,
        degree: int,
        share: float,
        memory: Memory,
    ) -> None:
        self.own, self.other, self.law, self.share = own, other, law, share
        self.memory = memory
        self.xi, self.weights = own.element.quadrature(degree)
        self.N, self.dN, _ = own.element.derivatives(self.xi)
        _, self.dA = self._normals_and_areas(own.X)
        n = len(self.dA)
        # Edge of the square of twice (triangle) or once (quadrilateral) the facet's area.
        areas = self.dA.reshape(-1, len(self.xi)).sum(axis=1)
        sizes = np.sqrt((2 if own.element.is_triangle else 1) * areas)
        self._full = np.repeat(law.normal(sizes), len(self.xi))
        self._full_t = np.repeat(law.tangential(sizes), len(self.xi))
        self.softness = 1.0
        self.x, self.da = np.zeros((n, 3)), self.dA
        none = np.zeros((0, 3))
        self.pairs: Pairs = other.pair(none, none, np.zeros(0, np.int64), np.zeros(0, bool))
        self.p, self.tau = np.zeros(0), np.zeros((0, 3))
        self.pull = self.trial = np.zeros((0, 3))
        self.slides = np.zeros(0, dtype=bool)

    @property
    def eps(self) -> Floats:
        """Penalty of each point (kPa/mm)."""
        return self.softness * self._full

    @property
    def eps_t(self) -> Floats:
        """Tangential penalty (kPa/mm)."""
        return self.softness * self._full_t

    def refresh(self, w: Floats) -> None:
        """Pairs and tractions at the present unknowns; collective."""
        nodes = self.own.positions(w)
        self.x = np.einsum("qk,fkd->fqd", self.N, nodes).reshape(-1, 3)
        normals, self.da = self._normals_and_areas(nodes)
        self.other.move(w)
        self.pairs = self.other.pair(self.x, normals, *self.memory.preferred())
        self._count_changes()
        pairs, at = self.pairs, self.pairs.point
        self.p = np.maximum(self.memory.multiplier[at] - self.eps[at] * pairs.gap, 0.0)
        self._friction()

    def _count_changes(self) -> None:
        facet = np.full(len(self.dA), -1.0)
        facet[self.pairs.point] = self.pairs.facet
        self.memory.changes[:] += facet != self.memory.facet
        self.memory.facet[:] = facet

    def _friction(self) -> None:
        pairs, at = self.pairs, self.pairs.point
        self.pull = np.zeros((len(at), 3))
        if self.law.friction > 0:
            known = self.memory.anchor[at, 3] > 0
            began = self.other.follow(self.memory.anchor[at[known], :3])
            slip = self.x[at[known]] - began
            self.pull[known] = self.memory.traction[at[known]] + self.eps_t[at[known], None] * slip
        found = returned(self.pull, pairs.normal, self.law.friction * self.p)
        self.trial, self.slides, self.tau = found

    def _rub(self, at: NDArray[np.int64], on: NDArray[np.int64]) -> Rub:
        known = self.memory.anchor[at, 3] > 0
        return Rub(
            self.law.friction, self.eps[at], self.eps_t[at], self.p[on], self.pull[on],
            self.trial[on], self.slides[on], self.tau[on], known,
        )  # fmt: skip

    def add_residual(self, R: PETSc.Vec) -> None:
        """Add −p δg + τ·δs, without assembling entries of other ranks."""
        on = np.flatnonzero(self.p > 0)
        pairs, at = self.pairs, self.pairs.point[on]
        force = self.tau[on] - self.p[on, None] * pairs.normal[on]
        force *= (self.share * self.dA[at])[:, None]
        coefficients = np.concatenate([self._shape(at), -pairs.shape[on]], axis=1)
        values = coefficients[:, :, None] * force[:, None, :]
        rows = self._rows(on).astype(PETSc.IntType)
        R.setValues(rows.ravel(), values.ravel(), addv=PETSc.InsertMode.ADD_VALUES)

    def blocks(self) -> tuple[NDArray[np.int64], Floats]:
        """Rows (n, L) and dense tangents (n, L, L) of the points in contact."""
        on = np.flatnonzero(self.p > 0)
        pairs, at = self.pairs, self.pairs.point[on]
        N = self._shape(at)
        coefficients = np.concatenate([N, -pairs.shape[on]], axis=1)
        n = pairs.normal[on]
        B = (coefficients[:, :, None] * n[:, None, :]).reshape(len(on), 3 * coefficients.shape[1])
        K = self.eps[at, None, None] * B[:, :, None] * B[:, None, :]
        K -= self.p[on, None, None] * pairs.second_variation(on, N)
        if self.law.friction > 0:
            K += self._rub(at, on).tangent(pairs, on, N)
        K *= (self.share * self.dA[at])[:, None, None]
        rows = self._rows(on).reshape(len(on), B.shape[1])
        if isinstance(self.other, Solid):
            return self._by_facet(at // len(self.xi), rows, K)
        return rows, K

    def commit(self) -> None:
        """Remember tractions and places."""
        self.memory.traction[:] = 0.0
        self.memory.traction[self.pairs.point] = self.tau
        self.take_anchors()
        self.memory.changes[:] = 0.0

    def take_anchors(self) -> None:
        """Remember where the other side is met."""
        self.memory.anchor[:] = 0.0
        self.memory.anchor[self.pairs.point, :3] = self.pairs.anchor
        self.memory.anchor[self.pairs.point, 3] = 1.0

    def augment(self) -> None:
        """Take tractions as multipliers."""
        self.memory.multiplier[:] = 0.0
        self.memory.multiplier[self.pairs.point] = self.p
        if self.law.friction > 0:
            self.memory.traction[:] = 0.0
            self.memory.traction[self.pairs.point] = self.tau

    # --- results

    def pattern(self) -> NDArray[np.int64]:
        """Of each point −1, or its facet and whether it slides as one number."""
        on = self.p > 0
        found = np.full(len(self.dA), -1, dtype=np.int64)
        found[self.pairs.point[on]] = 2 * (self.pairs.facet[on] + 1) + self.slides[on]
        return found

    def true_pressure(self) -> Floats:
        """Force per present area at all quadrature points (kPa)."""
        p = np.zeros(len(self.dA))
        p[self.pairs.point] = self.p
        return p * self.dA / self.da

    def present_area(self) -> Floats:
        """Present area of each quadrature point (mm²)."""
        return self.da

    def samples(self) -> tuple[Floats, Floats]:
        """Positions (mm) and true pressures (kPa) of the points in contact."""
        p = self.true_pressure()
        return self.x[p > 0], p[p > 0]

    def deepest(self) -> tuple[float, Floats]:
        """Smallest gap (mm) and its place."""
        if len(self.pairs.gap) == 0:
            return np.inf, np.zeros(3)
        i = int(self.pairs.gap.argmin())
        return float(self.pairs.gap[i]), self.x[self.pairs.point[i]]

    def resultants(self) -> tuple[Floats, float, float, float, float]:
        """Force on the own body, area, area that sticks, largest pressure and penetration."""
        on = self.p > 0
        at = self.pairs.point[on]
        traction = self.p[on, None] * self.pairs.normal[on] - self.tau[on]
        force = self.share * (traction * self.dA[at, None]).sum(axis=0)
        da = self.share * self.da[at]
        # Without friction nothing holds a point, though none is beyond its limit of zero.
        stuck = float(da[~self.slides[on]].sum()) if self.law.friction > 0 else 0.0
        depth = max(-self.deepest()[0], 0.0) if len(self.pairs.gap) else 0.0
        return force, float(da.sum()), stuck, float(self.true_pressure().max(initial=0.0)), depth

    # --- pieces

    def _normals_and_areas(self, nodes: Floats) -> tuple[Floats, Floats]:
        t = np.einsum("qak,fkd->fqad", self.dN, nodes)
        n = np.cross(t[:, :, 0], t[:, :, 1])
        size = np.linalg.norm(n, axis=2)
        normals = n / size[:, :, None] * self.own.side[:, None, None]
        return normals.reshape(-1, 3), (size * self.weights).ravel()

    def _shape(self, at: NDArray[np.int64]) -> Floats:
        return self.N[at % len(self.xi)]

    def _rows(self, on: NDArray[np.int64]) -> NDArray[np.int64]:
        facet = self.pairs.point[on] // len(self.xi)
        return np.concatenate([self.own.rows[facet], self.pairs.rows[on]], axis=1)

    def _by_facet(
        self, facet: NDArray[np.int64], rows: NDArray[np.int64], K: Floats
    ) -> tuple[NDArray[np.int64], Floats]:
        """Sum of the points of each facet."""
        found, first, of = np.unique(facet, return_index=True, return_inverse=True)
        sums = np.zeros((len(found), *K.shape[1:]))
        np.add.at(sums, of, K)
        return rows[first], sums


def _tangential(v: Floats, n: Floats) -> Floats:
    return v - np.einsum("nd,nd->n", v, n)[:, None] * n
