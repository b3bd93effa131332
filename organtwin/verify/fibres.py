"""Verification problems of rule-based fibres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from dolfinx import fem
from mpi4py import MPI

from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.fibres import FibreAngles, fibres
from organtwin.verify.geometry import truncated_ellipsoid


def orthonormality(comm: MPI.Comm, path: Path, size: float) -> float:
    """How far fibre, sheet and normal of an idealised ventricle are from an orthonormal frame.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        size: Edge length of the mesh (mm).

    Returns:
        Largest entry of |QᵀQ − I| over all cells, Q = (f₀, s₀, n₀).
    """
    domain = truncated_ellipsoid(comm, path, size=size)
    space = fem.functionspace(domain.mesh, ("DG", 0, (3,)))
    found = fibres(domain, FibreAngles(), space, at=coordinates(domain))
    frames = np.stack([f.x.array.reshape(-1, 3) for f in (found.f0, found.s0, found.n0)], axis=-1)
    off = np.abs(np.einsum("nij,nik->njk", frames, frames) - np.eye(3))
    return float(comm.allreduce(off.max(initial=0.0), op=MPI.MAX))
