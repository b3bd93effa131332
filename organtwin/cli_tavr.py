"""What `organtwin run` and its kin do with the case file of a transcatheter valve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from mpi4py import MPI

    from organtwin.case.schema_tavr import TavrCase

#: Stages of a heart's simulation that the commands name, as those of a valve.
STAGES = {
    "image": "measure", "mesh": "root", "cell": "root", "solve": "deploy", "report": "report",
}  # fmt: skip


def run(
    path: Path, settings: list[str], out: Path | None, fresh: bool, only: set[str] | None,
    comm: MPI.Comm,
) -> None:  # fmt: skip
    """Do the stages of a valve's case; collective."""
    case = _load(path, settings, comm)
    from organtwin.case.tavr_pipeline import run_tavr

    wanted = None if only is None else {STAGES[name] for name in only}
    directory = run_tavr(case, out=out, fresh=fresh, only=wanted, comm=comm)
    if comm.rank == 0 and (wanted is None or "report" in wanted):
        fields = directory / "fields"
        typer.echo(
            f"\nReport:    {directory / 'report.html'}\n"
            f"Indices:   {directory / 'indices.json'}\n"
            f"ParaView:  {fields / 'tissue.pvd'} {fields / 'frame.pvd'}\n"
            f"Numbers:   {directory / 'run.json'}"
        )


def print_resolved(path: Path, settings: list[str], comm: MPI.Comm) -> None:
    """The case as TOML with its size in comments; collective."""
    case = _load(path, settings, comm)
    from organtwin.case.tavr_estimate import estimate
    from organtwin.parallel import on_root

    size = on_root(comm, lambda: estimate(case, comm.size))
    if comm.rank:
        return
    import tomli_w

    typer.echo(tomli_w.dumps(case.model_dump(mode="json", exclude_none=True)))
    typer.echo(
        f"# Estimated for {size.device}, to a factor of two:\n"
        f"#   tetrahedra           {size.cells:10,d}\n"
        f"#   tissue unknowns      {size.tissue:10,d}\n"
        f"#   frame unknowns       {size.frame:10,d}\n"
        f"#   memory               {size.memory / 1024:10.1f} GiB\n"
        f"#   time                 {size.time / 60:10.0f} min on {comm.size} rank(s)"
    )


def _load(path: Path, settings: list[str], comm: MPI.Comm) -> TavrCase:
    from organtwin.case.load import load_tavr_case
    from organtwin.parallel import on_root

    return on_root(comm, lambda: load_tavr_case(path, settings))
