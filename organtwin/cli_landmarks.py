"""The command `organtwin landmarks`: points, planes and axes of anatomy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from organtwin.cli_outcome import outcome
from organtwin.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from organtwin.image.volume import Image, LabelMap
    from organtwin.landmarks.record import Landmark
    from organtwin.mesh.surface_files import TriangleSurface

SURFACES = (".stl", ".ply", ".vtp", ".obj", ".vtk")


def find(
    organ: Annotated[
        str, typer.Argument(help="aorta, ventricles, femur, tibia or hips.", metavar="ORGAN")
    ],
    path: Annotated[
        Path, typer.Argument(help="Label map, or the surface of a bone.", metavar="PATH")
    ],
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=N", help="Name of an integer in the label map; repeat it."),
    ] = None,
    scan: Annotated[
        Path | None, typer.Option(metavar="SCAN", help="Scan on the grid of the labels (aorta).")
    ] = None,
    overrides: Annotated[
        Path | None,
        typer.Option(metavar="IN.mrk.json", help="Landmarks placed in 3D Slicer; they win."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="OUT.mrk.json", help="Write markups for 3D Slicer.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="OUT.png", help="Write a picture.")
    ] = None,
) -> None:
    """Find the landmarks of an organ and tell how sure each is, and why.

        organtwin landmarks femur femur.stl --out femur.mrk.json

        organtwin landmarks aorta seg.nii.gz --label aorta=1 --scan ct.nii.gz

    What was moved in 3D Slicer and saved goes back in:

        organtwin landmarks femur femur.stl --overrides femur.mrk.json
    """
    with outcome():
        from mpi4py import MPI

        from organtwin.parallel import on_root

        on_root(
            MPI.COMM_WORLD, lambda: _find(organ, path, label or [], scan, overrides, out, picture)
        )


def _find(
    organ: str,
    path: Path,
    label: list[str],
    scan: Path | None,
    overrides: Path | None,
    out: Path | None,
    picture: Path | None,
) -> None:
    from organtwin.image.markups import write_markups
    from organtwin.landmarks.catalogue import landmarks_of
    from organtwin.landmarks.placed import markups_of

    source = _source(path, label)
    image = _scan(scan) if scan else None
    found = landmarks_of(organ, source, image=image, overrides=overrides)
    for landmark in found:
        typer.echo(_line(landmark))
    if out is not None:
        write_markups(markups_of(found), out)
        typer.echo(f"markups    {out}")
    if picture is not None:
        _draw(organ, source, image, found, picture)
        typer.echo(f"picture    {picture}")


def _source(path: Path, label: list[str]) -> LabelMap | TriangleSurface:
    if path.suffix.lower() in SURFACES:
        from organtwin.mesh.surface_files import read_surface

        return read_surface(path)
    if label:
        from organtwin.image.readers import read_labels

        return read_labels(path, dict(_pair(text) for text in label))
    from organtwin.image.segmentations import read_segmentation

    return read_segmentation(path).labels


def _pair(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not number.isdigit():
        raise InputError("--label", f"`{text}` is no name and number.", "Write it like aorta=6.")
    return name, int(number)


def _scan(path: Path) -> Image:
    from organtwin.image.readers import read_image
    from organtwin.image.volume import Image

    image = read_image(path)
    if not isinstance(image, Image):
        raise InputError(str(path), "the scan has phases.", "Give one of them.")
    return image


def _line(landmark: Landmark) -> str:
    """One landmark in words: where, how sure and why, what was measured."""
    from organtwin.landmarks.record import Curve, Line, Plane, Point, Sphere

    def at(point: Iterable[float]) -> str:
        return "(" + ", ".join(f"{x:.1f}" for x in point) + ")"

    match landmark.geometry:
        case Point(place):
            where = at(place)
        case Plane(centre, normal, diameter):
            tilt = ", ".join(f"{x:.2f}" for x in normal)
            where = f"{at(centre)} normal ({tilt}) diameter {diameter:.1f} mm"
        case Line(start, end):
            where = f"{at(start)} to {at(end)}"
        case Curve(points):
            where = f"{at(points[0])} to {at(points[-1])}, {len(points)} points"
        case Sphere(centre, radius):
            where = f"{at(centre)} radius {radius:.2f} mm"
    trust = str(landmark.confidence) if landmark.source == "automatic" else landmark.source
    lines = [f"{landmark.name:<24} {landmark.kind:<6} {where}", f"{'':<24} {trust}"]
    lines += [f"{'':<24} {name}: {value:.2f}" for name, value in landmark.measures.items()]
    return "\n".join(lines)


def _draw(
    organ: str,
    source: LabelMap | TriangleSurface,
    image: Image | None,
    found: Sequence[Landmark],
    picture: Path,
) -> None:
    from organtwin.export.landmark_pictures import draw_landmarks, draw_root
    from organtwin.landmarks.catalogue import ABOUT
    from organtwin.landmarks.hips import surfaces_of
    from organtwin.mesh.surface_files import TriangleSurface

    if image is not None:
        draw_root(image, found, picture, title=organ)
        return
    surface = source if isinstance(source, TriangleSurface) else surfaces_of(source, ABOUT[organ])
    draw_landmarks(surface, found, picture, title=organ)
