"""Short lines along a fibre field, and the helix angle that colours them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.export.scene import Stance
from organtwin.export.series import Array


@dataclass(frozen=True)
class FibreField:
    """Fibres of the cells of a mesh, found by place.

    Attributes:
        directions: Unit vectors, (n, 3); their sense means nothing.
        tree: Midpoints of the cells.
        reach: Farther from all midpoints than this (mm) is outside the mesh.
    """

    directions: Array
    tree: cKDTree
    reach: float

    @classmethod
    def of(cls, mesh: pv.UnstructuredGrid, directions: Array) -> FibreField:
        """Sort the cells of a mesh by place."""
        corners = mesh.points[mesh.cell_connectivity.reshape(-1, 4)].astype(np.float32)
        edges = corners[:, 1:] - corners[:, :1]
        volume = np.abs(np.einsum("ij,ij->i", np.cross(edges[:, 0], edges[:, 1]), edges[:, 2])) / 6
        tree = cKDTree(corners.mean(axis=1), balanced_tree=False, compact_nodes=False)
        return cls(directions, tree, 1.5 * float(volume.mean()) ** (1 / 3))


def fibre_lines(
    field: FibreField,
    surface: pv.PolyData,
    view: Stance,
    *,
    inwards: float,
    spacing: float = 2.2,
    depth: float = 0.4,
    length: float = 10.0,
    step: float = 1.0,
) -> pv.PolyData:
    """Lines that follow the fibres just below a surface, drawn upon it.

    Each step goes along the fibre of the nearest cell, turned to go on rather than back.

    Args:
        field: The fibres.
        surface: Epicardium or endocardium, normals out of the tissue.
        view: How the heart stands; its ``up`` is the direction of a helix angle of 90°.
        inwards: 1 where the surface's normal points away from the cavity, -1 where into it.
        spacing: Distance of the lines (mm).
        depth: Depth below the surface (mm).
        length: Length of each half of a line (mm).
        step: Length of a step (mm).

    Returns:
        Lines with point data ``helix_angle`` (degrees).
    """
    seeds, normals = seeds_on(surface, spacing)
    around = np.cross(view.up, inwards * normals)
    around /= np.maximum(np.linalg.norm(around, axis=1, keepdims=True), 1e-9)
    seeds = seeds - depth * normals
    steps = int(length / step)
    halves = [_half_line(field, seeds, sign, steps, step) for sign in (1.0, -1.0)]
    points = np.concatenate([halves[1][0][::-1], halves[0][0][1:]])
    directions = np.concatenate([halves[1][1][::-1], halves[0][1][1:]])
    alive = np.concatenate([halves[1][2][::-1], halves[0][2][1:]])
    along = np.einsum("sij,ij->si", directions, around)
    rise = directions @ view.up
    angle = np.rad2deg(np.arctan2(rise * np.sign(along), np.abs(along)))
    return _as_lines(_onto(surface, points), alive, angle)


def seeds_on(surface: pv.PolyData, spacing: float) -> tuple[Array, Array]:
    """Points (m, 3) spread over a surface about ``spacing`` mm apart, and its normals there.

    The same surface gives the same points.
    """
    rng = np.random.default_rng(0)
    corners = surface.points[surface.regular_faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(normals, axis=1) / 2
    n = int(8 * areas.sum() / spacing**2)
    chosen = rng.choice(len(areas), size=n, p=areas / areas.sum())
    weights = rng.dirichlet(np.ones(3), size=n)
    points = np.einsum("nk,nkj->nj", weights, corners[chosen])
    keep = _spread(points, spacing)
    unit = normals[chosen] / np.maximum(2 * areas[chosen], 1e-300)[:, None]
    return points[keep], unit[keep]


def _half_line(
    field: FibreField, start: Array, sign: float, steps: int, step: float
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Points, directions (both (steps + 1, m, 3)) and whether each is still in the tissue."""
    points, directions = [start], [sign * field.directions[field.tree.query(start)[1]]]
    alive = [np.ones(len(start), dtype=bool)]
    for _ in range(steps):
        point = points[-1] + step * directions[-1]
        distance, cell = field.tree.query(point, distance_upper_bound=2 * field.reach)
        cell = np.minimum(cell, len(field.directions) - 1)  # found nothing: the line ends there
        direction = field.directions[cell]
        turn = np.sign(np.einsum("ij,ij->i", direction, directions[-1]))
        direction = direction * np.where(turn == 0, 1.0, turn)[:, None]
        straight = np.einsum("ij,ij->i", direction, directions[-1]) > 0.7
        points.append(point)
        directions.append(direction)
        alive.append(alive[-1] & (distance < field.reach) & straight)
    return np.array(points), np.array(directions), np.array(alive)


def _onto(surface: pv.PolyData, points: Array, above: float = 0.35) -> Array:
    """Move points (…, 3) to ``above`` mm over the tangent plane of the nearest surface vertex."""
    round_surface = surface.compute_normals(cell_normals=False, split_vertices=False)
    normals = np.asarray(round_surface.point_data["Normals"], dtype=np.float64)
    vertices = np.asarray(round_surface.points, dtype=np.float64)
    nearest = cKDTree(vertices).query(points.reshape(-1, 3))[1].reshape(points.shape[:-1])
    lift = np.einsum("...j,...j->...", vertices[nearest] - points, normals[nearest]) + above
    return np.asarray(points + lift[..., None] * normals[nearest])


def _as_lines(points: Array, alive: NDArray[np.bool_], angle: Array) -> pv.PolyData:
    cells: list[int] = []
    n = alive.shape[1]
    for line in range(n):
        inside = np.flatnonzero(alive[:, line])
        if len(inside) > 2:
            cells += [len(inside), *(inside * n + line)]
    lines = pv.PolyData(points.reshape(-1, 3), lines=np.array(cells, dtype=np.int64))
    lines.point_data["helix_angle"] = angle.ravel()
    return lines


def _spread(points: Array, spacing: float) -> NDArray[np.int64]:
    """Greedy choice of points none of which are closer than ``spacing``."""
    taken = np.zeros(len(points), dtype=bool)
    blocked = np.zeros(len(points), dtype=bool)
    neighbours = cKDTree(points).query_ball_point(points, spacing)
    for i in range(len(points)):
        if not blocked[i]:
            taken[i] = True
            blocked[neighbours[i]] = True
    return np.flatnonzero(taken)
