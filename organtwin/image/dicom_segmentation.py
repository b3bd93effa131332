"""Segmentations from and to DICOM: segmentation objects (DICOM-SEG)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from highdicom import UID, AlgorithmIdentificationSequence, Volume
from highdicom.color import CIELabColor
from highdicom.seg import SOP_CLASS_UIDS, SegmentDescription, segread
from highdicom.seg import Segmentation as DicomSegmentation
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.sr.coding import Code

from organtwin.errors import InputError
from organtwin.image.dicom_headers import Frame, quiet, refuse_bomb, scan
from organtwin.image.dicom_stack import arrange
from organtwin.image.segmentation import (
    MOST_LABELS,
    Choice,
    Colour,
    Mask,
    Segment,
    Segmentation,
    merge,
    on_grid,
    writable,
)
from organtwin.image.volume import Grid, LabelMap


def read_dicom_segmentation(
    path: str | Path,
    names: Choice = None,
    *,
    priority: Sequence[str] = (),
    grid: Grid | None = None,
) -> Segmentation:
    """Read a DICOM segmentation object: binary, fractional (from one half on) or label map.

    Integers are the segment numbers, names the segment labels. The file holds the slices that are
    segmented; ``grid`` puts the labels back on the voxels of the scan.

    Args:
        path: DICOM-SEG file.
        names: As of `organtwin.image.segmentations.read_segmentation`.
        priority: Likewise.
        grid: Likewise.

    Raises:
        InputError: as `organtwin.image.segmentations.read_segmentation`; the file is no DICOM-SEG,
            or its frames are no stack of parallel, evenly spaced slices.

    Source:
        DICOM PS3.3, A.51 (Segmentation IOD) and C.8.20 (Segmentation modules).
    """
    file = Path(path)
    with _silence():
        found = _open_dicom_segmentation(file)
        try:
            grid_of_file, flip = _upright(file, found.get_volume_geometry())
            segments = [_dicom_segment(found, number, flip) for number in found.segment_numbers]
            merged = merge(str(file), segments, grid_of_file, names, priority, keep_empty=False)
        except InputError:
            raise
        except Exception as error:  # whatever damaged values make the library stumble over
            raise _breaks_rules(file, error) from None
    return on_grid(str(file), merged, grid)


def write_dicom_segmentation(
    segmentation: Segmentation | LabelMap,
    series: str | Path | Sequence[str | Path],
    path: str | Path,
    *,
    algorithm: str = "organtwin",
) -> None:
    """Write a binary DICOM segmentation object that belongs to the series it was made from.

    Segments are numbered 1, 2, … in the order of their integers. The object is part of the
    patient's record: patient and study are those of the series, de-identify that first if need be.

    Args:
        segmentation: Labels on voxels of the series, whatever the order of the axes; a part of the
            series will do. Colours and codes as far as known.
        series: Folder with the series, or its files.
        path: File to write.
        algorithm: What made the segmentation, at most 64 characters.

    Raises:
        InputError: the series is none, is no even stack of slices (see
            `organtwin.image.dicom_stack.arrange`), has several slices at one place as a cine has,
            or the labels don't lie on its voxels.

    Source:
        DICOM PS3.3, A.51 (Segmentation IOD) and C.8.20 (Segmentation modules).
    """
    whole = writable(str(path), segmentation)
    with _silence():
        slices, grid = _series(series)
        values = _on_voxels(str(path), whole.labels, grid)
        try:
            written = _dicom_object(whole, values, slices, grid, algorithm)
        except (AttributeError, ValueError, TypeError) as error:
            # Only the first tells no values of the series.
            reason = str(error) if isinstance(error, AttributeError) else type(error).__name__
            raise InputError(
                str(path),
                f"the headers of the series don't suffice for a DICOM segmentation ({reason}).",
                "Check the series with a DICOM validator.",
            ) from None
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        written.save_as(path)


@contextmanager
def _silence() -> Iterator[None]:
    """Neither library warns: they would quote names and identifiers of the patient."""
    library = logging.getLogger("highdicom")
    level = library.level
    library.setLevel(logging.CRITICAL)
    try:
        with quiet():
            yield
    finally:
        library.setLevel(level)


def _open_dicom_segmentation(file: Path) -> Any:
    if not file.is_file():
        raise InputError(str(file), "no such file.", "Check the path.")
    remedy = "Give a DICOM-SEG, a .seg.nrrd or a folder of TotalSegmentator."
    try:
        refuse_bomb(file)
        kind = dcmread(file, specific_tags=["SOPClassUID"], stop_before_pixels=True).SOPClassUID
    except Exception:  # whatever another kind of file makes the library stumble over
        raise InputError(str(file), "no DICOM file.", remedy) from None
    if kind not in SOP_CLASS_UIDS:
        raise InputError(str(file), f"no segmentation but {kind.name}.", remedy)
    try:
        return segread(file)
    except Exception as error:
        raise _breaks_rules(file, error) from None


def _breaks_rules(file: Path, error: Exception) -> InputError:
    """The library's error by its kind only: it may cite values of the patient."""
    return InputError(
        str(file),
        f"a DICOM segmentation that breaks the rules of the format ({type(error).__name__}).",
        "Check it with a DICOM validator, or export it again.",
    )


def _upright(file: Path, geometry: Any) -> tuple[Grid, bool]:
    """Grid with columns, rows and slices as axes, right-handed; whether it turns the slices."""
    if geometry is None:
        raise InputError(
            str(file),
            "its frames are no stack of parallel, evenly spaced slices.",
            "Resample the segmentation onto such a stack, for example in 3D Slicer.",
        )
    slices, rows, columns = geometry.spatial_shape
    axes = geometry.affine[:3, [2, 1, 0]].copy()
    origin = geometry.affine[:3, 3].copy()
    flip = bool(np.linalg.det(axes) < 0.0)
    if flip:
        origin += axes[:, 2] * (slices - 1)
        axes[:, 2] *= -1.0
    spacing = np.linalg.norm(axes, axis=0)
    return Grid((columns, rows, slices), spacing, origin, axes / spacing), flip


def _dicom_segment(found: Any, number: int, flip: bool) -> Segment:
    description = found.get_segment_description(number)
    lab = description.get("RecommendedDisplayCIELabValue")
    colour: Colour | None = None
    if lab is not None:
        red, green, blue = CIELabColor.from_dicom_value(lab).to_rgb(clip=True)
        colour = (red / 255, green / 255, blue / 255)
    pair = (description.segmented_property_category, description.segmented_property_type)
    category, kind = (Code(c.value, c.scheme_designator, c.meaning) for c in pair)
    name = str(description.segment_label).strip()
    return Segment(
        name, int(number), partial(_dicom_mask, found, int(number), flip), colour, (category, kind)
    )


def _dicom_mask(found: Any, number: int, flip: bool) -> Mask:
    # Of several segments only those that have frames; fractions come scaled from 0 to 1.
    frames = found.get_volume(segment_numbers=[number]).array[..., 0]
    mask = (frames >= 0.5).transpose(2, 1, 0)
    return np.ascontiguousarray(mask[:, :, ::-1] if flip else mask)


def _series(series: str | Path | Sequence[str | Path]) -> tuple[list[Dataset], Grid]:
    """Whole headers of a series in the order of its slices, and the grid of the slices."""
    files = _files(Path(series)) if isinstance(series, (str, Path)) else [Path(f) for f in series]
    place = str(files[0].parent) if files else str(series)
    headers = {file: header for file in files if (header := _header(file)) is not None}
    if not headers:
        raise InputError(place, "no DICOM slices here.", "Give the series that was segmented.")
    if (number := len({header.get("SeriesInstanceUID") for header in headers.values()})) > 1:
        raise InputError(
            place, f"slices of {number} series.", "Give the files of the one that was segmented."
        )
    frames, grid = _slices(place, headers)
    ordered = list(dict.fromkeys(frame.file for frame in frames))
    if 1 < len(ordered) < len(frames):
        raise InputError(
            place, "several multi-frame files.", "Give the file that was segmented alone."
        )
    return [headers[file] for file in ordered], grid


def _files(place: Path) -> list[Path]:
    return sorted(f for f in place.iterdir() if f.is_file()) if place.is_dir() else [place]


def _header(file: Path) -> Dataset | None:
    """Header of a slice or a multi-frame image; None for anything else."""
    try:
        header = dcmread(file, stop_before_pixels=True)
    except (InvalidDicomError, OSError):
        return None
    placed = "ImagePositionPatient" in header or "SharedFunctionalGroupsSequence" in header
    if not placed or header.get("SOPClassUID") in SOP_CLASS_UIDS:
        return None
    if not header.get("SpecificCharacterSet"):
        header.SpecificCharacterSet = "ISO_IR 192"  # labels may hold any letter
    return header


def _slices(place: str, files: Iterable[Path]) -> tuple[tuple[Frame, ...], Grid]:
    """Frames of the files of a series in their order along the normal, and their grid."""
    parts = [part for file in files for part in scan(file)]
    frames = tuple(frame for part in parts for frame in part.frames)
    if not all(frame.placed for frame in frames):
        raise InputError(
            place, "frames without a place in the patient.", "Give the series that was segmented."
        )
    stack = arrange(replace(parts[0], frames=frames), place)
    if len(stack.frames) > 1 or stack.doubles:
        raise InputError(
            place, "several slices lie at one place.", "Give the files of one phase, each once."
        )
    return stack.frames[0], stack.grid


def _on_voxels(place: str, labels: LabelMap, grid: Grid) -> NDArray[np.uint8]:
    """The labels on the voxels of a grid that they were made on, without resampling."""
    where = np.argwhere(labels.values)
    index = grid.index(labels.points(where))
    nearest = np.round(index).astype(int)
    same_size = np.isclose(labels.voxel_volume, grid.voxel_volume, rtol=0.01)
    if len(where) and (not same_size or np.abs(index - nearest).max() > 0.1):
        raise InputError(
            place,
            "the labels don't lie on the voxels of the series.",
            "Sample them on the grid of the series first.",
        )
    outside = int(np.count_nonzero(((nearest < 0) | (nearest >= grid.shape)).any(axis=1)))
    if outside or not len(where):
        raise InputError(
            place,
            f"{outside} of {len(where)} labelled voxels lie outside the series.",
            "Give the series that was segmented.",
        )
    values = np.zeros(grid.shape, np.uint8)
    values[tuple(nearest.T)] = labels.values[tuple(where.T)]
    return values


def _dicom_object(
    whole: Segmentation, values: NDArray[np.uint8], slices: list[Dataset], grid: Grid,
    algorithm: str,
) -> DicomSegmentation:  # fmt: skip
    names = sorted(whole.labels.names, key=lambda name: whole.labels.names[name])
    numbers = np.zeros(MOST_LABELS + 1, np.uint8)
    numbers[[whole.labels.names[name] for name in names]] = np.arange(1, len(names) + 1)
    affine = np.eye(4)
    affine[:3, :3] = (grid.direction * grid.spacing)[:, ::-1]
    affine[:3, 3] = grid.origin
    volume = Volume(
        np.ascontiguousarray(numbers[values].transpose(2, 1, 0)),
        affine,
        "PATIENT",
        frame_of_reference_uid=slices[0].FrameOfReferenceUID,
    )
    return DicomSegmentation(
        slices,
        volume,
        "BINARY",
        [_described(whole, name, number, algorithm) for number, name in enumerate(names, 1)],
        UID(),
        int(slices[0].get("SeriesNumber") or 0) + 1000,
        UID(),
        1,
        "organtwin",
        "organtwin",
        version("organtwin"),
        "-",
        content_label="SEGMENTATION",
        series_description="Segmentation",
    )


def _described(whole: Segmentation, name: str, number: int, algorithm: str) -> SegmentDescription:
    category, kind = whole.code(name)
    family = Code("segmentation", "99ORGANTWIN", "Image segmentation")
    return SegmentDescription(
        number,
        name,
        category,
        kind,
        "SEMIAUTOMATIC",
        AlgorithmIdentificationSequence(algorithm, family, version("organtwin")),
        display_color=CIELabColor.from_rgb(*(255.0 * part for part in whole.colour(name))),
    )
