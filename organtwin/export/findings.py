"""Results in words, each beside what is normal and where that comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_HUDSMITH = "Hudsmith et al. 2005, 108 healthy adults, MRI"
_PETERSEN = "Petersen et al. 2017, 804 healthy adults, MRI"


@dataclass(frozen=True)
class Range:
    """What a value is compared with.

    Attributes:
        low: Below this is "below".
        high: Above this is "above".
        text: The range in words.
        source: Where it comes from.
    """

    low: float
    high: float
    text: str
    source: str


@dataclass(frozen=True)
class Finding:
    """A result as a reader sees it.

    Attributes:
        key: Name in ``run.json``.
        name: Name in words.
        value: Its value, None where the run did not get to it.
        unit: Its unit.
        range: What it is compared with, if there is something.
        headline: Whether it stands at the top of the report.
    """

    key: str
    name: str
    value: float | None
    unit: str
    range: Range | None = None
    headline: bool = False

    @property
    def verdict(self) -> str:
        """``within``, ``below``, ``above``, or empty without a value or a range."""
        if self.range is None or self.value is None:
            return ""
        if self.value < self.range.low:
            return "below"
        return "above" if self.value > self.range.high else "within"


def _by_sex(men: tuple[float, float], women: tuple[float, float], source: str) -> Range:
    """Means and standard deviations of men and women; normal is within two of them."""
    text = f"men {men[0]:g} ± {men[1]:g}, women {women[0]:g} ± {women[1]:g}".replace(
        " ±", "\u00a0±"
    )
    low = min(mean - 2 * deviation for mean, deviation in (men, women))
    high = max(mean + 2 * deviation for mean, deviation in (men, women))
    return Range(low, high, text, source)


_KNOWN: Mapping[str, tuple[str, Range | None, bool]] = {
    "lv_ejection_fraction": (
        "LV ejection fraction",
        _by_sex((58, 5), (61, 5), _PETERSEN),
        True,
    ),
    "lv_end_diastolic_volume": (
        "LV end-diastolic volume",
        _by_sex((160, 29), (135, 26), _HUDSMITH),
        True,
    ),
    "lv_end_systolic_volume": (
        "LV end-systolic volume",
        _by_sex((50, 16), (42, 12), _HUDSMITH),
        True,
    ),
    "lv_peak_pressure": (
        "LV peak pressure",
        Range(90, 140, "90 – 140", "systolic arterial pressure of healthy adults, textbook"),
        True,
    ),
    "lv_stroke_volume": (
        "LV stroke volume",
        _by_sex((108, 18), (87, 15), "Kawel-Boehm et al. 2020, MRI"),
        False,
    ),
    "cardiac_output": ("Cardiac output", Range(4, 8, "4 – 8", "textbook"), True),
    "rv_ejection_fraction": (
        "RV ejection fraction",
        Range(45, 75, "men about 59, women 62", f"means of {_HUDSMITH}"),
        True,
    ),
    "rv_end_diastolic_volume": (
        "RV end-diastolic volume",
        _by_sex((190, 33), (148, 35), _HUDSMITH),
        False,
    ),
    "rv_end_systolic_volume": (
        "RV end-systolic volume",
        _by_sex((78, 20), (56, 18), _HUDSMITH),
        False,
    ),
    "rv_stroke_volume": ("RV stroke volume", None, False),
    "rv_peak_pressure": (
        "RV peak pressure",
        Range(15, 30, "15 – 30", "systolic pressure by catheter, textbook"),
        False,
    ),
    "total_activation_time": (
        "Time to activate the ventricles",
        Range(50, 120, "50 – 120, about as long as the QRS", "textbook"),
        True,
    ),
    "qrs_duration": (
        "QRS duration",
        Range(70, 110, "70 – 110", "adults, standard of the AHA/ACCF/HRS (2009)"),
        True,
    ),
    "qt_interval": ("QT interval", Range(350, 460, "350 – 460 at 60/min", "textbook"), True),
    "qrs_axis": ("QRS axis", Range(-30, 90, "−30 – 90", "adults, AHA/ACCF/HRS (2009)"), True),
    "apd90_median": (
        "Action potential of the tissue, 90 % duration, median",
        Range(250, 350, "250 – 350", "human ventricular cells at 1 Hz, textbook"),
        False,
    ),
    "apd90_dispersion": ("Its spread, 5 to 95 % of the nodes", None, False),
    "conduction_velocity_fibre": (
        "Conduction velocity along the fibres, median",
        Range(0.5, 0.8, "0.5 – 0.8", "human ventricle, textbook"),
        False,
    ),
    "conduction_velocity_cross_fibre": ("Conduction velocity across, median", None, False),
    "tissue_volume_change": (
        "Largest change of tissue volume",
        Range(-1, 1, "below 1", "incompressibility of the tissue, accepted error"),
        True,
    ),
    "lv_end_diastolic_pressure": (
        "LV end-diastolic pressure",
        Range(3, 12, "3 – 12", "by catheter, textbook"),
        False,
    ),
    "rv_end_diastolic_pressure": (
        "RV end-diastolic pressure",
        Range(0, 8, "0 – 8", "by catheter, textbook"),
        False,
    ),
    "lv_unloaded_volume": ("LV volume without load", None, False),
    "rv_unloaded_volume": ("RV volume without load", None, False),
    "reference_displacement": (
        "Largest distance of the unloaded shape from the image",
        None,
        False,
    ),
    "reference_residual": ("Distance from the image under its pressures", None, False),
    "activated_fraction": ("Part of the tissue activated", None, False),
    "cell_apd90": (
        "Action potential of the paced cell, 90 % duration",
        Range(250, 350, "250 – 350", "human ventricular cells at 1 Hz, textbook"),
        False,
    ),
    "blood_volume_drift": ("Blood lost by the circulation", None, False),
    "mesh_cells": ("Tetrahedra of the mechanics mesh", None, False),
    "mesh_min_dihedral_angle": ("Smallest dihedral angle", None, False),
    "wall_time": ("Time from start to end", None, False),
    "peak_memory": ("Peak memory, all ranks", None, False),
}


def findings(results: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Results of a run, those with a normal range first.

    Args:
        results: ``results`` of ``run.json``: name → value and unit.
    """
    found = [
        Finding(key, name, results[key]["value"], results[key]["unit"], normal, headline)
        for key, (name, normal, headline) in _KNOWN.items()
        if key in results
    ]
    others = [key for key in results if key not in _KNOWN]
    return found + [
        Finding(key, _in_words(key), results[key]["value"], results[key]["unit"]) for key in others
    ]


def _in_words(key: str) -> str:
    """A key as a name: ``lv_wall_mass`` → "LV wall mass"."""
    words = [
        word.upper() if word in ("lv", "rv", "la", "ra", "ecg") else word for word in key.split("_")
    ]
    text = " ".join(words)
    return text[0].upper() + text[1:]
