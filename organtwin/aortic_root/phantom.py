"""A parametric root as a CT, with partial volume, blur and noise, and as labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from organtwin.aortic_root.parametric import CUSPS, Coronary, ParametricRoot
from organtwin.image.volume import Grid, Image, LabelMap

type Vector = NDArray[np.float64]

#: Voxels drawn at once.
PORTION = 200_000
#: Directions and step of the heights (mm) in which the wall is tabulated.
TURNS, RISE = 720, 0.1
#: Labels of `labels`.
NAMES = {"aorta": 1, "lv_blood": 2, "coronaries": 3, "calcium": 4}


@dataclass(frozen=True)
class Scanner:
    """What a scan is made of and how it is taken; the numbers are our choice.

    Attributes:
        voxel: Edge of the voxels (mm).
        blur: Standard deviation of the point spread (mm).
        noise: Standard deviation of the noise (HU), as wide as two voxels.
        seed: Of the noise.
        contrast: Blood (HU).
        muscle: Wall, heart muscle and leaflets (HU).
        fat: What lies around (HU).
        wall: Thickness of the wall above the annulus (mm).
        heart: Thickness of the muscle below it (mm).
        above: How far the scan reaches over the junction (mm).
        below: How far below the annulus (mm).
        around: Least distance of the wall from the sides of the scan (mm).
    """

    voxel: float = 0.75
    blur: float = 0.45
    noise: float = 15.0
    seed: int = 1
    contrast: float = 420.0
    muscle: float = 100.0
    fat: float = -80.0
    wall: float = 2.0
    heart: float = 8.0
    above: float = 40.0
    below: float = 35.0
    around: float = 16.0


def grid_of(root: ParametricRoot, scanner: Scanner) -> Grid:
    """Upright grid around a root."""
    turn = np.linspace(0.0, 2.0 * np.pi, 73)
    ends = (-scanner.below, 0.0, 0.5 * root.junction_height, root.junction_height,
            root.junction_height + scanner.above)  # fmt: skip
    rings = np.concatenate([root.wall(turn, np.full(73, z)) for z in ends])
    points = root.to_patient(rings)
    pad = np.array([scanner.around, scanner.around, 0.0])
    low, high = points.min(axis=0) - pad, points.max(axis=0) + pad
    i, j, k = np.ceil((high - low) / scanner.voxel).astype(int)
    return Grid((int(i), int(j), int(k)), np.full(3, scanner.voxel), low, np.eye(3))


def scan(root: ParametricRoot, scanner: Scanner | None = None) -> Image:
    """CT of a root (HU).

    Each material fills the part of a voxel that its distance from the border tells, the later ones
    over the earlier: fat, wall and muscle, blood, leaflets, calcium. Then come blur and noise.
    """
    scanner = scanner or Scanner()
    grid = grid_of(root, scanner)
    sheet, wall = _leaflets(root), _wall(root, grid)
    values = _drawn(grid, lambda p: _grey(root, scanner, sheet, wall, root.to_root(p)))
    values = ndimage.gaussian_filter(values, scanner.blur / scanner.voxel)
    if scanner.noise:
        # White noise loses its size by the filter that gives it a grain; it is scaled back.
        grain = np.random.default_rng(scanner.seed).standard_normal(grid.shape)
        grain = ndimage.gaussian_filter(grain, 0.6)
        values = values + scanner.noise / float(grain.std()) * grain
    return Image(values.astype(np.float32), grid, "HU")


def labels(
    root: ParametricRoot, scanner: Scanner | None = None, *, calcium: bool = False
) -> LabelMap:
    """Labels of the same voxels: ``aorta``, ``lv_blood``, ``coronaries``; if asked, ``calcium``.

    Leaflets count as blood, as segmentations of the heart have it.
    """
    scanner = scanner or Scanner()
    grid = grid_of(root, scanner)
    wall = _wall(root, grid)

    def number(points: Vector) -> Vector:
        local = root.to_root(points)
        lumen = wall.inside(local) > 0.0
        found = np.where(lumen, np.where(local[:, 2] > 0.0, 1.0, 2.0), 0.0)
        for coronary in root.coronaries:
            found[(_tube(root, coronary, local) > 0.0) & ~lumen] = 3.0
        if calcium:
            found[_nodules(root, local)[0] > 0.0] = 4.0
        return found

    values = _drawn(grid, number).astype(np.uint8)
    names = {name: value for name, value in NAMES.items() if calcium or name != "calcium"}
    return LabelMap(values, names, grid.spacing, grid.origin, grid.direction)


def _drawn(grid: Grid, value: Callable[[Vector], Vector]) -> Vector:
    """A function of the points on all voxels, in portions."""
    count = int(np.prod(grid.shape))
    parts = []
    for first in range(0, count, PORTION):
        flat = np.arange(first, min(first + PORTION, count))
        index = np.column_stack(np.unravel_index(flat, grid.shape))
        parts.append(value(grid.points(index)))
    return np.concatenate(parts).reshape(grid.shape)


def _wall(root: ParametricRoot, grid: Grid) -> _Wall:
    """The wall over all heights that a grid holds."""
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(grid.shape) - 1)
    height = root.to_root(grid.points(corners))[:, 2]
    return _Wall.of(root, (float(height.min()) - 1.0, float(height.max()) + 1.0))


def _grey(
    root: ParametricRoot, scanner: Scanner, sheet: cKDTree | None, wall: _Wall, local: Vector
) -> Vector:
    """Grey values at points in the root's frame (HU)."""
    lumen = wall.inside(local)
    tubes = [_tube(root, coronary, local) for coronary in root.coronaries]
    blood = np.maximum.reduce([lumen, *tubes])
    coat = np.where(local[:, 2] > 0.0, scanner.wall, scanner.heart)
    tissue = np.maximum.reduce([lumen + coat, *(tube + 0.5 * scanner.wall for tube in tubes)])
    values = np.full(len(local), scanner.fat)
    for depth, grey in ((tissue, scanner.muscle), (blood, scanner.contrast)):
        share = np.clip(depth / scanner.voxel + 0.5, 0.0, 1.0)
        values += share * (grey - values)
    if sheet is not None:
        near = sheet.query(local, distance_upper_bound=root.thickness + scanner.voxel)[0]
        share = np.clip((0.5 * root.thickness - near) / scanner.voxel + 0.5, 0.0, 1.0)
        # A voxel wider than the leaflet is never full of it.
        share = np.minimum(share, min(root.thickness / scanner.voxel, 1.0))
        values += share * (lumen > 0.0) * (scanner.muscle - values)
    depth, density = _nodules(root, local)
    share = np.clip(depth / scanner.voxel + 0.5, 0.0, 1.0)
    return np.asarray(values + share * (density - values))


@dataclass(frozen=True)
class _Wall:
    """Radius of a root's wall and what makes its distance, tabulated over angle and height.

    Attributes:
        radius: Radius (mm), shape (n, m).
        tilt: Length of the gradient of the distance along the radius from it, shape (n, m).
        lowest: First height (mm).
    """

    radius: Vector
    tilt: Vector
    lowest: float

    @classmethod
    def of(cls, root: ParametricRoot, ends: tuple[float, float]) -> _Wall:
        turn = np.arange(TURNS) * 2.0 * np.pi / TURNS
        heights = np.arange(ends[0], ends[1] + RISE, RISE)
        radius = root.radius(turn, heights[:, None])
        rise = np.gradient(radius, RISE, axis=0)
        swell = np.roll(radius, -1, axis=1) - np.roll(radius, 1, axis=1)
        swell /= 2.0 * turn[1] * radius
        return cls(radius, np.sqrt(1.0 + rise**2 + swell**2), float(heights[0]))

    def inside(self, local: Vector) -> Vector:
        """Distance from the wall, positive in the lumen (mm): to first order in it."""
        turn = np.arctan2(local[:, 1], local[:, 0]) % (2.0 * np.pi)
        at = np.array([(local[:, 2] - self.lowest) / RISE, turn * TURNS / (2.0 * np.pi)])
        at[0] = np.clip(at[0], 0.0, len(self.radius) - 1.0)
        wall, tilt = (
            ndimage.map_coordinates(table, at, order=1, mode="grid-wrap")
            for table in (self.radius, self.tilt)
        )
        return np.asarray((wall - np.hypot(local[:, 0], local[:, 1])) / tilt)


def _tube(root: ParametricRoot, coronary: Coronary, local: Vector) -> Vector:
    """Distance from the wall of a coronary artery, positive inside (mm)."""
    turn = np.radians(root.middles[CUSPS.index(coronary.cusp)] + coronary.off)
    height = coronary.height + 0.5 * coronary.diameter
    way = np.array([np.cos(turn), np.sin(turn), 0.0])
    along = local @ way
    aside = np.linalg.norm(local - along[:, None] * way - np.array([0.0, 0.0, height]), axis=1)
    last = float(root.radius(np.asarray(turn), np.asarray(height))) + coronary.length
    return np.minimum.reduce([0.5 * coronary.diameter - aside, along, last - along])


def _leaflets(root: ParametricRoot) -> cKDTree | None:
    """Points on the leaflets, near enough to stand for them."""
    if root.leaflets == "none":
        return None
    along, across = np.meshgrid(np.linspace(-1.0, 1.0, 161), np.linspace(0.0, 1.0, 81))
    return cKDTree(
        np.concatenate([root.leaflet(k, along.ravel(), across.ravel()) for k in range(3)])
    )


def _nodules(root: ParametricRoot, local: Vector) -> tuple[Vector, Vector]:
    """Distance from the nearest nodule's surface, positive inside (mm), and its density (HU)."""
    depth, density = np.full(len(local), -1e3), np.zeros(len(local))
    for nodule in root.calcium:
        own = 0.5 * nodule.diameter - np.linalg.norm(local - root.nodule_centre(nodule), axis=1)
        density = np.where(own > depth, nodule.density, density)
        depth = np.maximum(own, depth)
    return depth, density
