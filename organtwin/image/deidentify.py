"""De-identify folders of images: DICOM by the basic confidentiality profile, and plain formats.

Only images of standard DICOM classes are cleaned, one file after the other; whatever else lies in
the folder (reports, documents, presentation states, unknown files) is left out. Names of files and
folders are new. The report counts what was done with which tag and never holds a value.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import secrets
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from organtwin.errors import InputError, OrgantwinError
from organtwin.image.deidentify_headers import Cleaner, NotCleanedError, cleaner
from organtwin.image.deidentify_rules import (
    EDITION,
    Action,
    Cleaning,
    Options,
    Secret,
    Words,
    clean,
    table,
)

#: Shorter keys could be found by trying.
SHORTEST_KEY = 16
REPORT = "deidentification"
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
#: Parts of the names of the SOP classes whose objects hold voxels, and of others they occur in.
_IMAGES = ("Image", "Segmentation", "Parametric Map", "US Volume", "RT Dose Storage")
_NO_IMAGES = ("Encapsulated", "Presentation State", "Surface", "Inventory")
#: Label Map Segmentation, which pydicom's dictionary doesn't know yet.
_LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
#: Kinds of images that often show text.
_WRITTEN_ON = ("Secondary Capture", "Ultrasound", "US Volume", "Video", "VL ", "Photograph")
_DICOM_SUFFIXES = ("", ".dcm", ".dicom", ".ima")


@dataclass
class Report:
    """What was done; tags and counts, no values.

    Attributes:
        written: Files written, by folder relative to the target.
        refused: Files left out because they can't be cleaned, by reason.
        damaged: Number of files that say they are images but can't be read or were cut off.
        left_out: Other files, by kind.
        warnings: What somebody has to look at.
        tally: Number of elements by (tag, action).
    """

    options: Options
    written: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    damaged: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    tally: Counter[tuple[str, Action]] = field(default_factory=Counter)

    def as_json(self) -> str:
        """The report as JSON."""
        return json.dumps(
            {
                "profile": f"DICOM PS3.15 {EDITION}, Annex E",
                "options": self.options.codes,
                "files": {
                    "written": dict(self.written),
                    "refused": dict(self.refused),
                    "damaged": self.damaged,
                    "left_out": dict(self.left_out),
                },
                "warnings": dict(self.warnings),
                "elements": {tag: dict(actions) for tag, actions in self._by_tag().items()},
            },
            indent=2,
        )

    def as_text(self) -> str:
        """The report as lines of text."""
        lines = [f"De-identified by DICOM PS3.15 {EDITION}, Annex E:"]
        lines += [f"  {code} {meaning}" for code, meaning in self.options.codes.items()]
        lines += ["", f"{self.written.total()} files written"]
        lines += [f"  {folder}: {count}" for folder, count in sorted(self.written.items())]
        for title, counts in (
            ("refused", self.refused),
            ("other files, left out", self.left_out),
            ("to look at", self.warnings),
        ):
            lines += ["", f"{title}: {'none' if not counts else ''}".rstrip()]
            lines += [f"  {count} x {reason}" for reason, count in sorted(counts.items())]
        lines += ["", f"damaged, left out: {self.damaged}", "", "elements by tag"]
        for tag, actions in self._by_tag().items():
            done = ", ".join(f"{count} {action}" for action, count in actions.items())
            lines.append(f"  {tag}: {done}")
        return "\n".join(lines) + "\n"

    def _by_tag(self) -> dict[str, dict[str, int]]:
        grouped: dict[str, dict[str, int]] = {}
        for (tag, action), count in sorted(self.tally.items()):
            grouped.setdefault(tag, {})[str(action)] = count
        return grouped


def deidentify(
    source: str | Path,
    target: str | Path,
    options: Options | None = None,
    key: bytes | None = None,
) -> Report:
    """Write a de-identified copy of all images in a folder.

    Args:
        source: Folder (with its subfolders) or single file.
        target: New or empty folder, outside of ``source``.
        options: Options of the profile.
        key: Secret of at least 16 bytes. With the same key another run gives the same UIDs,
            pseudonyms and shifts. None draws one and forgets it.

    Raises:
        InputError: a folder is wrong, the key is short, there are no images; nothing was written.
        OrgantwinError: not one of the files could be cleaned.
    """
    source, target = Path(source), Path(target)
    _check_folders(source, target)
    if key is not None and len(key) < SHORTEST_KEY:
        raise InputError(
            "--key",
            f"the key has {len(key)} bytes; it needs at least {SHORTEST_KEY}.",
            "Make one, for example with `openssl rand -hex 32`.",
        )
    secret = Secret(key or secrets.token_bytes(32))
    report = Report(options or Options())
    table()  # a missing library shows before anything is written
    with _quiet():
        found, plain = _find(source, report)
        if not found and not plain:
            raise _nothing(source, report)
        target.mkdir(parents=True, exist_ok=True)
        for study in _studies(found):
            _write_study(study, target, secret, report)
        words = _union([item.words for item in found])
        for number, (file, suffix, clean_bytes) in enumerate(plain, 1):
            copy = target / "images" / f"image-{number:03d}{suffix}"
            _write_plain(file, copy, clean_bytes, words, report)
    if not report.written:
        with contextlib.suppress(OSError):
            target.rmdir()
        raise _nothing(source, report)
    (target / f"{REPORT}.json").write_text(report.as_json() + "\n", encoding="utf-8")
    (target / f"{REPORT}.txt").write_text(report.as_text(), encoding="utf-8")
    return report


# --- what there is --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """An image in the source folder; nothing of it is to be printed."""

    path: Path
    patient: str
    study: str
    series: str
    order: tuple[str, int, int, str]
    words: Words


_Plain = tuple[Path, str, Cleaner]


def _check_folders(source: Path, target: Path) -> None:
    if not source.exists():
        raise InputError(str(source), "no such folder or file.", "Check the path.")
    inner, outer = target.resolve(), source.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise InputError(
            str(target),
            "the target lies inside the source, or the other way round.",
            "Give a folder beside it, so that originals and copies can't be mixed up.",
        )
    if target.exists() and not target.is_dir():
        raise InputError(str(target), "is a file.", "Give a new folder.")
    if target.is_dir() and any(target.iterdir()):
        raise InputError(str(target), "is not empty.", "Give a new or an empty folder.")


def _nothing(source: Path, report: Report) -> OrgantwinError:
    reasons = "; ".join(f"{count} x {reason}" for reason, count in sorted(report.refused.items()))
    if report.refused or report.damaged:
        damaged = f"{report.damaged} damaged" if report.damaged else ""
        told = "; ".join(part for part in (reasons, damaged) if part)
        return OrgantwinError(
            str(source), f"no file can be cleaned ({told}).", "Only images are de-identified."
        )
    return InputError(
        str(source),
        "holds no DICOM, NIfTI, NRRD or MetaImage (.mha) files.",
        "Check the path.",
    )


def _find(source: Path, report: Report) -> tuple[list[_Found], list[_Plain]]:
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    found: list[_Found] = []
    plain: list[_Plain] = []
    for file in files:
        kind = cleaner(file.name)
        if kind:
            plain.append((file, *kind))
            continue
        dataset = _header(file, report)
        if dataset is None:
            continue
        try:
            reason = _refusal(dataset)
            described = _described(file, dataset)
        except Exception:  # as in _read
            report.damaged += 1
            continue
        if reason:
            report.refused[reason] += 1
        else:
            found.append(described)
    return found, plain


def _header(file: Path, report: Report) -> Dataset | None:
    """Data set without pixels, or None (counted) if the file is no DICOM image."""
    with file.open("rb") as stream:
        magic = stream.read(132)[128:] == b"DICM"
    if not magic and file.suffix.lower() not in _DICOM_SUFFIXES:
        report.left_out[_kind(file)] += 1
        return None
    dataset = _read(file, stop_before_pixels=True)
    if dataset is not None and "DirectoryRecordSequence" in dataset:
        report.left_out["DICOMDIR"] += 1
        return None
    if dataset is None or "SOPClassUID" not in dataset:
        if magic:
            report.damaged += 1
        else:
            report.left_out[_kind(file)] += 1
        return None
    return dataset


def _kind(file: Path) -> str:
    """Suffix of a file that isn't read, if it is an ordinary one; names can hold anything."""
    known = {".json", ".txt", ".csv", ".xml", ".pdf", ".png", ".jpg", ".zip", ".md", ".img"}
    known |= {".hdr", ".nhdr", ".mhd", ".raw", ".stl", ".vtk", ".vtp", ".mrb", ".mrml", ".html"}
    return f"{file.suffix.lower()} file" if file.suffix.lower() in known else "other file"


def _read(file: Path, stop_before_pixels: bool = False) -> Dataset | None:
    try:
        return pydicom.dcmread(file, force=True, stop_before_pixels=stop_before_pixels)
    except Exception:  # pydicom raises whatever the broken bytes lead to
        return None


def _refusal(dataset: Dataset) -> str | None:
    """Why a data set can't be cleaned: only images of classes of the standard can."""
    kind = str(dataset.SOPClassUID)
    name = UID(kind).name
    if kind == _LABEL_MAP:
        return None
    if name == kind:  # unknown to the standard
        return "private or unknown kind of object"
    if not any(word in name for word in _IMAGES) or any(word in name for word in _NO_IMAGES):
        return f"{name}: not an image, may hold free text"
    return None


def _described(file: Path, dataset: Dataset) -> _Found:
    text = {
        name: str(dataset.get(name) or "").strip()
        for name in (
            "PatientID", "IssuerOfPatientID", "PatientName", "StudyInstanceUID", "StudyDate",
            "SeriesInstanceUID",
        )
    }  # fmt: skip
    person = "|".join((text["PatientID"], text["IssuerOfPatientID"])).upper()
    if not text["PatientID"]:
        person = text["PatientName"].upper() or text["StudyInstanceUID"]
    order = (text["StudyDate"], _whole(dataset, "SeriesNumber"), _whole(dataset, "InstanceNumber"))
    return _Found(
        file,
        person,
        text["StudyInstanceUID"],
        text["SeriesInstanceUID"],
        (*order, str(file)),
        Words.of([dataset]),
    )


def _whole(dataset: Dataset, keyword: str) -> int:
    try:
        return int(dataset.get(keyword) or 0)
    except (TypeError, ValueError):
        return 0


def _studies(found: Sequence[_Found]) -> Iterator[tuple[int, list[_Found]]]:
    """Studies with their numbers within the patient, first to last."""
    studies: dict[tuple[str, str], list[_Found]] = {}
    for item in sorted(found, key=lambda item: (item.patient, item.order)):
        studies.setdefault((item.patient, item.study), []).append(item)
    count: Counter[str] = Counter()
    for (patient, _), items in studies.items():
        count[patient] += 1
        yield count[patient], items


def _union(words: Sequence[Words]) -> Words:
    return Words(frozenset().union(*(some.texts for some in words)))


# --- DICOM ----------------------------------------------------------------------------------------


def _write_study(
    study: tuple[int, list[_Found]], target: Path, secret: Secret, report: Report
) -> None:
    number, items = study
    patient = items[0].patient
    cleaning = Cleaning(report.options, secret, patient, _union([item.words for item in items]))
    names: dict[str, str] = {}
    for item in items:
        wanted = f"series-{item.order[1]:03d}"
        taken = sum(name.split("_")[0] == wanted for name in names.values())
        name = names.setdefault(item.series, f"{wanted}_{taken + 1}" if taken else wanted)
        folder = f"{secret.pseudonym(patient)}/study-{number}/{name}"
        file = target / folder / f"{report.written[folder] + 1:05d}.dcm"
        _write_dicom(item, file, folder, _own_tally(cleaning), report)


def _own_tally(cleaning: Cleaning) -> Cleaning:
    """The same cleaning with its own counts, to be added once a file is written."""
    return replace(cleaning, tally=Counter())


def _write_dicom(item: _Found, file: Path, folder: str, cleaning: Cleaning, report: Report) -> None:
    dataset = _read(item.path)
    try:
        if dataset is None or not _complete(dataset):
            report.damaged += 1
            return
        syntax = _syntax(dataset)
        _clear_embedded_overlays(dataset, UID(syntax))
        if any(cleaning.words.inside_bytes(bytes(dataset[w].value)) for w in _PIXELS
               if w in dataset and isinstance(dataset[w].value, bytes)):  # fmt: skip
            raise NotCleanedError("image whose pixel data holds a name or an identifier as text")
        concerns = _concerns(dataset)
        clean(dataset, cleaning)
        _sign(dataset, cleaning)
        data = _encoded(dataset, syntax)
    except NotCleanedError as reason:
        report.refused[str(reason)] += 1
        return
    except Exception:  # pydicom raises whatever the broken bytes lead to
        report.damaged += 1
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    report.written[folder] += 1
    report.tally.update(cleaning.tally)
    report.warnings.update(f"{folder}: {concern}" for concern in concerns)


def _complete(dataset: Dataset) -> bool:
    """Whether there are as many pixels as the header says (compressed ones aren't counted)."""
    if not any(word in dataset for word in _PIXELS):
        raise NotCleanedError("image without pixels")
    if "PixelData" not in dataset or UID(_syntax(dataset)).is_compressed:
        return True
    return len(dataset.PixelData) >= get_expected_length(dataset)


def _syntax(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and meta.get("TransferSyntaxUID"):
        return str(meta.TransferSyntaxUID)
    implicit = dataset.original_encoding[0]
    return str(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)


def _sign(dataset: Dataset, cleaning: Cleaning) -> None:
    """Put in the pseudonym and say how the data set was de-identified (PS3.3, C.7.1.1 and C.12)."""
    pseudonym = cleaning.secret.pseudonym(cleaning.patient)
    dataset.PatientName = pseudonym
    dataset.PatientID = pseudonym
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = [f"DICOM PS3.15 {EDITION} Annex E", "organtwin"]
    items = []
    for code, meaning in cleaning.options.codes.items():
        item = Dataset()
        item.CodeValue = code
        item.CodingSchemeDesignator = "DCM"
        item.CodeMeaning = meaning
        items.append(item)
    dataset.DeidentificationMethodCodeSequence = items
    shifted = cleaning.options.dates == "shift"
    dataset.LongitudinalTemporalInformationModified = "MODIFIED" if shifted else "REMOVED"


def _encoded(dataset: Dataset, syntax: str) -> bytes:
    """The file: an empty preamble, new meta information, the data set."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta = meta
    dataset.preamble = bytes(128)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def _clear_embedded_overlays(dataset: Dataset, syntax: UID) -> None:
    """Clear overlays that lie in unused bits of the pixels (retired; PS3.3-2004, C.9.2)."""
    bits = 0
    for group in range(0x6000, 0x6020, 2):
        place = dataset.get((group, 0x0102))
        if place is not None and place.value and (group, 0x3000) not in dataset:
            bits |= 1 << int(place.value)
    if not bits:
        return
    high, stored = int(dataset.HighBit), int(dataset.BitsStored)
    values = sum(1 << bit for bit in range(high - stored + 1, high + 1))
    if syntax.is_compressed or dataset.BitsAllocated != 16 or bits & values:
        raise NotCleanedError("image with an overlay within its pixel values")
    order = "<" if syntax.is_little_endian else ">"
    pixels = np.frombuffer(dataset.PixelData, f"{order}u2") & np.uint16(0xFFFF ^ bits)
    dataset["PixelData"].value = pixels.astype(f"{order}u2").tobytes()


def _concerns(dataset: Dataset) -> list[str]:
    """What the pixels themselves may show."""
    kind = UID(str(dataset.SOPClassUID)).name
    terms = str(dataset.get("ImageType") or "").upper()
    burned_in = str(dataset.get("BurnedInAnnotation") or "").upper()
    modality = str(dataset.get("Modality") or "").upper()
    region = str(dataset.get("BodyPartExamined") or "").upper()
    found = []
    if burned_in == "YES":
        found.append("text is burned into the pixels (BurnedInAnnotation YES)")
    elif "SCREEN" in terms:
        found.append("a picture of a screen, which often shows names")
    elif burned_in != "NO" and any(part in kind for part in _WRITTEN_ON):
        found.append(f"{kind} often shows names, and the file doesn't say that it has none")
    if str(dataset.get("RecognizableVisualFeatures") or "").upper() == "YES" or (
        modality in ("CT", "MR", "PT") and any(part in region for part in _HEAD)
    ):
        found.append("the face may be recognised in a surface rendering")
    return found


_HEAD = ("HEAD", "FACE", "BRAIN", "SKULL", "ORBIT", "SINUS")


# --- other formats --------------------------------------------------------------------------------


def _write_plain(
    file: Path, copy: Path, clean_bytes: Cleaner, words: Words, report: Report
) -> None:
    tally: Counter[tuple[str, Action]] = Counter()
    try:
        data = clean_bytes(file.read_bytes(), words, tally)
    except NotCleanedError as reason:
        report.refused[str(reason)] += 1
        return
    except (ValueError, IndexError, OSError):
        report.damaged += 1
        return
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(data)
    report.written[copy.parent.name] += 1
    report.tally.update(tally)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What pydicom warns of quotes values: keep it back."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    validation: Any = disable_value_validation()
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), validation:
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
