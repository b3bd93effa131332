"""Numbers that sum a run up, from its table of scalars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.circulation.emulator import BeatTrace
from organtwin.units import ML, MMHG

Columns = Mapping[str, NDArray[np.float64]]
#: Name → (value, unit).
Results = dict[str, tuple[float, str]]


@dataclass(frozen=True)
class Beat:
    """One heartbeat of a run.

    Attributes:
        start: When it begins (ms).
        period: Its length (ms).
    """

    start: float
    period: float

    @property
    def end(self) -> float:
        """When it ends (ms)."""
        return self.start + self.period

    def rows(self, t: NDArray[np.float64]) -> slice:
        """Rows of a table with these times, from the beat's start to its end.

        At a time that has two rows the first one ends a beat, and the second begins the next.
        """
        first = int(np.searchsorted(t, self.start + 1e-6)) - 1
        return slice(max(first, 0), int(np.searchsorted(t, self.end - 1e-6)) + 1)


def beat_trace(scalars: Columns, beat: Beat) -> BeatTrace:
    """What both ventricles did in a beat.

    Args:
        scalars: Columns of ``scalars.csv`` by heading.
        beat: Which.
    """
    rows = beat.rows(scalars["t [ms]"])
    after = slice(rows.start + 1, rows.stop)

    def both(name: str, unit: str, factor: float) -> NDArray[np.float64]:
        columns = [scalars[f"{name}_{side} [{unit}]"][after] for side in ("lv", "rv")]
        return factor * np.stack(columns, axis=1)

    times = scalars["t [ms]"][after] - beat.start
    return BeatTrace(times, both("V", "mL", ML), both("p", "mmHg", MMHG))


def ventricular_results(scalars: Columns, beat: Beat) -> Results:
    """Volumes, pressures and outputs of a beat.

    End-diastole is its first row; end-systole that of the smallest volume, for each ventricle. What
    leaks back through the aortic valve is no output.

    Args:
        scalars: Columns of ``scalars.csv`` by heading.
        beat: Which.
    """
    rows = beat.rows(scalars["t [ms]"])
    t = scalars["t [ms]"][rows]
    results: Results = {}
    for side in ("lv", "rv"):
        volume, pressure = scalars[f"V_{side} [mL]"][rows], scalars[f"p_{side} [mmHg]"][rows]
        diastole, systole = float(volume[0]), float(volume.min())
        rates = 1000 * np.diff(pressure) / np.diff(t)
        results |= {
            f"{side}_end_diastolic_volume": (diastole, "mL"),
            f"{side}_end_systolic_volume": (systole, "mL"),
            f"{side}_stroke_volume": (diastole - systole, "mL"),
            f"{side}_ejection_fraction": (100 * (1 - systole / diastole), "%"),
            f"{side}_end_diastolic_pressure": (float(pressure[0]), "mmHg"),
            f"{side}_peak_pressure": (float(pressure.max()), "mmHg"),
            f"{side}_dpdt_max": (float(rates.max()), "mmHg/s"),
            f"{side}_dpdt_min": (float(rates.min()), "mmHg/s"),
        }
    results |= _other_pressures(scalars, rows, t)
    if "lv_length [mm]" in scalars:
        results |= _wall_motion(scalars, rows)
    ejected = np.trapezoid(scalars["Q_av [mL/s]"][rows], t) / 1000
    results["cardiac_output"] = (float(ejected) * 60 / beat.period, "L/min")
    return results


#: Column of the pressure → name of what is read off it over the beat.
_ARTERIES = {"p_ar_sys [mmHg]": "arterial", "p_ar_pul [mmHg]": "pulmonary"}
_ATRIA = {"p_la [mmHg]": "la", "p_ra [mmHg]": "ra"}


def _other_pressures(scalars: Columns, rows: slice, t: NDArray[np.float64]) -> Results:
    """Arterial pressures, and the means in the atria, as far as the circulation has them."""

    def mean(pressure: NDArray[np.float64]) -> float:
        return float(np.trapezoid(pressure, t) / (t[-1] - t[0]))

    results: Results = {}
    for column, name in _ARTERIES.items():
        if column in scalars:
            pressure = scalars[column][rows]
            results |= {
                f"{name}_systolic_pressure": (float(pressure.max()), "mmHg"),
                f"{name}_diastolic_pressure": (float(pressure.min()), "mmHg"),
                f"{name}_mean_pressure": (mean(pressure), "mmHg"),
            }
    for column, name in _ATRIA.items():
        if column in scalars:
            results[f"{name}_mean_pressure"] = (mean(scalars[column][rows]), "mmHg")
    return results


def _wall_motion(scalars: Columns, rows: slice) -> Results:
    """What the walls did from end-diastole to end-systole, and the largest twist since.

    A strain is the stretch at end-systole over that at end-diastole, less one: negative where lines
    shorten. What the shape in the image was does not matter.
    """
    length, twist, ratio = (
        scalars[name][rows]
        for name in ("lv_length [mm]", "lv_twist [deg]", "lv_thickness_ratio [1]")
    )
    systole = int(np.argmin(scalars["V_lv [mL]"][rows]))
    strains: Results = {}
    for name, values in scalars.items():
        if name.endswith("_stretch [1]"):
            end = int(np.argmin(scalars[f"V_{name[:2]} [mL]"][rows]))
            stretch = values[rows]
            strain = float(100 * (stretch[end] / stretch[0] - 1))
            strains[name.removesuffix("stretch [1]") + "strain"] = (strain, "%")
    return {
        "lv_longitudinal_shortening": (float(100 * (1 - length[systole] / length[0])), "%"),
        "lv_wall_thickening": (float(100 * (ratio[systole] / ratio[0] - 1)), "%"),
        "lv_peak_twist": (float(np.max(twist - twist[0])), "degree"),
        **strains,
    }


def relative_change(values: NDArray[np.float64], reference: float) -> float:
    """Largest deviation from the reference (%)."""
    return float(100 * np.abs(values / reference - 1).max())
