"""Shapes with known volumes, walls and faces, as bodies on grids."""

import numpy as np

from organtwin.image.volume import Grid
from organtwin.surgery.bodies import Bodies


def body(distance, low, high, voxel):
    """Body of an exact signed distance in a box; the grid does not fit the shape."""
    low, high = np.asarray(low, float) - 0.013, np.asarray(high, float)
    i, j, k = (int(n) for n in np.ceil((high - low) / voxel) + 1)
    grid = Grid((i, j, k), np.full(3, voxel), low, np.eye(3))
    points = grid.points(np.indices(grid.shape).reshape(3, -1).T)
    return Bodies(grid, {"bone": distance(points).reshape(grid.shape).astype(np.float32)})


def block(half):
    """Distance of a box around the origin."""

    def at(points):
        away = np.abs(points) - np.asarray(half, float)
        outside = np.linalg.norm(np.maximum(away, 0.0), axis=1)
        return outside + np.minimum(away.max(axis=1), 0.0)

    return at


def cylinder(radius, length):
    """Distance of a cylinder along z from 0."""

    def at(points):
        radial = np.linalg.norm(points[:, :2], axis=1) - radius
        along = np.abs(points[:, 2] - 0.5 * length) - 0.5 * length
        both = np.stack([radial, along], axis=1)
        return np.linalg.norm(np.maximum(both, 0.0), axis=1) + np.minimum(both.max(axis=1), 0.0)

    return at


def ball(radius, centre=(0.0, 0.0, 0.0)):
    """Distance of a ball."""
    return lambda points: np.linalg.norm(points - np.asarray(centre), axis=1) - radius
