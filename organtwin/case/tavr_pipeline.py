"""The stages of a valve's deployment, one after the other: measure, root, deploy, judge, report."""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree
from typing import Any

from mpi4py import MPI

from organtwin.case.manifest import Manifest, recording
from organtwin.case.progress import Progress
from organtwin.case.records import read_record, write_record
from organtwin.case.reporting import report
from organtwin.case.schema_tavr import TavrCase
from organtwin.case.stages import Stage, run_stage
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
from organtwin.errors import SolverError
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


def inputs(case: TavrCase, *, device: bool = True) -> list[Path]:
    """Files that a case reads; of a folder all that lie in it."""
    given = [case.scan.file, case.scan.labels, case.scan.landmarks]
    if device:
        given.append(device_path(case.device.name))
    places = [place for place in given if place is not None]
    return [
        file
        for place in places
        for file in (sorted(place.rglob("*")) if place.is_dir() else [place])
        if file.is_file()
    ]


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
    with recording(directory, case, inputs(case), comm) as manifest:
        run = _Run(case, directory, fresh, comm, manifest)
        run.go(only)
    return directory


class _Run:
    """One run of a case."""

    def __init__(
        self, case: TavrCase, directory: Path, fresh: bool, comm: MPI.Comm, manifest: Manifest
    ) -> None:
        self.case, self.directory, self.fresh = case, directory, fresh
        self.comm, self.manifest = comm, manifest
        self.known: dict[str, Stage] = {"measure": measure_stage(case)}

    def go(self, only: set[str] | None) -> None:
        """All stages up to the last one wanted."""
        order = ["measure", "root", "deploy", "judge", "report"]
        last = max((order.index(name) for name in only), default=0) if only is not None else 4
        self._do("measure", lambda folder, progress: measure(
            self.case.scan, self.case.title, folder, progress))  # fmt: skip
        choice = on_root(self.comm, self._choose)
        self.manifest.add_decisions(choice.told)
        self.known = tavr_stages(self.case, choice)
        if last >= 1:
            needed = height_needed(choice.device, self.case.deployment.depth)
            scan, root, measured = self.case.scan, self.case.root, self._folder("measure")
            self._do(
                "root", lambda folder, progress: mesh_root(scan, root, needed, measured, folder)
            )
        if last >= 2:
            self._deploy(choice)
        if last >= 3:
            self._do("judge", lambda folder, progress: self._judge(folder))
        if last >= 4:
            self._report("")

    def _choose(self) -> Choice:
        choice = choose(self.case.device, read_measures(self._folder("measure")))
        refuse_bursting(choice.device, self.case.deployment.filling)
        return choice

    def _deploy(self, choice: Choice) -> None:
        folder = self._folder("deploy")
        if self.fresh:
            on_root(self.comm, lambda: rmtree(folder / STATE, ignore_errors=True))

        def work(folder: Path, progress: Progress) -> None:
            on_root(self.comm, self._forget)
            deploy_valve(
                self.case, choice, self._folder("root"), self.directory, folder,
                self.known["deploy"].key, progress, self.comm,
            )  # fmt: skip

        try:
            self._do("deploy", work, everyone=True)
        except SolverError as error:
            if on_root(self.comm, lambda: (folder / "deploy.json").is_file()):
                self._note("deploy")
                self._report(f"{type(error).__name__}: {error}")
            raise
        on_root(self.comm, lambda: rmtree(folder / STATE, ignore_errors=True))

    def _forget(self) -> None:
        """Remove what another deployment left here, lest a failed one be told by it."""
        judge = self._folder("judge")
        for file in (
            self._folder("deploy") / "deploy.json", judge / "judge.json", judge / "stage.json",
            self.directory / "indices.json",
        ):  # fmt: skip
            file.unlink(missing_ok=True)

    def _judge(self, folder: Path) -> None:
        deployed = Deployed.load(self.directory / "deployed.npz")
        place = read_place(self._folder("root"))
        found = assess(deployed, place.record, haemodynamics_of(self.case))
        indices = [one.record() for one in found.indices]
        write_record(folder / "judge.json", {"decisions": list(found.notes), "indices": indices})
        write_record(self.directory / "indices.json", indices)

    def _do(self, name: str, work: Any, *, everyone: bool = False) -> None:
        account = run_stage(
            self.known[name], self.directory, work, comm=self.comm, fresh=self.fresh,
            ranks="all" if everyone else "one",
        )  # fmt: skip
        self.manifest.add_stage(account)
        self._note(name)

    def _note(self, name: str) -> None:
        """Take what a stage found over into ``run.json``."""
        file = {"measure": "measures.json"}.get(name, f"{name}.json")
        record = on_root(self.comm, lambda: read_record(self._folder(name) / file))
        self.manifest.add_decisions(record.get("decisions", []))
        self.manifest.add_results(_results(name, record))

    def _report(self, failure: str) -> None:
        """Pictures and page; of a deployment that failed with the reason."""

        def write() -> None:
            if failure:
                self.manifest.content.update(status="failed", error=failure)
                self.manifest.write()
            write_tavr_report(self.directory)

        blood = haemodynamics_of(self.case)
        report(
            self.manifest, self.comm,
            lambda progress: draw_tavr(self.directory, progress, haemodynamics=blood), write,
        )  # fmt: skip

    def _folder(self, name: str) -> Path:
        return self.known[name].folder(self.directory)


def haemodynamics_of(case: TavrCase) -> Haemodynamics:
    """The circulation that the case's valve is judged with."""
    section = case.haemodynamics
    return Haemodynamics(
        aortic=section.diastolic_pressure, ventricular=section.ventricular_pressure,
        heart_rate=section.heart_rate * 60e3, diastole=section.diastole,
        ejection=section.ejection, cardiac_output=section.cardiac_output,
        surface=section.body_surface, obese=section.obese,
    )  # fmt: skip


def _results(name: str, record: dict[str, Any]) -> dict[str, tuple[float, str]]:
    """Numbers of a stage for ``run.json``."""
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
