"""A triangulated surface to walk on: straightest lines, borders, nearest points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from dolfinx import mesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import MeshError
from organtwin.mesh.closest import on_triangles
from organtwin.mesh.domain import Domain
from organtwin.parallel import on_root

type Points = NDArray[np.float64]
type Indices = NDArray[np.int64]

#: Spacing of the samples of the border (mm).
_SAMPLES = 0.5
#: Most edges that one step of a walk may cross.
_CROSSINGS = 10_000


@dataclass(frozen=True)
class Triangles:
    """A surface of triangles.

    Attributes:
        points: Vertices (mm), shape (n, 3).
        corners: Vertex indices, shape (m, 3), anticlockwise seen from outside the tissue.
    """

    points: Points
    corners: Indices

    @cached_property
    def normals(self) -> Points:
        """Unit normals out of the tissue, (m, 3)."""
        a, b, c = (self.points[self.corners[:, k]] for k in range(3))
        n = np.cross(b - a, c - a)
        return np.asarray(n / np.linalg.norm(n, axis=1, keepdims=True))

    @cached_property
    def inwards(self) -> Points:
        """Unit vectors across edge k (from corner k to k + 1) into the triangle, (m, 3, 3)."""
        x = self.points[self.corners]
        edges = np.roll(x, -1, axis=1) - x
        across = np.cross(self.normals[:, None, :], edges)
        return np.asarray(across / np.linalg.norm(across, axis=2, keepdims=True))

    @cached_property
    def beyond(self) -> Indices:
        """Triangle and its edge beyond each edge, (m, 3, 2); −1 at the border.

        Raises:
            MeshError: more than two triangles share an edge.
        """
        pairs = np.stack([self.corners, np.roll(self.corners, -1, axis=1)], axis=2)
        pairs = np.sort(pairs.reshape(-1, 2), axis=1)
        _, which, count = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
        if count.max(initial=0) > 2:
            raise MeshError(
                "endocardium",
                f"{int((count > 2).sum())} edges belong to more than two triangles.",
                "Mesh the surface again; it must be a manifold.",
            )
        order = np.argsort(which.ravel(), kind="stable")
        shared = np.flatnonzero(np.diff(which.ravel()[order]) == 0)
        first, second = order[shared], order[shared + 1]
        result = np.full((3 * len(self.corners), 2), -1)
        result[first] = np.column_stack(np.divmod(second, 3))
        result[second] = np.column_stack(np.divmod(first, 3))
        return result.reshape(-1, 3, 2)

    @cached_property
    def border(self) -> Points:
        """Points along the edges that only one triangle has, at most 0.5 mm apart, (k, 3)."""
        triangle, edge = np.nonzero(self.beyond[:, :, 0] < 0)
        a = self.points[self.corners[triangle, edge]]
        b = self.points[self.corners[triangle, (edge + 1) % 3]]
        longest = np.linalg.norm(b - a, axis=1).max(initial=0.0)
        shares = np.linspace(0.0, 1.0, int(np.ceil(longest / _SAMPLES)) + 1)
        return (a[:, None, :] + shares[:, None] * (b - a)[:, None, :]).reshape(-1, 3)

    def nearest(self, x: Points) -> tuple[Indices, Points]:
        """Nearest triangle (k,) and nearest point on it (k, 3) of each point ``x`` (k, 3)."""
        found = [self._nearest(point) for point in np.atleast_2d(x)]
        return np.array([f for f, _ in found], dtype=np.int64), np.array([p for _, p in found])

    def tangent(self, triangle: Indices, d: Points) -> Points:
        """Vectors ``d`` (k, 3) turned into the planes of triangles (k,), of unit length."""
        n = self.normals[triangle]
        flat = d - np.sum(d * n, axis=1, keepdims=True) * n
        return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-300))

    def walk(
        self, triangle: Indices, x: Points, d: Points, length: Points | float
    ) -> tuple[Indices, Points, Points, NDArray[np.bool_]]:
        """Go straight on from points on the surface: unfolded across an edge the path is a line.

        Args:
            triangle: Where each point lies, (k,).
            x: Points on these triangles (mm), (k, 3).
            d: Unit tangents, (k, 3).
            length: How far to go (mm), a number or (k,).

        Returns:
            Triangles, points and tangents after the walk, and who was stopped by the border.

        Source:
            Polthier & Schmies (1998), Straightest geodesics on polyhedral surfaces,
            doi 10.1007/978-3-662-03567-2_11.
        """
        triangle, x, d = triangle.copy(), x.copy(), d.copy()
        left = np.broadcast_to(np.asarray(length, dtype=np.float64), (len(x),)).copy()
        stopped = np.zeros(len(x), dtype=bool)
        for _ in range(_CROSSINGS):
            moving = np.flatnonzero((left > 0.0) & ~stopped)
            if not len(moving):
                break
            edge, reach = self._exit(triangle[moving], x[moving], d[moving])
            crosses = reach < left[moving]
            go = np.minimum(reach, left[moving])
            x[moving] += go[:, None] * d[moving]
            left[moving] -= go
            left[moving[~crosses]] = 0.0
            across, edge = moving[crosses], edge[crosses]
            there = self.beyond[triangle[across], edge]
            stopped[across[there[:, 0] < 0]] = True
            across, edge = across[there[:, 0] >= 0], edge[there[:, 0] >= 0]
            there = there[there[:, 0] >= 0]
            d[across] = self._unfold(triangle[across], edge, there, d[across])
            triangle[across] = there[:, 0]
        return triangle, x, d, stopped

    @cached_property
    def _centroids(self) -> tuple[cKDTree, float]:
        centres = self.points[self.corners].mean(axis=1)
        radius = np.linalg.norm(self.points[self.corners] - centres[:, None, :], axis=2).max()
        return cKDTree(centres), float(radius)

    @cached_property
    def _vertices(self) -> cKDTree:
        return cKDTree(self.points)

    def _nearest(self, x: Points) -> tuple[int, Points]:
        # No triangle whose centre is farther off than this can be nearer than the nearest vertex.
        tree, radius = self._centroids
        bound = float(self._vertices.query(x)[0]) + radius
        candidates = np.array(sorted(tree.query_ball_point(x, bound * (1 + 1e-12))))
        closest = on_triangles(x, self.points[self.corners[candidates]])
        best = int(np.argmin(np.round(np.linalg.norm(closest - x, axis=1), 12)))
        return int(candidates[best]), closest[best]

    def _exit(self, triangle: Indices, x: Points, d: Points) -> tuple[Indices, Points]:
        """Edge (k,) through which a ray leaves its triangle, and how far that is (k,)."""
        inwards = self.inwards[triangle]
        depth = np.einsum(
            "kei,kei->ke", x[:, None, :] - self.points[self.corners[triangle]], inwards
        )
        speed = np.einsum("ki,kei->ke", d, inwards)
        leaves = speed < -1e-12
        reach = np.where(leaves, np.maximum(depth, 0.0) / np.where(leaves, -speed, 1.0), np.inf)
        edge = np.argmin(reach, axis=1)
        return edge, np.take_along_axis(reach, edge[:, None], axis=1)[:, 0]

    def _unfold(self, triangle: Indices, edge: Indices, there: Indices, d: Points) -> Points:
        """Directions after crossing an edge: same angle to it on both sides."""
        before, after = self.inwards[triangle, edge], self.inwards[there[:, 0], there[:, 1]]
        across = np.sum(d * before, axis=1, keepdims=True)
        turned = d - across * before - across * after
        return self.tangent(there[:, 0], turned)


def gather_surface(domain: Domain, surface: str) -> Triangles | None:
    """Triangles of a surface on rank 0, numbered free of the ranks; None elsewhere. Collective.

    Args:
        domain: The domain.
        surface: Name of the surface.

    Raises:
        MeshError: the surface has no facets.
    """
    x = np.concatenate(domain.comm.gather(_oriented(domain, surface)) or [np.empty((0, 3, 3))])
    empty = on_root(domain.comm, lambda: len(x) == 0)
    if empty:
        raise MeshError("purkinje tree", f"surface `{surface}` has no facets.", "Mesh it again.")
    return _numbered(x) if domain.comm.rank == 0 else None


def _oriented(domain: Domain, surface: str) -> Points:
    """Corners (m, 3, 3) of this rank's triangles, anticlockwise from outside the tissue."""
    topology = domain.mesh.topology
    topology.create_connectivity(2, 3)
    topology.create_connectivity(3, 0)
    topology.create_connectivity(2, 0)
    owned = topology.index_map(3).size_local
    to_cells = topology.connectivity(2, 3)
    pairs = [(f, to_cells.links(f)[0]) for f in domain.facets(surface)]
    pairs = [(f, c) for f, c in pairs if c < owned]
    facets = np.array([f for f, _ in pairs], dtype=np.int32)
    cells = np.array([c for _, c in pairs], dtype=np.int32)
    geometry = domain.mesh.geometry.x
    corners = geometry[mesh.entities_to_geometry(domain.mesh, 2, facets).reshape(-1, 3)]
    tetrahedra = geometry[mesh.entities_to_geometry(domain.mesh, 3, cells).reshape(-1, 4)]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outwards = corners.mean(axis=1) - tetrahedra.mean(axis=1)
    flip = np.sum(normal * outwards, axis=1) < 0.0
    corners[flip] = corners[flip][:, ::-1]
    return np.asarray(corners)


def _numbered(x: Points) -> Triangles:
    """Vertices sorted by coordinates, triangles by vertices."""
    points, corners = np.unique(x.reshape(-1, 3), axis=0, return_inverse=True)
    corners = corners.reshape(-1, 3)
    first = np.argmin(corners, axis=1)
    corners = np.take_along_axis(corners, (first[:, None] + np.arange(3)) % 3, axis=1)
    return Triangles(points, corners[np.lexsort(corners.T[::-1])])
