from pathlib import Path

import numpy as np
import pytest

from organtwin.case.load import CaseError, is_organ_case, load_organ_case
from organtwin.case.organ_sizes import resolution_of, sizes_of
from organtwin.case.organ_source import read_source, source_of, write_source
from organtwin.case.reference import organ_reference
from organtwin.errors import InputError
from organtwin.image.markups import Curve, Landmarks, write_markups
from organtwin.image.slicer import write_slicer
from organtwin.image.volume import LabelMap

ROOT = Path(__file__).parents[2]
GALLERY = sorted(ROOT.glob("meshes/*/case.toml"))


@pytest.fixture
def folder(tmp_path):
    values = np.zeros((24, 24, 24), np.uint8)
    values[4:20, 4:20, 4:20] = 1
    values[8:16, 8:16, 8:16] = 2
    values[8:16, 8:16, 16:18] = 3
    names = {"muscle": 1, "blood": 2, "valve": 3}
    labels = LabelMap(values, names, np.ones(3), np.zeros(3), np.eye(3))
    write_slicer(labels, tmp_path / "labels.seg.nrrd")
    return tmp_path


def case(folder, text, *settings):
    file = folder / "case.toml"
    file.write_text(text)
    return load_organ_case(file, settings)


SOURCE = '[source]\nlabels = "labels.seg.nrrd"\n[mesh]\nsize = "4 mm"\n'

VESSEL = """
[anatomy.vessels.aorta]
wall = "muscle"
lumen = "blood"
inlet = "blood-outside"
outlets = [[1.0, 2.0, 3.0], "valve"]
"""


@pytest.mark.parametrize("file", GALLERY, ids=lambda file: file.parent.name)
def test_cases_of_the_gallery_are_valid(file):
    assert is_organ_case(file)
    assert load_organ_case(file).title


def test_a_simulation_is_no_organ_case():
    assert not is_organ_case(ROOT / "demos/heartbeat/case.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[source]\n[mesh]\nsize = "4 mm"\n', "one of `labels`, `image` and `surfaces` is needed"),
        (SOURCE.replace("labels =", "image ="), "`image` and `recipe` go together"),
        (SOURCE.replace("labels =", 'engine = "monai"\nlabels ='), "the folder of a `bundle`"),
        (SOURCE + '[[mesh.near]]\nsize = "1 mm"\n', "one of `region`, `point` and `markup`"),
        (SOURCE + VESSEL.replace("inlet", "inlets"), "unknown key `inlets`. Did you mean `inlet`"),
        (SOURCE + VESSEL.replace('"blood-outside"', "[1.0, 2.0]"), "no place: give names of"),
        (SOURCE + VESSEL.replace("aorta", "bone"), "`bone` can't name a vessel"),
        (SOURCE + '[anatomy.ventricles]\nmuscle = "muscle"\nbase = "valve"\n', "needs `lv_blood`"),
        (SOURCE + '[mesh.near]\nregion = "blood"\nsize = "1 mm"\n', "write \\[\\[mesh.near\\]\\]"),
        (SOURCE.replace("labels.seg", "label.seg"), 'no such file or folder "label.seg.nrrd"'),
        (SOURCE + 'thicknes = 2\n', "unknown key `thicknes`. Did you mean `thickness`"),
        (SOURCE.replace("4 mm", "4 ms"), r"case.toml, \[mesh\] size: "),
        (SOURCE + '[mesh.threshold]\nmin_dihedral = "50 deg"\n', "must be at most 40 deg"),
    ],
)  # fmt: skip
def test_wrong_cases_are_refused_with_their_place(folder, text, message):
    with pytest.raises(CaseError, match=message):
        case(folder, text)


def test_labels_are_merged_then_kept_and_walls_grown(folder):
    text = SOURCE + (
        '[labels]\nkeep = ["inside", "wall"]\n[labels.merge]\ninside = ["blood", "valve"]\n'
        '[labels.walls.wall]\naround = "inside"\nthickness = "2 mm"\ninto = []\n'
    )
    found = source_of(case(folder, text))
    assert set(found.labels.names) == {"inside", "wall"}
    assert found.labels.volume_ml("inside") == pytest.approx(8 * 8 * 10 / 1000, rel=0.03)
    assert any("grown around `inside`" in decision for decision in found.decisions)


def test_what_is_written_is_read_back(folder):
    found = source_of(case(folder, SOURCE))
    write_source(found, folder)
    again = read_source(folder)
    assert again.labels.names == found.labels.names
    assert (again.labels.values == found.labels.values).all()


def test_corrected_labels_take_the_place_of_all(folder):
    corrected = source_of(case(folder, SOURCE)).labels
    corrected.values[:12] = 0
    write_slicer(corrected, folder / "corrected.seg.nrrd")
    found = source_of(case(folder, SOURCE + '[labels]\ncorrected = "corrected.seg.nrrd"\n'))
    assert found.labels.volume_ml("muscle") == pytest.approx(corrected.volume_ml("muscle"))
    assert "corrected by hand" in found.decisions[0]


def test_an_unknown_label_is_refused(folder):
    with pytest.raises(InputError, match=r"no label `blod`\. Did you mean `blood`"):
        source_of(case(folder, SOURCE + '[labels]\nkeep = ["blod"]\n'))


def test_places_are_names_and_points(folder):
    vessel = case(folder, SOURCE + VESSEL).anatomy.vessels["aorta"]
    assert vessel.inlet == ("blood-outside",)
    assert vessel.outlets == ((1.0, 2.0, 3.0), "valve")


def test_edges_are_finer_near_points_and_curves_of_markups(folder):
    points = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]])
    labels = ("a", "b")
    write_markups([Landmarks("hinges", points, labels)], folder / "hinges.mrk.json")
    write_markups([Curve("line", points, labels)], folder / "line.mrk.json")
    near = '[[mesh.near]]\nsize = "1 mm"\n'
    text = SOURCE + near + 'markup = "hinges.mrk.json"\n' + near + 'markup = "line.mrk.json"\n'
    text += near + "point = [1, 2, 3]\n" + near + 'region = "blood"\n'
    hinges, line, point, region = sizes_of(case(folder, text).mesh).near
    np.testing.assert_allclose(hinges.what, points)
    assert len(line.what) == 21
    np.testing.assert_allclose(line.what[:, 0], np.linspace(0.0, 10.0, 21))
    np.testing.assert_allclose(point.what, [[1.0, 2.0, 3.0]])
    assert region.what == "blood"


@pytest.mark.parametrize(
    ("text", "edge"),
    [
        (SOURCE, None),  # a third of 4 mm is hardly longer than 1 mm
        (SOURCE.replace("4 mm", "6 mm"), 2.0),
        (SOURCE.replace("4 mm", "9 mm") + 'by_region = { blood = "6 mm" }\n', 2.0),
        (SOURCE.replace("4 mm", "9 mm") + 'resolution = "0.5 mm"\n', 0.5),
        (
            SOURCE.replace("4 mm", "9 mm")
            + '[labels.walls.wall]\naround = "blood"\nthickness = "6 mm"\n',
            2.0,
        ),
    ],
)
def test_voxels_are_a_third_of_the_smallest_edge_or_wall(folder, text, edge):
    own = case(folder, text)
    assert resolution_of(own, source_of(own).labels) == (edge and pytest.approx(edge))
    assert resolution_of(own, None) == own.mesh.resolution


def test_the_reference_page_is_up_to_date():
    page = (ROOT / "docs/mesh-case-file.md").read_text(encoding="utf-8")
    assert page == organ_reference(), "docs/mesh-case-file.md is out of date: make docs"
