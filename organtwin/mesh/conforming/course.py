"""Where a surface goes at its vertices, from which heights of chords are told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.mesh.conforming.topology import ALONG, Index, Net, Points
from organtwin.mesh.vectors import dots, unit


@dataclass(frozen=True)
class Course:
    """Normals of sheets and tangents of curves at the vertices of a net.

    A chord d of a circle bulges by d²/(8 R), and d · n = d²/(2 R) at its ends with their normals
    n: a quarter of this is the height over the chord.

    Attributes:
        keys: Vertex plus the number of vertices times its sheet, sorted, shape (k,).
        normals: Unit normals of that sheet there, shape (k, 3).
        tangents: Unit tangents of curves, zero elsewhere, shape (n, 3).
    """

    keys: Index
    normals: Points
    tangents: Points

    @classmethod
    def of(cls, net: Net) -> Course:
        """Normals and tangents of a net."""
        count = len(net.points)
        keys, place = np.unique(
            (net.triangles + count * net.sheet[:, None]).ravel(), return_inverse=True
        )
        total = [
            np.bincount(place.ravel(), np.repeat(net.normals[:, k], 3), len(keys)) for k in range(3)
        ]
        return cls(keys, unit(np.stack(total, axis=1)), _tangents(net))

    def at(self, vertices: Index, sheet: Index) -> Points:
        """Unit normals of sheets at vertices, shape (..., 3)."""
        wanted = vertices + len(self.tangents) * sheet
        return np.asarray(self.normals[np.searchsorted(self.keys, wanted)])

    def bulge(self, corners: Index, sheet: Index, places: Points) -> NDArray[np.float64]:
        """Height (mm) of the surface over the edges of triangles, shape (m,).

        Args:
            corners: Vertices, shape (m, 3).
            sheet: Sheets of the triangles, shape (m,).
            places: Where the vertices are (mm), shape (m, 3, 3).
        """
        normals = self.at(corners, sheet[:, None])
        sides = np.roll(places, -1, axis=1) - places
        leaving = np.abs(dots(sides, normals)).max(axis=1)
        reaching = np.abs(dots(sides, np.roll(normals, -1, axis=1))).max(axis=1)
        return np.asarray(0.25 * np.maximum(leaving, reaching))

    def lean(self, corners: Index, sheet: Index, units: Points) -> NDArray[np.float64]:
        """Smallest cosine between unit normals of triangles and those at corners, shape (m,)."""
        return np.asarray(dots(self.at(corners, sheet[:, None]), units[:, None]).min(axis=1))

    def bow(self, start: Index, end: Index, chord: Points) -> NDArray[np.float64]:
        """Height (mm) of curves over chords, shape (k,)."""
        heights = [
            np.linalg.norm(chord - (chord * t).sum(axis=1, keepdims=True) * t, axis=1)
            * (t != 0).any(axis=1)
            for t in (self.tangents[start], self.tangents[end])
        ]
        return np.asarray(0.25 * np.max(heights, axis=0))


def _tangents(net: Net) -> Points:
    """Unit vectors from the one to the other neighbour of vertices inside curves, shape (n, 3)."""
    ends = net.edges.ends[net.edges.curve]
    both = np.concatenate([ends, ends[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    first = np.searchsorted(both[:, 0], np.flatnonzero(net.kind == ALONG))
    result = np.zeros_like(net.points)
    one, two = both[first, 1], both[first + 1, 1]
    result[net.kind == ALONG] = unit(net.points[two] - net.points[one])
    return result
