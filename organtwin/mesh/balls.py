"""Balls that touch a surface in two places: how near other parts of it are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

type Points = NDArray[np.float64]

#: Rounds in which balls shrink, at most, and the part of the radius that ends it.
_ROUNDS, _ENOUGH = 30, 0.999


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
        Radii (mm), shape (k,), to 0.1 %.

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
        inside = (distance < _ENOUGH * r) & (height > 0) & (square > smaller**2)
        active = active[inside]
        radii[active] = smaller[inside]
    return radii
