"""Outlines of sections of a root: smooth, past calcium and ostia, on the steepest edge."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.image.volume import Grid
from organtwin.landmarks.fits import MAD, TUKEY
from organtwin.landmarks.root import Lumen, Root

type Vector = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: Directions of an outline.
RAYS = 180
#: Highest Fourier order of the outline of a ring, and of a section of the sinuses.
RING, SINUS = 5, 7
#: How far from a first guess the edge is sought (mm).
WINDOW = 2.0
#: Blur along a ray before its steepest place is sought (voxels), and over neighbouring rays (rays).
ALONG, BESIDE = 0.5, 1.5
#: Step along a ray (voxels).
STEP = 0.2
#: Margin of the box that is looked at (mm).
MARGIN = 6.0
#: Rays around an artery that are left out, and the spread about the guess in the first fit (mm).
ASIDE, FIRST = 9, 0.25
#: Half of the angle around a hinge point in which a leaflet may bound the lumen (radians): an
#: attachment that rises by 12 mm/rad² is within half a millimetre of the annulus there.
HIDDEN = np.radians(12.0)
#: Weight against high orders, in rays over the order's square.
RIDGE = 0.01
#: Rounds in which the outline is followed to its edge.
ROUNDS = 3


@dataclass(frozen=True)
class Outline:
    r"""Outline of a section by a plane, :math:`r(\theta)` around a point.

    Attributes:
        centre: Point in the plane (mm), shape (3,).
        axes: Rows are the directions of angle 0 and 90° and the normal, shape (3, 3).
        radii: Distance of the outline in even directions (mm), shape (n,).
        seen: Share of the directions in which its edge was seen.
    """

    centre: Vector
    axes: Vector
    radii: Vector
    seen: float = 1.0

    @property
    def angles(self) -> Vector:
        """Directions (radians), shape (n,)."""
        return np.arange(len(self.radii)) * 2.0 * np.pi / len(self.radii)

    @property
    def flat(self) -> Vector:
        """Points in the plane, from the centre (mm), shape (n, 2)."""
        turn = self.angles
        return np.asarray(self.radii[:, None] * np.column_stack([np.cos(turn), np.sin(turn)]))

    @property
    def points(self) -> Vector:
        """Points (LPS, mm), shape (n, 3)."""
        return np.asarray(self.centre + self.flat @ self.axes[:2])

    @property
    def area(self) -> float:
        r"""Area (mm²), :math:`A = \frac12 \oint x\,dy - y\,dx` over the polygon."""
        return 0.5 * float(np.sum(_crossed(self.flat)))

    @property
    def perimeter(self) -> float:
        """Length of the polygon (mm)."""
        ends = self.flat
        return float(np.linalg.norm(np.roll(ends, -1, axis=0) - ends, axis=1).sum())

    @property
    def area_diameter(self) -> float:
        r"""Diameter of a disc of the same area (mm), :math:`\sqrt{4 A / \pi}`."""
        return float(np.sqrt(4.0 * self.area / np.pi))

    @property
    def perimeter_diameter(self) -> float:
        r"""Diameter of a circle of the same length (mm), :math:`P / \pi`."""
        return self.perimeter / np.pi

    @property
    def centroid(self) -> Vector:
        """Centroid of the area (LPS, mm), shape (3,)."""
        ends, cross = self.flat, _crossed(self.flat)
        middle = np.sum((ends + np.roll(ends, -1, axis=0)) * cross[:, None], axis=0)
        return np.asarray(self.centre + middle / (3.0 * np.sum(cross)) @ self.axes[:2])

    @property
    def calipers(self) -> tuple[float, float]:
        """Least and largest distance of two parallel lines that touch the outline (mm)."""
        turn = np.arange(180) * np.pi / 180.0
        across = self.flat @ np.array([np.cos(turn), np.sin(turn)])
        widths = across.max(axis=0) - across.min(axis=0)
        return float(widths.min()), float(widths.max())

    def moved(self, outwards: float) -> Outline:
        r"""The outline farther out by a distance along its normal (mm).

        .. math:: r + \delta \sqrt{1 + (r'/r)^2}
        """
        step = 2.0 * np.pi / len(self.radii)
        slope = (np.roll(self.radii, -1) - np.roll(self.radii, 1)) / (2.0 * step)
        return replace(self, radii=self.radii + outwards * np.hypot(1.0, slope / self.radii))

    def seen_from(self, middle: Vector) -> Outline:
        """The same around another point in its plane (mm), shape (3,)."""
        flat = (self.points - middle) @ self.axes[:2].T
        turn = np.arctan2(flat[:, 1], flat[:, 0]) % (2.0 * np.pi)
        order = np.argsort(turn)
        radii = np.interp(self.angles, turn[order], np.hypot(*flat.T)[order], period=2.0 * np.pi)
        return replace(self, centre=middle, radii=radii)

    def radius(self, turn: Vector) -> Vector:
        """Distance of the outline in any directions (radians) (mm)."""
        return np.asarray(np.interp(turn, self.angles, self.radii, period=2.0 * np.pi))

    def within(self, grid: Grid) -> bool:
        """Whether it lies on a grid, a voxel from its border at least."""
        index = grid.index(self.points)
        return bool(np.all(index >= 1.0) and np.all(index <= np.array(grid.shape) - 2.0))


def _crossed(ends: Vector) -> Vector:
    after = np.roll(ends, -1, axis=0)
    return np.asarray(ends[:, 0] * after[:, 1] - ends[:, 1] * after[:, 0])


@dataclass(frozen=True)
class Walls:
    """What outlines are taken from.

    Attributes:
        lumen: Scan or smooth surface of labels, as the landmarks were found in.
        root: The unrolled root, whose wall is a first guess; none if it wasn't seen.
        fine: Coefficients of cubic splines of a scan; the field itself of labels.
        grid: Where they lie.
        calcium: Value from which on it is calcium, not blood; infinite in labels.
    """

    lumen: Lumen
    root: Root | None
    fine: NDArray[np.float32]
    grid: Grid
    calcium: float = float("inf")

    @classmethod
    def around(
        cls, lumen: Lumen, root: Root | None, middle: Vector, reach: float, calcium: float
    ) -> Walls:
        """What lies within reach of a point (mm).

        Args:
            lumen: See the attributes.
            root: See the attributes.
            middle: Middle of what is wanted (mm), shape (3,).
            reach: Half the width of a box that holds it (mm).
            calcium: See the attributes.
        """
        at = lumen.grid.index(middle[None])[0]
        room = (reach + MARGIN) / lumen.grid.spacing
        low = np.clip(np.floor(at - room), 0, None).astype(int)
        high = np.clip(np.ceil(at + room) + 1, 0, lumen.grid.shape).astype(int)
        part = lumen.values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        grid = replace(lumen.grid, shape=part.shape,
                       origin=lumen.grid.points(low[None].astype(float))[0])  # fmt: skip
        fine = ndimage.spline_filter(part, order=3, output=np.float32) if lumen.grey else part
        return cls(lumen, root, np.asarray(fine), grid, calcium if lumen.grey else float("inf"))

    def at(self, points: Vector) -> Vector:
        """Field minus level at points (mm), shape (..., 3)."""
        index = self.grid.index(points.reshape(-1, 3)).T
        order = 3 if self.lumen.grey else 1
        found = ndimage.map_coordinates(
            self.fine, index, order=order, mode="nearest", prefilter=False
        )
        return np.asarray(found.reshape(points.shape[:-1]) - self.lumen.level, float)


def outline(
    walls: Walls, centre: Vector, axes: Vector, order: int = RING, hidden: Vector | None = None
) -> Outline | None:
    r"""Smooth outline of the lumen in a plane.

    In each direction the edge is the steepest fall of the scan near a first guess, within 2 mm,
    which is the wall of the unrolled root; of labels it is their smooth surface. Directions in
    which calcium lies at the edge or an artery leaves are left out. Through the rest goes

    .. math:: r(\theta) = \sum_{k=0}^{n} a_k \cos k\theta + b_k \sin k\theta

    by least squares with Tukey's biweight, so an ostium or a leaflet is passed over. The steepest
    place does not depend on a level, so the grey value of what lies outside does not matter. All
    of this is our choice.

    Args:
        walls: What it is taken from.
        centre: A point of the plane inside the lumen (mm), shape (3,).
        axes: Rows are the directions of angle 0 and 90° and the normal, shape (3, 3).
        order: Highest order :math:`n`.
        hidden: Places around which something else bounds the lumen than the wall (mm), (n, 3):
            hinge points, where leaflets reach the ring.

    Returns:
        The outline around its centroid; nothing where no lumen is seen.
    """
    found: Outline | None = None
    for _ in range(ROUNDS):
        guess = _guess(walls, centre, axes) if found is None else found.radii
        if guess is None:
            return None
        edge, sure = _edge(walls, centre, axes, guess)
        bare = _bare(centre, axes, hidden)
        radii, kept = _smooth(edge, sure & bare, guess, order)
        found = Outline(centre, axes, radii, kept / float(np.mean(bare)))
        middle = found.centroid
        found = found.seen_from(middle)
        centre = middle
    return found


def _bare(centre: Vector, axes: Vector, hidden: Vector | None) -> Mask:
    """Directions in which nothing is hidden, shape (n,)."""
    turn = np.arange(RAYS) * 2.0 * np.pi / RAYS
    bare = np.ones(RAYS, bool)
    for place in () if hidden is None else hidden:
        x, y, _ = axes @ (place - centre)
        off = (turn - np.arctan2(y, x) + np.pi) % (2.0 * np.pi) - np.pi
        bare &= np.abs(off) > HIDDEN
    return bare


def _ways(axes: Vector) -> Vector:
    turn = np.arange(RAYS) * 2.0 * np.pi / RAYS
    return np.asarray(np.cos(turn)[:, None] * axes[0] + np.sin(turn)[:, None] * axes[1])


def _guess(walls: Walls, centre: Vector, axes: Vector) -> Vector | None:
    """Radii of the wall of the unrolled root, where the plane cuts it; else of the first border."""
    if walls.root is not None:
        found = _of_root(walls.root, centre, axes)
        if found is not None:
            return found
    step = 0.5 * float(walls.grid.spacing.min())
    reach = np.arange(0.0, 30.0, step)
    field = walls.at(centre + reach[:, None] * _ways(axes)[:, None, :])
    out = field <= 0.0
    if field[:, 0].max() <= 0.0 or not out.any(axis=1).all():
        return None
    return reach[np.argmax(out, axis=1)]


def _of_root(root: Root, centre: Vector, axes: Vector) -> Vector | None:
    """Where a plane cuts the wall of an unrolled root, by direction."""
    ways = np.array([root.direction(turn) for turn in root.angles])
    wall = root.centres[:, None] + root.radii[..., None] * ways  # (n, m, 3)
    height = (wall - centre) @ axes[2]
    cut = height[:-1] * height[1:] <= 0.0
    known = cut & np.isfinite(height[:-1]) & np.isfinite(height[1:])
    columns = np.flatnonzero(known.any(axis=0))
    if len(columns) < 0.7 * root.radii.shape[1]:
        return None
    # A steep wall may be cut twice; the cut nearest to the centre's height along the axis counts.
    rows = np.argmax(known, axis=0)[columns]
    low, high = height[rows, columns], height[rows + 1, columns]
    share = np.where(low == high, 0.5, low / np.where(low == high, 1.0, low - high))[:, None]
    points = (1.0 - share) * wall[rows, columns] + share * wall[rows + 1, columns]
    flat = (points - centre) @ axes[:2].T
    turn, far = np.arctan2(flat[:, 1], flat[:, 0]) % (2.0 * np.pi), np.hypot(*flat.T)
    order = np.argsort(turn)
    ask = np.arange(RAYS) * 2.0 * np.pi / RAYS
    return np.asarray(np.interp(ask, turn[order], far[order], period=2.0 * np.pi))


def _edge(walls: Walls, centre: Vector, axes: Vector, guess: Vector) -> tuple[Vector, Mask]:
    """Distance of the edge near a guess, and where it is sure, shape (n,)."""
    voxel = float(walls.grid.spacing.min())
    step = STEP * voxel
    window = np.arange(-WINDOW, WINDOW + step, step)
    reach = np.maximum(guess[:, None] + window, 0.0)
    field = walls.at(centre + reach[..., None] * _ways(axes)[:, None, :])
    limed = (field + walls.lumen.level > walls.calcium).any(axis=1)
    if not walls.lumen.grey:
        return _border(field, window, guess), ~limed
    # Neighbouring rays share their noise out; they run along the same wall.
    soft = ndimage.gaussian_filter(field, (BESIDE, ALONG / STEP), mode=("wrap", "nearest"))
    fall = -np.gradient(soft, step, axis=1)[:, 1:-1]
    # The border of wall and fat falls as steeply; what is near the guess is preferred.
    fall *= 1.0 - (window[1:-1] / (1.05 * WINDOW)) ** 2
    best = np.argmax(fall, axis=1)
    row = np.arange(len(guess))
    inner = np.clip(best, 1, fall.shape[1] - 2)
    a, b, c = (fall[row, inner + k] for k in (-1, 0, 1))
    bend = a - 2.0 * b + c
    shift = np.where(bend < 0.0, 0.5 * (a - c) / np.where(bend < 0.0, bend, 1.0), 0.0)
    edge = guess + window[inner + 1] + np.clip(shift, -1.0, 1.0) * step
    sure = (best > 0) & (best < fall.shape[1] - 1) & (b > 0.25 * np.median(b))
    # An artery leaves where it does not get dark beyond the edge.
    beyond = window[None, :] > (edge - guess)[:, None]
    leads = ~(beyond & (soft < 0.0)).any(axis=1)
    near = ndimage.grey_dilation(limed, size=3, mode="wrap")
    near |= ndimage.grey_dilation(leads, size=ASIDE, mode="wrap")
    return np.asarray(edge), np.asarray(sure & ~near)


def _border(field: Vector, window: Vector, guess: Vector) -> Vector:
    """Outermost fall of a field to zero in each row."""
    falls = (field[:, :-1] > 0.0) & (field[:, 1:] <= 0.0)
    last = falls.shape[1] - 1 - np.argmax(falls[:, ::-1], axis=1)
    row = np.arange(len(field))
    before, after = field[row, last], field[row, last + 1]
    share = np.where(before > after, before / np.where(before > after, before - after, 1.0), 0.0)
    place = window[last] + share * (window[1] - window[0])
    return np.where(falls.any(axis=1), guess + place, guess)


def _smooth(edge: Vector, sure: Mask, guess: Vector, order: int) -> tuple[Vector, float]:
    """Fourier series through the edge, robustly; the share of directions that it rests on."""
    turn = np.arange(len(edge)) * 2.0 * np.pi / len(edge)
    terms = np.column_stack(
        [np.ones_like(turn)] + [f(k * turn) for k in range(1, order + 1) for f in (np.cos, np.sin)]
    )
    weight = np.where(sure, 1.0, 0.0)
    if np.count_nonzero(sure) < 2 * terms.shape[1]:
        edge, weight = np.where(sure, edge, guess), np.ones_like(edge)
    radii = guess + float(np.median((edge - guess)[sure])) if sure.any() else guess
    weight = _tukey(edge - radii, weight, FIRST)
    # A gap must not let high orders run away.
    ridge = RIDGE * np.diag(np.r_[0.0, np.repeat(np.arange(1, order + 1), 2)] ** 2)
    for _ in range(12):
        weighed = terms * weight[:, None]
        radii = terms @ np.linalg.solve(weighed.T @ terms + ridge, weighed.T @ edge)
        off = edge - radii
        least = max(MAD * float(np.median(np.abs(off[sure]))) if sure.any() else 0.1, 0.05)
        weight = _tukey(off, np.where(sure, 1.0, 0.0), least)
        if not weight.any():
            return guess, 0.0
    return np.asarray(radii), float(np.mean(weight > 0.1))


def _tukey(off: Vector, weight: Vector, scale: float) -> Vector:
    """Tukey's biweight of residuals."""
    return np.asarray(weight * np.maximum(1.0 - (off / (TUKEY * scale)) ** 2, 0.0) ** 2)
