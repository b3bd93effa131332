"""The stage that loads the intact and the operated bone: on all ranks, step by step."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.bone.mapping import BoneReport
from organtwin.case.implant_files import (
    INTACT,
    OPERATED,
    calibration_line,
    empty_outcome,
    operation_of,
    read_plan,
    read_scan_part,
)
from organtwin.case.implant_plan import law_of
from organtwin.case.progress import Progress
from organtwin.case.records import write_record
from organtwin.case.schema_implant import ImplantCase
from organtwin.errors import InputError, SolverError
from organtwin.export.fields import FieldWriter
from organtwin.mechanics.derived import UNITS, cell_fields
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.load_steps import LoadStep, StepRecord, follow
from organtwin.mechanics.recovery import cell_strains, cell_stresses
from organtwin.mesh.domain import Domain, read_domain, region_field
from organtwin.orthopaedics.model import IntactBone, OperatedBone, tissue_of
from organtwin.orthopaedics.operation import Healing, Load, Operation, Triple
from organtwin.orthopaedics.outcome import Gathering, Outcome, add_contact, gathered_points
from organtwin.parallel import on_root
from organtwin.process import Places
from organtwin.run.checkpoint import Checkpoint, Kept, read_checkpoint, restore
from organtwin.solve.outcome import Step

type Array = NDArray[np.float64]
logger = logging.getLogger(__name__)

RESULT = "result.npz"
#: Files of the stage `solve`; folder of what a stopped one goes on from.
SOLVED = ("solve.json", f"../../{RESULT}")
STATE = "state"
#: What is done of an intact bone that no load acts on.
MAPPED = "intact bone"
#: Units of the fields that are written beside those of stress and strain.
FIELD_UNITS = {
    **UNITS, "displacement": "mm", "modulus": "kPa", "density": "mg/mm^3", "region": "1",
    "contact_pressure": "kPa", "contact_opening": "mm", "contact_slip": "mm",
}  # fmt: skip


def solve(
    case: ImplantCase, planned: Path, directory: Path, folder: Path, key: str, progress: Progress,
    comm: MPI.Comm,
) -> None:  # fmt: skip
    """Load the intact bone, then the operated one step by step; write `SOLVED`; collective.

    After each step the state and ``result.npz`` are written, so that the same case goes on from
    there in another process, also on another number of ranks.

    Args:
        case: The case.
        planned: Folder of the stage `plan`.
        directory: Result directory.
        folder: The stage's folder.
        key: Hash of what the stage is made from: a state of another one is not taken up.
        progress: Told the part that is done.
        comm: Communicator.

    Raises:
        SolverError: a step has no equilibrium; what was found before is written all the same.
    """
    progress(0.0, "stiffness of bone")
    under_way = _UnderWay(case, planned, directory, folder, key, progress, comm)
    under_way.take_up()
    try:
        under_way.intact()
        under_way.operated()
    except SolverError as error:
        under_way.finish(str(error))
        raise
    under_way.finish("")


class _UnderWay:
    """A solve and what it writes."""

    def __init__(
        self, case: ImplantCase, planned: Path, directory: Path, folder: Path, key: str,
        progress: Progress, comm: MPI.Comm,
    ) -> None:  # fmt: skip
        self.case, self.planned, self.directory, self.folder = case, planned, directory, folder
        self.key, self.progress, self.comm = key, progress, comm
        record = on_root(comm, lambda: read_plan(planned))
        self.operation: Operation = operation_of(record)
        self.line = calibration_line(record)
        self.law = law_of(case, self.line)
        self.scan = read_scan_part(planned) if comm.rank == 0 else None
        found = empty_outcome(planned) if comm.rank == 0 else None
        self.outcome: Outcome | None = found[0] if found else None
        self.intact_points = found[1] if found else None
        self.start, self.before = time.perf_counter(), 0.0
        self.records: list[dict[str, Any]] = []
        self.report: dict[str, BoneReport] = {}
        self.unknowns: dict[str, int] = {}
        self.guides: list[str] = []
        self.done: list[str] = []
        each = sum(1 for _ in self._names(self.operation.healing[0]))
        self.total = len(self.operation.loads) + each * len(self.operation.healing)

    # --- going on

    def take_up(self) -> None:
        """Go on from what was kept by the same case, or begin."""
        found = read_checkpoint(self.folder / STATE, self.comm)
        if found is None or found[1].get("key") != self.key:
            return
        _, note = found

        def read() -> str:
            """Take the results up to the state that is kept; why not, if not."""
            try:
                self.outcome = Outcome.load(self.directory / RESULT)
            except (InputError, OSError, ValueError) as error:
                return str(error)
            self.outcome.steps[:] = [s for s in self.outcome.steps if s in note["done"]]
            return ""

        missing = on_root(self.comm, read)
        if missing:
            logger.warning("solve: begins anew, its results can't be read: %s", missing)
            return
        self.done, self.records = list(note["done"]), list(note["records"])
        self._take(note["forces"])
        self.guides = list(note["guides"])
        self.before = float(note["seconds"])
        logger.info("solve: goes on after `%s`", self.done[-1] if self.done else "the plan")

    def _keep(self, bone: OperatedBone | None = None) -> None:
        """Write the results so far, and the state behind them."""

        def write() -> None:
            assert self.outcome is not None
            self.outcome.save(self.directory / RESULT)

        def note() -> dict[str, Any]:
            return {
                "key": self.key, "done": self.done, "records": self.records,
                "seconds": self._seconds(), "forces": self._forces(), "guides": self.guides,
            }  # fmt: skip

        on_root(self.comm, write)
        state = {} if bone is None else bone.problem.state
        places = Places({}, {}) if bone is None else bone.problem.places()
        kept = Checkpoint(self.comm, self.folder / STATE, Kept(state), 0.0, note, places)
        kept.observe(float(len(self.done)), Step(0.0, 0.0))

    def _restore(self, bone: OperatedBone) -> None:
        """The state after the last step that is done, on whatever number of ranks it was found."""
        kept = Kept({name: np.array(values) for name, values in bone.problem.state.items()})
        places = bone.problem.places()
        restore(self.folder / STATE, kept, self.comm, places)
        bone.problem.restore(kept.state)

    def _forces(self) -> dict[str, dict[str, Triple]]:
        return {load.name: dict(load.forces) for load in self.operation.loads}

    def _take(self, forces: Mapping[str, Mapping[str, Triple]]) -> None:
        """Let other forces act: those of a load that is kept in its way."""
        loads = []
        for load in self.operation.loads:
            own = forces.get(load.name, load.forces)
            loads.append(replace(load, forces={k: _three(force) for k, force in own.items()}))
        self.operation = replace(self.operation, loads=tuple(loads))

    def _guided(self, bone: IntactBone, load: Load) -> Load:
        """The load with what guides it, for both bones; told in the record."""
        found = bone.guide(load)
        for place, force in found.forces.items():
            across = np.linalg.norm(np.subtract(force, load.forces[place]))
            if across > 0.0:
                self.guides.append(
                    f"{load.name}: {across / 1e3:.0f} N across its way guide the {place}."
                )
        self._take({load.name: found.forces})
        return found

    def _seconds(self) -> float:
        return self.before + time.perf_counter() - self.start

    def _tell(self, words: str) -> None:
        self.progress(min(len(self.done) / self.total, 1.0), words)

    # --- the intact bone

    def intact(self) -> None:
        """Density and modulus of the intact bone, and its fields under each load that it takes."""
        loads = [load for load in self.operation.loads if load.intact]
        if (f"intact {loads[-1].name}" if loads else MAPPED) in self.done:
            return
        domain = read_domain(self.planned / INTACT, self.comm)
        tissue = tissue_of(domain, self.operation, self.scan, self.line, self.law, intact=True)
        self.report["intact"] = tissue.bone.report
        to_root = self._gathering(domain, self.intact_points)
        density = to_root.of_cells(_cellwise(tissue.density))
        modulus = to_root.of_cells(_cellwise(tissue.modulus))
        if self.outcome is not None and density is not None and modulus is not None:
            self.outcome.tissue.update(density=density, modulus=modulus)
        if not loads:
            self.done.append(MAPPED)
            return
        bone = IntactBone(domain, self.operation, tissue)
        self.unknowns["intact"] = _unknowns(bone.problem.V)
        writer = self._writer("intact", domain)
        for number, load in enumerate(loads):
            self._tell(f"intact bone, {load.name}")
            bone.solve(self._guided(bone, load))
            fields = cell_fields(bone.problem)
            found = _state_of_cells(bone.problem, fields, to_root)
            if self.outcome is not None:
                self.outcome.intact[load.name] = found
            if writer is not None:
                writer.write(float(number), {
                    "displacement": bone.problem.u, **fields, "modulus": tissue.modulus,
                    "density": tissue.density, "region": region_field(domain),
                })  # fmt: skip
            self.done.append(f"intact {load.name}")
        bone.problem.release()
        self._keep()

    # --- the operated bone

    def operated(self) -> None:
        """Each stage of healing from its start, step by step."""
        domain = read_domain(self.planned / OPERATED, self.comm)
        tissue = tissue_of(domain, self.operation, self.scan, self.line, self.law)
        self.report["operated"] = tissue.bone.report
        bone = OperatedBone(domain, self.operation, tissue)
        self.unknowns["operated"] = _unknowns(bone.problem.V)
        points = None if self.outcome is None else self.outcome.moved_points
        to_root = self._gathering(domain, points)
        writer = self._writer("operated", domain)
        time_ = float(sum(not name.startswith("intact ") for name in self.done))
        for stage in self.operation.healing:
            names = list(self._names(stage))
            finished = sum(name in self.done for name in names)
            if finished == len(names):
                continue
            bone.heal(stage)
            steps = bone.steps(increments=self.case.loads.increments)
            if finished:
                self._restore(bone)
                bone.go_on(finished)
            for step, name in zip(steps[finished:], names[finished:], strict=True):
                self._step(bone, stage, step, name, to_root, writer, time_)
                time_ += 1.0
        bone.problem.release()

    def _step(
        self, bone: OperatedBone, stage: Healing, step: LoadStep, name: str, to_root: Gathering,
        writer: FieldWriter | None, t: float,
    ) -> None:  # fmt: skip
        self._tell(name)
        (record,) = follow(
            bone.problem, [step],
            observe=lambda _, share: self._tell(f"{name}, {100 * share:.0f} %"),
        )  # fmt: skip
        self._note(bone, stage, record, name)
        for seat, interface in bone.interfaces.items():
            found = gathered_points(self.comm, interface.points())
            if self.outcome is not None and found is not None:
                add_contact(self.outcome, seat, name, found)
        fields = cell_fields(bone.problem)
        state = _state_of_cells(bone.problem, fields, to_root)
        moved = to_root.of_vertices(_at_vertices(bone.problem.u))
        if self.outcome is not None and moved is not None:
            self.outcome.operated[name] = state
            self.outcome.moved[name] = moved
            self.outcome.steps.append(name)
        if writer is not None:
            writer.write(t, {
                "displacement": bone.problem.u, **fields, "modulus": bone.tissue.modulus,
                "region": region_field(bone.domain), **_contact_fields(bone),
            })  # fmt: skip
        self.done.append(name)
        self._keep(bone)

    def _note(self, bone: OperatedBone, stage: Healing, record: StepRecord, name: str) -> None:
        reports = dict(zip(bone.interfaces, record.reports, strict=True))
        self.records.append({
            "name": name, "stage": stage.name, "increments": record.increments,
            "newton": record.newton, "iterations": record.iterations, "seconds": record.seconds,
            "seats": {
                seat: {**asdict(one), "force": one.force.tolist()} for seat, one in reports.items()
            },
        })  # fmt: skip

    def _names(self, stage: Healing) -> list[str]:
        return step_names(self.operation, stage)

    # --- files

    def _gathering(self, domain: Domain, points: Array | None) -> Gathering:
        middles = None if self.outcome is None else self.outcome.middles
        return Gathering(domain, middles, points)

    def _writer(self, name: str, domain: Domain) -> FieldWriter | None:
        if not self.case.output.fields:
            return None
        done = [one for one in self.done if one.startswith("intact ") == (name == "intact")]
        resume = float(len(done)) if done else None
        return FieldWriter(
            self.directory / "fields", name, domain.mesh, units=FIELD_UNITS, resume=resume
        )

    def finish(self, reason: str) -> None:
        """Write the record of what was done."""
        record = {
            "operation": self.operation.name, "kind": self.operation.kind, "complete": not reason,
            "reason": reason, "steps": self.records, "seconds": self._seconds(),
            "unknowns": self.unknowns,
            "bone": {name: asdict(report) for name, report in self.report.items()},
            "decisions": [
                *sorted({w for r in self.report.values() for w in r.warnings}), *self.guides,
            ],
        }  # fmt: skip

        def write() -> None:
            assert self.outcome is not None
            self.outcome.save(self.directory / RESULT)
            write_record(self.folder / "solve.json", record)

        on_root(self.comm, write)


def _three(force: Sequence[float]) -> Triple:
    x, y, z = force
    return x, y, z


def step_names(operation: Operation, stage: Healing) -> list[str]:
    """Names of a stage's steps in results, with the stage's name if there are several."""
    from organtwin.orthopaedics.model import PRESS_FIT, unloaded_after

    names = [PRESS_FIT] if any(seat.interference for seat in operation.seats) else []
    for load in operation.loads:
        names += [load.name, unloaded_after(load.name)]
    several = len(operation.healing) > 1
    return [f"{name}, {stage.name}" for name in names] if several else names


def _state_of_cells(
    problem: LinearElasticity, fields: Mapping[str, fem.Function], to_root: Gathering
) -> dict[str, Array]:
    """Stress, strain and energy density of the cells at their middles, on rank 0."""
    centre = np.full((1, 3), 0.25)
    values = {
        "stress": cell_stresses(problem, centre)[:, 0],
        "strain": cell_strains(problem, centre)[:, 0],
        "energy": _cellwise(fields["strain_energy_density"]),
    }  # fmt: skip
    found = {name: to_root.of_cells(one) for name, one in values.items()}
    return {name: one for name, one in found.items() if one is not None}


def _unknowns(space: fem.FunctionSpace) -> int:
    return int(space.dofmap.index_map.size_global * space.dofmap.index_map_bs)


def _cellwise(field: fem.Function) -> Array:
    """Values of this rank's cells, ghosts at the end."""
    return np.asarray(field.x.array[field.function_space.dofmap.list[:, 0]])


def _at_vertices(u: fem.Function) -> Array:
    """Displacement at the vertices of the geometry (n, 3)."""
    mesh, V = u.function_space.mesh, u.function_space
    nodes = mesh.geometry.dofmaps[0].ravel()
    values = np.zeros((len(mesh.geometry.x), 3))
    values[nodes] = u.x.array.reshape(-1, 3)[V.dofmap.list.ravel()]
    return values


def _contact_fields(bone: OperatedBone) -> dict[str, fem.Function]:
    """Those of all seats together: at each vertex the largest."""
    found: dict[str, fem.Function] = {}
    for interface in bone.interfaces.values():
        for name, field in interface.fields().items():
            if name not in found:
                found[name] = field
                continue
            here = found[name].x.array
            larger = np.abs(field.x.array) > np.abs(here)
            here[larger] = field.x.array[larger]
    return found
