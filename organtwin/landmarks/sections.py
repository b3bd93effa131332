"""Sections of a lumen by a plane: centre, area and length of the outline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.landmarks.fits import frame
from organtwin.landmarks.root import ANGLES, ROUNDS, Lumen, wall_radii

type Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Section:
    """Section of a lumen by a plane.

    Attributes:
        centre: Centroid (mm), shape (3,).
        area: Area (mm²); 0 where the plane misses the lumen.
        perimeter: Length of its outline (mm).
    """

    centre: Vector
    area: float
    perimeter: float

    @property
    def diameter(self) -> float:
        """Diameter of a disc of its area (mm)."""
        return 2.0 * float(np.sqrt(self.area / np.pi))


def section(lumen: Lumen, centre: Vector, normal: Vector) -> Section:
    """Section of a lumen by the plane through a point inside of it."""
    axes = frame(normal)
    step = 0.5 * float(lumen.grid.spacing.min())
    turn = np.arange(ANGLES) * 2.0 * np.pi / ANGLES
    ring = np.column_stack([np.cos(turn), np.sin(turn)])
    radii = np.zeros(ANGLES)
    for _ in range(ROUNDS):
        radii = wall_radii(lumen, centre[None, :], axes, step)[0][0]
        if not np.isfinite(radii).all():
            return Section(centre, 0.0, 0.0)
        size = 1.5 * np.sum(radii**2)
        centre = centre + (radii**3 @ ring / size) @ axes[:2]
    radii = wall_radii(lumen, centre[None, :], axes, step)[0][0]
    if not np.isfinite(radii).all():
        return Section(centre, 0.0, 0.0)
    outline = radii[:, None] * ring
    edge = np.linalg.norm(np.roll(outline, -1, axis=0) - outline, axis=1)
    area = 0.5 * np.sin(turn[1]) * float(np.sum(radii * np.roll(radii, -1)))
    return Section(centre, area, float(edge.sum()))
