"""Middle lines of vessels: a smooth path through the deepest voxels, with the radius along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import splev, splprep
from scipy.spatial import cKDTree
from skimage.graph import MCP_Geometric
from skimage.morphology import skeletonize

from organtwin.errors import InputError
from organtwin.image.volume import Grid
from organtwin.segment.morphology import Mask, depth, largest

type Array = NDArray[np.float64]


@dataclass(frozen=True)
class Centreline:
    """Middle of a tube from one end to the other.

    Attributes:
        points: Places along it (mm, LPS), shape (n, 3), at equal distances.
        radius: Radius of the largest ball around each that fits into the tube (mm), shape (n,).
    """

    points: Array
    radius: Array

    @property
    def along(self) -> Array:
        """Length from the first point to each (mm), shape (n,)."""
        steps = np.linalg.norm(np.diff(self.points, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])

    @property
    def length(self) -> float:
        """Length (mm)."""
        return float(self.along[-1])

    @property
    def tangents(self) -> Array:
        """Unit vectors towards the last point, shape (n, 3)."""
        slope = np.gradient(self.points, self.along, axis=0)
        return np.asarray(slope / np.linalg.norm(slope, axis=1, keepdims=True))

    def reversed(self) -> Centreline:
        """The same line from its other end."""
        return Centreline(self.points[::-1].copy(), self.radius[::-1].copy())

    def part(self, first: float, last: float) -> Centreline:
        """The points between two lengths (mm) from the start."""
        inside = (self.along >= first) & (self.along <= last)
        return Centreline(self.points[inside], self.radius[inside])

    def nearest(self, points: Array) -> NDArray[np.int64]:
        """Number of the nearest point of the line for each of several points, shape (m,)."""
        return np.asarray(cKDTree(self.points).query(points)[1])


def trace(
    mask: Mask,
    grid: Grid,
    start: Array,
    end: Array,
    *,
    pull: float = 3.0,
    step: float = 1.0,
    smoothing: float = 0.5,
) -> Centreline:
    """The path through a mask for which ``∫ (largest depth / depth)^pull ds`` is least.

    Args:
        mask: Voxels of the tube.
        grid: Where they lie.
        start: First point (mm, LPS); the nearest voxel of the mask is taken.
        end: Last point, likewise.
        pull: How strongly the path keeps to the middle.
        step: Distance of the points of the result (mm).
        smoothing: How far the smooth line may be from the voxels of the path (mm, root mean
            square).

    Raises:
        InputError: the mask is empty or doesn't connect both ends.

    Source:
        T. Deschamps, L. D. Cohen, Fast extraction of minimal paths in 3D images and applications to
        virtual endoscopy, Med. Image Anal. 5 (2001), for paths centred by the distance transform.
    """
    index = np.argwhere(mask)
    if not len(index):
        raise InputError("trace", "the mask of the vessel is empty.", "Segment it first.")
    tree = cKDTree(grid.points(index))
    ends = index[tree.query(np.array([start, end]))[1]]
    low = np.maximum(index.min(axis=0) - 1, 0)
    box = tuple(slice(int(a), int(b) + 2) for a, b in zip(low, index.max(axis=0), strict=True))
    deep = depth(mask[box], grid)
    path = _cheapest(deep, grid.spacing, ends[0] - low, ends[1] - low, pull)
    return _smooth_line(path + low, mask, grid, step, smoothing)


def along_skeleton(mask: Mask, grid: Grid, *, step: float = 1.0) -> Centreline:
    """Middle line of the largest part of a mask between the two ends farthest apart.

    Ends are those of the skeleton, which lie up to a radius within the tube; the farthest pair is
    found by walking to the farthest one twice. A ring without ends begins at any of its voxels.

    Args:
        mask: Voxels of the tube; voxels should be nearly cubes.
        grid: Where they lie.
        step: Distance of the points of the result (mm).

    Raises:
        InputError: the mask is empty.
    """
    body = largest(mask)
    tips = ends(skeleton(body))
    if not len(tips):
        tips = np.argwhere(body)
    if not len(tips):
        raise InputError("along_skeleton", "the mask of the vessel is empty.", "Segment it first.")
    one = _farthest(body, grid, tips, tips[0])
    other = _farthest(body, grid, tips, one)
    first, last = grid.points(np.array([one, other]))
    return trace(body, grid, first, last, step=step)


def skeleton(mask: Mask) -> Mask:
    """Lines of voxels in the middle of a mask, connected as the mask is.

    Source:
        T.-C. Lee, R. L. Kashyap, C.-N. Chu, Building skeleton models via 3-D medial surface/axis
        thinning algorithms, CVGIP 56 (1994), in scikit-image.
    """
    return np.asarray(skeletonize(mask) > 0)  # type: ignore[no-untyped-call]


def ends(lines: Mask) -> NDArray[np.int64]:
    """Voxels of a skeleton with a single neighbour, shape (n, 3)."""
    neighbours = ndimage.convolve(
        lines.astype(np.uint8), np.ones((3, 3, 3), np.uint8), mode="constant"
    )
    return np.argwhere(lines & (neighbours == 2))


def _farthest(
    mask: Mask, grid: Grid, tips: NDArray[np.int64], start: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The tip with the longest way through the mask."""
    cost = np.where(mask, 1.0, np.inf)
    lengths, _ = MCP_Geometric(cost, sampling=tuple(grid.spacing)).find_costs([tuple(start)])
    ways = lengths[tuple(tips.T)]
    return np.asarray(tips[int(np.argmax(np.where(np.isfinite(ways), ways, -1.0)))])


def _cheapest(
    deep: Array, spacing: Array, start: NDArray[np.int64], end: NDArray[np.int64], pull: float
) -> NDArray[np.int64]:
    cost = np.full(deep.shape, np.inf)
    cost[deep > 0.0] = (deep.max() / deep[deep > 0.0]) ** pull
    paths = MCP_Geometric(cost, sampling=tuple(spacing))
    costs, _ = paths.find_costs([tuple(start)], [tuple(end)])
    if not np.isfinite(costs[tuple(end)]):
        raise InputError(
            "trace", "the two ends lie in parts of the mask that aren't connected.",
            "Choose ends in one part, or close the gap.",
        )  # fmt: skip
    return np.array(paths.traceback(tuple(end)))


def _smooth_line(
    path: NDArray[np.int64], mask: Mask, grid: Grid, step: float, smoothing: float
) -> Centreline:
    """A cubic smoothing spline through the path, and the distance to the nearest voxel outside."""
    points = grid.points(path)
    if len(points) >= 4:
        points = _equal_steps(points, step, smoothing)
    rim = ndimage.binary_dilation(mask, np.ones((3, 3, 3), bool)) & ~mask
    if not rim.any():
        return Centreline(points, np.full(len(points), np.inf))
    return Centreline(points, cKDTree(grid.points(np.argwhere(rim))).query(points)[0])


def _equal_steps(points: Array, step: float, smoothing: float) -> Array:
    """Points at equal distances on a smoothing spline."""
    knots = splprep(points.T, s=len(points) * smoothing**2)[0]
    dense = np.array(splev(np.linspace(0.0, 1.0, 20 * len(points)), knots)).T
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(dense, axis=0), axis=1))])
    equal = np.linspace(0.0, along[-1], max(round(along[-1] / step) + 1, 2))
    return np.stack([np.interp(equal, along, dense[:, axis]) for axis in range(3)], axis=1)
