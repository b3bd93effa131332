"""A fine mesh nested in a coarse one: exact passage between them, cell by cell on each rank."""

from __future__ import annotations

import basix
import numpy as np
from dolfinx import fem, la, mesh
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.sparse import csr_array

from organtwin.errors import MeshError
from organtwin.mesh.domain import Refinement
from organtwin.parallel import agree

Array = NDArray[np.float64]
Index = NDArray[np.int64]

#: Reference coordinates that differ by less are the same.
_SAME = 9


class Nesting:
    """Passage between linear elements of a refined mesh and quadrature points of its parent.

    To the points, a fine field is projected onto the quadratic functions in each coarse cell, and
    these are evaluated. To the nodes goes the adjoint, with lumped mass. With weights w_q of the
    points and m_i = ∫ φ_i of the nodes,

        c_q = Σ_i P_qi c_i,     λ_i = Σ_q P_qi w_q λ_q / m_i,
        Σ_q w_q c_q = Σ_i m_i c_i,     Σ_i m_i λ_i = Σ_q w_q λ_q

    so that both keep the integral, in each coarse cell and in the whole. Constants stay
    constants, and fields that are linear in the coarse cells arrive at the points as they are.
    The deformation gradient in a fine cell is the mean of the coarse mesh's there: of quadratic
    displacements its value in the middle. Parents are known from the refinement: nothing is
    searched, and ranks exchange sums at the nodes that they share only.

    Every node of quadratic elements on the parent is a node of the refined mesh; what is there can
    be taken over as it is.

    Args:
        refinement: Coarse and fine mesh.
        fine: P1 space on the fine mesh.
        points: Quadrature space on the coarse mesh, of degree 2 or more.

    Attributes:
        weights: Of the points of all owned cells (mm³), shape (cells · points,).
        node_space: Scalar P2 space on the coarse mesh.

    Raises:
        MeshError: a cell is not on the rank of its parent, or the fine mesh is the coarse one.
    """

    def __init__(
        self, refinement: Refinement, fine: fem.FunctionSpace, points: fem.FunctionSpace
    ) -> None:
        coarse, msh = refinement.coarse.mesh, refinement.fine.mesh
        self.comm: MPI.Comm = msh.comm
        own, owned_parents = (m.topology.index_map(3).size_local for m in (msh, coarse))
        self._parent = refinement.parent[:own]
        agree(self.comm, _strayed(self._parent, owned_parents))
        corner, jacobian = _affine(coarse, owned_parents)
        self._inverse = np.linalg.inv(jacobian)
        vertices = msh.geometry.x[msh.geometry.dofmaps[0][:own]]
        local = np.einsum(
            "cab,cvb->cva", self._inverse[self._parent], vertices - corner[self._parent, None]
        )
        shapes, kind = np.unique(local.round(_SAME).reshape(own, -1), axis=0, return_inverse=True)
        self._shapes, self._kind = shapes.reshape(-1, 4, 3), kind.ravel()
        place, weights = points.ufl_element().custom_quadrature()
        volume = np.abs(np.linalg.det(jacobian))
        self.weights = np.outer(volume, weights).ravel()
        self._to_points = self._projection(fine, np.asarray(place), owned_parents)
        self._sums = fem.Function(fine)
        self._node_volumes = self._summed(self.weights)
        self.node_space = fem.functionspace(coarse, ("P", 2))
        self._nodes, self._at = self._taken_over(fine)
        found = self.node_space.dofmap.list[:owned_parents]
        agree(self.comm, _unrefined(len(np.unique(found)) - len(self._nodes)))

    def to_points(self, values: Array) -> Array:
        """Values at the local nodes of the fine space → at the points of the owned cells."""
        return np.asarray(self._to_points @ values)

    def to_nodes(self, values: Array) -> Array:
        """Values at the points of the owned cells → at the local nodes; collective."""
        return np.asarray(self._summed(self.weights * values) / self._node_volumes)

    def at_nodes(self, values: Array) -> Array:
        """Values at the local nodes of the fine space → at those of `node_space`."""
        dofs = self.node_space.dofmap.index_map
        coarse = np.zeros(dofs.size_local + dofs.num_ghosts)
        coarse[self._nodes] = values[self._at]
        return coarse

    def deformation(self, displacement: fem.Function) -> Array:
        """I + ∇u in the middle of each owned fine cell, shape (cells, 3, 3).

        Args:
            displacement: u (mm), in Lagrange elements on the coarse mesh.
        """
        V = displacement.function_space
        table = V.element.basix_element.tabulate(1, self._shapes.mean(axis=1))[1:, :, :, 0]
        u = displacement.x.array.reshape(-1, 3)[V.dofmap.list[self._parent]]
        gradient = np.einsum("cja,cjk->cak", u, table.transpose(1, 2, 0)[self._kind])
        return np.asarray(np.eye(3) + gradient @ self._inverse[self._parent])

    def _summed(self, loads: Array) -> Array:
        """Pᵀ of values at the points, contributions of all ranks added; collective."""
        sums = self._sums.x
        sums.array[:] = self._to_points.T @ loads
        sums.scatter_reverse(la.InsertMode.add)
        sums.scatter_forward()
        return np.array(sums.array)

    def _taken_over(self, fine: fem.FunctionSpace) -> tuple[Index, Index]:
        """Nodes of `node_space`, and the fine node at each of them."""
        places = self.node_space.element.interpolation_points
        same = np.abs(self._shapes[:, :, None] - places).max(axis=-1) < 10.0 ** (1 - _SAME)
        node = np.where(same.any(axis=-1), same.argmax(axis=-1), -1)[self._kind]
        cell, vertex = np.nonzero(node >= 0)
        coarse = self.node_space.dofmap.list[self._parent[cell], node[cell, vertex]]
        nodes, first = np.unique(coarse, return_index=True)
        return nodes, fine.dofmap.list[cell, vertex][first]

    def _projection(self, fine: fem.FunctionSpace, place: Array, coarse_cells: int) -> csr_array:
        """P: in each coarse cell the L² projection onto quadratics, at the points."""
        blocks = _blocks(self._shapes, place)[self._kind]
        n, nodes = len(self._parent), fine.dofmap.list
        rows = self._parent[:, None, None] * len(place) + np.arange(len(place))[None, :, None]
        columns = nodes[:n, None, :]
        rows, columns = (np.broadcast_to(part, blocks.shape).ravel() for part in (rows, columns))
        size = fine.dofmap.index_map.size_local + fine.dofmap.index_map.num_ghosts
        return csr_array((blocks.ravel(), (rows, columns)), shape=(coarse_cells * len(place), size))


def _strayed(parent: NDArray[np.int32], owned: int) -> MeshError | None:
    if len(parent) == 0 or parent.max() < owned:
        return None
    return MeshError(
        "Nesting",
        f"the parent of fine cell {int(np.argmax(parent >= owned))} is on another rank.",
        "Make the fine mesh with `refine(domain, times)`.",
    )


def _unrefined(missing: int) -> MeshError | None:
    if missing == 0:
        return None
    return MeshError(
        "Nesting",
        f"{missing} nodes of quadratic elements on the coarse mesh are none of the fine one.",
        "Make the fine mesh with `refine(domain, times)`, times ≥ 1.",
    )


def _affine(msh: mesh.Mesh, cells: int) -> tuple[Array, Array]:
    """First vertex (n, 3) and ∂x/∂X (n, 3, 3) of the first cells of a mesh."""
    x = msh.geometry.x[msh.geometry.dofmaps[0][:cells]]
    return x[:, 0], (x[:, 1:] - x[:, :1]).transpose(0, 2, 1)


def _blocks(shapes: Array, place: Array) -> Array:
    """Share of each of the four nodes of a part in the values at the points of its parent.

    Args:
        shapes: Vertices of parts in reference coordinates of the parent, (n, 4, 3).
        place: Points in the parent, (points, 3).

    Returns:
        Shape (n, points, 4).
    """
    parent = basix.create_element(
        basix.ElementFamily.P, basix.CellType.tetrahedron, 2, basix.LagrangeVariant.equispaced
    )
    corners, weights = basix.make_quadrature(basix.CellType.tetrahedron, 4)
    whole = parent.tabulate(0, corners)[0, :, :, 0]
    mass = whole.T @ (weights[:, None] * whole)
    linear = np.column_stack([1 - corners.sum(axis=1), corners])
    inside = np.einsum("qi,sia->sqa", linear, shapes)
    basis = parent.tabulate(0, inside.reshape(-1, 3))[0, :, :, 0].reshape(*inside.shape[:2], -1)
    volume = np.abs(np.linalg.det(shapes[:, 1:] - shapes[:, :1]))
    loads = np.einsum("s,q,sqj,qi->sji", volume, weights, basis, linear)
    at_place = parent.tabulate(0, place)[0, :, :, 0]
    return np.asarray(np.einsum("pj,sji->spi", at_place @ np.linalg.inv(mass), loads))
