"""Cross-sections of a deployed frame: how wide, how round, how far expanded at each level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.aortic_root.outline import RAYS, Outline
from organtwin.devices.gap import Rays
from organtwin.errors import InputError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Fewest struts that must cross a plane to make an outline.
FEWEST = 3


@dataclass(frozen=True)
class Level:
    r"""A frame at one height.

    Attributes:
        height: Over the origin, along the axis (mm).
        outline: Polygon around the outer sides of its struts.
        nominal: Diameter that it is made for (mm).
    """

    height: float
    outline: Outline
    nominal: float

    @property
    def diameters(self) -> tuple[float, float]:
        """Least and largest distance of two parallel lines that touch it (mm)."""
        return self.outline.calipers

    @property
    def eccentricity(self) -> float:
        r"""How far from round: :math:`1 - D_{min} / D_{max}`, 0 for a circle."""
        least, most = self.diameters
        return 1.0 - least / most

    @property
    def expansion(self) -> float:
        r"""Area over that of the nominal circle, :math:`4 A / \pi D_{nom}^2`."""
        return float(self.outline.area / (0.25 * np.pi * self.nominal**2))


def cross_section(
    points: Array, ends: Integers, axes: Array, height: float, half_depth: float, *,
    bulging: bool = False,
) -> Outline:  # fmt: skip
    """Outline of the struts' outer sides in a plane across an axis through the origin.

    Where struts cross the plane they are moved outwards by half their depth; neighbours are joined
    by chords, as a taut skirt that is sewn to them would be, or by arcs.

    Args:
        points: Nodes of the frame (mm), shape (n, 3).
        ends: Nodes of its elements, shape (m, 2).
        axes: Rows are the directions of angle 0 and 90° and the axis, shape (3, 3).
        height: Of the plane along the axis (mm).
        half_depth: From the middle of a strut to its outer side (mm).
        bulging: Whether neighbours are joined by arcs around the middle of the section, whose
            radius changes evenly with the angle.

    Raises:
        InputError: fewer than three struts cross the plane, or none within half a turn.
    """
    own = points @ axes.T
    a, b = own[ends[:, 0]], own[ends[:, 1]]
    crossed = (a[:, 2] - height) * (b[:, 2] - height) < 0.0
    a, b = a[crossed], b[crossed]
    share = ((height - a[:, 2]) / (b[:, 2] - a[:, 2]))[:, None]
    at = (1.0 - share) * a[:, :2] + share * b[:, :2]
    if len(at) < FEWEST:
        low, high = own[:, 2].min(), own[:, 2].max()
        raise InputError(
            "cross-section", f"{len(at)} struts cross the plane at {height:.1f} mm.",
            f"The frame reaches from {low:.1f} to {high:.1f} mm.",
        )  # fmt: skip
    middle = at.mean(axis=0)
    away = at - middle
    away *= 1.0 + half_depth / np.hypot(*away.T)[:, None]
    radii = _chords(away, RAYS)
    if radii is None:
        raise InputError(
            "cross-section", f"the struts at {height:.1f} mm lie on one side.",
            "Give the frame's own axis.",
        )  # fmt: skip
    if bulging:
        way = np.arange(RAYS) * 2.0 * np.pi / RAYS
        turn = np.arctan2(away[:, 1], away[:, 0]) % (2.0 * np.pi)
        order = np.argsort(turn)
        radii = np.interp(way, turn[order], np.hypot(*away[order].T), period=2.0 * np.pi)
    return Outline(np.array([*middle, height]) @ axes, axes, radii)


def levels(
    points: Array, ends: Integers, axes: Array, heights: Sequence[float], *,
    half_depth: float, nominal: float,
) -> tuple[Level, ...]:  # fmt: skip
    """A frame at several heights; arguments as `cross_section` takes them.

    Args:
        points: Nodes of the frame (mm), shape (n, 3).
        ends: Nodes of its elements, shape (m, 2).
        axes: Rows are the directions of angle 0 and 90° and the axis, shape (3, 3).
        heights: Of the planes along the axis (mm).
        half_depth: From the middle of a strut to its outer side (mm).
        nominal: Diameter that the frame is made for (mm).

    Raises:
        InputError: a plane misses the frame.
    """
    return tuple(
        Level(height, cross_section(points, ends, axes, height, half_depth), nominal)
        for height in heights
    )


def skirt(
    points: Array, ends: Integers, rays: Rays, half_depth: float, *, bulging: bool = False
) -> Array:
    """Distance of a skirt's outer side from an axis (mm), shape (m, count).

    The skirt spans the chords or the arcs between the struts, as `cross_section` has them.

    Args:
        points: Nodes of the frame (mm), shape (n, 3).
        ends: Nodes of its elements, shape (m, 2).
        rays: Heights that have a skirt, and directions.
        half_depth: From the middle of a strut to its outer side (mm).
        bulging: Whether it spans arcs.

    Raises:
        InputError: a height misses the frame, or the axis leaves it.
    """
    found = []
    for height in rays.heights:
        outline = cross_section(
            points - rays.origin, ends, rays.axes, float(height), half_depth, bulging=bulging
        )
        radii = _chords(outline.points @ rays.axes[:2].T, rays.count)
        if radii is None:
            raise InputError(
                "skirt", f"the axis leaves the frame at {height:.1f} mm.", "Give the frame's own."
            )
        found.append(radii)
    return np.array(found)


def _chords(points: Array, count: int) -> Array | None:
    """Distance of a polygon from the origin in even directions, (count,); None if it lies aside."""
    turn = np.arctan2(points[:, 1], points[:, 0])
    order = np.argsort(turn)
    turn, corners = turn[order], points[order]
    if np.diff(turn, append=turn[0] + 2.0 * np.pi).max() >= np.pi:
        return None
    way = np.arange(count) * 2.0 * np.pi / count
    after = np.searchsorted(turn, (way + np.pi) % (2.0 * np.pi) - np.pi) % len(turn)
    start, along = corners[after - 1], corners[after] - corners[after - 1]
    ray = np.column_stack([np.cos(way), np.sin(way)])
    return np.asarray(_crossed(start, along) / _crossed(ray, along))


def _crossed(a: Array, b: Array) -> Array:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
