"""What holds the nodes of a frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Supports:
    """What holds the nodes, along axes of their own.

    Attributes:
        axes: Rows are the directions at each node, (n, 3, 3).
        held: Whether translations along and spins about the three axes are prescribed, (n, 6).
    """

    axes: Array
    held: NDArray[np.bool_]

    @classmethod
    def none(cls, nodes: int) -> Supports:
        """Free nodes."""
        return cls(np.tile(np.eye(3), (nodes, 1, 1)), np.zeros((nodes, 6), bool))

    def clamped(self, *nodes: int) -> Supports:
        """With these nodes held altogether."""
        held = self.held.copy()
        held[list(nodes)] = True
        return replace(self, held=held)

    def mirrored(self, nodes: NDArray[np.int64], normals: Array) -> Supports:
        """With these nodes, (k,), in planes of symmetry with the given unit normals, (k, 3).

        They can't leave the plane, and turn about its normal only. Of their axes the first is the
        normal and the third the one nearest to z (to x, where the normal is near z).
        """
        axes, held = self.axes.copy(), self.held.copy()
        upright = np.abs(normals[:, 2]) < 0.9
        near = np.where(upright[:, None], np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0]))
        third = near - np.sum(near * normals, axis=1, keepdims=True) * normals
        third /= np.linalg.norm(third, axis=1, keepdims=True)
        axes[nodes] = np.stack([normals, np.cross(third, normals), third], axis=1)
        held[nodes] |= np.array([True, False, False, False, True, True])
        return Supports(axes, held)

    def pinned(self, node: int, *components: int) -> Supports:
        """With these components (0–5, along the node's own axes) held too."""
        held = self.held.copy()
        held[node, list(components)] = True
        return replace(self, held=held)
