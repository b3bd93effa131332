"""Gel in the border zone of an infarct: where it is put and how much of each cell it takes."""

from __future__ import annotations

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.anatomy.infarct import gathered, midpoints, spread
from organtwin.errors import InputError
from organtwin.mesh.domain import Domain

Array = NDArray[np.float64]
#: Digits (mm) to which a point is the same on all ranks.
_DIGITS = 6


def injection_sites(domain: Domain, border: NDArray[np.bool_], count: int) -> Array:
    """Midpoints of cells of a border zone, spread evenly over it; collective.

    Args:
        domain: Mesh.
        border: Whether each local cell (owned and ghosts) is border zone.
        count: Number of sites.

    Returns:
        Points (mm), shape (count, 3), the same on any number of ranks.

    Raises:
        InputError: the border zone has fewer cells.
    """
    owned = domain.mesh.topology.index_map(3).size_local
    candidates = gathered(domain, midpoints(domain)[:owned][border[:owned]])
    if len(candidates) < count:
        raise InputError(
            "injection",
            f"{count} sites in a border zone of {len(candidates)} cells.",
            "Lower [mechanics.injection] sites, widen the border zone, or refine the mesh.",
        )
    return spread(candidates, count)


def gel_share(domain: Domain, sites: Array, volume: float) -> fem.Function:
    """Share of each cell that is filled with gel; collective.

    Gel fills the cells nearest to its site, one after the other, each only once.

    Args:
        domain: Mesh.
        sites: Points (mm), shape (n, 3).
        volume: Of each injection (mm³).

    Returns:
        DG0 function, 0 to 1, whose integral is n times the volume.

    Raises:
        InputError: there is more gel than tissue.
    """
    first, last = domain.mesh.topology.index_map(3).local_range
    own = midpoints(domain)[: last - first]
    rows = np.column_stack([own, cell_volumes(domain)])
    whole = np.concatenate(domain.comm.allgather(rows))
    order = np.lexsort(whole.round(_DIGITS).T[::-1])
    filled = np.empty(len(whole))
    filled[order] = _filled(whole[order, :3], whole[order, 3], sites, volume)
    share = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)), name="gel")
    share.x.array[: last - first] = filled[first:last]
    share.x.scatter_forward()
    return share


def _filled(points: Array, capacity: Array, sites: Array, volume: float) -> Array:
    """Filled share of cells with these midpoints and volumes."""
    if len(sites) * volume > capacity.sum():
        raise InputError("injection", "there is more gel than tissue.", "Lower its volume.")
    free = capacity.copy()
    for site in sites:
        order = np.argsort(np.linalg.norm(points - site, axis=1).round(_DIGITS), kind="stable")
        before = np.cumsum(free[order]) - free[order]
        free[order] -= np.clip(volume - before, 0.0, free[order])
    return 1.0 - free / capacity


def cell_volumes(domain: Domain) -> Array:
    """Volumes of this rank's own tetrahedra (mm³), shape (cells,)."""
    owned = domain.mesh.topology.index_map(3).size_local
    x = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0][:owned]]
    return np.asarray(np.abs(np.linalg.det(x[:, 1:] - x[:, :1])) / 6)
