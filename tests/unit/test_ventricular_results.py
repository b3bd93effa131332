import numpy as np
import pytest

from organtwin.run.result import Beat, ventricular_results


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
    found = ventricular_results(scalars, Beat(0.0, 800.0))
    assert found["lv_stroke_volume"] == (pytest.approx(70.0), "mL")
    assert found["lv_ejection_fraction"] == (pytest.approx(100.0 * 70.0 / 120.0), "%")
    per_beat = 0.3 * 300.0 - 0.5 * 40.0
    assert found["cardiac_output"] == (pytest.approx(per_beat * 60 / 800.0, rel=5e-3), "L/min")


def test_rows_of_a_beat_begin_after_a_jump_and_end_before_the_next():
    t = np.array([0.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 5.0])
    assert Beat(0.0, 2.0).rows(t) == slice(0, 3)
    assert Beat(2.0, 2.0).rows(t) == slice(3, 6)
    assert Beat(4.0, 1.0).rows(t) == slice(6, 8)
