"""Edges that are too long split in their middles, all at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organtwin.mesh.conforming.collapse import LONG
from organtwin.mesh.conforming.topology import ALONG, FROZEN, INSIDE, Index, Net, Points


def split(net: Net, sizes: NDArray[np.float64]) -> tuple[Net, int]:
    """Split all edges longer than 4/3 of the size; each triangle becomes one to four.

    Args:
        net: Triangles.
        sizes: Wanted edge length at each vertex (mm), shape (n,).

    Returns:
        The net, its new vertices last, and how many these are.
    """
    edges = net.edges
    free = (net.kind[edges.ends] != FROZEN).any(axis=1)
    long = np.flatnonzero(free & (net.lengths > LONG * sizes[edges.ends].mean(axis=1)))
    if not len(long):
        return net, 0
    middle = np.full(len(edges.ends), -1)
    middle[long] = len(net.points) + np.arange(len(long))
    points = np.concatenate([net.points, net.points[edges.ends[long]].mean(axis=1)])
    kind = np.where(edges.curve[long], ALONG, INSIDE).astype(net.kind.dtype)
    triangles, parent = _divided(points, net.triangles, middle[edges.within])
    return Net(points, triangles, net.sheet[parent], np.concatenate([net.kind, kind])), len(long)


def _divided(points: Points, triangles: Index, middles: Index) -> tuple[Index, Index]:
    """Triangles cut at the middles of edges, -1 where there is none, and where each comes from."""
    number = (middles >= 0).sum(axis=1)
    whole = np.flatnonzero(number == 0)
    parts, parents = [triangles[whole]], [whole]
    for count, cut in ((1, _in_two), (2, _in_three), (3, _in_four)):
        chosen = np.flatnonzero(number == count)
        # The odd edge out comes first: the one that is split, or the one that is not.
        odd = (middles[chosen] >= 0) == (count == 1)
        turn = (odd.argmax(axis=1)[:, None] + np.arange(3)) % 3
        corners = np.take_along_axis(triangles[chosen], turn, axis=1)
        new = cut(points, corners, np.take_along_axis(middles[chosen], turn, axis=1))
        parts += new
        parents += [chosen] * len(new)
    return np.concatenate(parts), np.concatenate(parents)


def _in_two(points: Points, corners: Index, middles: Index) -> list[Index]:
    a, b, c = corners.T
    ab = middles[:, 0]
    return [np.stack([a, ab, c], axis=1), np.stack([ab, b, c], axis=1)]


def _in_three(points: Points, corners: Index, middles: Index) -> list[Index]:
    """The corner that both split edges share cut off, the rest cut along its shorter diagonal."""
    a, b, c = corners.T
    bc, ca = middles[:, 1], middles[:, 2]
    first = np.linalg.norm(points[a] - points[bc], axis=1)
    second = np.linalg.norm(points[b] - points[ca], axis=1)
    swap = first < second
    return [
        np.stack([bc, c, ca], axis=1),
        np.stack([a, b, np.where(swap, bc, ca)], axis=1),
        np.stack([np.where(swap, a, b), bc, ca], axis=1),
    ]


def _in_four(points: Points, corners: Index, middles: Index) -> list[Index]:
    (a, b, c), (ab, bc, ca) = corners.T, middles.T
    cuts = ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
    return [np.stack(cut, axis=1) for cut in cuts]
