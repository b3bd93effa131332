"""The wall of a patient's root from its scan, as smooth as the voxels support."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, CubicSpline, make_lsq_spline

from organtwin.aortic_root.levels import Levels
from organtwin.aortic_root.measured_wall import Axis, MeasuredWall, terms
from organtwin.aortic_root.measurements import RootMeasures
from organtwin.aortic_root.outline import RING, SINUS, Outline, Walls, outline
from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image, LabelMap
from organtwin.landmarks.aorta import HINGES
from organtwin.landmarks.fits import MAD, TUKEY, frame
from organtwin.landmarks.names import AORTA
from organtwin.landmarks.record import Point
from organtwin.landmarks.root import Lumen, Root
from organtwin.mesh.vectors import unit

type Vector = NDArray[np.float64]

#: Distance of the sections (mm), of the knots of the axis, and least distance of those of the wall.
BETWEEN, AXIS, KNOTS = 1.0, 15.0, 2.0
#: Knots of the wall per voxel: two voxels are the shortest wave that they can tell.
VOXELS = 2.0
#: How far voxels of the aorta count for its brightness (mm).
NEAR = 60.0
#: How far levels are carried on over the junction for a first guess, and past it (mm).
FURTHER, PAST = 14.0, 8.0
#: Step along the ascending aorta (mm), and how much a step may turn it.
STEP, TURN = 2.0, 0.4
#: A section below the annulus that is so much larger than that above it has left for the ventricle.
OPENS = 1.3
#: How much farther than a step below the annulus its section's middle may lie, per step.
ASIDE = 0.3
#: How far below the annulus sections must be seen (mm).
SEEN = 3.0
#: Knots (mm) and rounds of the coarse fit that dents are told by; least depth of a dent (mm), the
#: same per voxel, and share of the wall from which on they are told.
COARSE, ROUNDS, DENT, PER_VOXEL, WARN = 7.0, 8, 1.5, 1.5, 0.02
#: Largest curvature of the axis per curvature of the wall, factor by which knots are
#: spread, and thickness that sections must have room for (mm).
BENT, SPREAD, THICK = 0.6, 1.25, 3.0
#: Farthest that a hinge point may lie off the wall to draw it, and from where on it is told (mm).
FARTHEST, ASTRAY = 6.0, 2.0
#: Angle (radians) and height (mm) over which it is drawn.
WIDE, HIGH = np.radians(20.0), 2.5


def measured_wall(
    found: RootMeasures, image: Image | None, labels: LabelMap, below: float, above: float
) -> MeasuredWall:
    """The wall of a measured root, with outflow tract and ascending aorta.

    The axis is a smooth curve through the middles of the measured sections and of further ones
    along the ascending aorta. Across it every millimetre a section is outlined on the steepest edge
    of the scan (`organtwin.aortic_root.outline`). Splines over the sections with knots of two
    voxels, 2 mm at least, take away what voxels can't tell. Near hinge points the wall is drawn to
    them, but for half a voxel.

    Args:
        found: What was measured.
        image: The scan that was measured; none where the labels alone were.
        labels: Its labels.
        below: Length of the outflow tract (mm).
        above: Length of the ascending aorta over the junction (mm).

    Raises:
        InputError: the field of view cuts the root off, or it isn't seen.
    """
    walls = _walls(found, image, labels, below, above)
    guess = replace(walls, root=_levels(found, walls))
    middles = _middles(found, walls, below, above)
    curve, junction = _axis(found, middles)
    low, high = -below, junction + above
    ways = np.arange(low - 0.5 * BETWEEN, high + BETWEEN, BETWEEN)
    axis = Axis(curve, _first(curve, ways, found.frame.axes[0]))
    places, axes = axis.at(ways), axis.axes(ways)
    outlines: list[Outline | None] = []
    for k, way in enumerate(ways):
        last = outlines[-1] if outlines else None
        own = guess if way < junction + PAST or last is None else _along(walls, last)
        order = SINUS if 0.0 < way < junction + 2.0 else RING
        outlines.append(outline(own, places[k], axes[k], order))
    kept, notes = _kept(ways, outlines, labels.grid)
    gone = len(ways) - len(kept)  # there the lowest section goes on along the axis
    radii = np.array([one.seen_from(at).radii for one, at in zip(kept, places[gone:], strict=True)])
    radii = np.concatenate([np.repeat(radii[:1], gone, axis=0), radii])
    voxel = float(np.mean(labels.spacing))
    radii, lost = _without_dents(ways, radii, max(DENT, voxel * PER_VOXEL))
    if lost > WARN:
        smoothed = (
            f"{100.0 * lost:.0f} % of the wall's places lie far off their neighbours, as where a "
            "leaflet was taken for it, and were smoothed away."
        )
        notes = (*notes, smoothed)
    space = max(KNOTS, VOXELS * voxel)
    bare = MeasuredWall(axis, _series(ways, radii, space), low, high)
    radii, told = _through_hinges(bare, found, ways, radii, 0.5 * voxel)
    return MeasuredWall(axis, _series(ways, radii, space), low, high, (*notes, *told))


# ---------------------------------------------------------------------------------------- sections


def _walls(
    found: RootMeasures, image: Image | None, labels: LabelMap, below: float, above: float
) -> Walls:
    names = [n for n in labels.names if n not in {"calcium", "coronaries"}]
    if image is not None:
        core = labels.mask(*(n for n in AORTA if n in labels.names))
        index = np.argwhere(core)
        far = np.linalg.norm(labels.points(index) - found.frame.origin, axis=1) > NEAR
        core[tuple(index[far].T)] = False
        lumen = Lumen.of_image(image, core)
    else:
        own = [n for n in names if n in AORTA or n == "lv_blood"]
        lumen = Lumen.of_surface(labels.mask(*own), labels.grid, found.frame.origin)
    top = found.outlines["junction"].centroid
    length = float(np.linalg.norm(top - found.frame.origin)) + below + above
    middle = 0.5 * (found.frame.origin + top) + 0.5 * (above - below) * _upwards(found)
    lime = found.calcium.threshold if found.calcium is not None else float("inf")
    return Walls.around(lumen, None, middle, 0.5 * length + 25.0, lime)


def _upwards(found: RootMeasures) -> Vector:
    """Normal of the junction towards the aorta."""
    normal = found.outlines["junction"].axes[2]
    return np.asarray(normal if normal @ found.frame.axes[2] > 0.0 else -normal)


def _levels(found: RootMeasures, walls: Walls) -> Root:
    """The measured levels as an unrolled root, carried on over the junction."""
    heights, outlines = list(found.levels.heights), list(found.levels.outlines)
    top, axes = float(heights[-1]), found.frame.axes
    aside = _upwards(found) / float(_upwards(found) @ axes[2])
    start = outlines[-1].centroid
    for rise in np.arange(BETWEEN, FURTHER, BETWEEN):
        one = outline(walls, start + rise * aside, axes, RING)
        if one is None or one.area > OPENS * outlines[-1].area:
            break
        heights.append(top + rise)
        outlines.append(one)
    radii = np.array([one.radii for one in outlines])
    centres = np.array([one.centre for one in outlines])
    voxel = float(np.mean(walls.grid.spacing))
    return Root(axes, np.array(heights), centres, radii, np.zeros(radii.shape, bool), radii,
                voxel, voxel)  # fmt: skip


def _along(walls: Walls, one: Outline) -> Walls:
    """The same with a tube as first guess, so that chambers which touch it aren't taken for it."""
    heights = np.array([-FURTHER, 0.0, FURTHER])
    radii = np.repeat(one.radii[None], 3, axis=0)
    centres = one.centre + heights[:, None] * one.axes[2]
    voxel = float(np.mean(walls.grid.spacing))
    tube = Root(one.axes, heights, centres, radii, np.zeros(radii.shape, bool), radii, voxel, voxel)
    return replace(walls, root=tube)


def _middles(found: RootMeasures, walls: Walls, below: float, above: float) -> Vector:
    """Middles of the sections from the outflow tract to the ascending aorta (mm), shape (n, 3).

    Raises:
        InputError: the field of view or what is labelled ends too early.
    """
    levels, up = found.levels, found.frame.axes[2]
    top = found.outlines["junction"].centroid
    rise = float((top - found.frame.origin) @ up)
    lower, deepest = _lower(levels, 0.6 * rise)
    missing = below + 5.0 + deepest
    start = [lower[0] - k * up for k in np.arange(STEP * int(missing / STEP), 0.0, -STEP)]
    upper, way, last = [top], _upwards(found), found.outlines["junction"]
    while len(upper) * STEP < above + 5.0:
        one = outline(_along(walls, last), upper[-1] + STEP * way, frame(way), RING)
        if one is None or not one.within(walls.lumen.grid):
            why = "its wall isn't seen beyond" if one is None else "the field of view cuts it off"
            raise InputError(
                "aortic root",
                f"only {max((len(upper) - 2) * STEP, 0.0):.0f} mm of the ascending aorta are seen: "
                f"{why}.",
                f"Ask for less than {above:g} mm above the junction, or take a larger scan.",
            )
        way = unit((1.0 - TURN) * way + TURN * unit(one.centroid - upper[-1]))
        upper.append(one.centroid)
        last = one
    return np.array([*start, *lower[::2], *upper])


def _lower(levels: Levels, top: float) -> tuple[list[Vector], float]:
    """Middles of the levels from where the outflow tract opens up to a height, and the lowest one.

    Where it opens sections grow or go aside; the axis must not follow them into the ventricle.
    """
    inside = np.flatnonzero(levels.heights < top)[::-1]
    rows = [int(inside[0])]
    for row in inside[1:]:
        one, last = levels.outlines[row], levels.outlines[rows[-1]]
        apart = float(levels.heights[rows[-1]] - levels.heights[row])
        aside = float(np.linalg.norm(one.centroid - last.centroid))
        if levels.heights[row] < 0.0 and (
            one.area > OPENS * last.area or aside > (1.0 + ASIDE) * apart
        ):
            break
        rows.append(int(row))
    return [levels.outlines[row].centroid for row in rows[::-1]], float(levels.heights[rows[-1]])


def _kept(
    ways: Vector, outlines: list[Outline | None], grid: Grid
) -> tuple[list[Outline], tuple[str, ...]]:
    """Outlines from the outlet down to where they open into the ventricle, rising, and a note.

    Raises:
        InputError: a section isn't seen, or the field of view cuts it off.
    """
    kept: list[Outline] = []
    for way, one in zip(ways[::-1], outlines[::-1], strict=True):
        gone = one is None or (way < 0.0 and bool(kept) and one.area > OPENS * kept[-1].area)
        if gone and way < -SEEN:
            note = (
                f"The outflow tract opens {-way:.0f} mm below the annulus; its wall goes on from "
                "there as a tube."
            )
            return kept[::-1], (note,)
        if one is None or not one.within(grid):
            cut = "the field of view cuts the section off" if one is not None else "no lumen's seen"
            raise InputError(
                "aortic root", f"{cut} {way:.0f} mm along its axis.",
                "Look at landmarks and labels in 3D Slicer, or take a scan of the whole root.",
            )  # fmt: skip
        kept.append(one)
    return kept[::-1], ()


# -------------------------------------------------------------------------------------------- axis


def _axis(found: RootMeasures, middles: Vector) -> tuple[CubicSpline, float]:
    """The axis over its length, 0 where it passes the annulus, and where it passes the junction."""
    steps = np.linalg.norm(np.diff(middles, axis=0), axis=1)
    rough = np.concatenate([[0.0], np.cumsum(steps)])
    far = BENT / (float(np.max(found.outlines["sinuses"].radii)) + THICK)
    space = AXIS
    while True:  # stiffer, until sections do not cross each other within the wall
        spline = _spline(rough, middles, space)
        ask = np.linspace(0.0, rough[-1], 400)
        along, bend = spline(ask, 1), spline(ask, 2)
        curvature = np.linalg.norm(np.cross(along, bend), axis=1)
        if np.max(curvature / np.linalg.norm(along, axis=1) ** 3) < far or space > rough[-1]:
            break
        space *= SPREAD
    fine = spline(ask)
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(fine, axis=0), axis=1))])
    annulus, junction = (
        float(np.interp(0.0, _rising((fine - one) @ up), way))
        for one, up in (
            (found.frame.origin, found.frame.axes[2]),
            (found.outlines["junction"].centroid, _upwards(found)),
        )
    )
    return CubicSpline(way - annulus, fine), junction - annulus


def _rising(heights: Vector) -> Vector:
    """Heights that never fall, so that they can be inverted."""
    return np.asarray(np.maximum.accumulate(heights))


def _first(axis: CubicSpline, ways: Vector, start: Vector) -> CubicSpline:
    """Direction across the axis, turned about it as little as possible."""
    along = unit(axis(ways, 1))
    zero = int(np.argmin(np.abs(ways)))
    rows = np.zeros_like(along)
    for part in (range(zero, len(ways)), range(zero, -1, -1)):
        own = start
        for k in part:
            own = unit(own - (own @ along[k]) * along[k])
            rows[k] = own
    return CubicSpline(ways, rows)


def _without_dents(ways: Vector, radii: Vector, least: float) -> tuple[Vector, float]:
    """Radii, those farther than ``least`` off a coarse robust fit replaced by it, and their share.

    The fit has Fourier series over the angle and cubic splines over the way, with Tukey's biweight.
    """
    every = slice(None, None, 3)
    turns = 2.0 * np.pi / radii.shape[1] * np.arange(radii.shape[1])
    along, around = _basis(ways, COARSE), terms(turns)
    matrix = np.einsum("si,aj->saij", along, around[every])
    matrix = matrix.reshape(-1, along.shape[1] * around.shape[1])
    wanted, weight = radii[:, every].ravel(), np.ones(radii[:, every].size)
    for _ in range(ROUNDS):
        weighed = matrix * weight[:, None]
        solved = np.linalg.solve(
            weighed.T @ matrix + 1e-6 * np.eye(matrix.shape[1]), weighed.T @ wanted
        )
        off = wanted - matrix @ solved
        scale = TUKEY * max(MAD * float(np.median(np.abs(off))), 0.1)
        weight = np.maximum(1.0 - (off / scale) ** 2, 0.0) ** 2
    coarse = along @ solved.reshape(along.shape[1], -1) @ around.T
    dent = np.abs(radii - coarse) > least
    return np.where(dent, coarse, radii), float(np.mean(dent))


def _series(ways: Vector, radii: Vector, space: float) -> BSpline:
    """Fourier coefficients of the radii, as splines over the way."""
    matrix = terms(2.0 * np.pi / radii.shape[1] * np.arange(radii.shape[1]))
    return _spline(ways, np.linalg.lstsq(matrix, radii.T)[0].T, space)


def _through_hinges(
    wall: MeasuredWall, found: RootMeasures, ways: Vector, radii: Vector, doubt: float
) -> tuple[Vector, tuple[str, ...]]:
    """Radii drawn to the measured hinge points, but for what is in doubt, and what is told.

    Where a leaflet leaves the wall it hides the corner: the section there shows the sinus behind.
    """
    known = {one.name: one.geometry for one in found.landmarks}
    turns = 2.0 * np.pi / radii.shape[1] * np.arange(radii.shape[1])
    told = []
    for name in HINGES:
        place = known.get(name)
        if not isinstance(place, Point):
            continue
        turn, way, far = (float(one[0]) for one in wall.locate(place.at[None]))
        off = far - float(wall.radius(np.array([turn]), np.array([way]))[0])
        if not abs(off) <= FARTHEST:
            continue
        aside = (turns - turn + np.pi) % (2.0 * np.pi) - np.pi
        near = np.exp(-((aside / WIDE) ** 2) - ((ways[:, None] - way) / HIGH) ** 2)
        radii = radii + np.sign(off) * max(abs(off) - doubt, 0.0) * near
        if abs(off) > ASTRAY:
            told.append(f"The wall was drawn {abs(off):.1f} mm {'out' if off > 0.0 else 'in'}wards "
                        f"to `{name}`, where its section lies behind the leaflet.")  # fmt: skip
    return radii, tuple(told)


def _knots(at: Vector, space: float) -> Vector:
    """Even knots of cubic splines about so far apart."""
    count = max(round((at[-1] - at[0]) / space), 1)
    inner = np.linspace(at[0], at[-1], count + 1)[1:-1]
    return np.concatenate([np.full(4, at[0]), inner, np.full(4, at[-1])])


def _basis(at: Vector, space: float) -> Vector:
    """Values of cubic B-splines, (n, splines)."""
    return np.asarray(BSpline.design_matrix(at, _knots(at, space), 3).toarray())


def _spline(at: Vector, values: Vector, space: float) -> BSpline:
    """Cubic spline of the least squares."""
    return make_lsq_spline(at, values, _knots(at, space), k=3)
