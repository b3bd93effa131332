"""The command `organtwin surface`: what is wrong with a surface, its repair, labels of several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from organtwin.cli_outcome import outcome
from organtwin.errors import InputError

if TYPE_CHECKING:
    from organtwin.image.volume import LabelMap
    from organtwin.mesh.defects import SurfaceReport
    from organtwin.mesh.surface_files import TriangleSurface


def surface(
    paths: Annotated[
        list[Path], typer.Argument(help="STL, PLY, VTP, OBJ or VTK files.", metavar="PATH...")
    ],
    unit: Annotated[str, typer.Option(help="Unit of the file: mm, cm, m or um.")] = "mm",
    space: Annotated[
        str | None, typer.Option(help="LPS or RAS, if the file does not tell it rightly.")
    ] = None,
    repair: Annotated[
        Path | None, typer.Option("--repair", metavar="OUT", help="Mend it and write the result.")
    ] = None,
    cap: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=X,Y,Z", help="Name of the cap near a place (mm); repeatable."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="OUT", help="Write all as a label map (.seg.nrrd)."),
    ] = None,
    voxel: Annotated[
        float | None, typer.Option(metavar="MM", help="Voxel of the label map.")
    ] = None,
) -> None:
    """Tell what is wrong with surfaces and where, mend one, or make a label map of several.

    Exit code 1 if there are defects and no repair was asked for. Examples:

        organtwin surface femur.stl

        organtwin surface aorta.stl --repair aorta.vtp --cap root=12,-40,210 --cap arch=3,-10,280

    Surfaces that cut each other or share walls become labels, which can be meshed. Where they
    overlap, the one given later has the voxels:

        organtwin surface muscle.stl bone.stl --labels leg.seg.nrrd --voxel 0.5
    """
    with outcome():
        from mpi4py import MPI

        from organtwin.parallel import on_root

        def work() -> bool:
            if labels is not None or voxel is not None:
                _refuse_repair(repair, cap or [], "--labels")
                _voxelise(paths, unit, space, labels, voxel)
                return True
            if len(paths) == 1:
                return _surface(paths[0], unit, space, repair, cap or [])
            _refuse_repair(repair, cap or [], "several surfaces")
            return min(_inspect(path, unit, space) for path in paths)

        sound = on_root(MPI.COMM_WORLD, work)
    if not sound:
        raise typer.Exit(1)


def _inspect(path: Path, unit: str, space: str | None) -> bool:
    typer.echo(f"{path}:")
    return _surface(path, unit, space, None, [])


def _refuse_repair(out: Path | None, caps: list[str], what: str) -> None:
    if out is not None or caps:
        raise InputError(
            "--repair" if out is not None else "--cap",
            f"does not go with {what}.",
            "Repair one surface at a time: `organtwin surface FILE --repair OUT`.",
        )


def _surface(path: Path, unit: str, space: str | None, out: Path | None, caps: list[str]) -> bool:
    from organtwin.mesh.defects import inspect
    from organtwin.mesh.repair import repair
    from organtwin.mesh.surface_files import read_surface, write_surface

    found = read_surface(path, unit=unit, space=space)
    for note in found.notes:
        typer.echo(note)
    if caps and out is None:
        raise InputError("--cap", "caps are made by a repair.", "Add --repair OUT.")
    if out is None:
        report = inspect(found)
        _tell(report)
        return not report.defects()
    result = repair(found, caps=dict(_cap(text) for text in caps), place=path.name)
    _tell(result.before)
    for change in result.changes:
        typer.echo(f"  {change}")
    typer.echo(f"Largest distance from the input: {result.hausdorff:.3g} mm.")
    write_surface(result.surface, out)
    typer.echo(f"Written: {out}")
    return True


def _voxelise(
    paths: list[Path], unit: str, space: str | None, out: Path | None, voxel: float | None
) -> None:
    from organtwin.image.slicer import write_slicer
    from organtwin.mesh.surface_files import read_surface
    from organtwin.mesh.voxelising import voxelised

    if out is None or voxel is None:
        given, missing = ("--voxel", "--labels OUT") if out is None else ("--labels", "--voxel MM")
        raise InputError(
            given, f"`{missing}` is missing.", "Write --labels out.seg.nrrd --voxel 0.5 (mm)."
        )
    if not out.name.endswith(".seg.nrrd"):
        raise InputError(
            str(out), "3D Slicer knows segmentations by `.seg.nrrd`.", "Change the file name."
        )
    files = {path.stem: path for path in paths}
    if len(files) < len(paths):
        raise InputError(
            "--labels", "two files have the same name, and labels are named by their files.",
            "Rename one of them.",
        )  # fmt: skip
    surfaces = {}
    for name, path in files.items():
        surfaces[name] = read_surface(path, unit=unit, space=space)
        typer.echo(f"{name}: {' '.join(surfaces[name].notes)}")
    found = voxelised(surfaces, voxel)
    _tell_labels(surfaces, found)
    write_slicer(found, out)
    typer.echo(f"Written: {out}")


def _tell_labels(surfaces: dict[str, TriangleSurface], labels: LabelMap) -> None:
    from organtwin.mesh.voxelising import shared

    size = " x ".join(str(count) for count in labels.values.shape)
    typer.echo(f"{size} voxels of {labels.spacing[0]:g} mm.")
    for name, number in labels.names.items():
        enclosed = surfaces[name].volume / 1000
        typer.echo(
            f"{number:5d} {labels.volume_ml(name):11.2f} mL  {name}, whose surface encloses "
            f"{enclosed:.2f} mL"
        )
    for (earlier, later), volume in shared(surfaces, labels).items():
        typer.echo(
            f"  {volume:.3g} mL lie in `{earlier}` and in `{later}`: they are `{later}`'s, which "
            "was given later."
        )


def _tell(report: SurfaceReport) -> None:
    size = " x ".join(f"{length:.1f}" for length in report.extent)
    typer.echo(
        f"{report.triangles} triangles, {size} mm, {report.area / 100:.1f} cm2, "
        f"{report.volume / 1000:.2f} mL, {len(report.components)} part(s)."
    )
    defects = report.defects()
    for sentence in defects:
        typer.echo(f"  {sentence}")
    if not defects:
        typer.echo("  No defects: closed, one way round, free of self-intersections.")


def _cap(text: str) -> tuple[str, tuple[float, ...]]:
    name, equals, place = text.partition("=")
    try:
        x, y, z = (float(part) for part in place.split(","))
    except ValueError:
        x = y = z = float("nan")
    if not (name and equals and x == x):
        raise InputError(f"--cap {text}", "not of the form NAME=X,Y,Z.", "Write root=12,-40,210.")
    return name, (x, y, z)
