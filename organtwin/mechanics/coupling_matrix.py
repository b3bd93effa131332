"""Matrices that couple degrees of freedom of different cells and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray
from petsc4py import PETSc

if TYPE_CHECKING:
    from organtwin.mechanics.problem import Mechanics

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def outer_blocks(blocks: Sequence[tuple[Integers, Floats]]) -> tuple[Integers, Integers, Floats]:
    """Rows, columns and values of dense blocks.

    Args:
        blocks: Global rows (n, L), which are the columns as well, and values (n, L, L).
    """
    rows = np.concatenate([np.repeat(r, r.shape[1], axis=1).ravel() for r, _ in blocks])
    columns = np.concatenate([np.tile(r, (1, r.shape[1])).ravel() for r, _ in blocks])
    return rows, columns, np.concatenate([K.ravel() for _, K in blocks])


def force_share(problem: Mechanics) -> float:
    """Derivative of the displacement where forces are evaluated by that at the end of the step."""
    return 1.0 if problem.levels is None else 1.0 - problem.levels.scheme.alpha_f


def over_dofs(
    W: fem.FunctionSpace, rows: Integers, columns: Integers, values: Floats, scale: float = 1.0
) -> PETSc.Mat:
    """Matrix over the dofs of ``W`` from entries that may belong to other ranks; collective."""
    index_map, block = W.dofmap.index_map, W.dofmap.index_map_bs
    own, everything = index_map.size_local * block, index_map.size_global * block
    A = PETSc.Mat().create(W.mesh.comm)
    A.setSizes([(own, everything), (own, everything)])
    A.setType("aij")
    A.setPreallocationCOO(rows.astype(PETSc.IntType), columns.astype(PETSc.IntType))
    A.setValuesCOO(scale * values)
    return A
