"""Segmentations from TotalSegmentator: a folder of masks, or labels named in a NIfTI header."""

from __future__ import annotations

import gzip
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import SimpleITK as sitk

from organtwin.errors import InputError
from organtwin.image.claims import check_claims
from organtwin.image.readers import read_volume, whole_numbers
from organtwin.image.segmentation import (
    Choice,
    Colour,
    Mask,
    Segment,
    Segmentation,
    boxes_around,
    chosen_names,
    merge,
    nearest_labels,
    on_grid,
)
from organtwin.image.volume import Grid

#: Voxels of two grids count as the same where they are closer than this part of a voxel.
SAME_VOXEL = 0.02


def read_totalsegmentator(
    path: str | Path,
    names: Choice = None,
    *,
    priority: Sequence[str] = (),
    grid: Grid | None = None,
) -> Segmentation:
    """Read what TotalSegmentator wrote: a folder of masks, or one file of labels with their names.

    Masks of a folder are called as their files. They may lie on different parts of one voxel
    lattice; the label map then covers all of them. Structures without voxels are left out.

    Args:
        path: Folder with one ``.nii.gz`` per structure, or a NIfTI file whose header extension
            names the labels.
        names: As of `organtwin.image.segmentations.read_segmentation`; of a folder only the files
            of these are opened.
        priority: Likewise.
        grid: Likewise; masks on different lattices need it.

    Raises:
        InputError: as `organtwin.image.segmentations.read_segmentation`; a file of the folder is
            no mask, or the masks lie on different lattices.
    """
    place = Path(path)
    if not place.is_dir():
        return _multilabel(place, names, priority, grid)
    files = {
        re.sub(r"\.nii(\.gz)?$", "", file.name): file
        for file in sorted(place.iterdir())
        if file.name.endswith((".nii", ".nii.gz"))
    }
    if not files:
        raise InputError(
            str(place), "no NIfTI files in this folder.", "Give TotalSegmentator's output folder."
        )
    chosen = chosen_names(str(place), names, list(files))
    sources = list(dict.fromkeys(chosen.values()))
    where = grid or _common_grid({files[name]: _grid_of(files[name]) for name in sources})
    segments = [
        Segment(name, number, partial(_mask, files[name], where))
        for number, name in enumerate(sources, 1)
    ]
    return merge(str(place), segments, where, names, priority, keep_empty=False)


def _grid_of(file: Path) -> Grid:
    check_claims(file, unpack=False)  # that is done when its voxels are read
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
        i, j, k = reader.GetSize()
    except (RuntimeError, ValueError):
        return Grid.from_sitk(_volume(file))
    return Grid(
        (i, j, k),
        np.array(reader.GetSpacing()),
        np.array(reader.GetOrigin()),
        np.array(reader.GetDirection()).reshape(3, 3),
    )


def _volume(file: Path) -> sitk.Image:
    return read_volume(
        file, "wanted are", "Leave the file out, or choose the structures to read by name."
    )


def _common_grid(grids: Mapping[Path, Grid]) -> Grid:
    """Smallest grid that holds all voxels of grids of one lattice."""
    first_file, first = next(iter(grids.items()))
    low, high = np.zeros(3, int), np.array(first.shape)
    for file, other in grids.items():
        start = first.index(other.origin[None])[0]
        last = np.array(other.shape) - 1
        end = first.index(other.points(last[None]))[0]
        shift = np.round(start).astype(int)
        apart = max(np.abs(start - shift).max(), np.abs(end - (shift + last)).max())
        if apart > SAME_VOXEL or not np.allclose(first.direction, other.direction, atol=1e-3):
            raise InputError(
                str(file.parent),
                f"the voxels of {file.name} and {first_file.name} don't lie on one lattice.",
                "Give the grid to sample them on, for example that of the scan.",
            )
        low, high = np.minimum(low, shift), np.maximum(high, shift + other.shape)
    i, j, k = (int(n) for n in high - low)
    return Grid((i, j, k), first.spacing, first.points(low[None])[0], first.direction)


def _mask(file: Path, grid: Grid) -> Mask:
    image = _volume(file)
    values = whole_numbers(file, sitk.GetArrayViewFromImage(image))
    if int(values.min()) < 0 or int(values.max()) > 1:
        raise InputError(
            str(file),
            f"no mask: its values run from {int(values.min())} to {int(values.max())}.",
            "Choose the structures to read by name, or keep nothing but masks in the folder.",
        )
    if Grid.from_sitk(image).matches(grid):
        return np.asarray(values.transpose(2, 1, 0) > 0)
    return np.asarray(nearest_labels(sitk.Cast(image, sitk.sitkUInt8), grid) > 0)


def _multilabel(
    file: Path, names: Choice, priority: Sequence[str], grid: Grid | None
) -> Segmentation:
    image = _volume(file)
    table = _label_table(file)
    if not table:
        raise InputError(
            str(file),
            "the header of this file doesn't name its labels.",
            "Read it as a label map with names given, or give TotalSegmentator's output folder.",
        )
    values = whole_numbers(file, sitk.GetArrayViewFromImage(image).transpose(2, 1, 0))
    boxes = boxes_around(values, (integer for integer, _, _ in table))
    segments = [
        Segment(
            name,
            integer,
            partial(np.equal, values[boxes[integer]], integer),
            colour,
            box=boxes[integer],
        )
        for integer, name, colour in table
    ]
    where = Grid.from_sitk(image)
    merged = merge(str(file), segments, where, names, priority, keep_empty=False)
    return on_grid(str(file), merged, grid)


def _label_table(file: Path) -> list[tuple[int, str, Colour]]:
    """Integer, name and colour of the labels in the extension of a NIfTI header.

    Source:
        nifti1.h (NIfTI-1 data format) for extensions; TotalSegmentator puts a ``LabelTable`` of
        the Caret software into one.
    """
    for text in _extensions(file):
        if b"<LabelTable>" in text:
            return _labels_of(file, text.strip(b" \n\r\t\x00"))
    return []


def _extensions(file: Path) -> Iterator[bytes]:
    """Contents of the extensions of ``esize`` bytes that follow the 352 bytes of the header."""
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
        header = stream.read(352)
        order = next((o for o in "<>" if header[:4] == struct.pack(f"{o}i", 348)), "")
        if not order:  # NIfTI-2, which TotalSegmentator doesn't write
            return
        (length,) = struct.unpack(order + "f", header[108:112])
        rest = stream.read(max(int(length) - 352, 0)) if header[348:349] == b"\x01" else b""
    start = 0
    while start + 8 <= len(rest):
        (size,) = struct.unpack(order + "i", rest[start : start + 4])
        yield rest[start + 8 : start + max(size, 8)]
        start += max(size, 8)


def _labels_of(file: Path, text: bytes) -> list[tuple[int, str, Colour]]:
    try:
        labels = list(ElementTree.fromstring(text).iter("Label"))
        return [
            (
                int(label.attrib["Key"]),
                (label.text or "").strip(),
                (
                    float(label.get("Red", 1)),
                    float(label.get("Green", 1)),
                    float(label.get("Blue", 1)),
                ),
            )
            for label in labels
        ]
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise InputError(
            str(file),
            f"the table of labels in the header is damaged ({error}).",
            "Read it as a label map with names given.",
        ) from None
