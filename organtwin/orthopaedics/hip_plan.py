"""What is computed of a femur with a stem: seats, places of forces, loads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.landmarks.record import Landmark, Sphere, find
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.orthopaedics.anatomical_frames import AnatomicalFrame, stem_frame
from organtwin.orthopaedics.assembly import Assembly
from organtwin.orthopaedics.hip_loads import attachments, hip_load
from organtwin.orthopaedics.joint_loads import LoadCase
from organtwin.orthopaedics.operation import Load, Operation, Place, Seat, Triple

type Points = NDArray[np.float64]

#: Radius (mm) of the patches that muscles pull at; our choice.
MUSCLE = 14.0
#: Surfaces of the stem that the head's force comes in by.
NECK = ("stem_neck", "stem_taper", "stem-outside")
#: Coefficients of friction: rough coating in bone, polished metal in bone. Our choice, within what
#: is used for cementless stems.
COATED, POLISHED = 0.6, 0.2
#: Interference of the coated part (mm) and name of its seat; our choice.
INTERFERENCE, STEM = 0.03, "stem"


@dataclass(frozen=True)
class StemSeat:
    """How the stem sits in its canal.

    Attributes:
        friction: Coefficient of its coated part.
        polished: Coefficient of the part without coating.
        interference: By how much the coated part was larger than its canal (mm).
        ingrown: Shear and normal strength of a coating that bone has grown into (kPa); 0 after
            surgery.
    """

    friction: float = COATED
    polished: float = POLISHED
    interference: float = INTERFERENCE
    ingrown: float = 0.0


def hip_operation(
    made: Assembly,
    bone: TriangleSurface,
    landmarks: Iterable[Landmark],
    frame: AnatomicalFrame,
    weight: float,
    loads: Iterable[str],
    seat: StemSeat | None = None,
) -> tuple[Operation, tuple[str, ...]]:
    """Seats, supports and loads of a femur with a stem, and notes.

    The head's force acts on what of the stem stands out of the bone, along a line through the
    head's centre; on the intact bone on the head that is cut off. Muscles pull at patches around
    their attachments. The end of the shaft is held.

    Args:
        made: Of `organtwin.orthopaedics.hip_stem`.
        bone: Surface of the femur.
        landmarks: Of it.
        frame: Of the femur.
        weight: Of the body (mN).
        loads: Names of `hip_load`.
        seat: How the stem sits.

    Raises:
        InputError: no such load; the stem has no neck that a force could act on.
    """
    how = seat or StemSeat()
    names = made.operated().mesh.facet_names
    neck = tuple(name for name in NECK if name in names)
    if not neck:
        raise InputError("hip stem", "nothing of the stem stands out of the bone.",
                         "Cut the neck lower.")  # fmt: skip
    sphere = find(landmarks, "femoral_head").geometry
    assert isinstance(sphere, Sphere)
    muscles, notes = attachments(bone, frame, sphere.radius)
    pulled = {name: Place(triple(at), ("femur_surface",), MUSCLE) for name, at in muscles.items()}
    cases = [hip_load(name) for name in loads]
    used = {place for case in cases for place in case.places}
    pulled = {name: place for name, place in pulled.items() if name in used}
    frames = {"femur": frame, "stem": stem_frame(made.frames["stem"], frame.side)}
    head = Place(triple(made.point("head_centre")), neck)
    native = Place(triple(made.point("native_head_centre")), ("head",))
    found = Operation(
        kind="hip_stem", name=made.name, bones=made.bones, implants=dict(made.implants),
        support=("distal",), seats=_seats(names, how),
        places={"head": head, **pulled}, intact_places={"head": native, **pulled},
        loads=tuple(load_of_case(case, frames[case.frame], weight) for case in cases),
    )  # fmt: skip
    told = [note for case in cases for note in case.notes]
    return found, (*frame.notes, *notes, *dict.fromkeys(told))


def _seats(names: Iterable[str], how: StemSeat) -> tuple[Seat, ...]:
    made = []
    for part in ("coated", "polished"):
        first, other = f"stem_at_femur_{part}", f"femur_at_stem_{part}"
        if first not in names or other not in names:
            continue
        if part == "coated":
            made.append(Seat(
                f"stem, {part}", first, other, how.friction, how.interference,
                cohesion=how.ingrown, tension=how.ingrown,
            ))  # fmt: skip
        else:
            made.append(Seat(f"stem, {part}", first, other, how.polished))
    return tuple(made)


def load_of_case(
    case: LoadCase, frame: AnatomicalFrame, weight: float, *, intact: bool = True
) -> Load:
    """A load in the coordinates of the mesh."""
    forces = {name: triple(force) for name, force in case.in_mesh(frame, weight).items()}
    return Load(case.name, case.phase, forces, intact, case.least, case.sources())


def triple(point: Points) -> Triple:
    """Three plain numbers."""
    x, y, z = (float(value) for value in point)
    return x, y, z
