"""All borders between regions as one set of triangles, each of them once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion

type Points = NDArray[np.float64]
type Triangles = NDArray[np.int64]

#: What lies around all regions; its number is 0.
OUTSIDE = "outside"
#: What lies beyond the planes in which the image's border cuts regions off; they have numbers
#: below 0, of which one stands for all of them.
CUT, BEYOND = "cut", -1


@dataclass(frozen=True)
class Interfaces:
    """Borders between regions in patient coordinates (LPS, mm).

    Every region is enclosed without gaps. Where three regions or more meet, their borders share
    vertices and edges; an edge that has not two triangles belongs to a junction curve.

    Attributes:
        points: Vertices (mm), shape (n, 3).
        triangles: Vertex indices, shape (m, 3).
        sides: Region behind each triangle, which its normal leaves, and region in front of it,
            shape (m, 2); 0 is outside, -k the outside beyond plane k of the image's border, and the
            first number is the larger one.
        names: Name of each region → its number.
    """

    points: Points
    triangles: Triangles
    sides: NDArray[np.int64]
    names: Mapping[str, int]

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Names of the regions behind and in front of each patch that exists."""
        called = called_by(self.names)
        found = np.unique(self._named, axis=0)
        return tuple((called[int(behind)], called[int(front)]) for behind, front in found)

    @property
    def _named(self) -> NDArray[np.int64]:
        """The sides with one number for all planes, shape (m, 2)."""
        return np.asarray(np.maximum(self.sides, BEYOND))

    @property
    def corners(self) -> Points:
        """Vertices of each triangle (mm), shape (m, 3, 3)."""
        return np.asarray(self.points[self.triangles])

    @property
    def areas(self) -> Points:
        """Area of each triangle (mm²), shape (m,)."""
        return np.asarray(0.5 * np.linalg.norm(_doubled(self.corners), axis=1))

    def number(self, name: str) -> int:
        """Number of a region, of the outside, or of what lies beyond cuts.

        Raises:
            InputError: no region of that name.
        """
        known = {**self.names, OUTSIDE: 0, CUT: BEYOND}
        if name not in known:
            raise InputError("interfaces", f"no region `{name}`.", suggestion(name, known))
        return known[name]

    def between(self, a: str, b: str) -> NDArray[np.bool_]:
        """Which triangles separate two regions, in either order, shape (m,)."""
        wanted = sorted((self.number(a), self.number(b)), reverse=True)
        return np.asarray((self._named == wanted).all(axis=1))

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
        x = self.points[self.triangles[used]]
        return float(way[used] @ cones(x - x.mean(axis=(0, 1)))) if len(used) else 0.0

    def boundary(self, name: str) -> Triangles:
        """All triangles around a region, their normals out of it, shape (k, 3)."""
        number = self.number(name)
        out, into = (self.triangles[self._named[:, k] == number] for k in (0, 1))
        return np.concatenate([out, into[:, ::-1]])

    def uncut(self) -> Interfaces:
        """The same with nothing but the outside beyond cuts."""
        return replace(self, sides=np.maximum(self.sides, 0))


def called_by(names: Mapping[str, int]) -> dict[int, str]:
    """Number → name of regions, of the outside and of what lies beyond cuts."""
    return {number: name for name, number in names.items()} | {0: OUTSIDE, BEYOND: CUT}


def refuse_reserved(names: Iterable[str], place: str) -> None:
    """Refuse regions that are called like what lies around them.

    Raises:
        InputError: so one is.
    """
    for name in names:
        if name in (OUTSIDE, CUT):
            what = "lies around" if name == OUTSIDE else "lies where the image's border cuts"
            raise InputError(place, f"a region `{name}`, which is what {what}.", "Rename it.")


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
