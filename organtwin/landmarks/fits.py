"""Planes, lines and spheres through points, by least squares, with what they leave over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError

type Vector = NDArray[np.float64]

#: Tukey's constant: residuals beyond so many robust standard deviations count nothing.
TUKEY = 4.685
#: Standard deviation of a normal distribution, in median absolute deviations.
MAD = 1.4826
#: Rounds of reweighting, more than ever needed, and the change that ends them (mm).
ROUNDS, SETTLED = 200, 1e-10


@dataclass(frozen=True)
class PlaneFit:
    """Plane through points.

    Attributes:
        centre: Weighted mean of the points (mm), shape (3,).
        normal: Unit normal; its sign is arbitrary, shape (3,).
        residual: Weighted root mean square distance of the points (mm).
        spread: Root mean square extent along both axes in the plane, larger first (mm), shape (2,).
    """

    centre: Vector
    normal: Vector
    residual: float
    spread: Vector


@dataclass(frozen=True)
class SphereFit:
    """Sphere through points.

    Attributes:
        centre: Centre (mm), shape (3,).
        radius: Radius (mm).
        residual: Root mean square distance of the points from the sphere (mm).
    """

    centre: Vector
    radius: float
    residual: float


def unit(vector: Vector) -> Vector:
    """Vector of length one in the same direction."""
    return np.asarray(vector / np.linalg.norm(vector))


def angle(one: Vector, other: Vector) -> float:
    """Angle between two directions (degrees), 0 to 180."""
    crossed = float(np.linalg.norm(np.cross(one, other)))
    return float(np.degrees(np.arctan2(crossed, float(one @ other))))


def frame(normal: Vector, towards: Vector | None = None) -> Vector:
    """Rows are two unit vectors normal to a direction, and the direction; right-handed (3, 3).

    Args:
        normal: Direction, shape (3,).
        towards: The first vector points this way as far as it can; any way without it.
    """
    third = unit(normal)
    guide = np.eye(3)[int(np.argmin(np.abs(third)))] if towards is None else towards
    first = unit(guide - (guide @ third) * third)
    return np.array([first, np.cross(third, first), third])


def fit_plane(points: Vector, weights: Vector | None = None) -> PlaneFit:
    """Plane of least squared distances.

    Raises:
        InputError: fewer than three points.
    """
    if len(points) < 3:
        raise InputError("plane", f"{len(points)} points don't make a plane.", "Give three.")
    w = np.ones(len(points)) if weights is None else weights
    centre = np.average(points, axis=0, weights=w)
    values, vectors = np.linalg.eigh(
        ((points - centre).T * w) @ (points - centre) / float(np.sum(w))
    )
    spread = np.sqrt(np.maximum(values, 0.0))
    return PlaneFit(centre, vectors[:, 0], float(spread[0]), spread[:0:-1])


def fit_plane_robustly(points: Vector, weights: Vector | None = None) -> PlaneFit:
    """Plane by iterated reweighting with Tukey's biweight; outliers end without weight.

    Source:
        P. W. Holland, R. E. Welsch, Robust regression using iteratively reweighted least-squares,
        Communications in Statistics 6 (1977) 813-827.
    """
    own = np.ones(len(points)) if weights is None else weights
    fit = fit_plane(points, own)
    for _ in range(ROUNDS):
        after = fit_plane(points, own * _tukey((points - fit.centre) @ fit.normal))
        moved = float(np.max(np.abs((points - after.centre) @ after.normal
                                    * np.sign(after.normal @ fit.normal)
                                    - (points - fit.centre) @ fit.normal)))  # fmt: skip
        fit = after
        if moved < SETTLED:
            break
    return fit


def _tukey(residual: Vector) -> Vector:
    # About the median: a majority that lies exactly in a plane off the fit must keep its weight.
    off = residual - float(np.median(residual))
    scale = max(MAD * float(np.median(np.abs(off))), 1e-6 * float(np.abs(off).max()), 1e-12)
    return np.asarray(np.maximum(1.0 - (off / (TUKEY * scale)) ** 2, 0.0) ** 2)


def fit_line(points: Vector, weights: Vector | None = None) -> tuple[Vector, Vector, float]:
    """Line of least squared distances: a point of it, its direction, root mean square distance.

    The direction points from the first of the points to the last.
    """
    w = np.ones(len(points)) if weights is None else weights
    centre = np.average(points, axis=0, weights=w)
    values, vectors = np.linalg.eigh(
        ((points - centre).T * w) @ (points - centre) / float(np.sum(w))
    )
    direction = vectors[:, 2]
    if direction @ (points[-1] - points[0]) < 0.0:
        direction = -direction
    return centre, direction, float(np.sqrt(max(values[0] + values[1], 0.0)))


def fit_sphere(points: Vector, weights: Vector | None = None) -> SphereFit:
    """Sphere of least squared distances, by Gauss-Newton from the algebraic fit.

    Raises:
        InputError: fewer than four points.
    """
    if len(points) < 4:
        raise InputError("sphere", f"{len(points)} points don't make a sphere.", "Give four.")
    root = np.sqrt(np.ones(len(points)) if weights is None else weights)
    middle = points.mean(axis=0)
    local = points - middle
    matrix = np.column_stack([2.0 * local, np.ones(len(local))])
    solved = np.linalg.lstsq(root[:, None] * matrix, root * np.sum(local**2, axis=1))[0]
    centre = solved[:3]
    radius = float(np.sqrt(max(solved[3] + centre @ centre, 1e-12)))
    for _ in range(ROUNDS):
        away = local - centre
        distance = np.linalg.norm(away, axis=1)
        matrix = np.column_stack([-away / distance[:, None], -np.ones(len(local))])
        step = np.linalg.lstsq(root[:, None] * matrix, root * (radius - distance))[0]
        centre, radius = centre + step[:3], radius + float(step[3])
        if np.abs(step).max() < SETTLED:
            break
    off = np.linalg.norm(local - centre, axis=1) - radius
    residual = float(np.sqrt(np.average(off**2, weights=root**2)))
    return SphereFit(middle + centre, radius, residual)
