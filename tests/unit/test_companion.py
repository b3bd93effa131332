"""Companion runs: what is coarser in them, and what they tell of the error of a result."""

import json
from pathlib import Path

import pytest
from mpi4py import MPI

from organtwin.case import companion as module
from organtwin.case.companion import coarser, companions, estimates
from organtwin.case.load import load_case, load_implant_case, load_organ_case, load_tavr_case
from organtwin.case.recorded import load_recorded
from organtwin.errors import InputError, SolverError
from organtwin.export.pages import templates

COMM = MPI.COMM_SELF
ROOT = Path(__file__).parents[2]
HEART = ROOT / "demos/heartbeat/case.toml"
VALVE = ROOT / "demos/tavr/case.toml"
STEM = ROOT / "demos/hip_stem/case.toml"


def value(number, unit="mm"):
    return {"value": number, "unit": unit}


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
def test_the_error_of_what_converges_with_that_order_is_found(order):
    exact, ratio, at_fine = 7.0, 1.5, 0.02
    fine = {"x": value(exact + at_fine)}
    coarse = {"x": value(exact + at_fine * ratio**order)}
    (one,) = estimates(fine, coarse, ratio, order)
    assert one.error == pytest.approx(at_fine, rel=1e-12)
    assert one.uncertainty == pytest.approx(3 * at_fine, rel=1e-12)


def test_costs_meshes_and_what_does_not_change_tell_nothing():
    fine = {
        "wall_time": value(9.0), "mesh_cells": value(900), "unknowns_intact": value(3.0),
        "same": value(1.0), "lacking": value(1.0), "unknown": value(None), "x": value(1.0),
        "y": value(2.0), "mass_balance": value(1e-13),
    }  # fmt: skip
    coarse = {name: value(one["value"] and 0.9 * one["value"]) for name, one in fine.items()}
    coarse |= {"same": value(1.0), "y": value(1.0)}
    del coarse["lacking"]
    found = estimates(fine, coarse, 2.0)
    assert [one.quantity for one in found] == ["y", "x"]  # the largest part first


@pytest.mark.parametrize(
    ("case", "names", "key", "coarse"),
    [
        (load_case(HEART), ["mesh", "time step"], "mesh.size", 1.5),
        (load_tavr_case(VALVE), ["mesh"], "root.size", 1.5),
        (load_implant_case(STEM), ["mesh"], "mesh.bone", 1.5),
    ],
)
def test_settings_are_coarser_and_taken_by_the_schema(case, names, key, coarse):
    found = coarser(case)
    assert [one.name for one in found] == names
    recorded = case.model_dump(mode="json", exclude_none=True)
    for one in found:
        then = load_recorded(module._changed(recorded, one.settings), COMM)
        assert then != case
    section, name = key.split(".")
    own = getattr(getattr(case, section), name)
    then = load_recorded(module._changed(recorded, found[0].settings), COMM)
    if own is not None:
        assert getattr(getattr(then, section), name) == pytest.approx(coarse * own)


def test_fewer_elements_of_struts():
    (one,) = coarser(load_tavr_case(VALVE, ["deployment.elements=1"]))
    assert one.settings["deployment.elements"] == 1
    (one,) = coarser(load_tavr_case(VALVE, ["deployment.elements=6"]), mesh=2.0)
    assert one.settings["deployment.elements"] == 3


def test_what_is_not_coarser_is_refused():
    with pytest.raises(InputError, match="not coarser"):
        coarser(load_tavr_case(VALVE), mesh=1.0)
    with pytest.raises(InputError, match="not coarser"):
        coarser(load_case(HEART), time=0.5)
    with pytest.raises(InputError, match="nothing is solved"):
        coarser(load_organ_case(ROOT / "meshes/femur/case.toml"))


@pytest.fixture
def result(tmp_path, monkeypatch):
    """A finished deployment, and companions whose cells are twice as long."""
    case = load_tavr_case(VALVE).model_dump(mode="json", exclude_none=True)
    content = {
        "status": "complete", "case": case, "inputs": {}, "versions": {}, "mpi_size": 1,
        "stages": {"judge": {}, "report": {}}, "decisions": [],
        "results": {"mesh_cells": value(8000, "1"), "index_depth": value(4.0)},
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(content))
    cells = [1000]

    def run(case, directory, stages, comm):
        assert stages == {"judge"}
        directory.mkdir(parents=True)
        results = {"mesh_cells": value(cells[0], "1"), "index_depth": value(4.1)}
        (directory / "run.json").write_text(
            json.dumps({**content, "case": case, "results": results})
        )

    pages = []
    monkeypatch.setattr(module, "do_again", run)
    monkeypatch.setattr(module, "write_tavr_report", pages.append)
    return tmp_path, cells, pages


def test_what_companions_tell_goes_to_the_credibility_file_and_the_report(result):
    folder, _, pages = result
    (one,) = companions(folder, comm=COMM)["mesh"]
    assert one.error == pytest.approx(0.1)  # over r − 1 = 1, by the cells that there are
    assert pages == [folder]
    told = json.loads((folder / "credibility.json").read_text())
    found = told["evidence"]["calculation_verification"]["found"]
    assert found[0]["from"] == "companion run"
    assert found[0]["estimates"][0]["quantity"] == "index_depth"
    environment = templates()
    environment.filters["number"] = str
    page = environment.get_template("credibility.html").render(credibility=told)
    assert "half of 1 results are within" in page
    assert "depth 4" in page
    assert "0.29999" in page  # 3 e


def test_a_mesh_that_is_hardly_coarser_is_told(result):
    folder, cells, _ = result
    cells[0] = 7900
    with pytest.raises(InputError, match="larger --mesh"):
        companions(folder, comm=COMM)
    assert not (folder / "companion.json").exists()


def test_an_unfinished_run_and_an_order_of_nothing_are_refused(result):
    folder = result[0]
    with pytest.raises(InputError, match="order"):
        companions(folder, order=0.0, comm=COMM)
    record = folder / "run.json"
    record.write_text(record.read_text().replace('"complete"', '"failed"'))
    with pytest.raises(InputError, match="not complete"):
        companions(folder, comm=COMM)


def test_a_companion_that_fails_stops_no_other(tmp_path, monkeypatch):
    case = load_case(HEART).model_dump(mode="json", exclude_none=True)
    content = {
        "status": "complete", "case": case, "inputs": {}, "versions": {}, "mpi_size": 1,
        "stages": {"solve": {}}, "decisions": [], "results": {"ef": value(50.0, "%")},
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(content))

    def run(case, directory, stages, comm):
        if directory.name == "mesh":
            raise SolverError("mesh", "no valid mesh of size 7.5 mm.", "Change it.")
        directory.mkdir(parents=True)
        again = {**content, "results": {"ef": value(51.0, "%")}}
        (directory / "run.json").write_text(json.dumps(again))

    monkeypatch.setattr(module, "do_again", run)
    assert set(companions(tmp_path, comm=COMM)) == {"time step"}
    failed, done = json.loads((tmp_path / "companion.json").read_text())["runs"]
    assert "no valid mesh" in failed["failed"] and done["estimates"][0]["quantity"] == "ef"
    environment = templates()
    environment.filters["number"] = str
    told = json.loads((tmp_path / "credibility.json").read_text())
    page = environment.get_template("credibility.html").render(credibility=told)
    assert "A run with a coarser mesh failed" in page
