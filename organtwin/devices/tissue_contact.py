"""Contact of struts with tissue: points along beams against the facets of a deforming surface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.devices import rotations as rot
from organtwin.devices.beam import BeamMesh
from organtwin.errors import InputError
from organtwin.mechanics.contact_pairs import Body, BodyPairs
from organtwin.mechanics.contact_points import Memory, Rub, returned
from organtwin.mechanics.contact_rounding import RoundedFacets, facets_for
from organtwin.mechanics.contact_surface import largest_facet, surface
from organtwin.mechanics.problem import Mechanics

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class StrutPoints:
    """Points along the axes of struts where they feel tissue.

    Attributes:
        element: Beam element of each point, (k,).
        nodes: Its nodes, (k, 2).
        share: Shape functions of both there, (k, 2).
        length: Length of strut that belongs to a point (mm), (k,).
        radius: From the axis to the struts' surface, across the tube (mm), (k,).
        across: The sections' second axis, which points out of the frame, at rest: quaternions of
            triads, (k, 4).
    """

    element: Integers
    nodes: Integers
    share: Array
    length: Array
    radius: Array
    across: Array

    def positions(self, x: Array) -> Array:
        """Places (mm) for positions of the nodes, (k, 3)."""
        return np.einsum("ka,kai->ki", self.share, x[self.nodes])

    def outwards(self, q: Array) -> Array:
        """Unit vectors out of the frame for rotations of the nodes, (k, 3)."""
        near = self.nodes[np.arange(len(self.nodes)), self.share.argmax(axis=1)]
        return np.asarray(rot.matrix(rot.product(q[near], self.across))[:, :, 1])


def strut_points(mesh: BeamMesh, half_depth: Array, spacing: float = np.inf) -> StrutPoints:
    """The nodes, and points between them where elements are longer than a spacing.

    Weights are those of the trapezoidal rule along each element.

    Args:
        mesh: Beams.
        half_depth: From a node to the strut's surface, across the tube (mm), (n,).
        spacing: Largest distance of neighbouring points along a strut (mm).

    Raises:
        InputError: no spacing.
    """
    if not spacing > 0:
        raise InputError("strut_points", f"spacing = {spacing:g} mm.", "It must be > 0.")
    n, m = len(mesh.points), len(mesh.ends)
    count = np.maximum(np.ceil(mesh.lengths / spacing - 1e-9), 1).astype(np.int64)
    part = mesh.lengths * mesh.share / count
    at_nodes = np.bincount(mesh.ends.ravel(), np.repeat(0.5 * part, 2), n)
    first = np.full(n, -1, np.int64)
    end = np.zeros(n, np.int64)
    for side in (1, 0):
        first[mesh.ends[:, side]], end[mesh.ends[:, side]] = np.arange(m), side
    used = np.flatnonzero(first >= 0)
    element, end = first[used], end[used]
    share = np.where(end[:, None] == np.arange(2), 1.0, 0.0)
    inner = np.repeat(np.arange(m), count - 1)
    s = np.concatenate([np.zeros(0), *(np.arange(1, c) / c for c in count if c > 1)])
    element = np.concatenate([element, inner])
    share = np.concatenate([share, np.column_stack([1 - s, s])])
    nodes = mesh.ends[element]
    triads = mesh.triads[element, share.argmax(axis=1)]
    length = np.concatenate([at_nodes[used], part[inner]])
    radius = np.einsum("ka,ka->k", share, half_depth[nodes])
    return StrutPoints(element, nodes, share, length, radius, triads)


@dataclass(frozen=True)
class StrutLaw:
    """What struts and tissue do to each other.

    A point is pressed by p = max(0, λ + ε ℓ (r − d)) along the tissue's normal, with its distance d
    from the surface, the radius r of the strut, its length ℓ and the multiplier λ, zero unless
    augmented. Friction holds |τ| ≤ μ p by a return mapping from the trial P (τₙ + ε_T ℓ s), with
    the slip s along the tissue since the last accepted step and the projection P on its tangent
    plane.

    Attributes:
        penalty: ε, per length of strut (mN/mm²). Some ten times the tissue's Young's modulus (kPa)
            leaves penetrations small beside the dents that struts make.
        friction: μ, ≥ 0.
        tangential: ε_T over ε.

    Source:
        Wriggers (2006), Computational Contact Mechanics, chapters 5 and 6 (penalty, return mapping
        of Coulomb friction).
    """

    penalty: float
    friction: float = 0.0
    tangential: float = 0.1

    def __post_init__(self) -> None:
        if not (self.penalty > 0 and self.friction >= 0 and self.tangential > 0):
            raise InputError(
                "StrutLaw",
                f"penalty {self.penalty:g}, friction {self.friction:g}, "
                f"tangential {self.tangential:g}.",
                "Penalties are > 0 and the friction is not negative.",
            )


@dataclass(frozen=True)
class Felt:
    """Contact as a straight motion would leave it; arrays have one entry per pair that it presses.

    Attributes:
        on: Which pairs, (k,).
        p: Normal forces (mN), (k,).
        rub: Friction.
        force: Forces (mN) that push the points off the tissue, (k, 3).
        origin: What the law, linearised there, gives without the motion (mN), (k, 3).
    """

    on: Integers
    p: Array
    rub: Rub
    force: Array
    origin: Array


@dataclass(frozen=True)
class Grip:
    """What a frame and tissue do to each other.

    Attributes:
        force: Net force of the frame on the tissue (mN), (3,).
        back: Net force of the tissue on the frame (mN), (3,).
        pressing: Sum of the normal forces (mN).
        rubbing: Sum of the tangential forces (mN).
        penetration: Largest (mm).
        touching: Length of strut in contact (mm).
        sticking: Part of that length that friction holds; 0 without friction.
    """

    force: Array
    back: Array
    pressing: float
    rubbing: float
    penetration: float
    touching: float
    sticking: float


@dataclass(frozen=True)
class Pressed:
    """Where struts press on tissue.

    Attributes:
        places: On the tissue (mm), (k, 3).
        normal: Normal forces (mN), (k,).
        tangential: Size of the tangential forces (mN), (k,).
        length: Length of strut that each stands for (mm), (k,).
    """

    places: Array
    normal: Array
    tangential: Array
    length: Array


class TissueContact:
    """Contact of struts with named surfaces of a body.

    Struts are round for the tissue: their points press where they are nearer to it than their
    radius. In a step a point stays on the facet that it was nearest to at its start, also beyond
    the border: facets meet at angles, and where a point leaves one for the next as it is pressed
    there may be no equilibrium. All ranks know all struts and the whole surface, and compute the
    same.

    Args:
        tissue: The body.
        surfaces: Names of those that struts may touch.
        points: Of the struts.
        law: Penalty and friction.
        reach: Farther points (mm), outside or inside, are not in contact; the largest facet if
            None.

    Raises:
        InputError: no such surfaces.
    """

    def __init__(
        self, tissue: Mechanics, surfaces: tuple[str, ...], points: StrutPoints, law: StrutLaw, *,
        reach: float | None = None,
    ) -> None:  # fmt: skip
        own, comm = surface(tissue, *surfaces), tissue.domain.comm
        self.tissue, self.points, self.law = tissue, points, law
        held = _prescribed(tissue)[own.dofs]
        self.facets = facets_for(comm, own, held)
        #: Largest facet (mm).
        self.size = largest_facet(comm, own.X)
        self._body = Body(self.facets, reach or self.size)
        self._dofs = own.dofs
        # Rows whose displacement is prescribed take no forces.
        self._held = self.facets.gathered(held)
        k = len(points.length)
        self._memory = Memory(
            np.zeros(k), np.zeros((k, 3)), np.zeros((k, 4)), np.full(k, -1.0), np.zeros(k)
        )
        none = np.zeros((0, 3))
        self.pairs: BodyPairs = self._body.pair(
            none, none, np.zeros(0, np.int64), np.zeros(0, bool)
        )
        self._p, self._pull = np.zeros(0), none
        self._at = np.zeros((k, 3)), np.zeros((k, 3))

    # --- state

    @property
    def state(self) -> Mapping[str, Array]:
        """What the points remember, and the surface's rounding."""
        state = dict(vars(self._memory))
        if isinstance(self.facets, RoundedFacets):
            state["rounding"] = self.facets.offsets
        return state

    def refresh(self, x: Array, q: Array) -> None:
        """Search what the points meet; collective.

        Args:
            x: Positions of the beams' nodes (mm), (n, 3).
            q: Their rotations, (n, 4).
        """
        memory, points = self._memory, self.points
        self._body.move(self.tissue.at_level())
        place, out = points.positions(x), points.outwards(q)
        held, stays = memory.preferred()
        anchored = memory.anchor[:, 3] > 0
        held = np.where(anchored, memory.anchor[:, 0], held).astype(np.int64)
        self.pairs = self._body.pair(place, out, held, stays | anchored)
        self._at = place, out
        facet, at = np.full(len(points.length), -1.0), self.pairs.point
        facet[at] = self.pairs.facet
        memory.changes[:] += facet != memory.facet
        memory.facet[:] = facet
        stiffness = self.law.penalty * points.length[at]
        self._p = memory.multiplier[at] + stiffness * (points.radius[at] - self.pairs.gap)
        self._pull = np.zeros((len(at), 3))
        if self.law.friction > 0:
            known = memory.anchor[at, 3] > 0
            slip = place[at[known]] - self._body.follow(memory.anchor[at[known], :3])
            spring = self.law.tangential * stiffness[known, None]
            self._pull[known] = memory.traction[at[known]] + spring * slip

    def commit(self) -> None:
        """Take forces and places of contact as the start of the next step, and round anew."""
        memory, at = self._memory, self.pairs.point
        felt = self.felt()
        memory.traction[:] = 0.0
        memory.traction[at[felt.on]] = felt.rub.tau
        facet = np.full(len(memory.facet), -1)
        facet[at] = self.pairs.facet
        near = self._body.pair(*self._at, facet, np.zeros(len(facet), bool))
        memory.anchor[:], memory.changes[:] = 0.0, 0.0
        memory.anchor[near.point, :3], memory.anchor[near.point, 3] = near.anchor, 1.0
        if isinstance(self.facets, RoundedFacets):
            self.facets.round_off()

    def augment(self) -> float:
        """Take the present forces as multipliers; the largest penetration (mm) before.

        The traction that friction starts from stays that of the last accepted step.
        """
        depth = self.grip().penetration
        self._memory.multiplier[:] = 0.0
        self._memory.multiplier[self.pairs.point] = np.maximum(self._p, 0.0)
        return depth

    # --- contact as Newton's method takes it

    @property
    def touches(self) -> bool:
        """Whether anything is pressed at the last `refresh`."""
        return bool((self._p > 0).any())

    def foresee(self, dx: Array, du: Array) -> Array:
        """Straight motions of the points relative to the tissue (mm), (points, 3).

        Args:
            dx: Of the beams' nodes (mm), (n, 3).
            du: Of the nodes of all facets (mm), (facets, nodes, 3), as `surface_motion` has it.
        """
        pairs, at = self.pairs, self.pairs.point
        found = np.zeros((len(self.points.length), 3))
        found[at] = np.einsum("ka,kai->ki", self.points.share[at], dx[self.points.nodes[at]])
        found[at] -= np.einsum("ka,kai->ki", pairs.shape, du[pairs.facet])
        return found

    def felt(self, motion: Array | None = None) -> Felt:
        """Contact after a straight motion of the points, as `foresee` has it; as it is if None."""
        pairs, law, at = self.pairs, self.law, self.pairs.point
        eps = law.penalty * self.points.length[at]
        move = np.zeros((len(at), 3)) if motion is None else motion[at]
        p = self._p - eps * np.einsum("ki,ki->k", pairs.normal, move)
        on = np.flatnonzero(p > 0)
        n, m, p, eps, start = pairs.normal[on], move[on], p[on], eps[on], self._p[on]
        known = self._memory.anchor[at[on], 3] > 0
        known &= law.friction > 0
        eps_t = law.tangential * eps
        pull = np.where(known[:, None], self._pull[on] + eps_t[:, None] * m, 0.0)
        trial, slides, tau = returned(pull, n, law.friction * p)
        rub = Rub(law.friction, eps, eps_t, p, self._pull[on], trial, slides, tau, known)
        change = eps_t[:, None] * (m - np.einsum("ki,ki->k", n, m)[:, None] * n)
        size = np.linalg.norm(trial, axis=1)
        size = np.where(size > 0, size, 1.0)
        e = trial / size[:, None]
        turned = change - np.einsum("ki,ki->k", e, change)[:, None] * e
        pressed = law.friction * (p - start)
        slid = (law.friction * p / size)[:, None] * turned + pressed[:, None] * e
        change = np.where(slides[:, None], slid, change)
        change[~known] = 0.0
        return Felt(on, p, rub, p[:, None] * n - tau, start[:, None] * n - tau + change)

    def work(self, motion: Array, way: Array) -> float:
        """Of the forces on the points along ``way`` (µJ), after a motion; as `foresee` has both."""
        felt = self.felt(motion)
        return float(np.sum(felt.force * way[self.pairs.point[felt.on]]))

    def surface_motion(self, change: Array) -> Array:
        """Motion (mm) of the nodes of all facets for a change of the tissue's unknown; collective.

        Args:
            change: Local array with ghosts.
        """
        return self.facets.gathered(change[self._dofs])

    def on_nodes(self, felt: Felt, nodes: int) -> Array:
        """Forces on the beams' nodes (mN), without the motion, (n, 3)."""
        at = self.pairs.point[felt.on]
        found = np.zeros((nodes, 3))
        values = self.points.share[at][:, :, None] * felt.origin[:, None]
        np.add.at(found, self.points.nodes[at], values)
        return found

    def on_rows(self, felt: Felt) -> tuple[Integers, Array]:
        """Global rows of the tissue and forces on them (mN), supported ones left out."""
        values = -self.pairs.shape[felt.on][:, :, None] * felt.origin[:, None]
        free = ~self._held[self.pairs.facet[felt.on]]
        return self.pairs.rows[felt.on][free], values[free]

    def blocks(self, felt: Felt) -> tuple[Integers, Integers, Array, NDArray[np.bool_]]:
        """Derivatives of minus the forces on points and tissue by both.

        Returns:
            Nodes of the beams (k, 2), rows of the tissue (k, m, 3), blocks (k, L, L) with
            L = 6 + 3m whose first six are translations of the beams' nodes, and which of the L are
            not held by supports of the tissue.
        """
        on, pairs, at = felt.on, self.pairs, self.pairs.point[felt.on]
        N = self.points.share[at]
        c = np.concatenate([N, -pairs.shape[on]], axis=1)
        L = 3 * c.shape[1]
        B = (c[:, :, None] * pairs.normal[on][:, None]).reshape(len(on), L)
        K = felt.rub.eps[:, None, None] * B[:, :, None] * B[:, None]
        # By the forces now: those foreseen may be many times what will be.
        now = np.maximum(self._p[on], 0.0)
        K -= now[:, None, None] * pairs.second_variation(on, N)
        if self.law.friction > 0:
            K += felt.rub.tangent(pairs, on, N)
        free = ~self._held[pairs.facet[on]].reshape(len(on), L - 6)
        free = np.concatenate([np.ones((len(on), 6), bool), free], axis=1)
        return self.points.nodes[at], pairs.rows[on], K, free

    # --- results

    def grip(self) -> Grip:
        """Resultants at the last `refresh`."""
        felt = self.felt()
        at = self.pairs.point[felt.on]
        nodes = self.on_nodes(felt, int(self.points.nodes.max()) + 1)
        rows = -self.pairs.shape[felt.on][:, :, None] * felt.force[:, None]
        length = self.points.length[at]
        held = float(length[~felt.rub.slides].sum()) if self.law.friction > 0 else 0.0
        depth = (self.points.radius[at] - self.pairs.gap[felt.on]).max(initial=0.0)
        return Grip(
            rows.sum(axis=(0, 1)), nodes.sum(axis=0), float(felt.p.sum()),
            float(np.linalg.norm(felt.rub.tau, axis=1).sum()), float(depth), float(length.sum()),
            held / max(float(length.sum()), 1e-300),
        )  # fmt: skip

    def pressed(self) -> Pressed:
        """Where struts press at the last `refresh`, the same on all ranks."""
        felt = self.felt()
        places = self.facets.at(self.pairs.facet[felt.on], self.pairs.projection.xi[felt.on])
        rubbing = np.linalg.norm(felt.rub.tau, axis=1)
        return Pressed(places, felt.p, rubbing, self.points.length[self.pairs.point[felt.on]])


def _prescribed(tissue: Mechanics) -> NDArray[np.bool_]:
    """Whether unknowns of this rank, ghosts included, are prescribed."""
    held = np.zeros(len(tissue.w.x.array), bool)
    for bc in tissue.supports.bcs:
        held[bc.dof_indices()[0]] = True
    return held
