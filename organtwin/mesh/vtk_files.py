"""Tetrahedra from and to VTK files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.surface_files import vtk_silent
from organtwin.mesh.volume_mesh import (
    DIRECTIONS,
    WHOLE,
    TetrahedralMesh,
    check_kinds,
    region_array,
    unit_vectors,
)

_TRIANGLE, _TETRAHEDRON = 5, 10  # VTK's numbers


def read_vtk(file: Path) -> TetrahedralMesh:
    """Tetrahedra, and triangles for the surfaces.

    Raises:
        InputError: it is damaged, or holds other cells or no volume mesh.
    """
    data = _grid(file)
    cells, facets = _of_kind(data, _TETRAHEDRON, 4), _of_kind(data, _TRIANGLE, 3)
    _check_cells(file, data, len(cells))
    in_cells, in_facets = data.celltypes == _TETRAHEDRON, data.celltypes == _TRIANGLE
    values = {name: np.asarray(data.cell_data[name]) for name in data.cell_data}
    array = region_array(values)
    tags = np.ones(data.n_cells, np.int64) if array is None else values.pop(array).astype(np.int64)
    own = {name: value[in_cells] for name, value in values.items()}
    fibres = {k: unit_vectors(own.pop(k)) for k in DIRECTIONS if k in own}
    return TetrahedralMesh(
        np.asarray(data.points, np.float64),
        cells,
        tags[in_cells],
        _stored_names(data, "region_names") or ({} if array else {WHOLE: 1}),
        facets,
        tags[in_facets],
        _stored_names(data, "facet_names"),
        {name: np.asarray(data.point_data[name]) for name in data.point_data},
        own,
        fibres,
    )


def _grid(file: Path) -> pv.UnstructuredGrid:
    try:
        with vtk_silent():
            data = pv.read(str(file))
    except Exception as error:  # readers raise what they like
        raise InputError(str(file), f"can't be read ({error}).", "Export again.") from None
    if not isinstance(data, pv.UnstructuredGrid):
        raise InputError(
            str(file),
            f"holds a {type(data).__name__}, no volume mesh.",
            "A surface is read by organtwin.mesh.surface_files.",
        )
    return data


def _of_kind(data: pv.UnstructuredGrid, kind: int, corners: int) -> NDArray[np.int64]:
    return np.asarray(data.cells_dict.get(kind, np.empty((0, corners))), np.int64)


def _check_cells(file: Path, data: pv.UnstructuredGrid, tetrahedra: int) -> None:
    samples = [data.GetCell(int(k)) for k in np.unique(data.celltypes, return_index=True)[1]]
    volumes = [cell for cell in samples if cell.GetCellDimension() == 3]
    others = [cell.GetClassName() for cell in volumes if cell.GetCellType() != _TETRAHEDRON]
    check_kinds(file, tetrahedra, others)


def _stored_names(data: Any, name: str) -> dict[str, int]:
    pairs = [str(text).split(" ", 1) for text in data.field_data.get(name, [])]
    return {text: int(tag) for tag, text in pairs}


def write_vtk(mesh: TetrahedralMesh, file: Path) -> None:
    """Write it with its names in the field data."""
    cells = {_TETRAHEDRON: mesh.cells, _TRIANGLE: mesh.facets}
    data = pv.UnstructuredGrid({k: c for k, c in cells.items() if len(c)}, mesh.points)
    data.cell_data["region"] = np.concatenate([mesh.regions, mesh.facet_tags])
    for name, value in {**mesh.cell_values, **mesh.fibres}.items():
        blank = np.zeros((len(mesh.facets), *value.shape[1:]), value.dtype)
        data.cell_data[name] = np.concatenate([value, blank])
    for name, value in mesh.vertex_values.items():
        data.point_data[name] = value
    for name, names in (("region_names", mesh.region_names), ("facet_names", mesh.facet_names)):
        if names:
            data.field_data[name] = [f"{tag} {text}" for text, tag in names.items()]
    data.save(str(file))
