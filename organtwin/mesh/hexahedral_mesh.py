"""`HexahedralMesh`: hexahedra with named regions and surfaces, their shapes and their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gmsh
import numpy as np
import pyvista as pv
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.tetrahedra import gmsh_session
from organtwin.mesh.volume_mesh import in_region

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Corners of the unit cube in the order of VTK and gmsh.
CORNERS = np.array(
    [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]
)
#: Corners of its faces, normals outwards; axis by axis, the lower one first.
FACES = np.array(
    [[0, 4, 7, 3], [1, 2, 6, 5], [0, 1, 5, 4], [3, 7, 6, 2], [0, 3, 2, 1], [4, 5, 6, 7]]
)
#: Of each corner: its three neighbours, right-handed.
_AROUND = np.array(
    [[1, 3, 4], [2, 0, 5], [3, 1, 6], [0, 2, 7], [7, 5, 0], [4, 6, 1], [5, 7, 2], [6, 4, 3]]
)


@dataclass(frozen=True)
class HexahedralMesh:
    """Hexahedra with named regions and facets (LPS, mm).

    Attributes:
        points: Vertices (mm), shape (n, 3).
        cells: Vertex indices in the order of VTK and gmsh, positive volumes, shape (m, 8).
        regions: Integer of the region of each cell, shape (m,).
        region_names: Name of a region → its integer.
        facets: Vertex indices of tagged quadrilaterals, shape (k, 4).
        facet_tags: Integer of the surface of each, shape (k,).
        facet_names: Name of a surface → its integer.
        cell_values: Name → one row per cell.
    """

    points: Points
    cells: Index
    regions: Index
    region_names: Mapping[str, int]
    facets: Index = field(default_factory=lambda: np.empty((0, 4), np.int64))
    facet_tags: Index = field(default_factory=lambda: np.empty(0, np.int64))
    facet_names: Mapping[str, int] = field(default_factory=dict)
    cell_values: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def volume(self, name: str) -> float:
        """Volume (mm³) of a region.

        Raises:
            InputError: no region of that name.
        """
        chosen = in_region(self.regions, self.region_names, name)
        return float(hexahedron_volumes(self.points, self.cells[chosen]).sum())


def with_cell_values(mesh: HexahedralMesh, **values: NDArray[Any]) -> HexahedralMesh:
    """The mesh with values of its cells.

    Raises:
        InputError: not one row per cell.
    """
    for name, value in values.items():
        if len(value) != len(mesh.cells):
            problem = f"`{name}` has {len(value)} rows for {len(mesh.cells)} cells."
            raise InputError("with_cell_values", problem, "Give one row per cell.")
    return replace(mesh, cell_values={**mesh.cell_values, **values})


def write_hexahedra(mesh: HexahedralMesh, path: str | Path) -> None:
    """Write hexahedra.

    Args:
        mesh: What to write; all outer facets must be in a surface, as they are in what
            `voxel_hexahedra` and `organtwin.mesh.shapes` make.
        path: ``.msh`` for `organtwin.mesh.domain.read_domain`, ``.vtu`` with cell values.

    Raises:
        InputError: another suffix.
    """
    file = Path(path)
    if file.suffix not in (".msh", ".vtu"):
        raise InputError(str(file), "no format for hexahedra.", "Write .msh or .vtu.")
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".vtu":
        grid = pv.UnstructuredGrid({pv.CellType.HEXAHEDRON: mesh.cells}, mesh.points)
        for name, value in {**mesh.cell_values, "region": mesh.regions}.items():
            grid.cell_data[name] = value
        grid.save(file)
        return
    with gmsh_session():
        gmsh.model.add("organtwin")
        numbers = {name: k for k, name in enumerate(mesh.region_names, 1)}
        surfaces = {name: k for k, name in enumerate(mesh.facet_names, len(numbers) + 1)}
        for dim, groups in ((3, numbers), (2, surfaces)):
            for name, tag in groups.items():
                gmsh.model.addDiscreteEntity(dim, tag)
                gmsh.model.addPhysicalGroup(dim, [tag], tag, name)
        nodes = np.arange(1, len(mesh.points) + 1)
        gmsh.model.mesh.addNodes(3, 1, nodes, np.ascontiguousarray(mesh.points).ravel())
        for name, tag in numbers.items():
            own = mesh.cells[mesh.regions == mesh.region_names[name]] + 1
            gmsh.model.mesh.addElementsByType(tag, 5, [], own.ravel())
        for name, tag in surfaces.items():
            own = mesh.facets[mesh.facet_tags == mesh.facet_names[name]] + 1
            gmsh.model.mesh.addElementsByType(tag, 3, [], own.ravel())
        gmsh.write(str(file))


def hexahedron_volumes(points: Points, cells: Index) -> NDArray[np.float64]:
    """Volumes (mm³) of trilinear hexahedra, exact by 2 x 2 x 2 Gauss points; shape (m,)."""
    total = np.zeros(len(cells))
    corners = points[cells]
    for place in CORNERS:
        x = 0.5 + (place - 0.5) / np.sqrt(3.0)
        one = np.where(CORNERS == 1, x, 1.0 - x)
        sign = 2.0 * CORNERS - 1.0
        slope = np.stack([sign[:, k] * one[:, k - 2] * one[:, k - 1] for k in range(3)], axis=1)
        total += np.linalg.det(np.einsum("mki,kj->mij", corners, slope)) / 8.0
    return total


def scaled_jacobians(points: Points, cells: Index) -> NDArray[np.float64]:
    """Smallest determinant of the unit edges at the corners of each cell: 1 for a cube; (m,)."""
    corners = points[cells]
    edges = corners[:, _AROUND] - corners[:, :, None]
    edges /= np.maximum(np.linalg.norm(edges, axis=-1, keepdims=True), 1e-300)
    return np.asarray(np.linalg.det(edges).min(axis=1))
