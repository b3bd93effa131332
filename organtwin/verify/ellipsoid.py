"""The ventricle of Land et al. (2015) in layers of curved tetrahedra, fine at its apex."""

from __future__ import annotations

from dataclasses import dataclass

import basix
import basix.ufl
import numpy as np
from dolfinx import mesh
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.mesh.domain import Domain
from organtwin.parallel import on_root

type Array = NDArray[np.float64]
type Indices = NDArray[np.int64]

#: Growth of the edge length per length, away from the apex.
GRADING = 0.35


@dataclass(frozen=True)
class Grid:
    """How fine the wall is meshed.

    Attributes:
        size: Edge length along the wall (mm).
        apex: Edge length along the wall at the apex (mm).
        layers: Tetrahedra through the wall, of 3 mm.
    """

    size: float
    apex: float
    layers: int


def radii(t: Array) -> tuple[Array, Array]:
    """Short and long radius (mm) of the ellipsoid at depth ``t`` in the wall, 0 to 1."""
    return 7 + 3 * t, 17 + 3 * t


def place(q: Array) -> Array:
    """Points of the wall (mm) from (a cos v, a sin v, t), each (n, 3).

    The first two are polar coordinates of the unit disk, whose centre is the apex (a = 0) and whose
    border is the base (a = 1); t is the depth in the wall.
    """
    a = np.hypot(q[:, 0], q[:, 1])
    short, long = radii(q[:, 2])
    u = -np.pi + a * (np.pi - np.arccos(5 / long))
    along = -short * np.sin(u) / np.where(a > 0, a, 1.0)
    return np.column_stack([along * q[:, 0], along * q[:, 1], long * np.cos(u)])


def layered_ellipsoid(comm: MPI.Comm, grid: Grid) -> Domain:
    """Domain of problems 2 and 3 with quadratic cells, whose nodes lie on the ellipsoids.

    Args:
        comm: Communicator.
        grid: How fine.

    Returns:
        Domain with the region ``lv`` and the surfaces ``lv_endo``, ``epi``, ``base``; collective.
    """
    x, cells = on_root(comm, lambda: _cells(grid))
    if comm.rank > 0:
        x, cells = np.zeros((0, 3)), np.zeros((0, 10), dtype=np.int64)
    element = basix.ufl.element("Lagrange", "tetrahedron", 2, shape=(3,))
    msh = mesh.create_mesh(comm, cells, element, x)
    n_cells = msh.topology.index_map(3).size_local
    every = np.arange(n_cells, dtype=np.int32)
    region = mesh.meshtags(msh, 3, every, np.ones(n_cells, dtype=np.int32))
    return Domain(msh, region, _surfaces(msh), {"lv": 1}, {"lv_endo": 1, "epi": 2, "base": 3})


def _surfaces(msh: mesh.Mesh) -> mesh.MeshTags:
    def is_at(depth: float, x: Array) -> NDArray[np.bool_]:
        short, long = radii(np.full(x.shape[1], depth))
        off = (x[0] ** 2 + x[1] ** 2) / short**2 + x[2] ** 2 / long**2 - 1
        return np.asarray(np.abs(off) < 1e-8)

    msh.topology.create_connectivity(2, 3)
    found = [
        mesh.locate_entities_boundary(msh, 2, lambda x: is_at(0.0, x)),
        mesh.locate_entities_boundary(msh, 2, lambda x: is_at(1.0, x)),
        mesh.locate_entities_boundary(msh, 2, lambda x: np.isclose(x[2], 5.0)),
    ]
    facets = np.concatenate(found)
    tags = np.concatenate([np.full(len(f), i, dtype=np.int32) for i, f in enumerate(found, 1)])
    order = np.argsort(facets)
    return mesh.meshtags(msh, 2, facets[order], tags[order])


def _cells(grid: Grid) -> tuple[Array, Indices]:
    """Nodes (mm) and quadratic tetrahedra."""
    disk, triangles = _disk(grid)
    n = len(disk)
    depths = np.linspace(0.0, 1.0, grid.layers + 1)
    q = np.concatenate([np.column_stack([disk, np.full(n, t)]) for t in depths])
    # Prisms cut by the order of their corners, so that neighbours agree on the diagonals.
    inner = np.concatenate([np.sort(triangles, axis=1) + i * n for i in range(grid.layers)])
    prisms = np.hstack([inner, inner + n])
    tetrahedra = np.concatenate(
        [prisms[:, cut] for cut in ([0, 1, 2, 5], [0, 1, 4, 5], [0, 3, 4, 5])]
    )
    edges = np.stack([tetrahedra[:, e] for e in basix.topology(basix.CellType.tetrahedron)[1]], 1)
    pairs, middle = np.unique(np.sort(edges.reshape(-1, 2), axis=1), axis=0, return_inverse=True)
    cells = np.hstack([tetrahedra, len(q) + middle.reshape(-1, 6)])
    return place(np.concatenate([q, _middle(q[pairs[:, 0]], q[pairs[:, 1]])])), cells


def _middle(p: Array, q: Array) -> Array:
    """Halfway between two points in polar coordinates."""
    radius_p, radius_q = np.hypot(p[:, 0], p[:, 1]), np.hypot(q[:, 0], q[:, 1])
    angle_p, angle_q = np.arctan2(p[:, 1], p[:, 0]), np.arctan2(q[:, 1], q[:, 0])
    # The centre has no angle of its own.
    angle_p = np.where(radius_p > 0, angle_p, angle_q)
    angle_q = np.where(radius_q > 0, angle_q, angle_p)
    turn = (angle_q - angle_p + np.pi) % (2 * np.pi) - np.pi
    a, v = (radius_p + radius_q) / 2, angle_p + turn / 2
    return np.column_stack([a * np.cos(v), a * np.sin(v), (p[:, 2] + q[:, 2]) / 2])


def _disk(grid: Grid) -> tuple[Array, Indices]:
    """Points and triangles of the unit disk: rings about the apex."""
    places, counts = _rings(grid)
    angles = [2 * np.pi * np.arange(n) / n for n in counts]
    rings = [
        np.column_stack([a * np.cos(v), a * np.sin(v)]) for a, v in zip(places, angles, strict=True)
    ]
    starts = 1 + np.concatenate([[0], np.cumsum(counts)])
    first = [(0, 1 + j, 1 + (j + 1) % counts[0]) for j in range(counts[0])]
    between = [
        triangle
        for i in range(len(counts) - 1)
        for triangle in _zipped(starts[i], counts[i], starts[i + 1], counts[i + 1])
    ]
    return np.concatenate([np.zeros((1, 2)), *rings]), np.array([*first, *between], dtype=np.int64)


def _zipped(inner: int, m: int, outer: int, n: int) -> list[tuple[int, int, int]]:
    """Triangles between two rings of m and n points, evenly spaced from the same angle."""
    triangles, i, j = [], 0, 0
    while i < m or j < n:
        a, b = inner + i % m, outer + j % n
        if (j + 1) * m <= (i + 1) * n:
            j += 1
            triangles.append((a, b, outer + j % n))
        else:
            i += 1
            triangles.append((a, b, inner + i % m))
    return triangles


def _rings(grid: Grid) -> tuple[Array, NDArray[np.int64]]:
    """Radius in the disk, and number of points, of each ring."""
    a = np.linspace(0.0, 1.0, 4001)
    x = place(np.column_stack([a, 0 * a, 0 * a + 0.5]))
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(x, axis=0), axis=1))])
    size = np.minimum(grid.size, grid.apex + GRADING * arc)
    rate = 1 / size
    edges = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(arc))])
    n = max(3, round(float(edges[-1])))
    places = np.interp(np.arange(1, n + 1) / n * edges[-1], edges, a)
    around = 2 * np.pi * np.interp(places, a, x[:, 0]) / np.interp(places, a, size)
    return places, np.maximum(6, np.round(around).astype(np.int64))
