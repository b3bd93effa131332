"""What is computed of a fractured tibial plateau: healing stages, places of forces, loads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.orthopaedics.anatomical_frames import AnatomicalFrame
from organtwin.orthopaedics.assembly import Assembly
from organtwin.orthopaedics.cartilage_contact import Columns, press
from organtwin.orthopaedics.hip_plan import load_of_case, triple
from organtwin.orthopaedics.joint_indices import centre_of_pressure
from organtwin.orthopaedics.joint_loads import LoadCase
from organtwin.orthopaedics.knee_loads import KNEE_LOADS, axial_load, knee_load
from organtwin.orthopaedics.operation import Healing, Load, Operation, Place, Seat

type Floats = NDArray[np.float64]

#: Regions that heal, and that are put in.
CALLUS, GRAFT = "callus", "graft"
#: Radius (mm) of the patches that a condyle presses on: 450 mm² each; our choice.
CONDYLE = 12.0
HALVES = ("plateau_lateral", "plateau_medial")
#: Table of an assembly with columns of cartilage.
CARTILAGE = "cartilage"
#: Friction of bone on bone, between the values of smooth and rough cuts: remembered, 0.3 to 0.6.
FRICTION = 0.4
#: Strength (kPa) of the clot between fragments that touch: it holds the weight of a piece that
#: nothing presses, 2 N over its face. Our choice.
CLOT = 5.0
#: Load of a bench: a force on the lateral condyle alone.
CONDYLE_BENCH = "lateral_condyle"


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
    *,
    bench: float = 500.0,
    friction: float = FRICTION,
) -> tuple[Operation, AnatomicalFrame, tuple[str, ...]]:
    """Healing stages, supports and loads of a plateau; its frame; notes.

    Condyles press on a patch around the middle of each half, or around the centre of pressure of
    the first load where the assembly has columns of cartilage. The end of the shaft is held. Screws
    are bonded to bone and plate, the plate stands off the bone: a locked construct. Fragments that
    touch rub on each other, and a clot holds them where nothing presses them: nothing heals, and
    there is one stage.

    Args:
        made: Of `organtwin.orthopaedics.tibial_plateau`.
        weight: Of the body (mN).
        loads: Names of `knee_load`, or ``lateral_condyle``: a bench test that presses the lateral
            condyle alone, for the stiffness of the construct.
        bearing: Share of them that is borne.
        weeks: After surgery.
        callus: Young's modulus (kPa) of the callus then.
        graft: Young's modulus (kPa) of what fills the void.
        bench: Force (N) of the bench test.
        friction: Coefficient between fragments that touch.

    Raises:
        InputError: no such load; the mesh has no callus, and no fragments that touch.
    """
    names = made.mesh.region_names
    if CALLUS not in names and not made.pairs:
        raise InputError("tibial plateau", "the mesh has no callus.", "Give a wider `gap`.")
    frame = knee_frame(made)
    filled = {GRAFT: graft} if GRAFT in names else {}
    healing = (Healing("fresh", filled),) if made.pairs else tuple(
        Healing(_weeks(week), {CALLUS: modulus} | filled)
        for week, modulus in zip(weeks, callus, strict=True)
    )  # fmt: skip
    cases = [_load(name, bearing, bench) for name in loads]
    loaded = tuple(
        load_of_case(case, frame, weight, intact=case.name != CONDYLE_BENCH) for case in cases
    )
    places = {
        name: Place(triple(point), (name,), CONDYLE)
        for name, point in _pressed(made, loaded, frame.axes[2]).items()
    }
    operation = Operation(
        kind="tibial_plateau", name=made.name,
        bones=tuple(n for n in made.bones if n not in (CALLUS, GRAFT)),
        implants=dict(made.implants), support=("distal",),
        seats=_seats(made.pairs, friction), places=places, intact_places=places,
        healing=healing, loads=loaded,
    )  # fmt: skip
    notes = [note for case in cases for note in case.notes]
    if made.pairs:
        notes.append(
            f"The fragments touch and rub on each other (coefficient {friction:g}): the fracture "
            "is fresh, and what is told of weeks and callus is not used."
        )
    if any(case.name != CONDYLE_BENCH for case in cases):
        notes.append(f"{100.0 * bearing:.0f} % of the loads of daily life are borne.")
    return operation, frame, (*frame.notes, *dict.fromkeys(notes))


def _seats(pairs: Sequence[tuple[str, str]], friction: float) -> tuple[Seat, ...]:
    """The faces of the fracture."""
    return tuple(
        Seat(f"{one} on {other}".replace("_", " "), f"{one}_at_{other}", f"{other}_at_{one}",
             friction, cohesion=CLOT, tension=CLOT)
        for one, other in pairs
    )  # fmt: skip


def _pressed(made: Assembly, loads: Sequence[Load], up: Floats) -> dict[str, Floats]:
    """Point of each half that its condyle presses on (mm)."""
    found = {name: made.point(name) for name in HALVES}
    if CARTILAGE not in made.tables:
        return found
    columns = Columns.of_table(made.tables[CARTILAGE])
    for number, name in enumerate(HALVES):
        forces = [-float(np.array(load.forces[name]) @ up) for load in loads if name in load.forces]
        if forces:
            own = columns.of_half(number)
            pressure = press(own, np.zeros(len(own.gap)), forces[0]).pressure
            found[name] = centre_of_pressure(own.place, own.area, pressure, comm=MPI.COMM_SELF)
    return found


def _load(name: str, bearing: float, bench: float) -> LoadCase:
    """A load of daily life as far as it is borne, or that of the bench.

    Raises:
        InputError: no such load.
    """
    if name == CONDYLE_BENCH:
        made = axial_load(bench, medial=0.0)
        pressed = tuple(force for force in made.forces if any(force.components))
        return replace(made, name=name, phase="on a bench, on this condyle alone", forces=pressed)
    if name not in KNEE_LOADS:
        known = (*KNEE_LOADS, CONDYLE_BENCH)
        raise InputError("tibial plateau", f"no load `{name}`.", suggestion(name, known))
    return knee_load(name).scaled(bearing)


def _weeks(number: float) -> str:
    """So many weeks."""
    return f"{number:g} week" if number == 1.0 else f"{number:g} weeks"
