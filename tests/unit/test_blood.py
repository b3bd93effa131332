"""Circulations of case files."""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from organtwin.case import filling
from organtwin.case.blood import circulation, warmed_up
from organtwin.case.load import CaseError, load_case
from organtwin.case.schema_circulation import OpenCirculation
from organtwin.circulation.elements import RESISTANCE
from organtwin.circulation.limit_cycle import beat, beat_change
from organtwin.circulation.network import ClosedLoop
from organtwin.circulation.open_loop import OpenLoop
from organtwin.errors import InputError
from organtwin.units import ML, MMHG

CASE = Path(__file__).parents[2] / "demos/heartbeat/case.toml"
ARTERIES = {
    "impedance": "0.04 mmHg*s/mL", "compliance": "1.5 mL/mmHg", "resistance": "1 mmHg*s/mL"
}  # fmt: skip
OPEN = {
    "model": "open_loop", "la_pressure": "12 mmHg", "ra_pressure": "4 mmHg",
    "systemic": ARTERIES, "pulmonary": ARTERIES,
}  # fmt: skip


def section(*changes):
    return load_case(CASE, changes).circulation


def test_closed_unless_told_and_at_its_limit_cycle():
    own = section("circulation.heart_rate=60 / min", "circulation.extra_volume=100 mL")
    loop = circulation(own)
    assert isinstance(loop, ClosedLoop)
    assert loop.period == pytest.approx(1000.0)
    y, told = warmed_up(own, loop)
    assert beat_change(y, beat(loop, y)[-1]) < 2e-6
    assert loop.blood(y).sum() == pytest.approx(loop.blood(loop.rest()).sum() + 100e3)
    assert "limit cycle" in told


def test_some_beats_are_some_beats():
    own = section("circulation.warm_up_beats=1", "circulation.extra_volume=0 mL")
    loop = circulation(own)
    y, _ = warmed_up(own, loop)
    assert y == pytest.approx(beat(loop, loop.rest())[-1])


def test_diseased_valves():
    own = section(
        "circulation.valves.aortic.area=0.8 cm^2", "circulation.valves.mitral.leak_area=30 mm^2"
    )
    valves = circulation(own).valves
    assert valves.aortic.area == pytest.approx(80.0)
    assert valves.mitral.leak_area == pytest.approx(30.0)
    assert valves.tricuspid == valves.pulmonary == circulation(section()).valves.aortic


def test_open_loop():
    loop = circulation(OpenCirculation.model_validate(OPEN))
    assert isinstance(loop, OpenLoop)
    assert loop.la_pressure == pytest.approx(12.0 * MMHG)
    assert pytest.approx(MMHG) == loop.systemic.R


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("circulation.valves.aorta.area=1 cm^2", "aorta"),
        ("circulation.valves.aortic.area=1 mm", "area"),
        ("circulation.model=open_loop", "la_pressure"),
    ],
)
def test_impossible_circulations(change, message):
    with pytest.raises(CaseError, match=message):
        section(change)


def test_a_valve_that_never_closes():
    with pytest.raises(CaseError, match="never close"):
        section(
            "circulation.valves.aortic.area=1 cm^2", "circulation.valves.aortic.leak_area=2 cm^2"
        )


def test_atria_valves_and_veins_of_a_patient():
    own = section(
        "circulation.left_atrium.passive_elastance=0.3 mmHg/mL",
        "circulation.left_atrium.contraction_onset=-120 ms",
        "circulation.valves.mitral.resistance=0.02 mmHg*s/mL",
        "circulation.systemic_venous_resistance=0.5 mmHg*s/mL",
        "circulation.aortic_impedance=0.05 mmHg*s/mL",
    )
    loop, usual = circulation(own), circulation(section())
    assert isinstance(loop, ClosedLoop)
    assert isinstance(usual, ClosedLoop)
    source = ClosedLoop.regazzoni_2022()
    for part in ("la", "ra", "systemic", "pulmonary"):
        assert asdict(getattr(usual, part)) == pytest.approx(asdict(getattr(source, part)))
    assert asdict(usual.valves.mitral) == pytest.approx(asdict(source.valves.mitral))
    assert pytest.approx(0.3 * MMHG / ML) == loop.la.E_B
    assert loop.la.E_A == usual.la.E_A
    assert loop.la.onset == -120.0
    assert loop.valves.mitral.R_open == pytest.approx(0.02 * RESISTANCE)
    assert loop.resistances.aortic.R_open == pytest.approx((0.0075 + 0.05) * RESISTANCE)
    assert loop.systemic.R_ven == pytest.approx(0.5 * RESISTANCE)


def test_veins_are_filled_to_the_blood_asked_for():
    loop = ClosedLoop.regazzoni_2022()
    heart = SimpleNamespace(loop=loop, loop_state=loop.rest())
    own = section("circulation.blood_volume=1700 mL")
    told = filling._infused(own, heart)
    assert loop.blood(heart.loop_state).sum() == pytest.approx(1700.0 * ML)
    assert "so that the blood is 1700 mL" in told[0]
    with pytest.raises(InputError, match=r"900 mL leave the systemic veins at -\d+ mmHg"):
        filling._infused(section("circulation.blood_volume=900 mL"), heart)
    assert filling._infused(section(), heart) == []


def test_the_loop_warms_up_with_the_blood_of_a_patient():
    own = section("circulation.blood_volume=1300 mL", "circulation.scale=1")
    loop = circulation(own)
    settled, _ = warmed_up(own, loop)
    assert loop.blood(settled).sum() == pytest.approx(1300.0 * ML)
    usual, _ = warmed_up(section("circulation.blood_volume=1300 mL"), loop)
    expected = float(loop.blood(loop.rest()).sum()) - 200.0 * ML
    assert loop.blood(usual).sum() == pytest.approx(expected)
