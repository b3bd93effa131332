"""A calibration as files: tables for people and programs, and what pictures are drawn from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from organtwin.calibrate.members import Runner
from organtwin.calibrate.posterior import Posterior, unidentified
from organtwin.calibrate.sensitivity import Sensitivity
from organtwin.calibrate.smoother import Course
from organtwin.units import registry


def write_results(
    folder: Path,
    posterior: Posterior,
    courses: Sequence[Course],
    runner: Runner,
    sensitivity: Sensitivity | None,
    checks: Sequence[Mapping[str, float]] = (),
) -> Path:
    """Write ``calibration.json`` and tables.

    They are ``parameters.csv``, ``predictions.csv``, ``influence.csv``, ``ensemble.csv`` and
    ``failures.csv``; values are in the units of people.

    Returns:
        The JSON file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parameters, predictions = parameter_rows(posterior), prediction_rows(posterior)
    _write_rows(folder / "parameters.csv", parameters)
    _write_rows(folder / "predictions.csv", predictions)
    influence = [
        {"quantity": name} | dict(zip((p.name for p in posterior.parameters), row, strict=True))
        for name, row in zip(posterior.informing, posterior.influence.tolist(), strict=True)
    ]
    _write_rows(folder / "influence.csv", influence)
    _write_rows(folder / "ensemble.csv", _ensemble(posterior))
    failures = [asdict(failure) for failure in runner.failures]
    _write_rows(folder / "failures.csv", failures)
    content = {
        "parameters": parameters,
        "predictions": predictions,
        "correlations": posterior.correlations.tolist(),
        "influence": influence,
        "information": posterior.information[0].tolist(),
        "chi_square": posterior.chi_square,
        "curves": curve_misfits(posterior),
        "unidentified": list(unidentified(posterior)),
        "sensitivity": None if sensitivity is None else _sobol(sensitivity, posterior),
        "checks": [dict(check) for check in checks],
        "members": len(posterior.posterior),
        "computed": runner.computed,
        "reused": runner.reused,
        "failures": failures,
        "redrawn": [asdict(one) for course in courses for one in course.redrawn],
    }
    path = folder / "calibration.json"
    _write(path, json.dumps(content, indent=2) + "\n")
    return path


def parameter_rows(posterior: Posterior) -> list[dict[str, Any]]:
    """Parameters in the units of people: interval, middle, what was known before, contraction."""
    rows = []
    after, before = posterior.intervals(), posterior.intervals(before=True)
    for k, parameter in enumerate(posterior.parameters):
        low, middle, high, prior_low, prior, prior_high = (
            _shown(value, parameter.unit, parameter.shown) for value in (*after[k], *before[k])
        )
        rows.append(
            {
                "parameter": parameter.name, "unit": parameter.shown,
                "value": middle, "low": low, "high": high,
                "prior": prior, "prior_low": prior_low, "prior_high": prior_high,
                "contraction": float(posterior.contraction[k]),
            }
        )  # fmt: skip
    return rows


def prediction_rows(posterior: Posterior) -> list[dict[str, Any]]:
    """Measured and predicted values in the units of the clinic."""
    rows = []
    intervals, misfits = posterior.prediction_intervals(), posterior.misfits
    for k, one in enumerate(posterior.observations.all):
        low, mean, high = (one.quantity.in_clinic(value) for value in intervals[k])
        rows.append(
            {
                "observation": one.key, "words": one.quantity.words, "time_ms": one.time,
                "unit": one.quantity.shown,
                "measured": one.quantity.in_clinic(one.value),
                "error": one.quantity.in_clinic(one.standard_error),
                "predicted": mean, "low": low, "high": high,
                "full_model": None
                if posterior.checked is None
                else one.quantity.in_clinic(float(posterior.checked[k])),
                "misfit": float(misfits[k]), "held_out": one.held_out, "source": one.source,
            }
        )  # fmt: skip
    return rows


def curve_misfits(posterior: Posterior) -> dict[str, float]:
    """Root mean square misfit of each curve over its range, those held out included.

    Of a ventricle's volume the range is its stroke volume.
    """
    misfits = {}
    residual = posterior.best - posterior.observations.values
    names = [o.name for o in posterior.observations.all]
    for name in dict.fromkeys(o.name for o in posterior.observations.all if o.time is not None):
        own = np.array([other == name for other in names])
        size = float(np.ptp(posterior.observations.values[own]))
        misfits[name] = float(np.sqrt(np.mean(residual[own] ** 2))) / size if size else np.nan
    return misfits


def _ensemble(posterior: Posterior) -> list[dict[str, float]]:
    from organtwin.calibrate.parameters import values_of

    values = values_of(posterior.parameters, posterior.posterior)
    return [
        {
            f"{p.name} [{p.shown}]": _shown(v, p.unit, p.shown)
            for p, v in zip(posterior.parameters, row, strict=True)
        }
        for row in values
    ]


def _sobol(found: Sensitivity, posterior: Posterior) -> dict[str, Any]:
    errors = posterior.observations.standard_errors
    return {
        "parameters": list(found.names), "predictions": list(found.keys),
        "first": found.first.tolist(), "total": found.total.tolist(),
        "first_error": found.first_error.tolist(), "total_error": found.total_error.tolist(),
        "runs": found.runs, "blocks_lost": found.lost,
        "signals": found.signals(errors).tolist(),
        "without_influence": list(found.without_influence(errors)),
    }  # fmt: skip


def _shown(value: float, unit: str, shown: str) -> float:
    return float(registry().Quantity(float(value), unit).to(shown).magnitude)


def _write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    rows = list(rows)
    text = io.StringIO()
    if rows:
        table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(
            {k: f"{v:.6g}" if isinstance(v, float | np.floating) else v for k, v in row.items()}
            for row in rows
        )
    _write(path, text.getvalue())


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
