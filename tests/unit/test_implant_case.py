"""Case files of implants: every key with a wrong value is told by its name."""

from pathlib import Path

import numpy as np
import pytest

from organtwin.case.implant_estimate import estimate
from organtwin.case.implant_plan import activities, calibration_of, fineness_of, law_of
from organtwin.case.load import CaseError, is_implant_case, is_organ_case, load_implant_case
from organtwin.case.reference import implant_reference
from organtwin.case.schema_implant import ImplantCase
from organtwin.errors import InputError
from organtwin.orthopaedics.hip_plan import StemSeat
from organtwin.orthopaedics.hip_stem import HipStemOptions
from organtwin.orthopaedics.plateau_options import TibialPlateauOptions
from organtwin.orthopaedics.screw_plan import ThreadSeat

ROOT = Path(__file__).parents[2]
KINDS = ("hip_stem", "pedicle_screw", "tibial_plateau")
LABELS = '[bone]\nlabels = "labels.nrrd"\nlabel = "bone"\n'

#: Key → wrong value, and what is said about it.
WRONG = {
    "title": (3, "title"),
    "bone.scan": ("none.nii", 'no such file or folder "none.nii"'),
    "bone.labels": ("none.nrrd", 'no such file or folder "none.nrrd"'),
    "bone.names": ({"femur": 0}, "at least 1"),
    "bone.label": (3, "label"),
    "bone.surface": ("none.stl", 'no such file "none.stl"'),
    "bone.landmarks": ("none.mrk.json", 'no such file "none.mrk.json"'),
    "bone.side": ("middle", "left"),
    "bone.calibration": ("phantom", "rods"),
    "bone.rods": ([1.0], "rods"),
    "bone.rod_radius": ("0 mm", "more than 0 mm"),
    "bone.slope": (1.0, "at most 0.005"),
    "bone.intercept": ("1 g/cm^3", "at most 0.5 g/cm^3"),
    "bone.law": ("keyak", "no law `keyak`"),
    "bone.poisson": (0.5, "less than 0.5"),
    "bone.outwards": ("5 mm", "at most 3 mm"),
    "bone.held": ("glued", 'unknown value "glued"'),
    "hip_stem.family": ("none", 'no implant "none"'),
    "hip_stem.size": (5, "size"),
    "hip_stem.material": ("steel", "no material `steel`"),
    "hip_stem.neck_cut": ("60 mm", "at most 40 mm"),
    "hip_stem.neck": ("long", 'unknown value "long"'),
    "hip_stem.head": ("20 mm", "at most 16 mm"),
    "hip_stem.version": ("60 deg", "at most 45 deg"),
    "hip_stem.ream": ("5 mm", "at most 4 mm"),
    "hip_stem.keep": ("0 mm", "at least 0.5 mm"),
    "hip_stem.beyond": ("1 mm", "at least 10 mm"),
    "hip_stem.longer": ("perhaps", "longer"),
    "hip_stem.template": ("none.stl", 'no such file "none.stl"'),
    "hip_stem.interference": ("1 mm", "at most 0.5 mm"),
    "hip_stem.friction": (-0.1, "at least 0"),
    "hip_stem.friction_polished": (2.0, "at most 1.5"),
    "hip_stem.ingrown": ("1 mm", "ingrown"),
    "pedicle_screw.canal": (3, "canal"),
    "pedicle_screw.family": ("none", 'no implant "none"'),
    "pedicle_screw.size": (6, "size"),
    "pedicle_screw.length": ("10 mm", "at least 20 mm"),
    "pedicle_screw.turn": ("20 deg", "at most 15 deg"),
    "pedicle_screw.material": ("steel", "no material `steel`"),
    "pedicle_screw.friction": (2.0, "at most 1.5"),
    "pedicle_screw.cohesion": ("-1 kPa", "at least 0 kPa"),
    "pedicle_screw.pull": (200, "has no unit"),
    "tibial_plateau.fixation": ("nail", "Known: none, plate, screws"),
    "tibial_plateau.plate": ("none", 'no implant "none"'),
    "tibial_plateau.plate_size": (3, "plate_size"),
    "tibial_plateau.plate_turn": ("90 deg", "at most 60 deg"),
    "tibial_plateau.plate_gap": ("0 mm", "at least 0.5 mm"),
    "tibial_plateau.fracture": ("crack", "split_depression"),
    "tibial_plateau.aside": ("20 mm", "at most 12 mm"),
    "tibial_plateau.gap": ("4 mm", "at most 3 mm"),
    "tibial_plateau.friction": (-0.1, "at least 0"),
    "tibial_plateau.depth": ("20 mm", "at most 15 mm"),
    "tibial_plateau.step": ("10 mm", "at most 8 mm"),
    "tibial_plateau.graft": ("perhaps", "graft"),
    "tibial_plateau.graft_modulus": ("0 kPa", "more than 0 kPa"),
    "tibial_plateau.raft": (0, "at least 1"),
    "tibial_plateau.weeks": ([], "at least one value"),
    "tibial_plateau.callus": (["1 mm"], "callus"),
    "tibial_plateau.bearing": (0.0, "more than 0"),
    "tibial_plateau.cartilage": ("perhaps", "cartilage"),
    "tibial_plateau.bench": ("0 N", "more than 0 N"),
    "loads.mass": ("10 kg", "at least 25 kg"),
    "loads.activities": (["flying"], "no load `flying`"),
    "loads.increments": (0, "at least 1"),
    "loads.muscles": ("perhaps", "muscles"),
    "mesh.bone": ("20 mm", "at most 15 mm"),
    "mesh.implant": ("0.1 mm", "at least 0.5 mm"),
    "mesh.interface": ("0.1 mm", "at least 0.5 mm"),
    "mesh.voxel": ("0.1 mm", "at least 0.3 mm"),
    "output.directory": (3, "directory"),
    "output.fields": ("perhaps", "fields"),
    "credibility.question_of_interest": (3, "question_of_interest"),
    "credibility.context_of_use": (3, "context_of_use"),
    "credibility.model_influence": ("some", 'unknown value "some"'),
    "credibility.decision_consequence": ("some", 'unknown value "some"'),
    "credibility.evidence": (5, "evidence"),
}  # fmt: skip


def loaded(folder, kind, *settings):
    (folder / "labels.nrrd").touch()
    file = folder / "case.toml"
    file.write_text(f"{LABELS}[{kind}]\n")
    return load_implant_case(file, settings)


def test_the_table_has_every_key():
    found = set()
    for name, field in ImplantCase.model_fields.items():
        sections = [field.annotation, *getattr(field.annotation, "__args__", ())]
        inner = next((one for one in sections if hasattr(one, "model_fields")), None)
        found |= {f"{name}.{key}" for key in inner.model_fields} if inner else {name}
    assert found == WRONG.keys()


@pytest.mark.parametrize("key", WRONG)
def test_wrong_values_are_told_by_key(tmp_path, key):
    value, message = WRONG[key]
    section = key.split(".")[0]
    text = str(value).replace("'", '"') if not isinstance(value, str) else f'"{value}"'
    if isinstance(value, dict):
        text = "{" + ", ".join(f"{k} = {v}" for k, v in value.items()) + "}"
    with pytest.raises(CaseError) as raised:
        loaded(tmp_path, section if section in KINDS else "hip_stem", f"{key}={text}")
    told = str(raised.value)
    assert section in told
    assert message in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[hip_stem]\n", "either `labels` or `surface`"),
        ('labels = "labels.nrrd"\n[hip_stem]\n', "`label` is missing"),
        ('surface = "labels.nrrd"\n[pedicle_screw]\n', "needs `labels`"),
        ('labels = "labels.nrrd"\nlabel = "a"\n', "found none"),
        (
            'labels = "labels.nrrd"\nlabel = "a"\n[hip_stem]\n[pedicle_screw]\n',
            "found hip_stem and pedicle_screw",
        ),
        (
            'labels = "labels.nrrd"\nlabel = "a"\ncalibration = "rods"\n[hip_stem]\n',
            "needs two `[[bone.rods]]`",
        ),
        (
            'labels = "labels.nrrd"\nlabel = "a"\ncalibration = "given"\n[hip_stem]\n',
            "needs `slope`",
        ),
        (
            'labels = "labels.nrrd"\nlabel = "femur_right"\nside = "left"\n[hip_stem]\n',
            '`label` is "femur_right" and `side` "left"',
        ),
        (
            'labels = "labels.nrrd"\nlabel = "a"\nheld = "guided"\n[pedicle_screw]\n',
            "knows no `guided`, but fixed, potted, bed",
        ),
        (
            'labels = "labels.nrrd"\nlabel = "a"\noutwards = "1 mm"\n[tibial_plateau]\n',
            "[bone] outwards: not of",
        ),
        (
            'labels = "labels.nrrd"\nlabel = "a"\n[pedicle_screw]\n[loads]\nmuscles = false\n',
            "[loads] muscles: loads of `[pedicle_screw]` have none",
        ),
        (
            'labels = "labels.nrrd"\nlabel = "a"\n[tibial_plateau]\nweeks = [1, 6]\n',
            "must be of one length",
        ),
    ],
)
def test_what_does_not_go_together_is_told(tmp_path, text, message):
    (tmp_path / "labels.nrrd").touch()
    file = tmp_path / "case.toml"
    file.write_text(f"[bone]\n{text}")
    with pytest.raises(CaseError, match=message.replace("[", r"\[").replace("]", r"\]")):
        load_implant_case(file)


def test_defaults_are_those_of_the_engine(tmp_path):
    hip = loaded(tmp_path, "hip_stem").hip_stem
    usual = HipStemOptions()
    assert (hip.family, hip.neck_cut, hip.head, hip.ream, hip.keep, hip.beyond, hip.longer) == (
        usual.family, usual.calcar, usual.head, usual.ream, usual.keep, usual.beyond, usual.longer
    )  # fmt: skip
    seat = StemSeat(hip.friction, hip.friction_polished, hip.interference, hip.ingrown)
    assert seat == StemSeat()
    screw = loaded(tmp_path, "pedicle_screw").pedicle_screw
    assert ThreadSeat(screw.friction, screw.cohesion) == ThreadSeat()
    knee, engine = loaded(tmp_path, "tibial_plateau").tibial_plateau, TibialPlateauOptions()
    for key in (
        "fixation",
        "plate",
        "plate_size",
        "plate_gap",
        "gap",
        "depth",
        "step",
        "graft",
        "raft",
    ):
        assert getattr(knee, key) == getattr(engine, key), key


def test_usual_loads_sizes_and_laws(tmp_path):
    case = loaded(tmp_path, "pedicle_screw", 'mesh.bone="5 mm"')
    assert activities(case) == ("walking", "pull_out")
    assert (fineness_of(case).bone, fineness_of(case).voxel) == (5.0, 0.9)
    line = calibration_of(case.bone, None)
    assert line.kind == "default"
    assert law_of(case, line).law.name == "kopperdahl_2002"
    own = loaded(tmp_path, "hip_stem", "bone.calibration=given", "bone.slope=0.001")
    assert float(calibration_of(own.bone, None).density(500.0)) == pytest.approx(0.5)
    with pytest.raises(InputError, match="needs a scan"):
        calibration_of(loaded(tmp_path, "hip_stem", "bone.calibration=tissues").bone, None)


@pytest.mark.parametrize("kind", KINDS)
def test_demos_are_valid(kind):
    file = ROOT / "demos" / kind / "case.toml"
    assert is_implant_case(file)
    assert not is_organ_case(file)
    size = estimate(load_implant_case(file), ranks=2)
    assert size.memory < 6 * 1024
    assert size.time < 10 * 60


#: Runs of the demos' cases on two ranks: tetrahedra, unknowns, memory (MiB), time (s).
MEASURED = {
    "hip_stem": (10_650, 7_980, 1_747, 56), "pedicle_screw": (15_577, 14_046, 1_800, 51),
    "tibial_plateau": (32_179, 21_819, 1_978, 127),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_estimates_are_good_to_a_factor_of_two(kind):
    found = estimate(load_implant_case(ROOT / "demos" / kind / "case.toml"), ranks=2)
    cells, unknowns, memory, time = MEASURED[kind]
    for value, measured in (
        (found.cells, cells), (found.unknowns, unknowns), (found.memory, memory),
        (found.time, time),
    ):  # fmt: skip
        assert 0.5 < value / measured < 2.0


def test_finer_meshes_are_expected_to_cost_more(tmp_path):
    coarse, fine = (
        estimate(loaded(tmp_path, "hip_stem", f'mesh.bone="{h} mm"'), ranks=2) for h in (8, 4)
    )
    assert fine.cells > 2 * coarse.cells
    assert fine.time > coarse.time
    assert np.isfinite(fine.memory)


def test_other_cases_are_none():
    assert not is_implant_case(ROOT / "demos/heartbeat/case.toml")
    assert not is_implant_case(ROOT / "demos/tavr/case.toml")


def test_the_reference_page_is_up_to_date():
    page = (ROOT / "docs" / "implant-case-file.md").read_text(encoding="utf-8")
    assert page == implant_reference(), "docs/implant-case-file.md is out of date: make docs"
