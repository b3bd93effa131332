"""Balloons: a compliance chart, and the surface that it makes in a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.cylinder import Cylinder
from organtwin.devices.meridian import revolved
from organtwin.errors import InputError

Array = NDArray[np.float64]

#: One atmosphere in kPa, the unit of compliance charts.
ATMOSPHERE = 101.325
#: Part of a cap's height that is felt; the last bit up to the tip is nearly flat.
TIP = 0.95


@dataclass(frozen=True)
class Balloon:
    """A balloon by its compliance chart: a cylinder with two caps of half an ellipsoid.

        V = π D²/4 (L + 4/3 s)

    The chart gives the diameter of the free balloon at a pressure, straight between its pairs.
    Below its first diameter the balloon is folded and has no pressure; above it the wall carries
    the chart's pressure, and what is more acts on the frame. Fluid and catheter are stiff: our
    choice.

    Attributes:
        chart: Pairs of pressure (kPa) and diameter (mm), the first at no pressure, both rising.
        nominal_pressure: At which the free balloon has its nominal diameter (kPa).
        rated_burst: Pressure that must not be exceeded (kPa), within the chart.
        length: L of the cylinder (mm).
        shoulder: s, height of a cap (mm).
    """

    chart: tuple[tuple[float, float], ...]
    nominal_pressure: float
    rated_burst: float
    length: float
    shoulder: float

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise InputError("Balloon", problem, "See docs/devices.md.")

    def _problem(self) -> str:
        if len(self.chart) < 2 or self.chart[0][0] != 0 or self.chart[0][1] <= 0:
            return "the chart needs two pairs or more, the first with a diameter at no pressure."
        if any(p >= q or d >= e for (p, d), (q, e) in pairwise(self.chart)):
            return "pressures and diameters of the chart must rise."
        if not 0 < self.nominal_pressure <= self.rated_burst <= self.chart[-1][0]:
            return "the nominal pressure is above the rated burst pressure, or that off the chart."
        if self.length <= 0 or self.shoulder <= 0:
            return "length and shoulder must be > 0."
        return ""

    @property
    def nominal_volume(self) -> float:
        """Volume (mm³) of the free balloon at its nominal pressure."""
        return self.volume(self.diameter(self.nominal_pressure))

    @property
    def largest_volume(self) -> float:
        """Volume (mm³) of the free balloon at its rated burst pressure."""
        return self.volume(self.diameter(self.rated_burst))

    def diameter(self, pressure: float) -> float:
        """Diameter (mm) of the free balloon at a pressure (kPa).

        Raises:
            InputError: the pressure is negative, or beyond the rated burst pressure.
        """
        if not 0 <= pressure <= self.rated_burst:
            raise InputError(
                "Balloon", f"a pressure of {pressure / ATMOSPHERE:.2f} atm.",
                f"Stay between 0 and the rated burst pressure of "
                f"{self.rated_burst / ATMOSPHERE:.2f} atm.",
            )  # fmt: skip
        p, d = np.array(self.chart).T
        return float(np.interp(pressure, p, d))

    def pressure(self, diameter: Array) -> Array:
        """Pressure (kPa) that the wall carries at diameters (mm): 0 while folded.

        Beyond the chart it goes on straight.
        """
        p, d = np.array(self.chart).T
        slope = (p[-1] - p[-2]) / (d[-1] - d[-2])
        beyond = slope * np.maximum(diameter - d[-1], 0.0)
        return np.asarray(np.interp(diameter, d, p) + beyond)

    def volume(self, diameter: float) -> float:
        """V (mm³) at a diameter (mm)."""
        return 0.25 * math.pi * diameter**2 * (self.length + 4 / 3 * self.shoulder)

    def diameter_of(self, volume: float) -> float:
        """Diameter (mm) at a volume (mm³)."""
        return math.sqrt(4 * volume / (math.pi * (self.length + 4 / 3 * self.shoulder)))

    def pressure_in(self, diameter: Array, force: Array) -> Array:
        """Pressure (kPa) of the fluid, by the balance of virtual work p dV = p_wall dV + f dr.

        Args:
            diameter: Of the balloon (mm).
            force: f, sum of the radial forces on the frame (mN), as `BalloonSurface.force` has it.
        """
        by_radius = math.pi * diameter * (self.length + 4 / 3 * self.shoulder)
        return np.asarray(self.pressure(diameter) + force / by_radius)


@dataclass
class BalloonSurface(Cylinder):
    """Surface of a balloon about the z-axis, within a frame.

        R(z) = r √(1 − t²),   t = max(0, |z − c| − L/2)/s

    Axes of struts stay half a strut's depth d away, on the meridian with r + d and s + d.

    Attributes:
        balloon: Its lengths.
        centre: c (mm).
    """

    around: bool = field(init=False, default=False)
    balloon: Balloon = field(kw_only=True)
    centre: float = 0.0

    def gap(self, x: Array) -> tuple[Array, Array, Array]:
        """Penetration of the struts' inner side, and the outward direction."""
        root, first, second = self._cap(x[:, 2])
        R = np.where(root > 0, (self.radius + self.strut.half_depth) * root, -1e3)
        wide = np.where(root > 0, self.radius + self.strut.half_depth, 0.0)
        return revolved(x, R, wide * first, wide * second, around=False)

    def force(self, x: Array) -> float:
        """Force (mN) that does work with r: the sum of the radial forces, on the caps times R/r."""
        f, e = self.pressing(x)
        rho = np.maximum(np.hypot(x[:, 0], x[:, 1]), 1e-9)
        radial = np.einsum("ni,ni->n", e[:, :2], x[:, :2]) / rho
        return float(np.sum(f * radial * self._cap(x[:, 2])[0]))

    def _cap(self, z: Array) -> tuple[Array, Array, Array]:
        """√(1 − t²) for the axes of struts and its derivatives by z; 0 at the tips and beyond."""
        s = self.balloon.shoulder + self.strut.half_depth
        off = z - self.centre
        t = np.maximum(np.abs(off) - 0.5 * self.balloon.length, 0.0) / s
        inside = t < TIP
        root = np.sqrt(1 - np.minimum(t, TIP) ** 2)
        first = -t / root / s * np.sign(off)
        second = np.where(t > 0, -1 / root**3 / s**2, 0.0)
        return np.where(inside, root, 0.0), first, second
