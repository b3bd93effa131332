"""A wall over angle and way along a curved axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, CubicSpline

from organtwin.landmarks.fits import frame
from organtwin.landmarks.record import Plane
from organtwin.mesh.vectors import unit

type Vector = NDArray[np.float64]

#: Highest order of the Fourier series around the axis.
ORDER = 7
#: Step in which the wall is followed to a plane (mm).
FOLLOWED = 0.5
#: Step and greatest tilt of the wall against its axis by which its thickness is corrected.
DELTA, STEEP = 1e-3, 2.0


@dataclass(frozen=True)
class Axis:
    """A curve in space with directions across it.

    Attributes:
        curve: Points over the way along it (mm).
        first: Direction of angle 0, turned about the curve as little as possible.
    """

    curve: CubicSpline
    first: CubicSpline

    def at(self, way: Vector) -> Vector:
        """Points (LPS, mm), shape (n, 3)."""
        return np.asarray(self.curve(way))

    def axes(self, way: Vector) -> Vector:
        """Directions of angle 0, of 90° and along the curve, shape (n, 3, 3)."""
        along = unit(self.curve(way, 1))
        first = self.first(way)
        first = unit(first - np.einsum("ij,ij->i", first, along)[:, None] * along)
        return np.stack([first, np.cross(along, first), along], axis=1)


@dataclass(frozen=True)
class MeasuredWall:
    r"""A wall over angle and way along a curved axis.

    .. math::
        x = c(s) + \Big(r + d \sqrt{1 + r_s^2 + (r_\theta / r)^2}\Big)
            (\cos\theta\, e_1(s) + \sin\theta\, e_2(s)), \quad
        r = a_0(s) + \sum_{k=1}^{7} a_k(s) \cos k\theta + b_k(s) \sin k\theta

    so a depth d is across the wall to first order. All coefficients are cubic splines. Our choice.
    A wall that was moved outwards has r farther out by the same formula.

    Attributes:
        axis: Axis :math:`c` with the directions :math:`e_1, e_2` across it.
        series: Coefficients :math:`a_0, a_1, b_1, …` (mm).
        low: Least way along the axis (mm); 0 is where it passes the annulus.
        high: Largest one (mm).
        notes: What was carried on without being seen, one sentence each.
        outwards: How far it was moved out of the blood, along its normal (mm).
    """

    axis: Axis
    series: BSpline
    low: float
    high: float
    notes: tuple[str, ...] = ()
    outwards: float = 0.0

    def radius(self, angle: Vector, way: Vector) -> Vector:
        """Distance of the wall from the axis (mm), shape (n,)."""
        if not self.outwards:
            return self._seen(angle, way)
        return self._seen(angle, way) + self.outwards * _tilt(self._seen, angle, way)

    def _seen(self, angle: Vector, way: Vector) -> Vector:
        """The same where it was seen."""
        return np.asarray(np.einsum("ij,ij->i", terms(angle), self.series(way)))

    def place(self, angle: Vector, way: Vector, depth: float = 0.0) -> Vector:
        """Points ``depth`` mm into the wall (LPS, mm), shape (n, 3)."""
        angle, way = np.broadcast_arrays(np.asarray(angle, float), np.asarray(way, float))
        far = self.radius(angle, way)
        if depth:
            far = far + depth * _tilt(self.radius, angle, way)
        first, second, _ = self.axis.axes(way).transpose(1, 0, 2)
        out = np.cos(angle)[:, None] * first + np.sin(angle)[:, None] * second
        return np.asarray(self.axis.at(way) + far[:, None] * out)

    def meets(self, turns: Vector, plane: Plane) -> Vector:
        """Way along the axis at which the wall first lies above a plane (mm), shape (n,)."""
        ways = np.arange(self.low, self.high + FOLLOWED, FOLLOWED)
        found = []
        for turn in turns:
            over = plane.height(self.place(np.full(len(ways), turn), ways))
            first = int(np.argmax(over > 0.0)) if over.max() > 0.0 else len(ways) - 1
            last = max(first - 1, 0)
            found.append(float(np.interp(0.0, over[[last, first]], ways[[last, first]])))
        return np.array(found)

    def area(self, plane: Plane) -> float:
        """Area of its section by a plane across it (mm²)."""
        turns = np.linspace(0.0, 2.0 * np.pi, 180, endpoint=False)
        axes = frame(plane.normal)
        ends = (self.place(turns, self.meets(turns, plane)) - plane.centre) @ axes[:2].T
        after = np.roll(ends, -1, axis=0)
        return 0.5 * float(abs(np.sum(ends[:, 0] * after[:, 1] - ends[:, 1] * after[:, 0])))

    def locate(self, points: Vector) -> tuple[Vector, Vector, Vector]:
        """Angle, way along the axis and distance from it of points, each (n,); NaN beyond it."""
        ways = np.arange(self.low, self.high, 0.25)
        centres, along = self.axis.at(ways), self.axis.axes(ways)[:, 2]
        over = points @ along.T - np.einsum("ij,ij->i", centres, along)  # (n, ways)
        far = np.linalg.norm(points[:, None] - centres, axis=2)
        cut = (over[:, :-1] >= 0.0) & (over[:, 1:] < 0.0)
        best = np.argmin(np.where(cut, far[:, :-1], np.inf), axis=1)
        rows = np.arange(len(points))
        fall = over[rows, best] - over[rows, best + 1]
        share = over[rows, best] / np.where(fall > 0.0, fall, 1.0)
        way = ways[best] + share * 0.25
        local = np.einsum("nij,nj->ni", self.axis.axes(way), points - self.axis.at(way))
        seen = cut.any(axis=1)
        found = np.arctan2(local[:, 1], local[:, 0]), way, np.hypot(local[:, 0], local[:, 1])
        return tuple(np.where(seen, one, np.nan) for one in found)  # type: ignore[return-value]


def _tilt(radius: Callable[[Vector, Vector], Vector], angle: Vector, way: Vector) -> Vector:
    """How much longer a step along the radius is than one across the wall, shape (n,)."""
    rise = radius(angle, way + DELTA) - radius(angle, way - DELTA)
    swell = (radius(angle + DELTA, way) - radius(angle - DELTA, way)) / radius(angle, way)
    tilt = np.sqrt(1.0 + (rise**2 + swell**2) / (2.0 * DELTA) ** 2)
    return np.minimum(tilt, STEEP)


def terms(angle: Vector) -> Vector:
    """Terms of a Fourier series at angles, (n, 15)."""
    turns = np.asarray(angle)[:, None] * np.arange(1, ORDER + 1)
    both = np.stack([np.cos(turns), np.sin(turns)], axis=2).reshape(len(turns), -1)
    return np.concatenate([np.ones((len(both), 1)), both], axis=1)
