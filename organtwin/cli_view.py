"""The command `organtwin view`: results in the browser, in three dimensions."""

from __future__ import annotations

import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from organtwin.cli_outcome import outcome


def view(
    result: Annotated[
        Path, typer.Argument(help="Result directory, .pvd or .vtu.", metavar="RESULT")
    ],
    other: Annotated[
        Path | None, typer.Argument(help="A second one beside it.", metavar="[OTHER]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="HTML file instead of a temporary one.")
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the browser.")
    ] = True,
) -> None:
    """Turn a result in the browser: time, fields, cuts, regions, two side by side.

    It is one file: no server, no port, nothing loaded. On a cluster write it with --out and copy
    it. Examples:

        organtwin view results/heartbeat

        organtwin view results/before results/after

        organtwin view results/heartbeat --out heartbeat.html --no-open
    """
    with outcome():
        from mpi4py import MPI

        from organtwin.export.page3d import write_view
        from organtwin.export.result import open_result
        from organtwin.parallel import on_root

        def work() -> Path:
            results = [open_result(path) for path in (result, other) if path is not None]
            folder = Path(tempfile.mkdtemp(prefix="organtwin-")) if out is None else out.parent
            return write_view(results, folder / "view.html" if out is None else out)

        page = on_root(MPI.COMM_WORLD, work)
        if MPI.COMM_WORLD.rank == 0:
            typer.echo(str(page))
            if open_browser:
                webbrowser.open(page.resolve().as_uri())
