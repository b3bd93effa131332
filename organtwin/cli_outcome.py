"""What all small commands do with errors: one message and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from organtwin.errors import InputError, OrgantwinError


@contextmanager
def outcome() -> Iterator[None]:
    """Turn what a command raises into one message and an exit code, on rank 0 alone."""
    from mpi4py import MPI

    try:
        yield
    except OrgantwinError as error:
        if MPI.COMM_WORLD.rank == 0:
            typer.echo(f"organtwin: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, InputError) else 1) from None
