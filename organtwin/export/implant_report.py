"""The report of an implant in a bone: verdict, indices and pictures in one HTML file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from organtwin.errors import InputError
from organtwin.export import implant_pictures
from organtwin.export.atomic import write_text
from organtwin.export.drawing import Draw, Progress, draw_pictures
from organtwin.export.implant_scene import OperatedView, read_operated, words
from organtwin.export.implant_words import WORDING
from organtwin.export.index_words import number, read_indices, table_of, verdict_in_words
from organtwin.export.page3d import Opening, scene_3d
from organtwin.export.pages import read_json, read_run, state_in_words, write_page
from organtwin.export.paraview_macro import script_for_paraview
from organtwin.export.plateau_pictures import (
    draw_callus,
    draw_faces,
    draw_pressure,
    draw_sinking,
)
from organtwin.index import Index
from organtwin.orthopaedics.operation import Load
from organtwin.orthopaedics.plateau_assessment import PLACES

type Job = Callable[[OperatedView, Path], object]

#: Endings of indices that stand on top, with their names; the worst of all loads is shown.
CARDS = {
    "hip_stem": {
        "micromotion_95": "Micromotion, 95 % of the area",
        "shielding_zone_7": "Energy lost, calcar",
        "bone_risk_999": "Bone: strain / yield", "_fatigue_safety": "Stem: fatigue safety",
    },
    "pedicle_screw": {
        "bone_risk_999": "Bone: strain / yield", "_density": "Density along a screw",
        "_pull_out": "Pull-out", "_yield_safety": "Screw: yield safety",
    },
    "tibial_plateau": {
        "interfragmentary_strain_50": "Strain of the gap, median",
        "fragments_movement_95": "Movement of the fracture's faces, 95 %",
        "step_off": "Step of the joint",
        "cartilage_lateral_pressure_99": "Cartilage: pressure, lateral",
        "plateau_lateral_subsidence": "Subsidence, lateral", "_fatigue_safety": "Fatigue safety",
    },
}  # fmt: skip
#: Captions of the callus' strain, and of the risk of bone.
CALLUS = (
    "Seen from the medial side: the callus around the depressed piece stands before that of the "
    "split. Above 10 % no bone forms, below 2 % it heals directly (Perren)."
)
RISK = (
    "Principal strains, averaged in a ball, over those at yield in tension and compression: 1 is "
    "yield."
)
#: Which verdicts are worse.
WORSE = {"above": 2, "below": 2, "within": 1, "none": 0}


def jobs_of(view: OperatedView) -> dict[str, tuple[str, str, Job]]:
    """Pictures of a result: file → title, caption, and what draws it."""
    operation, one = view.operation, implant_pictures
    last, several = operation.healing[-1], len(operation.healing) > 1
    made: dict[str, tuple[str, str, Job]] = {
        "implant.png": (
            "The implant in the bone",
            (
                "The bone is seen through. Neck and head of a stem are drawn and not meshed; the "
                "stress of the neck is that of a beam."
            ),
            one.draw_overview,
        ),
        "stiffness.png": (
            "Stiffness of the bone",
            "Young's modulus of the cells in a cut, brought to their vertices.",
            one.draw_stiffness,
        ),
    }
    if operation.kind == "hip_stem":
        made["canal.png"] = (
            "Fit in the canal",
            "Red: broached into the cortex. White and blue: spongy bone or marrow between.",
            one.draw_canal,
        )
        made["press_fit.png"] = (
            "Press fit",
            (
                "What the bone presses the stem with before any load. At edges it grows with finer "
                "meshes."
            ),
            one.draw_press_fit,
        )
        made["shielding.png"] = (
            "Stress shielding",
            (
                "Red: less strain energy than before the operation, bone may be lost. Blue: more. "
                "Numbers are Gruen's zones. The stress of the press fit is left out."
            ),
            one.draw_shielding,
        )
    for load in operation.loads:
        name = words(load)
        if operation.kind == "hip_stem":
            made[f"micromotion_{load.name}.png"] = (
                f"Micromotion, {name}",
                "Between the load and its letting go, on the stem.",
                _of(one.draw_micromotion, load),
            )
        if operation.kind == "tibial_plateau":
            made |= _plateau_jobs(view, load)
        for stage in operation.healing if several else (last,):
            told = f"{name}, {stage.name}" if several else name
            key = f"{load.name}_{stage.name.replace(' ', '_')}" if several else load.name
            made[f"stress_{key}.png"] = (
                f"Stress of the implant, {told}",
                "The larger of both ends of the cycle. At edges it grows with finer meshes.",
                _of(one.draw_stress, load, stage),
            )
            if stage is not last:
                continue
            made[f"risk_{key}.png"] = (
                f"Risk of yield, {told}",
                RISK,
                _of(one.draw_risk, load, stage),
            )
    return made


def _plateau_jobs(view: OperatedView, load: Load) -> dict[str, tuple[str, str, Job]]:
    """Pictures of a plateau under a load: its fracture, how it sinks, pressure of its cartilage."""
    name = words(load)
    made: dict[str, tuple[str, str, Job]] = {}
    if view.operation.seats:
        made[f"faces_{load.name}.png"] = (
            f"The fracture's faces, {name}",
            "How far they slide and open under the load. Grey faces belong to no fracture.",
            _of(draw_faces, load),
        )
    else:
        made[f"callus_{load.name}.png"] = (
            f"Strain of the callus, {name}",
            CALLUS,
            _of(draw_callus, load),
        )
    made[f"sinking_{load.name}.png"] = (
        f"The joint's surface, {name}",
        "How far it sinks, against where the shaft is held.",
        _of(draw_sinking, load),
    )
    if PLACES in view.maps:
        made[f"pressure_{load.name}.png"] = (
            f"Pressure of the cartilage, {name}",
            "By an elastic foundation, without menisci: to be compared, not read alone.",
            _of(draw_pressure, load),
        )
    return made


def _of(draw: Callable[..., object], *what: object) -> Job:
    """Draws a load, or a stage of it."""
    return lambda view, path: draw(view, *what, path)


def draw_implant(directory: str | Path, progress: Progress | None = None) -> list[Path]:
    """Draw every picture whose data a result directory holds.

    Args:
        directory: Result directory.
        progress: Called with the fraction done and the name of the next picture.

    Returns:
        The pictures in ``pictures/``. What could not be drawn is told, with the reason, in
        ``pictures/missing.json``; titles are in ``pictures/captions.json``.
    """
    folder = Path(directory)
    draws: dict[str, Draw] = {}
    told: dict[str, tuple[str, str]] = {}
    missing: dict[str, str] = {}
    try:
        view = read_operated(folder)
    except InputError as error:
        missing["pictures"] = str(error)
    else:
        for name, (title, caption, job) in jobs_of(view).items():
            draws[name], told[name] = partial(job, view), (title, caption)
    drawn = draw_pictures(folder, draws, progress, missing=missing)
    captions = {path.name: told[path.name] for path in drawn}
    text = json.dumps(captions, indent=1, ensure_ascii=False) + "\n"
    write_text(folder / "pictures" / "captions.json", text)
    return drawn


def write_implant_report(directory: str | Path) -> Path:
    """Write ``report.html`` from the files of a result directory.

    Args:
        directory: Result directory, finished or not.

    Returns:
        The report.

    Raises:
        InputError: there is no readable ``run.json``, or ``indices.json`` is damaged.
    """
    folder = Path(directory)
    run = read_run(folder)
    plan = read_json(folder / "stages" / "plan" / "plan.json")
    solved = read_json(folder / "stages" / "solve" / "solve.json")
    judged = read_json(folder / "stages" / "judge" / "judge.json")
    indices = read_indices(folder, WORDING)
    captions = read_json(folder / "pictures" / "captions.json")
    operation = plan.get("operation", {})
    name = str(operation.get("name") or "Implant")
    return write_page(
        folder,
        "implant_report.html",
        {name: (title, caption) for name, (title, caption) in captions.items()},
        verdict=verdict(run, solved, indices, name[0].upper() + name[1:]),
        cards=cards(indices, str(operation.get("kind", ""))),
        **table_of(indices, WORDING),
        notes=judged.get("decisions", []),
        solved=solved,
        operation=operation,
        fit={name: number(float(v)) for name, v in plan.get("assembly", {}).get("fit", {}).items()},
        steps=[_step(one) for one in solved.get("steps", [])],
        loads=[_load(one) for one in operation.get("loads", [])],
        scene=scene_3d(folder, opening(operation)),
        script=script_for_paraview(folder, opening(operation).moment) is not None,
    )


def opening(operation: Mapping[str, Any]) -> Opening:
    """The scene under the first load, cut open so that the implant is seen."""
    loads = operation.get("loads", [])
    stages = operation.get("healing", [])
    name = str(loads[0]["name"]).replace("_", " ") if loads else ""
    if len(stages) > 1:
        name += f", {stages[0]['name']}"
    if operation.get("kind") == "pedicle_screw":
        return Opening(name, "1,1", 0.3, "top", "Region")
    return Opening(name, "2,1", 0.5, "front", "Region")


def verdict(
    run: Mapping[str, Any], solved: Mapping[str, Any], indices: Sequence[Index], name: str
) -> str:
    """What became of it and what it means, in a sentence or two."""
    if solved and not solved.get("complete"):
        steps = ", ".join(str(one["name"]) for one in solved.get("steps", [])) or "none"
        return (
            f"{name}: not all loads were borne. Steps done: {steps}. What follows is what was "
            "found before."
        )
    return verdict_in_words(indices, name, WORDING) if indices else state_in_words(run)


def cards(indices: Sequence[Index], kind: str) -> list[dict[str, str]]:
    """The few numbers on top: of each the worst of all loads and parts."""
    made = []
    for ending, title in CARDS.get(kind, {}).items():
        found = [one for one in indices if one.name.endswith(ending)]
        if not found:
            continue
        worst = max(found, key=lambda one: (WORSE[one.verdict], _badness(one)))
        made.append({
            "name": title, "value": WORDING.shown(worst), "below": WORDING.limits(worst),
            "verdict": worst.verdict,
        })  # fmt: skip
    return made


def _badness(one: Index) -> float:
    """Larger is worse: large values under a limit, small ones over it."""
    return -one.value if one.threshold[0] is not None else one.value


def _step(found: Mapping[str, Any]) -> dict[str, Any]:
    """A load step as a row for each seat."""
    return {
        "name": found["name"], "newton": found["newton"], "increments": found["increments"],
        "seconds": found["seconds"],
        "seats": [
            {"name": name, "force": sum(x * x for x in one["force"]) ** 0.5 / 1e3, **{
                key: 100.0 * one[key] for key in ("sticking", "sliding", "open")
            }, "slip": 1e3 * one["slip"]}
            for name, one in found["seats"].items()
        ],
    }  # fmt: skip


def _load(found: Mapping[str, Any]) -> dict[str, Any]:
    """A load as a row: newtons at each place."""
    return {
        "name": found["name"].replace("_", " "), "phase": found["phase"],
        "forces": {
            place.replace("_", " "): sum(x * x for x in force) ** 0.5 / 1e3
            for place, force in found["forces"].items()
        },
        "sources": found["sources"],
    }  # fmt: skip
