"""A heart whose ventricles are elastances takes the place of the 3D one, and is emulated."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from organtwin.calibrate.heart_emulator import HeartEmulator, Run, _filling_slope
from organtwin.calibrate.members import Runner
from organtwin.calibrate.observations import Observation, Observations
from organtwin.calibrate.parameters import LogNormal, Parameter, values_of
from organtwin.calibrate.smoother import Smoother
from organtwin.calibrate.stages import calibrate
from organtwin.case.case_emulator import EmulatedHeart, _absolute, _scalars, check
from organtwin.case.case_model import CaseModel, Seen
from organtwin.case.load import load_case
from organtwin.case.schema_calibration import EmulatorSettings
from organtwin.circulation.elements import RESISTANCE
from organtwin.circulation.emulator import BeatTrace
from organtwin.circulation.limit_cycle import beat, limit_cycle
from organtwin.circulation.network import AR_SYS, CHAMBERS, ClosedLoop
from organtwin.errors import InputError
from organtwin.run.result import Beat, ventricular_results
from organtwin.units import ML, MMHG

TIMES = np.linspace(20.0, 800.0, 40)
ROOT = Path(__file__).parents[2]
CASE = f"""
[image]
file = "{ROOT / "meshes/wholeheart/wh.nii.gz"}"
[image.labels]
lv_myocardium = 1
lv_blood = 3
rv_blood = 5
[circulation]
scale = 1.0
blood_volume = "1400 mL"
"""
TRUTH = {"mechanics.contractility": 1.2, "circulation.systemic_resistance": 0.12}
SHARE = 0.9


def parameters() -> tuple[Parameter, ...]:
    return (
        Parameter("mechanics.contractility", LogNormal(1.0, 0.2), "1", "1"),
        Parameter(
            "circulation.systemic_resistance", LogNormal(0.1, 0.2), "kPa*ms/mm^3", "mmHg*s/mL"
        ),
    )


def observations() -> Observations:
    found = [
        Observation("lv_ejection_fraction", 0.5, 0.01),
        Observation("arterial_mean_pressure", 12.0, 0.2),
        Observation("lv_unloaded_volume", 40e3, 1e3),
    ]
    curve = [Observation("lv_volume", 1e5, 2e3, t) for t in (0.0, 150.0, 300.0, 500.0)]
    return Observations(tuple(found + curve))


@dataclass(frozen=True)
class Elastances(CaseModel):
    """Runs that are those of a lumped heart; a stronger one has no longer beat."""

    def __call__(self, values, attempt):
        known = dict(zip(self.names, values[0], strict=True))
        loop, blood = _absolute(self.case(values[0]))
        strength = known["mechanics.contractility"]
        loop = replace(
            loop, lv=replace(loop.lv, E_A=strength * loop.lv.E_A),
            rv=replace(loop.rv, E_A=strength * loop.rv.E_A),
        )  # fmt: skip
        y = loop.rest()
        y = loop.filled_to(y, blood)
        if not self.overrides:
            y = limit_cycle(loop, y, dt=TIMES).state
        t, states = np.concatenate([[0.0], TIMES]), beat(loop, y, TIMES)
        chambers = [loop.pressures(y, at) for y, at in zip(states, t, strict=True)]
        pressures = np.array([[p[name] for name in CHAMBERS] for p in chambers])
        scalars = _scalars(loop, t, states, pressures)
        results = ventricular_results(scalars, Beat(0.0, 800.0))
        results |= {f"{side}_volume_share": (SHARE, "1") for side in ("lv", "rv")}
        results["lv_unloaded_volume"] = (30.0 + 4.0 * np.log(strength), "mL")
        out = self.out(values[0], attempt)
        (out / "stages/solve").mkdir(parents=True)
        (out / "stages/solve/stage.json").write_text("{}")
        _write(out / "scalars.csv", scalars)
        _write(out / "beats.csv", {"start [ms]": [0.0], "period [ms]": [800.0]})
        told = {name: {"value": value, "unit": unit} for name, (value, unit) in results.items()}
        (out / "run.json").write_text(json.dumps({"results": told}))
        seen = Seen.of_run(out, self.delay(values[0]))
        return np.array([[seen.predicted(one) for one in self.observations.all]])


def _write(file, columns):
    with file.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))


@pytest.fixture
def heart(tmp_path) -> Elastances:
    (tmp_path / "heart.toml").write_text(CASE)
    names = tuple(p.name for p in parameters())
    return Elastances(tmp_path / "heart.toml", names, observations(), tmp_path / "members")


def test_volumes_are_those_of_the_whole_ventricle(heart) -> None:
    values = np.array([[*TRUTH.values()]])
    told = dict(zip((o.key for o in heart.observations.all), heart(values, 0)[0], strict=True))
    seen = Seen.of_run(heart.finished(values[0]), 0.0)
    assert told["lv_volume@0ms"] == pytest.approx(seen.scalars["V_lv [mL]"][0] * ML / SHARE)
    assert told["lv_unloaded_volume"] == pytest.approx((30.0 + 4.0 * np.log(1.2)) * ML / SHARE)
    assert told["arterial_mean_pressure"] == pytest.approx(
        seen.results["arterial_mean_pressure"][0] * MMHG
    )
    later = replace(seen, delay=50.0)
    at = Observation("lv_volume", 1e5, 1e3, 20.0)  # 30 ms before the beat: at the end of the last
    expected = np.interp(770.0, seen.scalars["t [ms]"], seen.scalars["V_lv [mL]"]) * ML / SHARE
    assert later.predicted(at) == pytest.approx(expected)


def test_a_heart_that_does_not_move_has_results_and_no_curves(tmp_path) -> None:
    _write(tmp_path / "scalars.csv", {"t [ms]": [0.0, 1.0]})
    told = {"total_activation_time": {"value": 60.0, "unit": "ms"}}
    (tmp_path / "run.json").write_text(json.dumps({"results": told}))
    seen = Seen.of_run(tmp_path, 0.0)
    assert seen.predicted(Observation("total_activation_time", 58.0, 2.0)) == 60.0
    with pytest.raises(InputError, match="heart does not move"):
        seen.predicted(Observation("lv_volume", 1e5, 1e3, 20.0))


def test_arterial_pressures_are_those_at_the_roots() -> None:
    loop = ClosedLoop.regazzoni_2022()
    loop = replace(loop, systemic=replace(loop.systemic, Z_ar=0.05 * RESISTANCE))
    y = limit_cycle(loop, loop.rest(), dt=TIMES).state
    t, states = np.concatenate([[0.0], TIMES]), beat(loop, y, TIMES)
    told = [loop.pressures(y, at) for y, at in zip(states, t, strict=True)]
    found = _scalars(loop, t, states, np.array([[p[name] for name in CHAMBERS] for p in told]))
    for name in ("ar_sys", "ar_pul"):
        expected = np.array([p[name] for p in told]) / MMHG
        np.testing.assert_allclose(found[f"p_{name} [mmHg]"], expected, rtol=1e-4)
    assert np.ptp(found["p_ar_sys [mmHg]"] - states[:, AR_SYS] / MMHG) > 5.0


def test_the_emulated_heart_finds_what_the_3d_one_was_made_with(heart) -> None:
    truth = np.array([*TRUTH.values()])
    measured = heart.observations.with_values(heart(truth[None], 0)[0])
    heart = replace(heart, observations=measured)
    with ThreadPoolExecutor(1) as pool:
        runner = Runner(heart, parameters(), pool, retries=0)
        emulated = EmulatedHeart(heart, runner, EmulatorSettings(runs=8, rounds=2))
        emulated.learn(seed=3)
        checks = []
        for _ in range(2):
            learnt = emulated.emulated_runner()
            posterior, _ = calibrate(learnt, measured, Smoother(16, (2.0, 2.0), 5))
            posterior, found = emulated.check(posterior)
            checks.append(found)
    assert runner.computed == 8 + 2  # runs of the 3D heart
    assert checks[-1].discrepancy < 0.3  # standard errors
    assert checks[-1].misfit < 0.5
    assert posterior.checked is not None
    np.testing.assert_allclose(posterior.middle, truth, rtol=0.03)


def test_lines_that_depend_on_parameters_are_found() -> None:
    rng = np.random.default_rng(2)
    phase = np.sin(np.pi * TIMES / 800.0) ** 2

    def run() -> Run:
        z = rng.normal(size=2)
        volumes = 1e5 * (1 - 0.4 * phase[:, None]) * (1 + 0.1 * rng.normal(size=(1, 2)))
        slopes = 1e-4 * (1 + (3.0 + 0.5 * z[0]) * phase[:, None]) * np.ones(2)
        pressures = slopes * (volumes - 3e4) + 0.1 * z[1]
        told = np.array([4.0 + z @ [1.0, -2.0]])
        return Run(z, BeatTrace(TIMES, volumes, pressures), told)

    found = HeartEmulator.of([run() for _ in range(60)])
    new = run()
    for ventricle, side in zip(found.ventricles(new.z), (0, 1), strict=True):
        lines = np.array([ventricle.line(t, 800.0) for t in TIMES])
        pressure = lines[:, 0] * new.trace.volumes[:, side] + lines[:, 1]
        worst = np.abs(pressure - new.trace.pressures[:, side]).max()
        assert worst < 0.02 * new.trace.pressures[:, side].max()
    left = new.trace.volumes[:, 0]
    assert found.findings(new.z, left[-1], left.min()) == pytest.approx(new.findings, rel=1e-6)


def test_too_few_runs_and_unlike_beats_are_refused() -> None:
    trace = BeatTrace(TIMES, np.ones((40, 2)), np.ones((40, 2)))
    runs = [Run(np.array([0.1 * k, 0.2]), trace, np.zeros(0)) for k in range(6)]
    with pytest.raises(InputError, match="5 runs for 2 parameters"):
        HeartEmulator.of(runs[:5])
    shorter = replace(runs[0], trace=replace(trace, times=TIMES * 0.9))
    with pytest.raises(InputError, match="different lengths"):
        HeartEmulator.of([*runs, shorter])


@pytest.mark.parametrize(
    ("settings", "names", "message"),
    [
        (["circulation.scale=null"], [], "scale"),
        ([], ["circulation.heart_rate"], "heart rate is a parameter"),
        (['mechanics.steps="adaptive"'], [], "steps of the mechanics vary"),
    ],
)
def test_what_cannot_be_emulated_is_said(tmp_path, settings, names, message) -> None:
    text = CASE.replace("scale = 1.0\n", "") if "null" in "".join(settings) else CASE
    (tmp_path / "heart.toml").write_text(text)
    case = load_case(tmp_path / "heart.toml", [s for s in settings if "null" not in s])
    with pytest.raises(InputError, match=message):
        check(case, names)


def test_members_are_computed_side_by_side_or_not_at_all(heart) -> None:
    values = values_of(parameters(), np.random.default_rng(1).normal(size=(8, 2)))
    once = replace(heart, overrides=("run.beats=1",))
    for row in values:
        once(row[None], 0)
    from organtwin.case.case_emulator import EmulatedCase, Learnt

    made = EmulatedCase.of(heart, parameters(), [Learnt(once.finished(row), row) for row in values])
    odd = values.copy()
    odd[1, 0] = np.exp(80.0)  # stronger than any heart
    told = made(odd, 0)
    assert np.isfinite(told[[0, 2]]).all()
    np.testing.assert_allclose(made(odd[2:3], 0)[0], told[2], rtol=1e-4)


def test_the_slope_of_the_filling_is_that_of_an_exponential() -> None:
    V = np.linspace(80e3, 150e3, 40) + np.array([[0.0], [5e3]])
    at = np.array([90e3, 120e3, 150e3])
    found = _filling_slope(V, 0.3 + 0.05 * np.exp(V / 30e3), at)
    assert found == pytest.approx(0.05 / 30e3 * np.exp(at / 30e3), rel=0.02)
    assert _filling_slope(V, 2.0 - 1e-5 * V, at) == pytest.approx(0.0)
