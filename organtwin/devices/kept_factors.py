"""Factors of a matrix that precondition the ones that follow, as long as that pays."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from petsc4py import PETSc

Array = NDArray[np.float64]

#: Fewest and most iterations before new factors are taken, and flops of a factorisation over its
#: entries for each: by memory, a solve costs far more than its flops (tried: about so in time).
IMPATIENT, PATIENT, WORTH = 4, 30, 40.0
#: Reduction of the preconditioned residual.
ACCURACY = 1e-5
#: Room for pivoting (%) that MUMPS gets at first, and when that was too little.
ROOM = (60, 400)


class KeptFactors:
    """GMRES with the LU factors of the matrix at hand, or of an earlier one.

    A point that comes into contact changes the matrix by a rank of one to three, and GMRES takes
    about one iteration for each: it serves many guesses of the contact by the same factors.

    Attributes:
        factorisations, iterations: So far.
        seconds: Spent on factors and on iterations.
    """

    def __init__(self) -> None:
        self.factorisations = self.iterations = 0
        self.seconds = {"factors": 0.0, "solves": 0.0}
        self._ksp: PETSc.KSP | None = None
        self._size = (-1, -1)
        self._is_new = False
        self._A: PETSc.Mat | None = None
        self._P: PETSc.Mat | None = None
        self._patience = PATIENT

    def take(self, A: PETSc.Mat) -> bool:
        """Take a matrix; whether it could be factorised, if that was needed. Collective."""
        old, self._A = self._A, A
        self._is_new = False
        if self._ksp is None or A.getSize() != self._size:
            done = self._factorise()
        else:
            self._ksp.setOperators(A, self._P)
            done = True
        if old is not None and old is not self._P:
            old.destroy()
        return done

    def solve(self, b: PETSc.Vec, x: PETSc.Vec) -> bool:
        """Solve for ``x``; whether that succeeded. Collective."""
        if self._iterate(b, x):
            return True
        return not self._is_new and self._factorise() and self._iterate(b, x)

    def forget(self) -> None:
        """Give the factors back; collective."""
        if self._ksp is not None:
            self._ksp.destroy()
            self._ksp = None
        if self._P is not None and self._P is not self._A:
            self._P.destroy()
        self._P = None

    def _iterate(self, b: PETSc.Vec, x: PETSc.Vec) -> bool:
        if self._ksp is None:
            return False
        start = time.perf_counter()
        x.set(0.0)
        self._ksp.setTolerances(max_it=PATIENT if self._is_new else self._patience)
        self._ksp.solve(b, x)
        count, spent = self._ksp.getIterationNumber(), time.perf_counter() - start
        self.iterations += count
        self.seconds["solves"] += spent
        return self._ksp.getConvergedReason() > 0 and bool(np.isfinite(x.norm()))

    def _factorise(self) -> bool:
        start = time.perf_counter()
        assert self._A is not None
        self.forget()
        self._P, self._size = self._A, self._A.getSize()
        for room in ROOM:
            ksp = self._with_factors(self._A, room)
            self.factorisations += 1
            if ksp.getPC().getFailedReason() == 0:
                self._ksp, self._is_new = ksp, True
                self._patience = _patience(ksp.getPC().getFactorMatrix())
                break
            ksp.destroy()
        self.seconds["factors"] += time.perf_counter() - start
        return self._is_new

    def _with_factors(self, A: PETSc.Mat, room: int) -> PETSc.KSP:
        ksp = PETSc.KSP().create(A.comm)
        ksp.setOperators(A)
        ksp.setType("gmres")
        ksp.setGMRESRestart(PATIENT + 1)
        ksp.setTolerances(rtol=ACCURACY, atol=0.0, max_it=PATIENT)
        pc = ksp.getPC()
        pc.setType("lu")
        pc.setFactorSolverType("mumps")
        pc.setFactorSetUpSolverType()
        pc.getFactorMatrix().setMumpsIcntl(14, room)
        ksp.setUp()
        pc.setReusePreconditioner(True)
        return ksp


def _patience(factors: PETSc.Mat) -> int:
    """Iterations that cost about as much as the factors did; the same on all ranks."""
    entries = factors.getMumpsInfog(29)
    many = -1e6 * entries if entries < 0 else float(max(entries, 1))  # MUMPS counts in millions
    return int(np.clip(factors.getMumpsRinfog(3) / (WORTH * many), IMPATIENT, PATIENT))
