"""The command `organtwin audit`, and what happens around every command: modes and audit log."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from organtwin import __version__, audit
from organtwin.errors import InputError
from organtwin.permissions import restrict

app = typer.Typer(no_args_is_help=True, help="Look after the audit log; see docs/security.md.")

#: Commands that note their runs themselves, with the versions of all libraries.
NOTED = {"run", "mesh", "solve", "report", "calibrate", "repeat"}
#: Variables of launchers with the number of a rank: of MPICH, Open MPI, PMIx and Slurm.
RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID")
#: Exit code → how a command ended.
OUTCOMES = {0: "complete", 2: "refused", 75: "interrupted", 130: "interrupted"}


@app.callback()
def about() -> None:
    """Look after the audit log: who ran what on which input, line by line.

    organtwin audit verify results/heartbeat/audit.jsonl
    """


@app.command()
def verify(
    log: Annotated[Path, typer.Argument(metavar="FILE", help="Audit log (.jsonl).")],
    head: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="Hash that was noted elsewhere; a line has to have it."),
    ] = None,
) -> None:
    """Check that no line was changed, deleted, added, reordered or cut off.

    Tells the first line that does not hold; else the number of lines and the last hash, which you
    may note elsewhere.
    """
    try:
        found = audit.verify(log, head)
    except InputError as error:
        typer.echo(f"organtwin: {error}", err=True)
        raise typer.Exit(2) from None
    if found.broken is not None:
        typer.echo(f"organtwin: {log}, line {found.broken}: {found.reason}.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{found.lines} lines hold; the last hash is {found.last}")


@contextmanager
def entry(arguments: Sequence[str]) -> Iterator[None]:
    """Around a command: its files are its owner's, and the audit log, if one is set, tells of it.

    Args:
        arguments: Words of the command line after the program.
    """
    try:
        restrict()
        begun = _begun(arguments)
    except InputError as error:
        typer.echo(f"organtwin: {error}", err=True)
        raise SystemExit(2) from None
    try:
        yield
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        begun.end(OUTCOMES.get(code, f"failed: exit code {code}"))
        raise
    except BaseException as error:
        begun.end(audit.outcome(error))
        raise


def is_first() -> bool:
    """Whether this is rank 0, before MPI is there to be asked: launchers tell it in variables."""
    return next((os.environ[name] for name in RANKS if name in os.environ), "0") == "0"


def _begun(arguments: Sequence[str]) -> audit.Run:
    """Begin of a command that reads files and does not note its run itself."""
    command = audit.command()
    files = [Path(word) for word in arguments if not word.startswith("-") and Path(word).exists()]
    own = command.removeprefix("organtwin ") in {*NOTED, "audit"}
    log = audit.place() if is_first() and files and not own else None
    inputs = audit.content_hash(files) if log is not None else {}
    return audit.begin(log, command, inputs, {"version": __version__})
