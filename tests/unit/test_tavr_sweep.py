"""Sweeps: members in folders, kept, gone on with, ranked; with a deployment that is made up."""

import csv
import json
import os
import shutil
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from organtwin import cli_rehearse
from organtwin.case.load import load_rehearsal_case, load_tavr_case
from organtwin.case.members import INDICES, Ensemble, Member, Workers, in_words, state_of
from organtwin.case.schema_rehearsal import Factor, SensitivitySettings
from organtwin.case.sensitivity import variations_of, vary
from organtwin.case.sweep import name_of, run_rehearsal
from organtwin.case.tavr_pipeline import tavr_stages
from organtwin.case.tavr_plans import FACTORS, TavrPlans, _take_over, code_of, members_of
from organtwin.case.tavr_root import Choice, device_path
from organtwin.cli import app
from organtwin.devices.device_files import load_device
from organtwin.errors import InputError, SolverError

BASE = """
[scan]
file = "ct.nii.gz"
[device]
name = "sapien3_like"
size = "23"
"""
REHEARSAL = """
case = "case.toml"
[sweep]
device = ["sapien3_like"]
size = ["23", "26"]
depth = ["2 mm", "4 mm"]
[sensitivity.factors.depth]
key = "deployment.depth"
change = "1 mm"
[sensitivity.factors."wall stiffness"]
key = "tissue.stiffness"
times = 1.5
"""


@pytest.fixture
def case(tmp_path):
    (tmp_path / "ct.nii.gz").touch()
    (tmp_path / "case.toml").write_text(BASE)
    (tmp_path / "rehearsal.toml").write_text(REHEARSAL)
    return load_rehearsal_case(tmp_path / "rehearsal.toml")


@dataclass(frozen=True)
class Made:
    """Leaks more where it is less deep; size 26 fails; dies or stops where it is told to."""

    log: Path
    dies: str = ""
    stops: str = ""

    def prepare(self, members):
        """Nothing is shared."""

    def key(self, member):
        return json.dumps(dict(member.settings))

    def __call__(self, member, out):
        with self.log.open("a") as stream:
            stream.write(f"{member.name}\n")
        if member.name == self.dies:
            os._exit(9)
        if member.name == self.stops:
            raise KeyboardInterrupt
        if member.settings["device.size"] == "26":
            raise SolverError("deployment", "no equilibrium at 0.7.", "Take smaller steps.")
        depth = float(str(member.settings["deployment.depth"]).split()[0])
        stiff = float(member.settings.get("tissue.stiffness", 1.0))
        indices = [
            {"name": "regurgitant_orifice", "value": 20.0 - 3.0 * depth + stiff - 1.0,
             "unit": "mm²", "threshold": [None, 10.0]},
            {"name": "migration_safety", "value": 2.0, "unit": "1", "threshold": [1.0, None]},
        ]  # fmt: skip
        (out / INDICES).write_text(json.dumps(indices))

    def calls(self):
        return self.log.read_text().split() if self.log.exists() else []


def swept(case, out, work, **more):
    return run_rehearsal(case, TavrPlans(case, out), out=out, work=work, **more)


def varied(case, outcome, out, work, **more):
    return vary(case, TavrPlans(case, out), outcome, out=out, work=work, **more)


def variations(case, base=Member("a", {})):
    return variations_of(case, TavrPlans(case, Path()), base)


def test_names_tell_members_apart(case):
    members = members_of(case, ["sapien3_like", "own/frame.toml"], {})
    assert len(members) == 8
    assert members[0].name == "sapien3_like-23-depth_2mm"
    assert members[-1].name == "frame-26-depth_4mm"
    assert members[0].overrides[1:] == ['device.size="23"', 'deployment.depth="2 mm"']
    assert name_of({"deployment.filling": 0.9}, "device") == "filling_0.9"


def test_sizes_that_fit_are_known_once_the_root_is_measured(case, tmp_path):
    fitting = case.model_copy(update={"sweep": case.sweep.model_copy(update={"size": "fitting"})})
    assert TavrPlans(fitting, tmp_path).members() == ()
    found = members_of(fitting, ["sapien3_like"], {"sapien3_like": ("20", "23")})
    assert [one.settings["device.size"] for one in found] == ["20", "20", "23", "23"]
    with pytest.raises(InputError, match="no size"):
        members_of(fitting, ["sapien3_like"], {"sapien3_like": ()})


def test_a_sweep_is_ranked_and_what_failed_is_told(case, tmp_path):
    deploy = Made(tmp_path / "log")
    found = swept(case, tmp_path / "out", deploy)
    assert [one.name for one in found.ranks] == [
        "sapien3_like-23-depth_4mm", "sapien3_like-23-depth_2mm",
    ]  # fmt: skip
    assert [one.status for one in found.states] == ["finished", "finished", "failed", "failed"]
    assert "no equilibrium at 0.7" in in_words(found.states[2])
    record = json.loads((tmp_path / "out" / "ranking.json").read_text())
    assert record["ranks"][0]["indices"]["regurgitant_orifice"]["value"] == 8.0
    assert "Behind sapien3_like-23-depth_4mm by leak" in record["ranks"][1]["why"]
    with (tmp_path / "out" / "ranking.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["place"] for row in rows] == ["1", "2", "", ""]
    assert rows[0]["deployment.depth"] == "4 mm"
    # Nothing is done twice, failed ones only if that is asked for.
    swept(case, tmp_path / "out", deploy)
    assert len(deploy.calls()) == 4
    swept(
        case,
        tmp_path / "out",
        deploy,
        workers=Workers(again=True),
    )
    assert len(deploy.calls()) == 6


def test_a_stopped_sweep_goes_on(case, tmp_path):
    out, name = tmp_path / "out", "sapien3_like-23-depth_4mm"
    swept(case, out, Made(tmp_path / "log"), workers=Workers(most=1))
    stopping = Made(tmp_path / "log", stops=name)
    with pytest.raises(KeyboardInterrupt):
        swept(case, out, stopping)
    member = next(one for one in TavrPlans(case, out).members() if one.name == name)
    state = state_of(out / "members" / name, name, stopping.key(member))
    assert state.status == "interrupted"
    found = swept(case, out, Made(tmp_path / "log"))
    assert len(found.ranks) == 2
    assert stopping.calls().count("sapien3_like-23-depth_2mm") == 1


def test_tasks_of_a_job_array_share_the_members(tmp_path):
    members = [
        Member(f"m{k}", {"device.size": "23", "deployment.depth": f"{k} mm"}) for k in range(6)
    ]
    start = threading.Barrier(3)

    @dataclass(frozen=True)
    class Slow(Made):
        def __call__(self, member, out):
            time.sleep(0.05)
            super().__call__(member, out)

    def task():
        ensemble = Ensemble(members, Slow(tmp_path / "log"), tmp_path / "members")
        start.wait()
        ensemble.run_on()

    tasks = [threading.Thread(target=task) for _ in range(3)]
    for one in tasks:
        one.start()
    for one in tasks:
        one.join()
    work = Made(tmp_path / "log")
    assert sorted(work.calls()) == [f"m{k}" for k in range(6)]
    found = Ensemble(members, work, tmp_path / "members").states()
    assert {one.status for one in found} == {"finished"}


def test_a_running_member_whose_process_is_gone_was_interrupted(tmp_path):
    deploy = Made(tmp_path / "log")
    member = Member("a", {"device.size": "23", "deployment.depth": "1 mm"})
    out = tmp_path / "members" / "a"
    ensemble = Ensemble([member], deploy, tmp_path / "members")
    ensemble.run_on()
    record = json.loads((out / "member.json").read_text())
    (out / "member.json").write_text(json.dumps(record | {"status": "running"}))
    assert ensemble.states()[0].status == "running"  # it is this process
    (out / "member.json").write_text(json.dumps(record | {"status": "running", "process": 2**22}))
    assert ensemble.states()[0].status == "interrupted"
    other = Member("a", {"device.size": "23", "deployment.depth": "5 mm"})
    assert Ensemble([other], deploy, tmp_path / "members").states()[0].status == "waiting"


def test_a_member_that_was_lost_on_another_machine_is_taken_again(tmp_path):
    member = Member("a", {"device.size": "23", "deployment.depth": "1 mm"})
    ensemble = Ensemble([member], Made(tmp_path / "log"), tmp_path)
    ensemble.run_on()
    record = json.loads((tmp_path / "a" / "member.json").read_text()) | {"status": "running"}
    for host, taken in ((record["host"], []), ("elsewhere", [member])):
        (tmp_path / "a" / "member.json").write_text(json.dumps(record | {"host": host}))
        assert ensemble.todo() == []
        assert replace(ensemble, again=True).todo() == taken


def test_a_member_is_another_if_a_file_that_it_reads_is(case, tmp_path):
    deploy, member = TavrPlans(case, tmp_path / "out").work, Member("a", {"device.size": "23"})
    first = deploy.key(member)
    assert deploy.key(member) == first
    (tmp_path / "ct.nii.gz").write_bytes(b"another scan")
    second = deploy.key(member)
    assert second != first
    device = tmp_path / "sapien3_like.toml"
    shutil.copy(device_path("sapien3_like"), device)
    own = replace(deploy, settings=(("device.name", str(device)),))
    assert own.key(member) == second  # the same content, elsewhere
    device.write_text(device.read_text() + "\n# changed\n")
    assert own.key(member) != second
    assert deploy.key(Member("a", {"device.size": "26"})) != second


def test_the_code_of_all_stages_counts(case):
    one = load_tavr_case(case.case)
    device = load_device("sapien3_like", "23")
    stages = tavr_stages(one, Choice("sapien3_like", "23", device, None, ()))
    assert {name for stage in stages.values() for name in stage.code} == set(code_of(one))


def test_the_demo_is_as_large_as_it_says():
    found = load_rehearsal_case(Path(__file__).parents[2] / "demos" / "tavr" / "rehearsal.toml")
    sizes = {"sapien3_like": ("23",), "evolut_like": ("23", "26")}
    assert len(members_of(found, list(sizes), sizes)) == 12


def test_a_mistake_of_the_program_stops_no_other(tmp_path):
    good = Member("good", {"device.size": "23", "deployment.depth": "1 mm"})
    bad = Member("bad", {"device.size": "23"})
    ensemble = Ensemble([bad, good], Made(tmp_path / "log"), tmp_path)
    ensemble.run_on()
    assert [one.status for one in ensemble.states()] == ["failed", "finished"]
    assert "KeyError" in ensemble.states()[0].reason
    assert "Traceback" in (tmp_path / "bad" / "error.txt").read_text()


@pytest.mark.slow
def test_a_process_that_is_killed_stops_no_other(tmp_path):
    members = [
        Member(f"m{k}", {"device.size": "23", "deployment.depth": f"{k} mm"}) for k in range(4)
    ]
    deploy = Made(tmp_path / "log", dies="m1")
    ensemble = Ensemble(members, deploy, tmp_path)
    ensemble.run_on(2)
    states = ensemble.states()
    assert [one.status for one in states] == ["finished", "failed", "finished", "finished"]
    assert "memory" in states[1].reason


def test_intervals_of_the_best(case, tmp_path):
    out, deploy = tmp_path / "out", Made(tmp_path / "log")
    outcome = swept(case, out, deploy)
    found = varied(case, outcome, out, deploy)
    assert found.of == "sapien3_like-23-depth_4mm"
    leak = next(one for one in found.intervals if one.index.name == "regurgitant_orifice")
    # 3 mm² per mm, 1 mm² for the factor of stiffness, which is 1 over and times 1.5
    assert leak.low == pytest.approx(8.0 - (3.0**2 + (1 / 3) ** 2) ** 0.5, abs=1e-5)
    assert leak.high == pytest.approx(8.0 + (3.0**2 + 0.5**2) ** 0.5)
    assert leak.largest == "depth"
    record = json.loads((out / "sensitivity.json").read_text())
    assert [one["name"] for one in record["indices"]] == ["regurgitant_orifice", "migration_safety"]
    assert (out / "sensitivity" / found.of / "members" / "depth-depth_5mm" / INDICES).is_file()
    before = len(deploy.calls())
    varied(case, outcome, out, deploy)
    assert len(deploy.calls()) == before
    shutil.rmtree(out / "sensitivity")
    once = varied(
        case,
        outcome,
        out,
        deploy,
        runs=1,
        of="sapien3_like-23-depth_2mm",
    )
    assert len(once.variations) == 2


def test_usual_factors_are_settings_that_there_are(case, monkeypatch):
    monkeypatch.setattr(TavrPlans, "voxel", lambda plans: 0.8)
    usual = case.model_copy(update={"sensitivity": SensitivitySettings()})
    found = variations(usual)
    assert len(found) == 2 * len(FACTORS)
    names = [one.member.name for one in found]
    assert len(set(names)) == len(names)
    by = {one.member.name: one.member.settings for one in found}
    assert by["segmentation-outwards_-0.4mm"] == {"root.outwards": "-0.4 mm"}
    (_, stiffer) = (one.member.settings for one in found if one.factor == "bed stiffness")
    tissue = load_tavr_case(case.case).tissue
    assert stiffer == {
        "tissue.bed": f"{2 * tissue.bed:g} kPa/mm",
        "tissue.bed_outflow": f"{2 * tissue.bed_outflow:g} kPa/mm",
    }


def test_tilts_go_to_both_sides(case):
    tilt = {"tilt": Factor(key="deployment.tilt", change="3 deg")}
    other = case.model_copy(update={"sensitivity": SensitivitySettings(factors=tilt)})
    base = Member("a", {"deployment.tilt": "1 deg", "deployment.towards": "30 deg"})
    first, second = variations(other, base)
    assert first.member.settings["deployment.tilt"] == "2 deg"
    assert first.member.settings["deployment.towards"] == "210 deg"
    assert second.member.settings["deployment.tilt"] == "4 deg"
    assert second.member.settings["deployment.towards"] == "30 deg"


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        ({"key": "deployment.deep", "change": "1 mm"}, "`depth`"),
        ({"key": "deployment.depth", "change": "1 kg"}, "a length"),
        ({"key": "device.name", "times": 2.0}, "not a number"),
        ({"key": "deployment.tilt", "times": 2.0}, "changes nothing"),
        ({"key": "deployment.friction", "change": "half a voxel"}, "is a length"),
        ({"key": "deployment.tilt", "change": "half a voxel"}, "is a length"),
        ({"key": "tissue.wall.d", "times": 2.0}, "no setting"),
        ({"key": "deployment.depth.more", "times": 2.0}, "no setting"),
        ({"key": "title", "times": 2.0}, "not a number"),
        ({"key": "root", "times": 2.0}, "not a number"),
    ],
)
def test_factors_that_are_none(case, factor, message):
    settings = SensitivitySettings(factors={"odd": Factor(**factor)})
    with pytest.raises(InputError, match=message):
        variations(case.model_copy(update={"sensitivity": settings}))


def test_a_factor_may_be_of_a_law(case):
    of_laws = {
        "wall": Factor(key="tissue.wall.c", times=2.0),
        "outflow": Factor(key="tissue.outflow.mu", change="10 kPa"),
    }
    other = case.model_copy(update={"sensitivity": SensitivitySettings(factors=of_laws)})
    tissue = load_tavr_case(case.case).tissue
    settings = [dict(one.member.settings) for one in variations(other)]
    assert settings[1] == {"tissue.wall.c": f"{2 * tissue.wall.c:g} kPa"}
    assert settings[2] == {"tissue.outflow.mu": f"{tissue.outflow.mu - 10:g} kPa"}


def test_a_deployment_that_is_not_there(case, tmp_path):
    outcome = swept(case, tmp_path, Made(tmp_path / "log"), workers=Workers(most=1))
    with pytest.raises(InputError, match="Did you mean"):
        varied(case, outcome, tmp_path, Made(tmp_path), of="sapien3_like-23-depth_3mm")
    with pytest.raises(InputError, match="not finished"):
        varied(case, outcome, tmp_path, Made(tmp_path), of="sapien3_like-23-depth_4mm")
    with pytest.raises(InputError, match="Finish the sweep"):
        varied(case, replace(outcome, ranks=()), tmp_path, Made(tmp_path))


def test_the_command_tells_how_far_it_is(case, tmp_path):
    found = CliRunner().invoke(
        app, ["rehearse", str(tmp_path / "rehearsal.toml"), "--status", "--out", str(tmp_path)]
    )
    assert found.exit_code == 0
    assert found.output.count("waiting") == 4
    wrong = CliRunner().invoke(
        app, ["rehearse", str(tmp_path / "rehearsal.toml"), "--set", "sweep.deepth=3"]
    )
    assert wrong.exit_code == 2
    assert "`depth`" in wrong.output


def test_reasons_are_shown_as_they_are(case, tmp_path, capsys):
    outcome = swept(case, tmp_path, Made(tmp_path / "log"))
    told = [replace(one, reason="[device] size: none.") for one in outcome.states]
    cli_rehearse._table(replace(outcome, states=tuple(told)), TavrPlans(case, tmp_path), tmp_path)
    assert capsys.readouterr().out.count("[device] size: none.") == 2


def test_stages_are_taken_over_unless_a_member_has_its_own(tmp_path):
    def stage(place, key):
        place.mkdir(parents=True, exist_ok=True)
        (place / "stage.json").write_text(json.dumps({"account": {"key": key}}))

    base, out = tmp_path / "base", tmp_path / "out"
    for name in ("measure", "root"):
        stage(base / "stages" / name, "new")
        stage(out / "stages" / name, "old")
    _take_over(base, out)
    assert '"new"' in (out / "stages" / "measure" / "stage.json").read_text()
    assert '"old"' in (out / "stages" / "root" / "stage.json").read_text()
    _take_over(base, tmp_path / "fresh")
    assert '"new"' in (tmp_path / "fresh" / "stages" / "root" / "stage.json").read_text()
