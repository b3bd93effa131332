"""Left and right: labels, landmarks and devices that belong to the same side."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap
from organtwin.landmarks.record import Curve, Landmark, Line, Plane, Point, Sphere
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.surgery.signed import signed_distances

type Points = NDArray[np.float64]

#: Words of names that tell a side.
SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
#: Measure of `organtwin.landmarks.femur` that tells the side.
MEASURE = "side (1 left, -1 right)"
#: Distance from a bone up to which a landmark can belong to it (mm).
NEAR = 15.0
#: LPS to RAS.
TURN = np.array([-1.0, -1.0, 1.0])
#: Left to right in the plane x = 0.
MIRROR = np.array([-1.0, 1.0, 1.0])


def side_of_name(name: str) -> str | None:
    """``left`` or ``right`` if a name says so as a word of its own."""
    words = name.lower().replace("-", "_").replace(" ", "_").split("_")
    found = {SIDES[word] for word in words if word in SIDES}
    return found.pop() if len(found) == 1 else None


def require_label_sides(labels: LabelMap, *, place: str = "labels") -> None:
    """Refuse label maps in which left parts lie to the right of their right partners.

    In LPS x grows to the left; what is called ``..._left`` must have the larger one.

    Raises:
        InputError: a pair is swapped, told with where both lie.
    """
    for name in labels.names:
        if side_of_name(name) != "left":
            continue
        partner = name.replace("left", "right").replace("Left", "Right")
        if partner == name or partner not in labels.names:
            continue
        x = [_middle(labels, n) for n in (name, partner)]
        if all(np.isfinite(x)) and x[0] < x[1]:
            raise InputError(
                place,
                f"`{name}` lies at x = {x[0]:.0f} mm, to the right of `{partner}` at {x[1]:.0f} mm "
                "(LPS).",
                "Left and right are swapped: the image is mirrored, RAS was read as LPS, or the "
                "labels are mixed up.",
            )


def require_side(wanted: str, found: str | None, *, place: str) -> None:
    """Refuse a device, plan or label of the other side.

    Args:
        wanted: ``left`` or ``right``.
        found: Side of what shall be used; None where it has none.
        place: What messages call it.

    Raises:
        InputError: the sides differ, or one is no side.
    """
    if wanted not in ("left", "right"):
        raise InputError(place, f"side `{wanted}`.", "Write `left` or `right`.")
    if found is not None and found != wanted:
        raise InputError(
            place, f"it is a {found} one, {wanted} was asked for.",
            f"Take the {wanted} one, correct the side, or look whether the image was mirrored "
            "(left and right swapped).",
        )  # fmt: skip


def femur_side(landmarks: Iterable[Landmark]) -> str | None:
    """Side of a femur by its own shape, by `organtwin.landmarks.femur`; None without."""
    for landmark in landmarks:
        value = landmark.measures.get(MEASURE)
        if value:
            return "left" if value > 0.0 else "right"
    return None


def require_named_sides(landmarks: Iterable[Landmark], middle: Points, *, place: str) -> None:
    """Refuse landmarks called left that lie to the right of a bone's middle, and the reverse.

    Args:
        landmarks: Such as both entries of pedicle screws; names without a side are passed over.
        middle: A point in the plane between both sides (LPS, mm), shape (3,).
        place: What messages call them.

    Raises:
        InputError: a landmark is on the other side.
    """
    for landmark in landmarks:
        side = side_of_name(landmark.name)
        if side is None:
            continue
        x = float(points_of(landmark)[0, 0] - middle[0])
        if (x > 0.0) != (side == "left"):
            raise InputError(
                place,
                f"`{landmark.name}` lies {abs(x):.0f} mm to the {'left' if x > 0 else 'right'} of "
                "the middle.",
                "Rename it, or check whether its file is RAS and was read as LPS.",
            )


def require_near(
    landmarks: Iterable[Landmark], bone: TriangleSurface, *, within: float = NEAR, place: str
) -> None:
    """Refuse landmarks that do not lie at a bone; tell if they would as RAS, or mirrored.

    Args:
        landmarks: Of this bone.
        bone: Its closed surface.
        within: Largest distance outside of it (mm).
        place: What messages call them.

    Raises:
        InputError: a landmark is farther away.
    """
    for landmark in landmarks:
        points = points_of(landmark)
        off = float(signed_distances(points, bone).max())
        if off <= within:
            continue
        remedy = "Check which bone it was placed on."
        if float(signed_distances(points * TURN, bone).max()) <= within:
            remedy = "It would fit if its coordinates were RAS: state that in its file."
        elif float(signed_distances(points * MIRROR, bone).max()) <= within:
            remedy = "Mirrored from left to right it would fit: it belongs to the other side."
        raise InputError(place, f"`{landmark.name}` lies {off:.0f} mm off the bone.", remedy)


def points_of(landmark: Landmark) -> Points:
    """Points by which a landmark lies (mm), shape (n, 3)."""
    match landmark.geometry:
        case Point(at):
            return np.asarray(at, float)[None]
        case Line(start, end):
            return np.stack([start, end])
        case Plane(centre, _):
            return np.asarray(centre, float)[None]
        case Sphere(centre, _):
            return np.asarray(centre, float)[None]
        case Curve(points):
            return np.asarray(points, float)


def _middle(labels: LabelMap, name: str) -> float:
    found = np.argwhere(labels.mask(name))
    return float(labels.points(found.mean(axis=0))[0]) if len(found) else float("nan")
