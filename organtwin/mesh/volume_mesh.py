"""Tetrahedra with named regions, surfaces and fibres: what all mesh files are read into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.regions import faces

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Names under which files keep the region of a cell, the likeliest first.
REGION_ARRAYS = (
    "region", "regions", "elemTag", "gmsh:physical", "medit:ref", "CellEntityIds", "material",
    "label", "tag", "tags", "id", "ID",
)  # fmt: skip
#: Name of the region of cells that no file gives one, and of untagged outer facets.
WHOLE, BOUNDARY = "body", "boundary"
#: Fibre directions, in the order of a CARP file.
DIRECTIONS = ("f0", "s0")


@dataclass(frozen=True)
class TetrahedralMesh:
    """Tetrahedra with named regions and facets (LPS, mm).

    Attributes:
        points: Vertices (mm), shape (n, 3).
        cells: Vertex indices, positive volumes, shape (m, 4).
        regions: Integer of the region of each cell, shape (m,).
        region_names: Name of a region → its integer.
        facets: Vertex indices of tagged triangles, shape (k, 3).
        facet_tags: Integer of the surface of each, shape (k,).
        facet_names: Name of a surface → its integer.
        vertex_values: Name → one row per vertex.
        cell_values: Name → one row per cell.
        fibres: ``f0``, perhaps ``s0`` → unit vector in each cell, zero where there is none, (m, 3).
    """

    points: Points
    cells: Index
    regions: Index
    region_names: Mapping[str, int]
    facets: Index = field(default_factory=lambda: np.empty((0, 3), np.int64))
    facet_tags: Index = field(default_factory=lambda: np.empty(0, np.int64))
    facet_names: Mapping[str, int] = field(default_factory=dict)
    vertex_values: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    cell_values: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    fibres: Mapping[str, Points] = field(default_factory=dict)

    def volume(self, name: str) -> float:
        """Volume (mm³) of a region.

        Raises:
            InputError: no region of that name.
        """
        chosen = in_region(self.regions, self.region_names, name)
        return float(signed_volumes(self.points, self.cells[chosen]).sum())


def in_region(regions: Index, names: Mapping[str, int], name: str) -> NDArray[np.bool_]:
    """Which cells belong to a region.

    Args:
        regions: Integer of the region of each cell, shape (m,).
        names: Name of a region → its integer.
        name: The region.

    Raises:
        InputError: no region of that name.
    """
    if name not in names:
        raise InputError("mesh", f"no region `{name}`.", suggestion(name, names))
    return np.asarray(regions == names[name])


def nodal_directions(mesh: TetrahedralMesh, name: str) -> Points:
    """Directions in the cells, of those at the vertices; signs do not matter.

    The direction is the eigenvector of Σ v vᵀ over the four vertices that has the largest
    eigenvalue.

    Args:
        mesh: Mesh with the vectors among its `vertex_values`.
        name: Their name.

    Returns:
        Unit vectors, shape (m, 3).

    Raises:
        InputError: no vectors of that name.
    """
    if name not in mesh.vertex_values or mesh.vertex_values[name].shape[1:] != (3,):
        raise InputError("mesh", f"no vectors `{name}`.", suggestion(name, mesh.vertex_values))
    v = np.asarray(mesh.vertex_values[name], np.float64)[mesh.cells]
    return np.asarray(np.linalg.eigh(np.einsum("mki,mkj->mij", v, v))[1][:, :, 2])


def outer_facets(cells: Index) -> Index:
    """Facets that belong to one cell only, sorted vertices, shape (k, 3)."""
    unique, count = np.unique(faces(cells), axis=0, return_counts=True)
    return np.asarray(unique[count == 1])


def all_outer(mesh: TetrahedralMesh) -> tuple[Index, Index, dict[str, int]]:
    """Tagged facets and, as ``boundary``, the outer ones that no surface has."""
    outer = outer_facets(mesh.cells)
    known = {tuple(f) for f in np.sort(mesh.facets, axis=1).tolist()}
    rest = np.array([f for f in outer.tolist() if tuple(f) not in known]).reshape(-1, 3)
    names = dict(mesh.facet_names)
    if not len(rest):
        return mesh.facets, mesh.facet_tags, names
    number = names.setdefault(BOUNDARY, max(names.values(), default=0) + 1)
    return (
        np.concatenate([mesh.facets, rest.astype(np.int64)]),
        np.concatenate([mesh.facet_tags, np.full(len(rest), number)]),
        names,
    )


def check_kinds(file: Path, tetrahedra: int, others: list[str]) -> None:
    """Refuse files without tetrahedra or with other volume cells.

    Raises:
        InputError: so it is.
    """
    if tetrahedra and not others:
        return
    found = ", ".join(others) or "no volume cells"
    raise InputError(
        str(file),
        f"holds {found}{' beside tetrahedra' if tetrahedra else ''}; tetrahedra with four vertices "
        "are wanted.",
        "Convert it; a surface is read by organtwin.mesh.surface_files.",
    )


def region_array(values: Mapping[str, NDArray[Any]]) -> str | None:
    """The array that looks like regions; the only one of integers if no name is known."""
    whole = [
        name
        for name, value in values.items()
        if value.ndim == 1 and np.isfinite(value).all() and (value == np.round(value)).all()
    ]
    known = [name for name in REGION_ARRAYS if name in whole]
    integers = [name for name in whole if values[name].dtype.kind in "iu"]
    return known[0] if known else integers[0] if len(integers) == 1 else None


def unit_vectors(vectors: NDArray[Any]) -> Points:
    """Unit vectors; zero where the file has none."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1.0), np.float64)
