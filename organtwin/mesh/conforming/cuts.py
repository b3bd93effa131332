"""Planes of the image's border in which regions are cut off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.conforming.topology import normals_of
from organtwin.mesh.vectors import dots, unit

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Distance from a plane up to which places lie in it, and half of which vertices may move (mm).
FLAT = 1e-5
#: Smallest cosine between a plane and triangles that lie in it.
_ALONG = 0.9


@dataclass(frozen=True)
class Cuts:
    """Planes that cut regions off.

    Attributes:
        numbers: Number of each in `Interfaces.sides`, below 0, shape (k,).
        normals: Their unit normals, out of the image, shape (k, 3).
        distances: From the origin along the normals (mm), shape (k,).
        slack: Distance up to which places lie in them (mm).
    """

    numbers: Index
    normals: Points
    distances: Points
    slack: float = FLAT

    @classmethod
    def of(cls, interfaces: Interfaces) -> Cuts:
        """The planes of cut triangles."""
        front = interfaces.sides[:, 1]
        numbers = np.unique(front[front < 0])[::-1]
        normals, distances = np.empty((len(numbers), 3)), np.empty(len(numbers))
        for k, number in enumerate(numbers):
            corners = interfaces.corners[front == number]
            normals[k] = unit(normals_of(corners).sum(axis=0))
            distances[k] = (corners @ normals[k]).mean()
        return cls(numbers, normals, distances)

    def heights(self, points: Points) -> Points:
        """Distance (mm) in front of each plane, (..., 3) to (..., k)."""
        return np.asarray(points @ self.normals.T - self.distances)

    def numbers_at(self, points: Points, triangles: Index) -> Index:
        """Number of the plane that each triangle of the outer boundary lies in, 0 for none."""
        result = np.zeros(len(triangles), np.int64)
        corners = points[triangles]
        facing = unit(normals_of(corners)) @ self.normals.T > _ALONG
        inside = (np.abs(self.heights(corners)) <= self.slack).all(axis=1) & facing
        for k, number in enumerate(self.numbers):
            result[inside[:, k]] = number
        return result

    def flattened(self, points: Points, triangles: Index, numbers: Index) -> Points:
        """Vertices of triangles put into their planes.

        Args:
            points: Vertices (mm), shape (n, 3).
            triangles: Vertex indices, shape (m, 3).
            numbers: Number of the plane of each, shape (m,).
        """
        result = points.copy()
        for normal, distance, number in zip(
            self.normals, self.distances, self.numbers, strict=True
        ):
            used = np.unique(triangles[numbers == number])
            result[used] -= (dots(result[used], normal) - distance)[:, None] * normal
        return result
