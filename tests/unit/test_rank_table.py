"""What counts as the same on several ranks, and the table of all problems."""

import json
import sys

import pytest
from dolfinx.mesh import create_unit_square
from mpi4py import MPI

from benchmarks.rank_invariance import (
    LONG,
    REASONS,
    divided_meshes,
    is_done,
    launched,
    page,
    read,
    table,
)
from organtwin.errors import InputError
from organtwin.verify.invariance import compare, worst
from organtwin.verify.problems import PROBLEMS
from organtwin.verify.record import Record, Sense


def record(value, quantity="stretch", *, reference=1.0, tolerance=0.1, unit="1", sense=Sense.EQUAL):
    return Record("patch_test", quantity, value, unit, reference, tolerance, "made up", sense)


def test_a_thousandth_of_the_tolerance_is_allowed():
    (near,) = compare([record(1.0)], [record(1.00005)])
    assert near.same and near.used == pytest.approx(0.5) and near.relative == pytest.approx(5e-5)
    (far,) = compare([record(1.0)], [record(1.0003)])
    assert not far.same and far.used == pytest.approx(3.0)
    (close,) = compare([record(1e6, tolerance=0.0)], [record(1e6 + 0.5, tolerance=0.0)])
    assert close.same


def test_an_error_may_vary_within_a_part_of_its_tolerance():
    error = {"reference": 0.0, "tolerance": 1e-8, "sense": Sense.AT_MOST}
    (found,) = compare([record(1.4e-10, **error)], [record(3.9e-10, **error)])
    assert found.same and found.used == pytest.approx(0.5)
    (crossed,) = compare([record(0.99e-8, **error)], [record(1.01e-8, **error)])
    assert crossed.used < 1.0 and not crossed.same  # one passes, the other does not


def test_a_value_that_was_zero_or_is_no_number_is_told():
    zero = compare([record(0.0, tolerance=0.0)], [record(1e-30, tolerance=0.0)])[0]
    assert not zero.same and zero.relative == float("inf")
    assert compare([record(0.0, tolerance=0.0)], [record(0.0, tolerance=0.0)])[0].same
    assert not compare([record(1.0)], [record(float("nan"))])[0].same


def test_clocks_are_left_out_and_other_quantities_refused():
    assert compare([record(1.0, unit="s")], [record(9.0, unit="s")]) == []
    with pytest.raises(InputError, match="other quantities"):
        compare([record(1.0)], [record(1.0, "force")])
    pair = compare([record(1.0), record(1.0, "b")], [record(1.00002), record(1.00004, "b")])
    assert worst(pair).quantity == "b"


def entry(value, **more):
    return {"seconds": 1.0, "divided": False, "records": [record(value).as_dict()], **more}


def written(folder, runs):
    for ranks, found in runs.items():
        (folder / f"{ranks}.json").write_text(json.dumps({"patch_test": found}))
    return table(folder)


def test_the_table_marks_what_differs(tmp_path):
    runs = {1: entry(1.0), 2: entry(1.00002, divided=True), 3: entry(1.05)}
    heads, _, line = written(tmp_path, runs)
    assert heads.startswith("| problem | quantities | divided | 2 ranks") and "3 ranks" in heads
    assert line.startswith("| `patch_test` | 1 | yes | 2.0e-05 | 0.2 |")
    assert "**stretch: 1, 1.05**" in line
    assert line.endswith("| same |")  # both within the tolerance
    assert written(tmp_path, {3: entry(1.2)})[-1].endswith("| **differ** |")


def test_failures_stand_in_the_table(tmp_path):
    other = entry(1.0)
    other["records"][0]["quantity"] = "force"
    failed = {"failed": "not done in 600 s"}
    line = written(tmp_path, {1: entry(1.0), 2: failed, 3: other})[-1]
    assert line == (
        "| `patch_test` | 1 | no | **not done in 600 s** | | **other quantities** | | not known |"
    )
    (tmp_path / "3.json").write_text("{}")
    assert "**not run** | |" in table(tmp_path)[-1]
    heads, rule, line = written(tmp_path, {1: failed})
    assert heads.count("|") == rule.count("|") == line.count("|")


def test_a_failure_is_tried_again(tmp_path):
    found = {"patch_test": entry(1.0), "growth": entry(1.0, failed="ranks tell different values")}
    assert is_done(found, "patch_test")
    assert not is_done(found, "growth")
    assert not is_done(found, "beams")
    assert read(tmp_path / "1.json") == {}


def test_runs_that_fail_or_take_too_long_are_told():
    assert launched([sys.executable, "-c", ""], {}, 60.0) == ""
    assert launched([sys.executable, "-c", "raise SystemExit(3)"], {}, 60.0) == "exit code 3"
    wait = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert launched(wait, {}, 0.2) == "not done in 0.2 s"


def test_whether_meshes_are_divided_is_seen():
    with divided_meshes() as seen:
        create_unit_square(MPI.COMM_SELF, 2, 2)
    assert seen == [False]
    create_unit_square(MPI.COMM_SELF, 2, 2)
    assert len(seen) == 1


def test_the_page_has_the_table_and_reasons_of_problems(tmp_path):
    written(tmp_path, {1: entry(1.0), 2: entry(1.0), 3: entry(1.0)})
    text = page(tmp_path)
    assert "| `patch_test` | 1 | no | 0.0e+00 | 0 | 0.0e+00 | 0 | same |" in text
    known = {problem.name for problem in PROBLEMS}
    assert set(REASONS) <= known and set(LONG) <= known
    assert all(f"* `{name}`: " in text for name in REASONS)
