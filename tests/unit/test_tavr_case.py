"""Case files of valves: every key with a wrong value is told by its name."""

from dataclasses import asdict
from pathlib import Path

import pytest

from organtwin.aortic_root.sizing import oversizing
from organtwin.case.load import CaseError, is_tavr_case, load_tavr_case
from organtwin.case.reference import tavr_reference
from organtwin.case.schema_tavr import TavrCase
from organtwin.case.tavr_deploy import settings_of, tissue_of
from organtwin.case.tavr_estimate import estimate
from organtwin.case.tavr_pipeline import haemodynamics_of
from organtwin.case.tavr_root import choose, height_needed, refuse_bursting, sizes_of
from organtwin.devices.device_files import load_device
from organtwin.errors import InputError
from organtwin.tavr.haemodynamics import Haemodynamics
from organtwin.tavr.rehearsal import Settings
from organtwin.tavr.root_tissue import RootTissue

ROOT = Path(__file__).parents[2]
DEMOS = [ROOT / "demos" / "tavr" / name for name in ("case.toml", "evolut.toml")]
CASE = '[scan]\nfile = "ct.nii.gz"\n[device]\nname = "sapien3_like"\n'

#: Key → wrong value, and what is said about it.
WRONG = {
    "title": (3, "title"),
    "scan.file": ("none.nii", 'no such file or folder "none.nii"'),
    "scan.series": ([1.5], "series"),
    "scan.labels": ("none.nrrd", 'no such file or folder "none.nrrd"'),
    "scan.names": ({"aorta": 0}, "at least 1"),
    "scan.recipe": ("heart_mr", "heart_and_aorta_ct"),
    "scan.landmarks": ("none.mrk.json", 'no such file "none.mrk.json"'),
    "scan.calcium": ("130", "Known: 450_or_850"),
    "root.size": ("9 mm", "at most 5 mm"),
    "root.wall": ("2 kPa", "wall"),
    "root.leaflets": ("opened", "Did you mean `open`"),
    "root.leaflet_thickness": ("3 mm", "at most 2 mm"),
    "root.commissures": (1.2, "at most 0.97"),
    "root.outwards": ("3 mm", "at most 2 mm"),
    "root.below": ("1 mm", "at least 3 mm"),
    "root.above": ("1 mm", "at least 5 mm"),
    "tissue.wall.law": ("hooke", 'unknown law "hooke"'),
    "tissue.wall.c": ("0 kPa", "more than 0 kPa"),
    "tissue.wall.k_1": ("-1 kPa", "at least 0 kPa"),
    "tissue.wall.k_2": (0, "more than 0"),
    "tissue.wall.angle": ("100 deg", "at most 90 deg"),
    "tissue.wall.kappa": (0.4, "at most 0.333333"),
    "tissue.outflow.mu": (500, "has no unit"),
    "tissue.stiffness": (0.0, "more than 0"),
    "tissue.media": (1.0, "less than 1"),
    "tissue.calcium": ("1 mm", "calcium"),
    "tissue.calcium_poisson": (0.5, "less than 0.5"),
    "tissue.bulk": ("0 kPa", "more than 0 kPa"),
    "tissue.bed": ("-1 kPa/mm", "at least 0 kPa/mm"),
    "tissue.bed_outflow": ("-1 kPa/mm", "at least 0 kPa/mm"),
    "tissue.ends": ("0 kPa/mm", "more than 0 kPa/mm"),
    "device.name": ("sapien_like", "Did you mean `sapien3_like`"),
    "device.size": (["23"], "size"),
    "device.refuse_too_large": ("perhaps", "refuse_too_large"),
    "deployment.depth": ("40 mm", "at most 20 mm"),
    "deployment.along": ("aorta", "along"),
    "deployment.tilt": ("60 deg", "at most 30 deg"),
    "deployment.towards": ("400 deg", "at most 360 deg"),
    "deployment.turn": (10, "has no unit"),
    "deployment.filling": (2.0, "at most 1.5"),
    "deployment.post_dilation": ("50 mm", "at most 40 mm"),
    "deployment.friction": (-0.1, "at least 0"),
    "deployment.elements": (2.5, "not a whole number"),
    "deployment.spacing": ("0 mm", "at least 0.1 mm"),
    "deployment.penalty": ("0 kPa", "more than 0 kPa"),
    "haemodynamics.diastolic_pressure": ("5 mmHg", "higher than `ventricular_pressure`"),
    "haemodynamics.ventricular_pressure": ("-1 mmHg", "at least 0 mmHg"),
    "haemodynamics.systole": ("perhaps", "systole"),
    "haemodynamics.systolic_pressure": ("250 mmHg", "at most 225"),
    "haemodynamics.heart_rate": ("120 / min", "longer than a beat"),
    "haemodynamics.diastole": ("0 ms", "more than 0 ms"),
    "haemodynamics.ejection": ("0 ms", "more than 0 ms"),
    "haemodynamics.cardiac_output": ("0 L/min", "more than 0 L/min"),
    "haemodynamics.body_surface": ("5 m^2", "less than 4 m^2"),
    "haemodynamics.obese": ("perhaps", "obese"),
    "output.directory": (3, "directory"),
    "output.save_every": (0, "at least 1"),
    "credibility.question_of_interest": (3, "question_of_interest"),
    "credibility.context_of_use": (3, "context_of_use"),
    "credibility.model_influence": ("some", 'unknown value "some"'),
    "credibility.decision_consequence": ("some", 'unknown value "some"'),
    "credibility.evidence": (5, "evidence"),
}  # fmt: skip


def loaded(folder, *settings):
    (folder / "ct.nii.gz").touch()
    file = folder / "case.toml"
    file.write_text(CASE)
    return load_tavr_case(file, settings)


def test_the_table_has_every_key():
    found = set()
    for name, field in TavrCase.model_fields.items():
        inner = field.annotation
        if hasattr(inner, "model_fields"):
            found |= {f"{name}.{key}" for key in inner.model_fields}
        else:
            found.add(name)
    laws = {"tissue.wall", "tissue.adventitia", "tissue.outflow", "tissue.leaflets"}
    assert found - laws == {key for key in WRONG if key.rpartition(".")[0] not in laws}


@pytest.mark.parametrize("key", WRONG)
def test_wrong_values_are_told_by_key(tmp_path, key):
    value, message = WRONG[key]
    text = str(value).replace("'", '"') if not isinstance(value, str) else f'"{value}"'
    if isinstance(value, dict):
        text = "{" + ", ".join(f"{k} = {v}" for k, v in value.items()) + "}"
    with pytest.raises(CaseError) as raised:
        loaded(tmp_path, f"{key}={text}")
    told = str(raised.value)
    section = key.split(".")[0]
    assert section in told
    assert message in told


def test_unknown_keys_and_sections_are_suggested(tmp_path):
    with pytest.raises(
        CaseError, match=r"\[deployment\]: unknown key `dept`. Did you mean `depth`"
    ):
        loaded(tmp_path, 'deployment.dept="3 mm"')
    with pytest.raises(CaseError, match=r"unknown key `roots`\. Did you mean `root`"):
        loaded(tmp_path, 'roots.size="3 mm"')
    with pytest.raises(CaseError, match="`names` belong to `labels`"):
        loaded(tmp_path, "scan.names={aorta = 1}")


def test_defaults_are_those_of_the_engine(tmp_path):
    case = loaded(tmp_path)
    assert tissue_of(case) == RootTissue()
    here, usual = (asdict(one) for one in (haemodynamics_of(case), Haemodynamics()))
    for name in ("blood", "surface"):
        assert here.pop(name) == usual.pop(name)
    assert here == pytest.approx(usual, rel=1e-5)
    settings = settings_of(case)
    assert settings == Settings(systole=settings.systole)
    stiff = tissue_of(loaded(tmp_path, "tissue.stiffness=2.0"))
    assert stiff.wall.c == 2 * RootTissue().wall.c
    assert stiff.outflow.mu == 2 * RootTissue().outflow.mu
    assert stiff.leaflets == RootTissue().leaflets


@pytest.mark.parametrize("file", DEMOS, ids=lambda file: file.stem)
def test_demos_are_valid(file):
    assert is_tavr_case(file)
    size = estimate(load_tavr_case(file), ranks=2)
    assert size.memory < 6 * 1024
    assert size.time < 20 * 60


#: Runs of the demos on one rank: tetrahedra, frame's unknowns, memory (MiB), time (s).
MEASURED = {"case": (19_710, 1_944, 1_051, 539), "evolut": (27_558, 3_690, 1_158, 458)}


@pytest.mark.parametrize("name", MEASURED)
def test_estimates_are_good_to_a_factor_of_two(name):
    found = estimate(load_tavr_case(ROOT / "demos/tavr" / f"{name}.toml"))
    cells, frame, memory, time = MEASURED[name]
    assert 0.5 < found.cells / cells < 2.0
    assert found.frame == frame
    assert 0.5 < found.memory / memory < 2.0
    assert 0.5 < found.time / time < 2.0


def test_other_cases_are_none(tmp_path):
    assert not is_tavr_case(ROOT / "demos/heartbeat/case.toml")
    assert not is_tavr_case(ROOT / "meshes/aortic_root/case.toml")


def test_the_reference_page_is_up_to_date():
    page = (ROOT / "docs" / "tavr-case-file.md").read_text(encoding="utf-8")
    assert page == tavr_reference(), "docs/tavr-case-file.md is out of date: make docs"


# --- size by rule -------------------------------------------------------------------------------


class Measured:
    """An annulus of a diameter (mm)."""

    def __init__(self, diameter):
        area, perimeter = 0.7853981634 * diameter**2, 3.1415926536 * diameter
        self.area, self.perimeter = 3 * (area,), 3 * (perimeter,)
        self.quantities = {
            f"annulus_{by}_diameter": Value(diameter) for by in ("area", "perimeter")
        }

    def sizes(self, devices):
        return tuple(oversizing(one, self.area, self.perimeter) for one in devices)


class Value:
    def __init__(self, value):
        self.value = value


@pytest.mark.parametrize(
    ("device", "diameter", "size"),
    [("sapien3_like", 20.7, "23"), ("sapien3_like", 24.5, "26"), ("evolut_like", 21.3, "26")],
)
def test_auto_takes_the_size_that_the_annulus_asks_for(tmp_path, device, diameter, size):
    case = loaded(tmp_path, f"device.name={device}")
    chosen = choose(case.device, Measured(diameter))
    assert chosen.size == size
    assert f"Size {size} by rule" in chosen.told[0]
    assert chosen.oversizing.fits


def test_sizes_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no size fits an annulus of 35\.0 mm"):
        choose(loaded(tmp_path).device, Measured(35.0))
    with pytest.raises(InputError, match="no size `27`"):
        choose(loaded(tmp_path, "device.size=27").device, Measured(23.0))
    with pytest.raises(InputError, match="risks a rupture"):
        choose(loaded(tmp_path, "device.size=29").device, Measured(21.0))
    told = choose(
        loaded(tmp_path, "device.size=29", "device.refuse_too_large=false").device, Measured(21.0)
    ).told
    assert "risks a rupture; it was asked for" in told[1]


def test_a_filling_that_bursts_the_balloon_is_refused():
    device = load_device("sapien3_like", "23")
    refuse_bursting(device, 1.0)
    with pytest.raises(InputError, match=r"\[deployment\] filling: 1.4 of the nominal volume"):
        refuse_bursting(device, 1.4)
    refuse_bursting(load_device("evolut_like", "26"), 1.4)


def test_height_that_a_device_needs():
    assert len(sizes_of("evolut_like")) == 4
    assert height_needed(load_device("evolut_like", "26"), 4.0) == pytest.approx(45 - 4 + 6)
