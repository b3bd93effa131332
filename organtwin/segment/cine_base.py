"""The base of the ventricle at every phase: where its wall ends in the long-axis planes."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.segment.cine_contours import Levels, closed_path
from organtwin.segment.cine_planes import Plane

type Array = NDArray[np.float64]

#: Of the tilt of the base: an error of an end of about 5 mm against a slope of about 0.27 (15
#: degrees) of a base to the planned axis, for about six ends: (5 / 0.27)² / 6 mm².
PRIOR = 57.0
#: Distances (mm) beyond which an end weighs less: about twice the pixel size.
ROBUST = 3.0


@dataclass(frozen=True)
class Annulus:
    """How the upper end of the wall is found.

    Attributes:
        step: Distance of samples (mm).
        lowest: Height over the ventricle's middle below which the wall doesn't end (mm).
        highest: Height up to which it is followed (mm).
        widest: How far from the axis the wall may be (mm).
        thickness: Width of wall that counts as ventricular (mm); the atrial wall and the valves'
            leaflets, 1 to 3 mm, are thinner.
        bright: Signal above which nothing is wall, as part of the contrast of blood and wall.
        dark: Signal below which nothing is wall but lung, likewise (below the wall's own).
        below: Length of wall below the end that is compared with ... (mm)
        gap: ... the length above it where wall must be missing (mm).
        calm: Cost of a mm of motion of the end from phase to phase; an ideal end counts 1.
        agree: Cost of a mm that an end lies off the plane of all ends.
        jump: Largest motion from phase to phase (mm).
        harmonics: Of the beat, kept of the motion of every end.
    """

    step: float = 0.7
    lowest: float = 15.0
    highest: float = 75.0
    widest: float = 55.0
    thickness: float = 4.0
    bright: float = 0.4
    dark: float = -0.3
    below: float = 10.0
    gap: float = 4.0
    calm: float = 0.02
    agree: float = 0.03
    jump: float = 10.0
    harmonics: int = 2


@dataclass(frozen=True, eq=False)
class Side:
    """Wall on one side of a long-axis plane, followed upwards.

    Attributes:
        start: Point on the axis where the search begins (mm).
        across: Unit vector in the plane, away from the axis.
        along: Unit vector in the plane, upwards.
        edge: Distance of the wall's inner edge from the axis (mm), shape (phases, heights).
        score: How much like the end of the wall each height is, 1 at most, likewise.
        clear: Share of wall outside and of blood inside the edge, likewise.
        heights: Over the start (mm), shape (heights,).
    """

    start: Array
    across: Array
    along: Array
    edge: Array
    score: Array
    clear: Array
    heights: Array

    def points(self, rows: NDArray[np.int64], step: float) -> Array:
        """Inner edge at a height index of each phase (mm), shape (phases, 3)."""
        aside = self.edge[np.arange(len(rows)), rows]
        return np.asarray(
            self.start + aside[:, None] * self.across + (rows * step)[:, None] * self.along
        )

    def border(self, phase: int, lowest: float, apart: float) -> tuple[Array, Array]:
        """Edge above a height, about `apart` mm apart: points (n, 3) and their weights."""
        every = max(round(apart / float(self.heights[1])), 1)
        rows = np.flatnonzero(self.heights >= lowest)[::every]
        aside = self.edge[phase, rows]
        points = self.start + aside[:, None] * self.across + self.heights[rows, None] * self.along
        return np.asarray(points), self.clear[phase, rows] ** 2


def follow(
    plane: Plane, start: Array, across: Array, along: Array, edge: Array, level: Levels,
    options: Annulus,
) -> Side:  # fmt: skip
    """Follow the inner edge of the wall upwards in a long-axis plane.

    The edge (blood inside, wide enough wall outside) is a path of least cost upwards from where
    it is known. Every height is scored by how much wall is below it and how little above.

    Args:
        plane: Long-axis plane.
        start: Point on the axis, in the ventricle's middle (mm), shape (3,).
        across: Unit vector in the plane, away from the axis, shape (3,).
        along: Unit vector in the plane, upwards, shape (3,).
        edge: Distance of the wall's inner edge from the axis at the start (mm), shape (phases,).
        level: Signal of blood and wall.
        options: Widths and limits.
    """
    step = options.step
    x = np.arange(0.0, options.widest, step)
    s = np.arange(0.0, options.highest, step)
    points = start + x[None, :, None] * across + s[:, None, None] * along
    share = level.share(plane.sample(points))
    upper = 1.0 / (1.0 + np.exp(((share - options.bright) / 0.05).clip(-30, 30)))
    lower = 1.0 / (1.0 + np.exp(((options.dark - share) / 0.05).clip(-30, 30)))
    width = max(round(options.thickness / step), 1)
    wall = _beyond(upper * lower, width)
    blood = _beyond((1.0 - upper)[:, :, ::-1], width)[:, :, ::-1]
    path = _upwards(1.0 - 0.5 * (wall + blood), edge / step)
    there = np.take_along_axis(wall, path[:, :, None], axis=2)[:, :, 0]
    above = _beyond(there, max(round(options.gap / step), 1))
    under = _beyond(there[:, ::-1], max(round(options.below / step), 1))[:, ::-1]
    score = under - above
    score[:, s < options.lowest] = -1.0
    score[:, -round(options.gap / step) :] = -1.0
    clear = np.take_along_axis(0.5 * (wall + blood), path[:, :, None], axis=2)[:, :, 0]
    return Side(start, across, along, np.multiply(path, step, dtype=np.float64), score, clear, s)


def wall_ends(sides: Several[Side], axis: Array, options: Annulus) -> tuple[Array, Array]:
    """The end of the wall on every side at every phase, as far as they agree.

    First one height for all sides is sought, then, in rounds, one per side near the plane through
    all ends, each a path of least cost over the beat.

    Returns:
        Points (mm), shape (sides, phases, 3), and how certain they are, 0 to 1, (sides, phases).
    """
    step, stiff = options.step, options.calm * options.step
    jump = max(round(options.jump / step), 1)
    phases, count = sides[0].score.shape
    height = np.arange(count) * step
    common = -np.mean([side.score for side in sides], axis=0)
    rows = np.repeat(closed_path(common[None], stiff, jump), len(sides), axis=0)
    phase = np.arange(phases)
    certain = np.ones((len(sides), phases))
    for _ in range(4):
        points = np.array([s.points(r, step) for s, r in zip(sides, rows, strict=True)])
        expected = np.empty((len(sides), phases))
        for t in range(phases):
            middle, normal = base_plane(points[:, t], certain[:, t], axis)
            for n, side in enumerate(sides):
                rise = (middle - points[n, t]) @ normal / (side.along @ normal)
                expected[n, t] = rows[n, t] * step + rise
        cost = np.array(
            [
                options.agree * np.abs(height[None, :] - expected[n][:, None]) - side.score
                for n, side in enumerate(sides)
            ]
        )
        rows = np.concatenate([closed_path(c[None], stiff, jump) for c in cost])
        certain = np.array([s.score[phase, r] for s, r in zip(sides, rows, strict=True)])
        certain = certain.clip(0.0, 1.0)
    points = np.array([s.points(r, step) for s, r in zip(sides, rows, strict=True)])
    return points, certain


def _beyond(values: Array, width: int) -> Array:
    """Mean over the next `width` samples of the last axis."""
    return np.asarray(
        ndimage.uniform_filter1d(values, width, axis=-1, origin=-(width // 2), mode="nearest")
    )


def _upwards(cost: Array, first: Array) -> NDArray[np.int64]:
    """Cheapest path over the rows, at most two columns aside per row, near `first` in row 0."""
    phases, rows, columns = cost.shape
    total = cost[:, 0] + 0.3 * np.abs(np.arange(columns)[None, :] - first[:, None])
    back = np.zeros(cost.shape, np.int64)
    moves = np.array([-1, 0, 1, 2])  # from where: outwards no more than 45 degrees
    price = np.array([0.3, 0.0, 0.1, 0.2])
    source = (np.arange(columns)[None, :] + moves[:, None]).clip(0, columns - 1)
    for k in range(1, rows):
        options = total[:, source] + price[None, :, None]
        choice = np.argmin(options, axis=1)
        total = np.take_along_axis(options, choice[:, None], axis=1)[:, 0] + cost[:, k]
        back[:, k] = source[choice, np.arange(columns)[None, :]]
    path = np.empty((phases, rows), np.int64)
    path[:, -1] = np.argmin(total, axis=1)
    for k in range(rows - 1, 0, -1):
        path[:, k - 1] = back[np.arange(phases), k, path[:, k]]
    return path


def smooth_ends(points: Array, certain: Array, harmonics: int) -> Array:
    """Motion of the ends: one common to all sides, and a slow deviation of each.

    A side whose end isn't seen at a phase moves as the others do.

    Args:
        points: Shape (sides, phases, 3), mm.
        certain: Shape (sides, phases).
        harmonics: Of the beat, kept of the common motion; of the deviations one is kept.
    """
    weight = certain.clip(min=0.02)
    common = np.zeros(points.shape[1:])
    for _ in range(5):
        rest = points - common
        place = (weight[..., None] * rest).sum(axis=1) / weight.sum(axis=1)[:, None]
        rest = points - place[:, None]
        off = np.linalg.norm(rest - common, axis=2)
        robust = weight * np.minimum(1.0, ROBUST / off.clip(min=1e-9))
        common = (robust[..., None] * rest).sum(axis=0) / robust.sum(axis=0)[:, None]
    common = smooth_beat(common, weight.sum(axis=0), harmonics, 0.0)
    own = [smooth_beat(r, w, 1, 0.5) for r, w in zip(points - common, certain, strict=True)]
    return np.asarray(np.array(own) + common)


def smooth_beat(values: Array, weights: Array, harmonics: int, damping: float) -> Array:
    """Periodic curve through values at evenly spread phases, outliers weighed down (Huber).

    Args:
        values: Shape (phases,) or (phases, n).
        weights: Shape (phases,).
        harmonics: Of the beat; fewer if there are few phases.
        damping: Of the harmonics, in phases.
    """
    count = len(values)
    angle = 2.0 * np.pi * np.arange(count) / count
    most = min(harmonics, (count - 1) // 2)
    basis = [np.ones(count)]
    for n in range(1, most + 1):
        basis += [np.cos(n * angle), np.sin(n * angle)]
    matrix = np.stack(basis, axis=1)
    column = values.reshape(count, -1)
    penalty = damping * np.diag(np.r_[0.0, np.ones(matrix.shape[1] - 1)])
    weight = weights.clip(min=1e-3)
    for _ in range(8):
        scaled = matrix * weight[:, None]
        solution = np.linalg.solve(matrix.T @ scaled + penalty, scaled.T @ column)
        rest = np.linalg.norm(matrix @ solution - column, axis=1)
        weight = weights.clip(min=1e-3) * np.minimum(1.0, ROBUST / rest.clip(min=1e-9))
    return np.asarray((matrix @ solution).reshape(values.shape))


def base_plane(points: Array, weights: Array, axis: Array) -> tuple[Array, Array]:
    """Plane through the ends of the wall on all sides of one phase.

    Heights along the axis as a linear function of the place across it, damped so that ends on one
    line (a single long-axis plane) don't tilt it; no more than 35 degrees.

    Args:
        points: Shape (n, 3), mm.
        weights: Shape (n,).
        axis: Unit vector from the apex to the base.

    Returns:
        Point of the plane and its unit normal, upwards.
    """
    own = weights.clip(min=1e-3)
    weight = own / own.sum()
    for _ in range(6):
        middle = weight @ points
        offset = points - middle
        height = offset @ axis
        flat = offset - height[:, None] * axis
        spread = flat.T @ (weight[:, None] * flat) + PRIOR * np.eye(3)
        slope = np.linalg.solve(spread, flat.T @ (weight * height))
        slope -= (slope @ axis) * axis
        rest = np.abs(height - flat @ slope)
        weight = own * np.minimum(1.0, ROBUST / rest.clip(min=1e-9))
        weight /= weight.sum()
    steep = float(np.linalg.norm(slope))
    slope *= min(1.0, float(np.tan(np.radians(35.0))) / max(steep, 1e-12))
    normal = axis - slope
    return np.asarray(middle), np.asarray(normal / np.linalg.norm(normal))
