"""Wall layers grown by thickness on a triangle surface, as tetrahedra."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from organtwin.errors import InputError, MeshError, suggestion
from organtwin.mesh.balls import touching_balls
from organtwin.mesh.outwards import check_outwards
from organtwin.mesh.prisms import split_prisms, split_squares
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.vectors import unit
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Part of the way to the medial axis that a wall may take.
ROOM = 0.9
#: Largest change of thickness per length of the surface where it had to be limited.
GRADATION = 0.5
#: Distance from a plane, per length of a rim, up to which the rim is flat.
FLAT = 1e-3
#: Least cosine wanted between a direction and the normals around, and rounds of turning.
SEEN, TURNS = 0.3, 60
#: Rounds of mending cells.
MENDING_ROUNDS = 25
#: Least volume of a cell per volume of an upright prism's third.
LEAST_VOLUME = 0.05


@dataclass(frozen=True)
class Growth:
    """How a wall grows.

    Attributes:
        thickness: Of the wall (mm).
        layers: Number of prism layers.
        ratio: Thickness of a layer per that of the one before, counted from the given surface.
        inward: Whether it grows against the normals.
        name: Region of the wall.
        room: Part of the way to the medial axis that it may take.
    """

    thickness: float
    layers: int = 2
    ratio: float = 1.0
    inward: bool = False
    name: str = "wall"
    room: float = ROOM

    def __post_init__(self) -> None:
        if not self.thickness > 0:
            raise InputError("Growth", f"thickness is {self.thickness:g} mm.", "Give one over 0.")
        if not 1 <= self.layers <= 100:
            raise InputError("Growth", f"{self.layers} layers.", "Give 1 to 100.")
        if not 0.1 <= self.ratio <= 10.0:
            raise InputError("Growth", f"ratio is {self.ratio:g}.", "Give 0.1 to 10.")
        if not 0.0 < self.room <= ROOM:
            raise InputError("Growth", f"room is {self.room:g}.", f"Give up to {ROOM:g}.")

    @property
    def levels(self) -> Points:
        """Places of the borders of layers, 0 to 1."""
        sizes = self.ratio ** np.arange(self.layers)
        return np.concatenate([[0.0], np.cumsum(sizes) / sizes.sum()])


@dataclass(frozen=True)
class GrownWall:
    """A wall of tetrahedra on a surface.

    Attributes:
        mesh: Its first vertices are those of the surface that the wall stands on. Surfaces are
            ``inner``, ``outer`` and one ring for each open end.
        vertices: Their numbers in the surface, shape (n,).
        thickness: Thickness at each of them (mm), shape (n,).
        limited: Number of vertices where curvature or an opposite wall left less than was asked.
        thinnest: Smallest thickness (mm).
        place: Where it is (mm), shape (3,).
    """

    mesh: TetrahedralMesh
    vertices: Index
    thickness: Points
    limited: int
    thinnest: float
    place: Points


def grow(surface: TriangleSurface, growth: Growth, *, caps: tuple[str, ...] = ()) -> GrownWall:
    """Grow a wall of prisms, each split into three tetrahedra, on a surface.

    Vertices move along their normals, so far that the triangles around shift by the thickness;
    those of a flat rim move within its plane, so that open ends stay flat. The wall is thinner
    where the medial axis on its side is near: in a bend or a gap of walls it takes at most 0.9 of
    the way there.

    Args:
        surface: Manifold (mm), closed or with open ends; triangles of ``caps`` are left out.
        growth: Thickness, layers and direction.
        caps: Names of parts of the surface that close ends. The ring there gets the name of the
            cap; rings of other open ends are ``end0``, ``end1``, ..., by their place in z, y, x.

    Raises:
        InputError: the surface is no manifold, or has no cap of that name.
        MeshError: the surface faces inwards, or cells stay inverted at any thickness.
    """
    triangles, rims, names = _wall_part(surface, caps)
    used = np.unique(triangles)
    number = np.full(len(surface.points), -1)
    number[used] = np.arange(len(used))
    points, triangles, rims = surface.points[used], number[triangles], [number[r] for r in rims]
    check_outwards(points, triangles, rims)
    mesh, thickness = shell_on(points, triangles, rims, growth)
    mesh = _named(mesh, points, triangles, rims, names, growth)
    lowest = int(np.argmin(thickness))
    limited = int(np.count_nonzero(thickness < 0.999 * growth.thickness))
    return GrownWall(mesh, used, thickness, limited, float(thickness[lowest]), points[lowest])


def shell_on(
    points: Points, triangles: Index, rims: list[Index], growth: Growth,
    obstacles: Points | None = None, slopes: Points | None = None, most: Points | None = None,
) -> tuple[TetrahedralMesh, Points]:  # fmt: skip
    """Layers on triangles, as thick as there is room, without inverted cells.

    Args:
        points: Vertices (mm), all of them used, shape (n, 3).
        triangles: Vertex indices, manifold, shape (m, 3).
        rims: Open edges of each rim, see `rims_of`.
        growth: Thickness, layers and direction.
        obstacles: Other places that leave no room (mm), shape (k, 3).
        slopes: Unit normals of what rims slide along, zero elsewhere, (n, 3); planes without.
        most: Bound of the thickness at each vertex (mm), shape (n,).

    Returns:
        The cells, whose first n vertices are given and last n the far side; thickness (mm), (n,).

    Raises:
        MeshError: cells stay inverted at any thickness.
    """
    direction, stretch = _directions(points, triangles, rims, slopes)
    sign = -1.0 if growth.inward else 1.0
    normals = sign * unit(vertex_normals(points, triangles))
    tree = cKDTree(points if obstacles is None else np.concatenate([points, obstacles]))
    room = growth.room * touching_balls(tree, points, normals, 2.0 * growth.thickness / growth.room)
    neighbours = _neighbours(points, triangles)
    thickness = _graded(np.minimum(growth.thickness if most is None else most, room), neighbours)
    for _ in range(MENDING_ROUNDS):
        shift = sign * direction * (thickness * stretch)[:, None]
        mesh = _layers(points, triangles, shift, growth)
        bad = _flat_cells(mesh, points, triangles, thickness, growth)
        if not len(bad):
            return mesh, thickness
        thickness[bad] *= 0.75
        thickness = _graded(thickness, neighbours)
    x = points[bad[0]]
    raise MeshError(
        "grow",
        f"cells at ({x[0]:.1f}, {x[1]:.1f}, {x[2]:.1f}) mm stay inverted.",
        "Smooth or remesh the surface there.",
    )


def _wall_part(
    surface: TriangleSurface, caps: tuple[str, ...]
) -> tuple[Index, list[Index], list[str]]:
    """Triangles without caps, the edges of each rim, the names of rims."""
    keep = np.ones(len(surface.triangles), bool)
    in_cap: dict[str, Index] = {}
    for name in caps:
        if name not in surface.names:
            raise InputError("grow", f"no part `{name}`.", suggestion(name, surface.names))
        chosen = surface.triangle_values["part"] == surface.names[name]
        in_cap[name] = np.unique(surface.triangles[chosen])
        keep &= ~chosen
    triangles = surface.triangles[keep]
    rims = rims_of(surface.points, triangles)
    names: list[str] = []
    for rim in rims:
        own = [name for name, part in in_cap.items() if np.isin(rim, part).all()]
        names.append(own[0] if own else f"end{sum(n.startswith('end') for n in names)}")
    return triangles, rims, names


def rims_of(points: Points, triangles: Index) -> list[Index]:
    """Open edges (k, 2) of each rim, as the triangles run, by the middle's z, y, x."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    _, first, number, count = np.unique(
        np.sort(edges, axis=1), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    if count.max() > 2:
        x = points[edges[first[np.argmax(count)]]].mean(axis=0)
        raise InputError(
            "grow",
            f"more than two triangles meet in an edge at ({x[0]:.1f}, {x[1]:.1f}, {x[2]:.1f}) mm.",
            "Mend the surface with organtwin.mesh.repair.",
        )
    rim = edges[count[number.ravel()] == 1]
    if not len(rim):
        return []
    n = len(points)
    graph = sparse.csr_matrix((np.ones(len(rim)), (rim[:, 0], rim[:, 1])), (n, n))
    part = csgraph.connected_components(graph, directed=False)[1][rim[:, 0]]
    rims = [rim[part == k] for k in np.unique(part)]
    return sorted(rims, key=lambda r: tuple(np.round(points[r[:, 0]].mean(axis=0), 6)[::-1]))


def vertex_normals(points: Points, triangles: Index) -> Points:
    """Sums of the unit normals of the triangles around, weighted with their angles, (n, 3)."""
    corners = points[triangles]
    normals = unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    result = np.zeros_like(points)
    for k in range(3):
        one = unit(corners[:, (k + 1) % 3] - corners[:, k])
        other = unit(corners[:, (k + 2) % 3] - corners[:, k])
        angle = np.arccos(np.clip(np.einsum("ij,ij->i", one, other), -1.0, 1.0))
        np.add.at(result, triangles[:, k], angle[:, None] * normals)
    return result


def _seen_by_all(points: Points, triangles: Index) -> Points:
    """Vertex normals, turned at sharp edges until no triangle around sees them from behind."""
    direction = unit(vertex_normals(points, triangles))
    corners = points[triangles]
    normals = unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    vertex, owner = triangles.ravel(), np.repeat(np.arange(len(triangles)), 3)
    for _ in range(TURNS):
        height = np.einsum("ij,ij->i", direction[vertex], normals[owner])
        order = np.lexsort((height, vertex))
        first = order[np.flatnonzero(np.diff(vertex[order], prepend=-1))]
        low = first[height[first] < SEEN]
        if not len(low):
            break
        turned = direction[vertex[low]] + 0.2 * normals[owner[low]]
        direction[vertex[low]] = unit(turned)
    return direction


def _directions(
    points: Points, triangles: Index, rims: list[Index], slopes: Points | None
) -> tuple[Points, NDArray[np.float64]]:
    """Unit vectors along which vertices move, and the way per thickness."""
    direction = _seen_by_all(points, triangles)
    slopes = _planes(points, rims) if slopes is None else slopes
    sliding = slopes.any(axis=1)
    along = np.einsum("ij,ij->i", direction, slopes)[:, None] * slopes
    direction[sliding] = unit(direction - along)[sliding]
    # The mean of the heights of a unit step over the triangles around; an edge needs a longer step.
    weight = np.zeros(len(points))
    corners = points[triangles]
    normals = unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    height = np.zeros(len(points))
    for k in range(3):
        np.add.at(weight, triangles[:, k], 1.0)
        step = np.einsum("ij,ij->i", direction[triangles[:, k]], normals)
        np.add.at(height, triangles[:, k], step)
    return direction, 1.0 / np.clip(height / np.maximum(weight, 1.0), 0.5, 1.0)


def _planes(points: Points, rims: list[Index]) -> Points:
    """Unit normals of the planes of flat rims at their vertices, zero elsewhere, (n, 3)."""
    result = np.zeros_like(points)
    for rim in rims:
        own = np.unique(rim)
        local = points[own] - points[own].mean(axis=0)
        _, extent, axes = np.linalg.svd(local, full_matrices=False)
        if extent[2] <= FLAT * extent[0]:
            result[own] = axes[2]
    return result


def _neighbours(points: Points, triangles: Index) -> sparse.csr_matrix:
    """Lengths of edges (mm), symmetric."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    n = len(points)
    half = sparse.csr_matrix((length, (edges[:, 0], edges[:, 1])), (n, n))
    return half + half.T


def _graded(thickness: NDArray[np.float64], neighbours: sparse.csr_matrix) -> NDArray[np.float64]:
    """The largest thickness below the given one that changes by `GRADATION` at most."""
    start, end = neighbours.nonzero()
    step = GRADATION * np.asarray(neighbours[start, end]).ravel()
    result = thickness.copy()
    while True:
        allowed = result[end] + step
        lower = result.copy()
        np.minimum.at(lower, start, allowed)
        if np.array_equal(lower, result):
            return result
        result = lower


def _layers(points: Points, triangles: Index, shift: Points, growth: Growth) -> TetrahedralMesh:
    n = len(points)
    stacked = np.concatenate([points + level * shift for level in growth.levels])
    base = triangles[:, [0, 2, 1]] if growth.inward else triangles
    cells = np.concatenate(
        [split_prisms(base + k * n, base + (k + 1) * n) for k in range(growth.layers)]
    )
    return TetrahedralMesh(stacked, cells, np.ones(len(cells), np.int64), {growth.name: 1})


def _flat_cells(
    mesh: TetrahedralMesh, points: Points, triangles: Index, thickness: Points, growth: Growth
) -> Index:
    """Vertices of the surface below cells that are inverted or nearly so."""
    corners = points[triangles]
    area = 0.5 * np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    height = np.diff(growth.levels)[:, None] * thickness[triangles].mean(axis=1)
    upright = np.repeat((area * height / 3.0)[:, None, :], 3, axis=1).ravel()
    bad = signed_volumes(mesh.points, mesh.cells) < LEAST_VOLUME * upright
    return np.unique(mesh.cells[bad] % len(points))


def _named(
    mesh: TetrahedralMesh, points: Points, triangles: Index, rims: list[Index], names: list[str],
    growth: Growth,
) -> TetrahedralMesh:  # fmt: skip
    """The mesh with its surfaces."""
    n = len(points)
    top = triangles + growth.layers * n
    base, far = ("outer", "inner") if growth.inward else ("inner", "outer")
    facets, found = [triangles, top], [base, far]
    for rim, name in zip(rims, names, strict=True):
        for k in range(growth.layers):
            facets.append(split_squares(rim + k * n, rim + (k + 1) * n))
            found.append(name)
    numbers = {name: k for k, name in enumerate(dict.fromkeys(found), 2)}
    tags = np.concatenate(
        [np.full(len(part), numbers[name]) for part, name in zip(facets, found, strict=True)]
    )
    return replace(mesh, facets=np.concatenate(facets), facet_tags=tags, facet_names=numbers)
