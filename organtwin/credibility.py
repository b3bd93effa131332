"""The credibility file of a result: what is known of whether it can be trusted, and what is not.

Its order is that of ASME V&V 40 (question of interest, context of use, model risk) and of the
eight categories of evidence of the FDA's guidance "Assessing the Credibility of Computational
Modeling and Simulation in Medical Device Submissions" (17 November 2023, docket FDA-2021-D-0980).
Nothing is written that the case file, this run or `organtwin verify` did not tell: where there is
nothing, it says "none".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from organtwin.export.atomic import write_text
from organtwin.verified import Verified, latest

NAME = "credibility.json"
NONE = "none"
STATEMENT = "Research software, no medical device: not for decisions about patients."
FRAMEWORK = (
    "ASME V&V 40-2018",
    "FDA guidance on credibility of computational modeling, 17 November 2023 (FDA-2021-D-0980)",
)
#: Name in case files → category; the first eight are those of the guidance, in its order.
CATEGORIES = {
    "code_verification": "Code verification",
    "calibration": "Model calibration",
    "bench_validation": "Bench test validation",
    "in_vivo_validation": "In vivo validation",
    "population_validation": "Population-based validation",
    "emergent_behavior": "Emergent model behavior",
    "plausibility": "Model plausibility",
    "calculation_verification": "Calculation verification and uncertainty quantification",
    "sensitivity": "Sensitivity",
    "applicability": "Applicability of the evidence to the context of use",
}
#: Results that tell whether what ought to be conserved was.
BALANCES = ("blood_volume_drift", "mass_balance", "cavity_volume_gap", "tissue_volume_change")

_WAVE = ("conduction_velocity", "anisotropic_velocity", "niederer_2011")
#: Electrical model → problems that verify it.
ELECTRICAL = {
    "monodomain": ("manufactured_monodomain", *_WAVE),
    "bidomain": ("manufactured_bidomain", *_WAVE),
    "eikonal": ("eikonal",),
    "reaction_eikonal": ("eikonal", "fidelities"),
    "reaction_eikonal_diffusion": ("eikonal", "fidelities"),
}
MUSCLE = (
    "manufactured_solid", "patch_test", "land_problem_1", "land_problem_2", "land_problem_3",
    "formulation_orders", "motion", "arostica_lv_passive", "arostica_lv_active", "arostica_lv",
    "arostica_biv", "cook_membrane", "sphere_inflation",
)  # fmt: skip
VALVE = (
    "beams", "beam_metals", "delivery", "ring_in_tube", "ring_in_tissue", "paravalvular_leak",
    "material_laws", "artery_inflation", "nitinol_loop", "plastic_tube",
)  # fmt: skip
BONE = ("density_mapping", "bone_surgery", "patch_test", "error_estimate")
IMPLANTS = {
    "hip_stem": ("press_fit_contact", "press_fit", "friction"),
    "pedicle_screw": ("pull_out_friction", "friction"),
    "tibial_plateau": ("four_point_bending", "opening_joint", "friction"),
}


def features(case: Mapping[str, Any], mpi_size: int = 1) -> dict[str, tuple[str, ...]]:
    """What a run used → the verification problems of it.

    Args:
        case: The resolved case, as ``run.json`` holds it.
        mpi_size: Ranks of the run.
    """
    found: dict[str, tuple[str, ...]] = {}
    if "electrophysiology" in case:
        found |= _of_a_heart(case)
    if "device" in case:
        found["transcatheter valve"] = VALVE
    if "bone" in case:
        found["mechanics of bone"] = BONE
        found |= {name.replace("_", " "): p for name, p in IMPLANTS.items() if name in case}
    if mpi_size > 1 and found:
        found[f"{mpi_size} MPI ranks"] = ("rank_invariance",)
    return found


def _of_a_heart(case: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    electrical, mechanics = case["electrophysiology"], case.get("mechanics", {})
    model = electrical.get("model", "monodomain")
    found = {
        "directions of fibres": ("fibre_frame",),
        f"ionic model {electrical.get('ionic_model', '')}".strip(): ("action_potential",),
        f"{model.replace('_', ' ')} model": ELECTRICAL.get(model, ()),
        "electrocardiogram": ("electrocardiogram",),
    }
    if case.get("run", {}).get("physics") == "electrophysiology":
        return found
    law = mechanics.get("passive", {}).get("law", "")
    found[f"passive law {law}".strip()] = ("material_laws",)
    found["mechanics of muscle"] = MUSCLE
    if mechanics.get("infarct"):
        found["infarcts"] = ("scar_reentry",)
    if float(str(mechanics.get("viscosity", "0")).split()[0]) > 0.0:
        found["viscosity of muscle"] = ("viscoelasticity",)
    if mechanics.get("reference_state", "image") != "image":
        found["unloaded state"] = ("unloaded_ventricle",)
    if case.get("circulation", {}).get("model") == "closed_loop":
        found["closed circulation"] = ("closed_loop",)
    return found


def assess(directory: Path) -> dict[str, Any]:
    """What is known of the credibility of a result, from the files of its directory.

    Args:
        directory: Result directory with ``run.json``.
    """
    run = _read(directory / "run.json")
    case = run.get("case", {})
    told = case.get("credibility", {})
    evidence = {name: _declared(told, name) for name in CATEGORIES}
    verification = _code_verification(case, int(run.get("mpi_size", 1)))
    evidence["code_verification"] = verification + evidence["code_verification"]
    evidence["calculation_verification"][:0] = _calculation(directory, run)
    evidence["calibration"][:0] = _files(directory, run, "calibration.json")
    calibrated = _read(directory / "calibration.json").get("sensitivity") is not None
    found = "calibration.json" if calibrated else "sensitivity.json"
    evidence["sensitivity"][:0] = [*_files(directory, run, found), *_of_a_sweep(directory)]
    return {
        "statement": STATEMENT,
        "framework": list(FRAMEWORK),
        "run": {
            "title": run.get("title"), "started": run.get("started"), "status": run.get("status"),
            "version": run.get("versions", {}).get("organtwin"),
            "inputs": sorted(run.get("inputs", {}).values()),
        },
        "question_of_interest": told.get("question_of_interest", NONE),
        "context_of_use": told.get("context_of_use", NONE),
        "model_risk": {
            "model_influence": told.get("model_influence", NONE),
            "decision_consequence": told.get("decision_consequence", NONE),
        },
        "evidence": {
            name: {"category": CATEGORIES[name], "found": found or NONE}
            for name, found in evidence.items()
        },
    }  # fmt: skip


def identity(run: Mapping[str, Any]) -> str:
    """Hash of the case of a run and of what it read: evidence of another one is none of this."""
    told = json.dumps([run.get("case", {}), run.get("inputs", {})], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def write_credibility(directory: Path) -> Path:
    """Write ``credibility.json`` of a result; on one rank.

    Args:
        directory: Result directory with ``run.json``.

    Returns:
        The file.
    """
    path = directory / NAME
    write_text(path, json.dumps(assess(directory), indent=2, ensure_ascii=False) + "\n")
    return path


def _declared(told: Mapping[str, Any], category: str) -> list[dict[str, Any]]:
    """What the case file names as evidence of a category, as it stands there."""
    return [
        {"from": "case file", **{key: one[key] for key in ("statement", "source") if key in one}}
        for one in told.get("evidence", ())
        if one["category"] == category
    ]


def _code_verification(case: Mapping[str, Any], mpi_size: int) -> list[dict[str, Any]]:
    """Latest values of the problems of each feature; also that they are none."""
    return [
        {"from": "organtwin verify", "feature": feature, "problem": name, **_values(latest(name))}
        for feature, problems in features(case, mpi_size).items()
        for name in problems
    ]


def _values(found: Verified | None) -> dict[str, Any]:
    if found is None:
        return {"verdict": "not run on this installation", "records": NONE}
    return {
        "verdict": "pass" if found.met else "miss",
        "date": found.date,
        "version": found.version,
        "same_sources": found.of_these_sources,
        "quick": found.quick,
        "records": list(found.records),
    }


def _calculation(directory: Path, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Balances and error estimates of this run, and a companion run of it."""
    results = run.get("results", {})
    found: list[dict[str, Any]] = [
        {"from": "this run", "quantity": name, **results[name]}
        for name in BALANCES
        if name in results
    ]
    beside = _read(directory / "companion.json")
    companions = beside.get("runs", []) if beside.get("of_run") == identity(run) else []
    return found + [{"from": "companion run", **one} for one in companions]


def _files(directory: Path, run: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A file that this run wrote, if it did; not one that an earlier case left there."""
    try:
        begun = datetime.fromisoformat(str(run.get("started"))).timestamp()
        own = (directory / name).stat().st_mtime >= begun - 1.0
    except (OSError, ValueError):
        return []
    return [{"from": "this run", "file": name}] if own else []


def _of_a_sweep(directory: Path) -> list[dict[str, Any]]:
    """Sensitivities around this result, if it is the member of a sweep that they were asked of."""
    if directory.parent.name != "members":
        return []
    of = _read(directory.parents[1] / "sensitivity.json").get("of")
    return [{"from": "sweep", "file": "sensitivity.json"}] if of == directory.name else []


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
