"""A quasi-Newton method that keeps its factors as long as they serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.solve.outcome import Outcome

Vector = NDArray[np.float64]


class System(Protocol):
    """Nonlinear equations r(z) = 0 with an approximate, kept inverse of their Jacobian.

    Vectors are this rank's parts; inner products are summed over ``comm``.
    """

    comm: MPI.Comm
    has_factors: bool

    def get(self) -> Vector:
        """Copy of the unknown ``z``."""
        ...

    def set(self, z: Vector) -> None:
        """Replace the unknown."""
        ...

    def evaluate(self) -> float:
        """Assemble r at the present unknown and return its norm; collective."""
        ...

    def correction(self) -> Vector:
        """−M⁻¹ r for the last `evaluate`, with M⁻¹ from the last `factorise`; collective."""
        ...

    def factorise(self) -> bool:
        """Renew M⁻¹ at the present unknown; whether that succeeded. Collective."""
        ...


@dataclass(frozen=True)
class Tolerances:
    """When an iteration ends.

    Attributes:
        increment: Largest root-mean-square of the last correction.
        iterations: Most iterations before the solve is given up.
        patience: Iterations with one factorisation before it is renewed.
        halvings: Times that a diverging correction is halved.
    """

    increment: float = 1e-6
    iterations: int = 40
    patience: int = 10
    halvings: int = 6


@dataclass(frozen=True)
class Solution:
    """Account of a nonlinear solve."""

    outcome: Outcome
    iterations: int
    factorisations: int
    residual: float


def solve(
    system: System, tolerances: Tolerances = Tolerances(), *, fresh: bool = False
) -> Solution:
    """Find r(z) = 0 by Broyden's method on top of kept factors.

    Each correction −M⁻¹ r is improved by the rank-one updates of Broyden's "good" method, which
    need just the previous steps: convergence is superlinear though M is old. A step is good when
    the next correction is shorter than the last one (the natural monotonicity test, which unlike
    the residual norm does not mind stiff directions). After a step that is not, M is renewed and
    the updates are forgotten; with a new M the step is halved.

    Args:
        system: Equations, starting from their present unknown; they hold the solution afterwards,
            or the unknown that they started from when the outcome is not `CONVERGED`.
        tolerances: When to stop.
        fresh: Renew M before the first iteration.

    Source:
        Kelley (2003), Solving Nonlinear Equations with Newton's Method, chapter 4; Deuflhard
        (2011), Newton Methods for Nonlinear Problems, chapter 3.
    """
    return _Iteration(system, tolerances).run(fresh=fresh)


class _Iteration:
    def __init__(self, system: System, tolerances: Tolerances) -> None:
        self.system = system
        self.tolerances = tolerances
        self.start = system.get()
        self.size = system.comm.allreduce(self.start.size, op=MPI.SUM)
        self.count = 0
        self.factorisations = 0
        self.steps: list[Vector] = []  # taken with the present factors
        self.first_norm = 0.0
        self.norm = 0.0

    def run(self, *, fresh: bool) -> Solution:
        self.first_norm = self.norm = self.system.evaluate()
        if not np.isfinite(self.norm):
            return self._fail(Outcome.NOT_FINITE)
        if (fresh or not self.system.has_factors) and not self._renew():
            return self._fail(Outcome.LINEAR_FAILED)
        correction = self.system.correction()
        while self.count < self.tolerances.iterations:
            self.count += 1
            step = self._improved(correction)
            if self._rms(step) < self.tolerances.increment:
                self.system.set(self.system.get() + step)
                return self._account(Outcome.CONVERGED)
            new = self._take(step, correction)
            if new is None or len(self.steps) >= self.tolerances.patience:
                if new is None and not self._stale():
                    return self._fail(Outcome.NEWTON_STALLED)
                if not self._renew():
                    return self._fail(Outcome.LINEAR_FAILED)
                new = self.system.correction()
            correction = new
        return self._fail(Outcome.NEWTON_STALLED)

    def _improved(self, z: Vector) -> Vector:
        """Broyden's update of the correction from the steps taken with these factors."""
        for old, new in zip(self.steps[:-1], self.steps[1:], strict=True):
            z = z + new * (self._dot(old, z) / self._dot(old, old))
        if self.steps:
            last = self.steps[-1]
            z = z / max(1.0 - self._dot(last, z) / self._dot(last, last), 0.1)
        return z

    def _take(self, step: Vector, correction: Vector) -> Vector | None:
        """Add the step, halved until it is good.

        Returns:
            The next correction; None when no step was good, the unknown is then as before.
        """
        z = self.system.get()
        length = self._rms(correction)
        # Old factors are renewed rather than damped, so they get one try.
        scales = [1.0] if self._stale() else [0.5**i for i in range(self.tolerances.halvings + 1)]
        for scale in scales:
            self.system.set(z + scale * step)
            self.norm = self.system.evaluate()
            if not np.isfinite(self.norm):
                continue
            new = self.system.correction()
            if self._rms(new) <= (1 - scale / 4) * length:
                if scale == 1.0:
                    self.steps.append(step)
                    return new
                # A shortened step breaks the recurrence of the updates.
                return self.system.correction() if self._renew() else None
        self.system.set(z)
        self.norm = self.system.evaluate()
        return None

    def _stale(self) -> bool:
        return bool(self.steps) or self.factorisations == 0

    def _renew(self) -> bool:
        self.steps = []
        self.factorisations += 1
        return self.system.factorise()

    def _dot(self, a: Vector, b: Vector) -> float:
        return float(self.system.comm.allreduce(float(a @ b), op=MPI.SUM))

    def _rms(self, a: Vector) -> float:
        return float(np.sqrt(self._dot(a, a) / self.size))

    def _account(self, outcome: Outcome) -> Solution:
        residual = self.norm / self.first_norm if self.first_norm > 0 else 0.0
        return Solution(outcome, self.count, self.factorisations, residual)

    def _fail(self, outcome: Outcome) -> Solution:
        self.system.set(self.start)
        return self._account(outcome)
