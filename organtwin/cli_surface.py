"""The command `organtwin surface`: what is wrong with a surface, and its repair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from organtwin.cli_outcome import outcome
from organtwin.errors import InputError

if TYPE_CHECKING:
    from organtwin.mesh.defects import SurfaceReport


def surface(
    path: Annotated[Path, typer.Argument(help="STL, PLY, VTP, OBJ or VTK file.", metavar="PATH")],
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
) -> None:
    """Tell what is wrong with a surface and where, and mend it.

    Exit code 1 if there are defects and no repair was asked for. Examples:

        organtwin surface femur.stl

        organtwin surface aorta.stl --repair aorta.vtp --cap root=12,-40,210 --cap arch=3,-10,280
    """
    with outcome():
        from mpi4py import MPI

        from organtwin.parallel import on_root

        sound = on_root(MPI.COMM_WORLD, lambda: _surface(path, unit, space, repair, cap or []))
    if not sound:
        raise typer.Exit(1)


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
