"""The command `organtwin root`: what planners of transcatheter valves measure in a CT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from organtwin.cli_outcome import outcome
from organtwin.errors import InputError

if TYPE_CHECKING:
    from organtwin.aortic_root.measurements import RootMeasures
    from organtwin.aortic_root.sizing import DeviceSize
    from organtwin.image.volume import Image, LabelMap

#: Family of a device → what it is sized by.
SIZED_BY = {"balloon-expandable": "area", "self-expanding": "perimeter"}


def measure(
    scan: Annotated[Path, typer.Argument(help="Contrast CT of the chest.", metavar="CT")],
    labels: Annotated[
        Path | None,
        typer.Option(metavar="LABELS", help="Label map of it; segmented without."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=N", help="Name of an integer in the label map; repeat it."),
    ] = None,
    overrides: Annotated[
        Path | None,
        typer.Option(metavar="IN.mrk.json", help="Landmarks placed in 3D Slicer; they win."),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(metavar="DEVICE", help="Device of the catalogue, or its file; repeat it."),
    ] = None,
    implant: Annotated[
        str, typer.Option(metavar="NAME", help="Refuse if this size is too large.")
    ] = "",
    rule: Annotated[str, typer.Option(help="Rule for the threshold of calcium.")] = "adaptive",
    out: Annotated[
        Path | None, typer.Option(metavar="OUT.json", help="Write the measures.")
    ] = None,
    markups: Annotated[
        Path | None, typer.Option(metavar="OUT.mrk.json", help="Write markups for 3D Slicer.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(metavar="OUT.png", help="Write a sheet.")] = None,
    mesh: Annotated[
        Path | None, typer.Option(metavar="OUT.msh", help="Write the root as tetrahedra.")
    ] = None,
    leaflets: Annotated[
        str, typer.Option(help="Leaflets of the mesh: closed, open or none.")
    ] = "closed",
    size: Annotated[str, typer.Option(help="Edge length of the mesh.")] = "1.5 mm",
) -> None:
    """Measure an aortic root: annulus, outflow tract, sinuses, junction, ostia, calcium, sizes.

        organtwin root ct.nii.gz --device sapien3_like --device evolut_like --picture root.png

    With its mesh for a deployment:

        organtwin root ct.nii.gz --mesh root.msh --leaflets open

    With labels of one's own, and landmarks moved in 3D Slicer:

        organtwin root ct.nii.gz --labels heart.seg.nrrd --markups root.mrk.json

        organtwin root ct.nii.gz --labels heart.seg.nrrd --overrides root.mrk.json
    """
    with outcome():
        from mpi4py import MPI

        from organtwin.parallel import on_root

        def measured() -> None:
            from organtwin.aortic_root.calcium import RULES
            from organtwin.aortic_root.measurements import measure_root
            from organtwin.errors import suggestion

            if rule not in RULES:
                raise InputError("--rule", f"no rule `{rule}`.", suggestion(rule, RULES))
            image, map_ = _read(scan, labels, label or [])
            sizes = _sizes(device or [])
            found = measure_root(image, map_, overrides=overrides, rule=rule)
            _tell(found, sizes)
            _write(image, found, sizes, out, markups, picture)
            if mesh is not None:
                _mesh(found, image, map_, mesh, leaflets, size)
            if implant:
                from organtwin.aortic_root.sizing import refuse_too_large

                refuse_too_large(found.sizes(sizes), implant)

        on_root(MPI.COMM_WORLD, measured)


def _sizes(devices: list[str]) -> list[DeviceSize]:
    from organtwin.aortic_root.sizing import DeviceSize
    from organtwin.devices.device_files import load_device, sizes

    return [
        DeviceSize(found.name, found.nominal, sized_by=SIZED_BY[found.family])
        for name in devices
        for found in (load_device(name, size) for size in sizes(name))
    ]


def _read(scan: Path, labels: Path | None, label: list[str]) -> tuple[Image, LabelMap]:
    from organtwin.image.readers import read_image
    from organtwin.image.volume import Image

    image = read_image(scan)
    if not isinstance(image, Image):
        raise InputError(str(scan), "the scan has phases.", "Give one of them.")
    return image, _labels(labels, label, image)


def _labels(path: Path | None, label: list[str], image: Image) -> LabelMap:
    if path is None:
        from organtwin.segment.catalogue import segment
        from organtwin.segment.recipe import Options

        return segment(image, "heart_and_aorta_ct", Options(engine="own")).labels
    if label:
        from organtwin.image.readers import read_labels

        pairs = [text.partition("=") for text in label]
        if not all(name and number.isdigit() for name, _, number in pairs):
            raise InputError("--label", f"{label} are no names and numbers.", "Write aorta=6.")
        return read_labels(path, {name: int(number) for name, _, number in pairs})
    from organtwin.image.segmentations import read_segmentation

    return read_segmentation(path).labels


def _tell(found: RootMeasures, sizes: list[DeviceSize]) -> None:
    """Measures, calcium and oversizing, a line each."""
    for name, one in found.quantities.items():
        typer.echo(f"{name:<30} {one}")
    if found.calcium is not None:
        lime = found.calcium
        typer.echo(f"calcium above {lime.threshold:.0f} HU, rule `{lime.rule}`")
        for (cusp, part), score in lime.regions.items():
            typer.echo(f"  {cusp + ' ' + part:<28} {score.volume:.0f} mm³ ({score.low:.0f} to "
                       f"{score.high:.0f}), score {score.agatston:.0f}")  # fmt: skip
    for size in found.sizes(sizes):
        mark = "" if size.fits else ", too large" if size.too_large else ", too small"
        typer.echo(f"{size.device.name:<30} {size.by_area:+.0f} % by area, "
                   f"{size.by_perimeter:+.0f} % by perimeter{mark}")  # fmt: skip
    for note in found.notes:
        typer.echo(f"note: {note}")


def _write(
    image: Image, found: RootMeasures, sizes: list[DeviceSize], out: Path | None,
    markups: Path | None, picture: Path | None,
) -> None:  # fmt: skip
    if out is not None:
        from organtwin.aortic_root.measures_file import write_measures

        typer.echo(f"measures   {write_measures(found, out, sizes)}")
    if markups is not None:
        from organtwin.image.markups import write_markups
        from organtwin.landmarks.placed import markups_of

        write_markups(markups_of(found.landmarks), markups)
        typer.echo(f"markups    {markups}")
    if picture is not None:
        from organtwin.export.root_sheet import draw_root_sheet

        draw_root_sheet(image, found, picture, title="Aortic root", devices=sizes)
        typer.echo(f"sheet      {picture}")


def _mesh(
    found: RootMeasures, image: Image, labels: LabelMap, path: Path, leaflets: str, size: str
) -> None:
    from organtwin.aortic_root.anatomy import RootModel, root_anatomy
    from organtwin.mesh.mesh_files import write_mesh
    from organtwin.units import quantity

    model = RootModel(size=quantity(size, "mm", "--size"), leaflets=leaflets)
    anatomy = root_anatomy(found, image, labels, model)
    write_mesh(anatomy.mesh, path)
    for note in anatomy.notes:
        typer.echo(f"note: {note}")
    quality = anatomy.quality
    typer.echo(f"mesh       {path}: {quality.cells} cells, angles from {quality.min_dihedral:.0f}°")
