"""New regions in a mesh, drawn by rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from dolfinx import mesh
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.domain import Domain

#: Points (n, 3) in mm → whether each is inside, (n,).
type Inside = Callable[[NDArray[np.float64]], NDArray[np.bool_]]


def relabel(domain: Domain, parts: Mapping[str, Inside]) -> Domain:
    """The same mesh with the cells in some places moved to other regions; collective.

    A cell belongs to the last part that its midpoint is inside of, else to the region it had. A
    part with the name of a region adds to that region. Regions that have lost all cells are left
    out; surfaces stay as they are.

    Args:
        domain: What to relabel; it is not changed.
        parts: Name → rule, such as ``{"scar": lambda x: np.linalg.norm(x - centre, axis=1) < 8}``.

    Raises:
        InputError: no cell of the mesh is inside of a part.
    """
    dim = domain.mesh.topology.dim
    index_map = domain.mesh.topology.index_map(dim)
    cells = np.arange(index_map.size_local + index_map.num_ghosts, dtype=np.int32)
    middles = mesh.compute_midpoints(domain.mesh, dim, cells)
    tags = np.full(len(cells), -1, dtype=np.int32)
    tags[domain.cell_tags.indices] = domain.cell_tags.values
    regions = dict(domain.regions)
    for name, inside in parts.items():
        number = regions.setdefault(name, max(regions.values()) + 1)
        chosen = inside(middles)
        if not domain.comm.allreduce(bool(chosen.any()), op=MPI.LOR):
            raise InputError(
                f"region `{name}`", "no cell's midpoint lies inside.", "Enlarge or move it."
            )
        tags[chosen] = number
    left = set().union(*domain.comm.allgather(set(tags.tolist())))
    known = tags >= 0
    return replace(
        domain,
        cell_tags=mesh.meshtags(domain.mesh, dim, cells[known], tags[known]),
        regions={name: number for name, number in regions.items() if number in left},
    )
