from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from organtwin.errors import InputError
from organtwin.image.segmentations import read_segmentation
from organtwin.image.totalsegmentator import read_totalsegmentator
from organtwin.image.volume import Grid
from tests.labelled_block import GREY, RED, SHARED, real


def mask_file(path: Path, values: np.ndarray, origin: Sequence[float] = (0, 0, 0)) -> Path:
    image = sitk.GetImageFromArray(values.transpose(2, 1, 0).astype(np.uint8))
    image.SetSpacing([1.5, 1.5, 1.5])
    image.SetOrigin([float(x) for x in origin])
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A large mask, a small one on its own part of the lattice, and an empty one."""
    large, small = np.zeros((20, 20, 20)), np.ones((6, 6, 6))
    large[4:16, 4:16, 4:16] = 1
    mask_file(tmp_path / "heart.nii.gz", large)
    mask_file(tmp_path / "pulmonary_artery.nii.gz", small, (-3.0, 15.0, 24.0))
    mask_file(tmp_path / "spleen.nii.gz", small * 0)
    (tmp_path / "statistics.json").write_text("{}")
    return tmp_path


def test_masks_on_parts_of_a_lattice_become_one_label_map(folder: Path) -> None:
    found = read_segmentation(folder).labels
    assert found.names == {"heart": 1, "pulmonary_artery": 2}
    assert found.values.shape == (22, 20, 22)
    np.testing.assert_allclose(found.origin, [-3.0, 0.0, 0.0])
    assert found.volume_ml("heart") == pytest.approx(12**3 * 1.5**3 / 1000)
    low = found.points(np.argwhere(found.mask("pulmonary_artery"))).min(axis=0)
    np.testing.assert_allclose(low, [-3.0, 15.0, 24.0])


def test_overlapping_masks(folder: Path) -> None:
    mask_file(folder / "aorta.nii.gz", np.ones((8, 8, 8)), (6.0, 6.0, 6.0))
    with pytest.raises(InputError, match=r"`aorta` and `heart` overlap in 512 voxels \(1.73 mL\)"):
        read_totalsegmentator(folder)
    found = read_totalsegmentator(folder, ["Heart", "AORTA"], priority=["aorta"]).labels
    assert np.count_nonzero(found.mask("heart")) == 12**3 - 512


def test_folder_on_the_grid_of_the_scan(folder: Path) -> None:
    mask_file(folder / "shifted.nii.gz", np.ones((9, 9, 9)), (31.0, 0.0, 0.0))
    with pytest.raises(InputError, match=r"shifted.nii.gz and heart.nii.gz don't lie on one latt"):
        read_totalsegmentator(folder)
    scan = Grid((60, 40, 40), np.full(3, 1.0), np.zeros(3), np.eye(3))
    found = read_totalsegmentator(folder, grid=scan).labels
    assert found.grid.matches(scan)
    assert found.volume_ml("heart") == pytest.approx(18.0**3 / 1000)


def test_folders_that_can_not_be_read(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    with pytest.raises(InputError, match=r"no segment is called `hart`\. Did you mean `heart`"):
        read_totalsegmentator(folder, ["hart"])
    with pytest.raises(InputError, match="segment `spleen` is empty"):
        read_totalsegmentator(folder, ["spleen", "heart"])
    mask_file(folder / "ct.nii.gz", np.full((20, 20, 20), 40))
    with pytest.raises(InputError, match=r"ct.nii.gz: no mask: its values run from 40 to 40"):
        read_totalsegmentator(folder)
    sitk.WriteImage(sitk.Image([4, 4, 4, 2], sitk.sitkUInt8), str(folder / "b.nii.gz"))
    with pytest.raises(InputError, match=r"b.nii.gz: a 4-dimensional image with 1 value"):
        read_totalsegmentator(folder)
    assert "heart" in read_totalsegmentator(folder, ["heart"]).labels.names
    with pytest.raises(InputError, match="no NIfTI files in this folder"):
        read_totalsegmentator(tmp_path_factory.mktemp("empty"))


def with_table(path: Path, table: str) -> Path:
    """Put a header extension into a NIfTI file."""
    content = gzip.decompress(path.read_bytes())
    text = table.encode()
    text += b"\0" * (-(len(text) + 8) % 16)
    extension = struct.pack("<ii", len(text) + 8, 0) + text
    start = struct.pack("<f", 352.0 + len(extension))
    head = content[:108] + start + content[112:348] + b"\1\0\0\0"
    path.write_bytes(gzip.compress(head + extension + content[352:]))
    return path


TABLE = """<?xml version="1.0"?><CaretExtension><VolumeInformation Index="0"><LabelTable>
<Label Key="7" Red="0.5" Green="0.25" Blue="0.125" Alpha="1"><![CDATA[liver]]></Label>
<Label Key="9" Red="1.0" Green="0.0" Blue="0.0" Alpha="1"><![CDATA[kidney_left]]></Label>
<Label Key="11" Red="1.0" Green="0.0" Blue="0.0" Alpha="1"><![CDATA[spleen]]></Label>
</LabelTable></VolumeInformation></CaretExtension>"""


def test_file_with_names_in_its_header(tmp_path: Path) -> None:
    values = np.zeros((20, 20, 20))
    values[2:10], values[12:15] = 7, 9
    path = mask_file(tmp_path / "all.nii.gz", values)
    with pytest.raises(InputError, match=r"all.nii.gz: the header of this file doesn't name its"):
        read_segmentation(path)
    found = read_segmentation(with_table(path, TABLE))
    assert found.labels.names == {"liver": 7, "kidney_left": 9}
    assert found.colours == {"liver": GREY, "kidney_left": RED}
    with pytest.raises(InputError, match="segment `spleen` is empty"):
        read_segmentation(path, ["spleen"])
    np.testing.assert_array_equal(found.labels.values, values)
    damaged = with_table(mask_file(tmp_path / "bad.nii.gz", values), TABLE[:300])
    with pytest.raises(InputError, match=r"bad.nii.gz: the table of labels .* is damaged"):
        read_segmentation(damaged)


@real
def test_real_masks_of_one_scan_on_two_grids() -> None:
    found = read_segmentation(
        SHARED / "heart-ct", ["heart", "pulmonary artery"], priority=["pulmonary artery"]
    ).labels
    assert found.values.shape == (233, 167, 191)
    alone = read_segmentation(SHARED / "heart-ct", ["pulmonary_artery"]).labels
    assert alone.values.shape == (122, 102, 112)
    points = [m.points(np.argwhere(m.mask("pulmonary_artery"))) for m in (found, alone)]
    np.testing.assert_allclose(*points, atol=1e-3)


@real
def test_real_aorta_with_two_lumina() -> None:
    data = SHARED / "aorta-ct"
    with pytest.raises(InputError, match=r"T710_renal.nii.gz: no mask: its values run from 0 to"):
        read_segmentation(data)
    with pytest.raises(InputError, match=r"`aorta` and `aorta_true_lumen` overlap"):
        read_segmentation(data, ["aorta", "aorta_true_lumen"])
    masks = read_segmentation(data, ["aorta_true_lumen", "aorta_false_lumen"]).labels
    labelled = read_segmentation(data / "T716_aorta_true_false_lumen.nii.gz")
    assert labelled.labels.names == masks.names
    assert labelled.colours["aorta_true_lumen"] == (0.0, 1.0, 0.0)
    for name in masks.names:
        assert masks.volume_ml(name) == pytest.approx(labelled.labels.volume_ml(name), rel=0.05)
