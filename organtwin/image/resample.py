"""Smooth labels on another grid: one Gaussian per label, then the largest share wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.image.volume import Image, LabelMap


@dataclass(frozen=True)
class Grid:
    """Isotropic voxel grid in patient coordinates.

    Attributes:
        shape: Number of voxels along each axis.
        spacing: Distance of voxel centres (mm).
        origin: Centre of voxel (0, 0, 0) (mm), shape (3,).
        direction: Columns are the unit vectors of the axes, shape (3, 3).
    """

    shape: tuple[int, int, int]
    spacing: float
    origin: NDArray[np.float64]
    direction: NDArray[np.float64]

    @classmethod
    def around(
        cls,
        points: NDArray[np.float64],
        spacing: float,
        direction: NDArray[np.float64],
        margin: float,
    ) -> Grid:
        """Smallest grid that holds the points (mm) and a margin (mm) around them."""
        local = points @ direction
        low = np.floor((local.min(axis=0) - margin) / spacing) * spacing
        count = np.ceil((local.max(axis=0) + margin - low) / spacing).astype(int) + 1
        return cls(
            (int(count[0]), int(count[1]), int(count[2])), spacing, direction @ low, direction
        )

    def to_sitk(self) -> sitk.Image:
        """Empty image on this grid."""
        image = sitk.Image(list(self.shape), sitk.sitkFloat32)
        image.SetSpacing([self.spacing] * 3)
        image.SetOrigin([float(x) for x in self.origin])
        image.SetDirection([float(x) for x in self.direction.ravel()])
        return image

    def labels(self, values: NDArray[np.uint8], names: dict[str, int]) -> LabelMap:
        """Label map of values on this grid."""
        return LabelMap(
            values, names, np.full(3, self.spacing), self.origin.copy(), self.direction.copy()
        )


def corners(labels: LabelMap, *names: str) -> NDArray[np.float64]:
    """Patient coordinates (mm) of the eight corners of the named labels' voxel box."""
    mask = labels.mask(*names) if names else labels.values > 0
    places = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    box = np.array([[p[0] for p in places], [p[-1] for p in places]])
    choice = np.indices((2, 2, 2)).reshape(3, -1).T
    return labels.points(np.take_along_axis(box, choice, axis=0))


def nearest(labels: LabelMap, grid: Grid) -> LabelMap:
    """Label of the nearest voxel at each point of the grid."""
    return _nearest(labels, grid.to_sitk())


def nearest_on(labels: LabelMap, image: Image) -> LabelMap:
    """Label of the nearest voxel at each voxel of an image; 0 where there is none."""
    return _nearest(labels, image.to_sitk())


def _nearest(labels: LabelMap, like: sitk.Image) -> LabelMap:
    found = sitk.Resample(
        labels.to_sitk(), like, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8
    )
    return LabelMap.from_sitk(found, labels.names)


def majority(labels: LabelMap) -> LabelMap:
    """Each voxel takes the label that prevails around it (Gaussian of one voxel)."""
    best = np.zeros(labels.values.shape, np.float32)
    values = np.zeros(labels.values.shape, np.uint8)
    for code in (0, *labels.names.values()):
        indicator = np.equal(labels.values, code).astype(np.float32)
        share = ndimage.gaussian_filter(indicator, 1.0, mode="nearest")
        wins = share > best
        best[wins] = share[wins]
        values[wins] = code
    return replace(labels, values=values)


def smoothed(labels: LabelMap, grid: Grid, names: Sequence[str], sigma: float) -> LabelMap:
    """Labels with smoothed borders on the grid.

    The indicator function of each label is convolved with a Gaussian, sampled on the grid, and the
    label (or the background) with the largest value wins. This leaves plane borders where they are
    and rounds off what is smaller than ``sigma``.

    Args:
        labels: Any label map.
        grid: Where to sample.
        names: Labels to keep; all others become ``other`` (kept apart from the background).
        sigma: Standard deviation of the Gaussian (mm); at least half a voxel is used.
    """
    crop, origin_shift = _crop(labels, grid, margin=4.0 * sigma + 2.0 * grid.spacing)
    codes = {name: position for position, name in enumerate([*names, "other"], 1)}
    recoded = np.full(int(labels.values.max()) + 1, codes["other"], np.uint8)
    recoded[0] = 0
    for name in names:
        recoded[labels.names[name]] = codes[name]
    part = LabelMap(
        recoded[crop], codes, labels.spacing, labels.points(origin_shift[None])[0], labels.direction
    )
    place = part.to_sitk()
    reference = grid.to_sitk()
    width = max(sigma, 0.5 * grid.spacing)
    best = np.full(grid.shape, 0.0, np.float32)
    values = np.zeros(grid.shape, np.uint8)
    background = np.ones(grid.shape, np.float32)
    for code in codes.values():
        indicator = np.equal(part.values.T, code).astype(np.float32)
        blurred = ndimage.gaussian_filter(indicator, (width / part.spacing)[::-1], mode="constant")
        image = sitk.GetImageFromArray(blurred)
        image.CopyInformation(place)
        share = sitk.GetArrayFromImage(
            sitk.Resample(image, reference, sitk.Transform(), sitk.sitkLinear, 0.0)
        ).transpose(2, 1, 0)
        background -= share
        wins = share > best
        best[wins] = share[wins]
        values[wins] = code
    values[background >= best] = 0
    return grid.labels(values, codes)


def _crop(
    labels: LabelMap, grid: Grid, margin: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Part of the values that the grid sees, and the index of its first voxel."""
    choice = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(grid.shape) - 1)
    points = grid.origin + (choice * grid.spacing) @ grid.direction.T
    index = ((points - labels.origin) @ labels.direction) / labels.spacing
    pad = margin / labels.spacing
    low = np.floor(index.min(axis=0) - pad).astype(int)
    high = np.ceil(index.max(axis=0) + pad).astype(int) + 1
    inside_low = np.maximum(low, 0)
    inside_high = np.minimum(high, labels.values.shape)
    part = labels.values[tuple(slice(a, b) for a, b in zip(inside_low, inside_high, strict=True))]
    # Beyond the image is background; the Gaussian has to see it.
    padding = [
        (int(max(0, -a)), int(max(0, b - n)))
        for a, b, n in zip(low, high, labels.values.shape, strict=True)
    ]
    return np.pad(part, padding), low.astype(np.float64)
