"""All borders between regions as one set of triangles, each of them once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion

type Points = NDArray[np.float64]
type Triangles = NDArray[np.int64]

#: What lies around all regions; its number is 0.
OUTSIDE = "outside"


@dataclass(frozen=True)
class Interfaces:
    """Borders between regions in patient coordinates (LPS, mm).

    Every region is enclosed without gaps. Where three regions or more meet, their borders share
    vertices and edges; an edge that has not two triangles belongs to a junction curve.

    Attributes:
        points: Vertices (mm), shape (n, 3).
        triangles: Vertex indices, shape (m, 3).
        sides: Region behind each triangle, which its normal leaves, and region in front of it,
            shape (m, 2); 0 is outside, and the first number is the larger one.
        names: Name of each region → its number.
    """

    points: Points
    triangles: Triangles
    sides: NDArray[np.int64]
    names: Mapping[str, int]

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Names of the regions behind and in front of each patch that exists."""
        called = {number: name for name, number in self.names.items()} | {0: OUTSIDE}
        found = np.unique(self.sides, axis=0)
        return tuple((called[int(behind)], called[int(front)]) for behind, front in found)

    @property
    def corners(self) -> Points:
        """Vertices of each triangle (mm), shape (m, 3, 3)."""
        return np.asarray(self.points[self.triangles])

    @property
    def areas(self) -> Points:
        """Area of each triangle (mm²), shape (m,)."""
        return np.asarray(0.5 * np.linalg.norm(_doubled(self.corners), axis=1))

    def number(self, name: str) -> int:
        """Number of a region, or of the outside.

        Raises:
            InputError: no region of that name.
        """
        if name == OUTSIDE:
            return 0
        if name not in self.names:
            known = [*self.names, OUTSIDE]
            raise InputError("interfaces", f"no region `{name}`.", suggestion(name, known))
        return self.names[name]

    def between(self, a: str, b: str) -> NDArray[np.bool_]:
        """Which triangles separate two regions, in either order, shape (m,)."""
        wanted = sorted((self.number(a), self.number(b)), reverse=True)
        return np.asarray((self.sides == wanted).all(axis=1))

    def patch(self, a: str, b: str) -> Triangles:
        """Triangles between two regions, their normals out of ``a`` into ``b``, shape (k, 3)."""
        found = self.triangles[self.between(a, b)]
        return np.asarray(found if self.number(a) > self.number(b) else found[:, ::-1])

    def area(self, a: str, b: str) -> float:
        """Area between two regions (mm²)."""
        return float(self.areas[self.between(a, b)].sum())

    def volume(self, name: str) -> float:
        """Volume of a region (mm³), by the divergence theorem.

        V = 1/6 Σ a · (b × c) over the triangles with their normals out of the region.
        """
        number = self.number(name)
        way = (self.sides[:, 0] == number).astype(float) - (self.sides[:, 1] == number)
        used = np.flatnonzero(way)
        x = self.corners[used]
        return float(way[used] @ cones(x - x.mean(axis=(0, 1)))) if len(used) else 0.0

    def boundary(self, name: str) -> Triangles:
        """All triangles around a region, their normals out of it, shape (k, 3)."""
        number = self.number(name)
        out, into = (self.triangles[self.sides[:, k] == number] for k in (0, 1))
        return np.concatenate([out, into[:, ::-1]])


def facet_name(behind: str, front: str) -> str:
    """Name of the facets between two regions, in the order of `Interfaces.sides`."""
    return f"{behind}-{front}"


def cones(corners: Points) -> Points:
    """Signed volume (mm³) between each triangle and the origin, shape (m,)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    return np.asarray(np.einsum("ij,ij->i", np.cross(a, b), c) / 6.0)


def _doubled(corners: Points) -> Points:
    """Normals of triangles with twice their areas as lengths (mm²), shape (m, 3)."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
