"""Which labels touch each other, and over which area."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np

from organtwin.image.volume import LabelMap

#: Integers that labels and background may have.
_CODES = 256
#: Smooth borders have less area than the stairs of their voxels; more than so many times that, and
#: so many voxel faces, is new.
GROWTH, SLACK = 1.3, 30.0


def contact_areas(labels: LabelMap) -> dict[tuple[int, int], float]:
    """Area of the voxel faces between each two labels (mm²), by their integers, smaller first.

    Background is 0 and goes on beyond the image.
    """
    values = np.pad(labels.values, 1)
    total = np.zeros(_CODES * _CODES)
    for axis in range(3):
        face = labels.voxel_volume / labels.spacing[axis]
        along = np.moveaxis(values, axis, 0)
        low, high = along[:-1], along[1:]
        differ = low != high
        one, two = low[differ].astype(np.int64), high[differ].astype(np.int64)
        pair = np.minimum(one, two) * _CODES + np.maximum(one, two)
        total += face * np.bincount(pair, minlength=len(total))
    return {(int(k) // _CODES, int(k) % _CODES): float(total[k]) for k in np.flatnonzero(total)}


def new_contacts[Pair: Hashable](
    labels: LabelMap, given: Mapping[Pair, float], found: Mapping[Pair, float]
) -> dict[Pair, float]:
    """Contacts with far more area than those of the labels: a wall is torn, or a gap is closed.

    Args:
        labels: What the contacts come from; their voxel faces are the measure.
        given: Area of their contacts (mm²).
        found: That of contacts in what was made of them (mm²).

    Returns:
        Pair → area that is new (mm²).
    """
    slack = SLACK * float(np.max(labels.voxel_volume / labels.spacing))
    return {
        pair: area - given.get(pair, 0.0)
        for pair, area in found.items()
        if area > GROWTH * given.get(pair, 0.0) + slack
    }
