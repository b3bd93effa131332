"""What happens to each element of a DICOM data set: the basic confidentiality profile.

Source: DICOM PS3.15, Annex E (Attribute Confidentiality Profiles), Table E.1-1, edition 2026c, in
the form in which the library ``dicom-anonymizer`` ships it. Its rows say what to do with about 650
attributes at any depth. Elements that the table doesn't know are judged by their value
representation: names, addresses and free text go, numbers and coded terms stay.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache

from pydicom.datadict import dictionary_has_tag, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from organtwin.errors import InputError, SetupError

EDITION = "2026c"
#: Ages above this one are so rare that they point at a person.
OLDEST = 89
#: The shift of dates, days: at least one year, at most ten.
SHIFT = (365, 3650)


class Action(StrEnum):
    """What was done with an element; the words of the report."""

    REMOVED = "removed"
    EMPTIED = "emptied"
    REPLACED = "replaced"
    NEW_UID = "new UID"
    SHIFTED = "shifted"
    KEPT = "kept"


@dataclass(frozen=True)
class PrivateTag:
    """A private element by the name of its block; ``element`` is the last byte of its tag."""

    creator: str
    group: int
    element: int

    @classmethod
    def parse(cls, text: str) -> PrivateTag:
        """Read ``CREATOR:GGGG,EE``, for example ``SIEMENS MR HEADER:0019,0C``."""
        found = re.fullmatch(r"(.+):([0-9A-Fa-f]{4}),(?:xx)?([0-9A-Fa-f]{2})", text.strip())
        if not found or int(found[2], 16) % 2 == 0:
            raise InputError(
                "--keep-private",
                f"`{text}` is no private element.",
                "Write creator, group (odd) and element, e.g. `SIEMENS MR HEADER:0019,0C`.",
            )
        return cls(found[1].strip(), int(found[2], 16), int(found[3], 16))


@dataclass(frozen=True)
class Options:
    """Options of the profile.

    Attributes:
        dates: ``shift`` moves all dates of a patient by one number of days; ``remove`` removes
            them.
        patient: Keep sex, age (at most 89 years), size and weight.
        descriptions: Keep descriptions of study, series and protocol and local procedure codes.
        private: Private elements to keep.
    """

    dates: str = "shift"
    patient: bool = False
    descriptions: bool = False
    private: frozenset[PrivateTag] = frozenset()

    def __post_init__(self) -> None:
        if self.dates not in ("shift", "remove"):
            raise InputError("--dates", f"`{self.dates}` is unknown.", "Known: shift, remove.")

    @property
    def codes(self) -> dict[str, str]:
        """Codes of the profile and its options (PS3.16, CID 7050) with their meanings."""
        found = {"113100": "Basic Application Confidentiality Profile"}
        if self.descriptions:
            found["113105"] = "Clean Descriptors Option"
        if self.dates == "shift":
            found["113107"] = "Retain Longitudinal Temporal Information Modified Dates Option"
        if self.patient:
            found["113108"] = "Retain Patient Characteristics Option"
        if self.private:
            found["113111"] = "Retain Safe Private Option"
        return found


@dataclass(frozen=True)
class Secret:
    """Key from which UIDs, pseudonyms and shifts follow; who has it can link old and new."""

    key: bytes = field(repr=False)

    def uid(self, old: str) -> str:
        """UID that replaces ``old``: the UUID form below 2.25 (PS3.5, B.2)."""
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', old)[:16], version=4).int}"

    def pseudonym(self, patient: str) -> str:
        """Name and identifier that replace those of the patient."""
        return f"OT-{self._digest('patient', patient)[:5].hex().upper()}"

    def shift(self, patient: str) -> timedelta:
        """Whole days by which all dates of the patient move into the past."""
        low, high = SHIFT
        number = int.from_bytes(self._digest("dates", patient)[:8], "big")
        return timedelta(days=-(low + number % (high - low + 1)))

    def _digest(self, purpose: str, value: str) -> bytes:
        return hmac.new(self.key, f"{purpose}:{value}".encode(), hashlib.sha256).digest()


@dataclass
class Cleaning:
    """Cleaning of one patient's data sets; ``tally`` counts (tag, action), never values."""

    options: Options
    secret: Secret
    patient: str
    words: Words
    tally: Counter[tuple[str, Action]] = field(default_factory=Counter)


# --- the identifying words of a data set ----------------------------------------------------------

#: Short texts that, found anywhere else, give the person or the place away.
_IDENTIFIERS = frozenset({
    "AccessionNumber", "AdmissionID", "DeviceSerialNumber",
    "FillerOrderNumberImagingServiceRequest", "FrameOfReferenceUID", "InstitutionAddress",
    "InstitutionName", "InstitutionalDepartmentName", "IssuerOfPatientID", "MedicalRecordLocator",
    "OtherPatientIDs", "PatientAddress", "PatientID", "PatientTelephoneNumbers",
    "PerformedProcedureStepID", "PerformedStationName", "PlacerOrderNumberImagingServiceRequest",
    "RequestedProcedureID", "ScheduledProcedureStepID", "SeriesInstanceUID", "StationName",
    "StudyID", "StudyInstanceUID",
})  # fmt: skip
_DUMMY = "REMOVED"
_SHORTEST_ID = 4
_SHORTEST_NAME = 3
#: From this length on a word counts inside a longer one ("SMITHKNEE") too.
_SHORTEST_PART = 5
#: Shorter byte strings would be found in pixels by chance.
_SHORTEST_BYTES = 6
_TEXT = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT", "UR"})
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})


@dataclass(frozen=True)
class Words:
    """Names, identifiers and dates of data sets, to be found again where they don't belong."""

    texts: frozenset[str] = field(repr=False)

    @classmethod
    def of(cls, datasets: Iterable[Dataset]) -> Words:
        """Collect them from data sets that haven't been cleaned."""
        return cls(frozenset(word for dataset in datasets for word in _identifying(dataset)))

    def __or__(self, other: Words) -> Words:
        return Words(self.texts | other.texts)

    def inside(self, text: str) -> bool:
        """Whether ``text`` holds one of the words, in any case."""
        folded = text.casefold()
        return any(
            word in folded
            and (
                len(word) >= _SHORTEST_PART
                or re.search(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", folded) is not None
            )
            for word in self.texts
        )

    def inside_bytes(self, data: bytes) -> bool:
        """Whether ``data`` holds one of the longer words; as written, or in capitals."""
        return any(form in data for form in self._forms)

    @property
    def _forms(self) -> frozenset[bytes]:
        return frozenset(
            form.encode()
            for word in self.texts
            if len(word) >= _SHORTEST_BYTES and len(set(word)) > 2
            for form in (word, word.upper(), word.title())
        )


def _identifying(dataset: Dataset) -> Iterator[str]:
    for element in _elements(dataset):
        if element.VR == "SQ":
            for item in element.value:
                yield from _identifying(item)
        elif element.VR == "PN":
            for text in _values(element):
                yield from (w for w in re.split(r"[\^=\s,.;]+", text.casefold()) if _is_name(w))
        elif element.VR == "DA":
            yield from (text for text in _values(element) if re.fullmatch(r"\d{8}", text))
        elif element.keyword in _IDENTIFIERS:
            texts = (text.strip().casefold() for text in _values(element))
            yield from (t for t in texts if len(t) >= _SHORTEST_ID and t != _DUMMY.casefold())


def _is_name(word: str) -> bool:
    long = len(word) >= _SHORTEST_NAME or (len(word) > 1 and not word.isascii())
    return long and word != _DUMMY.casefold()


# --- the table ------------------------------------------------------------------------------------

_D, _Z, _X, _U = Action.REPLACED, Action.EMPTIED, Action.REMOVED, Action.NEW_UID
#: Where the table leaves a choice (X if optional, Z if it must be there, D if it must have a
#: value), the choice that is valid whatever the kind of image.
_CATEGORIES = {
    "D_TAGS": _D, "Z_TAGS": _Z, "X_TAGS": _X, "U_TAGS": _U, "Z_D_TAGS": _D, "X_Z_TAGS": _Z,
    "X_D_TAGS": _D, "X_Z_D_TAGS": _D, "X_Z_U_STAR_TAGS": Action.KEPT,
}  # fmt: skip


def _tags(*keywords: str) -> frozenset[BaseTag]:
    return frozenset(Tag(tag) for word in keywords if (tag := tag_for_keyword(word)) is not None)


#: Rows of our own: elements that the table leaves alone although sites write words, dates or serial
#: numbers into them. Those that an image must have get a dummy or are emptied.
_OWN_ROWS = {
    **dict.fromkeys(_tags(
        "AcquisitionProtocolName", "AssessmentLabel", "AssessmentSetID", "BreedRegistrationNumber",
        "DeviceID", "DoseComment", "FrameOfInterestDescription", "GridID", "ImageID",
        "InstructionText", "NTPSourceAddress", "PatientAlternativeCalendar",
        "PatientBirthDateInAlternativeCalendar", "PatientDeathDateInAlternativeCalendar",
        "PerformedProcedureTypeDescription", "ReconstructionDescription", "ResourceDescription",
        "RTImageName", "StorageMediaFileSetID", "StrainStockNumber",
        "SubstanceAdministrationDeviceID", "SubstanceAdministrationNotes", "TimeSource",
    ), _X),
    **dict.fromkeys(_tags("ContentDescription"), _Z),
    **dict.fromkeys(_tags("ContentLabel", "PatientName", "PatientID", "RTImageLabel"), _D),
}  # fmt: skip


@cache
def table() -> Mapping[BaseTag, Action]:
    """Rows of Table E.1-1 that name one attribute, and our own.

    Curves and overlays, which are groups of attributes, are removed in :func:`clean`.
    """
    try:
        source = importlib.import_module(
            f"dicomanonymizer.dicom_anonymization_databases.dicomfields_{EDITION}"
        )
    except ModuleNotFoundError:
        raise SetupError(
            "deidentify",
            f"the table of DICOM PS3.15, edition {EDITION}, is missing.",
            "pip install 'dicom-anonymizer>=2.1'",
        ) from None
    return {
        Tag(*row): action
        for category, action in _CATEGORIES.items()
        for row in getattr(source, category)
        if len(row) == 2
    } | _OWN_ROWS


#: Temporal elements that the option "retain longitudinal temporal information" doesn't cover.
_BIRTH = _tags("PatientBirthDate", "PatientBirthTime", "GPSTimeStamp", "GPSDateStamp")
_PATIENT = _tags("PatientAge", "PatientSex", "PatientSize", "PatientWeight")
_DESCRIPTIONS = _tags(
    "AcquisitionDeviceProcessingDescription", "AcquisitionProtocolDescription",
    "AcquisitionProtocolName", "ContentDescription", "ContentLabel", "ContrastBolusAgent",
    "DerivationDescription", "FrameOfInterestDescription", "PerformedProcedureStepDescription",
    "ProtocolName", "ReconstructionDescription", "RequestedProcedureDescription",
    "SeriesDescription", "StudyDescription",
)  # fmt: skip
#: Sequences that the table doesn't know, in which sites put codes and words of their own.
_LOCAL_CODES = _tags(
    "PerformedProtocolCodeSequence", "ProcedureCodeSequence", "RequestedProcedureCodeSequence",
    "ScheduledProtocolCodeSequence",
)  # fmt: skip
#: Free text that an image must have if it has it at all.
_NEEDED_TEXT = _tags("LongCodeValue", "TrackingID", "URNCodeValue")
#: Terms on which the meaning of the pixels depends; never free text.
_TERMS = _tags("ImageType", "Modality", "SpecificCharacterSet", "SOPClassUID")
_FREE_TEXT = frozenset({"AE", "AS", "LT", "ST", "UC", "UR", "UT"})
_IMAGE_GROUP = 0x0028
#: UIDs of DICOM itself and of the code systems that HL7 registers.
_PUBLIC_UIDS = ("1.2.840.10008.", "2.16.840.1.113883.6.")


def clean(dataset: Dataset, cleaning: Cleaning) -> None:
    """Apply the profile to a data set in place, at all depths; count what was done."""
    safe = _safe_private(dataset, cleaning.options)
    for tag in list(dataset.keys()):
        element = _element(dataset, tag)
        action = Action.REMOVED if element is None else _action(element, cleaning, safe)
        if element is not None and action in (Action.SHIFTED, Action.NEW_UID, Action.REPLACED):
            action = _replace(element, action, cleaning)
        if action is Action.REMOVED or element is None:
            del dataset[tag]
        elif action is Action.EMPTIED:
            element.value = [] if element.VR == "SQ" else None
        elif element.VR == "SQ":
            for item in element.value:
                clean(item, cleaning)
        if tag.element != 0:  # group lengths say nothing
            cleaning.tally[tag_label(tag), action] += 1


def tag_label(tag: BaseTag) -> str:
    """Tag and keyword for the report; of private elements, curves and overlays the group only."""
    if tag.is_private:
        return f"({tag.group:04X},xxxx) private"
    if tag.group & 0xFF00 in (0x5000, 0x6000):
        return "(50xx,xxxx) curve" if tag.group < 0x6000 else "(60xx,xxxx) overlay"
    return f"({tag.group:04X},{tag.element:04X}) {keyword_for_tag(tag) or 'unknown'}"


def _action(element: DataElement, cleaning: Cleaning, safe: frozenset[BaseTag]) -> Action:
    tag, options = element.tag, cleaning.options
    if tag.is_private:
        decided = Action.KEPT if tag in safe else Action.REMOVED
    elif tag.group & 0xFF00 in (0x5000, 0x6000) or not dictionary_has_tag(tag):
        return Action.REMOVED
    elif element.is_empty and table().get(tag) is not Action.REMOVED:
        return Action.KEPT
    elif (options.patient and tag in _PATIENT) or (options.descriptions and tag in _DESCRIPTIONS):
        decided = Action.KEPT
    elif tag in _LOCAL_CODES:
        decided = Action.KEPT if options.descriptions else Action.REMOVED
    else:
        decided = _of_time(element, options) or table().get(tag) or _unlisted(element)
    if decided is Action.REPLACED and element.VR == "SQ":
        return Action.REMOVED  # no image needs one of these sequences
    if decided is Action.KEPT:
        return _checked(element, cleaning, tag.is_private)
    return decided


def _of_time(element: DataElement, options: Options) -> Action | None:
    if options.dates != "shift" or element.tag in _BIRTH or element.VR not in ("DA", "DT", "TM"):
        return None
    return Action.KEPT if element.VR == "TM" else Action.SHIFTED


def _unlisted(element: DataElement) -> Action:
    """Action on an element that no row names."""
    if element.tag in _NEEDED_TEXT:
        return Action.REPLACED if element.keyword == "TrackingID" else Action.KEPT
    if element.VR in _FREE_TEXT or element.VR == "UN":
        return Action.REMOVED
    if element.VR in ("PN", "DA", "DT", "TM"):
        return Action.EMPTIED
    return Action.NEW_UID if element.VR == "UI" else Action.KEPT


def _checked(element: DataElement, cleaning: Cleaning, private: bool) -> Action:
    """What is kept must not hold a name, an identifier or a date of the patient."""
    if element.tag == Tag("PatientAge"):
        age = _age(element)
        if age is None:
            return Action.EMPTIED
        return Action.REPLACED if age > OLDEST else Action.KEPT
    if private and element.VR in ("DA", "DT", "UI"):
        return Action.NEW_UID if element.VR == "UI" else Action.SHIFTED
    if element.tag in _TERMS or (element.tag.group == _IMAGE_GROUP and element.VR == "CS"):
        return Action.KEPT
    if element.VR in _TEXT and any(cleaning.words.inside(text) for text in _values(element)):
        return Action.EMPTIED
    if element.VR in _BINARY and isinstance(element.value, bytes) and element.tag.group != 0x7FE0:
        return Action.REMOVED if cleaning.words.inside_bytes(element.value) else Action.KEPT
    return Action.KEPT


# --- new values -----------------------------------------------------------------------------------


def _replace(element: DataElement, action: Action, cleaning: Cleaning) -> Action:
    """Give the element its new value; returns what was done in the end."""
    if element.tag == Tag("PatientAge") and action is Action.REPLACED and cleaning.options.patient:
        element.value = f"{OLDEST:03d}Y"
        return action
    if element.VR == "UI":
        old = _values(element)
        if not old:
            return Action.KEPT
        new = [uid if uid.startswith(_PUBLIC_UIDS) else cleaning.secret.uid(uid) for uid in old]
        element.value = new if len(new) > 1 else new[0]
        return Action.KEPT if new == old else Action.NEW_UID
    if action is Action.SHIFTED:
        shift = cleaning.secret.shift(cleaning.patient)
        moved = [_moved(text, shift) for text in _values(element)]
        if None in moved:
            return Action.EMPTIED
        element.value = moved if len(moved) > 1 else moved[0]
        return action
    dummy = _DUMMIES.get(element.VR)
    if dummy is None:
        return Action.REMOVED
    element.value = dummy
    return action


_DUMMIES: dict[str, object] = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), _DUMMY),
    "AS": "000Y", "DA": "19000101", "TM": "000000", "DT": "19000101000000", "UR": "about:blank",
    **dict.fromkeys(("DS", "IS"), "0"),
    **dict.fromkeys(("FD", "FL", "SL", "SS", "UL", "US"), 0),
    **dict.fromkeys(("OB", "OW"), b"\0\0"),
}  # fmt: skip


def _moved(text: str, shift: timedelta) -> str | None:
    """Date, or date and time, moved; None if it isn't one. An offset from UTC is dropped."""
    compact = re.sub(r"^(\d{4})\.(\d{2})\.(\d{2})$", r"\1\2\3", text.strip())
    found = re.fullmatch(r"(\d{8})([\d.]*)(?:[+-]\d{4})?", compact)
    if not found:
        return None
    try:
        return f"{datetime.strptime(found[1], '%Y%m%d') + shift:%Y%m%d}".zfill(8) + found[2]
    except (ValueError, OverflowError):
        return None


def _age(element: DataElement) -> float | None:
    """Age, years."""
    found = re.fullmatch(r"(\d{1,3})([DWMY])", str(element.value).strip().upper())
    years = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
    return int(found[1]) * years[found[2]] if found else None


def _safe_private(dataset: Dataset, options: Options) -> frozenset[BaseTag]:
    """Private elements of this data set that are to be kept, and those that name their blocks."""
    safe: set[BaseTag] = set()
    for wanted in options.private:
        for number in range(0x10, 0x100):
            creator = _element(dataset, Tag(wanted.group, number))
            tag = Tag(wanted.group, (number << 8) + wanted.element)
            if creator and str(creator.value).strip() == wanted.creator and tag in dataset:
                safe |= {creator.tag, tag}
    return frozenset(safe)


def _elements(dataset: Dataset) -> Iterator[DataElement]:
    for tag in dataset.keys():  # noqa: SIM118 (iteration itself converts all values)
        element = _element(dataset, tag)
        if element is not None:
            yield element


def _element(dataset: Dataset, tag: BaseTag) -> DataElement | None:
    """The element, or None if it is missing or its bytes make no value."""
    if tag not in dataset:
        return None
    try:
        return dataset[tag]
    except Exception:  # pydicom raises whatever the broken bytes lead to
        return None


def _values(element: DataElement) -> list[str]:
    if element.value is None:
        return []
    many = isinstance(element.value, MultiValue | list)
    return [str(value) for value in (element.value if many else [element.value])]
