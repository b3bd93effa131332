"""The 3D heart of a case file as a model to calibrate: each member is a run of its own."""

from __future__ import annotations

import hashlib
import json
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

type Matrix = NDArray[np.float64]

#: Column of ``scalars.csv`` and its unit, of what has a value at every time.
_CURVES = {
    "lv_volume": ("V_lv [mL]", "mL"),
    "rv_volume": ("V_rv [mL]", "mL"),
    "arterial_pressure": ("p_ar_sys [mmHg]", "mmHg"),
    "lv_pressure": ("p_lv [mmHg]", "mmHg"),
}


@dataclass(frozen=True)
class CaseModel:
    """Predicts observations by running a case with other settings, each in a folder of its own.

    Attributes:
        file: Case file.
        names: Dotted paths of its settings, in the order of the columns.
        observations: What to predict, in their order.
        folder: Where the runs are kept.
    """

    file: Path
    names: tuple[str, ...]
    observations: Observations
    folder: Path

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
        """Version, case file and observations."""
        return f"{organtwin.__version__} {sha256(self.file)} {self.observations.keys}"

    def __call__(self, values: Matrix, attempt: int) -> Matrix:
        """Predictions of one member, (1, observations); raises what its run raises."""
        from organtwin.case.pipeline import run_case

        overrides = [
            f'{name}="{value!r} {self.unit(name, name)[0]}"'
            for name, value in zip(self.names, map(float, values[0]), strict=True)
        ]
        case = _with_shorter_steps(load_case(self.file, overrides), attempt)
        key = hashlib.sha256(f"{self.fingerprint} {overrides} {attempt}".encode()).hexdigest()
        out = self.folder / key[:16]
        shared = self.folder / _BASE / "stages"
        if shared.is_dir() and not out.exists():
            copytree(shared, out / "stages")  # stages whose settings differ are done anew
        run_case(case, out=out, only=_SOLVE, comm=MPI.COMM_SELF)
        results: dict[str, Any] = json.loads((out / "run.json").read_text())["results"]
        return np.array([[_predicted(one, results, out) for one in self.observations.all]])

    @staticmethod
    def unit(name: str, place: str) -> tuple[str, str]:
        """Unit inside organtwin, and that for people, of a setting, from the schema of case files.

        Raises:
            InputError: no such setting, or one that is no number.
        """
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


def _predicted(one: Observation, results: dict[str, Any], out: Path) -> float:
    if one.time is None:
        if one.name not in results:
            raise InputError(
                one.source or one.key,
                f"the case predicts no `{one.name}`.",
                f"It predicts {', '.join(sorted(results))}.",
            )
        found = results[one.name]
        value = float("nan") if found["value"] is None else float(found["value"])
        return _converted(value, found["unit"], one.quantity.unit)
    column, unit = _CURVES[one.name]
    table, beats = read_table(out / "scalars.csv"), read_table(out / "beats.csv")
    last = Beat(float(beats["start [ms]"][-1]), float(beats["period [ms]"][-1]))
    rows = last.rows(table["t [ms]"])
    value = float(np.interp(last.start + one.time, table["t [ms]"][rows], table[column][rows]))
    return _converted(value, unit, one.quantity.unit)


def _converted(value: float, unit: str, wanted: str) -> float:
    return float(registry().Quantity(value, unit).to(wanted).magnitude)
