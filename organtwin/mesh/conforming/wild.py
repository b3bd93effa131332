"""Tetrahedra by fTetWild, which takes any interfaces but keeps none of their triangles.

fTetWild's mesh follows the interfaces within a distance; its regions are those that the centres
of the cells lie in. Borders are then faces of the mesh near the triangles that were given, so
that neighbours still share them; sizes by place are kept in the mean only.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pyvista as pv
import vtk
from numpy.typing import NDArray

from organtwin.errors import MeshError, SetupError
from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.conforming.sizes import SizeField
from organtwin.mesh.quality import signed_volumes

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Energy at which its optimisation stops; 10 is its default and twice as slow.
ENERGY = 20.0


def wild_installed() -> bool:
    """Whether fTetWild can be tried."""
    return find_spec("pytetwild") is not None


def fill_wild(
    interfaces: Interfaces, size: SizeField, deviation: float
) -> tuple[Points, Index, Index]:
    """Tetrahedra of all regions within a distance of the interfaces.

    Args:
        interfaces: Borders of regions; they may cross each other.
        size: Edge lengths (mm).
        deviation: Distance from the interfaces that is allowed (mm).

    Returns:
        Vertices (mm), (n, 3); tetrahedra with positive volumes, (m, 4); region of each, (m,).

    Raises:
        SetupError: pytetwild is not installed.
        MeshError: a region stayed without cells.
    """
    if not wild_installed():
        raise SetupError(
            "fTetWild", "pytetwild is not installed.", "pip install organtwin[tetwild]"
        )
    extent = float(np.linalg.norm(np.ptp(interfaces.points, axis=0)))
    points, cells = import_module("pytetwild").tetrahedralize(
        interfaces.points, interfaces.triangles.astype(np.int32),
        edge_length_fac=float(np.median(size.at(interfaces.points))) / extent,
        epsilon=deviation / extent, stop_energy=ENERGY, num_threads=1, disable_filtering=True,
    )  # fmt: skip
    cells = _positive(np.asarray(points, np.float64), np.asarray(cells, np.int64))
    regions = _regions(interfaces, np.asarray(points)[cells].mean(axis=1))
    used, numbered = np.unique(cells[regions > 0], return_inverse=True)
    missing = [name for name, number in interfaces.names.items() if number not in regions]
    if missing:
        raise MeshError("fTetWild", f"no cells lie in `{'`, `'.join(missing)}`.")
    return np.asarray(points[used], np.float64), numbered.reshape(-1, 4), regions[regions > 0]


def _positive(points: Points, cells: Index) -> Index:
    """The cells with positive volumes; flat ones are left out by a check further on."""
    turned = signed_volumes(points, cells) < 0
    cells[turned] = cells[turned][:, [0, 2, 1, 3]]
    return cells


def _regions(interfaces: Interfaces, centres: Points) -> Index:
    """Region that each place lies in, 0 for none."""
    result = np.zeros(len(centres), np.int64)
    for name, number in interfaces.names.items():
        boundary = interfaces.boundary(name)
        corners = interfaces.points[boundary]
        low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
        near = np.flatnonzero(((centres > low) & (centres < high)).all(axis=1) & (result == 0))
        result[near[_enclosed(interfaces.points, boundary, centres[near])]] = number
    return result


def _enclosed(points: Points, boundary: Index, places: Points) -> NDArray[np.bool_]:
    """Which places a closed surface has inside."""
    if not len(places):
        return np.zeros(0, bool)
    test = vtk.vtkSelectEnclosedPoints()
    test.SetInputData(pv.PolyData(places))
    test.SetSurfaceData(pv.PolyData.from_regular_faces(points, boundary))
    test.SetTolerance(1e-9)
    test.Update()
    return np.asarray(pv.wrap(test.GetOutput()).point_data["SelectedPoints"]).astype(bool)
