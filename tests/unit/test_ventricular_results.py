import numpy as np
import pytest

from organtwin.calibrate.quantities import QUANTITIES
from organtwin.run.result import Beat, ventricular_results
from organtwin.units import registry


def one_beat():
    """800 ms, the left ventricle smallest in the middle, the right one 100 ms later."""
    t = np.arange(0.0, 801.0, 1.0)
    left = 120.0 - 35.0 * (1.0 - np.cos(2.0 * np.pi * t / 800.0))
    right = np.interp(t, [0.0, 500.0, 800.0], [120.0, 50.0, 120.0])
    return {"t [ms]": t, "Q_av [mL/s]": np.where(t < 300.0, 300.0, -40.0)} | {
        f"{what}_{side} [{unit}]": values
        for side, volume in (("lv", left), ("rv", right))
        for what, unit, values in (("V", "mL", volume), ("p", "mmHg", 10.0 + 0.0 * t))
    }


def test_a_leaking_aortic_valve_takes_from_the_output():
    found = ventricular_results(one_beat(), Beat(0.0, 800.0))
    assert found["lv_stroke_volume"] == (pytest.approx(70.0), "mL")
    assert found["lv_ejection_fraction"] == (pytest.approx(100.0 * 70.0 / 120.0), "%")
    per_beat = 0.3 * 300.0 - 0.5 * 40.0
    assert found["cardiac_output"] == (pytest.approx(per_beat * 60 / 800.0, rel=5e-3), "L/min")


def test_rows_of_a_beat_begin_after_a_jump_and_end_before_the_next():
    t = np.array([0.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 5.0])
    assert Beat(0.0, 2.0).rows(t) == slice(0, 3)
    assert Beat(2.0, 2.0).rows(t) == slice(3, 6)
    assert Beat(4.0, 1.0).rows(t) == slice(6, 8)


def test_strains_are_from_end_diastole_to_end_systole_and_known_as_measurements():
    scalars = one_beat()
    t = scalars["t [ms]"]
    shape = {"lv_length [mm]": 80.0, "lv_twist [deg]": 0.0, "lv_thickness_ratio [1]": 1.0}
    scalars |= {name: np.full_like(t, value) for name, value in shape.items()}
    # The image shows a smaller heart than the end of diastole.
    stretch = np.interp(t, [0.0, 400.0, 500.0, 800.0], [1.2, 1.02, 0.96, 1.2])
    names = [name for name in QUANTITIES if name.endswith("_strain")]
    for name in names:
        scalars[name.removesuffix("strain") + "stretch [1]"] = stretch
    found = ventricular_results(scalars, Beat(0.0, 800.0))
    assert len(names) == 5
    for name in names:
        value, unit = found[name]
        strain = registry().Quantity(value, unit).to(QUANTITIES[name].unit).magnitude
        assert strain == pytest.approx(-0.2 if name.startswith("rv") else -0.15)


def test_arteries_and_atria_as_far_as_the_circulation_has_them():
    scalars = one_beat()
    t = scalars["t [ms]"]
    assert "arterial_mean_pressure" not in ventricular_results(scalars, Beat(0.0, 800.0))
    scalars["p_ar_sys [mmHg]"] = np.interp(t, [0.0, 200.0, 800.0], [80.0, 120.0, 80.0])
    scalars["p_la [mmHg]"] = np.full_like(t, 9.0)
    found = ventricular_results(scalars, Beat(0.0, 800.0))
    told = {name: found[f"arterial_{name}_pressure"] for name in ("systolic", "diastolic", "mean")}
    assert told == {
        "systolic": (pytest.approx(120.0), "mmHg"),
        "diastolic": (pytest.approx(80.0), "mmHg"),
        "mean": (pytest.approx(100.0), "mmHg"),
    }
    assert found["la_mean_pressure"] == (pytest.approx(9.0), "mmHg")
    assert {"arterial_mean_pressure", "la_mean_pressure"} <= set(QUANTITIES)
