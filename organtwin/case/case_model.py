"""The 3D heart of a case file as a model to calibrate: each member is a run of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any, get_args

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from pydantic import BaseModel

import organtwin
from organtwin.calibrate.observations import Observation, Observations
from organtwin.case.load import load_case
from organtwin.case.quantities import Unit, marks
from organtwin.case.schema import Case
from organtwin.case.stages import sha256
from organtwin.errors import InputError, suggestion
from organtwin.export.tables import read_table
from organtwin.run.result import Beat
from organtwin.units import registry

type Vector = NDArray[np.float64]
type Matrix = NDArray[np.float64]

#: Column of ``scalars.csv`` and its unit, of what has a value at every time.
_CURVES = {
    "lv_volume": ("V_lv [mL]", "mL"),
    "rv_volume": ("V_rv [mL]", "mL"),
    "arterial_pressure": ("p_ar_sys [mmHg]", "mmHg"),
    "lv_pressure": ("p_lv [mmHg]", "mmHg"),
}


#: Time from the R wave to the first stimulus: no setting of the case, whose beats begin with it.
DELAY = "activation.delay"


@dataclass(frozen=True)
class CaseModel:
    """Predicts observations by running a case with other settings, each in a folder of its own.

    Measured volumes are those of whole ventricles, the mesh ends at the base plane: volumes of the
    mesh are divided by the share of the labelled blood that it has. So are flows.

    Attributes:
        file: Case file.
        names: Dotted paths of its settings, in the order of the columns.
        observations: What to predict, in their order.
        folder: Where the runs are kept.
        overrides: Settings of all members, as `load_case` takes them.
    """

    file: Path
    names: tuple[str, ...]
    observations: Observations
    folder: Path
    overrides: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Do once what members share, as far as their settings do not change it: up to cells."""
        from organtwin.case.pipeline import run_case

        run_case(load_case(self.file), out=self.folder / _BASE, only=_SHARED, comm=MPI.COMM_SELF)

    @property
    def batch(self) -> int:
        """One run at a time."""
        return 1

    @property
    def fingerprint(self) -> str:
        """Version, case file, what overrides it, and observations."""
        told = f"{organtwin.__version__} {sha256(self.file)} {self.observations.keys}"
        return " ".join([told, *self.overrides])

    def __call__(self, values: Matrix, attempt: int) -> Matrix:
        """Predictions of one member, (1, observations); raises what its run raises."""
        from organtwin.case.pipeline import run_case

        case = _with_shorter_steps(self.case(values[0]), attempt)
        out = self.out(values[0], attempt)
        shared = self.folder / _BASE / "stages"
        if shared.is_dir() and not out.exists():
            copytree(shared, out / "stages")  # stages whose settings differ are done anew
        run_case(case, out=out, only=_SOLVE, comm=MPI.COMM_SELF)
        seen = Seen.of_run(out, self.delay(values[0]))
        return np.array([[seen.predicted(one) for one in self.observations.all]])

    def case(self, values: Vector) -> Case:
        """The case of one member."""
        return load_case(self.file, self._overrides(values))

    def finished(self, values: Vector) -> Path:
        """Folder of the try at a member that came to its end.

        Raises:
            InputError: none did.
        """
        attempt = 0
        while (out := self.out(values, attempt)).exists():
            if (out / "stages/solve/stage.json").is_file():
                return out
            attempt += 1
        raise InputError(str(self.out(values)), "the run is gone.", "Calibrate with --fresh.")

    def delay(self, values: Vector) -> float:
        """From the R wave to the first stimulus (ms) of one member."""
        return float(dict(zip(self.names, values, strict=True)).get(DELAY, 0.0))

    def out(self, values: Vector, attempt: int = 0) -> Path:
        """Folder of the run of one member."""
        told = f"{self.fingerprint} {self._overrides(values)} {attempt}"
        return self.folder / hashlib.sha256(told.encode()).hexdigest()[:16]

    def _overrides(self, values: Vector) -> list[str]:
        own = []
        for name, value in zip(self.names, map(float, values), strict=True):
            unit, _ = self.unit(name, name)
            if name != DELAY:
                own.append(f"{name}={value!r}" if unit == "1" else f'{name}="{value!r} {unit}"')
        return [*own, *self.overrides]

    @staticmethod
    def unit(name: str, place: str) -> tuple[str, str]:
        """Unit inside organtwin, and that for people, of a setting, from the schema of case files.

        Raises:
            InputError: no such setting, or one that is no number.
        """
        if name == DELAY:
            return "ms", "ms"
        models: list[type[BaseModel]] = [Case]
        field = None
        for key in name.split("."):
            known = sorted({k for model in models for k in model.model_fields})
            found = [m.model_fields[key] for m in models if key in m.model_fields]
            if not found:
                raise InputError(place, f"no setting `{name}`.", suggestion(key, known))
            field = found[0]
            models = _sections(field.annotation)
        mark = next((m for m in marks(field) if isinstance(m, Unit)), None) if field else None
        if mark is not None:
            return mark.inside, mark.shown
        if field is None or float not in (field.annotation, *get_args(field.annotation)):
            raise InputError(place, f"`{name}` is not a number.")
        return "1", "1"


#: Stages that members share, the folder of these, and those of a member: all but the report.
_SHARED, _BASE = {"image", "mesh", "cell"}, "shared"
_SOLVE = {"image", "mesh", "cell", "solve"}


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """Sections that an annotation names, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _sections(part)]


def _with_shorter_steps(case: Case, attempt: int) -> Case:
    """Half the time step of the mechanics for each attempt."""
    if attempt == 0:
        return case
    step = case.mechanics.time_step / 2**attempt
    electrical = min(case.electrophysiology.time_step, step)
    return case.model_copy(
        update={
            "mechanics": case.mechanics.model_copy(update={"time_step": step}),
            "electrophysiology": case.electrophysiology.model_copy(
                update={"time_step": electrical}
            ),
        }
    )


@dataclass(frozen=True)
class Seen:
    """What there is to see of a beat, in the units of the clinic.

    Attributes:
        results: Name → value and unit, as in ``run.json``.
        scalars: Columns of ``scalars.csv`` by heading.
        beat: Which beat; none of a heart that does not move.
        delay: From the R wave to its start (ms).
    """

    results: Mapping[str, tuple[float, str]]
    scalars: Mapping[str, Vector]
    beat: Beat | None
    delay: float = 0.0

    @classmethod
    def of_run(cls, out: Path, delay: float) -> Seen:
        """The last beat of a run."""
        found: dict[str, Any] = json.loads((out / "run.json").read_text())["results"]
        results = {
            name: (float("nan") if one["value"] is None else float(one["value"]), one["unit"])
            for name, one in found.items()
        }
        last = None
        if (out / "beats.csv").is_file():
            beats = read_table(out / "beats.csv")
            last = Beat(float(beats["start [ms]"][-1]), float(beats["period [ms]"][-1]))
        return cls(results, read_table(out / "scalars.csv"), last, delay)

    def moving(self, what: str) -> Beat:
        """The beat of a heart that moves.

        Raises:
            InputError: it does not, so there is nothing to see of ``what``.
        """
        if self.beat is None:
            raise InputError(
                what, "the case's heart does not move.",
                'Set run.physics = "electromechanics" in it.',
            )  # fmt: skip
        return self.beat

    def predicted(self, one: Observation) -> float:
        """What a measurement of this beat would tell, in organtwin's unit.

        Raises:
            InputError: the case does not have it.
        """
        if one.time is None:
            if one.name not in self.results:
                raise InputError(
                    one.source or one.key,
                    f"the case predicts no `{one.name}`.",
                    f"It predicts {', '.join(sorted(self.results))}.",
                )
            value, unit = self.results[one.name]
        else:
            beat = self.moving(f"`{one.name}` over time")
            column, unit = _CURVES[one.name]
            rows = beat.rows(self.scalars["t [ms]"])
            t = self.scalars["t [ms]"][rows] - beat.start
            own = (one.time - self.delay) % beat.period
            value = float(np.interp(own, t, self.scalars[column][rows]))
        return _converted(value, unit, one.quantity.unit) / self._share(one)

    def _share(self, one: Observation) -> float:
        """Part of the ventricle that the mesh has, of what is a volume or a flow of blood."""
        if one.name == "cardiac_output":
            return self.results["lv_volume_share"][0]
        if one.quantity.unit != "mm^3":
            return 1.0
        return self.results[f"{one.name[:2]}_volume_share"][0]


def _converted(value: float, unit: str, wanted: str) -> float:
    return float(registry().Quantity(value, unit).to(wanted).magnitude)
