"""Surfaces held near the corners of the voxels that they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.mesh.closest import on_triangles, samples
from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.conforming.relaxing import settled
from organtwin.mesh.conforming.topology import CORNER, Index, Net, Points, normals_of
from organtwin.mesh.vectors import dots, lengths_of, unit

#: Samples near an anchor whose triangles are looked at.
_NEAREST = 6
#: How many of them are looked at first.
_FIRST = 2
#: Rounds of pulling at most, and after them of steps of such a length, which slivers bar less.
_ROUNDS, _STEP = (6, 10), 0.25
#: Part of the bound to which surfaces are pulled: what follows needs some room.
_WITHIN = 0.97
#: Least sum of squared weights of corners, so that none goes further than its anchor is too far.
_SPREAD = 0.3


@dataclass(frozen=True)
class Anchors:
    """Places that borders between regions must stay near.

    Attributes:
        places: Where they are (mm), shape (k, 3).
        pairs: Between which regions the border lies, see `numbers_of`, shape (k,).
        normals: Unit normals of the border before it is changed, shape (k, 3).
        bound: Largest distance of the border from them (mm).
    """

    places: Points
    pairs: Index
    normals: Points
    bound: float

    @classmethod
    def of(cls, interfaces: Interfaces, corners: Points, bound: float, slack: float) -> Anchors:
        """The corners of voxels from which vertices of smooth borders came.

        Args:
            interfaces: Smooth borders.
            corners: Where each of their vertices was before (mm), shape (n, 3).
            bound: Largest distance of borders from them (mm).
            slack: What borders may become further away (mm); corners that need no look even then
                are left out.
        """
        count = len(interfaces.points)
        pairs = numbers_of(interfaces.sides)
        keys, place = np.unique(
            (interfaces.triangles + count * pairs[:, None]).ravel(), return_inverse=True
        )
        normals = np.repeat(normals_of(interfaces.corners), 3, axis=0)
        total = [np.bincount(place.ravel(), part, len(keys)) for part in normals.T]
        vertex = keys % count
        away = lengths_of(corners[vertex] - interfaces.points[vertex])
        used = np.flatnonzero(away > bound - slack)
        return cls(
            corners[vertex[used]],
            keys[used] // count,
            unit(np.stack(total, axis=1)[used]),
            bound,
        )

    def part(self, chosen: NDArray[np.bool_]) -> Anchors:
        """Some of them."""
        return Anchors(self.places[chosen], self.pairs[chosen], self.normals[chosen], self.bound)


class _Feet(NamedTuple):
    """Nearest places of triangles: the triangles, the places, the distances."""

    triangles: Index
    points: Points
    distances: NDArray[np.float64]


def numbers_of(sides: Index) -> Index:
    """A number for each pair of regions, (k, 2) to (k,)."""
    return np.asarray(sides[:, 0] * 65536 + sides[:, 1])


def hold(net: Net, pairs: Index, anchors: Anchors) -> Net:
    """Pull triangles towards anchors that are further away than they may be.

    The corners of the nearest triangle share the pull by their weights in its nearest place.
    Corners where curves meet stay, and so do vertices whose triangles would become slivers.

    Args:
        net: Triangles.
        pairs: Number of the pair of regions at each triangle, shape (m,).
        anchors: What to stay near.
    """
    if not len(anchors.places):
        return net
    corners = net.points[net.triangles]
    near, apart = _near(corners, pairs, anchors), _apart(corners)
    # Most are found to be near enough on the first triangles.
    feet = _feet(corners, pairs, anchors, near[:, :_FIRST], apart)
    again = feet.distances > anchors.bound
    for turn in range(_ROUNDS[0] + _ROUNDS[1]):
        part = _feet(corners, pairs, anchors.part(again), near[again], apart)
        for known, found in zip(feet, part, strict=True):
            known[again] = found
        if not (feet.distances > anchors.bound).any():
            break
        step = 1.0 if turn < _ROUNDS[0] else _STEP
        before, net = net, settled(net, net.points + step * _pull(net, anchors, feet))
        corners = net.points[net.triangles]
        moved = (net.points != before.points).any(axis=1)[net.triangles].any(axis=1)
        again = moved[near].any(axis=1)
    return net


def rooms(interfaces: Interfaces, anchors: Anchors) -> tuple[NDArray[np.float64], float]:
    """How far vertices may move without an anchor getting further away than it may be.

    Returns:
        The way left for each vertex (mm), infinite without an anchor beside it, shape (n,); and
        the largest distance of an anchor (mm).
    """
    result = np.full(len(interfaces.points), np.inf)
    if not len(anchors.places):
        return result, 0.0
    pairs = numbers_of(interfaces.sides)
    near = _near(interfaces.corners, pairs, anchors)
    feet = _feet(interfaces.corners, pairs, anchors, near, _apart(interfaces.corners))
    left = np.maximum(anchors.bound - feet.distances, 0.0)
    corners = interfaces.triangles[feet.triangles]
    np.minimum.at(result, corners.ravel(), np.repeat(left, 3))
    return result, float(feet.distances.max())


def _near(corners: Points, pairs: Index, anchors: Anchors) -> Index:
    """Triangles near each anchor, those of its border, shape (k, j)."""
    places, home = samples(corners)
    apart = _apart(corners)
    # The border is a fourth coordinate, so that none is held by another one nearby.
    tree = cKDTree(np.column_stack([places, apart * pairs[home]]), balanced_tree=False)
    count = min(_NEAREST, len(home))
    found = tree.query(
        np.column_stack([anchors.places, apart * anchors.pairs]),
        k=count,
        distance_upper_bound=0.5 * apart,
    )[1].reshape(-1, count)
    found = np.where(found == len(home), found[:, :1], found).clip(max=len(home) - 1)
    return np.asarray(home[found])


def _apart(corners: Points) -> float:
    return 10.0 * max(float(np.ptp(corners, axis=(0, 1)).max()), 1.0)


def _feet(corners: Points, pairs: Index, anchors: Anchors, near: Index, apart: float) -> _Feet:
    """Nearest places of the triangles near each anchor, of those that face like it if any do."""
    looked = corners[near]
    foot = on_triangles(anchors.places[:, None], looked)
    distance = lengths_of(foot - anchors.places[:, None])
    wrong = np.where(pairs[near] == anchors.pairs[:, None], 0.0, 2.0 * apart)
    normals = normals_of(looked.reshape(-1, 3, 3)).reshape(*near.shape, 3)
    wrong += apart * (dots(normals, anchors.normals[:, None]) < 0.0)
    best = (distance + wrong).argmin(axis=1)
    rows = np.arange(len(near))
    return _Feet(near[rows, best], foot[rows, best], distance[rows, best])


def _pull(net: Net, anchors: Anchors, feet: _Feet) -> Points:
    """Shift of each vertex (mm) by the anchor that asks for most, shape (n, 3)."""
    over = feet.distances > _WITHIN * anchors.bound
    corners = net.triangles[feet.triangles[over]]
    foot, distance = feet.points[over], feet.distances[over]
    weights = _weights(foot, net.points[corners]).clip(0.0, 1.0)
    weights *= net.kind[corners] < CORNER
    share = weights / np.maximum((weights**2).sum(axis=1), _SPREAD)[:, None]
    asked = share * (distance - _WITHIN * anchors.bound)[:, None]
    way = (anchors.places[over] - foot) / distance[:, None]
    most = np.zeros(len(net.points))
    np.maximum.at(most, corners.ravel(), asked.ravel())
    first = (asked > 0) & (asked >= most[corners])
    shift = np.zeros_like(net.points)
    shift[corners[first]] = (asked[:, :, None] * way[:, None])[first]
    return shift


def _weights(places: Points, corners: Points) -> Points:
    """Barycentric coordinates of places in the planes of triangles, shape (k, 3)."""
    normals = normals_of(corners)
    square = np.maximum(dots(normals, normals), 1e-300)
    parts = []
    for k in (1, 2):
        one, two = corners[:, (k + 1) % 3], corners[:, (k + 2) % 3]
        parts.append(dots(normals_of(np.stack([places, one, two], axis=1)), normals) / square)
    return np.stack([1.0 - parts[0] - parts[1], *parts], axis=1)
