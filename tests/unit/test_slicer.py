from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from organtwin.errors import InputError
from organtwin.image.segmentation import Segmentation
from organtwin.image.segmentations import read_segmentation
from organtwin.image.slicer import read_slicer, write_slicer
from tests.labelled_block import GREY, GRID, RED, SHARED, TURN, block, labels, real


def test_slicer_round_trip_keeps_names_integers_grid_colours_and_codes(tmp_path: Path) -> None:
    mirrored = replace(labels(), direction=TURN @ np.diag([1.0, -1.0, 1.0]))
    code = (codes.SCT.Tissue, Code("10200004", "SCT", "Liver"))
    before = Segmentation(
        mirrored, {"Left Ventricle": GREY, "Épicarde": RED}, {"Épicarde": code}, (4, -2, 0)
    )
    write_slicer(before, tmp_path / "x.seg.nrrd")
    after = read_slicer(tmp_path / "x.seg.nrrd")
    np.testing.assert_array_equal(after.labels.values, mirrored.values)
    assert after.labels.names == mirrored.names
    assert after.labels.grid.matches(mirrored.grid, 1e-6)
    assert after.colours == before.colours
    assert [c[:3] for c in after.codes["Épicarde"]] == [c[:3] for c in code]
    assert after.offset == (4, -2, 0)


def test_labels_without_colours_get_different_ones(tmp_path: Path) -> None:
    write_slicer(labels(), tmp_path / "x.seg.nrrd")
    colours = read_slicer(tmp_path / "x.seg.nrrd").colours
    assert len(set(colours.values())) == 2


def slicer_file(path: Path, layers: np.ndarray, facts: Sequence[str], **fields: str) -> Path:
    """File as Slicer lays it out: list axis first, RAS or LPS, key-value pairs."""
    sizes = layers.shape
    header = {
        "type": "unsigned char",
        "dimension": "4",
        "space": "left-posterior-superior",
        "sizes": " ".join(str(n) for n in sizes),
        "space directions": "none (2,0,0) (0,2,0) (0,0,2)",
        "kinds": "list domain domain domain",
        "encoding": "raw",
        "space origin": "(10,20,30)",
    } | fields
    lines = ["NRRD0004", *(f"{key}: {text}" for key, text in header.items())]
    lines += [fact.replace("=", ":=", 1) for fact in facts]
    path.write_bytes(("\n".join(lines) + "\n\n").encode() + layers.tobytes(order="F"))
    return path


def three_segments(tmp_path: Path, *, overlapping: bool = True, **fields: str) -> Path:
    """Two segments share the first layer, the third lies in the second with the same integer."""
    layers = np.zeros((2, 8, 9, 10), np.uint8)
    layers[0, 1:4, 1:8, 1:9] = 1
    layers[0, 4:6, 1:8, 1:9] = 2
    layers[1, 3 if overlapping else 6 :, 2:8, 2:9] = 1
    facts = [
        "Segment0_Name=wall", "Segment0_Layer=0", "Segment0_LabelValue=1", "Segment0_Color=1 0 0",
        "Segment1_Name=Blood pool", "Segment1_Layer=0", "Segment1_LabelValue=2",
        "Segment2_Name=valve_ring", "Segment2_Layer=1", "Segment2_LabelValue=1",
        "Segmentation_ReferenceImageExtentOffset=5 6 7",
    ]  # fmt: skip
    return slicer_file(tmp_path / "three.seg.nrrd", layers, facts, **fields)


def test_layers_that_share_integers_become_one_label_map(tmp_path: Path) -> None:
    found = read_slicer(three_segments(tmp_path, overlapping=False))
    assert found.labels.names == {"wall": 1, "Blood pool": 2, "valve_ring": 3}
    counts = np.bincount(found.labels.values.ravel())
    assert counts[1:].tolist() == [3 * 7 * 8, 2 * 7 * 8, 2 * 6 * 7]
    assert found.colours == {"wall": RED}
    assert found.offset == (5, 6, 7)
    np.testing.assert_allclose(found.labels.origin, [10, 20, 30])


def test_ras_file_lies_at_the_same_place(tmp_path: Path) -> None:
    plain = read_slicer(three_segments(tmp_path, overlapping=False)).labels
    path = three_segments(
        tmp_path,
        overlapping=False,
        space="right-anterior-superior",
        **{
            "space directions": "none (-2,0,0) (0,-2,0) (0,0,2)",
            "space origin": "(-10,-20,30)",
        },
    )
    assert read_slicer(path).labels.grid.matches(plain.grid)


def test_overlapping_layers_are_refused_by_name_or_ordered(tmp_path: Path) -> None:
    path = three_segments(tmp_path)
    with pytest.raises(InputError, match=r"`Blood pool` and `valve_ring` overlap in 84 voxels"):
        read_slicer(path)
    with pytest.raises(InputError, match=r"`wall` and `valve_ring` overlap in 42 voxels"):
        read_slicer(path, priority=["blood-pool"])
    ring = read_slicer(path, priority=["Valve Ring"]).labels
    assert np.count_nonzero(ring.mask("valve_ring")) == 5 * 6 * 7
    assert np.count_nonzero(ring.mask("wall")) == 3 * 7 * 8 - 6 * 7
    last = read_slicer(path, priority=["wall", "blood pool"]).labels
    assert np.count_nonzero(last.mask("valve_ring")) == 2 * 6 * 7
    with pytest.raises(InputError, match=r"no segment is called `rng`"):
        read_slicer(path, priority=["rng"])


def test_names_are_chosen_whatever_their_spelling(tmp_path: Path) -> None:
    path = three_segments(tmp_path)
    assert read_slicer(path, ["blood_pool"]).labels.names == {"Blood pool": 2}
    renamed = read_slicer(path, {"lv_blood": "BLOOD POOL", "lv": "Wall"}, priority=["wall"])
    assert renamed.labels.names == {"lv_blood": 2, "lv": 1}
    assert renamed.colours == {"lv": RED}
    with pytest.raises(InputError, match=r"no segment is called `wal`\. Did you mean `wall`\?"):
        read_slicer(path, ["wal"])


def test_old_file_holds_one_segment_per_layer(tmp_path: Path) -> None:
    layers = np.zeros((2, 8, 9, 10), np.uint8)
    layers[0, :3] = layers[1, 5:] = 1
    path = slicer_file(tmp_path / "old.seg.nrrd", layers, ["Segment0_Name=a", "Segment1_Name=b"])
    found = read_slicer(path).labels
    assert found.names == {"a": 1, "b": 2}
    assert (found.values[:3] == 1).all() and (found.values[5:] == 2).all()


def test_scan_gets_its_voxels_back(tmp_path: Path) -> None:
    part = replace(labels(block()[2:10, 3:12, 1:5]), origin=GRID.points(np.array([[2, 3, 1]]))[0])
    write_slicer(Segmentation(part, offset=(2, 3, 1)), tmp_path / "part.seg.nrrd")
    whole = read_slicer(tmp_path / "part.seg.nrrd", grid=GRID)
    np.testing.assert_array_equal(whole.labels.values, block())
    assert whole.labels.grid.matches(GRID)
    assert whole.offset == (0, 0, 0)
    elsewhere = replace(GRID, origin=GRID.origin + 500.0)
    with pytest.raises(InputError, match="nothing of the segmentation lies on the grid"):
        read_slicer(tmp_path / "part.seg.nrrd", grid=elsewhere)


def test_empty_segments_keep_their_names(tmp_path: Path) -> None:
    path = tmp_path / "x.seg.nrrd"
    write_slicer(labels(names={"a": 3, "b": 7, "later": 9}), path)
    assert read_slicer(path).labels.names == {"a": 3, "b": 7, "later": 9}
    with pytest.raises(InputError, match="segment `later` is empty"):
        read_slicer(path, ["a", "later"])
    write_slicer(labels(block() * 0), path)
    with pytest.raises(InputError, match=r"x.seg.nrrd: the segmentation is empty"):
        read_slicer(path)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (["Note=x"], "no segmentation of 3D Slicer: the header names no segments"),
        (["Segment0_Name=a", "Segment1_Name=a"], "several segments are called `a`"),
        (["Segment0_Name=a", "Segment0_Layer=4"], "segment `a` is in layer 4, and there are 2"),
        (
            ["Segment0_Name=a", "Segmentation_MasterRepresentation=Fractional labelmap"],
            "a 3-dimensional `Fractional labelmap`",
        ),
    ],
)
def test_files_that_are_no_slicer_segmentations(
    tmp_path: Path, facts: list[str], message: str
) -> None:
    layers = np.ones((2, 8, 9, 10), np.uint8)
    with pytest.raises(InputError, match=f"x.seg.nrrd: {message}"):
        read_segmentation(slicer_file(tmp_path / "x.seg.nrrd", layers, facts))


def test_spacing_in_metres_is_refused(tmp_path: Path) -> None:
    write_slicer(replace(labels(), spacing=GRID.spacing / 1000.0), tmp_path / "m.seg.nrrd")
    with pytest.raises(InputError, match="is the spacing in metres instead of mm"):
        read_slicer(tmp_path / "m.seg.nrrd")


def test_what_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x.nrrd: 3D Slicer knows segmentations by `.seg.nrrd`"):
        write_slicer(labels(), tmp_path / "x.nrrd")
    with pytest.raises(InputError, match=r"the labels have the integers \[3, 3\]"):
        write_slicer(labels(names={"a": 3, "b": 3}), tmp_path / "x.seg.nrrd")


@real
def test_real_torso_goes_to_slicer_and_back(tmp_path: Path) -> None:
    torso = read_segmentation(SHARED / "torso-ct/example_seg_fast_force_split.nii.gz")
    assert len(torso.labels.names) == 61
    write_slicer(torso, tmp_path / "torso.seg.nrrd")
    again = read_segmentation(tmp_path / "torso.seg.nrrd")
    assert again.labels.names == torso.labels.names
    np.testing.assert_array_equal(again.labels.values, torso.labels.values)
    assert again.labels.grid.matches(torso.labels.grid)
    for name, colour in torso.colours.items():
        assert again.colours[name] == pytest.approx(colour, abs=1e-5)
