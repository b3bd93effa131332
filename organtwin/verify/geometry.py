"""Geometries of the published benchmarks."""

from __future__ import annotations

from pathlib import Path

import gmsh
import numpy as np
from dolfinx import mesh
from mpi4py import MPI

from organtwin.mesh.domain import Domain, read_domain
from organtwin.parallel import on_root


def box(comm: MPI.Comm, size: tuple[float, float, float], cells: tuple[int, int, int]) -> Domain:
    """Box from the origin, one region ``box`` and surfaces ``x0, x1, y0, y1, z0, z1``.

    Args:
        comm: Communicator.
        size: Edge lengths (mm).
        cells: Divisions along the edges; each small box is cut into six tetrahedra.
    """
    msh = mesh.create_box(comm, [[0.0, 0.0, 0.0], list(size)], list(cells))
    msh.topology.create_connectivity(2, 3)
    surfaces = {f"{axis}{end}": 2 * i + end + 1 for i, axis in enumerate("xyz") for end in (0, 1)}
    found, tags = [], []
    for name, tag in surfaces.items():
        axis, place = "xyz".index(name[0]), size["xyz".index(name[0])] * int(name[1])
        facets = mesh.locate_entities_boundary(
            msh, 2, lambda x, axis=axis, place=place: np.isclose(x[axis], place)
        )
        found.append(facets)
        tags.append(np.full(len(facets), tag, dtype=np.int32))
    facets, values = np.concatenate(found), np.concatenate(tags)
    order = np.argsort(facets)
    n_cells = msh.topology.index_map(3).size_local
    cell_tags = mesh.meshtags(
        msh, 3, np.arange(n_cells, dtype=np.int32), np.ones(n_cells, dtype=np.int32)
    )
    facet_tags = mesh.meshtags(msh, 2, facets[order], values[order])
    return Domain(msh, cell_tags, facet_tags, {"box": 1}, surfaces)


def truncated_ellipsoid(comm: MPI.Comm, path: Path, *, size: float) -> Domain:
    """Idealised left ventricle of Land et al. (2015), problems 2 and 3.

    Endocardium with radii 7, 7, 17 mm, epicardium with 10, 10, 20 mm, long axis z with the apex
    at negative z, cut flat at z = 5 mm.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        size: Edge length of the mesh (mm).

    Returns:
        Domain with the region ``lv`` and the surfaces ``lv_endo``, ``epi``, ``base``.
    """
    on_root(comm, lambda: _write_truncated_ellipsoid(path, size))
    return read_domain(path, comm)


def _write_truncated_ellipsoid(path: Path, size: float) -> None:
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Verbosity", 0)
        occ = gmsh.model.occ
        solids = []
        for short, long in ((10.0, 20.0), (7.0, 17.0)):
            ball = occ.addSphere(0, 0, 0, 1.0)
            occ.dilate([(3, ball)], 0, 0, 0, short, short, long)
            solids.append((3, ball))
        wall, _ = occ.cut([solids[0]], [solids[1]])
        lid = occ.addBox(-20, -20, 5, 40, 40, 40)
        body, _ = occ.cut(wall, [(3, lid)])
        occ.synchronize()
        gmsh.model.addPhysicalGroup(3, [tag for _, tag in body], 1, "lv")
        names: dict[str, list[int]] = {"lv_endo": [], "epi": [], "base": []}
        for _, tag in gmsh.model.getBoundary(body, oriented=False):
            names[_surface_name(tag)].append(tag)
        for number, (name, tags) in enumerate(names.items(), start=1):
            gmsh.model.addPhysicalGroup(2, tags, number, name)
        gmsh.option.setNumber("Mesh.MeshSizeMin", size)
        gmsh.option.setNumber("Mesh.MeshSizeMax", size)
        gmsh.option.setNumber("Mesh.Algorithm3D", 1)
        gmsh.model.mesh.generate(3)
        gmsh.write(str(path))
    finally:
        gmsh.finalize()


def _surface_name(tag: int) -> str:
    """Name of a surface from a point on it: which of the two ellipsoids is it on, if any."""
    (u0, v0), (u1, v1) = gmsh.model.getParametrizationBounds(2, tag)
    x, y, z = gmsh.model.getValue(2, tag, [(u0 + u1) / 2, (v0 + v1) / 2])
    for name, short, long in (("lv_endo", 7.0, 17.0), ("epi", 10.0, 20.0)):
        if abs((x**2 + y**2) / short**2 + z**2 / long**2 - 1) < 1e-6:
            return name
    return "base"
