"""Labels with names, colours and codes, and how the segments of a file become one label map."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError, suggestion
from organtwin.image.volume import Grid, LabelMap, check_extent
from organtwin.units import ML

if TYPE_CHECKING:
    from pydicom.sr.coding import Code

#: Most labels that ``uint8`` holds.
MOST_LABELS = 255
#: Names whose SNOMED CT code CID 7151 lacks or has under another name.
ALSO_CALLED = {
    "lv_myocardium": "LeftVentricleMyocardium",
    "lv_blood": "LeftVentricle",
    "rv_blood": "RightVentricle",
    "heart_ventricle_left": "LeftVentricle",
    "heart_ventricle_right": "RightVentricle",
    "heart_atrium_left": "LeftAtrium",
    "heart_atrium_right": "RightAtrium",
}

type Mask = NDArray[np.bool_]
type Region = tuple[slice, ...]
#: Red, green, blue, each from 0 to 1.
type Colour = tuple[float, float, float]
#: All segments (None), some of them, or organtwin's name → name in the file.
type Choice = Sequence[str] | Mapping[str, str] | None


@dataclass(frozen=True)
class Segmentation:
    """Label map with what other programs want to know of it.

    Attributes:
        labels: The labelled voxels.
        colours: Name → colour, for the names whose colour is known.
        codes: Name → coded category and type of what is segmented, where known.
        offset: Voxel of the segmented scan at which the label map begins; 3D Slicer keeps it.
    """

    labels: LabelMap
    colours: Mapping[str, Colour] = field(default_factory=dict)
    codes: Mapping[str, tuple[Code, Code]] = field(default_factory=dict)
    offset: tuple[int, int, int] = (0, 0, 0)

    def colour(self, name: str) -> Colour:
        """Colour of a label: the known one, or one that differs from those of its neighbours."""
        golden = (5.0**0.5 - 1.0) / 2.0
        hue = golden * self.labels.names[name] % 1.0
        return self.colours.get(name) or colorsys.hsv_to_rgb(hue, 0.6, 0.9)

    def code(self, name: str) -> tuple[Code, Code]:
        """Coded category and type of a label, `Tissue` where nothing better is known."""
        return self.codes.get(name) or anatomical_code(name)


@dataclass(frozen=True)
class Segment:
    """One segment of a file.

    Attributes:
        name: Its name in the file.
        integer: Its label in the file.
        mask: Loads the voxels of ``box`` that belong to it; the masks of all segments may not fit
            into memory at once.
        colour: Its colour, if told.
        code: Its coded category and type, if told.
        box: Part of the grid that ``mask`` covers, the whole grid if empty.
    """

    name: str
    integer: int
    mask: Callable[[], Mask]
    colour: Colour | None = None
    code: tuple[Code, Code] | None = None
    box: Region = ()


def _spelling(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.casefold())


def _found(place: str, wanted: str, known: Sequence[str]) -> str:
    """The name that is meant, tolerant of capitals, spaces, hyphens and underscores."""
    same = [name for name in known if name == wanted] or [
        name for name in known if _spelling(name) == _spelling(wanted)
    ]
    if len(same) == 1:
        return same[0]
    problem = "several segments are called" if same else "no segment is called"
    remedy = "Rename all but one." if same else suggestion(wanted, known)
    raise InputError(place, f"{problem} `{wanted}`.", remedy)


def chosen_names(place: str, names: Choice, known: Sequence[str]) -> dict[str, str]:
    """Name in the result → name in the file.

    Raises:
        InputError: ``names`` asks for one that ``known`` holds not at all, or several times.
    """
    if isinstance(names, Mapping):
        return {own: _found(place, wanted, known) for own, wanted in names.items()}
    if names is not None:
        known_names = [_found(place, wanted, known) for wanted in names]
        return {name: name for name in known_names}
    return {name: _found(place, name, known) for name in known}


def _ranks(place: str, priority: Sequence[str], chosen: Mapping[str, str]) -> dict[str, int]:
    """Place of each listed name in the result; 0 wins."""
    ranks: dict[str, int] = {}
    for rank, wanted in enumerate(priority):
        in_file = {source: own for own, source in chosen.items()}
        own = _found(place, wanted, [*chosen, *(s for s in in_file if s not in chosen)])
        ranks.setdefault(own if own in chosen else in_file[own], rank)
    return ranks


def _integers_of(place: str, segments: Mapping[str, Segment]) -> dict[str, int]:
    """The integers of the file where each is given once and fits, else they are counted from 1."""
    if len(segments) > MOST_LABELS:
        raise InputError(
            place,
            f"{len(segments)} segments; a label map holds at most {MOST_LABELS}.",
            "Choose those that are needed by name.",
        )
    integers = {name: segment.integer for name, segment in segments.items()}
    fits = all(0 < integer <= MOST_LABELS for integer in integers.values())
    if fits and len(set(integers.values())) == len(integers):
        return integers
    return {name: position for position, name in enumerate(segments, 1)}


def merge(
    place: str,
    segments: Sequence[Segment],
    grid: Grid,
    names: Choice,
    priority: Sequence[str],
    *,
    keep_empty: bool,
) -> Segmentation:
    """One label map of segments whose masks lie on one grid.

    Args:
        place: File, for messages.
        segments: Those of the file.
        grid: Where the masks lie.
        names: Segments to take; see `Choice`.
        priority: Names in the file or the result; those listed first win where segments overlap.
        keep_empty: Whether segments without voxels keep their names.

    Raises:
        InputError: a name is unknown or given twice, segments overlap, one that was asked for or
            all are empty, or the size is one that no organ has.
    """
    by_name = {segment.name: segment for segment in segments}
    chosen = chosen_names(place, names, [segment.name for segment in segments])
    ranks = _ranks(place, priority, chosen)
    taken = {own: by_name[source] for own, source in chosen.items()}
    integers = _integers_of(place, taken)
    values, empty = _painted(place, taken, integers, ranks, grid)
    _refuse_empty(place, taken, empty, asked=names is not None)
    kept = [own for own in taken if keep_empty or own not in empty]
    _check_size(place, values, grid)
    return Segmentation(
        LabelMap(
            values, {own: integers[own] for own in kept}, grid.spacing, grid.origin, grid.direction
        ),
        {own: colour for own in kept if (colour := taken[own].colour)},
        {own: code for own in kept if (code := taken[own].code)},
    )


def _painted(
    place: str, taken: Mapping[str, Segment], integers: Mapping[str, int],
    ranks: Mapping[str, int], grid: Grid,
) -> tuple[NDArray[np.uint8], set[str]]:  # fmt: skip
    """Label of each voxel, and the names to which no voxel belongs."""
    values = np.zeros(grid.shape, np.uint8)
    empty = set()
    for own in sorted(taken, key=lambda name: ranks.get(name, np.inf)):
        mask = taken[own].mask()
        if not mask.any():
            empty.add(own)
            continue
        part = values[taken[own].box]
        _refuse_overlap(place, own, part[mask], integers, ranks, grid.voxel_volume)
        part[mask & (part == 0)] = integers[own]
    return values, empty


def _refuse_overlap(
    place: str, name: str, below: NDArray[np.uint8], integers: Mapping[str, int],
    ranks: Mapping[str, int], voxel: float,
) -> None:  # fmt: skip
    """Refuse labels already given to the voxels of a segment, but those that are to win."""
    counts = np.bincount(below, minlength=MOST_LABELS + 1)
    names = {integer: other for other, integer in integers.items()}
    for integer in np.argsort(-counts[1:], kind="stable") + 1:
        if counts[integer] == 0:
            return
        if (other := names[int(integer)]) not in ranks:
            raise InputError(
                place,
                f"segments `{other}` and `{name}` overlap in {counts[integer]} voxels "
                f"({counts[integer] * voxel / ML:.3g} mL).",
                "Say which one wins by listing it in `priority`, choose only one of them, or "
                "correct the segmentation.",
            )


def _refuse_empty(place: str, taken: Iterable[str], empty: set[str], *, asked: bool) -> None:
    if asked and empty:
        raise InputError(
            place,
            f"segment `{min(empty)}` is empty: no voxel belongs to it.",
            "Leave it out, or segment it.",
        )
    if empty >= set(taken):
        raise InputError(
            place,
            "the segmentation is empty: no voxel belongs to any segment.",
            "Check that the segmentation was saved, not the empty template.",
        )


def _check_size(place: str, values: NDArray[np.uint8], grid: Grid) -> None:
    labelled = values > 0
    corner = [np.flatnonzero(labelled.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    extent = np.array([places[-1] - places[0] + 1 for places in corner]) * grid.spacing
    check_extent(
        place,
        extent,
        what="the segmented part",
        written="the spacing",
        remedy="Write the voxel spacing in mm into the file's header.",
    )


def boxes_around(values: NDArray[Any], integers: Iterable[int]) -> dict[int, Region]:
    """Smallest box around each integer, one without voxels if there is none."""
    nothing = (slice(0, 0),) * 3
    if int(values.min()) < 0:
        return {integer: (slice(None),) * 3 for integer in integers}
    found = dict(enumerate(ndimage.find_objects(values), 1))
    return {integer: found.get(integer) or nothing for integer in integers}


def on_grid(place: str, segmentation: Segmentation, grid: Grid | None) -> Segmentation:
    """The labels of the nearest voxels of another grid; without one, those that there are.

    Raises:
        InputError: no label lies on that grid.
    """
    labels = segmentation.labels
    if grid is None or labels.grid.matches(grid):
        return segmentation
    values = nearest_labels(labels.to_sitk(), grid)
    if not values.any():
        raise InputError(
            place,
            "nothing of the segmentation lies on the grid to sample it on.",
            "Check that both belong to the same scan.",
        )
    moved = LabelMap(values, labels.names, grid.spacing, grid.origin, grid.direction)
    return replace(segmentation, labels=moved, offset=(0, 0, 0))


def nearest_labels(image: sitk.Image, grid: Grid) -> NDArray[np.uint8]:
    """Value ``[i, j, k]`` of the nearest voxel of an image for each voxel of a grid, 0 outside."""
    reference = sitk.Image(list(grid.shape), sitk.sitkUInt8)
    reference.SetSpacing([float(x) for x in grid.spacing])
    reference.SetOrigin([float(x) for x in grid.origin])
    reference.SetDirection([float(x) for x in grid.direction.ravel()])
    result = sitk.Resample(image, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
    return np.ascontiguousarray(sitk.GetArrayFromImage(result).transpose(2, 1, 0).astype(np.uint8))


def writable(place: str, segmentation: Segmentation | LabelMap) -> Segmentation:
    """The segmentation, or that of a label map, if other programs can tell its labels apart.

    Raises:
        InputError: there is no label, two share an integer, or one has that of the background.
    """
    whole = Segmentation(segmentation) if isinstance(segmentation, LabelMap) else segmentation
    integers = list(whole.labels.names.values())
    if not integers or len(set(integers)) < len(integers) or min(integers) < 1:
        raise InputError(
            place,
            f"the labels have the integers {integers}.",
            "Give each name its own integer from 1 to 255.",
        )
    return whole


def anatomical_code(name: str) -> tuple[Code, Code]:
    """Coded category and type of an anatomical name, (Tissue, Tissue) for an unknown one.

    >>> anatomical_code("kidney_left")[1].meaning
    'Kidney'

    Source:
        DICOM PS3.16, CID 7150 (segmentation property categories) and CID 7151 (types), and the
        SNOMED CT codes of DICOM, all as listed in pydicom.
    """
    words = re.findall(r"[A-Za-z0-9]+", name)
    vertebra = re.fullmatch(r"(?i)vertebrae?[ _-]?([CTL]\d+)", name)
    sides = [word for word in words if word.lower() in ("left", "right")]
    rest = [word for word in words if word not in sides]
    spellings = [[*sides, *rest], rest] if not vertebra else [[vertebra[1], "vertebra"]]
    from pydicom.sr.codedict import codes  # takes most of a second

    known = set(codes.cid7151.dir()) - {"Hip"}  # that is a region, segmented is the bone
    category = codes.SCT.AnatomicalStructure
    if name in ALSO_CALLED:
        return category, getattr(codes.SCT, ALSO_CALLED[name])
    for spelling in spellings:
        keyword = "".join(word.capitalize() for word in spelling)
        if keyword in known:
            return category, getattr(codes.cid7151, keyword)
    return codes.SCT.Tissue, codes.SCT.Tissue
