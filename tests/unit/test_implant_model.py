"""From a plan to indices: records, the mechanical problem, what is read off it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.case.implant_files import calibration_line, empty_outcome, read_plan, write_plan
from organtwin.case.implant_judge import judge
from organtwin.case.implant_solve import solve, step_names
from organtwin.case.schema_implant import ImplantCase
from organtwin.errors import InputError
from organtwin.export.implant_report import cards, draw_implant
from organtwin.export.implant_words import WORDING, in_words
from organtwin.export.index_words import by_group, verdict_in_words
from organtwin.index import Index
from organtwin.orthopaedics.assessment import prefix_of
from organtwin.orthopaedics.hip_assessment import energy_of_cycle
from organtwin.orthopaedics.operation import Healing, Load, Operation, Place
from organtwin.orthopaedics.outcome import Contact, Outcome, add_contact
from organtwin.orthopaedics.plateau_assessment import gap_of, seam_of
from organtwin.orthopaedics.screw_assessment import force_on_screw
from tests import implanted_block

AT = ("opening", "slip", "jump", "pressure", "shear", "state")


def outcome_of(folder):
    made = implanted_block.assembly()
    operation = implanted_block.operation()
    write_plan(folder, made, operation, implanted_block.frame(), implanted_block.LINE, ["a note"])
    return empty_outcome(folder)[0]


def test_an_operation_survives_json():
    operation = implanted_block.operation()
    kept = json.loads(json.dumps(operation.record()))
    assert Operation.from_record(kept) == operation
    del kept["seats"]
    with pytest.raises(InputError, match="lacks 'seats'"):
        Operation.from_record(kept)


def test_loads_act_on_known_places():
    with pytest.raises(InputError, match=r"load `a`: no place `hed`.*Did you mean `head`"):
        Operation(
            "hip_stem", "x", ("femur",), {}, ("distal",), (), {"head": Place((0, 0, 0), ("s",))},
            {}, (Load("a", "", {"hed": (0.0, 0.0, 1.0)}),),
        )  # fmt: skip


def test_a_plan_comes_back_from_its_files(tmp_path):
    outcome = outcome_of(tmp_path)
    record = read_plan(tmp_path)
    assert record["decisions"] == ["a note"]
    assert calibration_line(record).slope == implanted_block.LINE.slope
    made = implanted_block.assembly()
    assert outcome.volumes.sum() == pytest.approx(20 * 20 * 60)
    assert outcome.volumes[outcome.within("stem")].sum() == pytest.approx(6 * 6 * 40)
    # Around the stem's seat vertices are doubled, so that both sides can move.
    assert len(outcome.moved_points) > len(np.unique(made.operated(separated=False).mesh.points,
                                                     axis=0))  # fmt: skip


def test_an_outcome_survives_its_file(tmp_path):
    outcome = outcome_of(tmp_path)
    rng, n = np.random.default_rng(1), 5
    found = {key: rng.normal(size=(n, 3)) for key in ("position", "normal", "slip", "jump",
                                                      "shear")}  # fmt: skip
    found |= {key: rng.normal(size=n) for key in ("area", "opening", "pressure", "state")}
    add_contact(outcome, "stem, coated", "walking", found)
    outcome.tissue["density"] = np.ones(len(outcome.cells))
    outcome.operated["walking"] = {"stress": rng.normal(size=(len(outcome.cells), 6))}
    outcome.steps.append("walking")
    outcome.save(tmp_path / "result.npz")
    again = Outcome.load(tmp_path / "result.npz")
    assert again.steps == ["walking"]
    assert again.region_names == outcome.region_names
    kept = again.contacts["stem, coated"]
    assert kept.steps["walking"].keys() == set(AT)
    assert kept.position == pytest.approx(found["position"])
    assert kept.steps["walking"]["slip"] == pytest.approx(found["slip"], rel=1e-6)
    assert again.operated["walking"]["stress"] == pytest.approx(
        outcome.operated["walking"]["stress"], rel=1e-6
    )
    with pytest.raises(InputError, match="no results"):
        Outcome.load(tmp_path / "other.npz")


def test_energy_leaves_the_press_fit_out(tmp_path):
    outcome = outcome_of(tmp_path)
    fit, load = np.full((len(outcome.cells), 6), 3.0), np.full((len(outcome.cells), 6), 0.5)
    outcome.operated["unloaded after walking"] = {"stress": fit, "strain": 0.1 * fit}
    outcome.operated["walking"] = {"stress": fit + load, "strain": 0.1 * (fit + load)}
    assert energy_of_cycle(outcome, "walking") == pytest.approx(0.5 * 6 * 0.5 * 0.05)


def test_steps_have_the_names_of_stages():
    operation = implanted_block.operation()
    stage = operation.healing[0]
    assert step_names(operation, stage) == ["press fit", "walking", "unloaded after walking"]
    assert prefix_of(operation, operation.loads[0], stage) == "walking_"
    several = Operation(**{**vars(operation), "healing": (Healing("1 week"), Healing("6 weeks"))})
    assert step_names(several, several.healing[1])[1] == "walking, 6 weeks"
    assert prefix_of(several, several.loads[0], several.healing[1]) == "walking_6_weeks_"


def test_force_on_a_screw_is_what_the_bone_holds():
    normal = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    contact = Contact(np.zeros((2, 3)), normal, np.array([2.0, 1.0]))
    contact.steps["pull"] = {
        "pressure": np.array([5.0, 1.0]), "shear": np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]),
    }  # fmt: skip
    assert force_on_screw(contact, "pull") == pytest.approx([2.0, 2.0, 9.0])


def test_a_gap_is_paired_across_its_callus():
    # The cut-away part of the block stands for a fragment; the stem's upper end for the callus.
    made = implanted_block.assembly()
    names = {"tibia": 1, "callus": 2, "lateral_fragment": 3}
    outcome = Outcome(
        made.mesh.points, made.mesh.cells, made.mesh.regions, names, made.mesh.points,
        made.mesh.cells, np.arange(len(made.mesh.cells)),
    )  # fmt: skip
    gap = gap_of(outcome, ("tibia", "lateral_fragment"))
    assert len(gap.one) == len(gap.other) > 0
    assert not np.isin(gap.one, gap.other).any()
    assert np.linalg.norm(gap.normal, axis=1) == pytest.approx(1.0)
    assert (gap.area > 0).all()
    top = made.mesh.facets[made.mesh.points[made.mesh.facets][:, :, 2].min(axis=1) == 60.0]
    moved = np.zeros_like(outcome.points)
    moved[gap.one, 2] = -0.5
    seam = seam_of(outcome, gap, {"plateau_lateral": top}, moved, np.array([0.0, 0.0, 1.0]))
    assert len(seam.one) == len(seam.other)


def index(name, value, verdict="none", low=None, high=None):
    return Index(name, value, "1", "f", "s", (low, high), verdict, "bone")


def test_cards_show_the_worst_of_all_loads():
    found = [
        index("walking_bone_risk_999", 0.4, "within", high=1.0),
        index("stairs_up_bone_risk_999", 0.9, "within", high=1.0),
        index("walking_stem_fatigue_safety", 5.0, "within", low=1.0),
        index("stairs_up_stem_fatigue_safety", 0.5, "below", low=1.0),
    ]
    shown = {one["name"]: one["value"] for one in cards(found, "hip_stem")}
    assert shown == {"Bone: strain / yield": "0.90", "Stem: fatigue safety": "0.50"}


def test_a_verdict_names_what_is_farthest_off():
    found = [index("a_risk_999", 1.2, "above", high=1.0), index("b_risk_max", 3.0, "above",
                                                                high=1.0)]  # fmt: skip
    told = verdict_in_words(found, "hip stem 5", WORDING)
    assert "2 of 2 indices" in told
    assert "b risk, largest 3.00 (up to 1)" in told
    assert list(by_group(found, WORDING)) == ["Bone: does it yield"]
    assert in_words("walking_micromotion_95") == "Walking micromotion, 95 %"


# --- with equations -----------------------------------------------------------------------------


def case_of():
    return ImplantCase.model_validate(
        {"bone": {"labels": ".", "label": "femur"}, "hip_stem": {}}, context={"folder": "."}
    )


def solved(folder, comm=MPI.COMM_SELF, operation=None):
    """The block, solved and judged."""
    planned, stage = folder / "plan", folder / "solve"
    for place in (planned, stage, folder / "judge"):
        place.mkdir(parents=True, exist_ok=True)
    write_plan(
        planned, implanted_block.assembly(), operation or implanted_block.operation(),
        implanted_block.frame(), implanted_block.LINE, [],
    )  # fmt: skip
    solve(case_of(), planned, folder, stage, "key", lambda *_: None, comm)
    return Outcome.load(folder / "result.npz"), json.loads((stage / "solve.json").read_text())


@pytest.mark.slow
def test_a_stem_in_a_block_is_in_equilibrium(tmp_path):
    outcome, record = solved(tmp_path)
    assert record["complete"]
    assert [one["name"] for one in record["steps"]] == [
        "press fit", "walking", "unloaded after walking",
    ]  # fmt: skip
    for step, wanted in zip(record["steps"], ([0, 0, 0], [-10e3, 0, 100e3], [0, 0, 0]),
                            strict=True):  # fmt: skip
        held = np.sum([seat["force"] for seat in step["seats"].values()], axis=0)
        assert held == pytest.approx(wanted, abs=20.0)
    # The press fit presses, and a cycle of the load moves less than the first loading does.
    assert max(seat["pressure"] for seat in record["steps"][0]["seats"].values()) > 100.0
    coated = outcome.contacts["stem, coated"]
    cycle = np.linalg.norm(coated.micromotion("walking", "unloaded after walking"), axis=1)
    assert 0.0 < cycle.max() < 0.2
    density = outcome.tissue["density"]
    assert density[outcome.within("femur")] == pytest.approx(900 * 8e-4)
    assert np.isnan(outcome.operated["walking"]["energy"][outcome.within("removed")]).all()
    case = case_of()
    judge(case, tmp_path / "plan", tmp_path, tmp_path / "judge", lambda *_: None)
    names = {one["name"] for one in json.loads((tmp_path / "indices.json").read_text())}
    assert {"walking_micromotion_95", "shielding", "walking_stem_fatigue_safety"} <= names
    # Pictures find their files in a result directory's places.
    for stage in ("plan", "judge"):
        (tmp_path / "stages").mkdir(exist_ok=True)
        (tmp_path / stage).rename(tmp_path / "stages" / stage)
    drawn = draw_implant(tmp_path)
    assert json.loads((tmp_path / "pictures" / "missing.json").read_text()) == {}
    assert len(drawn) == 8


@pytest.mark.slow
def test_a_stopped_solve_goes_on_after_its_last_step(tmp_path, monkeypatch):
    whole, _ = solved(tmp_path / "whole")
    from organtwin.case import implant_solve

    calls = []
    follow = implant_solve.follow

    def stops(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return follow(*arguments, **keywords)

    monkeypatch.setattr(implant_solve, "follow", stops)
    with pytest.raises(KeyboardInterrupt):
        solved(tmp_path / "stopped")
    found, record = solved(tmp_path / "stopped")
    assert len(calls) == 4  # the press fit is not done again
    assert found.steps == whole.steps
    assert [one["name"] for one in record["steps"]] == whole.steps
    for step in whole.steps:
        assert found.moved[step] == pytest.approx(whole.moved[step], abs=1e-5)


@pytest.mark.slow
def test_a_stem_without_press_fit_moves_more(tmp_path):
    moved = []
    for interference in (0.0, 0.03):
        made = implanted_block.operation(interference)
        outcome, record = solved(tmp_path / f"{interference}", operation=made)
        gone = record["steps"][-1]["name"]
        slips = [np.linalg.norm(c.micromotion("walking", gone), axis=1).max()
                 for c in outcome.contacts.values()]  # fmt: skip
        moved.append(max(slips))
    assert moved[0] > moved[1]


@pytest.mark.slow
def test_a_bench_alone_maps_the_density(tmp_path):
    made = implanted_block.operation()
    bench = replace(made, loads=tuple(replace(load, intact=False) for load in made.loads))
    outcome, record = solved(tmp_path, operation=bench)
    assert record["complete"] and not outcome.intact
    assert outcome.tissue["density"][outcome.within("femur")] == pytest.approx(900 * 8e-4)
