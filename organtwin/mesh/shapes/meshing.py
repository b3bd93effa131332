"""`mesh_shape`: tetrahedra of a parametric shape, by gmsh's CAD kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import gmsh
import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, MeshError
from organtwin.mesh.gmsh_files import write_gmsh
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.shapes.aortic_root import AorticRoot
from organtwin.mesh.shapes.flat_cells import without_flat_cells
from organtwin.mesh.shapes.root_mesh import mesh_root
from organtwin.mesh.tetrahedra import gmsh_session
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]
type Entities = list[tuple[int, int]]


class Shape(Protocol):
    """What a parametric shape can do."""

    def solids(self) -> Mapping[str, Entities]:
        """Solids of each region, in the open gmsh model."""

    def surface(self, points: Points) -> str:
        """Name of the outer face with these points (mm)."""


def mesh_shape(
    shape: Shape | AorticRoot, size: float, path: str | Path | None = None, *, order: int = 1
) -> TetrahedralMesh:
    """Tetrahedra of a shape.

    Args:
        shape: `Box`, `Slab`, `Sphere`, `Tube`, `Plate`, `EllipsoidalVentricle`, `Biventricle` or
            `AorticRoot`.
        size: Edge length (mm).
        path: ``.msh`` file to write for `organtwin.mesh.domain.read_domain`; None for none.
        order: 1 for straight edges in the file, after flat cells inside were improved; 2 for
            gmsh's mesh with edges that follow curved surfaces, which an aortic root can't have.

    Returns:
        The mesh with straight edges. Regions are numbered from 1 in the order of the shape; the
        border of two regions is the surface ``b-a``, the later region first.

    Raises:
        InputError: no usable size or order.
        MeshError: gmsh can't mesh the shape.
    """
    if not size > 0:
        raise InputError("mesh_shape", f"size is {size:g} mm.", "Give an edge length over 0.")
    if order not in (1, 2):
        raise InputError("mesh_shape", f"order is {order}.", "Give 1 or 2.")
    if isinstance(shape, AorticRoot):
        return _root(shape, size, path, order)
    with gmsh_session():
        gmsh.model.add("shape")
        solids = _built(shape)
        _generate(size)
        for number, (name, entities) in enumerate(solids.items(), 1):
            gmsh.model.addPhysicalGroup(3, [tag for _, tag in entities], number, name)
        for number, (name, tags) in enumerate(_surfaces(shape, solids).items(), len(solids) + 1):
            gmsh.model.addPhysicalGroup(2, tags, number, name)
        mesh = _extracted()
        if order == 2:
            _write_curved(path)
    if (signed_volumes(mesh.points, mesh.cells) <= 0).any():
        raise MeshError("mesh_shape", "gmsh left inverted tetrahedra.", "Try a smaller size.")
    return mesh if order == 2 else _finished(mesh, path)


def _root(root: AorticRoot, size: float, path: str | Path | None, order: int) -> TetrahedralMesh:
    if order != 1:
        raise InputError("mesh_shape", "an aortic root has order 1.", "Give a smaller size.")
    return _finished(mesh_root(root, size), path)


def _finished(mesh: TetrahedralMesh, path: str | Path | None) -> TetrahedralMesh:
    """The mesh without flat cells, as far as its facets allow; written."""
    mesh = without_flat_cells(mesh)
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_gmsh(mesh, Path(path))
    return mesh


def _built(shape: Shape) -> Mapping[str, Entities]:
    try:
        solids = shape.solids()
        gmsh.model.occ.synchronize()
    except MeshError:
        raise
    except Exception as error:  # gmsh raises bare Exceptions
        raise MeshError("mesh_shape", f"gmsh can't build it ({error}).", "Change it.") from None
    empty = [name for name, entities in solids.items() if not entities]
    if empty:
        raise MeshError("mesh_shape", f"nothing is left of {empty}.", "Change the parameters.")
    return solids


def _generate(size: float) -> None:
    for option in ("Mesh.MeshSizeMin", "Mesh.MeshSizeMax"):
        gmsh.option.setNumber(option, size)
    try:
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.optimize("Netgen")
    except Exception as error:  # gmsh raises bare Exceptions
        raise MeshError("mesh_shape", f"gmsh: {error}.", "Try another size.") from None
    gmsh.model.mesh.renumberNodes()


def _surfaces(shape: Shape, solids: Mapping[str, Entities]) -> dict[str, list[int]]:
    """Faces by name: outer ones by the shape, those between regions by both."""
    region = {tag: k for k, part in enumerate(solids.values()) for _, tag in part}
    names = list(solids)
    found: dict[str, list[int]] = {}
    for _, face in gmsh.model.getEntities(2):
        beside = sorted({region[int(k)] for k in gmsh.model.getAdjacencies(2, face)[0]})
        if len(beside) == 2:
            name = f"{names[beside[1]]}-{names[beside[0]]}"
        elif len(gmsh.model.getAdjacencies(2, face)[0]) == 1:
            nodes = gmsh.model.mesh.getNodes(2, face, includeBoundary=True)[1]
            name = shape.surface(nodes.reshape(-1, 3))
        else:
            continue
        found.setdefault(name, []).append(face)
    return found


def _extracted() -> TetrahedralMesh:
    """The mesh with straight edges and its groups, out of the open model."""
    tags, coordinates, _ = gmsh.model.mesh.getNodes()
    number = np.zeros(int(tags.max()) + 1, np.int64)
    number[tags.astype(np.int64)] = np.arange(len(tags))
    cells, regions, region_names = _group(3, 4, 4)
    facets, facet_tags, facet_names = _group(2, 2, 3)
    cells, facets = number[cells], number[facets]
    # Nodes of the CAD model that no cell has, as the centre of a sphere.
    used, flat = np.unique(cells, return_inverse=True)
    renumbered = np.full(len(tags), -1)
    renumbered[used] = np.arange(len(used))
    return TetrahedralMesh(
        coordinates.reshape(-1, 3)[used], flat.reshape(-1, 4), regions, region_names,
        renumbered[facets], facet_tags, facet_names,
    )  # fmt: skip


def _group(dim: int, kind: int, corners: int) -> tuple[Index, Index, dict[str, int]]:
    nodes, tags, names = [], [], {}
    for _, tag in gmsh.model.getPhysicalGroups(dim):
        entities: Sequence[int] = gmsh.model.getEntitiesForPhysicalGroup(dim, tag)
        own = [gmsh.model.mesh.getElementsByType(kind, entity)[1] for entity in entities]
        nodes.append(np.concatenate(own).astype(np.int64).reshape(-1, corners))
        tags.append(np.full(len(nodes[-1]), tag))
        names[gmsh.model.getPhysicalName(dim, tag)] = int(tag)
    return np.concatenate(nodes), np.concatenate(tags).astype(np.int64), names


def _write_curved(path: str | Path | None) -> None:
    if path is None:
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    gmsh.model.mesh.setOrder(2)
    gmsh.model.mesh.optimize("HighOrderElastic")
    gmsh.write(str(path))
