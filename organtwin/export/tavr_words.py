"""Indices of a deployed valve in words: names, groups, thresholds and a verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from organtwin.errors import InputError
from organtwin.index import Index, require_groups
from organtwin.tavr.groups import GROUPS

#: Groups in words, with what they ask.
HEADINGS = {
    "frame": "Frame: how wide and how round",
    "position": "Position in the root",
    "anchoring": "Anchoring: does it hold",
    "contact": "Contact with the conduction region",
    "wall": "Wall: oversizing, stretch and injury",
    "leak": "Paravalvular leak",
    "coronary": "Coronary arteries",
    "flow": "Orifice and gradient",
    "fatigue": "Fatigue of the frame",
}
#: What names of keys don't say by themselves.
_WORDS = {
    "frame_asymmetry": "Asymmetry of the frame", "frame_strain_max": "Largest strain of a strut",
    "implantation_depth": "Depth below the annulus",
    "implantation_depth_septum": "Depth below the annulus, at the septum",
    "delta_msid": "Membranous septum left below the frame (ΔMSID)",
    "frame_tilt": "Tilt against the annulus", "frame_offset": "Off the middle of the annulus",
    "anchoring_force": "Radial force on tissue", "contact_length": "Strut in contact",
    "migration_load": "Load in diastole", "migration_safety": "Safety against migration",
    "friction_needed": "Friction that would just hold it",
    "contact_pressure_max": "Largest contact pressure, anywhere",
    "contact_pressure_index": "Contact pressure index, membranous septum",
    "septum_contact_force": "Force on the membranous septum",
    "septum_contact_pressure_max": "Largest contact pressure, membranous septum",
    "conduction_contact_pressure_index": "Contact pressure index, conduction region",
    "conduction_contact_pressure_max": "Largest contact pressure, conduction region",
    "conduction_contact_force": "Force on the conduction region",
    "oversizing_area": "Oversizing by area", "oversizing_perimeter": "Oversizing by perimeter",
    "annulus_stretch": "Stretch of the annulus", "annulus_ellipticity": "Roundness of the annulus",
    "areal_stretch": "Areal stretch of the wall", "gap_area_smallest": "Gap area, smallest",
    "gap_area_skirt_top": "Gap area, top of the skirt", "sealed_share": "Directions sealed",
    "paravalvular_flow": "Paravalvular flow", "regurgitant_volume": "Regurgitant volume",
    "regurgitant_orifice": "Effective regurgitant orifice",
    "paravalvular_grade": "Grade of the leak",
    "effective_orifice_area": "Effective orifice area", "mean_gradient": "Mean gradient",
    "indexed_orifice_area": "Orifice area per body surface",
    "strain_amplitude_max": "Largest strain amplitude of a beat",
    "fatigue_safety": "Safety against fatigue",
}  # fmt: skip
#: Beginnings of keys whose end is a place.
_PLACED = {
    "gap_area": "Gap area", "wall_stress_ratio": "Stress after / before",
    "wall_stress": "Wall stress", "injury_margin": "Strength / stress",
    "valve_to_coronary": "Valve to coronary", "ostium_height": "Height of the ostium",
    "cusp_to_ostium": "Cusp to ostium per diameter", "laceration": "Leaflet to be lacerated",
    "leaflet_tip_over_ostium": "Leaflet's tip over the ostium",
}  # fmt: skip
_LEVELS = {
    "diameter_min": "least diameter", "diameter_max": "largest diameter",
    "expansion": "expansion", "eccentricity": "eccentricity",
}  # fmt: skip
GRADES = {1.0: "mild or none", 2.0: "moderate", 3.0: "severe"}


def read_indices(folder: Path) -> list[Index]:
    """Indices of a result directory; none where it was not judged.

    Raises:
        InputError: ``indices.json`` is damaged.
    """
    file = folder / "indices.json"
    if not file.is_file():
        return []
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
        found = [Index.from_record(one) for one in records]
        require_groups(found, GROUPS)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(str(file), f"can't be read ({error}).", "Judge it again.") from None
    return found


def in_words(key: str) -> str:
    """Name of an index: ``frame_annulus_expansion`` → "Annulus, expansion"."""
    if key in _WORDS:
        return _WORDS[key]
    if key.startswith("frame_"):
        for end, words in _LEVELS.items():
            if key.endswith(end):
                level = key.removeprefix("frame_").removesuffix(f"_{end}").replace("_", " ")
                return f"{level.capitalize()}, {words}"
    for start, words in _PLACED.items():
        if key.startswith(f"{start}_"):
            return f"{words}, {key.removeprefix(f'{start}_').replace('_', ' ')}"
    return key.replace("_", " ").capitalize()


def shown_value(one: Index) -> str:
    """Value with its unit as people write it."""
    if one.name.startswith("laceration"):
        return "consider" if one.value > 0.0 else "no"
    if one.name == "paravalvular_grade":
        return GRADES.get(one.value, number(one.value))
    unit = "" if one.unit in ("1", "", "grade") else f"\u202f{_UNITS.get(one.unit, one.unit)}"
    return number(one.value) + unit


_UNITS = {"degree": "°"}


def number(value: float) -> str:
    """Three digits that mean something; never in powers of ten where it can be helped."""
    size = abs(value)
    if size >= 100.0 or value == 0.0:
        text = f"{value:.0f}"
    elif size >= 10.0:
        text = f"{value:.1f}"
    elif size >= 0.01:
        text = f"{value:.2f}"
    else:
        text = f"{value:.2g}"
    return text.replace("-", "−")


def threshold_in_words(one: Index) -> str:
    """Threshold: "up to 30 mL", "at least 4 mm", "0.8 to 1.1"; empty without one."""
    low, high = one.threshold
    if one.name.startswith("laceration"):
        return "not needed"
    if one.name == "paravalvular_grade" and high is not None:
        return f"at most {GRADES.get(high, f'{high:g}')}"
    unit = "" if one.unit in ("1", "", "grade") else f"\u202f{_UNITS.get(one.unit, one.unit)}"
    if low is not None and high is not None:
        return f"{low:g} to {high:g}{unit}"
    if low is not None:
        return f"at least {low:g}{unit}"
    return f"up to {high:g}{unit}" if high is not None else ""


def by_group(indices: Sequence[Index]) -> dict[str, list[Index]]:
    """Indices under the headings of their groups, in the order of a report."""
    found = {HEADINGS[group]: [one for one in indices if one.group == group] for group in GROUPS}
    return {heading: rows for heading, rows in found.items() if rows}


def verdict_in_words(indices: Sequence[Index], valve: str) -> str:
    """What the indices say about a valve, in a sentence."""
    judged = [one for one in indices if one.verdict != "none"]
    outside = [one for one in judged if one.concerns]
    if not judged:
        return f"{valve}: nothing was judged."
    if not outside:
        return f"{valve}: all {len(judged)} indices that have a threshold lie within it."
    worst: dict[str, Index] = {}
    for one in outside:
        if one.group not in worst or _excess(one) > _excess(worst[one.group]):
            worst[one.group] = one
    told = "; ".join(
        f"{_small(in_words(one.name))} {shown_value(one)} ({threshold_in_words(one)})"
        for one in worst.values()
    )
    most = " Most by group" if len(outside) > len(worst) else " Namely"
    return (
        f"{valve}: {len(outside)} of {len(judged)} indices that have a threshold raise concern."
        f"{most}: {told}."
    )


def _excess(one: Index) -> float:
    """How far an index lies outside of its threshold, per its size."""
    low, high = one.threshold
    limit = low if one.verdict == "below" else high
    if limit is None:
        return 0.0
    return abs(one.value - limit) / max(abs(limit), 0.1)


def _small(words: str) -> str:
    """With a small first letter."""
    return words[:1].lower() + words[1:]
