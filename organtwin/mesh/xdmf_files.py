"""Tetrahedra from and to XDMF files with HDF5 data."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.volume_mesh import (
    DIRECTIONS,
    WHOLE,
    TetrahedralMesh,
    check_kinds,
    region_array,
    unit_vectors,
)

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]


def read_xdmf(file: Path) -> TetrahedralMesh:
    """Grids of tetrahedra, and grids of triangles in the same vertices for the surfaces.

    Raises:
        InputError: it is damaged, its data are missing, or it holds other cells.
    """
    grids = _grids(file)
    volumes = [grid for grid in grids if grid.kind == "tetrahedron"]
    others = sorted({g.kind for g in grids if g.kind not in ("tetrahedron", "triangle", "")})
    check_kinds(file, len(volumes), others)
    main = volumes[0]
    cells = main.cells
    values: dict[str, NDArray[Any]] = {}
    vertex_values: dict[str, NDArray[Any]] = {}
    for grid in volumes:
        if len(grid.cells) == len(cells):  # tags of the same cells
            values |= _in_order(cells, grid)
            vertex_values |= grid.values("Node")
    surfaces = [grid for grid in grids if grid.kind == "triangle"]
    array = region_array(values)
    regions = np.ones(len(cells), np.int64) if array is None else values.pop(array)
    facets, tags, facet_names = _tagged(surfaces[0]) if surfaces else _untagged()
    fibres = {k: unit_vectors(values.pop(k)) for k in DIRECTIONS if k in values}
    return TetrahedralMesh(
        main.points, cells, regions.astype(np.int64),
        main.names("region") or ({} if array else {WHOLE: 1}),
        facets, tags, facet_names, vertex_values, values, fibres,
    )  # fmt: skip


def xdmf_triangles(file: Path) -> tuple[Points, Index, Index, dict[str, int]]:
    """Vertices (in the unit of the file), triangles, their integers and names.

    Raises:
        InputError: the file is damaged or holds no triangles.
    """
    found = [grid for grid in _grids(file) if grid.kind == "triangle"]
    if not found:
        raise InputError(str(file), "holds no triangles.", "Give the file of the surfaces.")
    return found[0].points, *_tagged(found[0])


def _grids(file: Path) -> list[_Grid]:
    try:
        return [_Grid(file, node) for node in ET.parse(file).iter("Grid")]
    except (ET.ParseError, OSError, UnicodeDecodeError) as error:
        raise InputError(str(file), f"can't be read ({error}).", "Export again.") from None


def _tagged(grid: _Grid) -> tuple[Index, Index, dict[str, int]]:
    """Triangles of a grid, their integers and names."""
    values = grid.values("Cell")
    array = region_array(values)
    tags = np.ones(len(grid.cells), np.int64) if array is None else values[array].astype(np.int64)
    return grid.cells, tags, grid.names("surface")


def _in_order(cells: Index, grid: _Grid) -> dict[str, NDArray[Any]]:
    """Values of a grid that lists the cells in an order of its own."""
    values = grid.values("Cell")
    if not values or np.array_equal(cells, grid.cells):
        return values
    there = np.lexsort(np.sort(grid.cells, axis=1).T[::-1])
    here = np.argsort(np.lexsort(np.sort(cells, axis=1).T[::-1]))
    return {name: value[there][here] for name, value in values.items()}


def _untagged() -> tuple[Index, Index, dict[str, int]]:
    return np.empty((0, 3), np.int64), np.empty(0, np.int64), {}


class _Grid:
    """One grid of an XDMF file."""

    def __init__(self, file: Path, node: ET.Element) -> None:
        self.file, self.node = file, node
        topology = node.find("Topology")
        self.kind = "" if topology is None else str(_attribute(topology, "Type")).lower()
        self.topology = topology

    @property
    def cells(self) -> Index:
        assert self.topology is not None
        corners = 4 if self.kind == "tetrahedron" else 3
        return np.asarray(self._data(self.topology).reshape(-1, corners), np.int64)

    @property
    def points(self) -> Points:
        geometry = self.node.find("Geometry")
        if geometry is None:
            raise InputError(str(self.file), "a grid has no geometry.", "Export again.")
        return np.asarray(self._data(geometry), np.float64).reshape(-1, 3)

    def values(self, centre: str) -> dict[str, NDArray[Any]]:
        """Arrays of the cells or nodes."""
        return {
            str(item.get("Name")): self._data(item).squeeze()
            for item in self.node.findall("Attribute")
            if str(item.get("Center")) == centre
        }

    def names(self, kind: str) -> dict[str, int]:
        """Names that `write_mesh` left in the grid."""
        return {
            str(item.get("Name"))[len(kind) + 1 :]: int(str(item.get("Value")))
            for item in self.node.findall("Information")
            if str(item.get("Name")).startswith(f"{kind}:")
        }

    def _data(self, node: ET.Element) -> NDArray[Any]:
        item = node.find("DataItem")
        if item is None:
            raise InputError(str(self.file), f"a {node.tag} has no data.", "Export again.")
        shape = [int(k) for k in str(item.get("Dimensions")).split()]
        text = (item.text or "").strip()
        if str(item.get("Format", "XML")).upper() == "HDF":
            name, place = text.rsplit(":", 1) if ":/" in text else (text, "/")
            return self._stored(self.file.parent / name, place).reshape(shape)
        number = np.array(text.split(), np.float64).reshape(shape)
        whole = str(_attribute(item, "DataType", item.get("NumberType", "Float"))) in (
            "Int",
            "UInt",
        )
        return number.astype(np.int64) if whole else number

    def _stored(self, data: Path, place: str) -> NDArray[Any]:
        name = data.relative_to(self.file.parent) if self.file.parent in data.parents else data
        if name.is_absolute() or ".." in name.parts:
            raise InputError(
                str(self.file), f"its data are in `{name}`, outside of its folder.",
                "Put them beside it.",
            )  # fmt: skip
        try:
            with h5py.File(data) as stream:
                return np.asarray(stream[place][()])
        except (OSError, KeyError) as error:
            raise InputError(
                str(self.file), f"its data `{data.name}:{place}` can't be read ({error}).",
                "Keep the .h5 file beside it.",
            ) from None  # fmt: skip


def _attribute(node: ET.Element, name: str, default: str | None = None) -> str | None:
    """An attribute that older files write with the element's name in front."""
    return node.get(name, node.get(f"{node.tag}{name}", default))


def write_xdmf(mesh: TetrahedralMesh, file: Path) -> None:
    """Write it with its names, and its numbers into an ``.h5`` file beside it."""
    data = file.with_suffix(".h5")
    root = ET.Element("Xdmf", Version="3.0")
    domain = ET.SubElement(root, "Domain")
    with h5py.File(data, "w") as stream:
        grid = _grid_node(domain, stream, "mesh", "Tetrahedron", mesh.cells, mesh.points)
        cell_values = {"region": mesh.regions, **mesh.cell_values, **mesh.fibres}
        _attributes(grid, stream, "mesh", "Cell", cell_values)
        _attributes(grid, stream, "mesh", "Node", mesh.vertex_values)
        _informations(grid, "region", mesh.region_names)
        if len(mesh.facets):
            grid = _grid_node(domain, stream, "surfaces", "Triangle", mesh.facets, None)
            _attributes(grid, stream, "surfaces", "Cell", {"region": mesh.facet_tags})
            _informations(grid, "surface", mesh.facet_names)
    ET.indent(root)
    ET.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _grid_node(
    domain: ET.Element, stream: h5py.File, name: str, kind: str, cells: Index, points: Points | None
) -> ET.Element:
    grid = ET.SubElement(domain, "Grid", Name=name, GridType="Uniform")
    topology = ET.SubElement(
        grid, "Topology", TopologyType=kind, NumberOfElements=str(len(cells)),
        NodesPerElement=str(cells.shape[1]),
    )  # fmt: skip
    _item(topology, stream, f"{name}/cells", cells)
    geometry = ET.SubElement(grid, "Geometry", GeometryType="XYZ")
    _item(geometry, stream, "mesh/points", points)
    return grid


def _attributes(
    grid: ET.Element,
    stream: h5py.File,
    place: str,
    centre: str,
    values: Mapping[str, NDArray[Any]],
) -> None:
    for k, (name, value) in enumerate(values.items()):
        kind = "Vector" if value.shape[1:] == (3,) else "Scalar" if value.ndim == 1 else "Matrix"
        node = ET.SubElement(grid, "Attribute", Name=name, AttributeType=kind, Center=centre)
        _item(node, stream, f"{place}/{centre.lower()}{k}", value)


def _item(node: ET.Element, stream: h5py.File, place: str, values: NDArray[Any] | None) -> None:
    if values is not None:
        stream[place] = values
    stored = stream[place]
    item = ET.SubElement(
        node,
        "DataItem",
        Dimensions=" ".join(str(k) for k in stored.shape),
        Format="HDF",
        DataType="Int" if stored.dtype.kind in "iu" else "Float",
        Precision=str(stored.dtype.itemsize),
    )
    item.text = f"{Path(stream.filename).name}:/{place}"


def _informations(grid: ET.Element, kind: str, names: Mapping[str, int]) -> None:
    for name, tag in names.items():
        ET.SubElement(grid, "Information", Name=f"{kind}:{name}", Value=str(tag))
