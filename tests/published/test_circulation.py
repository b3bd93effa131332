"""The closed loop against the 20th beat of the program ``circulation`` with its default values."""

from dataclasses import replace

import numpy as np
import pytest

from organtwin.circulation.limit_cycle import beat
from organtwin.circulation.network import ClosedLoop
from organtwin.units import ML, MMHG

#: Smallest and largest values of that beat at 1 ms: volumes (mL), pressures (mmHg).
VOLUMES = {"lv": (66.99, 136.84), "rv": (111.70, 181.55), "la": (59.84, 105.31),
           "ra": (82.66, 124.06)}  # fmt: skip
PRESSURES = {"lv": (9.98, 119.80), "rv": (3.95, 25.06), "la": (13.65, 18.24), "ra": (5.51, 11.91),
             "ar_sys": (79.86, 118.84), "ar_pul": (18.50, 21.38)}  # fmt: skip


def as_published(loop):
    """Onsets and durations of the program: ventricles at 100 ms, atria 100 ms after 800 ms."""
    atria = {"onset": 900.0, "T_C": 170.0, "T_R": 170.0}
    ventricles = {"onset": 100.0, "T_C": 250.0, "T_R": 400.0}
    return replace(
        loop, la=replace(loop.la, **atria), ra=replace(loop.ra, **atria),
        lv=replace(loop.lv, **ventricles), rv=replace(loop.rv, **ventricles),
    )  # fmt: skip


def test_twentieth_beat():
    loop = as_published(ClosedLoop.regazzoni_2022())
    y = loop.rest()
    for _ in range(19):
        y = beat(loop, y)[-1]
    states = beat(loop, y)
    for name, wanted in VOLUMES.items():
        curve = [loop.volumes(x)[name] / ML for x in states]
        assert (min(curve), max(curve)) == pytest.approx(wanted, rel=0.01)
    for name, wanted in PRESSURES.items():
        curve = [loop.pressures(x, k)[name] / MMHG for k, x in enumerate(states)]
        assert (min(curve), max(curve)) == pytest.approx(wanted, rel=0.01)
    stroke = np.ptp([loop.volumes(x)["lv"] for x in states]) / ML
    assert stroke == pytest.approx(69.85, rel=0.005)
