"""Ends of vessels in a label: cut flat, so that a wall that is grown around it stays open there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap

type Points = NDArray[np.float64]

#: A point farther than this from the label (mm) is not at an end of it.
OFF = 8.0
#: Radii (mm) of the balls about the point that are tried, smallest to largest.
BALLS = np.arange(5.0, 19.0, 1.5)
#: A vessel leaves a ball that is this many times larger than the section of the vessel.
LONGER = 1.5
#: Distance from where the vessel leaves the ball to the middle of what is inside, in radii of the
#: ball, under which the point is inside the vessel and not at its end.
ONE_SIDED = 0.15
#: The end is cut where the section reaches this share of that of the vessel.
FULL = 0.8


@dataclass(frozen=True)
class CutEnd:
    """A flat end of a vessel.

    Attributes:
        centre: Its middle (mm), shape (3,).
        normal: Unit vector out of the vessel, shape (3,).
        radius: Radius of a disc as large (mm).
    """

    centre: Points
    normal: Points
    radius: float


def cut_end(
    labels: LabelMap, names: Sequence[str], point: tuple[float, float, float], place: str
) -> tuple[LabelMap, CutEnd]:
    """Cut the rounded tip of the vessel off that ends near a point.

    The smallest ball about the voxel nearest to the point that the vessel leaves through a section
    clearly smaller than the ball tells its direction: from the middle of that section to the middle
    of what lies inside. The cut is across it, where the section is nearly full.

    Args:
        labels: Label map.
        names: Labels that the vessel consists of.
        point: Near the end (mm, LPS).
        place: Key of the case file, for messages.

    Raises:
        InputError: the labels have no end there.
    """
    index, inside, ball = _tip(labels, names, point, place)
    x = labels.points(index)
    leaves = inside > ball - 1.5 * float(labels.spacing.max())
    normal = x.mean(axis=0) - x[leaves].mean(axis=0)
    length = float(np.linalg.norm(normal))
    if length < ONE_SIDED * ball:
        raise InputError(
            place, f"{_told(point)} is inside a vessel.", "Put it on the end of the vessel."
        )
    normal /= length
    height = (x - x.mean(axis=0)) @ normal
    step = float(labels.spacing.max())
    bins = np.floor((height - height.min()) / step).astype(np.int64)
    area = np.bincount(bins) * labels.voxel_volume / step
    last = int(np.flatnonzero(area >= FULL * np.median(area))[-1])
    level = height.min() + last * step
    section = bins == last
    centre = x[section].mean(axis=0)
    centre += (level - (centre - x.mean(axis=0)) @ normal) * normal
    values = labels.values.copy()
    values[tuple(index[height > level].T)] = 0
    return replace(labels, values=values), CutEnd(
        centre, normal, float(np.sqrt(area[last] / np.pi))
    )


def without_cap(labels: LabelMap, wall: str, end: CutEnd, thickness: float) -> LabelMap:
    """Labels whose wall does not go beyond a flat end.

    Args:
        labels: Label map with the wall.
        wall: Name of the wall.
        end: Where it is open.
        thickness: Of the wall (mm).
    """
    index = np.argwhere(labels.mask(wall))
    to = labels.points(index) - end.centre
    height = to @ end.normal
    aside = np.linalg.norm(to - height[:, None] * end.normal, axis=1)
    margin = 2.0 * thickness
    beyond = (height > 0.0) & (height < end.radius + margin) & (aside < 1.3 * end.radius + margin)
    values = labels.values.copy()
    values[tuple(index[beyond].T)] = 0
    return replace(labels, values=values)


def _tip(
    labels: LabelMap, names: Sequence[str], point: tuple[float, float, float], place: str
) -> tuple[NDArray[np.int64], Points, float]:
    """Voxels of the vessel in the ball, their distance from its middle, and its radius (mm)."""
    middle = labels.grid.index([point])[0]
    reach = np.ceil((BALLS[-1] + OFF) / labels.spacing)
    low = np.clip(np.floor(middle - reach), 0, labels.values.shape).astype(int)
    high = np.clip(np.ceil(middle + reach), 0, labels.values.shape).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    own = np.isin(labels.values[box], [labels.names[name] for name in names])
    index = np.argwhere(own)
    away = np.linalg.norm(labels.points(index + low) - point, axis=1)
    if not len(index) or away.min() > OFF:
        near = f"{away.min():.1f} mm" if len(index) else f"more than {BALLS[-1] + OFF:.0f} mm"
        raise InputError(
            place, f"{_told(point)} is {near} away from `{'` and `'.join(names)}`.",
            "Points are in patient coordinates (LPS, mm).",
        )  # fmt: skip
    start = index[np.argmin(away)]
    distance = np.linalg.norm((index - start) * labels.spacing, axis=1)
    shell = 1.5 * float(labels.spacing.max())
    for ball in BALLS.tolist():
        taken = np.zeros(own.shape, bool)
        taken[tuple(index[distance <= ball].T)] = True
        piece = ndimage.label(taken)[0]
        mine = piece[tuple(index.T)] == piece[tuple(start)]
        leaves = mine & (distance > ball - shell)
        area = np.count_nonzero(leaves) * labels.voxel_volume / shell
        if area and ball >= LONGER * np.sqrt(area / np.pi):
            return index[mine] + low, distance[mine], ball
    raise InputError(
        place, f"no vessel ends at {_told(point)}.",
        "Put the point on the tip of a vein, as seen in `organtwin image`'s pictures or 3D Slicer.",
    )  # fmt: skip


def _told(point: tuple[float, float, float]) -> str:
    return "({:g}, {:g}, {:g}) mm".format(*point)
