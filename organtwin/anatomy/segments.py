"""The 17 segments of the left ventricle."""

from __future__ import annotations

import numpy as np
from dolfinx import fem

from organtwin.anatomy.coordinates import Coordinates, coordinates, facet_points
from organtwin.anatomy.ventricular_coordinates import SeptalEdges
from organtwin.mesh.domain import Domain

#: Names of the segments, in their order from 1 to 17.
NAMES = (
    "basal anterior", "basal anteroseptal", "basal inferoseptal", "basal inferior",
    "basal inferolateral", "basal anterolateral", "mid anterior", "mid anteroseptal",
    "mid inferoseptal", "mid inferior", "mid inferolateral", "mid anterolateral",
    "apical anterior", "apical septal", "apical inferior", "apical lateral", "apex",
)  # fmt: skip
#: Segments of a basal ring, by 60 degrees from the lateral wall's middle (−180°) on.
_RING = np.array([5, 4, 3, 2, 1, 6])
#: Segments of the apical ring, by 90 degrees from −135° on.
_APICAL_RING = np.array([15, 14, 13, 16])


def aha_segments(domain: Domain, *, at: Coordinates | None = None) -> fem.Function:
    """Number of the segment that the middle of each cell lies in; collective.

    Basal, mid-cavity and apical segments are thirds of the long axis from the base to the apex of
    the cavity; what lies below the cavity is segment 17. Around the axis the insertions of the
    right ventricle are the borders between anterior and anteroseptal and between inferior and
    inferoseptal segments; the septum is halved, the rest cut into four. Apical segments are four,
    the septal one about the middle of the septum.

    Args:
        domain: Ventricles with regions ``lv`` and ``rv`` and surfaces ``lv_endo``, ``rv_endo``,
            ``epi``, ``base``.
        at: Its coordinates where they are at hand.

    Returns:
        DG0 function: 1 to 17 in the left ventricle, see `NAMES`, 0 elsewhere.

    Source:
        Cerqueira et al. (2002), Circulation 105:539-542, doi 10.1161/hc0402.102975.
    """
    axis = (at or coordinates(domain)).axis
    middle = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0]].mean(axis=1)
    bottom = float(axis.height(facet_points(domain, "lv_endo")).min())
    share = (axis.height(middle) - bottom) / (1.0 - bottom)
    angle = np.degrees(SeptalEdges.of(domain, axis).normalised(axis, middle))
    sixth = np.floor((angle + 180.0) / 60.0).astype(int) % 6
    quarter = np.floor((angle + 135.0) / 90.0).astype(int) % 4
    number = np.select(
        [share < 0.0, share < 1.0 / 3.0, share < 2.0 / 3.0],
        [17, _APICAL_RING[quarter], _RING[sixth] + 6],
        _RING[sixth],
    )
    segment = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)), name="aha_segment")
    cells = domain.cells("lv")
    segment.x.array[cells] = number[cells]
    segment.x.scatter_forward()
    return segment
