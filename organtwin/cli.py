"""The command line: arguments and exit codes; the work is done elsewhere.

Exit codes (docs/running.md): 0 done, 1 something failed, 2 the input is wrong (nothing was
written), 74 a file can't be written, 75 stopped by a signal, 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from organtwin import (
    __version__,
    cli_audit,
    cli_bom,
    cli_calibrate,
    cli_case,
    cli_companion,
    cli_deidentify,
    cli_export,
    cli_image,
    cli_ionic,
    cli_landmarks,
    cli_rehearse,
    cli_repeat,
    cli_root,
    cli_segment,
    cli_surface,
    cli_view,
)
from organtwin.cli_audit import is_first
from organtwin.cli_options import AsJson, CaseFile, Out, Settings
from organtwin.cli_outcome import NO_ROOM, NOT_WRITTEN, code_of, not_written
from organtwin.errors import OrgantwinError

if TYPE_CHECKING:
    from mpi4py import MPI

    from organtwin.verify.record import Record

app = typer.Typer(
    name="organtwin",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cli_audit.app, name="audit")
app.add_typer(cli_image.app, name="image")
app.add_typer(cli_ionic.app, name="ionic")

Fresh = Annotated[bool, typer.Option("--fresh", help="Do finished stages anew.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with a run; refused where there is none.")
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"organtwin {__version__}")
        raise typer.Exit


@app.callback()
def organtwin(
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, help="Say more; -vv for everything.")
    ] = 0,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Finite-element models of organs from medical images.

    A first beat, on one core and on two:

        organtwin run demos/heartbeat/case.toml

        mpirun -n 2 organtwin run demos/heartbeat/case.toml

    What would it do, how big is it, and is this machine fit for it?

        organtwin run demos/heartbeat/case.toml --dry-run

        organtwin doctor
    """
    _configure_logging(verbose)


@app.command()
def run(
    case: CaseFile,
    settings: Settings = None,
    out: Out = None,
    fresh: Fresh = False,
    resume: Resume = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved case and its size, then stop.")
    ] = False,
) -> None:
    """Do everything: image, mesh, cell, solve, report.

    A case file with a section `[device]` brings a transcatheter valve into an aortic root: measure,
    root, deploy, report; see docs/tavr.md. One with `[hip_stem]`, `[pedicle_screw]` or
    `[tibial_plateau]` brings an implant into a bone; see docs/implant-cases.md.

    Finished stages whose inputs did not change are reused. Examples:

        organtwin run case.toml

        organtwin run case.toml --set circulation.heart_rate="90 / min" --out results/fast

        organtwin run case.toml --set mesh.size="8 mm" --dry-run

        mpirun -n 4 organtwin run case.toml --fresh

    A run that was stopped goes on by the same command; `--resume` sees to it that there is one.
    """
    if resume:
        with _outcome() as comm:
            cli_case.require_begun(case, settings or [], out, fresh, comm)
    if dry_run:
        with _outcome() as comm:
            cli_case.print_resolved(case, settings or [], comm)
    else:
        _run(case, settings, out, fresh, only=None)


@app.command()
def mesh(case: CaseFile, settings: Settings = None, out: Out = None, fresh: Fresh = False) -> None:
    """Image and mesh only, or an organ's mesh, directions and coordinates.

    Rank 0 meshes; what `[anatomy]` asks for is computed on all ranks.

    A case file with a section `[source]` makes the mesh of any organ with its report; see
    docs/meshes.md. Of a simulation's case file the first two stages are done.
    """
    from organtwin.case.load import is_organ_case, load_organ_case

    with _outcome() as comm:
        from organtwin.parallel import on_root

        if on_root(comm, lambda: is_organ_case(case)):
            from organtwin.case.meshing import mesh_organ

            organ = on_root(comm, lambda: load_organ_case(case, settings or []))
            directory = mesh_organ(organ, out=out, fresh=fresh, comm=comm)
            _on_first(comm, f"\nReport:    {directory / 'report.html'}")
            _on_first(comm, f"Mesh:      {directory / 'mesh.msh'}")
            return
    _run(case, settings, out, fresh, only={"image", "mesh"})


@app.command()
def solve(case: CaseFile, settings: Settings = None, out: Out = None, fresh: Fresh = False) -> None:
    """Everything up to the fields, without the report: `mpirun -n 64 organtwin solve case.toml`."""
    _run(case, settings, out, fresh, only={"image", "mesh", "cell", "solve"})


@app.command()
def report(case: CaseFile, settings: Settings = None, out: Out = None) -> None:
    """Pictures and report from the files of a finished run: `organtwin report case.toml`."""
    _run(case, settings, out, fresh=False, only={"report"})


@app.command()
def presets() -> None:
    """List the pathologies that a case file can name as `preset`, with their keys and sources.

    organtwin run case.toml --set preset=aortic_stenosis
    """
    from organtwin.case.presets import leaves
    from organtwin.case.presets import presets as known

    for preset in known().values():
        typer.echo(f"{preset.name}: {preset.description}")
        for key, value in leaves(preset.settings):
            typer.echo(f"    {key} = {json.dumps(value, ensure_ascii=False)}")
            typer.echo(f"        {preset.sources[key]}")


@app.command()
def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the slow checks.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check this machine: Python, DOLFINx, MPI, compiler, gmsh, rendering; ok or the remedy."""
    from organtwin.doctor import as_json as findings_as_json
    from organtwin.doctor import examine

    findings = examine(quick=quick)
    if as_json:
        typer.echo(findings_as_json(findings))
    else:
        for finding in findings:
            typer.echo(f"{'ok ' if finding.ok else 'NO '} {finding.name:<17} {finding.seen}")
            for line in finding.remedy:
                typer.echo(f"    {line}")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Problems; all if none.")] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the problems.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Coarser, in a minute.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compute problems with known answers and compare; the values are kept for credibility files.

    See what there is, then run one:

        organtwin verify --list

        organtwin verify land_problem_1 --json
    """
    with _outcome() as comm:
        from organtwin.verify.problems import run as run_problems
        from organtwin.verify.problems import select

        chosen = select(names or [])
        if list_them:
            _on_first(comm, "\n".join(f"{p.name:<28} {p.about}" for p in chosen))
            return
        from organtwin.parallel import on_root
        from organtwin.verified import note

        records: list[Record] = []
        for problem, found in zip(
            chosen, run_problems(names or [], comm, quick=quick), strict=True
        ):
            values = [record.as_dict() for record in found]
            on_root(comm, partial(note, problem.name, values, quick=quick, mpi_size=comm.size))
            records += found
        if comm.rank == 0:
            _print_records(records, as_json)
        if not all(record.met for record in records):
            raise typer.Exit(1)


@app.command()
def repeat(
    record: cli_repeat.Record,
    out: cli_repeat.Out = None,
    inputs: cli_repeat.Inputs = None,
    other_ranks: cli_repeat.OtherRanks = False,
    tolerance: cli_repeat.Tolerance = None,
) -> None:
    """Do a run again from its record and compare: same case, inputs by checksum, same ranks.

    Inputs that were changed are refused by name; versions that differ are told. Exit code 1 if a
    result differs by more than is allowed. Examples:

        organtwin repeat results/heartbeat/run.json

        mpirun -n 4 organtwin repeat run.json --input moved/heart.nrrd --out again
    """
    with _outcome() as comm:
        if not cli_repeat.run(record, out, inputs, other_ranks, tolerance, comm):
            raise typer.Exit(1)


@app.command()
def companion(
    result: cli_companion.Result,
    mesh: cli_companion.MeshRatio = 1.5,
    time_step: cli_companion.TimeRatio = 2.0,
    order: cli_companion.Order = 1.0,
) -> None:
    """Estimate the error that mesh and time step leave in a result, by coarser runs beside it.

    They go to companion.json, credibility.json and the report. Examples:

        organtwin companion results/heartbeat

        mpirun -n 4 organtwin companion results/tavr --mesh 1.25
    """
    with _outcome() as comm:
        cli_companion.run(result, mesh, time_step, order, comm)


app.command("bom")(cli_bom.bom)
app.command("calibrate")(cli_calibrate.calibrate)
app.command("deidentify")(cli_deidentify.deidentify)
app.command("export")(cli_export.export)
app.command("segment")(cli_segment.segment)
app.command("landmarks")(cli_landmarks.find)
app.command("rehearse")(cli_rehearse.rehearse)
app.command("root")(cli_root.measure)
app.command("surface")(cli_surface.surface)
app.command("view")(cli_view.view)


def main() -> None:
    """Entry point of the console script."""
    # PETSc would take SIGTERM, which asks to stop, for a crash; of crashes Python tells more.
    asked = os.environ.get("PETSC_OPTIONS", "")
    if "signal_handler" not in asked:
        os.environ["PETSC_OPTIONS"] = f"{asked} -no_signal_handler".strip()
    faulthandler.enable()
    with cli_audit.entry(sys.argv[1:]):
        app()


# --- shared by the commands ---------------------------------------------------------------------


def _run(
    path: Path, settings: list[str] | None, out: Path | None, fresh: bool, only: set[str] | None
) -> None:
    with _outcome() as comm:
        cli_case.run(path, settings or [], out, fresh, only, comm)


@contextmanager
def _outcome() -> Iterator[MPI.Comm]:
    """Give a command its ranks; turn what it raises into one message and an exit code."""
    from mpi4py import MPI

    from organtwin.parallel import abort_on_uncaught_error
    from organtwin.run.stopping import INTERRUPTED, SIGNALS, StoppedError, stop_at_once

    comm = MPI.COMM_WORLD
    abort_on_uncaught_error(comm)
    # Within a time loop these are requests; elsewhere nothing is lost that was not kept before.
    for number in SIGNALS:
        signal.signal(number, stop_at_once)
    try:
        yield comm
    except OrgantwinError as error:
        if comm.rank == 0:
            typer.echo(f"organtwin: {error}", err=True)
        if isinstance(error, StoppedError):
            raise typer.Exit(error.code) from None
        raise typer.Exit(code_of(error)) from None
    except KeyboardInterrupt as stop:
        if comm.rank == 0:
            typer.echo("\norgantwin: interrupted; what was computed is kept.", err=True)
        _leave(comm, getattr(stop, "code", INTERRUPTED))
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        typer.echo(not_written(error), err=True)
        _leave(comm, NOT_WRITTEN)


def _leave(comm: MPI.Comm, code: int) -> NoReturn:
    """End all ranks: the other end of a half-done collective will never answer."""
    sys.stdout.flush()
    sys.stderr.flush()
    if comm.rank:
        time.sleep(2)  # for rank 0 to write its record: an abort ends all ranks
    if comm.size > 1:
        comm.Abort(code)
    os._exit(code)  # without MPI's farewell


def _on_first(comm: MPI.Comm, text: str) -> None:
    if comm.rank == 0:
        typer.echo(text)


def _print_records(records: list[Record], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([record.as_dict() for record in records], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    signs = {"equal": "", "at least": "≥ ", "at most": "≤ "}
    table = Table("problem", "quantity", "value", "expected", "source", "verdict")
    for r in records:
        unit = "" if r.unit == "1" else f" {r.unit}"
        colour = "green" if r.met else "red"
        margin = f" ± {r.tolerance:.2g}" if r.sense == "equal" else ""
        expected = f"{signs[r.sense]}{r.bound:.6g}{margin}{unit}"
        table.add_row(
            r.name, r.quantity, f"{r.value:.6g}{unit}", expected, r.source,
            f"[{colour}]{r.verdict}[/]",
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _configure_logging(verbose: int) -> None:
    """Rank 0 logs to stderr; the others only warn."""
    from organtwin.case.progress import console

    first = is_first()
    level = [logging.INFO, logging.DEBUG][min(verbose, 1)] if first else logging.WARNING
    from rich.logging import RichHandler

    handler = RichHandler(
        console=console(), show_path=False, show_level=verbose > 0, log_time_format="%H:%M:%S"
    )
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("organtwin").setLevel(level)
