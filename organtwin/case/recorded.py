"""Runs by their record: the case that ``run.json`` holds, done once more."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from mpi4py import MPI

from organtwin.case import load
from organtwin.case.implant_pipeline import run_implant
from organtwin.case.manifest import read_manifest
from organtwin.case.meshing import mesh_organ
from organtwin.case.organ import OrganCase
from organtwin.case.pipeline import run_case
from organtwin.case.schema import Case
from organtwin.case.schema_implant import ImplantCase
from organtwin.case.schema_tavr import TavrCase
from organtwin.case.tavr_pipeline import run_tavr
from organtwin.errors import InputError
from organtwin.parallel import on_root

type Recorded = Case | OrganCase | TavrCase | ImplantCase

#: What a record of a run must hold.
NEEDED = {"case", "inputs", "versions", "mpi_size", "results", "stages", "status"}


def read_run(directory: Path) -> dict[str, Any]:
    """Record of a complete run.

    Args:
        directory: Result directory.

    Raises:
        InputError: there is none, or the run is not complete.
    """
    content = read_manifest(directory)
    place = str(directory / "run.json")
    if content is None or not set(content) >= NEEDED:
        raise InputError(place, "is no record of a run.", "Give the run.json of a result.")
    if content["status"] != "complete":
        raise InputError(
            place, f"the run is not complete but {content['status']}.", "Run the case to its end."
        )
    return content


def load_recorded(case: Mapping[str, Any], comm: MPI.Comm) -> Recorded:
    """The case of a record, checked as a case file is; collective.

    Raises:
        InputError: a setting is wrong, or it is of a kind that can't be done by its record.
    """

    def read() -> Recorded:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "case.toml"
            file.write_text(tomli_w.dumps(dict(case)), encoding="utf-8")
            if load.is_tavr_case(file):
                return load.load_tavr_case(file)
            if load.is_implant_case(file):
                return load.load_implant_case(file)
            if load.is_organ_case(file):
                return load.load_organ_case(file)
            if "image" in case:
                return load.load_case(file)
        raise InputError(
            "run.json", "it is of a kind that can't be repeated by this command.",
            "A calibration is repeated by `organtwin calibrate` into another directory.",
        )  # fmt: skip

    return on_root(comm, read)


def do_again(
    case: Mapping[str, Any], directory: Path, stages: set[str], comm: MPI.Comm = MPI.COMM_WORLD
) -> None:
    """Do a recorded case in another directory; collective.

    Args:
        case: As ``run.json`` holds it.
        directory: Result directory.
        stages: Names of the stages wanted; without ``report`` nothing is drawn.
        comm: Communicator.

    Raises:
        OrgantwinError: what went wrong; what was computed is kept.
    """
    found, drawn = load_recorded(case, comm), "report" in stages
    if isinstance(found, TavrCase):
        run_tavr(found, out=directory, only=None if drawn else stages, comm=comm)
    elif isinstance(found, ImplantCase):
        run_implant(found, out=directory, only=None if drawn else stages, comm=comm)
    elif isinstance(found, Case):
        run_case(found, out=directory, only=None if drawn else stages, comm=comm)
    else:
        mesh_organ(found, out=directory, comm=comm)
