"""Surfaces of a deforming body: facets, points of quadrature, and the nearest facet to a point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import basix
import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.mesh.domain import Domain

if TYPE_CHECKING:
    from organtwin.mechanics.problem import Mechanics

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Projections on a facet are iterated until the parameters change by less.
STATIONARY = 1e-11
#: Facets are continued over their borders by this share of their size. A point that crosses from
#: one facet to the next keeps the first until it has left its continuation, or it would come and
#: go during an iteration as the normals of both differ.
BORDER = 0.05
#: The same where a point comes and goes between two facets in one step, and stays on one of them.
FAR = 0.5
#: A nearest point that Newton's method seeks beyond a facet so many times in a row is not on it.
OUTSIDE = 6
#: Surfaces face each other where the cosine between their normals is less.
FACING = -0.2


@dataclass(frozen=True)
class FacetElement:
    """Shape functions of the displacement on a facet, a triangle or a quadrilateral.

    Attributes:
        element: Lagrange element on the reference facet.
        closure: Cell dof of each facet node, shape (facets of a cell, nodes).
    """

    element: basix.finite_element.FiniteElement
    closure: NDArray[np.int32]

    @property
    def is_triangle(self) -> bool:
        """Whether facets are triangles."""
        return bool(self.element.cell_type == basix.CellType.triangle)

    def values(self, xi: Floats) -> Floats:
        """Shape functions at parameters ``xi``, shape (points, nodes)."""
        return np.asarray(self.element.tabulate(0, xi)[0, :, :, 0])

    def derivatives(self, xi: Floats) -> tuple[Floats, Floats, Floats]:
        """Shape functions (n, k), their first (n, 2, k) and second derivatives (n, 2, 2, k)."""
        table = self.element.tabulate(2, xi)[..., 0]
        first = np.stack([table[1], table[2]], axis=1)
        second = np.stack(
            [np.stack([table[3], table[4]], axis=1), np.stack([table[4], table[5]], axis=1)],
            axis=1,
        )
        return table[0], first, second

    def quadrature(self, degree: int) -> tuple[Floats, Floats]:
        """Points and weights on the reference facet."""
        points, weights = basix.make_quadrature(self.element.cell_type, degree)
        return points, weights

    def clamped(self, xi: Floats, border: Floats | float = BORDER) -> Floats:
        """Parameters moved onto the reference facet enlarged by ``border`` (n, 1) on all sides."""
        if not self.is_triangle:
            return np.clip(xi, -border, 1.0 + border)
        barycentric = np.column_stack([1 - xi.sum(axis=1), xi])
        share = ((barycentric + border) / (1 + 3 * border)).clip(0.0)
        share /= share.sum(axis=1, keepdims=True)
        return np.asarray(share[:, 1:] * (1 + 3 * border) - border)

    def over(self, xi: Floats) -> Floats:
        """How far parameters are over the border of the reference facet, 0 inside."""
        if not self.is_triangle:
            return np.maximum(-xi, xi - 1.0).max(axis=1, initial=0.0)
        return np.maximum(-xi.min(axis=1, initial=0.0), xi.sum(axis=1) - 1.0).clip(0.0)


def facet_element(V: fem.FunctionSpace) -> FacetElement:
    """Shape functions that a Lagrange displacement of ``V`` has on a facet."""
    cell = V.mesh.basix_cell()
    degree = V.element.basix_element.degree
    kind = (
        basix.CellType.triangle
        if cell == basix.CellType.tetrahedron
        else basix.CellType.quadrilateral
    )
    variant = basix.LagrangeVariant.gll_warped
    flat = basix.create_element(basix.ElementFamily.P, kind, degree, variant)
    solid = basix.create_element(basix.ElementFamily.P, cell, degree, variant)
    corners, faces = basix.geometry(cell), basix.topology(cell)[2]
    closure = []
    for face in faces:
        v = corners[face]
        nodes = v[0] + flat.points @ np.array([v[1] - v[0], v[2] - v[0]])
        apart = np.linalg.norm(nodes[:, None] - solid.points[None], axis=2)
        closure.append(apart.argmin(axis=1))
    return FacetElement(flat, np.array(closure, dtype=np.int32))


@dataclass(frozen=True)
class Surface:
    """Facets of named surfaces that this rank owns.

    Attributes:
        name: For messages.
        element: Shape functions.
        X: Reference positions of the facets' nodes (mm), shape (facets, nodes, 3).
        dofs: Where their displacement stands in the local array of unknowns, same shape.
        rows: The same as global rows of the tangent.
        side: +1 where the first parametric tangent times the second points outwards, else −1.
    """

    name: str
    element: FacetElement
    X: Floats
    dofs: NDArray[np.int32]
    rows: Integers
    side: Floats

    def positions(self, w: Floats) -> Floats:
        """Present positions of the nodes (mm), shape (facets, nodes, 3)."""
        return np.asarray(self.X + w[self.dofs])


def surface(problem: Mechanics, *names: str) -> Surface:
    """The named surfaces as this rank's part of ``problem`` has them."""
    cells, nodes, element = facet_nodes(problem.domain, problem.V, *names)
    X = problem.V.tabulate_dof_coordinates()[nodes]
    dofs = problem._u_dofs[3 * nodes[:, :, None] + np.arange(3)]
    side = _outward(problem.domain, element, X, cells)
    return Surface(", ".join(names), element, X, dofs, _global_rows(problem.W, dofs), side)


def reference_surface(domain: Domain, name: str) -> Surface:
    """Straight facets of a surface in the reference state, without unknowns."""
    V = fem.functionspace(domain.mesh, ("P", 1))
    cells, nodes, element = facet_nodes(domain, V, name)
    X = V.tabulate_dof_coordinates()[nodes]
    none = np.zeros(X.shape, dtype=np.int64)
    return Surface(
        name, element, X, none.astype(np.int32), none, _outward(domain, element, X, cells)
    )


def facet_nodes(
    domain: Domain, V: fem.FunctionSpace, *names: str
) -> tuple[NDArray[np.int32], Integers, FacetElement]:
    """Cells of the surfaces' facets, local nodes of ``V`` on them, and their shape functions.

    Only facets of cells that this rank owns: every facet belongs to one rank.
    """
    element = facet_element(V)
    cells, local = _owned_facets(domain, names)
    of_cell = np.array([V.dofmap.cell_dofs(c) for c in cells], dtype=np.int64)
    closure = element.closure[local].astype(np.int64)
    if len(cells) == 0:
        return cells, closure, element
    return cells, np.take_along_axis(of_cell, closure, axis=1), element


def quadrature_points(domain: Domain, name: str, degree: int) -> int:
    """Number of quadrature points that this rank has on a surface."""
    cells, _ = _owned_facets(domain, (name,))
    tetrahedra = domain.mesh.basix_cell() == basix.CellType.tetrahedron
    kind = basix.CellType.triangle if tetrahedra else basix.CellType.quadrilateral
    return len(cells) * len(basix.make_quadrature(kind, degree)[0])


def largest_facet(comm: MPI.Comm, X: Floats) -> float:
    """Largest diameter of facets (mm) over all ranks; 0 without any. Collective."""
    spans = np.linalg.norm(np.ptp(X, axis=1), axis=1) if len(X) else np.zeros(0)
    return float(comm.allreduce(spans.max(initial=0.0), op=MPI.MAX))


def _owned_facets(
    domain: Domain, names: tuple[str, ...]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Cells and their local facet numbers of the surfaces, of cells that this rank owns."""
    topology = domain.mesh.topology
    topology.create_connectivity(2, 3)
    topology.create_connectivity(3, 2)
    to_cells, to_facets = topology.connectivity(2, 3), topology.connectivity(3, 2)
    owned = topology.index_map(3).size_local
    found = [(c, f) for f in domain.facets(*names) for c in to_cells.links(f) if c < owned]
    local = [int(np.flatnonzero(to_facets.links(c) == f)[0]) for c, f in found]
    cells = np.array([c for c, _ in found], dtype=np.int32)
    return cells, np.array(local, dtype=np.int32)


def _global_rows(W: fem.FunctionSpace, dofs: NDArray[np.int32]) -> Integers:
    block = W.dofmap.index_map_bs
    flat = dofs.ravel()
    rows = W.dofmap.index_map.local_to_global(np.asarray(flat // block, dtype=np.int32))
    return np.asarray(rows * block + flat % block, dtype=np.int64).reshape(dofs.shape)


def _outward(domain: Domain, element: FacetElement, X: Floats, cells: NDArray[np.int32]) -> Floats:
    """Sign that makes the facets' normals point out of their cells."""
    if len(cells) == 0:
        return np.zeros(0)
    geometry = domain.mesh.geometry
    middle = geometry.x[geometry.dofmaps[0][cells]].mean(axis=1)
    xi = np.full((1, 2), 1 / 3)
    values, first, _ = element.derivatives(xi)
    t = np.einsum("ak,nkd->nad", first[0], X)
    n = np.cross(t[:, 0], t[:, 1])
    away = np.einsum("k,nkd->nd", values[0], X) - middle
    return np.sign(np.einsum("nd,nd->n", n, away))


@dataclass(frozen=True)
class Projection:
    """Nearest points on a facetted surface.

    Attributes:
        point: Which of the points were projected, sorted, shape (n,).
        facet: Facet that holds the nearest point.
        xi: Its parameters, shape (n, 2).
        gap: Distance along the outward normal (mm), negative inside.
        normal: Unit outward normal, shape (n, 3).
    """

    point: Integers
    facet: Integers
    xi: Floats
    gap: Floats
    normal: Floats


class BoxTree:
    """Bounding boxes of facets in a binary tree that is made once and refitted as facets move.

    Args:
        X: Positions of the facets' nodes when the tree is made, shape (facets, nodes, 3).
    """

    def __init__(self, X: Floats) -> None:
        self._depth = max(int(np.ceil(np.log2(max(len(X), 1)))), 0)
        self._leaf = np.full(2**self._depth, -1, dtype=np.int64)
        if len(X):
            _split(X.mean(axis=1), np.arange(len(X)), self._leaf)
        self._levels: list[tuple[Floats, Floats]] = []
        self.refit(X)

    def refit(self, x: Floats) -> None:
        """Take new positions of the nodes (mm)."""
        low, high = np.full((len(self._leaf), 3), np.inf), np.full((len(self._leaf), 3), -np.inf)
        used = self._leaf >= 0
        corner = x[self._leaf[used]]
        # A quadratic facet bulges over the box of its nodes by less than a quarter of its size.
        margin = 0.25 * np.ptp(corner, axis=1).max(axis=1, initial=0.0, keepdims=True)
        low[used], high[used] = corner.min(axis=1) - margin, corner.max(axis=1) + margin
        self._levels = [(low, high)]
        while len(low) > 1:
            low, high = low.reshape(-1, 2, 3).min(axis=1), high.reshape(-1, 2, 3).max(axis=1)
            self._levels.append((low, high))

    def near(self, points: Floats, radius: Floats) -> tuple[Integers, Integers]:
        """Pairs (point, facet) whose box is nearer than the point's radius (mm)."""
        point: Integers = np.arange(len(points))
        node = np.zeros(len(points), dtype=np.int64)
        for level, (low, high) in enumerate(reversed(self._levels)):
            if level:
                point, node = np.repeat(point, 2), (2 * node[:, None] + np.arange(2)).ravel()
            x = points[point]
            apart = np.maximum(np.maximum(low[node] - x, x - high[node]), 0.0)
            keep = np.linalg.norm(apart, axis=1) <= radius[point]
            point, node = point[keep], node[keep]
        return point, self._leaf[node]


def _split(centre: Floats, facets: Integers, leaf: Integers) -> None:
    """Fill ``leaf`` with the facets, each half of it with neighbours."""
    if len(leaf) == 1:
        leaf[: len(facets)] = facets
        return
    axis = int(np.ptp(centre[facets], axis=0).argmax()) if len(facets) else 0
    order = facets[np.argsort(centre[facets, axis], kind="stable")]
    half = min((len(facets) + 1) // 2, len(leaf) // 2)
    _split(centre, order[:half], leaf[: len(leaf) // 2])
    _split(centre, order[half:], leaf[len(leaf) // 2 :])


class Facets:
    """All facets of a surface, gathered from the ranks, and the search for the nearest.

    Volumes stay where they are: what is exchanged are the positions of the surface's nodes.

    Args:
        comm: Communicator.
        own: This rank's part.
    """

    def __init__(self, comm: MPI.Comm, own: Surface) -> None:
        self._comm, self._own = comm, own
        self.element = own.element
        X = _gathered(comm, own.X)
        if len(X) == 0:
            raise InputError("Contact", f"surface `{own.name}` has no facets.", "Tag some.")
        self._order = _order(X)
        self.rows, self.side = self.gathered(own.rows), self.gathered(own.side)
        self.x = X[self._order]
        self.tree = BoxTree(self.x)
        self._size = float(np.linalg.norm(np.ptp(self.x, axis=1), axis=1).mean())

    def move(self, w: Floats) -> None:
        """Take the displacement of the present unknowns; collective."""
        self.x = self.gathered(self._own.positions(w))
        self.tree.refit(self.x)

    def gathered[T: np.generic](self, part: NDArray[T]) -> NDArray[T]:
        """Data of this rank's facets from all ranks, in the order of `x`; collective."""
        return _gathered(self._comm, part)[self._order]

    def reduced(self, values: Floats) -> Floats:
        """Shape functions of the nodes with unknowns, from those of all nodes; here the same."""
        return values

    def at(self, facet: Integers, xi: Floats) -> Floats:
        """Present positions (mm) of points on the surface."""
        return np.einsum("nk,nkd->nd", self.element.values(xi), self.x[facet])

    def project(
        self,
        points: Floats,
        normals: Floats,
        reach: float,
        held: Integers,
        *,
        stays: NDArray[np.bool_] | None = None,
        itself: bool = False,
    ) -> Projection:
        """Nearest point of the surface to each point, where there is one that faces it.

        Args:
            points: Positions (mm), shape (n, 3).
            normals: Outward unit normals of the surface that the points are on; facets that look
                the same way are no partners.
            reach: How far the nearest point may be (mm).
            held: Facet that each point was nearest to before, −1 for none; it is preferred.
            stays: Points that keep it far beyond its border.
            itself: Whether the points are on this very surface.
        """
        stays = np.zeros(len(points), bool) if stays is None else stays
        radius = self._radius(points, reach, itself)
        point, facet = self._candidates(points, normals, radius)
        again = facet == held[point]
        border = np.where(again & stays[point], FAR, BORDER)
        xi, inside = self._parameters(points[point], facet, border[:, None])
        away, normal = self._offset(points[point], facet, xi)
        faces = np.einsum("nd,nd->n", normal, normals[point]) < FACING
        gap = np.einsum("nd,nd->n", away, normal)
        size = np.linalg.norm(np.ptp(self.x[facet], axis=1), axis=1)
        distance = np.abs(gap) + self.element.over(xi) * size
        distance -= np.where(again, 2 * border * size, 0.0)
        # Of two that are equally near the first is taken, whatever the rounding of distances.
        distance = np.rint(distance / (1e-6 * self._size))
        keep = faces & inside & (np.abs(gap) <= reach)
        chosen = _first_of_each(point, facet, distance, keep)
        return Projection(point[chosen], facet[chosen], xi[chosen], gap[chosen], normal[chosen])

    def _candidates(
        self, points: Floats, normals: Floats, radius: Floats
    ) -> tuple[Integers, Integers]:
        """Pairs (point, facet) that may be the nearest ones."""
        return self.tree.near(points, radius)

    def _radius(self, points: Floats, reach: float, itself: bool) -> Floats:
        """No farther from each point has the nearest facet to be searched (mm)."""
        radius = np.full(len(points), reach)
        if itself or len(points) == 0:
            return radius
        # A node is a point of the surface: nothing farther away is nearest.
        nearest, _ = cKDTree(self.x.reshape(-1, 3)).query(points, distance_upper_bound=reach)
        return np.minimum(radius, nearest + 1e-9 * reach)

    def _offset(self, points: Floats, facet: Integers, xi: Floats) -> tuple[Floats, Floats]:
        """From the surface to the points (mm), and the outward normal there."""
        value, first, _ = self.element.derivatives(xi)
        x = self.x[facet]
        t = np.einsum("nak,nkd->nad", first, x)
        n = np.cross(t[:, 0], t[:, 1]) * self.side[facet, None]
        n /= np.linalg.norm(n, axis=1, keepdims=True)
        return points - np.einsum("nk,nkd->nd", value, x), n

    def _parameters(
        self, points: Floats, facet: Integers, border: Floats
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Nearest point of a facet to a point, by Newton's method kept on the facet."""
        x = self.x[facet]
        xi = np.full((len(points), 2), 1 / 3)
        left = np.zeros(len(points), dtype=np.int64)  # the facet, so many times in a row
        todo = np.arange(len(points))
        for _ in range(20):
            step = _newton_step(self.element, points[todo], x[todo], xi[todo])
            new = self.element.clamped(xi[todo] + step, border[todo])
            moved = np.abs(new - xi[todo]).max(axis=1, initial=0.0)
            outside = np.abs(xi[todo] + step - new).max(axis=1, initial=0.0) >= 1e-9
            left[todo] = np.where(outside, left[todo] + 1, 0)
            xi[todo] = new
            todo = todo[(moved > STATIONARY) & (left[todo] < OUTSIDE)]
            if len(todo) == 0:
                break
        return xi, left == 0


def _newton_step(element: FacetElement, points: Floats, x: Floats, xi: Floats) -> Floats:
    """Newton's correction of the parameters that make the offset orthogonal to the tangents."""
    value, first, second = element.derivatives(xi)
    away = points - np.einsum("nk,nkd->nd", value, x)
    t = np.einsum("nak,nkd->nad", first, x)
    metric = t @ t.transpose(0, 2, 1)
    bent = metric - np.einsum("nabk,nk->nab", second, np.einsum("nkd,nd->nk", x, away))
    definite = (_determinant(bent) > 0.1 * _determinant(metric)) & (bent[:, 0, 0] > 0)
    A = np.where(definite[:, None, None], bent, metric)
    r = np.einsum("nad,nd->na", t, away)
    solved = np.stack(
        [A[:, 1, 1] * r[:, 0] - A[:, 0, 1] * r[:, 1], A[:, 0, 0] * r[:, 1] - A[:, 1, 0] * r[:, 0]],
        axis=1,
    )
    return np.asarray(solved / _determinant(A)[:, None])


def _determinant(A: Floats) -> Floats:
    return np.asarray(A[:, 0, 0] * A[:, 1, 1] - A[:, 0, 1] * A[:, 1, 0])


def _order(X: Floats) -> Integers:
    """Facets by the place of their centre: the same on any number of ranks."""
    centre = X.mean(axis=1)
    grain = 1e-7 * float(np.ptp(centre, axis=0).max(initial=1e-30))
    return np.asarray(np.lexsort(np.rint(centre / grain).T[::-1]))


def _first_of_each(
    point: Integers, facet: Integers, distance: Floats, keep: NDArray[np.bool_]
) -> Integers:
    """Index of the nearest kept candidate of each point that has one."""
    candidates = np.flatnonzero(keep)
    order = candidates[np.lexsort((facet[candidates], distance[candidates], point[candidates]))]
    _, first = np.unique(point[order], return_index=True)
    return order[first]


def _gathered[T: np.generic](comm: MPI.Comm, part: NDArray[T]) -> NDArray[T]:
    """Parts of all ranks one after the other, on every rank; collective."""
    return np.concatenate(comm.allgather(part)) if comm.size > 1 else part
