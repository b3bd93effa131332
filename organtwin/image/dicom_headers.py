"""What the headers of DICOM files tell about the frames of each series; no pixels, no identity."""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from organtwin.errors import InputError

logger = logging.getLogger(__name__)

#: Elements that are read; what names a person, a place or a date is not among them.
ELEMENTS = (
    "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber",
    "SeriesDescription", "InstanceNumber", "ImageType", "Rows", "Columns", "NumberOfFrames",
    "SamplesPerPixel", "PhotometricInterpretation", "PixelSpacing", "ImagePositionPatient",
    "ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices", "RescaleSlope",
    "RescaleIntercept", "RescaleType", "TriggerTime", "TemporalPositionIdentifier",
    "TemporalResolution", "CardiacNumberOfImages", "NominalInterval", "EchoTime",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
#: Transfer syntax of files that are packed as a whole, and bytes that one may unpack to.
DEFLATED, LARGEST_UNPACKED = b"1.2.840.10008.1.2.1.99", 1 << 31
#: Files without the DICOM prefix that may be DICOM all the same.
BARE_SUFFIXES = {"", ".dcm", ".ima", ".dicom"}


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice at one time: where it lies and how its numbers are to be read.

    Attributes:
        file: Where its pixels are.
        index: Which frame of the file; 0 if it has one only.
        instance: Number of the file in its series.
        size: Number of columns and rows.
        pixel: Distance of neighbouring columns and of neighbouring rows (mm), if told.
        position: Centre of the first pixel (mm, LPS), shape (3,), if told.
        axes: Unit vectors towards the next column and the next row, shape (2, 3), if told.
        thickness: Of the slice, or distance of slices where that is told (mm).
        time: From the trigger (ms), if told.
        phase: Temporal position, if told.
        slope: Value per step of the stored number.
        intercept: Value of the stored number 0.
        variant: What else may tell frames at the same place apart: echo, kind of image.
        localizer: Whether the frame serves to plan others.
    """

    file: Path
    index: int
    instance: int
    size: tuple[int, int]
    pixel: tuple[float, float] | None
    position: NDArray[np.float64] | None
    axes: NDArray[np.float64] | None
    thickness: float | None
    time: float | None
    phase: int | None
    slope: float
    intercept: float
    variant: str
    localizer: bool

    @property
    def placed(self) -> bool:
        """Whether the file tells where the frame lies."""
        return self.pixel is not None and self.position is not None and self.axes is not None


@dataclass(frozen=True, eq=False)
class Series:
    """Frames that belong together.

    Attributes:
        number: Series number, if told.
        description: What the scanner's operator called it.
        modality: ``CT``, ``MR`` or another code.
        unit: Of the rescaled values, if told or known: ``HU`` of most CT.
        kind: ``image``, ``localizer``, ``segmentation``, ``colour picture`` or ``unplaced``.
        frames: All of its frames, in the order of instance numbers.
        cycle: Nominal length of a heart beat (ms), if told.
        phases: Number of phases per beat, if told.
        resolution: Time between temporal positions (ms), if told.
    """

    number: int | None
    description: str
    modality: str
    unit: str
    kind: str
    frames: tuple[Frame, ...]
    cycle: float | None
    phases: int | None
    resolution: float | None

    @property
    def name(self) -> str:
        """How messages call it."""
        number = "" if self.number is None else f" {self.number}"
        return f"series{number}" + (f" `{self.description}`" if self.description else "")


def scan(path: Path) -> tuple[Series, ...]:
    """Series in a folder and the folders below it, or in one file.

    Only headers are read. What is no DICOM, and DICOM without frames (reports, plans), is passed
    over.

    Raises:
        InputError: nothing there, or no series with frames.
    """
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    groups: dict[tuple[str, ...], list[tuple[Path, Dataset]]] = {}
    with quiet():
        damaged = 0
        for file in files:
            try:
                header = _header(file)
                shown = header is not None and header.get("Rows") and header.get("Columns")
                if header is None or not shown:
                    continue
                _check_header(file, header)
            except Exception:  # whatever a damaged file makes the library stumble over
                damaged += 1
                continue
            groups.setdefault(_belongs_to(header), []).append((file, header))
        found = []
        for members in groups.values():
            try:
                found.append(_series(members))
            except Exception:  # values of kinds that the element can't have
                damaged += len(members)
    if damaged:
        logger.warning("%d DICOM file(s) are damaged or incomplete and left out.", damaged)
    if not found:
        raise InputError(
            str(path),
            f"no DICOM images among {len(files)} file(s)." if files else "no such file or folder.",
            "Give the folder that the scanner or the archive exported, or a NIfTI, NRRD or MHA "
            "file.",
        )
    return tuple(sorted(found, key=lambda s: (s.number is None, s.number or 0, s.description)))


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of the DICOM library: they cite values, which may be names and dates."""
    library = logging.getLogger("pydicom")
    level = library.level
    library.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        library.setLevel(level)


def refuse_bomb(file: Path) -> None:
    """Refuse a deflated DICOM file that unpacks to more than `LARGEST_UNPACKED`.

    The library unpacks such a file whole when it is opened.

    Raises:
        ValueError: it does, or is damaged.
    """
    with file.open("rb") as stream:
        start = stream.read(1024)
        if DEFLATED not in start or start[128:132] != b"DICM":
            return
        # (0002,0000) UL: the bytes of the group that tells the syntax, after which all is packed
        stream.seek(144 + int.from_bytes(start[140:144], "little"))
        unpacker, count = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while not unpacker.eof:
            packed = unpacker.unconsumed_tail or stream.read(1 << 16)
            if not packed:
                return
            count += len(unpacker.decompress(packed, 1 << 22))
            if count > LARGEST_UNPACKED:
                raise ValueError(f"unpacks to more than {LARGEST_UNPACKED} bytes")


def _header(file: Path) -> Dataset | None:
    """Chosen elements of a DICOM file; None of another file, an error of a damaged one."""
    with file.open("rb") as stream:
        marked = stream.read(132)[128:] == b"DICM"
    refuse_bomb(file)
    if file.name == "DICOMDIR" or not (marked or file.suffix.lower() in BARE_SUFFIXES):
        return None
    try:
        header = pydicom.dcmread(
            file, stop_before_pixels=True, specific_tags=list(ELEMENTS), force=not marked
        )
    except Exception:  # a text file read by force can fail in any way
        if marked:
            raise
        return None
    if marked and "SOPClassUID" not in header:
        raise ValueError("no object of any kind")
    return header if "SOPClassUID" in header and "Modality" in header else None


def _check_header(file: Path, header: Dataset) -> None:
    """Refuse a header of which one slice would spoil its series.

    Raises:
        ValueError: the size is none, or there are more frames than bytes.
    """
    if not all((_whole(header.get(key)) or 0) > 0 for key in ("Rows", "Columns")):
        raise ValueError("no size")
    if (_whole(header.get("NumberOfFrames")) or 1) > file.stat().st_size:
        raise ValueError("more frames than bytes")
    _frames(file, header)


def _belongs_to(header: Dataset) -> tuple[str, ...]:
    """Frames with equal keys form a series; some exports lack the series' UID."""
    keys = ("StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "Modality")
    return tuple(str(header.get(key, "")) for key in keys)


def _series(members: list[tuple[Path, Dataset]]) -> Series:
    header = members[0][1]
    frames = [frame for file, h in members for frame in _frames(file, h)]
    frames.sort(key=lambda frame: (frame.instance, frame.index))
    cycles = [c for _, h in members if (c := _cycle(h))]
    return Series(
        number=_whole(header.get("SeriesNumber")),
        description=str(header.get("SeriesDescription") or "").strip(),
        modality=str(header.get("Modality") or "?"),
        unit=_unit(header),
        kind=_kind(header, frames),
        frames=tuple(frames),
        cycle=float(np.median(cycles)) if cycles else None,
        phases=_whole(header.get("CardiacNumberOfImages")),
        resolution=_number(header.get("TemporalResolution")),
    )


def _unit(header: Dataset) -> str:
    """``HU`` of a CT with an intercept, unless the header says that it is something else."""
    told = str(header.get("RescaleType") or "")
    rescaled = "RescaleIntercept" in header or "SharedFunctionalGroupsSequence" in header
    hounsfield = told in ("", "HU", "US") and header.get("Modality") == "CT" and rescaled
    return "HU" if hounsfield else told


def _kind(header: Dataset, frames: Iterable[Frame]) -> str:
    if header.get("Modality") == "SEG":
        return "segmentation"
    palette = header.get("PhotometricInterpretation") == "PALETTE COLOR"
    if palette or (header.get("SamplesPerPixel") or 1) != 1:
        return "colour picture"
    if not all(frame.placed for frame in frames):
        return "unplaced"
    return "localizer" if all(frame.localizer for frame in frames) else "image"


def _frames(file: Path, header: Dataset) -> list[Frame]:
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    if not own:
        count = _whole(header.get("NumberOfFrames")) or 1
        frames = [_frame(file, k, header, (header,)) for k in range(count)]
        # one position for many frames tells where none but the first lies
        return frames if count == 1 else [replace(frame, position=None) for frame in frames]
    shared = header.get("SharedFunctionalGroupsSequence") or []
    common = [group for item in shared for group in _groups(item)]
    return [
        _frame(file, k, header, [*_groups(item), *common, header]) for k, item in enumerate(own)
    ]


def _groups(item: Dataset) -> list[Dataset]:
    """First item of each functional group."""
    return [element.value[0] for element in item if element.VR == "SQ" and element.value]


def _frame(file: Path, index: int, header: Dataset, groups: Iterable[Dataset]) -> Frame:
    """Frame from the groups that describe it, the most particular first."""

    def told(*keywords: str) -> Any:
        for group in groups:
            for keyword in keywords:
                if group.get(keyword) not in (None, ""):
                    return group[keyword].value
        return None

    spacing = _numbers(told("PixelSpacing"), 2)
    position = _numbers(told("ImagePositionPatient"), 3)
    axes = _numbers(told("ImageOrientationPatient"), 6)
    slope, intercept = _number(told("RescaleSlope")), _number(told("RescaleIntercept"))
    kinds = [str(part) for part in _parts(told("FrameType", "ImageType"))]
    echo = _number(told("EffectiveEchoTime", "EchoTime"))
    return Frame(
        file=file,
        index=index,
        instance=_whole(header.get("InstanceNumber")) or 0,
        size=(int(header.Columns), int(header.Rows)),
        pixel=None if spacing is None else (spacing[1], spacing[0]),
        position=None if position is None else np.array(position),
        axes=None if axes is None else np.array(axes).reshape(2, 3),
        thickness=_number(told("SpacingBetweenSlices")) or _number(told("SliceThickness")),
        time=_number(told("NominalCardiacTriggerDelayTime", "TriggerTime")),
        phase=_whole(told("TemporalPositionIndex", "TemporalPositionIdentifier")),
        slope=1.0 if slope is None else slope,
        intercept=intercept or 0.0,
        variant=" ".join([*kinds[2:], "" if echo is None else f"echo {echo:g} ms"]).strip(),
        localizer="LOCALIZER" in kinds,
    )


def _cycle(header: Dataset) -> float | None:
    cycle = _number(header.get("NominalInterval"))
    for item in header.get("SharedFunctionalGroupsSequence") or []:
        for group in _groups(item):
            cycle = _number(group.get("RRIntervalTimeNominal")) or cycle
    return cycle if cycle and cycle > 0 else None


def _parts(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    numbers = [_number(part) for part in _parts(value)]
    if len(numbers) != count or None in numbers:
        return None
    return tuple(number for number in numbers if number is not None)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
