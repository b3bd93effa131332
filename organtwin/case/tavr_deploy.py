"""The stage that brings a valve into a root: on all ranks, and going on where it was stopped."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.case.progress import Progress
from organtwin.case.records import write_record
from organtwin.case.schema_tavr import Arterial, Rubber, TavrCase
from organtwin.case.tavr_root import Choice, read_place
from organtwin.errors import InputError, SolverError
from organtwin.export.fields import FieldWriter
from organtwin.export.frame_series import FrameSeries
from organtwin.materials.arterial import HolzapfelGasserOgden
from organtwin.materials.isotropic import NeoHookean
from organtwin.mesh.domain import Domain, read_domain
from organtwin.parallel import on_root
from organtwin.run.checkpoint import Checkpoint, Kept, read_checkpoint, restore
from organtwin.solve.outcome import Step
from organtwin.tavr.deployed import Deployed
from organtwin.tavr.fatigue import fatigue, fibre_strains, with_fatigue
from organtwin.tavr.rehearsal import SYSTOLE, Rehearsal, Settings, Went, placed
from organtwin.tavr.root_tissue import RootTissue, root_problem, wall_stress

Array = NDArray[np.float64]
logger = logging.getLogger(__name__)

#: Files of the stage `deploy`; what its state is kept in while it is under way.
DEPLOYED = (
    "deploy.json", "../../deployed.npz", "../../before.npz", "../../fields/tissue.pvd",
    "../../fields/frame.pvd",
)  # fmt: skip
#: Sum of the normal forces on a crimped device (mN) beyond which it stands in the wall.
PIERCING = 1000.0
STATE, DIASTOLE = "state", "diastole.npy"
#: Numbers of the tissue that have the same name in a case file.
NUMBERS = {"media", "calcium", "calcium_poisson", "bulk", "bed", "bed_outflow", "ends"}
#: Name of the state before the first stage, in fields and records.
CRIMPED = "crimped"


def settings_of(case: TavrCase) -> Settings:
    """How the case's device is deployed."""
    blood = case.haemodynamics
    return Settings(
        **case.deployment.model_dump(),
        diastole=(blood.diastolic_pressure, blood.ventricular_pressure),
        systole=(blood.systolic_pressure,) * 2 if blood.systole else None,
    )


def deploy_valve(
    case: TavrCase, choice: Choice, root: Path, directory: Path, folder: Path, key: str,
    progress: Progress, comm: MPI.Comm,
) -> None:  # fmt: skip
    """Deploy the device, and write `DEPLOYED`; collective.

    The state is kept after each stage and every few steps, so that the same case goes on from
    there in another process, also on another number of ranks.

    Args:
        case: The case.
        choice: The device.
        root: Folder of the stage `root`.
        directory: Result directory.
        folder: The stage's folder.
        key: Hash of what the stage is made from: a state of another one is not taken up.
        progress: Told the part that is done.
        comm: Communicator.

    Raises:
        SolverError: a stage failed; the last good state is written all the same.
    """
    progress(0.0, "tissue")
    place = on_root(comm, lambda: read_place(root))
    domain = read_domain(root / "mesh.msh", comm)
    tissue = root_problem(domain, place.axis, tissue_of(case))
    settings = settings_of(case)
    implant = placed(choice.device, place.record, place.axis, settings)
    rehearsal = Rehearsal(tissue, implant, settings)
    refuse_piercing(rehearsal)
    under_way = _UnderWay(rehearsal, case, choice, directory, folder, key, progress)
    under_way.take_up()
    went = rehearsal.run(on_accept=under_way.step, on_stage=under_way.stage)
    under_way.finish(went)
    if not went.complete and went.stage != SYSTOLE:
        share = f"{100 * went.reached:.0f} %"
        raise SolverError(
            f"deployment of {choice.device.name}",
            f"`{went.stage}` ended at {share} of its way: {went.reason}",
            f"The last good state is in {directory}; {_done(went.passed)}",
        )


def refuse_piercing(rehearsal: Rehearsal) -> None:
    """Refuse a crimped device that stands in the wall, as a long one does where the aorta bends.

    Raises:
        InputError: it does.
    """
    if rehearsal.both.contact.grip().pressing >= PIERCING:
        raise InputError(
            "[deployment]", "the crimped device stands in the wall before anything is done: it is "
            "straight, and the root bends.",
            'Lead it along the lumen (along = "lumen"), tilt it by `tilt` and `towards`, or take a '
            "shorter device.",
        )  # fmt: skip


def _untold(went: Went) -> list[str]:
    if went.complete or went.stage != SYSTOLE:
        return []
    return [f"The frame's fatigue is not told: no equilibrium was found in systole. {went.reason}"]


def _done(passed: tuple[Any, ...]) -> str:
    names = ", ".join(f"`{one.name}`" for one in passed)
    return f"done before: {names}." if names else "no stage was completed."


def tissue_of(case: TavrCase) -> RootTissue:
    """What the case's root is made of."""
    section, blood = case.tissue, case.haemodynamics
    outer = section.adventitia
    return RootTissue(
        wall=_law(section.wall, section.stiffness),
        adventitia=None if outer is None else _law(outer, section.stiffness),
        outflow=_law(section.outflow, section.stiffness),
        leaflets=_law(section.leaflets),
        **section.model_dump(include=NUMBERS),
        aortic=blood.diastolic_pressure,
        ventricular=blood.ventricular_pressure,
    )


def _law(section: Arterial | Rubber, factor: float = 1.0) -> HolzapfelGasserOgden | NeoHookean:
    if isinstance(section, Rubber):
        return NeoHookean(factor * section.mu)
    return HolzapfelGasserOgden(
        factor * section.c, factor * section.k_1, section.k_2, section.angle, section.kappa
    )


class _UnderWay:
    """What is written while a deployment runs."""

    def __init__(
        self, rehearsal: Rehearsal, case: TavrCase, choice: Choice, directory: Path, folder: Path,
        key: str, progress: Progress,
    ) -> None:  # fmt: skip
        self.rehearsal, self.case, self.choice = rehearsal, case, choice
        self.directory, self.folder, self.key, self.progress = directory, folder, key, progress
        self.comm = rehearsal.both.comm
        self.start = time.perf_counter()
        #: Seconds that earlier programs took.
        self.before = 0.0
        self.states: list[dict[str, Any]] = []
        self.since_saved = 0
        self.places = rehearsal.places()
        self.first: Deployed | None = None
        self.regions = _regions(rehearsal.both.tissue.domain)

    # --- going on ---------------------------------------------------------------------------------

    def take_up(self) -> None:
        """Go on from the state that was kept, or begin."""
        found = read_checkpoint(self.folder / STATE, self.comm)
        if found is not None and found[1].get("key") == self.key:
            _, note = found
            kept = Kept(dict(self.rehearsal.state))
            restore(self.folder / STATE, kept, self.comm, self.places)
            self.rehearsal.go_on(kept.state, note["rehearsal"])
            self.states, self.before = note["states"], note["seconds"]
            self.first = on_root(self.comm, lambda: Deployed.load(self.directory / "before.npz"))
            self._open_fields(float(len(self.states)))
            logger.info("deploy: goes on from %s", self._where())
        else:
            self._open_fields(None)
            self.first = self.rehearsal.record()
            first = self.first
            on_root(self.comm, lambda: first.save(self.directory / "before.npz"))
            self._show(CRIMPED)

    def _open_fields(self, resume: float | None) -> None:
        fields, mesh = self.directory / "fields", self.rehearsal.both.tissue.domain.mesh
        self.tissue = FieldWriter(fields, "tissue", mesh, resume=resume)
        self.frame = FrameSeries(fields, "frame", self.comm, resume=resume)

    def _save(self) -> None:
        self.since_saved = 0
        kept = Kept(self.rehearsal.state)
        Checkpoint(self.comm, self.folder / STATE, kept, 0.0, self._note, self.places).observe(
            self.rehearsal.share, Step(0.0, 0.0)
        )

    def _note(self) -> dict[str, Any]:
        return {
            "key": self.key, "rehearsal": self.rehearsal.note, "states": self.states,
            "seconds": self._seconds(),
        }  # fmt: skip

    def _seconds(self) -> float:
        return self.before + time.perf_counter() - self.start

    # --- on the way -------------------------------------------------------------------------------

    def step(self, name: str, reached: float) -> None:
        """A step was accepted."""
        low, high = self.rehearsal.implant.diameters()
        words = f"{name} {100 * reached:.0f} %, {low:.1f} to {high:.1f} mm wide"
        self.progress(self.rehearsal.share, words)
        self.since_saved += 1
        if self.since_saved >= self.case.output.save_every and reached < 1.0:
            self._save()

    def stage(self, name: str) -> None:
        """A stage is done."""
        if name == SYSTOLE:
            self._tire()
        else:
            self._write_deployed()
        self._show(name)
        self._save()

    def _write_deployed(self) -> None:
        found, strains = self.rehearsal.record(self.first), fibre_strains(self.rehearsal.both.beams)

        def write() -> None:
            found.save(self.directory / "deployed.npz")
            np.save(self.folder / DIASTOLE, strains)

        on_root(self.comm, write)

    def _tire(self) -> None:
        """Add the fatigue between diastole, as it was kept, and systole."""
        beams, implant = self.rehearsal.both.beams, self.rehearsal.implant

        def add() -> None:
            found = Deployed.load(self.directory / "deployed.npz")
            before = np.load(self.folder / DIASTOLE)
            tired = fatigue(before, fibre_strains(beams), implant.device.fatigue)
            with_fatigue(found, tired).save(self.directory / "deployed.npz")

        on_root(self.comm, add)

    def finish(self, went: Went) -> None:
        """Write the record of the deployed valve, or of how far it came."""
        if not went.complete:
            self._show(f"{went.stage}, unfinished")
            if went.stage != SYSTOLE:
                self._write_deployed()
        factors = self.rehearsal.both.factors
        record = {
            "device": self.choice.device.name,
            "complete": went.complete or went.stage == SYSTOLE,
            "reason": went.reason,
            "reached": went.reached,
            "stages": [asdict(one) for one in went.passed],
            "decisions": _untold(went),
            "states": self.states,
            "seconds": self._seconds(),
            "unknowns": {
                "tissue": int(self.rehearsal.both.tissue.W.dofmap.index_map.size_global
                              * self.rehearsal.both.tissue.W.dofmap.index_map_bs),
                "frame": int(self.rehearsal.both.beams.elements.size),
                "contact_points": len(self.rehearsal.both.contact.points.length),
            },
            "factorisations": factors.factorisations,
        }  # fmt: skip
        on_root(self.comm, lambda: write_record(self.folder / "deploy.json", record))

    def _show(self, name: str) -> None:
        """Write the fields of a state, and note how the frame is."""
        t, rehearsal = float(len(self.states)), self.rehearsal
        tissue = rehearsal.both.tissue
        stress = fem.Function(fem.functionspace(tissue.domain.mesh, ("DG", 0)), name="stress")
        stress.x.array[:] = wall_stress(tissue)
        fields = {"displacement": tissue.u, "principal_stress": stress, "region": self.regions}
        self.tissue.write(t, fields)
        self._show_frame(t)
        low, high = rehearsal.implant.diameters()
        grip = rehearsal.both.contact.grip()
        self.states.append({
            "name": name, "time": t, "diameters_mm": [low, high],
            "height_mm": float(np.ptp(rehearsal.implant.own()[:, 2])),
            "pressing_N": grip.pressing / 1000.0, "rubbing_N": grip.rubbing / 1000.0,
            "penetration_mm": grip.penetration, "touching_mm": grip.touching,
            "sticking": grip.sticking, "seconds": self._seconds(),
        })  # fmt: skip

    def _show_frame(self, t: float) -> None:
        both, implant = self.rehearsal.both, self.rehearsal.implant
        beams, contact = both.beams, both.contact
        strain = np.abs(fibre_strains(beams)).max(axis=1)
        at_nodes = {
            "contact_force": contact.on_nodes(contact.felt(), len(beams.x)),
            "radius": np.full(len(beams.x), 0.5 * implant.device.struts.thickness),
        }
        self.frame.write(
            t, beams.x, beams.mesh.ends, at_nodes=at_nodes, at_struts={"fibre_strain": strain}
        )

    def _where(self) -> str:
        rehearsal = self.rehearsal
        if len(rehearsal.passed) == len(rehearsal.stages):
            return "the end"
        stage = rehearsal.stages[len(rehearsal.passed)].name
        return f"`{stage}` at {100 * rehearsal.reached:.0f} %"


def _regions(domain: Domain) -> fem.Function:
    """Number of each cell's region, in the order of their names."""
    found = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)), name="region")
    for number, name in enumerate(domain.regions):
        found.x.array[domain.cells(name)] = number
    return found
