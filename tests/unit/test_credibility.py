"""The credibility file tells what there is, and plainly "none" of the rest."""

import json

import pytest

from organtwin import credibility, verified
from organtwin.case.schema_credibility import Evidence
from organtwin.credibility import CATEGORIES, assess, features, write_credibility
from organtwin.export.pages import templates
from organtwin.verify.problems import PROBLEMS

HEART = {
    "electrophysiology": {"model": "monodomain", "ionic_model": "ten_tusscher_2006_endo"},
    "mechanics": {"passive": {"law": "guccione"}, "reference_state": "unloaded"},
    "circulation": {"model": "closed_loop"},
}
RECORD = {
    "name": "closed_loop", "quantity": "q", "value": 1.0, "unit": "1", "reference": 1.0,
    "tolerance": 0.1, "source": "s", "sense": "equal", "verdict": "pass",
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ORGANTWIN_CACHE", str(tmp_path / "cache"))


def result(tmp_path, **run):
    content = {"case": HEART, "mpi_size": 1, "results": {}, "inputs": {}, "versions": {}, **run}
    (tmp_path / "run.json").write_text(json.dumps(content))
    return tmp_path


def test_problems_of_all_features_are_there():
    known = {problem.name for problem in PROBLEMS}
    cases = [
        {**HEART, "electrophysiology": {"model": model}} for model in credibility.ELECTRICAL
    ] + [{"device": {}}, *({"bone": {}, name: {}} for name in credibility.IMPLANTS)]
    for case in cases:
        found = features(case, 2)
        assert {problem for problems in found.values() for problem in problems} <= known
        assert "2 MPI ranks" in found
    assert features({"title": "another kind"}, 2) == {}


def test_features_are_those_that_the_run_uses():
    assert "unloaded state" in features(HEART)
    assert not {"viscosity of muscle", "infarcts"} & features(HEART).keys()
    viscous = {**HEART, "mechanics": {"viscosity": "0.1 kPa*s", "infarct": [{}]}}
    assert {"viscosity of muscle", "infarcts"} <= features(viscous).keys()
    assert features({**HEART, "run": {"physics": "electrophysiology"}}).keys() == {
        "directions of fibres", "ionic model ten_tusscher_2006_endo", "monodomain model",
        "electrocardiogram",
    }  # fmt: skip


def test_categories_are_those_of_the_case_file():
    names = Evidence.model_fields["category"].annotation
    assert set(names.__args__) == set(CATEGORIES)


def test_nothing_told_is_none(tmp_path):
    inputs = {"/home/doe_john.nii.gz": "abc"}
    found = assess(result(tmp_path, case={"title": "another kind"}, inputs=inputs))
    assert found["run"]["inputs"] == ["abc"]
    assert "doe" not in json.dumps(found)  # names of files may be those of patients
    assert found["question_of_interest"] == found["context_of_use"] == "none"
    assert found["model_risk"] == {"model_influence": "none", "decision_consequence": "none"}
    assert [one["found"] for one in found["evidence"].values()] == ["none"] * len(CATEGORIES)
    assert "not for decisions about patients" in found["statement"]


def test_what_is_told_stands_there(tmp_path):
    told = {
        "question_of_interest": "Which valve?",
        "model_influence": "low",
        "evidence": [{"category": "bench_validation", "statement": "It holds.", "source": "[1]"}],
    }
    results = {"mass_balance": {"value": 1e-9, "unit": "1"}}
    found = assess(result(tmp_path, case={**HEART, "credibility": told}, results=results))
    assert found["question_of_interest"] == "Which valve?"
    assert found["model_risk"]["model_influence"] == "low"
    assert found["evidence"]["bench_validation"]["found"] == [
        {"from": "case file", "statement": "It holds.", "source": "[1]"}
    ]
    (balance,) = found["evidence"]["calculation_verification"]["found"]
    assert (balance["quantity"], balance["value"]) == ("mass_balance", 1e-9)


def test_evidence_of_another_case_is_none_of_this(tmp_path):
    run = {"case": HEART, "inputs": {"a": "1"}, "started": "2026-11-23T10:00:00+0000"}
    folder = result(tmp_path, **run)
    companion = {"of_run": credibility.identity(run), "runs": [{"of": "mesh"}]}
    (folder / "companion.json").write_text(json.dumps(companion))
    (folder / "calibration.json").write_text("{}")

    def found(category):
        return assess(folder)["evidence"][category]["found"]

    assert found("calculation_verification") == [{"from": "companion run", "of": "mesh"}]
    assert found("calibration") == [{"from": "this run", "file": "calibration.json"}]
    other = {**HEART, "mechanics": {"passive": {"law": "neo_hookean"}}}
    result(tmp_path, **{**run, "case": other, "started": "2100-01-01T10:00:00+0000"})
    assert found("calculation_verification") == found("calibration") == "none"


def test_a_member_has_the_sensitivities_of_its_sweep(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "members" / name).mkdir(parents=True)
        result(tmp_path / "members" / name)
    (tmp_path / "sensitivity.json").write_text(json.dumps({"of": "b"}))
    first, second = (
        assess(tmp_path / "members" / name)["evidence"]["sensitivity"]["found"] for name in "ab"
    )
    assert (first, second) == ("none", [{"from": "sweep", "file": "sensitivity.json"}])


def test_values_of_verification_are_the_latest_and_tell_their_sources(tmp_path, monkeypatch):
    def entry():
        found = assess(result(tmp_path))["evidence"]["code_verification"]["found"]
        return next(one for one in found if one["problem"] == "closed_loop")

    assert entry()["verdict"] == "not run on this installation"
    verified.note("closed_loop", [{**RECORD, "verdict": "miss"}], quick=True, mpi_size=1)
    assert (entry()["verdict"], entry()["quick"]) == ("miss", True)
    verified.note("closed_loop", [RECORD], quick=False, mpi_size=2)
    verified.note("eikonal", [RECORD], quick=False, mpi_size=2)
    assert (entry()["verdict"], entry()["same_sources"]) == ("pass", True)
    assert entry()["records"] == [RECORD]
    monkeypatch.setattr(verified, "sources", lambda: "of another day")
    assert entry()["same_sources"] is False
    verified.place().write_text("{")
    assert entry()["records"] == "none"


def test_the_page_shows_it(tmp_path):
    verified.note("closed_loop", [RECORD], quick=False, mpi_size=1)
    told = {"evidence": [{"category": "applicability", "statement": "<i>Adults</i> only."}]}
    path = write_credibility(result(tmp_path, case={**HEART, "credibility": told}))
    environment = templates()
    environment.filters["number"] = str
    html = environment.get_template("credibility.html").render(
        credibility=json.loads(path.read_text())
    )
    assert html.count("<b>none</b>") >= 8
    assert "1 of 1 values within their tolerance" in html
    assert "not run on this installation" in html
    assert "&lt;i&gt;Adults" in html
