"""Voxel sets whose surface is a manifold ("well-composed" sets)."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@cache
def _critical() -> NDArray[np.bool_]:
    """Whether each of the 256 occupancies of a 2x2x2 block pinches the surface.

    Bit ``4 i + 2 j + k`` stands for the voxel at offset ``(i, j, k)``. The surface is a manifold
    where both the voxels inside and those outside hang together by faces.

    Source:
        Latecki, Eckhardt, Rosenfeld (1995), Comput. Vis. Image Underst. 61:70-83.
    """
    table = np.zeros(256, bool)
    for code in range(256):
        block = np.array([(code >> bit) & 1 for bit in range(8)], bool).reshape(2, 2, 2)
        table[code] = ndimage.label(block)[1] > 1 or ndimage.label(~block)[1] > 1
    return table


def well_composed(
    values: NDArray[np.uint8], tissue: tuple[int, ...], fill: int, top: int
) -> NDArray[np.uint8]:
    """Add tissue until its surface is a manifold.

    Args:
        values: Labels; nothing but background at and above layer ``top`` of the third axis.
        tissue: Integers that count as tissue.
        fill: Integer that added voxels get.
        top: First layer above the base.

    Returns:
        Labels whose tissue has no voxels that touch by an edge or a corner only.
    """
    result = values.copy()
    for _ in range(50):
        inside = np.isin(result, tissue)
        code = np.zeros(tuple(n - 1 for n in inside.shape), np.uint8)
        for bit in range(8):
            i, j, k = (bit >> 2) & 1, (bit >> 1) & 1, bit & 1
            n = inside.shape
            part = inside[i : n[0] - 1 + i, j : n[1] - 1 + j, k : n[2] - 1 + k]
            code |= part.astype(np.uint8) << np.uint8(bit)
        blocks = np.argwhere(_critical()[code])
        if not len(blocks):
            break
        offsets = np.indices((2, 2, 2)).reshape(3, -1).T
        voxels = (blocks[:, None, :] + offsets).reshape(-1, 3)
        voxels = voxels[voxels[:, 2] < top]
        empty = ~inside[tuple(voxels.T)]
        result[tuple(voxels[empty].T)] = fill
    return result
