"""A deployed valve as its pictures see it: in the root's own directions, with all that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.aortic_root.parametric import CUSPS
from organtwin.devices.gap import Rays, first_hit
from organtwin.errors import InputError
from organtwin.export.pages import read_json
from organtwin.image.markups import Landmarks, read_markup
from organtwin.tavr.deployed import Deployed
from organtwin.tavr.root_record import RootRecord

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
type Mesh = tuple[Array, Integers]

#: Radius of the disc over which contact pressure is averaged (mm).
REACH = 2.0
#: Corners around a strut, and how far a strut's end goes past its node, per its width.
SIDES, PAST = 8, 0.25
#: Middles of the cusps about the axis where they are not known (degrees).
EVEN = (0.0, 120.0, 240.0)
#: Points of a surface nearer than this are one (mm).
SAME = 1e-6


@dataclass(frozen=True)
class Valve:
    """A deployed valve with its root. Lengths in mm, places in the scan's coordinates.

    Attributes:
        deployed: The valve.
        before: The same while the frame was crimped; none if it was not kept.
        root: The root as it was measured; none if it is not known.
        middles: Directions of the middles of the cusps right, left, non-coronary (degrees).
        calcium: Surface of the calcium as it is now; none where there is none.
    """

    deployed: Deployed
    before: Deployed | None = None
    root: RootRecord | None = None
    middles: tuple[float, float, float] = EVEN
    calcium: Mesh | None = None

    @property
    def origin(self) -> Array:
        """Middle of the annulus; where the device was aimed at, if the root is not known, (3,)."""
        return self.deployed.placement_centre if self.root is None else self.root.origin

    @property
    def axes(self) -> Array:
        """Rows: towards the right cusp, 90° from it, up to the aorta, (3, 3)."""
        return self.deployed.placement_axes if self.root is None else self.root.axes

    def across(self, degrees: float) -> Array:
        """Direction across the axis, (3,)."""
        turn = np.radians(degrees)
        return np.asarray(np.cos(turn) * self.axes[0] + np.sin(turn) * self.axes[1])

    def own(self, points: Array) -> Array:
        """Places in the root's directions from the middle of the annulus, (..., 3)."""
        return np.asarray((points - self.origin) @ self.axes.T)

    def unrolled(self, points: Array) -> Array:
        """Direction about the axis (degrees, -180 to 180) and height over the annulus, (..., 2)."""
        own = self.own(points)
        return np.stack([np.degrees(np.arctan2(own[..., 1], own[..., 0])), own[..., 2]], axis=-1)

    @property
    def septum_direction(self) -> float:
        """Of the middle of the membranous septum (degrees): as meshed, measured or usual."""
        patch = self.deployed.surfaces.get("membranous_septum")
        if patch is not None and len(patch[1]):
            x, y, _ = self.own(patch[0]).mean(axis=0)
            return float(np.degrees(np.arctan2(y, x)))
        if self.root is not None:
            return float(np.degrees(self.root.septum_direction))
        return 0.5 * (self.middles[2] - 360.0 + self.middles[0])

    @cached_property
    def wall(self) -> Mesh:
        """The inner wall in one piece, small triangles, so that fields on it are smooth."""
        return finer(*joined(*self.deployed.wall))

    @cached_property
    def pressure(self) -> Array:
        """Contact pressure at the points of `wall` (kPa), averaged over discs of `REACH`."""
        pressed = self.deployed.pressed
        return averaged(pressed.places, pressed.normal, self.wall[0])

    @cached_property
    def local_pressure(self) -> Array:
        """Contact pressure under the struts at each place where they press (kPa), (k,)."""
        pressed = self.deployed.pressed
        return np.asarray(pressed.normal / (pressed.length * self.deployed.pressed_width))

    def at_wall(self, of_triangles: Array) -> Array:
        """Values of the triangles of `Deployed.wall` at the points of `wall`, their mean there."""
        points, triangles = joined(*self.deployed.wall)
        areas = _areas(points, triangles)
        weight, total = np.zeros(len(points)), np.zeros(len(points))
        for corner in range(3):
            np.add.at(weight, triangles[:, corner], areas)
            np.add.at(total, triangles[:, corner], areas * of_triangles)
        mean = total / np.where(weight > 0.0, weight, 1.0)
        extended, _ = finer(np.column_stack([points, mean]), triangles)
        return np.asarray(extended[:, 3])

    @cached_property
    def largest_strain(self) -> Array:
        """Largest absolute strain of the fibres of each element, (m,)."""
        return np.asarray(np.abs(self.deployed.strain).max(axis=1))

    def wall_at(self, heights: Array, count: int = 180) -> tuple[Array, Array]:
        """The wall by height and direction about the root's axis.

        Args:
            heights: Over the annulus (mm), even distances, (m,).
            count: Directions.

        Returns:
            Directions (degrees, from -180 on), (count,), and places, (m, count, 3), NaN where
            there is no wall.
        """
        rays = Rays(self.origin, self.axes, heights, count)
        radii = first_hit(*self.deployed.wall, rays)
        turns, shift = rays.turns, count - count // 2
        way = np.stack([np.cos(turns), np.sin(turns)], axis=-1) @ self.axes[:2]
        reach = np.where(np.isfinite(radii), radii, np.nan)
        at = self.origin + reach[..., None] * way + heights[:, None, None] * self.axes[2]
        degrees = np.degrees(turns) - 360.0 * (np.arange(count) >= shift)
        return np.roll(degrees, -shift), np.roll(at, -shift, axis=1)


def read_valve(folder: Path) -> Valve:
    """A valve from the files of its result directory.

    Raises:
        InputError: there is no readable ``deployed.npz``.
    """
    deployed = Deployed.load(folder / "deployed.npz")
    first = folder / "before.npz"
    before = Deployed.load(first) if first.is_file() else None
    measured = read_json(folder / "stages" / "root" / "root.json").get("measured")
    root = None if measured is None else RootRecord.from_record(measured)
    middles = EVEN
    if root is not None:
        middles = _middles(folder / "stages" / "measure" / "landmarks.mrk.json", root)
    return Valve(deployed, before, root, middles)


def _middles(file: Path, root: RootRecord) -> tuple[float, float, float]:
    """Directions of the cusps by their hinge points (degrees); even where they are not known."""
    try:
        found = read_markup(file, Landmarks, "points")
        at = np.array([found.point(f"hinge_{cusp}") for cusp in CUSPS])
    except (InputError, OSError):
        return EVEN
    right, left, non = (float(turn) % 360.0 for turn in np.degrees(root.turn(at)))
    return (right - 360.0 if right > 180.0 else right), left, non


def averaged(places: Array, forces: Array, points: Array, reach: float = REACH) -> Array:
    r"""Force per area of a surface at its points, averaged over discs (kPa).

    .. math:: p(x) = \sum_i N_i\, \frac{3}{\pi R^2} \left(1 - \frac{|x - x_i|}{R}\right)_+

    so that its integral over a flat surface is the sum of the forces.

    Args:
        places: Where forces act (mm), (k, 3).
        forces: N (mN), (k,).
        points: Where it is wanted (mm), (n, 3).
        reach: R (mm).
    """
    if len(places) == 0 or len(points) == 0:
        return np.zeros(len(points))
    near = cKDTree(points).sparse_distance_matrix(cKDTree(places), reach, output_type="ndarray")
    part = forces[near["j"]] * (1.0 - near["v"] / reach) * 3.0 / (np.pi * reach**2)
    return np.bincount(near["i"], weights=part, minlength=len(points)).astype(np.float64)


def joined(points: Array, triangles: Integers) -> Mesh:
    """A surface whose points that lie at the same place are one; triangles stay in their order."""
    _, first, at = np.unique(np.rint(points / SAME), axis=0, return_index=True, return_inverse=True)
    return points[first], at.ravel()[triangles].astype(np.int64)


def finer(points: Array, triangles: Integers) -> Mesh:
    """Each triangle split into four; points (n, d) of any dimension."""
    sides = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    unlike, at = np.unique(sides, axis=0, return_inverse=True)
    middle = 0.5 * (points[unlike[:, 0]] + points[unlike[:, 1]])
    p, q, r = (len(points) + at.reshape(-1, 3)).T
    a, b, c = triangles.T
    parts = np.stack([a, p, r, p, b, q, r, q, c, p, q, r], axis=1)
    return np.concatenate([points, middle]), parts.reshape(-1, 3)


def struts(deployed: Deployed, sides: int = SIDES) -> tuple[Mesh, Integers]:
    """Struts with the thickness and the width that they have.

    The thickness lies across the frame's own axis, the width in its surface.

    Args:
        deployed: The valve.
        sides: Corners around each strut; 4 makes boxes, more round the edges off.

    Returns:
        Surface, and the element of each triangle.
    """
    a, b = deployed.nodes[deployed.ends[:, 0]], deployed.nodes[deployed.ends[:, 1]]
    along = b - a
    along /= np.linalg.norm(along, axis=1)[:, None]
    out = 0.5 * (a + b) - deployed.origin
    out -= (out @ deployed.axis)[:, None] * deployed.axis
    out -= np.einsum("mi,mi->m", out, along)[:, None] * along
    out /= np.maximum(np.linalg.norm(out, axis=1), 1e-12)[:, None]
    side = np.cross(along, out)
    turn = (np.arange(sides) + 0.5) * 2.0 * np.pi / sides
    x, y = np.cos(turn), np.sin(turn)
    square = 1.0 / np.maximum(np.abs(x), np.abs(y))  # between a circle and a square
    bulge = 0.5 * (1.0 + square) if sides > 4 else square
    ring = (0.5 * deployed.thickness)[:, None, None] * (x * bulge)[:, None] * out[:, None] + (
        0.5 * deployed.width
    )[:, None, None] * (y * bulge)[:, None] * side[:, None]
    over = PAST * deployed.width[:, None] * along
    points = np.stack([a[:, None] - over[:, None] + ring, b[:, None] + over[:, None] + ring], 1)
    k = np.arange(sides)
    after = (k + 1) % sides
    tube = np.concatenate([np.stack([k, after, sides + after], 1),
                           np.stack([k, sides + after, sides + k], 1)])  # fmt: skip
    fan = np.stack([np.zeros(sides - 2, int), k[2:], k[1:-1]], 1)
    caps = np.concatenate([fan, sides + fan[:, ::-1]])
    one = np.concatenate([tube, caps])
    count = len(deployed.ends)
    triangles = one[None] + 2 * sides * np.arange(count)[:, None, None]
    element = np.repeat(np.arange(count), len(one))
    return (points.reshape(-1, 3), triangles.reshape(-1, 3).astype(np.int64)), element


def edges(triangles: Integers) -> Integers:
    """Sides that belong to one triangle only: the border of a patch, (k, 2)."""
    sides = triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    unlike, count = np.unique(np.sort(sides, axis=1), axis=0, return_counts=True)
    return np.asarray(unlike[count == 1])


def ceiling(values: Array, share: float = 99.5) -> float:
    """A round number that all but few values do not exceed."""
    top = float(np.percentile(values, share)) if len(values) else 0.0
    if not top > 0.0:
        return 1.0
    size = 10.0 ** np.floor(np.log10(top))
    steps = np.array([1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0])
    return float(size * steps[np.searchsorted(steps, top / size - 1e-9)])


def _areas(points: Array, triangles: Integers) -> Array:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return np.asarray(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1))


def names_at(middles: Mapping[str, float] | tuple[float, float, float]) -> dict[str, float]:
    """Cusps in words by direction (degrees, -180 to 180)."""
    turns = middles.values() if isinstance(middles, Mapping) else middles
    return {
        name: (turn + 180.0) % 360.0 - 180.0
        for name, turn in zip(("Right cusp", "Left cusp", "Non-coronary"), turns, strict=True)
    }
