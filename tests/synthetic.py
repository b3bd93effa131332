"""Label map of a heart of two truncated ellipsoids, on any grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organtwin.image.volume import LabelMap

#: Names and integers as in a whole-heart label map.
NAMES = {"lv_myocardium": 1, "left_atrium": 2, "lv_blood": 3, "right_atrium": 4, "rv_blood": 5}


def inside(
    x: NDArray[np.float64], centre: tuple[float, float, float], axes: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """Whether points are inside an ellipsoid."""
    return np.asarray((((x - centre) / axes) ** 2).sum(axis=-1) < 1.0)


def two_ellipsoids(
    spacing: tuple[float, float, float] = (1.5, 1.5, 1.5),
    direction: NDArray[np.float64] | None = None,
) -> LabelMap:
    """Ventricles with the valves at z = 15 mm and atria above, z towards the base, LPS mm.

    Whatever spacing and direction of the grid, the anatomy lies at the same place in space.
    """
    axes = np.eye(3) if direction is None else direction
    step = np.array(spacing)
    centre = np.array([10.0, 0.0, -8.0])
    count = np.ceil(np.array([132.0, 132.0, 132.0]) / step).astype(int)
    origin = centre - axes @ (step * (count - 1) / 2)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in count], indexing="ij"), axis=-1)
    x = origin + (index * step) @ axes.T
    z = x[..., 2]
    values = np.zeros(count, np.uint8)
    values[inside(x, (24, 0, 0), (30, 27, 45)) & (z < 15)] = NAMES["rv_blood"]
    values[inside(x, (26, 0, 22), (20, 20, 18)) & (z >= 15)] = NAMES["right_atrium"]
    values[inside(x, (0, 0, 0), (30, 30, 55)) & (z < 15)] = NAMES["lv_myocardium"]
    values[inside(x, (0, 0, 0), (20, 20, 45)) & (z < 15)] = NAMES["lv_blood"]
    values[inside(x, (-3, 0, 22), (21, 20, 18)) & (z >= 15)] = NAMES["left_atrium"]
    return LabelMap(values, dict(NAMES), step, origin, axes)
