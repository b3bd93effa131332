"""Indices of a hip stem: micromotion, stress shielding by Gruen zone, bone and stem."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organtwin.implants.materials import load_material
from organtwin.index import Index
from organtwin.orthopaedics.assessment import (
    ALONE,
    Judged,
    add_bone,
    add_strength,
    bone_cells,
    done,
    on_cells,
    steps_of,
)
from organtwin.orthopaedics.gruen_indices import gruen_zones
from organtwin.orthopaedics.micromotion_indices import (
    Micromotion,
    micromotion,
    micromotion_indices,
)
from organtwin.orthopaedics.model import unloaded_after
from organtwin.orthopaedics.neck_indices import NeckSections, neck_indices
from organtwin.orthopaedics.operation import Load, Operation
from organtwin.orthopaedics.outcome import Outcome
from organtwin.orthopaedics.shielding_indices import shielding, shielding_indices
from organtwin.surgery.placement import Frame

type Array = NDArray[np.float64]
type Integers = NDArray[np.int64]
#: Least share of the canal's width (%) that a stem should fill.
FILL = 80.0
type Neck = tuple[NeckSections, Array]


def judge_hip(
    outcome: Outcome, operation: Operation, stem: Frame, top: float, tip: float,
    neck: Neck,
) -> Judged:  # fmt: skip
    """Indices of all loads that are done.

    Args:
        outcome: Results.
        operation: What was computed.
        stem: Frame of the stem, z up the stem and x medially.
        top: Height of the neck's cut in it (mm).
        tip: Height of the tip in it (mm).
        neck: Sections of its neck and centre of its head in that frame (mm).
    """
    judged = Judged()
    loads = list(done(outcome, operation))
    for load in loads:
        prefix = f"{load.name}_"
        moved = stem_micromotion(outcome, load)
        judged.add(micromotion_indices(
            moved, comm=ALONE, zones=gruen_zones(moved.position, stem, top, tip), name="stem",
        ), prefix)  # fmt: skip
        add_bone(judged, outcome, operation, load, load.name, prefix)
        add_strength(judged, outcome, operation, load, steps_of(load), prefix)
        force = stem.axes @ np.array(load.forces["head"])
        made = load_material(operation.implants["stem"])
        judged.add(neck_indices(*neck, force, load.least, made), prefix)
    _shielding(judged, outcome, operation, loads, stem, top, tip)
    return judged


def canal_fill_index(ratio: float) -> Index:
    """How much of the canal's width the stem fills.

    Args:
        ratio: Largest width of the stem by that of the canal from side to side, of all levels.
    """
    return Index.of(
        "place", "canal_fill", 100.0 * ratio, "%",
        "width of the stem by that of the canal from side to side, the largest of all levels",
        "threshold remembered: cementless tapered stems that fill 80 % of the canal in the frontal "
        "view, or more, subside less", FILL,
    )  # fmt: skip


def stem_micromotion(outcome: Outcome, load: Load) -> Micromotion:
    """Micromotion of the whole interface between a load and its letting go."""
    loaded, gone = steps_of(load)
    seats = list(outcome.contacts.values())

    def both(step: str, key: str) -> Array:
        return np.concatenate([seat.steps[step][key] for seat in seats])

    return micromotion(
        np.concatenate([seat.position for seat in seats]),
        np.concatenate([seat.area for seat in seats]),
        (both(loaded, "slip"), both(loaded, "opening")),
        (both(gone, "slip"), both(gone, "opening")),
    )


def energy_of_cycle(outcome: Outcome, load: str) -> Array:
    """½ Δσ : Δε of the cells (kPa) between a load and its letting go, shape (m,).

    The stress of the press fit, which creep of bone relaxes, is left out.
    """
    loaded, gone = outcome.operated[load], outcome.operated[unloaded_after(load)]
    stress, strain = (loaded[key] - gone[key] for key in ("stress", "strain"))
    return np.asarray(0.5 * (stress * strain).sum(axis=1))


def _shielding(
    judged: Judged, outcome: Outcome, operation: Operation, loads: list[Load], stem: Frame,
    top: float, tip: float,
) -> None:  # fmt: skip
    """Loss of strain energy against the intact bone, averaged over the loads."""
    both = [load.name for load in loads if load.name in outcome.intact]
    if not both:
        judged.notes.append("Stress shielding is not told: no load of the intact bone is done.")
        return
    cells = bone_cells(outcome, operation)
    zones = gruen_zones(outcome.middles[cells], stem, top, tip)
    found = shielding(
        [outcome.intact[name]["energy"][cells] for name in both],
        [energy_of_cycle(outcome, name)[cells] for name in both],
        outcome.tissue["density"][cells], outcome.volumes[cells],
    )  # fmt: skip
    judged.add(shielding_indices(found, comm=ALONE, zones=zones))
    judged.maps["shielding %"] = on_cells(outcome, cells, 100.0 * found.change)
    judged.maps["gruen zone"] = on_cells(outcome, cells, zones.astype(float))
