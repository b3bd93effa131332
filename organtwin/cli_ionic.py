"""The commands `organtwin ionic`: import a cell model, list those there are, look at one."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from organtwin.cli_outcome import outcome

if TYPE_CHECKING:
    from rich.table import Table

    from organtwin.cells.accuracy import StepError
    from organtwin.cells.importing import Import
    from organtwin.cells.model import CellModel

app = typer.Typer(no_args_is_help=True, help="Cell models: import, list, look at one.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CellML, Myokit (.mmt) or gotran (.ode) file.")],
    name: Annotated[str | None, typer.Option(help="Of the model; else that of the file.")] = None,
    into: Annotated[Path, typer.Option(metavar="DIR", help="Where the files are written.")] = Path(
        "ionic_models"
    ),
    calcium: Annotated[
        str | None, typer.Option(metavar="STATE", help="Free cytosolic calcium in the file.")
    ] = None,
    potential: Annotated[
        str | None, typer.Option(metavar="STATE", help="Transmembrane potential in the file.")
    ] = None,
    stimulus: Annotated[
        list[str] | None,
        typer.Option(metavar="VARIABLE", help="Stimulus in the file, set to zero; repeatable."),
    ] = None,
    time_unit: Annotated[
        str | None, typer.Option(metavar="UNIT", help="Of time, if the file tells none.")
    ] = None,
    potential_unit: Annotated[
        str | None, typer.Option(metavar="UNIT", help="Of the potential, if the file tells none.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Import a cell model and check it against the original equations.

    Writes the definition, its entry, a reference trace and a test, and reports units, states,
    parameters and time steps:

        organtwin ionic import MODEL.cellml

    Then use it:

        organtwin run case.toml --set electrophysiology.ionic_model=ionic_models/MODEL.toml
    """
    with outcome():
        from organtwin.cells.importing import ROUNDING, Wanted, import_model

        wanted = Wanted(potential, calcium, tuple(stimulus or ()), time_unit, potential_unit)
        found = import_model(file, name=name, into=into, wanted=wanted, replace_files=force)
        _print_import(found)
        if found.rates_error >= ROUNDING:
            raise typer.Exit(1)


@app.command("list")
def list_() -> None:
    """List the cell models of the library."""
    with outcome():
        from rich.table import Table

        from organtwin.cells.catalogue import library
        from organtwin.cells.model import CellModel

        table = Table("model", "states", "calcium", "source")
        for name in sorted(library()):
            model = CellModel.load(name)
            table.add_row(
                name, str(len(model.states)), "no" if model.calcium is None else "yes",
                model.citation,
            )  # fmt: skip
        _print(table)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Name in the library, or NAME.toml of an import.")],
) -> None:
    """Show states, parameters and the errors of time steps.

    organtwin ionic show ten_tusscher_2006_epi

    organtwin ionic show ionic_models/MODEL.toml
    """
    with outcome():
        from organtwin.cells.accuracy import step_errors
        from organtwin.cells.catalogue import is_own, library, own_entry
        from organtwin.cells.kernel import compile_kernel
        from organtwin.cells.model import CellModel

        model = CellModel.load(name)
        entry = own_entry(Path(name)) if is_own(name) else library()[name]
        base = {} if is_own(name) else library()[entry.get("like", name)]
        typer.echo(f"{model.name}: {model.citation}")
        _print_model(model, {**base, **entry}.get("currents", {}), {})
        _print_steps(step_errors(compile_kernel(model)))


# --- output ---------------------------------------------------------------------------------------


def _print_import(found: Import) -> None:
    from organtwin.cells.importing import ROUNDING, TRACE_TOLERANCE

    translation = found.translation
    model, foreign = translation.model, translation.foreign
    time, voltage = translation.to_ms, translation.to_mv
    zero = ", ".join(foreign.variables[key].place for key in translation.stimulus)
    verdict = "ok" if found.rates_error < ROUNDING else "NOT the same: report this"
    traced = "ok" if found.trace_error < TRACE_TOLERANCE else "NOT the same: see the notes"
    typer.echo(f"{model.name} from {foreign.path}: {model.citation}")
    _print_model(model, translation.currents, translation.units)
    lines = [
        f"Time             {'ms' if time == 1.0 else f'converted to ms, factor {time:g}'}",
        f"Potential        {model.potential}"
        + ("" if voltage == 1.0 else f", converted to mV, factor {voltage:g}"),
        "Calcium          "
        + (f"{model.calcium}, {model.to_micromolar:g} µM" if model.calcium else "none found"),
        f"Stimulus         {f'{zero} set to zero' if zero else 'none found'}",
        f"Left out         {translation.unused} equations and parameters that no rate needs",
        f"Right-hand side  differs from the file's by {found.rates_error:.1e}: {verdict}",
        f"Trace of a beat  differs from the file's by {found.trace_error:.1e} mV: {traced}",
        *(f"Note             {note}" for note in translation.notes),
    ]
    typer.echo("\n".join(lines))
    _print_steps(found.steps)
    typer.echo("Written: " + " ".join(str(file) for file in found.files))
    typer.echo("Its licence is that of the file: check it before you pass the model on.")


def _print_model(model: CellModel, currents: Mapping[str, str], units: Mapping[str, str]) -> None:
    from rich.table import Table

    scales = {parameter: current for current, parameter in currents.items()}
    states = Table("state", "initial value", "unit", "what")
    for name, value in model.states.items():
        what = {model.potential: "potential", model.calcium: "calcium"}.get(name, "")
        unit = units.get(name, "mV" if name == model.potential else "")
        states.add_row(name, f"{value:g}", unit, what)
    parameters = Table("parameter", "value", "unit", "scales")
    for name, value in model.parameters.items():
        parameters.add_row(name, f"{value:g}", units.get(name, ""), scales.get(name, ""))
    for table in (states, parameters):
        _print(table)


def _print_steps(errors: Sequence[StepError]) -> None:
    from rich.table import Table

    from organtwin.cells.accuracy import largest_steps

    table = Table(
        "step (ms)", "stable", "error of APD90 (ms)", "(%)", "of the peak (mV)", "of calcium (%)"
    )
    for e in errors:
        calcium = "" if e.calcium_relative is None else _signed(100 * e.calcium_relative)
        table.add_row(
            f"{e.dt:g}", "yes" if e.stable else "no", _signed(e.apd90),
            _signed(100 * e.apd90_relative), _signed(e.peak), calcium,
        )  # fmt: skip
    _print(table)
    accurate, stable = largest_steps(errors)
    typer.echo(
        f"Largest step with APD90 right within 1 %: {_step(accurate)}; "
        f"largest stable: {_step(stable)}"
    )


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.2f}"


def _step(step: float | None) -> str:
    return "none of these" if step is None else f"{step:g} ms"


def _print(table: Table) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 140).print(table)
