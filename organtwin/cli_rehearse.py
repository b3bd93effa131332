"""The command `organtwin rehearse`: many plans for one patient, ranked, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from organtwin.cli_options import CaseFile, Cluster, Out, Settings, Workers
from organtwin.cli_outcome import outcome

if TYPE_CHECKING:
    from organtwin.case.schema_rehearsal import RehearsalCase
    from organtwin.case.sensitivity import Sensitivity
    from organtwin.case.sweep import Outcome, Plans


def rehearse(
    case: CaseFile,
    settings: Settings = None,
    out: Out = None,
    workers: Workers = 1,
    cluster: Cluster = None,
    max_members: Annotated[
        int | None, typer.Option("--max-members", min=0, help="Stop after so many members.")
    ] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Try failed members again, and those that are said to run on another machine: "
            "only when nothing runs there any more.",
        ),
    ] = False,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Then vary what is not known well.")
    ] = False,
    of: Annotated[
        str | None, typer.Option("--of", metavar="MEMBER", help="Around this one, not the best.")
    ] = None,
    runs: Annotated[
        int | None, typer.Option("--runs", min=1, max=2, help="Runs of each factor.")
    ] = None,
    status: Annotated[
        bool, typer.Option("--status", help="Show how far it is, and compute nothing.")
    ] = False,
) -> None:  # fmt: skip
    """Carry out many plans for one patient, and rank them with reasons.

    Members are kept: a rehearsal that was stopped goes on, also with more members. One that fails
    is told with its reason. See docs/tavr-sweep.md. Examples:

        organtwin rehearse demos/tavr/rehearsal.toml --workers 2

        organtwin rehearse demos/tavr/rehearsal.toml --status

        organtwin rehearse demos/tavr/rehearsal.toml --sensitivity --workers 2

        mpirun -n 13 organtwin rehearse demos/tavr/rehearsal.toml
    """
    with outcome():
        from mpi4py import MPI

        from organtwin.case.load import load_rehearsal_case
        from organtwin.case.members import Workers
        from organtwin.case.plans import plans_of
        from organtwin.case.sensitivity import vary
        from organtwin.case.sweep import run_rehearsal
        from organtwin.parallel import abort_on_uncaught_error, on_root

        comm = MPI.COMM_WORLD
        abort_on_uncaught_error(comm)
        read = on_root(comm, lambda: load_rehearsal_case(case, settings or []))
        folder = out or read.output.directory
        plans = on_root(comm, lambda: plans_of(read, folder))
        if status:
            if comm.rank == 0:
                _show_status(read, plans, folder)
            return
        force = Workers(workers, cluster, max_members, again, comm)
        found = run_rehearsal(read, plans, out=folder, workers=force)
        varied = None
        if sensitivity:
            varied = vary(read, plans, found, out=folder, of=of, runs=runs, workers=force)
        if comm.rank == 0 and found is not None:
            _show(found, varied, plans, folder)


def _show(found: Outcome, varied: Sensitivity | None, plans: Plans, folder: Path) -> None:
    """Table, page, and where they are."""
    from organtwin.export.rehearsal_page import write_rehearsal_page

    _table(found, plans, folder)
    if varied is not None:
        _intervals(varied)
    page = write_rehearsal_page(folder)
    typer.echo(f"\nPage:      {page}")
    typer.echo(f"Numbers:   {folder / 'ranking.csv'}, {folder / 'ranking.json'}")
    if varied is not None:
        typer.echo(f"           {folder / 'sensitivity.csv'}, {folder / 'sensitivity.json'}")


def _show_status(case: RehearsalCase, plans: Plans, folder: Path) -> None:
    from organtwin.case.sweep import look

    if not plans.members():
        typer.echo("Which sizes fit is known once the scan is measured; nothing was done yet.")
        return
    _table(look(case, plans, plans.work, folder), plans, folder)


def _table(found: Outcome, plans: Plans, folder: Path) -> None:
    """Members by rank, then the others."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from organtwin.case.members import minutes

    table = Table("", "plan", "state", "minutes", "score", "why")
    states = {one.name: one for one in found.states}
    for rank in found.ranks:
        state = states[rank.name]
        table.add_row(
            str(rank.place), rank.name, state.status, f"{minutes(state):.1f}",
            f"{rank.score:.2f}", escape(rank.why),
        )  # fmt: skip
    for state in found.states:
        if state.status != "finished":
            told = state.reason or plans.progress(folder / "members" / state.name)
            spent = f"{minutes(state):.1f}" if minutes(state) else ""
            table.add_row("", state.name, state.status, spent, "", escape(told))
    Console(width=None if _terminal() else 160).print(table)


def _intervals(varied: Sensitivity) -> None:
    """Indices with their intervals and what moves them most."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from organtwin.case.members import in_words
    from organtwin.export.rehearsal_pictures import interval

    table = Table("index", "value (interval)", "unit", "largest contributor", "missing")
    for one in varied.intervals:
        share = f" ({100 * one.by[0].share:.0f} %)" if one.largest else ""
        ends = {"value": one.index.value, "low": one.low, "high": one.high}
        table.add_row(
            one.index.name, interval(ends), one.index.unit, f"{one.largest}{share}",
            ", ".join(one.missing),
        )  # fmt: skip
    console = Console(width=None if _terminal() else 160)
    console.print(f"\n{varied.of}", table)
    for state in varied.states:
        if state.status != "finished":
            console.print(escape(in_words(state)))


def _terminal() -> bool:
    import sys

    return sys.stdout.isatty()
