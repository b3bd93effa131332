"""The command `organtwin companion`: what mesh and time step leave of an error in a result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mpi4py import MPI

#: Estimates that are printed of each companion.
SHOWN = 12


def run(directory: Path, mesh: float, time: float, order: float, comm: MPI.Comm) -> None:
    """Do the companion runs and print what they tell; collective."""
    from organtwin.case.companion import companions

    found = companions(directory, mesh=mesh, time=time, order=order, comm=comm)
    if comm.rank != 0:
        return
    for name, estimates in found.items():
        typer.echo(f"With a coarser {name}, the least sure first:")
        for one in estimates[:SHOWN]:
            typer.echo(f"  {one.quantity:<40} {one.value:.4g} ± {one.uncertainty:.2g} {one.unit}")
        if len(estimates) > SHOWN:
            typer.echo(f"  and {len(estimates) - SHOWN} more")
    typer.echo(f"Numbers:   {directory / 'companion.json'}")


Result = Annotated[Path, typer.Argument(help="Directory of a complete run.", metavar="RESULT")]
MeshRatio = Annotated[float, typer.Option("--mesh", help="By how much the mesh is coarser.")]
TimeRatio = Annotated[float, typer.Option("--time-step", help="By how much steps are longer.")]
Order = Annotated[float, typer.Option("--order", help="Order of convergence that is assumed.")]
