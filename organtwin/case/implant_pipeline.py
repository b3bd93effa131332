"""The stages of an implant's case, one after the other: plan, solve, judge, report."""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree
from typing import Any

from mpi4py import MPI

from organtwin.case.implant_files import PLANNED
from organtwin.case.implant_judge import JUDGED, judge
from organtwin.case.implant_plan import activities, fineness_of, plan
from organtwin.case.implant_solve import SOLVED, STATE, solve
from organtwin.case.manifest import Manifest, recording
from organtwin.case.progress import Progress
from organtwin.case.records import read_record
from organtwin.case.reporting import report
from organtwin.case.schema_implant import ImplantCase
from organtwin.case.stages import Stage, run_stage
from organtwin.errors import SolverError
from organtwin.export.implant_report import draw_implant, write_implant_report
from organtwin.implants.tables import CATALOGUE
from organtwin.parallel import on_root

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


def inputs(case: ImplantCase) -> list[Path]:
    """Files that a case reads; of a folder all that lie in it."""
    bone = case.bone
    given = [bone.scan, bone.labels, bone.surface, bone.landmarks]
    if case.hip_stem is not None:
        given.append(case.hip_stem.template)
    given += [Path(name) for name in implant_files(case) if Path(name).is_file()]
    return [
        file
        for place in given
        if place is not None
        for file in (sorted(place.rglob("*")) if place.is_dir() else [place])
        if file.is_file()
    ]


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

    A solve that was stopped goes on after its last step, on as many ranks. One that fails keeps
    what was found before, and is reported.

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
    with recording(directory, case, inputs(case), comm) as manifest:
        _Run(case, directory, fresh, comm, manifest).go(only)
    return directory


class _Run:
    """One run of a case."""

    def __init__(
        self, case: ImplantCase, directory: Path, fresh: bool, comm: MPI.Comm, manifest: Manifest
    ) -> None:
        self.case, self.directory, self.fresh = case, directory, fresh
        self.comm, self.manifest = comm, manifest
        self.stages = implant_stages(case)

    def go(self, only: set[str] | None) -> None:
        """All stages up to the last one wanted."""
        last = max((ORDER.index(name) for name in only), default=0) if only is not None else 3
        self._do("plan", lambda folder, progress: plan(self.case, folder, progress))
        if last >= 1:
            self._solve()
        if last >= 2:
            planned = self._folder("plan")
            self._do("judge", lambda folder, progress: judge(
                self.case, planned, self.directory, folder, progress))  # fmt: skip
        if last >= 3:
            self._report("")

    def _solve(self) -> None:
        folder, key = self._folder("solve"), self.stages["solve"].key
        if self.fresh:
            on_root(self.comm, lambda: rmtree(folder / STATE, ignore_errors=True))

        def work(folder: Path, progress: Progress) -> None:
            on_root(self.comm, self._forget)
            solve(self.case, self._folder("plan"), self.directory, folder, key, progress, self.comm)

        try:
            self._do("solve", work, everyone=True)
        except SolverError as error:
            if on_root(self.comm, lambda: (folder / "solve.json").is_file()):
                self._note("solve")
                self._report(f"{type(error).__name__}: {error}")
            raise
        on_root(self.comm, lambda: rmtree(folder / STATE, ignore_errors=True))

    def _forget(self) -> None:
        """Remove what another solve left here, lest a failed one be told by it."""
        judged = self._folder("judge")
        for file in (
            self._folder("solve") / "solve.json", judged / "judge.json", judged / "stage.json",
            self.directory / "indices.json",
        ):  # fmt: skip
            file.unlink(missing_ok=True)

    def _do(self, name: str, work: Any, *, everyone: bool = False) -> None:
        account = run_stage(
            self.stages[name], self.directory, work, comm=self.comm, fresh=self.fresh,
            ranks="all" if everyone else "one",
        )  # fmt: skip
        self.manifest.add_stage(account)
        self._note(name)

    def _note(self, name: str) -> None:
        """Take what a stage found over into ``run.json``."""
        record = on_root(self.comm, lambda: read_record(self._folder(name) / f"{name}.json"))
        self.manifest.add_decisions(record.get("decisions", []))
        self.manifest.add_results(_results(name, record))

    def _report(self, failure: str) -> None:
        """Pictures and page; of a solve that failed with the reason."""

        def write() -> None:
            if failure:
                self.manifest.content.update(status="failed", error=failure)
                self.manifest.write()
            write_implant_report(self.directory)

        report(
            self.manifest, self.comm, lambda progress: draw_implant(self.directory, progress), write
        )

    def _folder(self, name: str) -> Path:
        return self.stages[name].folder(self.directory)


def _results(name: str, record: dict[str, Any]) -> dict[str, tuple[float, str]]:
    """Numbers of a stage for ``run.json``."""
    if name == "plan":
        made = record["assembly"]
        return {
            "mesh_cells": (made["cells"], "1"),
            "mesh_min_dihedral_angle": (made["smallest dihedral angle degrees"], "degree"),
        }
    if name == "solve":
        return {f"unknowns_{key}": (value, "1") for key, value in record["unknowns"].items()}
    return {f"index_{one['name']}": (one["value"], one["unit"]) for one in record["indices"]}
