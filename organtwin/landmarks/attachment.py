"""The lower border of a sinus: where its wall bends into the outflow tract, over some angle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.landmarks.knees import soft_ramp

type Vector = NDArray[np.float64]

#: Half of the sector around a sinus' middle that is looked at (degrees).
SECTOR = 27.0
#: Length of wall below the bend (mm) and share of the bulge above it that are taken for straight.
TRACT, FLANK = 8.0, 0.75
#: How far from a first look the bend is sought (mm), in which steps (mm).
REACH, STEP = 5.0, 0.125
#: How much the border may rise from its lowest point towards the sides: height over squared angle
#: (mm/rad²). A commissure 16 mm up and 60° off makes 15 of it.
RISES = np.array([0.0, 5.0, 10.0, 15.0, 20.0, 25.0])
#: Heights over a first fit of the bend between which the leaflet, where it leaves the wall, fills
#: the corner: they are left out of the second (mm).
CORNER = (-0.8, 1.0)
#: Places at which the lowest one is sought; a rise that is none (mm/rad).
PLACES, LEVEL = 121, 1e-6
#: Fewest independent samples for each unknown.
ENOUGH = 2.0


@dataclass(frozen=True)
class Attachment:
    r"""Curve along which a leaflet leaves the wall of a sinus, around its middle.

    .. math:: h = h_0 + m \theta + k \theta^2, \qquad r = r_0 + r_1 \theta + r_2 \theta^2

    Attributes:
        heights: :math:`h_0, m, k` (mm, mm/rad, mm/rad²), shape (3,).
        radii: :math:`r_0, r_1, r_2` (mm, mm/rad, mm/rad²), shape (3,).
        ends: Least and largest angle off the middle at which it was seen (radians).
        residual: Root mean square distance of what it goes through (mm).
        uncertainty: Standard error of its height (mm).
        darkness: Of the leaflet in the blood, as a share of the contrast; 0 where the wall's bend
            is all that was seen.
        middle: Direction of :math:`\theta = 0` (radians).
    """

    heights: Vector
    radii: Vector
    ends: tuple[float, float]
    residual: float
    uncertainty: float
    darkness: float = 0.0
    middle: float = 0.0

    @property
    def lowest(self) -> float:
        """Angle off the middle at which it is lowest, as far as it was seen (radians)."""
        off = np.linspace(*self.ends, PLACES)
        return float(min(off, key=lambda turn: self.at(turn)[0] + LEVEL * abs(turn)))

    def at(self, off: float) -> tuple[float, float]:
        """Height and radius at an angle off the middle (mm)."""
        powers = np.array([1.0, off, off**2])
        return float(powers @ self.heights), float(powers @ self.radii)


def attachment(
    heights: Vector, off: Vector, radii: Vector, first: float, voxel: float, soft: float
) -> Attachment | None:
    r"""The bend of a wall along a curve, from all samples around the middle of a sinus at once.

    .. math::
        r(\theta, h) = a_0 + a_1 \theta + a_2 \theta^2 + b h
            + (c_0 + c_1 \theta + c_2 \theta^2) \, R(x), \quad
        x = h - h_0 - k \theta^2

    with the ramp :math:`R` of an edge that is as soft as voxels make it. :math:`h_0` and :math:`k`
    are those of the least squares. A second fit leaves out the corner, which the leaflet fills:
    the bend is where both sides would meet without it.

    Args:
        heights: Heights of the samples (mm), rising, shape (n,).
        off: Angles from the middle (radians), shape (m,).
        radii: Radii (mm), NaN where none is seen, shape (n, m).
        first: Height of the bend as a first look gives it (mm).
        voxel: Voxel size (mm).
        soft: Standard deviation of the blur of edges (mm).

    Returns:
        The border; nothing where too little of it was seen or nothing bends.
    """
    taken = _taken(heights, radii, first)
    found = _fitted(heights, off, radii, taken, first, voxel, soft)
    if found is None:
        return None
    corner = heights[:, None] - np.vander(off, 3, increasing=True) @ found.heights
    clear = taken & ~((corner > CORNER[0]) & (corner < CORNER[1]))
    return _fitted(heights, off, radii, clear, float(found.heights[0]), voxel, soft) or found


def _fitted(
    heights: Vector, off: Vector, radii: Vector, taken: NDArray[np.bool_], first: float,
    voxel: float, soft: float,
) -> Attachment | None:  # fmt: skip
    """The least squares over the samples that are taken."""
    rows, columns = np.nonzero(taken)
    h, turn, r = heights[rows], off[columns], radii[rows, columns]
    width = float(np.abs(off[1] - off[0])) * float(np.mean(r)) if len(r) else 0.0
    share = min(float(heights[1] - heights[0]) * width / voxel**2, 1.0)
    if share * len(r) < ENOUGH * 9:
        return None
    tried = np.arange(max(first - REACH, h.min() + 1.0), min(first + REACH, h.max() - 1.0), STEP)
    if len(tried) < 3:
        return None
    squares = np.full((len(RISES), len(tried)), np.inf)
    terms = np.zeros((len(RISES), len(tried), 7))
    for k, rise in enumerate(RISES):
        squares[k], terms[k] = _fits(h, turn, r, tried, rise, soft)
    chosen, best = np.unravel_index(int(np.argmin(squares)), squares.shape)
    solved = terms[chosen, best]
    if not 0 < best < len(tried) - 1 or solved[4] <= 0.0:
        return None
    least = squares.min(axis=0)  # over the rises: their doubt is part of the height's
    curved = (least[best - 1] - 2.0 * least[best] + least[best + 1]) / STEP**2
    variance = least[best] / (len(r) * share)
    error = np.sqrt(2.0 * variance / curved) if curved > 0.0 else REACH
    rise = float(RISES[chosen])
    lift = np.array([tried[best] - 0.5 * (tried[0] + tried[-1]), 0.0, rise])
    return Attachment(
        np.array([tried[best], 0.0, rise]),
        solved[:3] + solved[3] * lift,
        (float(off.min()), float(off.max())),
        float(np.sqrt(least[best] / len(r))),
        float(min(error, REACH)),
    )


def _taken(heights: Vector, radii: Vector, first: float) -> NDArray[np.bool_]:
    """Samples from somewhat below the bend up to the flank of each column's bulge."""
    near = (heights > first - TRACT) & (heights < first + 3.0 * TRACT)
    low = np.nanmin(np.where(near[:, None], radii, np.nan), axis=0, initial=np.inf)
    top = np.argmax(np.where(near[:, None] & np.isfinite(radii), radii, -np.inf), axis=0)
    high = radii[top, np.arange(radii.shape[1])]
    rising = np.arange(len(heights))[:, None] <= top
    flank = radii <= low + FLANK * (high - low)
    return np.asarray(near[:, None] & rising & flank & np.isfinite(radii))


def _fits(
    h: Vector, turn: Vector, r: Vector, tried: Vector, rise: float, soft: float
) -> tuple[Vector, Vector]:
    """Squared residuals (k,) and terms (k, 7) for each height of the bend that is tried."""
    x = h - tried[:, None] - rise * turn**2
    ramp = soft_ramp(x, soft)
    one = np.ones_like(x)
    straight = (one, one * turn, one * turn**2, one * (h - 0.5 * (tried[0] + tried[-1])))
    matrix = np.stack([*straight, ramp, ramp * turn, ramp * turn**2], axis=2)
    transposed = matrix.transpose(0, 2, 1)
    normal = transposed @ matrix + 1e-9 * len(h) * np.eye(7)
    solved = np.linalg.solve(normal, (transposed @ r)[..., None])
    squares = np.sum((matrix @ solved - r[:, None]) ** 2, axis=(1, 2))
    return squares, solved[..., 0]
