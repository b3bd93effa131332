"""Labels to compare with, from files of whatever program."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.readers import is_dicom, read_sitk, whole_numbers
from organtwin.image.segmentation import nearest_labels
from organtwin.image.segmentations import read_segmentation
from organtwin.image.volume import Grid
from organtwin.segment.agreement import structures
from organtwin.segment.morphology import Mask

#: Integers that a byte has for labels.
MOST = 255


def read_references(
    paths: Iterable[Path],
    grid: Grid,
    *,
    names: Mapping[int, str] | None = None,
    unions: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[str, Mask]:
    """Masks of all labels of some files, at the voxels of a scan; they may overlap.

    Args:
        paths: Segmentations that name their labels, label maps whose labels ``names`` knows, or
            masks, which are called as their files.
        grid: Where to sample the labels (nearest voxel).
        names: Integer → name, for label maps.
        unions: Structure → names (``*`` for any text) that make it up if it isn't there itself.

    Raises:
        InputError: a file can't be read, or holds several labels without names.
    """
    found: dict[str, Mask] = {}
    for path in paths:
        found |= _masks(path, grid, names)
    absent = {name: parts for name, parts in (unions or {}).items() if name not in found}
    for name, parts in absent.items():
        fitting = [own for own in found if re.fullmatch(_pattern(parts), own)]
        if fitting:
            found[name] = np.logical_or.reduce([found[own] for own in fitting])
    return found


def read_names(path: Path) -> dict[int, str]:
    """Integer → name from a JSON file ``{"1": "spleen", ...}``.

    Raises:
        InputError: the file is missing or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {int(number): str(name) for number, name in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            str(path), f"no table of names ({error}).", 'Write it as {"1": "spleen", ...}.'
        ) from None


def _pattern(parts: Iterable[str]) -> str:
    return "|".join(re.escape(part).replace(r"\*", ".*") for part in parts)


def _masks(path: Path, grid: Grid, names: Mapping[int, str] | None) -> dict[str, Mask]:
    told = path.is_dir() or path.name.endswith((".seg.nrrd", ".dcm")) or is_dicom(path)
    if told or (names is None and _knows_names(path)):
        return structures(read_segmentation(path, grid=grid).labels)
    image = read_sitk(path)
    numbers = whole_numbers(path, sitk.GetArrayViewFromImage(image))
    present = [int(n) for n in np.unique(numbers[numbers > 0])]
    if names is None and len(present) == 1:
        called = {re.sub(r"(\.(nii|nrrd|mha|mhd|gz|seg))+$", "", path.name): present[0]}
    elif names is not None:
        called = {names[n]: n for n in present if n in names}
    else:
        raise InputError(
            str(path), f"{len(present)} labels without names.",
            "Give their names in a JSON file, or one file per structure.",
        )  # fmt: skip
    wanted = np.array(sorted(called.values()), np.int64)
    values = nearest_labels(_renumbered(path, image, numbers, wanted), grid)
    return {name: values == 1 + np.searchsorted(wanted, n) for name, n in called.items()}


def _renumbered(
    path: Path, image: sitk.Image, numbers: NDArray[Any], wanted: NDArray[np.int64]
) -> sitk.Image:
    """Label map with 1 to k for the wanted integers, which may not fit into a byte themselves."""
    if len(wanted) > MOST:
        raise InputError(
            str(path), f"{len(wanted)} named labels, {MOST} at most can be compared at once.",
            "Name only those to compare.",
        )  # fmt: skip
    small = np.where(np.isin(numbers, wanted), 1 + np.searchsorted(wanted, numbers), 0)
    result = sitk.GetImageFromArray(small.astype(np.uint8))
    result.CopyInformation(image)
    return result


def _knows_names(path: Path) -> bool:
    """Whether a NIfTI file's header names its labels."""
    if not path.name.endswith((".nii", ".nii.gz")):
        return False
    try:
        read_segmentation(path)
    except InputError:
        return False
    return True
