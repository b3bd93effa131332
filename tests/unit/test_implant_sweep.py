"""Sweeps of implants: members by settings of the case, with an operation that is made up."""

import json
from dataclasses import dataclass

import pytest

from organtwin.case.implant_plans import FACTORS, ImplantPlans
from organtwin.case.load import load_rehearsal_case
from organtwin.case.members import INDICES, Member
from organtwin.case.plans import plans_of
from organtwin.case.sensitivity import variations_of, vary
from organtwin.case.sweep import run_rehearsal
from organtwin.choice import IndexValue
from organtwin.errors import InputError
from organtwin.orthopaedics.criteria import CHOICES

CASE = """
[bone]
surface = "bone.stl"
side = "left"
[hip_stem]
"""
REHEARSAL = """
case = "case.toml"
[sweep.more]
hip_stem.size = ["3", "4"]
hip_stem.friction = [0.3, 0.6]
[sensitivity.factors.friction]
key = "hip_stem.friction"
times = 1.5
"""


@dataclass(frozen=True)
class Made:
    """Moves less with more friction; the larger stem shields more."""

    def prepare(self, members):
        """Nothing is shared."""

    def key(self, member):
        return json.dumps(dict(member.settings))

    def __call__(self, member, out):
        friction = float(member.settings["hip_stem.friction"])
        large = member.settings["hip_stem.size"] == "4"
        indices = [
            {"name": "walking_micromotion_95", "value": 30.0 / friction, "unit": "µm",
             "threshold": [None, 150.0]},
            {"name": "walking_micromotion_share_fibrous", "value": 3.0 / friction, "unit": "%",
             "threshold": [None, 6.0]},
            {"name": "shielding_zone_7", "value": 60.0 if large else 30.0, "unit": "%",
             "threshold": [None, 75.0]},
        ]  # fmt: skip
        (out / INDICES).write_text(json.dumps(indices))


@pytest.fixture
def case(tmp_path):
    (tmp_path / "bone.stl").touch()
    (tmp_path / "case.toml").write_text(CASE)
    (tmp_path / "rehearsal.toml").write_text(REHEARSAL)
    return load_rehearsal_case(tmp_path / "rehearsal.toml")


def test_every_value_with_every_other(case, tmp_path):
    plans = plans_of(case, tmp_path)
    assert [one.name for one in plans.members()] == [
        "size_3-friction_0.3", "size_3-friction_0.6", "size_4-friction_0.3", "size_4-friction_0.6",
    ]  # fmt: skip


def test_plans_are_ranked_and_get_intervals(case, tmp_path):
    plans, out = plans_of(case, tmp_path), tmp_path / "out"
    found = run_rehearsal(case, plans, out=out, work=Made())
    assert found.ranks[0].name == "size_3-friction_0.6"
    assert [one.advised for one in found.ranks] == [True, True, False, False]
    assert "more than 150 µm of micromotion over 10 %" in found.ranks[-1].why
    varied = vary(case, plans, found, out=out, work=Made())
    moves = next(one for one in varied.intervals if one.index.name == "walking_micromotion_95")
    assert (moves.low, moves.high) == pytest.approx((30 / 0.9, 75.0))
    assert moves.largest == "friction"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("[sweep]\nsize = ['26']", "a setting of valves"),
        ("[sweep]", "nothing is varied"),
        ("[sweep.more]\nhip_stem.sizes = ['3']", "Did you mean `size`"),
    ],
)
def test_sweeps_that_are_none(case, tmp_path, more, message):
    (tmp_path / "rehearsal.toml").write_text(f'case = "case.toml"\n{more}\n')
    other = load_rehearsal_case(tmp_path / "rehearsal.toml")
    with pytest.raises(InputError, match=message):
        plans_of(other, tmp_path).members()


def test_a_case_that_is_not_rehearsed(case, tmp_path):
    (tmp_path / "case.toml").write_text('[image]\nfile = "a.nrrd"\n')
    with pytest.raises(InputError, match="neither a case of a valve nor of an implant"):
        plans_of(case, tmp_path)


def test_a_member_is_another_if_a_file_that_it_reads_is(case, tmp_path):
    work, member = ImplantPlans(case).work, Member("a", {"hip_stem.size": "3"})
    first = work.key(member)
    assert work.key(member) == first
    (tmp_path / "bone.stl").write_text("another bone")
    assert work.key(member) != first


def test_usual_factors_are_settings_that_there_are(case, tmp_path, monkeypatch):
    monkeypatch.setattr(ImplantPlans, "voxel", lambda plans: 2.0)
    case = case.model_copy(update={"sensitivity": case.sensitivity.model_copy(
        update={"factors": {}})})  # fmt: skip
    for kind, factors in FACTORS.items():
        bone = 'surface = "bone.stl"' if kind == "hip_stem" else 'labels = "bone.stl"\nlabel = "b"'
        (tmp_path / "case.toml").write_text(f"[bone]\n{bone}\n[{kind}]\n")
        found = variations_of(case, ImplantPlans(case), Member("a", {}))
        names = [one.member.name for one in found]
        runs = [len(one.runs) or 2 for one in factors.values()]
        assert len(set(names)) == len(names) == sum(runs)
        # Boundary conditions come first.
        assert found[0].factor == "how it is held"
        assert list(dict.fromkeys(one.factor for one in found)) == list(factors)


def test_boundary_conditions_are_varied_as_what_they_are(case, tmp_path):
    usual = case.model_copy(update={"sensitivity": case.sensitivity.model_copy(
        update={"factors": {}})})  # fmt: skip
    plans = ImplantPlans(usual)
    found = variations_of(usual, plans, Member("a", {}))
    told = {one.factor: [] for one in found}
    for one in found:
        told[one.factor].append(one.change)
    assert told["how it is held"] == ["guided", "bed"]
    assert told["muscles"] == ["without muscles"]
    assert told["segmentation"] == ["-0.5 mm", "0.5 mm"]  # a surface has no voxels
    assert not any(one.mirrored for one in found if one.factor in plans.boundary)
    # What the plan has already is left out; one run is the first alternative.
    again = variations_of(usual, plans, Member("a", {"bone.held": "bed"}), runs=1)
    assert [one.change for one in again if one.factor == "how it is held"] == ["guided"]
    work, member = plans.work, Member("a", {"loads.muscles": False})
    assert work.case(member).loads.muscles is False
    assert plans.trials.key(member) == work.key(member)


def test_loads_are_swept_as_lists(case, tmp_path):
    (tmp_path / "rehearsal.toml").write_text(
        'case = "case.toml"\n[sweep.more]\n'
        'loads.activities = [["walking"], ["walking", "stumbling"]]\n'
    )
    plans = plans_of(load_rehearsal_case(tmp_path / "rehearsal.toml"), tmp_path)
    assert [one.name for one in plans.members()] == [
        "activities_walking", "activities_walking+stumbling",
    ]  # fmt: skip
    assert plans.load(plans.members()[1].settings).loads.activities == ("walking", "stumbling")


#: Indices as runs of the demos write them, one of each kind that rules and criteria look at.
WRITTEN = {
    "hip_stem": (
        "walking_micromotion_share_fibrous", "walking_micromotion_95", "walking_bone_risk_999",
        "walking_stem_yield_safety", "walking_stem_fatigue_safety", "shielding_zone_7",
        "resorption", "canal_fill",
    ),
    "pedicle_screw": (
        "screw_left_density", "screw_left_breach", "pull_out_screw_left_pull_out_safety",
        "walking_bone_risk_999", "walking_screw_left_yield_safety",
        "walking_screw_left_fatigue_safety",
    ),
    "tibial_plateau": (
        "walking_1_week_interfragmentary_strain_95", "walking_1_week_step_off",
        "walking_1_week_plateau_lateral_subsidence_max", "walking_1_week_bone_risk_999",
        "walking_1_week_screw1_yield_safety", "walking_1_week_plate_fatigue_safety",
    ),
    "touching_plateau": (
        "walking_fragments_movement_95", "walking_step_off",
        "walking_plateau_lateral_subsidence_max", "walking_bone_risk_999",
        "walking_screw1_yield_safety", "walking_plate_fatigue_safety",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRITTEN)
def test_rules_and_criteria_find_their_indices(kind):
    found = tuple(IndexValue(name, 1.0, "1", 0.5, 2.0) for name in WRITTEN[kind])
    choice = CHOICES[kind]
    assert choice.ranked({"a": found})[0].unknown == ()
    for left in found:
        less = tuple(one for one in found if one is not left)
        assert choice.ranked({"a": less})[0].unknown != (), left.name
