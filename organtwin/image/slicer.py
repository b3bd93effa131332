"""Segmentations from and to 3D Slicer: `.seg.nrrd` files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.readers import read_sitk, whole_numbers
from organtwin.image.segmentation import (
    MOST_LABELS,
    Choice,
    Region,
    Segment,
    Segmentation,
    boxes_around,
    merge,
    on_grid,
    writable,
)
from organtwin.image.volume import Grid, LabelMap

if TYPE_CHECKING:
    from pydicom.sr.coding import Code


def read_slicer(
    path: str | Path,
    names: Choice = None,
    *,
    priority: Sequence[str] = (),
    grid: Grid | None = None,
) -> Segmentation:
    """Read a segmentation of 3D Slicer, of one or several layers.

    Integers, names, colours and codes are kept. Integers that several layers use, or that are
    larger than 255, are replaced by 1, 2, … in the order of the file. Slicer cuts the file to what
    is segmented; ``grid`` puts the labels back on the voxels of the scan.

    Args:
        path: ``.seg.nrrd`` file.
        names: As of `organtwin.image.segmentations.read_segmentation`.
        priority: Likewise.
        grid: Likewise.

    Raises:
        InputError: as `organtwin.image.segmentations.read_segmentation`.

    Source:
        Slicer developer guide, Segmentations, "Segmentation labelmap file format (.seg.nrrd)".
    """
    file = Path(path)
    image = read_sitk(file)
    facts = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    _check_slicer(file, image, facts)
    layers = whole_numbers(file, sitk.GetArrayViewFromImage(image))
    layers = layers.reshape(*layers.shape[:3], -1).transpose(3, 2, 1, 0)
    boxes = [boxes_around(layer, range(1, int(layer.max()) + 1)) for layer in layers]
    segments = [_slicer_segment(file, facts, number, layers, boxes) for number in _numbers(facts)]
    merged = merge(str(file), segments, Grid.from_sitk(image), names, priority, keep_empty=True)
    offset = _three(facts.get("Segmentation_ReferenceImageExtentOffset", "0 0 0"), int)
    return on_grid(str(file), replace(merged, offset=offset or (0, 0, 0)), grid)


def write_slicer(segmentation: Segmentation | LabelMap, path: str | Path) -> None:
    """Write a segmentation that 3D Slicer opens with names and colours, in one layer.

    Args:
        segmentation: Labels, and colours if there are any; other labels get different colours.
        path: File name that ends in ``.seg.nrrd``, by which Slicer knows it.

    Raises:
        InputError: the file name ends otherwise, or two names share an integer.
    """
    file = Path(path)
    if not file.name.endswith(".seg.nrrd"):
        raise InputError(
            str(file), "3D Slicer knows segmentations by `.seg.nrrd`.", "Change the file name."
        )
    whole = writable(str(file), segmentation)
    image = whole.labels.to_sitk()
    for key, text in _slicer_facts(whole).items():
        image.SetMetaData(key, text)
    file.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(file), useCompression=True)


def _check_slicer(file: Path, image: sitk.Image, facts: Mapping[str, str]) -> None:
    if not _numbers(facts):
        raise InputError(
            str(file),
            "no segmentation of 3D Slicer: the header names no segments.",
            "Save it as a segmentation (.seg.nrrd), or read it as a label map with names given.",
        )
    keys = ("Segmentation_SourceRepresentation", "Segmentation_MasterRepresentation")
    kind = next((facts[key] for key in keys if key in facts), "Binary labelmap")
    if image.GetDimension() != 3 or kind != "Binary labelmap":
        raise InputError(
            str(file),
            f"a {image.GetDimension()}-dimensional `{kind}`; wanted is a `Binary labelmap`.",
            "Make the binary labelmap the source representation in Slicer and save again.",
        )


def _numbers(facts: Iterable[str]) -> list[int]:
    """Numbers of the segments in the header."""
    matches = (re.fullmatch(r"Segment(\d+)_(?:Name|ID)", key) for key in facts)
    return sorted({int(match[1]) for match in matches if match})


def _slicer_segment(
    file: Path, facts: Mapping[str, str], number: int, layers: NDArray[Any],
    boxes: Sequence[Mapping[int, Region]],
) -> Segment:  # fmt: skip
    def fact(key: str, otherwise: str = "") -> str:
        return facts.get(f"Segment{number}_{key}", otherwise).strip()

    # Files of Slicer before 4.11 tell neither: there each layer holds one segment as 1.
    layer = int(fact("Layer", str(number if len(layers) > 1 else 0)))
    integer = int(fact("LabelValue", "1"))
    name = fact("Name") or fact("ID")
    if not 0 <= layer < len(layers):
        raise InputError(
            str(file),
            f"segment `{name}` is in layer {layer}, and there are {len(layers)}.",
            "Save the segmentation again in 3D Slicer.",
        )
    colour = _three(fact("Color"), float)
    box = boxes[layer].get(integer, (slice(0, 0),) * 3)
    mask = partial(np.equal, layers[layer][box], integer)
    return Segment(name, integer, mask, colour, _terms(fact("Tags")), box)


def _three[T](text: str, kind: Callable[[str], T]) -> tuple[T, T, T] | None:
    try:
        first, second, third = (kind(word) for word in text.split())
    except ValueError:
        return None
    return first, second, third


def _terms(tags: str) -> tuple[Code, Code] | None:
    """Category and type of a ``TerminologyEntry``."""
    entry = re.search(r"TerminologyEntry:([^|]*)", tags)
    parts = entry[1].split("~") if entry else []
    if len(parts) < 3:
        return None
    from pydicom.sr.coding import Code

    found = []
    for part in parts[1:3]:
        words = part.split("^")
        if len(words) != 3 or not all(words):
            return None
        scheme, value, meaning = words
        found.append(Code(value, scheme, meaning))
    return found[0], found[1]


def _slicer_facts(whole: Segmentation) -> dict[str, str]:
    facts = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|Closed surface|",
        "Segmentation_SourceRepresentation": "Binary labelmap",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": " ".join(str(n) for n in whole.offset),
    }
    extents = _extents(whole.labels)
    for number, (name, integer) in enumerate(whole.labels.names.items()):
        triplets = "~".join(
            f"{code.scheme_designator}^{code.value}^{code.meaning}" for code in whole.code(name)
        )
        terms = f"Segmentation category and type - organtwin~{triplets}~^^~Anatomic codes~^^~^^"
        facts |= {
            f"Segment{number}_ID": f"Segment_{integer}",
            f"Segment{number}_Name": name,
            f"Segment{number}_NameAutoGenerated": "0",
            f"Segment{number}_Color": " ".join(f"{part:.6g}" for part in whole.colour(name)),
            f"Segment{number}_ColorAutoGenerated": "0",
            f"Segment{number}_Extent": extents[integer],
            f"Segment{number}_Layer": "0",
            f"Segment{number}_LabelValue": str(integer),
            f"Segment{number}_Tags": f"TerminologyEntry:{terms}|",
        }
    return facts


def _extents(labels: LabelMap) -> dict[int, str]:
    """First and last voxel of each label along each axis; Slicer writes ``0 -1`` for none."""
    boxes = ndimage.find_objects(labels.values, max_label=MOST_LABELS)
    return {
        integer: " ".join(f"{part.start} {part.stop - 1}" for part in boxes[integer - 1])
        if boxes[integer - 1]
        else "0 -1 0 -1 0 -1"
        for integer in labels.names.values()
    }
