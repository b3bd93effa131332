"""Screws in the holes of a plate."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from organtwin.errors import InputError
from organtwin.implants.implant import Implant, LocalFrame
from organtwin.implants.plates import Plate
from organtwin.implants.screws import BoneScrew
from organtwin.mesh.shapes.limits import within
from organtwin.mesh.vectors import unit

#: Largest angle (degrees) between a screw and its hole's axis: locked, and with a round seat.
#: Our choice, of the order of locking holes of variable angle and of non-locking screws.
TILTS = {"locking": 15.0, "cortical": 25.0}


def seated(
    made: Implant,
    plate: Plate,
    hole: int,
    screw: BoneScrew,
    size: float | None = None,
    *,
    tilt: tuple[float, float] = (0.0, 0.0),
) -> Implant:
    """A screw in a hole of a plate, its head resting on the upper rim of the hole.

    Args:
        made: The plate's surface, flat or bent.
        plate: Its drawing.
        hole: Number of the hole, from 1.
        screw: The screw.
        size: Edge length (mm) of the screw's triangles, see `BoneScrew.implant`.
        tilt: Angles (degrees) by which the screw leans along and across the plate.

    Returns:
        The screw where the plate is; its axis points into the bone.

    Raises:
        InputError: no such hole, a screw that does not fit it, or too much tilt.
    """
    if not 1 <= hole <= len(plate.holes):
        raise InputError(plate.name, f"no hole {hole}.", f"It has 1 to {len(plate.holes)}.")
    place = f"{plate.name}, hole {hole}"
    drawn = plate.holes[hole - 1]
    if (screw.head == "locking") != (drawn.kind == "locking") and screw.head == "locking":
        raise InputError(place, "a locking screw in a hole without thread.", "Take another screw.")
    within(place, "tilt", float(np.hypot(*tilt)), 0.0, TILTS[drawn.kind], "degrees")
    height = plate.thickness - rest(screw, 0.5 * drawn.diameter, place)
    axis = made.direction(f"hole{hole}")
    along = made.frame.axes[0]
    x = unit(along - (along @ axis) * axis)
    y = np.cross(axis, x)
    lean = np.tan(np.radians(tilt))
    down = unit(-axis + lean[0] * x + lean[1] * y)
    across = unit(x - (x @ down) * down)
    # It leans about the middle of the hole's upper rim.
    rim = made.point(f"hole{hole}") + plate.thickness * axis
    origin = rim + (plate.thickness - height) * down
    frame = LocalFrame(origin, np.stack([across, np.cross(down, across), down]))
    return screw.implant(size).at(frame)


def rest(screw: BoneScrew, radius: float, place: str = "hole") -> float:
    """Height (mm) on a screw's head, from its entry, at which it rests on a hole's rim.

    Raises:
        InputError: the thread does not go through, or the head falls through.
    """
    if 0.5 * screw.diameter > radius:
        raise InputError(
            place,
            f"a thread of {screw.diameter:g} mm in a hole of {2 * radius:g} mm.",
            "Take a thinner screw or a wider hole.",
        )
    if screw.head_radius(screw.head_height) < radius - 1e-9:
        raise InputError(
            place,
            f"a head of {screw.head_diameter:g} mm falls through a hole of {2 * radius:g} mm.",
            "Take a screw with a wider head.",
        )
    if screw.head_radius(0.0) >= radius:
        return 0.0
    top = screw.head_height
    if screw.head_radius(top) <= radius + 1e-9:
        return top
    return float(brentq(lambda h: screw.head_radius(h) - radius, 0.0, top))
