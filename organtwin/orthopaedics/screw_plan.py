"""What is computed of a vertebra with pedicle screws: threads, places of forces, loads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.bone.calibration import Calibration
from organtwin.bone.densities import Density, lines, path
from organtwin.implants.screws import BoneScrew
from organtwin.orthopaedics.anatomical_frames import AnatomicalFrame, vertebral_frame
from organtwin.orthopaedics.assembly import Assembly
from organtwin.orthopaedics.hip_plan import load_of_case, triple
from organtwin.orthopaedics.operation import Load, Operation, Place, Seat
from organtwin.orthopaedics.screw_indices import pull_out_force, shear_strength
from organtwin.orthopaedics.spine_loads import BENCH, spine_load
from organtwin.surgery.screws import Screw, trajectory

type Array = NDArray[np.float64]

#: Name of the load that pulls all screws along their axes.
PULL_OUT = "pull_out"


@dataclass(frozen=True)
class ThreadSeat:
    """How threads hold in bone.

    Attributes:
        friction: Coefficient of Coulomb friction.
        cohesion: Shear strength of the smooth cylinder that stands for the thread (kPa); that of
            the bone along the screw if None.
    """

    friction: float = 0.3
    cohesion: float | None = None


@dataclass(frozen=True)
class Purchase:
    """What the bone along a screw holds.

    Attributes:
        grey: Mean value along the thread (HU).
        along: Places along it (mm), shape (n,).
        density: Apparent density there (mg/mm³), shape (n,).
        strength: Shear strength of the bone, mean along the thread (kPa).
        force: Force that pulls it out (mN), by Chapman's formula.
    """

    grey: float
    along: Array
    density: Array
    strength: float
    force: float


def purchase_of(made: Assembly, name: str, screw: BoneScrew, line: Calibration) -> Purchase:
    """Density, strength and pull-out force of a screw that is placed.

    Raises:
        InputError: it lies off the scan.
    """
    assert made.scan is not None
    at = Screw(made.point(f"{name}_entry"), made.point(f"{name}_tip"), screw.diameter, screw.core,
               screw.threaded, name)  # fmt: skip
    found = trajectory(at, made.scan)
    density = np.asarray(line.density(found.values))
    for step in path(Density(line.mineral), Density.APPARENT, lines()):
        density = step(density)
    strength = float(shear_strength(density).mean())
    force = pull_out_force(screw, found.along, density)
    return Purchase(found.mean, found.along, density, strength, force)


def screw_operation(
    made: Assembly,
    screw: BoneScrew,
    held: Mapping[str, Purchase],
    weight: float,
    loads: Iterable[str],
    pull: float,
    seat: ThreadSeat | None = None,
) -> tuple[Operation, AnatomicalFrame, tuple[str, ...]]:
    """Seats, supports and loads of a vertebra with screws; its frame; notes.

    The lower endplate is held, the upper one is pressed. Threads are smooth cylinders with friction
    and a cohesion that pulls out at the force of the thread (`BoneScrew.interface_strength`).

    Args:
        made: Of `organtwin.orthopaedics.pedicle_screw`.
        screw: Of that kind all are.
        held: What holds each of them.
        weight: Of the body (mN).
        loads: Names of `spine_load`, and ``pull_out``.
        pull: Force of ``pull_out`` along each screw (mN).
        seat: How threads hold.

    Raises:
        InputError: no such load.
    """
    how = seat or ThreadSeat()
    frame = vertebral_frame(made.frames["vertebra"])
    names = tuple(made.implants)
    places = {"endplate_upper": Place(triple(frame.origin), ("endplate_upper",))}
    intact = dict(places)
    for name in names:
        places[f"{name}_head"] = Place(triple(made.point(f"{name}_entry")), (f"{name}_head",))
    taken, notes = [], []
    for load in loads:
        if load == PULL_OUT:
            taken.append(_pull(made, names, pull))
            continue
        case = spine_load(load)
        taken.append(load_of_case(case, frame, weight))
        notes += list(case.notes)
    notes.append("Of the intact vertebra the ways of the screws are left out.")
    seats = tuple(_thread(name, screw, held[name], how) for name in names)
    operation = Operation(
        kind="pedicle_screw", name=made.name, bones=made.bones, implants=dict(made.implants),
        support=("endplate_lower",), seats=seats, places=places, intact_places=intact,
        loads=tuple(taken),
    )  # fmt: skip
    return operation, frame, tuple(dict.fromkeys(notes))


def _thread(name: str, screw: BoneScrew, held: Purchase, how: ThreadSeat) -> Seat:
    """The seat of a screw; a thread holds across as it does along, our choice."""
    strength = screw.interface_strength(held.strength) if how.cohesion is None else how.cohesion
    return Seat(
        name.replace("_", " "), f"{name}_at_vertebra", f"vertebra_at_{name}", how.friction,
        cohesion=strength, tension=strength,
    )  # fmt: skip


def _pull(made: Assembly, names: Iterable[str], pull: float) -> Load:
    """The same force along each screw, out of the bone."""
    forces = {}
    for name in names:
        out = made.point(f"{name}_entry") - made.point(f"{name}_tip")
        forces[f"{name}_head"] = triple(pull * out / np.linalg.norm(out))
    return Load(PULL_OUT, "on a bench", forces, intact=False, sources=(BENCH,))
