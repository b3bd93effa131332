"""The beating heart of a case: beat after beat, phase after phase, to the end or a limit cycle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from organtwin.case import build
from organtwin.case.activity import (
    CHECKPOINT_INTERVAL,
    continued,
    ecg_results,
    sizes,
    write_activity,
)
from organtwin.case.filling import filled
from organtwin.case.progress import Progress, SimulatedTime
from organtwin.case.protocol import Phase, phases
from organtwin.case.records import write_record
from organtwin.case.schema import Case
from organtwin.cells.pacing import PacedCell
from organtwin.circulation.emulator import BeatTrace, Emulator, shifted_blood
from organtwin.circulation.network import ClosedLoop
from organtwin.coupling.electromechanics import Electromechanics
from organtwin.coupling.measures import HeartFields, HeartScalars
from organtwin.coupling.places import places
from organtwin.electrophysiology.conductivity import Conductivity
from organtwin.errors import SolverError
from organtwin.export.fields import Writer, field_writer
from organtwin.export.tables import read_table, write_rows
from organtwin.mesh.domain import Domain, region_field
from organtwin.parallel import on_root
from organtwin.process import write_back
from organtwin.run.checkpoint import Checkpoint, restore
from organtwin.run.observers import Fields, Table
from organtwin.run.result import Beat, beat_trace, relative_change, ventricular_results
from organtwin.run.simulate import Observer, Statistics, on_grid, simulate
from organtwin.run.stopping import Keeper, listening
from organtwin.solve.outcome import Step
from organtwin.units import ML

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
#: Potentials on the fine mesh are big: one is written for this many of the other fields.
ELECTRICAL_STRIDE = 2


@dataclass
class Course:
    """Where a run stands: what a checkpoint has to know besides the heart's state.

    Attributes:
        key: Of the stage.
        size: Scale of the circulation.
        decisions, results: Of the heart's filling.
        blood: In the circulation (mm³).
        phase: Number of the present phase.
        clock: When the phase began (ms).
        begun: State of the circulation when the present beat began.
        known: What the emulator knows, see `Emulator.known`.
        beats: Beats that are done.
    """

    key: str
    size: float
    decisions: list[str]
    results: dict[str, tuple[float, str]]
    blood: float
    begun: list[float]
    phase: int = 0
    clock: float = 0.0
    known: list[list[list[float]]] = field(default_factory=list)
    beats: list[dict[str, float]] = field(default_factory=list)


class OnClock:
    """A process whose own clock began at a given time (ms)."""

    def __init__(self, process: Electromechanics, begun: float) -> None:
        self._process, self._begun = process, begun

    @property
    def state(self) -> Mapping[str, Array]:
        """That of the process."""
        return self._process.state

    def factors(self) -> Mapping[str, Array]:
        """Those of the process."""
        return self._process.factors()

    def take_factors(self, known: Mapping[str, Array]) -> None:
        """Begin the process with them; collective."""
        self._process.take_factors(known)

    def advance(self, t0: float, t1: float) -> Step:
        """Advance the process by its own clock."""
        step = self._process.advance(t0 - self._begun, t1 - self._begun)
        return replace(step, t0=step.t0 + self._begun, t1=step.t1 + self._begun)


def solve_heart(
    case: Case,
    domain: Domain,
    cell: PacedCell,
    sigma: Conductivity,
    directory: Path,
    folder: Path,
    key: str,
    progress: Progress,
    told: Sequence[str] = (),
) -> None:
    """Fill the heart of a case, let it beat and write what it does; collective.

    Args:
        case: The case.
        domain: Mesh of the mechanics.
        cell: Paced cell.
        sigma: Tuned conductivities.
        directory: Result directory.
        folder: Folder of the stage.
        key: Tells whether a checkpoint belongs to this run.
        progress: Told the share done.
        told: Decisions made before, for the record.
    """
    comm, every = domain.comm, phases(case)
    found = continued(folder / "checkpoint", key, comm) if case.output.formats == ("vtu",) else None
    t, course = (found[0], Course(**found[1])) if found else (0.0, None)
    present = every[course.phase if course else 0]
    assembly = build.assemble(
        present.case, domain, cell, sigma, begun=course.clock if course else 0.0
    )
    heart = assembly.heart
    progress(0.03, "filling")
    if course is None:
        course = _filled(case, assembly, key)
    else:
        heart.loop = heart.loop.scaled(course.size)
        restore(folder / "checkpoint", heart, comm, places(heart))
        logger.info("going on from t = %g ms", t)
    statistics = Statistics()
    words = SimulatedTime(t, case.duration)

    def tell(now: float) -> None:
        progress(0.1 + 0.9 * now / case.duration, words(now))

    for number in range(course.phase, len(every)):
        if number > course.phase:
            assembly = _changed(assembly, every, number, course, t, (domain, cell, sigma))
        run = _Run(every[number], assembly, course, directory, folder, statistics, tell)
        t = run.beats(t)
    _write(case, assembly, course, statistics, told, directory, folder)


def _filled(case: Case, assembly: build.Assembly, key: str) -> Course:
    begun, heart = filled(case, assembly), assembly.heart
    return Course(
        key, begun.size, begun.decisions, begun.results,
        blood=float(heart.loop.blood(heart.loop_state).sum()), begun=heart.loop_state.tolist(),
    )  # fmt: skip


def _changed(
    before: build.Assembly,
    every: Sequence[Phase],
    number: int,
    course: Course,
    t: float,
    parts: tuple[Domain, PacedCell, Conductivity],
) -> build.Assembly:
    """The heart as it is, under the conditions of the next phase; collective."""
    phase = every[number]
    assembly = build.assemble(phase.case, *parts, begun=t)
    heart = assembly.heart
    write_back(heart.state, before.heart.state)
    for name in heart.state:
        if name.endswith("beat"):  # on the new clock the first one has yet to begin
            heart.state[name][...] = -1.0
    heart.loop = heart.loop.scaled(course.size)
    infused = course.size * (phase.extra_volume - every[number - 1].extra_volume)
    if isinstance(heart.loop, ClosedLoop):
        heart.loop_state[:] = heart.loop.filled(heart.loop_state, infused)
        course.blood += infused
        if heart.loop.pressures(heart.loop_state, 0.0)["ven_sys"] < 0:
            raise SolverError(
                f"[[protocol]] {number}",
                f"taking {-infused / ML:.0f} mL at once would empty the systemic veins.",
                "Take the blood in several phases with beats between them.",
            )
    course.phase, course.clock, course.known = number, t, []
    course.begun = heart.loop_state.tolist()
    return assembly


@dataclass(frozen=True)
class _Run:
    """Beats of one phase.

    Attributes:
        phase: Which.
        assembly: The heart.
        course: Where the run stands.
        directory, folder: Of the results, and of the stage.
        statistics: What is added to.
        tell: Told the simulated time (ms).
    """

    phase: Phase
    assembly: build.Assembly
    course: Course
    directory: Path
    folder: Path
    statistics: Statistics
    tell: Callable[[float], None]

    def beats(self, t: float) -> float:
        """Let the heart beat from ``t`` (ms) to the end of the phase, and tell when that is.

        Args:
            t: Within the phase, or its start.
        """
        case, course, heart = self.phase.case, self.course, self.assembly.heart
        comm, process = self.assembly.domain.comm, OnClock(heart, course.clock)
        period = case.circulation.cycle_length
        shortest = heart.steps.shortest if heart.steps else case.mechanics.time_step
        step = period / max(1, round(period / shortest))
        before = sum(beat["phase"] == course.phase for beat in course.beats)
        with ExitStack() as closing:
            table, fields = _observers(
                case, self.assembly, self.directory, t, course.clock, closing
            )
            checkpoint = Checkpoint(
                comm, self.folder / "checkpoint", process, CHECKPOINT_INTERVAL,
                lambda: asdict(course), places(heart), table.sync,
            )  # fmt: skip
            keeper = Keeper(comm, checkpoint, closing.enter_context(listening()))
            for observer in (table, *fields, checkpoint):
                observer.observe(t, Step(t, t))
            for number in range(before, self.phase.beats):
                beat = Beat(course.clock + number * period, period)
                go_on = partial(
                    simulate, process, seen=True, statistics=self.statistics, progress=self.tell,
                    on_failure=checkpoint.observe,
                )  # fmt: skip
                first = on_grid(t, beat.end, step)
                if first > t + 1e-6:
                    go_on(t_start=t, t_end=first, dt=first - t)
                if beat.end > first + 1e-6:
                    go_on(
                        t_start=first, t_end=beat.end, dt=step,
                        observers=[table, *fields, checkpoint, keeper],
                        wanted=(lambda: heart.wanted_step) if heart.steps else None,
                    )  # fmt: skip
                t = beat.end
                trace = self._trace(beat)
                moved, limit = self._note(beat, trace), self.phase.limit_cycle
                if limit is not None and moved <= limit:
                    break
                if limit is not None and number + 1 < self.phase.beats:
                    self._lead_on(trace, moved)
                    table.observe(t, Step(t, t))
                course.begun = heart.loop_state.tolist()
        return t

    def _note(self, beat: Beat, trace: BeatTrace) -> float:
        """Note what the beat did, and tell the blood that it moved for good over its stroke."""
        heart, begun = self.assembly.heart, np.array(self.course.begun)
        moved = shifted_blood(heart.loop, begun, heart.loop_state) / trace.stroke_volume
        self.course.beats.append(
            {
                "phase": self.course.phase,
                "start": beat.start,
                "period": beat.period,
                "moved": moved,
            }
        )
        logger.info("beat to %g ms: %.2g %% of its stroke moved for good", beat.end, 100 * moved)
        return moved

    def _lead_on(self, trace: BeatTrace, moved: float) -> None:
        """Take the circulation to where the emulated heart has its limit cycle, if that works."""
        heart, course = self.assembly.heart, self.course
        emulator = Emulator(course.known)
        before = {name: values.copy() for name, values in heart.state.items()}
        try:
            begun = np.array(course.begun)
            heart.refill(emulator.next_start(heart.loop, begun, heart.loop_state, trace, moved))
        except SolverError as error:
            logger.info("the next beat goes on from this one: %s", error)
            heart.restore(before)
            emulator = Emulator()
        course.known = emulator.known

    def _trace(self, beat: Beat) -> BeatTrace:
        def read() -> BeatTrace:
            return beat_trace(read_table(self.directory / "scalars.csv"), beat)

        return on_root(self.assembly.domain.comm, read)


def _observers(
    case: Case,
    assembly: build.Assembly,
    directory: Path,
    t: float,
    begun: float,
    closing: ExitStack,
) -> tuple[Table, list[Observer]]:
    """The table of numbers, and who writes the fields; what they have from before ``t`` stays."""
    resume = t if t > 0 else None
    heart, domain, fine = assembly.heart, assembly.domain, assembly.electrical.domain
    every, directions = case.output.field_interval, assembly.coarse_fibres
    scalars = HeartScalars(heart, assembly.electrical.leads, assembly.motion, begun)
    fields = HeartFields(
        heart, assembly.passive, directions.f0, directions.s0, directions.n0,
        {"region": region_field(domain)},
    )  # fmt: skip
    # The row that ends the phase before stays beside the one that begins this phase.
    kept = int(t > 0 and abs(t - begun) < 1e-6)
    table = Table(domain.comm, directory / "scalars.csv", scalars, resume=resume, kept=kept)
    closing.callback(table.close)
    observers: list[Observer] = []
    for kind in case.output.formats:
        where = directory / "fields"
        mechanical = field_writer(kind, where, "mechanics", domain.mesh, degree=2, resume=resume)
        electrical = field_writer(kind, where, "electrophysiology", fine.mesh, resume=resume)
        for writer in (mechanical, electrical):
            closing.callback(_close, writer)
        observers += [
            Fields(mechanical, fields, every),
            Fields(
                electrical,
                lambda: {"transmembrane_potential": assembly.electrical.ep.v},
                ELECTRICAL_STRIDE * every,
            ),
        ]
    return table, observers


def _close(writer: Writer) -> None:
    close = getattr(writer, "close", None)
    if close is not None:
        close()


def _write(
    case: Case,
    assembly: build.Assembly,
    course: Course,
    statistics: Statistics,
    told: Sequence[str],
    directory: Path,
    folder: Path,
) -> None:
    """Write the record of a run that came to its end; collective."""
    heart, comm = assembly.heart, assembly.domain.comm
    activity = write_activity(directory, assembly.electrical) | course.results
    rest_volume = heart.muscle.reference.volume(assembly.domain) / ML
    drift = float(heart.loop.blood(heart.loop_state).sum()) - course.blood
    cost = {
        **asdict(statistics),
        "mechanics unknowns": heart.mechanics.W.dofmap.index_map.size_global,
        **sizes(assembly.electrical),
    }

    def record() -> None:
        """Tables and results, on one rank."""
        scalars = read_table(directory / "scalars.csv")
        rows = _beat_by_beat(course, scalars)
        write_rows(directory / "beats.csv", rows)
        last = Beat(course.beats[-1]["start"], course.beats[-1]["period"])
        results = ventricular_results(scalars, last)
        results |= activity
        results |= ecg_results(directory, last)
        change = relative_change(scalars["tissue_volume [mL]"], rest_volume)
        stroke = results["lv_stroke_volume"][0] * ML
        gap = float(scalars["volume_gap [mL]"].max()) * ML
        results["tissue_volume_change"] = (change, "%")
        results["blood_volume_drift"] = (drift / ML, "mL")
        results["mass_balance"] = (abs(drift) / stroke, "1")
        results["cavity_volume_gap"] = (gap / stroke, "1")
        results["moved_blood"] = (100 * course.beats[-1]["moved"], "%")
        decisions = [*course.decisions, *_limit_cycles(case, course), *told]
        content = {"results": results, "solver": cost, "decisions": decisions}
        write_record(folder / "solve.json", content)

    on_root(comm, record)


def _beat_by_beat(course: Course, scalars: Mapping[str, Array]) -> list[dict[str, float]]:
    return [
        {
            "beat [1]": number,
            "phase [1]": beat["phase"],
            "start [ms]": beat["start"],
            "period [ms]": beat["period"],
            "moved_blood [%]": 100 * beat["moved"],
            **{
                f"{name} [{unit}]": value
                for name, (value, unit) in ventricular_results(
                    scalars, Beat(beat["start"], beat["period"])
                ).items()
            },
        }
        for number, beat in enumerate(course.beats, 1)
    ]


def _limit_cycles(case: Case, course: Course) -> list[str]:
    """What was sought and found, in words."""
    told = []
    for number, phase in enumerate(phases(case)):
        beats = [beat for beat in course.beats if beat["phase"] == number]
        if phase.limit_cycle is None:
            continue
        moved, where = 100 * beats[-1]["moved"], f"Phase {number}: " if case.protocol else ""
        found = beats[-1]["moved"] <= phase.limit_cycle
        told.append(
            f"{where}{'Limit cycle' if found else 'No limit cycle'} after {len(beats)} beats: the "
            f"last moved {moved:.2g} % of its stroke volume from some chambers and vessels into "
            f"others for good, {100 * phase.limit_cycle:.2g} % being allowed. Between beats an "
            "emulator of the ventricles led the circulation on."
        )
    return told
