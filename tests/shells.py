"""Label map of a ball of blood above a valve, and the shell around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.image.volume import LabelMap
from organtwin.mesh.domain import Domain, read_domain
from organtwin.mesh.shell import shell_from_labels
from organtwin.parallel import on_root

#: Radius of the ball around the origin, and height of the valve's plane (mm).
RADIUS, VALVE = 15.0, -8.0
OPENINGS = {"valve": "ventricle"}


def atrium_and_ventricle(shift: NDArray[np.float64] | None = None) -> LabelMap:
    """``atrium`` above the valve, ``ventricle`` below, ``far`` apart from both; 1 mm voxels."""
    shape = (44, 44, 44)
    centre = np.array([21.5, 21.5, 21.5])  # z = -8 mm lies between two layers
    x, y, z = np.moveaxis(np.indices(shape), 0, -1).reshape(-1, 3).T - centre[:, None]
    ball = x**2 + y**2 + z**2 < RADIUS**2
    values = np.zeros(len(x), np.uint8)
    values[ball & (z > VALVE)] = 1
    values[(x**2 + y**2 < RADIUS**2) & (z <= VALVE) & (z > -19.0)] = 2
    values[(z > 18.0) & (np.abs(x) < 5.0) & (np.abs(y) < 5.0)] = 3
    origin = -centre + (0.0 if shift is None else shift)
    names = {"atrium": 1, "ventricle": 2, "far": 3}
    return LabelMap(values.reshape(shape), names, np.ones(3), origin, np.eye(3))


def ball_shell(comm: MPI.Comm, path: Path, size: float = 2.0) -> Domain:
    """The shell, distributed; rank 0 writes ``path``. Collective."""

    def work() -> None:
        shell_from_labels(atrium_and_ventricle(), "atrium", OPENINGS, size=size, path=path)

    on_root(comm, work)
    return read_domain(path, comm)
