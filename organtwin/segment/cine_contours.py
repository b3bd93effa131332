"""Border between pool and wall in a plane: cheapest closed path around a centre, at every phase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from organtwin.segment.cine_planes import Plane

type Array = NDArray[np.float64]

#: Cost (mm) of a border where it can't be.
FORBIDDEN = 1e3
#: Part of the contrast over which wall turns into blood. Because muscle inside costs less than
#: blood outside, a softer limit would move the border outwards.
SHARP = 0.03


@dataclass(frozen=True)
class Tracing:
    """How the border is traced.

    Attributes:
        angles: Number of rays around the centre.
        step: Distance of samples on a ray (mm).
        wall: Thickness of wall outside the border that must be dark (mm); less than the thinnest
            wall at the start of the beat, about 6 to 10 mm in adults, and more than a papillary
            muscle's distance from the wall.
        muscle: Cost of a mm of muscle inside the border relative to a mm of blood outside. Below
            1, so that the border goes around papillary muscles.
        noise: What differs from the wall's median by more than so many standard deviations of the
            wall is no compact wall but blood, or blood between trabeculae.
        least: The same limit at least, as part of the contrast of blood and wall.
        stiffness: Cost per mm that the radius changes from ray to ray.
        slope: Largest change of the radius between neighbouring rays (samples).
    """

    angles: int = 72
    step: float = 0.5
    wall: float = 5.0
    muscle: float = 0.15
    noise: float = 2.0
    least: float = 0.25
    stiffness: float = 0.2
    slope: int = 3


@dataclass(frozen=True, eq=False)
class Levels:
    """Signal of blood and of compact wall in a plane at every phase, and the wall's spread.

    They differ from phase to phase, because the blood's and the wall's signal of a steady-state
    sequence changes with flow and with motion through the plane.

    Attributes:
        blood: Shape (phases,).
        wall: Shape (phases,).
        spread: Standard deviation within the wall, shape (phases,).
    """

    blood: Array
    wall: Array
    spread: Array

    @property
    def contrast(self) -> Array:
        """Blood minus wall, shape (phases,)."""
        return np.asarray((self.blood - self.wall).clip(min=1e-6))

    def limit(self, tracing: Tracing) -> Array:
        """Signal above which a pixel is no compact wall, shape (phases,)."""
        return np.asarray(
            self.wall
            + np.maximum(tracing.noise * self.spread, tracing.least * self.contrast).clip(
                max=0.6 * self.contrast
            )
        )

    def share(self, values: Array) -> Array:
        """Signal as a part of the contrast: 0 wall, 1 blood; phases first."""
        shape = (-1,) + (1,) * (values.ndim - 1)
        return np.asarray((values - self.wall.reshape(shape)) / self.contrast.reshape(shape))


def levels(plane: Plane, inside: Array, outside: Array) -> Levels:
    """Levels from points in the pool and from points in the wall at every phase.

    Medians, and the median absolute deviation as spread, because papillary muscles, fat and the
    other ventricle take part of the points.

    Args:
        plane: Where to sample.
        inside: Points (mm), shape (phases, n, 3).
        outside: Points (mm), shape (phases, m, 3).
    """
    blood = np.quantile(plane.sample_each(inside), 0.6, axis=1)
    values = plane.sample_each(outside)
    # In steady-state sequences muscle has less than half the signal of blood; the rest is fat.
    dark = values < 0.5 * blood[:, None]
    dark[dark.sum(axis=1) < 10] = True
    wall = np.nanmedian(np.where(dark, values, np.nan), axis=1)
    lower = np.where(values <= wall[:, None], wall[:, None] - values, np.nan)
    return Levels(blood, wall, 1.4826 * np.nanmedian(lower, axis=1))


def trace(
    plane: Plane,
    centre: Array,
    rays: Array,
    reach: float,
    level: Levels,
    tracing: Tracing,
    within: Callable[[Array], NDArray[np.bool_]] | None = None,
) -> tuple[Array, Array]:
    """Radii of the border along rays, at every phase.

    Args:
        plane: Plane in which the rays lie.
        centre: Their start (mm), shape (phases, 3).
        rays: Vectors (mm) of length in mm per unit of radius, shape (angles, 3).
        reach: Largest radius.
        level: Signal of blood and wall.
        tracing: Costs.
        within: Whether the border may be at points (mm), shape (..., 3).

    Returns:
        Radii, shape (phases, angles), and their costs (mm), shape (phases, angles).
    """
    length = np.linalg.norm(rays, axis=1)
    step = tracing.step / float(length.min())
    radius = np.arange(0.0, reach, step)
    points = centre[:, None, None] + rays[None, :, None] * radius[None, None, :, None]
    limit = level.share(level.limit(tracing)[:, None])[:, :, None]
    soft = (level.share(plane.sample_each(points)) - limit) / SHARP
    bright = 1.0 / (1.0 + np.exp(-soft.clip(-30.0, 30.0)))
    cost = _costs(bright, step * length, tracing)
    if within is not None:
        cost[~within(points)] += FORBIDDEN
    path = closed_path(cost, tracing.stiffness * step * float(length.mean()), tracing.slope)
    taken = np.take_along_axis(cost, path[:, :, None], axis=2)[:, :, 0]
    return radius[path], taken


def _costs(bright: Array, steps: Array, tracing: Tracing) -> Array:
    """Blood just outside plus a part of the muscle inside (mm), per phase, ray and radius."""
    count = bright.shape[2]
    blood = np.cumsum(bright, axis=2) * steps[:, None]
    muscle = np.cumsum(1.0 - bright, axis=2) * steps[:, None]
    beyond = np.empty_like(bright)
    for k, step in enumerate(steps):  # the band is the same in mm, not in samples
        end = np.minimum(np.arange(count) + round(tracing.wall / step), count - 1)
        beyond[:, k] = blood[:, k, end] - blood[:, k]
    return np.asarray(beyond + tracing.muscle * muscle)


def closed_path(cost: Array, stiffness: float, slope: int) -> NDArray[np.int64]:
    """Cheapest radius on each ray with bounded slope, closed around the circle.

    Dynamic programming over two and a half rounds, of which the middle one is kept: its start has
    forgotten the free beginning.

    Args:
        cost: Shape (phases, rays, radii).
        stiffness: Cost of a change by one radius between rays.
        slope: Largest change.

    Returns:
        Index of the radius, shape (phases, rays).
    """
    phases, rays, radii = cost.shape
    order = np.arange(rays * 5 // 2) % rays
    total = cost[:, order[0]].copy()
    back = np.zeros((len(order), phases, radii), np.int64)
    moves = np.arange(-slope, slope + 1)
    source = np.arange(radii)[None, :] + moves[:, None]
    off = (source < 0) | (source >= radii)
    source = source.clip(0, radii - 1)
    for k, ray in enumerate(order[1:], 1):
        options = total[:, source] + stiffness * np.abs(moves)[None, :, None]
        options[:, off] = np.inf
        choice = np.argmin(options, axis=1)
        total = np.take_along_axis(options, choice[:, None], axis=1)[:, 0] + cost[:, ray]
        back[k] = source[choice, np.arange(radii)[None, :]]
    path = np.empty((len(order), phases), np.int64)
    path[-1] = np.argmin(total, axis=1)
    for k in range(len(order) - 1, 0, -1):
        path[k - 1] = back[k][np.arange(phases), path[k]]
    middle = slice(rays // 2, rays // 2 + rays)
    result = np.empty((phases, rays), np.int64)
    result[:, order[middle]] = path[middle].T
    return result


def hull_radii(radii: Array) -> Array:
    """Radii of the convex hull of a closed contour on evenly spread rays, shape (rays,).

    A cross-section of the compact left ventricle is convex; dents are papillary muscles.
    """
    angle = np.linspace(0.0, 2.0 * np.pi, len(radii), endpoint=False)
    safe = radii.clip(min=1e-3)
    hull = ConvexHull(safe[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    # On the hull n . x = -d: a ray reaches it at the smallest positive -d / (n . ray).
    toward = np.stack([np.cos(angle), np.sin(angle)], axis=1) @ hull.equations[:, :2].T
    with np.errstate(divide="ignore"):
        reach = np.where(toward > 1e-9, -hull.equations[:, 2] / toward, np.inf)
    return np.asarray(reach.min(axis=1))
