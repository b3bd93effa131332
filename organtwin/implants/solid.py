"""Tetrahedra that fill an implant and keep its surface, triangle by triangle."""

from __future__ import annotations

from pathlib import Path

import gmsh
import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, MeshError
from organtwin.implants.implant import Implant
from organtwin.mesh.gmsh_files import write_gmsh
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.shapes.flat_cells import without_flat_cells
from organtwin.mesh.tetrahedra import gmsh_session
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Points = NDArray[np.float64]
type Cells = NDArray[np.int64]


def fill(implant: Implant, path: str | Path | None = None) -> TetrahedralMesh:
    """Tetrahedra between the triangles of an implant, which stay the mesh's outer facets.

    The region is called like the implant's ``kind``; the surfaces keep their names and numbers.

    Args:
        implant: Its surface has triangles of the size wanted.
        path: ``.msh`` file to write for `organtwin.mesh.domain.read_domain`; None for none.

    Raises:
        InputError: the surface has no named parts.
        MeshError: gmsh can't fill it.
    """
    surface = implant.surface
    if "part" not in surface.triangle_values:
        raise InputError(implant.name, "its surface has no named parts.", "Name them.")
    points, cells = _filled(surface.points, surface.triangles, implant.name)
    volumes = signed_volumes(points, cells)
    cells = np.where((volumes < 0)[:, None], cells[:, [0, 2, 1, 3]], cells)
    if (signed_volumes(points, cells) <= 0).any():
        raise MeshError(implant.name, "gmsh left flat tetrahedra.", "Try a smaller size.")
    # Region and surfaces share the numbers of gmsh's groups.
    mesh = TetrahedralMesh(
        points, cells, np.full(len(cells), 1), {implant.kind: 1},
        surface.triangles, surface.triangle_values["part"] + 1,
        {name: tag + 1 for name, tag in surface.names.items()},
    )  # fmt: skip
    mesh = without_flat_cells(mesh)
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_gmsh(mesh, Path(path))
    return mesh


def _filled(points: Points, triangles: Cells, name: str) -> tuple[Points, Cells]:
    """Vertices, those of the surface first, and cells."""
    with gmsh_session():
        gmsh.model.add("implant")
        gmsh.model.addDiscreteEntity(2, 1)
        numbers = np.arange(1, len(points) + 1)
        gmsh.model.mesh.addNodes(2, 1, numbers, np.ascontiguousarray(points).ravel())
        gmsh.model.mesh.addElementsByType(1, 2, [], (triangles + 1).ravel())
        gmsh.model.geo.addVolume([gmsh.model.geo.addSurfaceLoop([1])], 1)
        gmsh.model.geo.synchronize()
        try:
            gmsh.model.mesh.generate(3)
            gmsh.model.mesh.optimize("Netgen")
        except Exception as error:  # gmsh raises bare Exceptions
            raise MeshError(name, f"gmsh: {error}.", "Try another size.") from None
        tags, coordinates, _ = gmsh.model.mesh.getNodes()
        _, nodes = gmsh.model.mesh.getElementsByType(4, 1)
    if not len(nodes):
        raise MeshError(name, "gmsh left it empty.", "Try another size.")
    index = np.full(int(tags.max()) + 1, -1)
    order = np.argsort(tags)
    index[tags[order].astype(np.int64)] = np.arange(len(tags))
    found = coordinates.reshape(-1, 3)[order]
    cells = index[nodes.astype(np.int64)].reshape(-1, 4)
    used, numbered = np.unique(np.concatenate([np.arange(len(points)), cells.ravel()]),
                               return_inverse=True)  # fmt: skip
    return found[used], numbered[len(points) :].reshape(-1, 4)
