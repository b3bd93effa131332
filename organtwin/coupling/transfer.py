"""From the electrical mesh to the points where the muscle is: exact, and local to each rank."""

from __future__ import annotations

import basix
import basix.ufl
import numpy as np
from dolfinx import fem, mesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import MeshError

Array = NDArray[np.float64]


def quadrature_space(msh: mesh.Mesh, degree: int, shape: tuple[int, ...] = ()) -> fem.FunctionSpace:
    """Values at the quadrature points of a degree, of the given shape, in each cell."""
    element = basix.ufl.quadrature_element(msh.basix_cell(), value_shape=shape, degree=degree)
    return fem.functionspace(msh, element)


class NodalInjection:
    """Values of a fine P1 field at the nodes of a coarse P2 space, and from there anywhere.

    The fine mesh is a uniform refinement of the coarse one, at least once, so every node of the
    coarse P2 space is a node of the fine mesh, on the same rank. No search, no communication.

    Args:
        fine: P1 space on the refined mesh.
        coarse: Parent mesh.

    Raises:
        MeshError: the fine mesh is not such a refinement.
    """

    def __init__(self, fine: fem.FunctionSpace, coarse: mesh.Mesh) -> None:
        self.space = fem.functionspace(coarse, ("P", 2))
        n_cells = coarse.topology.index_map(3).size_local
        self._cell_nodes = self.space.dofmap.list[:n_cells]
        points = self.space.tabulate_dof_coordinates()
        nodes = np.unique(self._cell_nodes)
        distance, found = cKDTree(fine.tabulate_dof_coordinates()).query(points[nodes])
        if len(nodes) and distance.max() > 1e-6:
            raise MeshError(
                "NodalInjection",
                f"a node of the coarse mesh is {distance.max():.3g} mm from the fine one.",
                "Make the fine mesh with `refine(domain, times)`, times ≥ 1.",
            )
        self._nodes, self._fine = nodes, found

    def nodal(self, values: Array) -> Array:
        """Fine nodal values → values at the local nodes of the coarse P2 ``space``."""
        coarse = np.zeros(
            self.space.dofmap.index_map.size_local + self.space.dofmap.index_map.num_ghosts
        )
        coarse[self._nodes] = values[self._fine]
        return coarse

    def at_points(self, values: Array, points: Array) -> Array:
        """Fine nodal values → values at reference points of each owned coarse cell.

        Args:
            values: Values at the local nodes of the fine space.
            points: Reference points, shape (points, 3).

        Returns:
            Shape (cells · points,), cell by cell: the layout of a quadrature space.
        """
        table = self.space.element.basix_element.tabulate(0, points)[0, :, :, 0]
        return np.asarray(self.nodal(values)[self._cell_nodes] @ table.T).ravel()
