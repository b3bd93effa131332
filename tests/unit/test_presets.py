"""Pathologies as presets of case files, and what they do to the lumped circulation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from organtwin.case.blood import circulation
from organtwin.case.load import load_case
from organtwin.case.presets import leaves, presets, told
from organtwin.case.schema import Case
from organtwin.circulation.elements import BLOOD_DENSITY
from organtwin.circulation.limit_cycle import beat, limit_cycle
from organtwin.circulation.network import ClosedLoop
from organtwin.cli import app
from organtwin.errors import InputError
from organtwin.units import ML, MMHG

CASE = Path(__file__).parents[2] / "demos/heartbeat/case.toml"
#: Time step of the lumped circulation (ms).
STEP = 4.0


@pytest.mark.parametrize("name", presets())
def test_each_preset_has_sources_and_acts_on_the_demo(name):
    preset = presets()[name]
    assert preset.description
    assert set(preset.sources) == {key for key, _ in leaves(preset.settings)}
    before = ["infarct"] if name == "hydrogel_injection" else []
    case = load_case(CASE, [f"preset={[*before, name]}"])
    sentence = told(case)[-1]
    assert f"`{name}` sets" in sentence
    assert ("would set" in sentence) is (name == "hfpef")  # the demo tells its own blood volume
    assert case.model_dump(exclude={"preset"}) != load_case(CASE).model_dump(exclude={"preset"})


def test_what_the_user_gives_wins():
    names = 'preset=["aortic_stenosis", "mitral_regurgitation", "hfref"]'
    case = load_case(CASE, [names, "circulation.valves.aortic.area=0.6 cm^2"])
    assert case.preset == ("aortic_stenosis", "mitral_regurgitation", "hfref")
    assert case.circulation.valves["aortic"].area == pytest.approx(60.0)
    assert case.circulation.valves["mitral"].leak_area == pytest.approx(40.0)
    assert case.mechanics.contractility == 0.5
    first, second, _ = told(case)
    assert "would set others where the case has circulation.valves.aortic.area = 0.6 cm^2" in first
    assert "sets circulation.valves.mitral.leak_area = 0.4 cm^2" in second


def test_the_later_of_two_presets_lies_above_the_earlier():
    case = load_case(CASE, ['preset=["hfref", "hfpef"]'])
    assert case.mechanics.contractility == presets()["hfpef"].settings["mechanics"]["contractility"]


def test_keys_of_a_closed_loop_stay_out_of_an_open_one(tmp_path):
    arteries = '{impedance="0.04 mmHg*s/mL", compliance="1.5 mL/mmHg", resistance="1 mmHg*s/mL"}'
    opened = [
        "circulation.model=open_loop", "circulation.la_pressure=12 mmHg",
        "circulation.ra_pressure=4 mmHg", f"circulation.systemic={arteries}",
        f"circulation.pulmonary={arteries}",
    ]  # fmt: skip
    file = tmp_path / "case.toml"
    (tmp_path / "heart.nrrd").touch()
    file.write_text(
        '[image]\nfile = "heart.nrrd"\n[image.labels]\nlv_myocardium = 1\nlv_blood = 2\n'
        "rv_blood = 3\n"
    )
    case = load_case(file, [*opened, "preset=hfpef"])
    assert case.mechanics.passive_stiffness == 1.5
    assert "extra_volume" not in told(case)[0]


def test_unknown_presets_are_refused():
    with pytest.raises(InputError, match="Did you mean `aortic_stenosis`"):
        load_case(CASE, ["preset=aortic_stenosi"])


def test_presets_are_listed_with_their_sources():
    shown = CliRunner().invoke(app, ["presets"]).output
    assert "aortic_stenosis: Severe" in shown
    assert 'circulation.valves.aortic.area = "1.0 cm^2"' in shown
    assert "Otto et al. (2020)" in shown


# --- the lumped circulation, whose ventricles stand for the wall ---------------------------------


@dataclass(frozen=True)
class Numbers:
    """Of a beat of the limit cycle: mL, mmHg, mL/s."""

    ejection_fraction: float
    filling: float
    systolic: float
    aortic: float
    gradients: np.ndarray
    aortic_flow: np.ndarray
    forward: float
    back: float
    jets: np.ndarray


def lumped(case: Case) -> Numbers:
    """The closed loop; the factors of the wall act on both ventricles' elastances."""
    loop = circulation(case.circulation)
    assert isinstance(loop, ClosedLoop)
    a, b = case.mechanics.contractility, case.mechanics.passive_stiffness
    ill = [replace(one, E_A=a * one.E_A, E_B=b * one.E_B) for one in (loop.lv, loop.rv)]
    loop = loop.with_ventricles(*ill)
    start = loop.filled(loop.rest(), case.circulation.extra_volume)
    states = beat(loop, limit_cycle(loop, start, dt=STEP).state, STEP)
    times = STEP * np.arange(len(states))
    every = [loop.pressures(y, t) for t, y in zip(times, states, strict=True)]
    lv, la, aorta = (np.array([p[k] for p in every]) / MMHG for k in ("lv", "la", "ar_sys"))
    flows = [loop.flows(y, t) for t, y in zip(times, states, strict=True)]
    aortic, mitral = (np.array([getattr(q, k) for q in flows]) for k in ("aortic", "mitral"))
    volume = np.array([loop.volumes(y)["lv"] for y in states]) / ML
    open_, leaking = aortic > 1.0, mitral < -1.0
    return Numbers(
        100 * (1 - volume.min() / volume.max()), lv[0], lv.max(), aorta.max(),
        (lv - aorta)[open_], aortic[open_], aortic.clip(0).sum() / ML,
        -mitral.clip(max=0).sum() / ML, np.stack([(lv - la)[leaking], -mitral[leaking]]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def numbers():
    names = ("aortic_stenosis", "mitral_regurgitation", "hfref", "hfpef")
    cases = {name: load_case(CASE, [f"preset={name}"]) for name in names}
    more = "circulation.extra_volume=0 mL"  # the demo tells its own
    cases["hfpef"] = load_case(CASE, ["preset=hfpef", more])
    found = {name: lumped(case) for name, case in cases.items()}
    return {"healthy": lumped(load_case(CASE)), **found}


def test_aortic_stenosis_has_the_gradient_of_its_orifice(numbers):
    found = numbers["aortic_stenosis"]
    velocities = found.aortic_flow / 100.0  # mm/ms through 1 cm²: m/s
    assert found.systolic > found.aortic + 40.0
    assert numbers["healthy"].systolic < numbers["healthy"].aortic + 5.0
    assert found.gradients.mean() >= 40.0  # severe, Otto et al. (2020)
    # 4 v² of Bernoulli's equation, and the little that a healthy valve resists.
    bernoulli = (4.0 * velocities**2).mean()
    assert found.gradients.mean() == pytest.approx(bernoulli, rel=0.08)


def test_mitral_regurgitation_leaks_by_its_orifice(numbers):
    found = numbers["mitral_regurgitation"]
    fraction = found.back / (found.back + found.forward)
    assert 0.40 < fraction < 0.60  # severe from 50 % on; this ventricle is not dilated
    assert numbers["healthy"].back < 0.02 * numbers["healthy"].forward
    drop, flow = found.jets
    wide = drop > 20.0
    velocity = np.sqrt(2 * drop[wide] * MMHG / BLOOD_DENSITY)
    np.testing.assert_allclose(flow[wide] / 40.0, velocity, rtol=0.1)


def test_hfref_ejects_less(numbers):
    assert numbers["hfref"].ejection_fraction < 40.0
    assert numbers["hfref"].ejection_fraction < numbers["healthy"].ejection_fraction - 8.0


def test_hfpef_fills_at_a_high_pressure_and_keeps_its_ejection_fraction(numbers):
    healthy, ill = numbers["healthy"], numbers["hfpef"]
    assert ill.filling > healthy.filling + 5.0
    assert ill.ejection_fraction == pytest.approx(healthy.ejection_fraction, abs=3.0)
