"""Active tension that follows a given curve from the moment at which the cell is excited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from organtwin.cells.tension import DrivenBy
from organtwin.errors import InputError
from organtwin.materials.active import FilamentOverlap, TensionCurve

Array = NDArray[np.float64]

#: Potential (mV) of cells that were never excited.
RESTING = -90.0


@dataclass(frozen=True)
class CurveTension:
    """Tension over the time since excitation, whatever calcium is.

        Ta = h(λ) max(curve(t − t₁), curve(t − t₀))

    t₁ is the last instant at which the potential rose through the threshold after it had been
    below ``repolarised``, t₀ the one before: a second beat cuts no first one short. What was never
    excited has the first tension of the curve.

    Attributes:
        curve: Tension over the time after excitation, without period.
        threshold: Potential of excitation (mV).
        repolarised: Potential below which a cell can be excited again (mV).
        beta_0: Strength of the length dependence, that of Land et al. (2017); 0 for none.

    Raises:
        InputError: the curve repeats itself, or the potentials are not in order.
    """

    curve: TensionCurve
    threshold: float = -20.0
    repolarised: float = -60.0
    beta_0: float = 0.0

    driven_by: ClassVar[DrivenBy] = "potential"
    #: Rows of a state array: potential of the last step (mV), whether it can rise through the
    #: threshold (1) or has to fall first (0), time since the last two excitations (ms), −∞ before.
    state_names: ClassVar[tuple[str, ...]] = ("v", "excitable", "since", "since_before")

    def __post_init__(self) -> None:
        if self.curve.period is not None:
            raise InputError(
                "CurveTension",
                f"a curve with a period of {self.curve.period:g} ms.",
                "Give the curve of one beat; each excitation starts it anew.",
            )
        if not self.repolarised <= self.threshold:
            raise InputError(
                "CurveTension",
                f"repolarised at {self.repolarised:g} mV, excited at {self.threshold:g} mV.",
                "Repolarisation must not be above the threshold.",
            )

    @property
    def overlap(self) -> FilamentOverlap:
        """h(λ)."""
        return FilamentOverlap.land_2017(self.beta_0)

    def rest(self, points: int) -> Array:
        """Nothing was excited yet; shape (4, points)."""
        return np.tile([[RESTING], [1.0], [-np.inf], [-np.inf]], (1, points))

    def kinetics(self, states: Array, drive: Array, stretch: Array, dt: float) -> Array:
        """States after ``dt``; the instant of excitation is where v, linear in time, crosses.

        Args:
            states: Shape (4, points).
            drive: Transmembrane potential at the end of the step (mV).
            stretch: Without effect.
            dt: Step (ms).
        """
        v, excitable, since, before = states
        excited = (excitable > 0) & (drive >= self.threshold)
        rise = np.where(drive > v, drive - v, 1.0)
        share = np.clip((drive - self.threshold) / rise, 0.0, 1.0)
        return np.stack([
            drive,
            np.where(excited, 0.0, np.where(drive < self.repolarised, 1.0, excitable)),
            np.where(excited, share * dt, since + dt),
            np.where(excited, since, before) + dt,
        ])  # fmt: skip

    def affine(self, states: Array, dt: float) -> tuple[Array, Array]:
        """Ta₀ (kPa), and no stiffness: nothing but h depends on the stretch."""
        Ta = self._unstretched(states)
        return Ta, np.zeros_like(Ta)

    def distort(self, states: Array, stretch_change: Array, dt: float) -> Array:
        """The same states: stretch leaves no trace in them."""
        return states.copy()

    def tension(self, states: Array, stretch: Array) -> Array:
        """Ta (kPa) of the given states at the stretch λ, shape (points,)."""
        return self.overlap(stretch) * self._unstretched(states)

    def _unstretched(self, states: Array) -> Array:
        return np.maximum(self.curve(states[2]), self.curve(states[3]))
