"""Where waves turn: filaments in the wall, tips on its surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from organtwin.electrophysiology.simplices import FACES, Nodes, Simplices

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Tip:
    """Point of a surface that a wave turns around.

    Attributes:
        position: Where (mm), (3,).
        charge: +1 if the wave turns counter-clockwise seen from outside (from +z on a mesh of
            triangles), −1 if clockwise.
    """

    position: Array
    charge: int


@dataclass(frozen=True)
class Filament:
    """Line that a scroll wave turns around, counter-clockwise seen from its end.

    Attributes:
        points: Its points in order (mm), (n, 3); the first is repeated at the end of a ring.
    """

    points: Array

    @property
    def length(self) -> float:
        """Length (mm)."""
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())

    @property
    def centre(self) -> Array:
        """Mean over its length (mm), (3,)."""
        weights = np.linalg.norm(np.diff(self.points, axis=0), axis=1)
        middles = (self.points[1:] + self.points[:-1]) / 2
        total = weights.sum()
        return np.asarray(weights @ middles / total if total > 0 else self.points[0])

    @property
    def is_ring(self) -> bool:
        """Whether it is closed."""
        return len(self.points) > 2 and bool((self.points[0] == self.points[-1]).all())


def tips(simplices: Simplices, a: Array, b: Array) -> list[Tip]:
    """Points of the surface where both linear fields are zero, in order of position; collective.

    Args:
        simplices: The mesh.
        a: Potential minus the middle of its range at the local nodes, (n,).
        b: The same of something that follows it: the potential some time ago, or a gate that
            rises after it.

    Source:
        Iyer & Gray (2001), Ann. Biomed. Eng. 29:47–59: phase from a delayed potential; the sign of
        the topological charge after Bray & Wikswo (2002), IEEE Trans. Biomed. Eng. 49:1086–1093.
    """
    triangles = _crossed(simplices.skin, a, b)
    turn = _winding(triangles, a, b)
    pierced = triangles[turn != 0]
    x = _points(simplices, pierced, a, b)
    rows = np.concatenate(_gathered(simplices, np.column_stack([x, turn[turn != 0]])))
    rows = rows[np.lexsort(rows[:, 2::-1].T)]
    return [Tip(row[:3], -int(row[3])) for row in rows]


def filaments(simplices: Simplices, a: Array, b: Array) -> list[Filament]:
    """Lines in the volume where both linear fields are zero, by position; collective.

    The phase arg(a + ib) grows with time. A face of a tetrahedron is pierced where the phase winds
    once around its border, which is where both linear fields are zero within it: at most two faces
    of each.

    Args:
        simplices: Tetrahedra.
        a: As for `tips`.
        b: As for `tips`.

    Source:
        Bray & Wikswo (2002), IEEE Trans. Biomed. Eng. 49:1086–1093.
    """
    cells = _crossed(simplices.cells, a, b)
    faces = cells[:, FACES]
    turn = _winding(faces.reshape(-1, 3), a, b).reshape(-1, 4)
    whole = ((turn == 1).sum(axis=1) == 1) & ((turn == -1).sum(axis=1) == 1)
    faces, turn = faces[whole], turn[whole]
    rows = []
    for sign in (1, -1):  # the phase winds the other way than the wave turns
        face = faces[turn == sign]
        name = np.sort(simplices.V.dofmap.index_map.local_to_global(face.ravel()).reshape(-1, 3))
        rows.append(np.column_stack([_points(simplices, face, a, b), name]))
    segments = np.concatenate(_gathered(simplices, np.column_stack(rows)))
    return _chained(segments)


def _gathered(simplices: Simplices, rows: Array) -> list[Array]:
    comm: MPI.Comm = simplices.V.mesh.comm
    return list(comm.allgather(rows))


def _crossed(cells: Nodes, a: Array, b: Array) -> Nodes:
    """Cells in which both fields change sign."""
    kind = (1 + (a >= 0)).astype(np.uint8) | ((1 + (b >= 0)) << 2).astype(np.uint8)
    return cells[np.bitwise_or.reduce(kind[cells], axis=1) == 0b1111]


def _winding(triangles: Nodes, a: Array, b: Array) -> NDArray[np.int8]:
    """Turns of the phase around each triangle: −1, 0 or 1."""
    p, q = a[triangles], b[triangles]
    after = [1, 2, 0]
    cross = p * q[:, after] - p[:, after] * q
    around = np.sign(cross).astype(np.int8).sum(axis=1)
    both = (p.min(axis=1) < 0) & (p.max(axis=1) >= 0) & (q.min(axis=1) < 0) & (q.max(axis=1) >= 0)
    return np.where(both & (np.abs(around) == 3), np.sign(around), 0).astype(np.int8)


def _points(simplices: Simplices, triangles: Nodes, a: Array, b: Array) -> Array:
    """Where both fields are zero in triangles, the same to the last bit from either side."""
    x = simplices.x[triangles]
    order = np.array([np.lexsort(corners.T) for corners in x], dtype=np.intp).reshape(-1, 3)
    nodes = np.take_along_axis(triangles, order, axis=1)
    p, q, x = a[nodes], b[nodes], simplices.x[nodes]
    after, before = [1, 2, 0], [2, 0, 1]
    weights = p[:, after] * q[:, before] - p[:, before] * q[:, after]
    weights = weights / weights.sum(axis=1)[:, None]
    return weights[:, :1] * x[:, 0] + weights[:, 1:2] * x[:, 1] + weights[:, 2:] * x[:, 2]


def _chained(segments: Array) -> list[Filament]:
    """Filaments of segments (from, its face, to, its face), in order of position."""
    segments = segments[np.lexsort(segments[:, [2, 1, 0]].T)]
    starts, ends = segments[:, 3:6], segments[:, 9:12]
    faces, number = np.unique(np.concatenate([starts, ends]), axis=0, return_inverse=True)
    start, end = np.split(number.ravel(), 2)
    graph = coo_array((np.ones(len(start)), (start, end)), shape=(len(faces), len(faces)))
    part = connected_components(graph, directed=False)[1]
    found = [
        Filament(_line(segments[part[start] == k], start[part[start] == k], end[part[start] == k]))
        for k in np.unique(part)
    ]
    return sorted(found, key=lambda filament: filament.centre.tolist())


def _line(segments: Array, start: NDArray[np.intp], end: NDArray[np.intp]) -> Array:
    """Points of one filament from its start, or all around from its first point."""
    heads = np.flatnonzero(~np.isin(start, end))
    at = int(heads[0]) if len(heads) else 0
    following = {int(face): k for k, face in enumerate(start)}
    points, seen = [segments[at, :3]], set()
    while at not in seen:
        seen.add(at)
        points.append(segments[at, 6:9])
        at = following.get(int(end[at]), at)
    return np.array(points)
