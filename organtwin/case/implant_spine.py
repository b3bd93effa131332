"""Plan and verdict of pedicle screws, from the case file's sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from organtwin.bone.calibration import Calibration
from organtwin.case.implant_plan import (
    activities,
    calibration_of,
    fineness_of,
    read_bone_labels,
    with_material,
)
from organtwin.case.schema_implant import ImplantCase
from organtwin.image.volume import Image
from organtwin.implants.implant_files import load_implant
from organtwin.implants.screws import BoneScrew
from organtwin.orthopaedics.anatomical_frames import AnatomicalFrame
from organtwin.orthopaedics.assembly import Assembly
from organtwin.orthopaedics.assessment import Judged
from organtwin.orthopaedics.joint_loads import weight_of
from organtwin.orthopaedics.operation import Operation
from organtwin.orthopaedics.outcome import Outcome
from organtwin.orthopaedics.pedicle_screw import PedicleScrewOptions, pedicle_screw
from organtwin.orthopaedics.screw_assessment import judge_screws
from organtwin.orthopaedics.screw_plan import ThreadSeat, purchase_of, screw_operation

#: What the fit tells of each screw and the verdict takes up.
PULLS, GREY = "{}: pull-out N", "{}: density along it HU"
BREACH = "{}: breach of the wall mm"


def screws(
    case: ImplantCase, scan: Image | None
) -> tuple[Assembly, Operation, AnatomicalFrame, Sequence[str]]:
    """The plan of a vertebra with two screws.

    Raises:
        InputError: a label is missing, a screw leaves the bone or enters the canal.
        MeshError: no valid mesh came out.
    """
    section, bone = case.pedicle_screw, case.bone
    assert section is not None
    assert bone.label is not None
    labels = read_bone_labels(bone, (section.canal,))
    options = PedicleScrewOptions(
        vertebra=bone.label, canal=section.canal, family=section.family, size=section.size,
        length=section.length, turn=float(np.radians(section.turn)), outwards=bone.outwards,
        fineness=fineness_of(case),
    )  # fmt: skip
    made = pedicle_screw(labels, options, scan=scan, overrides=bone.landmarks)
    return planned_screws(case, with_material(made, section.material), calibration_of(bone, scan))


def planned_screws(
    case: ImplantCase, made: Assembly, line: Calibration
) -> tuple[Assembly, Operation, AnatomicalFrame, Sequence[str]]:
    """What is computed of screws that are placed."""
    section = case.pedicle_screw
    assert section is not None
    first = next(iter(made.implants))
    way = made.point(f"{first}_tip") - made.point(f"{first}_entry")
    length = round(float(np.linalg.norm(way)), 3)  # as its table has it
    screw = load_implant(section.family, section.size, length=length)
    assert isinstance(screw, BoneScrew)
    held = {name: purchase_of(made, name, screw, line) for name in made.implants}
    pulls = {PULLS.format(name): one.force / 1e3 for name, one in held.items()}
    known = {GREY.format(name): one.grey for name, one in held.items()}
    made = replace(made, fit={**made.fit, **pulls, **known})
    operation, frame, told = screw_operation(
        made, screw, held, weight_of(case.loads.mass), activities(case), 1e3 * section.pull,
        ThreadSeat(section.friction, section.cohesion),
    )  # fmt: skip
    return made, replace(operation, poisson=case.bone.poisson), frame, told


def judged_screws(outcome: Outcome, operation: Operation, record: Mapping[str, Any]) -> Judged:
    """Indices of the screws."""
    made = record["assembly"]
    axes, pull_out, grey, breach = {}, {}, {}, {}
    for name in operation.implants:
        way = np.subtract(made["points"][f"{name}_tip"], made["points"][f"{name}_entry"])
        axes[name] = way / np.linalg.norm(way)
        pull_out[name] = 1e3 * made["fit"][PULLS.format(name)]
        grey[name] = made["fit"][GREY.format(name)]
        breach[name] = made["fit"][BREACH.format(name)]
    return judge_screws(outcome, operation, axes, pull_out, grey, breach)
