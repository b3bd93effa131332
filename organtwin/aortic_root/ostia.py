"""Ostia of the coronary arteries: middle, width and lower edge, from the artery's first mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.aortic_root.outline import Walls
from organtwin.landmarks.fits import fit_line, frame, unit

type Vector = NDArray[np.float64]

#: Distances from the wall at which an artery is cut (mm).
CUTS = np.arange(1.5, 5.1, 0.5)
#: Half the width of a cut and its step (mm).
HALF, STEP = 5.0, 0.2
#: Diameters that an artery near its ostium can have (mm).
DIAMETERS = (1.2, 7.0)
#: A cut this much wider or narrower than the median is another structure.
UNLIKE = 1.4
#: How far the artery may be off where it is looked for (mm).
OFF = 2.0


@dataclass(frozen=True)
class Ostium:
    """Where a coronary artery leaves the root.

    Attributes:
        at: Its middle on the wall (LPS, mm), shape (3,).
        way: Unit vector along the artery, away from the root, shape (3,).
        diameter: Diameter of the artery there (mm); 0 where the artery wasn't seen.
        cuts: Number of cuts in which the artery was seen.
    """

    at: Vector
    way: Vector
    diameter: float
    cuts: int

    def lower_edge(self, up: Vector, outwards: float = 0.0) -> Vector:
        r"""Lowest point of the ostium's rim (LPS, mm), shape (3,).

        .. math:: x - \left(\frac{d}{2} + \delta\right) e, \qquad
            e = \frac{n - (n \cdot w) w}{|n - (n \cdot w) w|}

        Args:
            up: Normal :math:`n` of the annulus, upwards, shape (3,).
            outwards: Shift :math:`\delta` of the artery's wall (mm).
        """
        across = up - (up @ self.way) * self.way
        if self.diameter <= 0.0 or np.linalg.norm(across) < 0.1:
            return self.at
        return np.asarray(self.at - max(0.5 * self.diameter + outwards, 0.0) * unit(across))


def ostium(walls: Walls, at: Vector, axis: tuple[Vector, Vector], *, firm: bool = False) -> Ostium:
    """The ostium near a place, from cuts across the first millimetres of its artery.

    In each cut the artery is what is connected and brighter than half-way between wall and blood.
    A line through the middles of the cuts, back to the wall, meets the ostium's middle; the
    diameter is that of a disc with the median area. Our choice.

    Args:
        walls: What it is looked for in.
        at: Where it should be on the wall (mm), shape (3,).
        axis: A point of the root's axis and its direction, shape (3,) each.
        firm: Whether a person placed the point: it stays where it is.
    """
    point, up = axis
    away = at - point
    way = unit(away - (away @ up) * up)
    first, found = at, Ostium(at, way, 0.0, 0)
    for _ in range(3):
        cuts = [cut for depth in CUTS if (cut := _cut(walls, first + depth * way, way)) is not None]
        if len(cuts) < 3:
            return found
        middles, areas = np.array([c[0] for c in cuts]), np.array([c[1] for c in cuts])
        alike = np.abs(np.log(areas / np.median(areas))) < 2.0 * np.log(UNLIKE)
        if np.count_nonzero(alike) < 3:
            return found
        centre, along, _ = fit_line(middles[alike])
        way = along if along @ way > 0.0 else -along
        # Where the line is as far out as the wall was at the first place.
        first = centre + ((at - centre) @ unit(away) / max(float(way @ unit(away)), 0.3)) * way
        diameter = float(np.sqrt(4.0 * np.median(areas[alike]) / np.pi))
        found = Ostium(at if firm else first, way, diameter, int(np.count_nonzero(alike)))
    return found


def _cut(walls: Walls, centre: Vector, way: Vector) -> tuple[Vector, float] | None:
    """Middle (mm) and area (mm²) of the artery in a plane; nothing where it isn't seen."""
    axes = frame(way)
    step = np.arange(-HALF, HALF + STEP, STEP)
    points = centre + step[:, None, None] * axes[0] + step[None, :, None] * axes[1]
    field = walls.at(points)
    label, count = ndimage.label(field > 0.0)
    if not count:
        return None
    far = np.hypot(step[:, None], step[None, :])
    near = int(label[np.unravel_index(np.argmin(np.where(label > 0, far, np.inf)), far.shape)])
    own = label == near
    if far[own].min() > OFF:
        return None
    border = own[0].any() or own[-1].any() or own[:, 0].any() or own[:, -1].any()
    area = _area(field, own)
    low, high = (0.25 * np.pi * d**2 for d in DIAMETERS)
    if border or not low < area < high:
        return None
    i, j = (np.mean(step[index]) for index in np.nonzero(own))
    return centre + i * axes[0] + j * axes[1], area


def _area(field: Vector, own: NDArray[np.bool_]) -> float:
    """Area of a spot (mm²), the cells on its border counted by how full they are."""
    rim = ndimage.binary_dilation(own)
    slope = np.hypot(*np.gradient(field)) + 1e-9
    share = np.clip(field / slope + 0.5, 0.0, 1.0)
    return float(np.sum(np.where(rim, share, 0.0))) * STEP**2
