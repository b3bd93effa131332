"""Tetrahedra from and to Exodus II files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.io import netcdf_file

from organtwin.errors import InputError
from organtwin.mesh.named_sets import NamedSets, mesh_with_sets, sides
from organtwin.mesh.volume_mesh import (
    DIRECTIONS,
    WHOLE,
    TetrahedralMesh,
    check_kinds,
    unit_vectors,
)

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Corners (from 0) of the sides 1 to 4 of a tetrahedron.
SIDES = ((0, 1, 3), (1, 2, 3), (0, 3, 2), (0, 2, 1))
_VOLUMES = ("HEX", "WEDGE", "PYRAMID", "NFACED")
_AXES = ("X", "Y", "Z")


@dataclass(frozen=True)
class _Stored:
    """Arrays of a file, and the kind of element in each block of it."""

    arrays: Mapping[str, NDArray[Any]]
    kinds: Mapping[str, str]

    def names(self, name: str) -> list[str]:
        """Texts that are kept letter by letter."""
        rows = np.asarray(self.arrays.get(name, np.empty((0, 1), "S1")))
        return [b"".join(row).split(b"\0")[0].decode().strip() for row in rows]

    def numbered(self, stem: str) -> list[tuple[int, NDArray[Any]]]:
        """Arrays called stem1, stem2, ... with their number."""
        found = [(name[len(stem) :], value) for name, value in self.arrays.items()
                 if name.startswith(stem) and name[len(stem) :].isdigit()]  # fmt: skip
        return sorted((int(number), value) for number, value in found)


def read_exodus(file: Path) -> TetrahedralMesh:
    """Element blocks become regions, side sets and node sets surfaces; values of the first time.

    Raises:
        InputError: the file is damaged or has other cells.
    """
    try:
        return _mesh(file, _stored(file))
    except InputError:
        raise
    except Exception as error:  # readers of damaged NetCDF raise what they like
        raise InputError(str(file), f"can't be read ({error}).", "Export again.") from None


def _stored(file: Path) -> _Stored:
    if file.read_bytes()[:3] == b"CDF":
        with netcdf_file(file, "r", mmap=False) as data:
            arrays = {name: np.array(item[...]) for name, item in data.variables.items()}
            kinds = {name: _text(getattr(item, "elem_type", b""))
                     for name, item in data.variables.items()}  # fmt: skip
    else:
        with h5py.File(file) as data:
            arrays = {name: np.asarray(item[()]) for name, item in data.items()}
            kinds = {name: _text(item.attrs.get("elem_type", b"")) for name, item in data.items()}
    return _Stored(arrays, kinds)


def _text(value: Any) -> str:
    text = value.decode() if isinstance(value, bytes) else str(value)
    return text.strip("\0 ").upper()


def _mesh(file: Path, stored: _Stored) -> TetrahedralMesh:
    blocks = [(k, np.asarray(c, np.int64) - 1) for k, c in stored.numbered("connect")]
    kinds = {k: _kind(stored.kinds[f"connect{k}"], c) for k, c in blocks}
    tetrahedra = [k for k, _ in blocks if kinds[k] == "TETRA4"]
    others = {kinds[k] for k, _ in blocks if kinds[k].startswith(("TET", *_VOLUMES))} - {"TETRA4"}
    check_kinds(file, len(tetrahedra), sorted(others))
    cells = np.concatenate([c for k, c in blocks if k in tetrahedra])
    regions, names = _regions(stored, blocks, tetrahedra)
    points = _points(stored)
    sets = NamedSets(
        facets=_shells(stored, blocks) | _side_sets(stored, blocks, tetrahedra),
        vertices=_node_sets(stored),
    )
    mesh = mesh_with_sets(points, cells, sets)
    values = _cell_values(stored, dict(blocks), tetrahedra)
    return replace(
        mesh,
        regions=regions,
        region_names=names,
        vertex_values=_vertex_values(stored),
        cell_values={name: v for name, v in values.items() if name not in DIRECTIONS},
        fibres={name: unit_vectors(values[name]) for name in DIRECTIONS if name in values},
    )


def _kind(name: str, corners: Index) -> str:
    return "TETRA4" if name.startswith("TET") and corners.shape[1] == 4 else name


def _points(stored: _Stored) -> Points:
    if "coord" in stored.arrays:
        return np.asarray(stored.arrays["coord"], np.float64).T
    axes = [stored.arrays[f"coord{axis.lower()}"] for axis in _AXES]
    return np.column_stack(axes).astype(np.float64)


def _regions(
    stored: _Stored, blocks: list[tuple[int, Index]], tetrahedra: list[int]
) -> tuple[Index, dict[str, int]]:
    """The number of its block for each cell, and the blocks' names."""
    numbers = {k: int(stored.arrays["eb_prop1"][j]) for j, (k, _) in enumerate(blocks)}
    texts = dict(zip([k for k, _ in blocks], stored.names("eb_names"), strict=False))
    names = {texts[k]: numbers[k] for k in tetrahedra if texts.get(k)}
    if not names and len(tetrahedra) == 1:
        names = {WHOLE: numbers[tetrahedra[0]]}
    own = [np.full(len(c), numbers[k]) for k, c in blocks if k in tetrahedra]
    return np.concatenate(own).astype(np.int64), names


def _side_sets(
    stored: _Stored, blocks: list[tuple[int, Index]], tetrahedra: list[int]
) -> dict[str, Index]:
    """Sides of tetrahedra; those of other elements are left out."""
    corners = np.full((sum(len(c) for _, c in blocks), 4), -1)
    start = 0
    for k, c in blocks:
        if k in tetrahedra:
            corners[start : start + len(c)] = c
        start += len(c)
    found, texts = {}, stored.names("ss_names")
    for j, (k, elements) in enumerate(stored.numbered("elem_ss")):
        sides_of = np.asarray(stored.arrays[f"side_ss{k}"], np.int64) - 1
        own = np.take_along_axis(
            corners[np.asarray(elements, np.int64) - 1], np.asarray(SIDES)[sides_of % 4], axis=1
        )
        own = own[(own >= 0).all(axis=1)]
        if len(own):
            found[_set_name(stored, texts, "ss_prop1", j)] = own
    return found


def _shells(stored: _Stored, blocks: list[tuple[int, Index]]) -> dict[str, Index]:
    """Blocks of triangles."""
    texts = stored.names("eb_names")
    return {
        _set_name(stored, texts, "eb_prop1", j): own
        for j, (k, own) in enumerate(blocks)
        if stored.kinds[f"connect{k}"].startswith("TRI") and own.shape[1] == 3
    }


def _set_name(stored: _Stored, texts: list[str], numbers: str, j: int) -> str:
    if j < len(texts) and texts[j]:
        return texts[j]
    return f"surface{int(stored.arrays[numbers][j])}" if numbers in stored.arrays else f"set{j + 1}"


def _node_sets(stored: _Stored) -> dict[str, Index]:
    texts = stored.names("ns_names")
    return {
        _set_name(stored, texts, "ns_prop1", j): np.asarray(own, np.int64) - 1
        for j, (_, own) in enumerate(stored.numbered("node_ns"))
    }


def _vertex_values(stored: _Stored) -> dict[str, NDArray[Any]]:
    texts = stored.names("name_nod_var")
    found = {texts[k - 1]: v[0] for k, v in stored.numbered("vals_nod_var") if len(v)}
    return _vectors(found)


def _cell_values(
    stored: _Stored, blocks: Mapping[int, Index], tetrahedra: list[int]
) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for j, name in enumerate(stored.names("name_elem_var"), 1):
        parts = [stored.arrays.get(f"vals_elem_var{j}eb{k}") for k in tetrahedra]
        if any(part is not None and len(part) for part in parts):
            found[name] = np.concatenate([
                np.zeros(len(blocks[k])) if part is None else part[0]
                for k, part in zip(tetrahedra, parts, strict=True)
            ])  # fmt: skip
    return _vectors(found)


def _vectors(values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Values whose names end with X, Y and Z put together."""
    stems = [name[:-1] for name in values if name.endswith("X")]
    whole = [stem for stem in stems if all(f"{stem}{axis}" in values for axis in _AXES)]
    parts = {f"{stem}{axis}" for stem in whole for axis in _AXES}
    found = {name: value for name, value in values.items() if name not in parts}
    for stem in whole:
        found[stem] = np.column_stack([values[f"{stem}{axis}"] for axis in _AXES])
    return found


def write_exodus(mesh: TetrahedralMesh, file: Path) -> None:
    """Write regions as element blocks, surfaces as side sets.

    Raises:
        InputError: a facet is no face of a cell.
    """
    order = np.argsort(mesh.regions, kind="stable")
    sorted_mesh = replace(
        mesh,
        cells=mesh.cells[order],
        regions=mesh.regions[order],
        cell_values={name: value[order] for name, value in mesh.cell_values.items()},
        fibres={name: value[order] for name, value in mesh.fibres.items()},
    )
    with netcdf_file(file, "w", version=2) as data:
        _write_header(data, sorted_mesh)
        _write_blocks(data, sorted_mesh)
        _write_side_sets(data, sorted_mesh)
        _write_values(data, sorted_mesh)


def _put(data: netcdf_file, name: str, values: Any, *dimensions: str) -> Any:
    array = np.asarray(values)
    kind = {"i": "i4", "f": "f8", "S": "S1"}[array.dtype.kind]
    item = data.createVariable(name, "c" if kind == "S1" else kind, dimensions)
    item[:] = array.astype(kind)
    return item


def _put_names(data: netcdf_file, name: str, texts: list[str], dimension: str) -> None:
    width = data.dimensions["len_name"]
    rows = [text.encode().ljust(width, b"\0") for text in texts]
    letters = np.frombuffer(b"".join(rows), "S1").reshape(len(rows), width)
    _put(data, name, letters, dimension, "len_name")


def _write_header(data: netcdf_file, mesh: TetrahedralMesh) -> None:
    names = [*mesh.region_names, *mesh.facet_names, *_components(mesh.vertex_values),
             *_components({**mesh.cell_values, **mesh.fibres})]  # fmt: skip
    longest = max(len(name.encode()) for name in names)
    data.title, data.version, data.api_version = "Tetrahedra, mm", np.float32(5.1), np.float32(5.1)
    data.floating_point_word_size, data.file_size = np.int32(8), np.int32(1)
    data.maximum_name_length = np.int32(longest)
    data.createDimension("time_step", None)
    for name, size in (
        ("len_string", 33), ("len_line", 81), ("four", 4), ("len_name", max(33, longest + 1)),
        ("num_dim", 3), ("num_nodes", len(mesh.points)), ("num_elem", len(mesh.cells)),
    ):  # fmt: skip
        data.createDimension(name, size)
    data.createVariable("time_whole", "f8", ("time_step",))[0] = 0.0
    for axis, column in zip(_AXES, mesh.points.T, strict=True):
        _put(data, f"coord{axis.lower()}", column, "num_nodes")


def _write_blocks(data: netcdf_file, mesh: TetrahedralMesh) -> None:
    names = {tag: name for name, tag in mesh.region_names.items()}
    tags = [int(tag) for tag in np.unique(mesh.regions)]
    data.createDimension("num_el_blk", len(tags))
    _put(data, "eb_status", np.ones(len(tags), int), "num_el_blk")
    _put(data, "eb_prop1", tags, "num_el_blk").name = "ID"
    _put_names(data, "eb_names", [names[tag] for tag in tags], "num_el_blk")
    for k, tag in enumerate(tags, 1):
        own = mesh.cells[mesh.regions == tag]
        data.createDimension(f"num_el_in_blk{k}", len(own))
        data.createDimension(f"num_nod_per_el{k}", 4)
        dimensions = (f"num_el_in_blk{k}", f"num_nod_per_el{k}")
        _put(data, f"connect{k}", own + 1, *dimensions).elem_type = "TETRA4"


def _write_side_sets(data: netcdf_file, mesh: TetrahedralMesh) -> None:
    if not mesh.facet_names:
        return
    tags = list(mesh.facet_names.values())
    data.createDimension("num_side_sets", len(tags))
    _put(data, "ss_status", np.ones(len(tags), int), "num_side_sets")
    _put(data, "ss_prop1", tags, "num_side_sets").name = "ID"
    _put_names(data, "ss_names", list(mesh.facet_names), "num_side_sets")
    for k, tag in enumerate(tags, 1):
        own = sides(mesh, mesh.facets[mesh.facet_tags == tag], SIDES) + 1
        data.createDimension(f"num_side_ss{k}", len(own))
        _put(data, f"elem_ss{k}", own[:, 0], f"num_side_ss{k}")
        _put(data, f"side_ss{k}", own[:, 1], f"num_side_ss{k}")


def _components(values: Mapping[str, NDArray[Any]]) -> dict[str, Points]:
    """Scalars as they are, vectors by their components; other arrays have no place in a file."""
    found = {}
    for name, value in values.items():
        if value.ndim == 1:
            found[name] = np.asarray(value, np.float64)
        elif value.shape[1:] == (3,):
            columns = np.asarray(value, np.float64).T
            found |= {f"{name}{axis}": c for axis, c in zip(_AXES, columns, strict=True)}
    return found


def _write_values(data: netcdf_file, mesh: TetrahedralMesh) -> None:
    at_vertices = _components(mesh.vertex_values)
    in_cells = _components({**mesh.cell_values, **mesh.fibres})
    for dimension, label, values in (
        ("num_nod_var", "name_nod_var", at_vertices), ("num_elem_var", "name_elem_var", in_cells),
    ):  # fmt: skip
        if values:
            data.createDimension(dimension, len(values))
            _put_names(data, label, list(values), dimension)
    for j, value in enumerate(at_vertices.values(), 1):
        _put(data, f"vals_nod_var{j}", value[None], "time_step", "num_nodes")
    for j, value in enumerate(in_cells.values(), 1):
        for k, tag in enumerate(np.unique(mesh.regions), 1):
            own = value[mesh.regions == tag][None]
            _put(data, f"vals_elem_var{j}eb{k}", own, "time_step", f"num_el_in_blk{k}")
