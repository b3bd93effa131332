"""Masks from grey values: between two thresholds, and with hysteresis."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from organtwin.image.volume import Image
from organtwin.segment.morphology import Mask, touching


def between(image: Image, low: float = -math.inf, high: float = math.inf) -> Mask:
    """Voxels with ``low <= value <= high`` (HU for a CT)."""
    return np.asarray((image.values >= low) & (image.values <= high))


def hysteresis(image: Image, low: float, sure: float, high: float = math.inf) -> Mask:
    """Connected voxels above ``low`` of which at least one is above ``sure``.

    Noise between both thresholds is left out, and what is connected to something sure stays whole.

    Args:
        image: Grey values.
        low: Smallest value of what is taken.
        sure: Value that at least one voxel of each connected part reaches.
        high: Largest value of what is taken.

    Source:
        J. Canny, A computational approach to edge detection, IEEE PAMI 8 (1986), section VIII.
    """
    candidates = between(image, low, high)
    return touching(candidates, candidates & (image.values >= sure))


def smoothed(image: Image, sigma: float) -> NDArray[np.float32]:
    """Grey values smoothed by a Gaussian of a standard deviation in mm."""
    values = image.values.astype(np.float32)
    return np.asarray(ndimage.gaussian_filter(values, sigma / image.grid.spacing))


def levels(values: NDArray[np.generic], classes: int) -> tuple[float, ...]:
    """Thresholds between classes of grey values with the largest variance between them.

    Args:
        values: Grey values, any shape.
        classes: How many.

    Source:
        N. Otsu, A threshold selection method from gray-level histograms, IEEE SMC 9 (1979);
        P.-S. Liao et al., A fast algorithm for multilevel thresholding, J. Inf. Sci. Eng. 17
        (2001).
    """
    found = threshold_multiotsu(np.asarray(values), classes=classes)  # type: ignore[no-untyped-call]
    return tuple(float(limit) for limit in found)
