"""DICOM: the series in a folder, which one is meant, and its image or cine sequence."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Several
from dataclasses import replace
from pathlib import Path
from textwrap import shorten

import numpy as np

from organtwin.errors import InputError
from organtwin.image.dicom_headers import Frame, Series, scan
from organtwin.image.dicom_pixels import read_stack
from organtwin.image.dicom_stack import Stack, arrange
from organtwin.image.volume import Image, Sequence, check_extent

#: What stands in place of a series that can't become an image.
NOT_IMAGES = {
    "localizer": "localizer",
    "segmentation": "segmentation, not a scan",
    "colour picture": "colour picture",
    "unplaced": "no position in the patient",
}


#: Characters that a defect may take in a table; the whole is told when the series is read.
LONGEST_NOTE = 90

type Wanted = int | str | Several[int | str] | None


def read_dicom(path: str | Path, series: Wanted = None) -> Image | Sequence:
    """Read a series of a DICOM folder (or file): an image, or the phases of a cine.

    Coordinates are the patient's (LPS, mm) however the slices lie; CT values are Hounsfield units.
    Identical doubles are used once. Slices of a tilted gantry are moved onto an upright grid.

    Args:
        path: Folder, searched with all folders below, or a file.
        series: Number of the series, or a part of its description; needed if there are several.
            Several parallel ones, each with its own slices, are joined into one stack.

    Raises:
        InputError: no or several series fit (they are listed); slices are missing, unevenly
            spaced, of mixed sizes or orientations, or double with different content; pixels
            can't be decoded; the size is none that a body has.
    """
    place = str(path)
    chosen = choose_all(scan(Path(path)), series, place)
    return read_series(chosen, f"{place}, {chosen.name}")


def read_series(series: Series, place: str) -> Image | Sequence:
    """Image or cine sequence of a series.

    Raises:
        InputError: as `read_dicom`.
    """
    stack = arrange(series, place)
    voxel = " x ".join(f"{length:.3g}" for length in stack.grid.spacing)
    check_extent(
        place,
        stack.grid.extent,
        what="the scan",
        written="the distance of pixels",
        remedy=f"Voxels of {voxel} mm are in the header; correct them there.",
    )
    return read_stack(stack, quantity(series), place)


def quantity(series: Series) -> str:
    """What the values of a series are."""
    return "HU" if series.unit == "HU" else series.modality


def choose_all(found: Iterable[Series], wanted: Wanted, place: str) -> Series:
    """The series that is meant, or the joined series that are meant; see `choose` and `join`."""
    if wanted is None or isinstance(wanted, int | str):
        return choose(found, wanted, place)
    every = tuple(found)
    parts = [choose(every, one, place) for one in wanted]
    return parts[0] if len(parts) == 1 else join(parts, place)


def join(parts: Several[Series], place: str) -> Series:
    """Slices that were scanned as series of their own, as one series.

    Heart rates differ from breath hold to breath hold, and so do the numbers of phases: the
    series with the fewest phases sets them, and of each other series the phases nearest in their
    share of the beat are taken.

    Raises:
        InputError: a part is defective itself, or one with phases tells no length of the beat.
    """
    stacks = [arrange(part, f"{place}, {part.name}") for part in parts]
    fewest = min(stacks, key=lambda stack: len(stack.frames))
    cycle = fewest.cycle
    frames: list[Frame] = []
    for part, stack in zip(parts, stacks, strict=True):
        if len(fewest.frames) == 1 and len(stack.frames) == 1:
            frames += part.frames
            continue
        if cycle is None or stack.cycle is None:
            raise InputError(
                f"{place}, {part.name}",
                "the header tells no length of the heart beat, by which its phases could be "
                "matched to those of the other series.",
                "Join series that tell it (Nominal Interval), or read them one by one.",
            )
        shares = stack.times / stack.cycle
        for moment in fewest.times:
            apart = np.abs((shares - moment / cycle + 0.5) % 1.0 - 0.5)
            phase = stack.frames[int(np.argmin(apart))]
            frames += [replace(frame, time=float(moment)) for frame in phase]
    known = [stack.cycle for stack in stacks if stack.cycle is not None]
    numbers = ", ".join(str(part.number) for part in parts)
    return replace(
        parts[0],
        number=None,
        description=f"joined from {numbers}",
        frames=tuple(frames),
        cycle=float(np.mean(known)) if known else None,
        phases=None,
    )


def choose(found: Iterable[Series], wanted: int | str | None, place: str) -> Series:
    """The series that is meant.

    Args:
        found: Series of `scan`.
        wanted: Series number, description (letter case ignored), or part of one; None takes the
            only image there is.
        place: Folder, for messages.

    Raises:
        InputError: none fits, several fit, or the one that fits is no image.
    """
    every = tuple(found)
    images = [series for series in every if series.kind == "image"]
    fitting = images if wanted is None else named(every, str(wanted).strip())
    if len(fitting) == 1:
        return _image(fitting[0], place)
    if not fitting:
        problem = "no series of images" if wanted is None else f"no series `{wanted}`"
        remedy = f"There are:\n{listing(every)}"
    else:
        problem = f"{len(fitting)} series" + ("" if wanted is None else f" fit `{wanted}`")
        remedy = (
            "Choose one by its number or a part of its description (`--series`), or several "
            f"parallel ones to join:\n{listing(fitting)}"
        )
    raise InputError(place, f"{problem}.", remedy)


def named(every: tuple[Series, ...], wanted: str) -> list[Series]:
    """Series of that number, else of that description, else with that in their description."""
    low = wanted.lower()
    return (
        [s for s in every if str(s.number) == wanted]
        or [s for s in every if s.description.lower() == low]
        or [s for s in every if low and low in s.description.lower()]
    )


def _image(series: Series, place: str) -> Series:
    if series.kind in ("image", "localizer"):
        return series
    raise InputError(
        f"{place}, {series.name}",
        f"{NOT_IMAGES[series.kind]}.",
        "Choose a series of slices; segmentations are read as labels.",
    )


def listing(found: Iterable[Series]) -> str:
    """Table of series, one a line: number, modality, size, spacing, orientation, description."""
    head = ("series", "", "voxels", "phases", "spacing (mm)", "axes", "description")
    rows = [head, *(_row(series) for series in found)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _row(series: Series) -> tuple[str, ...]:
    number = "-" if series.number is None else str(series.number)
    sizes = {frame.size for frame in series.frames}
    plain = " / ".join(f"{c} x {r}" for c, r in sorted(sizes)) + f", {len(series.frames)} frame(s)"
    note = NOT_IMAGES.get(series.kind, "")
    shape, phases, spacing, axes = plain, "", "", ""
    if series.kind in ("image", "localizer"):
        try:
            stack = arrange(series, "")
            shape, phases, spacing, axes = _geometry(stack)
            doubles = f"{len(stack.doubles)} frames at places of others" if stack.doubles else ""
            tilt = f"gantry tilted by {stack.tilt:.1f} degrees" if stack.shear.any() else ""
            note = "; ".join(filter(None, (note, doubles, tilt)))
        except InputError as error:
            defect = shorten(error.problem, LONGEST_NOTE, placeholder=" ...")
            note = "; ".join(filter(None, (note, defect)))
    description = series.description + (f"  [{note.rstrip('.')}]" if note else "")
    return (number, series.modality, shape, phases, spacing, axes, description.strip())


def _geometry(stack: Stack) -> tuple[str, str, str, str]:
    grid = stack.grid
    return (
        " x ".join(str(n) for n in grid.shape),
        str(len(stack.frames)) if len(stack.frames) > 1 else "",
        " x ".join(f"{np.round(length, 4):.4g}" for length in grid.spacing),
        grid.axis_codes + (" oblique" if grid.obliqueness > 1.0 else ""),
    )
