"""Tetrahedra of an aortic root: layers on a triangulated lumen and on triangulated leaflets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gmsh
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import MeshError
from organtwin.mesh.intersections import intersecting_pairs
from organtwin.mesh.layers import vertex_normals
from organtwin.mesh.prisms import split_prisms, split_squares
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.shapes.aortic_root import AorticRoot
from organtwin.mesh.shapes.flat_cells import relaxed
from organtwin.mesh.shapes.root_form import Leaflet, RootForm
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.tetrahedra import gmsh_session
from organtwin.mesh.vectors import unit
from organtwin.mesh.volume_mesh import TetrahedralMesh, outer_facets

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Numbers of the surfaces; attachments follow.
SURFACES = {
    "inner": 11, "outer": 12, "inlet": 13, "outlet": 14, "ventricular": 15, "aortic": 16,
    "free_edge": 17,
}  # fmt: skip
#: Longest edge at the foot of a leaflet, per its thickness.
SLENDER = 2.5
#: How far vertices may move off their place to make flat cells better: those of the wall's surfaces
#: per edge length, those of leaflets per thickness.
MOVED, SWAYED = 0.1, 0.2


@dataclass(frozen=True)
class _Sheet:
    """Middle surface of a leaflet: the foot's vertices come first, in order."""

    leaflet: Leaflet
    u: Points
    v: Points
    triangles: Index
    foot: int
    edge: Index


@dataclass(frozen=True)
class _Lumen:
    """The lumen in angle and height: all triangles but those of the strips under leaflets.

    ``strips`` are triangles of each strip, ``nodes`` their vertices by way and place along.
    """

    angle: Points
    z: Points
    triangles: Index
    strips: tuple[Index, ...]
    nodes: tuple[Index, ...]


def mesh_root(root: AorticRoot | RootForm, size: float) -> TetrahedralMesh:
    """Tetrahedra of the wall and the leaflets, which share the faces of the attachment.

    The lumen, cut open between two leaflets, is triangulated in angle and height, but for the
    strips on which leaflets stand; these may differ. Wall and leaflets are layers of prisms, split
    into tetrahedra. To make flat ones better vertices of the wall are then moved by a tenth of an
    edge at most, those of leaflets by a fifth of their thickness.

    Args:
        root: Parameters, or what describes another root.
        size: Edge length (mm).

    Returns:
        Regions ``wall`` and ``leaflet_`` and its name; surfaces as in `AorticRoot`.

    Raises:
        MeshError: tetrahedra are inverted, or leaflets cross each other or the wall.
    """
    form = root.form() if isinstance(root, AorticRoot) else root
    sheets = tuple(_sheet(leaflet, size) for leaflet in form.leaflets)
    layers = max(1, round(sheets[0].leaflet.thickness / size)) if sheets else 0
    lumen = _lumen(form, sheets, layers, size)
    mesh = _wall(form, lumen, sheets, size)
    mesh = _with_leaflets(mesh, lumen, sheets, layers) if sheets else mesh
    mesh = relaxed(mesh, _room(mesh, sheets, size))
    _refuse_crossing(mesh, form.title)
    return mesh


def _room(mesh: TetrahedralMesh, sheets: tuple[_Sheet, ...], size: float) -> Points:
    """How far each vertex may move (mm)."""
    room = np.full(len(mesh.points), np.inf)
    room[mesh.facets] = MOVED * size
    if sheets:
        leaflets = mesh.cells[mesh.regions > 1]
        room[leaflets] = min(MOVED * size, SWAYED * sheets[0].leaflet.thickness)
    for name in ("inlet", "outlet"):
        room[mesh.facets[mesh.facet_tags == SURFACES[name]]] = 0.0
    return room


def _refuse_crossing(mesh: TetrahedralMesh, title: str) -> None:
    """Refuse meshes that fold or cut themselves."""
    outer = outer_facets(mesh.cells)
    if (signed_volumes(mesh.points, mesh.cells) <= 0).any():
        problem = "tetrahedra are inverted."
    elif len(intersecting_pairs(mesh.points, outer)):
        problem = "leaflets cross each other or the wall."
    else:
        return
    raise MeshError(
        title, problem,
        "Give thinner leaflets, less belly, another orifice, a thinner wall or a smaller size; "
        "look at hinge points and commissures.",
    )  # fmt: skip


def leaflet_surface(root: AorticRoot | RootForm, size: float) -> TriangleSurface:
    """Middle surfaces of the three leaflets, for shells; normals to the aorta.

    Args:
        root: Parameters, or what describes another root.
        size: Edge length (mm).
    """
    form = root.form() if isinstance(root, AorticRoot) else root
    sheets = [_sheet(leaflet, size) for leaflet in form.leaflets]
    points = [sheet.leaflet.middle(sheet.u, sheet.v) for sheet in sheets]
    first = np.cumsum([0, *(len(part) for part in points[:-1])])
    part = np.repeat(np.arange(1, len(sheets) + 1), [len(sheet.triangles) for sheet in sheets])
    return TriangleSurface(
        np.concatenate(points),
        np.concatenate([sheet.triangles + k for sheet, k in zip(sheets, first, strict=True)]),
        triangle_values={"part": part},
        names={f"leaflet_{sheet.leaflet.name}": k for k, sheet in enumerate(sheets, 1)},
    )


def _sheet(leaflet: Leaflet, size: float) -> _Sheet:
    """Triangles between foot and free edge, made in a plane that is about as wide and high."""
    foot = _even(leaflet.foot, min(size, SLENDER * leaflet.thickness))
    edge = _even(leaflet.free_edge, size)
    ends = leaflet.foot(np.array([-1.0, 1.0]))
    width = 0.5 * float(np.linalg.norm(ends[1] - ends[0]))
    centre = leaflet.middle(np.zeros(50), np.linspace(0.0, 1.0, 50))
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
    return _Sheet(leaflet, u, v, triangles, n, np.stack([ring[:-1], ring[1:]], axis=1))


def _lumen(form: RootForm, sheets: tuple[_Sheet, ...], layers: int, size: float) -> _Lumen:
    """Triangles of the lumen, closed at the seam."""
    scale = form.radius
    nx, nz = (max(3, round(x / size)) for x in (2 * np.pi * scale, form.high - form.low))
    x = np.linspace(form.seam, form.seam + 2 * np.pi, nx + 1) * scale
    z = np.linspace(form.low, form.high, nz + 1)
    outline = np.concatenate([
        np.stack([x[:-1], np.full(nx, z[0])], axis=1),
        np.stack([np.full(nz, x[-1]), z[:-1]], axis=1),
        np.stack([x[:0:-1], np.full(nx, z[-1])], axis=1),
        np.stack([np.full(nz, x[0]), z[:0:-1]], axis=1),
    ])  # fmt: skip
    left = np.concatenate([[0], np.arange(2 * nx + 2 * nz - 1, 2 * nx + nz - 1, -1)])
    right = np.arange(nx, nx + nz + 1)
    strips = [_strip_places(sheet, layers) * [scale, 1.0] for sheet in sheets]
    holes = [
        np.concatenate([strip[0], strip[1:-1, -1], strip[-1, ::-1], strip[-2:0:-1, 0]])
        for strip in strips
    ]
    plane, triangles = _triangulated([outline, *holes], size)
    plane = np.concatenate([plane, *(strip[1:-1, 1:-1].reshape(-1, 2) for strip in strips)])
    tree = cKDTree(plane)
    nodes = [tree.query(strip.reshape(-1, 2))[1].reshape(strip.shape[:2]) for strip in strips]
    under = [
        _anticlockwise(plane, _strip(own, len(sheet.u)))
        for own, sheet in zip(nodes, sheets, strict=True)
    ]
    kept = np.delete(np.arange(len(plane)), right)
    number = np.full(len(plane), -1)
    number[kept] = np.arange(len(kept))
    number[right] = number[left]
    return _Lumen(
        plane[kept, 0] / scale, plane[kept, 1], number[triangles],
        tuple(number[part] for part in under), tuple(number[own] for own in nodes),
    )  # fmt: skip


def _strip_places(sheet: _Sheet, layers: int) -> Points:
    """Angle and height of the strip under a leaflet, (layers + 1, vertices of the foot, 2)."""
    ways = sheet.leaflet.thickness * (np.arange(layers + 1) / layers - 0.5)
    foot = sheet.u[: sheet.foot]
    return np.stack([np.stack(sheet.leaflet.across(foot, way), axis=1) for way in ways])


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


def _wall(
    form: RootForm, lumen: _Lumen, sheets: tuple[_Sheet, ...], size: float
) -> TetrahedralMesh:
    """Layers of prisms on the lumen, with all names of surfaces."""
    layers = max(2, round(form.wall / size))
    points = [form.place(lumen.angle, lumen.z, form.wall * k / layers) for k in range(layers + 1)]
    everything = np.concatenate([lumen.triangles, *lumen.strips])
    m = len(lumen.angle)
    cells = np.concatenate(
        [split_prisms(everything + k * m, everything + (k + 1) * m) for k in range(layers)]
    )
    parts = {"inner": lumen.triangles, "outer": everything + layers * m}
    for name, level in (("inlet", form.low), ("outlet", form.high)):
        rim = _edges_at(everything, np.abs(lumen.z - level) < 1e-9)
        squares = [split_squares(rim + k * m, rim + (k + 1) * m) for k in range(layers)]
        parts[name] = np.concatenate(squares)
    surfaces = dict(SURFACES) if sheets else {name: SURFACES[name] for name in parts}
    for k, (sheet, strip) in enumerate(zip(sheets, lumen.strips, strict=True)):
        name = f"leaflet_{sheet.leaflet.name}-wall"
        surfaces[name], parts[name] = 18 + k, strip
    tags = np.repeat([surfaces[name] for name in parts], [len(part) for part in parts.values()])
    return TetrahedralMesh(
        np.concatenate(points), cells, np.ones(len(cells), np.int64), {"wall": 1},
        np.concatenate(list(parts.values())), tags, surfaces,
    )  # fmt: skip


def _with_leaflets(
    mesh: TetrahedralMesh, lumen: _Lumen, sheets: tuple[_Sheet, ...], layers: int
) -> TetrahedralMesh:
    points, cells, regions = [mesh.points], [mesh.cells], [mesh.regions]
    facets, tags, names = [mesh.facets], [mesh.facet_tags], dict(mesh.region_names)
    count = len(mesh.points)
    for k, (sheet, nodes) in enumerate(zip(sheets, lumen.nodes, strict=True)):
        n, foot, triangles = len(sheet.u), sheet.foot, sheet.triangles
        steps = range(layers)
        local = [split_prisms(triangles + j * n, triangles + (j + 1) * n) for j in steps]
        edge = [split_squares(sheet.edge + j * n, sheet.edge + (j + 1) * n) for j in steps]
        number = np.empty((layers + 1, n), np.int64)
        number[:, :foot] = nodes
        number[:, foot:] = count + np.arange((layers + 1) * (n - foot)).reshape(layers + 1, -1)
        count += (layers + 1) * (n - foot)
        points.append(_offset(sheet, layers)[:, foot:].reshape(-1, 3))
        cells.append(number.ravel()[np.concatenate(local)])
        names[f"leaflet_{sheet.leaflet.name}"] = k + 2
        regions.append(np.full(len(cells[-1]), k + 2))
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


def _offset(sheet: _Sheet, layers: int) -> Points:
    """Vertices of each level of a leaflet, (layers + 1, n, 3)."""
    leaflet = sheet.leaflet
    middle = leaflet.middle(sheet.u, sheet.v)
    up = [leaflet.place(*leaflet.across(sheet.u, s)) for s in (-1e-3, 1e-3)]
    in_wall = unit(up[1] - up[0])
    normal = unit(vertex_normals(middle, sheet.triangles))
    near = ((1.0 - sheet.v) ** 3)[:, None]
    direction = unit(near * in_wall + (1.0 - near) * normal)
    ways = leaflet.thickness * (np.arange(layers + 1) / layers - 0.5)
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
    return points, _anticlockwise(points, triangles)


def _anticlockwise(plane: Points, triangles: Index) -> Index:
    """Triangles of a plane, all turning to the left."""
    (ax, ay), (bx, by) = ((plane[triangles[:, k]] - plane[triangles[:, 0]]).T for k in (1, 2))
    return np.where((ax * by < ay * bx)[:, None], triangles[:, ::-1], triangles)


def _edges_at(triangles: Index, chosen: NDArray[np.bool_]) -> Index:
    """Edges of triangles with both ends chosen."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return np.asarray(edges[chosen[edges].all(axis=1)])
