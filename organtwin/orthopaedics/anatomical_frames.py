"""Frames of bones in which loads are published: medial (or left), anterior, proximal.

A frame of anatomical directions is right-handed on one side of the body and left-handed on the
other; a load told in it is mirrored with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.landmarks.fits import unit
from organtwin.landmarks.record import Landmark, Line, Plane, Point, Sphere, find
from organtwin.surgery.placement import Frame
from organtwin.surgery.sides import MEASURE

type Vector = NDArray[np.float64]

#: Anteversion (°) where no condyles tell it: mean of the ten instrumented stems of Bergmann et al.
#: (2016), 2 to 31°, as the public code HipJointForceModel (RWTH Aachen) lists them.
ANTEVERSION = 12.5
#: Overhang of the plateau's centre behind the shaft (mm) that tells back from front; our choice.
OVERHANG = 1.5


@dataclass(frozen=True)
class AnatomicalFrame:
    """Directions of a bone.

    Attributes:
        origin: Its origin (mm), shape (3,).
        axes: Rows are unit vectors at right angles: medial (of a vertebra left), anterior,
            proximal, shape (3, 3).
        side: ``left`` or ``right``; empty for a vertebra.
        notes: How it was found, where there is a choice; one sentence each.
        part: What it is the frame of: ``femur``, ``tibia``, ``vertebra``, ``stem``; empty for
            anything, as for a screw.
    """

    origin: Vector
    axes: Vector
    side: str = ""
    notes: tuple[str, ...] = ()
    part: str = ""

    def __post_init__(self) -> None:
        if self.side not in ("left", "right", ""):
            raise InputError("frame", f"side {self.side!r}.", "Give `left` or `right`.")
        if not np.allclose(self.axes @ np.asarray(self.axes).T, np.eye(3), atol=1e-9):
            raise InputError("frame", "its axes are not at right angles.", "Give unit vectors.")

    def vector(self, components: Vector) -> Vector:
        """Vectors in the coordinates of the mesh from components along the axes (…, 3)."""
        return np.asarray(np.asarray(components, float) @ self.axes)

    def components(self, vector: Vector) -> Vector:
        """Components along the axes of vectors in the coordinates of the mesh (…, 3)."""
        return np.asarray(np.asarray(vector, float) @ np.asarray(self.axes).T)

    def point(self, components: Vector) -> Vector:
        """Points (mm) in the coordinates of the mesh from those of the frame (…, 3)."""
        return np.asarray(self.origin + self.vector(components))

    def place(self, points: Vector) -> Vector:
        """Points of the mesh (mm) in the frame (…, 3)."""
        return self.components(np.asarray(points, float) - self.origin)


def femoral_frame(
    landmarks: Iterable[Landmark], *, side: str | None = None, anteversion: float = ANTEVERSION
) -> AnatomicalFrame:
    """Frame of a femur as hip forces are told in: medial, anterior, proximal, at the head's centre.

    Proximal is along the shaft. Medial is parallel to the line behind both condyles; of a bone
    without condyles it is the neck's direction seen along the shaft, turned back by an assumed
    anteversion.

    Args:
        landmarks: `femur_landmarks`: the head or its centre, the shaft's axis, and the condylar
            line or the neck's axis.
        side: ``left`` or ``right``; what the condyles or the lesser trochanter tell without it.
        anteversion: Assumed angle (°) of the neck to the condyles where there are none.

    Source:
        Bergmann et al. (2016), PLoS ONE 11:e0155612, as the comments of the public code
        HipJointForceModel quote it (read); its third axis goes from where the femur's mid-line
        meets the neck's axis to the intercondylar notch, for which the shaft's axis stands here.
        Its x points laterally; here medially, as in Bergmann et al. (2001).

    Raises:
        InputError: a landmark is missing, or nothing tells the side.
    """
    known = {one.name: one for one in landmarks}
    head = _head_centre(known)
    shaft = _line(known, "femoral_shaft_axis")
    up = -shaft.direction if (head - shaft.end) @ shaft.direction < 0.0 else shaft.direction
    inwards = _across(head - shaft.start, up)
    known_side, told = _side(known, side)
    sign = 1.0 if known_side == "left" else -1.0
    notes = [told]
    if "posterior_condylar_line" in known:
        medial = unit(_across(_line(known, "posterior_condylar_line").direction, up))
        medial = medial if medial @ inwards > 0.0 else -medial
        notes.append("Medial is along the line behind the condyles.")
    else:
        neck = unit(_across(-_line(known, "femoral_neck_axis").direction, up))
        neck = neck if neck @ inwards > 0.0 else -neck
        turn = np.radians(anteversion)
        medial = np.cos(turn) * neck - np.sin(turn) * sign * np.cross(up, neck)
        notes.append(
            f"There are no condyles: medial is the neck's direction, turned back by an assumed "
            f"anteversion of {anteversion:g}°."
        )
    axes = np.array([medial, sign * np.cross(up, medial), up])
    return AnatomicalFrame(head, axes, known_side, tuple(notes), "femur")


def tibial_frame(
    landmarks: Iterable[Landmark], *, side: str | None = None, along: str = "axis"
) -> AnatomicalFrame:
    """Frame of a tibia as knee forces are told in: medial, anterior, proximal, at the plateau.

    Its origin is in the middle between both halves of the plateau, medial from the lateral to the
    medial one.

    Args:
        landmarks: `tibia_landmarks`.
        side: ``left`` or ``right``; without it the overhang of the plateau behind the shaft tells
            it.
        along: ``axis``: proximal is along the shaft, which stands for the mechanical axis;
            ``plateau``: along the normal of the plateau, on which the resultant stands nearly
            upright, Kutzner et al. (2010), J. Biomech. 43:2164-2173, abstract read.

    Raises:
        InputError: a landmark is missing, or nothing tells the side.
    """
    if along not in ("axis", "plateau"):
        raise InputError("tibial_frame", f"along = {along!r}.", "Give `axis` or `plateau`.")
    known = {one.name: one for one in landmarks}
    axis = _line(known, "tibial_axis")
    plane = find(known.values(), "tibial_plateau").geometry
    assert isinstance(plane, Plane)
    inner, outer = (_point(known, f"plateau_{name}") for name in ("medial", "lateral"))
    middle = 0.5 * (inner + outer)
    shaft = axis.direction if (middle - 0.5 * (axis.start + axis.end)) @ axis.direction > 0.0 \
        else -axis.direction  # fmt: skip
    up = shaft if along == "axis" else unit(plane.normal * np.sign(plane.normal @ shaft))
    medial = unit(_across(inner - outer, up))
    front = np.cross(up, medial)  # of a left tibia
    over = float((middle - axis.start) @ _across(front, shaft))
    if side is None:
        if abs(over) < OVERHANG:
            raise InputError(
                "tibial_frame",
                f"the plateau overhangs the shaft by {abs(over):.1f} mm only: front and back "
                "can't be told apart.",
                "Give side = `left` or `right`.",
            )
        # The plateau overhangs at the back.
        side, told = ("right" if over > 0.0 else "left"), "The side is told by the overhang."
    else:
        told = "The side was given."
    sign = 1.0 if side == "left" else -1.0
    note = f"Proximal is along the {'shaft' if along == 'axis' else 'plateau normal'}."
    axes = np.array([medial, sign * front, up])
    return AnatomicalFrame(middle, axes, side, (told, note), "tibia")


def vertebral_frame(frame: Frame) -> AnatomicalFrame:
    """Left, anterior, up from a vertebra's frame with x to the left, y back and z up."""
    axes = frame.axes * np.array([[1.0], [-1.0], [1.0]])
    return AnatomicalFrame(frame.origin, axes, part="vertebra")


def stem_frame(frame: Frame, side: str) -> AnatomicalFrame:
    """Medial, anterior, proximal of a stem from its frame with x medially and z up the stem.

    Args:
        frame: Frame of the stem; right-handed.
        side: ``left`` or ``right``.
    """
    x, y, z = frame.axes
    axes = np.array([x, y if side == "left" else -y, z])
    return AnatomicalFrame(frame.origin, axes, side, part="stem")


def _across(vector: Vector, up: Vector) -> Vector:
    return np.asarray(vector - (vector @ up) * up)


def _head_centre(known: dict[str, Landmark]) -> Vector:
    for name in ("femoral_head_centre", "femoral_head"):
        if name in known:
            geometry = known[name].geometry
            assert isinstance(geometry, Point | Sphere)
            return geometry.at if isinstance(geometry, Point) else geometry.centre
    raise InputError("femoral_frame", "no head was found.", "Place `femoral_head_centre`.")


def _line(known: dict[str, Landmark], name: str) -> Line:
    found = find(known.values(), name).geometry
    assert isinstance(found, Line)
    return found


def _point(known: dict[str, Landmark], name: str) -> Vector:
    found = find(known.values(), name).geometry
    assert isinstance(found, Point)
    return found.at


def _side(known: dict[str, Landmark], given: str | None) -> tuple[str, str]:
    """Side of a femur, and what tells it."""
    told = {
        name: known[name].measures[MEASURE]
        for name in ("posterior_condylar_line", "lesser_trochanter")
        if name in known and MEASURE in known[name].measures
    }
    if given is not None:
        if given not in ("left", "right"):
            raise InputError("femoral_frame", f"side {given!r}.", "Give `left` or `right`.")
        unlike = [n for n, sign in told.items() if (sign > 0.0) != (given == "left")]
        return given, "The side was given." + (
            f" Beware: `{unlike[0]}` tells the other one." if unlike else ""
        )
    for name, sign in told.items():
        return ("left" if sign > 0.0 else "right"), f"The side is told by `{name}`."
    raise InputError(
        "femoral_frame", "nothing tells whether it is a left or a right femur.",
        "Give side = `left` or `right`.",
    )  # fmt: skip
