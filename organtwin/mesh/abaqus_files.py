"""Tetrahedra from and to Abaqus decks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.named_sets import NamedSets, mesh_with_sets, places, sides
from organtwin.mesh.volume_mesh import TetrahedralMesh, check_kinds

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Corners (from 0) of the sides of a tetrahedron, and what the sides are called.
_LABELS = ("S1", "S2", "S3", "S4")
SIDES = ((0, 1, 2), (0, 3, 1), (1, 3, 2), (2, 3, 0))
_TETRAHEDRA = ("C3D4", "DC3D4", "AC3D4")
_TRIANGLES = ("S3", "S3R", "S3RS", "STRI3", "R3D3", "CPS3", "CPE3", "M3D3", "SFM3D3", "DS3")


@dataclass(frozen=True)
class _Block:
    """A keyword with its options and data lines."""

    keyword: str
    options: Mapping[str, str]
    rows: list[list[str]] = field(default_factory=list)


def read_abaqus(file: Path) -> TetrahedralMesh:
    """Element sets become regions and surfaces, element surfaces and node sets surfaces.

    Raises:
        InputError: the deck is damaged, includes others, places instances, or has other cells.
    """
    blocks = _blocks(file)
    numbers, points = _nodes(file, blocks)
    ids, corners, triangle_ids, triangles = _elements(file, blocks)
    cells, facets = (_numbered(file, numbers, c) for c in (corners, triangles))
    elements, hidden = _sets(file, blocks, "ELSET"), _hidden(blocks)
    shown = {name: own for name, own in elements.items() if name.upper() not in hidden}
    nodes = _sets(file, blocks, "NSET").items()
    vertices = {k: places(numbers, own) for k, own in nodes if k.upper() not in hidden}
    in_cells = {name: places(ids, own) for name, own in shown.items()}
    shells = {name: facets[places(triangle_ids, own)] for name, own in shown.items()}
    surfaces = _surfaces(file, blocks, elements, ids, cells)
    sets = NamedSets(_filled(in_cells), _filled(shells) | _filled(surfaces), _filled(vertices))
    return mesh_with_sets(points, cells, sets, facets)


def _hidden(blocks: list[_Block]) -> set[str]:
    """Sets that only serve others: Abaqus/CAE's internal ones, those that surfaces are made of."""
    internal = [b for b in blocks if "INTERNAL" in b.options]
    names = [b.options.get(kind, "") for b in internal for kind in ("ELSET", "NSET")]
    rows = [row for b in blocks if b.keyword == "SURFACE" for row in b.rows]
    used = [row[0] for row in rows if row[1:] and row[1].upper() in _LABELS]
    return {name.upper() for name in (*names, *used)}


def _filled(sets: Mapping[str, Index]) -> dict[str, Index]:
    return {name: own for name, own in sets.items() if len(own)}


def _blocks(file: Path) -> list[_Block]:
    blocks: list[_Block] = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("**") or not line.strip():
            continue
        if line.startswith("*"):
            blocks.append(_opened(line))
        elif blocks:
            blocks[-1].rows.append(
                [word.strip().strip('"') for word in line.strip().rstrip(",").split(",")]
            )
    for block in blocks:
        if block.keyword == "INCLUDE" or (block.keyword == "INSTANCE" and block.rows):
            raise InputError(
                str(file),
                f"has *{block.keyword}, which is not followed.",
                "Export the mesh as one part without instances into one file.",
            )
    return blocks


def _opened(line: str) -> _Block:
    keyword, *words = line[1:].split(",")
    pairs = [word.partition("=") for word in words]
    options = {key.strip().upper(): value.strip().strip('"') for key, _, value in pairs}
    return _Block(keyword.strip().upper(), options)


def _table(file: Path, rows: list[list[str]], columns: int, kind: type) -> NDArray[Any]:
    try:
        return np.array([row[:columns] for row in rows], kind).reshape(len(rows), columns)
    except ValueError as error:
        raise InputError(str(file), f"a line is damaged ({error}).", "Export again.") from None


def _nodes(file: Path, blocks: list[_Block]) -> tuple[Index, Points]:
    rows = [row for block in blocks if block.keyword == "NODE" for row in block.rows]
    if not rows:
        raise InputError(str(file), "has no nodes.", "Export again.")
    table = _table(file, rows, 4, np.float64)
    return _once(file, "node", table[:, 0].astype(np.int64)), table[:, 1:]


def _once(file: Path, kind: str, numbers: Index) -> Index:
    unique, count = np.unique(numbers, return_counts=True)
    if (count > 1).any():
        raise InputError(
            str(file),
            f"{kind} {unique[count > 1][0]} occurs more than once.",
            "Export the mesh as one part.",
        )
    return numbers


def _elements(file: Path, blocks: list[_Block]) -> tuple[Index, Index, Index, Index]:
    """Numbers and corners of tetrahedra, then of triangles."""
    volumes, shells, others = [], [], set()
    for block in blocks:
        kind = block.options.get("TYPE", "").upper()
        if block.keyword != "ELEMENT":
            continue
        if kind.startswith(_TETRAHEDRA):
            volumes += block.rows
        elif kind in _TRIANGLES:
            shells += block.rows
        elif kind.startswith(("C3D", "DC3D", "AC3D")):
            others.add(kind)
    check_kinds(file, len(volumes), sorted(others))
    cells = _table(file, volumes, 5, np.int64)
    triangles = _table(file, shells, 4, np.int64)
    _once(file, "element", np.concatenate([cells[:, 0], triangles[:, 0]]))
    return cells[:, 0], cells[:, 1:], triangles[:, 0], triangles[:, 1:]


def _numbered(file: Path, numbers: Index, corners: Index) -> Index:
    found = places(numbers, corners.ravel())
    if len(found) != corners.size:
        missing = np.setdiff1d(corners, numbers)[0]
        raise InputError(str(file), f"an element has node {missing}, which is not there.")
    return found.reshape(corners.shape)


def _sets(file: Path, blocks: list[_Block], keyword: str) -> dict[str, Index]:
    """Numbers in each set; those of other sets that it names are in it too."""
    carrier = {"ELSET": "ELEMENT", "NSET": "NODE"}[keyword]
    found: dict[str, Index] = {}
    for block in blocks:
        name = block.options.get(keyword, "")
        if not name or block.keyword not in (keyword, carrier):
            continue
        rows = [row[:1] for row in block.rows] if block.keyword == carrier else block.rows
        if "GENERATE" in block.options:
            own = _generated(file, rows)
        else:
            own = _members(file, rows, found)
        found[name] = np.concatenate([found.get(name, np.empty(0, np.int64)), own])
    return found


def _generated(file: Path, rows: list[list[str]]) -> Index:
    """First, last and step of rows of numbers."""
    ends = _table(file, [[*row, "1"] for row in rows], 3, np.int64)
    parts = [np.arange(first, last + 1, step) for first, last, step in ends if step > 0]
    return np.concatenate([np.empty(0, np.int64), *parts])


def _members(file: Path, rows: list[list[str]], known: Mapping[str, Index]) -> Index:
    """Numbers, and those in the sets that are named among them."""
    upper = {name.upper(): own for name, own in known.items()}
    words = [word.upper() for row in rows for word in row if word]
    named = [upper[word] for word in words if word in upper and not word.isdigit()]
    numbers = [[word] for word in words if word.isdigit() or word not in upper]
    return np.concatenate([_table(file, numbers, 1, np.int64).ravel(), *named])


def _surfaces(
    file: Path, blocks: list[_Block], elements: Mapping[str, Index], ids: Index, cells: Index
) -> dict[str, Index]:
    """Triangles of surfaces made of sides of elements."""
    found: dict[str, Index] = {}
    for block in blocks:
        if block.keyword != "SURFACE" or block.options.get("TYPE", "ELEMENT").upper() != "ELEMENT":
            continue
        facets = [np.empty((0, 3), np.int64)]
        for row in _grouped(row for row in block.rows if len(row) > 1):
            own = _members(file, [row[1]], elements)
            facets.append(cells[places(ids, own)][:, SIDES[row[0]]])
        found[block.options.get("NAME", "")] = np.concatenate(facets)
    return found


def _grouped(rows: Iterable[list[str]]) -> list[tuple[int, list[str]]]:
    """Side from 0 and what has it; sides that a tetrahedron lacks are left out."""
    sorted_rows: dict[str, list[str]] = {}
    for row in rows:
        sorted_rows.setdefault(row[1].upper(), []).append(row[0])
    return [(k, sorted_rows[name]) for k, name in enumerate(_LABELS) if name in sorted_rows]


def write_abaqus(mesh: TetrahedralMesh, file: Path) -> None:
    """Write regions as element sets, surfaces as sides of elements.

    Raises:
        InputError: a name that the format can't hold, or a facet that is no face of a cell.
    """
    for name in (*mesh.region_names, *mesh.facet_names):
        if set(name) & set(',="*\n') or not name.strip():
            raise InputError(str(file), f"the name `{name}` can't be in it.", "Rename it.")
    with file.open("w", encoding="utf-8") as stream:
        stream.write("*HEADING\nTetrahedra, mm\n*NODE\n")
        nodes = np.column_stack([np.arange(1, len(mesh.points) + 1), mesh.points])
        np.savetxt(stream, nodes, fmt=["%d", *["%.16g"] * 3], delimiter=", ")
        for name, tag in mesh.region_names.items():
            own = np.flatnonzero(mesh.regions == tag)
            stream.write(f"*ELEMENT, TYPE=C3D4, ELSET={_quoted(name)}\n")
            np.savetxt(stream, np.column_stack([own, mesh.cells[own]]) + 1, "%d", delimiter=", ")
        for name, tag in mesh.facet_names.items():
            own = sides(mesh, mesh.facets[mesh.facet_tags == tag], SIDES) + 1
            stream.write(f"*SURFACE, TYPE=ELEMENT, NAME={_quoted(name)}\n")
            np.savetxt(stream, own, fmt="%d, S%d")


def _quoted(name: str) -> str:
    return name if name.replace("_", "").isalnum() else f'"{name}"'
