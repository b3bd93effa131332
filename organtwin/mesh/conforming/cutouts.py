"""Parts of a net cut out, worked on and put back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.mesh.conforming.topology import FROZEN, Flags, Index, Net, Points


@dataclass(frozen=True)
class Cutout:
    """Triangles around places, taken out of a net.

    Attributes:
        whole: Where they come from.
        taken: Which of its triangles they are, shape (m,).
        vertices: Its vertices that are used, in the order of those of ``part``.
        part: The triangles; vertices that are not near the places are frozen.
    """

    whole: Net
    taken: Flags
    vertices: Index
    part: Net

    @classmethod
    def around(cls, net: Net, places: Points, reach: NDArray[np.float64]) -> Cutout:
        """Cut out what lies around places.

        Two rings of triangles more than move are taken, so that all edges are known that collapses
        and flips may meet.

        Args:
            net: All triangles.
            places: Where to work (mm), shape (k, 3).
            reach: Distance up to which vertices are free (mm), shape (k,).
        """
        found = cKDTree(net.points).query_ball_point(places, reach)
        free = np.zeros(len(net.points), bool)
        free[np.concatenate([np.array(row, np.int64) for row in found])] = True
        beside = _touched(net, free)
        ring = np.zeros(len(net.points), bool)
        ring[net.triangles[beside].ravel()] = True
        taken = _touched(net, ring)
        kind = np.where(free, net.kind, FROZEN).astype(net.kind.dtype)
        inside = Net(net.points, net.triangles[taken], net.sheet[taken], kind)
        part, vertices = inside.compacted()
        return cls(net, taken, vertices, part)

    def put_back(self, part: Net) -> Net:
        """The whole net with the part as it became, whose frozen vertices still stand in order."""
        stayed = part.kind == FROZEN
        number = np.empty(len(part.points), np.int64)
        number[stayed] = self.vertices[self.part.kind == FROZEN]
        number[~stayed] = len(self.whole.points) + np.arange(np.count_nonzero(~stayed))
        rest = ~self.taken
        net = replace(
            self.whole,
            points=np.concatenate([self.whole.points, part.points[~stayed]]),
            triangles=np.concatenate([self.whole.triangles[rest], number[part.triangles]]),
            sheet=np.concatenate([self.whole.sheet[rest], part.sheet]),
            kind=np.concatenate([self.whole.kind, part.kind[~stayed]]),
        )
        return net.compacted()[0]


def _touched(net: Net, vertices: Flags) -> Flags:
    """Triangles with a vertex among the given ones."""
    return np.asarray(vertices[net.triangles].any(axis=1))
