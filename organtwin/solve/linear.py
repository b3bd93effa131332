"""Linear solvers: a direct one that keeps its factors."""

from __future__ import annotations

from petsc4py import PETSc


class DirectSolver:
    """LU factors of a matrix by MUMPS, kept until `factorise` is called again.

    A factorisation costs some fifty times a solve, so keeping the factors over many steps is
    what makes a quasi-Newton iteration cheap.

    Args:
        A: Square matrix; it is read at each call of `factorise`.
        prefix: PETSc options prefix, unique to this solver.
    """

    def __init__(self, A: PETSc.Mat, prefix: str) -> None:
        self._ksp = PETSc.KSP().create(A.comm)
        self._ksp.setOptionsPrefix(prefix)
        self._ksp.setOperators(A)
        self._ksp.setType("preonly")
        pc = self._ksp.getPC()
        pc.setType("lu")
        pc.setFactorSolverType("mumps")
        self._ksp.setFromOptions()
        self._factor_options_set = False

    def factorise(self) -> bool:
        """Factorise the matrix as it is now; whether that succeeded."""
        self._ksp.setOperators(*self._ksp.getOperators())
        pc = self._ksp.getPC()
        if not self._factor_options_set:
            pc.setFactorSetUpSolverType()
            # Room for pivoting: saddle-point matrices need more than MUMPS reserves by itself.
            pc.getFactorMatrix().setMumpsIcntl(14, 60)
            self._factor_options_set = True
        self._ksp.setUp()
        return bool(pc.getFailedReason() == 0)

    def solve(self, b: PETSc.Vec, x: PETSc.Vec) -> bool:
        """Solve for ``x`` with the kept factors; whether that succeeded."""
        self._ksp.solve(b, x)
        return bool(self._ksp.getConvergedReason() > 0)
