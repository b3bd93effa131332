"""Cleaning of masks, with radii in mm whatever the shape of the voxels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.image.volume import Grid

type Mask = NDArray[np.bool_]


def depth(mask: Mask, grid: Grid) -> NDArray[np.float64]:
    """Distance of each voxel of a mask to the nearest voxel outside it (mm), 0 outside.

    What lies beyond the image counts as inside, so that a vessel that leaves the image is as deep
    at its end as before.
    """
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=grid.spacing))


def grown(mask: Mask, grid: Grid, radius: float) -> Mask:
    """Voxels at most a distance (mm) from a mask."""
    if not mask.any():
        return mask.copy()
    part = _around(mask, grid, radius)
    result = mask.copy()
    apart = ndimage.distance_transform_edt(~mask[part], sampling=grid.spacing)
    result[part] = np.asarray(apart) <= radius
    return result


def shrunk(mask: Mask, grid: Grid, radius: float) -> Mask:
    """Voxels of a mask farther than a distance (mm) from all voxels outside it."""
    return np.asarray(depth(mask, grid) > radius)


def opened(mask: Mask, grid: Grid, radius: float) -> Mask:
    """Union of the balls of a radius (mm) that fit into a mask: spikes and bridges are gone."""
    return grown(shrunk(mask, grid, radius), grid, radius) & mask


def closed(mask: Mask, grid: Grid, radius: float) -> Mask:
    """Complement of the balls of a radius (mm) that fit outside a mask: cracks are filled."""
    width = np.ceil(radius / grid.spacing).astype(int) + 1
    wide = np.pad(mask, [(int(n), int(n)) for n in width])
    inner = tuple(slice(int(n), -int(n)) for n in width)
    return np.asarray(shrunk(grown(wide, grid, radius), grid, radius)[inner]) | mask


def filled(mask: Mask, *, slices: int | None = None) -> Mask:
    """A mask without hollows.

    Args:
        mask: Voxels, shape (i, j, k).
        slices: Fill what is closed within the slices across this grid axis, for example a vessel
            wall that is open at the ends of the image; without it what is closed in space.
    """
    if slices is None:
        return np.asarray(ndimage.binary_fill_holes(mask))
    flat = np.moveaxis(ndimage.generate_binary_structure(2, 1)[None], 0, slices)
    return np.asarray(ndimage.binary_fill_holes(mask, structure=flat))


def parts(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Connected parts by faces, numbered from 1, and the voxels of each; entry 0 is 0."""
    numbers, count = ndimage.label(mask)
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    sizes[0] = 0
    return numbers, sizes


def largest(mask: Mask, count: int = 1) -> Mask:
    """The largest connected parts of a mask."""
    numbers, sizes = parts(mask)
    kept = np.zeros(len(sizes), bool)
    kept[np.argsort(-sizes, kind="stable")[:count]] = True
    return np.asarray((kept & (sizes > 0))[numbers])


def without_islands(mask: Mask, grid: Grid, volume: float) -> Mask:
    """A mask without its connected parts smaller than a volume (mm³)."""
    numbers, sizes = parts(mask)
    return np.asarray((sizes * grid.voxel_volume >= max(volume, 1e-12))[numbers])


def touching(mask: Mask, seeds: Mask) -> Mask:
    """The connected parts of a mask that hold a seed."""
    numbers, sizes = parts(mask)
    kept = np.zeros(len(sizes), bool)
    kept[np.unique(numbers[seeds])] = True
    kept[0] = False
    return np.asarray(kept[numbers])


def _around(mask: Mask, grid: Grid, margin: float) -> tuple[slice, ...]:
    """Box of a mask, wider by a margin (mm), within the image."""
    steps = np.ceil(margin / grid.spacing).astype(int) + 1
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        places = np.flatnonzero(mask.any(axis=others))
        low = max(int(places[0]) - int(steps[axis]), 0)
        box.append(slice(low, int(places[-1]) + int(steps[axis]) + 1))
    return tuple(box)
