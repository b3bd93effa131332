"""Tags of the cells and facets of a distributed mesh from values in the order of its input."""

from __future__ import annotations

import numpy as np
from dolfinx import io, mesh
from mpi4py import MPI
from numpy.typing import NDArray


def cell_tags(spread: mesh.Mesh, values: NDArray[np.int32]) -> mesh.MeshTags:
    """Tags of all cells; collective.

    Args:
        spread: The mesh, of `dolfinx.mesh.create_mesh`.
        values: Those of the cells that this rank gave when it was made.
    """
    topology = spread.topology
    index = np.asarray(topology.original_cell_index)
    own = np.arange(len(index), dtype=np.int32)
    return mesh.meshtags(spread, topology.dim, own, _fetched(spread.comm, values, index))


def facet_tags(
    spread: mesh.Mesh, facets: NDArray[np.int64], values: NDArray[np.int32]
) -> mesh.MeshTags:
    """Tags of facets that any rank names by their nodes in the order of the input; collective.

    Args:
        spread: The mesh.
        facets: Numbers of nodes of this rank's facets, shape (f, k).
        values: Of each of them.
    """
    topology = spread.topology
    dim = topology.dim - 1
    topology.create_entities(dim)
    topology.create_connectivity(dim, dim + 1)
    wanted, numbers = io.utils.distribute_entity_data(spread, dim, facets, values)
    index, found = _among(topology.connectivity(dim, 0).array.reshape(-1, wanted.shape[1]), wanted)
    index, first = np.unique(index, return_index=True)
    return mesh.meshtags(
        spread, dim, index.astype(np.int32), numbers[found][first].astype(np.int32)
    )


def _among(
    facets: NDArray[np.int32], wanted: NDArray[np.int32]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of ``facets`` that have the vertices of rows of ``wanted``, and which those are.

    Only facets whose vertices are all wanted are looked at, mostly those of the surface: DOLFINx's
    `meshtags_from_entities` keeps a tree of all.
    """
    if not len(wanted) or not len(facets):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    marked = np.zeros(max(int(facets.max()), int(wanted.max())) + 1, np.bool_)
    marked[wanted] = True
    near = np.flatnonzero(marked[facets].all(axis=1))
    rows = np.sort(np.concatenate([facets[near], wanted]), axis=1)
    _, number = np.unique(rows, axis=0, return_inverse=True)
    place = np.full(int(number.max()) + 1, -1)
    place[number[: len(near)]] = near
    index = place[number[len(near) :]]
    found = np.flatnonzero(index >= 0)
    return index[found], found


def _fetched(
    comm: MPI.Comm, values: NDArray[np.int32], index: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Values by their numbers in the row of all ranks' values; collective."""
    if comm.size == 1:
        return values[index]
    ends = np.cumsum(comm.allgather(len(values)))
    owner = np.searchsorted(ends, index, side="right")
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=comm.size)
    asked = comm.alltoall(np.split(index[order], np.cumsum(counts)[:-1]))
    first = ends[comm.rank] - len(values)
    told = comm.alltoall([values[one - first] for one in asked])
    found = np.empty(len(index), np.int32)
    found[order] = np.concatenate(told)
    return found
