"""A calibration from its case file: read, run on any number of processes, write, draw."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mpi4py import MPI

from organtwin.calibrate.closed_loop_model import ClosedLoopModel, adjustable
from organtwin.calibrate.executors import executor
from organtwin.calibrate.fhir import read_fhir
from organtwin.calibrate.files import write_results
from organtwin.calibrate.klotz import filling_curve
from organtwin.calibrate.members import Model, Runner
from organtwin.calibrate.observation_tables import read_csv
from organtwin.calibrate.observations import Observation, Observations, together
from organtwin.calibrate.parameters import LogNormal, Normal, Parameter, Prior, Uniform
from organtwin.calibrate.posterior import Posterior
from organtwin.calibrate.quantities import known
from organtwin.calibrate.sensitivity import Sensitivity, sobol
from organtwin.calibrate.smoother import Course, Smoother
from organtwin.calibrate.stages import calibrate, stages
from organtwin.calibrate.wfdb_records import read_wfdb
from organtwin.case.case_emulator import Check, EmulatedHeart, check
from organtwin.case.case_model import CaseModel
from organtwin.case.load import load_case
from organtwin.case.manifest import Manifest, recording
from organtwin.case.reporting import report
from organtwin.case.schema_calibration import (
    Calibration,
    CalibrationCase,
    KlotzPrior,
    LogNormalPrior,
    NormalPrior,
    ObservationSources,
    PriorChoice,
)
from organtwin.case.stages import memory_peak
from organtwin.errors import InputError, OrgantwinError
from organtwin.export.calibration_pictures import draw_calibration
from organtwin.export.calibration_report import write_calibration_report
from organtwin.parallel import agree, on_root
from organtwin.units import quantity

logger = logging.getLogger(__name__)

_OBSERVATIONS = "[calibration.observations]"


def run_calibration(
    case: CalibrationCase,
    *,
    out: Path,
    workers: int = 1,
    cluster: str | None = None,
    fresh: bool = False,
    comm: MPI.Intracomm = MPI.COMM_WORLD,
) -> Path:
    """Calibrate, and write tables, pictures and a report; collective.

    Args:
        case: What to calibrate, and to what.
        out: Result directory; results of members that it holds are used again.
        workers: Processes of this machine; on several ranks these work instead.
        cluster: Address of a Dask scheduler.
        fresh: Forget earlier results.
        comm: Communicator.

    Returns:
        The result directory.

    Raises:
        InputError: the case does not fit together.
        SolverError: too many members failed.
    """
    observations = on_root(comm, lambda: observations_of(case.calibration.observations))
    parameters, model = on_root(comm, lambda: _asked(case, observations, out))
    inputs = list(case.calibration.observations.files)
    with recording(out, case, inputs, comm) as manifest:
        on_root(comm, lambda: _prepare(model, out / "members", fresh=fresh))
        failure: OrgantwinError | None = None
        found: tuple[Posterior, Sensitivity | None] | None = None
        with executor(workers, cluster=cluster, comm=comm) as pool:
            if pool is not None:  # rank 0; the others work for it in there
                retries = case.calibration.smoother.retries
                runner = Runner(model, parameters, pool, out / "members", retries)
                try:
                    found = _calibrate(case, model, runner, out, manifest)
                except OrgantwinError as error:
                    failure = error
        agree(comm, failure)
        report(
            manifest, comm,
            lambda progress: draw_calibration(out / "pictures", *_there(found)),
            lambda: write_calibration_report(out),
        )  # fmt: skip
    return out


def observations_of(section: ObservationSources) -> Observations:
    """All measurements of a case.

    Raises:
        InputError: a file is wrong, or a quantity is there twice.
    """
    sets = [_read(file, section.relative_error) for file in section.files]
    for name, one in section.values.items():
        place = f"[calibration.observations.values.{name}]"
        meant = known(name, place)
        value, error = (
            quantity(text, meant.unit, f"{place} {field}")
            for field, text in (("value", one.value), ("error", one.error))
        )
        sets.append(Observations((Observation(name, value, error, None, one.held_out, place),)))
    found = together(sets)
    if section.klotz_error is not None:
        unloaded, _ = _klotz_curve(found, f"{_OBSERVATIONS} klotz_error")
        error = section.klotz_error * unloaded
        curve = Observation("lv_unloaded_volume", unloaded, error, source="Klotz curve")
        found = together([found, Observations((curve,))])
    return found.holding_out(section.hold_out)


def parameters_of(case: CalibrationCase, observations: Observations) -> tuple[Parameter, ...]:
    """Parameters with their priors, in organtwin's units.

    Raises:
        InputError: a parameter is unknown, or a value does not fit it.
    """
    base = case.calibration.case
    found = []
    for name, section in case.calibration.parameters.items():
        place = f'[calibration.parameters."{name}"]'
        if base is None:
            what = adjustable(name, place)
            unit, shown = what.unit, what.shown
        else:
            unit, shown = CaseModel.unit(name, place)
        found.append(Parameter(name, _prior(name, section, unit, place, observations), unit, shown))
    return tuple(found)


def _prepare(model: Model, members: Path, *, fresh: bool) -> None:
    """Forget members if so asked, and do what they share."""
    if fresh:
        shutil.rmtree(members, ignore_errors=True)
    if isinstance(model, CaseModel):
        model.prepare()


def _asked(
    case: CalibrationCase, observations: Observations, out: Path
) -> tuple[tuple[Parameter, ...], Model]:
    stages(case.calibration.stages)
    parameters = parameters_of(case, observations)
    names = tuple(parameter.name for parameter in parameters)
    section = case.calibration
    if section.case is not None:
        model = CaseModel(section.case, names, observations, out / "members")
        if section.emulator is not None:
            check(load_case(section.case), names)
        return parameters, model
    given = {
        name: quantity(text, adjustable(name, place).unit, place)
        for name, text in section.given.items()
        for place in [f'[calibration.given] "{name}"']
    }
    observations, rate = _heart_rate(observations, {*names, *given})
    return parameters, ClosedLoopModel(names, observations, (*given.items(), *rate))


def _heart_rate(
    observations: Observations, told: set[str]
) -> tuple[Observations, tuple[tuple[str, float], ...]]:
    """A measured heart rate sets the length of the beat, if nothing else does: it is no target."""
    path = "circulation.heart_rate"
    measured = [o for o in observations.all if o.name == "heart_rate"]
    if path in told or not measured:
        return observations, ()
    others = tuple(o for o in observations.all if o.name != "heart_rate")
    return Observations(others), ((path, measured[0].value),)


def _calibrate(
    case: CalibrationCase, model: Model, runner: Runner, out: Path, manifest: Manifest
) -> tuple[Posterior, Sensitivity | None]:
    section = case.calibration
    checks: list[Check] = []
    if section.emulator is not None and isinstance(model, CaseModel):
        start = time.perf_counter()
        heart = EmulatedHeart(model, runner, section.emulator)
        heart.learn(section.smoother.seed)
        _note(manifest, "runs_of_the_3d_heart", start)
        runner = heart.emulated_runner()
        sensitivity = _sensitivity(section, runner, manifest)
        for _ in range(section.emulator.rounds):
            if checks:
                runner = heart.emulated_runner()
            posterior, courses = _smoothed(section, runner, manifest)
            posterior, found = heart.check(posterior)
            checks.append(found)
            if found.discrepancy <= section.emulator.discrepancy:
                break
    else:
        sensitivity = _sensitivity(section, runner, manifest)
        posterior, courses = _smoothed(section, runner, manifest)
    manifest.add_results(_results(posterior, runner, checks))
    write_results(out, posterior, courses, runner, sensitivity, [asdict(one) for one in checks])
    return posterior, sensitivity


def _sensitivity(section: Calibration, runner: Runner, manifest: Manifest) -> Sensitivity | None:
    start, samples = time.perf_counter(), section.sensitivity.samples
    if not samples:
        return None
    logger.info("Sensitivity: %d runs over the priors.", samples * (len(runner.parameters) + 2))
    found = sobol(runner, runner.model.observations.keys, samples, section.smoother.seed)
    _note(manifest, "sensitivity", start)
    return found


def _smoothed(
    section: Calibration, runner: Runner, manifest: Manifest
) -> tuple[Posterior, list[Course]]:
    start, number = time.perf_counter(), section.smoother.assimilations
    smoother = Smoother(section.smoother.members, (float(number),) * number, section.smoother.seed)
    logger.info("Calibration: %d members, %d assimilations.", smoother.members, number)
    found = calibrate(runner, runner.model.observations, smoother, section.stages)
    _note(manifest, "calibration", start)
    return found


def _note(manifest: Manifest, stage: str, start: float) -> None:
    manifest.content["stages"][stage] = {
        "wall_time_s": round(time.perf_counter() - start, 3),
        "peak_memory_mib": round(memory_peak(), 1), "mpi_size": 1, "reused": False,
    }  # fmt: skip


def _there[T](found: T | None) -> T:
    """What rank 0 found; nobody else asks."""
    assert found is not None
    return found


def _results(
    posterior: Posterior, runner: Runner, checks: Sequence[Check]
) -> dict[str, tuple[float, str]]:
    checked = {"emulator_discrepancy": (checks[-1].discrepancy, "1")} if checks else {}
    return {
        **checked,
        "members": (float(len(posterior.posterior)), "1"),
        "members_computed": (float(runner.computed), "1"),
        "members_reused": (float(runner.reused), "1"),
        "tries_failed": (float(len(runner.failures)), "1"),
        "chi_square": (posterior.chi_square, "1"),
    }


def _read(file: Path, relative_error: float) -> Observations:
    kind = file.suffix.lower()
    if kind == ".csv":
        return read_csv(file)
    if kind == ".json":
        return read_fhir(file, relative_error)
    if kind == ".hea":
        return read_wfdb(file)
    raise InputError(
        f"{_OBSERVATIONS} files",
        f"{file.name} is of no kind that is read.",
        "Give a table (.csv), HL7 FHIR (.json) or a WFDB header (.hea).",
    )


def _prior(
    name: str, section: PriorChoice, unit: str, place: str, observations: Observations
) -> Prior:
    if isinstance(section, KlotzPrior):
        return _klotz(name, section, place, observations)
    if isinstance(section, LogNormalPrior):
        return LogNormal(quantity(section.median, unit, f"{place} median"), section.spread)
    if isinstance(section, NormalPrior):
        return Normal(
            quantity(section.mean, unit, f"{place} mean"),
            quantity(section.deviation, unit, f"{place} deviation"),
        )
    return Uniform(
        quantity(section.low, unit, f"{place} low"), quantity(section.high, unit, f"{place} high")
    )


def _klotz(name: str, section: KlotzPrior, place: str, observations: Observations) -> LogNormal:
    unloaded, elastance = _klotz_curve(observations, place)
    medians = {"lv.unloaded_volume": unloaded, "lv.passive_elastance": elastance}
    if name not in medians:
        raise InputError(
            place, "the Klotz curve says nothing of it.", f"It does of {', '.join(medians)}."
        )
    return LogNormal(medians[name], section.spread)


def _klotz_curve(observations: Observations, place: str) -> tuple[float, float]:
    """Unloaded volume (mm³) of the measured heart, and the slope to its end-diastole (kPa/mm³)."""
    measured = {o.name: o.value for o in observations.all}
    try:
        volume = measured["lv_end_diastolic_volume"]
        pressure = measured["lv_end_diastolic_pressure"]
    except KeyError as missing:
        raise InputError(
            place, f"the Klotz curve needs {missing}.", "Add it to the observations."
        ) from None
    unloaded = filling_curve(volume, pressure).V0
    return unloaded, pressure / (volume - unloaded)
