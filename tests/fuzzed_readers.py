"""Readers of files from outside, each with a small valid file; see `fuzzing`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from organtwin.calibrate.fhir import read_fhir
from organtwin.calibrate.observation_tables import read_csv
from organtwin.case.load import (
    load_calibration_case,
    load_case,
    load_organ_case,
    load_rehearsal_case,
    load_tavr_case,
)
from organtwin.image.markups import Curve, Landmarks, read_markups, write_markups
from organtwin.image.readers import read_image, read_labels
from organtwin.image.segmentations import read_segmentation
from organtwin.image.slicer import read_slicer, write_slicer
from organtwin.image.totalsegmentator import read_totalsegmentator
from organtwin.image.volume import LabelMap
from organtwin.mesh.mesh_files import read_mesh, write_mesh
from organtwin.mesh.surface_files import TriangleSurface, read_surface, write_surface
from organtwin.mesh.volume_mesh import TetrahedralMesh
from tests.fuzzing import Target

ROOT = Path(__file__).parents[1]


def _labels() -> LabelMap:
    values = np.zeros((6, 7, 8), np.uint8)
    values[1:5, 1:6, 1:7] = 1
    values[2:4, 2:4, 2:4] = 2
    return LabelMap(values, {"muscle": 1, "blood": 2}, np.full(3, 10.0), np.zeros(3), np.eye(3))


def image(suffix: str, *, compressed: bool = False) -> Callable[[Path], Path]:
    """An image of 6 x 7 x 8 voxels of noise, or its labels."""

    def make(folder: Path) -> Path:
        values = np.random.default_rng(1).integers(-800, 900, (8, 7, 6)).astype(np.int16)
        found = sitk.GetImageFromArray(values)
        found.SetSpacing((10.0, 10.0, 10.0))
        file = folder / f"scan{suffix}"
        sitk.WriteImage(found, str(file), useCompression=compressed)
        return file

    return make


def labels(folder: Path) -> Path:
    """A label map as MetaImage."""
    file = folder / "labels.mha"
    sitk.WriteImage(_labels().to_sitk(), str(file))
    return file


def slicer(folder: Path) -> Path:
    """A segmentation of 3D Slicer."""
    file = folder / "labels.seg.nrrd"
    write_slicer(_labels(), file)
    return file


def totalsegmentator(folder: Path) -> Path:
    """A label map with the table of names that TotalSegmentator writes into the header."""
    table = (
        b'<?xml version="1.0" encoding="UTF-8"?><CaretExtension><VolumeInformation><LabelTable>'
        b'<Label Key="1" Red="1" Green="0" Blue="0"><![CDATA[heart]]></Label>'
        b'<Label Key="2" Red="0" Green="1" Blue="0"><![CDATA[liver]]></Label>'
        b"</LabelTable></VolumeInformation></CaretExtension>"
    )
    table += b"\0" * (-(len(table) + 8) % 16)
    plain = folder / "plain.nii"
    sitk.WriteImage(_labels().to_sitk(), str(plain))
    data = bytearray(plain.read_bytes())
    size = len(table) + 8
    data[108:112] = np.float32(352 + size).tobytes()
    extension = np.array([size, 0], "<i4").tobytes() + table
    file = folder / "labels.nii"
    file.write_bytes(bytes(data[:348]) + b"\1\0\0\0" + extension + bytes(data[352:]))
    return file


def dicom(
    shape: tuple[int, int, int] = (16, 12, 3), syntax: str = "1.2.840.10008.1.2.1"
) -> Callable[[Path], Path]:
    """A CT of so many rows, columns and slices, of which the second is damaged."""

    def make(folder: Path) -> Path:
        import pydicom
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import CTImageStorage, RLELossless, generate_uid

        series, study = (generate_uid(entropy_srcs=[name]) for name in ("series", "study"))
        (folder / "ct").mkdir()
        rows, columns, slices = shape
        pixels = np.random.default_rng(1).integers(0, 900, (slices, rows, columns))
        for k in range(slices):
            data = Dataset()
            data.file_meta = FileMetaDataset()
            data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
            data.SOPClassUID = CTImageStorage
            data.SOPInstanceUID = generate_uid(entropy_srcs=[f"slice {k}"])
            data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
            data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
            data.StudyInstanceUID, data.SeriesInstanceUID = study, series
            data.Modality, data.SeriesNumber, data.InstanceNumber = "CT", 1, k + 1
            data.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame"])
            data.PatientName, data.PatientID, data.PatientSex = "Nobody", "0", "O"
            for key in ("PatientBirthDate", "StudyTime", "AccessionNumber", "StudyID",
                        "StudyDate", "ReferringPhysicianName"):  # fmt: skip
                setattr(data, key, "")
            data.Rows, data.Columns, data.SamplesPerPixel = rows, columns, 1
            data.PhotometricInterpretation = "MONOCHROME2"
            data.BitsAllocated = data.BitsStored = 16
            data.HighBit, data.PixelRepresentation = 15, 0
            data.PixelSpacing, data.SliceThickness = [8.0, 8.0], 12.0
            data.ImagePositionPatient = [0.0, 0.0, 12.0 * k]
            data.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
            data.RescaleSlope, data.RescaleIntercept = 1.0, -1024.0
            data.PixelData = pixels[k].astype(np.uint16).tobytes()
            if syntax == RLELossless:
                data.compress(RLELossless)
            pydicom.dcmwrite(folder / "ct" / f"{k}.dcm", data, enforce_file_format=True)
        return folder / "ct" / "1.dcm"

    return make


def segmentation(folder: Path) -> Path:
    """A DICOM segmentation of the CT."""
    from organtwin.image.dicom_segmentation import write_dicom_segmentation

    dicom()(folder)
    grid = read_image(folder / "ct").grid
    values = np.zeros(grid.shape, np.uint8)
    values[2:-2, 2:-2, 1:] = 1
    found = LabelMap(values, {"muscle": 1}, grid.spacing, grid.origin, grid.direction)
    file = folder / "seg.dcm"
    write_dicom_segmentation(found, folder / "ct", file)
    return file


def surface(suffix: str) -> Callable[[Path], Path]:
    """An octahedron of 60 mm."""

    def make(folder: Path) -> Path:
        points = 30.0 * np.array(
            [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1.0]]
        )
        triangles = np.array(
            [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
        )
        file = folder / f"octahedron{suffix}"
        write_surface(TriangleSurface(points, triangles), file)
        return file

    return make


def text_stl(folder: Path) -> Path:
    """The octahedron as text."""
    import pyvista as pv

    data = pv.read(str(surface(".stl")(folder)))
    file = folder / "text.stl"
    data.save(str(file), binary=False)
    return file


def mesh(suffix: str) -> Callable[[Path], Path]:
    """A box of 40 mm of two regions, cut into tetrahedra."""

    def make(folder: Path) -> Path:
        import pyvista as pv

        grid = pv.ImageData(dimensions=(3, 3, 3), spacing=(20.0, 20.0, 20.0))
        cells = grid.to_tetrahedra(5).cells_dict[10].astype(np.int64)
        regions = np.where(np.arange(len(cells)) < len(cells) // 2, 1, 2)
        names = {"muscle": 1, "blood": 2}
        none = np.empty((0, 3), np.int64)
        found = TetrahedralMesh(
            np.array(grid.points, np.float64), cells, regions, names, none, none[:, 0], {}
        )
        file = folder / f"box{suffix}"
        write_mesh(found, file)
        return file

    return make


def markups(folder: Path) -> Path:
    """Landmarks and a curve."""
    file = folder / "points.mrk.json"
    points = np.arange(9.0).reshape(3, 3) ** 2
    pieces = (Landmarks("hinges", points, ("a", "b", "c")), Curve("line", points, ("a", "b", "c")))
    write_markups(pieces, file)
    return file


def table(folder: Path) -> Path:
    """Observations as a table."""
    file = folder / "measured.csv"
    file.write_text(
        "quantity,value,unit,error,held_out,source\nheart_rate,70,1/min,2,no,monitor\n"
        "lv_ejection_fraction,55,%,5,yes,\n"
    )
    return file


def fhir(folder: Path) -> Path:
    """An observation of HL7 FHIR."""
    from organtwin.calibrate.quantities import BY_LOINC

    code = next(iter(BY_LOINC))
    unit = BY_LOINC[code].unit
    file = folder / "pressure.json"
    coding = {"system": "http://loinc.org", "code": code}
    value = {"value": 80.0, "unit": unit, "code": unit}
    file.write_text(
        json.dumps(
            {
                "resourceType": "Observation", "status": "final", "code": {"coding": [coding]},
                "effectiveDateTime": "2026-01-01T10:00:00Z", "valueQuantity": value,
            }
        )
    )  # fmt: skip
    return file


def case(source: str) -> Callable[[Path], Path]:
    """A case file of the demos, whose inputs are empty files of the same names."""

    def make(folder: Path) -> Path:
        original = ROOT / source
        for other in original.parent.iterdir():
            if other.is_file():
                (folder / other.name).touch()
        text = original.read_text(encoding="utf-8").replace('"../../', f'"{ROOT}/')
        file = folder / original.name
        file.write_text(text, encoding="utf-8")
        return file

    return make


NAMES = {"muscle": 1, "blood": 2}

#: Readers that work in a process of their own.
APART = {
    "PLY", "VTP", "OBJ", "VTK surface", "MSH", "VTU", "XDMF", "CARP", "Abaqus", "Exodus", "MED",
    "Medit",
}  # fmt: skip

TARGETS = {
    "NIfTI": Target(image(".nii"), read_image),
    "NIfTI, gzip": Target(image(".nii.gz"), read_image),
    "NRRD": Target(image(".nrrd"), read_image),
    "NRRD, gzip": Target(image(".nrrd", compressed=True), read_image),
    "MetaImage": Target(image(".mha"), read_image),
    "MetaImage, zlib": Target(image(".mha", compressed=True), read_image),
    "label map": Target(labels, lambda file: read_labels(file, NAMES)),
    "Slicer segmentation": Target(slicer, read_slicer),
    "TotalSegmentator": Target(totalsegmentator, read_totalsegmentator),
    "DICOM": Target(dicom(), lambda file: read_image(file.parent)),
    "DICOM, RLE": Target(dicom(syntax="1.2.840.10008.1.2.5"), lambda file: read_image(file.parent)),
    "DICOM-SEG": Target(segmentation, read_segmentation),
    "STL": Target(surface(".stl"), read_surface),
    "STL, text": Target(text_stl, read_surface),
    "PLY": Target(surface(".ply"), read_surface),
    "VTP": Target(surface(".vtp"), read_surface),
    "OBJ": Target(surface(".obj"), read_surface),
    "VTK surface": Target(surface(".vtk"), read_surface),
    "MSH": Target(mesh(".msh"), read_mesh),
    "VTU": Target(mesh(".vtu"), read_mesh),
    "XDMF": Target(mesh(".xdmf"), read_mesh),
    "CARP": Target(mesh(".pts"), read_mesh),
    "Abaqus": Target(mesh(".inp"), read_mesh),
    "Exodus": Target(mesh(".exo"), read_mesh),
    "MED": Target(mesh(".med"), read_mesh),
    "Medit": Target(mesh(".mesh"), read_mesh),
    "markups": Target(markups, read_markups),
    "table of measurements": Target(table, read_csv),
    "FHIR": Target(fhir, lambda file: read_fhir(file, 0.05)),
    "case, heart": Target(case("demos/heartbeat/case.toml"), load_case),
    "case, mesh": Target(case("meshes/aortic_root/case.toml"), load_organ_case),
    "case, valve": Target(case("demos/tavr/case.toml"), load_tavr_case),
    "case, calibration": Target(case("demos/calibration/case.toml"), load_calibration_case),
    "case, rehearsal": Target(case("demos/tavr/rehearsal.toml"), load_rehearsal_case),
}
