"""How firmly a deployed frame holds, and how hard it presses on a region of the wall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.tissue_contact import Pressed
from organtwin.errors import InputError
from organtwin.mesh.closest import distances
from organtwin.mesh.surface_files import TriangleSurface

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: How far from the facets of a region a place that is pressed may lie, as their rounding takes it
#: off flat facets (mm).
OFF = 0.1


@dataclass(frozen=True)
class Anchoring:
    """What holds a valve, and what would carry it away.

    Attributes:
        holding: The most that friction takes along the axis, μ ΣN (mN).
        load: Pressure on the closed valve, Δp A (mN).
    """

    holding: float
    load: float

    @property
    def safety(self) -> float:
        """Against migration, μ ΣN / Δp A; it slips where this is less than 1."""
        return self.holding / self.load


def anchoring(pressed: Pressed, friction: float, pressure: float, area: float) -> Anchoring:
    """Safety against migration into the ventricle in diastole; our choice of formula.

    Friction is taken to act along the axis wherever struts press. Leaflets and calcium that struts
    hook into hold it better than that.

    Args:
        pressed: Where struts press.
        friction: Coefficient μ.
        pressure: Of the aorta over the ventricle (kPa).
        area: Of the closed valve, that of the frame's largest section with skirt (mm²).

    Raises:
        InputError: pressure or area are not positive, or the coefficient is negative.
    """
    if not (pressure > 0.0 and area > 0.0 and friction >= 0.0):
        raise InputError(
            "anchoring", f"friction {friction:g}, {pressure:g} kPa, {area:g} mm².",
            "Pressure and area are positive, the coefficient is not negative.",
        )  # fmt: skip
    return Anchoring(friction * float(pressed.normal.sum()), pressure * area)


@dataclass(frozen=True)
class PressedRegion:
    """Contact of a frame with a region of the wall.

    Attributes:
        share: Contact pressure index: area in contact over the area of the region.
        largest: Largest contact pressure (kPa).
        force: Sum of the normal forces (mN).
        area: Of the region (mm²).
    """

    share: float
    largest: float
    force: float
    area: float


def pressed_region(
    pressed: Pressed, width: float | Array, points: Array, triangles: Integers
) -> PressedRegion:
    """How hard a frame presses on a region, as that of the membranous septum.

    Struts press by their width: a point that stands for the length ℓ by the area ℓ w and the
    pressure N / ℓ w.

    Args:
        pressed: Where struts press.
        width: Of the struts, w (mm): of all, or at each place, (k,).
        points: Vertices of the region as it is now (mm), shape (n, 3).
        triangles: Its triangles, shape (k, 3).

    Raises:
        InputError: the region has no area, or struts no width.
    """
    area = float(TriangleSurface(points, triangles).areas.sum())
    wide = np.broadcast_to(np.asarray(width, float), pressed.normal.shape)
    least = float(np.min(wide, initial=np.inf))
    if not (area > 0.0 and least > 0.0):
        raise InputError(
            "pressed region", f"{area:g} mm², struts {least:g} mm wide.",
            "Give the triangles of the region and the struts' width.",
        )  # fmt: skip
    if len(pressed.places) == 0:
        return PressedRegion(0.0, 0.0, 0.0, area)
    inside = distances(pressed.places, points, triangles) <= OFF
    prints = pressed.length[inside] * wide[inside]
    force = pressed.normal[inside]
    largest = float(np.max(force / prints, initial=0.0))
    return PressedRegion(float(prints.sum()) / area, largest, float(force.sum()), area)
