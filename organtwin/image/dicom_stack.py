"""Frames of a DICOM series put in order: positions, phases; what is missing, double or tilted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.dicom_headers import Frame, Series
from organtwin.image.volume import Grid

#: Frames nearer to each other along the normal than this lie at one position (mm).
SAME_POSITION = 0.01
#: Components of two axes that differ by more are of different orientations.
SAME_DIRECTION = 2e-3
#: A slice may lie off its even place by this share of the distance of slices.
UNEVEN = 0.1
#: A drift of the slices in their plane by more pixels than this is a tilt.
TILTED = 0.1
#: Largest angle (degrees) between the slices' normal and the line they lie on; gantries tilt less.
LARGEST_TILT = 45.0


@dataclass(frozen=True, eq=False)
class Stack:
    """Frames of a series, ordered.

    Attributes:
        grid: Their voxels; if ``shear`` is not zero, those of the first slice continued upright.
        frames: Frames ``[phase][slice]``.
        doubles: Pairs of frames at the same place and time; the first of each is in ``frames``.
        times: When each phase was taken, from the trigger (ms), shape (n,).
        cycle: Length of a heart beat (ms), if told.
        shear: Drift of the slices along columns and rows, mm per mm along the normal, shape (2,).
    """

    grid: Grid
    frames: tuple[tuple[Frame, ...], ...]
    doubles: tuple[tuple[Frame, Frame], ...]
    times: NDArray[np.float64]
    cycle: float | None
    shear: NDArray[np.float64]

    @property
    def tilt(self) -> float:
        """Angle between the slices' normal and the line on which they lie (degrees)."""
        return float(np.degrees(np.arctan(np.linalg.norm(self.shear))))


def arrange(series: Series, place: str) -> Stack:
    """Put the frames of a series in order along their normal and in time.

    Raises:
        InputError: orientations or sizes are mixed; slices are missing, unevenly spaced or off the
            line of the others; the number of phases differs from slice to slice.
    """
    frames = _of_one_geometry(series, place)
    first = frames[0]
    axes = _orthonormal(first, place)
    positions = np.array([frame.position for frame in frames])
    along = positions @ axes[2]
    order = np.argsort(along, kind="stable")
    level = np.empty(len(along), np.int64)
    level[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) > SAME_POSITION)])
    heights = np.array([along[level == k].mean() for k in range(level.max() + 1)])
    step = _step(frames, level, heights, place)
    shear, origin = _line(positions, along, heights[0], axes, first, place)
    phases, doubles, times = _phases(series, frames, level, place)
    pixel = first.pixel or (1.0, 1.0)
    grid = Grid(
        shape=(*first.size, len(heights)),
        spacing=np.array([*pixel, step]),
        origin=origin,
        direction=np.ascontiguousarray(axes.T),
    )
    return Stack(grid, phases, doubles, times, series.cycle, shear)


def _of_one_geometry(series: Series, place: str) -> list[Frame]:
    """The frames without localizers, if they have one size and one orientation."""
    frames = [frame for frame in series.frames if not frame.localizer] or list(series.frames)
    kinds: list[list[Frame]] = []
    for frame in frames:
        for kind in kinds:
            if _alike(frame, kind[0]):
                kind.append(frame)
                break
        else:
            kinds.append([frame])
    if len(kinds) == 1:
        return frames
    kinds.sort(key=len, reverse=True)
    parts = [f"{len(kind)} of {_shape(kind[0])}" for kind in kinds[:4]]
    more = "" if len(kinds) <= 4 else f" and {len(kinds) - 4} more kinds"
    raise InputError(
        place,
        f"slices of {len(kinds)} sizes or orientations in one series: {', '.join(parts)}{more}.",
        "Is this a localizer, or are these several views? Choose another series, or put the files "
        "of each view into a folder of their own.",
    )


def _alike(a: Frame, b: Frame) -> bool:
    return (
        a.size == b.size
        and np.allclose(a.pixel or 0.0, b.pixel or 0.0, rtol=1e-3)
        and np.allclose(a.axes, b.axes, atol=SAME_DIRECTION)  # type: ignore[arg-type]
    )


def _shape(frame: Frame) -> str:
    pixel = frame.pixel or (np.nan, np.nan)
    normal = np.cross(*(np.zeros((2, 3)) if frame.axes is None else frame.axes))
    facing = " ".join(f"{x + 0.0:.2f}" for x in normal)
    return (
        f"{frame.size[0]} x {frame.size[1]} pixels of {pixel[0]:.3g} x {pixel[1]:.3g} mm "
        f"(normal {facing})"
    )


def _orthonormal(frame: Frame, place: str) -> NDArray[np.float64]:
    """Rows: unit vectors along columns, rows and slices."""
    given = np.zeros((2, 3)) if frame.axes is None else frame.axes
    lengths = np.linalg.norm(given, axis=1)
    if np.any(np.abs(lengths - 1.0) > 0.01) or abs(float(given[0] @ given[1])) > 0.01:
        raise InputError(
            place,
            f"the axes of the slices are no unit vectors at right angles ({given.ravel()}).",
            "The header is damaged; export the series again.",
        )
    u = given[0] / lengths[0]
    v = given[1] - (given[1] @ u) * u
    v /= np.linalg.norm(v)
    return np.array([u, v, np.cross(u, v)])


def _step(
    frames: list[Frame], level: NDArray[np.int64], heights: NDArray[np.float64], place: str
) -> float:
    """Distance of slices (mm), if they are evenly spaced and none is missing."""
    if len(heights) == 1:
        return frames[0].thickness or (frames[0].pixel or (1.0, 1.0))[0]
    gaps = np.diff(heights)
    usual = float(np.percentile(gaps, 50.0, method="lower"))
    count = np.round(gaps / usual).astype(int)
    number = np.concatenate([[0], np.cumsum(count)])
    step = float(np.polyfit(number, heights, 1)[0]) if count.any() else usual
    off = heights - heights[0] - number * step
    off -= np.median(off)
    missing = np.flatnonzero(count > 1)
    where = [_at(frames, level, k) for k in range(len(heights))]
    if np.any(count == 0) or np.abs(off).max() > UNEVEN * step:
        worst = int(np.argmax(np.abs(gaps - count * usual)))
        raise InputError(
            place,
            f"the slices are unevenly spaced: {usual:.4g} mm apart as a rule, but {gaps[worst]:.4g}"
            f" mm between {where[worst]} and {where[worst + 1]}.",
            "Choose one even part of the series, or reconstruct it with one distance of slices.",
        )
    if len(missing):
        total = int((count[missing] - 1).sum())
        list_of = "; ".join(
            f"{count[k] - 1} between {where[k]} and {where[k + 1]}" for k in missing[:5]
        )
        raise InputError(
            place,
            f"{total} slice(s) missing of {number[-1] + 1} that are {step:.4g} mm apart: {list_of}"
            f"{' and more' if len(missing) > 5 else ''}.",
            "Copy or export the series again, completely.",
        )
    return step


def _at(frames: list[Frame], level: NDArray[np.int64], k: int) -> str:
    """Place of a slice in words: instance and the coordinate that changes most."""
    frame = frames[int(np.flatnonzero(level == k)[0])]
    if frame.axes is None or frame.position is None:
        return f"instance {frame.instance}"
    axis = int(np.argmax(np.abs(np.cross(*frame.axes))))
    return f"instance {frame.instance} ({'xyz'[axis]} = {frame.position[axis]:.2f} mm)"


def _line(
    positions: NDArray[np.float64],
    along: NDArray[np.float64],
    lowest: float,
    axes: NDArray[np.float64],
    first: Frame,
    place: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Drift of the slices in their plane per height, and where the lowest begins.

    The corners of upright slices lie on a line along the normal. Those of a tilted gantry lie on
    an inclined line.
    """
    drift = positions @ axes[:2].T
    height = along - lowest
    pixel = np.array(first.pixel or (1.0, 1.0))
    span = float(np.ptp(height))
    shear = np.zeros(2)
    base = drift[np.argmin(height)]
    if span > SAME_POSITION:
        fit = np.polyfit(height, drift, 1)
        shear, base = fit[0], fit[1]
    off = np.abs(drift - base - height[:, None] * shear) / pixel
    angle = float(np.degrees(np.arctan(np.linalg.norm(shear))))
    if off.max() > 0.5 or angle > LARGEST_TILT:
        worst = int(np.argmax(off.max(axis=1)))
        raise InputError(
            place,
            f"the slices don't lie behind one another: slice {worst + 1} of {len(drift)} is "
            f"{np.linalg.norm(drift[worst] - drift[0]):.3g} mm off in its plane.",
            "Are these several views in one series? Put the files of each view into a folder of "
            "their own.",
        )
    straight = np.abs(shear) * span <= TILTED * pixel
    shear = np.where(straight, 0.0, shear)
    base = np.where(straight, drift[np.argmin(height)], base)
    return shear, base @ axes[:2] + lowest * axes[2]


type Phases = tuple[tuple[Frame, ...], ...]
type Doubles = tuple[tuple[Frame, Frame], ...]


def _phases(
    series: Series, frames: list[Frame], level: NDArray[np.int64], place: str
) -> tuple[Phases, Doubles, NDArray[np.float64]]:
    """Frames by phase and slice, those that are there twice, and the phases' times."""
    when = _moments(series, frames, level)
    table: dict[int, dict[float, Frame]] = {}
    doubles = []
    for frame, k, moment in zip(frames, level, when, strict=True):
        slot = table.setdefault(int(k), {})
        if moment in slot:
            doubles.append((slot[moment], frame))
        else:
            slot[moment] = frame
    counts = {k: len(slot) for k, slot in table.items()}
    usual = Counter(counts.values()).most_common(1)[0][0]
    odd = [k for k in sorted(counts) if counts[k] != usual]
    if odd:
        raise InputError(
            place,
            f"{usual} phase(s) at most slices, but {counts[odd[0]]} at "
            f"{_at(frames, level, odd[0])}.",
            "Phases or slices are missing, or one was scanned twice: export the series again, or "
            "take out the files that are too many.",
        )
    moments = np.array([sorted(table[k]) for k in sorted(table)])
    ordered = [[table[k][moment] for moment in sorted(table[k])] for k in sorted(table)]
    phases = tuple(zip(*ordered, strict=True))
    return phases, tuple(doubles), moments.mean(axis=0)


def _moments(series: Series, frames: list[Frame], level: NDArray[np.int64]) -> list[float]:
    """Time of each frame (ms): trigger time, temporal position, or order of the instances."""
    times = [frame.time for frame in frames]
    if None not in times and _differ(times, level):
        return [round(time, 3) for time in times if time is not None]
    told = [frame.phase for frame in frames]
    if None not in told and _differ(told, level):
        first = min(p for p in told if p is not None)
        count = len(set(told))
        between = series.resolution or (series.cycle or float(count)) / count
        return [(p - first) * between for p in told if p is not None]
    sizes = np.bincount(level)
    count = int(sizes[0])
    if series.phases == count > 1 and np.all(sizes == count):
        rank = [int(np.count_nonzero(level[:k] == level[k])) for k in range(len(frames))]
        return [r * (series.cycle or float(count)) / count for r in rank]
    return [0.0] * len(frames)


def _differ(moments: list[float | None] | list[int | None], level: NDArray[np.int64]) -> bool:
    """Whether some position has frames of different times."""
    pairs = {(int(k), moment) for k, moment in zip(level, moments, strict=True)}
    return len(pairs) > len(set(level.tolist()))
