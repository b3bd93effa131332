from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    MRImageStorage,
    generate_uid,
)

from organtwin.errors import InputError
from organtwin.image.dicom import choose, listing, read_dicom
from organtwin.image.dicom_headers import scan
from organtwin.image.readers import read_image
from organtwin.image.volume import Image, Sequence

SHARED = Path(__file__).parents[3] / "shared/data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data here")

AXIAL = (1, 0, 0, 0, 1, 0)
CORONAL = (1, 0, 0, 0, 0, -1)
SAGITTAL = (0, 1, 0, 0, 0, -1)
OBLIQUE = (0.792067, 0, 0.610434, 0.377686, 0.785613, -0.490067)
#: Columns, rows, slices; and their distances (mm).
SHAPE, SPACING = (14, 10, 6), (1.5, 2.0, 3.0)
ORIGIN = np.array([-60.0, 20.0, -400.0])
SECRETS = {
    "PatientName": "Doe^Jane", "PatientID": "987654", "PatientBirthDate": "19700130",
    "StudyDate": "20200229", "InstitutionName": "Saint Nowhere", "AccessionNumber": "A55512",
}  # fmt: skip


def field(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear in place, so that whatever is read tells where it lies."""
    return np.asarray(points @ [2.0, 3.0, 1.0] + 300.0)


def new(modality: str, sop: str, series: str, **elements: object) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = sop
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.826.1", series
    data.Modality = modality
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    for name, value in {**SECRETS, **elements}.items():
        setattr(data, name, value)
    return data


def write(
    folder: Path,
    *,
    orientation: tuple[float, ...] = AXIAL,
    number: int = 1,
    modality: str = "CT",
    shape: tuple[int, int, int] = SHAPE,
    slices: tuple[int, ...] | None = None,
    times: tuple[float | None, ...] = (None,),
    shear: tuple[float, float] = (0.0, 0.0),
    first_instance: int = 1,
    add: float = 0.0,
    **elements: object,
) -> list[Path]:
    """Write a series, the last slice first; ``slices`` are the places that are there."""
    folder.mkdir(exist_ok=True)
    u, v = np.array(orientation).reshape(2, 3)
    normal = np.cross(u, v)
    series = f"1.2.826.2.{number}"
    files = []
    places = range(shape[2]) if slices is None else slices
    for n, (k, m) in enumerate([(k, m) for k in places for m in range(len(times))]):
        sop = CTImageStorage if modality == "CT" else MRImageStorage
        data = new(modality, sop, series, SeriesNumber=number, **elements)
        data.InstanceNumber = first_instance + n
        start = ORIGIN + SPACING[2] * k * (normal + shear[0] * u + shear[1] * v)
        data.ImagePositionPatient = [f"{x:.8f}"[:16] for x in start]
        data.ImageOrientationPatient = list(orientation)
        data.PixelSpacing, data.SliceThickness = [SPACING[1], SPACING[0]], SPACING[2]
        if times[m] is not None:
            data.TriggerTime = times[m]
        data.Columns, data.Rows = shape[:2]
        i, j = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]))
        x = start + i[..., None] * SPACING[0] * u + j[..., None] * SPACING[1] * v
        slope = float(data.get("RescaleSlope", 1))
        intercept = float(data.get("RescaleIntercept", 0))
        stored = np.round((field(x) + 1000 * m + add - intercept) / slope)
        data.PixelData = stored.astype(np.int16).tobytes()
        file = folder / f"DOE_{number}_{modality}_{9999 - n - first_instance}.dcm"
        data.save_as(file, enforce_file_format=True)
        files.append(file)
    return files


def assert_in_place(image: Image, add: float = 0.0, tolerance: float = 1.0) -> None:
    index = np.indices(image.grid.shape).reshape(3, -1).T
    expected = field(image.grid.points(index)) + add
    np.testing.assert_allclose(image.values.ravel(), expected, atol=tolerance)


def one(folder: Path, series: int | str | None = None) -> Image:
    found = read_dicom(folder, series)
    assert isinstance(found, Image)
    return found


def cine(folder: Path, series: int | str | list[int] | None = None) -> Sequence:
    found = read_dicom(folder, series)
    assert isinstance(found, Sequence)
    return found


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, SAGITTAL, OBLIQUE])
def test_every_voxel_lies_where_the_scanner_saw_it(
    tmp_path: Path, orientation: tuple[float, ...]
) -> None:
    write(tmp_path / "a", orientation=orientation)
    image = one(tmp_path)
    assert image.grid.shape == SHAPE
    np.testing.assert_allclose(image.grid.spacing, SPACING, atol=1e-6)
    assert np.linalg.det(image.grid.direction) == pytest.approx(1.0)
    assert_in_place(image)


def test_the_same_as_simpleitk_reads(tmp_path: Path) -> None:
    write(tmp_path / "s", orientation=OBLIQUE, RescaleSlope=1, RescaleIntercept=-1024)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "s"))
    other = Image.from_sitk(sitk.ReadImage(names))
    image = one(tmp_path)
    points = other.grid.points(np.indices(other.grid.shape).reshape(3, -1).T)
    index = np.round(image.grid.index(points)).astype(int)
    np.testing.assert_array_equal(image.values[tuple(index.T)], other.values.ravel())


def test_stored_numbers_become_hounsfield_units(tmp_path: Path) -> None:
    write(tmp_path, RescaleSlope=2, RescaleIntercept=-1024)
    image = one(tmp_path)
    assert image.quantity == "HU"
    assert image.values.dtype == np.int16
    assert_in_place(image, tolerance=2.0)


def test_ct_without_intercept_claims_no_hounsfield_units(tmp_path: Path) -> None:
    write(tmp_path / "a")
    assert one(tmp_path / "a").quantity == "CT"
    write(tmp_path / "b", RescaleSlope=1, RescaleIntercept=0, RescaleType="mg/ml")
    assert one(tmp_path / "b").quantity == "CT"


def test_damaged_files_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path)
    (tmp_path / "x.dcm").write_bytes(bytes(128) + b"DICM" + bytes(range(200)))
    with caplog.at_level(logging.WARNING):
        assert len(scan(tmp_path)) == 1
    assert "1 DICOM file(s) are damaged" in caplog.text


def test_fractional_slopes_give_fractions(tmp_path: Path) -> None:
    write(tmp_path, modality="PT", RescaleSlope=0.37, RescaleIntercept=0)
    image = one(tmp_path)
    assert image.values.dtype == np.float32
    assert image.quantity == "PT"
    assert_in_place(image, tolerance=0.2)


def test_files_that_are_no_images_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "s")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "noise.dcm").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "empty").write_bytes(b"")
    report = new("SR", "1.2.840.10008.5.1.4.1.1.88.11", "1.2.826.2.9", SeriesNumber=9)
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    assert len(scan(tmp_path)) == 1
    with pytest.raises(InputError, match="no DICOM images among 1 file"):
        scan(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="no such file or folder"):
        scan(tmp_path / "absent")


# --- which series ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write(folder / "a", number=2, SeriesDescription="Thorax 1.0 arterial")
    write(folder / "b", number=3, SeriesDescription="Thorax 1.0 venous", add=50.0)
    write(
        folder / "c", number=1, SeriesDescription="Scout", orientation=CORONAL, slices=(0,),
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )  # fmt: skip
    return folder


def test_several_series_are_listed(study: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_dicom(study)
    text = str(caught.value)
    assert "2 series. Choose one by its number" in text
    assert "14 x 10 x 6" in text
    assert "Thorax 1.0 arterial" in text and "Thorax 1.0 venous" in text


def test_series_are_chosen_by_number_and_description(study: Path) -> None:
    assert_in_place(one(study, 2))
    assert_in_place(one(study, "3"), add=50.0)
    assert_in_place(one(study, "VENOUS"), add=50.0)
    with pytest.raises(InputError, match="2 series fit `thorax`"):
        read_dicom(study, "thorax")
    with pytest.raises(InputError, match=r"no series `liver`. There are:\n"):
        read_dicom(study, "liver")


def test_a_localizer_is_not_what_is_meant(tmp_path: Path) -> None:
    write(tmp_path / "a", number=2)
    kinds = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    write(tmp_path / "b", number=1, orientation=CORONAL, slices=(0,), ImageType=kinds)
    assert "[localizer]" in listing(scan(tmp_path))
    assert choose(scan(tmp_path), None, "here").number == 2


def test_localizer_within_a_series_is_left_out(tmp_path: Path) -> None:
    write(tmp_path)
    kinds = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    write(tmp_path, orientation=CORONAL, slices=(2,), first_instance=50, ImageType=kinds)
    assert_in_place(one(tmp_path))


def test_segmentations_and_colour_pictures_are_no_scans(tmp_path: Path) -> None:
    file = write(tmp_path, slices=(0,))[0]
    data = pydicom.dcmread(file)
    data.Modality = "SEG"
    data.save_as(file)
    with pytest.raises(InputError, match=r"segmentation, not a scan.*read as labels"):
        read_dicom(tmp_path, 1)
    data.Modality, data.SamplesPerPixel = "OT", 3
    data.save_as(file)
    with pytest.raises(InputError, match="colour picture"):
        read_dicom(tmp_path, 1)
    data.SamplesPerPixel = 1
    del data.ImagePositionPatient
    data.save_as(file)
    with pytest.raises(InputError, match="no position in the patient"):
        read_dicom(tmp_path, 1)


# --- ugly series ----------------------------------------------------------------------------------


def test_missing_slices_are_named(tmp_path: Path) -> None:
    write(tmp_path, slices=(0, 1, 2, 5))
    with pytest.raises(InputError) as caught:
        read_dicom(tmp_path)
    assert "2 slice(s) missing of 6 that are 3 mm apart" in caught.value.problem
    assert "2 between instance 3 (z = -394.00 mm) and instance 4 (z = -385.00 mm)" in str(
        caught.value
    )


def test_uneven_slices_are_named(tmp_path: Path) -> None:
    files = write(tmp_path)
    data = pydicom.dcmread(files[5])
    data.ImagePositionPatient[2] += 1.3
    data.save_as(files[5])
    with pytest.raises(InputError, match=r"3 mm apart as a rule, but 4.3 mm between instance 5"):
        read_dicom(tmp_path)


def test_rounded_positions_are_even_enough(tmp_path: Path) -> None:
    for file in write(tmp_path, shape=(14, 10, 40)):
        data = pydicom.dcmread(file)
        data.ImagePositionPatient[2] = f"{ORIGIN[2] + 0.625 * (data.InstanceNumber - 1):.1f}"
        data.save_as(file)
    assert one(tmp_path).grid.spacing[2] == pytest.approx(0.625, rel=1e-3)


def test_identical_doubles_are_used_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path)
    write(tmp_path, slices=(1, 3), first_instance=50)
    with caplog.at_level(logging.WARNING):
        image = one(tmp_path)
    assert "2 of 8 frames are there twice" in caplog.text
    assert_in_place(image)


def test_doubles_that_differ_are_refused(tmp_path: Path) -> None:
    write(tmp_path, EchoTime=2.1)
    write(tmp_path, first_instance=50, add=7.0, EchoTime=4.2)
    message = r"6 of 12 frames lie where another lies, and instances 1 and 50 differ.*4.2 ms"
    with pytest.raises(InputError, match=message):
        read_dicom(tmp_path)


def test_mixed_orientations_and_sizes_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "o")
    write(tmp_path / "o", orientation=SAGITTAL, slices=(0, 1), first_instance=50)
    with pytest.raises(InputError, match=r"slices of 2 sizes or orientations.*6 of 14 x 10.*2 of"):
        read_dicom(tmp_path / "o")
    write(tmp_path / "s")
    write(tmp_path / "s", shape=(20, 10, 1), first_instance=50)
    with pytest.raises(InputError, match=r"6 of 14 x 10 pixels.*1 of 20 x 10 pixels"):
        read_dicom(tmp_path / "s")


def test_slices_beside_one_another_are_refused(tmp_path: Path) -> None:
    files = write(tmp_path)
    data = pydicom.dcmread(files[3])
    data.ImagePositionPatient[0] += 9.0
    data.save_as(files[3])
    with pytest.raises(InputError, match="don't lie behind one another"):
        read_dicom(tmp_path)


def test_a_tilted_gantry_is_put_upright(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tilt = np.tan(np.radians(15.0))
    write(tmp_path, shape=(20, 24, 12), shear=(0.0, tilt))
    with caplog.at_level(logging.WARNING):
        image = one(tmp_path)
    assert "tilted by 15.0 degrees" in caplog.text
    # 11 steps of 3 mm, inclined, in rows of 2 mm: 4.4 rows more
    assert image.grid.shape == (20, 24 + 5, 12)
    index = np.indices(image.grid.shape).reshape(3, -1).T
    expected = field(image.grid.points(index)).reshape(image.grid.shape)
    covered = image.values > image.values.min()
    inner = covered & np.roll(covered, 1, 1) & np.roll(covered, -1, 1)
    assert inner.mean() > 0.7
    np.testing.assert_allclose(image.values[inner], expected[inner], atol=1.5)


def test_metres_in_place_of_millimetres(tmp_path: Path) -> None:
    for file in write(tmp_path):
        data = pydicom.dcmread(file)
        data.PixelSpacing = [0.002, 0.0015]
        data.ImagePositionPatient[2] = -0.4 + 0.003 * data.InstanceNumber
        data.save_as(file)
    with pytest.raises(InputError, match="in metres instead of mm"):
        read_dicom(tmp_path, 1)


def test_cut_off_pixels_are_told(tmp_path: Path) -> None:
    file = write(tmp_path)[2]
    data = pydicom.dcmread(file)
    data.PixelData = data.PixelData[:100]
    data.save_as(file)
    with pytest.raises(InputError, match=r"pixels of instance 3, frame 1, can't be read"):
        read_dicom(tmp_path)


# --- compressed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_compressed_slices(tmp_path: Path, kind: str) -> None:
    for file in write(tmp_path, RescaleSlope=1, RescaleIntercept=-1024):
        data = pydicom.dcmread(file)
        packed = tmp_path / "packed.dcm"
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(packed))
        writer.UseCompressionOn()
        writer.SetCompressor(kind)
        writer.Execute(sitk.GetImageFromArray(data.pixel_array[None]))
        other = pydicom.dcmread(packed)
        packed.unlink()
        data.file_meta.TransferSyntaxUID = other.file_meta.TransferSyntaxUID
        data.PixelData = other.PixelData
        data["PixelData"].VR = "OB"
        data["PixelData"].is_undefined_length = True
        data.save_as(file)
    assert_in_place(one(tmp_path))


@pytest.mark.skipif(get_decoder(HTJ2KLossless).is_available, reason="the decoder is installed")
def test_missing_decoder_is_named(tmp_path: Path) -> None:
    for file in write(tmp_path):
        data = pydicom.dcmread(file)
        data.file_meta.TransferSyntaxUID = HTJ2KLossless
        data.PixelData = encapsulate([b"not really"])
        data["PixelData"].is_undefined_length = True
        data.save_as(file)
    message = r"compressed as High-Throughput JPEG 2000.*no decoder.*pylibjpeg-openjpeg"
    with pytest.raises(InputError, match=message):
        read_dicom(tmp_path)


# --- phases ---------------------------------------------------------------------------------------


def test_cine_is_ordered_by_trigger_time(tmp_path: Path) -> None:
    write(tmp_path, modality="MR", times=(0.0, 80.0, 40.0), NominalInterval=776)
    found = cine(tmp_path)
    np.testing.assert_allclose(found.times, [0.0, 40.0, 80.0])
    assert found.cycle == 776
    assert found.quantity == "MR"
    for image, add in zip(found.images, (0.0, 2000.0, 1000.0), strict=True):
        assert_in_place(image, add)


def test_cine_without_times_is_ordered_by_instance(tmp_path: Path) -> None:
    write(tmp_path, modality="MR", times=(None, None), CardiacNumberOfImages=2, NominalInterval=800)
    found = cine(tmp_path)
    np.testing.assert_allclose(found.times, [0.0, 400.0])
    assert_in_place(found.images[1], 1000.0)


def test_missing_phase_is_named(tmp_path: Path) -> None:
    files = write(tmp_path, modality="MR", times=(0.0, 40.0, 80.0))
    files[7].unlink()
    with pytest.raises(InputError, match=r"3 phase\(s\) at most slices, but 2 at instance 7"):
        read_dicom(tmp_path)


def test_a_trigger_time_per_slice_makes_no_phases(tmp_path: Path) -> None:
    for k in range(SHAPE[2]):
        write(tmp_path, modality="MR", slices=(k,), times=(330.0 + k,), first_instance=k + 1)
    assert_in_place(one(tmp_path))


def test_slices_of_several_series_are_joined(tmp_path: Path) -> None:
    for k, times in enumerate([(0.0, 400.0), (0.0, 250.0, 500.0, 750.0), (0.0, 450.0)]):
        write(
            tmp_path, modality="MR", number=k + 1, slices=(k,), times=times,
            NominalInterval=(800, 1000, 900)[k],
        )  # fmt: skip
    found = cine(tmp_path, [3, 1, 2])
    assert found.grid.shape == (14, 10, 3)
    assert len(found.images) == 2
    middle = found.images[1].values[:, :, 1]
    np.testing.assert_array_equal(middle, cine(tmp_path, 2).images[2].values[:, :, 0])
    assert_in_place(found.images[0])


# --- multi-frame ----------------------------------------------------------------------------------


def write_enhanced(file: Path, phases: int, skip: int | None = None) -> None:
    data = new("MR", EnhancedMRImageStorage, "1.2.826.3", SeriesNumber=5, InstanceNumber=1)
    u, v = np.array(OBLIQUE).reshape(2, 3)
    normal = np.cross(u, v)
    shared, own, pages = Dataset(), [], []
    measures, plane = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [SPACING[1], SPACING[0]], SPACING[2]
    plane.ImageOrientationPatient = list(OBLIQUE)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    i, j = np.meshgrid(np.arange(SHAPE[0]), np.arange(SHAPE[1]))
    for m in range(phases):
        for k in reversed(range(SHAPE[2])):
            if k == skip:
                continue
            start = ORIGIN + SPACING[2] * k * normal
            frame, position, value, heart = Dataset(), Dataset(), Dataset(), Dataset()
            position.ImagePositionPatient = [f"{x:.8f}"[:16] for x in start]
            value.RescaleSlope, value.RescaleIntercept = 1 + k % 2, 0
            heart.NominalCardiacTriggerDelayTime = 31.5 * m
            frame.PlanePositionSequence = [position]
            frame.PixelValueTransformationSequence = [value]
            if phases > 1:
                frame.CardiacSynchronizationSequence = [heart]
            own.append(frame)
            x = start + i[..., None] * SPACING[0] * u + j[..., None] * SPACING[1] * v
            pages.append((field(x) + 1000 * m) / (1 + k % 2))
    data.SharedFunctionalGroupsSequence = [shared]
    data.PerFrameFunctionalGroupsSequence = own
    data.NumberOfFrames, data.Columns, data.Rows = len(pages), *SHAPE[:2]
    data.PixelData = np.round(pages).astype(np.int16).tobytes()
    data.save_as(file, enforce_file_format=True)


def test_enhanced_multi_frame(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "e.dcm", 1)
    image = read_image(tmp_path / "e.dcm")
    assert isinstance(image, Image)
    assert image.grid.shape == SHAPE
    assert_in_place(image, tolerance=2.0)


def test_enhanced_multi_frame_with_phases(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "e.dcm", 3)
    found = cine(tmp_path)
    np.testing.assert_allclose(found.times, [0.0, 31.5, 63.0])
    assert_in_place(found.images[2], 2000.0, tolerance=2.0)


def test_missing_slices_of_a_multi_frame_file(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "e.dcm", 1, skip=2)
    with pytest.raises(InputError, match=r"1 slice\(s\) missing of 6"):
        read_dicom(tmp_path)


# --- identity -------------------------------------------------------------------------------------


def test_messages_name_no_person(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    write(folder, slices=(0, 1, 2, 5))
    write(folder, number=2, SeriesDescription="other")
    texts = [listing(scan(folder))]
    for series in (None, 1, 77):
        with pytest.raises(InputError) as caught:
            read_dicom(folder, series)
        texts.append(str(caught.value))
    for text in texts:
        assert not [secret for secret in (*SECRETS.values(), "DOE_") if secret in text]
        assert "1.2.826" not in text


# --- real data ------------------------------------------------------------------------------------


@needs_shared
def test_real_cine() -> None:
    found = cine(SHARED / "cardiac-cine-mr", 10001)
    assert len(found.images) == 25
    assert found.grid.shape == (256, 208, 1)
    np.testing.assert_allclose(np.diff(found.times), 31.04, atol=0.01)
    assert found.cycle == 776
    with pytest.raises(InputError, match="11 series"):
        read_dicom(SHARED / "cardiac-cine-mr")


@needs_shared
def test_real_short_axis_is_joined() -> None:
    numbers = [7001, 8001, 9001, 10001, 11001, 12001]
    found = cine(SHARED / "cardiac-cine-mr", numbers)
    assert found.grid.shape == (256, 208, 6)
    assert found.grid.spacing[2] == pytest.approx(17.7, abs=0.01)
    assert len(found.images) == 9
    alone = cine(SHARED / "cardiac-cine-mr", 10001)
    for m in range(9):
        page = alone.images[3 * m].values[:, :, 0]
        np.testing.assert_array_equal(found.images[m].values[:, :, 2], page)
    with pytest.raises(InputError, match=r"1 slice\(s\) missing of 4"):
        read_dicom(SHARED / "cardiac-cine-mr", [7001, 9001, 10001])


@needs_shared
def test_real_ct_beside_its_segmentation() -> None:
    image = one(SHARED / "dicom-seg")
    assert image.grid.shape == (512, 512, 3)
    assert image.quantity == "HU"
    assert "segmentation, not a scan" in listing(scan(SHARED / "dicom-seg"))
    inside = image.values[image.values > -1024]
    assert 0 < np.percentile(inside, 75) < 80
