"""Distributed tetrahedra cut into eight each, in the same way on any number of ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dolfinx import graph, mesh
from dolfinx.cpp.common import IndexMap
from dolfinx.cpp.graph import AdjacencyList_int32
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.mesh.refinement import TRIANGLES, eighths

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """A refined mesh and where it comes from.

    Attributes:
        mesh: Each cell is on the rank of its parent.
        parent: Local index of the parent of each cell.
        rows: Row of the input of ``mesh`` of each vertex of the parent mesh, then of the middle of
            each of its edges.
    """

    mesh: mesh.Mesh
    parent: NDArray[np.int32]
    rows: Index


def cut(msh: mesh.Mesh) -> Cut:
    """Cut every tetrahedron of a mesh without ghost cells into eight; collective.

    As of `organtwin.mesh.refinement.red` the diagonals are chosen by geometry alone. DOLFINx's
    `refine` goes by the numbers of vertices where two of them are equally long, and these numbers
    are others on other ranks.

    Args:
        msh: Straight tetrahedra.
    """
    topology = msh.topology
    topology.create_connectivity(3, 1)
    topology.create_connectivity(1, 0)
    own = topology.index_map(3).size_local
    vertices = topology.connectivity(3, 0).array[: 4 * own].reshape(own, 4)
    edges = topology.connectivity(3, 1).array[: 6 * own].reshape(own, 6)[:, ::-1]  # as EDGES
    ends = topology.connectivity(1, 0).array.reshape(-1, 2)
    count = topology.index_map(0).size_local + topology.index_map(0).num_ghosts
    points = np.zeros((count, 3))
    points[vertices] = msh.geometry.x[msh.geometry.dofmaps[0][:own]]
    points = np.concatenate([points, points[ends].mean(axis=1)])
    parts = eighths(points, np.concatenate([vertices, count + edges], axis=1))
    rows, mine = _rows(msh.comm, topology.index_map(0), topology.index_map(1))
    # Of the element, not of the parent's UFL domain: that one stays the parent's.
    element = msh.ufl_domain().ufl_coordinate_element()
    fine = mesh.create_mesh(msh.comm, rows[parts].reshape(-1, 4), element, points[mine], _staying)
    first = 8 * topology.index_map(3).local_range[0]
    parent = (np.asarray(fine.topology.original_cell_index) - first) // 8
    return Cut(fine, parent.astype(np.int32), rows)


def cut_facets(msh: mesh.Mesh, facets: NDArray[np.int32], rows: Index) -> Index:
    """The four parts of facets, by rows of the refined mesh's input.

    Args:
        msh: The parent mesh.
        facets: Local indices, shape (f,).
        rows: Those of `Cut`.

    Returns:
        Shape (4 f, 3), the parts of a facet one after the other.
    """
    topology = msh.topology
    topology.create_connectivity(2, 1)
    corners = topology.connectivity(2, 0).array.reshape(-1, 3)[facets]
    edges = topology.connectivity(2, 1).array.reshape(-1, 3)[facets]
    count = topology.index_map(0).size_local + topology.index_map(0).num_ghosts
    # Edge k of a facet is opposite to its vertex k.
    local = np.concatenate([corners, count + edges[:, [2, 0, 1]]], axis=1)
    return rows[local[:, TRIANGLES].reshape(-1, 3)]


def _rows(comm: MPI.Comm, vertices: IndexMap, edges: IndexMap) -> tuple[Index, Index]:
    """Rows of the new points, each rank's vertices before the middles of its edges; collective.

    Returns:
        Row of each local vertex, then of each local edge; and which of these are this rank's rows.
    """
    ranges = np.array(comm.allgather((*vertices.local_range, *edges.local_range)))
    vertex, edge = _numbers(vertices), _numbers(edges)
    # Before a rank's vertices lie the edges of the ranks before, before its edges its vertices too.
    of_vertex = vertex + ranges[np.searchsorted(ranges[:, 1], vertex, side="right"), 2]
    of_edge = edge + ranges[np.searchsorted(ranges[:, 3], edge, side="right"), 1]
    mine = [np.arange(vertices.size_local), len(vertex) + np.arange(edges.size_local)]
    return np.concatenate([of_vertex, of_edge]), np.concatenate(mine)


def _numbers(found: IndexMap) -> Index:
    """Global numbers of all local entities."""
    local = np.arange(found.size_local + found.num_ghosts, dtype=np.int32)
    return np.asarray(found.local_to_global(local))


def _staying(
    comm: MPI.Comm, ranks: int, kinds: list[mesh.CellType], cells: list[Index]
) -> AdjacencyList_int32:
    """Each cell stays where it is."""
    count = len(cells[0]) // 4
    here = np.full(count, comm.rank, np.int32)
    return graph.adjacencylist(here, np.arange(count + 1, dtype=np.int32))._cpp_object
