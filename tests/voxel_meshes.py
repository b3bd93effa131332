"""Tetrahedra of labelled voxels, six in each: quick to make, with stairs for surfaces."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import numpy as np

from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.volume_mesh import TetrahedralMesh


def tetrahedra_of(values: np.ndarray, names: Mapping[str, int], edge: float) -> TetrahedralMesh:
    """All voxels that are not 0, the middle of the first one at the origin."""
    index = np.argwhere(values)
    shape = np.array(values.shape) + 1
    paths = []
    for order in permutations(range(3)):
        steps = np.zeros((4, 3), int)
        for k, axis in enumerate(order, 1):
            steps[k] = steps[k - 1]
            steps[k, axis] += 1
        paths.append(steps)
    corners = index[:, None, None, :] + np.array(paths)
    number = np.ravel_multi_index(tuple(np.moveaxis(corners, -1, 0)), tuple(shape)).reshape(-1, 4)
    used, cells = np.unique(number, return_inverse=True)
    points = (np.stack(np.unravel_index(used, tuple(shape)), axis=1) - 0.5) * edge
    cells = cells.reshape(-1, 4)
    turned = signed_volumes(points, cells) < 0.0
    cells[turned] = cells[turned][:, [0, 2, 1, 3]]
    regions = np.repeat(values[tuple(index.T)].astype(np.int64), 6)
    return TetrahedralMesh(points, cells, regions, dict(names))


def tube(length: int = 14, *, valve: bool = False) -> TetrahedralMesh:
    """A wall 3 mm thick around blood of 10 mm in width, along z; perhaps closed by a valve."""
    x = np.stack(np.indices((20, 20, length)), axis=3) - [9.5, 9.5, 0.0]
    radius = np.hypot(x[..., 0], x[..., 1])
    values = np.select([radius < 5.0, radius < 8.0], [1, 2], 0)
    names = {"blood": 1, "wall": 2}
    if valve:
        values[..., 0] = np.where(radius[..., 0] < 8.0, 3, 0)
        names["valve"] = 3
    return tetrahedra_of(values, names, 1.0)


def heart(edge: float = 3.0) -> TetrahedralMesh:
    """Both ventricles with their blood and a flat base, apex down; the front is that of LPS."""
    n = int(110 / edge)
    x = (np.stack(np.indices((n, n, n)), axis=3) - 0.5 * (n - 1)) * edge

    def level(axes: tuple[float, float, float], across: float = 0.0) -> np.ndarray:
        return np.sum(((x - [across, 0.0, 0.0]) / axes) ** 2, axis=3)

    lv_blood = level((16.0, 16.0, 40.0)) < 1.0
    muscle = level((26.0, 26.0, 50.0)) < 1.0
    rv_blood = (level((28.0, 26.0, 42.0), -20.0) < 1.0) & ~muscle
    rv_wall = (level((34.0, 32.0, 48.0), -20.0) < 1.0) & ~muscle & ~rv_blood
    values = np.select([lv_blood, muscle, rv_blood, rv_wall], [1, 2, 3, 4], 0)
    values[x[..., 2] > 15.0] = 0
    names = {"lv_blood": 1, "lv_myocardium": 2, "rv_blood": 3, "rv_wall": 4}
    return tetrahedra_of(values, names, edge)
