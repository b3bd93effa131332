"""Prisms split into tetrahedra, alike on the sides that they share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

type Index = NDArray[np.int64]


def split_prisms(lower: Index, upper: Index) -> Index:
    """Three tetrahedra of each prism, the same diagonal on both sides of every shared square.

    The diagonal of a square starts at the lower vertex with the smaller number.

    Args:
        lower: Vertices of the lower triangles, shape (m, 3).
        upper: Vertices above, in the same order, on the side that the triangles' normals point to.

    Returns:
        Cells with positive volumes, shape (3 m, 4): first, second, third ones of all prisms.
    """
    order = np.argsort(lower, axis=1)
    a, b, c = np.take_along_axis(lower, order, axis=1).T
    d, e, f = np.take_along_axis(upper, order, axis=1).T
    cells = np.stack([[a, b, c, f], [a, b, f, e], [a, e, f, d]]).transpose(0, 2, 1)
    odd = np.isin(order @ [9, 3, 1], [0 * 9 + 2 * 3 + 1, 1 * 9 + 0 * 3 + 2, 2 * 9 + 1 * 3 + 0])
    cells[:, odd] = cells[:, odd][..., [1, 0, 2, 3]]
    return np.asarray(cells.reshape(-1, 4))


def split_squares(lower: Index, upper: Index) -> Index:
    """The two triangles of squares on the side of prisms, cut as `split_prisms` cuts them.

    Args:
        lower: Lower edges, shape (m, 2).
        upper: Vertices above, shape (m, 2).
    """
    swap = lower[:, 0] > lower[:, 1]
    a, b, c, d = lower[:, 0], lower[:, 1], upper[:, 1], upper[:, 0]
    first = np.where(swap[:, None], np.stack([a, b, d], axis=1), np.stack([a, b, c], axis=1))
    second = np.where(swap[:, None], np.stack([b, c, d], axis=1), np.stack([a, c, d], axis=1))
    return np.concatenate([first, second])
