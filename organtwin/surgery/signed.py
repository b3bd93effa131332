"""Signed distance from closed surfaces, at places and on grids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.image.volume import Grid
from organtwin.mesh.closest import closest_on_triangles
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.vectors import dots, lengths_of, unit
from organtwin.mesh.voxelising import inside

type Points = NDArray[np.float64]
type Field = NDArray[np.float32]
type Index = NDArray[np.int64]

#: Voxels on either side of a surface in which the distance on a grid is exact.
BAND = 2.5
#: Barycentric coordinate up to which a foot lies on an edge or a vertex.
EDGE = 1e-6


def signed_distances(places: Points, surface: TriangleSurface) -> Points:
    r"""Distance (mm) of places from a closed surface, negative inside, shape (n,).

    .. math:: d(x) = \pm \min_{y \in S} |x - y|

    The sign is that of :math:`(x - y) \cdot n(y)` with the angle-weighted normal of the face, edge
    or vertex on which the nearest place y lies.

    Args:
        places: Where from (mm), shape (n, 3).
        surface: Closed surface whose triangles face outwards.

    Source:
        J. A. Baerentzen, H. Aanaes, IEEE Trans. Vis. Comput. Graph. 11 (2005) 243-253.
    """
    feet, owner = closest_on_triangles(places, surface.points, surface.triangles)
    away = places - feet
    outwards = dots(away, _normals_at(feet, owner, surface)) >= 0.0
    return np.where(outwards, 1.0, -1.0) * lengths_of(away)


def signed_field(surface: TriangleSurface, grid: Grid) -> Field:
    """Signed distance (mm) on a grid of cubes along the patient's axes, negative inside.

    It is exact within 2.5 voxels of the surface and right to about one voxel beyond. The sign is
    that of the voxel's centre, counted along rows, so that it holds for surfaces with crossings.

    Args:
        surface: Closed surface.
        grid: Grid whose direction is the identity.
    """
    edge = float(grid.spacing[0])
    within = inside(surface, grid)
    if not within.any():
        # Nothing of it holds a voxel's centre; the distance tells where it is all the same.
        return _everywhere(surface, grid, within)
    outer = ndimage.distance_transform_edt(~within)
    inner = ndimage.distance_transform_edt(within)
    rough = np.where(within, 0.5 - inner, outer - 0.5) * edge
    near = np.argwhere(np.abs(rough) <= BAND * edge)
    places = grid.points(near)
    feet, _ = closest_on_triangles(places, surface.points, surface.triangles)
    exact = lengths_of(places - feet)
    rough[tuple(near.T)] = np.where(within[tuple(near.T)], -exact, exact)
    return rough.astype(np.float32)


def _everywhere(surface: TriangleSurface, grid: Grid, within: NDArray[np.bool_]) -> Field:
    places = grid.points(np.indices(grid.shape).reshape(3, -1).T)
    feet, _ = closest_on_triangles(places, surface.points, surface.triangles)
    exact = lengths_of(places - feet).reshape(grid.shape)
    return np.where(within, -exact, exact).astype(np.float32)


def _normals_at(feet: Points, owner: Index, surface: TriangleSurface) -> Points:
    """Angle-weighted normals (not of length one) at places on a surface, shape (n, 3)."""
    faces, edges, vertices = _pseudonormals(surface)
    corners = surface.points[surface.triangles[owner]]
    weight = _barycentric(feet, corners)
    high = weight > EDGE
    number = high.sum(axis=1)
    result = faces[owner]
    # Edge k joins the corners k and k + 1; the corner opposite to it has no weight.
    on_edge = number == 2
    opposite = np.argmin(weight, axis=1)
    result[on_edge] = edges[owner[on_edge], (opposite[on_edge] + 1) % 3]
    on_vertex = number <= 1
    result[on_vertex] = vertices[
        surface.triangles[owner[on_vertex], np.argmax(weight[on_vertex], axis=1)]
    ]
    return result


def _pseudonormals(surface: TriangleSurface) -> tuple[Points, Points, Points]:
    """Normals of faces (m, 3), of the edges of each face (m, 3, 3), of vertices (n, 3)."""
    corners = surface.points[surface.triangles]
    along = np.roll(corners, -1, axis=1) - corners
    faces = unit(np.cross(along[:, 0], along[:, 1]))
    directions = unit(along)
    turning = -dots(directions, np.roll(directions, 1, axis=1))
    angles = np.arccos(np.clip(turning, -1.0, 1.0))
    vertices = np.zeros_like(surface.points)
    for k in range(3):
        np.add.at(vertices, surface.triangles[:, k], angles[:, k, None] * faces)
    ends = np.stack([surface.triangles, np.roll(surface.triangles, -1, axis=1)], axis=2)
    key = ends.min(axis=2) * len(surface.points) + ends.max(axis=2)
    _, number = np.unique(key, return_inverse=True)
    number = number.reshape(key.shape)
    sums = np.zeros((int(number.max()) + 1, 3))
    for k in range(3):
        np.add.at(sums, number[:, k], faces)
    return faces, sums[number], vertices


def _barycentric(x: Points, corners: Points) -> Points:
    """Barycentric coordinates of places on triangles, shape (n, 3)."""
    a, u, v = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    w = x - a
    uu, uv, vv, wu, wv = dots(u, u), dots(u, v), dots(v, v), dots(w, u), dots(w, v)
    det = np.maximum(uu * vv - uv * uv, 1e-300)
    s, t = (vv * wu - uv * wv) / det, (uu * wv - uv * wu) / det
    return np.stack([1.0 - s - t, s, t], axis=1)
