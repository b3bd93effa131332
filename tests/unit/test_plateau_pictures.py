"""Pressure of cartilage from above: what was judged is drawn, and what was not is refused."""

from types import SimpleNamespace

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.export.plateau_pictures import draw_pressure
from organtwin.orthopaedics.operation import Healing, Load
from organtwin.orthopaedics.plateau_assessment import PLACES, PRESSURE


def view(maps):
    healing = (Healing("1 week"), Healing("6 weeks"))
    return SimpleNamespace(
        operation=SimpleNamespace(healing=healing, loads=(1,)), maps=maps, axes=np.eye(3)
    )


def test_pressure_is_drawn_at_each_stage(tmp_path):
    load = Load("walking", "", {})
    places = np.random.default_rng(1).uniform(-20.0, 20.0, (50, 3))
    pressure = np.where(places[:, 0] > 0.0, 1.0, np.nan)
    maps = {
        PLACES: places, f"walking_1_week_{PRESSURE}": pressure,
        f"walking_6_weeks_{PRESSURE}": 0.5 * pressure,
    }  # fmt: skip
    path = draw_pressure(view(maps), load, tmp_path / "pressure.png")
    assert path.stat().st_size > 5000
    with pytest.raises(InputError, match="cartilage = true"):
        draw_pressure(view({}), load, tmp_path / "none.png")
