"""Gruen's zones around a femoral stem, in its front view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.surgery.placement import Frame

type Floats = NDArray[np.float64]
type Integers = NDArray[np.int64]

SOURCE = "Gruen, McNeice & Amstutz (1979), Clin. Orthop. 141:17-27, remembered, not read"
#: Names of zones 1 to 7.
ZONES = {
    1: "proximal lateral", 2: "middle lateral", 3: "distal lateral", 4: "below the tip",
    5: "distal medial", 6: "middle medial", 7: "proximal medial (calcar)",
}  # fmt: skip
#: Zone of the calcar.
CALCAR = 7


def gruen_zones(
    points: Floats, frame: Frame, top: float, tip: float, *, below: float = 20.0
) -> Integers:
    """Zone of points: 1 to 3 lateral from above, 4 below the tip, 5 to 7 medial from below.

    Zones 1 to 3 and 5 to 7 are thirds of the stem's length between the neck's cut and its tip. The
    trochanter, lateral above the cut, belongs to zone 1; what lies medial above it to none.

    Args:
        points: Places (mm), shape (n, 3).
        frame: Frame of the stem: z up the stem, x medially.
        top: Height of the neck's cut in the frame (mm).
        tip: Height of the tip in the frame (mm).
        below: How far zone 4 reaches below the tip (mm), our choice.

    Returns:
        1 to 7, or 0 for none, shape (n,).

    Raises:
        InputError: the tip is not below the top.
    """
    if not tip < top:
        raise InputError("Gruen's zones", f"tip at {tip:g}, top at {top:g} mm.",
                         "Heights are along the frame's z, up the stem.")  # fmt: skip
    place = (np.asarray(points, float) - frame.origin) @ np.asarray(frame.axes).T
    third = np.clip(np.floor(3.0 * (top - place[:, 2]) / (top - tip)), 0, 2).astype(np.int64)
    zone = np.where(place[:, 0] > 0.0, 7 - third, 1 + third)
    zone = np.where(place[:, 2] < tip, 4, zone)
    over = (place[:, 2] > top) & (place[:, 0] > 0.0)
    outside = over | (place[:, 2] < tip - below)
    return np.where(outside, 0, zone)
