"""The command `organtwin export`: results for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from organtwin.cli_outcome import outcome


def export(
    result: Annotated[
        Path, typer.Argument(help="Result directory, .pvd or .vtu.", metavar="RESULT")
    ],
    to: Annotated[str, typer.Option(help="stl, glb, nifti, carp or abaqus.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write into.")] = Path("export"),
    part: Annotated[str | None, typer.Option(help="Tissue, as its .pvd is called.")] = None,
    time: Annotated[int, typer.Option(help="Number of the time; -1 for the last.")] = 0,
    field: Annotated[str | None, typer.Option(help="Field of colours or voxels.")] = None,
    like: Annotated[Path | None, typer.Option(help="Image whose voxels are taken (nifti).")] = None,
) -> None:
    """Write a result for other programs.

    Surfaces by region (STL; GLB with colours), fields on the voxels of the image (NIfTI), meshes
    with fibres (openCARP) and for Abaqus and CalculiX. Examples:

        organtwin export results/heartbeat --to nifti --part activation --field activation_time

        organtwin export results/heartbeat --to carp --part activation --out carp

        organtwin export results/heartbeat --to glb --time 20
    """
    with outcome():
        from mpi4py import MPI

        from organtwin.export.interchange import export as write
        from organtwin.export.result import open_result
        from organtwin.parallel import on_root

        files = on_root(
            MPI.COMM_WORLD,
            lambda: write(
                open_result(result), to, out, part=part, index=time, field=field, like=like
            ),
        )
        if MPI.COMM_WORLD.rank == 0:
            typer.echo("\n".join(str(file) for file in files))
