"""Which labels touch each other, and over which area."""

from __future__ import annotations

import numpy as np

from organtwin.image.volume import LabelMap

#: Integers that labels and background may have.
_CODES = 256


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
