"""The command `organtwin repeat`: a run once more from its record, and what differs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mpi4py import MPI


def run(
    record: Path,
    out: Path | None,
    inputs: list[Path] | None,
    other_ranks: bool,
    tolerance: float | None,
    comm: MPI.Comm,
) -> bool:
    """Repeat a run and print what differs; whether all is the same; collective."""
    from organtwin.case.repeat import repeat

    found = repeat(
        record, out=out, inputs=inputs or [], other_ranks=other_ranks, tolerance=tolerance,
        comm=comm,
    )  # fmt: skip
    if comm.rank == 0:
        for change in found.changed:
            typer.echo(f"Not as it was: {change}")
        missed = [one for one in found.differences if not one.met]
        for one in missed:
            typer.echo(
                f"DIFFERS  {one.name}: {one.before} → {one.now} "
                f"({one.relative:.1e}, allowed {one.allowed:.0e})"
            )
        largest = max((one.relative for one in found.differences), default=0.0)
        typer.echo(
            f"{len(found.differences) - len(missed)} of {len(found.differences)} results and "
            f"curves are the same; the largest relative difference is {largest:.1e}.\n"
            f"Numbers:   {found.directory / 'repeat.json'}"
        )
    return found.met


Record = Annotated[
    Path, typer.Argument(help="run.json of a result, or its directory.", metavar="RUN.json")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Directory of the new run; <first>-repeated by default."),
]
Inputs = Annotated[
    list[Path] | None,
    typer.Option("--input", help="An input or a folder of them that lies elsewhere now."),
]
OtherRanks = Annotated[
    bool, typer.Option("--other-ranks", help="The number of ranks may be another.")
]
Tolerance = Annotated[
    float | None,
    typer.Option("--tolerance", help="Allowed relative difference; 1e-10, or 1e-6 on other ranks."),
]
