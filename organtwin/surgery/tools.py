"""What cuts, drills and reams: shapes with a signed distance, negative where they take bone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import RBFInterpolator

from organtwin.errors import InputError
from organtwin.image.volume import Grid
from organtwin.landmarks.fits import fit_plane, frame, unit
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.vectors import dots, lengths_of
from organtwin.surgery.signed import Field, signed_distances, signed_field

type Points = NDArray[np.float64]

#: Places at which the height of a curved sheet is computed at once, which bounds the memory.
BATCH = 100_000
#: Step of finite differences of a sheet's height (mm).
STEP = 0.05


class Tool(Protocol):
    """A shape by its signed distance."""

    def distance(self, points: Points) -> Points:
        """Signed distance (mm) of points (LPS, mm), shape (n, 3), negative inside; shape (n,)."""
        ...


@dataclass(frozen=True)
class HalfSpace:
    r"""All in front of a plane: :math:`d = -(x - p) \cdot n`.

    Attributes:
        point: A point of the plane (LPS, mm), shape (3,).
        normal: Direction of what is taken, of any length, shape (3,).
    """

    point: Points
    normal: Points

    def distance(self, points: Points) -> Points:
        """See `Tool`."""
        return -(points - self.point) @ _direction(self.normal, "plane")


@dataclass(frozen=True)
class Slab:
    r"""What a saw takes: :math:`d = |(x - p) \cdot n| - k / 2`.

    Attributes:
        point: A point of the middle plane (LPS, mm), shape (3,).
        normal: Normal of the blade, shape (3,).
        kerf: Width of the cut (mm).
    """

    point: Points
    normal: Points
    kerf: float

    def distance(self, points: Points) -> Points:
        """See `Tool`."""
        height = (points - self.point) @ _direction(self.normal, "blade")
        return np.asarray(np.abs(height) - 0.5 * self.kerf)


@dataclass(frozen=True)
class Drill:
    r"""Cylinder with a flat or conical end.

    With s along the axis from the start, r from it, and a cone of included angle :math:`\theta`,
    :math:`d = \max(r - D/2, -s, s - L, (r - (L - s) \tan\theta/2) \cos\theta/2)`; the distance
    beyond an edge is smaller than the true one, the shape itself is exact.

    Attributes:
        start: Where the drill enters (LPS, mm), shape (3,).
        end: Its tip (LPS, mm), shape (3,).
        diameter: Diameter (mm).
        point_angle: Included angle of the tip (degrees); 180 is flat.
    """

    start: Points
    end: Points
    diameter: float
    point_angle: float = 180.0

    def distance(self, points: Points) -> Points:
        """See `Tool`."""
        if not self.diameter > 0.0 or not 0.0 < self.point_angle <= 180.0:
            raise InputError(
                "drill",
                f"a diameter of {self.diameter:g} mm with a tip of {self.point_angle:g} degrees.",
                "Give a positive diameter and an angle of up to 180 degrees.",
            )
        along = np.asarray(self.end, float) - self.start
        axis = _direction(along, "drill")
        length = float(np.linalg.norm(along))
        s = (points - self.start) @ axis
        r = lengths_of(points - self.start - s[:, None] * axis)
        result = np.maximum(np.maximum(r - 0.5 * self.diameter, -s), s - length)
        if self.point_angle < 180.0:
            half = np.radians(0.5 * self.point_angle)
            result = np.maximum(result, (r - (length - s) * np.tan(half)) * np.cos(half))
        return np.asarray(result)


@dataclass(frozen=True)
class BallReamer:
    r"""Ball that is moved along a line: :math:`d = \min_s |x - x(s)| - R`.

    Attributes:
        start: Where its centre begins (LPS, mm), shape (3,).
        end: Where it ends; the start for a hemispherical reamer held still, shape (3,).
        radius: Radius (mm).
    """

    start: Points
    end: Points
    radius: float

    def distance(self, points: Points) -> Points:
        """See `Tool`."""
        along = np.asarray(self.end, float) - self.start
        share = np.clip(((points - self.start) @ along) / max(float(along @ along), 1e-12), 0, 1)
        return lengths_of(points - self.start - share[:, None] * along) - self.radius


@dataclass(frozen=True)
class Envelope:
    r"""An implant's outside plus an allowance, moved in along a line: what a broach takes.

    .. math:: d(x) = \min_{0 \le t \le 1} d_{implant}(x - t w) - a

    Attributes:
        surface: Closed surface of the implant where it shall be (LPS, mm).
        allowance: Distance to which bone is taken around it (mm); negative for a press fit.
        way: From its final place back to where it comes from (mm), shape (3,); without it nothing
            is taken on the way, which leaves undercuts through which it could not be put in.
        step: Distance of the places on the way (mm).
    """

    surface: TriangleSurface
    allowance: float = 0.0
    way: Points | None = None
    step: float = 1.0

    def distance(self, points: Points) -> Points:
        """See `Tool`."""
        best = self._exact(points)
        if self.way is None:
            return best - self.allowance
        grid, field = self._coarse
        last = np.array(grid.shape) - 1.0
        number = max(int(np.ceil(float(np.linalg.norm(self.way)) / self.step)), 1)
        for share in np.linspace(0.0, 1.0, number + 1)[1:]:
            index = grid.index(points - share * self.way)
            near = np.flatnonzero(((index > 0.0) & (index < last)).all(axis=1))
            value = ndimage.map_coordinates(field, index[near].T, order=1, output=np.float64)
            best[near] = np.minimum(best[near], value)
        return best - self.allowance

    def _exact(self, points: Points) -> Points:
        """Distance where it is, exact near the surface and below the true one elsewhere."""
        low, high = self._box
        outside = lengths_of(np.maximum(np.maximum(low - points, points - high), 0.0))
        near = outside <= self._reach
        outside[near] = signed_distances(points[near], self.surface)
        return outside

    @property
    def _reach(self) -> float:
        return abs(self.allowance) + 3.0 * self.step

    @cached_property
    def _box(self) -> tuple[Points, Points]:
        used = self.surface.points[np.unique(self.surface.triangles)]
        return used.min(axis=0), used.max(axis=0)

    @cached_property
    def _coarse(self) -> tuple[Grid, Field]:
        """The distance around it on a grid of half a step, to be read on the way."""
        low, high = self._box
        edge = 0.5 * self.step
        i, j, k = (np.ceil((high - low + 2.0 * self._reach) / edge).astype(int) + 1).tolist()
        grid = Grid((i, j, k), np.full(3, edge), low - self._reach, np.eye(3))
        return grid, signed_field(self.surface, grid)


@dataclass(frozen=True)
class Sheet:
    r"""All in front of a surface through a few points, plane or curved.

    With three points, or where it shall be plane, it is their plane of least squared distances.
    Otherwise its height over that plane is the thin-plate spline z through the points, and
    :math:`d = -(h - z) / \sqrt{1 + |\nabla z|^2}`, right to first order near the surface. Far from
    the points the spline is extrapolated.

    Attributes:
        points: Points of the surface (LPS, mm), shape (n, 3), three or more.
        towards: A point (LPS, mm) on the side that is taken, shape (3,).
        curved: Whether it follows the points or their plane.
    """

    points: Points
    towards: Points
    curved: bool = True

    def distance(self, points: Points) -> Points:
        """See `Tool`."""
        centre, axes = self._frame
        local = (points - centre) @ axes.T
        if self._spline is None:
            return -local[:, 2]
        result = np.empty(len(points))
        for first in range(0, len(points), BATCH):
            part = slice(first, first + BATCH)
            flat = local[part, :2]
            z = self._spline(flat)
            dx, dy = ((self._spline(flat + STEP * e) - z) / STEP for e in np.eye(2))
            result[part] = -(local[part, 2] - z) / np.sqrt(1.0 + dx**2 + dy**2)
        return result

    @property
    def flatness(self) -> float:
        """Root mean square distance of the points from their plane (mm)."""
        return fit_plane(np.asarray(self.points, float)).residual

    @cached_property
    def _frame(self) -> tuple[Points, Points]:
        points = np.asarray(self.points, float)
        fit = fit_plane(points)
        if not fit.spread[1] > 1e-3 * max(fit.spread[0], 1e-9):
            raise InputError(
                "fracture surface", "its points lie on a line.", "Place one beside the others."
            )
        normal = fit.normal if (self.towards - fit.centre) @ fit.normal > 0.0 else -fit.normal
        return fit.centre, frame(normal)

    @cached_property
    def _spline(self) -> RBFInterpolator | None:
        if not self.curved or len(self.points) < 4:
            return None
        centre, axes = self._frame
        local = (np.asarray(self.points, float) - centre) @ axes.T
        return RBFInterpolator(local[:, :2], local[:, 2], kernel="thin_plate_spline")


@dataclass(frozen=True)
class Plug:
    """A piece under an outline: what a condyle pushes into a plateau, or a window.

    Attributes:
        outline: Points around it in their order (LPS, mm), shape (n, 3), three or more.
        direction: From the outline into the bone, shape (3,).
        depth: How deep it is below the mean of the outline (mm).
        height: How far it reaches above (mm), so that the whole articular surface is in it.
    """

    outline: Points
    direction: Points
    depth: float
    height: float = 20.0

    def distance(self, points: Points) -> Points:
        """See `Tool`."""
        outline = np.asarray(self.outline, float)
        if len(outline) < 3:
            raise InputError("plug", f"an outline of {len(outline)} points.", "Place three.")
        axes = frame(_direction(self.direction, "plug"))
        middle = outline.mean(axis=0)
        flat, ring = ((x - middle) @ axes[:2].T for x in (points, outline))
        below = (points - middle) @ axes[2]
        across = _polygon_distance(flat, ring)
        return np.maximum(np.maximum(across, below - self.depth), -below - self.height)


@dataclass(frozen=True)
class Joined:
    """Several tools in one: the smallest of their distances.

    Attributes:
        tools: The tools.
    """

    tools: Sequence[Tool]

    def distance(self, points: Points) -> Points:
        """See `Tool`."""
        return np.asarray(np.stack([tool.distance(points) for tool in self.tools]).min(axis=0))


@dataclass(frozen=True)
class Common:
    """What several tools have in common: the largest of their distances.

    Attributes:
        tools: The tools.
    """

    tools: Sequence[Tool]

    def distance(self, points: Points) -> Points:
        """See `Tool`."""
        return np.asarray(np.stack([tool.distance(points) for tool in self.tools]).max(axis=0))


def _direction(vector: Points, what: str) -> Points:
    length = float(np.linalg.norm(vector))
    if not (np.isfinite(length) and length > 1e-9):
        raise InputError(what, f"its direction is {np.asarray(vector)}.", "Give two points apart.")
    return unit(np.asarray(vector, float))


def _polygon_distance(points: Points, ring: Points) -> Points:
    """Signed distance of points in a plane from a closed polygon, negative inside."""
    best = np.full(len(points), np.inf)
    inside = np.zeros(len(points), bool)
    for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        along, away = b - a, points - a
        share = np.clip((away @ along) / max(float(along @ along), 1e-12), 0.0, 1.0)
        rest = away - share[:, None] * along
        best = np.minimum(best, dots(rest, rest))
        crossed = (a[1] > points[:, 1]) != (b[1] > points[:, 1])
        if abs(along[1]) > 1e-12:
            x = a[0] + (points[:, 1] - a[1]) * along[0] / along[1]
            inside ^= crossed & (points[:, 0] < x)
    return np.where(inside, -1.0, 1.0) * np.sqrt(best)
