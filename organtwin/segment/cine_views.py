"""Contours of the pool in short-axis and long-axis planes of a cine scan."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Several
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.segment.cine_contours import Levels, Tracing, hull_radii, levels, trace
from organtwin.segment.cine_find import Disc
from organtwin.segment.cine_planes import Plane, unit
from organtwin.segment.cine_surface import Frame

type Array = NDArray[np.float64]

#: How far outside the border of the first phase that of others may lie (mm): motion of the heart.
MOTION = 4.0
#: Radius around the centre (mm) in which blood must be for a slice to have a pool.
CORE = 3.0
#: Cost (mm) at which a point of a border counts half.
DOUBTFUL = 1.5
#: Tracings in turn, each with the levels measured at the one before.
ROUNDS = 3
#: Distances from the border between which the wall's signal is measured (mm).
WALL = (2.0, 6.0)


@dataclass(frozen=True, eq=False)
class Contour:
    """Border of the pool in a plane at every phase.

    Attributes:
        plane: Where.
        points: Shape (phases, angles, 3), mm.
        cost: Of the path at each point (mm of what shouldn't be there), (phases, angles).
        present: Whether there is a pool in the plane, shape (phases,).
        muscle: Area of what isn't blood inside (mm²), shape (phases,).
        level: Signal of blood and wall.
        short: Whether the plane is a short-axis one.
    """

    plane: Plane
    points: Array
    cost: Array
    present: NDArray[np.bool_]
    muscle: Array
    level: Levels
    short: bool

    def border(self, phase: int) -> tuple[Array, Array]:
        """Points at a phase, (n, 3), and their weights by cost; none where there is no pool."""
        if not self.present[phase]:
            return np.zeros((0, 3)), np.zeros(0)
        return self.points[phase], 1.0 / (1.0 + (self.cost[phase] / DOUBTFUL) ** 2)

    def distance(self, centre: Array, way: Array) -> Array:
        """Distance (mm) of the border from a point along a unit vector, shape (phases,)."""
        offset = self.points - centre
        length = np.linalg.norm(offset, axis=2)
        best = np.argmax((offset @ way) / length.clip(min=1e-9), axis=1)
        return np.asarray(length[np.arange(len(best)), best])


def trace_short(plane: Plane, disc: Disc, tracing: Tracing) -> Contour:
    """Border in a short-axis plane; convex, as the compact wall is."""
    rays = _rays(tracing, plane.grid.direction[:, 0], plane.grid.direction[:, 1])
    phases = len(plane.values)
    centre = np.repeat(disc.centre[None], phases, axis=0)
    hull = np.full((phases, tracing.angles), disc.radius)
    within = None
    for _ in range(ROUNDS):
        level = levels(plane, *_sides_of(centre, rays, hull))
        start = centre
        radius, cost = trace(plane, start, rays, 1.2 * disc.radius + MOTION, level, tracing, within)
        hull = np.array([hull_radii(r) for r in radius])
        within = _inside_of(start[0], rays, hull[0] + MOTION)
        # Of a polar curve of radius r the centroid is the mean of 2/3 r³ e over that of r².
        moment = (hull[:, :, None] ** 3 * rays).mean(axis=1)
        centre = start + (2.0 / 3.0) * moment / (hull**2).mean(axis=1)[:, None].clip(min=1.0)
    points = start[:, None] + hull[:, :, None] * rays
    present = _present(plane, points, rays, level)
    muscle = np.where(present, _muscle(plane, start, rays, hull, level), 0.0)
    return Contour(plane, points, cost, present, muscle, level, True)


def _rays(tracing: Tracing, first: Array, second: Array) -> Array:
    """Vectors evenly spread around a centre, shape (angles, 3)."""
    angle = np.linspace(0.0, 2.0 * np.pi, tracing.angles, endpoint=False)
    return np.cos(angle)[:, None] * first + np.sin(angle)[:, None] * second


def _sides_of(
    centre: Array, rays: Array, radius: Array, chosen: NDArray[np.bool_] | None = None
) -> tuple[Array, Array]:
    """Points in the pool and in the wall, by a border's radii: each (phases, n, 3)."""
    some = slice(None) if chosen is None else chosen
    length = np.linalg.norm(rays, axis=1)[None, some, None]
    inner = radius[:, :, None] * np.linspace(0.05, 0.5, 10)
    outer = radius[:, some, None] + np.arange(WALL[0], WALL[1] + 0.1, 1.0) / length
    inside = centre[:, None, None] + inner[..., None] * rays[None, :, None]
    outside = centre[:, None, None] + outer[..., None] * rays[None, some, None]
    phases = len(centre)
    return inside.reshape(phases, -1, 3), outside.reshape(phases, -1, 3)


def _inside_of(centre: Array, rays: Array, limit: Array) -> Callable[[Array], NDArray[np.bool_]]:
    """Whether points lie within a radius (in units of the rays) around a centre."""
    count = len(rays)
    axes = np.array([rays[0], rays[count // 4]])
    axes = axes / (axes**2).sum(axis=1, keepdims=True)
    angle = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)

    def within(points: Array) -> NDArray[np.bool_]:
        place = (points - centre) @ axes.T
        way = np.arctan2(place[..., 1], place[..., 0])
        most = np.interp(way, angle, limit, period=2.0 * np.pi)
        return np.asarray(np.hypot(place[..., 0], place[..., 1]) <= most)

    return within


def _present(plane: Plane, points: Array, rays: Array, level: Levels) -> NDArray[np.bool_]:
    """Whether the middle of a contour is blood, by the plane's usual levels."""
    depth = np.arange(0.0, CORE, 0.7)
    centre = points.mean(axis=1)
    core = centre[:, None, None] + rays[None, :, None] * depth[None, None, :, None]
    middle = np.median(plane.sample_each(core), axis=(1, 2))
    wall, blood = np.median(level.wall), np.median(level.blood)
    return np.asarray(middle > 0.5 * (wall + blood))


def _muscle(plane: Plane, centre: Array, circle: Array, radius: Array, level: Levels) -> Array:
    """Area inside a contour that is darker than halfway between wall and blood (mm²)."""
    share = (np.arange(40) + 0.5) / 40.0
    reach = radius[:, :, None] * share
    points = centre[:, None, None] + circle[None, :, None] * reach[..., None]
    dark = level.share(plane.sample_each(points)) < 0.5
    cell = reach * radius[:, :, None] / 40.0 * (2.0 * np.pi / radius.shape[1])
    return np.asarray((dark * cell).sum(axis=(1, 2)))


def in_plane(plane: Plane, frame: Frame) -> tuple[Array, Array, Array]:
    """Centre of the ventricle brought into a long-axis plane, and unit vectors in it.

    Returns:
        Centre (mm), vector across the axis, vector along it upwards.
    """
    centre = frame.origin - plane.height(frame.origin) * plane.normal
    axis = frame.axes[2]
    along = unit(axis - (axis @ plane.normal) * plane.normal)
    return np.asarray(centre), np.cross(along, plane.normal), along


def trace_long(plane: Plane, frame: Frame, short: Several[Contour], tracing: Tracing) -> Contour:
    """Border in a long-axis plane; its part above the base means nothing."""
    centre, across, along = in_plane(plane, frame)
    heights, radii = _widths(frame, short)
    rays = _rays(tracing, across, frame.stretch * along)
    phases = len(plane.values)
    start = np.repeat(centre[None], phases, axis=0)
    radius = np.repeat(_ellipse(rays, along, heights, radii)[None], phases, axis=0)
    reach, within = 1.5 * float(radii.max()), None
    for _ in range(ROUNDS):
        height = radius * (rays @ along)
        below = np.all((height < heights[-1] - heights.mean()), axis=0)
        level = levels(plane, *_sides_of(start, rays, radius, below))
        radius, cost = trace(plane, start, rays, reach, level, tracing, within)
        within = _inside_of(centre, rays, radius[0] + MOTION / np.linalg.norm(rays, axis=1))
    points = start[:, None] + radius[:, :, None] * rays
    every = np.ones(phases, bool)
    return Contour(plane, points, cost, every, np.zeros(phases), level, False)


def _ellipse(rays: Array, along: Array, heights: Array, radii: Array) -> Array:
    """First guess of a long-axis border: as wide as the widest slice, as long as all slices."""
    width = float(radii.max())
    length = max(0.5 * float(np.ptp(heights)), width)
    up = rays @ along
    aside = np.sqrt(((rays - up[:, None] * along) ** 2).sum(axis=1))
    return np.asarray(1.0 / np.hypot(aside / width, up / length))


def _widths(frame: Frame, short: Several[Contour]) -> tuple[Array, Array]:
    """Heights of short-axis contours along the axis and their mean radii, first phase (mm)."""
    centres = np.array([c.points[0].mean(axis=0) for c in short])
    radii = np.array(
        [
            float(np.linalg.norm(c.points[0] - m, axis=1).mean())
            for c, m in zip(short, centres, strict=True)
        ]
    )
    heights = (centres - frame.origin) @ frame.axes[2]
    order = np.argsort(heights)
    return np.asarray(heights[order]), radii[order]
