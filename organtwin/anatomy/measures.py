"""Numbers that show whether directions are sensible: angles to axes that no rule has seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organtwin.anatomy.coordinates import LongAxis
from organtwin.anatomy.pointwise import dot, unit

type Values = NDArray[np.float64]

#: Levels along a vessel whose middles make its axis.
LEVELS = 10


def local_axis(middles: Values, weights: Values, along: Values) -> Values:
    """Direction of a vessel's axis next to each cell, from the middles of levels.

    The middles of the cells of equal shares of ψ are joined by a line; its direction is that of the
    differences of neighbours.

    Args:
        middles: Middles of the cells (mm), shape (n, 3).
        weights: Their volumes, shape (n,).
        along: ψ, 0 at the inlet and 1 at the outlet, shape (n,).

    Returns:
        Unit vectors, (n, 3).
    """
    level = np.clip((along * LEVELS).astype(np.int64), 0, LEVELS - 1)
    total = np.bincount(level, weights, LEVELS)
    held = np.flatnonzero(total)
    centres = np.stack(
        [np.bincount(level, weights * column, LEVELS)[held] / total[held] for column in middles.T],
        axis=1,
    )
    if len(held) < 2:
        return np.zeros_like(middles)
    step = np.gradient(centres, axis=0)
    place = (held + 0.5) / LEVELS
    return unit(np.stack([np.interp(along, place, column) for column in step.T], axis=1))


def angle_to(directions: Values, axes: Values) -> Values:
    """Angle between lines (degrees), 0 to 90, shape (n,)."""
    cosine = np.abs(dot(directions, axes))
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, 0.0, 1.0))))


def helix_angle(directions: Values, middles: Values, axis: LongAxis) -> Values:
    """Angle of fibres to the circle about the long axis (degrees), −90 to 90, shape (n,).

    It is seen from outside, positive where the fibre climbs to the base anticlockwise seen from it.

    Args:
        directions: Fibres, their sense without meaning, shape (n, 3).
        middles: Where they are (mm), shape (n, 3).
        axis: Long axis.
    """
    outwards = middles - axis.apex
    outwards = unit(outwards - (outwards @ axis.direction)[:, None] * axis.direction)
    around = np.cross(axis.direction, outwards)
    rise, turn = directions @ axis.direction, dot(directions, around)
    return np.asarray(np.degrees(np.arctan2(rise * np.sign(turn), np.abs(turn))))


def mean_line_angle(angles: Values, weights: Values) -> float:
    """Mean of angles of lines (degrees), which are the same 180 degrees apart; NaN of none."""
    if not weights.sum() > 0.0:
        return float("nan")
    return float(0.5 * np.degrees(np.angle(np.sum(weights * np.exp(2j * np.radians(angles))))))
