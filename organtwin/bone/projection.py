"""Piecewise linear fields by L2 projection that keep the bounds of what they are made from."""

from __future__ import annotations

import numpy as np
from dolfinx import fem, la
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.bone.integration import Averages
from organtwin.errors import SolverError

type Array = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Conjugate gradients stop at this relative residual; a mass matrix needs about twenty steps.
TOLERANCE, MOST_STEPS = 1e-12, 200


def project(space: fem.FunctionSpace, volumes: Array, averages: Averages) -> fem.Function:
    """The piecewise linear field nearest to a quantity in L2, as far as its bounds allow.

    Plain projection overshoots at jumps: a cortex beside marrow gives negative moduli. Here each
    element's share of what the exact mass matrix adds to the lumped one is limited, so that no
    node leaves the range of the samples in the cells around it. The integral is kept exactly, and
    where nothing is limited the result is the projection itself. Flux correction in the manner
    of Zalesak, element by element; our own arrangement.

    Args:
        space: Continuous piecewise linear functions on tetrahedra.
        volumes: Of this rank's own cells (mm³), shape (n,).
        averages: Of the same cells, the corners in the order of the mesh's geometry.

    Returns:
        The field; collective.

    Raises:
        SolverError: the projection did not converge.
    """
    dofs = np.asarray(space.dofmap.list[: len(volumes)], dtype=np.int64)
    work = _Nodes(space, dofs, volumes)
    mass = work.summed(np.repeat(volumes[:, None] / 4.0, 4, axis=1))
    load = work.summed(volumes[:, None] * averages.moments)
    low = load / np.maximum(mass, 1e-300)
    high = work.solve(load, mass)
    least, most = work.extremes(averages.least, averages.most)
    least, most = np.minimum(least, low), np.maximum(most, low)
    flux = volumes[:, None] / 20.0 * (4.0 * high[dofs] - high[dofs].sum(axis=1, keepdims=True))
    up = work.summed(np.maximum(flux, 0.0))
    down = work.summed(np.minimum(flux, 0.0))
    room_up, room_down = mass * (most - low), mass * (least - low)
    share_up, share_down = _share(room_up, up), _share(-room_down, -down)
    share = np.where(flux > 0.0, share_up[dofs], share_down[dofs]).min(axis=1, initial=1.0)
    result = fem.Function(space)
    result.x.array[:] = low + work.summed(share[:, None] * flux) / np.maximum(mass, 1e-300)
    result.x.array[:] = np.clip(result.x.array, least, most)  # round-off
    result.x.scatter_forward()
    return result


def _share(room: Array, wanted: Array) -> Array:
    """Share of what is wanted for which there is room, 1 where nothing is."""
    result = np.ones_like(wanted)
    much = wanted > room
    result[much] = room[much] / wanted[much]
    return result


class _Nodes:
    """Sums and extremes over the cells around each node, on all ranks together."""

    def __init__(self, space: fem.FunctionSpace, dofs: Index, volumes: Array) -> None:
        self.map = space.dofmap.index_map
        self.comm = space.mesh.comm
        self.dofs, self.volumes = dofs, volumes
        self.vector = la.vector(self.map, 1, dtype=np.float64)

    def summed(self, values: Array) -> Array:
        """Sum over cells of what each has at its nodes; values also on ghosts."""
        self.vector.array[:] = 0.0
        np.add.at(self.vector.array, self.dofs.ravel(), values.ravel())
        self.vector.scatter_reverse(la.InsertMode.add)
        self.vector.scatter_forward()
        return np.array(self.vector.array)

    def solve(self, load: Array, mass: Array) -> Array:
        """M u = load by conjugate gradients, scaled by the lumped mass."""
        own = self.map.size_local
        u = load / np.maximum(mass, 1e-300)
        r = load - self.applied(u)
        z = r / np.maximum(mass, 1e-300)
        p, rz = z.copy(), self.dot(r[:own], z[:own])
        goal = TOLERANCE**2 * max(
            self.dot(load[:own], (load / np.maximum(mass, 1e-300))[:own]), 0.0
        )
        for _ in range(MOST_STEPS):
            if rz <= goal:
                return u
            q = self.applied(p)
            step = rz / self.dot(p[:own], q[:own])
            u += step * p
            r -= step * q
            z = r / np.maximum(mass, 1e-300)
            before, rz = rz, self.dot(r[:own], z[:own])
            p = z + rz / before * p
        raise SolverError(
            "projection", f"not converged in {MOST_STEPS} steps.", "The mesh has flat cells."
        )

    def applied(self, u: Array) -> Array:
        """M u with the mass matrix of linear tetrahedra."""
        at = u[self.dofs]
        return self.summed(self.volumes[:, None] / 20.0 * (at + at.sum(axis=1, keepdims=True)))

    def dot(self, one: Array, two: Array) -> float:
        return float(self.comm.allreduce(float(one @ two), op=MPI.SUM))

    def extremes(self, least: Array, most: Array) -> tuple[Array, Array]:
        """Smallest and largest value of the cells around each node."""
        low, high = (
            np.full(len(self.vector.array), np.inf),
            np.full(len(self.vector.array), -np.inf),
        )
        np.minimum.at(low, self.dofs.ravel(), np.repeat(least, 4))
        np.maximum.at(high, self.dofs.ravel(), np.repeat(most, 4))
        self._to_owners(low, high)
        for values in (low, high):
            self.vector.array[:] = values
            self.vector.scatter_forward()
            values[:] = self.vector.array
        return low, high

    def _to_owners(self, low: Array, high: Array) -> None:
        """Let owners know what the ghosts of their nodes have seen."""
        own, first = self.map.size_local, self.map.local_range[0]
        ghosts, owners = np.asarray(self.map.ghosts), np.asarray(self.map.owners)
        sent = [
            (ghosts[owners == rank], low[own:][owners == rank], high[own:][owners == rank])
            for rank in range(self.comm.size)
        ]
        for index, least, most in self.comm.alltoall(sent):
            np.minimum.at(low, index - first, least)
            np.maximum.at(high, index - first, most)
