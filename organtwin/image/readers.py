"""Label maps and grey-value images from files: NIfTI, NRRD, MetaImage, DICOM."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from collections.abc import Sequence as Several
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.claims import check_claims
from organtwin.image.volume import Image, LabelMap, Sequence, check_extent

logger = logging.getLogger(__name__)

#: Values below it (of HU: thin air) don't occur in images of other kinds than CT.
CT_ONLY = -500
#: NIfTI's codes of time units, as factors to ms.
NIFTI_MILLISECONDS = {8: 1e3, 16: 1.0, 24: 1e-3}
#: Files of surfaces, which people take for images; VTK files may be either, and are no scans.
SURFACES = (".stl", ".ply", ".vtp", ".obj", ".vtk")
#: Larger ranges of values are those of grey-value images.
LARGEST_LABEL = 4095


def read_image(
    path: str | Path, series: int | str | Several[int | str] | None = None
) -> Image | Sequence:
    """Read grey values: an image, or a sequence if the file has phases.

    Args:
        path: ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha``, ``.mhd`` or DICOM file, or DICOM folder.
        series: Of a DICOM folder with several: number, or part of the description; several
            parallel ones are joined.

    Raises:
        InputError: the file is missing, no image, not three-dimensional or a size that no body
            has; for DICOM see `organtwin.image.dicom.read_dicom`.
    """
    file = Path(path)
    if file.is_dir() or is_dicom(file):
        from organtwin.image.dicom import read_dicom

        return read_dicom(file, series)
    image = read_sitk(file)
    if image.GetDimension() not in (3, 4) or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            str(file),
            f"a {image.GetDimension()}-dimensional image with "
            f"{image.GetNumberOfComponentsPerPixel()} value(s) per voxel; a scan has three "
            "dimensions, or four with phases, and one value.",
            "Give the scan as slices in one volume, not a picture of it.",
        )
    if image.GetDimension() == 4:
        return _phases(file, image)
    return _grey(file, image)


def read_volume(file: Path, wanted: str, remedy: str) -> sitk.Image:
    """SimpleITK image of three dimensions with one value per voxel.

    Args:
        file: The file.
        wanted: Begin of the sentence that says so, for example ``"a label map has"``.
        remedy: What to do about another one.

    Raises:
        InputError: the image is another one, or can't be read.
    """
    image = read_sitk(file)
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            str(file),
            f"a {image.GetDimension()}-dimensional image with "
            f"{image.GetNumberOfComponentsPerPixel()} value(s) per voxel; {wanted} three "
            "dimensions and one value.",
            remedy,
        )
    return image


def is_dicom(file: Path) -> bool:
    """Whether a file is DICOM, by its beginning or, for old ones without it, by its suffix."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM" or file.suffix.lower() in (".dcm", ".ima")


def _grey(file: Path, image: sitk.Image) -> Image:
    found = Image.from_sitk(image)
    voxel = " x ".join(f"{length:.3g}" for length in found.grid.spacing)
    check_extent(
        str(file),
        found.grid.extent,
        what="the image",
        written="the spacing",
        remedy=f"Write the voxel spacing (now {voxel}) in mm into the file's header.",
    )
    return replace(found, quantity="HU") if found.values.min() <= CT_ONLY else found


def _phases(file: Path, image: sitk.Image) -> Sequence:
    """Phases of a four-dimensional file; without a time unit they are numbered."""
    images = tuple(_grey(file, image[:, :, :, k]) for k in range(image.GetSize()[3]))
    units = int(image.GetMetaData("xyzt_units")) if image.HasMetaDataKey("xyzt_units") else 0
    step = image.GetSpacing()[3] * NIFTI_MILLISECONDS.get(units & 0b111000, 0.0)
    if step == 0.0:
        logger.warning("The file tells no times of its %d phases; taken 1 ms apart.", len(images))
    return Sequence(images, np.arange(len(images)) * (step or 1.0))


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
    image = read_volume(
        file, "a label map has", "Export the segmentation as a single 3D label map."
    )
    values = whole_numbers(file, sitk.GetArrayViewFromImage(image).transpose(2, 1, 0))
    _check_labels(file, values, names)
    _check_extent(file, values, np.array(image.GetSpacing()))
    compact = {name: position for position, name in enumerate(names, 1)}
    smallest = min(int(values.min()), 0)
    table = np.zeros(int(values.max()) - smallest + 1, np.uint8)
    for name, position in compact.items():
        table[names[name] - smallest] = position
    return LabelMap(
        values=table[values.astype(np.int32) - smallest] if smallest else table[values],
        names=compact,
        spacing=np.array(image.GetSpacing()),
        origin=np.array(image.GetOrigin()),
        direction=np.array(image.GetDirection()).reshape(3, 3),
    )


def write_labels(labels: LabelMap, path: str | Path) -> None:
    """Write a label map, compressed; the suffix chooses the format (``.nrrd`` advised)."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(labels.to_sitk(), str(path), useCompression=True)


def read_sitk(file: Path) -> sitk.Image:
    """Read a file as SimpleITK does, quietly.

    Raises:
        InputError: it is missing, cut off or no image, or its header claims what can't be; see
            `organtwin.image.claims.check_claims`.
    """
    if not file.is_file():
        raise InputError(str(file), "no such image file.", "Check the path.")
    if file.suffix.lower() in SURFACES:
        raise InputError(
            str(file),
            "holds a surface, or another mesh, and no image.",
            f"Look at a surface by `organtwin surface {file}`.",
        )
    check_claims(file)
    warnings = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        return sitk.ReadImage(str(file))
    except (RuntimeError, MemoryError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise InputError(
            str(file),
            f"can't be read as an image ({reason}).",
            "Give a NIfTI (.nii, .nii.gz), NRRD (.nrrd) or MetaImage (.mha, .mhd) file.",
        ) from None
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warnings)


def whole_numbers(file: Path, values: NDArray[Any]) -> NDArray[Any]:
    """The values as integers, which labels are.

    Raises:
        InputError: there are fractions, or so many values that they are grey.
    """
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
    voxel = " x ".join(f"{length:.3g}" for length in spacing)
    check_extent(
        str(file),
        extent,
        what="the labelled part",
        written="the spacing",
        remedy=f"Write the voxel spacing (now {voxel}) in mm into the file's header.",
    )
