"""What can be measured of a heart and predicted by a model, by name and unit."""

from __future__ import annotations

from dataclasses import dataclass

from organtwin.errors import InputError, suggestion
from organtwin.units import registry


@dataclass(frozen=True)
class Quantity:
    """Something that is measured.

    Attributes:
        name: As in files and case files.
        words: As in tables and pictures.
        unit: Unit that organtwin computes in.
        shown: Unit of the clinic.
        over_time: Whether it has a value at every time of the beat.
        loinc: Codes of LOINC that mean it.
    """

    name: str
    words: str
    unit: str
    shown: str
    over_time: bool = False
    loinc: tuple[str, ...] = ()

    def in_clinic(self, value: float) -> float:
        """A value (or a difference of values) in the unit of the clinic."""
        return float(registry().Quantity(value, self.unit).to(self.shown).magnitude)


def _of(unit: str, shown: str, *entries: tuple[str, str, tuple[str, ...]]) -> list[Quantity]:
    return [Quantity(name, words, unit, shown, loinc=codes) for name, words, codes in entries]


#: Codes are of LOINC (loinc.org): ventricular volumes, ejection by ultrasound and pulmonary
#: pressure as in the echocardiography example of the guide "Cross Border Data Exchange", heart
#: rate and arterial pressures as in the vital signs of FHIR, ECG intervals as in US Core.
_ALL = [
    *_of(
        "mm^3", "mL",
        ("lv_end_diastolic_volume", "LV end-diastolic volume", ("75988-6",)),
        ("lv_end_systolic_volume", "LV end-systolic volume", ("75989-4",)),
        ("lv_stroke_volume", "LV stroke volume", ()),
        ("lv_unloaded_volume", "LV volume without load", ()),
        ("rv_end_diastolic_volume", "RV end-diastolic volume", ()),
        ("rv_end_systolic_volume", "RV end-systolic volume", ()),
        ("rv_stroke_volume", "RV stroke volume", ()),
    ),
    *_of(
        "1", "%",
        ("lv_ejection_fraction", "LV ejection fraction", ("10230-1", "18043-0")),
        ("rv_ejection_fraction", "RV ejection fraction", ()),
        ("lv_longitudinal_strain", "LV longitudinal strain", ()),
        ("lv_circumferential_strain", "LV circumferential strain", ()),
        ("lv_endocardial_longitudinal_strain", "LV endocardial longitudinal strain", ()),
        ("lv_endocardial_circumferential_strain", "LV endocardial circumferential strain", ()),
        ("rv_longitudinal_strain", "RV free-wall longitudinal strain", ()),
        ("lv_longitudinal_shortening", "LV longitudinal shortening", ()),
        ("lv_wall_thickening", "LV wall thickening", ()),
    ),
    *_of("degree", "degree", ("lv_peak_twist", "LV peak twist", ())),
    *_of(
        "kPa", "mmHg",
        ("arterial_systolic_pressure", "Systolic arterial pressure", ("8480-6",)),
        ("arterial_diastolic_pressure", "Diastolic arterial pressure", ("8462-4",)),
        ("arterial_mean_pressure", "Mean arterial pressure", ("8478-0",)),
        ("pulmonary_systolic_pressure", "Systolic pulmonary arterial pressure", ()),
        ("pulmonary_diastolic_pressure", "Diastolic pulmonary arterial pressure", ()),
        ("pulmonary_mean_pressure", "Mean pulmonary arterial pressure", ("8414-5",)),
        ("lv_peak_pressure", "LV peak pressure", ()),
        ("lv_end_diastolic_pressure", "LV end-diastolic pressure", ()),
        ("rv_peak_pressure", "RV peak pressure", ()),
        ("rv_end_diastolic_pressure", "RV end-diastolic pressure", ()),
        ("la_mean_pressure", "Mean left atrial pressure", ()),
        ("ra_mean_pressure", "Mean right atrial pressure", ()),
    ),
    *_of(
        "kPa/ms", "mmHg/s",
        ("lv_dpdt_max", "LV largest rise of pressure", ()),
        ("lv_dpdt_min", "LV fastest fall of pressure", ()),
        ("rv_dpdt_max", "RV largest rise of pressure", ()),
        ("rv_dpdt_min", "RV fastest fall of pressure", ()),
    ),
    *_of("mm^3/ms", "L/min", ("cardiac_output", "Cardiac output", ())),
    *_of("1/ms", "1/min", ("heart_rate", "Heart rate", ("8867-4",))),
    *_of(
        "ms", "ms",
        ("qrs_duration", "QRS duration", ("8633-0",)),
        ("qt_interval", "QT interval", ("8634-8",)),
        ("total_activation_time", "Time to activate the ventricles", ()),
    ),
    Quantity("lv_volume", "LV volume", "mm^3", "mL", over_time=True),
    Quantity("rv_volume", "RV volume", "mm^3", "mL", over_time=True),
    Quantity("arterial_pressure", "Arterial pressure", "kPa", "mmHg", over_time=True),
    Quantity("lv_pressure", "LV pressure", "kPa", "mmHg", over_time=True),
]  # fmt: skip
QUANTITIES = {quantity.name: quantity for quantity in _ALL}
#: Code of LOINC → quantity.
BY_LOINC = {code: quantity for quantity in _ALL for code in quantity.loinc}


def known(name: str, place: str) -> Quantity:
    """The quantity of a name.

    Args:
        name: For example ``lv_ejection_fraction``.
        place: File and field, for the message.

    Raises:
        InputError: there is none of this name.
    """
    if name not in QUANTITIES:
        raise InputError(place, f"no quantity `{name}`.", suggestion(name, QUANTITIES))
    return QUANTITIES[name]
