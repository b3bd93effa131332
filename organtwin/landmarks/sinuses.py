"""The three sinuses of an unrolled aortic root: their lobes, hinge points and upper border."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.landmarks.attachment import SECTOR, Attachment, attachment
from organtwin.landmarks.fits import fit_plane, fit_plane_robustly
from organtwin.landmarks.knees import Knee, knee
from organtwin.landmarks.leaflets import leaflet_attachment
from organtwin.landmarks.record import Plane
from organtwin.landmarks.root import Lumen, Root

type Vector = NDArray[np.float64]

#: Heights around the end of the centreline in which the sinuses are widest (mm).
SINUSES = (-18.0, 22.0)
#: Lengths of profile that are looked at below and above a sinus (mm).
BELOW, ABOVE = 22.0, 20.0
#: How far a lobe may be from where three even ones would lie (degrees).
SWAY = 40.0
#: Half of the sector whose radii tell the middle of a lobe (degrees).
MIDDLE = 25.0
#: Fall of the radius within a length (mm) that no wall makes: share of the radius.
STEP, SUDDEN = 2.0, 0.22
#: Length of wall that is looked at beyond its narrowest place (mm).
RISING = 4.0
#: Length of wall seen below such a fall (mm) with which the vessel goes on.
GOES_ON = 5.0
#: About so many bends make the planes that are tried; they span at least this area (mm²) and lean
#: no more than this against the axis (degrees). A plane is so thick (mm); rounds of reweighting.
TRIED, SPREAD, STEEP, THICK, ROUNDS = 12, 20.0, 45.0, 3.0, 30


@dataclass(frozen=True)
class Lobe:
    """A sinus.

    Attributes:
        angle: Its direction (radians).
        height: Height where it is widest (mm).
        bend: Its lower end; none where the vessel ends.
        hinge: Lowest point of the leaflet's attachment (mm), shape (3,).
        border: Where the leaflet leaves the wall, or the bend below the sinus, over some angle;
            none where too little of it was seen.
    """

    angle: float
    height: float
    bend: Knee | None
    hinge: Vector
    border: Attachment | None = None


@dataclass(frozen=True)
class Sinuses:
    """What one look at a root gives.

    Attributes:
        root: The unrolled root.
        widest: Height where the sinuses are widest (mm).
        lobes: The three sinuses.
        junction: Plane through their upper bends; its diameter is not known yet.
        junction_residual: Distance of the bends from it (mm).
        junction_rise: Mean height of the sinus wall over the bends (mm).
        upper: The root unrolled along the axis in which the junction was seen.
    """

    root: Root
    widest: float
    lobes: tuple[Lobe, ...]
    junction: Plane
    junction_residual: float
    junction_rise: float
    upper: Root

    @property
    def middle(self) -> Vector:
        """Middle of the section where the sinuses are widest (mm), shape (3,)."""
        heights = self.root.heights
        return np.array([np.interp(self.widest, heights, c) for c in self.root.centres.T])


def look_at(lumen: Lumen, root: Root, junction: Plane | None = None) -> Sinuses:
    """Sinuses, hinge points and upper border of an unrolled root.

    Args:
        lumen: Scan or labels.
        root: What it is unrolled to.
        junction: Their upper border where a person placed it; it isn't sought then.

    Raises:
        InputError: too little of it was seen, or nothing bends.
    """
    widest = widest_of(root)
    lobes = tuple(_lobe(lumen, root, turn, widest) for turn in _thirds(root, widest))
    return Sinuses(root, widest, lobes, *junction_of(lumen, root, widest, junction), root)


def widest_of(root: Root, within: tuple[float, float] = SINUSES) -> float:
    """Height where the sinuses are widest: the highest local maximum of the area."""
    inside = (root.heights >= within[0]) & (root.heights <= within[1])
    inside &= np.isfinite(root.areas)
    if np.count_nonzero(inside) < 5:
        raise InputError(
            "aortic root", "too little of the root was seen.", "Check the label of the aorta."
        )
    areas, heights = ndimage.gaussian_filter1d(root.areas[inside], 2.0), root.heights[inside]
    peaks = np.flatnonzero((areas[1:-1] >= areas[:-2]) & (areas[1:-1] > areas[2:])) + 1
    best = peaks[np.argmax(areas[peaks])] if len(peaks) else int(np.argmax(areas))
    return float(heights[best])


def _thirds(root: Root, widest: float) -> Vector:
    """Directions of three even lobes, from the phase of the third harmonic (radians)."""
    near = np.abs(root.heights - widest) < 6.0
    total = np.nansum(root.harmonic(3)[near])
    return np.asarray(-np.angle(total) / 3.0 + np.arange(3) * 2.0 * np.pi / 3.0)


def _lobe(lumen: Lumen, root: Root, turn: float, widest: float) -> Lobe:
    """The sinus near a direction: where its wall is farthest, and the bend below."""
    rows = np.flatnonzero((np.abs(root.heights - widest) < 12.0) & np.isfinite(root.areas))
    off = (root.angles - turn + np.pi) % (2.0 * np.pi) - np.pi
    columns = np.argsort(off)
    columns = columns[np.abs(off[columns]) <= np.radians(SWAY)]
    wall = ndimage.gaussian_filter(root.radii[rows], (2.0, 2.0), mode=("nearest", "wrap"))
    # Towards the edges of its sector a lobe counts less, so that it isn't its neighbour's flank.
    wall = wall[:, columns] - 0.02 * wall.max() * (off[columns] / np.radians(SWAY)) ** 2
    row, column = np.unravel_index(int(np.argmax(wall)), wall.shape)
    direction = float(root.angles[columns[column]]) + _aside(wall[row], int(column), root)
    return _hinge(lumen, root, direction, int(rows[row]))


def _aside(wall: Vector, column: int, root: Root) -> float:
    """Angle of the middle of a bulge off the column where it is highest (radians)."""
    step = 2.0 * np.pi / len(root.angles)
    reach = int(np.radians(MIDDLE) / step)
    near = np.arange(max(column - reach, 0), min(column + reach + 1, len(wall)))
    square, slope, _ = np.polyfit(near - column, wall[near], 2)
    # Where one flank is cut off by the sector, the parabola may run away.
    shift = -0.5 * slope / square if square < 0.0 else 0.0
    return float(np.clip(shift, -0.5 * reach, 0.5 * reach)) * step


def _hinge(lumen: Lumen, root: Root, direction: float, top: int) -> Lobe:
    """Lower end of a sinus: the bend of its wall, or where the vessel ends."""
    step = root.heights[1] - root.heights[0]
    count = int(BELOW / step)
    down = slice(top, max(top - count, 0) if top > count else None, -1)
    heights, curve = root.heights[down], root.curve(direction)[down]
    last = _end(heights, curve, rough=not root.followed)
    if last is not None:
        return Lobe(direction, float(heights[0]), None, root.place(last, direction))
    bend = knee(heights, _falling(curve, round(RISING / step)), root.soft)
    if bend is None or bend.turn <= 0.0:
        last = float(heights[np.isfinite(curve)][-1])
        return Lobe(direction, float(heights[0]), None, root.place(last, direction))
    border = _border(lumen, root, direction, bend.place, float(heights[0]))
    if border is None:
        return Lobe(direction, float(heights[0]), bend, root.place(bend.place, direction))
    return Lobe(direction, float(heights[0]), bend, lowest_of(root, border), border)


def _border(
    lumen: Lumen, root: Root, direction: float, first: float, top: float
) -> Attachment | None:
    """Lower border of the sinus around a direction: where a leaflet leaves it, or its bend."""
    if lumen.grey and root.followed:
        seen = leaflet_attachment(lumen, root, direction, first, top)
        if seen is not None:
            return seen
    off = (root.angles - direction + np.pi) % (2.0 * np.pi) - np.pi
    near = np.flatnonzero(np.abs(off) <= np.radians(SECTOR))
    near = near[np.argsort(off[near])]
    radii = root.radii[:, near]
    found = attachment(root.heights, off[near], radii, first, root.voxel, root.soft)
    return None if found is None else replace(found, middle=direction)


def lowest_of(root: Root, border: Attachment) -> Vector:
    """Lowest place of an attachment along the root's axis (mm), shape (3,)."""
    height, radius = border.at(border.lowest)
    return root.at(height, border.middle + border.lowest, radius)


def _end(heights: Vector, curve: Vector, *, rough: bool) -> float | None:
    """Height of a sudden fall: the end of a vessel, or roughly the bottom of a sinus."""
    step = float(heights[0] - heights[1]) if len(heights) > 1 else 1.0
    window = max(round(STEP / step), 1)
    if len(curve) <= window + 1:
        return None
    fall = curve[:-window] - curve[window:]
    sudden = np.flatnonzero(fall > SUDDEN * curve[0])
    goes_on = len(sudden) and np.isfinite(curve[sudden[0] :]).sum() * step > GOES_ON
    if not len(sudden) or (goes_on and not rough):
        return None
    single = -np.diff(curve[sudden[0] : sudden[0] + window + 1])
    return float(heights[sudden[0] + max(int(np.argmax(single)) - 1, 0)])


def _falling(curve: Vector, beyond: int) -> Vector:
    """The curve up to some samples beyond where it begins to rise again by a part of its fall."""
    seen = np.where(np.isfinite(curve), curve, np.inf)
    lowest = np.minimum.accumulate(seen)
    again = seen - lowest > 0.15 * (seen[0] - lowest)
    again &= (seen[0] - lowest > 1.0) & (np.arange(len(curve)) > 0)
    if not again.any():
        return curve
    end = int(np.argmin(seen[: int(np.argmax(again))])) + beyond
    return np.where(np.arange(len(curve)) <= end, curve, np.nan)


def junction_of(
    lumen: Lumen, root: Root, widest: float, placed: Plane | None = None
) -> tuple[Plane, float, float]:
    """Plane through the upper bends in all directions; its residual and the mean rise.

    Args:
        lumen: Scan or labels.
        root: The unrolled root.
        widest: Height where the sinuses are widest (mm).
        placed: The plane that a person placed; it isn't sought then.

    Raises:
        InputError: nothing bends.
    """
    if placed is not None:
        up = placed.normal if placed.normal @ root.axes[2] > 0.0 else -placed.normal
        return replace(placed, normal=up), 0.0, 0.0
    step = root.heights[1] - root.heights[0]
    count = int(ABOVE / step)
    points, rises = [], []
    for turn in root.angles[::2]:
        curve = root.curve(turn)
        near = np.flatnonzero((np.abs(root.heights - widest) < 8.0) & np.isfinite(curve))
        top = int(near[np.argmax(curve[near])])
        bend = knee(root.heights[top : top + count], curve[top : top + count], root.soft)
        if bend is not None and bend.turn > 0.0 and bend.rise > 0.0:
            points.append(root.place(bend.place, turn))
            rises.append(bend.rise)
    if len(points) < 6:
        raise InputError(
            "aortic root", "the sinuses bend nowhere into a tube.", "Check the label of the aorta."
        )
    places, weights = np.array(points), np.array(rises)
    if lumen.grey:
        plane, residual = _common_plane(places, weights, root.axes[2])
        return plane, residual, float(np.mean(rises))
    # Bends of labels are scattered by their voxels: none can be spared.
    fit = fit_plane_robustly(places, weights)
    normal = fit.normal if fit.normal @ root.axes[2] > 0.0 else -fit.normal
    return Plane(fit.centre, normal), fit.residual, float(np.mean(rises))


def _common_plane(points: Vector, weights: Vector, up: Vector) -> tuple[Plane, float]:
    """Plane that most of some points agree on, and their root mean square distance from it (mm).

    Where an arched aorta is convex the wall goes on from the sinus almost straight, and bends of
    the arch are found instead. They are too many and too far off for reweighting to begin with all
    points: planes through three points are tried first.
    """
    few = np.arange(0, len(points), max(len(points) // TRIED, 1))
    a, b, c = points[few[np.array(list(combinations(range(len(few)), 3))).T]]
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1)
    normals = normals / np.maximum(length, 1e-9)[:, None]
    level = (length > SPREAD) & (np.abs(normals @ up) > np.cos(np.radians(STEEP)))
    off = normals @ points.T - np.sum(normals * a, axis=1)[:, None]
    votes = np.where(level, np.maximum(1.0 - (off / THICK) ** 2, 0.0) ** 2 @ weights, 0.0)
    left = off[int(np.argmax(votes))]
    trust = weights
    for _ in range(ROUNDS):
        own = weights * np.maximum(1.0 - (left / (1.5 * THICK)) ** 2, 0.0) ** 2
        trust = own if np.count_nonzero(own) >= 3 else weights
        fit = fit_plane(points, trust)
        left = (points - fit.centre) @ fit.normal
    normal = fit.normal if fit.normal @ up > 0.0 else -fit.normal
    return Plane(fit.centre, normal), float(np.sqrt(np.average(left**2, weights=trust)))


def hinge_normal(found: Sinuses) -> Vector:
    """Upward unit normal of the plane through the three hinge points, shape (3,)."""
    normal = fit_plane(np.array([lobe.hinge for lobe in found.lobes])).normal
    return np.asarray(normal if normal @ found.root.axes[2] > 0.0 else -normal)
