"""Interfaces that slide little: implant and bone, fragment and fragment, bone and cement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import ufl
from dolfinx import fem, la
from numpy.typing import NDArray
from petsc4py import PETSc

from organtwin.errors import InputError
from organtwin.mechanics.contact_surface import Floats, facet_nodes
from organtwin.mechanics.coupling_matrix import force_share, outer_blocks, over_dofs
from organtwin.mechanics.interface_law import OPEN, SLIDES, STICKS, InterfaceLaw, Response, Trial
from organtwin.mechanics.surface_pairs import SurfacePairs, facet_normals
from organtwin.mechanics.terms import Fields
from organtwin.mesh.domain import Domain
from organtwin.process import Places, keyed

if TYPE_CHECKING:
    from organtwin.mechanics.problem import Mechanics

#: Cosine of the angle between facets above which the surface is taken to be smooth (30°).
SMOOTH = np.cos(np.pi / 6)

type Interference = float | Callable[[Floats], Floats]


@dataclass(frozen=True)
class InterfaceReport:
    """What an interface came to, over all ranks.

    Attributes:
        force: On the first surface (mN), shape (3,).
        area: Of the paired surface (mm²).
        closed: Share of the area that carries something.
        sticking: Share that is closed and does not slide.
        sliding: Share that slides.
        open: Share that carries nothing.
        bonded: Share whose bond is not lost.
        pressure: Largest pressure (kPa).
        penetration: Largest penetration (mm).
        slip: Largest slip since the reference state (mm).
    """

    force: Floats
    area: float
    closed: float
    sticking: float
    sliding: float
    open: float
    bonded: float
    pressure: float
    penetration: float
    slip: float


@dataclass(frozen=True)
class InterfacePoints:
    """Quadrature points of this rank, in an order that stays.

    Attributes:
        position: In the reference state (mm), (n, 3).
        normal: Out of the first side, (n, 3).
        area: Weight (mm²).
        opening: Gap (mm), negative where the sides penetrate.
        slip: Of the first side relative to the other in the tangent plane since the reference
            state (mm), (n, 3).
        jump: The whole displacement of the first side relative to the other (mm), (n, 3).
        pressure: kPa, negative in tension.
        shear: Traction in the tangent plane (kPa) that the other side feels, (n, 3).
        state: 0 open, 1 sticks, 2 slides.
    """

    position: Floats
    normal: Floats
    area: Floats
    opening: Floats
    slip: Floats
    jump: Floats
    pressure: Floats
    shear: Floats
    state: NDArray[np.int64]


class Interface:
    """Contact between two surfaces that lie on each other and move little along each other.

    Points are paired once, in the reference state, where both meshes may differ. The normal is that
    of the reference state, too; so slip has to stay below an element and turns below a hundredth.
    An interference δ closes the gap as if the sides had been larger by it: g₀ = g_geo − δ.

    Args:
        domain: Mesh of tetrahedra with names, of which both sides have nodes of their own
            (`organtwin.mesh.separating.separate`).
        surface: Name of the surface that is integrated over, the one with the finer mesh.
        other: Name of the surface opposite.
        law: What the sides do to each other.
        interference: δ (mm): a number, or a function of positions (n, 3) that gives (n,).
        geometric: Whether the distance of the surfaces counts as a gap. If not, they are taken to
            touch: facets of two meshes of one curved surface lie within their chords only.
        distance: Facets farther apart (mm) are no partners; a quarter of the largest facet if None.
        degree: Of the quadrature on each piece of a facet.
        smooth: Whether normals are averaged at the vertices, except at edges of over 30°.

    Attributes:
        paired: Share of the first surface's area that has a partner.
        penalties: ε and ε_τ (kPa/mm).

    Raises:
        InputError: no surface of that name, no partners, facets that are no triangles, or an
            interference that is not one number per point.
    """

    def __init__(
        self,
        domain: Domain,
        surface: str,
        other: str,
        law: InterfaceLaw,
        *,
        interference: Interference = 0.0,
        geometric: bool = False,
        distance: float | None = None,
        degree: int = 4,
        smooth: bool = True,
    ) -> None:
        self.domain, self.surface, self.other, self.law = domain, surface, other, law
        self.pairs = SurfacePairs(
            domain, surface, other, distance=distance, degree=degree, place="Interface"
        )
        self.paired = self.pairs.paired
        self.penalties = law.penalties(self.pairs.size)
        self._normals = self._at_points(smooth)
        n = len(self._normals)
        self._gap = self.pairs.gap(self._normals) if geometric else np.zeros(n)
        self._interference = _amounts(interference, self.pairs.positions())
        self._share = np.ones(1)
        self._softness = 1.0
        self._multiplier, self._shear_multiplier = np.zeros(n), np.zeros((n, 3))
        self._slipped, self._path, self._bond = np.zeros((n, 3)), np.zeros(n), np.ones(n)
        self._jump = np.zeros((n, 3))
        self._response = self._respond()

    @property
    def share(self) -> float:
        """Part of the interference that is in effect, 1 unless changed."""
        return float(self._share[0])

    @share.setter
    def share(self, value: float) -> None:
        self._share[0] = value

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """Nothing: the contribution is assembled by `add_residual` and `tangent`."""
        return ufl.Form([])

    def refresh(self, problem: Mechanics) -> None:
        """Evaluate jumps and tractions at the present displacement; collective."""
        self.pairs.bind(problem)
        self._jump = self.pairs.jump(problem.at_level())
        self._response = self._respond()

    def add_residual(self, R: PETSc.Vec) -> None:
        """Add ∫ (p n + τ) · (δu − δū) dA to the residual; collective."""
        self.pairs.add(R, self._response.traction)

    def tangent(self) -> PETSc.Mat:
        """Derivative of the residual by the unknowns; unsymmetric where it slides. Collective."""
        problem = self.pairs.problem
        assert problem is not None
        entries = outer_blocks([self.pairs.blocks(self._response.tangent())])
        return over_dofs(problem.W, *entries, force_share(problem))

    def slope(self, *, symmetric: bool, least: float) -> Floats:
        """Derivative of the tractions by the jump (kPa/mm), (points, 3, 3)."""
        return self._response.tangent(symmetric=symmetric, least=least)

    def commit(self) -> None:
        """Take slips over as permanent and bonds as lost, for the next step."""
        r, before = self._response, self._slipped.copy()
        shear = r.shear - self._shear_multiplier
        self._slipped[:] = self._slip() - shear / self._eps[1]
        self._path += np.where(r.holds, np.linalg.norm(self._slipped - before, axis=1), 0.0)
        length = self.law.bond_length
        if length is not None:
            apart = np.where(r.closed, 0.0, self._opening())
            self._bond[(self._path > length) | (apart > length)] = 0.0

    def soften(self, share: float) -> None:
        """Work with a share of the penalties from the next `refresh` on."""
        self._softness = share

    def augment(self) -> None:
        """Take the present tractions as multipliers (Uzawa's update)."""
        self._multiplier[:] = self._response.pressure
        self._shear_multiplier[:] = self._response.shear

    @property
    def state(self) -> Mapping[str, Floats]:
        """Views of the memory of this rank's points, (n,) or (3, n), and of the share, (1,)."""
        return {
            "share": self._share,
            "multiplier": self._multiplier,
            "shear_multiplier": self._shear_multiplier.T,
            "slipped": self._slipped.T,
            "path": self._path,
            "bond": self._bond,
        }

    def places(self) -> Places:
        """Where the entries of `state` are."""
        names = ("multiplier", "shear_multiplier", "slipped", "path", "bond")
        return Places({"points": keyed(self.pairs.positions())}, dict.fromkeys(names, "points"))

    # --- results

    def pattern(self) -> NDArray[np.int64]:
        """Which of this rank's points are open, stick and slide, as integers."""
        r = self._response
        return 4 * r.closed + np.where(r.slides, SLIDES, np.where(r.holds, STICKS, OPEN))

    def report(self) -> InterfaceReport:
        """Resultants at the last `refresh`; collective."""
        pairs, r = self.pairs, self._response
        area, state = pairs.points.area, r.state
        parts = [area, *(area * (state == k) for k in (OPEN, STICKS, SLIDES)), area * self._bond]
        sums = np.asarray(self.domain.comm.allreduce(np.array([part.sum() for part in parts])))
        shares = sums / sums[0]
        return InterfaceReport(
            pairs.force(r.traction), float(sums[0]), float(1 - shares[1]), float(shares[2]),
            float(shares[3]), float(shares[1]), float(shares[4]), pairs.largest(r.pressure),
            pairs.largest(-self._opening()), pairs.largest(np.linalg.norm(self._slip(), axis=1)),
        )  # fmt: skip

    def points(self) -> InterfacePoints:
        """What is known at this rank's points at the last `refresh`."""
        r = self._response
        return InterfacePoints(
            self.pairs.positions(), self._normals, self.pairs.points.area, self._opening(),
            self._slip(), self._jump.copy(), r.pressure.copy(), r.shear.copy(), r.state,
        )  # fmt: skip

    def fields(self) -> dict[str, fem.Function]:
        """Means around each vertex of the first surface, zero elsewhere; collective.

        ``contact_pressure`` (kPa), ``contact_opening`` (mm), ``contact_slip`` (mm, vector).
        """
        found = self.points()
        return {
            "contact_pressure": self.averaged("contact_pressure", found.pressure[:, None]),
            "contact_opening": self.averaged("contact_opening", found.opening[:, None]),
            "contact_slip": self.averaged("contact_slip", found.slip),
        }

    def averaged(self, name: str, values: Floats) -> fem.Function:
        """Means of values at the points (n, k) around each vertex, k = 1 or 3; collective."""
        k, points = values.shape[1], self.pairs.points
        shape = () if k == 1 else (k,)
        field = fem.Function(fem.functionspace(self.domain.mesh, ("P", 1, shape)), name=name)
        weight = self.pairs.own.element.values(points.xi) * points.area[:, None]
        rows = np.concatenate([values[:, None] * weight[:, :, None], weight[:, :, None]], axis=2)
        sums = self._summed(points.facet, rows)
        mean = sums[:, :k] / np.where(sums[:, k:] > 0, sums[:, k:], 1.0)
        field.x.array[:] = mean.ravel()
        return field

    # --- pieces

    @property
    def _eps(self) -> tuple[float, float]:
        return self._softness * self.penalties[0], self._softness * self.penalties[1]

    def _slip(self) -> Floats:
        n = self._normals
        return self._jump - np.einsum("nd,nd->n", self._jump, n)[:, None] * n

    def _opening(self) -> Floats:
        start = self._gap - self.share * self._interference
        return start - np.einsum("nd,nd->n", self._jump, self._normals)

    def _respond(self) -> Response:
        eps, eps_t = self._eps
        shear = self._shear_multiplier + eps_t * (self._slip() - self._slipped)
        normal = self._multiplier - eps * self._opening()
        return self.law.respond(Trial(normal, shear, self._normals, (eps, eps_t)), self._bond)

    def _at_points(self, smooth: bool) -> Floats:
        """Unit normals out of the first side."""
        own, points = self.pairs.own, self.pairs.points
        flat = facet_normals(own.X, own.side)
        if not smooth:
            return np.asarray(flat[points.facet])
        # Weighted by the angles, as which diagonals cut a wall into triangles says nothing.
        rows = _angles(own.X)[:, :, None] * flat[:, None]
        sums = self._summed(np.arange(len(flat)), rows)
        sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.finfo(float).tiny)
        at = sums[self._nodes]
        near = np.einsum("fkd,fd->fk", at, flat) > SMOOTH
        at = np.where(near[:, :, None], at, flat[:, None])
        normals = np.einsum("nk,nkd->nd", own.element.values(points.xi), at[points.facet])
        return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))

    def _summed(self, facet: NDArray[np.int64], rows: Floats) -> Floats:
        """Sums at the mesh's vertices of rows (n, 3, k) at the corners of facets; collective."""
        V = fem.functionspace(self.domain.mesh, ("P", 1))
        _, nodes, _ = facet_nodes(self.domain, V, self.surface)
        self._nodes = nodes
        sums = la.vector(V.dofmap.index_map, rows.shape[2])
        table = sums.array.reshape(-1, rows.shape[2])
        np.add.at(table, nodes[facet], rows)
        sums.scatter_reverse(la.InsertMode.add)
        sums.scatter_forward()
        return np.asarray(sums.array.reshape(-1, rows.shape[2]))


def _angles(X: Floats) -> Floats:
    """Angles at the corners of triangles, (n, 3)."""
    ahead, behind = np.roll(X, -1, axis=1) - X, np.roll(X, 1, axis=1) - X
    size = np.linalg.norm(ahead, axis=2) * np.linalg.norm(behind, axis=2)
    return np.arccos(np.clip(np.einsum("nkd,nkd->nk", ahead, behind) / size, -1.0, 1.0))


def _amounts(interference: Interference, positions: Floats) -> Floats:
    """Interference of each point (mm)."""
    found = interference(positions) if callable(interference) else interference
    found = np.asarray(found, dtype=np.float64)
    if found.shape not in ((), (len(positions),)) or not np.isfinite(found).all():
        raise InputError(
            "Interface",
            f"interference of shape {found.shape} for {len(positions)} points, or not finite.",
            "Give a number (mm), or a function of positions (n, 3) that returns (n,).",
        )
    return np.broadcast_to(found, (len(positions),)).copy()
