"""What came out of an operated bone: fields of cells, points of interfaces, in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.mechanics.interface import InterfacePoints
from organtwin.mesh.domain import Domain
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.parallel import on_root

type Array = NDArray[np.float64]
type Integers = NDArray[np.int64]

#: Middles of one cell nearer than this are the same (mm).
SAME = 1e-5
#: What is kept of an interface at each step, with its unit.
AT_POINTS = {
    "opening": "mm",
    "slip": "mm",
    "jump": "mm",
    "pressure": "kPa",
    "shear": "kPa",
    "state": "1",
}


@dataclass(frozen=True)
class Contact:
    """Points of an interface at the end of each step.

    Attributes:
        position: Points (mm), shape (n, 3).
        normal: Out of the first side, shape (n, 3).
        area: Their areas (mm²), shape (n,).
        steps: Name of a step → name of a quantity (`AT_POINTS`) → values, one per point.
    """

    position: Array
    normal: Array
    area: Array
    steps: dict[str, dict[str, Array]] = field(default_factory=dict)

    def micromotion(self, load: str, after: str) -> Array:
        """Slip between a load and its letting go (mm), shape (n, 3): what a cycle moves."""
        return np.asarray(self.steps[load]["slip"] - self.steps[after]["slip"])


@dataclass(frozen=True)
class Outcome:
    """Results on rank 0; cells are those of the assembly's mesh, intact or operated or both.

    Attributes:
        points: Vertices of the assembly (mm), shape (n, 3).
        cells: Its cells, shape (m, 4).
        regions: Number of each cell's region, shape (m,).
        region_names: Name of a region → its number.
        tissue: ``density`` (mg/mm³) and ``modulus`` (kPa) of each cell of the intact bone, of
            implants' moduli where they are, shape (m,).
        operated: Step → ``stress`` (kPa) and ``strain`` in six numbers as
            `organtwin.mechanics.recovery` has them, (m, 6), ``energy`` density (kPa), (m,); NaN
            where a cell is not there.
        intact: Load → the same of the intact bone.
        contacts: Seat → its points.
        moved_points: Those vertices, shape (k, 3); at seats there are two in one place.
        moved_cells: Vertices of the operated cells, shape (l, 4).
        moved_ids: Number of each of these cells in the assembly, shape (l,).
        steps: Steps that are done, in order.
        moved: Step → displacement of the operated mesh's vertices (mm), shape (k, 3).
    """

    points: Array
    cells: Integers
    regions: Integers
    region_names: dict[str, int]
    moved_points: Array
    moved_cells: Integers
    moved_ids: Integers
    tissue: dict[str, Array] = field(default_factory=dict)
    operated: dict[str, dict[str, Array]] = field(default_factory=dict)
    intact: dict[str, dict[str, Array]] = field(default_factory=dict)
    contacts: dict[str, Contact] = field(default_factory=dict)
    moved: dict[str, Array] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)

    @property
    def middles(self) -> Array:
        """Middles of the cells (mm), shape (m, 3)."""
        return np.asarray(self.points[self.cells].mean(axis=1))

    @property
    def volumes(self) -> Array:
        """Volumes of the cells (mm³), shape (m,)."""
        corners = self.points[self.cells]
        return np.asarray(np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])) / 6.0)

    def within(self, *names: str) -> NDArray[np.bool_]:
        """Which cells belong to regions, shape (m,); names without cells count for nothing."""
        numbers = [self.region_names[name] for name in names if name in self.region_names]
        return np.isin(self.regions, numbers)

    def save(self, file: Path) -> None:
        """Write ``.npz``; names of arrays tell quantity, state and step."""
        arrays: dict[str, NDArray[np.generic]] = {
            "points": self.points, "cells": self.cells, "regions": self.regions,
            "moved_points": self.moved_points, "moved_cells": self.moved_cells,
            "moved_ids": self.moved_ids,
            "names": np.array(json.dumps({"regions": self.region_names, "steps": self.steps})),
        }  # fmt: skip
        arrays |= {f"tissue|{key}": _short(values) for key, values in self.tissue.items()}
        for kind in ("operated", "intact"):
            for step, fields in getattr(self, kind).items():
                arrays |= {f"{kind}|{step}|{key}": _short(v) for key, v in fields.items()}
        arrays |= {f"moved|{load}": _short(values) for load, values in self.moved.items()}
        for seat, contact in self.contacts.items():
            for key in ("position", "normal", "area"):
                arrays[f"contact|{seat}|{key}"] = getattr(contact, key)
            for step, values in contact.steps.items():
                arrays |= {f"at|{seat}|{step}|{key}": _short(v) for key, v in values.items()}
        temporary = file.with_suffix(".part.npz")
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
        temporary.replace(file)

    @classmethod
    def load(cls, file: Path) -> Outcome:
        """What `save` wrote.

        Raises:
            InputError: there is no such file, or it is of something else.
        """
        if not file.is_file():
            raise InputError(str(file), "no results.", "Run the case first.")
        with np.load(file) as saved:
            if "names" not in saved or "moved_ids" not in saved:
                raise InputError(str(file), "no results of an operated bone.", "Run the case.")
            arrays = {key: saved[key] for key in saved.files}
        names = json.loads(str(arrays.pop("names")))
        plain = {key: arrays.pop(key) for key in (
            "points", "cells", "regions", "moved_points", "moved_cells", "moved_ids")}  # fmt: skip
        found = cls(**plain, region_names=names["regions"], steps=names["steps"])
        places: dict[str, dict[str, Array]] = {}
        for name, values in arrays.items():
            _take(found, places, name.split("|"), np.asarray(values, np.float64))
        return replace(found, contacts={
            seat: Contact(**at, steps=found.contacts[seat].steps) for seat, at in places.items()
        })  # fmt: skip


def _take(
    found: Outcome, places: dict[str, dict[str, Array]], name: list[str], values: Array
) -> None:
    """Put an array of a file where it belongs."""
    match name:
        case ["tissue", key]:
            found.tissue[key] = values
        case ["moved", load]:
            found.moved[load] = values
        case ["operated", load, key]:
            found.operated.setdefault(load, {})[key] = values
        case ["intact", load, key]:
            found.intact.setdefault(load, {})[key] = values
        case ["contact", seat, key]:
            places.setdefault(seat, {})[key] = values
            found.contacts.setdefault(seat, Contact(*(np.zeros(0),) * 3))
        case ["at", seat, step, key]:
            contact = found.contacts.setdefault(seat, Contact(*(np.zeros(0),) * 3))
            contact.steps.setdefault(step, {})[key] = values


def _short(values: Array) -> NDArray[np.float32]:
    """Single precision, enough of results."""
    return np.asarray(values, np.float32)


def empty(whole: TetrahedralMesh, operated: TetrahedralMesh, ids: Integers) -> Outcome:
    """A record without results yet.

    Args:
        whole: Mesh of the assembly.
        operated: Mesh of the operated bone.
        ids: Number of each of its cells in the assembly, shape (l,).
    """
    return Outcome(
        whole.points, whole.cells, whole.regions, dict(whole.region_names), operated.points,
        operated.cells, ids,
    )  # fmt: skip


class Gathering:
    """Brings values of a distributed mesh to rank 0, in the order of the assembly's cells.

    Cells are found by their middles, vertices by their numbers in the file: those of a seat lie in
    the same place. The file of results has some numbers per cell, so that all of them are gathered.

    Args:
        domain: The distributed mesh.
        middles: Of the cells that are numbered, on rank 0, shape (m, 3); not looked at elsewhere.
        points: Vertices in the order of the mesh's file, on rank 0, shape (k, 3).

    Raises:
        InputError: the mesh is another one. Collective.
    """

    def __init__(self, domain: Domain, middles: Array | None, points: Array | None) -> None:
        self.domain, self.comm = domain, domain.comm
        mesh = domain.mesh
        self._own = mesh.topology.index_map(3).size_local
        nodes = mesh.geometry.dofmaps[0][: self._own]
        x = np.asarray(mesh.geometry.x)
        found = self.comm.gather(x[nodes].mean(axis=1))
        index = np.asarray(mesh.geometry.input_global_indices)
        vertices = self.comm.gather((index, x))
        self._middles, self._points = middles, points
        self._ids: Integers = np.zeros(0, np.int64)
        self._vertices: Integers = np.zeros(0, np.int64)
        on_root(self.comm, lambda: self._order(found, vertices))

    def _order(
        self, found: list[Array] | None, vertices: list[tuple[Integers, Array]] | None
    ) -> None:
        assert found is not None
        assert vertices is not None
        assert self._middles is not None
        assert self._points is not None
        distance, self._ids = cKDTree(self._middles).query(np.concatenate(found))
        self._vertices = np.concatenate([index for index, _ in vertices])
        at = np.concatenate([x for _, x in vertices])
        if distance.max() > SAME or (np.abs(self._points[self._vertices] - at).max() > SAME):
            raise InputError("results", "the mesh is not that of the plan.", "Plan again.")

    def of_cells(self, values: Array) -> Array | None:
        """Values of own cells (n, …) in the order of the assembly, NaN elsewhere; on rank 0."""
        parts = self.comm.gather(np.asarray(values[: self._own]))
        if parts is None:
            return None
        assert self._middles is not None
        result = np.full((len(self._middles), *values.shape[1:]), np.nan)
        result[self._ids] = np.concatenate(parts)
        return result

    def of_vertices(self, values: Array) -> Array | None:
        """Values at the geometry's vertices (n, k) in the order of the file; on rank 0."""
        parts = self.comm.gather(values)
        if parts is None:
            return None
        assert self._points is not None
        result = np.full((len(self._points), values.shape[1]), np.nan)
        result[self._vertices] = np.concatenate(parts)
        return result


def gathered_points(comm: MPI.Comm, points: InterfacePoints) -> dict[str, Array] | None:
    """Points of an interface from all ranks, on rank 0; their order stays."""
    names = ("position", "normal", "area", *AT_POINTS)
    parts = comm.gather({name: getattr(points, name) for name in names})
    if parts is None:
        return None
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def add_contact(outcome: Outcome, seat: str, step: str, found: Mapping[str, Array]) -> None:
    """Note an interface's points at the end of a step."""
    contact = outcome.contacts.setdefault(
        seat, Contact(found["position"], found["normal"], found["area"])
    )
    contact.steps[step] = {key: np.asarray(found[key], np.float64) for key in AT_POINTS}
