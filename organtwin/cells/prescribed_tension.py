"""Active tension that follows a given curve from the moment at which the cell is excited."""

from __future__ import annotations

import math
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
#: Distortion of the cross-bridges by a stretch.
_DISTORTION = 50.0


@dataclass(frozen=True)
class CurveTension:
    """Tension over the time since excitation, whatever calcium is.

        Ta = h(λ) (1 + ζ) max(curve(t − t₁), curve(t − t₀)),    dζ/dt = A (dλ/dt − v₀ ζ)

    t₁ is the last instant at which the potential rose through the threshold after it had been
    below ``repolarised``, t₀ the one before: a second beat cuts no first one short. What was never
    excited has the first tension of the curve. ζ is the mean distortion of the cross-bridges, as in
    Land et al. (2017) but for one kind of them: a steady stretch rate multiplies the tension by
    1 + λ̇ / v₀, after a sudden change it comes there at the rate A v₀. A = 50 takes all tension away
    in a release by 2 % (our choice).

    Attributes:
        curve: Tension over the time after excitation, without period.
        threshold: Potential of excitation (mV).
        repolarised: Potential below which a cell can be excited again (mV).
        beta_0: Strength of the length dependence, that of Land et al. (2017); 0 for none.
        v_0: Rate of shortening (1/ms) at which the tension vanishes; infinite for a tension that
            does not depend on it.

    Raises:
        InputError: the curve repeats itself, the potentials are not in order, or v₀ is not > 0.
    """

    curve: TensionCurve
    threshold: float = -20.0
    repolarised: float = -60.0
    beta_0: float = 0.0
    v_0: float = math.inf

    driven_by: ClassVar[DrivenBy] = "potential"
    #: Rows of a state array: potential of the last step (mV), whether it can rise through the
    #: threshold (1) or has to fall first (0), time since the last two excitations (ms), −∞ before,
    #: and ζ.
    state_names: ClassVar[tuple[str, ...]] = ("v", "excitable", "since", "since_before", "zeta")

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
        if not self.v_0 > 0:
            raise InputError("CurveTension", f"v_0 = {self.v_0} 1/ms.", "It must be > 0.")

    @property
    def overlap(self) -> FilamentOverlap:
        """h(λ)."""
        return FilamentOverlap.land_2017(self.beta_0)

    def rest(self, points: int) -> Array:
        """Nothing was excited yet; shape (5, points)."""
        return np.tile([[RESTING], [1.0], [-np.inf], [-np.inf], [0.0]], (1, points))

    def kinetics(self, states: Array, drive: Array, stretch: Array, dt: float) -> Array:
        """States after ``dt``; the instant of excitation is where v, linear in time, crosses.

        Args:
            states: Shape (5, points).
            drive: Transmembrane potential at the end of the step (mV).
            stretch: Without effect.
            dt: Step (ms).
        """
        v, excitable, since, before, zeta = states
        excited = (excitable > 0) & (drive >= self.threshold)
        rise = np.where(drive > v, drive - v, 1.0)
        share = np.clip((drive - self.threshold) / rise, 0.0, 1.0)
        return np.stack([
            drive,
            np.where(excited, 0.0, np.where(drive < self.repolarised, 1.0, excitable)),
            np.where(excited, share * dt, since + dt),
            np.where(excited, since, before) + dt,
            zeta,
        ])  # fmt: skip

    def affine(self, states: Array, dt: float) -> tuple[Array, Array]:
        """Ta₀ and K (kPa): the tension is affine in ζ, and ζ by `distort` in the stretch."""
        Ta = self._isometric(states)
        keeps, gain = self._distortion(dt)
        return Ta * (1.0 + keeps * states[4]), Ta * gain

    def distort(self, states: Array, stretch_change: Array, dt: float) -> Array:
        """States after ζ followed a stretch that changes at a constant rate (exactly)."""
        keeps, gain = self._distortion(dt)
        return np.vstack([states[:4], keeps * states[4] + gain * stretch_change])

    def tension(self, states: Array, stretch: Array) -> Array:
        """Ta (kPa) of the given states at the stretch λ, shape (points,)."""
        return self.overlap(stretch) * self._isometric(states) * (1.0 + states[4])

    def _isometric(self, states: Array) -> Array:
        return np.maximum(self.curve(states[2]), self.curve(states[3]))

    def _distortion(self, dt: float) -> tuple[float, float]:
        """What a step leaves of ζ, and what a change of stretch by one adds to it."""
        decays = _DISTORTION * self.v_0 * dt
        return math.exp(-decays), _DISTORTION * -math.expm1(-decays) / decays
