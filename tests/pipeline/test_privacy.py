"""A run on a patient's images: who may read what it writes, whose name is in it, what is noted."""

import contextlib
import json
import logging
import os
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from organtwin import audit
from organtwin.case.stages import sha256
from organtwin.cli import app
from organtwin.image.dicom_segmentation import write_dicom_segmentation
from organtwin.image.readers import read_image
from organtwin.image.volume import LabelMap
from organtwin.permissions import SWITCH, close_folder, restrict, restricted
from tests.fuzzed_readers import dicom

SHARED = Path(__file__).parents[3] / "shared" / "data" / "dicom-with-identity" / "dicom"
#: What names a person, a place or a stay; UIDs are asked of the files.
WHO = {
    "PatientName": "Quisquam^Perpetua", "PatientID": "MRN-7751209", "PatientBirthDate": "19410317",
    "PatientAddress": "14 Nightingale Lane", "ReferringPhysicianName": "Undertree^Osbert",
    "InstitutionName": "St Swithin Infirmary", "AccessionNumber": "ACC-90210-77",
    "StudyDate": "20230911", "StudyID": "ST-66-77", "PatientComments": "allergic to larkspur",
    "DeviceSerialNumber": "SN-443322",
}  # fmt: skip
CASE = """
title = "A box in a box"
[source]
labels = "{labels}"
[mesh]
size = "30 mm"
"""


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """A series and a segmentation of it that tell who the patient is; what of it identifies."""
    folder = tmp_path_factory.mktemp("scans")
    dicom((16, 16, 10))(folder)
    told = [text for value in WHO.values() for text in value.split("^")]
    for file in sorted((folder / "ct").iterdir()):
        data = pydicom.dcmread(file)
        for key, value in WHO.items():
            setattr(data, key, value)
        data.save_as(file)
        told += [data.SOPInstanceUID, data.StudyInstanceUID, data.SeriesInstanceUID]
    grid = read_image(folder / "ct").grid
    values = np.zeros(grid.shape, np.uint8)
    values[3:-3, 3:-3, 2:-2] = 1
    values[6:-6, 6:-6, 4:-4] = 2
    labels = LabelMap(values, {"muscle": 1, "blood": 2}, grid.spacing, grid.origin, grid.direction)
    secret = folder / "Quisquam"
    secret.mkdir()
    write_dicom_segmentation(labels, folder / "ct", secret / "seg.dcm")
    assert b"Quisquam" in (secret / "seg.dcm").read_bytes()
    (folder / "case.toml").write_text(CASE.format(labels="Quisquam/seg.dcm"))
    return folder, told


@pytest.fixture(scope="module")
def result(patient):
    """Result directory of a run under a careless umask, and all that it said."""
    folder, _ = patient
    out, said = folder / "out", folder / "said.txt"
    handler = logging.FileHandler(said)
    logging.getLogger("organtwin").addHandler(handler)
    before = os.umask(0o000)
    try:
        ended = CliRunner().invoke(
            app, ["-vv", "mesh", str(folder / "case.toml"), "--out", str(out)]
        )
        assert os.umask(0o000) == 0  # the library gives back what it changed
    finally:
        os.umask(before)
        logging.getLogger("organtwin").removeHandler(handler)
    assert ended.exit_code == 0, ended.output
    with said.open("a") as stream:
        stream.write(ended.output)
    return out


@pytest.mark.slow
def test_all_that_a_run_writes_is_its_owners(result):
    written = [result, *result.rglob("*")]
    assert len(written) > 10
    wide = {str(path): oct(path.stat().st_mode) for path in written if path.stat().st_mode & 0o077}
    assert not wide


def contents(file):
    """Bytes of a file, with what is packed in it by gzip or zlib."""
    data = file.read_bytes()
    yield data
    if file.suffix in (".png", ".html", ".json", ".txt"):
        return  # pictures hold pixels; the others are plain
    for mark in (b"\x1f\x8b\x08", b"\x78\x9c", b"\x78\xda", b"\x78\x5e"):
        start = data.find(mark)
        while start >= 0:
            with contextlib.suppress(zlib.error):
                yield zlib.decompressobj(47).decompress(data[start:], 1 << 26)
            start = data.find(mark, start + 1)


@pytest.mark.slow
def test_nobody_is_named_in_what_a_run_writes_and_says(patient, result):
    folder, told = patient
    files = [folder / "said.txt", *(path for path in result.rglob("*") if path.is_file())]
    assert {"report.html", "run.json", "audit.jsonl", "said.txt"} <= {file.name for file in files}
    for file in files:
        found = {text for text in told for data in contents(file) if text.encode() in data}
        # The path that the user typed is in the record of the run alone, which can repeat it.
        allowed = {"Quisquam"} if file.name == "run.json" else set()
        assert found <= allowed, f"{file.name}: {found}"
        assert not [text for text in told if text in file.name]
    assert "Quisquam/seg.dcm" in (result / "run.json").read_text()


@pytest.mark.slow
def test_the_run_is_noted_by_the_content_of_its_input(patient, result):
    folder, _ = patient
    assert audit.verify(result / audit.NAME).lines == 2
    begin, end = (json.loads(line) for line in (result / audit.NAME).read_text().splitlines())
    assert begin["inputs"] == {"input1": sha256(folder / "Quisquam" / "seg.dcm")}
    assert (end["outcome"], begin["ranks"]) == ("complete", 1)


def test_groups_share_what_the_switch_gives_them(tmp_path, monkeypatch):
    monkeypatch.setenv(SWITCH, "group")
    before = os.umask(0)
    try:
        with restricted():
            (tmp_path / "shared").mkdir()
            (tmp_path / "shared" / "file").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o770
    assert (tmp_path / "shared" / "file").stat().st_mode & 0o777 == 0o660


def test_a_stricter_umask_stays_and_old_folders_are_closed(tmp_path, monkeypatch):
    monkeypatch.delenv(SWITCH, raising=False)
    before = os.umask(0o177)
    try:
        restrict()
        assert os.umask(0) == 0o177
    finally:
        os.umask(before)
    (tmp_path / "old").mkdir()
    (tmp_path / "old").chmod(0o755)
    close_folder(tmp_path / "old")
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o700


def test_an_unknown_switch_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv(SWITCH, "world")
    (tmp_path / "case.toml").write_text(CASE.format(labels="x.seg.nrrd"))
    (tmp_path / "x.seg.nrrd").touch()
    ended = CliRunner().invoke(
        app, ["mesh", str(tmp_path / "case.toml"), "--out", str(tmp_path / "o")]
    )
    assert ended.exit_code == 2
    assert "unknown value `world`" in ended.output
    assert not (tmp_path / "o").exists()


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data")
def test_readers_tell_nobody_of_a_real_series(caplog):
    caplog.set_level(logging.DEBUG)
    ended = CliRunner().invoke(app, ["image", "info", str(SHARED)])
    assert ended.exit_code == 0, ended.output
    header = pydicom.dcmread(next(SHARED.iterdir()), stop_before_pixels=True)
    names = ("PatientName", "PatientID", "PatientBirthDate", "ReferringPhysicianName",
             "InstitutionName", "InstitutionAddress", "AccessionNumber", "StudyInstanceUID",
             "SeriesInstanceUID", "DeviceSerialNumber", "StationName")  # fmt: skip
    told = [str(header.get(name)) for name in names if header.get(name)]
    assert len(told) > 5
    said = ended.output + caplog.text
    assert not [text for text in told if text in said]
