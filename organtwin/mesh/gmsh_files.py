"""Tetrahedra from and to gmsh files."""

from __future__ import annotations

from pathlib import Path

import gmsh
import numpy as np
from numpy.typing import NDArray

from organtwin.mesh.gmsh_reading import merge_mesh
from organtwin.mesh.tetrahedra import gmsh_session
from organtwin.mesh.volume_mesh import (
    BOUNDARY,
    WHOLE,
    TetrahedralMesh,
    all_outer,
    check_kinds,
)

type Index = NDArray[np.int64]


def read_gmsh(file: Path) -> TetrahedralMesh:
    """Whatever gmsh reads; physical groups are regions and surfaces.

    Raises:
        InputError: gmsh can't read it, or it holds other cells.
    """
    with gmsh_session():
        merge_mesh(file)
        tags, coordinates, _ = gmsh.model.mesh.getNodes()
        cells, regions, region_names = _gmsh_entities(3, 4, WHOLE)
        facets, facet_tags, facet_names = _gmsh_entities(2, 3, BOUNDARY)
        others = sorted({gmsh.model.mesh.getElementProperties(k)[0] for k in _other_kinds()})
    check_kinds(file, len(cells), others)
    number = np.full(int(tags.max()) + 1, -1)
    number[tags.astype(int)] = np.arange(len(tags))
    return TetrahedralMesh(
        coordinates.reshape(-1, 3), number[cells], regions, region_names,
        number[facets], facet_tags, facet_names,
    )  # fmt: skip


def _gmsh_entities(dim: int, corners: int, default: str) -> tuple[Index, Index, dict[str, int]]:
    """Simplices of a dimension, the integer of their physical group, else of their entity."""
    kind = {3: 4, 2: 2}[dim]
    nodes, tags, names = [np.empty(0, np.int64)], [np.empty(0, np.int64)], {}
    for _, entity in gmsh.model.getEntities(dim):
        own = gmsh.model.mesh.getElementsByType(kind, entity)[1].astype(np.int64)
        groups = gmsh.model.getPhysicalGroupsForEntity(dim, entity)
        tag = int(groups[0]) if len(groups) else entity
        name = gmsh.model.getPhysicalName(dim, tag) if len(groups) else ""
        if name and len(own):
            names[name] = tag
        nodes.append(own)
        tags.append(np.full(len(own) // corners, tag))
    found = np.concatenate(tags).astype(np.int64)
    if not names and len(np.unique(found)) == 1:
        names = {default: int(found[0])}
    return np.concatenate(nodes).reshape(-1, corners), found, names


def _other_kinds() -> list[int]:
    kinds = gmsh.model.mesh.getElementTypes(3)
    return [int(k) for k in kinds if k != 4]


def write_gmsh(mesh: TetrahedralMesh, file: Path) -> None:
    """Write regions and surfaces as physical groups; all outer facets are in one."""
    facets, tags, names = all_outer(mesh)
    numbers = {name: k for k, name in enumerate(mesh.region_names, 1)}
    surfaces = {name: k for k, name in enumerate(names, len(numbers) + 1)}
    with gmsh_session():
        gmsh.model.add("organtwin")
        for dim, groups in ((3, numbers), (2, surfaces)):
            for name, tag in groups.items():
                gmsh.model.addDiscreteEntity(dim, tag)
                gmsh.model.addPhysicalGroup(dim, [tag], tag, name)
        first = next(iter(numbers.values()))
        nodes = np.arange(1, len(mesh.points) + 1)
        gmsh.model.mesh.addNodes(3, first, nodes, np.ascontiguousarray(mesh.points).ravel())
        for name, tag in numbers.items():
            own = mesh.cells[mesh.regions == mesh.region_names[name]] + 1
            gmsh.model.mesh.addElementsByType(tag, 4, [], own.ravel())
        for name, tag in surfaces.items():
            own = facets[tags == names[name]] + 1
            gmsh.model.mesh.addElementsByType(tag, 2, [], own.ravel())
        gmsh.write(str(file))
