"""Triangles that close a rim: a patch of least area over a hole, a flat cap over an open end."""

from __future__ import annotations

from collections.abc import Sequence

import gmsh
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from organtwin.errors import MeshError
from organtwin.mesh.intersections import box_pairs, orientation_2d
from organtwin.mesh.tetrahedra import gmsh_session

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Longest rim (vertices) whose patch of least area is looked for; the work grows as the cube.
LONGEST_RIM = 300


def least_area(rim: Points, barred: NDArray[np.bool_] | None = None) -> Index:
    """Triangles over a rim, without new vertices, whose area is the least.

    The area A(i, j) of the best patch between vertices i and j and the chord that joins them is
    the least of A(i, k) + A(k, j) + area(i, k, j) over the vertices k between.

    Args:
        rim: Vertices along the rim (mm), shape (n, 3).
        barred: Chords that must not be used, as they are edges elsewhere, shape (n, n).

    Returns:
        Indices into the rim, facing like the rim runs, shape (n - 2, 3).

    Raises:
        MeshError: every patch needs a chord that is barred.

    Source:
        Barequet & Sharir (1995), Comput Aided Geom Des 12:207-229.
    """
    n = len(rim)
    best = np.full((n, n), np.inf)
    split = np.zeros((n, n), np.int64)
    best[np.arange(n - 1), np.arange(1, n)] = 0.0
    closed = np.zeros((n, n), bool) if barred is None else barred
    for gap in range(2, n):
        i = np.arange(n - gap)[:, None]
        k = i + np.arange(1, gap)
        j = i + gap
        cross = np.cross(rim[k] - rim[i], rim[j] - rim[i])
        cost = best[i, k] + best[k, j] + 0.5 * np.linalg.norm(cross, axis=2)
        choice = cost.argmin(axis=1)
        rows = i[:, 0]
        least = cost[np.arange(len(rows)), choice]
        allowed = ~closed[rows, rows + gap] if gap < n - 1 else np.ones(len(rows), bool)
        best[rows, rows + gap] = np.where(allowed, least, np.inf)
        split[rows, rows + gap] = rows + 1 + choice
    if not np.isfinite(best[0, n - 1]):
        raise MeshError("hole", "every patch would use an edge twice.")
    return _collected(split, n)


def _collected(split: Index, n: int) -> Index:
    triangles, open_ = [], [(0, n - 1)]
    while open_:
        i, j = open_.pop()
        if j - i > 1:
            k = int(split[i, j])
            triangles.append((i, k, j))
            open_ += [(i, k), (k, j)]
    return np.array(triangles, np.int64).reshape(-1, 3)


def flat_cap(rim: Points, name: str, inside: Sequence[Points] = ()) -> tuple[Points, Index, float]:
    """Triangles of even size over a rim, in its plane but for what the rim leaves it.

    Args:
        rim: Vertices along the rim (mm), shape (n, 3).
        name: Name of the cap, for messages.
        inside: Rims of openings in the cap, such as that of an inner wall (mm), (k, 3) each.

    Returns:
        New vertices inside the cap (mm), (k, 3); triangles with the vertices of the rims first,
        facing like the outer rim runs; the largest distance of the rims from the plane (mm).

    Raises:
        MeshError: seen along the plane's normal the rims cross themselves or each other.
    """
    centre = rim.mean(axis=0)
    axes = np.linalg.svd(rim - centre, full_matrices=False)[2]
    local = [(x - centre) @ axes.T for x in (rim, *inside)]
    loops = [x[:, :2] for x in local]
    place = f"cap `{name}` at ({centre[0]:.1f}, {centre[1]:.1f}, {centre[2]:.1f})"
    if _cross(loops):
        raise MeshError(
            place,
            "its rim crosses itself in its plane, so that no flat cap closes it.",
            "Cut the surface straight there, or allow larger holes to be filled.",
        )
    inner, triangles = _polygon(loops, place)
    flat = np.concatenate([*loops, inner])
    if _area(flat[triangles].transpose(1, 0, 2)).sum() * _area(loops[0][:, None]) < 0:
        triangles = triangles[:, ::-1]
    height = np.concatenate([x[:, 2] for x in local])
    filled = np.column_stack([inner, _harmonic(triangles, height, len(inner))])
    return centre + filled @ axes, np.ascontiguousarray(triangles), float(np.abs(height).max())


def lies_in(rim: Points, other: Points, tolerance: float) -> bool:
    """Whether a rim lies in the plane of another, surrounded by it.

    Args:
        rim: Vertices of the inner rim (mm), shape (k, 3).
        other: Vertices of the outer rim (mm), shape (n, 3).
        tolerance: Largest distance from the plane, in parts of the outer rim's radius.
    """
    centre = other.mean(axis=0)
    axes = np.linalg.svd(other - centre, full_matrices=False)[2]
    x, y = (rim - centre) @ axes.T, (other - centre) @ axes.T
    radius = float(np.linalg.norm(y, axis=1).mean())
    if np.abs(x[:, 2]).max() > tolerance * radius:
        return False
    a, b = y[:, :2], np.roll(y[:, :2], -1, axis=0)
    p = x[:, None, :2]
    crosses = (a[:, 1] > p[..., 1]) != (b[:, 1] > p[..., 1])
    rise = np.where(crosses, b[:, 1] - a[:, 1], 1.0)
    right = a[:, 0] + (p[..., 1] - a[:, 1]) / rise * (b[:, 0] - a[:, 0]) > p[..., 0]
    return bool((np.count_nonzero(crosses & right, axis=1) % 2 == 1).all())


def _area(corners: Points) -> Points:
    """Signed areas of polygons whose corners come first, shape (corners, polygons, 2)."""
    ahead = np.roll(corners, -1, axis=0)
    cross = corners[..., 0] * ahead[..., 1] - ahead[..., 0] * corners[..., 1]
    return np.asarray(0.5 * cross.sum(axis=0))


def _cross(loops: Sequence[Points]) -> bool:
    """Whether edges that are no neighbours meet."""
    start = np.concatenate(loops)
    end = np.concatenate([np.roll(x, -1, axis=0) for x in loops])
    offset = np.cumsum([0, *(len(x) for x in loops)])
    after = np.concatenate([first + np.roll(np.arange(len(x)), -1)
                            for first, x in zip(offset[:-1], loops, strict=True)])  # fmt: skip
    pairs = box_pairs(np.minimum(start, end), np.maximum(start, end))
    one, two = pairs.T
    apart = (after[one] != two) & (after[two] != one)
    one, two = one[apart], two[apart]
    a, b, c, d = start[one], end[one], start[two], end[two]
    across = (orientation_2d(a, b, c) * orientation_2d(a, b, d) <= 0) & (
        orientation_2d(c, d, a) * orientation_2d(c, d, b) <= 0
    )
    return bool(across.any())


def _polygon(loops: Sequence[Points], place: str) -> tuple[Points, Index]:
    """Triangles inside a polygon with openings, whose edges stay whole, by gmsh."""
    n = sum(len(x) for x in loops)
    with gmsh_session():
        gmsh.model.geo.addPlaneSurface(_gmsh_loops(loops), 1)
        gmsh.model.geo.synchronize()
        try:
            gmsh.model.mesh.generate(2)
        except Exception as error:  # gmsh raises bare Exceptions
            raise MeshError(place, f"gmsh can't fill it ({error}).") from None
        tags, coordinates, _ = gmsh.model.mesh.getNodes()
        rim = np.array([gmsh.model.mesh.getNodes(0, k)[0][0] for k in range(1, n + 1)])
        _, nodes = gmsh.model.mesh.getElementsByType(2, 1)
    inner = ~np.isin(tags, rim)
    number = np.zeros(int(tags.max()) + 1, np.int64)
    number[rim.astype(int)] = np.arange(n)
    number[tags[inner].astype(int)] = n + np.arange(np.count_nonzero(inner))
    triangles = number[nodes.astype(int)].reshape(-1, 3)
    if not len(triangles):
        raise MeshError(place, "the cap stayed empty.")
    return coordinates.reshape(-1, 3)[inner, :2], triangles


def _gmsh_loops(loops: Sequence[Points]) -> list[int]:
    """Curve loops of gmsh, points numbered from 1 in the order of the loops."""
    geo = gmsh.model.geo
    result, first = [], 1
    for loop in loops:
        for k, (x, y) in enumerate(loop, first):
            geo.addPoint(x, y, 0.0, tag=k)
        n = len(loop)
        lines = [geo.addLine(first + k, first + (k + 1) % n) for k in range(n)]
        for line in lines:
            geo.mesh.setTransfiniteCurve(line, 2)
        result.append(geo.addCurveLoop(lines))
        first += n
    return result


def _harmonic(triangles: Index, height: Points, new: int) -> Points:
    """Heights of the inner vertices, each the mean of those around it."""
    if not new:
        return np.empty(0)
    n = len(height)
    a = np.concatenate([triangles, np.roll(triangles, 1, axis=1)]).ravel()
    b = np.concatenate([np.roll(triangles, 1, axis=1), triangles]).ravel()
    near = sparse.csr_array((np.ones(len(a)), (a, b)), (n + new, n + new))
    near.data[:] = 1.0
    degree = sparse.diags_array(near.sum(axis=1)[n:])
    matrix = (degree - near[n:, n:]).tocsc()
    return np.atleast_1d(spsolve(matrix, near[n:, :n] @ height))
