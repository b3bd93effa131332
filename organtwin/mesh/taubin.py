"""Smoothing of nets without shrinking."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

#: Parts of the way to the mean of the neighbours, forwards and back, in each round.
FACTORS = (0.5, -0.53)


def taubin(
    points: NDArray[np.float64], linked: sparse.csr_matrix, free: NDArray[np.bool_], rounds: int,
    limit: float,
) -> NDArray[np.float64]:  # fmt: skip
    """Shifts of vertices by steps towards the mean of their neighbours and back.

    x → x + λ (x̄ - x), then with μ in place of λ, 0 < λ < -μ.

    Args:
        points: Vertices (mm), shape (n, d).
        linked: 1 where two vertices are neighbours, symmetric, shape (n, n).
        free: Which vertices move, shape (n,).
        rounds: Number of rounds, each with both steps.
        limit: Largest shift (mm), kept after every round.

    Returns:
        Shifts (mm), shape (n, d).

    Source:
        Taubin (1995), SIGGRAPH '95, 351-358.
    """
    degree = np.maximum(np.asarray(linked.sum(axis=1)).ravel(), 1.0)[:, None]
    shift = np.zeros_like(points)
    for _ in range(rounds):
        for factor in FACTORS:
            moved = points + shift
            shift += factor * np.where(free[:, None], linked @ moved / degree - moved, 0.0)
        length = np.linalg.norm(shift, axis=1, keepdims=True)
        shift *= np.minimum(1.0, limit / np.maximum(length, 1e-300))
    return shift
