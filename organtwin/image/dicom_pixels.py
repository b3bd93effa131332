"""Pixels of ordered DICOM frames as images: decoded, in HU, upright."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.claims import SWITCH, largest
from organtwin.image.dicom_headers import Frame, quiet
from organtwin.image.dicom_stack import Stack
from organtwin.image.volume import Grid, Image, Sequence, compact

logger = logging.getLogger(__name__)

#: Pixels of a slice at most: mammograms have a tenth of it.
LARGEST_PAGE = 1 << 27

type Files = dict[str, Dataset]


def read_stack(stack: Stack, quantity: str, place: str) -> Image | Sequence:
    """Image of an ordered series, or the sequence of its phases.

    Raises:
        InputError: pixels can't be decoded, or frames at the same place and time differ.
    """
    _check_size(stack, place)
    with quiet():
        _check_doubles(stack, place)
        volumes = [_volume(phase, stack.grid, place) for phase in stack.frames]
    grid = stack.grid
    if stack.shear.any():
        upright = [_upright(values, stack) for values in volumes]
        volumes, grid = [values for values, _ in upright], upright[0][1]
        logger.warning(
            "The gantry was tilted by %.1f degrees: slices were moved in their plane onto an "
            "upright grid.", stack.tilt,
        )  # fmt: skip
    images = tuple(Image(values, grid, quantity) for values in volumes)
    return images[0] if len(images) == 1 else Sequence(images, stack.times, stack.cycle)


def _check_size(stack: Stack, place: str) -> None:
    """Refuse what headers claim and no scan has, before room is made for it."""
    columns, rows = stack.grid.shape[:2]
    claimed = 2 * math.prod(stack.grid.shape) * len(stack.frames)
    if columns * rows > LARGEST_PAGE or claimed > largest():
        raise InputError(
            place,
            f"the headers claim {len(stack.frames)} x {stack.grid.shape[2]} slices of {columns} x "
            f"{rows} pixels.",
            f"The files are damaged. If it is right, raise {SWITCH} (GiB); slices have at most "
            f"{LARGEST_PAGE} pixels.",
        )


def _volume(frames: tuple[Frame, ...], grid: Grid, place: str) -> NDArray[Any]:
    """Values ``[i, j, k]`` of one phase, ``int16`` as long as they are whole and fit."""
    values: NDArray[Any] = np.empty(grid.shape, np.int16)
    files: Files = {}
    for k, frame in enumerate(frames):
        page = compact(_page(frame, files, place))
        if page.dtype != values.dtype and values.dtype == np.int16:
            values = values.astype(np.float32)
        values[:, :, k] = page
    return values


def _page(frame: Frame, files: Files, place: str) -> NDArray[Any]:
    """Values of one frame, ``[column, row]``, rescaled to the modality's unit."""
    key = str(frame.file)
    if key not in files:
        files.clear()  # frames of a file follow one another
        try:
            files[key] = pydicom.dcmread(frame.file, force=True)
        except Exception as error:  # whatever a damaged file makes the library stumble over
            raise _damaged(frame, place, type(error).__name__) from None
    data = files[key]
    decoder = get_decoder(_syntax(data)) if _compressed(data) else None
    if decoder is not None and not decoder.is_available:
        return _page_by_gdcm(frame, data, place)
    try:
        stored = pixel_array(data, index=frame.index)
    except Exception as error:
        raise _damaged(frame, place, type(error).__name__) from None
    if stored.shape != (frame.size[1], frame.size[0]):
        raise _damaged(frame, place, f"{stored.shape} pixels")
    if frame.slope == 1.0 and frame.intercept == 0.0:
        return stored.T
    return stored.T * np.float64(frame.slope) + frame.intercept


def _syntax(data: Dataset) -> UID:
    meta = getattr(data, "file_meta", None)
    return UID(str(meta.get("TransferSyntaxUID", "")) if meta else "")


def _compressed(data: Dataset) -> bool:
    syntax = _syntax(data)
    return syntax.is_transfer_syntax and syntax.is_compressed and syntax.is_encapsulated


def _page_by_gdcm(frame: Frame, data: Dataset, place: str) -> NDArray[Any]:
    """Frame of a syntax that pydicom has no decoder for; GDCM, inside SimpleITK, has more.

    GDCM applies slope and intercept itself.
    """
    syntax = _syntax(data)
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        values = sitk.GetArrayFromImage(sitk.ReadImage(str(frame.file), imageIO="GDCMImageIO"))
        if int(data.get("NumberOfFrames") or 1) == 1 and values.shape[-2:] == frame.size[::-1]:
            return np.asarray(values.reshape(frame.size[::-1]).T)
    except RuntimeError:
        pass
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
    plugins = " or ".join(get_decoder(syntax).missing_dependencies)
    raise InputError(
        place,
        f"the pixels are compressed as {syntax.name}, for which no decoder is installed.",
        f"Install one beside organtwin ({plugins}), or export the series without compression.",
    )


def _damaged(frame: Frame, place: str, reason: str) -> InputError:
    return InputError(
        place,
        f"the pixels of instance {frame.instance}, frame {frame.index + 1}, can't be read "
        f"({reason}).",
        "The file is damaged or incomplete; copy or export the series again.",
    )


def _check_doubles(stack: Stack, place: str) -> None:
    if not stack.doubles:
        return
    total = sum(len(phase) for phase in stack.frames) + len(stack.doubles)
    for kept, other in stack.doubles:
        same = np.array_equal(_page(kept, {}, place), _page(other, {}, place))
        if not same:
            variants = sorted({frame.variant for pair in stack.doubles for frame in pair} - {""})
            told = f" They are marked: {'; '.join(variants[:6])}." if len(variants) > 1 else ""
            raise InputError(
                place,
                f"{len(stack.doubles)} of {total} frames lie where another lies, and instances "
                f"{kept.instance} and {other.instance} differ in content.{told}",
                "Are these several echoes, reconstructions or scans in one series? Put the files "
                "of one into a folder of its own.",
            )
    logger.warning(
        "%d of %d frames are there twice; one of each is used.", len(stack.doubles), total
    )


def _upright(values: NDArray[Any], stack: Stack) -> tuple[NDArray[Any], Grid]:
    """Slices of a tilted gantry moved in their plane (linearly interpolated) onto a box.

    What no slice covers gets the smallest value, which is air in a CT.
    """
    grid = stack.grid
    drift = np.outer(np.arange(grid.shape[2]) * grid.spacing[2], stack.shear) / grid.spacing[:2]
    low = np.floor(drift.min(axis=0)).astype(int)
    more = np.ceil(drift.max(axis=0)).astype(int) - low
    shape = (grid.shape[0] + int(more[0]), grid.shape[1] + int(more[1]), grid.shape[2])
    fill = float(values.min())
    result = np.full(shape, fill, values.dtype)
    for k in range(shape[2]):
        page = np.pad(
            values[:, :, k].astype(np.float32),
            ((0, int(more[0])), (0, int(more[1]))),
            constant_values=fill,
        )
        moved = ndimage.shift(page, drift[k] - low, order=1, cval=fill)
        result[:, :, k] = moved if values.dtype == np.float32 else np.round(moved)
    origin = grid.points([low[0], low[1], 0])
    return result, Grid(shape, grid.spacing, origin, grid.direction)
