"""Boxes and tubes in tetrahedra whose regions share their faces, for interfaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from organtwin.mesh.volume_mesh import TetrahedralMesh, outer_facets

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Kuhn's six tetrahedra of a cube, whose corners are numbered by the bits x, y, z.
KUHN = np.array(
    [[0, 1, 3, 7], [0, 5, 1, 7], [0, 3, 2, 7], [0, 4, 5, 7], [0, 2, 6, 7], [0, 6, 4, 7]]
)
#: A point is on a plane or cylinder that it is nearer to (mm).
ON = 1e-9


def blocks(
    cells: tuple[int, int, int],
    size: tuple[float, float, float],
    region: Callable[[Points], NDArray[np.str_]],
) -> TetrahedralMesh:
    """A box from the origin with the surfaces ``x0``, ``x1``, ``y0``, … ``z1``.

    Args:
        cells: Divisions of its edges.
        size: Edges (mm).
        region: Names of the regions at the middles of small boxes, (n, 3) to (n,).
    """
    axes = [np.linspace(0, length, n + 1) for length, n in zip(size, cells, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    points, tetrahedra, middles = _divided(grid, closed=False)

    def side(x: Points) -> NDArray[np.str_]:
        names = np.full(len(x), "", dtype="<U2")
        for i, axis in enumerate("xyz"):
            for end, at in ((0, 0.0), (1, size[i])):
                names[(np.abs(x[:, :, i] - at) < ON).all(axis=1)] = f"{axis}{end}"
        return names

    return _named(points, tetrahedra, region(middles), side)


def tubes(
    radii: Sequence[float],
    names: Sequence[str],
    across: Sequence[int],
    around: int,
    levels: Points,
    *,
    angle: float = 2 * np.pi,
) -> TetrahedralMesh:
    """Tubes in each other about the z-axis, with faces in common.

    Args:
        radii: Of their walls (mm), one more than tubes, the first above 0.
        names: Of the tubes, the innermost first.
        across: Divisions of each wall.
        around: Divisions of the circle, or of the sector.
        levels: z of the layers of nodes (mm).
        angle: Of the sector from the plane y = 0 on, if not all of the circle.

    Returns:
        Regions of these names; surfaces ``bore``, ``rim``, NAME_z0, NAME_z1 and, of a sector, y0
        and ``end`` on the planes that it ends at.
    """
    parts = [np.linspace(radii[i], radii[i + 1], n + 1)[min(i, 1) :] for i, n in enumerate(across)]
    r, closed = np.concatenate(parts), angle > 2 * np.pi - ON
    phi = angle * np.arange(around + (not closed)) / around
    R, T, Z = np.meshgrid(r, phi, levels, indexing="ij")
    grid = np.stack([R * np.cos(T), R * np.sin(T), Z], axis=-1)
    points, tetrahedra, middles = _divided(grid, closed=closed)
    apothem = np.cos(angle / around / 2)
    walls = np.asarray(radii[1:-1]) * apothem
    which = np.asarray(names)[np.searchsorted(walls, np.linalg.norm(middles[:, :2], axis=1))]

    def side(x: Points) -> NDArray[np.str_]:
        away = np.linalg.norm(x[:, :, :2], axis=2)
        own = np.asarray(names)[np.searchsorted(walls, away.mean(axis=1))]
        found = np.full(len(x), "", dtype="<U40")
        found[(np.abs(away - radii[0]) < ON).all(axis=1)] = "bore"
        found[(np.abs(away - radii[-1]) < ON).all(axis=1)] = "rim"
        if not closed:
            turned = x[:, :, 1] * np.cos(angle) - x[:, :, 0] * np.sin(angle)
            found[(np.abs(x[:, :, 1]) < ON).all(axis=1)] = "y0"
            found[(np.abs(turned) < 1e-9 * radii[-1]).all(axis=1)] = "end"
        for end, z in (("z0", levels[0]), ("z1", levels[-1])):
            flat = (np.abs(x[:, :, 2] - z) < ON).all(axis=1)
            found[flat] = np.char.add(own[flat], f"_{end}")
        return found

    return _named(points, tetrahedra, which, side)


def _divided(grid: Points, *, closed: bool) -> tuple[Points, Index, Points]:
    """Points, tetrahedra, and of each the middle of its box; closed along the second axis."""
    number: Index = np.arange(int(np.prod(grid.shape[:3]))).reshape(grid.shape[:3])
    points = grid.reshape(-1, 3)
    if closed:
        number = np.concatenate([number, number[:, :1]], axis=1)
    n = [length - 1 for length in number.shape]
    corners = np.stack([
        number[i : i + n[0], j : j + n[1], k : k + n[2]].ravel()
        for k in (0, 1) for j in (0, 1) for i in (0, 1)
    ], axis=1)  # fmt: skip
    middles = np.repeat(points[corners].mean(axis=1), 6, axis=0)
    return points, corners[:, KUHN].reshape(-1, 4), middles


def _named(
    points: Points,
    cells: Index,
    regions: NDArray[np.str_],
    side: Callable[[Points], NDArray[np.str_]],
) -> TetrahedralMesh:
    """Names as integers; ``side`` names facets by their corners (n, 3, 3)."""
    facets = outer_facets(cells)
    names, region = np.unique(regions, return_inverse=True)
    sides, tag = np.unique(side(points[facets]), return_inverse=True)
    some = sides[tag] != ""
    return TetrahedralMesh(
        points, cells, region + 1, {str(n): k for k, n in enumerate(names, 1)},
        facets[some], tag[some] + 1, {str(n): k for k, n in enumerate(sides, 1) if n},
    )  # fmt: skip
