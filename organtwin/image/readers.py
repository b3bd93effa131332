"""Label maps from and to files: NIfTI, NRRD, MetaImage."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap

#: Extent of the labelled voxels (mm) that a ventricular or whole-organ label map can have.
PLAUSIBLE_EXTENT = (10.0, 2000.0)
#: Larger ranges of values are those of grey-value images.
LARGEST_LABEL = 4095


def read_labels(path: str | Path, names: Mapping[str, int]) -> LabelMap:
    """Read a label map and check it.

    Spacing, origin and direction are kept, so that whatever the order and sign of the voxel axes,
    the anatomy lies where the scanner saw it. Voxels that no name claims become background.

    Args:
        path: ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha`` or ``.mhd`` file.
        names: Anatomical name → integer in the file.

    Raises:
        InputError: the file is missing, no image, not three-dimensional, holds fractions, is
            empty, lacks a label, or has a size that no organ has.
    """
    file = Path(path)
    image = _read_image(file)
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            str(file),
            f"a {image.GetDimension()}-dimensional image with "
            f"{image.GetNumberOfComponentsPerPixel()} value(s) per voxel; a label map has three "
            "dimensions and one value.",
            "Export the segmentation as a single 3D label map.",
        )
    values = _integers(file, sitk.GetArrayViewFromImage(image).transpose(2, 1, 0))
    _check_labels(file, values, names)
    _check_extent(file, values, np.array(image.GetSpacing()))
    compact = {name: position for position, name in enumerate(names, 1)}
    smallest = min(int(values.min()), 0)
    table = np.zeros(int(values.max()) - smallest + 1, np.uint8)
    for name, position in compact.items():
        table[names[name] - smallest] = position
    return LabelMap(
        values=table[values - values.dtype.type(smallest)] if smallest else table[values],
        names=compact,
        spacing=np.array(image.GetSpacing()),
        origin=np.array(image.GetOrigin()),
        direction=np.array(image.GetDirection()).reshape(3, 3),
    )


def write_labels(labels: LabelMap, path: str | Path) -> None:
    """Write a label map, compressed; the suffix chooses the format (``.nrrd`` advised)."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(labels.to_sitk(), str(path), useCompression=True)


def _read_image(file: Path) -> sitk.Image:
    if not file.is_file():
        raise InputError(str(file), "no such image file.", "Check the path in [image] file.")
    _check_complete(file)
    warnings = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        return sitk.ReadImage(str(file))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(
            str(file),
            f"can't be read as an image ({reason}).",
            "Give a NIfTI (.nii, .nii.gz), NRRD (.nrrd) or MetaImage (.mha, .mhd) file.",
        ) from None
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warnings)


def _check_complete(file: Path) -> None:
    """ITK reads a cut-off gzip file without complaint and fills up with zeros."""
    if file.suffix != ".gz":
        return
    try:
        with gzip.open(file) as stream:
            while stream.read(1 << 24):
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            str(file),
            f"can't be read as an image ({error}).",
            "The file is damaged or incomplete; copy or download it again.",
        ) from None


def _integers(file: Path, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind in "iu":
        numbers = values
    else:
        whole = np.isfinite(values) & (values == np.round(values))
        if not whole.all():
            raise InputError(
                str(file),
                f"{int(np.count_nonzero(~whole))} voxels hold no whole number (for example "
                f"{float(values[~whole][0]):g}); is this a probability map, a grey-value image or "
                "a label map that was resampled linearly?",
                "Give integer labels; resample them with nearest neighbours.",
            )
        numbers = values.astype(np.int32)
    if int(numbers.max()) - int(numbers.min()) > LARGEST_LABEL:
        raise InputError(
            str(file),
            f"values run from {int(numbers.min())} to {int(numbers.max())}; is this a grey-value "
            "image instead of a label map?",
            "Give the segmentation, not the scan.",
        )
    return numbers


def _check_labels(file: Path, values: NDArray[Any], names: Mapping[str, int]) -> None:
    smallest = int(values.min())
    counts = np.zeros(int(values.max()) - smallest + 1, np.int64)
    for layer in np.moveaxis(values, 2, 0):  # layer by layer, bincount copies to 64 bits
        counts += np.bincount((layer.astype(np.int64) - smallest).ravel(), minlength=len(counts))
    present = {k + smallest: int(n) for k, n in enumerate(counts) if n and k + smallest != 0}
    if not present:
        raise InputError(
            str(file),
            "the label map is empty: every voxel is 0.",
            "Check that the segmentation was saved, not the empty template.",
        )
    inside = ", ".join(f"{k} ({n} voxels)" for k, n in list(present.items())[:30])
    for name, integer in names.items():
        if integer == 0:
            raise InputError(
                str(file), f"label `{name}` is 0, which is background.", f"Present: {inside}."
            )
        if integer not in present:
            raise InputError(
                str(file),
                f"no voxel has label {integer} (`{name}`).",
                f"Labels in the file: {inside}. Correct [image.labels].",
            )
    integers = list(names.values())
    for name, integer in names.items():
        if integers.count(integer) > 1:
            raise InputError(
                str(file),
                f"label {integer} is given to `{name}` and to another name.",
                "Give each name in [image.labels] its own integer.",
            )


def _check_extent(file: Path, values: NDArray[Any], spacing: NDArray[np.float64]) -> None:
    corner = [np.flatnonzero((values != 0).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    extent = np.array([places[-1] - places[0] + 1 for places in corner]) * spacing
    low, high = PLAUSIBLE_EXTENT
    if low <= extent.max() <= high:
        return
    guess = "metres" if extent.max() < low else "micrometres"
    raise InputError(
        str(file),
        f"the labelled part measures {extent[0]:.3g} x {extent[1]:.3g} x {extent[2]:.3g} mm "
        f"(voxels of {spacing[0]:.3g} x {spacing[1]:.3g} x {spacing[2]:.3g} mm); is the spacing "
        f"in {guess} instead of mm?",
        "Write the voxel spacing in mm into the file's header.",
    )
