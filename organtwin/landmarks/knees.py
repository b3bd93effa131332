"""Where a profile bends: one straight line up to a place, another beyond."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

type Vector = NDArray[np.float64]

#: How much of a bulge's flank belongs to the bend: beyond, its round top would bias the lines.
FLANK = 0.6
#: Fewest samples on either side, and places that are tried in each interval.
LEAST, FINER = 3, 4


@dataclass(frozen=True)
class Knee:
    """A bend.

    Attributes:
        place: Where it is.
        rise: Height of the bulge over the profile at the bend.
        turn: Change of slope.
        residual: Root mean square distance of the samples from both lines.
        beyond: Length of the profile seen beyond the bend, away from the bulge.
    """

    place: float
    rise: float
    turn: float
    residual: float
    beyond: float


def knee(places: Vector, values: Vector, soft: float = 0.0) -> Knee | None:
    r"""The bend between the flank of a bulge and what follows, by two straight lines that meet.

    .. math:: v(x) = a + b\,x + c\,\max(x - x_0, 0)

    with :math:`x_0` where the squared residual is least.

    Args:
        places: Places from the top of the bulge on, rising or falling, shape (n,).
        values: Values there, shape (n,); the profile ends where one is no number.
        soft: Standard deviation of a blur that the profile has gone through, which
            :math:`\max` gets too; unit of the places.

    Returns:
        The bend; nothing if there are too few samples.
    """
    end = int(np.argmax(np.isnan(values))) if np.isnan(values).any() else len(values)
    if end < 2 * LEAST:
        return None
    x, v = np.abs(places[:end] - places[0]), values[:end]
    low = float(v.min())
    start = int(np.argmax(v <= low + FLANK * (v[0] - low)))
    x, v = x[start:], v[start:]
    if len(x) < 2 * LEAST:
        return None
    tried = np.linspace(x[LEAST - 1], x[-LEAST], FINER * (len(x) - 2 * LEAST + 1) + 1)
    solved, squares = _two_lines(x, v, tried, soft)
    place = int(np.argmin(squares))
    best, terms, square = float(tried[place]), solved[place], float(squares[place])
    at = float(terms[0] + terms[1] * best)
    sign = 1.0 if places[-1] > places[0] else -1.0
    return Knee(
        float(places[0] + sign * best),
        float(values[0]) - at,
        float(terms[2]),
        float(np.sqrt(square / len(x))),
        float(x[-1] - best),
    )


def _two_lines(x: Vector, v: Vector, tried: Vector, soft: float) -> tuple[Vector, Vector]:
    """Terms (m, 3) and squared residuals (m,) of the least squares fit for each place tried."""
    ones = np.ones((len(tried), len(x)))
    matrix = np.stack([ones, ones * x, soft_ramp(x - tried[:, None], soft)], axis=2)
    product = matrix.transpose(0, 2, 1) @ matrix
    solved = np.linalg.solve(product, (matrix.transpose(0, 2, 1) @ v)[..., None])
    squares = np.sum((matrix @ solved - v[:, None]) ** 2, axis=(1, 2))
    return solved[..., 0], squares


def soft_ramp(x: Vector, soft: float) -> Vector:
    """Convolution of max(x, 0) with a Gaussian of standard deviation ``soft``."""
    if soft <= 0.0:
        return np.maximum(x, 0.0)
    inside = 0.5 * (1.0 + erf(x / (np.sqrt(2.0) * soft)))
    return np.asarray(x * inside + soft / np.sqrt(2.0 * np.pi) * np.exp(-0.5 * (x / soft) ** 2))
