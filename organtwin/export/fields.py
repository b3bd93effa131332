"""Time series of fields for ParaView: PVD/VTU by default, VTX and VTKHDF on request."""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from dolfinx import fem, io, plot
from dolfinx.io import vtkhdf
from dolfinx.mesh import Mesh
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
from vtkmodules.vtkCommonCore import vtkDataArray, vtkDoubleArray, vtkPoints
from vtkmodules.vtkCommonDataModel import (
    vtkCellArray,
    vtkDataSetAttributes,
    vtkUnstructuredGrid,
)
from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridWriter

from organtwin.errors import DiskError, InputError, OrgantwinError, suggestion
from organtwin.export.atomic import write_text
from organtwin.export.quantities import UNITS
from organtwin.parallel import agree, on_root

logger = logging.getLogger(__name__)

type Arrays = dict[str, NDArray[np.floating]]


class Writer(Protocol):
    """A time series of fields in files."""

    def write(self, t: float, fields: Mapping[str, fem.Function]) -> None:
        """Add time ``t`` (ms); the same names every time. Collective."""
        ...


class _Sampler:
    """Brings functions to the points (Lagrange of one degree) and cells of the output."""

    def __init__(self, mesh: Mesh, degree: int, highest: int = 0) -> None:
        self.mesh = mesh
        self.degree = degree
        self.highest = highest or degree
        self._spaces: dict[tuple[int, ...], fem.FunctionSpace] = {}

    @property
    def cells(self) -> int:
        """Cells this rank owns; ghosts are written by their owners."""
        return int(self.mesh.topology.index_map(3).size_local)

    def space(self, shape: tuple[int, ...]) -> fem.FunctionSpace:
        if shape not in self._spaces:
            self._spaces[shape] = fem.functionspace(self.mesh, ("Lagrange", self.degree, shape))
        return self._spaces[shape]

    def is_by_cell(self, name: str, field: fem.Function) -> bool:
        """Whether a function is constant in each cell; if not, it must be continuous."""
        element = field.function_space.ufl_element()
        if element.family_name == "P" and element.degree == 0:
            return True
        lagrange = element.family_name == "P" and not element.discontinuous
        if not lagrange or element.degree > self.highest:
            raise InputError(
                f"field `{name}`",
                f"can't be written: neither DG0 nor Lagrange of degree {self.highest} or less.",
                "Interpolate or average it first.",
            )
        return False

    def at_points(self, field: fem.Function) -> fem.Function:
        """The function in the output's own space, so that all share one numbering."""
        result = fem.Function(self.space(field.ufl_shape), name=field.name)
        result.interpolate(field)
        result.x.scatter_forward()
        return result

    def at_cells(self, field: fem.Function) -> NDArray[np.floating]:
        dofs = field.function_space.dofmap.list[: self.cells, 0]
        bs = field.function_space.dofmap.bs
        return np.asarray(field.x.array.reshape(-1, bs)[dofs])


class FieldWriter:
    """One ``.pvd`` for the series; per time a ``.pvtu`` and, from each rank, a compressed ``.vtu``.

    The ``.pvd`` is replaced after each time step is complete: whatever stops a run, it opens.
    Quadratic fields are written as VTK's quadratic Lagrange tetrahedra.

    Args:
        directory: Where ``<name>.pvd`` and the folder ``<name>/`` go.
        name: Name of the series.
        mesh: Mesh of the fields.
        degree: Degree of the elements written, 1 or 2; fields of lower degree are interpolated.
        single: Write single precision: half the size, and plenty to look at.
        units: Field name → unit.
        resume: Time (ms) that an interrupted run goes on from: earlier steps of the series stay.
    """

    def __init__(
        self,
        directory: str | Path,
        name: str,
        mesh: Mesh,
        *,
        degree: int = 1,
        single: bool = True,
        units: Mapping[str, str] = UNITS,
        resume: float | None = None,
    ) -> None:
        self._directory = Path(directory)
        self._name = name
        self._comm = mesh.comm
        self._sampler = _Sampler(mesh, degree)
        self._single = single
        self._units = units
        self._steps = on_root(self._comm, lambda: earlier_steps(self.path, resume))
        on_root(self._comm, lambda: (self._directory / name).mkdir(parents=True, exist_ok=True))
        self._grid, self._points = self._empty_grid()

    @property
    def path(self) -> Path:
        """The ``.pvd`` file to open."""
        return self._directory / f"{self._name}.pvd"

    @property
    def _dtype(self) -> type[np.floating]:
        return np.float32 if self._single else np.float64

    def write(self, t: float, fields: Mapping[str, fem.Function]) -> None:
        """Add time ``t``; collective.

        Args:
            t: Time (ms).
            fields: Name → function: DG0 or Lagrange, of any shape.

        Raises:
            InputError: a function is of another kind.
            DiskError: a file can't be written.
        """
        points: Arrays = {}
        cells: Arrays = {}
        for name, field in fields.items():
            if self._sampler.is_by_cell(name, field):
                cells[name] = self._sampler.at_cells(field).astype(self._dtype)
            else:
                sampled = self._sampler.at_points(field)
                bs = sampled.function_space.dofmap.bs
                values = sampled.x.array.reshape(-1, bs)[self._points]
                points[name] = values.astype(self._dtype)
        stem = f"{self._name}/{self._name}_{len(self._steps):04d}"
        piece = self._directory / f"{stem}_{self._comm.rank}.vtu"
        agree(self._comm, self._write_piece(piece, t, points, cells))
        self._steps.append((t, f"{stem}.pvtu"))
        on_root(self._comm, lambda: self._write_index(stem, points, cells))

    def _empty_grid(self) -> tuple[vtkUnstructuredGrid, NDArray[np.int64]]:
        """Geometry of the owned cells, and which dof each of its points is."""
        V = self._sampler.space(())
        owned = np.arange(self._sampler.cells, dtype=np.int32)
        topology, kinds, x = plot.vtk_mesh(V, owned)
        nodes = V.element.space_dimension
        used, local = np.unique(
            topology.reshape(-1, nodes + 1)[:, 1:] if len(owned) else np.empty((0, nodes), int),
            return_inverse=True,
        )
        grid = vtkUnstructuredGrid()
        points = vtkPoints()
        points.SetData(numpy_to_vtk(np.ascontiguousarray(x[used], self._dtype), deep=True))
        grid.SetPoints(points)
        offsets = np.arange(len(owned) + 1, dtype=np.int64) * nodes
        cells = vtkCellArray()
        cells.SetData(
            numpy_to_vtkIdTypeArray(offsets, deep=True),
            numpy_to_vtkIdTypeArray(local.astype(np.int64).ravel(), deep=True),
        )
        cells.ConvertTo32BitStorage()
        grid.SetCells(int(kinds[0]) if len(kinds) else 10, cells)
        return grid, used

    def _write_piece(
        self, path: Path, t: float, points: Arrays, cells: Arrays
    ) -> OrgantwinError | None:
        for data, arrays in (
            (self._grid.GetPointData(), points),
            (self._grid.GetCellData(), cells),
        ):
            _fill(data, arrays, self._units)
        time = vtkDoubleArray()
        time.SetName("TimeValue")
        time.InsertNextValue(t)
        self._grid.GetFieldData().AddArray(time)
        writer = vtkXMLUnstructuredGridWriter()
        writer.SetFileName(str(path))
        writer.SetInputData(self._grid)
        writer.SetDataModeToAppended()
        writer.EncodeAppendedDataOff()
        writer.SetCompressorTypeToZLib()
        writer.SetCompressionLevel(1)
        if writer.Write() == 1:
            return None
        return DiskError(str(path), "can't be written.", "Is the disk full or read-only?")

    def _write_index(self, stem: str, points: Arrays, cells: Arrays) -> None:
        pieces = [f"{Path(stem).name}_{rank}.vtu" for rank in range(self._comm.size)]
        write_text(self._directory / f"{stem}.pvtu", _pvtu(pieces, points, cells, self._single))
        write_text(self.path, pvd(self._steps))


class VtxWriter:
    """ADIOS2 file ``<name>.bp`` for ParaView builds with ADIOS2; see `FieldWriter`."""

    def __init__(self, directory: str | Path, name: str, mesh: Mesh, *, degree: int = 1) -> None:
        self._path = Path(directory) / f"{name}.bp"
        self._sampler = _Sampler(mesh, degree)
        self._functions: dict[str, fem.Function] = {}
        self._file: io.VTXWriter | None = None
        on_root(mesh.comm, lambda: self._path.parent.mkdir(parents=True, exist_ok=True))

    def write(self, t: float, fields: Mapping[str, fem.Function]) -> None:
        """Add time ``t`` (ms); collective. The names of the first call are those of the file."""
        if self._file is None:
            self._functions = {name: self._like(name, field) for name, field in fields.items()}
            functions = list(self._functions.values())
            self._file = io.VTXWriter(self._sampler.mesh.comm, self._path, functions, "BP4")
        for name, field in fields.items():
            self._functions[name].interpolate(field)
            self._functions[name].x.scatter_forward()
        self._file.write(t)

    def close(self) -> None:
        """Finish the file; collective."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _like(self, name: str, field: fem.Function) -> fem.Function:
        by_cell = self._sampler.is_by_cell(name, field)
        space = field.function_space if by_cell else self._sampler.space(field.ufl_shape)
        return fem.Function(space, name=name)


class VtkHdfWriter:
    """A file ``<name>_<field>.vtkhdf`` per field (no more is possible), at vertices and cells."""

    def __init__(self, directory: str | Path, name: str, mesh: Mesh) -> None:
        self._stem = Path(directory) / name
        self._sampler = _Sampler(mesh, 1, highest=2)
        self._started: set[str] = set()
        V = self._sampler.space(())
        self._nodes = np.empty(len(mesh.geometry.x), dtype=np.int64)
        self._nodes[mesh.geometry.dofmaps[0].ravel()] = V.dofmap.list.ravel()
        on_root(mesh.comm, lambda: self._stem.parent.mkdir(parents=True, exist_ok=True))

    def write(self, t: float, fields: Mapping[str, fem.Function]) -> None:
        """Add time ``t`` (ms); collective."""
        msh = self._sampler.mesh
        for name, field in fields.items():
            path = f"{self._stem}_{name}.vtkhdf"
            if name not in self._started:
                vtkhdf.write_mesh(path, msh)
                self._started.add(name)
            if self._sampler.is_by_cell(name, field):
                vtkhdf.write_cell_data(path, msh, self._sampler.at_cells(field).ravel(), t)
            else:
                vtkhdf.write_point_data(path, msh, self._by_node(field).ravel(), t)

    def _by_node(self, field: fem.Function) -> NDArray[np.floating]:
        sampled = self._sampler.at_points(field)
        values = sampled.x.array.reshape(-1, sampled.function_space.dofmap.bs)[self._nodes]
        return np.asarray(values[: self._sampler.mesh.geometry.index_map().size_local])


def earlier_steps(pvd: Path, resume: float | None) -> list[tuple[float, str]]:
    """Steps of a series before the time that a run goes on from."""
    if resume is None or not pvd.is_file():
        return []
    try:
        found = ET.parse(pvd).getroot().iter("DataSet")
        steps = [(float(entry.attrib["timestep"]), entry.attrib["file"]) for entry in found]
    except (ET.ParseError, KeyError, ValueError) as error:
        logger.warning("%s is damaged (%s): its series begins anew.", pvd, error)
        return []
    return [(t, file) for t, file in steps if t < resume - 1e-9]


def field_writer(
    kind: str,
    directory: str | Path,
    name: str,
    mesh: Mesh,
    *,
    degree: int = 1,
    resume: float | None = None,
) -> Writer:
    """The writer of a format by the name it has in a case file: vtu, vtx or vtkhdf.

    Only ``vtu`` can go on with a series (``resume``); the others start anew.

    Raises:
        InputError: no format of that name.
    """
    if kind == "vtu":
        return FieldWriter(directory, name, mesh, degree=degree, resume=resume)
    if kind == "vtx":
        return VtxWriter(directory, name, mesh, degree=degree)
    if kind == "vtkhdf":
        return VtkHdfWriter(directory, name, mesh)
    raise InputError("formats", f"no format `{kind}`.", suggestion(kind, ("vtu", "vtx", "vtkhdf")))


def _fill(data: vtkDataSetAttributes, arrays: Arrays, units: Mapping[str, str]) -> None:
    data.Initialize()
    for name, values in arrays.items():
        array = numpy_to_vtk(np.ascontiguousarray(values), deep=True)
        array.SetName(name)
        if name in units:
            array.GetInformation().Set(vtkDataArray.UNITS_LABEL(), units[name])
        data.AddArray(array)


def _pvtu(pieces: list[str], points: Arrays, cells: Arrays, single: bool) -> str:
    kind = "Float32" if single else "Float64"
    root = ET.Element("VTKFile", type="PUnstructuredGrid", version="1.0", byte_order="LittleEndian")
    grid = ET.SubElement(root, "PUnstructuredGrid", GhostLevel="0")
    for tag, arrays in (("PPointData", points), ("PCellData", cells)):
        parent = ET.SubElement(grid, tag)
        for name, values in arrays.items():
            ET.SubElement(
                parent,
                "PDataArray",
                type=kind,
                Name=name,
                NumberOfComponents=str(values.shape[1]),
            )
    ET.SubElement(ET.SubElement(grid, "PPoints"), "PDataArray", type=kind, NumberOfComponents="3")
    for piece in pieces:
        ET.SubElement(grid, "Piece", Source=piece)
    return _xml(root)


def pvd(steps: list[tuple[float, str]]) -> str:
    """The index of a time series: times and files."""
    root = ET.Element("VTKFile", type="Collection", version="1.0", byte_order="LittleEndian")
    collection = ET.SubElement(root, "Collection")
    for t, file in steps:
        ET.SubElement(collection, "DataSet", timestep=f"{t:.10g}", part="0", file=file)
    return _xml(root)


def _xml(root: ET.Element) -> str:
    ET.indent(root)
    return '<?xml version="1.0"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
