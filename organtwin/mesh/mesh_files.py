"""Tetrahedra from and to files, checked and named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError, suggestion
from organtwin.image.volume import check_extent
from organtwin.mesh.abaqus_files import read_abaqus, write_abaqus
from organtwin.mesh.apart import read_apart
from organtwin.mesh.carp_files import read_carp, write_carp
from organtwin.mesh.exchange_files import FORMATS, read_exchanged, write_exchanged
from organtwin.mesh.exodus_files import read_exodus, write_exodus
from organtwin.mesh.gmsh_files import read_gmsh, write_gmsh
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.regions import faces
from organtwin.mesh.surface_files import UNITS
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.mesh.vtk_files import read_vtk, write_vtk
from organtwin.mesh.xdmf_files import read_xdmf, write_xdmf, xdmf_triangles

type Index = NDArray[np.int64]


def read_mesh(
    path: str | Path,
    *,
    unit: str | None = None,
    region_names: Mapping[str, int] | None = None,
    facet_names: Mapping[str, int] | None = None,
    organ: bool = True,
) -> TetrahedralMesh:
    """Read a volume mesh.

    Cells whose vertices stand in the wrong order are turned, vertices that no cell has are left
    out. Regions and surfaces without a name get their number for one: ``region1``, ``surface1``.

    Args:
        path: ``.msh`` and ``.unv`` (as gmsh reads them), ``.vtu``, ``.vtk``, ``.xdmf``, CARP's
            ``.pts`` or ``.elem``, whose other files lie beside it, Abaqus ``.inp``, Exodus ``.e``
            or ``.exo``, MED ``.med``, Netgen ``.vol``, AVS ``.avs``, SU2 ``.su2``, Tecplot
            ``.dat``, Medit ``.mesh`` and ``.meshb``, Nastran ``.bdf`` and ``.fem``.
        unit: Unit of the file, ``mm``, ``cm``, ``m``, ``um``; None for that of the format, which is
            micrometres for CARP and mm for all others.
        region_names: Names for the integers of regions.
        facet_names: Names for the integers of surfaces.
        organ: Whether it must have the size of an organ or limb.

    Raises:
        InputError: the file is missing or damaged, holds other cells than tetrahedra, cells
            without volume, or has a size that no organ has.
    """
    file = Path(path)
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise InputError(str(file), "no known mesh format.", suggestion(file.suffix, _READERS))
    if unit is not None and unit not in UNITS:
        raise InputError(str(file), f"no unit `{unit}`.", suggestion(unit, UNITS))
    if not file.is_file():
        raise InputError(str(file), "no such mesh file.", "Check the path.")
    mesh = read_apart(file, reader, TetrahedralMesh)
    _check_indices(file, mesh)
    own = "um" if reader is read_carp else "mm"
    mesh = replace(mesh, points=mesh.points * UNITS[unit or own])
    mesh = _checked(file, _used_only(mesh))
    if organ:
        check_extent(
            str(file), np.ptp(mesh.points, axis=0), what="the mesh", remedy="Give its unit."
        )
    return _named(file, mesh, region_names, facet_names)


def write_mesh(mesh: TetrahedralMesh, path: str | Path) -> None:
    """Write a volume mesh.

    Args:
        mesh: What to write.
        path: ``.msh`` for `organtwin.mesh.domain.read_domain`, whose outer facets are all in a
            named surface, ``boundary`` if no other; ``.vtu``; ``.xdmf`` with ``.h5``; ``.pts``
            for CARP's ``.pts``, ``.elem`` and ``.lon`` in micrometres; ``.inp``, ``.exo``,
            ``.med``; ``.mesh`` and ``.meshb`` (Medit), which keep integers instead of names.

    Raises:
        InputError: no known suffix, or a name that the format can't hold.
    """
    file = Path(path)
    writer = _WRITERS.get(file.suffix.lower())
    if writer is None:
        raise InputError(str(file), "no known mesh format.", suggestion(file.suffix, _WRITERS))
    file.parent.mkdir(parents=True, exist_ok=True)
    writer(mesh, file)


def with_facets(
    mesh: TetrahedralMesh,
    path: str | Path,
    names: Mapping[str, int] | None = None,
    *,
    unit: str = "mm",
) -> TetrahedralMesh:
    """A mesh with the tagged triangles of another XDMF file, whose vertices lie where its do.

    Args:
        mesh: Tetrahedra; facets it has are replaced.
        path: ``.xdmf`` file with triangles.
        names: Names for the integers of surfaces.
        unit: Unit of the file.

    Raises:
        InputError: the file is missing or has no triangles, or they are no facets of the mesh.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(str(file), "no such mesh file.", "Check the path.")
    points, facets, tags, found = xdmf_triangles(file)
    distance, near = cKDTree(mesh.points).query(points * UNITS[unit])
    triangles = near[facets]
    off = float(distance[np.unique(facets)].max())
    if off > 1e-6 * float(np.ptp(mesh.points, axis=0).max()) or not _are_faces(triangles, mesh):
        raise InputError(
            str(file),
            f"its triangles are no facets of the mesh (vertices are up to {off:.3g} mm away).",
            "Give the surfaces that belong to this mesh, in its unit.",
        )
    given = _names(file, "surface", tags, names, found)
    return replace(mesh, facets=triangles, facet_tags=tags, facet_names=given)


def _are_faces(triangles: Index, mesh: TetrahedralMesh) -> bool:
    all_faces = np.unique(faces(mesh.cells), axis=0)
    both = np.unique(np.concatenate([all_faces, np.sort(triangles, axis=1)]), axis=0)
    return len(both) == len(all_faces)


def _check_indices(file: Path, mesh: TetrahedralMesh) -> None:
    every = np.concatenate([mesh.cells.ravel(), mesh.facets.ravel()])
    wrong = every[(every < 0) | (every >= len(mesh.points))]
    if len(wrong):
        raise InputError(
            str(file),
            f"a cell has vertex {wrong[0]} (from 0), but there are {len(mesh.points)}.",
            "The file is damaged; export again.",
        )


def _used_only(mesh: TetrahedralMesh) -> TetrahedralMesh:
    used = np.unique(mesh.cells)
    if len(used) == len(mesh.points):
        return mesh
    number = np.full(len(mesh.points), -1)
    number[used] = np.arange(len(used))
    facets = number[mesh.facets]
    kept = (facets >= 0).all(axis=1)
    return replace(
        mesh,
        points=mesh.points[used],
        cells=number[mesh.cells],
        facets=facets[kept],
        facet_tags=mesh.facet_tags[kept],
        vertex_values={name: value[used] for name, value in mesh.vertex_values.items()},
    )


def _checked(file: Path, mesh: TetrahedralMesh) -> TetrahedralMesh:
    """With positive volumes."""
    bad = np.flatnonzero(~np.isfinite(mesh.points).all(axis=1))
    if len(bad):
        raise InputError(
            str(file),
            f"{len(bad)} vertices have no place (the first is {bad[0]}).",
            "Export again.",
        )
    volume = signed_volumes(mesh.points, mesh.cells)
    flat = np.abs(volume) <= 1e-12 * float(np.abs(volume).mean())
    if flat.any():
        x = mesh.points[mesh.cells[np.argmax(flat)]].mean(axis=0)
        raise InputError(
            str(file),
            f"{int(flat.sum())} of {len(volume)} tetrahedra have no volume, the first at "
            f"({x[0]:.1f}, {x[1]:.1f}, {x[2]:.1f}).",
            "Mesh it again.",
        )
    cells = mesh.cells.copy()
    cells[volume < 0] = cells[volume < 0][:, [0, 2, 1, 3]]
    return replace(mesh, cells=cells)


def _named(
    file: Path,
    mesh: TetrahedralMesh,
    region_names: Mapping[str, int] | None,
    facet_names: Mapping[str, int] | None,
) -> TetrahedralMesh:
    return replace(
        mesh,
        region_names=_names(file, "region", mesh.regions, region_names, mesh.region_names),
        facet_names=_names(file, "surface", mesh.facet_tags, facet_names, mesh.facet_names),
    )


def _names(
    file: Path,
    kind: str,
    tags: Index,
    wanted: Mapping[str, int] | None,
    found: Mapping[str, int],
) -> dict[str, int]:
    present = [int(k) for k in np.unique(tags)]
    for name, tag in (wanted or {}).items():
        if tag not in present:
            raise InputError(
                str(file), f"nothing has {kind} {tag} (`{name}`).", f"Present: {present}."
            )
    known = {tag: name for name, tag in [*found.items(), *(wanted or {}).items()]}
    return {known.get(tag, f"{kind}{tag}"): tag for tag in present}


_READERS = {
    ".msh": read_gmsh, ".unv": read_gmsh, ".vtu": read_vtk, ".vtk": read_vtk, ".xdmf": read_xdmf,
    ".pts": read_carp, ".elem": read_carp, ".inp": read_abaqus,
    ".e": read_exodus, ".exo": read_exodus, ".ex2": read_exodus,
    **dict.fromkeys(FORMATS, read_exchanged),
}  # fmt: skip
_WRITERS = {
    ".msh": write_gmsh, ".vtu": write_vtk, ".xdmf": write_xdmf, ".pts": write_carp,
    ".inp": write_abaqus, ".e": write_exodus, ".exo": write_exodus,
    ".med": write_exchanged, ".mesh": write_exchanged, ".meshb": write_exchanged,
}  # fmt: skip
