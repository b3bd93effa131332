"""The command `organtwin calibrate`: from measurements to parameters with error bars."""

from __future__ import annotations

from typing import Annotated

import typer

from organtwin.cli_options import CaseFile, Cluster, Out, Settings, Workers
from organtwin.cli_outcome import outcome


def calibrate(
    case: CaseFile,
    settings: Settings = None,
    out: Out = None,
    workers: Workers = 1,
    cluster: Cluster = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget members computed before.")] = False,
) -> None:
    """Find parameters from measurements, with 95 % intervals.

    Measurements are CSV tables, HL7 FHIR or WFDB records; see docs/calibration.md. Members that
    were computed before are used again, so a run that was stopped goes on. Examples:

        organtwin calibrate demos/calibration/case.toml

        organtwin calibrate case.toml --workers 4 --set calibration.smoother.members=400

        mpirun -n 16 organtwin calibrate case.toml
    """
    with outcome():
        from mpi4py import MPI

        from organtwin.case.calibration import run_calibration
        from organtwin.case.load import load_calibration_case
        from organtwin.parallel import abort_on_uncaught_error, on_root

        comm = MPI.COMM_WORLD
        abort_on_uncaught_error(comm)
        read = on_root(comm, lambda: load_calibration_case(case, settings or []))
        folder = out or read.output.directory
        run_calibration(read, out=folder, workers=workers, cluster=cluster, fresh=fresh, comm=comm)
        if comm.rank == 0:
            typer.echo(f"\nReport:    {folder / 'report.html'}")
            typer.echo(f"Numbers:   {folder / 'parameters.csv'}, {folder / 'calibration.json'}")
