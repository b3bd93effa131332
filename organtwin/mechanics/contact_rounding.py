"""Flat triangles rounded off: what slides on them, or lies in their corners, meets no edges."""

from __future__ import annotations

import basix
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.mechanics.contact_surface import (
    BoxTree,
    FacetElement,
    Facets,
    Floats,
    Integers,
    Surface,
)

#: Corners between the normals of neighbouring vertices sharper than this (cosine) stay sharp.
SHARP = 0.5
#: Triangles farther from a point than the nearest flat one by this share of an edge are left out.
AROUND = 0.3
#: Edges of a triangle by its vertices, in the order of the quadratic element's middle nodes.
EDGES = np.array([[1, 2], [0, 2], [0, 1]])
#: Nodes of the quadratic triangle without their offsets from those of the linear one.
ONTO = np.vstack([np.eye(3), 0.5 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])])


class RoundedFacets(Facets):
    """Facets of linear displacements as quadratic triangles through the same vertices.

    The middle of an edge between vertices i and j lies off its chord by

        ⅛ (n_j − n_i)·(x_j − x_i) along n_i + n_j

    normalised, with the mean normals n of the vertices: on a sphere that is its sagitta but for
    terms of fourth order. Chords follow the displacement at once, offsets with `round_off`, so that
    derivatives are those of the vertices alone. Means of normals are weighted by angles, and so
    don't depend on how a surface was cut into triangles. Normals of neighbouring triangles differ
    by the square of their size where those of flat ones do by their size.

    Source:
        Our choice, in the spirit of Nagata (2005), Comput. Aided Geom. Des. 22:327–347, who
        interpolates normals at vertices by quadratic triangles; Thürmer & Wüthrich (1998), J.
        Graph. Tools 3:43–46 (both as remembered).
    """

    def __init__(self, comm: MPI.Comm, own: Surface, held: NDArray[np.bool_]) -> None:
        super().__init__(comm, own)
        quadratic = basix.create_element(
            basix.ElementFamily.P, basix.CellType.triangle, 2, basix.LagrangeVariant.gll_warped
        )
        self.element = FacetElement(quadratic, own.element.closure)
        _, vertex = np.unique(self.rows[:, :, 0], return_inverse=True)
        self._vertex: Integers = vertex.reshape(self.rows.shape[:2])
        self._held = np.zeros((int(self._vertex.max()) + 1, 3), bool)
        np.logical_or.at(self._held, self._vertex, self.gathered(held))
        self._held[self._held.all(axis=1)] = False
        self._flat = self.x
        self._bulges = np.zeros((len(self.x), 3, 3))
        self.round_off()
        self.tree = BoxTree(self.x)

    def move(self, w: Floats) -> None:
        """Take the displacement of the present unknowns; collective."""
        self._flat = self.gathered(self._own.positions(w))
        self._place()
        self.tree.refit(self.x)

    def round_off(self) -> None:
        """Take the offsets that suit the present positions of the vertices."""
        normal = self._normals()[self._vertex]
        i, j = EDGES.T
        chord = self._flat[:, j] - self._flat[:, i]
        mean = normal[:, i] + normal[:, j]
        mean /= np.maximum(np.linalg.norm(mean, axis=2, keepdims=True), 1e-300)
        bulge = 0.125 * np.einsum("fed,fed->fe", normal[:, j] - normal[:, i], chord)
        bulge[np.einsum("fed,fed->fe", normal[:, i], normal[:, j]) < SHARP] = 0.0
        self._bulges[:] = bulge[:, :, None] * mean
        self._place()

    def reduced(self, values: Floats) -> Floats:
        """Shape functions, or derivatives of them, of the vertices from those of all nodes."""
        return np.asarray(values @ ONTO)

    @property
    def offsets(self) -> Floats:
        """Of the middles of the edges (mm), shape (facets, 3, 3); taken by the next `move`."""
        return self._bulges

    def _candidates(
        self, points: Floats, normals: Floats, radius: Floats
    ) -> tuple[Integers, Integers]:
        """Those whose flat triangle faces the point and is about as near as the nearest one."""
        point, facet = super()._candidates(points, normals, radius)
        x = self._flat[facet]
        a, b, off = x[:, 1] - x[:, 0], x[:, 2] - x[:, 0], points[point] - x[:, 0]
        n = np.cross(a, b) * self.side[facet, None]
        faces = np.einsum("nd,nd->n", n, normals[point]) < 0
        point, facet, a, b, off = (part[faces] for part in (point, facet, a, b, off))
        aa, ab, bb = (np.einsum("nd,nd->n", *pair) for pair in ((a, a), (a, b), (b, b)))
        ra, rb = (np.einsum("nd,nd->n", off, side) for side in (a, b))
        area = aa * bb - ab**2
        xi = np.column_stack([bb * ra - ab * rb, aa * rb - ab * ra]) / area[:, None]
        xi = self.element.clamped(xi)
        distance = np.linalg.norm(off - xi[:, :1] * a - xi[:, 1:] * b, axis=1)
        nearest = np.full(len(points), np.inf)
        np.minimum.at(nearest, point, distance)
        kept = distance <= nearest[point] + AROUND * np.sqrt(np.maximum(aa, bb))
        return point[kept], facet[kept]

    def _place(self) -> None:
        self.x = np.einsum("kv,fvd->fkd", ONTO, self._flat)
        self.x[:, 3:] += self._bulges

    def _normals(self) -> Floats:
        """Unit outward normals of the vertices, means over their triangles by their angles."""
        x = self._flat
        sums = np.zeros((len(self._held), 3))
        for i in range(3):
            a, b = x[:, (i + 1) % 3] - x[:, i], x[:, (i + 2) % 3] - x[:, i]
            n = np.cross(a, b)
            twice = np.maximum(np.linalg.norm(n, axis=1), 1e-300)
            angle = np.arctan2(twice, np.einsum("fd,fd->f", a, b))
            np.add.at(sums, self._vertex[:, i], (self.side * angle / twice)[:, None] * n)
        sums[self._held] = 0.0
        size = np.linalg.norm(sums, axis=1, keepdims=True)
        return np.asarray(sums / np.maximum(size, 1e-300))


def facets_for(comm: MPI.Comm, own: Surface, held: NDArray[np.bool_]) -> Facets:
    """Rounded facets where they are flat triangles, others as they are; collective.

    Args:
        comm: Communicator.
        own: This rank's part.
        held: Whether displacements of the facets' nodes are prescribed, as `Surface.dofs`: normals
            of vertices that are held along an axis, as in a plane of symmetry, stay across it.
    """
    is_flat = own.element.is_triangle and own.element.closure.shape[1] == 3
    return RoundedFacets(comm, own, held) if is_flat else Facets(comm, own)
