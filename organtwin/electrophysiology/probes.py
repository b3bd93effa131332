"""Potentials at points over time."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from dolfinx import fem, geometry
from numpy.typing import NDArray

from organtwin.electrophysiology.recorders import Schedule, between, samples_until
from organtwin.errors import InputError
from organtwin.parallel import agree, on_root

Array = NDArray[np.float64]


class Probes:
    """v, and other nodal fields, at points at regular times.

    v is interpolated in its elements and, between the ends of a step, in time; other fields are
    those at the end of the step that a sampling time lies in.

    Args:
        V: Space of v.
        points: Points by name (mm), (3,) each.
        until: Last time to sample (ms); memory for it is set aside.
        every: Interval (ms); the shortest electrical step for every step.
        fields: Other fields: heading → function that gives the present local values.
        tolerance: Distance (mm) from the mesh at which a point still counts as inside, at the
            closest point of the mesh.

    Raises:
        InputError: a point lies outside of the mesh. Collective.
    """

    def __init__(
        self,
        V: fem.FunctionSpace,
        points: Mapping[str, Array],
        *,
        until: float,
        every: float = 1.0,
        fields: Mapping[str, Callable[[], Array]] | None = None,
        tolerance: float = 0.5,
    ) -> None:
        self._comm = V.mesh.comm
        self._fields = dict(fields or {})
        self._names = tuple(points)
        self._schedule = Schedule(every)
        self._local, self._dofs, self._weights = located(V, points, tolerance)
        width = 1 + len(self._names) * (1 + len(self._fields))
        capacity = samples_until(until, every) if self._comm.rank == 0 else 0
        self._table = np.zeros((capacity, width))
        self._count = np.zeros(1)
        self._v = np.empty(V.dofmap.index_map.size_local + V.dofmap.index_map.num_ghosts)
        self._capacity = samples_until(until, every)

    @property
    def state(self) -> Mapping[str, Array]:
        """The series so far."""
        return {"table": self._table, "count": self._count, "next": self._schedule.next}

    def record(self, t: float, dt: float, before: Array, after: Array) -> None:
        """Sample v; collective at sampling times."""
        for time in self._schedule.due(t, dt):
            if self._count[0] >= self._capacity:
                continue
            between(time, t, dt, before, after, self._v)
            values = [self._at_points(self._v)]
            values += [self._at_points(field()) for field in self._fields.values()]
            total = np.zeros(self._table.shape[1] - 1)
            self._comm.Reduce(np.concatenate(values), total)
            if self._comm.rank == 0:
                self._table[int(self._count[0])] = (time, *total)
            self._count[0] += 1

    @property
    def headings(self) -> tuple[str, ...]:
        """Headings of the columns of `table`."""
        v = [f"v {name} [mV]" for name in self._names]
        others = [f"{field} {name}" for field in self._fields for name in self._names]
        return ("t [ms]", *v, *others)

    @property
    def table(self) -> Array:
        """Time and values, a row per sample, on rank 0; no rows elsewhere."""
        return self._table[: int(self._count[0])]

    def write(self, path: Path) -> None:
        """Write the series as CSV; collective."""

        def work() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.writer(stream)
                writer.writerow(self.headings)
                writer.writerows([f"{value:.10g}" for value in row] for row in self.table)

        on_root(self._comm, work)

    def _at_points(self, values: Array) -> Array:
        """Values at this rank's points, 0 at others'."""
        found = np.zeros(len(self._names))
        found[self._local] = np.einsum("pd,pd->p", self._weights, values[self._dofs])
        return found


def located(
    V: fem.FunctionSpace, points: Mapping[str, Array], tolerance: float
) -> tuple[NDArray[np.intp], NDArray[np.int32], Array]:
    """Where points lie in a mesh; collective.

    Args:
        V: Space of a field.
        points: Points by name (mm), (3,) each.
        tolerance: Distance (mm) from the mesh at which a point still counts as inside.

    Returns:
        Numbers of the points that are this rank's, (m,); the nodes of their elements and the
        weights that give the field's value there, (m, nodes of an element) each.

    Raises:
        InputError: a point lies outside of the mesh.
    """
    comm, msh = V.mesh.comm, V.mesh
    x = np.array([np.asarray(p, dtype=np.float64) for p in points.values()]).reshape(-1, 3)
    cells, closest, distance = _closest(V, x)
    distances = np.array(comm.allgather(distance))
    owner = np.argmin(distances, axis=0)
    error = None
    for name, d in zip(points, distances.min(axis=0), strict=True):
        if error is None and d > tolerance:
            error = InputError(
                f"probe `{name}`",
                f"{tuple(map(float, points[name]))} mm is outside of the mesh, {d:.3g} mm away.",
                "Move it into the tissue.",
            )
    agree(comm, error)
    mine = np.flatnonzero(owner == comm.rank)
    element = V.element.basix_element
    dofs = V.dofmap.list[cells[mine]]
    weights = np.zeros(dofs.shape)
    for row, k in enumerate(mine):
        corners = msh.geometry.x[msh.geometry.dofmaps[0][cells[k]], : msh.geometry.dim]
        X = msh.geometry.cmaps[0].pull_back(closest[k : k + 1, : msh.geometry.dim], corners)
        weights[row] = element.tabulate(0, X)[0, 0, :, 0]
    return mine, dofs, weights


def _closest(V: fem.FunctionSpace, x: Array) -> tuple[NDArray[np.int32], Array, Array]:
    """Closest owned cell, its point closest to x, and the distance; infinite without cells."""
    msh = V.mesh
    dim = msh.topology.dim
    owned = np.arange(msh.topology.index_map(dim).size_local, dtype=np.int32)
    if not len(owned) or not len(x):
        return np.zeros(len(x), np.int32), x.copy(), np.full(len(x), np.inf)
    tree = geometry.bb_tree(msh, dim, entities=owned)
    middles = geometry.create_midpoint_tree(msh, dim, owned)
    cells = np.asarray(geometry.compute_closest_entity(tree, middles, msh, x), dtype=np.int32)
    corners = msh.geometry.x[msh.geometry.dofmaps[0][cells]][:, : dim + 1]
    away = np.array(
        [geometry.compute_distance_gjk(p[None], q) for p, q in zip(x, corners, strict=True)]
    ).reshape(-1, 3)
    distance = np.linalg.norm(away, axis=1)
    return cells, x - away, np.where(distance < 1e-9, 0.0, distance)
