"""Products and lengths of many vectors at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

type Points = NDArray[np.float64]


def dots(one: Points, two: Points) -> Points:
    """Scalar products along the last axis."""
    # Several times faster than the sum of products, whose loops are three long.
    return np.asarray(np.einsum("...k,...k->...", one, two))


def unit(vectors: Points) -> Points:
    """Vectors of length one, zeros where they have none, shape (..., 3)."""
    return np.asarray(vectors / np.maximum(lengths_of(vectors), 1e-300)[..., None])


def lengths_of(vectors: Points) -> Points:
    """Lengths of vectors along the last axis."""
    return np.sqrt(dots(vectors, vectors))
