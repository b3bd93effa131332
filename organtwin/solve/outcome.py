"""Failure is a value: how a solve ended, and what to do if it did not converge."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """How a step ended; the value is the remedy."""

    CONVERGED = ""
    NEWTON_STALLED = "The nonlinear solver stalled: halve the time step or ramp the load."
    NOT_FINITE = "The residual is not finite: the step was too large or a parameter is off."
    INVERTED = "An element is inside out: shorten the step, or refine the mesh there."
    INACCURATE = "Its error is too large: shorten the step."
    LINEAR_FAILED = "The linear solver failed: try the direct one, or check the constraints."


@dataclass(frozen=True)
class Step:
    """Account of one time step.

    Attributes:
        t0: Start (ms).
        t1: End (ms).
        outcome: How it ended.
        newton: Nonlinear iterations.
        krylov: Linear iterations, or solves with a factorisation.
        factorisations: Matrices assembled and factorised.
        residual: Last residual norm relative to the first.
        detail: What went wrong and where, if that is known.
    """

    t0: float
    t1: float
    outcome: Outcome = Outcome.CONVERGED
    newton: int = 0
    krylov: int = 0
    factorisations: int = 0
    residual: float = 0.0
    detail: str = ""

    @property
    def converged(self) -> bool:
        """Whether the step can be kept."""
        return self.outcome is Outcome.CONVERGED
