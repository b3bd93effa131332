"""Closed surfaces from rings of points, remeshed with their rims kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import MeshError
from organtwin.mesh.defects import inspect
from organtwin.mesh.surface import Surface, remesh
from organtwin.mesh.surface_files import TriangleSurface

type Points = NDArray[np.float64]
type Triangles = NDArray[np.int64]

#: First number of a face for MMG, away from those of `organtwin.mesh.surface.SURFACES`.
FIRST = 101
#: Distance of the remeshed surface from the drawn one, in parts of the size.
DEVIATION = 0.04


@dataclass(frozen=True)
class Faces:
    """Triangles in smooth faces; edges between two faces are kept sharp.

    Attributes:
        points: Vertices (mm), shape (n, 3).
        triangles: Vertex indices, shape (m, 3).
        face: Number of the face of each triangle, from 0, shape (m,).
        names: Name of each face's surface; several faces may have the same.
    """

    points: Points
    triangles: Triangles
    face: NDArray[np.int64]
    names: tuple[str, ...]

    def surface(self) -> TriangleSurface:
        """As it is drawn, closed and facing outwards, with named parts.

        Raises:
            MeshError: it is not closed or cuts itself.
        """
        return _checked(_named(self.points, self.triangles, self.face, self.names))

    def remeshed(self, size: float) -> TriangleSurface:
        """With triangles of about edge length ``size`` (mm).

        Raises:
            MeshError: as `surface`, or MMG can't.
        """
        drawn = _outwards(self.points, self.triangles)
        there = Surface(self.points, drawn, self.face + FIRST)
        done = remesh(there, size, DEVIATION * size)
        return _checked(_named(done.points, done.triangles, done.patches - FIRST, self.names))


def tube(
    rows: Points,
    bands: Sequence[int] | NDArray[np.int64],
    start: tuple[Points, int],
    end: tuple[Points, int],
    names: Sequence[str],
) -> Faces:
    """Rings of points joined to a tube, each end closed by a fan around a point.

    Args:
        rows: Points of the rings (mm), shape (n, k, 3).
        bands: Face of each band between two rings, shape (n - 1,), or of each square, (n - 1, k).
        start: Point that closes the first ring, shape (3,), and the face there.
        end: The same of the last ring.
        names: Name of each face's surface.
    """
    n, k = rows.shape[:2]
    number = np.arange(n * k).reshape(n, k)
    low, high = number[:-1], number[1:]
    squares = np.stack([low, np.roll(low, -1, 1), np.roll(high, -1, 1), high], axis=-1)
    points = np.concatenate([rows.reshape(-1, 3), [start[0], end[0]]])
    q = squares.reshape(-1, 4)
    one = np.linalg.norm(points[q[:, 0]] - points[q[:, 2]], axis=1)
    two = np.linalg.norm(points[q[:, 1]] - points[q[:, 3]], axis=1)
    first = np.where((one <= two)[:, None], q[:, [0, 1, 2]], q[:, [0, 1, 3]])
    second = np.where((one <= two)[:, None], q[:, [0, 2, 3]], q[:, [1, 2, 3]])
    ring, last = number[0], number[-1]
    fan = np.column_stack([np.roll(ring, -1), ring, np.full(k, n * k)])
    cap = np.column_stack([last, np.roll(last, -1), np.full(k, n * k + 1)])
    given = np.asarray(bands, np.int64)
    face = np.broadcast_to(given[:, None] if given.ndim == 1 else given, (n - 1, k)).ravel()
    return Faces(
        points,
        np.concatenate([first, second, fan, cap]),
        np.concatenate([face, face, np.full(k, start[1]), np.full(k, end[1])]).astype(np.int64),
        tuple(names),
    )


def rounded_rectangle(
    half_x: Points | float, half_y: Points | float, corner: Points | float, directions: Points
) -> Points:
    """Points where rays from the middle leave a rectangle with round corners.

    Args:
        half_x: Half width along x (mm), broadcasts with the rest.
        half_y: Half width along y (mm).
        corner: Radius of the corners (mm), at most the smaller half width.
        directions: Unit vectors, shape (..., 2).

    Returns:
        Points (mm), shape (..., 2).
    """
    c, s = np.abs(directions[..., 0]), np.abs(directions[..., 1])
    a, b, r = np.broadcast_arrays(half_x, half_y, corner)
    p, q = a - r, b - r
    to_side = a / np.maximum(c, 1e-12)
    to_top = b / np.maximum(s, 1e-12)
    along = p * c + q * s
    to_arc = along + np.sqrt(np.maximum(along**2 - p**2 - q**2 + r**2, 0.0))
    on_side, on_top = to_side * s <= q, to_top * c <= p
    reach = np.where(on_side, to_side, np.where(on_top, to_top, to_arc))
    return np.asarray(reach[..., None] * directions)


def _outwards(points: Points, triangles: Triangles) -> Triangles:
    volume = TriangleSurface(points, triangles).volume
    return triangles if volume > 0 else triangles[:, ::-1].copy()


def _named(
    points: Points, triangles: Triangles, face: NDArray[np.int64], names: Sequence[str]
) -> TriangleSurface:
    numbers: Mapping[str, int] = {name: k for k, name in enumerate(dict.fromkeys(names), 1)}
    part = np.array([numbers[name] for name in names], np.int64)[face]
    return TriangleSurface(
        points, _outwards(points, triangles), triangle_values={"part": part}, names=dict(numbers)
    )


def _checked(surface: TriangleSurface) -> TriangleSurface:
    defects = inspect(surface).defects()
    if defects:
        raise MeshError("implant", f"its surface has {defects[0]}", "Change size or parameters.")
    return surface
