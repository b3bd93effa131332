"""Outer wall of a vessel, slice by slice: the best closed line around its middle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.volume import Grid
from organtwin.segment.morphology import Mask

type Array = NDArray[np.float64]

#: Cost of a step of the line towards or away from the middle, in the unit of the values.
STEP = 5.0
#: Cost of what must not be crossed.
NEVER = 1e6


@dataclass(frozen=True)
class Wall:
    """What the outer wall of a vessel looks like.

    Attributes:
        values: Grey values are cut to this range: inside the vessel nothing is darker than its
            upper end, so that borders within it, as of a true lumen, are no edges.
        tissue: Smaller values don't belong to the vessel (HU: fat, lung).
        reach: Largest radius (mm).
        rays: Number of directions.
        step: Distance of the places along a ray (mm).
        steepness: Most places by which the radius changes from ray to ray.
        blur: Smoothing of the radii along the vessel (mm, standard deviation).
    """

    values: tuple[float, float] = (-60.0, 140.0)
    tissue: float = 20.0
    reach: float = 35.0
    rays: int = 72
    step: float = 0.5
    steepness: int = 2
    blur: float = 1.5

    @property
    def radii(self) -> Array:
        """Places along a ray (mm)."""
        count = round(self.reach / self.step)
        return np.asarray(np.linspace(self.step, count * self.step, count), dtype=np.float64)

    @property
    def angles(self) -> Array:
        """Directions of the rays (radians)."""
        turn = np.linspace(0.0, 2.0 * np.pi, self.rays, endpoint=False)
        return np.asarray(turn, dtype=np.float64)


def outer_wall(
    values: NDArray[np.float32], core: Mask, inside: Mask, forbidden: Mask, grid: Grid, wall: Wall
) -> Mask:
    """The vessel around a core, up to its outer wall, in the slices across the third axis.

    In each slice the closed line ``r(θ)`` around the middle of ``core`` is sought that minimises
    ``Σ (v(r + δ) - v(r - δ)) + ∫₀^r max(0, tissue - v) dr' + STEP |Δr|``, with ``|Δr|`` bounded:
    from bright to dark, through nothing dark, and smooth. It is found by dynamic programming over
    the rays, twice around so that the line closes.

    Args:
        values: Grey values, smoothed.
        core: What tells the middle of the vessel in each of its slices.
        inside: Voxels that must lie within the line.
        forbidden: Voxels that must lie outside of it.
        grid: Where the voxels lie.
        wall: What the wall looks like.

    Raises:
        InputError: the core is empty.

    Source:
        D. H. Ballard, C. M. Brown, Computer Vision (1982), section 4.5, for boundaries by dynamic
        programming.
    """
    slices = np.flatnonzero(core.any(axis=(0, 1)))
    if not len(slices):
        raise InputError("outer_wall", "the core of the vessel is empty.", "Find the lumen first.")
    middle = _middles(core, slices, grid)
    cost = _costs(values, inside, forbidden, slices, middle, grid, wall)
    radii = wall.radii[_closed_lines(cost, wall.steepness)]
    along = wall.blur / grid.spacing[2]
    radii = ndimage.median_filter(radii, (5, 1), mode="nearest")
    radii = ndimage.gaussian_filter(radii, (along, 1.0), mode=("nearest", "wrap"))
    result = np.zeros(core.shape, bool)
    result[:, :, slices] = _filled_lines(radii, middle, grid, wall)
    return result


def _middles(core: Mask, slices: NDArray[np.int64], grid: Grid) -> Array:
    """Centre of the core in each slice (voxels), smoothed by 4.5 mm along the vessel."""
    part = core[:, :, slices]
    count = part.sum(axis=(0, 1))
    first = np.einsum("ijk,i->k", part.astype(float), np.arange(core.shape[0])) / count
    second = np.einsum("ijk,j->k", part.astype(float), np.arange(core.shape[1])) / count
    middle = np.stack([first, second], axis=1)
    return np.asarray(
        ndimage.gaussian_filter1d(middle, 4.5 / grid.spacing[2], axis=0, mode="nearest")
    )


def _costs(
    values: NDArray[np.float32], inside: Mask, forbidden: Mask, slices: NDArray[np.int64],
    middle: Array, grid: Grid, wall: Wall,
) -> Array:  # fmt: skip
    """Cost of each radius on each ray of each slice, shape (slices, rays, radii)."""
    across = np.cos(wall.angles)[:, None] * wall.radii / grid.spacing[0]
    down = np.sin(wall.angles)[:, None] * wall.radii / grid.spacing[1]
    where = [
        middle[:, 0, None, None] + across,
        middle[:, 1, None, None] + down,
        np.broadcast_to(slices[:, None, None], (len(slices), *across.shape)),
    ]

    def sampled(volume: NDArray[np.generic]) -> Array:
        found = ndimage.map_coordinates(volume.astype(np.float32), where, order=1, mode="nearest")
        return np.asarray(found, dtype=np.float64)

    grey = np.clip(sampled(values), *wall.values)
    reach = max(round(1.0 / wall.step), 1)
    rise = np.zeros_like(grey)
    rise[:, :, reach:-reach] = grey[:, :, 2 * reach :] - grey[:, :, : -2 * reach]
    dark = np.maximum(wall.tissue - grey, 0.0) + 100.0 * (sampled(forbidden) > 0.5)
    cost = rise + np.cumsum(dark, axis=2) * wall.step
    lumen = sampled(inside) > 0.5
    within = np.cumsum(lumen[:, :, ::-1], axis=2)[:, :, ::-1] > 0
    return np.asarray(cost + NEVER * within)


def _closed_lines(cost: Array, steepness: int) -> NDArray[np.int64]:
    """Place on each ray of the cheapest line around each slice, shape (slices, rays)."""
    rays, places = cost.shape[1:]
    twice = np.concatenate([cost, cost], axis=1)
    shifts = np.arange(-steepness, steepness + 1)
    total, came = twice[:, 0], []
    for ray in range(1, 2 * rays):
        wide = np.pad(total, ((0, 0), (steepness, steepness)), constant_values=1e12)
        ways = np.stack(
            [wide[:, steepness + s : steepness + s + places] + STEP * abs(s) for s in shifts]
        )
        came.append(shifts[ways.argmin(axis=0)])
        total = ways.min(axis=0) + twice[:, ray]
    path = np.zeros((len(cost), 2 * rays), np.int64)
    path[:, -1] = total.argmin(axis=1)
    for ray in range(2 * rays - 1, 0, -1):
        here = path[:, ray]
        path[:, ray - 1] = here + np.take_along_axis(came[ray - 1], here[:, None], axis=1)[:, 0]
    half = rays // 2
    return np.asarray(np.roll(path[:, half : half + rays], half, axis=1))


def _filled_lines(radii: Array, middle: Array, grid: Grid, wall: Wall) -> Mask:
    """Voxels within the lines, shape (i, j, slices)."""
    across = (np.arange(grid.shape[0])[:, None] - middle[:, 0]) * grid.spacing[0]
    down = (np.arange(grid.shape[1])[:, None] - middle[:, 1]) * grid.spacing[1]
    across, down = across[:, None, :], down[None, :, :]
    turn = np.mod(np.arctan2(down, across), 2.0 * np.pi) * (wall.rays / (2.0 * np.pi))
    before = np.floor(turn).astype(int)
    share = turn - before
    number = np.broadcast_to(np.arange(len(middle)), turn.shape)
    limit = (1.0 - share) * radii[number, before % wall.rays]
    limit += share * radii[number, (before + 1) % wall.rays]
    return np.asarray(np.hypot(across, down) <= limit)
