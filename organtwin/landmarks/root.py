"""The lumen of an aortic root unrolled: distance of its wall by height and angle."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image, LabelMap
from organtwin.landmarks.fits import frame, unit
from organtwin.mesh.closest import distances
from organtwin.mesh.conforming.wrapping import wrap

type Vector = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: Directions in a section.
ANGLES = 72
#: Heights looked at around the end of the vessel (mm).
RANGE = (-32.0, 55.0)
#: Smoothing of label maps before their border is taken (voxels).
BLUR = 1.0
#: Standard deviation of a box as wide as a voxel (voxels).
VOXEL = 1.0 / np.sqrt(12.0)
#: The same of scans, whose voxels are about as small as they are sharp (voxels).
SHARP = 0.6
#: Largest change of the wall's level, as a share of the step from it to the blood.
FARTHEST = 0.8
#: Distance from the surface of a label (voxels) beyond which it is no longer told.
BAND = 1.0
#: Rays that go on beyond this many median radii have left through an ostium or into a ventricle.
LEAK = 1.5
#: Length of the rays (mm).
REACH = 34.0
#: Share of directions in which a wall must be seen for a section to count.
SEEN = 0.6
#: From section to section a followed wall gets nearer than this share, or farther by more (mm),
#: only where it is lost; a section counts with this share of its wall.
LEAST, MOST, KEPT = 0.2, 1.5, 0.3
#: How far over the widest section the wall is first taken for sure (mm).
OVER = 2.5
#: A ray that ends nearer than this share of the median of so many neighbours has lost the wall.
NEARER, NEIGHBOURS = 0.85, 7
#: A bump of the wall that is narrower and longer than this (mm) is an artery's, not a sinus'.
NARROW, BUMP = 6.5, 0.8
#: Highest Fourier order of the wall that takes its place.
SERIES = 6
#: Rounds in which the centres of the sections settle, each on every so many of them.
ROUNDS, EVERY = 3, 4


@dataclass(frozen=True)
class Lumen:
    """A field that is above a level inside a vessel.

    Attributes:
        values: Field, indexed ``[i, j, k]``.
        grid: Where it lies.
        level: Value at the wall.
        soft: Standard deviation of the blur that its edges have (voxels).
        grey: Whether the field is a scan, in which leaflets show, not labels.
        slope: How fast the field falls at the wall (per mm).
        contrast: How far a scan's blood is above what surrounds it.
    """

    values: NDArray[np.float32]
    grid: Grid
    level: float
    soft: float
    grey: bool = False
    slope: float = 0.0
    contrast: float = 0.0

    def at(self, points: Vector) -> Vector:
        """Field minus level at points (mm), shape (..., 3); outside the grid it is far below."""
        index = self.grid.index(points.reshape(-1, 3)).T
        found = ndimage.map_coordinates(self.values, index, order=1, cval=-1e4)
        return np.asarray(found.reshape(points.shape[:-1]) - self.level, float)

    def shifted(self, share: float) -> Lumen:
        """The same field with the wall at another level, by a share of the level of its blood."""
        high = float(np.percentile(self.values[self.values > self.level], 50.0))
        return replace(self, level=self.level + share * (high - self.level))

    def moved(self, outwards: float) -> Lumen:
        """The same field with its border so many mm farther out, to first order."""
        high = float(np.percentile(self.values[self.values > self.level], 50.0))
        most = FARTHEST * (high - self.level)
        change = float(np.clip(self.slope * outwards, -most, most))
        return replace(self, level=self.level - change)

    @classmethod
    def of_labels(cls, mask: Mask, grid: Grid) -> Lumen:
        """Blurred mask, half of it at the wall: bends keep their place, curved walls shrink."""
        soft = ndimage.gaussian_filter(mask.astype(np.float32), BLUR)
        width = float(np.hypot(BLUR, VOXEL))
        slope = 1.0 / (np.sqrt(2.0 * np.pi) * width * float(np.mean(grid.spacing)))
        return cls(soft, grid, 0.5, width, slope=slope)

    @classmethod
    def of_surface(cls, mask: Mask, grid: Grid, middle: Vector) -> Lumen:
        """Distance from the smooth surface around a mask: it keeps its volume, so sizes are right.

        Args:
            mask: Blood.
            grid: Where it lies.
            middle: Only what lies around this point is looked at (mm), shape (3,).
        """
        mask, grid = _around(mask, grid, middle)
        rounds = int(np.ceil(BAND + float(np.max(grid.spacing) / np.min(grid.spacing))))
        near = ndimage.binary_dilation(mask, iterations=rounds)
        near &= ~ndimage.binary_erosion(mask, iterations=rounds)
        whole = LabelMap(
            mask.astype(np.uint8), {"lumen": 1}, grid.spacing, grid.origin, grid.direction
        )
        skin = wrap(whole)
        index = np.argwhere(near)
        away = distances(grid.points(index), skin.points, skin.triangles) / np.min(grid.spacing)
        values = np.where(mask, BAND, -BAND).astype(np.float32)
        # Vertices move by less than half a voxel, so each voxel's centre stays on its side.
        values[tuple(index.T)] = np.minimum(away, BAND) * np.sign(values[tuple(index.T)])
        return cls(values, grid, 0.0, BLUR, slope=1.0 / float(np.min(grid.spacing)))

    @classmethod
    def of_image(cls, image: Image, core: Mask) -> Lumen:
        """Grey values, the wall half-way between blood and what surrounds it.

        Args:
            image: Scan with contrast medium.
            core: Voxels of the vessel near its root, on the same grid.

        Raises:
            InputError: the blood is no brighter than what surrounds it.
        """
        ball = ndimage.generate_binary_structure(3, 1)
        inner = ndimage.binary_erosion(core, ball, 2)
        shell = ndimage.binary_dilation(core, ball, 3) & ~ndimage.binary_dilation(core, ball, 1)
        inside = image.values[inner if inner.any() else core]
        blood, noise = float(np.median(inside)), float(np.std(inside))
        around = image.values[shell]
        # Neighbouring chambers are as bright as the vessel; they are no wall.
        dark = around[around < blood - 3.0 * noise]
        wall = float(np.median(dark)) if dark.size > 0.1 * around.size else blood
        if not blood > wall:
            raise InputError(
                "aortic root",
                f"blood ({blood:.0f}) is no brighter than its surroundings ({wall:.0f}).",
                "Take a scan with contrast medium, or landmarks from labels alone.",
            )
        level = 0.5 * (blood + wall)
        values = image.values.astype(np.float32)
        slope = _steepness(values, image.grid, core, level, 0.25 * (blood - wall))
        return cls(values, image.grid, level, SHARP, True, slope, blood - wall)


def _steepness(
    values: NDArray[np.float32], grid: Grid, core: Mask, level: float, near: float
) -> float:
    """How fast values fall where they pass a level at the border of a mask (per mm)."""
    box = ndimage.find_objects(core.astype(np.uint8))[0]
    part = tuple(slice(max(b.start - 3, 0), b.stop + 3) for b in box)
    border = ndimage.binary_dilation(core[part], iterations=2)
    border &= ~ndimage.binary_erosion(core[part], iterations=2)
    border &= np.abs(values[part] - level) < near
    parts = np.gradient(values[part], *(float(step) for step in grid.spacing))
    fall = np.sqrt(np.sum(np.square(parts), axis=0))[border]
    return float(np.median(fall)) if fall.size else 0.0


def _around(mask: Mask, grid: Grid, middle: Vector) -> tuple[Mask, Grid]:
    """What lies within reach of all sections near a point."""
    reach = np.ceil(2.0 * REACH / grid.spacing)
    place = np.round(grid.index(middle[None])[0])
    low = np.clip(place - reach, 0, None).astype(int)
    high = (place + reach + 1).astype(int)
    part = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return part, replace(grid, shape=part.shape, origin=grid.points(low[None].astype(float))[0])


@dataclass(frozen=True)
class Root:
    """Wall of a root by height and angle.

    Attributes:
        axes: Rows are the directions of angle 0 and 90° and upwards along the vessel, shape (3, 3).
        heights: Height of each section above the vessel's end (mm), shape (n,).
        centres: Middle of each section (mm), shape (n, 3).
        radii: Distance of the wall in each direction (mm), NaN where none is seen, shape (n, m).
        open: Where a ray left the lumen without a wall near by, shape (n, m).
        raw: The radii before single rays were evened out (mm), shape (n, m).
        soft: Standard deviation of the blur that bends have (mm).
        voxel: Mean edge of the voxels (mm).
        followed: Whether the wall was followed downwards, behind leaflets and around corners.
    """

    axes: Vector
    heights: Vector
    centres: Vector
    radii: Vector
    open: Mask
    raw: Vector
    soft: float
    voxel: float
    followed: bool = False

    @property
    def angles(self) -> Vector:
        """Directions (radians), shape (m,)."""
        return np.arange(self.radii.shape[1]) * 2.0 * np.pi / self.radii.shape[1]

    @property
    def start(self) -> Vector:
        """Middle of the section at height 0 (mm), shape (3,)."""
        return np.array([np.interp(0.0, self.heights, c) for c in self.centres.T])

    @property
    def areas(self) -> Vector:
        """Area of each section (mm²), NaN where too little of its wall is seen, shape (n,)."""
        step = 2.0 * np.pi / self.radii.shape[1]
        after = np.roll(self.radii, -1, axis=1)
        return np.asarray(0.5 * np.sin(step) * np.sum(self.radii * after, axis=1))

    def place(self, height: float, angle: float) -> Vector:
        """Point of the wall at a height and an angle, among those seen (mm), shape (3,)."""
        curve = self.curve(angle)
        seen = np.isfinite(curve)
        radius = float(np.interp(height, self.heights[seen], curve[seen]))
        return self.at(height, angle, radius)

    def coordinates(self, point: Vector) -> tuple[float, float]:
        """Height (mm) and angle (radians) of a point (mm), shape (3,)."""
        height = float((point - self.start) @ self.axes[2])
        away = point - self.at(height, 0.0, 0.0)
        return height, float(np.arctan2(away @ self.axes[1], away @ self.axes[0]))

    def at(self, height: float, angle: float, radius: float) -> Vector:
        """Point at a height, an angle and a distance from the middle (mm), shape (3,)."""
        centre = [np.interp(height, self.heights, self.centres[:, k]) for k in range(3)]
        return np.asarray(np.array(centre) + radius * self.direction(angle))

    def direction(self, angle: float) -> Vector:
        """Unit vector of an angle, shape (3,)."""
        return np.asarray(np.cos(angle) * self.axes[0] + np.sin(angle) * self.axes[1])

    def curve(self, angle: float, half_width: float = np.radians(7.6)) -> Vector:
        """Radius over height in a direction, averaged over a few neighbours (mm), shape (n,)."""
        off = np.abs((self.angles - angle + np.pi) % (2.0 * np.pi) - np.pi)
        near = off <= half_width
        weights = np.maximum(1.0 - off[near] / (half_width * 1.5), 0.0)
        return np.asarray(np.average(self.radii[:, near], axis=1, weights=weights))

    def harmonic(self, order: int) -> NDArray[np.complex128]:
        """Fourier coefficient of the radius: real amplitude times its phase, shape (n,)."""
        turn = np.exp(-1j * order * self.angles)
        return np.asarray(2.0 * np.mean(self.radii * turn, axis=1))


def unroll(lumen: Lumen, end: Vector, beyond: Vector, near: tuple[float, float] = RANGE) -> Root:
    """Wall of a root around the axis that leaves the heart.

    Args:
        lumen: Blood.
        end: Where the vessel begins (mm), shape (3,).
        beyond: A place further along it (mm), shape (3,).
        near: Heights over the end whose sections tell where its middle is (mm).

    Raises:
        InputError: there is no lumen around the axis.
    """
    up = unit(beyond - end)
    step = 0.5 * float(lumen.grid.spacing.min())
    heights = np.arange(RANGE[0], RANGE[1] + step, step)
    axes = frame(up, np.array([0.0, -1.0, 0.0]) if abs(up[1]) < 0.9 else None)
    centres = end + heights[:, None] * up
    few = slice(None, None, EVERY)  # a parabola needs no more
    for _ in range(ROUNDS):
        radii = wall_radii(lumen, centres[few], axes, step)[0]
        good = np.isfinite(radii).all(axis=1)
        good &= (heights[few] >= near[0]) & (heights[few] <= near[1])
        if np.count_nonzero(good) * EVERY < 10:
            raise InputError(
                "aortic root", "no lumen was found around the axis.", "Check the labels."
            )
        centres = _recentred(radii, good, centres[few], heights[few], axes, heights)
    radii, left = wall_radii(lumen, centres, axes, step)
    voxel = float(np.mean(lumen.grid.spacing))
    soft = lumen.soft * voxel
    root = Root(axes, heights, centres, _smooth(radii), left, radii, soft, voxel)
    return replace(root, radii=_without_bumps(root.radii, root))


def wall_radii(lumen: Lumen, centres: Vector, axes: Vector, step: float) -> tuple[Vector, Mask]:
    """First border along each ray; NaN rows where too few are seen, and where rays leaked."""
    turn = np.arange(ANGLES) * 2.0 * np.pi / ANGLES
    way = np.cos(turn)[:, None] * axes[0] + np.sin(turn)[:, None] * axes[1]
    reach = np.arange(0.0, REACH, step)
    radii = np.full((len(centres), ANGLES), np.nan)
    for first in range(0, len(centres), 16):  # in portions, for memory
        points = centres[first : first + 16, None, None] + reach[:, None] * way[None, :, None]
        radii[first : first + 16] = _crossing(lumen.at(points), reach)
    middle = np.nanmedian(np.where(np.isfinite(radii), radii, REACH), axis=1)
    left = np.isnan(radii) | (radii > LEAK * middle[:, None])
    inside = lumen.at(centres) > 0.0
    seen = inside & (np.mean(~left, axis=1) >= SEEN) & (middle > 3.0)
    filled = np.full_like(radii, np.nan)
    for row in np.flatnonzero(seen):
        known = ~left[row]
        filled[row] = np.interp(turn, turn[known], radii[row, known], period=2.0 * np.pi)
    return filled, left


def followed(lumen: Lumen, root: Root, widest: float) -> Root:
    """The same root with its wall followed downwards from its widest section.

    A ray from the middle ends at a closed leaflet, before the bottom of the sinus behind it, and
    the outflow tract may leave the middle. Hence each wall is the outermost that a ray meets
    without going much beyond that of the section above.
    """
    step = float(root.heights[1] - root.heights[0])
    top = widest + OVER  # of leaflets that stand open the tips end there
    seen = np.flatnonzero((root.heights <= top) & np.isfinite(root.radii).all(axis=1))
    rows = np.arange(int(seen.max(initial=-1)), -1, -1)
    if not len(rows):
        return root
    reach = np.arange(0.0, REACH, step)
    way = np.array([root.direction(turn) for turn in root.angles])
    radii, last = root.raw.copy(), root.radii[rows[0]]
    raw, left = root.raw.copy(), root.open.copy()
    for row in rows[1:]:
        field = lumen.at(root.centres[row] + reach[:, None] * way[:, None, :])
        found = _outermost(field, reach, LEAST * last, last + MOST)
        gone = np.mean(np.isnan(found)) > 1.0 - KEPT
        last = _beside(np.where(np.isnan(found), last, found))
        radii[row] = np.nan if gone else last
        # Where blood goes on beyond the wall an artery leaves, which a leaflet may hide.
        ahead = np.where(reach >= last[:, None], field, 1.0)
        raw[row] = np.where(np.isnan(found) & ~gone, _crossing(ahead, reach), radii[row])
        left[row] = np.isnan(raw[row])
    evened = _without_bumps(_smooth(radii), root)
    return replace(root, radii=evened, raw=raw, open=left, followed=True)


def _beside(radii: Vector) -> Vector:
    """Radii of a section, those far nearer than their neighbours replaced by these.

    A ray that runs along a closed leaflet ends in it and would not find the wall again below.
    """
    middle = ndimage.median_filter(radii, size=NEIGHBOURS, mode="wrap")
    return np.where(radii < NEARER * middle, middle, radii)


def _without_bumps(radii: Vector, root: Root) -> Vector:
    """A wall without what is narrower than any sinus and leads outwards: arteries.

    In their place comes a Fourier series through the rest of the section.
    """
    rows = np.flatnonzero(np.isfinite(radii).all(axis=1))
    if len(rows) < 3:
        return radii
    known = radii[rows]
    wide = float(np.median(known)) * 2.0 * np.pi / radii.shape[1]
    high = float(root.heights[1] - root.heights[0])
    size = (max(int(NARROW / high), 3), max(int(NARROW / wide), 3))
    bare = ndimage.grey_opening(known, size=size, mode=("nearest", "wrap"))
    bump = ndimage.grey_dilation(known - bare > BUMP, size=(3, 5), mode=("nearest", "wrap"))
    orders = np.arange(1, SERIES + 1)[:, None] * root.angles
    terms = np.vstack([np.ones(radii.shape[1]), np.cos(orders), np.sin(orders)]).T
    for row in np.flatnonzero(bump.any(axis=1)):
        rest = ~bump[row]
        if np.count_nonzero(rest) > 2 * terms.shape[1]:
            solved = np.linalg.lstsq(terms[rest], known[row, rest])[0]
            low = bare[row, ~rest]
            known[row, ~rest] = np.clip(terms[~rest] @ solved, low, low + BUMP)
    evened = radii.copy()
    evened[rows] = known
    return evened


def _outermost(field: Vector, reach: Vector, least: Vector, most: Vector) -> Vector:
    """Largest distance between bounds at which rows of a field fall to zero, NaN of none, (m,)."""
    before, after = field[:, :-1], field[:, 1:]
    falls = (before > 0.0) & (after <= 0.0)
    share = before / np.where(falls, before - after, 1.0)
    places = np.where(falls, reach[:-1] + share * (reach[1] - reach[0]), -1.0)
    fit = (places >= least[:, None]) & (places <= most[:, None])
    best = np.max(np.where(fit, places, -1.0), axis=1)
    return np.where(best >= 0.0, best, np.nan)


def _crossing(field: Vector, reach: Vector) -> Vector:
    """Distance at which a field along the last axis first falls to zero; NaN if it doesn't."""
    below = field <= 0.0
    first = np.argmax(below, axis=-1)
    found = below.any(axis=-1) & (first > 0)
    before = np.maximum(first - 1, 0)
    a = np.take_along_axis(field, before[..., None], -1)[..., 0]
    b = np.take_along_axis(field, first[..., None], -1)[..., 0]
    share = a / np.where(found, a - b, 1.0)
    return np.where(found, reach[before] + share * (reach[1] - reach[0]), np.nan)


def _recentred(
    radii: Vector, good: Mask, centres: Vector, heights: Vector, axes: Vector, wanted: Vector
) -> Vector:
    """Centroids of the sections at the heights wanted, along a parabola over the height."""
    turn = np.arange(ANGLES) * 2.0 * np.pi / ANGLES
    # Moments of triangles around the centre: r³/3 over r²/2.
    weight = radii[good] ** 3
    size = 1.5 * np.sum(radii[good] ** 2, axis=1)
    x = np.sum(weight * np.cos(turn), axis=1) / size
    y = np.sum(weight * np.sin(turn), axis=1) / size
    middles = centres[good] + x[:, None] * axes[0] + y[:, None] * axes[1]
    terms = np.vander(heights, 3)
    solved = np.linalg.lstsq(terms[good], middles - heights[good, None] * axes[2])[0]
    # Beyond what was seen the parabola must not run away.
    low, high = heights[good].min(), heights[good].max()
    inner = np.vander(np.clip(wanted, low, high), 3) @ solved
    return np.asarray(inner + wanted[:, None] * axes[2])


def _smooth(radii: Vector) -> Vector:
    """Median of three by three neighbours, all the way round; single wrong rays vanish."""
    ring = np.concatenate([radii[:, -1:], radii, radii[:, :1]], axis=1)
    stack = [np.roll(ring, (i, j), axis=(0, 1))[:, 1:-1] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    middle = np.median(np.array(stack), axis=0)
    return np.where(np.isfinite(middle), middle, radii)
