"""Parts of the aorta along its centreline: root, ascending aorta, arch, descending aorta."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.image.volume import Grid
from organtwin.segment.centreline import Centreline
from organtwin.segment.morphology import Mask

#: Length of the root in units of the radius of the ascending aorta, where no waist is seen.
ROOT_LENGTH = 1.5
#: The waist above the sinuses is narrower than they by at least this part.
WAIST = 0.05
#: The arch is where the line is steeper than this angle (degrees) nowhere.
STEEP = 45.0


@dataclass(frozen=True)
class Parts:
    """Where the parts of an aorta end, along its centreline (mm from the valve).

    Attributes:
        root: End of the root, the sinotubular junction.
        waist: Whether it was seen as a waist; else the root has a length by rule.
        ascending: End of the ascending aorta.
        arch: End of the arch.
    """

    root: float
    waist: bool
    ascending: float
    arch: float


def parts_along(line: Centreline, radius: float) -> Parts:
    """Divide an aorta along its centreline from the valve on.

    The root ends at the waist above the widest place of the first 40 mm, the ascending aorta where
    the line, that rose, becomes flatter than 45°, the arch where it goes down steeper than that.

    Args:
        line: From the valve to the descending aorta.
        radius: Mean radius of the ascending aorta (mm).
    """
    along = line.along
    blur = 4.0 / max(along[1] if len(along) > 1 else 1.0, 1e-6)
    upwards = ndimage.gaussian_filter1d(line.tangents[:, 2], blur, mode="nearest")
    steep = float(np.cos(np.radians(STEEP)))
    root, waist = _waist(line, blur, ROOT_LENGTH * radius)
    flat = np.flatnonzero((along > root) & (upwards < steep))
    ascending = float(along[flat[0]]) if len(flat) else line.length
    down = np.flatnonzero((along > ascending) & (upwards < -steep))
    arch = float(along[down[0]]) if len(down) else line.length
    return Parts(root, waist, ascending, arch)


def _waist(line: Centreline, blur: float, otherwise: float) -> tuple[float, bool]:
    """The narrowest place within 25 mm above the widest one of the root."""
    width = ndimage.gaussian_filter1d(line.radius, blur, mode="nearest")
    along = line.along
    low = np.flatnonzero(along <= 40.0)
    widest = int(low[np.argmax(width[low])])
    above = np.flatnonzero((along > along[widest]) & (along <= along[widest] + 25.0))
    if len(above) > 2:
        narrow = int(above[np.argmin(width[above])])
        inside = above[0] < narrow < above[-1]
        if inside and width[narrow] < (1.0 - WAIST) * width[widest]:
            return float(along[narrow]), True
    return min(otherwise, line.length), False


def divided(mask: Mask, grid: Grid, line: Centreline, parts: Parts) -> NDArray[np.uint8]:
    """Part of each voxel of an aorta: 1 root, 2 ascending aorta, 3 arch, 4 descending aorta."""
    result = np.zeros(mask.shape, np.uint8)
    index = np.argwhere(mask)
    along = line.along[line.nearest(grid.points(index))]
    ends = [parts.root, parts.ascending, parts.arch]
    result[tuple(index.T)] = 1 + np.searchsorted(ends, along, side="left")
    return result
