"""Springs that tie every node to where it was: they carry a solve through an instability."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem, la
from dolfinx.fem import petsc as fem_petsc
from numpy.typing import NDArray
from petsc4py import PETSc

from organtwin.solve.assembly import vector

Vector = NDArray[np.float64]


class Anchors:
    """Forces s k m_i (u_i − a_i) at the nodes, with the volume m_i and the anchor a_i of each.

    The volume of a cell is shared equally between its nodes, so that no m_i is negative, which
    integrals of quadratic shape functions are. With k = tr K / Σ m_i over the displacement, a share
    s = 1 ties a node as strongly as the body does on the average.

    Args:
        V: Space of the displacement.
        places: Its degrees of freedom in ``W``.
        W: Space of the unknown.
        K: Tangent without anchors.
    """

    def __init__(
        self, V: fem.FunctionSpace, places: NDArray[np.int32], W: fem.FunctionSpace, K: PETSc.Mat
    ) -> None:
        volume = fem.Function(W)
        volume.x.array[places] = _volumes(V)
        self._m = fem_petsc.create_vector(W)
        self._n = self._m.getLocalSize()
        self._m.array[:] = volume.x.array[: self._n]
        stiffness = K.getDiagonal()
        stiffness.array[self._m.array == 0] = 0.0
        self._k = stiffness.norm(PETSc.NormType.NORM_1) / self._m.sum()
        self._anchor = np.zeros(self._n)
        self.share = 0.0

    def move(self, w: Vector, share: float) -> None:
        """Tie the nodes to where they are in the unknown ``w``."""
        self._anchor[:] = w[: self._n]
        self.share = share

    def add_residual(self, R: PETSc.Vec, w: Vector) -> None:
        """Add the forces at the unknown ``w``."""
        R.array[:] += self._stiffness * (w[: self._n] - self._anchor)

    def add_tangent(self, K: PETSc.Mat) -> None:
        """Add their stiffness to an assembled tangent; collective."""
        start, end = K.getOwnershipRange()
        tied = self._m.array > 0
        rows = np.concatenate([[0], np.cumsum(tied)]).astype(np.int32)
        columns = (start + np.flatnonzero(tied)).astype(np.int32)
        size = (end - start, K.getSize()[0])
        springs = PETSc.Mat().createAIJ(
            (size, size), csr=(rows, columns, self._stiffness[tied]), comm=K.comm
        )
        K.axpy(1.0, springs, structure=PETSc.Mat.Structure.SUBSET_NONZERO_PATTERN)
        springs.destroy()

    @property
    def _stiffness(self) -> Vector:
        return np.asarray(self.share * self._k * self._m.array)


def _volumes(V: fem.FunctionSpace) -> Vector:
    """Volume (mm³) that each node of ``V`` has a share in, for each component; collective."""
    sizes = vector(ufl.TestFunction(fem.functionspace(V.mesh, ("DG", 0))) * ufl.dx).array
    nodes = V.dofmap.list[: len(sizes)]
    volume = fem.Function(V)
    np.add.at(volume.x.array.reshape(-1, 3), nodes, (sizes / nodes.shape[1])[:, None, None])
    volume.x.scatter_reverse(la.InsertMode.add)
    volume.x.scatter_forward()
    return np.asarray(volume.x.array)
