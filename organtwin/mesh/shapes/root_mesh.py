"""Tetrahedra of an aortic root: layers on a triangulated lumen and on triangulated leaflets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gmsh
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import MeshError
from organtwin.mesh.layers import vertex_normals
from organtwin.mesh.prisms import split_prisms, split_squares
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.shapes.aortic_root import CUSPS, AorticRoot
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.tetrahedra import gmsh_session
from organtwin.mesh.vectors import unit
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Numbers of the surfaces; attachments follow.
SURFACES = {
    "inner": 11, "outer": 12, "inlet": 13, "outlet": 14, "ventricular": 15, "aortic": 16,
    "free_edge": 17,
}  # fmt: skip


@dataclass(frozen=True)
class _Leaflet:
    """Middle surface of the leaflet at x > 0: the foot's vertices come first, in order."""

    u: Points
    v: Points
    triangles: Index
    foot: int
    edge: Index


@dataclass(frozen=True)
class _Sector:
    """A third of the lumen in angle and height: its sides and the strip under the leaflet."""

    angle: Points
    z: Points
    triangles: Index
    strip: Index
    strip_nodes: Index
    left: Index
    right: Index


def mesh_root(root: AorticRoot, size: float) -> TetrahedralMesh:
    """Tetrahedra of the wall and the leaflets, which share the faces of the attachment.

    The lumen of one sinus is triangulated in angle and height, but for the strip on which the
    leaflet stands; the three sinuses are turned copies. Wall and leaflets are layers of prisms,
    split into tetrahedra.

    Args:
        root: Parameters.
        size: Edge length (mm).

    Raises:
        MeshError: tetrahedra are inverted.
    """
    leaflet = _leaflet(root, size) if root.leaflet else None
    layers = max(1, round(root.leaflet / size)) if leaflet else 0
    sector = _sector(root, leaflet, layers, size)
    wall = _wall(root, sector, size)
    mesh = _with_leaflets(root, wall, sector, leaflet, layers) if leaflet else wall.mesh
    if (signed_volumes(mesh.points, mesh.cells) <= 0).any():
        raise MeshError(
            "AorticRoot",
            "tetrahedra are inverted.",
            "Give thinner leaflets, less belly or a smaller size.",
        )
    return mesh


def leaflet_surface(root: AorticRoot, size: float) -> TriangleSurface:
    """Middle surfaces of the three leaflets, for shells; normals to the aorta.

    Args:
        root: Parameters.
        size: Edge length (mm).
    """
    leaflet = _leaflet(root, size)
    points = root.middle(leaflet.u, leaflet.v)
    n = len(points)
    part = np.repeat(np.arange(1, 4), len(leaflet.triangles))
    return TriangleSurface(
        np.concatenate([_turned(points, k) for k in range(3)]),
        np.concatenate([leaflet.triangles + k * n for k in range(3)]),
        triangle_values={"part": part},
        names={f"leaflet_{name}": k for k, name in enumerate(CUSPS, 1)},
    )


def _leaflet(root: AorticRoot, size: float) -> _Leaflet:
    """Triangles between foot and free edge, made in a plane that is about as wide and high."""
    foot = _even(lambda u: root.on_wall(*root.attachment(u)), size)
    edge = _even(root.free_edge, size)
    width = root.free_edge(np.ones(1))[0, 1]
    centre = root.middle(np.zeros(50), np.linspace(0.0, 1.0, 50))
    height = float(np.linalg.norm(np.diff(centre, axis=0), axis=1).sum())
    outline = np.concatenate([
        np.stack([width * foot, height * (foot**2 - 1.0)], axis=1),
        np.stack([width * edge[-2:0:-1], np.zeros(len(edge) - 2)], axis=1),
    ])  # fmt: skip
    plane, triangles = _triangulated([outline], size)
    u = plane[:, 0] / width
    v = 1.0 - plane[:, 1] / (height * np.minimum(u**2 - 1.0, -1e-12))
    n = len(foot)
    v[:n], v[n : len(outline)] = 0.0, 1.0
    ring = np.concatenate([np.arange(n - 1, len(outline)), [0]])
    return _Leaflet(u, v, triangles, n, np.stack([ring[:-1], ring[1:]], axis=1))


def _sector(root: AorticRoot, leaflet: _Leaflet | None, layers: int, size: float) -> _Sector:
    """Triangles of the lumen in one sinus."""
    scale = float(root.radius(np.linspace(-1, 1, 21), np.full(21, 0.5 * root.height)).mean())
    side, low, high = scale * np.pi / 3, -root.below, root.height + root.above
    nx, nz = (max(2, round(x / size)) for x in (2 * side, high - low))
    x, z = np.linspace(-side, side, nx + 1), np.linspace(low, high, nz + 1)
    outline = np.concatenate([
        np.stack([x[:-1], np.full(nx, low)], axis=1), np.stack([np.full(nz, side), z[:-1]], axis=1),
        np.stack([x[:0:-1], np.full(nx, high)], axis=1),
        np.stack([np.full(nz, -side), z[:0:-1]], axis=1),
    ])  # fmt: skip
    left = np.concatenate([[0], np.arange(2 * nx + 2 * nz - 1, 2 * nx + nz - 1, -1)])
    right = np.arange(nx, nx + nz + 1)
    none = np.empty((0, 0), np.int64)
    if leaflet is None:
        plane, triangles = _triangulated([outline], size)
        return _Sector(plane[:, 0] / scale, plane[:, 1], triangles, none[:0], none, left, right)
    ways = root.leaflet * (np.arange(layers + 1) / layers - 0.5)
    lines = [np.stack(root.across(leaflet.u[: leaflet.foot], w), axis=1) for w in ways]
    strip = np.stack([line * [scale, 1.0] for line in lines])
    hole = np.concatenate([strip[0], strip[1:-1, -1], strip[-1, ::-1], strip[-2:0:-1, 0]])
    plane, triangles = _triangulated([outline, hole], size)
    inside = strip[1:-1, 1:-1].reshape(-1, 2)
    plane = np.concatenate([plane, inside])
    nodes = cKDTree(plane).query(strip.reshape(-1, 2))[1].reshape(strip.shape[:2])
    return _Sector(
        plane[:, 0] / scale, plane[:, 1], triangles, _strip(nodes, len(leaflet.u)), nodes,
        left, right,
    )  # fmt: skip


def _strip(nodes: Index, vertices: int) -> Index:
    """Triangles of the strip, cut as the prisms of the leaflet are."""
    foot = np.arange(nodes.shape[1])
    lower = np.stack([foot[:-1], foot[1:]], axis=1)
    number = np.zeros(len(nodes) * vertices, np.int64)
    for k, line in enumerate(nodes):
        number[k * vertices + foot] = line
    squares = [
        split_squares(lower + k * vertices, lower + (k + 1) * vertices)
        for k in range(len(nodes) - 1)
    ]
    return np.asarray(number[np.concatenate(squares)])


@dataclass(frozen=True)
class _Wall:
    """Mesh of the wall, and the number of each vertex of each sector in it, (3, n)."""

    mesh: TetrahedralMesh
    number: Index


def _wall(root: AorticRoot, sector: _Sector, size: float) -> _Wall:
    n = len(sector.angle)
    owner = np.arange(3 * n).reshape(3, n)
    for k in range(3):
        owner[k, sector.left] = owner[k - 1, sector.right]
    kept, flat = np.unique(owner, return_inverse=True)
    number = flat.reshape(3, n)
    angle = (sector.angle + 2 * np.pi / 3 * np.arange(3)[:, None]).ravel()[kept]
    z = np.tile(sector.z, 3)[kept]
    layers = max(2, round(root.wall / size))
    points = np.concatenate(
        [root.on_wall(angle, z, root.wall * k / layers) for k in range(layers + 1)]
    )
    free = np.concatenate([number[k][sector.triangles] for k in range(3)])
    strips = [number[k][sector.strip] for k in range(3)] if len(sector.strip) else []
    everything = np.concatenate([free, *strips])
    everything = _facing(root.on_wall(angle, z), everything)
    m = len(kept)
    cells = np.concatenate(
        [split_prisms(everything + k * m, everything + (k + 1) * m) for k in range(layers)]
    )
    facets = [free, everything + layers * m]
    names = ["inner", "outer"]
    for name, level in (("inlet", z.min()), ("outlet", z.max())):
        rim = _edges_at(everything, np.abs(z - level) < 1e-9)
        squares = [split_squares(rim + k * m, rim + (k + 1) * m) for k in range(layers)]
        facets.append(np.concatenate(squares))
        names.append(name)
    surfaces = dict(SURFACES) if strips else {name: SURFACES[name] for name in names}
    for k, strip in enumerate(strips):
        surfaces[f"leaflet_{CUSPS[k]}-wall"] = 18 + k
        facets.append(strip)
        names.append(f"leaflet_{CUSPS[k]}-wall")
    tags = np.repeat([surfaces[name] for name in names], [len(part) for part in facets])
    mesh = TetrahedralMesh(
        points, cells, np.ones(len(cells), np.int64), {"wall": 1}, np.concatenate(facets), tags,
        surfaces,
    )  # fmt: skip
    return _Wall(mesh, number)


def _with_leaflets(
    root: AorticRoot, wall: _Wall, sector: _Sector, leaflet: _Leaflet, layers: int
) -> TetrahedralMesh:
    n, foot = len(leaflet.u), leaflet.foot
    levels = _offset(root, leaflet, layers)
    triangles = leaflet.triangles
    local = np.concatenate(
        [split_prisms(triangles + k * n, triangles + (k + 1) * n) for k in range(layers)]
    )
    edge = [split_squares(leaflet.edge + k * n, leaflet.edge + (k + 1) * n) for k in range(layers)]
    mesh = wall.mesh
    points, cells, regions = [mesh.points], [mesh.cells], [mesh.regions]
    facets, tags, names = [mesh.facets], [mesh.facet_tags], dict(mesh.region_names)
    count = len(mesh.points)
    for k, cusp in enumerate(CUSPS):
        number = np.empty((layers + 1, n), np.int64)
        number[:, :foot] = wall.number[k][sector.strip_nodes]
        number[:, foot:] = count + np.arange((layers + 1) * (n - foot)).reshape(layers + 1, -1)
        count += (layers + 1) * (n - foot)
        points.append(_turned(levels[:, foot:].reshape(-1, 3), k))
        cells.append(number.ravel()[local])
        names[f"leaflet_{cusp}"] = k + 2
        regions.append(np.full(len(local), k + 2))
        for name, part in (
            ("ventricular", number[0][triangles]), ("aortic", number[-1][triangles]),
            ("free_edge", number.ravel()[np.concatenate(edge)]),
        ):  # fmt: skip
            facets.append(part)
            tags.append(np.full(len(part), SURFACES[name]))
    return TetrahedralMesh(
        np.concatenate(points), np.concatenate(cells), np.concatenate(regions), names,
        np.concatenate(facets), np.concatenate(tags), mesh.facet_names,
    )  # fmt: skip


def _offset(root: AorticRoot, leaflet: _Leaflet, layers: int) -> Points:
    """Vertices of each level of the leaflet at x > 0, (layers + 1, n, 3)."""
    middle = root.middle(leaflet.u, leaflet.v)
    up = [root.on_wall(*root.across(leaflet.u, s)) for s in (-1e-3, 1e-3)]
    in_wall = unit(up[1] - up[0])
    normal = unit(vertex_normals(middle, leaflet.triangles))
    near = ((1.0 - leaflet.v) ** 3)[:, None]
    direction = unit(near * in_wall + (1.0 - near) * normal)
    ways = root.leaflet * (np.arange(layers + 1) / layers - 0.5)
    return np.asarray(middle + ways[:, None, None] * direction)


def _even(curve: Callable[[Points], Points], size: float) -> Points:
    """Parameters from -1 to 1 of points at even distances on a curve, symmetric."""
    u = np.linspace(-1.0, 1.0, 2001)
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve(u), axis=0), axis=1))])
    count = max(4, 2 * round(0.5 * way[-1] / size))
    return np.interp(np.linspace(0.0, way[-1], count + 1), way, u)


def _triangulated(loops: list[Points], size: float) -> tuple[Points, Index]:
    """Plane triangles inside the first of closed polygons and outside the others, by gmsh.

    The corners of the polygons come first, in order, and are the only vertices on them.
    """
    with gmsh_session():
        gmsh.model.add("plane")
        geo = gmsh.model.geo
        rings = []
        for loop in loops:
            corners = [geo.addPoint(float(x), float(y), 0.0) for x, y in loop]
            ring = [
                geo.addLine(a, b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
            ]
            for line in ring:
                geo.mesh.setTransfiniteCurve(line, 2)
            rings.append(geo.addCurveLoop(ring))
        geo.addPlaneSurface(rings)
        geo.synchronize()
        gmsh.option.setNumber("Mesh.Algorithm", 6)
        gmsh.option.setNumber("Mesh.MeshSizeMax", size)
        gmsh.model.mesh.generate(2)
        tags, coordinates, _ = gmsh.model.mesh.getNodes()
        nodes = gmsh.model.mesh.getElementsByType(2)[1].astype(np.int64)
    order = np.argsort(tags)
    number = np.zeros(int(tags.max()) + 1, np.int64)
    number[tags[order].astype(np.int64)] = np.arange(len(tags))
    points = coordinates.reshape(-1, 3)[order, :2]
    triangles = number[nodes].reshape(-1, 3)
    (ax, ay), (bx, by) = ((points[triangles[:, k]] - points[triangles[:, 0]]).T for k in (1, 2))
    turned = ax * by < ay * bx
    triangles[turned] = triangles[turned][:, ::-1]
    return points, triangles


def _facing(points: Points, triangles: Index) -> Index:
    """Triangles whose normals point away from the z axis."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    middle = (a + b + c) * [1.0, 1.0, 0.0]
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), middle) < 0
    return np.where(inward[:, None], triangles[:, ::-1], triangles)


def _edges_at(triangles: Index, chosen: NDArray[np.bool_]) -> Index:
    """Edges of triangles with both ends chosen."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return np.asarray(edges[chosen[edges].all(axis=1)])


def _turned(points: Points, k: int) -> Points:
    c, s = np.cos(2 * np.pi / 3 * k), np.sin(2 * np.pi / 3 * k)
    return np.asarray(points @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]))
