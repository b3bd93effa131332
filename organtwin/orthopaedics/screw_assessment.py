"""Indices of pedicle screws: forces, pull-out, density, micromotion, bone and screws."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from organtwin.orthopaedics.assessment import (
    ALONE,
    Judged,
    add_bone,
    add_strength,
    done,
    steps_of,
)
from organtwin.orthopaedics.micromotion_indices import micromotion, micromotion_indices
from organtwin.orthopaedics.operation import Operation
from organtwin.orthopaedics.outcome import Contact, Outcome
from organtwin.orthopaedics.screw_indices import screw_indices

type Array = NDArray[np.float64]


def judge_screws(
    outcome: Outcome,
    operation: Operation,
    axes: Mapping[str, Array],
    pull_out: Mapping[str, float],
    grey: Mapping[str, float],
    breach: Mapping[str, float],
) -> Judged:
    """Indices of all loads that are done.

    Args:
        outcome: Results.
        operation: What was computed.
        axes: Unit vector from head to tip of each screw, by its region.
        pull_out: Force that pulls it out (mN).
        grey: Mean value along it (HU).
        breach: By how much its thread stands out of the bone (mm).
    """
    judged = Judged()
    judged.notes.append(
        "Pull-out is that of a formula for the bone along the screw; the computed threads hold by "
        "friction and a cohesion that follows from it."
    )
    judged.add(screw_indices({}, {}, {}, grey=grey, breach=breach))
    for load in done(outcome, operation):
        prefix, (loaded, gone) = f"{load.name}_", steps_of(load)
        forces = {}
        for name in axes:
            contact = outcome.contacts[name.replace("_", " ")]
            forces[name] = force_on_screw(contact, loaded)
            moved = micromotion(
                contact.position, contact.area,
                (contact.steps[loaded]["slip"], contact.steps[loaded]["opening"]),
                (contact.steps[gone]["slip"], contact.steps[gone]["opening"]),
            )  # fmt: skip
            judged.add(micromotion_indices(moved, comm=ALONE, name=name), f"{prefix}{name}_")
        if any(f"{name}_head" in load.forces for name in axes):  # else nothing pulls at them
            judged.add(screw_indices(forces, axes, pull_out), prefix)
        add_bone(judged, outcome, operation, load, load.name, prefix)
        add_strength(judged, outcome, operation, load, (loaded, gone), prefix)
    return judged


def force_on_screw(contact: Contact, step: str) -> Array:
    """Force of the construct on a screw (mN): what its bone holds against, shape (3,)."""
    at = contact.steps[step]
    traction = at["pressure"][:, None] * contact.normal + at["shear"]
    return np.asarray((contact.area[:, None] * traction).sum(axis=0))
