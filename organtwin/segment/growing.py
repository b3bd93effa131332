"""Region growing from seeds, by fixed limits or by the statistics of what was grown."""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk

from organtwin.errors import InputError
from organtwin.image.volume import Image
from organtwin.segment.morphology import Mask, touching
from organtwin.segment.thresholds import between


def connected(image: Image, seeds: Mask, low: float, high: float = math.inf) -> Mask:
    """Voxels with ``low <= value <= high`` connected by faces to a seed that is one of them."""
    inside = between(image, low, high)
    return touching(inside, inside & seeds)


def confident(
    image: Image, seeds: Mask, *, deviations: float = 2.5, rounds: int = 4, radius: int = 1
) -> Mask:
    """Voxels connected to the seeds with values near the mean of what has been grown so far.

    The mean and the standard deviation of the region give the limits
    ``mean ± deviations · standard deviation`` of the next round.

    Args:
        image: Grey values.
        seeds: Voxels to begin with.
        deviations: Half width of the interval in standard deviations.
        rounds: How often the statistics are made anew.
        radius: Half width (voxels) of the cube around each seed that gives the first statistics.

    Raises:
        InputError: there is no seed.

    Source:
        T. S. Yoo et al., ITK's ConfidenceConnectedImageFilter: documentation of the filter.
    """
    if not seeds.any():
        raise InputError("confident", "no seed to grow from.", "Give at least one voxel.")
    result = sitk.ConfidenceConnected(
        sitk.Cast(image.to_sitk(), sitk.sitkFloat32),
        seedList=[tuple(int(n) for n in index) for index in np.argwhere(seeds)],
        numberOfIterations=rounds,
        multiplier=deviations,
        initialNeighborhoodRadius=radius,
        replaceValue=1,
    )
    return np.asarray(sitk.GetArrayFromImage(result).transpose(2, 1, 0) > 0)
