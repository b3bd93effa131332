"""Active tension in case files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from organtwin.case.build import myocardium
from organtwin.case.load import load_case
from organtwin.cells.prescribed_tension import CurveTension
from organtwin.cells.rdq20 import RDQ20MF
from organtwin.cells.tension import Land2017
from organtwin.coupling.muscle import TensionFeedback
from organtwin.errors import InputError
from organtwin.materials.active import TensionCurve

IMAGE = """
[image]
file = "heart.nrrd"
[image.labels]
lv_myocardium = 1
lv_blood = 2
rv_blood = 3
"""
CURVE = 'law = "prescribed"\ntimes = ["0 ms", "0.1 s"]\ntensions = ["0 kPa", "450 mmHg"]\n'


@pytest.fixture
def case(tmp_path):
    """A case whose tension is the given text."""
    (tmp_path / "heart.nrrd").touch()

    def load(text, more=""):
        file = tmp_path / "case.toml"
        file.write_text(f"{IMAGE}[mechanics.active]\n{text}\n{more}", encoding="utf-8")
        return load_case(file)

    return load


def test_a_heart_without_a_word_on_tension_has_that_of_land(case):
    tissue = myocardium(case(""))
    assert tissue.tension == Land2017(T_ref=220.0)
    assert tissue.feedback == TensionFeedback(stretch=True, stretch_rate=True)


def test_parameters_of_land_come_in_their_units(case):
    text = 'half_activation = "0.6 umol/L"\nreference_tension = "1500 mmHg"'
    tissue = myocardium(case(text + "\ntroponin_cooperativity = 3"))
    assert tissue.tension.ca50 == pytest.approx(0.6)
    assert tissue.tension.n_trpn == 3
    assert tissue.tension.beta_1 / tissue.tension.ca50 == pytest.approx(-2.4 / 0.805)
    assert tissue.tension.T_ref == pytest.approx(1500 * 0.133322387415)


def test_regulatory_units_and_cross_bridges(case):
    text = 'law = "rdq20_mf"\nsarcomere_length = "2000 nm"\ncross_fibre_fraction = 0.1'
    tissue = myocardium(case(text))
    assert pytest.approx(2.0) == tissue.tension.SL0
    assert replace(tissue.tension, SL0=2.2) == RDQ20MF()
    assert tissue.cross_fibre_fraction == 0.1


def test_a_prescribed_curve(case):
    tension = myocardium(case(CURVE + 'threshold = "-0.04 V"')).tension
    values = (0.0, pytest.approx(450 * 0.133322387415))
    assert tension == CurveTension(TensionCurve((0.0, 100.0), tension.curve.values), threshold=-40)
    assert tension.curve.values == values


def test_a_twitch_rises_stays_and_falls(case):
    text = 'law = "twitch"\npeak_tension = "100 kPa"\ncontraction_time = "40 ms"\n'
    more = 'relaxation_time = "20 ms"\nduration = "0.3 s"\ndelay = "10 ms"'
    tension = myocardium(case(text + more)).tension
    t = np.array([0.0, 10.0, 50.0, 200.0, 290.0, 310.0, 400.0])
    rise, fall = np.tanh(np.maximum(t - 10, 0) / 40), np.tanh(np.maximum(310 - t, 0) / 20)
    assert tension.curve(t) == pytest.approx(100 * (rise * fall) ** 2, abs=1e-9)
    assert tension.curve(170.0) > 99
    assert tension.beta_0 == 2.3


def test_feedback_is_switched_off(case):
    tissue = myocardium(case("", "[mechanics.feedback]\nstretch_rate = false"))
    assert tissue.feedback == TensionFeedback(stretch=True, stretch_rate=False)


def test_cells_without_calcium_pull_by_a_prescribed_curve_only(case):
    cells = '[electrophysiology]\nionic_model = "mitchell_schaeffer_2003"'
    with pytest.raises(InputError, match='law = "prescribed"'):
        case("", cells)
    assert isinstance(myocardium(case(CURVE, cells)).tension, CurveTension)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('law = "land_2018"', "land_2017"),
        ('law = "prescribed"', "`times` is missing"),
        ('law = "prescribed"\ntimes = ["0 ms", "9 ms"]\ntensions = [0, 60]', "has no unit"),
        (CURVE.replace('"0 ms"', '"0.2 s"'), "do not increase"),
        (CURVE.replace('"0 kPa", ', ""), "2 instants and 1 tensions"),
        ('law = "twitch"\nduration = "0 ms"', "duration"),
        ('law = "twitch"\nrepolarised = "0 mV"', "above threshold"),
        (CURVE + 'repolarised = "0 mV"', "above threshold"),
        ('law = "rdq20_mf"\nreference_tension = "9 kPa"', "unknown key `reference_tension`"),
        ('law = "rdq20_mf"\nsarcomere_length = "2.2 mm"', "sarcomere_length"),
    ],
)
def test_what_is_wrong_with_a_tension(case, text, message):
    with pytest.raises(InputError, match=message):
        case(text)
