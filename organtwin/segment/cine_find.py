"""Finding the left ventricle in short-axis cine slices: a bright disc that beats in a dark ring."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.segment.cine_planes import Plane, unit

type Array = NDArray[np.float64]

#: Radii (mm) that the pool of a left ventricle may have at the start of the beat.
RADII = np.arange(10.0, 40.1, 2.0)
#: Distance (mm) of candidates for the centre: in the search and near what is found.
COARSE, STEP = 6.0, 3.0
#: Phases that are looked at, evenly spread; more cost time and tell no more.
PHASES = 6
#: Half the width (mm) of the window around what moves most, in which the ventricle is sought.
REACH = 70.0
#: Share of the directions in which the ring may be bright (fat, a thin apex, the outflow tract).
OPEN = 0.2
#: A ring that is no darker than this part of the middle is none; muscle has less than half the
#: signal of blood.
FAINT = 0.3
#: How far (mm) a seed may lie from the centre of the pool.
SEEDED = 15.0
#: How far (mm) the centre may move from one slice to the next, per mm between them.
SLANT = 0.7
ANGLES = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)


@dataclass(frozen=True, eq=False)
class Disc:
    """Pool of the ventricle in a slice, roughly.

    Attributes:
        centre: Patient coordinates (mm), shape (3,).
        radius: At the start of the beat (mm).
        score: Darkness of the ring times change over the beat, both parts of the pool's signal,
            times the root of the radius (mm), so that vessels count less.
        contrast: How much darker the ring is than the middle, part of the middle's signal.
    """

    centre: Array
    radius: float
    score: float
    contrast: float


def find_discs(slices: Several[Plane], seed: Array | None = None) -> tuple[Disc, ...]:
    """The ventricle's pool in every short-axis slice.

    The best candidate of all slices is the start (or the seed is), from which the neighbours are
    found one after another; so one doubtful slice can't jump to the aorta.

    Args:
        slices: Short-axis planes, sorted.
        seed: Point (mm, LPS) in the left ventricle, if the search is not to be automatic.

    Raises:
        InputError: nothing in the slices looks like a beating ventricle.
    """
    slices = [_fewer(plane) for plane in slices]
    if seed is not None:
        first = int(np.argmin([abs(float(plane.height(seed))) for plane in slices]))
        start = _best(slices[first], _around(slices[first], seed, SEEDED))
    else:
        centre = _moving(slices)
        every = [_best(plane, _around(plane, centre, REACH)) for plane in slices]
        first = int(np.argmax([disc.score * (disc.contrast > FAINT) for disc in every]))
        start = every[first]
    if start.score <= 0.0 or start.contrast <= FAINT:
        raise InputError(
            "cine",
            "no bright, round pool in a dark ring that changes over the beat was found in the "
            "short-axis slices.",
            "Give a seed point in the left ventricle, or check that the series are short-axis.",
        )
    found = {first: start}
    for order in (range(first + 1, len(slices)), range(first - 1, -1, -1)):
        last = start
        for k in order:
            gap = abs(float(slices[k].height(last.centre)))
            near = max(SLANT * gap, COARSE)
            found[k] = last = _best(slices[k], _around(slices[k], last.centre, near))
    return tuple(found[k] for k in range(len(slices)))


def axis_through(discs: Several[Disc], slices: Several[Plane]) -> tuple[Array, Array]:
    """Axis of the ventricle: a point in the middle and the direction from the apex to the base.

    A line through the centres, weighted by score; it deviates from the slices' normal by no more
    than the scan was planned (25 degrees). The ventricle tapers towards the apex.

    Returns:
        Point (mm), shape (3,), and unit vector, shape (3,).
    """
    centres = np.array([disc.centre for disc in discs])
    weight = np.array([disc.score for disc in discs]).clip(min=1e-6)
    middle = np.average(centres, axis=0, weights=weight)
    normal = slices[0].normal
    along = (centres - middle) @ normal
    if np.ptp(along) < 1.0:
        raise InputError("cine", "one short-axis slice only.", "Give several parallel slices.")
    slope = (weight * along) @ (centres - middle) / float(weight @ along**2)
    direction = unit(slope)
    if direction @ normal < np.cos(np.radians(25.0)):
        direction = normal
    radii = np.array([disc.radius for disc in discs])
    taper = float((weight * along) @ (radii - np.average(radii, weights=weight)))
    return middle, direction if taper > 0 else -direction


def _fewer(plane: Plane) -> Plane:
    count = len(plane.values)
    chosen = np.unique(np.linspace(0, count, PHASES, endpoint=False).astype(int))
    return Plane(plane.values[chosen], plane.grid)


def _moving(slices: Several[Plane]) -> Array:
    """Where the signal changes most with the beat (mm): centre of the first harmonic.

    Source:
        PMC3982962, PLoS ONE (2014): harmonic images of the pixelwise Fourier transform.
    """
    places, weights = [], []
    for plane in slices:
        first = np.abs(np.fft.fft(plane.values, axis=0)[1]) / len(plane.values)
        smooth = ndimage.gaussian_filter(first, 5.0 / plane.grid.spacing[:2])
        strong = np.argwhere(smooth > 0.5 * smooth.max())
        places.append(plane.grid.points(np.c_[strong, np.zeros(len(strong))]))
        weights.append(smooth[tuple(strong.T)])
    return np.average(np.concatenate(places), axis=0, weights=np.concatenate(weights))


def _around(plane: Plane, centre: Array, reach: float, step: float = COARSE) -> Array:
    """Candidate centres in a plane within `reach` (mm) of a point, shape (n, 3)."""
    middle = centre - plane.height(centre) * plane.normal
    count = int(np.ceil(reach / step))
    steps = np.arange(-count, count + 1) * (reach / count)
    a, b = np.meshgrid(steps, steps, indexing="ij")
    points = middle + np.stack([a, b], axis=-1).reshape(-1, 2) @ plane.grid.direction[:, :2].T
    return np.asarray(points[np.hypot(a, b).ravel() <= reach + 1e-9])


def _best(plane: Plane, candidates: Array) -> Disc:
    """The best candidate, its place refined."""
    rough = _scored(plane, candidates)
    return _scored(plane, _around(plane, rough.centre, COARSE, STEP))


def _scored(plane: Plane, candidates: Array) -> Disc:
    """The candidate whose disc is bright, ringed dark and beats most."""
    axes = plane.grid.direction[:, :2]
    circle = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1) @ axes.T
    depth = np.arange(0.0, RADII[-1] + 8.0, 2.0)
    rays = candidates[:, None, None] + circle[None, :, None] * depth[None, None, :, None]
    values = plane.sample(rays)  # phase, candidate, angle, depth
    start = values[0]
    best = Disc(candidates[0], float(RADII[0]), 0.0, 0.0)
    for radius in RADII:
        core = np.median(start[:, :, depth <= 0.6 * radius], axis=(1, 2))
        ring = start[:, :, (depth >= radius + 2.0) & (depth <= radius + 6.0)].mean(axis=2)
        pool = start[:, :, (depth >= 0.5 * radius) & (depth <= radius - 2.0)]
        outside = ring.mean(axis=1)
        inner = values[:, :, :, depth <= 0.3 * radius].mean(axis=(2, 3))
        outer = values[:, :, :, (depth >= 0.55 * radius) & (depth <= radius - 2.0)].mean(axis=3)
        contrast = (inner - outside).clip(min=0.1 * core.clip(min=1e-6))
        bright = ((outer - outside[:, None]) / contrast[:, :, None]).clip(0.0, 1.0)
        dark = np.quantile(1.0 - ring / core[:, None].clip(min=1e-6), OPEN, axis=1)
        full = np.quantile(pool.mean(axis=2) / core[:, None].clip(min=1e-6), OPEN, axis=1)
        beats = 1.0 - np.median(bright, axis=2).min(axis=0)
        score = dark.clip(min=0.0) * full.clip(0.0, 1.0) * beats * np.sqrt(radius)
        k = int(np.argmax(score))
        if score[k] > best.score:
            best = Disc(candidates[k], float(radius), float(score[k]), float(dark[k]))
    return best
