"""The stages of an implant's case, one after the other: plan, solve, judge, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mpi4py import MPI

from organtwin.case.implant_files import PLANNED
from organtwin.case.implant_judge import JUDGED, judge
from organtwin.case.implant_plan import activities, fineness_of, plan
from organtwin.case.implant_solve import SOLVED, STATE, solve
from organtwin.case.manifest import recording
from organtwin.case.operation_run import OperationRun
from organtwin.case.records import read_record
from organtwin.case.schema_implant import ImplantCase
from organtwin.case.stages import Stage, files_in
from organtwin.export.implant_report import draw_implant, write_implant_report
from organtwin.implants.tables import CATALOGUE

#: Code that decides what is planned, and what is solved.
PLANNERS = tuple(
    f"organtwin.{name}"
    for name in (
        "bone", "image", "implants", "landmarks", "mesh", "surgery",
        *(f"orthopaedics.{part}" for part in (
            "anatomical_frames", "assembly", "bone_model", "cartilage_contact", "hip_loads",
            "hip_plan", "hip_site", "hip_stem", "holding", "joint_columns", "joint_loads",
            "knee_loads", "neck_indices", "operation", "pedicle_screw",
            "plateau_fixation", "plateau_fracture", "plateau_options", "plateau_plan",
            "screw_indices", "screw_plan", "spine_loads", "tibial_plateau",
        )),
        "case.implant_files", "case.implant_plan", "case.implant_plateau", "case.implant_spine",
    )
)  # fmt: skip
SOLVERS = tuple(
    f"organtwin.{name}"
    for name in (
        "bone", "materials", "mechanics", "solve", "mesh.domain",
        "mesh.msh_parts", "mesh.msh_text", "mesh.ordering", "mesh.tagging", "orthopaedics.model",
        "orthopaedics.outcome", "orthopaedics.spread_loads", "case.implant_solve", "export.fields",
    )
)  # fmt: skip
ORDER = ("plan", "solve", "judge", "report")


def implant_stages(case: ImplantCase) -> dict[str, Stage]:
    """The stages of a case by name, each with what it depends on."""
    first = Stage(
        "plan",
        settings=(
            case.bone,
            getattr(case, case.kind),
            case.loads.mass,
            case.loads.muscles,
            list(activities(case)),
            list(vars(fineness_of(case)).values()),
        ),
        inputs=(*inputs(case), *sorted(CATALOGUE.glob("*.toml"))),
        code=PLANNERS,
        outputs=PLANNED,
    )
    solved = Stage(
        "solve", settings=(case.loads.increments, case.output.fields), upstream=(first,),
        code=SOLVERS, outputs=SOLVED,
    )  # fmt: skip
    judged = Stage(
        "judge",
        upstream=(solved,),
        code=("organtwin.orthopaedics", "organtwin.case.implant_judge"),
        outputs=JUDGED,
    )
    return {stage.name: stage for stage in (first, solved, judged)}


def inputs(case: ImplantCase) -> tuple[Path, ...]:
    """Files that a case reads; of a folder all that lie in it."""
    bone = case.bone
    given = [bone.scan, bone.labels, bone.surface, bone.landmarks]
    if case.hip_stem is not None:
        given.append(case.hip_stem.template)
    given += [Path(name) for name in implant_files(case)]
    return files_in(given)


def implant_files(case: ImplantCase) -> list[str]:
    """Implants that it names: of the catalogue, or files."""
    section = getattr(case, case.kind)
    return [getattr(section, key) for key in ("family", "plate") if hasattr(section, key)]


def run_implant(
    case: ImplantCase,
    *,
    out: Path | None = None,
    fresh: bool = False,
    only: set[str] | None = None,
    comm: MPI.Comm = MPI.COMM_WORLD,
) -> Path:
    """Do the stages of an implant's case that are not done yet; collective.

    A solve that was stopped goes on after its last step, on any number of ranks. One that fails
    keeps what was found before, and is reported.

    Args:
        case: What to do.
        out: Result directory, instead of the case's own.
        fresh: Do finished stages anew.
        only: Stages wanted of plan, solve, judge, report; all if None. Those before them are done
            too.
        comm: Communicator.

    Returns:
        The result directory.

    Raises:
        OrgantwinError: what went wrong; what was computed is kept.
    """
    directory = out if out is not None else case.output.directory
    wanted = ORDER if only is None else only
    last = max((ORDER.index(name) for name in wanted), default=0)
    known = implant_stages(case)
    with recording(directory, case, inputs(case), comm) as manifest:
        run = OperationRun(
            directory, manifest, fresh=fresh, findings=_findings,
            draw=draw_implant, write=write_implant_report, comm=comm,
        )  # fmt: skip
        planned = run.folder(known["plan"])
        run.do(known["plan"], lambda folder, progress: plan(case, folder, progress))
        if last >= ORDER.index("solve"):
            key = known["solve"].key
            run.solve(
                known["solve"],
                lambda folder, progress: solve(
                    case, planned, directory, folder, key, progress, comm
                ),
                state=STATE, judged=known["judge"],
            )  # fmt: skip
        if last >= ORDER.index("judge"):
            run.do(
                known["judge"],
                lambda folder, progress: judge(case, planned, directory, folder, progress),
            )
        if last >= ORDER.index("report"):
            run.report()
    return directory


def _findings(name: str, folder: Path) -> tuple[list[str], dict[str, tuple[float, str]]]:
    """Decisions and numbers of a stage for ``run.json``."""
    record = read_record(folder / f"{name}.json")
    return record.get("decisions", []), _results(name, record)


def _results(name: str, record: dict[str, Any]) -> dict[str, tuple[float, str]]:
    if name == "plan":
        made = record["assembly"]
        return {
            "mesh_cells": (made["cells"], "1"),
            "mesh_min_dihedral_angle": (made["smallest dihedral angle degrees"], "degree"),
        }
    if name == "solve":
        return {f"unknowns_{key}": (value, "1") for key, value in record["unknowns"].items()}
    return {f"index_{one['name']}": (one["value"], one["unit"]) for one in record["indices"]}
