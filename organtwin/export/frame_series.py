"""Time series of a device's frame for ParaView: its struts as lines, with strain and forces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvista as pv
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.export.atomic import write_text
from organtwin.export.fields import earlier_steps, pvd
from organtwin.parallel import on_root

Array = NDArray[np.float64]


class FrameSeries:
    """One ``.pvd`` for the series, and per time a ``.vtp`` with the struts as lines.

    ParaView's filter Tube, with ``radius`` as its scalar, makes struts of them. The ``.pvd`` is
    replaced after each time is complete.

    Args:
        directory: Where ``<name>.pvd`` and the folder ``<name>/`` go.
        name: Name of the series.
        comm: Its rank 0 writes.
        resume: Time that an interrupted run goes on from: earlier times of the series stay.
    """

    def __init__(
        self, directory: Path, name: str, comm: MPI.Comm, *, resume: float | None = None
    ) -> None:
        self._directory, self._name, self._comm = directory, name, comm
        self._steps = on_root(comm, lambda: earlier_steps(self.path, resume))
        on_root(comm, lambda: (directory / name).mkdir(parents=True, exist_ok=True))

    @property
    def path(self) -> Path:
        """The ``.pvd`` file to open."""
        return self._directory / f"{self._name}.pvd"

    def write(
        self, t: float, nodes: Array, ends: NDArray[np.int64], *,
        at_nodes: dict[str, Array], at_struts: dict[str, Array],
    ) -> None:  # fmt: skip
        """Add time ``t``; collective, and rank 0 writes.

        Args:
            t: Time.
            nodes: Places (mm), (n, 3).
            ends: Nodes of each element, (m, 2).
            at_nodes: Name → values at the nodes, (n,) or (n, 3).
            at_struts: Name → values of the elements, (m,).
        """
        file = f"{self._name}/{self._name}_{len(self._steps):04d}.vtp"

        def save() -> None:
            lines = np.column_stack([np.full(len(ends), 2), ends]).ravel()
            mesh = pv.PolyData(nodes, lines=lines)
            for name, values in at_nodes.items():
                mesh.point_data[name] = values
            for name, values in at_struts.items():
                mesh.cell_data[name] = values
            mesh.save(self._directory / file)
            write_text(self.path, pvd([*self._steps, (t, file)]))

        on_root(self._comm, save)
        self._steps.append((t, file))
