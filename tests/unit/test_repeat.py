"""Doing a run again: what is refused, what is compared, what is told."""

import json
import math

import pytest
from mpi4py import MPI

from organtwin.case import repeat as module
from organtwin.case.manifest import git_commit, versions
from organtwin.case.repeat import changes, curves_differ, repeat, results_differ
from organtwin.case.stages import sha256
from organtwin.errors import InputError

COMM = MPI.COMM_SELF


def value(number, unit="1"):
    return {"value": number, "unit": unit}


@pytest.fixture
def first(tmp_path, monkeypatch):
    """A result, and a run that gives the same, or what is put into ``again``."""
    image = tmp_path / "image.nrrd"
    image.write_text("image")
    out = tmp_path / "first"
    out.mkdir()
    content = {
        "status": "complete", "case": {"image": {"file": str(image)}},
        "inputs": {str(image): sha256(image)}, "versions": versions(), "mpi_size": 1,
        "git_commit": git_commit(), "stages": {"image": {}}, "results": {"ef": value(55.0, "%")},
    }  # fmt: skip
    (out / "run.json").write_text(json.dumps(content))
    again = {}

    def run(case, directory, stages, comm):
        again["case"], again["stages"] = case, stages
        directory.mkdir()
        results = again.get("results", content["results"])
        (directory / "run.json").write_text(json.dumps({**content, "results": results}))

    monkeypatch.setattr(module, "do_again", run)
    return out, image, again


def test_the_same_again(first):
    out, image, again = first
    found = repeat(out / "run.json", comm=COMM)
    assert found.met
    assert found.directory.name == "first-repeated"
    assert again["case"] == {"image": {"file": str(image)}}
    record = json.loads((found.directory / "repeat.json").read_text())
    assert record["met"]
    assert record["differences"][0]["name"] == "ef"
    with pytest.raises(InputError, match="complete run already"):
        repeat(out, comm=COMM)


def test_what_differs_is_told(first):
    first[2]["results"] = {"ef": value(55.1, "%"), "new": value(1.0)}
    found = repeat(first[0], comm=COMM)
    assert not found.met
    assert [one.name for one in found.differences if not one.met] == ["ef", "new"]


def test_changed_and_missing_inputs_are_refused_by_name(first):
    out, image, _ = first
    image.write_text("another image")
    with pytest.raises(InputError, match=r"image\.nrrd was changed"):
        repeat(out, comm=COMM)
    image.unlink()
    with pytest.raises(InputError, match=r"image\.nrrd is missing"):
        repeat(out, comm=COMM)


def test_an_input_may_lie_elsewhere(first, tmp_path):
    out, image, again = first
    moved = image.rename(tmp_path / "moved.nrrd")
    assert repeat(out, inputs=[moved], comm=COMM).met
    assert again["case"]["image"]["file"] == str(moved)


def test_a_folder_of_inputs_may_lie_elsewhere(first, tmp_path):
    out, image, again = first
    scan = tmp_path / "scan"
    (scan / "series").mkdir(parents=True)
    for k in range(3):
        (scan / "series" / f"{k}.dcm").write_text(str(k))
    record = json.loads((out / "run.json").read_text())
    record["case"] = {"scan": {"file": str(scan)}, "image": {"file": str(image)}}
    record["inputs"] |= {str(file): sha256(file) for file in (scan / "series").iterdir()}
    (out / "run.json").write_text(json.dumps(record))
    moved = scan.rename(tmp_path / "elsewhere")
    assert repeat(out, inputs=[moved], comm=COMM).met
    assert again["case"] == {"scan": {"file": str(moved)}, "image": {"file": str(image)}}


def test_other_ranks_are_asked_for(first):
    record = first[0] / "run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "mpi_size": 4}))
    with pytest.raises(InputError, match=r"mpirun -n 4"):
        repeat(record, comm=COMM)
    assert repeat(record, other_ranks=True, comm=COMM).differences[0].allowed == 1e-6


@pytest.mark.parametrize("damage", ["", "{", '{"status": "complete"}'])
def test_what_is_no_record_is_refused(first, damage):
    (first[0] / "run.json").write_text(damage)
    with pytest.raises(InputError, match="no record"):
        repeat(first[0], comm=COMM)


def test_an_unfinished_run_is_refused(first):
    record = first[0] / "run.json"
    record.write_text(record.read_text().replace('"complete"', '"interrupted"'))
    with pytest.raises(InputError, match="interrupted"):
        repeat(first[0], comm=COMM)


def test_rounding_and_costs_do_not_count():
    before = {"wall_time": value(1.0), "mass_balance": value(1e-12), "x": value(None)}
    now = {"wall_time": value(9.0), "mass_balance": value(-3e-13), "x": value(None)}
    assert all(one.met for one in results_differ(before, now, 1e-10))
    (one,) = results_differ({"x": value(1.0)}, {"x": value(None)}, 1.0)
    assert one.relative == math.inf


def test_curves_are_compared_by_column(tmp_path):
    for name, last in (("a", "2.0"), ("b", "2.0002")):
        (tmp_path / f"{name}.csv").write_text(f"t [ms],newton,y [1]\n0,{last},1.0\n1,2,{last}\n")
    found = {d.name: d for d in curves_differ(tmp_path / "a.csv", tmp_path / "b.csv", 1e-10)}
    assert found.keys() == {"scalars.csv, t [ms]", "scalars.csv, y [1]"}
    assert found["scalars.csv, y [1]"].relative == pytest.approx(1e-4, rel=1e-3)


def test_curves_may_have_the_same_gaps(tmp_path):
    one, other = tmp_path / "a.csv", tmp_path / "b.csv"
    for file in (one, other):
        file.write_text("t [ms],y [1]\n0,nan\n1,2\n")
    assert all(d.met for d in curves_differ(one, other, 1e-10))
    other.write_text("t [ms],y [1]\n0,1\n1,2\n")
    assert [d.met for d in curves_differ(one, other, 1e-10)] == [True, False]
    other.unlink()
    assert [d.met for d in curves_differ(one, other, 1e-10)] == [False]
    one.unlink()
    assert curves_differ(one, other, 1e-10) == []


def test_other_versions_are_told():
    record = {"versions": {**versions(), "numpy": "1.0"}, "git_commit": "abc"}
    told = changes(record)
    assert any(change.startswith("numpy: 1.0 → ") for change in told)
    assert any(change.startswith("sources: abc") for change in told)
