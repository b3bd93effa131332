"""A label map in words: its grid and the volume of each label."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from organtwin.image.readers import _integers, _read_image
from organtwin.units import ML


def summary(path: str | Path) -> str:
    """Lines that tell size, spacing, place and labels of a label map.

    Args:
        path: NIfTI, NRRD or MHA file.

    Raises:
        InputError: the file is missing, no image, or its voxels are no whole numbers.
    """
    file = Path(path)
    image = _read_image(file)
    direction = np.array(image.GetDirection()).reshape(image.GetDimension(), -1)
    integers, counts = np.unique(_integers(file, sitk.GetArrayFromImage(image)), return_counts=True)
    voxel = float(np.prod(image.GetSpacing()))
    lines = [
        f"file       {path}",
        f"voxels     {' x '.join(str(n) for n in image.GetSize())}",
        f"spacing    {_numbers(image.GetSpacing())} mm",
        f"origin     {_numbers(image.GetOrigin())} mm (LPS)",
        f"axes       {'; '.join(_numbers(axis) for axis in direction.T)}",
        f"handedness {'right' if np.linalg.det(direction) > 0 else 'left (mirrored)'}",
        "label      volume",
    ]
    lines += [
        f"{integer:5d} {count * voxel / ML:11.1f} mL"
        for integer, count in zip(integers, counts, strict=True)
        if integer != 0
    ]
    return "\n".join(lines)


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)
