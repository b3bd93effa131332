import numpy as np
import pytest

from organtwin.run.result import ventricular_results


def test_a_leaking_aortic_valve_takes_from_the_output():
    t = np.arange(0.0, 801.0, 1.0)
    volume = 120.0 - 35.0 * (1.0 - np.cos(2.0 * np.pi * t / 800.0))
    flow = np.where(t < 300.0, 300.0, -40.0)  # mL/s
    pressure = 10.0 + 0.0 * t
    scalars = {"t [ms]": t, "Q_av [mL/s]": flow} | {
        f"{what}_{side} [{unit}]": values
        for side in ("lv", "rv")
        for what, unit, values in (("V", "mL", volume), ("p", "mmHg", pressure))
    }
    found = ventricular_results(scalars, 800.0)
    assert found["lv_stroke_volume"] == (pytest.approx(70.0), "mL")
    assert found["lv_ejection_fraction"] == (pytest.approx(100.0 * 70.0 / 120.0), "%")
    per_beat = 0.3 * 300.0 - 0.5 * 40.0
    assert found["cardiac_output"] == (pytest.approx(per_beat * 60 / 800.0, rel=5e-3), "L/min")
