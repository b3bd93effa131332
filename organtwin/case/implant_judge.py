"""The stage that judges an operated bone: indices, and maps for pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from organtwin.case.implant_files import operation_of, read_plan, read_table
from organtwin.case.implant_plateau import judged_plateau
from organtwin.case.implant_solve import RESULT
from organtwin.case.implant_spine import judged_screws
from organtwin.case.progress import Progress
from organtwin.case.records import write_record
from organtwin.case.schema_implant import ImplantCase
from organtwin.index import require_groups
from organtwin.orthopaedics.assessment import Judged
from organtwin.orthopaedics.hip_assessment import canal_fill_index, judge_hip
from organtwin.orthopaedics.hip_centre import centre_indices
from organtwin.orthopaedics.hip_stem import CANAL_GAP
from organtwin.orthopaedics.index_groups import GROUPS
from organtwin.orthopaedics.neck_indices import NECK, NeckSections
from organtwin.orthopaedics.operation import Operation
from organtwin.orthopaedics.outcome import Outcome
from organtwin.surgery.placement import Frame

MAPS = "maps.npz"
#: Files of the stage `judge`.
JUDGED = ("judge.json", "../../indices.json", MAPS)


def judge(
    case: ImplantCase, planned: Path, directory: Path, folder: Path, progress: Progress
) -> None:
    """Compute what a planner asks from ``result.npz``, and write `JUDGED`."""
    progress(0.0, "indices")
    outcome = Outcome.load(directory / RESULT)
    record = read_plan(planned)
    found = _JUDGES[case.kind](case, outcome, operation_of(record), record, planned)
    require_groups(found.indices, GROUPS)
    indices = [one.record() for one in found.indices]
    maps: dict[str, Any] = {name: np.asarray(v, np.float32) for name, v in found.maps.items()}
    np.savez_compressed(folder / MAPS, **maps)
    write_record(folder / "judge.json", {"decisions": found.notes, "indices": indices})
    write_record(directory / "indices.json", indices)


def frame_of(record: Mapping[str, Any], name: str) -> Frame:
    """A frame of the assembly."""
    found = record["assembly"]["frames"][name]
    return Frame(np.array(found["origin"]), np.array(found["axes"]))


def stem_levels(record: Mapping[str, Any]) -> tuple[Frame, float, float]:
    """Frame of the stem, and the heights of the neck's cut and of the tip in it (mm)."""
    stem = frame_of(record, "stem")
    cut, tip = frame_of(record, "resection").origin, record["assembly"]["points"]["stem_tip"]
    up = stem.axes[2]
    return stem, float((cut - stem.origin) @ up), float((np.array(tip) - stem.origin) @ up)


def _hip(
    case: ImplantCase, outcome: Outcome, operation: Operation, record: Mapping[str, Any],
    planned: Path,
) -> Judged:  # fmt: skip
    stem, top, tip = stem_levels(record)
    table = read_table(planned, NECK)
    assert table is not None
    head = stem.axes @ (np.array(record["assembly"]["points"]["head_centre"]) - stem.origin)
    neck = NeckSections.of_table(table), head
    judged = judge_hip(outcome, operation, stem, top, tip, neck)
    gaps = read_table(planned, CANAL_GAP)
    assert gaps is not None
    judged.maps[CANAL_GAP] = gaps
    fit = record["assembly"]["fit"]
    judged.add((centre_indices(fit["leg longer by mm"], fit["offset larger by mm"]), []))
    judged.add(([canal_fill_index(fit["canal fill from side to side, largest"])], []))
    return judged


def _screws(
    case: ImplantCase,
    outcome: Outcome,
    operation: Operation,
    record: Mapping[str, Any],
    planned: Path,
) -> Judged:
    return judged_screws(outcome, operation, record)


def _plateau(
    case: ImplantCase,
    outcome: Outcome,
    operation: Operation,
    record: Mapping[str, Any],
    planned: Path,
) -> Judged:
    return judged_plateau(outcome, operation, record, planned)


_JUDGES: dict[str, Callable[..., Judged]] = {
    "hip_stem": _hip, "pedicle_screw": _screws, "tibial_plateau": _plateau,
}  # fmt: skip
