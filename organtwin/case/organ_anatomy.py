"""Stage of an organ's mesh after meshing: directions and coordinates, on all ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.case.organ import OrganCase
from organtwin.case.organ_directions import (
    First,
    Found,
    in_atrium,
    in_bone,
    in_ventricles,
    in_vessel,
)
from organtwin.case.progress import Progress
from organtwin.case.records import write_record
from organtwin.mesh.mesh_files import read_mesh, write_mesh
from organtwin.mesh.tissue import borders_of
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.parallel import on_root


def anatomise(
    case: OrganCase, directory: Path, folder: Path, progress: Progress, comm: MPI.Comm
) -> None:
    """Put directions and coordinates on ``mesh.msh``; collective.

    Writes ``fields/anatomy.vtu``, which `organtwin.mesh.mesh_files.read_mesh` reads back with the
    fibres, and ``anatomy.json`` for the report.

    Args:
        case: The case, with a section ``[anatomy]``.
        directory: Result directory.
        folder: The stage's folder.
        progress: Told how far it is.
        comm: Communicator.

    Raises:
        InputError: a region, facet or point is not there.
        MeshError: a surface is empty.
        SolverError: a solve did not converge.
    """
    section = case.anatomy
    assert section is not None
    first = First(comm)
    mesh = first(lambda: read_mesh(directory / "mesh.msh"))
    borders = first(lambda: borders_of(mesh))
    degree = section.degree
    work: dict[str, Callable[[], Found | None]] = {
        name: partial(in_vessel, first, mesh, borders, name, vessel, degree)
        for name, vessel in section.vessels.items()
    }
    if section.ventricles:
        work["ventricles"] = partial(
            in_ventricles, first, mesh, borders, section.ventricles, case, degree
        )
    for side, atrium in (("left", section.left_atrium), ("right", section.right_atrium)):
        if atrium:
            work[f"{side}_atrium"] = partial(in_atrium, first, mesh, borders, side, atrium, degree)
    if section.bone:
        work["bone"] = partial(first, partial(in_bone, mesh, section.bone, case.source))
    found = []
    for done, (name, do) in enumerate(work.items()):
        progress(done / len(work), name)
        found.append(do())
    on_root(comm, lambda: _write(mesh, [f for f in found if f is not None], directory, folder))


def _write(mesh: TetrahedralMesh, found: list[Found], directory: Path, folder: Path) -> None:
    """Fields of all tissues on the whole mesh; what has none has zeros for directions, else NaN."""
    directions: dict[str, Any] = {}
    scalars: dict[str, NDArray[np.float32]] = {}
    for tissue in found:
        pairs = {"f0": tissue.f0} | ({} if tissue.s0 is None else {"s0": tissue.s0})
        for name, vectors in pairs.items():
            blank = np.zeros((len(mesh.cells), 3), np.float32)
            directions.setdefault(name, blank)[tissue.cells] = vectors
        for name, values in tissue.scalars.items():
            nothing = np.full(len(mesh.cells), np.nan, np.float32)
            scalars.setdefault(name, nothing)[tissue.cells] = values
    file = directory / "fields" / "anatomy.vtu"
    write_mesh(replace(mesh, fibres=directions, cell_values=scalars), file)
    record = {
        "tissues": [asdict(tissue.account) for tissue in found],
        "decisions": [told for tissue in found for told in tissue.account.decisions],
    }
    write_record(folder / "anatomy.json", record)
