"""Field series read back from PVD/VTU files, as linear tetrahedra that VTK draws fast."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError

#: Points closer than this (mm) are one: ranks write the points they share twice.
_SAME_POINT = 1e-3

# Eight linear tetrahedra of a quadratic one (VTK's order of nodes).
_SPLIT = np.array(
    [
        [0, 4, 6, 7], [4, 1, 5, 8], [6, 5, 2, 9], [7, 8, 9, 3],
        [6, 8, 4, 5], [6, 8, 5, 9], [6, 8, 9, 7], [6, 8, 7, 4],
    ]
)  # fmt: skip

type Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Division:
    """How files list points and cells, by ranks.

    Attributes:
        of: Points of the files.
        points: Point of the series' mesh that each of them is.
        cells: Cell of the first file that each cell is.
    """

    of: Array
    points: NDArray[np.int64]
    cells: NDArray[np.int64]


@dataclass(frozen=True)
class Series:
    """Fields over time on one mesh.

    Attributes:
        times: Times (ms), (n,).
        files: The ``.pvtu`` file of each time, of one mesh, whatever the ranks that wrote it.
    """

    times: Array
    files: tuple[Path, ...]

    @cached_property
    def mesh(self) -> pv.UnstructuredGrid:
        """Linear tetrahedra at rest, without data; a quadratic one becomes eight."""
        grid = pv.read(self.files[0])
        nodes = 10 if grid.celltypes[0] == pv.CellType.LAGRANGE_TETRAHEDRON else 4
        cells = self._point_of[grid.cell_connectivity.reshape(-1, nodes)]
        if nodes == 10:
            cells = cells[:, _SPLIT].reshape(-1, 4)
        points = np.empty((self._point_of.max() + 1, 3))
        points[self._point_of] = grid.points
        return oriented(pv.UnstructuredGrid({pv.CellType.TETRA: cells}, points))

    def nearest(self, t: float) -> int:
        """Index of the time closest to ``t`` (ms)."""
        return int(np.argmin(np.abs(self.times - t)))

    def at_points(self, index: int, name: str) -> Array:
        """A field's values at the points of `mesh` at the time of an index.

        Raises:
            InputError: the files hold no such field.
        """
        division, values = self._field(index, name, by_cell=False)
        result = np.empty((len(self.mesh.points), *values.shape[1:]))
        result[division.points] = values
        return result

    def at_cells(self, index: int, name: str) -> Array:
        """The same for a field that is constant in cells."""
        division, values = self._field(index, name, by_cell=True)
        own = np.empty_like(values)
        own[division.cells] = values
        return np.repeat(own, self.mesh.n_cells // len(values), axis=0)

    def has(self, name: str) -> bool:
        """Whether the files hold a field."""
        grid = self._first
        return name in grid.point_data or name in grid.cell_data

    @cached_property
    def _first(self) -> pv.UnstructuredGrid:
        return pv.read(self.files[0])

    @cached_property
    def _point_of(self) -> NDArray[np.int64]:
        """Point of `mesh` that each point of the files is."""
        points = self._first.points
        own = np.arange(len(points))
        pairs = cKDTree(points).query_pairs(_SAME_POINT, output_type="ndarray")
        if len(pairs):
            np.minimum.at(own, pairs[:, 1], pairs[:, 0])
        return np.asarray(np.unique(own, return_inverse=True)[1], dtype=np.int64)

    def _field(self, index: int, name: str, *, by_cell: bool) -> tuple[_Division, Array]:
        grid = self._first if index == 0 else pv.read(self.files[index])
        data = grid.cell_data if by_cell else grid.point_data
        if name not in data:
            raise InputError(str(self.files[index]), f"no field `{name}`.")
        return self._division(index, grid), np.asarray(data[name], dtype=np.float64)

    @cached_property
    def _divisions(self) -> list[_Division]:
        """Those met so far, that of the first file first."""
        first = self._first
        return [_Division(first.points, self._point_of, np.arange(first.n_cells))]

    def _division(self, index: int, grid: pv.UnstructuredGrid) -> _Division:
        """How a file divides the mesh: a run that went on on other ranks does it in another way.

        Raises:
            InputError: it holds another mesh.
        """
        for known in reversed(self._divisions):
            if np.array_equal(known.of, grid.points):
                return known
        first = self._first
        far, points = cKDTree(self.mesh.points).query(grid.points)
        off, cells = cKDTree(_middles(first)).query(_middles(grid))
        same = grid.n_cells == first.n_cells == len(np.unique(cells))
        if not same or max(far.max(), off.max()) > _SAME_POINT:
            raise InputError(
                str(self.files[index]), f"holds another mesh than {self.files[0].name}.",
                "Run the case again with --fresh.",
            )  # fmt: skip
        self._divisions.append(_Division(grid.points, points, cells))
        return self._divisions[-1]


def _middles(grid: pv.UnstructuredGrid) -> Array:
    """Of the corners of each cell, shape (cells, 3)."""
    nodes = grid.cell_connectivity.reshape(grid.n_cells, -1)[:, :4]
    return np.asarray(grid.points[nodes].mean(axis=1), dtype=np.float64)


def read_series(path: Path) -> Series:
    """Open a ``.pvd`` file.

    Raises:
        InputError: it is missing, damaged, or lists no files.
    """
    try:
        sets = ET.parse(path).getroot().iter("DataSet")
    except (OSError, ET.ParseError) as error:
        raise InputError(str(path), f"can't be read ({error}).", "Run the case first.") from None
    found = [(float(s.get("timestep", 0.0)), path.parent / s.get("file", "")) for s in sets]
    if not found:
        raise InputError(str(path), "no time was written yet.", "Wait for the first one.")
    times, files = zip(*sorted(found), strict=True)
    return Series(np.array(times), files)


def oriented(mesh: pv.UnstructuredGrid) -> pv.UnstructuredGrid:
    """The same tetrahedra, all turned alike, so that the normals of their boundary point outwards.

    Refinement leaves them as they come.
    """
    cells = mesh.cell_connectivity.reshape(-1, 4).copy()
    edges = mesh.points[cells[:, 1:]] - mesh.points[cells[:, :1]]
    turned = np.linalg.det(edges) < 0
    cells[turned, 2:] = cells[turned][:, [3, 2]]
    return pv.UnstructuredGrid({pv.CellType.TETRA: cells}, mesh.points)
