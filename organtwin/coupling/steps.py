"""Length of the mechanical steps, from the error of the last one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from organtwin.errors import InputError


@dataclass(frozen=True)
class Steps:
    """Mechanical steps between ``shortest`` and ``longest``.

    A step starts from a guess of constant velocity. What the solution differs from it is
    ½ Δt (Δt + Δt_before) ∂²/∂t² of displacement and cavity pressures, of which the local error of
    the implicit Euler method is the share Δt/(Δt + Δt_before). The next step is as long as keeps
    this error at the tolerance, if ∂²/∂t² lasts; at most twice as long, and not longer after a
    step that took many iterations. A step with more than four times the tolerance is refused,
    unless it is the shortest.

    Attributes:
        shortest: Shortest step (ms); the longest is a power of two of it.
        longest: Longest step (ms).
        displacement: Tolerated local error of the displacement at any node (mm).
        pressure: Tolerated local error of a cavity pressure (kPa).
        iterations: Corrections of the nonlinear solver after which steps do not grow.
    """

    shortest: float = 0.5
    longest: float = 8.0
    displacement: float = 0.02
    pressure: float = 0.02
    iterations: int = 15

    def __post_init__(self) -> None:
        doublings = np.log2(self.longest / self.shortest) if self.shortest > 0 else np.nan
        if not (doublings >= 0 and abs(doublings - round(doublings)) < 1e-9):
            raise InputError(
                "time steps",
                f"{self.shortest:g} to {self.longest:g} ms.",
                "The longest must be the shortest times a power of two, for example 0.5 and 4 ms.",
            )
        if not (self.displacement > 0 and self.pressure > 0):
            raise InputError(
                "time steps",
                f"tolerances {self.displacement:g} mm and {self.pressure:g} kPa.",
                "Both must be > 0.",
            )

    def error(self, displacement: float, pressure: float, dt: float, before: float) -> float:
        """Local error over the tolerance.

        Args:
            displacement: Largest difference of the solution from its guess (mm).
            pressure: The same of the cavity pressures (kPa).
            dt: The step (ms).
            before: The step before it (ms).
        """
        largest = max(displacement / self.displacement, pressure / self.pressure)
        return largest * dt / (dt + before)

    def refuses(self, error: float, dt: float) -> bool:
        """Whether a step with this error has to be taken again in halves."""
        return error > 4.0 and dt > 1.5 * self.shortest

    def next(self, dt: float, error: float, iterations: int) -> float:
        """Length of the next step (ms) after one of ``dt``."""
        growth = 0.9 / np.sqrt(max(error, 1e-12))
        growth = min(growth, 1.0 if iterations > self.iterations else 2.0)
        return float(np.clip(growth * dt, self.shortest, self.longest))
