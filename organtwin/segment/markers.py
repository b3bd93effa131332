"""Regions that grow from markers until they meet: watershed and random walker."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg
from skimage.feature import peak_local_max
from skimage.segmentation import watershed as flood

from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image
from organtwin.segment.morphology import Mask, depth, touching

type Numbers = NDArray[np.int32]


def slope(image: Image, sigma: float) -> NDArray[np.float32]:
    """Size of the gradient of smoothed grey values (value per mm).

    Args:
        image: Grey values.
        sigma: Standard deviation of the Gaussian (mm); along axes whose voxels are wider it smooths
            nothing.
    """
    spacing = image.grid.spacing
    smooth = ndimage.gaussian_filter(image.values.astype(np.float32), sigma / spacing)
    # Central differences are exact on a ramp however narrow the Gaussian is; its own derivative,
    # sampled at voxels wider than it, isn't.
    total = np.zeros(smooth.shape, np.float32)
    for axis in range(3):
        if smooth.shape[axis] > 1:
            total += np.gradient(smooth, float(spacing[axis]), axis=axis) ** 2
    return np.asarray(np.sqrt(total))


def watershed(relief: NDArray[np.float32], markers: Numbers, within: Mask | None = None) -> Numbers:
    """Regions of markers, flooded over a relief; borders lie on its ridges.

    Args:
        relief: Height of each voxel: gradient for borders at edges, negative depth for borders at
            necks.
        markers: Numbers of the seeds, 0 elsewhere.
        within: Where to flood, else everywhere.

    Raises:
        InputError: there is no marker.

    Source:
        F. Meyer, Topographic distance and watershed lines, Signal Processing 38 (1994), in
        scikit-image.
    """
    _refuse_none(markers, "watershed")
    found = flood(relief, markers, mask=within)  # type: ignore[no-untyped-call]
    return np.asarray(found, dtype=np.int32)


def pools(mask: Mask, grid: Grid, *, apart: float, least: float) -> Numbers:
    """A mask taken apart at its necks: one number for each place that is locally deepest.

    Args:
        mask: Voxels to divide.
        grid: Where they lie.
        apart: Two pools with centres closer than this are one (mm).
        least: Least depth of a pool (mm).
    """
    deep = depth(mask, grid)
    steps = int(np.ceil(apart / float(grid.spacing.min())))
    peaks = peak_local_max(  # type: ignore[no-untyped-call]
        deep, min_distance=steps, threshold_abs=least, exclude_border=False, labels=mask.astype(int)
    )
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed((-deep).astype(np.float32), seeds, mask) if len(peaks) else seeds


def walker(
    image: Image, markers: Numbers, within: Mask | None = None, *, stiffness: float = 2.0
) -> Numbers:
    """Number of the marker that a random walker from each voxel most likely meets first.

    The walker crosses from voxel to voxel with the weight
    ``w = exp(-stiffness (ΔI / σ_I)²) / h²``, ``h`` being their distance and ``σ_I`` the standard
    deviation of all values; the probabilities are harmonic functions with these weights.

    Args:
        image: Grey values.
        markers: Numbers of the seeds from 1, 0 for voxels to be decided.
        within: Where the walker may go, else everywhere; 0 elsewhere, and where no way leads to a
            marker.
        stiffness: How much an edge hinders.

    Raises:
        InputError: there are fewer than two markers.

    Source:
        L. Grady, Random walks for image segmentation, IEEE PAMI 28 (2006), equations 1 and 9.
    """
    inside = np.ones(markers.shape, bool) if within is None else within
    seeded = np.where(inside, markers, 0)
    kinds = np.unique(seeded[seeded > 0])
    if len(kinds) < 2:
        raise InputError("walker", "fewer than two markers.", "Mark inside and outside.")
    reached = touching(inside, seeded > 0)
    weights = _weights(image, reached, stiffness)
    given = seeded[reached]
    free = given == 0
    laplacian = sparse.diags_array(np.asarray(weights.sum(axis=1)).ravel()) - weights
    system = sparse.csr_array(laplacian)[free]
    inverse = sparse.diags_array(1.0 / system[:, free].diagonal())
    chances = np.empty((len(kinds), int(free.sum())))
    for row, kind in enumerate(kinds):
        right = -system[:, ~free] @ (given[~free] == kind).astype(float)
        chances[row] = cg(system[:, free], right, rtol=1e-6, M=inverse)[0]
    decided = given.copy()
    decided[free] = kinds[chances.argmax(axis=0)]
    result = np.zeros(markers.shape, np.int32)
    result[reached] = decided
    return result


def _weights(image: Image, inside: Mask, stiffness: float) -> sparse.csr_array:
    """Symmetric weights between neighbours by faces, of the voxels inside in C order."""
    number = np.full(inside.shape, -1)
    number[inside] = np.arange(int(inside.sum()))
    values = image.values.astype(np.float64) / max(float(image.values[inside].std()), 1e-12)
    ones, others, weights = [], [], []
    for axis in range(3):
        one, other = (np.moveaxis(number, axis, 0)[part] for part in (np.s_[:-1], np.s_[1:]))
        step = np.diff(np.moveaxis(values, axis, 0), axis=0)
        both = (one >= 0) & (other >= 0)
        ones.append(one[both])
        others.append(other[both])
        weights.append(np.exp(-stiffness * step[both] ** 2) / image.grid.spacing[axis] ** 2)
    rows, columns, found = (np.concatenate(part) for part in (ones, others, weights))
    count = int(inside.sum())
    half = sparse.coo_array((found + 1e-9, (rows, columns)), shape=(count, count))
    return sparse.csr_array(half + half.T)


def _refuse_none(markers: Numbers, place: str) -> None:
    if not (markers > 0).any():
        raise InputError(place, "no marker to flood from.", "Give at least one voxel a number.")
