"""The gap between the skirt of a valve and the wall around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Triangles that are looked at together.
CHUNK = 256
#: Room on the sides of a triangle in which it is still hit, for rays through a common edge.
EDGE = 1e-9


@dataclass(frozen=True)
class Rays:
    """Rays from an axis, by height and angle.

    Attributes:
        origin: Point of the axis at height 0 (mm), shape (3,).
        axes: Rows are the directions of angle 0 and 90° and the axis, shape (3, 3).
        heights: Rising, at even distances (mm), shape (m,).
        count: Directions around.
    """

    origin: Array
    axes: Array
    heights: Array
    count: int = 180

    @property
    def turns(self) -> Array:
        """Directions (radians), shape (count,)."""
        return np.arange(self.count) * 2.0 * np.pi / self.count


def lumen(points: Array, triangles: Integers, rays: Rays, comm: MPI.Comm = MPI.COMM_SELF) -> Array:
    """Distance from an axis to a surface around it (mm), shape (m, count); collective.

    Each rank gives its own triangles; all get the nearest distance of all ranks.

    Args:
        points: Vertices (mm), shape (n, 3).
        triangles: Shape (k, 3).
        rays: Where to look.
        comm: Who shares the surface.

    Raises:
        InputError: a ray meets nothing.
    """
    nearest = np.min(comm.allgather(first_hit(points, triangles, rays)), axis=0)
    missed = ~np.isfinite(nearest)
    if missed.any():
        level = rays.heights[np.flatnonzero(missed.any(axis=1))[0]]
        raise InputError(
            "lumen", f"no wall around the axis at {level:.1f} mm.",
            "Mesh more of the outflow tract or the aorta, or look at fewer heights.",
        )  # fmt: skip
    return nearest


def first_hit(points: Array, triangles: Integers, rays: Rays, beyond: Array | None = None) -> Array:
    """Distance from an axis to the first triangle that a ray meets (mm), infinite without one.

    Args:
        points: Vertices (mm), shape (n, 3).
        triangles: Shape (k, 3).
        rays: Where to look.
        beyond: Distance at which rays begin (mm), shape (m, count); the axis if None.

    Returns:
        Shape (m, count).
    """
    own = (points - rays.origin) @ rays.axes.T
    far = np.full((len(rays.heights), rays.count), np.inf)
    start = np.zeros_like(far) if beyond is None else beyond
    for first in range(0, len(triangles), CHUNK):
        _nearest(own[triangles[first : first + CHUNK]], rays, start, far)
    return far


def _nearest(corners: Array, rays: Rays, start: Array, far: Array) -> None:
    """Shorten the distances to where rays hit triangles, shape (k, 3, 3)."""
    a, b, c = (corners[:, i] for i in range(3))
    low, high = corners[..., 2].min(axis=1), corners[..., 2].max(axis=1)
    for row, height in enumerate(rays.heights):
        near = (low <= height) & (height <= high)
        if not near.any():
            continue
        hits = _hits(a[near], b[near], c[near], height, rays.turns)
        hits[hits < start[row]] = np.inf
        far[row] = np.minimum(far[row], hits.min(axis=0))


def _hits(a: Array, b: Array, c: Array, height: float, turns: Array) -> Array:
    """Distances along level rays from the axis, infinite where a triangle is missed, (k, count).

    Solves height z + t ray = a + u (b − a) + w (c − a) for t, u and w by Cramer's rule.
    """
    ray = np.column_stack([np.cos(turns), np.sin(turns), np.zeros_like(turns)])
    p, q, o = b - a, c - a, np.array([0.0, 0.0, height]) - a
    normal = np.cross(p, q)
    facing = -(normal @ ray.T)  # (k, count)
    safe = np.where(np.abs(facing) > 0.0, facing, 1.0)
    t = np.einsum("ki,ki->k", normal, o)[:, None] / safe
    moment = np.cross(o[:, None], ray[None])
    u = np.einsum("kni,ki->kn", moment, q) / safe
    w = -np.einsum("kni,ki->kn", moment, p) / safe
    hit = (np.abs(facing) > 0.0) & (t > 0.0)
    hit &= (u >= -EDGE) & (w >= -EDGE) & (u + w <= 1.0 + EDGE)
    return np.where(hit, t, np.inf)


@dataclass(frozen=True)
class Gap:
    """Room between skirt and wall.

    Attributes:
        rays: Where it is known.
        skirt: Distance of the skirt's outer side from the axis (mm), shape (m, count).
        wall: Distance of the wall (mm), shape (m, count).
        tight: Width up to which a gap is taken for closed (mm).
    """

    rays: Rays
    skirt: Array
    wall: Array
    tight: float = 0.0

    @property
    def width(self) -> Array:
        """Between both (mm), 0 where they touch, shape (m, count)."""
        between = self.wall - self.skirt
        return np.where(between > self.tight, between, 0.0)

    @property
    def areas(self) -> Array:
        r"""Area of the gap at each height (mm²), :math:`\int \frac12 (r_w^2 - r_s^2)\,d\theta`."""
        ring = np.where(self.width > 0.0, self.wall**2 - self.skirt**2, 0.0)
        return np.asarray(0.5 * ring.sum(axis=1) * 2.0 * np.pi / self.rays.count)

    @property
    def sealed(self) -> float:
        """Share of the directions in which skirt and wall touch at some height."""
        return float((self.width == 0.0).any(axis=0).mean())
