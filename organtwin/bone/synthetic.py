"""CT of a known density: voxels that average it, blur, noise, whole numbers, clipping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.bone.calibration import Calibration
from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image, compact

type Array = NDArray[np.float64]
#: Density (mg/mm³) at places (mm), (n, 3) → (n,).
type Field = Callable[[Array], Array]

#: Places computed at once, which bounds the memory.
BATCH = 500_000


@dataclass(frozen=True)
class Scanner:
    """What a scanner does to a density.

    Attributes:
        calibration: Its line between HU and density.
        blur: Standard deviation of its Gaussian point spread along each grid axis (mm).
        noise: Standard deviation of the noise of a voxel (HU).
        samples: Places per voxel along each axis of which a voxel is the mean.
        clip: Smallest and largest value that it stores (HU).
        whole: Whether it stores whole numbers.
    """

    calibration: Calibration
    blur: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise: float = 0.0
    samples: int = 3
    clip: tuple[float, float] = (-1024.0, 3071.0)
    whole: bool = True


def synthetic_ct(density: Field, grid: Grid, scanner: Scanner, seed: int = 0) -> Image:
    """Image of an analytic density, for tests with a known answer.

    Each voxel is the mean over its box of the density after Gaussian blur, turned to HU, with
    white noise, clipped and rounded. The blur is exact up to the sampling: it is done on a grid
    that is ``samples`` times finer and reaches beyond the image.

    Args:
        density: Density (mg/mm³) of the patient's coordinates (mm, LPS).
        grid: Where the voxels lie.
        scanner: What is done to it.
        seed: Of the noise.

    Raises:
        InputError: samples, blur or noise are negative.
    """
    if scanner.samples < 1 or min(scanner.blur) < 0.0 or scanner.noise < 0.0:
        raise InputError(
            "Scanner", "samples below 1, or blur or noise below 0.", "Use 0 for none of it."
        )
    sub, blur = scanner.samples, np.array(scanner.blur)
    pad = np.ceil(4.0 * blur / grid.spacing).astype(int)
    fine = _sampled(density, grid, sub, pad)
    fine = ndimage.gaussian_filter(fine, (sub * blur / grid.spacing).tolist(), mode="nearest")
    keep = tuple(
        slice(int(p) * sub, n - int(p) * sub) for p, n in zip(pad, fine.shape, strict=True)
    )
    i, j, k = grid.shape
    mean = fine[keep].reshape(i, sub, j, sub, k, sub).mean(axis=(1, 3, 5))
    hu = scanner.calibration.hounsfield(mean)
    hu += scanner.noise * np.random.default_rng(seed).standard_normal(hu.shape)
    hu = np.clip(hu, *scanner.clip)
    return Image(compact(np.round(hu) if scanner.whole else hu), grid, "HU")


def _sampled(density: Field, grid: Grid, sub: int, pad: NDArray[np.int64]) -> Array:
    """Density on a grid ``sub`` times finer with ``pad`` voxels more on each side."""
    axes = [
        -p - 0.5 + (np.arange((n + 2 * p) * sub) + 0.5) / sub
        for n, p in zip(grid.shape, pad.tolist(), strict=True)
    ]
    shape = tuple(len(axis) for axis in axes)
    values = np.empty(shape)
    step = max(1, BATCH // (shape[1] * shape[2]))
    for first in range(0, shape[0], step):
        part = axes[0][first : first + step]
        index = np.stack(np.meshgrid(part, axes[1], axes[2], indexing="ij"), axis=-1)
        found = density(grid.points(index.reshape(-1, 3)))
        values[first : first + step] = found.reshape(len(part), *shape[1:])
    return values
