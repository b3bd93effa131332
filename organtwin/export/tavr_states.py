"""States of a deployment and its calcium, from the fields of its result directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.export.pages import read_json
from organtwin.export.series import Series, read_series
from organtwin.export.tavr_pictures import Shown
from organtwin.export.tavr_view import Mesh, Valve
from organtwin.mesh.mesh_files import read_mesh
from organtwin.tavr.rehearsal import SYSTOLE

Array = NDArray[np.float64]

#: A point of the mesh belongs to a point of a surface that is nearer than this (mm).
SAME = 1e-2
#: Most states that stand side by side.
MOST = 5


def read_states(folder: Path, valve: Valve) -> list[Shown]:
    """States of frame and tissue, as ``fields/`` has them, at most five.

    Args:
        folder: Result directory.
        valve: The valve, for the surfaces in the scan.

    Raises:
        InputError: there are no fields, or they are of another mesh.
    """
    frames = read_series(folder / "fields" / "frame.pvd")
    tissue = read_series(folder / "fields" / "tissue.pvd")
    record = read_json(folder / "stages" / "deploy" / "deploy.json").get("states", [])
    told = {round(float(one["time"]), 6): one for one in record}
    scan = valve.deployed.surfaces_before
    count = min(len(frames.times), len(tissue.times))
    found = []
    for k in _chosen(count):
        grid = pv.read(frames.files[k])
        one = told.get(round(float(frames.times[k]), 6), {})
        found.append(Shown(
            str(one.get("name", f"state {k}")).capitalize(), _numbers(one),
            np.asarray(grid.points, float), np.asarray(grid.cell_data["fibre_strain"], float),
            {name: points + _moved(tissue, k, points) for name, points in scan.items()},
        ))  # fmt: skip
    return found


def read_calcium(folder: Path) -> Mesh | None:
    """Surface of the meshed calcium in the deployed state; nothing where there is none."""
    file = folder / "stages" / "root" / "mesh.msh"
    if not file.is_file():
        return None
    mesh = read_mesh(file)
    if "calcium" not in mesh.region_names:
        return None
    cells = mesh.cells[mesh.regions == mesh.region_names["calcium"]]
    sides = np.sort(cells[:, [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]].reshape(-1, 3), axis=1)
    unlike, number = np.unique(sides, axis=0, return_counts=True)
    used, corners = np.unique(unlike[number == 1], return_inverse=True)
    points = mesh.points[used]
    tissue = read_series(folder / "fields" / "tissue.pvd")
    moved = points + _moved(tissue, _deployed(folder, tissue), points)
    return moved, corners.reshape(-1, 3).astype(np.int64)


def _deployed(folder: Path, tissue: Series) -> int:
    """Index of the state that the record is of: the last one but systole."""
    states = read_json(folder / "stages" / "deploy" / "deploy.json").get("states", [])
    times = [one["time"] for one in states if not str(one["name"]).startswith(SYSTOLE)]
    return int(np.abs(np.asarray(tissue.times) - times[-1]).argmin()) if times else -1


def _chosen(count: int) -> list[int]:
    """Evenly from the first to the last."""
    return sorted({int(k) for k in np.rint(np.linspace(0, count - 1, min(count, MOST)))})


def _moved(tissue: Series, index: int, points: Array) -> Array:
    """Displacement of points of the mesh at the time of an index (mm), (n, 3)."""
    away, at = cKDTree(tissue.mesh.points).query(points)
    if len(points) == 0 or float(away.max()) > SAME:
        raise InputError(
            str(tissue.files[index]), "its points are not those of the record.",
            "Deploy again, so that fields and record are of one mesh.",
        )  # fmt: skip
    return tissue.at_points(index, "displacement")[at]


def _numbers(one: Mapping[str, Any]) -> str:
    """How wide the frame is, and how hard it presses."""
    try:
        low, high = one["diameters_mm"]
        return f"{low:.1f} – {high:.1f} mm wide\npresses with {one['pressing_N']:.1f} N"
    except (KeyError, TypeError, ValueError):
        return ""
