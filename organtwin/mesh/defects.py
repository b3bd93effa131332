"""What is wrong with a surface: what, how much of it and where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from organtwin.mesh.intersections import box_pairs, intersecting_pairs
from organtwin.mesh.surface_files import Points, Triangles, TriangleSurface

type Index = NDArray[np.int64]

#: Height of a triangle, in parts of the surface's diagonal, below which it is degenerate; single
#: precision, in which surfaces are mostly written, resolves a tenth of it.
FLAT = 1e-6
#: Vertices by which it is decided whether a part lies inside another.
SAMPLE = 9
#: Places that a sentence names.
_NAMED = 3


@dataclass(frozen=True)
class Edges:
    """Edges of triangles.

    Attributes:
        ends: Vertices of each edge, the smaller number first, shape (e, 2).
        of: Edge from corner k to corner k + 1 of each triangle, shape (m, 3).
        upwards: Whether the triangle runs from the smaller to the larger number, shape (m, 3).
        count: Number of triangles of each edge, shape (e,).
    """

    ends: Index
    of: Index
    upwards: NDArray[np.bool_]
    count: Index

    def around(self, number: int) -> tuple[Index, Index]:
        """Edges that ``number`` triangles share and sides ``3 * triangle + k`` there, (k, number).

        The sides of each edge are in ascending order.
        """
        order = np.argsort(self.of.ravel(), kind="stable")
        starts = np.concatenate([[0], np.cumsum(self.count)[:-1]])
        chosen = np.flatnonzero(self.count == number)
        return chosen, order[starts[chosen][:, None] + np.arange(number)]


@dataclass(frozen=True)
class Loop:
    """A hole's rim.

    Attributes:
        vertices: Vertex indices along it, in the direction that the triangles have.
        place: Mean of its vertices (mm), shape (3,).
        length: Sum of its edges (mm).
        closed: Whether it comes back to its beginning.
    """

    vertices: Index
    place: Points
    length: float
    closed: bool


@dataclass(frozen=True)
class Component:
    """Triangles that hang together by edges.

    Attributes:
        triangles: Number of them.
        area: Their area (mm²).
        volume: What they enclose (mm³), negative if inside out; of an open one what the cone to
            its middle encloses.
        place: Middle of its bounding box (mm), shape (3,).
        closed: Whether every edge belongs to two triangles or more.
        orientable: Whether its triangles can all face one way.
        inside_out: Whether it is closed, faces one way, and that is the wrong one.
    """

    triangles: int
    area: float
    volume: float
    place: Points
    closed: bool
    orientable: bool
    inside_out: bool


@dataclass(frozen=True)
class SurfaceReport:
    """What was found in a surface; places are in mm, shape (k, 3).

    Attributes:
        points: Number of vertices.
        triangles: Number of triangles.
        extent: Size along x, y, z (mm).
        area: Area (mm²).
        volume: Enclosed volume (mm³).
        components: Parts, the largest first.
        loops: Rims of holes, the longest first.
        duplicated_vertices: Vertices at the place of another.
        duplicated_triangles: Places of triangles with the three vertices of another.
        degenerate_triangles: Places of triangles without height.
        nonmanifold_edges: Places of edges with three triangles or more.
        nonmanifold_vertices: Places of vertices where parts touch in a point.
        flipped_triangles: Places of triangles that face against most of their part.
        intersections: Pairs of triangles that cut or touch each other, shape (k, 2).
        intersection_places: Where.
    """

    points: int
    triangles: int
    extent: Points
    area: float
    volume: float
    components: tuple[Component, ...]
    loops: tuple[Loop, ...]
    duplicated_vertices: int
    duplicated_triangles: Points
    degenerate_triangles: Points
    nonmanifold_edges: Points
    nonmanifold_vertices: Points
    flipped_triangles: Points
    intersections: Index
    intersection_places: Points

    @property
    def closed(self) -> bool:
        """Whether it has no holes."""
        return not self.loops

    @property
    def sound(self) -> bool:
        """Whether a volume mesher can fill it."""
        return not self.defects()

    def defects(self) -> tuple[str, ...]:
        """Each kind of defect in a sentence with its number and places."""
        found = [
            _sentence(what, places)
            for what, places in (
                ("duplicated triangles", self.duplicated_triangles),
                ("degenerate triangles", self.degenerate_triangles),
                ("non-manifold edges", self.nonmanifold_edges),
                ("non-manifold vertices", self.nonmanifold_vertices),
                ("flipped triangles", self.flipped_triangles),
                ("self-intersections", self.intersection_places),
                ("parts inside out", _places(self.components, "inside_out")),
            )
            if len(places)
        ]
        if self.duplicated_vertices:
            found.append(f"{self.duplicated_vertices} duplicated vertices.")
        one_sided = [c for c in self.components if not c.orientable]
        if one_sided:
            places = np.array([c.place for c in one_sided])
            found.append(_sentence("parts with one side only", places))
        found += [
            f"hole with a rim of {loop.length:.3g} mm at {places_of(loop.place[None])}."
            for loop in self.loops
        ]
        return tuple(found)


def inspect(surface: TriangleSurface, *, intersections: bool = True) -> SurfaceReport:
    """Look for all defects of a surface.

    Args:
        surface: What to look at.
        intersections: Whether to look for self-intersections too, the slowest part.
    """
    points, triangles = surface.points, surface.triangles
    middles = points[triangles].mean(axis=1)
    edges = edges_of(triangles)
    flip, one_sided = flips(edges)
    part = components(edges)
    pairs = intersecting_pairs(points, triangles) if intersections else np.empty((0, 2), np.int64)
    vertices, _ = fans(edges, triangles)
    return SurfaceReport(
        points=len(points),
        triangles=len(triangles),
        extent=surface.extent,
        area=float(surface.areas.sum()),
        volume=surface.volume,
        components=_describe(surface, part, edges, flip, one_sided),
        loops=boundary_loops(points, triangles, edges),
        duplicated_vertices=len(points) - len(np.unique(points, axis=0)),
        duplicated_triangles=middles[duplicates(triangles)],
        degenerate_triangles=middles[degenerate(points, triangles)],
        nonmanifold_edges=points[edges.ends[edges.count > 2]].mean(axis=1),
        nonmanifold_vertices=points[vertices],
        flipped_triangles=middles[flip & ~one_sided],
        intersections=pairs,
        intersection_places=middles[pairs].mean(axis=1),
    )


def edges_of(triangles: Triangles) -> Edges:
    """Edges of triangles and who shares them."""
    start, end = triangles, np.roll(triangles, -1, axis=1)
    number = int(triangles.max(initial=0)) + 1
    code = np.minimum(start, end) * number + np.maximum(start, end)
    unique, of, count = np.unique(code, return_inverse=True, return_counts=True)
    ends = np.stack([unique // number, unique % number], axis=1)
    return Edges(ends, of.reshape(-1, 3), start < end, count)


def components(edges: Edges) -> Index:
    """Number of the part of each triangle; triangles that share an edge are in one part."""
    m, e = len(edges.of), len(edges.ends)
    rows = np.repeat(np.arange(m), 3)
    graph = sparse.coo_array((np.ones(3 * m), (rows, m + edges.of.ravel())), (m + e, m + e))
    return np.asarray(connected_components(graph, directed=False)[1][:m], np.int64)


def flips(edges: Edges) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Triangles that face against most of those around, and those of one-sided parts.

    Each triangle is taken twice, as it is and turned; what then hangs together faces one way. Parts
    are joined across edges of two triangles only. Where both halves are equal, the one with the
    first triangle stays.
    """
    m = len(edges.of)
    _, side = edges.around(2)
    one, two = (side // 3).T
    against = edges.upwards.ravel()[side[:, 0]] == edges.upwards.ravel()[side[:, 1]]
    rows = np.concatenate([one, one + m])
    columns = np.concatenate([two + m * against, two + m * ~against])
    graph = sparse.coo_array((np.ones(len(rows)), (rows, columns)), (2 * m, 2 * m))
    number, sheet = connected_components(graph, directed=False)
    plain, turned = sheet[:m], sheet[m:]
    size = np.bincount(plain, minlength=number)
    smaller = size[plain] < size[turned]
    tie = (size[plain] == size[turned]) & (plain > turned)
    return smaller | tie, plain == turned


def fans(edges: Edges, triangles: Triangles) -> tuple[Index, Index]:
    """Vertices where several fans of triangles meet, and the fan of each corner.

    Returns:
        Vertices with more than one fan; the number of the fan of each corner, shape (m, 3).
    """
    m, e = triangles.shape[0], len(edges.ends)
    corner = np.arange(3 * m).reshape(m, 3)
    # The end of each edge at its smaller and at its larger vertex joins the corners there.
    here = 3 * m + 2 * edges.of + ~edges.upwards
    there = 3 * m + 2 * edges.of + edges.upwards
    rows = np.concatenate([corner.ravel(), np.roll(corner, -1, axis=1).ravel()])
    columns = np.concatenate([here.ravel(), there.ravel()])
    size = 3 * m + 2 * e
    graph = sparse.coo_array((np.ones(len(rows)), (rows, columns)), (size, size))
    fan = connected_components(graph, directed=False)[1][: 3 * m]
    pairs = np.unique(np.stack([triangles.ravel(), fan], axis=1), axis=0)
    number = np.bincount(pairs[:, 0])
    return np.flatnonzero(number > 1), np.asarray(fan.reshape(m, 3), np.int64)


def duplicates(triangles: Triangles) -> NDArray[np.bool_]:
    """Triangles whose three vertices an earlier one has, whichever way they face."""
    _, first = np.unique(np.sort(triangles, axis=1), axis=0, return_index=True)
    later = np.ones(len(triangles), bool)
    later[first] = False
    return later


def degenerate(points: Points, triangles: Triangles) -> NDArray[np.bool_]:
    """Triangles no higher than rounding: two corners coincide or three lie on a line."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    longest = np.max([np.linalg.norm(x - y, axis=1) for x, y in ((a, b), (b, c), (c, a))], axis=0)
    twice_area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    diagonal = float(np.linalg.norm(np.ptp(points, axis=0)))
    return np.asarray(twice_area <= FLAT * diagonal * longest)


def boundary_loops(
    points: Points, triangles: Triangles, edges: Edges | None = None
) -> tuple[Loop, ...]:
    """Rims of the holes, the longest first."""
    edges = edges_of(triangles) if edges is None else edges
    _, side = edges.around(1)
    start = triangles.ravel()[side[:, 0]]
    end = np.roll(triangles, -1, axis=1).ravel()[side[:, 0]]
    loops = [_loop(points, chain) for chain in _chains(start, end)]
    return tuple(sorted(loops, key=lambda loop: -loop.length))


def _chains(start: Index, end: Index) -> list[list[int]]:
    """Edges lined up, along their direction where it is one, else against it."""
    at: dict[int, list[int]] = {}
    for k, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        at.setdefault(a, []).append(k)
        at.setdefault(b, []).append(k)
    unused = np.ones(len(start), bool)
    chains = []
    for k in range(len(start)):
        if not unused[k]:
            continue
        unused[k] = False
        chain = [int(start[k]), int(end[k])]
        while chain[-1] != chain[0]:
            following = [j for j in at[chain[-1]] if unused[j]]
            if not following:
                break
            # A vertex where two rims meet: along the direction of the triangles.
            j = next((j for j in following if start[j] == chain[-1]), following[0])
            unused[j] = False
            chain.append(int(end[j] if start[j] == chain[-1] else start[j]))
        chains.append(chain)
    return chains


def _loop(points: Points, chain: list[int]) -> Loop:
    x = points[chain]
    closed = chain[0] == chain[-1]
    vertices = np.array(chain[:-1] if closed else chain)
    length = float(np.linalg.norm(np.diff(x, axis=0), axis=1).sum())
    return Loop(vertices, points[vertices].mean(axis=0), length, closed)


def _describe(
    surface: TriangleSurface,
    part: Index,
    edges: Edges,
    flip: NDArray[np.bool_],
    one_sided: NDArray[np.bool_],
) -> tuple[Component, ...]:
    number = int(part.max()) + 1
    low, high = part_boxes(surface.points, surface.triangles, part)
    middle = 0.5 * (low + high)
    volume = part_volumes(surface.points, surface.triangles, part, middle)
    area = np.bincount(part, surface.areas, number)
    is_open = np.bincount(part, (edges.count[edges.of] == 1).any(axis=1), number) > 0
    unorientable = np.bincount(part, one_sided, number) > 0
    mixed = np.bincount(part, flip, number) > 0
    inside_out = (
        wrong_way(surface.points, surface.triangles, part, volume, (low, high), ~is_open)
        & ~mixed
        & ~unorientable
        & ~is_open
    )
    found = [
        Component(
            int(n), float(area[k]), float(volume[k]), middle[k], not is_open[k],
            not unorientable[k], bool(inside_out[k]),
        )
        for k, n in enumerate(np.bincount(part, minlength=number))
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda component: -component.area))


def part_boxes(points: Points, triangles: Triangles, part: Index) -> tuple[Points, Points]:
    """Lower and upper corners (mm) of the boxes of the parts."""
    corners = points[triangles]
    number = int(part.max()) + 1
    low, high = np.full((number, 3), np.inf), np.full((number, 3), -np.inf)
    np.minimum.at(low, part, corners.min(axis=1))
    np.maximum.at(high, part, corners.max(axis=1))
    return low, high


def part_volumes(points: Points, triangles: Triangles, part: Index, middle: Points) -> Points:
    """Volume (mm³) that each part encloses, seen from its middle, shape (number,)."""
    a, b, c = (points[triangles[:, k]] - middle[part] for k in range(3))
    return np.bincount(part, np.einsum("ij,ij->i", np.cross(a, b), c) / 6.0, len(middle))


def wrong_way(
    points: Points,
    triangles: Triangles,
    part: Index,
    volume: Points,
    boxes: tuple[Points, Points],
    closed: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Parts that face inwards: a part in an odd number of others is the wall of a hollow.

    Args:
        points: Vertices (mm).
        triangles: Vertex indices.
        part: Part of each triangle.
        volume: Signed volume (mm³) of each part.
        boxes: Lower and upper corners of the parts' boxes.
        closed: Parts that can have others inside.
    """
    low, high = boxes
    pairs = box_pairs(low, high)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    depth = np.zeros(len(volume), np.int64)
    for inner, outer in pairs[closed[pairs[:, 1]]]:
        depth[inner] += _mostly_inside(points, triangles[part == inner], triangles[part == outer])
    return np.asarray(np.where(depth % 2 == 0, volume < 0, volume > 0))


def _mostly_inside(points: Points, inner: Triangles, outer: Triangles) -> bool:
    """Whether most of a sample of vertices lie inside; parts that cut each other have both."""
    chosen = inner[np.unique(np.linspace(0, len(inner) - 1, SAMPLE).astype(np.int64)), 0]
    low, high = points[outer].min(axis=(0, 1)), points[outer].max(axis=(0, 1))
    near = ((points[chosen] >= low) & (points[chosen] <= high)).all(axis=1)
    number = sum(abs(winding(points, outer, x)) > 0.5 for x in points[chosen[near]])
    return 2 * number > len(chosen)


def winding(points: Points, triangles: Triangles, place: Points) -> float:
    """How often triangles wind around a place: 1 inside a closed surface, 0 outside.

    Source:
        Van Oosterom & Strackee (1983), IEEE Trans Biomed Eng 30:125-126, for the solid angle.
    """
    a, b, c = (points[triangles[:, k]] - place for k in range(3))
    la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
    triple = np.einsum("ij,ij->i", np.cross(a, b), c)
    dots = [np.einsum("ij,ij->i", x, y) for x, y in ((a, b), (b, c), (c, a))]
    angle = np.arctan2(triple, la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb)
    return float(angle.sum() / (2.0 * np.pi))


def _places(parts: tuple[Component, ...], mark: str) -> Points:
    return np.array([part.place for part in parts if getattr(part, mark)]).reshape(-1, 3)


def _sentence(what: str, places: Points) -> str:
    return f"{len(places)} {what} at {places_of(places)}."


def places_of(places: Points) -> str:
    """The first places in words (mm)."""
    named = ", ".join(f"({x:.1f}, {y:.1f}, {z:.1f})" for x, y, z in places[:_NAMED])
    return named + (", ..." if len(places) > _NAMED else "")
