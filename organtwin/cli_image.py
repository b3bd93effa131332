"""The commands `organtwin image`: look at scans and label maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from organtwin.cli_outcome import outcome
from organtwin.errors import InputError

if TYPE_CHECKING:
    from organtwin.image.volume import Image, Sequence

app = typer.Typer(no_args_is_help=True, help="Look at scans and segmentations.")


@app.command("info")
def info(
    path: Annotated[
        Path,
        typer.Argument(help="NIfTI, NRRD, MHA or DICOM file, or DICOM folder.", metavar="PATH"),
    ],
    series: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N",
            help="DICOM series: number, or a part of the description; repeated, they are joined.",
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="OUT.png", help="Write a picture of three planes.")
    ] = None,
) -> None:
    """Tell the geometry, phases and values of a scan, or the labels of a segmentation.

    Of a DICOM folder the series are listed; choose one by its number or description:

        organtwin image info SCAN

        organtwin image info SCAN --series 4 --picture scan.png

    Slices scanned one by one, such as a cine's short axis, are joined into a stack:

        organtwin image info SCAN --series 7 --series 8 --series 9
    """
    with outcome():
        from mpi4py import MPI

        from organtwin.parallel import on_root

        on_root(MPI.COMM_WORLD, lambda: _info(path, series or [], picture))


# --- output ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """What is in a file: a scan, or labels with the names that the file gives them."""

    image: Image | Sequence
    names: Mapping[str, int] | None = None


def _info(path: Path, series: list[str], picture: Path | None) -> None:
    from organtwin.image.readers import is_dicom, read_image

    if path.is_dir() and not series and _masks(path):
        found: _Found | None = _segmentation(path)
    elif path.is_dir() or is_dicom(path):
        found = _dicom(path, series, picture is not None)
    elif path.name.endswith(".seg.nrrd"):
        found = _segmentation(path)
    else:
        found = _scan_or_labels(path, read_image(path))
    if found is not None:
        _tell(path, found, picture)


def _dicom(path: Path, wanted: list[str], needed: bool) -> _Found | None:
    """List the series; read the one that is wanted, or the only one."""
    from organtwin.image.dicom import choose_all, listing, named, read_series
    from organtwin.image.dicom_headers import scan

    every = scan(path)
    typer.echo(listing(every))
    fitting = named(every, wanted[0]) if wanted else every
    if len(fitting) == 1 and fitting[0].kind == "segmentation":
        typer.echo(f"\n{fitting[0].name}")
        return _segmentation(fitting[0].frames[0].file)
    if not wanted and not needed and sum(series.kind == "image" for series in every) != 1:
        typer.echo("\nChoose one with --series to see more.")
        return None
    chosen = choose_all(every, wanted or None, str(path))
    typer.echo(f"\n{chosen.name}")
    return _Found(read_series(chosen, f"{path}, {chosen.name}"))


def _masks(folder: Path) -> bool:
    """Whether a folder holds NIfTI files and no folders: TotalSegmentator's output."""
    files = list(folder.iterdir())
    return any(".nii" in file.suffixes for file in files) and all(f.is_file() for f in files)


def _segmentation(path: Path) -> _Found:
    from organtwin.image.segmentations import read_segmentation
    from organtwin.image.volume import Image

    labels = read_segmentation(path).labels
    return _Found(Image(labels.values, labels.grid), labels.names)


def _scan_or_labels(path: Path, image: Image | Sequence) -> _Found:
    from organtwin.image.info import is_label_map
    from organtwin.image.volume import Image

    if not isinstance(image, Image) or not is_label_map(image):
        return _Found(image)
    try:
        return _segmentation(path)
    except InputError:  # plain integers
        return _Found(image, {})


def _tell(path: Path, found: _Found, picture: Path | None) -> None:
    from organtwin.image.info import about_image, about_labels
    from organtwin.image.volume import Image

    if isinstance(found.image, Image) and found.names is not None:
        lines = about_labels(found.image.values, found.image.grid, found.names)
    else:
        lines = about_image(found.image)
    typer.echo("\n".join([f"file       {path}", *lines]))
    if picture is not None:
        _draw(found, picture)
        typer.echo(f"picture    {picture}")


def _draw(found: _Found, picture: Path) -> None:
    import numpy as np

    from organtwin.export.three_planes import three_planes
    from organtwin.image.volume import Image

    names = found.names
    if names == {} and isinstance(found.image, Image):
        names = {str(k): int(k) for k in np.unique(found.image.values) if k > 0}
    three_planes(found.image, picture, labels=names)
