"""Conjugate gradients with multigrid for linear elasticity with large contrasts."""

from __future__ import annotations

import numpy as np
from dolfinx import fem
from petsc4py import PETSc

from organtwin.solve import options
from organtwin.solve.linear import (
    DirectSolver,
    Fields,
    LinearSolver,
    TwoLevel,
    description,
    reason,
    rigid_modes,
)

#: Unknowns up to which factors are the faster ones.
FEW = 20_000

CONJUGATE_GRADIENTS = {
    "ksp_type": "cg",
    "ksp_norm_type": "preconditioned",
    "ksp_max_it": "500",
}
#: Aggregates follow the strength of the connections: where the modulus jumps by thousands from
#: cell to cell, the threshold keeps the count of iterations as it is when the mesh is refined.
MULTIGRID = {
    "pc_type": "gamg",
    "pc_gamg_threshold": "0.01",
    "pc_mg_cycle_type": "w",
    "mg_levels_ksp_type": "chebyshev",
    "mg_levels_ksp_max_it": "3",
    "mg_levels_pc_type": "pbjacobi",
}
#: The same below quadratic elements, which are smoothed on a level of their own.
QUADRATIC = {
    "mg_levels_ksp_type": "chebyshev",
    "mg_levels_ksp_max_it": "3",
    "mg_levels_pc_type": "pbjacobi",
    "mg_coarse_ksp_type": "preonly",
    **{f"mg_coarse_{name}": value for name, value in MULTIGRID.items()},
}


def elastic_solver(
    A: PETSc.Mat, V: fem.FunctionSpace, prefix: str, *, rtol: float, bcs: list[fem.DirichletBC]
) -> LinearSolver:
    """Solver of a symmetric positive definite elastic matrix that suits its size.

    Factors by MUMPS up to `FEW` unknowns or where ``-PREFIXpc_type lu`` asks for them.

    Args:
        A: Matrix over the unknowns of ``V``.
        V: Displacements, linear or quadratic.
        prefix: PETSc options prefix, unique to this solver.
        rtol: Reduction of the preconditioned residual.
        bcs: Prescribed displacements, whose rows and columns are those of the identity.
    """
    asked = options.get(f"{prefix}pc_type")
    if asked in ("lu", "cholesky") or (asked is None and A.getSize()[0] <= FEW):
        return DirectSolver(A, prefix)
    return ElasticSolver(A, V, prefix, rtol=rtol, bcs=bcs)


class ElasticSolver:
    """Conjugate gradients, preconditioned by smoothed aggregation that knows rigid bodies.

    The aggregation is PETSc's (GAMG); the options are our choice, by benchmarks/bone.py.
    Quadratic elements have a level of their own above the linear ones (p-multigrid). Unlike
    `KrylovSolver` it is for one matrix, symmetric and positive definite, that is solved exactly
    and for many loads.

    Args:
        A: Matrix; it is read at each call of `factorise`.
        V: Displacements.
        prefix: PETSc options prefix, unique to this solver.
        rtol: Reduction of the preconditioned residual.
        bcs: Prescribed displacements.
    """

    def __init__(
        self,
        A: PETSc.Mat,
        V: fem.FunctionSpace,
        prefix: str,
        *,
        rtol: float,
        bcs: list[fem.DirichletBC],
    ) -> None:
        self.iterations = 0
        self._A, self._prefix = A, prefix
        self._fields = Fields(V, bcs)
        self._modes = rigid_modes(V)
        self._ksp = PETSc.KSP().create(A.comm)
        self._ksp.setOptionsPrefix(prefix)
        self._two_level: TwoLevel | None = None
        inner = QUADRATIC if self._fields.is_quadratic else MULTIGRID
        self._defaults = {**CONJUGATE_GRADIENTS, "ksp_rtol": f"{rtol:g}", **inner}
        self._ready = False

    def factorise(self) -> bool:
        """Set the preconditioner up for the matrix as it is now; whether that succeeded."""
        self._A.setNearNullSpace(self._modes)
        self._A.setOption(PETSc.Mat.Option.SPD, True)
        self._ksp.setOperators(self._A)
        defaults = options.Defaults(self._prefix, self._defaults)
        with defaults:
            if not self._ready:
                self._ksp.setFromOptions()
                if self._fields.is_quadratic and options.get(f"{self._prefix}pc_type") is None:
                    self._two_level = TwoLevel(self._ksp.getPC(), self._fields)
            if self._two_level is not None:
                self._two_level.update()
            self._ksp.setUp()
            if not self._ready:
                self._ksp.setUpOnBlocks()
                options.require_used(self._prefix, defaults.names)
                self._ready = True
        return bool(self._ksp.getPC().getFailedReason() == 0)

    def solve(self, b: PETSc.Vec, x: PETSc.Vec) -> bool:
        """Solve for ``x``; whether that succeeded."""
        x.set(0.0)
        self._ksp.solve(b, x)
        self.iterations += self._ksp.getIterationNumber()
        return bool(self._ksp.getConvergedReason() > 0 and np.isfinite(x.norm()))

    def reason(self) -> str:
        """Why the last iteration ended, as PETSc names it."""
        return reason(self._ksp)

    def description(self) -> str:
        """What is in effect, as PETSc tells it; collective."""
        return description(self._ksp)

    def release(self) -> None:
        """Give the levels back; nothing can be solved afterwards. Collective."""
        self._ksp.destroy()
