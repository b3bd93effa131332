"""Squares of a net split into triangles that stay clear of all others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organtwin.mesh.conforming.net import Net
from organtwin.mesh.intersections import intersecting_pairs

type Points = NDArray[np.float64]
type Mask = NDArray[np.bool_]


def folded(net: Net, moved: Points) -> Mask:
    """Squares that neither diagonal splits within their own envelope, shape (q,)."""
    return np.asarray(~np.logical_or(*_allowed(net, moved)))


def crossing(net: Net, moved: Points, triangles: NDArray[np.int64]) -> Mask:
    """Squares that cut others near corners with several vertices, shape (q,).

    The envelopes keep all else apart, see `_allowed`; there two sheets share them.
    """
    result = np.zeros(len(net.quads), bool)
    near = (net.away != 0).any(axis=1)
    if not near.any():
        return result
    near[net.edges[near[net.edges].any(axis=1)]] = True
    chosen = np.flatnonzero(near[triangles].any(axis=1))
    pairs = intersecting_pairs(net.corners + moved, triangles[chosen])
    result[chosen[np.unique(pairs)] % len(net.quads)] = True
    return result


def diagonals(net: Net, moved: Points, spacing: Points, before: Mask | None = None) -> Mask:
    """Whether each square is split from its corner 0 to 2, else from 1 to 3, shape (q,).

    Args:
        net: Squares.
        moved: Shift of each vertex from its corner (voxels).
        spacing: Edges of a voxel (mm).
        before: Diagonals that stay where they are still allowed; without them the shorter ones of
            those that are allowed are taken.
    """
    points = (net.corners + moved) * spacing
    a, b, c, d = (points[net.quads[:, k]] for k in range(4))
    shorter = ((a - c) ** 2).sum(axis=1) <= ((b - d) ** 2).sum(axis=1)
    first, second = _allowed(net, moved)
    return np.where(first & second, shorter if before is None else before, first)


def split(net: Net, along: Mask) -> NDArray[np.int64]:
    """First halves of all squares, then second halves, shape (2 q, 3)."""
    quads = np.where(along[:, None], net.quads, np.roll(net.quads, -1, axis=1))
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _allowed(net: Net, moved: Points) -> tuple[Mask, Mask]:
    """Whether the diagonal from corner 0 to 2, and that from 1 to 3, keeps the envelope.

    A square's envelope is the union of the four tetrahedra between the centres of its two voxels
    and two neighbouring vertices of it. While each vertex stays within half a voxel of its corner,
    the envelopes of different squares have no inner point in common, so that squares split within
    their own can't cut each other. A diagonal keeps the envelope if it meets one of the triangles
    between the centres and the two vertices that it doesn't join.

    Source:
        Ju & Udeshi (2006), Pacific Graphics (envelopes of dual contouring).
    """
    along = net.axes
    others = np.stack([(along + 1) % 3, (along + 2) % 3, along], axis=1)
    offset = (net.corners[net.quads] + moved[net.quads]).astype(np.float64)
    rest = net.corners[net.quads].mean(axis=1)
    local = np.take_along_axis(offset - rest[:, None, :], others[:, None, :], axis=2)
    a, b, c, d = (local[:, k] for k in range(4))
    return _meets(a, c, b) | _meets(a, c, d), _meets(b, d, a) | _meets(b, d, c)


def _meets(start: Points, end: Points, other: Points) -> Mask:
    """Whether a diagonal passes inside the triangle of a vertex and the two voxel centres.

    The centres lie at (0, 0, -1/2) and (0, 0, 1/2). The diagonal crosses the half plane of the
    vertex at the fraction ``far`` of the vertex' distance from the line between the centres.
    """
    one, two = _turn(other, start), _turn(other, end)
    way = (one / (one - two))[:, None]
    crossing = start + way * (end - start)
    far = (crossing[:, :2] * other[:, :2]).sum(axis=1) / (other[:, :2] ** 2).sum(axis=1)
    high = np.abs(crossing[:, 2] - far * other[:, 2])
    return np.asarray((far >= 0.0) & (far < 1.0) & (high < 0.5 * (1.0 - far)))


def _turn(a: Points, b: Points) -> Points:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
