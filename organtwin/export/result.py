"""Results as viewers and exports see them: meshes with fields over time, whatever made them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from vtkmodules.vtkCommonDataModel import vtkCellTypeUtilities

from organtwin.errors import InputError, suggestion
from organtwin.export.pages import read_json
from organtwin.export.scene import boundary
from organtwin.export.series import Array, Series, read_series

type Integers = NDArray[np.int64]

#: Series in the order in which they are offered; others follow by name.
_FIRST = ("mechanics", "operated", "tissue", "electrophysiology", "activation")
#: Fields that are shown first, if there are any of them.
_TELLING = (
    "active_tension", "principal_stress", "activation_time", "transmembrane_potential",
    "von_mises_stress", "displacement",
)  # fmt: skip
#: Arrays that tell where something is rather than how much.
_NO_FIELDS = {"region", "TimeValue", "vtkGhostType", "vtkOriginalPointIds", "vtkOriginalCellIds"}
#: Field that moves the points, and field that tells regions apart.
MOTION, REGION = "displacement", "region"


@dataclass(frozen=True)
class Still(Series):
    """One file with a mesh, of whatever cells: its solid ones count."""

    @cached_property
    def mesh(self) -> pv.UnstructuredGrid:
        """The solid cells, without data."""
        bare = self._first.extract_cells(self._solid)
        bare.clear_data()
        return bare

    @cached_property
    def _solid(self) -> Integers:
        kinds = np.asarray(self._first.celltypes)
        flat = {k for k in np.unique(kinds) if vtkCellTypeUtilities.GetDimension(int(k)) < 3}
        return np.flatnonzero(~np.isin(kinds, list(flat)))

    def at_points(self, index: int, name: str) -> Array:
        """A field's values at the points of `mesh`."""
        own = self._first.extract_cells(self._solid)
        return np.asarray(own.point_data[name], np.float64)

    def at_cells(self, index: int, name: str) -> Array:
        """A field's values in the cells of `mesh`."""
        return np.asarray(self._first.cell_data[name], np.float64)[self._solid]


@dataclass(frozen=True, eq=False)
class Part:
    """Fields over time on one mesh of tetrahedra or lines.

    Attributes:
        name: Name of its file.
        series: Its files.
        known_regions: Name of a region → its number in the file of the mesh.
        moments: What the times are called, where they are no times.
    """

    name: str
    series: Series
    known_regions: Mapping[str, int] = field(default_factory=dict)
    moments: tuple[str, ...] = ()

    @property
    def times(self) -> Array:
        """Times (ms), (n,)."""
        return self.series.times

    def moment(self, index: int) -> str:
        """The time of an index in words."""
        if self.moments:
            return self.moments[index]
        return "at rest" if isinstance(self.series, Still) else f"{self.times[index]:g} ms"

    def time(self, index: int) -> float | None:
        """The time of an index (ms); None of steps that have names, and at rest."""
        timed = not self.moments and not isinstance(self.series, Still)
        return float(self.times[index]) if timed else None

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that can be shown, the most telling first."""
        first = self._first
        names = [n for n in (*first.point_data, *first.cell_data) if n not in _NO_FIELDS]
        return tuple(sorted(dict.fromkeys(names), key=lambda n: _place(n, _TELLING)))

    @cached_property
    def is_lines(self) -> bool:
        """Whether it is a frame of struts rather than tissue."""
        return self.series.files[0].suffix == ".vtp"

    @cached_property
    def mesh(self) -> pv.UnstructuredGrid | pv.PolyData:
        """Linear tetrahedra, or lines, at rest and without data."""
        if not self.is_lines:
            return self.series.mesh
        bare = self._first.copy()
        bare.clear_data()
        return bare

    @cached_property
    def region_names(self) -> dict[str, int]:
        """Name of a region → its number in `regions`, of those that there are."""
        if self.is_lines or REGION not in self._first.cell_data:
            return {}
        present = np.unique(np.rint(self._first.cell_data[REGION]).astype(np.int64))
        if isinstance(self.series, Still):
            present = np.unique(self.regions)
        return _numbered(present, self.known_regions)

    @cached_property
    def regions(self) -> Integers:
        """Number of each cell's region; zeros where none is known."""
        if self.is_lines or REGION not in self._first.cell_data:
            return np.zeros(self.mesh.n_cells, np.int64)
        return np.rint(self.series.at_cells(0, REGION)).astype(np.int64).ravel()

    def is_by_cell(self, name: str) -> bool:
        """Whether a field is constant in cells.

        Raises:
            InputError: no field of that name.
        """
        if name not in self._first.point_data and name not in self._first.cell_data:
            raise InputError(f"field `{name}`", f"`{self.name}` holds none of that name.",
                             suggestion(name, self.fields))  # fmt: skip
        return name in self._first.cell_data

    def values(self, index: int, name: str) -> Array:
        """A field at the points or cells of `mesh` at the time of an index.

        Raises:
            InputError: no field of that name.
        """
        by_cell = self.is_by_cell(name)
        if self.is_lines:
            data = self._read(index)
            return np.asarray((data.cell_data if by_cell else data.point_data)[name], np.float64)
        read = self.series.at_cells if by_cell else self.series.at_points
        return read(index, name)

    def points(self, index: int, *, moved: bool = True) -> Array:
        """Points of `mesh` (mm) at the time of an index, (n, 3)."""
        if self.is_lines:
            return np.asarray(self._read(index).points, np.float64)
        own = np.asarray(self.mesh.points, np.float64)
        return own + self.values(index, MOTION) if moved and self.moves else own

    @cached_property
    def moves(self) -> bool:
        """Whether there is a displacement of its points."""
        return MOTION in self._first.point_data

    @cached_property
    def surface(self) -> pv.PolyData:
        """Boundary with ``point`` and ``cell`` of origin, at rest; of lines the lines."""
        if not self.is_lines:
            return boundary(self.mesh)
        lines = self.mesh.copy()
        lines.point_data["point"] = np.arange(lines.n_points)
        lines.cell_data["cell"] = np.arange(lines.n_cells)
        return lines

    @cached_property
    def _first(self) -> Any:
        return pv.read(self.series.files[0])

    def _read(self, index: int) -> Any:
        return self._first if index == 0 else pv.read(self.series.files[index])


@dataclass(frozen=True, eq=False)
class Result:
    """What a command left in a directory.

    Attributes:
        directory: Where it is.
        title: What it is called.
        parts: Tissue, in the order in which it is offered.
        lines: Frames that are shown together with the tissue.
    """

    directory: Path
    title: str
    parts: tuple[Part, ...]
    lines: tuple[Part, ...] = ()

    def part(self, name: str | None = None) -> Part:
        """The tissue of a name; the first if None.

        Raises:
            InputError: no tissue of that name.
        """
        known = {one.name: one for one in self.parts}
        if name is None:
            return self.parts[0]
        if name not in known:
            raise InputError(f"part `{name}`", f"{self.directory} has none of that name.",
                             suggestion(name, known))  # fmt: skip
        return known[name]


def open_result(path: str | Path) -> Result:
    """Open what ``run``, ``mesh`` or a rehearsal left, or a single file of fields.

    Args:
        path: Result directory, ``.pvd``, or ``.vtu`` of a mesh.

    Raises:
        InputError: nothing there can be shown.
    """
    place = Path(path)
    if not place.exists():
        raise InputError(str(place), "no such result.", "Give the directory that a command wrote.")
    files = [place] if place.is_file() else _files(place)
    directory = place.parent if place.is_file() else place
    if place.is_file() and place.suffix not in (".pvd", ".vtu"):
        raise InputError(str(place), "no .pvd and no .vtu.", "Give the result's directory.")
    names = _region_names(directory)
    parts = [_part(file, names, _moments(directory, file.stem)) for file in files]
    tissue = tuple(one for one in parts if not one.is_lines)
    if not tissue:
        raise InputError(
            str(place),
            "no fields and no mesh in there.",
            "Give the directory with `fields/` or `mesh.vtu`; of a run's output choose VTU.",
        )
    title = str(read_json(directory / "run.json").get("title") or directory.name)
    return Result(directory, title, tissue, tuple(one for one in parts if one.is_lines))


def _files(directory: Path) -> list[Path]:
    """Files of fields, else of the mesh."""
    found = sorted((directory / "fields").glob("*.pvd"), key=lambda p: (_place(p.stem, _FIRST), p))
    meshes = [directory / "fields" / "anatomy.vtu", directory / "mesh.vtu"]
    return found or [file for file in meshes if file.is_file()][:1]


def _part(file: Path, names: Mapping[str, int], moments: tuple[str, ...]) -> Part:
    one = Still(np.zeros(1), (file,)) if file.suffix == ".vtu" else read_series(file)
    missing = [str(step) for step in one.files if not step.is_file()]
    if missing:
        raise InputError(missing[0], f"{file} names it, but it is not there.", "Copy all files.")
    return Part(file.stem, one, names, moments if len(moments) == len(one.times) else ())


def _numbered(present: Integers, names: Mapping[str, int]) -> dict[str, int]:
    """Names of the numbers that are there: tags of the mesh, or their order."""
    by_tag = {name: tag for name, tag in names.items() if tag in present}
    if len(by_tag) == len(present):
        return by_tag
    in_order = {name: k for k, name in enumerate(sorted(names, key=lambda name: names[name]))}
    if len(names) and set(present) <= set(in_order.values()):
        return {name: k for name, k in in_order.items() if k in present}
    return {f"region {k}": int(k) for k in present}


def _region_names(directory: Path) -> dict[str, int]:
    """Names of regions as gmsh's files keep them in their head."""
    for file in (directory / "mesh.msh", directory / "stages" / "mesh" / "mesh.msh",
                 directory / "stages" / "root" / "mesh.msh",
                 directory / "stages" / "plan" / "operated.msh"):  # fmt: skip
        if file.is_file():
            with file.open("rb") as stream:
                head = stream.read(100_000)
            text = head.split(b"$EndPhysicalNames")[0].decode("utf-8", "replace")
            found = re.findall(r'^3 (\d+) "([^"]*)"', text, re.MULTILINE)
            return {name: int(number) for number, name in found}
    return {}


def _moments(directory: Path, name: str) -> tuple[str, ...]:
    """States that a deployment names, steps of an operated bone, loads of an intact one."""
    stages = directory / "stages"
    if name == "intact":
        loads = read_json(stages / "plan" / "plan.json").get("operation", {}).get("loads", [])
        return _names(one for one in loads if one.get("intact"))
    deployed = read_json(stages / "deploy" / "deploy.json").get("states", [])
    return _names(deployed or read_json(stages / "solve" / "solve.json").get("steps", []))


def _names(found: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(str(one.get("name", "")).replace("_", " ") for one in found)


def _place(name: str, order: tuple[str, ...]) -> int:
    return order.index(name) if name in order else len(order)
