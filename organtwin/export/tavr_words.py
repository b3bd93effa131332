"""Words for the indices of a deployed valve."""

from __future__ import annotations

from organtwin.export import index_words
from organtwin.export.index_words import Wording
from organtwin.index import Index

#: Groups in words, with what they ask.
_HEADINGS = {
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
    """Value with its unit as people write it; grades and advice by their names."""
    if one.name.startswith("laceration"):
        return "consider" if one.value > 0.0 else "no"
    if one.name == "paravalvular_grade" and one.value in GRADES:
        return GRADES[one.value]
    return index_words.shown_value(one)


def threshold_in_words(one: Index) -> str:
    """Threshold: "up to 30 mL", "at most mild or none"; empty without one."""
    high = one.threshold[1]
    if one.name.startswith("laceration"):
        return "not needed"
    if one.name == "paravalvular_grade" and high is not None:
        return f"at most {GRADES.get(high, f'{high:g}')}"
    return index_words.threshold_in_words(one)


WORDING = Wording(_HEADINGS, in_words, shown_value, threshold_in_words)
