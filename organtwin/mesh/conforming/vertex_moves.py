"""Vertices moved to where the worst cell around them is best."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from organtwin.mesh.conforming.batches import OPPOSITE, Mask, Patch, independent, least, stars
from organtwin.mesh.conforming.cell_shape import Index, Points, shapes, shapes_at

#: First step of the search, as part of the mean edge at a vertex, and the last one.
FIRST_STEP, LAST_STEP = 0.15, 1e-3
#: Least rise of the worst shape that counts.
RISE = 1e-5


@dataclass(frozen=True)
class _Search:
    """Vertices under way: numbers, cells around, normals of the interfaces, step lengths."""

    vertices: Index
    by: Index
    cell: Index
    corner: Index
    normals: Points
    steps: Points


def move(patch: Patch, vertices: Index, goal: float, rounds: int) -> tuple[Patch, int]:
    """Raise the worst shape around vertices by a pattern search.

    In each round all vertices try steps along the axes of a frame that turns from round to round;
    the best step is taken where it raises the worst shape of the star, and is halved where none
    does. Neighbours don't move in the same round. Vertices on interfaces try steps along the
    interface first and never leave the ball of radius ``patch.reach`` around their first place.

    Args:
        patch: Cells.
        vertices: Vertices to move; those without reach are left out.
        goal: Shape beyond which cells are not looked at.
        rounds: Number of rounds.

    Returns:
        The patch with new points, and the number of moves.

    Source:
        Freitag & Ollivier-Gooch (1997), Int. J. Numer. Methods Eng. 40:3979-4002 (smoothing by
        the worst cell).
    """
    vertices = vertices[patch.reach[vertices] > 0]
    by, cell, corner = stars(patch.cells, vertices, len(patch.points))
    others = patch.cells[cell[:, None], OPPOSITE[corner]]
    across = np.linalg.norm(patch.points[others].mean(axis=1) - patch.points[vertices[by]], axis=1)
    size = np.bincount(by, across, len(vertices)) / np.maximum(np.bincount(by), 1)
    search = _Search(vertices, by, cell, corner, _normals(patch, vertices), FIRST_STEP * size)
    points, steps, moves = patch.points.copy(), search.steps.copy(), 0
    turns = np.random.default_rng(1)
    for round_ in range(rounds):
        now = least(shapes(points, patch.cells[cell]), by, len(vertices))
        active = (now < goal) & (steps > LAST_STEP * size)
        if not active.any():
            break
        frame = np.linalg.qr(turns.standard_normal((3, 3)))[0]
        directions = np.concatenate([frame, -frame])
        best, place = _best(patch, points, search, active, directions, steps, round_ % 3 < 2)
        gain = np.zeros(len(vertices))
        gain[active] = np.minimum(best, goal) - now[active]
        gain[gain < RISE] = 0.0
        use = gain[by] > 0
        chosen = independent(cell[use], by[use], gain, len(patch.cells))
        target = np.zeros((len(vertices), 3))
        target[active] = place
        points[vertices[chosen]] = target[chosen]
        moves += int(chosen.sum())
        steps[active & (gain == 0)] *= 0.5
        steps[chosen] *= 1.2
    return replace(patch, points=points), moves


def _best(
    patch: Patch, points: Points, search: _Search, active: Mask, directions: Points,
    steps: Points, along: bool,
) -> tuple[Points, Points]:  # fmt: skip
    """Best worst shape and its place among the steps of the active vertices."""
    vertices = search.vertices[active]
    step = np.broadcast_to(directions, (len(vertices), *directions.shape))
    if along:
        normals = search.normals[active]
        step = step - np.einsum("vkj,vj->vk", step, normals)[:, :, None] * normals[:, None, :]
    places = points[vertices][:, None, :] + steps[active][:, None, None] * step
    places = within(places, patch.start[vertices], patch.reach[vertices])
    number = np.cumsum(active) - 1
    use = active[search.by]
    by, cell, corner = number[search.by[use]], search.cell[use], search.corner[use]
    found = least(cones(points, patch.cells[cell], corner, places[by]), by, len(vertices))
    best = np.argmax(found, axis=1)
    row = np.arange(len(vertices))
    return found[row, best], places[row, best]


def within(places: Points, start: Points, reach: Points) -> Points:
    """Places (n, k, 3) drawn back into the balls of radius ``reach`` (n,) around ``start``."""
    away = places - start[:, None, :]
    length = np.maximum(np.linalg.norm(away, axis=2), 1e-300)
    part = np.minimum(1.0, reach[:, None] / length)
    return np.asarray(
        np.where(part[..., None] < 1, start[:, None] + away * part[..., None], places)
    )


def cones(points: Points, cells: Index, corner: Index, places: Points) -> Points:
    """Shapes of cells (r, 4) with one corner (r,) put at each of the places (r, k, 3); (r, k)."""
    base = cells[np.arange(len(cells))[:, None], OPPOSITE[corner]]
    x, y, z = (points[base[:, k]].T[:, :, None] for k in range(3))
    # The corner comes first in the order of OPPOSITE, which keeps the orientation.
    result = np.empty(places.shape[:2])
    chunk = max(1, 16384 // places.shape[1])
    for start in range(0, len(cells), chunk):
        part = slice(start, start + chunk)
        apex = np.moveaxis(places[part], 2, 0)
        result[part] = shapes_at(x[:, part], apex, z[:, part], y[:, part])
    return result


def _normals(patch: Patch, vertices: Index) -> Points:
    """Unit normals of the interfaces at vertices, zero for vertices inside a region; (n, 3).

    The direction in which the faces of the first region around a vertex have no area on the whole.
    """
    by, cell, corner = stars(patch.cells, vertices, len(patch.points))
    region = np.full(len(vertices), np.iinfo(np.int64).max)
    np.minimum.at(region, by, patch.regions[cell])
    use = (patch.regions[cell] == region[by]) & np.isfinite(patch.reach[vertices[by]])
    by, cell, corner = by[use], cell[use], corner[use]
    # Faces opposite to the vertex close the surface, hence their areas sum to minus the normal.
    x, y, z = (patch.points[patch.cells[cell, OPPOSITE[corner, k]]] for k in range(3))
    area = np.cross(y - x, z - x)
    normals = np.stack([np.bincount(by, area[:, k], len(vertices)) for k in range(3)], axis=1)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
