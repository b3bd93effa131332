"""Looks at an aortic root along better and better axes, and again where its wall is moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.landmarks.fits import angle, unit
from organtwin.landmarks.leaflets import leaflet_attachment
from organtwin.landmarks.record import Plane
from organtwin.landmarks.root import Lumen, Root, followed, unroll
from organtwin.landmarks.sinuses import (
    Lobe,
    Sinuses,
    hinge_normal,
    junction_of,
    look_at,
    lowest_of,
    widest_of,
)

type Vector = NDArray[np.float64]

#: A first look's normals farther off than this are not believed (degrees).
STEEPEST = 35.0
#: Most looks along a better axis, and the change of the axis that ends them (degrees).
LOOKS, STAYS = 4, 4.0
#: Angle between the planes of hinge points and junction beyond which the former isn't believed
#: (degrees).
UNLIKE = 25.0
#: Heights around a middle that is known in which sinuses are widest, and whose sections tell where
#: the middle is (mm): farther off an arched aorta is cut askew.
NEAR, KNOWN = (-8.0, 8.0), (-22.0, 12.0)
#: Angle between annulus and junction beyond which it can't be an annulus (degrees).
LEANING = 45.0
#: Angle off the middle of what was seen of a leaflet at which its lowest place is looked for again.
ASIDE = np.radians(12.0)
#: Distances of hinge points from the junction that can be (mm), and how much other first axes lean.
LOW, OTHER = (6.0, 50.0), np.radians(25.0)


def first_look(lumen: Lumen, end: Vector, beyond: Vector, junction: Plane | None = None) -> Sinuses:
    """Sinuses around the axis that leaves the heart; where they fall off suddenly, only roughly."""
    return look_at(lumen, unroll(lumen, end, beyond), junction)


def straightened(lumen: Lumen, found: Sinuses, junction: Plane | None = None) -> Sinuses:
    """Looks along better axes: sections then cut no plane askew.

    Open leaflets hide the sinuses from the first axis. First looks follow along the middle of both
    planes' normals until the axis stays. The junction is then sought along its own normal, and,
    where leaflets are seen, the hinge points along the normal of the plane through them: an arched
    aorta tilts one against the other. Where that ends in a plane that can't be, other first axes
    are tried, and taken if they show three leaflets.
    """
    best = _looks(lumen, found, junction)
    if not lumen.grey or _plausible(best):
        return best
    across = best.upper.axes[:2]
    for turn in np.arange(0.0, 2.0 * np.pi, np.pi / 3.0):
        aside = np.cos(turn) * across[0] + np.sin(turn) * across[1]
        try:
            up = unit(found.root.axes[2] + np.tan(OTHER) * aside)
            other = _looks(lumen, _look_along(lumen, found.middle, up, junction), junction)
        except InputError:
            continue
        if _plausible(other) and shown(other):
            return other
    return best


def again(lumen: Lumen, found: Sinuses, junction: Plane | None = None) -> Sinuses:
    """Looks along the same axes in another lumen.

    Raises:
        InputError: what was seen isn't seen there.
    """
    if found.root is found.upper:
        return _look_along(lumen, found.root.start, found.root.axes[2], junction)
    if shown(found):
        other = _hinges_along(lumen, found, found.root.start, found.root.axes[2])
    else:
        other = _look_along(lumen, found.root.start, found.root.axes[2], found.junction)
    return _junction_along(lumen, other, found.upper.start, found.upper.axes[2], junction)


def moved(lumen: Lumen, found: Sinuses, outwards: float, junction: Plane | None = None) -> Sinuses:
    """The same with the wall so many mm farther out; leaflets stay, and go on to the wall.

    Raises:
        InputError: what was seen isn't seen there.
    """
    other = lumen.moved(outwards)
    if not shown(found):
        return again(other, found, junction)
    root = replace(found.root, radii=found.root.radii + outwards)
    found = replace(found, root=root, lobes=_leaflets(lumen, found, root))
    return _junction_along(other, found, found.upper.start, found.upper.axes[2], junction)


def shown(found: Sinuses) -> bool:
    """Whether all three leaflets were seen."""
    return all(lobe.border is not None and lobe.border.darkness > 0.0 for lobe in found.lobes)


# ------------------------------------------------------------------------------------------- looks


def _looks(lumen: Lumen, found: Sinuses, junction: Plane | None) -> Sinuses:
    """Looks until the axes stay."""
    try:
        for _ in range(LOOKS):
            up = _upwards(found)
            if angle(up, found.root.axes[2]) > STEEPEST:
                up = found.root.axes[2]
            if found.root.followed and angle(up, found.root.axes[2]) < STAYS:
                break
            found = _look_along(lumen, found.middle, up, junction)
    except InputError:
        return found
    try:
        return _leaflets_straight(lumen, _junction_straight(lumen, found, junction))
    except InputError:
        return found


def _junction_straight(lumen: Lumen, found: Sinuses, junction: Plane | None) -> Sinuses:
    """The junction sought along its own normal, as long as that brings both together."""
    for _ in range(LOOKS):
        off = angle(found.junction.normal, found.upper.axes[2])
        if junction is not None or off < STAYS:
            break
        after = _junction_along(lumen, found, found.middle, found.junction.normal)
        if angle(after.junction.normal, after.upper.axes[2]) > off:
            break
        found = after
    return found


def _leaflets_straight(lumen: Lumen, found: Sinuses) -> Sinuses:
    """Leaflets, where they are seen, sought along the normal of the plane through their hinges."""
    for _ in range(LOOKS):
        up = hinge_normal(found)
        if _settled(found) or angle(up, found.junction.normal) > LEANING:
            break
        found = _hinges_along(lumen, found, found.middle, up)
    return found


def _settled(found: Sinuses) -> bool:
    """Whether another look at the leaflets would find nothing else, or there are none to see."""
    if not shown(found):
        return True
    aside = max(abs(lobe.border.lowest) for lobe in found.lobes if lobe.border is not None)
    return aside < ASIDE and angle(hinge_normal(found), found.root.axes[2]) < STAYS


def _plausible(found: Sinuses) -> bool:
    """Whether the annulus lies below the junction, not too far, and leans no more than roots do."""
    depths = [-found.junction.height(lobe.hinge) for lobe in found.lobes]
    lean = angle(hinge_normal(found), found.junction.normal)
    return bool(lean < LEANING and LOW[0] < min(depths) and max(depths) < LOW[1])


def _upwards(found: Sinuses) -> Vector:
    """Middle of both planes' normals; where they differ much the bends above are the surer ones."""
    low, high = hinge_normal(found), found.junction.normal
    return np.asarray(high) if angle(low, high) > UNLIKE else unit(low + high)


def _look_along(lumen: Lumen, middle: Vector, up: Vector, junction: Plane | None) -> Sinuses:
    return look_at(lumen, _followed(lumen, middle, up), junction)


def _followed(lumen: Lumen, middle: Vector, up: Vector) -> Root:
    root = unroll(lumen, middle, middle + up)
    return followed(lumen, root, widest_of(root))


def _junction_along(
    lumen: Lumen, found: Sinuses, middle: Vector, up: Vector, placed: Plane | None = None
) -> Sinuses:
    """The junction seen along another axis than the hinge points."""
    root = _followed(lumen, middle, up)
    plane, residual, rise = junction_of(lumen, root, widest_of(root), placed)
    return replace(
        found, junction=plane, junction_residual=residual, junction_rise=rise, upper=root
    )


def _hinges_along(lumen: Lumen, found: Sinuses, middle: Vector, up: Vector) -> Sinuses:
    """Hinge points seen along another axis than the junction, each around where it was."""
    root = unroll(lumen, middle, middle + up, KNOWN)
    widest = widest_of(root, NEAR)
    root = followed(lumen, root, widest)
    return replace(found, root=root, widest=widest, lobes=_leaflets(lumen, found, root))


def _leaflets(lumen: Lumen, found: Sinuses, root: Root) -> tuple[Lobe, ...]:
    """The sinuses with hinge points by their leaflets in another unrolled root.

    Raises:
        InputError: one isn't seen in it.
    """
    lobes = []
    for lobe in found.lobes:
        low, turn = root.coordinates(lobe.hinge)
        top = root.coordinates(found.root.place(lobe.height, lobe.angle))[0]
        border = leaflet_attachment(lumen, root, turn, low, top)
        if border is None:
            raise InputError("aortic root", "a leaflet is lost.", "Look along another axis.")
        lobes.append(replace(lobe, angle=turn + border.lowest, height=top,
                             hinge=lowest_of(root, border), border=border))  # fmt: skip
    return tuple(lobes)
