from __future__ import annotations

import gzip
import json
import re
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import typer
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sr.codedict import codes
from pydicom.uid import (
    CTImageStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
)
from typer.testing import CliRunner

from organtwin import cli_deidentify
from organtwin.errors import InputError, OrgantwinError
from organtwin.image.deidentify import Report, deidentify
from organtwin.image.deidentify_headers import clean_nrrd, without_gzip_name
from organtwin.image.deidentify_rules import Action, Options, PrivateTag, Secret, Words, table

SHARED = Path(__file__).parents[3] / "shared" / "data"
KEY = b"a key that is long enough"
STUDY, SERIES, FRAME = "1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"
#: Values of the synthetic scan that must not be found in anything that is written.
SECRETS = (
    "Kowalczyk", "Zbigniew", "PID-77120", "19330527", "20190311", "20190402", "General Hospital",
    "Wilhelmine", "ACC90817", "1.2.3.4", "WORKSTATION7", "left by the vendor", "ward 12", "secret",
    "seen by", "Main Street", "STATION-AE", "Clinic", "5793-03",
)  # fmt: skip


def nested(**values: object) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def scan(instance: int = 1, **changes: object) -> Dataset:
    """A slice with something to hide wherever something can be hidden."""
    dataset = nested(
        SpecificCharacterSet="ISO_IR 192", SOPClassUID=CTImageStorage, Modality="CT",
        SOPInstanceUID=f"1.2.3.4.9.{instance}", StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES,
        FrameOfReferenceUID=FRAME, PatientName="Kowalczyk^Zbigniew^^Dr", PatientID="PID-77120",
        PatientBirthDate="19330527", PatientAge="095Y", PatientSex="M", PatientWeight="71",
        PatientAddress="Main Street 1", InstitutionName="General Hospital", StudyDate="20190311",
        AccessionNumber="ACC90817", StationName="WORKSTATION7", StudyTime="101500",
        AcquisitionDateTime="20190402081530.250000+0100", SeriesDescription="CTA arch",
        StudyDescription="Thorax of Kowalczyk", ProtocolName="Aorta 19330527",
        ReferringPhysicianName="Wilhelmine^Anna", SeriesNumber=3, InstanceNumber=instance,
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], ImagePositionPatient=[1.5, 2.5, 3.0 * instance],
        ImageOrientationPatient=[1, 0, 0, 0, 0.8, -0.6], PixelSpacing=[0.5, 0.5], Rows=4, Columns=4,
        BitsAllocated=16, BitsStored=12, HighBit=11, PixelRepresentation=0, SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2", ImageComments="ward 12",
        PixelData=(np.arange(16, dtype="<u2") + instance).tobytes(),
        FilterType="KOWALCZYKFLAT", ConvolutionKernel="B30f", ContentLabel="CLINIC RESULT",
        PatientBirthDateInAlternativeCalendar="5793-03-02",
    )  # fmt: skip
    dataset.ReferencedImageSequence = [
        nested(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID="1.2.3.4.9.2")
    ]
    deep = nested(
        CodeValue="P0-0099A", CodingSchemeDesignator="99LOCAL", CodeMeaning="seen by Wilhelmine",
        EvaluatorName="Wilhelmine^Anna", ReferencedDateTime="20190402",
        ReferencedSOPInstanceUID="1.2.3.4.9.1",
    )  # fmt: skip
    deep.private_block(0x0029, "HIDDEN", create=True).add_new(1, "LO", "left by the vendor")
    dataset.DerivationCodeSequence = [nested(PurposeOfReferenceCodeSequence=[deep])]
    block = dataset.private_block(0x0019, "VENDOR", create=True)
    block.add_new(0x0C, "IS", "1000")
    block.add_new(0x0D, "LO", "left by the vendor")
    dataset.add_new((0x0019, 0x0020), "LO", "EMPTY")
    dataset.add_new((0x0008, 0x9999), "LO", "secret")
    dataset.add_new((0x5000, 0x3000), "OW", b"secret")
    for name, value in (((0x6000, 0x3000), b"secret"), ((0x6000, 0x4000), b"secret")):
        dataset.add_new(name, "OB", value)
    dataset.add_new((0x6000, 0x0022), "LO", "seen by")
    for name, change in changes.items():
        setattr(dataset, name, change)
    return dataset


def write(dataset: Dataset, file: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.SourceApplicationEntityTitle = "STATION-AE"
    dataset.file_meta = meta
    dataset.preamble = b"secret".ljust(128, b"\0")
    file.parent.mkdir(parents=True, exist_ok=True)
    with pydicom.config.disable_value_validation():
        pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file


def images(folder: Path) -> list[Dataset]:
    return [pydicom.dcmread(file) for file in sorted(folder.rglob("*.dcm"))]


def everything(folder: Path) -> bytes:
    """All bytes and all names below a folder."""
    files = sorted(folder.rglob("*"))
    names = "\n".join(str(file.relative_to(folder)) for file in files).encode()
    return names + b"".join(file.read_bytes() for file in files if file.is_file())


def hidden(texts: tuple[str, ...], folder: Path) -> list[str]:
    held = everything(folder).lower()
    return [text for text in texts if text.lower().encode() in held]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in")
    write(scan(1), folder / "Kowalczyk Zbigniew" / "a.dcm")
    write(scan(2), folder / "Kowalczyk Zbigniew" / "b.dcm", ImplicitVRLittleEndian)
    return folder


@pytest.fixture(scope="module")
def cleaned(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    target = tmp_path_factory.mktemp("out")
    return target, deidentify(source, target, key=KEY)


def test_the_table_is_the_whole_one() -> None:
    assert len(table()) > 600
    assert table()[pydicom.tag.Tag("PatientBirthDate")] is Action.EMPTIED
    assert table()[pydicom.tag.Tag("SeriesInstanceUID")] is Action.NEW_UID


def test_nothing_identifying_is_left_at_any_depth(cleaned: tuple[Path, Report]) -> None:
    target, report = cleaned
    assert report.written.total() == 2
    assert not hidden(SECRETS, target)


def test_the_test_would_find_what_is_left(source: Path) -> None:
    assert set(hidden(SECRETS, source)) == set(SECRETS)


def test_pixels_and_geometry_stay(source: Path, cleaned: tuple[Path, Report]) -> None:
    for old, new in zip(images(source), images(cleaned[0]), strict=True):
        assert new.PixelData == old.PixelData
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows"):
            assert new[name].value == old[name].value
        assert new.file_meta.TransferSyntaxUID == old.file_meta.TransferSyntaxUID
        assert (new.ConvolutionKernel, new.FilterType) == ("B30f", "")


def test_uids_stay_consistent(cleaned: tuple[Path, Report]) -> None:
    first, second = images(cleaned[0])
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID
    assert first.ReferencedImageSequence[0].ReferencedSOPInstanceUID == second.SOPInstanceUID
    deep = second.DerivationCodeSequence[0].PurposeOfReferenceCodeSequence[0]
    assert deep.ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
    assert first.SOPClassUID == CTImageStorage
    assert all(uid.is_valid for uid in (first.SOPInstanceUID, first.StudyInstanceUID))


def test_intervals_between_dates_stay(cleaned: tuple[Path, Report]) -> None:
    image = images(cleaned[0])[0]
    study = date.fromisoformat(image.StudyDate)
    acquired = date.fromisoformat(image.AcquisitionDateTime[:8])
    assert acquired - study == date(2019, 4, 2) - date(2019, 3, 11)
    assert 365 <= (date(2019, 3, 11) - study).days <= 3650
    assert image.AcquisitionDateTime[8:] == "081530.250000"
    assert image.StudyTime == "101500"
    assert image.PatientBirthDate == ""
    assert image.LongitudinalTemporalInformationModified == "MODIFIED"


def test_the_file_says_how_it_was_deidentified(cleaned: tuple[Path, Report]) -> None:
    image = images(cleaned[0])[0]
    assert image.PatientIdentityRemoved == "YES"
    codes = [item.CodeValue for item in image.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107"]
    assert image.PatientName == image.PatientID == Secret(KEY).pseudonym("PID-77120|")


def test_codes_are_those_of_the_standard() -> None:
    known = [getattr(codes.cid7050, name) for name in codes.cid7050.dir()]
    chosen = Options("shift", True, True, frozenset({PrivateTag("VENDOR", 0x19, 0x0C)})).codes
    assert len(chosen) == 5
    assert chosen.items() <= {code.value: code.meaning for code in known}.items()


def test_the_same_key_gives_the_same_copy_and_another_one_does_not(
    source: Path, cleaned: tuple[Path, Report], tmp_path: Path
) -> None:
    deidentify(source, tmp_path / "again", key=KEY)
    assert everything(tmp_path / "again") == everything(cleaned[0])
    deidentify(source, tmp_path / "other")
    other, first = images(tmp_path / "other")[0], images(cleaned[0])[0]
    assert other.SOPInstanceUID != first.SOPInstanceUID
    assert other.PatientID != first.PatientID


def test_options_keep_what_they_say_and_no_more(source: Path, tmp_path: Path) -> None:
    private = frozenset({PrivateTag.parse("VENDOR:0019,0C")})
    deidentify(source, tmp_path / "o", Options("remove", True, True, private), KEY)
    image = images(tmp_path / "o")[0]
    assert (image.PatientAge, image.PatientSex, image.PatientWeight) == ("089Y", "M", 71)
    assert image.SeriesDescription == "CTA arch"
    assert (image.StudyDescription, image.ProtocolName) == ("", "")
    assert image.StudyDate == ""
    assert image.private_block(0x0019, "VENDOR")[0x0C].value == 1000
    assert (0x0019, 0x100D) not in image
    assert image.ContentLabel == "CLINIC RESULT"
    assert not hidden(tuple(text for text in SECRETS if text != "Clinic"), tmp_path / "o")


def test_overlays_in_unused_bits_are_cleared(tmp_path: Path) -> None:
    pixels = np.arange(16, dtype="<u2")
    dataset = scan(PixelData=(pixels | 0x8000).tobytes())
    del dataset[0x6000, 0x3000]
    dataset.add_new((0x6000, 0x0102), "US", 15)
    write(dataset, tmp_path / "i" / "a.dcm")
    deidentify(tmp_path / "i", tmp_path / "o")
    image = images(tmp_path / "o")[0]
    np.testing.assert_array_equal(np.frombuffer(image.PixelData, "<u2"), pixels)
    assert not any(tag.group == 0x6000 for tag in image.keys())  # noqa: SIM118


def test_compressed_pixels_stay_as_they_are(tmp_path: Path) -> None:
    dataset = scan(PixelData=encapsulate([bytes(range(256)) * 4]))
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    write(dataset, tmp_path / "i" / "a.dcm", JPEGBaseline8Bit)
    deidentify(tmp_path / "i", tmp_path / "o")
    image = images(tmp_path / "o")[0]
    assert image.PixelData == dataset.PixelData
    assert image.file_meta.TransferSyntaxUID == JPEGBaseline8Bit


def test_pictures_of_screens_and_burned_in_text_are_warned_of(tmp_path: Path) -> None:
    for number, changes in enumerate((
        {"BurnedInAnnotation": "YES"}, {"SOPClassUID": SecondaryCaptureImageStorage},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"], "BurnedInAnnotation": "NO"},
        {"BodyPartExamined": "HEAD"}, {"BurnedInAnnotation": "NO"},
    )):  # fmt: skip
        series = f"{SERIES}.{number}"
        dataset = scan(number, SeriesInstanceUID=series, SeriesNumber=number, **changes)
        write(dataset, tmp_path / "i" / f"{number}.dcm")
    report = deidentify(tmp_path / "i", tmp_path / "o")
    told = sorted(concern.split("/", 2)[2] for concern in report.warnings)
    found = [re.match(r"series-(\d+): .*(burned|often|screen|face)", text) for text in told]
    assert [(match[1], match[2]) for match in found if match] == [
        ("000", "burned"), ("001", "often"), ("002", "often"), ("003", "face"),
    ]  # fmt: skip
    assert report.written.total() == 5


def test_documents_are_refused_and_other_files_left_out(tmp_path: Path) -> None:
    write(scan(1), tmp_path / "i" / "a.dcm")
    write(scan(2, SOPClassUID=EnhancedSRStorage), tmp_path / "i" / "b.dcm")
    write(scan(3, SOPClassUID=EncapsulatedPDFStorage), tmp_path / "i" / "c.dcm")
    write(scan(4, SOPClassUID="1.2.3.4.5"), tmp_path / "i" / "d.dcm")
    write(scan(5, PixelData=b"\0\0"), tmp_path / "i" / "cut off.dcm")
    write(scan(6, PixelData=b"of KOWALCZYK".ljust(32)), tmp_path / "i" / "written in.dcm")
    empty = scan(7)
    del empty.PixelData
    write(empty, tmp_path / "i" / "e.dcm")
    (tmp_path / "i" / "Kowalczyk.txt").write_text("secret")
    report = deidentify(tmp_path / "i", tmp_path / "o")
    assert (report.written.total(), report.refused.total(), report.damaged) == (1, 5, 1)
    assert report.left_out == {".txt file": 1}
    assert not hidden(SECRETS, tmp_path / "o")


def test_patients_and_studies_are_kept_apart(tmp_path: Path) -> None:
    write(scan(1), tmp_path / "i" / "1.dcm")
    write(scan(2, StudyInstanceUID="1.2.3.4.8", StudyDate="20200101"), tmp_path / "i" / "2.dcm")
    other = scan(3, PatientID="PID-5", StudyInstanceUID="1.2.3.4.7", SeriesInstanceUID="1.2.3.4.6")
    write(other, tmp_path / "i" / "3.dcm")
    report = deidentify(tmp_path / "i", tmp_path / "o", key=KEY)
    first, second = (Secret(KEY).pseudonym(f"{name}|") for name in ("PID-77120", "PID-5"))
    assert set(report.written) == {
        f"{first}/study-1/series-003", f"{first}/study-2/series-003", f"{second}/study-1/series-003"
    }  # fmt: skip


def test_wrong_folders_and_keys_are_refused_before_anything_is_written(
    source: Path, tmp_path: Path
) -> None:
    full, bare = tmp_path / "full", tmp_path / "bare"
    for folder in (full, bare):
        folder.mkdir()
    (full / "x").touch()
    for origin, target, key, words in (
        (source, source / "out", None, "inside"),
        (source / "Kowalczyk Zbigniew", source, None, "inside"),
        (source, full, None, "not empty"),
        (source, full / "x", None, "is a file"),
        (tmp_path / "nowhere", tmp_path / "o", None, "no such"),
        (bare, tmp_path / "o", None, "no DICOM"),
        (source, tmp_path / "o", b"short", "5 bytes"),
    ):
        with pytest.raises(InputError, match=words):
            deidentify(origin, target, key=key)
    assert not (tmp_path / "o").exists()
    assert not (source / "out").exists()
    write(scan(SOPClassUID=EnhancedSRStorage), bare / "a.dcm")
    with pytest.raises(OrgantwinError, match="not an image"):
        deidentify(bare, tmp_path / "o")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_headers_of_plain_images_lose_texts_and_keep_voxels(tmp_path: Path, suffix: str) -> None:
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    image.SetSpacing((0.5, 0.6, 0.7))
    image.SetOrigin((1.0, -2.0, 3.0))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    for key in ("aux_file", "descrip", "intent_name", "PatientName", "Comment"):
        image.SetMetaData(key, "Kowalczyk")
    file = tmp_path / "i" / f"Kowalczyk{suffix}"
    file.parent.mkdir()
    sitk.WriteImage(image, str(file), useCompression=suffix != ".nrrd")
    plain = gzip.decompress(file.read_bytes()) if suffix == ".nii.gz" else file.read_bytes()
    assert b"Kowalczyk" in plain
    report = deidentify(tmp_path / "i", tmp_path / "o")
    copy = tmp_path / "o" / "images" / f"image-001{suffix}"
    data = gzip.decompress(copy.read_bytes()) if suffix == ".nii.gz" else copy.read_bytes()
    assert b"Kowalczyk" not in data
    assert not hidden(("Kowalczyk",), tmp_path / "o")
    new, old = sitk.ReadImage(str(copy)), sitk.ReadImage(str(file))
    assert sitk.GetArrayFromImage(new).tolist() == sitk.GetArrayFromImage(old).tolist()
    assert (new.GetSpacing(), new.GetOrigin()) == (old.GetSpacing(), old.GetOrigin())
    assert new.GetDirection() == old.GetDirection()
    assert report.tally.total() > 0


def test_nifti_extensions_and_gzip_names_go(tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkInt16), str(tmp_path / "a.nii"))
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[108:112] = np.float32(352 + 32).tobytes()
    extended = bytes(data[:348]) + b"\1\0\0\0" + b"Kowalczyk".ljust(32) + bytes(data[352:])
    with (tmp_path / "i" / "a.nii.gz").open("wb") as stream, gzip.GzipFile(
        "Kowalczyk.nii", "wb", fileobj=stream
    ) as packed:  # fmt: skip
        packed.write(extended + b"Kowalczyk")
    deidentify(tmp_path / "i", tmp_path / "o")
    new = gzip.decompress((tmp_path / "o" / "images" / "image-001.nii.gz").read_bytes())
    data[108:112] = np.float32(352).tobytes()
    assert new[352:] == bytes(data[352:])
    assert b"Kowalczyk" not in everything(tmp_path / "o") + new


def test_segments_of_slicer_keep_their_names() -> None:
    packed = gzip.compress(b"\1\0")
    header = (
        "NRRD0005\n# by Kowalczyk\ntype: uchar\ndimension: 1\nsizes: 2\nencoding: gzip\n"
        "content: Kowalczyk\nSegment0_Name:=aorta\nSegment1_Name:=Kowalczyk\nSite:=ward 12\n\n"
    )
    tally: Report = Report(Options())
    new = clean_nrrd(header.encode() + packed, Words(frozenset({"kowalczyk"})), tally.tally)
    assert b"Segment0_Name:=aorta" in new
    assert not re.search(rb"Kowalczyk|ward", new)
    assert gzip.decompress(new.split(b"\n\n", 1)[1]) == b"\1\0"


def test_gzip_streams_lose_name_comment_and_extra_field() -> None:
    plain = gzip.compress(b"voxels", mtime=0)
    dressed = plain[:3] + b"\x1c" + plain[4:10] + b"\3\0abc" + b"name\0" + b"comment\0" + plain[10:]
    assert gzip.decompress(dressed) == b"voxels"
    bare = without_gzip_name(dressed)
    assert gzip.decompress(bare) == b"voxels"
    assert not re.search(b"abc|name|comment", bare)


def test_words_are_found_whole_if_short_and_anywhere_if_long() -> None:
    words = Words(frozenset({"lee", "martinez"}))
    assert words.inside("KNEE_LEE") and words.inside("XMartinezX")
    assert not words.inside("sleeve")


def test_the_report_counts_and_quotes_nothing(cleaned: tuple[Path, Report]) -> None:
    held = json.loads((cleaned[0] / "deidentification.json").read_text())
    assert held["elements"]["(0010,0030) PatientBirthDate"] == {"emptied": 2}
    assert held["elements"]["(0019,xxxx) private"] == {"removed": 8}
    assert held["elements"]["(60xx,xxxx) overlay"] == {"removed": 6}
    assert held["elements"]["(7FE0,0010) PixelData"] == {"kept": 2}
    text = (cleaned[0] / "deidentification.txt").read_text()
    assert "(0010,0030) PatientBirthDate: 2 emptied" in text


def test_the_command_prints_nothing_identifying(source: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(cli_deidentify.deidentify)
    key = tmp_path / "key"
    key.write_bytes(KEY)
    done = CliRunner().invoke(app, [str(source), str(tmp_path / "o"), "--key", str(key)])
    assert done.exit_code == 0, done.output
    assert not [text for text in SECRETS if text.lower() in done.output.lower()]
    assert CliRunner().invoke(app, [str(source), str(tmp_path / "o")]).exit_code == 2
    for wrong in (["--dates", "x"], ["--keep-private", "x"], ["--key", str(tmp_path / "none")]):
        arguments = [str(source), str(tmp_path / "n"), *wrong]
        assert CliRunner().invoke(app, arguments).exit_code == 2


@pytest.mark.skipif(not (SHARED / "dicom-with-identity").is_dir(), reason="no shared data")
def test_a_real_scan_with_placeholders_in_its_tags(tmp_path: Path) -> None:
    source = SHARED / "dicom-with-identity" / "dicom"
    report = deidentify(source, tmp_path / "o")
    assert report.written.total() == 8
    texts = {
        str(element.value)
        for file in source.iterdir()
        for element in pydicom.dcmread(file).iterall()
        if element.VR in ("PN", "LO", "SH", "ST", "DA", "UI")
        and (element.tag in table() or element.is_private)
    }
    placeholders = tuple(text for text in texts if len(text) > 5 and "10008" not in text)
    assert {"My Patient Name", "123456789", "20091203", "155.100.36.110"} <= set(placeholders)
    placeholders += ("MRI HEART", "MCARDANWWO", "1.3.12.2.1107", "DicomBrowser", "IM-0001")
    assert not hidden(placeholders, tmp_path / "o")
    old = [pydicom.dcmread(file) for file in sorted(source.iterdir())]
    new = images(tmp_path / "o")
    for before, after in zip(old, new, strict=True):
        assert after.PixelData == before.PixelData
        for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
                    "SliceThickness", "TriggerTime", "InstanceNumber", "ImageType"):  # fmt: skip
            assert after[tag].value == before[tag].value
        assert not any(tag.is_private for tag in after.keys())  # noqa: SIM118
    assert len({image.FrameOfReferenceUID for image in new}) == 1
    assert len({image.SOPInstanceUID for image in new}) == 8
    files = [str(file) for file in sorted((tmp_path / "o").rglob("*.dcm"))]
    assert sitk.ReadImage(files).GetSize() == (640, 640, 8)
