"""Linear triangles and tetrahedra of a Lagrange space, and connected sets of its nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dolfinx import fem, mesh
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from organtwin.errors import InputError

Array = NDArray[np.float64]
Nodes = NDArray[np.int32]

#: Corners of the faces of a tetrahedron, counter-clockwise seen from outside.
FACES = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])
# Node at the middle of each edge of a quadratic triangle or tetrahedron.
_MIDDLES = {
    2: {(1, 2): 3, (0, 2): 4, (0, 1): 5},
    3: {(2, 3): 4, (1, 3): 5, (1, 2): 6, (0, 3): 7, (0, 2): 8, (0, 1): 9},
}


@dataclass(frozen=True)
class Simplices:
    """Nodes of a space joined by linear simplices.

    Attributes:
        V: The space.
        x: Its local nodes (mm), (n, 3).
        cells: Local nodes of this rank's tetrahedra or triangles, positively oriented: (m, 4)
            with their faces as in `FACES`, or (m, 3), counter-clockwise seen from +z.
        skin: Local nodes of this rank's boundary triangles, counter-clockwise seen from outside,
            (k, 3); the triangles themselves on a surface.
    """

    V: fem.FunctionSpace
    x: Array
    cells: Nodes
    skin: Nodes

    @classmethod
    def of(cls, V: fem.FunctionSpace) -> Simplices:
        """Cells of a linear space; those of a quadratic one are split into four or eight.

        Raises:
            InputError: the space is not Lagrange of degree 1 or 2 on tetrahedra or triangles.
        """
        msh = V.mesh
        dim, degree = msh.topology.dim, V.element.basix_element.degree
        if degree not in (1, 2) or msh.topology.cell_type not in (
            mesh.CellType.triangle,
            mesh.CellType.tetrahedron,
        ):
            raise InputError(
                "reentry",
                f"elements of degree {degree} on cells of type {msh.topology.cell_type.name}.",
                "Use linear or quadratic ones on tetrahedra or triangles.",
            )
        x = V.tabulate_dof_coordinates()
        nodes = V.dofmap.list[: msh.topology.index_map(dim).size_local]
        cells = _turned(x, nodes[:, _parts(dim, degree)].reshape(-1, dim + 1))
        skin = cells if dim == 2 else _skin(V, x, degree)
        return cls(V, x, cells, skin)

    def components(self, marked: NDArray[np.bool_]) -> int:
        """Number of connected sets of marked cells, over all ranks; collective.

        Args:
            marked: Which of `cells`, (m,); they hang together where they share a node.
        """
        n, comm = len(self.x), self.V.mesh.comm
        cells = self.cells[marked]
        label = _labels(n, cells) + (comm.exscan(n) or 0)
        names = fem.Function(self.V)
        names.x.array[:] = label
        names.x.scatter_forward()
        nodes = np.unique(cells)
        pairs = np.stack([label[nodes], names.x.array[nodes].astype(np.int64)], axis=1)
        return _count(np.concatenate(comm.allgather(np.unique(pairs, axis=0))))


def _parts(dim: int, degree: int) -> NDArray[np.intp]:
    """Local nodes of the linear simplices in a cell, (parts, dim + 1)."""
    if degree == 1:
        return np.arange(dim + 1)[None]
    m = _MIDDLES[dim]
    if dim == 2:
        return np.array(_quarters((0, 1, 2), m))
    corners = [
        [0, m[0, 1], m[0, 2], m[0, 3]], [m[0, 1], 1, m[1, 2], m[1, 3]],
        [m[0, 2], m[1, 2], 2, m[2, 3]], [m[0, 3], m[1, 3], m[2, 3], 3],
    ]  # fmt: skip
    # The octahedron in the middle, around the diagonal between edges 0–1 and 2–3.
    ring = [m[0, 2], m[0, 3], m[1, 3], m[1, 2]]
    around = [[m[0, 1], m[2, 3], ring[k], ring[(k + 1) % 4]] for k in range(4)]
    return np.array(corners + around)


def _quarters(face: tuple[int, int, int], m: dict[tuple[int, int], int]) -> list[list[int]]:
    """The four triangles of a quadratic one, turned like it."""
    a, b, c = face
    ab, bc, ca = (m[min(p), max(p)] for p in ((a, b), (b, c), (c, a)))
    return [[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]


#: Local nodes of the triangles on each face of a linear or quadratic tetrahedron.
_SKIN = {
    1: [[face.tolist()] for face in FACES],
    2: [_quarters((int(a), int(b), int(c)), _MIDDLES[3]) for a, b, c in FACES],
}


def _turned(x: Array, cells: Nodes) -> Nodes:
    """Cells with positive volume (or area seen from +z): two nodes change places if need be."""
    edges = x[cells[:, 1:]] - x[cells[:, :1]]
    if cells.shape[1] == 4:
        size = np.einsum("ck,ck->c", edges[:, 0], np.cross(edges[:, 1], edges[:, 2]))
    else:
        size = np.cross(edges[:, 0], edges[:, 1])[:, 2]
    turned = cells.copy()
    turned[size < 0, -2:] = cells[size < 0][:, [-1, -2]]
    return turned


def _skin(V: fem.FunctionSpace, x: Array, degree: int) -> Nodes:
    """Boundary triangles of this rank's cells."""
    topology = V.mesh.topology
    topology.create_connectivity(2, 3)
    topology.create_connectivity(3, 2)
    facets = mesh.exterior_facet_indices(topology)
    to_cell, to_facet = topology.connectivity(2, 3), topology.connectivity(3, 2)
    cells = to_cell.array[to_cell.offsets[facets]]
    local = (to_facet.array.reshape(-1, 4)[cells] == facets[:, None]).argmax(axis=1)
    nodes = V.dofmap.list[cells]
    rows = np.arange(len(cells))[:, None]
    corners = x[nodes[rows, FACES[local]]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inwards = x[nodes[rows[:, 0], local]] - corners[:, 0]
    parts = [_SKIN[degree][k] for k in local]
    triangles = nodes[rows[:, :, None], np.array(parts, dtype=np.intp).reshape(len(cells), -1, 3)]
    flip = np.einsum("fk,fk->f", normal, inwards) > 0
    triangles[flip] = triangles[flip][:, :, ::-1]
    return np.asarray(triangles.reshape(-1, 3))


def _labels(n: int, cells: Nodes) -> NDArray[np.int64]:
    """Number of the set that each node is in, alone if it is in no cell."""
    first = np.repeat(cells[:, 0], cells.shape[1] - 1)
    graph = coo_array(
        (np.ones(len(first), dtype=bool), (first, cells[:, 1:].ravel())), shape=(n, n)
    )
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _count(pairs: NDArray[np.int64]) -> int:
    """Number of sets of labels that pairs join."""
    if not len(pairs):
        return 0
    labels, ends = np.unique(pairs, return_inverse=True)
    rows, columns = ends.reshape(-1, 2).T
    size = len(labels)
    graph = coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(size, size))
    return int(connected_components(graph, directed=False)[0])
