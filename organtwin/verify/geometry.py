"""Geometries of the published benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import basix.ufl
import gmsh
import numpy as np
import ufl
from dolfinx import mesh
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.mesh.domain import Domain, read_domain
from organtwin.mesh.tetrahedra import gmsh_session
from organtwin.parallel import on_root


def box(
    comm: MPI.Comm,
    size: tuple[float, float, float],
    cells: tuple[int, int, int],
    cell: mesh.CellType = mesh.CellType.tetrahedron,
) -> Domain:
    """Box from the origin, one region ``box`` and surfaces ``x0, x1, y0, y1, z0, z1``.

    Args:
        comm: Communicator.
        size: Edge lengths (mm).
        cells: Divisions along the edges.
        cell: Tetrahedra, six in each small box, or hexahedra.
    """
    msh = mesh.create_box(comm, [[0.0, 0.0, 0.0], list(size)], list(cells), cell)
    surfaces = {f"{axis}{end}": 2 * i + end + 1 for i, axis in enumerate("xyz") for end in (0, 1)}
    msh.topology.create_connectivity(2, 3)
    facets = mesh.exterior_facet_indices(msh.topology)
    middle = mesh.compute_midpoints(msh, 2, facets) / size
    values = 1 + np.abs(np.repeat(middle, 2, axis=1) - [0, 1, 0, 1, 0, 1]).argmin(axis=1)
    own = np.arange(msh.topology.index_map(3).size_local, dtype=np.int32)
    cell_tags = mesh.meshtags(msh, 3, own, np.ones_like(own))
    facet_tags = mesh.meshtags(msh, 2, facets, values.astype(np.int32))
    return Domain(msh, cell_tags, facet_tags, {"box": 1}, surfaces)


def cook_panel(comm: MPI.Comm, n: int, cell: mesh.CellType = mesh.CellType.tetrahedron) -> Domain:
    """Cook's membrane: corners (0, 0), (48, 44), (48, 60), (0, 44) mm, one cell thick in z.

    Args:
        comm: Communicator.
        n: Divisions along both edges; the thickness is 48/n mm.
        cell: Tetrahedra or hexahedra.

    Returns:
        Domain with the names of `box`.
    """
    domain = box(comm, (1.0, 1.0, 48.0 / n), (n, n, 1), cell)
    x = domain.mesh.geometry.x
    s, t = x[:, 0].copy(), x[:, 1].copy()
    x[:, 0], x[:, 1] = 48 * s, 44 * s + t * (44 - 28 * s)
    return domain


def hollow_sphere_octant(
    comm: MPI.Comm, path: Path, *, inner: float, outer: float, size: float
) -> Domain:
    """The eighth x, y, z > 0 of a hollow sphere around the origin, with curved edges.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        inner: Radius (mm) of the hollow.
        outer: Outer radius (mm).
        size: Edge length of the mesh (mm).

    Returns:
        Domain with the region ``wall`` and the surfaces ``inner``, ``outer``, ``x0``, ``y0``,
        ``z0``.
    """
    on_root(comm, lambda: _write_octant(path, inner, outer, size))
    return read_domain(path, comm)


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


def conical_base_ellipsoid(comm: MPI.Comm, path: Path, *, size: float, order: int = 1) -> Domain:
    """Idealised left ventricle of Aróstica et al. (2025).

    Endocardium with radii 25, 25, 90 mm, epicardium with 35, 35, 97 mm, long axis x with the apex
    at negative x. The walls end where x/90 = 5/17 and x/97 = 5/20; the base is the cone between
    these two rims.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        size: Edge length of the mesh (mm), half of it at the apex; 5 in the source.
        order: 1, as in the source, for straight edges, 2 for edges that follow the ellipsoids.

    Returns:
        Domain with the region ``lv`` and the surfaces ``lv_endo``, ``epi``, ``base``.
    """
    on_root(comm, lambda: _write_conical_base_ellipsoid(path, size, order))
    return read_domain(path, comm)


def published_ellipsoid(comm: MPI.Comm) -> Domain:
    """The left ventricle of Aróstica et al. (2025) on the mesh that its codes share.

    The geometry of `conical_base_ellipsoid` in 17 625 tetrahedra with straight edges of 5 mm, 2.5
    at the apex; the licence is beside the file.

    Returns:
        Domain with the region ``lv`` and the surfaces ``lv_endo``, ``epi``, ``base``. Collective.
    """
    points, cells = np.empty((0, 3)), np.empty((0, 4), dtype=np.int64)
    if comm.rank == 0:
        with files("organtwin.verify").joinpath(f"data/{_PUBLISHED}").open("rb") as stream:
            data = np.load(stream)
            points, cells = data["x"].astype(np.float64), data["c"].astype(np.int64)
    element = ufl.Mesh(basix.ufl.element("P", "tetrahedron", 1, shape=(3,)))
    msh = mesh.create_mesh(comm, cells, element, points)
    msh.topology.create_connectivity(2, 3)
    facets = mesh.exterior_facet_indices(msh.topology)
    x = msh.geometry.x[mesh.entities_to_geometry(msh, 2, facets)]
    surfaces = {"lv_endo": 1, "epi": 2, "base": 3}
    values = np.full(len(facets), surfaces["base"], dtype=np.int32)
    for name, (short, long, _) in _CONICAL_BASE.items():
        level = (x[..., 1] ** 2 + x[..., 2] ** 2) / short**2 + x[..., 0] ** 2 / long**2 - 1
        values[np.abs(level).max(axis=1) < 1e-4] = surfaces[name]
    own = np.arange(msh.topology.index_map(3).size_local, dtype=np.int32)
    cell_tags = mesh.meshtags(msh, 3, own, np.ones(len(own), dtype=np.int32))
    return Domain(msh, cell_tags, mesh.meshtags(msh, 2, facets, values), {"lv": 1}, surfaces)


def _write_octant(path: Path, inner: float, outer: float, size: float) -> None:
    def surface(face: int) -> str:
        point = _middle(face)
        for name, radius in (("inner", inner), ("outer", outer)):
            if np.isclose(np.linalg.norm(point), radius, atol=1e-6):
                return name
        return f"{'xyz'[int(np.abs(point).argmin())]}0"

    with gmsh_session():
        occ = gmsh.model.occ
        balls = [occ.addSphere(0, 0, 0, r, -1, 0, np.pi / 2, np.pi / 2) for r in (outer, inner)]
        body, _ = occ.cut([(3, balls[0])], [(3, balls[1])])
        occ.synchronize()
        gmsh.model.addPhysicalGroup(3, [tag for _, tag in body], 1, "wall")
        _name_surfaces(body, ("inner", "outer", "x0", "y0", "z0"), surface)
        gmsh.option.setNumber("Mesh.MeshSizeMin", size)
        gmsh.option.setNumber("Mesh.MeshSizeMax", size)
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.setOrder(2)
        gmsh.model.mesh.renumberNodes()
        gmsh.write(str(path))


def _write_truncated_ellipsoid(path: Path, size: float) -> None:
    with gmsh_session():
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
        radii = {"lv_endo": (7.0, 17.0), "epi": (10.0, 20.0)}
        _name_surfaces(body, _LV_SURFACES, lambda face: _ellipsoid_of(face, radii, long_axis=2))
        gmsh.option.setNumber("Mesh.MeshSizeMin", size)
        gmsh.option.setNumber("Mesh.MeshSizeMax", size)
        gmsh.model.mesh.generate(3)
        gmsh.write(str(path))


def _name_surfaces(
    solids: Sequence[tuple[int, int]], names: Sequence[str], name_of: Callable[[int], str]
) -> None:
    """Physical groups, numbered from 1, of the faces that bound solids."""
    faces: dict[str, list[int]] = {name: [] for name in names}
    for _, face in gmsh.model.getBoundary(solids, oriented=False):
        faces[name_of(face)].append(face)
    for number, (name, tags) in enumerate(faces.items(), start=1):
        gmsh.model.addPhysicalGroup(2, tags, number, name)


def _ellipsoid_of(face: int, radii: Mapping[str, tuple[float, float]], *, long_axis: int) -> str:
    """Name of the ellipsoid, of short and long radius, that a face lies on; ``base`` if none."""
    squares = _middle(face) ** 2
    along = squares[long_axis]
    for name, (short, long) in radii.items():
        if abs((squares.sum() - along) / short**2 + along / long**2 - 1) < 1e-6:
            return name
    return "base"


def _middle(face: int) -> NDArray[np.float64]:
    """A point (mm) of a face, the middle of its parameters."""
    (u0, v0), (u1, v1) = gmsh.model.getParametrizationBounds(2, face)
    return np.array(gmsh.model.getValue(2, face, [(u0 + u1) / 2, (v0 + v1) / 2]))


_LV_SURFACES = ("lv_endo", "epi", "base")
_PUBLISHED = "arostica_2025_ellipsoid.npz"
#: Short and long radius (mm) and height of the rim over the centre per long radius.
_CONICAL_BASE = {"lv_endo": (25.0, 90.0, 5 / 17), "epi": (35.0, 97.0, 5 / 20)}


def _write_conical_base_ellipsoid(path: Path, size: float, order: int) -> None:
    with gmsh_session():
        occ = gmsh.model.occ
        section = [(2, _meridian())]
        wall = occ.revolve(section, 0, 0, 0, 1, 0, 0, 2 * np.pi)
        occ.remove(section, recursive=True)
        body = [entity for entity in wall if entity[0] == 3]
        occ.synchronize()
        gmsh.model.addPhysicalGroup(3, [tag for _, tag in body], 1, "lv")
        radii = {name: (short, long) for name, (short, long, _) in _CONICAL_BASE.items()}
        _name_surfaces(body, _LV_SURFACES, lambda face: _ellipsoid_of(face, radii, long_axis=0))
        gmsh.option.setNumber("Mesh.MeshSizeMax", size)
        gmsh.model.mesh.setSize(_points(), size)
        gmsh.model.mesh.setSize([p for p in _points() if _height(p) < 0], size / 2)
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.optimize("Netgen")
        gmsh.model.mesh.setOrder(order)
        gmsh.model.mesh.renumberNodes()
        gmsh.write(str(path))


def _points() -> list[tuple[int, int]]:
    return list(gmsh.model.getEntities(0))


def _height(point: tuple[int, int]) -> float:
    return float(gmsh.model.getBoundingBox(*point)[0])


def _meridian() -> int:
    """Half of the wall's section with the plane z = 0, where y > 0."""
    occ = gmsh.model.occ
    centre = occ.addPoint(0, 0, 0)
    ends, arcs = [], []
    for short, long, height in _CONICAL_BASE.values():
        apex = occ.addPoint(-long, 0, 0)
        rim = occ.addPoint(long * height, short * np.sqrt(1 - height**2), 0)
        ends.append((apex, rim))
        arcs.append(occ.addEllipseArc(apex, centre, apex, rim))
    occ.remove([(0, centre)])
    (endo_apex, endo_rim), (epi_apex, epi_rim) = ends
    base, axis = occ.addLine(endo_rim, epi_rim), occ.addLine(epi_apex, endo_apex)
    return int(occ.addPlaneSurface([occ.addCurveLoop([arcs[0], base, -arcs[1], axis])]))


#: Centre on the z axis and radii (mm) of the half ellipsoids x > 0.
_HALF_ELLIPSOIDS = {
    "lv_endo": (0.0, (69.0, 25.0, 25.0)),
    "lv_epi": (0.0, (80.0, 39.0, 39.0)),
    "rv_endo": (21.08, (70.0, 33.0, 54.0)),
    "rv_epi": (20.0, (75.0, 38.0, 59.0)),
}


def half_ellipsoid_ventricles(comm: MPI.Comm, path: Path, *, size: float, order: int = 1) -> Domain:
    """Idealised ventricles of Aróstica et al. (2025), base in the plane x = 0, apex at positive x.

    The left wall lies between ellipsoids of radii (69, 25, 25) and (80, 39, 39) mm about the
    origin, the right one between (70, 33, 54) about z = 21.08 and (75, 38, 59) mm about z = 20,
    outside the left. Centres and radii are those that the nodes of the published meshes lie on, to
    a hundred-thousandth.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        size: Edge length of the mesh (mm).
        order: 1, as in the source, for straight edges, 2 for edges that follow the ellipsoids.

    Returns:
        Domain with the regions ``lv``, ``rv`` and the surfaces ``lv_endo``, ``rv_endo``, ``epi``,
        ``base``.
    """
    on_root(comm, lambda: _write_half_ellipsoid_ventricles(path, size, order))
    return read_domain(path, comm)


def _write_half_ellipsoid_ventricles(path: Path, size: float, order: int) -> None:
    with gmsh_session():
        occ = gmsh.model.occ
        left, _ = occ.cut([_ellipsoid("lv_epi")], [_ellipsoid("lv_endo")])
        right, _ = occ.cut([_ellipsoid("rv_epi")], [_ellipsoid("rv_endo"), _ellipsoid("lv_epi")])
        lid = (3, occ.addBox(-200, -200, -200, 200, 400, 400))
        halves, _ = occ.cut([*left, *right], [lid])
        _, parts = occ.fragment(halves[:1], halves[1:])
        occ.synchronize()
        walls = {"lv": parts[0], "rv": [solid for part in parts[1:] for solid in part]}
        for number, (name, solids) in enumerate(walls.items(), start=1):
            gmsh.model.addPhysicalGroup(3, [tag for _, tag in solids], number, name)
        gmsh.option.setNumber("Mesh.MeshSizeMin", 0.8 * size)
        gmsh.option.setNumber("Mesh.MeshSizeMax", size)
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.optimize("Netgen")
        names = ("lv_endo", "rv_endo", "epi", "base")
        _name_surfaces(walls["lv"] + walls["rv"], names, _ventricular_surface)
        gmsh.model.mesh.setOrder(order)
        gmsh.write(str(path))


def _ellipsoid(name: str) -> tuple[int, int]:
    centre, radii = _HALF_ELLIPSOIDS[name]
    ball = (3, gmsh.model.occ.addSphere(0, 0, 0, 1))
    gmsh.model.occ.dilate([ball], 0, 0, 0, *radii)
    gmsh.model.occ.translate([ball], 0, 0, centre)
    return ball


def _ventricular_surface(tag: int) -> str:
    points = gmsh.model.mesh.getNodes(2, tag, includeBoundary=True)[1].reshape(-1, 3)
    levels = {
        name: np.sum(((points - [0.0, 0.0, centre]) / radii) ** 2, axis=1) - 1
        for name, (centre, radii) in _HALF_ELLIPSOIDS.items()
    }
    if np.all(np.abs(points[:, 0]) < 1e-6):
        return "base"
    on = {name: bool(np.all(np.abs(level) < 1e-6)) for name, level in levels.items()}
    if on["lv_endo"] or on["rv_endo"]:
        return "lv_endo" if on["lv_endo"] else "rv_endo"
    in_right = np.all(levels["rv_endo"] < 1e-6)
    return "rv_endo" if on["lv_epi"] and in_right else "epi"
