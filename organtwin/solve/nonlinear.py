"""A quasi-Newton method that keeps its factors as long as they serve."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.solve.outcome import Outcome

Vector = NDArray[np.float64]

#: Steps that a `Memory` holds.
WINDOW = 12
#: Sine of the angle to later steps below which an earlier one tells nothing new.
DEPENDENT = 0.03
#: Iterations that a linear rate lets expect, over those that it takes.
SUPERLINEAR = 2.0
#: Steps by which constraints are closed before another correction is made.
CLOSINGS = 3


class Memory:
    """What steps did to the corrections −M⁻¹ r, as long as M is the same.

    After steps s_i that changed the corrections by y_i, the step from a correction c is

        c − (S + Y) γ,   γ = argmin |c − Y γ|

    the secant (Anderson, generalised Broyden) update that agrees with all pairs at once. Unlike
    Broyden's recurrence it may use pairs of earlier loads: with the factors the pairs stay useful.

    Source:
        Fang & Saad (2009), Numer. Linear Algebra Appl. 16:197–221, section 2; Walker & Ni (2011),
        SIAM J. Numer. Anal. 49:1715–1735.
    """

    def __init__(self) -> None:
        self._steps: list[Vector] = []
        self._changes: list[Vector] = []

    def clear(self) -> None:
        """Forget everything: M is another one."""
        self._steps.clear()
        self._changes.clear()

    def pairs(self) -> tuple[Vector, Vector]:
        """Steps and what they changed, (k, n) each; `take` remembers them again."""
        return np.array(self._steps), np.array(self._changes)

    def take(self, steps: Vector, changes: Vector) -> None:
        """Remember pairs instead of those that are known."""
        self._steps, self._changes = list(steps), list(changes)

    def add(self, step: Vector, change: Vector) -> None:
        """Remember a step and how it changed the correction."""
        self._steps.append(step)
        self._changes.append(change)
        del self._steps[:-WINDOW], self._changes[:-WINDOW]

    def improved(self, c: Vector, comm: MPI.Comm) -> Vector:
        """Step that the pairs make of a correction; collective."""
        if not self._steps:
            return c
        Y = np.array(self._changes)
        products = comm.allreduce(np.column_stack([Y @ Y.T, Y @ c]), op=MPI.SUM)
        gram, right = products[:, :-1], products[:, -1]
        kept = _independent(gram)
        gamma = np.zeros(len(Y))
        gamma[kept] = np.linalg.solve(gram[np.ix_(kept, kept)], right[kept])
        return np.asarray(c - gamma @ Y - gamma @ np.array(self._steps))


def _independent(gram: Vector) -> list[int]:
    """Vectors, the latest first, that are not nearly combinations of later ones."""
    kept: list[int] = []
    for i in range(len(gram) - 1, -1, -1):
        rest = gram[i, i]
        if kept:
            inner = gram[kept, i]
            rest -= inner @ np.linalg.solve(gram[np.ix_(kept, kept)], inner)
        if rest > DEPENDENT**2 * gram[i, i]:
            kept.append(i)
    return kept


class System(Protocol):
    """Nonlinear equations r(z) = 0 with an approximate, kept inverse of their Jacobian.

    Vectors are this rank's parts; inner products are summed over ``comm``.
    """

    comm: MPI.Comm
    has_factors: bool
    memory: Memory  # of the present factors: `factorise` clears it

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
        """−M⁻¹ r for the last `evaluate`, with M⁻¹ from the last `factorise`; collective.

        NaN if the linear solver failed.
        """
        ...

    def factorise(self) -> bool:
        """Renew M⁻¹ at the present unknown; whether that succeeded. Collective."""
        ...

    def closing(self, tolerance: float) -> Vector | None:
        """Step that closes constraints at the present unknown and leaves the rest as it is.

        To first order, with what the last `correction` knew; None if no constraint is missed by
        more than the tolerance, or if there are none. Collective.
        """
        ...


@dataclass(frozen=True)
class Tolerances:
    """When an iteration ends.

    Attributes:
        increment: Largest root-mean-square of the last correction.
        constraint: Largest error of what is constrained, such as a cavity's volume, over its size.
        iterations: Most iterations before the solve is given up.
        patience: Iterations that a factorisation is worth: one that is not expected to end
            within as many is renewed. With 1 it is renewed in each iteration (Newton's method).
        halvings: Times that a diverging correction is halved.
    """

    increment: float = 1e-6
    constraint: float = 1e-10
    iterations: int = 40
    patience: int = 15
    halvings: int = 6


@dataclass(frozen=True)
class Solution:
    """Account of a nonlinear solve.

    Attributes:
        outcome: How it ended.
        iterations: Corrections computed.
        factorisations: Tangents assembled and factorised.
        residual: Norm of the last residual relative to the first.
        norm: Norm of the last residual.
        seconds: Time spent on ``residual``, ``tangent`` (assembly and factors) and ``solve``.
        trial: This rank's part of the unknown at which it failed; None if it did not.
    """

    outcome: Outcome
    iterations: int
    factorisations: int
    residual: float
    norm: float = 0.0
    seconds: Mapping[str, float] = field(default_factory=dict)
    trial: Vector | None = None


def together(solutions: Sequence[Solution]) -> Solution:
    """Account of several solves of which the last one counts."""
    last = solutions[-1]
    seconds = {part: sum(s.seconds.get(part, 0.0) for s in solutions) for part in last.seconds}
    return replace(
        last,
        iterations=sum(solution.iterations for solution in solutions),
        factorisations=sum(solution.factorisations for solution in solutions),
        seconds=seconds,
    )


def solve(
    system: System, tolerances: Tolerances = Tolerances(), *, fresh: bool = False
) -> Solution:
    """Find r(z) = 0 by a secant method on top of kept factors.

    Each correction −M⁻¹ r is improved by what earlier steps did to it (`Memory`): convergence is
    superlinear though M is old. A step is good when the next correction is not longer than the
    last one (the natural monotonicity test, which unlike the residual norm does not mind stiff
    directions). After a step that is not, or when the rate lets expect more iterations than a
    factorisation is worth, M is renewed; with a new M a step that is not good is halved. When
    corrections have become short, what they left of constraints is closed (`System.closing`).

    Args:
        system: Equations, starting from their present unknown; they hold the solution afterwards,
            or the unknown that they started from when the outcome is not `CONVERGED`.
        tolerances: When to stop.
        fresh: Renew M before the first iteration.

    Source:
        Deuflhard (2011), Newton Methods for Nonlinear Problems, chapter 3.
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
        self.is_new = False  # whether M is the tangent at the present unknown
        self.ratios: list[float] = []  # of successive corrections with the present M
        self.first_norm = 0.0
        self.norm = 0.0
        self.trial: Vector | None = None
        self.seconds = {"residual": 0.0, "tangent": 0.0, "solve": 0.0}

    def run(self, *, fresh: bool) -> Solution:
        self.first_norm = self._evaluate()
        if not np.isfinite(self.norm):
            self.trial = self.start
            return self._fail(Outcome.NOT_FINITE)
        if (fresh or not self.system.has_factors) and not self._renew():
            return self._fail(Outcome.LINEAR_FAILED)
        correction = self._correction()
        while self.count < self.tolerances.iterations:
            self.count += 1
            if not np.isfinite(self._rms(correction)):
                if self.is_new or not self._renew():
                    return self._fail(Outcome.LINEAR_FAILED)
                correction = self._correction()
                continue
            step = self.system.memory.improved(correction, self.system.comm)
            if self._rms(step) < self.tolerances.increment:
                ends = self._ends_with(step)
                if ends and self._closes():
                    return self._account(Outcome.CONVERGED)
                new = self._after_end() if ends else None
            else:
                new = self._take(step, correction)
            if new is None and self.is_new:
                return self._fail(Outcome.NEWTON_STALLED)
            if new is None or self._is_slow(new):
                if not self._renew():
                    return self._fail(Outcome.LINEAR_FAILED)
                new = self._correction()
            correction = new
        return self._fail(Outcome.NEWTON_STALLED)

    def _ends_with(self, step: Vector) -> bool:
        """Take a short step, unless it is the first by factors that nothing in this solve tested.

        Those may be of much stiffer equations, where every correction is short. Then the residual
        has to fall, or the factors are renewed.
        """
        z = self.system.get()
        self.system.set(z + step)
        if self.count > 1 or self.is_new or self._evaluate() <= 0.5 * self.first_norm:
            return True
        self.system.set(z)
        self._evaluate()
        return False

    def _closes(self) -> bool:
        """Close the constraints by short steps; whether they are met."""
        for _ in range(CLOSINGS):
            step = self.system.closing(self.tolerances.constraint)
            if step is None:
                return True
            if not self._rms(step) < self.tolerances.increment:
                return False
            self.system.set(self.system.get() + step)
        return self.system.closing(self.tolerances.constraint) is None

    def _after_end(self) -> Vector:
        """Correction after a short step that left a constraint open."""
        self._evaluate()
        self.is_new = False
        return self._correction()

    def _take(self, step: Vector, correction: Vector) -> Vector | None:
        """Add the step, halved until it is good.

        Returns:
            The next correction; None when no step was good, the unknown is then as before.
        """
        z = self.system.get()
        length = self._rms(correction)
        # Old factors are renewed rather than damped, so they get one try.
        halvings = self.tolerances.halvings if self.is_new else 0
        for scale in 0.5 ** np.arange(halvings + 1):
            self.trial = z + scale * step
            self.system.set(self.trial)
            if not np.isfinite(self._evaluate()):
                continue
            new = self._correction()
            ratio = self._rms(new) / length
            if ratio <= (1 - scale / 4 if self.is_new else 1):
                self.system.memory.add(scale * step, new - correction)
                self.ratios.append(ratio)
                # A shortened step tells that the unknown is far from where M was made.
                self.is_new = False
                return new if scale == 1 else self._after_renewal(new)
        self.system.set(z)
        self._evaluate()
        return None

    def _after_renewal(self, correction: Vector) -> Vector:
        return self._correction() if self._renew() else np.full_like(correction, np.nan)

    def _is_slow(self, correction: Vector) -> bool:
        """Whether to end with these factors would cost more than new ones."""
        if self.is_new:
            return False
        if len(self.ratios) >= self.tolerances.patience:
            return True
        if len(self.ratios) < 3:
            return False
        rate = np.clip(np.sqrt(self.ratios[-1] * self.ratios[-2]), 1e-16, 0.98)
        gap = self.tolerances.increment / max(self._rms(correction), self.tolerances.increment)
        # The rate so far underrates what follows: the updates make convergence superlinear.
        return bool(np.log(gap) / np.log(rate) > SUPERLINEAR * self.tolerances.patience)

    def _renew(self) -> bool:
        self.ratios = []
        self.is_new = True
        self.factorisations += 1
        with self._timed("tangent"):
            self.system.memory.clear()
            return self.system.factorise()

    def _evaluate(self) -> float:
        with self._timed("residual"):
            self.norm = self.system.evaluate()
        return self.norm

    def _correction(self) -> Vector:
        with self._timed("solve"):
            return self.system.correction()

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start

    def _rms(self, a: Vector) -> float:
        with np.errstate(over="ignore"):  # then it is too long in any case
            square = float(a @ a)
        return float(np.sqrt(self.system.comm.allreduce(square, op=MPI.SUM) / self.size))

    def _account(self, outcome: Outcome) -> Solution:
        residual = self.norm / self.first_norm if self.first_norm > 0 else 0.0
        trial = None if outcome is Outcome.CONVERGED else self.trial
        return Solution(
            outcome, self.count, self.factorisations, residual, self.norm, self.seconds, trial
        )

    def _fail(self, outcome: Outcome) -> Solution:
        # Factors of an unknown that is given up would mislead the next attempt.
        self.system.has_factors = False
        self.system.memory.clear()
        account = self._account(outcome)
        self.system.set(self.start)
        return account
