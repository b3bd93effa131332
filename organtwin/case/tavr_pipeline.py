"""The stages of a valve's deployment, one after the other: measure, root, deploy, judge, report."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from mpi4py import MPI

from organtwin.case.manifest import recording
from organtwin.case.operation_run import OperationRun
from organtwin.case.records import read_record, write_record
from organtwin.case.schema_tavr import TavrCase
from organtwin.case.stages import Stage, files_in
from organtwin.case.tavr_deploy import DEPLOYED, STATE, deploy_valve
from organtwin.case.tavr_root import (
    MEASURED,
    MESHED,
    Choice,
    choose,
    device_path,
    height_needed,
    measure,
    mesh_root,
    read_measures,
    read_place,
    refuse_bursting,
)
from organtwin.devices.device_files import CATALOGUE
from organtwin.export.tavr_report import draw_tavr, write_tavr_report
from organtwin.parallel import on_root
from organtwin.tavr.deployed import Deployed
from organtwin.tavr.haemodynamics import Haemodynamics
from organtwin.tavr.indices import assess
from organtwin.tavr.rehearsal import SYSTOLE

#: What the deployment's code is.
SOLVERS = tuple(
    f"organtwin.{name}"
    for name in (
        "devices", "materials", "mechanics", "solve", "mesh.domain",
        "mesh.msh_parts", "mesh.msh_text", "mesh.ordering", "mesh.tagging", "case.tavr_deploy",
        "export.fields", "export.frame_series", "tavr.collecting", "tavr.deployed", "tavr.fatigue",
        "tavr.rehearsal", "tavr.root_axis", "tavr.root_directions", "tavr.root_laws",
        "tavr.root_tissue",
    )
)  # fmt: skip
ORDER = ("measure", "root", "deploy", "judge", "report")


def measure_stage(case: TavrCase) -> Stage:
    """The first stage, which depends on the scan alone."""
    return Stage(
        "measure",
        settings=(case.scan, case.title),
        inputs=(*inputs(case, device=False), *sorted(CATALOGUE.glob("*.toml"))),
        code=("organtwin.image", "organtwin.segment", "organtwin.landmarks",
              "organtwin.aortic_root", "organtwin.case.tavr_root", "organtwin.export.root_sheet"),
        outputs=MEASURED,
    )  # fmt: skip


def tavr_stages(case: TavrCase, choice: Choice) -> dict[str, Stage]:
    """The stages of a case by name, each with what it depends on."""
    first = measure_stage(case)
    needed = round(height_needed(choice.device, case.deployment.depth), 3)
    root = Stage(
        "root",
        settings=(case.root, needed if case.root.above is None else None),
        upstream=(first,),
        code=("organtwin.mesh", "organtwin.aortic_root", "organtwin.case.tavr_root"),
        outputs=MESHED,
    )
    deploy = Stage(
        "deploy",
        settings=(
            case.tissue,
            case.deployment,
            choice.size,
            case.haemodynamics.model_dump(
                include={
                    "diastolic_pressure",
                    "ventricular_pressure",
                    "systole",
                    "systolic_pressure",
                }
            ),
        ),
        inputs=(device_path(choice.file),),
        upstream=(root,),
        code=SOLVERS,
        outputs=DEPLOYED,
    )
    judge = Stage(
        "judge",
        settings=(case.haemodynamics,),
        upstream=(deploy,),
        code=("organtwin.tavr",),
        outputs=("judge.json", "../../indices.json"),
    )
    return {stage.name: stage for stage in (first, root, deploy, judge)}


def inputs(case: TavrCase, *, device: bool = True) -> tuple[Path, ...]:
    """Files that a case reads; of a folder all that lie in it."""
    given = [case.scan.file, case.scan.labels, case.scan.landmarks]
    if device:
        given.append(device_path(case.device.name))
    return files_in(given)


def run_tavr(
    case: TavrCase,
    *,
    out: Path | None = None,
    fresh: bool = False,
    only: set[str] | None = None,
    comm: MPI.Comm = MPI.COMM_WORLD,
) -> Path:
    """Do the stages of a valve's deployment that are not done yet; collective.

    A deployment that was stopped goes on where it was. One that fails keeps its last good state,
    and is reported.

    Args:
        case: What to do.
        out: Result directory, instead of the case's own.
        fresh: Do finished stages anew.
        only: Stages wanted of measure, root, deploy, judge, report; all if None. Those before
            them are done too.
        comm: Communicator.

    Returns:
        The result directory.

    Raises:
        OrgantwinError: what went wrong; what was computed is kept.
    """
    directory = out if out is not None else case.output.directory
    wanted = ORDER if only is None else only
    last = max((ORDER.index(name) for name in wanted), default=0)
    blood = haemodynamics_of(case)
    with recording(directory, case, inputs(case), comm) as manifest:
        run = OperationRun(
            directory, manifest, fresh=fresh, findings=_findings,
            draw=partial(draw_tavr, haemodynamics=blood), write=write_tavr_report, comm=comm,
        )  # fmt: skip
        first = measure_stage(case)
        measured = run.folder(first)
        run.do(first, lambda folder, progress: measure(case.scan, case.title, folder, progress))
        choice = on_root(comm, lambda: _chosen(case, measured))
        manifest.add_decisions(choice.told)
        known = tavr_stages(case, choice)
        if last >= ORDER.index("root"):
            needed = height_needed(choice.device, case.deployment.depth)
            run.do(
                known["root"],
                lambda folder, _: mesh_root(case.scan, case.root, needed, measured, folder),
            )
        place = run.folder(known["root"])
        if last >= ORDER.index("deploy"):
            key = known["deploy"].key
            run.solve(
                known["deploy"],
                lambda folder, progress: deploy_valve(
                    case, choice, place, directory, folder, key, progress, comm
                ),
                state=STATE, judged=known["judge"],
            )  # fmt: skip
        if last >= ORDER.index("judge"):
            run.do(known["judge"], lambda folder, _: _judge(directory, place, blood, folder))
        if last >= ORDER.index("report"):
            run.report()
    return directory


def _chosen(case: TavrCase, measured: Path) -> Choice:
    choice = choose(case.device, read_measures(measured))
    refuse_bursting(choice.device, case.deployment.filling)
    return choice


def _judge(directory: Path, place: Path, blood: Haemodynamics, folder: Path) -> None:
    """Indices of the deployed valve, for the stage and for people."""
    deployed = Deployed.load(directory / "deployed.npz")
    found = assess(deployed, read_place(place).record, blood)
    indices = [one.record() for one in found.indices]
    write_record(folder / "judge.json", {"decisions": list(found.notes), "indices": indices})
    write_record(directory / "indices.json", indices)


def haemodynamics_of(case: TavrCase) -> Haemodynamics:
    """The circulation that the case's valve is judged with."""
    section = case.haemodynamics
    return Haemodynamics(
        aortic=section.diastolic_pressure, ventricular=section.ventricular_pressure,
        heart_rate=section.heart_rate * 60e3, diastole=section.diastole,
        ejection=section.ejection, cardiac_output=section.cardiac_output,
        surface=section.body_surface, obese=section.obese,
    )  # fmt: skip


def _findings(name: str, folder: Path) -> tuple[list[str], dict[str, tuple[float, str]]]:
    """Decisions and numbers of a stage for ``run.json``."""
    file = "measures.json" if name == "measure" else f"{name}.json"
    record = read_record(folder / file)
    return record.get("decisions", []), _results(name, record)


def _results(name: str, record: dict[str, Any]) -> dict[str, tuple[float, str]]:
    if name == "measure":
        wanted = ("annulus_area", "annulus_perimeter", "coronary_height_right",
                  "coronary_height_left")  # fmt: skip
        found = record["measures"]
        return {key: (found[key]["value"], found[key]["unit"]) for key in wanted if key in found}
    if name == "root":
        quality = record["quality"]
        return {
            "mesh_cells": (quality["cells"], "1"),
            "mesh_min_dihedral_angle": (quality["min_dihedral"], "degree"),
        }
    if name == "deploy":
        last = [one for one in record["states"] if not one["name"].startswith(SYSTOLE)][-1]
        low, high = last["diameters_mm"]
        return {
            "frame_smallest_diameter": (low, "mm"),
            "frame_largest_diameter": (high, "mm"),
            "frame_height": (last["height_mm"], "mm"),
            "pressing": (last["pressing_N"], "N"),
        }
    return {f"index_{one['name']}": (one["value"], one["unit"]) for one in record["indices"]}
