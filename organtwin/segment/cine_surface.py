"""Smooth closed surface of the pool: harmonics on stretched coordinates, cut by a base plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.image.volume import Grid, LabelMap
from organtwin.mesh.surface_files import TriangleSurface

type Array = NDArray[np.float64]

#: Part of the surface → its integer.
PARTS = {"lv_endo": 1, "base": 2}


@dataclass(frozen=True, eq=False)
class Frame:
    """Axes of the ventricle: the third points from the apex to the base.

    Attributes:
        origin: Centre (mm), shape (3,).
        axes: Rows are unit vectors, shape (3, 3).
        stretch: Length over width: along the third axis, coordinates are divided by it.
    """

    origin: Array
    axes: Array
    stretch: float

    @classmethod
    def along(cls, origin: Array, axis: Array, stretch: float) -> Frame:
        """Frame around an axis; the other two are chosen from the patient's, right-handed."""
        first = np.eye(3)[np.argmin(np.abs(axis))]
        first = first - (first @ axis) * axis
        first /= np.linalg.norm(first)
        return cls(origin, np.array([first, np.cross(axis, first), axis]), stretch)

    def stretched(self, points: Array) -> Array:
        """Coordinates in which a ventricle is about a ball."""
        return np.asarray(((points - self.origin) @ self.axes.T) / [1.0, 1.0, self.stretch])

    def vectors(self, stretched: Array) -> Array:
        """Vectors (mm) in the patient of stretched ones."""
        return np.asarray((stretched * [1.0, 1.0, self.stretch]) @ self.axes)


@dataclass(frozen=True, eq=False)
class Star:
    """Radius in stretched coordinates as a smooth function of the direction.

    Attributes:
        frame: Coordinates.
        coefficients: Of `harmonics`, shape (n,).
        degree: Highest degree of the harmonics.
    """

    frame: Frame
    coefficients: Array
    degree: int

    def radius(self, directions: Array) -> Array:
        """Radius for directions of any length, (n, 3) → (n,)."""
        return np.asarray(harmonics(directions, self.degree) @ self.coefficients)

    def points(self, directions: Array) -> Array:
        """Points (mm) on the surface, (n, 3)."""
        way = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        vectors = self.frame.vectors(way * self.radius(way)[:, None])
        return np.asarray(self.frame.origin + vectors)

    def inside(self, points: Array) -> NDArray[np.bool_]:
        """Whether points (mm) lie inside."""
        place = self.frame.stretched(points)
        return np.asarray(np.linalg.norm(place, axis=1) <= self.radius(place))


def harmonics(directions: Array, degree: int) -> Array:
    r"""Real spherical harmonics of directions of any length, shape (n, (degree + 1)²).

    Normalised associated Legendre functions by recurrence in the degree, times
    :math:`\sqrt 2 \cos m \varphi` and :math:`\sqrt 2 \sin m \varphi`; columns by degree.

    Source:
        Holmes & Featherstone (2002), J Geod 76:279-299 (forward columns).
    """
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True).clip(min=1e-12)
    z, flat = unit[:, 2], np.hypot(unit[:, 0], unit[:, 1])
    turn = np.arctan2(unit[:, 1], unit[:, 0])
    result = np.empty((len(unit), (degree + 1) ** 2))
    start = np.full(len(unit), np.sqrt(0.25 / np.pi))
    for m in range(degree + 1):
        if m:
            start = np.sqrt((2 * m + 1) / (2 * m)) * flat * start
        before, current = np.zeros_like(start), start
        cosine = np.sqrt(2.0) * np.cos(m * turn) if m else np.ones_like(start)
        sine = np.sqrt(2.0) * np.sin(m * turn)
        for n in range(m, degree + 1):
            if n > m:
                a = np.sqrt((4 * n**2 - 1) / (n**2 - m**2))
                b = np.sqrt(((n - 1) ** 2 - m**2) / (4 * (n - 1) ** 2 - 1))
                before, current = current, a * (z * current - b * before)
            result[:, n**2 + n + m] = current * cosine
            if m:
                result[:, n**2 + n - m] = current * sine
    return result


def fit(frame: Frame, points: Array, weights: Array, *, degree: int, smoothness: float) -> Star:
    r"""Smooth radius function through scattered border points, outliers weighed down.

    Minimises :math:`\sum_i w_i (R(d_i) - r_i)^2 / \sum_i w_i + \lambda \sum_{lm}
    (l(l+1))^2 c_{lm}^2 / R_0^0`, in five rounds in which the weights of residuals beyond 1.5 robust
    standard deviations fall as Huber's.

    Source:
        Huber (1964), Ann Math Stat 35:73-101.
    """
    place = frame.stretched(points)
    radius = np.linalg.norm(place, axis=1)
    matrix = harmonics(place, degree)
    numbers = np.concatenate([np.full(2 * n + 1, n) for n in range(degree + 1)])
    penalty = np.diag(smoothness * (numbers * (numbers + 1.0)) ** 2)
    weight = weights / weights.sum()
    for _ in range(5):
        normal = matrix.T @ (weight[:, None] * matrix) + penalty
        solution = np.linalg.solve(
            normal + 1e-12 * np.eye(len(normal)), matrix.T @ (weight * radius)
        )
        rest = np.abs(matrix @ solution - radius)
        limit = 1.5 * 1.4826 * np.median(rest[weights > 0]) + 1e-9
        weight = weights * np.minimum(1.0, limit / rest.clip(min=1e-12))
        weight /= weight.sum()
    return Star(frame, solution, degree)


def closed(
    star: Star, base: Array, normal: Array, rows: int = 32, around: int = 48
) -> TriangleSurface:
    """Surface below a base plane, closed by it: the same vertices at every phase.

    Args:
        star: Surface.
        base: Point of the base plane (mm), shape (3,).
        normal: Its normal, away from the ventricle.
        rows: Rings from the apex to the base.
        around: Vertices of a ring.
    """
    turn = np.linspace(0.0, 2.0 * np.pi, around, endpoint=False)
    polar = np.linspace(0.0, np.pi, 121)  # from the apex
    grid = np.stack(
        [
            np.sin(polar)[None, :] * np.cos(turn)[:, None],
            np.sin(polar)[None, :] * np.sin(turn)[:, None],
            np.broadcast_to(-np.cos(polar), (around, len(polar))),
        ],
        axis=-1,
    )
    height = (star.points(grid.reshape(-1, 3)) - base).reshape(around, -1, 3) @ normal
    above = height > 0.0
    first = np.where(above.any(axis=1), above.argmax(axis=1), len(polar) - 1).clip(min=1)
    low = height[np.arange(around), first - 1]
    high = height[np.arange(around), first]
    end = polar[first - 1] + (polar[1] - polar[0]) * (-low / (high - low)).clip(0.0, 1.0)
    share = np.arange(1, rows + 1) / rows
    angle = share[:, None] * end[None, :]
    rings = np.stack(
        [np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), -np.cos(angle)], axis=-1
    )
    ways = np.concatenate([[[0.0, 0.0, -1.0]], rings.reshape(-1, 3)])
    points = star.points(ways)
    points = np.concatenate([points, points[-around:].mean(axis=0, keepdims=True)])
    ring = np.arange(around)
    after = (ring + 1) % around
    lower = 1 + np.arange(rows - 1)[:, None] * around
    a, b = (lower + ring).ravel(), (lower + after).ravel()
    last = 1 + (rows - 1) * around
    fan = np.stack([np.zeros(around, int), 1 + after, 1 + ring], axis=1)
    quads = np.concatenate(
        [np.stack([a, b, b + around], axis=1), np.stack([a, b + around, a + around], axis=1)]
    )
    cap = np.stack([np.full(around, len(points) - 1), last + ring, last + after], axis=1)
    triangles = np.concatenate([fan, quads, cap]).astype(np.int64)
    parts = np.r_[
        np.full(len(fan) + len(quads), PARTS["lv_endo"]), np.full(len(cap), PARTS["base"])
    ]
    return TriangleSurface(points, triangles, triangle_values={"part": parts}, names=PARTS)


def rasterise(star: Star, base: Array, normal: Array, grid: Grid, name: str) -> LabelMap:
    """Voxels whose centres lie inside the surface and below the base plane."""
    index = np.indices(grid.shape).reshape(3, -1).T
    points = grid.points(index)
    below = np.flatnonzero((points - base) @ normal <= 0.0)
    values = np.zeros(len(points), np.uint8)
    values[below[star.inside(points[below])]] = 1
    return LabelMap(
        values.reshape(grid.shape), {name: 1}, grid.spacing, grid.origin, grid.direction
    )
