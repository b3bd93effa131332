"""Where the vertices of a net may go without meeting another sheet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.mesh.conforming.net import Net

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Part of its room that a vertex of a folded square keeps, each time.
BACK_OFF = 0.7
#: Least distance (voxels) from its corner, along an axis, of a vertex that another one shares it
#: with.
ASIDE = 0.1


@dataclass(frozen=True)
class Room:
    """Where vertices may go.

    Attributes:
        low: Lowest shift of each vertex from its corner (voxels), shape (n, 3).
        high: Highest shift, shape (n, 3).
    """

    low: Points
    high: Points

    @property
    def rest(self) -> Points:
        """The smallest shifts that are allowed, shape (n, 3)."""
        return self.clip(np.zeros_like(self.low))

    def clip(self, moved: Points) -> Points:
        """The nearest shifts that are allowed."""
        return np.clip(moved, self.low, self.high)

    def blocks(self, moved: Points, step: Points) -> NDArray[np.bool_]:
        """Components of a step that lead out of the room from its border, shape (n, 3)."""
        below = (moved <= self.low + 1e-9) & (step < 0.0)
        return np.asarray(below | ((moved >= self.high - 1e-9) & (step > 0.0)))

    def reduced(self, vertices: Index) -> Room:
        """Less room for some vertices."""
        factor = np.ones((len(self.low), 1))
        factor[vertices] = BACK_OFF
        rest = self.rest
        return Room(rest + factor * (self.low - rest), rest + factor * (self.high - rest))


def room_of(net: Net, reach: float, gap: float) -> Room:
    """Boxes around the corners, smaller where another sheet is near.

    That is so at corners with several vertices, and where one voxel lies between two sheets: both
    of two neighbouring corners have a vertex, but no edge joins them; or two squares are opposite
    faces of a voxel, as all around a bar of one voxel. In the plane of the image's border boxes are
    flat, so that what it cuts off gets a plane cap.
    """
    aside = min(ASIDE, 0.5 * gap)
    low = np.where(net.away > 0, aside, -reach)
    high = np.where(net.away < 0, -aside, reach)
    number = len(net.corners)
    shape = net.corners.max(axis=0) + 2
    place = np.ravel_multi_index(tuple(net.corners.T), tuple(shape))
    joined = net.edges @ np.array([number, 1])
    half = min(reach, 0.5 * (1.0 - gap))
    for axis in range(3):
        one, two = _pairs(place, int(np.prod(shape[axis + 1 :])))
        wanted = one * number + two
        apart = joined[np.searchsorted(joined, wanted).clip(max=len(joined) - 1)] != wanted
        high[one[apart], axis] = np.minimum(high[one[apart], axis], half)
        low[two[apart], axis] = np.maximum(low[two[apart], axis], -half)
        one, two = _opposite(net, place, axis, int(np.prod(shape[axis + 1 :])))
        high[one, axis] = np.minimum(high[one, axis], half)
        low[two, axis] = np.maximum(low[two, axis], -half)
    low[net.pinned] = high[net.pinned] = 0.0
    low[net.bound] = high[net.bound] = 0.0
    return Room(low, high)


def _pairs(place: Index, step: int) -> tuple[Index, Index]:
    """All pairs of vertices whose places, in ascending order, differ by ``step``."""
    first = np.searchsorted(place, place + step)
    number = np.searchsorted(place, place + step, side="right") - first
    one = np.repeat(np.arange(len(place)), number)
    within = np.arange(len(one)) - np.repeat(np.cumsum(number) - number, number)
    return one, first[one] + within


def _opposite(net: Net, place: Index, axis: int, step: int) -> tuple[Index, Index]:
    """Vertices of squares normal to an axis one voxel in front of another, and behind another."""
    squares = net.quads[net.axes == axis]
    first = place[squares].min(axis=1)
    return squares[np.isin(first + step, first)].ravel(), squares[
        np.isin(first - step, first)
    ].ravel()
