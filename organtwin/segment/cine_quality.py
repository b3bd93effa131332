"""How well segmented cine surfaces agree with a reference: sections in the image planes."""

from __future__ import annotations

from collections.abc import Sequence as Several

import numpy as np
import pyvista as pv
from numpy.typing import NDArray

from organtwin.segment.cine_planes import Plane
from organtwin.segment.cine_surface import PARTS, PoolSurface

type Array = NDArray[np.float64]


def capped(points: Array, triangles: NDArray[np.int64]) -> PoolSurface:
    """A surface whose holes (valves) are closed by triangles, facing outwards.

    Args:
        points: Vertices of one body, open or closed (mm), shape (n, 3).
        triangles: Vertex indices, shape (m, 3).
    """
    mesh = pv.PolyData.from_regular_faces(points, triangles)
    size = float(np.linalg.norm(np.ptp(points, axis=0)))
    full = mesh.fill_holes(size).triangulate()
    full = full.compute_normals(
        auto_orient_normals=True, consistent_normals=True, split_vertices=False
    )
    closed = np.asarray(full.faces).reshape(-1, 4)[:, 1:].astype(np.int64)
    return PoolSurface(
        np.asarray(full.points, dtype=np.float64), closed, np.full(len(closed), PARTS["lv_endo"])
    )


def section(surface: PoolSurface, plane: Plane) -> NDArray[np.bool_]:
    """Pixels of a plane whose centres lie inside a closed surface, shape (columns, rows)."""
    shape = plane.grid.shape[:2]
    index = np.indices(shape).reshape(2, -1).T
    points = plane.grid.points(np.c_[index, np.zeros(len(index))])
    low, high = surface.points.min(axis=0), surface.points.max(axis=0)
    near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
    result = np.zeros(len(points), bool)
    if len(near):
        body = pv.PolyData.from_regular_faces(surface.points, surface.triangles)
        found = pv.PolyData(points[near]).select_interior_points(body, check_surface=False)
        result[near] = np.asarray(found["selected_points"], bool)
    return result.reshape(shape)


def section_dice(surface: PoolSurface, reference: PoolSurface, planes: Several[Plane]) -> Array:
    """Overlap of two closed surfaces' sections: 2 |A and B| / (|A| + |B|), NaN where both miss.

    Args:
        surface: Closed surface.
        reference: Closed surface; see `capped`.
        planes: In which to compare.

    Returns:
        Shape (planes,).

    Source:
        Dice (1945), Ecology 26:297-302.
    """
    dice = np.full(len(planes), np.nan)
    for k, plane in enumerate(planes):
        a, b = section(surface, plane), section(reference, plane)
        if a.any() or b.any():
            dice[k] = 2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))
    return dice
