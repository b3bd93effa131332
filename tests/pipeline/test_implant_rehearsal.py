"""Screws in a vertebra of a real scan by their case files: rehearsed, varied, reported."""

import json
from pathlib import Path

import pytest

from organtwin.case.implant_plans import HELD_BY
from organtwin.case.load import load_rehearsal_case
from organtwin.case.plans import plans_of
from organtwin.case.sensitivity import vary
from organtwin.case.sweep import run_rehearsal
from organtwin.export.rehearsal_page import write_rehearsal_page

pytestmark = pytest.mark.slow

DEMO = Path(__file__).parents[2] / "demos" / "pedicle_screw" / "rehearsal.toml"
#: Two of the demo's members, coarser, and one way to hold the bone.
CASE = f"""
title = "Which pedicle screws"
case = "{DEMO.with_name("case.toml")}"

[settings]
mesh.bone = "5 mm"
mesh.implant = "2.4 mm"
mesh.interface = "2.2 mm"
mesh.voxel = "1 mm"
pedicle_screw.pull = "800 N"

[sweep.more]
pedicle_screw.size = ["6.0", "7.5"]

[sensitivity.factors."{HELD_BY}"]
runs = [{{ bone.held = "potted" }}]
"""


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    out = tmp_path_factory.mktemp("screws")
    (out / "rehearsal.toml").write_text(CASE)
    case = load_rehearsal_case(out / "rehearsal.toml", ())
    plans = plans_of(case, out)
    found = run_rehearsal(case, plans, out=out)
    return case, plans, found, out


def test_screws_are_ranked_by_indices_that_are_there(rehearsed):
    _, _, found, _ = rehearsed
    assert [one.status for one in found.states] == ["finished"] * 2
    assert len(found.ranks) == 2
    for rank in found.ranks:
        assert rank.unknown == ()
    # The thicker screw holds more; whether it stays in the pedicle is an index too.
    held = {
        name: min(one.value for one in indices if one.name.endswith("_pull_out_safety"))
        for name, indices in found.indices.items()
    }
    assert held["size_7.5"] > held["size_6.0"] > 1.0
    assert all(any(one.name == "screw_left_breach" for one in indices)
               for indices in found.indices.values())  # fmt: skip


def test_boundary_conditions_move_them_and_stand_first(rehearsed):
    case, plans, found, out = rehearsed
    varied = vary(case, plans, found, out=out)
    assert [one.status for one in varied.states] == ["finished"]
    record = json.loads((out / "sensitivity.json").read_text(encoding="utf-8"))
    assert record["boundary"] == [HELD_BY]
    risk = next(one for one in varied.intervals if one.index.name == "walking_bone_risk_999")
    assert risk.low < risk.high and risk.largest == HELD_BY
    page = write_rehearsal_page(out).read_text(encoding="utf-8")
    assert page.index("Boundary conditions first") < page.index("<h2>Ranked</h2>")
    # Trials have indices and no pictures.
    trial = out / "sensitivity" / varied.of / "members" / varied.states[0].name
    assert (trial / "indices.json").is_file() and not (trial / "report.html").exists()


def test_the_report_of_a_member_holds_all_of_it(rehearsed):
    _, _, found, out = rehearsed
    folder = out / "members" / found.ranks[0].name
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "scene3d" in page and "In three dimensions" in page
    assert len(page) < 10e6
    assert (folder / "fields" / "show.py").is_file()
    missing = json.loads((folder / "pictures" / "missing.json").read_text(encoding="utf-8"))
    assert missing == {}
    for place in (str(DEMO.parents[2]), "example_ct"):
        assert place not in page
