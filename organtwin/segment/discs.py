"""Round cross-sections in the slices of an upright image, and chains of them: vertical vessels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed as flood

from organtwin.image.volume import Grid
from organtwin.segment.morphology import Mask

#: Neighbours within a slice across the third axis.
FLAT = np.zeros((3, 3, 3), bool)
FLAT[:, 1, 1] = FLAT[1, :, 1] = True


@dataclass(frozen=True)
class Chain:
    """A vessel that is round in successive axial slices.

    Attributes:
        mask: Inner half of its cross-sections.
        centre: Centre (mm), shape (3,).
        radius: Mean radius of the largest disc in its cross-sections (mm).
        spread: Standard deviation of that radius along the height (mm); that of a ball is large.
        lowest: Lowest height along the third axis (mm).
        highest: Highest height (mm).
    """

    mask: Mask
    centre: NDArray[np.float64]
    radius: float
    spread: float
    lowest: float
    highest: float

    @property
    def length(self) -> float:
        """Height (mm)."""
        return self.highest - self.lowest


def flat_depth(mask: Mask, grid: Grid) -> NDArray[np.float64]:
    """Distance to the nearest voxel outside a mask in the same slice (mm)."""
    far = 1e3 * float(grid.spacing.max()) * max(grid.shape)
    sampling = (float(grid.spacing[0]), float(grid.spacing[1]), far)
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=sampling))


def round_chains(
    mask: Mask, grid: Grid, *, radii: tuple[float, float], roundness: float, shortest: float
) -> list[Chain]:
    """Vessels that are round in axial slices, the longest first.

    Each slice is divided at its necks; of the pieces those are kept whose largest disc has a
    radius in the given range and fills a given part of the piece; inner halves of discs that
    overlap in successive slices make a chain.

    Args:
        mask: Voxels of blood.
        grid: Where they lie; the third axis points upwards.
        radii: Smallest and largest radius (mm).
        roundness: Least area of the largest disc divided by that of the piece.
        shortest: Least height of a chain (mm).
    """
    deep = flat_depth(mask, grid)
    pieces = _pieces(deep, mask, grid, radii[0])
    every = np.arange(int(pieces.max()) + 1)
    area = np.bincount(pieces.ravel(), minlength=len(every)) * float(np.prod(grid.spacing[:2]))
    radius = np.zeros(len(every))
    if len(every) > 1:
        radius[1:] = ndimage.maximum(deep, pieces, every[1:])
    is_round = (radius >= radii[0]) & (radius <= radii[1])
    is_round &= np.pi * radius**2 >= roundness * np.maximum(area, 1e-9)
    is_round[0] = False
    cores = is_round[pieces] & (deep >= 0.5 * radius[pieces])
    numbers, count = ndimage.label(cores)
    chains = [
        _chain(numbers == n, box, radius[pieces], grid)
        for n, box in zip(range(1, count + 1), ndimage.find_objects(numbers), strict=True)
        if (box[2].stop - box[2].start) * grid.spacing[2] >= shortest
    ]
    return sorted(chains, key=lambda chain: -chain.length)


def _pieces(deep: NDArray[np.float64], mask: Mask, grid: Grid, apart: float) -> NDArray[np.int32]:
    """Slices divided at their necks, with one number for each piece of each slice."""
    soft = ndimage.gaussian_filter(deep, (0.7, 0.7, 0.0))
    width = [2 * max(round(apart / float(length)), 1) + 1 for length in grid.spacing[:2]]
    tops = (soft == ndimage.maximum_filter(soft, size=(*width, 1))) & (deep > 0.0)
    touching = np.zeros((3, 3, 3), bool)
    touching[:, :, 1] = True
    seeds = ndimage.label(tops, touching)[0]
    found = flood(-soft, seeds, connectivity=FLAT, mask=mask)  # type: ignore[no-untyped-call]
    return np.asarray(found, dtype=np.int32)


def _chain(mask: Mask, box: tuple[slice, ...], radius: NDArray[np.float64], grid: Grid) -> Chain:
    index = np.argwhere(mask)
    heights = np.array([box[2].start, box[2].stop - 1]) * grid.spacing[2]
    along = np.array([radius[:, :, k][mask[:, :, k]].mean() for k in np.unique(index[:, 2])])
    return Chain(
        mask=mask,
        centre=grid.points(index).mean(axis=0),
        radius=float(along.mean()),
        spread=float(along.std()),
        lowest=float(heights[0]),
        highest=float(heights[1]),
    )
