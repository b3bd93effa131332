"""A surface under repair, and what a repair tells of itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.mesh.defects import places_of
from organtwin.mesh.surface_files import Points, Triangles

type Index = NDArray[np.int64]

#: Part of triangles that are no cap.
WALL = 0
#: Where triangles come from that the input has not: in place of others, or over a hole.
NEW, PATCH = -1, -2


@dataclass(frozen=True)
class RepairOptions:
    """How far a repair may go.

    Attributes:
        merge: Distance (mm) at which vertices become one; None for a millionth of the diagonal.
        smallest_part: Parts with a smaller share of the largest one's area are dropped.
        largest_hole: Longest rim (mm) of a hole; longer ones are open ends that get a cap. None for
            `HOLE_EDGES` mean edges.
        rounds: How often self-intersections are cut out, each time a ring wider.
    """

    merge: float | None = None
    smallest_part: float = 0.01
    largest_hole: float | None = None
    rounds: int = 6


@dataclass(frozen=True)
class Change:
    """One kind of change.

    Attributes:
        what: What was done, in words.
        count: To how many.
        places: Where (mm), shape (k, 3).
        detail: Names, volumes and distances, for the report.
    """

    what: str
    count: int
    places: Points
    detail: str = ""

    def __str__(self) -> str:
        where = f" at {places_of(self.places)}" if len(self.places) else ""
        return f"{self.what}: {self.count}{where}{'; ' if self.detail else ''}{self.detail}."


@dataclass(frozen=True)
class Patchwork:
    """A surface under repair; its vertices and triangles know where they come from.

    Attributes:
        points: Vertices (mm), shape (n, 3).
        triangles: Vertex indices, shape (m, 3).
        vertex_from: Vertex of the input that each is, or lies nearest to, shape (n,).
        triangle_from: Triangle of the input that each is, or `NEW` or `PATCH`, shape (m,).
        part: `WALL` or the integer of the cap of each triangle, shape (m,).
    """

    points: Points
    triangles: Triangles
    vertex_from: Index
    triangle_from: Index
    part: Index

    def keep(self, kept: NDArray[np.bool_]) -> Patchwork:
        """With some of the triangles and the vertices that they use."""
        used, numbered = np.unique(self.triangles[kept], return_inverse=True)
        return Patchwork(
            self.points[used],
            numbered.reshape(-1, 3),
            self.vertex_from[used],
            self.triangle_from[kept],
            self.part[kept],
        )

    def add(self, points: Points, triangles: Triangles, part: int, origin: int = NEW) -> Patchwork:
        """With new triangles; new vertices are numbered after those that are there."""
        near = cKDTree(self.points).query(points)[1] if len(points) else np.empty(0, np.int64)
        new = len(triangles)
        return Patchwork(
            np.concatenate([self.points, points]),
            np.concatenate([self.triangles, triangles]),
            np.concatenate([self.vertex_from, self.vertex_from[near]]),
            np.concatenate([self.triangle_from, np.full(new, origin)]),
            np.concatenate([self.part, np.full(new, part)]),
        )

    def joined(self, other: Patchwork) -> Patchwork:
        """Both as one, without a vertex in common."""
        return Patchwork(
            np.concatenate([self.points, other.points]),
            np.concatenate([self.triangles, other.triangles + len(self.points)]),
            np.concatenate([self.vertex_from, other.vertex_from]),
            np.concatenate([self.triangle_from, other.triangle_from]),
            np.concatenate([self.part, other.part]),
        )

    def turned(self, which: NDArray[np.bool_]) -> Patchwork:
        """With some of the triangles facing the other way."""
        triangles = self.triangles.copy()
        triangles[which] = triangles[which][:, ::-1]
        return replace(self, triangles=triangles)

    @property
    def middles(self) -> Points:
        """Middle of each triangle (mm), shape (m, 3)."""
        return np.asarray(self.points[self.triangles].mean(axis=1))

    @property
    def edge(self) -> float:
        """Mean length of an edge (mm)."""
        x = self.points[self.triangles]
        return float(np.linalg.norm(x - np.roll(x, 1, axis=1), axis=2).mean())

    @property
    def areas(self) -> Points:
        """Area of each triangle (mm²), shape (m,)."""
        x = self.points[self.triangles]
        cross = np.cross(x[:, 1] - x[:, 0], x[:, 2] - x[:, 0])
        return np.asarray(0.5 * np.linalg.norm(cross, axis=1))

    @property
    def polydata(self) -> pv.PolyData:
        """The same triangles for VTK."""
        return pv.PolyData.from_regular_faces(self.points, self.triangles)


#: The surface after a step of the repair, and what the step changed.
type Step = tuple[Patchwork, list[Change]]
