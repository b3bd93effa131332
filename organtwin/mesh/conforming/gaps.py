"""How near other parts of a surface are: the balls that touch it in two places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.mesh.balls import touching_balls
from organtwin.mesh.conforming.topology import INSIDE, Net


def half_gaps(net: Net, largest: float) -> NDArray[np.float64]:
    """Radius of the smaller of the two balls that touch a surface at each vertex and elsewhere.

    Args:
        net: The surface.
        largest: Radius at which the search begins, and the answer where nothing is near (mm).

    Returns:
        Radii (mm), shape (n,); ``largest`` at vertices that are not inside a sheet.
    """
    inside = np.flatnonzero(net.kind == INSIDE)
    normals = net.vertex_normals[inside]
    result = np.full(len(net.points), largest)
    tree = cKDTree(net.points, balanced_tree=False)
    for way in (1.0, -1.0):
        radii = touching_balls(tree, net.points[inside], way * normals, largest)
        result[inside] = np.minimum(result[inside], radii)
    return result
