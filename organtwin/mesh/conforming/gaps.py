"""How near other parts of a surface are: the balls that touch it in two places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.mesh.conforming.topology import INSIDE, Net, Points

#: Rounds in which balls shrink.
_ROUNDS = 12


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


def touching_balls(
    tree: cKDTree, places: Points, normals: Points, largest: float
) -> NDArray[np.float64]:
    """Radius of the ball that touches a surface at a place and, shrunk from large, elsewhere.

    A ball touches at p with its centre at p + r n. While a vertex q lies inside, r becomes
    |q - p|² / (2 n · (q - p)). What lies within a sixth of the circle from p is the same part of
    the surface, bent, and does not count.

    Args:
        tree: Vertices of the surface.
        places: Where balls touch (mm), shape (k, 3).
        normals: Unit vectors from there to the centres, shape (k, 3).
        largest: Radius to begin with, and the answer where nothing is inside (mm).

    Returns:
        Radii (mm), shape (k,).

    Source:
        Ma, Bae & Choi (2012), Vis Comput 28:7-19.
    """
    radii = np.full(len(places), float(largest))
    active = np.arange(len(places))
    for _ in range(_ROUNDS):
        if not len(active):
            break
        p, n, r = places[active], normals[active], radii[active]
        distance, near = tree.query(p + r[:, None] * n)
        step = tree.data[near] - p
        square, height = (step**2).sum(axis=1), (step * n).sum(axis=1)
        smaller = square / np.maximum(2.0 * height, 1e-300)
        inside = (distance < 0.999 * r) & (height > 0) & (square > smaller**2)
        active = active[inside]
        radii[active] = smaller[inside]
    return radii
