"""Millimetres on the wall of the left ventricle, to place scars, isthmuses and lesions in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.anatomy.coordinates import LongAxis

Array = NDArray[np.float64]


@dataclass(frozen=True)
class WallChart:
    """Distances on the left ventricular wall from a point of it, the same in all its layers.

    Attributes:
        axis: Long axis.
        height: Of the point along the axis, 0 at the apex and 1 at the base.
        angle: Of the point about the axis (rad), see `LongAxis.angle`; π on the free wall.
    """

    axis: LongAxis
    height: float
    angle: float

    def along(self, x: Array) -> Array:
        """Distance towards the base (mm), shape (n,), of points ``x`` (n, 3) in mm."""
        return (self.axis.height(x) - self.height) * self.axis.length

    def about(self, x: Array) -> Array:
        """Length of the arc about the axis (mm), (n,), positive by growing angle."""
        r = x - self.axis.apex
        radius = np.hypot(r @ self.axis.front, r @ self.axis.septum)
        turn = np.exp(1j * (self.axis.angle(x) - self.angle))
        return np.asarray(radius * np.angle(turn))

    def in_ellipse(self, x: Array, along: float, about: float) -> NDArray[np.bool_]:
        """Whether points lie in the ellipse with these half axes (mm), (n,)."""
        return np.asarray((self.along(x) / along) ** 2 + (self.about(x) / about) ** 2 < 1.0)

    def in_strip(self, x: Array, along: float, about: float) -> NDArray[np.bool_]:
        """Whether points lie in the rectangle with these half edges (mm), (n,)."""
        return np.asarray((np.abs(self.along(x)) < along) & (np.abs(self.about(x)) < about))
