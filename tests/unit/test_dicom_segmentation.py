from __future__ import annotations

import datetime
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from organtwin.errors import InputError
from organtwin.image.dicom_segmentation import read_dicom_segmentation, write_dicom_segmentation
from organtwin.image.segmentation import Segmentation, anatomical_code
from organtwin.image.segmentations import read_segmentation
from organtwin.image.volume import Grid, LabelMap
from tests.labelled_block import GRID, RED, SHARED, TURN, block, labels, real

named_fixture = pytest.mark.filterwarnings("ignore:The string .SECRETIVE")


def series(folder: Path, grid: Grid = GRID, missing: Sequence[int] = ()) -> Path:
    """CT slices of a patient whose name nothing may repeat, without more than they need."""
    folder.mkdir()
    study, frame, uid = generate_uid(), generate_uid(), generate_uid()
    columns, rows, slices = grid.shape
    for k in range(slices):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
        ds.PatientName, ds.PatientID, ds.PatientBirthDate = "SECRETIVE", "s3cr3t", "19010203"
        ds.PatientSex, ds.AccessionNumber, ds.StudyID = "F", "", ""
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, uid, frame
        ds.StudyDate, ds.StudyTime, ds.Modality = datetime.date(2001, 2, 3), "101112", "CT"
        ds.SeriesNumber, ds.InstanceNumber = 3, slices - k
        ds.ImageOrientationPatient = [round(float(x), 12) for x in grid.direction[:, :2].T.ravel()]
        ds.ImagePositionPatient = [round(float(x), 9) for x in grid.points([[0, 0, k]])[0]]
        ds.PixelSpacing = [float(grid.spacing[1]), float(grid.spacing[0])]
        ds.SliceThickness, ds.Rows, ds.Columns = float(grid.spacing[2]), rows, columns
        ds.ImageType, ds.LossyImageCompression = ["ORIGINAL", "PRIMARY", "AXIAL"], "00"
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleIntercept, ds.RescaleSlope, ds.KVP, ds.AcquisitionNumber = 0, 1, 120, 1
        ds.PixelData = np.full((rows, columns), k, np.int16).tobytes()
        if k not in missing:
            ds.save_as(folder / f"{slices - k}.dcm", enforce_file_format=True)
    return folder


def test_dicom_round_trip_on_an_oblique_series(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    before = Segmentation(labels(), {"Left Ventricle": RED})
    scan = series(tmp_path / "ct")
    write_dicom_segmentation(before, scan, tmp_path / "x.dcm", algorithm="by hand")
    after = read_segmentation(tmp_path / "x.dcm", grid=GRID)
    assert after.labels.names == {"Left Ventricle": 1, "Épicarde": 2}
    np.testing.assert_array_equal(after.labels.mask("Épicarde"), block() == 7)
    np.testing.assert_array_equal(after.labels.mask("Left Ventricle"), block() == 3)
    assert after.colours["Left Ventricle"] == RED
    assert after.codes["Left Ventricle"][1].meaning == "Left ventricle"
    assert after.codes["Épicarde"][1].meaning == "Tissue"
    part = read_dicom_segmentation(tmp_path / "x.dcm").labels
    assert part.values.shape == (12, 14, 4)
    np.testing.assert_allclose(part.origin, GRID.points([[0, 0, 1]])[0], atol=1e-6)
    told = "".join(capfd.readouterr()) + "".join(str(w.message) for w in recwarn)
    assert "SECRETIVE" not in told and "s3cr3t" not in told


@pytest.mark.parametrize("kept", [[2], [0, 4], [1, 2, 5]], ids=str)
def test_slices_without_segments_leave_no_trace(tmp_path: Path, kept: list[int]) -> None:
    values = np.zeros(GRID.shape, np.uint8)
    values[1:11, 2:13, kept] = 3
    scan = series(tmp_path / "ct")
    write_dicom_segmentation(labels(values, {"a": 3, "none": 7}), scan, tmp_path / "x.dcm")
    again = read_dicom_segmentation(tmp_path / "x.dcm", grid=GRID).labels
    assert again.names == {"a": 1}
    np.testing.assert_array_equal(again.values > 0, values > 0)


def test_labels_with_turned_axes_find_their_voxels(tmp_path: Path) -> None:
    turned = LabelMap(
        block()[::-1].transpose(2, 0, 1).copy(),
        {"a": 3, "b": 7},
        GRID.spacing[[2, 0, 1]],
        GRID.points([[11, 0, 0]])[0],
        (TURN * [-1.0, 1.0, 1.0])[:, [2, 0, 1]],
    )
    write_dicom_segmentation(turned, series(tmp_path / "ct"), tmp_path / "x.dcm")
    again = read_dicom_segmentation(tmp_path / "x.dcm", grid=GRID).labels
    np.testing.assert_array_equal(again.mask("b"), block() == 7)


@named_fixture
def test_multi_frame_series(tmp_path: Path) -> None:
    files = sorted(series(tmp_path / "ct").iterdir())
    many = hd.legacy.LegacyConvertedEnhancedCTImage(
        [dcmread(file) for file in files], generate_uid(), 1, generate_uid(), 1
    )
    many.save_as(tmp_path / "many.dcm")
    write_dicom_segmentation(labels(), tmp_path / "many.dcm", tmp_path / "x.dcm")
    again = read_dicom_segmentation(tmp_path / "x.dcm", grid=GRID).labels
    np.testing.assert_array_equal(again.mask("Left Ventricle"), block() == 3)


@named_fixture
def test_series_in_two_multi_frame_files_is_refused(tmp_path: Path) -> None:
    slices = [dcmread(file) for file in sorted(series(tmp_path / "ct").iterdir())]
    uid, halves = generate_uid(), [tmp_path / "low.dcm", tmp_path / "high.dcm"]
    for number, half in enumerate(halves):
        part = slices[3 * number : 3 * number + 3]
        hd.legacy.LegacyConvertedEnhancedCTImage(part, uid, 1, generate_uid(), 1).save_as(half)
    with pytest.raises(InputError, match="several multi-frame files"):
        write_dicom_segmentation(labels(), halves, tmp_path / "x.dcm")


def dicom_object(folder: Path, masks: np.ndarray, kind: str) -> Path:
    slices = [dcmread(file) for file in series(folder / "ct").iterdir()]
    slices.sort(key=lambda ds: -ds.InstanceNumber)
    described = [
        hd.seg.SegmentDescription(n, name, codes.SCT.Tissue, codes.SCT.Heart, "MANUAL")
        for n, name in enumerate(["wall", "blood"], 1)
    ]
    written = hd.seg.Segmentation(
        slices, masks, kind, described, generate_uid(), 9, generate_uid(), 1, "m", "m", "1", "1"
    )
    written.save_as(folder / "seg.dcm")
    return folder / "seg.dcm"


@named_fixture
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_overlapping_dicom_segments_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    masks = np.zeros((6, 14, 12, 2), np.uint8 if kind == "BINARY" else float)
    masks[1:4, 2:13, 1:11, 0] = 1
    masks[3:6, 2:13, 1:11, 1] = 1 if kind == "BINARY" else 0.75
    masks[0, ..., 1] = 0 if kind == "BINARY" else 0.25
    path = dicom_object(tmp_path, masks, kind)
    with pytest.raises(InputError, match=r"`wall` and `blood` overlap in 110 voxels \(0.33 mL\)"):
        read_segmentation(path)
    found = read_segmentation(path, priority=["Blood"], grid=GRID).labels
    np.testing.assert_array_equal(found.mask("blood").transpose(2, 1, 0), masks[..., 1] > 0.5)
    assert np.count_nonzero(found.mask("wall")) == 2 * 110


@named_fixture
def test_dicom_label_map_object(tmp_path: Path) -> None:
    values = np.zeros((6, 14, 12), np.uint8)
    values[1:4, 2:13, 1:11] = 1
    values[4:6, 2:13, 1:11] = 2
    found = read_segmentation(dicom_object(tmp_path, values, "LABELMAP"), grid=GRID).labels
    assert found.names == {"wall": 1, "blood": 2}
    np.testing.assert_array_equal(found.values.transpose(2, 1, 0), values)


def test_series_that_do_not_fit(tmp_path: Path) -> None:
    scan, out = series(tmp_path / "ct"), tmp_path / "x.dcm"
    shifted = replace(labels(), origin=GRID.origin + 0.5)
    with pytest.raises(InputError, match="labels don't lie on the voxels of the series"):
        write_dicom_segmentation(shifted, scan, out)
    beyond = replace(labels(), origin=GRID.points([[5, 0, 0]])[0])
    with pytest.raises(InputError, match="of 288 labelled voxels lie outside the series"):
        write_dicom_segmentation(beyond, scan, out)
    gap = series(tmp_path / "gap", missing=[2])
    with pytest.raises(InputError, match=r"gap: 1 slice\(s\) missing of 6 that are 2 mm apart"):
        write_dicom_segmentation(labels(), gap, out)
    both = [*scan.iterdir(), *gap.iterdir()]
    with pytest.raises(InputError, match="slices of 2 series"):
        write_dicom_segmentation(labels(), both, out)
    shutil.copy(scan / "3.dcm", scan / "again.dcm")
    with pytest.raises(InputError, match="ct: several slices lie at one place"):
        write_dicom_segmentation(labels(), scan, out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no DICOM slices here"):
        write_dicom_segmentation(labels(), tmp_path / "empty", out)
    assert not out.exists()


def test_files_that_are_no_dicom_segmentations(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent.dcm: no such file"):
        read_segmentation(tmp_path / "absent.dcm")
    (tmp_path / "letter.dcm").write_text("Dear colleague")
    with pytest.raises(InputError, match=r"letter.dcm: no DICOM file"):
        read_segmentation(tmp_path / "letter.dcm")
    with pytest.raises(InputError, match="no segmentation but CT Image Storage"):
        read_segmentation(series(tmp_path / "ct") / "1.dcm")


def test_codes_of_names() -> None:
    assert anatomical_code("lv_myocardium")[1] == codes.SCT.LeftVentricleMyocardium
    assert anatomical_code("heart_atrium_left")[1] == codes.SCT.LeftAtrium
    assert anatomical_code("vertebrae_T12")[1] == codes.SCT.T12Vertebra
    assert anatomical_code("Kidney right")[1] == codes.SCT.Kidney
    assert anatomical_code("Pulmonary artery")[0] == codes.SCT.AnatomicalStructure
    assert anatomical_code("scar 2") == (codes.SCT.Tissue, codes.SCT.Tissue)


@real
def test_real_liver_is_that_of_the_nrrd(tmp_path: Path) -> None:
    data = SHARED / "dicom-seg"
    image = sitk.ReadImage(str(data / "liver_spine_seg.nrrd"))
    reference = LabelMap.from_sitk(image, {"Liver": 1, "Spine": 2})
    liver = read_segmentation(data / "liver.dcm")
    assert liver.labels.grid.matches(reference.grid)
    np.testing.assert_array_equal(liver.labels.values, reference.values == 1)
    assert liver.codes["Liver"][1].meaning == "Liver"
    write_dicom_segmentation(reference, data, tmp_path / "both.dcm")
    both = read_segmentation(tmp_path / "both.dcm", {"vertebra": "spine", "liver": "LIVER"})
    np.testing.assert_array_equal(both.labels.values, reference.values)
