"""Voxels at the surface of a bone hold part of what is around it: taking that part out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image
from organtwin.mesh.closest import distances
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.voxelising import inside

type Array = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: A voxel of less bone than this is not asked what its bone is like; it takes that of its
#: neighbours. Noise grows by the inverse of it.
LEAST_SHARE = 0.5
#: A voxel of less bone than this tells what is around the bone.
OUTSIDE = 0.02
#: Radius within which the surroundings are averaged (mm).
AROUND = 3.0
#: Largest value of bone (HU).
DENSEST = 2000.0


def total_blur(blur: float, grid: Grid) -> float:
    """Standard deviation (mm) of the whole way from tissue to a voxel: point spread and box.

    A box of width h has the variance h²/12; of an oblong voxel the mean of its axes is taken.
    """
    return float(np.sqrt(blur**2 + (grid.spacing**2).mean() / 12.0))


def share_of_mask(mask: Mask, grid: Grid, blur: float) -> Array:
    """Share of bone in what each voxel shows, from labelled voxels.

    Args:
        mask: Voxels of the bone with its marrow.
        grid: Where they lie.
        blur: Standard deviation of the scanner's point spread (mm).
    """
    sigma = (blur / grid.spacing).tolist()
    return np.asarray(ndimage.gaussian_filter(mask.astype(np.float64), sigma))


def share_of_surface(surface: TriangleSurface, grid: Grid, blur: float) -> Array:
    """Share of bone in what each voxel shows, from a closed surface: half a voxel counts.

    ½ (1 + erf(d / (√2 σ))) of the depth d under the surface, σ of `total_blur`: exact for a flat
    surface.

    Args:
        surface: Of the bone (mm, LPS), closed.
        grid: Voxels of the image.
        blur: Standard deviation of the scanner's point spread (mm).
    """
    sigma = total_blur(blur, grid)
    # In the image's own axes, which may be oblique or mirrored.
    own = replace(surface, points=grid.index(surface.points))
    within = inside(own, Grid(grid.shape, np.ones(3), np.zeros(3), np.eye(3)))
    share = within.astype(np.float64)
    reach = 4.0 * sigma + float(np.linalg.norm(grid.spacing))
    sampling = grid.spacing.tolist()
    near = ndimage.distance_transform_edt(within, sampling=sampling) <= reach
    near &= ndimage.distance_transform_edt(~within, sampling=sampling) <= reach
    places = grid.points(np.argwhere(near))
    away = distances(places, surface.points, surface.triangles)
    depth = np.where(within[near], away, -away)
    share[near] = 0.5 * (1.0 + special.erf(depth / (np.sqrt(2.0) * sigma)))
    return share


def without_partial_volume(image: Image, share: Array, *, reach: float | None = None) -> Image:
    """The image with the surroundings of a bone taken out of its outermost voxels.

    A voxel shows φ b + (1 − φ) o of bone b and surroundings o. With o from the voxels around the
    bone, b = (HU − (1 − φ) o) / φ where φ ≥ ½; voxels of less bone get the value of the nearest
    such one, so that elements that reach into them average bone only. What is mixed within the
    bone, cortex and marrow, stays mixed: see `cortex.fit_cortex`.

    Args:
        image: The CT (HU).
        share: φ of each voxel, of `share_of_mask` or `share_of_surface`.
        reach: How far beyond the bone its values are continued (mm), three voxels without it.

    Raises:
        InputError: no voxel is mostly bone.
    """
    if share.shape != image.grid.shape:
        raise InputError(
            "partial volume", f"shares of {share.shape} voxels for an image of {image.grid.shape}.",
            "Make the shares on the image's grid.",
        )  # fmt: skip
    mostly = share >= LEAST_SHARE
    if not mostly.any():
        raise InputError(
            "partial volume", "no voxel is mostly bone.", "Check surface and image for their place."
        )
    spacing = image.grid.spacing
    far = float(3.0 * spacing.max()) if reach is None else reach
    values = np.asarray(image.values, dtype=np.float64)
    result = values.copy()
    mixed = mostly & (share < 1.0 - OUTSIDE)
    around = _surroundings(values, share <= OUTSIDE, spacing)
    part = share[mixed]
    result[mixed] = np.minimum((values[mixed] - (1.0 - part) * around[mixed]) / part, DENSEST)
    # Noise and a misplaced surface must not make a voxel that had bone emptier than it was.
    result[mixed] = np.maximum(result[mixed], values[mixed])
    distance, nearest = ndimage.distance_transform_edt(
        ~mostly, sampling=spacing.tolist(), return_indices=True
    )
    beyond = ~mostly & (distance <= far)
    result[beyond] = result[tuple(nearest[:, beyond])]
    return Image(result.astype(np.float32), image.grid, image.quantity)


def _surroundings(values: Array, outside: Mask, spacing: Array) -> Array:
    """Mean of the outside voxels around each voxel; 0 HU where none is near."""
    sigma = (AROUND / spacing).tolist()
    weight = ndimage.gaussian_filter(outside.astype(np.float64), sigma)
    mean = ndimage.gaussian_filter(np.where(outside, values, 0.0), sigma)
    return np.where(weight > 1e-4, mean / np.maximum(weight, 1e-4), 0.0)
