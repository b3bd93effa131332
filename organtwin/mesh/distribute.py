"""A mesh of rank 0 spread over all ranks, and fields of its cells brought back."""

from __future__ import annotations

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.mesh.domain import Domain
from organtwin.mesh.tagging import cell_tags, facet_tags
from organtwin.mesh.volume_mesh import TetrahedralMesh


def distribute(tetrahedra: TetrahedralMesh | None, comm: MPI.Comm) -> Domain:
    """Spread a mesh over the ranks, with the names of its regions and facets; collective.

    Args:
        tetrahedra: The mesh on rank 0; not looked at elsewhere.
        comm: Communicator to distribute over.
    """
    shown = tetrahedra if comm.rank == 0 else None
    names = comm.bcast((dict(shown.region_names), dict(shown.facet_names)) if shown else None)
    points, cells, regions = np.empty((0, 3)), np.empty((0, 4), np.int64), np.empty(0, np.int32)
    facets, tags = np.empty((0, 3), np.int64), np.empty(0, np.int32)
    if shown is not None:
        points, cells, regions = shown.points, shown.cells, shown.regions.astype(np.int32)
        facets, tags = shown.facets, shown.facet_tags.astype(np.int32)
    element = ufl.Mesh(basix.ufl.element("P", "tetrahedron", 1, shape=(3,)))
    spread = mesh.create_mesh(comm, cells, element, points)
    return Domain(spread, cell_tags(spread, regions), facet_tags(spread, facets, tags), *names)


def collect(domain: Domain, field: fem.Function) -> NDArray[np.float64] | None:
    """Means over the cells of a field, in the order of the mesh that was distributed; collective.

    Args:
        domain: Of `distribute`.
        field: Function whose dofs are values at points; of it the mean in each cell is taken.

    Returns:
        On rank 0 one value or vector per cell, None elsewhere.
    """
    own = domain.mesh.topology.index_map(3).size_local
    block = field.function_space.dofmap.bs
    values = field.x.array.reshape(-1, block)[field.function_space.dofmap.list[:own]].mean(axis=1)
    index = np.asarray(domain.mesh.topology.original_cell_index[:own])
    pairs = domain.comm.gather((index, values))
    if pairs is None:
        return None
    result = np.empty((sum(len(index) for index, _ in pairs), block))
    for index, values in pairs:
        result[index] = values
    return result[:, 0] if block == 1 else result
