"""Where the membranous septum, the surrogate for the conduction axis, lies on the outflow tract."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.aortic_root.levels import Levels, RootFrame

type Vector = NDArray[np.float64]

#: Height of its upper and depth of its lower margin over and below the annulus, and width (mm).
ABOVE, BELOW, WIDTH = 4.5, 2.1, 10.2
#: Distance of the points that stand for it (mm).
STEP = 0.5


@dataclass(frozen=True)
class MembranousSeptum:
    """Patch of the wall below the commissure of the right and the non-coronary cusp.

    No CT shows the conduction axis, and few the membranous septum; this is where it lies on
    average. Over the 107 candidates for a valve in the source it is 6.6 ± 2.0 mm high and
    10.2 ± 3.1 mm wide; its margins lie 4.5 ± 2.3 mm above and 2.1 ± 2.1 mm below the annulus.

    Attributes:
        points: Points of the wall in it (LPS, mm), shape (n, 3).
        centre: The one in its middle (LPS, mm), shape (3,).
        direction: Direction of its middle (radians).

    Source:
        Relationship between the membranous septum and the virtual basal ring of the aortic root in
        candidates for transcatheter implantation of the aortic valve, Clin. Anat. 31 (2018) 525
        (abstract read).
    """

    points: Vector
    centre: Vector
    direction: float


def membranous_septum(levels: Levels, frame: RootFrame) -> MembranousSeptum:
    """The region of the membranous septum on the wall.

    Args:
        levels: Sections of the root, from below the septum to above it.
        frame: Coordinates of the root.
    """
    # The non-coronary cusp ends at the right one; where the cusps run the other way it begins so.
    turn = float(frame.commissures[0 if frame.mirrored else 2])
    heights = np.arange(-BELOW, ABOVE + 0.5 * STEP, STEP)
    rows = [_row(levels, frame, turn, height) for height in heights]
    middle = rows[len(rows) // 2]
    return MembranousSeptum(np.concatenate(rows), middle[len(middle) // 2], turn)


def _row(levels: Levels, frame: RootFrame, turn: float, height: float) -> Vector:
    """Points of the wall at a height, over the width of the septum."""
    near = int(np.argmin(np.abs(levels.heights - height)))
    radius = float(levels.outlines[near].radius(np.array([turn]))[0])
    half = 0.5 * WIDTH / radius
    ask = turn + np.linspace(-half, half, 2 * int(0.5 * WIDTH / STEP) + 1)
    radii = np.array([one.radius(ask) for one in levels.outlines])
    wall = np.array([np.interp(height, levels.heights, column) for column in radii.T])
    x, y = levels.middle(height, frame)
    local = np.column_stack(
        [x + wall * np.cos(ask), y + wall * np.sin(ask), np.full(len(ask), height)]
    )
    return np.asarray(frame.origin + local @ frame.axes)
