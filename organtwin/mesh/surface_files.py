"""Surfaces from files: STL, PLY, VTP, OBJ and VTK polydata as plain triangles."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
import vtk
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.image.volume import check_extent
from organtwin.mesh.apart import read_apart

type Points = NDArray[np.float64]
type Triangles = NDArray[np.int64]

#: Length of a file's unit (mm).
UNITS = {"mm": 1.0, "m": 1000.0, "cm": 10.0, "um": 0.001}
#: Sign of x, y, z that turns a file's axes into LPS.
SPACES = {"LPS": (1.0, 1.0, 1.0), "RAS": (-1.0, -1.0, 1.0)}
_SUFFIXES = (".stl", ".ply", ".vtp", ".obj", ".vtk")
_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER = 84
_NUMBER = rb"([-+0-9.eEinfaINFA]+)"
_VERTEX = re.compile(rb"vertex\s+" + rb"\s+".join([_NUMBER] * 3))
_SOLID = re.compile(rb"^[ \t]*(end)?solid\b[ \t]*([^\r\n]*)", re.MULTILINE)


@dataclass(frozen=True)
class TriangleSurface:
    """Triangles in patient coordinates (LPS, mm).

    Attributes:
        points: Vertices (mm), shape (n, 3).
        triangles: Vertex indices, normals outwards by the right-hand rule, shape (m, 3).
        vertex_values: Name → one row per vertex: classes, thicknesses, whatever the file has.
        triangle_values: Name → one row per triangle.
        names: Name of a part or cap → its integer in ``triangle_values["part"]``.
        notes: What was decided in reading, one sentence each.
    """

    points: Points
    triangles: Triangles
    vertex_values: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    triangle_values: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    names: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def extent(self) -> Points:
        """Size along x, y, z (mm) of what the triangles use, shape (3,)."""
        used = self.points[np.unique(self.triangles)]
        return np.asarray(np.ptp(used, axis=0))

    @property
    def volume(self) -> float:
        """Enclosed volume (mm³); negative where a closed surface is inside out."""
        a, b, c = (self.points[self.triangles[:, k]] - self.points.mean(axis=0) for k in range(3))
        return float(np.einsum("ij,ij->", np.cross(a, b), c)) / 6.0

    @property
    def areas(self) -> Points:
        """Area of each triangle (mm²), shape (m,)."""
        a, b, c = (self.points[self.triangles[:, k]] for k in range(3))
        return np.asarray(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1))

    def part(self, name: str) -> Triangles:
        """Triangles of a named part.

        Raises:
            InputError: no part of that name.
        """
        if name not in self.names:
            raise InputError("surface", f"no part `{name}`.", suggestion(name, self.names))
        return np.asarray(self.triangles[self.triangle_values["part"] == self.names[name]])

    def select(self, kept: NDArray[np.bool_]) -> TriangleSurface:
        """Some of the triangles and the vertices that they use."""
        used, numbered = np.unique(self.triangles[kept], return_inverse=True)
        return replace(
            self,
            points=self.points[used],
            triangles=numbered.reshape(-1, 3),
            vertex_values={name: value[used] for name, value in self.vertex_values.items()},
            triangle_values={name: value[kept] for name, value in self.triangle_values.items()},
        )


def read_surface(
    path: str | Path, *, unit: str = "mm", space: str | None = None, organ: bool = True
) -> TriangleSurface:
    """Read a surface and bring it into patient coordinates (LPS, mm).

    The vertices of STL files, which have none in common, are joined where they are equal; polygons
    and strips become triangles. Slicer writes into its files which axes they have, ``SPACE=RAS``;
    others are taken for LPS. Nothing is repaired: `organtwin.mesh.defects.inspect` tells what is
    wrong, `organtwin.mesh.repair.repair` mends it.

    Args:
        path: ``.stl`` (binary or text), ``.ply``, ``.vtp``, ``.obj`` or ``.vtk`` file.
        unit: Unit of the file: ``mm``, ``cm``, ``m``, ``um``.
        space: ``LPS`` or ``RAS``, against what the file says.
        organ: Whether it must have the size of an organ or limb; False for devices.

    Raises:
        InputError: the file is missing, damaged, no surface, without triangles, holds numbers
            that are not finite, or has a size that no organ has.
    """
    file = Path(path)
    _check_arguments(file, unit, space)
    if file.suffix.lower() == ".stl":
        surface, found = _read_stl(file)
    else:
        surface = read_apart(file, _read_polydata, TriangleSurface)
        found, surface = surface.notes[0], replace(surface, notes=surface.notes[1:])
    surface = _checked(file, surface)
    axes = space or found or "LPS"
    said = "was asked for" if space else "the file says" if found else "assumed, as it does not say"
    signs = np.array(SPACES[axes])
    notes = (f"Coordinates are {axes} ({said}), in {unit}.", *surface.notes)
    surface = replace(surface, points=surface.points * signs * UNITS[unit], notes=notes)
    if organ:
        check_extent(
            str(file),
            surface.extent,
            what="the surface",
            remedy="Give its unit, or organ=False for a device.",
        )
    return surface


def write_surface(surface: TriangleSurface, path: str | Path) -> None:
    """Write a surface; the suffix chooses the format. ``.vtp`` keeps all values and names.

    Raises:
        InputError: no known suffix.
    """
    file = Path(path)
    if file.suffix.lower() not in _SUFFIXES:
        raise InputError(str(file), "no known surface format.", suggestion(file.suffix, _SUFFIXES))
    file.parent.mkdir(parents=True, exist_ok=True)
    data = pv.PolyData.from_regular_faces(surface.points, surface.triangles)
    for name, value in surface.vertex_values.items():
        data.point_data[name] = value
    for name, value in surface.triangle_values.items():
        data.cell_data[name] = value
    data.field_data["SPACE"] = ["LPS"]
    if surface.names:
        data.field_data["part_names"] = [f"{tag} {name}" for name, tag in surface.names.items()]
    data.save(str(file))


def _check_arguments(file: Path, unit: str, space: str | None) -> None:
    if unit not in UNITS:
        raise InputError(str(file), f"no unit `{unit}`.", suggestion(unit, UNITS))
    if space is not None and space not in SPACES:
        raise InputError(str(file), f"no axes `{space}`.", suggestion(space, SPACES))
    if file.suffix.lower() not in _SUFFIXES:
        raise InputError(
            str(file), f"`{file.suffix}` is no surface format known here.", f"Known: {_SUFFIXES}."
        )
    if not file.is_file():
        raise InputError(str(file), "no such surface file.", "Check the path.")


def _checked(file: Path, surface: TriangleSurface) -> TriangleSurface:
    if not len(surface.triangles):
        raise InputError(str(file), "the surface has no triangles.", "Export it again.")
    low, high = int(surface.triangles.min()), int(surface.triangles.max())
    if low < 0 or high >= len(surface.points):
        raise InputError(
            str(file),
            f"a triangle has vertex {low if low < 0 else high} (from 0), but there are "
            f"{len(surface.points)}.",
            "The file is damaged; export it again.",
        )
    bad = np.flatnonzero(~np.isfinite(surface.points).all(axis=1))
    if len(bad):
        raise InputError(
            str(file),
            f"{len(bad)} vertices have coordinates that are no numbers (the first is {bad[0]}).",
            "Export it again.",
        )
    return surface


def _read_stl(file: Path) -> tuple[TriangleSurface, str | None]:
    data = file.read_bytes()
    number = struct.unpack_from("<I", data, 80)[0] if len(data) >= _HEADER else 0
    binary = len(data) >= _HEADER and len(data) == _HEADER + number * _RECORD.itemsize
    if binary or not data.lstrip().startswith(b"solid"):
        return _binary_stl(file, data, number)
    return _text_stl(file, data)


def _binary_stl(file: Path, data: bytes, number: int) -> tuple[TriangleSurface, str | None]:
    room = (len(data) - _HEADER) // _RECORD.itemsize
    if room < number:
        raise InputError(
            str(file),
            f"the file ends after {max(room, 0)} of {number} triangles, or is no STL file.",
            "Copy or export it again.",
        )
    records = np.frombuffer(data, _RECORD, number, _HEADER)
    points, triangles = _joined(records["corners"].reshape(-1, 3))
    attribute = records["attribute"].astype(np.int64)
    values = {"attribute": attribute} if attribute.any() else {}
    surface = TriangleSurface(points, triangles, triangle_values=values)
    return surface, _space_in(data[:80])


def _text_stl(file: Path, data: bytes) -> tuple[TriangleSurface, str | None]:
    found = [m.groups() for m in _VERTEX.finditer(data)]
    facets = len(re.findall(rb"\bfacet\s+normal", data))
    if not found or len(found) != 3 * facets:
        raise InputError(
            str(file),
            f"{len(found)} vertices of {facets} triangles; the file is damaged or incomplete.",
            "Copy or export it again.",
        )
    try:
        corners = np.array(found).astype(np.float64).astype(np.float32)
    except ValueError as error:
        raise InputError(
            str(file), f"no number where a vertex stands ({error}).", "Export it again."
        ) from None
    points, triangles = _joined(corners)
    surface = TriangleSurface(points, triangles)
    return _with_solids(surface, data), _space_in(data[:200])


def _with_solids(surface: TriangleSurface, data: bytes) -> TriangleSurface:
    """Parts named like the solids of a text file, where it has several."""
    starts = [m for m in _SOLID.finditer(data) if m.group(1) is None]
    if len(starts) < 2:
        return surface
    places = np.array([m.start() for m in re.finditer(rb"\bfacet\s+normal", data)])
    part = np.searchsorted([m.start() for m in starts], places)
    texts = [m.group(2).decode("utf-8", "replace").strip() for m in starts]
    names = {text or f"solid{k}": k for k, text in enumerate(texts, 1)}
    return replace(surface, triangle_values={"part": part.astype(np.int64)}, names=names)


def _joined(corners: NDArray[np.float32]) -> tuple[Points, Triangles]:
    """Vertices and triangles of loose corners, joined where they are equal to the last bit."""
    corners = np.ascontiguousarray(corners) + np.float32(0.0)  # -0 becomes 0
    rows = corners.view([("x", "f4"), ("y", "f4"), ("z", "f4")]).ravel()
    _, first, number = np.unique(rows, return_index=True, return_inverse=True)
    # Numbered in the order of the file.
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return corners[first[order]].astype(np.float64), rank[number].reshape(-1, 3).astype(np.int64)


def _read_polydata(file: Path) -> TriangleSurface:
    """What VTK reads; the first note is the file's axes, empty if it does not tell."""
    data = _loaded(file)
    known = [str(x) for x in np.atleast_1d(data.field_data.get("SPACE", []))]
    found = known[0] if known and known[0] in SPACES else _space_in(file.read_bytes()[:1000])
    loose = data.n_lines + data.n_verts
    faces = data.triangulate()
    triangles = np.asarray(faces.regular_faces, np.int64)
    notes = [f"{loose} lines or vertices without a face were left out."] if loose else []
    if data.n_strips or len(triangles) != data.GetNumberOfPolys():
        notes.append(f"Polygons or strips were cut into {len(triangles)} triangles.")
    surface = TriangleSurface(
        np.asarray(faces.points, np.float64),
        triangles,
        _values(faces.point_data),
        _values(faces.cell_data) if faces.n_cells == len(triangles) else {},
        _part_names(data),
        (found or "", *notes),
    )
    return surface


@contextmanager
def vtk_silent() -> Iterator[None]:
    """No complaints of VTK on the standard error meanwhile."""
    display = vtk.vtkObject.GetGlobalWarningDisplay()
    vtk.vtkObject.SetGlobalWarningDisplay(0)
    try:
        yield
    finally:
        vtk.vtkObject.SetGlobalWarningDisplay(display)


def _loaded(file: Path) -> pv.PolyData:
    """What VTK reads of a file, its complaints turned into an error."""
    try:
        with vtk_silent():
            data = pv.read(str(file))
    except Exception as error:  # readers raise what they like
        raise InputError(
            str(file), f"can't be read as a surface ({error}).", "Export it again."
        ) from None
    if isinstance(data, pv.MultiBlock):
        data = data.combine().extract_surface(algorithm=None)
    if not isinstance(data, pv.PolyData):
        raise InputError(
            str(file),
            f"holds a {type(data).__name__}, no surface.",
            "Volume meshes are read by organtwin.mesh.mesh_files.",
        )
    if not (data.GetNumberOfPolys() or data.n_strips):
        raise InputError(
            str(file), "holds no faces, or can't be read as a surface.", "Export it again."
        )
    return data


def _values(data: Any) -> dict[str, NDArray[Any]]:
    return {name: np.asarray(data[name]) for name in data if name != "Normals"}


def _part_names(data: pv.PolyData) -> dict[str, int]:
    pairs = [str(text).split(" ", 1) for text in data.field_data.get("part_names", [])]
    return {name: int(tag) for tag, name in pairs}


def _space_in(header: bytes) -> str | None:
    found = re.search(rb"SPACE=(LPS|RAS)", header)
    return found.group(1).decode() if found else None
