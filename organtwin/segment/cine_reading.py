"""Cine scans from files: every series on its own, so that long axes stay apart from short ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.dicom import choose, read_series
from organtwin.image.dicom_headers import scan
from organtwin.image.readers import read_image
from organtwin.image.volume import Sequence

#: Endings of files that can hold phases, apart from DICOM.
SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
#: Scans with normals within this angle are parallel (degrees).
PARALLEL = 15.0


def read_cine(path: str | Path, series: Iterable[int | str] = ()) -> tuple[Sequence, ...]:
    """Every cine of a folder, one sequence for each series; nothing is joined.

    `short_and_long` tells the short axes from the long ones.

    Args:
        path: DICOM folder, folder of four-dimensional files, or one such file.
        series: Those to read: numbers or parts of descriptions; of a folder of files parts of their
            names. Else all that have phases; single images (localisers) are passed over.

    Raises:
        InputError: nothing has phases, a chosen series has none, or one can't be read.
    """
    file, wanted = Path(path), list(series)
    if file.is_dir():
        written = sorted(f for f in file.iterdir() if f.name.lower().endswith(SUFFIXES))
        found = _files(file, written, wanted) if written else _dicom(file, wanted)
    else:
        found = [(file.name, read_image(file, wanted or None))]
    cines = [image for _, image in found if isinstance(image, Sequence)]
    still = [name for name, image in found if not isinstance(image, Sequence)]
    if (wanted and still) or not cines:
        what = f"`{still[0]}` is a single image" if still else "no series of images"
        raise InputError(str(file), f"{what}; a cine has phases.", "Give the cine series.")
    return tuple(cines)


def _dicom(folder: Path, wanted: list[int | str]) -> list[tuple[str, object]]:
    every = scan(folder)
    chosen = [choose(every, _number(one), str(folder)) for one in wanted]
    return [(s.name, read_series(s, s.name)) for s in chosen or every if s.kind == "image"]


def _files(folder: Path, written: list[Path], wanted: list[int | str]) -> list[tuple[str, object]]:
    """Files of a folder, or those whose names have one of the wanted parts in them."""
    for part in wanted:
        if not any(str(part).lower() in file.name.lower() for file in written):
            names = ", ".join(file.name for file in written)
            raise InputError(str(folder), f"no file `{part}`.", f"There are: {names}.")
    parts = [str(part).lower() for part in wanted]
    chosen = [f for f in written if not parts or any(part in f.name.lower() for part in parts)]
    return [(file.name, read_image(file)) for file in chosen]


def _number(wanted: int | str) -> int | str:
    return int(wanted) if isinstance(wanted, str) and wanted.isdigit() else wanted


def short_and_long(
    sequences: Iterable[Sequence], tilt: float = PARALLEL
) -> tuple[list[Sequence], list[Sequence]]:
    """The largest group of parallel scans, which is the short axis, and the others.

    Args:
        sequences: Cine scans.
        tilt: Scans with normals within this angle are parallel (degrees).

    Raises:
        InputError: there is none.
    """
    every = list(sequences)
    if not every:
        raise InputError("lv_cine_mr", "no cine sequence.", "Give the short-axis series.")
    normals = np.array([_normal(sequence) for sequence in every])
    parallel = np.abs(normals @ normals.T) >= np.cos(np.radians(tilt))
    slices = np.array([min(sequence.grid.shape) for sequence in every])
    group = parallel[int(np.argmax(parallel @ slices))]
    short = [s for s, inside in zip(every, group, strict=True) if inside]
    return short, [s for s, inside in zip(every, group, strict=True) if not inside]


def _normal(sequence: Sequence) -> NDArray[np.float64]:
    """Direction across the slices: the grid axis with the fewest voxels."""
    return np.asarray(sequence.grid.direction[:, int(np.argmin(sequence.grid.shape))])
