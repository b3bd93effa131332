"""Places in mm that messages of meshers name."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

_NUMBER = r"([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)"
#: Three numbers in brackets; gmsh separates them by commas, sometimes by blanks.
_PLACE = re.compile(rf"\(\s*{_NUMBER}[,\s]\s*{_NUMBER}[,\s]\s*{_NUMBER}\s*\)")


def places_in(text: str) -> NDArray[np.float64]:
    """Every ``(x, y, z)`` of a text (mm), shape (k, 3).

    >>> places_in("cross at (1.5, -2, 3e1) mm").tolist()
    [[1.5, -2.0, 30.0]]
    """
    found = [[float(x) for x in match] for match in _PLACE.findall(text)]
    return np.array(found).reshape(-1, 3)
