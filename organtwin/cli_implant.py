"""What `organtwin run` and its kin do with the case file of an implant in a bone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from mpi4py import MPI

    from organtwin.case.schema_implant import ImplantCase

#: Stages of a heart's simulation that the commands name, as those of an implant.
STAGES = {
    "image": "plan", "mesh": "plan", "cell": "plan", "solve": "solve", "report": "report",
}  # fmt: skip


def run(
    path: Path, settings: list[str], out: Path | None, fresh: bool, only: set[str] | None,
    comm: MPI.Comm,
) -> None:  # fmt: skip
    """Do the stages of an implant's case; collective."""
    case = _load(path, settings, comm)
    from organtwin.case.implant_pipeline import run_implant

    wanted = None if only is None else {STAGES[name] for name in only}
    directory = run_implant(case, out=out, fresh=fresh, only=wanted, comm=comm)
    if comm.rank == 0 and (wanted is None or "report" in wanted):
        films = sorted((directory / "fields").glob("*.pvd"))
        shown = " ".join(str(film) for film in films) or "none were written"
        typer.echo(
            f"\nReport:    {directory / 'report.html'}\n"
            f"Indices:   {directory / 'indices.json'}\n"
            f"ParaView:  {shown}\n"
            f"Numbers:   {directory / 'result.npz'}, {directory / 'run.json'}"
        )


def print_resolved(path: Path, settings: list[str], comm: MPI.Comm) -> None:
    """The case as TOML with its size in comments; collective."""
    case = _load(path, settings, comm)
    from organtwin.case.implant_estimate import estimate
    from organtwin.parallel import on_root

    size = on_root(comm, lambda: estimate(case, comm.size))
    if comm.rank:
        return
    import tomli_w

    typer.echo(tomli_w.dumps(case.model_dump(mode="json", exclude_none=True)))
    typer.echo(
        f"# Estimated, to a factor of two:\n"
        f"#   tetrahedra           {size.cells:10,d}\n"
        f"#   unknowns             {size.unknowns:10,d}\n"
        f"#   load steps           {size.steps:10,d}\n"
        f"#   memory               {size.memory / 1024:10.1f} GiB\n"
        f"#   time                 {size.time / 60:10.0f} min on {comm.size} rank(s)"
    )


def _load(path: Path, settings: list[str], comm: MPI.Comm) -> ImplantCase:
    from organtwin.case.load import load_implant_case
    from organtwin.parallel import on_root

    return on_root(comm, lambda: load_implant_case(path, settings))
