"""Sections of a root parallel to its annulus, and where between them a point lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.aortic_root.outline import Outline

type Vector = NDArray[np.float64]

#: Share of the angle between two hinge points, from either, in which no commissure lies.
NEAR_HINGE = 0.2


@dataclass(frozen=True)
class RootFrame:
    """Cylinder coordinates of a root.

    Attributes:
        origin: Middle of the annulus (LPS, mm), shape (3,).
        axes: Rows are the directions of angle 0 (towards the right cusp), of 90° and upwards,
            across the annulus, shape (3, 3).
        commissures: Directions of the commissures right–left, left–non, non–right (radians),
            rising, shape (3,).
        mirrored: Whether the cusps follow clockwise, seen from the aorta.
    """

    origin: Vector
    axes: Vector
    commissures: Vector
    mirrored: bool = False

    def coordinates(self, points: Vector) -> tuple[Vector, Vector, Vector]:
        """Distances along both axes of the annulus and height over it (mm), each (n,)."""
        x, y, z = ((points - self.origin) @ self.axes.T).T
        return x, y, z

    def cusp(self, turn: Vector) -> NDArray[np.int64]:
        """Number (right 0, left 1, non-coronary 2) of the cusp in directions (radians)."""
        sector = np.searchsorted(self.commissures, np.asarray(turn) % (2.0 * np.pi)) % 3
        order = np.array([0, 2, 1] if self.mirrored else [0, 1, 2])
        return np.asarray(order[sector])


def frame_of(origin: Vector, axes: Vector, hinges: Vector, sinuses: Outline | None) -> RootFrame:
    """Cylinder coordinates whose cusps are parted where the wall of the sinuses is nearest.

    Between two hinge points the commissure lies where the outline of the sinuses is nearest to its
    middle, or half-way where no outline is known.

    Args:
        origin: Middle of the annulus (mm), shape (3,).
        axes: Its axes, the first towards the right hinge point, shape (3, 3).
        hinges: Hinge points: right, left, non-coronary (mm), shape (3, 3).
        sinuses: Outline in the sinuses.
    """
    x, y, _ = ((hinges - origin) @ axes.T).T
    turns = np.arctan2(y, x) % (2.0 * np.pi)
    rest = (turns[1:] - turns[0]) % (2.0 * np.pi)
    mirrored = bool(rest[0] > rest[1])
    ends = turns[0] + np.array([0.0, *np.sort(rest), 2.0 * np.pi])
    borders = np.array([_border(ends[k : k + 2], sinuses, origin, axes) for k in range(3)])
    # The first hinge point lies at angle 0, so its cusp is that before the first commissure.
    return RootFrame(origin, axes, np.sort(borders % (2.0 * np.pi)), mirrored)


def _border(ends: Vector, sinuses: Outline | None, origin: Vector, axes: Vector) -> float:
    """Direction between two others in which the outline is nearest to its middle (radians)."""
    first, last = float(ends[0]), float(ends[1])
    if sinuses is None:
        return 0.5 * (first + last)
    pad = NEAR_HINGE * (last - first)
    ask = np.linspace(first + pad, last - pad, 61)
    best = float(ask[np.argmin(sinuses.radius(ask))])
    # The outline's middle is not the annulus'; the direction is wanted from the latter.
    at = sinuses.centre + float(sinuses.radius(np.array([best]))[0]) * (
        np.cos(best) * sinuses.axes[0] + np.sin(best) * sinuses.axes[1]
    )
    x, y, _ = axes @ (at - origin)
    own = float(np.arctan2(y, x))
    return best + (own - best + np.pi) % (2.0 * np.pi) - np.pi


@dataclass(frozen=True)
class Levels:
    """Outlines over the height.

    Attributes:
        heights: Heights over the annulus (mm), rising, shape (n,).
        outlines: The outlines there, all with the same axes.
    """

    heights: Vector
    outlines: Sequence[Outline]

    def middle(self, height: Vector | float, frame: RootFrame) -> tuple[Vector, Vector]:
        """Centroid of the section at heights over the annulus, along both of its axes (mm)."""
        middles = np.array([frame.axes @ (one.centroid - frame.origin) for one in self.outlines])
        x, y = (np.asarray(np.interp(height, self.heights, middles[:, k])) for k in (0, 1))
        return x, y

    def beyond(self, points: Vector, frame: RootFrame) -> Vector:
        """Distance of points outside of the wall (mm), negative inside, NaN beside the levels."""
        x, y, height = frame.coordinates(points)
        cx, cy = self.middle(height, frame)
        far, turn = np.hypot(x - cx, y - cy), np.arctan2(y - cy, x - cx)
        radii = np.array([one.radius(turn) for one in self.outlines])  # (levels, n)
        last = len(self.heights) - 2
        below = np.clip(np.searchsorted(self.heights, height) - 1, 0, max(last, 0))
        low, high = self.heights[below], self.heights[below + 1]
        share = np.clip((height - low) / (high - low), 0.0, 1.0)
        index = np.arange(len(height))
        wall = (1.0 - share) * radii[below, index] + share * radii[below + 1, index]
        inside = (height >= self.heights[0]) & (height <= self.heights[-1])
        return np.where(inside, far - wall, np.nan)
