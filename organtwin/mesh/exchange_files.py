"""Tetrahedra from and to the formats that meshio knows: MED, Netgen, AVS, SU2, Tecplot, Medit."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import meshio
import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.named_sets import NamedSets, mesh_with_sets
from organtwin.mesh.volume_mesh import (
    DIRECTIONS,
    WHOLE,
    TetrahedralMesh,
    check_kinds,
    region_array,
    unit_vectors,
)

type Index = NDArray[np.int64]

#: Suffixes and the format that meshio calls so.
FORMATS = {
    ".med": "med", ".vol": "netgen", ".avs": "avsucd", ".su2": "su2", ".dat": "tecplot",
    ".tec": "tecplot", ".mesh": "medit", ".meshb": "medit", ".bdf": "nastran", ".fem": "nastran",
    ".nas": "nastran",
}  # fmt: skip
#: Arrays in which meshio keeps integers of regions and surfaces.
_TAGS = ("medit:ref", "nastran:ref", "su2:tag", "netgen:index", "avsucd:material")


def read_exchanged(file: Path) -> TetrahedralMesh:
    """Whatever meshio reads; groups of MED, names of Netgen and SU2 become names.

    Raises:
        InputError: the file is damaged or has other cells.
    """
    with _quiet(file):
        raw = _raw(file)
    others = {b.type for b in raw.cells if b.dim == 3 and b.type != "tetra"}
    check_kinds(file, len(_of_kind(raw, "tetra")), sorted(others))
    if raw.points.ndim != 2 or raw.points.shape[1] != 3:
        raise InputError(str(file), "its vertices are not in space.", "Export it in 3D.")
    mesh = _grouped(raw) if file.suffix.lower() == ".med" else _tagged(file, raw)
    return _with_values(mesh, raw)


@contextlib.contextmanager
def _quiet(file: Path) -> Iterator[None]:
    """Without output of meshio, and with all that it raises as one kind of error."""
    printed = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            warnings.catch_warnings(action="ignore"),
        ):
            yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # meshio raises what it likes, and exits
        said = str(error) or type(error).__name__
        raise InputError(
            str(file), f"can't be read or written ({said}).", "Export again."
        ) from None


def _raw(file: Path) -> Any:
    name = FORMATS[file.suffix.lower()]
    read = getattr(meshio, name).read
    if name not in ("nastran", "tecplot"):
        return read(str(file))
    text = file.read_text(encoding="utf-8", errors="replace")
    if name == "nastran" and not re.search(r"^BEGIN BULK", text, re.MULTILINE):
        text = f"BEGIN BULK\n{text}"
    return read(_Lines(text))


class _Lines(io.StringIO):
    """Lines that say when they are over: these readers look for more for ever."""

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        line = super().readline(size)
        if not line:
            raise EOFError("it ends too early")
        return line


def _of_kind(raw: Any, kind: str) -> Index:
    corners = {"tetra": 4, "triangle": 3}[kind]
    own = [np.asarray(block.data, np.int64) for block in raw.cells if block.type == kind]
    return np.concatenate([np.empty((0, corners), np.int64), *own])


def _values(raw: Any, kind: str) -> dict[str, NDArray[Any]]:
    """Arrays that all cells of a kind have."""
    found = {}
    for name, parts in raw.cell_data.items():
        pairs = zip(raw.cells, parts, strict=True)
        own = [part for block, part in pairs if block.type == kind]
        if own and all(part is not None and part.ndim > 0 for part in own):
            found[name] = np.concatenate(own)
    return found


def _points(raw: Any) -> NDArray[np.float64]:
    return np.asarray(raw.points, np.float64)


def _grouped(raw: Any) -> TetrahedralMesh:
    """By the groups of a MED file, of which a cell may have several."""
    cells, triangles = _of_kind(raw, "tetra"), _of_kind(raw, "triangle")
    in_cells = _members(_values(raw, "tetra").get("cell_tags"), raw.cell_tags)
    in_facets = _members(_values(raw, "triangle").get("cell_tags"), raw.cell_tags)
    vertices = _members(raw.point_data.get("point_tags"), raw.point_tags)
    facets = {name: triangles[own] for name, own in in_facets.items()}
    return mesh_with_sets(_points(raw), cells, NamedSets(in_cells, facets, vertices), triangles)


def _members(families: NDArray[Any] | None, groups: Mapping[int, list[str]]) -> dict[str, Index]:
    """Name of a group → numbers of what is in one of its families."""
    if families is None:
        return {}
    names = dict.fromkeys(name for own in groups.values() for name in own)
    chosen = {name: [k for k, own in groups.items() if name in own] for name in names}
    found = {name: np.flatnonzero(np.isin(families, k)) for name, k in chosen.items()}
    return {name: own for name, own in found.items() if len(own)}


def _tagged(file: Path, raw: Any) -> TetrahedralMesh:
    """By integers of the cells."""
    cells, triangles = _of_kind(raw, "tetra"), _of_kind(raw, "triangle")
    regions = _integers(_values(raw, "tetra"))
    tags = _integers(_values(raw, "triangle"))
    whole = regions is None or len(np.unique(regions)) == 1
    regions = np.ones(len(cells), np.int64) if regions is None else regions
    region_names = _names(raw, 3) or ({WHOLE: int(regions[0])} if whole else {})
    surfaces = _su2_markers(file) if file.suffix.lower() == ".su2" else _names(raw, 2)
    tags = np.ones(len(triangles), np.int64) if tags is None else tags
    return TetrahedralMesh(_points(raw), cells, regions, region_names, triangles, tags, surfaces)


def _integers(values: Mapping[str, NDArray[Any]]) -> Index | None:
    known = [name for name in _TAGS if name in values]
    name = known[0] if known else region_array(values)
    return None if name is None else values[name].astype(np.int64)


def _names(raw: Any, dim: int) -> dict[str, int]:
    return {str(name): int(k) for name, (k, d) in raw.field_data.items() if d == dim}


def _su2_markers(file: Path) -> dict[str, int]:
    """Names of markers and the integers that meshio counts for them."""
    names, last = {}, 0
    text = file.read_text(encoding="utf-8", errors="replace")
    for found in re.findall(r"^\s*MARKER_TAG\s*=\s*(.*?)\s*$", text, re.MULTILINE):
        numeric = re.fullmatch(r"[-+]?\d+", found) is not None
        last = int(found) if numeric else last + 1
        if not numeric:
            names[found] = last
    return names


def _with_values(mesh: TetrahedralMesh, raw: Any) -> TetrahedralMesh:
    used = {*_TAGS, "cell_tags", "point_tags"}
    values = {name: v for name, v in _values(raw, "tetra").items() if name not in used}
    return replace(
        mesh,
        vertex_values={str(k): v for k, v in raw.point_data.items() if k not in used},
        cell_values={name: v for name, v in values.items() if name not in DIRECTIONS},
        fibres={name: unit_vectors(values[name]) for name in DIRECTIONS if name in values},
    )


def write_exchanged(mesh: TetrahedralMesh, file: Path) -> None:
    """Write with meshio: MED with groups, Medit with integers.

    Raises:
        InputError: a name that the format can't hold.
    """
    cells = [("tetra", mesh.cells)] + ([("triangle", mesh.facets)] if len(mesh.facets) else [])
    raw = meshio.Mesh(mesh.points, cells)
    with _quiet(file):
        if file.suffix.lower() == ".med":
            _add_groups(file, mesh, raw)
            meshio.med.write(str(file), raw)
        else:
            raw.cell_data["medit:ref"] = [mesh.regions, mesh.facet_tags][: len(cells)]
            meshio.medit.write(str(file), raw)


def _add_groups(file: Path, mesh: TetrahedralMesh, raw: Any) -> None:
    """Families and fields of a MED file; families of cells have negative numbers."""
    for name in (*mesh.region_names, *mesh.facet_names):
        if not name.isascii() or len(name) > 80 or "/" in name:
            raise InputError(str(file), f"the name `{name}` can't be in it.", "Rename it.")
    names = [*mesh.region_names, *mesh.facet_names]
    raw.cell_tags = {-k: [name] for k, name in enumerate(names, 1)}
    split = len(mesh.region_names)
    families = [_families(mesh.regions, mesh.region_names, 0),
                _families(mesh.facet_tags, mesh.facet_names, split)]  # fmt: skip
    raw.cell_data["cell_tags"] = families[: len(raw.cells)]
    for name, value in {**mesh.cell_values, **mesh.fibres}.items():
        blank = np.zeros((len(mesh.facets), *value.shape[1:]))
        raw.cell_data[name] = [value.astype(np.float64), blank][: len(raw.cells)]
    raw.point_data = {name: v.astype(np.float64) for name, v in mesh.vertex_values.items()}


def _families(tags: Index, names: Mapping[str, int], before: int) -> Index:
    families = np.zeros(len(tags), np.int64)
    for k, tag in enumerate(names.values(), before + 1):
        families[tags == tag] = -k
    return families
