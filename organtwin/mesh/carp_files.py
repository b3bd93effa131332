"""Tetrahedra from and to the text files of CARP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.surface_files import UNITS
from organtwin.mesh.volume_mesh import DIRECTIONS, TetrahedralMesh, unit_vectors

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: CARP counts lengths in micrometres.
_CARP_UNIT = UNITS["um"]


def read_carp(file: Path) -> TetrahedralMesh:
    """CARP's text files: points in µm, elements with region, fibre directions in the elements.

    Source:
        CARPentry user manual, "File formats", input files ``.pts``, ``.elem``, ``.lon``.
    """
    parts = {suffix: file.with_suffix(suffix) for suffix in (".pts", ".elem", ".lon")}
    for suffix in (".pts", ".elem"):
        if not parts[suffix].is_file():
            raise InputError(str(parts[suffix]), "no such mesh file.", "CARP needs both of them.")
    points = _numbers(parts[".pts"], _rows(parts[".pts"]), 3)
    cells, regions = _carp_elements(parts[".elem"])
    if cells.min() < 0 or cells.max() >= len(points):
        raise InputError(
            str(parts[".elem"]),
            f"an element has vertex {int(cells.max())}, but there are {len(points)}.",
            "The files do not belong together.",
        )
    fibres = _carp_fibres(parts[".lon"], len(cells)) if parts[".lon"].is_file() else {}
    return TetrahedralMesh(points, cells, regions, {}, fibres=fibres)


def _rows(file: Path) -> list[str]:
    """Lines after the header, as many as it says."""
    head, *lines = file.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    rows = [line for line in lines if line.strip()]
    try:
        number = int(head.split()[0])
    except (ValueError, IndexError):
        raise InputError(str(file), f"the first line `{head[:40]}` is no number.") from None
    if number != len(rows):
        raise InputError(
            str(file),
            f"the first line says {number} entries, but there are {len(rows)}.",
            "The file is damaged or incomplete; copy it again.",
        )
    return rows


def _numbers(file: Path, rows: list[str], columns: int) -> Points:
    try:
        return np.array(" ".join(rows).split(), np.float64).reshape(len(rows), columns)
    except ValueError as error:
        raise InputError(
            str(file), f"not {columns} numbers in each line ({error}).", "Export again."
        ) from None


def _carp_elements(file: Path) -> tuple[Index, Index]:
    rows = _rows(file)
    others = sorted({row.split()[0] for row in rows} - {"Tt"})
    if others or not rows:
        raise InputError(
            str(file),
            f"holds elements {', '.join(others) or 'of no kind'}; tetrahedra (Tt) are wanted.",
            "Convert it to tetrahedra.",
        )
    width = len(rows[0].split()) - 1
    table = _numbers(file, [row.split(None, 1)[1] for row in rows], width).astype(np.int64)
    regions = table[:, 4] if width > 4 else np.ones(len(table), np.int64)
    return table[:, :4], regions


def _carp_fibres(file: Path, cells: int) -> dict[str, Points]:
    head, *lines = file.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    rows = [line for line in lines if line.strip()]
    if head.strip() not in ("1", "2") or len(rows) != cells:
        raise InputError(
            str(file),
            f"the first line is `{head[:20]}` and {len(rows)} lines follow; wanted are 1 or 2 "
            f"directions in {cells} elements.",
            "The files do not belong together, or the file is damaged.",
        )
    number = int(head)
    table = _numbers(file, rows, 3 * number).reshape(cells, number, 3)
    return {name: unit_vectors(table[:, k]) for k, name in enumerate(DIRECTIONS[:number])}


def write_carp(mesh: TetrahedralMesh, file: Path) -> None:
    """Write ``.pts`` and ``.elem`` in µm, and ``.lon`` if there are fibres."""
    with file.with_suffix(".pts").open("w", encoding="utf-8") as stream:
        stream.write(f"{len(mesh.points)}\n")
        np.savetxt(stream, mesh.points / _CARP_UNIT, fmt="%.6f")
    with file.with_suffix(".elem").open("w", encoding="utf-8") as stream:
        stream.write(f"{len(mesh.cells)}\n")
        np.savetxt(stream, np.column_stack([mesh.cells, mesh.regions]), fmt="Tt %d %d %d %d %d")
    directions = [mesh.fibres[name] for name in DIRECTIONS if name in mesh.fibres]
    if directions:
        with file.with_suffix(".lon").open("w", encoding="utf-8") as stream:
            stream.write(f"{len(directions)}\n")
            np.savetxt(stream, np.column_stack(directions), fmt="%.9f")
