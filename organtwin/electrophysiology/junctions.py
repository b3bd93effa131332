"""Where a Purkinje tree touches the muscle: averages of the tissue, currents into it."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem, la
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.anatomy.purkinje import Tree
from organtwin.errors import InputError
from organtwin.solve import options

Array = NDArray[np.float64]


class JunctionMap:
    """Nodes of the tissue around each junction, and their shares of its volume.

    Junction j touches the nodes within the radius, or, where the mesh is too coarse, the nearest
    one. With w_k = ∫ φ_k dx its volume is V_j = Σ_k w_k. The average of a field is
    Σ_k w_k v_k / V_j, and a current I_j is the density I_j / V_j at its nodes, whose integral
    is I_j.

    Vectors over the junctions are the same on all ranks, in the order of ``tree.junctions``.

    Args:
        V: Scalar Lagrange space of the tissue.
        tree: The tree.
        radius: Of the tissue that a junction touches (mm), > 0.

    Attributes:
        volume: V_j (mm³), (n_junctions,).
        distance: From each junction to the nearest node (mm), (n_junctions,).

    Raises:
        InputError: the radius is not positive, or a junction lies farther from the tissue than
            the radius and the longest edge of the mesh. Collective.
    """

    def __init__(self, V: fem.FunctionSpace, tree: Tree, radius: float) -> None:
        if not radius > 0.0:
            raise InputError("JunctionMap", f"radius {radius:g} mm.", "It must be > 0.")
        self.comm = V.mesh.comm
        self.count = len(tree.junctions)
        self._owned = V.dofmap.index_map.size_local
        self._local = self._owned + V.dofmap.index_map.num_ghosts
        places = tree.points[tree.junctions]
        x = V.tabulate_dof_coordinates()[: self._local]
        weight = _node_volumes(V)
        self.distance = self._nearest(places, x, weight)
        self._check_distance(V, radius)
        reach = np.where(self.distance <= radius, radius, self.distance * (1.0 + 1e-9) + 1e-9)
        near = cKDTree(x).query_ball_point(places, reach)
        self._node = np.array([k for nodes in near for k in nodes], dtype=np.int64)
        self._junction = np.repeat(np.arange(self.count), [len(nodes) for nodes in near])
        self._mine = self._node < self._owned
        self._weight = weight[self._node]
        self.volume = self._sum(self._weight)
        if (self.volume <= 0.0).any():
            raise InputError(
                "JunctionMap",
                f"{int((self.volume <= 0.0).sum())} junctions touch no volume.",
                "Enlarge the radius.",
            )

    def average(self, v: Array) -> Array:
        """Average of a field, given at the local nodes, around each junction; collective."""
        return np.asarray(self._sum(self._weight * v[self._node]) / self.volume)

    def density(self, current: Array) -> Array:
        """Current per volume (µA/mm³) at the local nodes from currents (µA) into the tissue."""
        values = (current / self.volume)[self._junction]
        return np.bincount(self._node, weights=values, minlength=self._local)

    def earliest(self, times: Array) -> Array:
        """Smallest of the times at the local nodes around each junction; collective."""
        found = np.full(self.count, np.inf)
        np.minimum.at(found, self._junction, times[self._node])
        return over_ranks(self.comm, found, MPI.MIN)

    def onto_nodes(self, times: Array) -> tuple[NDArray[np.int32], Array]:
        """Local nodes that junctions excite, and when: times (n_junctions,), infinite for never."""
        earliest = np.full(self._local, np.inf)
        np.minimum.at(earliest, self._node, times[self._junction])
        nodes = np.flatnonzero(np.isfinite(earliest)).astype(np.int32)
        return nodes, earliest[nodes]

    def _sum(self, values: Array) -> Array:
        part = np.bincount(
            self._junction[self._mine], weights=values[self._mine], minlength=self.count
        )
        return over_ranks(self.comm, part, MPI.SUM)

    def _nearest(self, places: Array, x: Array, weight: Array) -> Array:
        """Distance to the nearest node with a volume; vertices of quadratic elements have none."""
        own = x[: self._owned][weight[: self._owned] > 0.0]
        here = cKDTree(own).query(places)[0] if len(own) else np.full(len(places), np.inf)
        return over_ranks(self.comm, here, MPI.MIN)

    def _check_distance(self, V: fem.FunctionSpace, radius: float) -> None:
        cells = np.arange(V.mesh.topology.index_map(3).size_local, dtype=np.int32)
        edge = float(V.mesh.h(3, cells).max(initial=0.0))
        limit = radius + self.comm.allreduce(edge, op=MPI.MAX)
        lost = int((self.distance > limit).sum())
        if lost:
            raise InputError(
                "JunctionMap",
                f"{lost} of {self.count} junctions lie up to {self.distance.max():.3g} mm from the "
                "tissue.",
                "Grow the tree on this mesh, or check that its unit is mm.",
            )


def over_ranks(comm: MPI.Comm, values: Array, op: MPI.Op) -> Array:
    """``values`` of all ranks, element by element, joined by ``op``; collective."""
    result = np.ascontiguousarray(values, dtype=np.float64).copy()
    comm.Allreduce(MPI.IN_PLACE, result, op)
    return result


def _node_volumes(V: fem.FunctionSpace) -> Array:
    """∫ φ_k dx at the local nodes (mm³)."""
    w = ufl.TestFunction(V)
    one = fem.Constant(V.mesh, 1.0)
    vector = fem.assemble_vector(fem.form(one * w * ufl.dx, jit_options=options.jit()))
    vector.scatter_reverse(la.InsertMode.add)
    vector.scatter_forward()
    return np.asarray(vector.array)
