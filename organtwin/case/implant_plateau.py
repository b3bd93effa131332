"""Plan and verdict of a fractured tibial plateau, from the case file's sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from organtwin.case.implant_files import OPERATED, read_table
from organtwin.case.implant_plan import activities, fineness_of, read_bone_labels
from organtwin.case.schema_implant import ImplantCase
from organtwin.errors import InputError
from organtwin.image.volume import Image, LabelMap
from organtwin.mesh.mesh_files import read_mesh
from organtwin.orthopaedics.anatomical_frames import AnatomicalFrame
from organtwin.orthopaedics.assembly import Assembly
from organtwin.orthopaedics.assessment import Judged
from organtwin.orthopaedics.cartilage_contact import Columns
from organtwin.orthopaedics.joint_columns import NEEDED
from organtwin.orthopaedics.joint_loads import weight_of
from organtwin.orthopaedics.operation import Operation
from organtwin.orthopaedics.outcome import Outcome
from organtwin.orthopaedics.plateau_assessment import judge_plateau
from organtwin.orthopaedics.plateau_options import TibialPlateauOptions
from organtwin.orthopaedics.plateau_plan import CARTILAGE, plateau_operation
from organtwin.orthopaedics.tibial_plateau import tibial_plateau


def plateau(
    case: ImplantCase, scan: Image | None
) -> tuple[Assembly, Operation, AnatomicalFrame, Sequence[str]]:
    """The plan of a fractured plateau.

    Raises:
        InputError: a scan is given, which this kind does not use yet; a label is missing; the plate
            does not fit; a fragment is held by nothing.
        MeshError: no valid mesh came out.
    """
    section, bone = case.tibial_plateau, case.bone
    assert section is not None
    if scan is not None:
        raise InputError(
            "[bone] scan", "a tibial plateau takes its density from a law.", "Leave `scan` out."
        )
    labels = _named_tibia(case)
    options = TibialPlateauOptions(
        fixation=section.fixation, fracture=section.fracture, aside=section.aside, gap=section.gap,
        depth=section.depth, step=section.step,
        graft=section.graft, plate=section.plate, plate_size=section.plate_size,
        plate_gap=section.plate_gap, plate_turn=float(np.radians(section.plate_turn)),
        raft=section.raft, cartilage=section.cartilage, fineness=fineness_of(case),
    )  # fmt: skip
    made = tibial_plateau(labels, options, overrides=bone.landmarks)
    operation, frame, told = planned_plateau(case, made)
    return made, operation, frame, told


def planned_plateau(
    case: ImplantCase, made: Assembly
) -> tuple[Operation, AnatomicalFrame, Sequence[str]]:
    """What is computed of a plateau that is reduced and held."""
    section = case.tibial_plateau
    assert section is not None
    operation, frame, told = plateau_operation(
        made, weight_of(case.loads.mass), activities(case), section.bearing, section.weeks,
        section.callus, section.graft_modulus, bench=section.bench, friction=section.friction,
    )  # fmt: skip
    return replace(operation, poisson=case.bone.poisson), frame, told


def judged_plateau(
    outcome: Outcome, operation: Operation, record: Mapping[str, Any], planned: Path
) -> Judged:
    """Indices of the plateau."""
    mesh = read_mesh(planned / OPERATED)
    facets = {n: mesh.facets[mesh.facet_tags == tag] for n, tag in mesh.facet_names.items()}
    up = np.array(record["anatomy"]["axes"][2])
    step = -float(record["assembly"]["fit"]["step of the piece mm"])
    table = read_table(planned, CARTILAGE)
    columns = None if table is None else Columns.of_table(table)
    return judge_plateau(outcome, operation, facets, up, step=step, columns=columns)


def _named_tibia(case: ImplantCase) -> LabelMap:
    """Labels with the bone as ``tibia``, and ``fibula`` where the file names it."""
    names = case.bone.names or {}
    others = ("fibula",) if "fibula" in names or case.bone.names is None else ()
    section = case.tibial_plateau
    if section is not None and section.cartilage:
        missing = [name for name in NEEDED if case.bone.names is not None and name not in names]
        if missing:
            raise InputError(
                "[tibial_plateau] cartilage", f"[bone] names has no `{missing[0]}`.",
                f"Name {', '.join(NEEDED)} there, or set cartilage = false.",
            )  # fmt: skip
        others = (*others, *NEEDED)
    found = read_bone_labels(case.bone, others)
    label = case.bone.label
    assert label is not None
    return replace(found, names={**found.names, "tibia": found.names[label]})
