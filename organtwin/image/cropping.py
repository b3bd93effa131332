"""The part of an image around some points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organtwin.image.volume import Grid, Image


def cropped(image: Image, points: NDArray[np.float64], margin: float) -> Image:
    """The voxels around points, as a view of the image.

    Args:
        image: The whole.
        points: Places (mm, LPS), shape (n, 3).
        margin: Room around them (mm).

    Returns:
        The part in the box of the points, along the grid's axes; at least one voxel.
    """
    grid = image.grid
    index = grid.index(points)
    room = margin / grid.spacing
    last = np.array(grid.shape) - 1
    low = np.clip(np.floor(index.min(axis=0) - room), 0, last).astype(int)
    high = np.clip(np.ceil(index.max(axis=0) + room), low, last).astype(int) + 1
    values = image.values[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    shape = (values.shape[0], values.shape[1], values.shape[2])
    return Image(
        values, Grid(shape, grid.spacing, grid.points(low), grid.direction), image.quantity
    )
