"""Phases of a case, and clocks that begin with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from organtwin.case.heartbeats import OnClock
from organtwin.case.load import load_case
from organtwin.case.protocol import phases
from organtwin.case.schema_circulation import PER_MINUTE
from organtwin.errors import InputError
from organtwin.solve.outcome import Step
from organtwin.units import ML, MMHG

CASE = Path(__file__).parents[2] / "demos/heartbeat/case.toml"
OPEN = """
[circulation]
model = "open_loop"
la_pressure = "12 mmHg"
ra_pressure = "6 mmHg"
systemic = {impedance = "0.05 mmHg*s/mL", compliance = "1.3 mL/mmHg", resistance = "1 mmHg*s/mL"}
pulmonary = {impedance = "0.01 mmHg*s/mL", compliance = "4 mL/mmHg", resistance = "0.1 mmHg*s/mL"}
"""


def written(tmp_path: Path, text: str, circulation: str = "") -> Path:
    head, _, rest = CASE.read_text().partition("[circulation]")
    tail = rest[rest.index("\n[") :] if circulation else "\n[circulation]" + rest
    file = tmp_path / "case.toml"
    image = (CASE.parent / "../../meshes/wholeheart/wh.nii.gz").resolve().as_posix()
    head = head.replace("../../meshes/wholeheart/wh.nii.gz", image)
    file.write_text(head + circulation + tail + text)
    return file


def test_changes_are_to_the_case_not_to_the_phase_before(tmp_path):
    case = load_case(written(tmp_path, """
[[protocol]]
beats = 3
limit_cycle = 0.02
heart_rate = "120 / min"
contractility = 1.5
afterload = 0.7
[[protocol]]
beats = 2
extra_volume = "300 mL"
"""))  # fmt: skip
    rest, exercise, infused = phases(case)
    assert (rest.case, rest.beats, rest.limit_cycle) == (case, case.run.beats, None)
    assert (exercise.beats, exercise.limit_cycle) == (3, 0.02)
    assert exercise.case.circulation.cycle_length == pytest.approx(500.0)
    usual, active = case.circulation, case.mechanics.active.reference_tension
    assert exercise.case.mechanics.active.reference_tension == pytest.approx(1.5 * active)
    assert exercise.case.circulation.systemic_resistance == 0.7 * usual.systemic_resistance
    assert infused.case.mechanics.active.reference_tension == active
    assert infused.case.circulation == usual
    assert infused.extra_volume == pytest.approx(300 * ML)
    lengths = case.run.beats * usual.cycle_length, 3 * 500.0, 2 * usual.cycle_length
    assert case.duration == pytest.approx(sum(lengths))


def test_an_open_loop_is_filled_by_its_atria(tmp_path):
    text = "[[protocol]]\nbeats = 1\natrial_pressures = 1.5\nafterload = 2.0\n"
    changed = phases(load_case(written(tmp_path, text, OPEN)))[1].case.circulation
    assert changed.la_pressure == pytest.approx(18 * MMHG)
    assert changed.ra_pressure == pytest.approx(9 * MMHG)
    assert changed.systemic.resistance == pytest.approx(2 * MMHG / ML * 1000)
    assert changed.heart_rate == pytest.approx(75 * PER_MINUTE)


@pytest.mark.parametrize(
    ("circulation", "change", "words"),
    [("", "atrial_pressures = 1.2", "extra_volume"), (OPEN, 'extra_volume = "1 mL"', "atrial")],
)
def test_preload_that_the_circulation_has_not_is_refused(tmp_path, circulation, change, words):
    with pytest.raises(InputError, match=words):
        load_case(written(tmp_path, f"[[protocol]]\nbeats = 1\n{change}\n", circulation))


def test_a_rate_that_the_cells_cannot_follow_is_refused(tmp_path):
    file = written(tmp_path, '[[protocol]]\nbeats = 1\nheart_rate = "90 / min"\n')
    with pytest.raises(InputError, match="eikonal"):
        load_case(file, ["electrophysiology.model=eikonal"])


def test_a_process_goes_by_its_own_clock():
    class Seen:
        state: dict = {}

        def advance(self, t0: float, t1: float) -> Step:
            return Step(t0, t1, newton=3)

    assert Seen().advance(1.0, 2.0) == Step(1.0, 2.0, newton=3)
    assert OnClock(Seen(), 800.0).advance(801.0, 802.0) == Step(801.0, 802.0, newton=3)
