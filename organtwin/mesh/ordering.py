"""Large meshes of tetrahedra on one rank, made with less memory than DOLFINx's `create_mesh` takes.

`create_mesh` numbers cells by the graph of their neighbours, for which it lists all faces of all
cells: at its peak 2.5 times the memory of the mesh that it leaves. A curve through space brings
neighbours together as well, and needs no graph.
"""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import cpp, fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

#: Cells of a mesh that counts as large.
LARGE = 500_000
#: Bits of a place along each axis.
BITS = 10


def along_curve(points: NDArray[np.float64], cells: NDArray[np.int64]) -> NDArray[np.intp]:
    """Order of cells along Morton's curve through a grid of 2¹⁰ boxes in each direction.

    Args:
        points: Shape (n, 3).
        cells: Vertices, shape (m, k).

    Returns:
        Indices of cells, those of one box in the order that they had.
    """
    number = np.zeros(len(cells), np.uint32)
    low, width = points.min(axis=0), max(float(np.ptp(points, axis=0).max()), 1e-300)
    for axis in range(3):
        x = ((points[:, axis] - low[axis]) * ((2**BITS - 1) / width)).astype(np.float32)
        middle = np.zeros(len(cells), np.float32)
        for corner in range(cells.shape[1]):
            middle += x[cells[:, corner]]
        place = (middle / cells.shape[1]).astype(np.uint32)
        for bit in range(BITS):
            number |= ((place >> bit) & 1) << (3 * bit + axis)
    return np.argsort(number, kind="stable")


def ordered_mesh(
    comm: MPI.Comm, points: NDArray[np.float64], cells: NDArray[np.int64], element: ufl.Mesh
) -> mesh.Mesh:
    """A mesh whose cells are numbered along a curve through space; on one rank alone.

    As of `dolfinx.mesh.create_mesh`, `original_cell_index` and `input_global_indices` say where
    cells and vertices were.

    Args:
        comm: Communicator of one rank.
        points: Vertices (mm), shape (n, 3).
        cells: Vertices of straight tetrahedra, shape (m, 4); afterwards in their new order.
        element: Of the coordinates.
    """
    order = along_curve(points, cells).astype(np.int64)
    cells[:] = cells[order]  # in place: another copy would stay beside the topology
    ordered = cells.ravel()
    used = np.zeros(len(points), np.bool_)
    used[ordered] = True
    coordinates = fem.coordinate_element(element.ufl_coordinate_element().basix_element)
    nobody = np.empty(0, np.int64)
    topology = cpp.mesh.create_topology(
        comm, [mesh.CellType.tetrahedron], [ordered], [order], [nobody], nobody, 1
    )
    geometry = cpp.mesh.create_geometry(
        topology, [coordinates._cpp_object], np.flatnonzero(used), ordered, points.ravel(), 3
    )
    return mesh.Mesh(cpp.mesh.Mesh_float64(comm, topology, geometry), element)
