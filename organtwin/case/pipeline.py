"""The stages of a run, one after the other: image, mesh, cell, solve, report."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any

from mpi4py import MPI

from organtwin.case import build
from organtwin.case.activity import (
    solve_electrical,
)
from organtwin.case.electrical import SCHEME, further_models, membrane
from organtwin.case.heartbeats import solve_heart
from organtwin.case.manifest import Manifest, recording
from organtwin.case.presets import told as presets_in_words
from organtwin.case.progress import Progress
from organtwin.case.records import read_record, write_record
from organtwin.case.reporting import report
from organtwin.case.schema import Case
from organtwin.case.stages import Stage, run_stage
from organtwin.cells.accuracy import step_errors
from organtwin.cells.drugs import Dose, Drug
from organtwin.cells.kernel import Kernel, compile_kernel
from organtwin.cells.pacing import PacedCell, pace
from organtwin.electrophysiology.conductivity import (
    Conductivity,
    Tuned,
    monodomain_conductivity,
    tune,
)
from organtwin.electrophysiology.tissue import Model
from organtwin.export.pictures import draw_all
from organtwin.export.report import write_report
from organtwin.image.geometry import read_geometry, write_geometry
from organtwin.image.labels import biventricular
from organtwin.image.readers import read_labels
from organtwin.mesh.domain import read_domain
from organtwin.mesh.quality import MeshReport
from organtwin.mesh.tetrahedra import tetrahedralise
from organtwin.parallel import on_root

logger = logging.getLogger(__name__)

#: Models whose wave needs no conductivity.
WITHOUT_DIFFUSION = (Model.EIKONAL, Model.REACTION_EIKONAL)
#: Conductivity along and across the fibres (mS/mm), of Niederer et al. (2011).
MEASURED = monodomain_conductivity(0.17, 0.62), monodomain_conductivity(0.019, 0.24)
#: What pacing and tuning depend on.
_CELL_SETTINGS = {
    "model", "ionic_model", "pacing_beats", "refinements", "time_step", "substeps",
    "surface_to_volume", "membrane_capacitance", "conduction_velocity",
}  # fmt: skip
SOLVERS = tuple(
    f"organtwin.{name}"
    for name in (
        "anatomy", "solve", "materials", "cells", "electrophysiology", "mechanics",
        "circulation", "coupling", "run", "mesh.domain",
        "mesh.distributed_red", "mesh.msh_parts", "mesh.msh_text", "mesh.ordering",
        "mesh.refinement", "mesh.tagging", "case.build",
        "case.electrical",
        "case.filling", "case.heartbeats", "case.infarcts", "case.last_beat", "case.protocol",
        "export.fields",
    )
)  # fmt: skip


def stages(case: Case) -> dict[str, Stage]:
    """The stages of a case by name, each with what it depends on."""
    image = Stage(
        "image",
        settings=(case.image.labels, case.geometry),
        inputs=(case.image.file,),
        code=("organtwin.image",),
        outputs=("labels.nrrd", "geometry.json"),
    )
    mesh = Stage(
        "mesh",
        settings=(case.mesh,),
        upstream=(image,),
        code=("organtwin.mesh",),
        outputs=("mesh.msh", "mesh.json"),
    )
    ep = case.electrophysiology
    cell = Stage(
        "cell",
        settings=(ep.model_dump(include=_CELL_SETTINGS), case.circulation.heart_rate),
        upstream=(mesh,),
        code=("organtwin.cells", "organtwin.electrophysiology"),
        outputs=("cell.json", "conductivity.json"),
    )
    solve = Stage(
        "solve",
        settings=(case.fibres, ep, case.mechanics, case.circulation, case.run, case.protocol,
                  case.output.field_interval, case.output.formats),
        upstream=(cell,),
        code=SOLVERS,
        outputs=("solve.json", "../../scalars.csv", "../../fields/activation.pvd"),
    )  # fmt: skip
    return {stage.name: stage for stage in (image, mesh, cell, solve)}


def run_case(
    case: Case,
    *,
    out: Path | None = None,
    fresh: bool = False,
    only: set[str] | None = None,
    comm: MPI.Comm = MPI.COMM_WORLD,
) -> Path:
    """Do the stages of a case that are not done yet; collective.

    Args:
        case: What to do.
        out: Result directory, instead of the case's own.
        fresh: Do finished stages anew.
        only: Stages wanted of image, mesh, cell, solve, report; all if None. Those before them
            are done too.
        comm: Communicator.

    Returns:
        The result directory.

    Raises:
        OrgantwinError: what went wrong; what was computed is kept.
    """
    directory = out if out is not None else case.output.directory
    known = stages(case)
    work: dict[str, Callable[[Path, Progress], None]] = {
        "image": lambda folder, progress: _image(case, folder),
        "mesh": lambda folder, progress: _mesh(case, known, directory, folder),
        "cell": lambda folder, progress: _cell(case, known, directory, folder, progress),
        "solve": lambda folder, progress: _solve(case, known, directory, folder, progress, comm),
    }
    last = max(([*known].index(name) for name in only & set(known)), default=-1) if only else 3
    with recording(directory, case, [case.image.file], comm) as manifest:
        if fresh:
            kept = known["solve"].folder(directory) / "checkpoint"
            on_root(comm, lambda: rmtree(kept, ignore_errors=True))
        manifest.add_decisions(presets_in_words(case))
        for name in list(known)[: last + 1]:
            account = run_stage(
                known[name], directory, work[name], comm=comm, fresh=fresh,
                ranks="all" if name == "solve" else "one",
            )  # fmt: skip
            manifest.add_stage(account)
            on_root(comm, partial(_note, manifest, name, known[name].folder(directory)))
        if only is None or "report" in only:
            _report(directory, manifest, comm)
    return directory


def _image(case: Case, folder: Path) -> None:
    section = case.geometry
    labels = read_labels(case.image.file, case.image.labels)
    geometry = biventricular(
        labels,
        resolution=section.resolution,
        smoothing=section.smoothing,
        rv_wall_thickness=section.rv_wall_thickness,
    )
    write_geometry(geometry, folder)


def _mesh(case: Case, known: dict[str, Stage], directory: Path, folder: Path) -> None:
    geometry = read_geometry(known["image"].folder(directory))
    report = tetrahedralise(geometry, size=case.mesh.size, path=folder / "mesh.msh")
    report.to_json(folder / "mesh.json")


def _cell(
    case: Case, known: dict[str, Stage], directory: Path, folder: Path, progress: Progress
) -> None:
    """Pace the cell, and tune the conductivities to the size of the electrical mesh.

    Models without diffusion take velocities; only their ECG asks for conductivities, those of
    tissue on any mesh.
    """
    section = case.electrophysiology
    kernel = compile_kernel(build.cell_model(case), MPI.COMM_SELF, substeps=section.substeps)
    progress(0.05, "pacing")
    cell = pace(kernel, cycle_length=case.circulation.cycle_length, beats=section.pacing_beats)
    (folder / "cell.json").write_text(cell.to_json())
    domain = read_domain(known["mesh"].folder(directory) / "mesh.msh", MPI.COMM_SELF)
    h = build.mean_edge(domain) / 2**section.refinements
    wanted = section.conduction_velocity

    def tuned_to(velocity: tuple[float, float, float]) -> tuple[Tuned, Tuned, Tuned]:
        return tune(
            kernel, cell.states, cell.v, velocity, h,
            membrane=membrane(section), dt=section.time_step, scheme=SCHEME,
        )  # fmt: skip

    velocities = wanted.model_dump()
    if Model(section.model) in WITHOUT_DIFFUSION:
        along, across = MEASURED
        sigmas = (along, across, across, along)
        found = [Tuned(*pair) for pair in zip(sigmas, velocities.values(), strict=True)]
    else:
        progress(0.4, "tuning the conductivities")
        tissue = tuned_to((wanted.fibre, wanted.sheet, wanted.normal))
        progress(0.8, "tuning the endocardial layer")
        found = [*tissue, tuned_to((wanted.endocardial_layer,) * 3)[0]]
    record = {
        "mean_edge": h,
        "tuned": {name: asdict(one) for name, one in zip(velocities, found, strict=True)},
        "diffusion": Model(section.model) not in WITHOUT_DIFFUSION,
        "step": _step_in_words(kernel, section.time_step),
    }
    write_record(folder / "conductivity.json", record)


def _step_in_words(kernel: Kernel, dt: float) -> str:
    """What the time step does to the cell's action potential; warns if that is too much."""
    error = step_errors(kernel, (dt,))[0]
    name = kernel.model.name
    if not error.stable:
        told = f"`{name}` is unstable with steps of {dt:g} ms."
    else:
        told = (
            f"Steps of {dt:g} ms change the duration of the action potential of `{name}` by "
            f"{error.apd90:+.2g} ms ({100 * error.apd90_relative:+.2g} %) and its peak by "
            f"{error.peak:+.2g} mV."
        )
    if not error.accurate:
        logger.warning(
            "%s Shorten [electrophysiology] time_step, or raise its `substeps` (now %d).",
            told, kernel.substeps,
        )  # fmt: skip
    return told


def _further_steps(case: Case) -> list[str]:
    """What the time step does to the models that the cell stage has not looked at."""
    substeps = case.electrophysiology.substeps
    return [
        _step_in_words(compile_kernel(model, MPI.COMM_SELF, substeps=substeps), dt)
        for model, dt in further_models(case)
    ]


def _drug_in_words(case: Case) -> list[str]:
    given = case.electrophysiology.drug
    if given is None:
        return []
    factors = Dose(Drug.load(given.name), given.concentration).effect.factors
    left = ", ".join(f"{100 * factor:.0f} % of {name}" for name, factor in factors.items())
    return [
        f"{given.name} at {given.concentration:g} nmol/L leaves {left} in all cells that have it."
    ]


def _solve(
    case: Case,
    known: dict[str, Stage],
    directory: Path,
    folder: Path,
    progress: Progress,
    comm: MPI.Comm,
) -> None:
    """Fill the heart, let it beat, and write what it does."""
    progress(0.0, "assembling")
    cell = PacedCell.from_json((known["cell"].folder(directory) / "cell.json").read_text())
    tuned = read_record(known["cell"].folder(directory) / "conductivity.json")["tuned"]
    sigma = Conductivity(**{name: found["sigma"] for name, found in tuned.items()})
    domain = read_domain(known["mesh"].folder(directory) / "mesh.msh", comm)
    told = [*on_root(comm, lambda: _further_steps(case)), *_drug_in_words(case)]
    if case.run.physics == "electrophysiology":
        electric = build.assemble_electrical(case, domain, cell, sigma)
        solve_electrical(case, electric, directory, folder, known["solve"].key, progress, told)
        return
    solve_heart(case, domain, cell, sigma, directory, folder, known["solve"].key, progress, told)


def _note(manifest: Manifest, name: str, folder: Path) -> None:
    """Take what a stage found over into ``run.json``."""
    if name == "image":
        geometry = read_geometry(folder)
        manifest.add_decisions(geometry.decisions)
        manifest.add_results(
            {
                f"{side}_volume_share": (
                    geometry.volumes_ml[f"{side}_blood"] / geometry.labelled_ml[f"{side}_blood"],
                    "1",
                )
                for side in ("lv", "rv")
            }
        )
    elif name == "mesh":
        report = MeshReport.from_json(folder / "mesh.json")
        quality = report.quality
        manifest.add_decisions(report.decisions)
        manifest.add_results(
            {
                "mesh_cells": (quality.cells, "1"),
                "mesh_min_dihedral_angle": (quality.min_dihedral, "degree"),
            }
        )
    elif name == "cell":
        cell = PacedCell.from_json((folder / "cell.json").read_text())
        record = read_record(folder / "conductivity.json")
        manifest.add_results({"cell_apd90": (cell.apd90, "ms")})
        manifest.add_decisions([_tuning_in_words(record), record["step"]])
    elif name == "solve":
        record = read_record(folder / "solve.json")
        manifest.add_results(
            {key: (value, unit) for key, (value, unit) in record["results"].items()}
        )
        manifest.add_solver(record["solver"])
        manifest.add_decisions(record["decisions"])
    _add_cost(manifest)


def _add_cost(manifest: Manifest) -> None:
    """Sum of the stages' times and the largest of their memories, as results."""
    accounts = manifest.content["stages"].values()
    manifest.add_results(
        {
            "wall_time": (sum(a["wall_time_s"] for a in accounts), "s"),
            "peak_memory": (max(a["peak_memory_mib"] for a in accounts), "MiB"),
        }
    )


def _tuning_in_words(record: dict[str, Any]) -> str:
    found = ", ".join(
        f"{name.replace('_', ' ')} {tuned['velocity']:.2f} m/s with {tuned['sigma']:.3f} mS/mm"
        for name, tuned in record["tuned"].items()
    )
    if not record["diffusion"]:
        return (
            "The wave has the velocities asked for; the ECG takes conductivities of tissue "
            f"(Niederer et al. 2011): {found}."
        )
    return (
        "Conductivities are tuned so that plane waves have the conduction velocities asked for on "
        f"cells of the electrical mesh's size ({record['mean_edge']:.2f} mm): {found}."
    )


def _report(directory: Path, manifest: Manifest, comm: MPI.Comm) -> None:
    def write() -> None:
        _add_cost(manifest)
        write_report(directory)

    report(manifest, comm, lambda progress: draw_all(directory, progress), write)
