"""Where layers along a border end: on flat or rounded borders beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from organtwin.errors import MeshError
from organtwin.mesh.closest import closest_on_triangles
from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.layers import vertex_normals
from organtwin.mesh.vectors import unit

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Angle (radians) between triangles of one flat end.
FLAT = 1e-3


@dataclass(frozen=True)
class End:
    """A part of a region's boundary on which layers end.

    Attributes:
        triangles: Numbers of its triangles.
        rims: Numbers of the layers' rims in it.
        vertices: Vertices of these rims.
        inner: Vertices that make way for the layers.
        rounded: Whether it is not flat.
    """

    triangles: Index
    rims: tuple[int, ...]
    vertices: Index
    inner: Index
    rounded: bool


def ends_of(
    interfaces: Interfaces, rest: NDArray[np.bool_], rims: list[Index], vertices: Index,
    reach: float,
) -> list[End]:  # fmt: skip
    """The ends that rims lie in: flat ones, or else whole borders beside.

    Args:
        interfaces: Borders of regions.
        rest: Triangles of the region that no layers stand on, shape (m,).
        rims: Edges of each rim.
        vertices: Those that layers stand on.
        reach: Distance from rims up to which vertices of rounded ends make way (mm).

    Raises:
        MeshError: a rim lies in several borders.
    """
    which = np.flatnonzero(rest)
    for bend in (FLAT, 3.0):
        part = _parts(interfaces, which, bend)
        found, place = _owners(interfaces, which, part, rims, vertices)
        if place is None:
            break
    if place is not None:
        x, y, z = place
        raise MeshError(
            "lined",
            f"layers end on several borders near ({x:.1f}, {y:.1f}, {z:.1f}) mm.",
            "Name more borders around there, or join the regions beside.",
        )
    ends = []
    for number, own in found.items():
        triangles, rim = which[part == number], np.unique(np.concatenate([rims[k] for k in own]))
        inner = _inner(interfaces.triangles[triangles], len(interfaces.points))
        if bend != FLAT:
            distance, _ = cKDTree(interfaces.points[rim]).query(interfaces.points[inner])
            inner = inner[distance < reach]
        ends.append(End(triangles, tuple(own), rim, inner, bend != FLAT))
    return ends


def _owners(
    interfaces: Interfaces, which: Index, part: Index, rims: list[Index], vertices: Index
) -> tuple[dict[int, list[int]], Points | None]:
    """Rims in each part; a place (mm) where layers meet none or several."""
    n = len(interfaces.points)
    keys, of = _edge_keys(interfaces.triangles[which], n)
    found: dict[int, list[int]] = {}
    for k, rim in enumerate(rims):
        parts = np.unique(part[of[np.isin(keys, np.sort(rim, axis=1) @ [n, 1])]])
        if len(parts) != 1:
            return found, interfaces.points[rim[0]].mean(axis=0)
        found.setdefault(int(parts[0]), []).append(k)
    touching = np.isin(interfaces.triangles[which], vertices).any(axis=1)
    stray = touching & ~np.isin(part, list(found))
    return found, interfaces.corners[which[stray][0]].mean(axis=0) if stray.any() else None


def _edge_keys(triangles: Index, n: int) -> tuple[Index, Index]:
    """A number for each edge, alike in both directions, and the triangle it belongs to."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return np.sort(edges, axis=1) @ np.array([n, 1]), np.tile(np.arange(len(triangles)), 3)


def _parts(interfaces: Interfaces, which: Index, bend: float) -> Index:
    """Number of the part of each triangle; edges join those of one border that bend less."""
    keys, of = _edge_keys(interfaces.triangles[which], len(interfaces.points))
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(np.diff(keys[order]) == 0)
    one, two = of[order[same]], of[order[same + 1]]
    normals = _normals(interfaces.points, interfaces.triangles[which])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    # Of small angles the sine is exact where the cosine is not.
    sine = np.linalg.norm(np.cross(normals[one], normals[two]), axis=1)
    angle = np.arctan2(sine, np.einsum("ij,ij->i", normals[one], normals[two]))
    alike = (interfaces.sides[which[one]] == interfaces.sides[which[two]]).all(axis=1)
    joined = alike & (angle < bend)
    m = len(which)
    graph = sparse.coo_array((np.ones(joined.sum()), (one[joined], two[joined])), (m, m))
    return np.asarray(csgraph.connected_components(graph, directed=False)[1], np.int64)


def slid(
    points: Points, triangles: Index, far: Index, end: End
) -> tuple[Points, NDArray[np.bool_]]:
    """Vertices with those inside an end moved along with its rims.

    Args:
        points: Vertices (mm), shape (n, 3).
        triangles: Those of the end, shape (m, 3).
        far: Number of the vertex above each vertex of the borders.
        end: Its rims and the vertices that make way.

    Returns:
        Vertices (mm), shape (n, 3), and which triangles turned over, shape (m,).
    """
    inner, rim = end.inner, end.vertices
    shift = np.zeros_like(points)
    shift[rim] = points[far[rim]] - points[rim]
    if len(inner):
        matrix = _stiffness(points, triangles)
        right = -(matrix[inner] @ shift)
        shift[inner] = splu(matrix[inner][:, inner].tocsc()).solve(right)
    result = points.copy()
    result[inner] += shift[inner]
    if end.rounded and len(inner):
        result[inner] = closest_on_triangles(result[inner], points, triangles)[0]
    before = _normals(points, triangles)
    after = _normals(result, far[triangles])
    return result, np.einsum("ij,ij->i", before, after) <= 0.0


def _inner(triangles: Index, n: int) -> Index:
    """Vertices that are not on the border of an end."""
    unique, count = np.unique(_edge_keys(triangles, n)[0], return_counts=True)
    return np.setdiff1d(triangles, np.stack(np.divmod(unique[count == 1], n)))


def slopes_at(interfaces: Interfaces, ends: list[End], outwards: Points, height: float) -> Points:
    """Unit normals of what rims slide along, zero elsewhere, (n, 3).

    Flat ends have their own; on rounded ones rims slide along the chord to where the layers end.

    Args:
        interfaces: Borders of regions.
        ends: Where layers end.
        outwards: Normals of the borders that layers stand on, shape (n, 3).
        height: Of all layers (mm).
    """
    result = np.zeros_like(interfaces.points)
    for end in ends:
        triangles, start = interfaces.triangles[end.triangles], interfaces.points[end.vertices]
        slope = unit(vertex_normals(interfaces.points, triangles)[end.vertices])
        if end.rounded:
            into = unit(_across(-outwards[end.vertices], slope))
            foot, _ = closest_on_triangles(start + height * into, interfaces.points, triangles)
            slope = unit(_across(slope, unit(foot - start)))
        result[end.vertices] = slope
    return result


def _across(vectors: Points, axes: Points) -> Points:
    """The part of vectors at right angles to unit axes."""
    return vectors - np.einsum("ij,ij->i", vectors, axes)[:, None] * axes


def _stiffness(points: Points, triangles: Index) -> sparse.csr_array:
    """Laplacian of triangles with the cotangents of the opposite angles, above zero."""
    n = len(points)
    matrix = sparse.csr_array((n, n))
    for k in range(3):
        a, b, c = (points[triangles[:, (k + j) % 3]] for j in range(3))
        sine = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        cotangent = np.einsum("ij,ij->i", b - a, c - a) / np.maximum(sine, 1e-300)
        weight = np.maximum(0.5 * cotangent, 1e-3)
        i, j = triangles[:, (k + 1) % 3], triangles[:, (k + 2) % 3]
        for p, q in ((i, j), (j, i)):
            matrix = matrix - sparse.coo_array((weight, (p, q)), (n, n)).tocsr()
            matrix = matrix + sparse.coo_array((weight, (p, p)), (n, n)).tocsr()
    return matrix


def _normals(points: Points, triangles: Index) -> Points:
    corners = points[triangles]
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
