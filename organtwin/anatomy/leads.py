"""Places of pacing leads by anatomical name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organtwin.anatomy.coordinates import LongAxis, facet_points
from organtwin.anatomy.segments import NAMES
from organtwin.anatomy.ventricular_coordinates import SeptalEdges
from organtwin.errors import InputError, suggestion
from organtwin.mesh.domain import Domain

Array = NDArray[np.float64]

#: Angles of the middles of segments 1 to 16 (degrees), stretched as by `SeptalEdges.normalised`.
_ANGLES = (90, 30, -30, -90, -150, 150) * 2 + (90, 0, -90, 180)
#: Heights of the middles of their rings, as shares of the cavity's length.
_HEIGHTS = (5 / 6,) * 6 + (1 / 2,) * 6 + (1 / 6,) * 4
#: Sites that `lead_site` knows.
LEAD_SITES = ("rv_apex", *(name.replace(" ", "_") for name in NAMES[:16]))


def lead_site(domain: Domain, axis: LongAxis, name: str) -> Array:
    """Vertex where a lead is fixed; collective, the same on any number of ranks.

    ``rv_apex`` is the lowest point of the right ventricular endocardium. A segment's name, such as
    ``mid_inferolateral``, is the point of the left ventricular epicardium that is closest to its
    middle in height and angle; for the septal segments that is beside the septum.

    Args:
        domain: Both ventricles.
        axis: Long axis.
        name: One of `LEAD_SITES`.

    Returns:
        Point (mm), shape (3,).

    Raises:
        InputError: no such site.

    Source:
        Cerqueira et al. (2002), Circulation 105:539-542 (segments).
    """
    if name not in LEAD_SITES:
        raise InputError("pacing lead", f"no site `{name}`.", suggestion(name, LEAD_SITES))
    if name == "rv_apex":
        points = facet_points(domain, "rv_endo")
        return np.asarray(points[np.argmin(axis.height(points).round(9))])
    k = LEAD_SITES.index(name) - 1
    points = facet_points(domain, "epi", "lv")
    bottom = float(axis.height(facet_points(domain, "lv_endo")).min())
    height = bottom + _HEIGHTS[k] * (1.0 - bottom)
    angle = SeptalEdges.of(domain, axis).normalised(axis, points)
    # Half a unit: an angle of one radian is about as far on the wall as half the axis.
    turn = np.abs(np.exp(1j * angle) - np.exp(1j * np.radians(_ANGLES[k])))
    cost = np.hypot(axis.height(points) - height, 0.5 * turn)
    return np.asarray(points[np.argmin(cost.round(9))])
