"""What is computed of a fractured tibial plateau: healing stages, places of forces, loads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from organtwin.errors import InputError
from organtwin.orthopaedics.anatomical_frames import AnatomicalFrame
from organtwin.orthopaedics.assembly import Assembly
from organtwin.orthopaedics.hip_plan import load_of_case, triple
from organtwin.orthopaedics.knee_loads import knee_load
from organtwin.orthopaedics.operation import Healing, Operation, Place

#: Regions that heal, and that are put in.
CALLUS, GRAFT = "callus", "graft"
#: Radius (mm) of the patches that a condyle presses on: 450 mm² each; our choice.
CONDYLE = 12.0
HALVES = ("plateau_lateral", "plateau_medial")


def knee_frame(made: Assembly) -> AnatomicalFrame:
    """Medial, anterior, proximal of a tibia whose plateau's frame is known."""
    knee = made.frames["knee"]
    out, up = knee.axes[0], knee.axes[2]
    front = np.cross(up, out)
    front = front if front[1] < 0.0 else -front
    side = "left" if out[0] > 0.0 else "right"
    note = "Proximal is along the plateau's normal."
    return AnatomicalFrame(knee.origin, np.array([-out, front, up]), side, (note,), "tibia")


def plateau_operation(
    made: Assembly,
    weight: float,
    loads: Iterable[str],
    bearing: float,
    weeks: Sequence[float],
    callus: Sequence[float],
    graft: float,
) -> tuple[Operation, AnatomicalFrame, tuple[str, ...]]:
    """Healing stages, supports and loads of a plateau; its frame; notes.

    Condyles press on a patch around the middle of each half. The end of the shaft is held. Screws
    are bonded to bone and plate, the plate stands off the bone: a locked construct.

    Args:
        made: Of `organtwin.orthopaedics.tibial_plateau`.
        weight: Of the body (mN).
        loads: Names of `knee_load`.
        bearing: Share of them that is borne.
        weeks: After surgery.
        callus: Young's modulus (kPa) of the callus then.
        graft: Young's modulus (kPa) of what fills the void.

    Raises:
        InputError: no such load; the mesh has no callus.
    """
    names = made.mesh.region_names
    if CALLUS not in names:
        raise InputError("tibial plateau", "the mesh has no callus.", "Give a wider `gap`.")
    frame = knee_frame(made)
    healing = tuple(
        Healing(_weeks(week), {CALLUS: modulus} | ({GRAFT: graft} if GRAFT in names else {}))
        for week, modulus in zip(weeks, callus, strict=True)
    )
    cases = [knee_load(name).scaled(bearing) for name in loads]
    places = {
        name: Place(triple(made.point(name)), (name,), CONDYLE) for name in HALVES
    }  # fmt: skip
    operation = Operation(
        kind="tibial_plateau", name=made.name,
        bones=tuple(n for n in made.bones if n not in (CALLUS, GRAFT)),
        implants=dict(made.implants), support=("distal",), seats=(), places=places,
        intact_places=places, loads=tuple(load_of_case(case, frame, weight) for case in cases),
        healing=healing,
    )  # fmt: skip
    notes = [note for case in cases for note in case.notes]
    notes.append(f"{100.0 * bearing:.0f} % of the loads are borne.")
    return operation, frame, (*frame.notes, *dict.fromkeys(notes))


def _weeks(number: float) -> str:
    """So many weeks."""
    return f"{number:g} week" if number == 1.0 else f"{number:g} weeks"
