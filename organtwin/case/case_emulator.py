"""The 3D heart of a case, emulated: few of its runs, and a circulation around what they told."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from organtwin.calibrate.closed_loops import limit_cycles
from organtwin.calibrate.heart_emulator import HeartEmulator, Run
from organtwin.calibrate.members import Runner
from organtwin.calibrate.observations import Observations
from organtwin.calibrate.parameters import Parameter, draw, standard_of, values_of
from organtwin.calibrate.posterior import Posterior
from organtwin.case.blood import closed_loop
from organtwin.case.case_model import DELAY, CaseModel, Seen
from organtwin.case.schema import Case
from organtwin.case.schema_calibration import EmulatorSettings
from organtwin.case.schema_circulation import ClosedCirculation
from organtwin.circulation.elements import Vessels
from organtwin.circulation.network import AR_PUL, AR_SYS, CHAMBERS, Q_AR_PUL, Q_AR_SYS, ClosedLoop
from organtwin.errors import InputError, SolverError
from organtwin.run.result import Beat, beat_trace, ventricular_results
from organtwin.units import ML, MMHG

type Vector = NDArray[np.float64]
type Matrix = NDArray[np.float64]

logger = logging.getLogger(__name__)

_PLACE = "[calibration.emulator]"
#: Beginnings of the names of what the ventricles do not feel but through their volume.
_OUTSIDE = ("circulation.", DELAY)
#: Beginnings of the headings of what the circulation computes; all else the ventricles tell.
_PUMPED = ("t [", "V_", "p_", "Q_")
#: Relative change of the state by a beat that counts as the limit cycle.
_TOLERANCE = 1e-4
#: Members that are stepped at once.
_BATCH = 100
#: How much more than all before a run in the middle of a posterior counts.
_NEWER = 10.0


@dataclass(frozen=True)
class Learnt:
    """A finished run of the 3D heart.

    Attributes:
        out: Its result directory.
        values: Of the parameters, (parameters,).
        weight: How often it counts.
    """

    out: Path
    values: Vector
    weight: float = 1.0


@dataclass(frozen=True)
class EmulatedCase:
    """Predicts observations by the circulation of a case around emulated ventricles.

    Attributes:
        model: The 3D heart.
        parameters: In the order of the columns.
        emulator: Fitted to its runs.
        findings: Names and units of what the emulator tells besides the beat. The steepest rise
            of pressure, before the valves open, is the tissue's, and a curve of its own at each
            time blurs it.
        shares: Parts of LV and RV that the mesh has, by the names of ``run.json``.
    """

    model: CaseModel
    parameters: tuple[Parameter, ...]
    emulator: HeartEmulator
    findings: tuple[tuple[str, str], ...]
    shares: tuple[tuple[str, float], ...]

    @classmethod
    def of(
        cls,
        model: CaseModel,
        parameters: tuple[Parameter, ...],
        runs: Sequence[Learnt],
    ) -> EmulatedCase:
        """Learn from finished runs.

        Args:
            model: The 3D heart.
            parameters: In the order of the columns.
            runs: Of it.

        Raises:
            InputError: the case cannot be emulated, or there are too few runs.
        """
        seen = [Seen.of_run(run.out, model.delay(run.values)) for run in runs]
        beats = [one.moving("the emulator") for one in seen]
        first = seen[0].results
        pumped = {k: row for k, row in seen[0].scalars.items() if k.startswith(_PUMPED)}
        told = ventricular_results(pumped, beats[0])
        findings = tuple(
            (name, first[name][1])
            for name in dict.fromkeys(one.name for one in model.observations.all)
            if name in first and (name not in told or "dpdt" in name)
        )
        tissue = tissue_columns(parameters)
        z = standard_of(parameters, np.stack([run.values for run in runs]))[:, tissue]
        emulator = HeartEmulator.of(
            [
                Run(
                    z[k], beat_trace(one.scalars, beats[k]),
                    np.array([one.results[name][0] for name, _ in findings]), run.weight,
                )
                for k, (one, run) in enumerate(zip(seen, runs, strict=True))
            ]
        )  # fmt: skip
        shares = tuple((name, first[name][0]) for name in ("lv_volume_share", "rv_volume_share"))
        return cls(model, parameters, emulator, findings, shares)

    @property
    def observations(self) -> Observations:
        """What is predicted."""
        return self.model.observations

    @property
    def batch(self) -> int:
        """Members that are stepped at once."""
        return _BATCH

    @cached_property
    def fingerprint(self) -> str:
        """That of the 3D heart, and what was learnt of it."""
        learnt = (self.emulator.levels, self.emulator.slopes, self.emulator.told)
        parts = b"".join(np.ascontiguousarray(a).tobytes() for a in learnt)
        return f"{self.model.fingerprint} emulated {hashlib.sha256(parts).hexdigest()}"

    def __call__(self, values: Matrix, attempt: int) -> Matrix:
        """Predictions (members, observations); NaN where a circulation has no limit cycle."""
        z = standard_of(self.parameters, values)[:, tissue_columns(self.parameters)]
        found = np.full((len(values), len(self.observations.all)), np.nan)
        possible, loops, starts = [], [], []
        for k, row in enumerate(values):
            try:
                loop, blood = _absolute(self.model.case(row))
            except InputError as error:
                logger.info("%s", error)
                continue
            possible.append(k)
            loops.append(loop.with_ventricles(*self.emulator.ventricles(z[k])))
            starts.append(self._start(loop, blood))
        if not loops:
            return found
        steps = len(self.emulator.times)
        with np.errstate(all="ignore"):
            beats = limit_cycles(loops, np.array(starts), steps=steps, tolerance=_TOLERANCE)
        for i in np.flatnonzero(beats.settled):
            k, period = possible[i], loops[i].period
            scalars = _scalars(loops[i], beats.t[i], beats.states[i], beats.pressures[i])
            seen = self._seen(scalars, Beat(0.0, period), z[k])
            seen = replace(seen, delay=self.model.delay(values[k]))
            found[k] = [seen.predicted(one) for one in self.observations.all]
        return found

    def _start(self, loop: ClosedLoop, blood: float) -> Vector:
        """A state with the blood of a case (mm³)."""
        y = loop.rest()
        y[loop.ventricles] = self.emulator.middle[-1]
        return loop.filled_to(y, blood)

    def _seen(self, scalars: dict[str, Vector], beat: Beat, z: Vector) -> Seen:
        results = ventricular_results(scalars, beat)
        volume = scalars["V_lv [mL]"] * ML
        told = self.emulator.findings(z, float(volume[0]), float(volume.min()))
        for (name, unit), value in zip(self.findings, told, strict=True):
            results[name] = (float(value), unit)
        results |= {name: (share, "1") for name, share in self.shares}
        return Seen(results, scalars, beat)


def check(case: Case, names: Sequence[str]) -> None:
    """See that the ventricles of a case can be emulated for parameters of these names.

    Raises:
        InputError: they can't.
    """
    if "circulation.heart_rate" in names:
        raise InputError(_PLACE, "the heart rate is a parameter.", "Set it in the case.")
    if case.mechanics.steps != "fixed":
        raise InputError(_PLACE, "the steps of the mechanics vary.", 'Take steps = "fixed".')
    if case.protocol:
        raise InputError(_PLACE, "the case has a protocol.", "Leave it out.")
    _absolute(case)


def tissue_columns(parameters: Sequence[Parameter]) -> list[int]:
    """Which of the parameters belong to the ventricles."""
    return [k for k, p in enumerate(parameters) if not p.name.startswith(_OUTSIDE)]


def _absolute(case: Case) -> tuple[ClosedLoop, float]:
    """Circulation of a case and its blood (mm³), neither of which may depend on the 3D heart."""
    section = case.circulation
    if not isinstance(section, ClosedCirculation):
        raise InputError(_PLACE, "the circulation is open.", 'Take model = "closed_loop".')
    if section.scale is None or section.blood_volume is None:
        name = "scale" if section.scale is None else "blood_volume"
        raise InputError(
            _PLACE,
            f"the case has no [circulation] {name}.",
            "Without it the circulation would follow from the run of each member.",
        )
    return closed_loop(section).scaled(section.scale), section.blood_volume


def _scalars(loop: ClosedLoop, t: Vector, y: Matrix, p: Matrix) -> dict[str, Vector]:
    """Columns as of ``scalars.csv``: times, states and pressures of the chambers of a beat."""
    columns = {"t [ms]": t}
    for k, name in enumerate(CHAMBERS):
        columns[f"V_{name} [mL]"] = y[:, k] / ML
        columns[f"p_{name} [mmHg]"] = p[:, k] / MMHG
    Q_av = _outflow(t, y[:, AR_SYS], y[:, Q_AR_SYS], loop.systemic)
    Q_pv = _outflow(t, y[:, AR_PUL], y[:, Q_AR_PUL], loop.pulmonary)
    columns["p_ar_sys [mmHg]"] = (y[:, AR_SYS] + loop.systemic.Z_ar * Q_av) / MMHG
    columns["p_ar_pul [mmHg]"] = (y[:, AR_PUL] + loop.pulmonary.Z_ar * Q_pv) / MMHG
    columns["Q_av [mL/s]"] = Q_av
    return columns


def _outflow(t: Vector, p: Vector, Q: Vector, vessels: Vessels) -> Vector:
    """Flow (mm³/ms) through a valve of a periodic beat: it fills the arteries or leaves them."""
    stored = vessels.C_ar * np.diff(p) / np.diff(t)
    return Q + np.concatenate([stored[-1:], stored])


@dataclass(frozen=True)
class Check:
    """A run of the 3D heart in the middle of a posterior.

    Attributes:
        discrepancy: Root mean square difference from the emulated heart over the observations that
            are calibrated to, in their standard errors.
        misfit: The same of the 3D heart from what was measured.
    """

    discrepancy: float
    misfit: float


class EmulatedHeart:
    """The 3D heart of a calibration: its runs so far, and the emulator that they make.

    Args:
        model: The 3D heart.
        runner: Runs it.
        settings: Of the emulator.
    """

    def __init__(self, model: CaseModel, runner: Runner, settings: EmulatorSettings) -> None:
        self._model, self._runner, self._settings = model, runner, settings
        self._runs: list[Learnt] = []

    def learn(self, seed: int) -> None:
        """Run the 3D heart for a beat at values drawn from the priors."""
        number, parameters = self._settings.runs, self._runner.parameters
        once = replace(self._model, overrides=("run.beats=1",))
        values = values_of(parameters, draw(parameters, number, seed, f"{_PLACE} runs"))
        logger.info("The 3D heart beats once under each of %d sets of parameters.", number)
        trainer = replace(self._runner, model=once)
        predicted = trainer.run(values)
        self._runner.computed, self._runner.reused = trainer.computed, trainer.reused
        self._runs = [
            Learnt(once.finished(row), row)
            for row, told in zip(values, predicted, strict=True)
            if np.isfinite(told).all()
        ]

    def emulated_runner(self) -> Runner:
        """Runs members with the emulator of the runs so far."""
        runner = self._runner
        self._emulated = EmulatedCase.of(self._model, tuple(runner.parameters), self._runs)
        return replace(runner, model=self._emulated, computed=0, reused=0)

    def check(self, posterior: Posterior) -> tuple[Posterior, Check]:
        """Run the 3D heart in the middle of the posterior of `emulated_runner`, and learn from it.

        Raises:
            SolverError: it fails there.
        """
        values, observations = posterior.middle, self._model.observations
        logger.info("The 3D heart comes to its limit cycle in the middle of the posterior.")
        true = self._runner.run(values[None])[0]
        if not np.isfinite(true).all():
            raise SolverError(
                "[calibration.emulator]",
                f"the 3D heart fails in the middle of the posterior: "
                f"{self._runner.failures[-1].reason}",
                "Narrow the priors, or look at the failures.",
            )
        emulated = self._emulated(values[None], 0)[0]
        used, errors = observations.is_used, observations.standard_errors

        def apart(other: Vector) -> float:
            return float(np.sqrt(np.mean(((true - other) / errors)[used] ** 2)))

        found = Check(apart(emulated), apart(observations.values))
        logger.info(
            "It is %.2g standard errors from the emulated one, %.2g from the measurements.",
            found.discrepancy, found.misfit,
        )  # fmt: skip
        weight = _NEWER * max(run.weight for run in self._runs)
        self._runs.append(Learnt(self._model.finished(values), values, weight))
        return replace(posterior, checked=true), found
