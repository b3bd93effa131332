"""The report of a calibration: one HTML file, from the result directory's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from organtwin.export.pages import read_json, read_run, state_in_words, write_page

_CAPTIONS = {
    "parameters.png": (
        "Parameters",
        "Densities before and after; shaded are the 95 % intervals.",
    ),
    "predictions.png": (
        "Predicted against measured",
        "In standard errors of the measurement; wider than the picture is drawn at its edge.",
    ),
    "curves.png": ("Curves", "Bands are 95 % intervals of the predictions, bars of measurements."),
    "influence.png": (
        "What informs what",
        "How much wider a parameter's variance would be without a measurement, the others kept.",
    ),
    "correlations.png": (
        "Correlations",
        "Near ±1 only a combination of the two parameters is known.",
    ),
    "sensitivity.png": (
        "Sensitivity",
        "Over the priors, with all interactions; of curves the largest over time.",
    ),
}


def write_calibration_report(directory: str | Path) -> Path:
    """Write ``report.html`` from ``run.json``, ``calibration.json`` and the pictures.

    Raises:
        InputError: there is no readable ``run.json``.
    """
    folder = Path(directory)
    found = read_json(folder / "calibration.json")
    return write_page(
        folder,
        "calibration_report.html",
        _CAPTIONS,
        found=found,
        verdict=_verdict(read_run(folder), found),
    )


def _verdict(run: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """What became of the calibration, in a few sentences."""
    predictions = found.get("predictions", [])
    used = [row for row in predictions if not row["held_out"]]
    held = [row for row in predictions if row["held_out"]]
    parts = [state_in_words(run), _fit(found.get("chi_square", float("nan")), len(used))]
    if held:
        near = sum(abs(row["misfit"]) <= 2 for row in held)
        parts.append(f"Of {len(held)} held-out measurements {near} are predicted within 2 σ.")
    if hidden := (found.get("sensitivity") or {}).get("without_influence"):
        parts.append(f"Too little influence to be found: {', '.join(hidden)}.")
    if found.get("unidentified"):
        parts.append(f"Not identified: {', '.join(found['unidentified'])}.")
    if found.get("redrawn"):
        parts.append(f"{len(found['redrawn'])} members failed for good and were replaced.")
    return " ".join(parts)


def _fit(chi_square: float, number: int) -> str:
    if chi_square <= 2.0:
        return f"The model explains the {number} measurements within their errors."
    return (
        f"The model misses the {number} measurements by {chi_square**0.5:.1f} standard errors in "
        "root mean square: it lacks something, or the errors are too small. The intervals do not "
        "know of this."
    )
