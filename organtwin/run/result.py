"""Numbers that sum a run up, from its table of scalars."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[np.float64]]
#: Name → (value, unit).
Results = dict[str, tuple[float, str]]


def ventricular_results(scalars: Columns, period: float) -> Results:
    """Volumes, pressures and outputs of the last whole beat.

    End-diastole is its first row; end-systole that of the smallest volume, for each ventricle. What
    leaks back through the aortic valve is no output.

    Args:
        scalars: Columns of ``scalars.csv`` by heading.
        period: Length of a beat (ms).
    """
    t = scalars["t [ms]"]
    beats = max(1, int(np.floor((t[-1] - t[0]) / period + 1e-9)))
    last = t >= t[0] + (beats - 1) * period - 1e-9
    results: Results = {}
    for side in ("lv", "rv"):
        volume, pressure = scalars[f"V_{side} [mL]"][last], scalars[f"p_{side} [mmHg]"][last]
        diastole, systole = float(volume[0]), float(volume.min())
        results |= {
            f"{side}_end_diastolic_volume": (diastole, "mL"),
            f"{side}_end_systolic_volume": (systole, "mL"),
            f"{side}_stroke_volume": (diastole - systole, "mL"),
            f"{side}_ejection_fraction": (100 * (1 - systole / diastole), "%"),
            f"{side}_end_diastolic_pressure": (float(pressure[0]), "mmHg"),
            f"{side}_peak_pressure": (float(pressure.max()), "mmHg"),
        }
    ejected = np.trapezoid(scalars["Q_av [mL/s]"][last], t[last]) / 1000
    results["cardiac_output"] = (float(ejected) * 60 / period, "L/min")
    return results


def relative_change(values: NDArray[np.float64], reference: float) -> float:
    """Largest deviation from the reference (%)."""
    return float(100 * np.abs(values / reference - 1).max())
