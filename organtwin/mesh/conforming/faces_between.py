"""Faces of tetrahedra that lie between regions or on the outer boundary."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.spatial import cKDTree

from organtwin.mesh.conforming.batches import OPPOSITE, Mask, Patch, neighbours
from organtwin.mesh.conforming.cell_shape import Index, Points
from organtwin.mesh.conforming.cuts import Cuts
from organtwin.mesh.conforming.interfaces import BEYOND, called_by, facet_name
from organtwin.mesh.intersections import intersecting_pairs
from organtwin.mesh.volume_mesh import TetrahedralMesh


def interface_triangles(cells: Index, regions: Index) -> tuple[Index, Index]:
    """Faces between regions and faces of the outer boundary.

    Args:
        cells: Vertex indices, positive volumes, shape (m, 4).
        regions: Region of each cell, above 0, shape (m,).

    Returns:
        Triangles whose normals leave the region with the larger number, shape (k, 3); the two
        regions, that one first and 0 for the outside, shape (k, 2).
    """
    beyond = neighbours(cells)
    there = np.where(beyond >= 0, regions[beyond], 0)
    cell, corner = np.nonzero(there < regions[:, None])
    triangles = cells[cell[:, None], OPPOSITE[corner]]
    return triangles, np.stack([regions[cell], there[cell, corner]], axis=1)


def with_interfaces(
    points: Points,
    cells: Index,
    regions: Index,
    names: Mapping[str, int],
    cuts: Cuts | None = None,
) -> tuple[TetrahedralMesh, Index]:
    """A mesh whose facets between regions are named by both, ``wall-blood``, ``wall-outside``.

    Facets of the outer boundary in planes of the image's border are called ``wall-cut``.

    Args:
        points: Vertices (mm), shape (n, 3).
        cells: Vertex indices, positive volumes, shape (m, 4).
        regions: Region of each cell, above 0, shape (m,).
        names: Name of a region → its number.
        cuts: Planes that cut regions off.

    Returns:
        The mesh, and the two regions of each facet as `Interfaces.sides` has them.
    """
    triangles, sides = interface_triangles(cells, regions)
    if cuts is not None:
        outer = sides[:, 1] == 0
        sides[outer, 1] = cuts.numbers_at(points, triangles[outer])
    called = called_by(names)
    pairs, tag = np.unique(np.maximum(sides, BEYOND), axis=0, return_inverse=True)
    facets = {
        facet_name(called[behind], called[front]): k
        for k, (behind, front) in enumerate(pairs.tolist(), 1)
    }
    mesh = TetrahedralMesh(points, cells, regions, names, triangles, tag.ravel() + 1, facets)
    return mesh, sides


def crossing_vertices(before: Patch, after: Patch) -> Index:
    """Vertices where changes made the outer boundary cross itself.

    Args:
        before: The mesh.
        after: The mesh with changes; old vertices keep their numbers.

    Returns:
        Vertices of changed triangles that meet others beyond what they share.
    """
    old, new = (_outer(patch) for patch in (before, after))
    moved = np.zeros(len(after.points), bool)
    moved[: len(before.points)] = (after.points[: len(before.points)] != before.points).any(axis=1)
    changed = moved[new].any(axis=1) | ~_among(new, old)
    if not changed.any():
        return np.empty(0, np.int64)
    near = _near(after.points, new, changed)
    triangles, changed = new[near], changed[near]
    pairs = intersecting_pairs(after.points, triangles, changed)
    crossing = pairs[changed[pairs]]
    return np.unique(triangles[crossing])


def _outer(patch: Patch) -> Index:
    triangles, sides = interface_triangles(patch.cells, patch.regions)
    return triangles[sides[:, 1] == 0]


def _among(triangles: Index, known: Index) -> Mask:
    """Whether triangles have the same vertices as some of those known."""
    numbers = np.unique(np.sort(np.concatenate([known, triangles]), axis=1), axis=0,
                        return_inverse=True)[1].ravel()  # fmt: skip
    return np.isin(numbers[len(known) :], numbers[: len(known)])


def _near(points: Points, triangles: Index, chosen: Mask) -> Mask:
    """Triangles that could touch the chosen ones, by the spheres around them."""
    centre = points[triangles].mean(axis=1)
    radius = np.linalg.norm(points[triangles] - centre[:, None], axis=2).max(axis=1)
    bound = radius[chosen].max() + radius.max()
    distance, _ = cKDTree(centre[chosen]).query(centre, distance_upper_bound=bound)
    return np.isfinite(distance)
