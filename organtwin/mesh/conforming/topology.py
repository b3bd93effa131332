"""Triangle nets with junctions: which edges and vertices may move, and what meets in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from organtwin.mesh.vectors import dots, lengths_of, unit

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]
type Flags = NDArray[np.bool_]

#: What a vertex may do: move within its sheet, along its curve, merge with a corner at hand, or
#: nothing, neither it nor the edges between such vertices.
INSIDE, ALONG, CORNER, FROZEN = 0, 1, 2, 3


@dataclass(frozen=True)
class Rows:
    """Lists of different lengths, one after the other.

    Attributes:
        start: Row k has the entries from ``start[k]`` to ``start[k + 1]``, shape (rows + 1,).
        entries: What the rows hold.
    """

    start: Index
    entries: Index

    @classmethod
    def of(cls, row: Index, number: int) -> Rows:
        """Positions at which each of the numbers 0 to ``number`` - 1 stands."""
        place = np.arange(len(row))
        table = sparse.csr_array((place, (row, place)), shape=(number, max(len(row), 1)))
        return cls(table.indptr.astype(np.int64), table.indices.astype(np.int64))

    def of_rows(self, rows: Index) -> tuple[Index, Index]:
        """Entries of some rows: which of the rows, and the entry, both of shape (k,)."""
        lengths = self.start[rows + 1] - self.start[rows]
        owner = np.repeat(np.arange(len(rows)), lengths)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return owner, self.entries[np.repeat(self.start[rows], lengths) + within]


@dataclass(frozen=True)
class Edges:
    """Edges of a net; edge k of a triangle goes from its corner k to the next.

    Attributes:
        ends: Vertices, the smaller first, in the order of ``keys``, shape (e, 2).
        keys: The two vertices in one number, sorted, shape (e,).
        count: Number of triangles, shape (e,).
        start: Where the slots of each edge begin, shape (e,).
        slot: Three times the triangle plus the edge in it, sorted by edges, shape (3 m,).
        within: Edges of each triangle, shape (m, 3).
        curve: Whether it belongs to a junction curve, shape (e,).
        vertices: Number of vertices of the net.
    """

    ends: Index
    keys: Index
    count: Index
    start: Index
    slot: Index
    within: Index
    curve: Flags
    vertices: int

    def find(self, one: Index, two: Index) -> Index:
        """Edges between vertices, -1 where there is none, shape (k,)."""
        wanted = np.minimum(one, two) * self.vertices + np.maximum(one, two)
        place = np.searchsorted(self.keys, wanted).clip(max=len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, place, -1)

    @cached_property
    def around(self) -> Rows:
        """For each vertex the edges at it, the number of edges added at their second ends."""
        return Rows.of(self.ends.T.ravel(), self.vertices)

    def neighbours(self, vertices: Index) -> tuple[Index, Index, Index]:
        """Vertices next to some vertices: which of them, the neighbour, the edge between."""
        owner, entry = self.around.of_rows(vertices)
        edge = entry % len(self.ends)
        return owner, self.ends.sum(axis=1)[edge] - vertices[owner], edge

    @cached_property
    def pairs(self) -> tuple[Index, Index]:
        """Edges that two triangles share, and the slots of these in them, (k,) and (k, 2)."""
        edge = np.flatnonzero((self.count == 2) & ~self.curve)
        return edge, self.slot[self.start[edge][:, None] + np.arange(2)]


@dataclass(frozen=True)
class Net:
    """Triangles of several sheets that meet in curves.

    Attributes:
        points: Vertices (mm), shape (n, 3); some may be unused.
        triangles: Vertex indices, shape (m, 3).
        sheet: Number of the sheet of each triangle, shape (m,). Sheets end where other than two
            triangles meet, where the regions beside them change, and at creases.
        kind: `INSIDE`, `ALONG`, `CORNER` or `FROZEN` for each vertex, shape (n,).
    """

    points: Points
    triangles: Index
    sheet: Index
    kind: NDArray[np.int8]

    @cached_property
    def edges(self) -> Edges:
        """Edges of the triangles."""
        return edges_of(self.triangles, self.sheet, len(self.points))

    @cached_property
    def stars(self) -> Rows:
        """Slots (three times the triangle plus the corner) in which each vertex stands."""
        return Rows.of(self.triangles.ravel(), len(self.points))

    @cached_property
    def normals(self) -> Points:
        """Normals of the triangles, twice as long as their areas (mm²), shape (m, 3)."""
        return normals_of(self.points[self.triangles])

    @cached_property
    def vertex_normals(self) -> Points:
        """Unit normals at vertices, the mean of their triangles by area, shape (n, 3)."""
        corner = self.triangles.ravel()
        sums = [
            np.bincount(corner, np.repeat(self.normals[:, k], 3), len(self.points))
            for k in range(3)
        ]
        return unit(np.stack(sums, axis=1))

    @cached_property
    def lengths(self) -> NDArray[np.float64]:
        """Lengths of the edges (mm), shape (e,)."""
        first, second = self.edges.ends.T
        return lengths_of(self.points[second] - self.points[first])

    def compacted(self) -> tuple[Net, Index]:
        """The same without unused vertices, and the vertices that are left."""
        used = np.zeros(len(self.points), bool)
        used[self.triangles.ravel()] = True
        kept = np.flatnonzero(used)
        triangles = (np.cumsum(used) - 1)[self.triangles]
        return Net(self.points[kept], triangles, self.sheet, self.kind[kept]), kept


def normals_of(corners: Points) -> Points:
    """Normals of triangles, twice as long as their areas; corners (m, 3, 3) to (m, 3)."""
    a, b, c = (corners[:, k].T for k in range(3))
    u, v = b - a, c - a
    return np.stack(
        [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]], axis=1
    )


def shapes_of(corners: Points) -> NDArray[np.float64]:
    """Shape of triangles: 1 for equal sides, 0 for no area; corners (m, 3, 3) to (m,).

    4 sqrt(3) times the area over the sum of the squares of the sides.
    """
    double_area = lengths_of(normals_of(corners))
    sides = corners - np.roll(corners, -1, axis=1)
    squares = np.einsum("mkx,mkx->m", sides, sides)
    return np.asarray(2.0 * np.sqrt(3.0) * double_area / np.maximum(squares, 1e-300))


def edges_of(triangles: Index, sheet: Index, vertices: int) -> Edges:
    """Edges of triangles, sorted by their vertices."""
    ends = np.stack([triangles, np.roll(triangles, -1, axis=1)])
    keys, slot = _sorted((ends.min(axis=0) * vertices + ends.max(axis=0)).ravel(), vertices)
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    count = np.diff(first, append=len(keys))
    within = np.empty(len(keys), np.int64)
    within[slot] = np.repeat(np.arange(len(first)), count)
    of_slot = sheet[slot // 3]
    curve = (count != 2) | (of_slot[first] != of_slot[first + np.minimum(count, 2) - 1])
    keys = keys[first]
    ends_of = np.stack(np.divmod(keys, vertices), axis=1)
    return Edges(ends_of, keys, count, first, slot, within.reshape(-1, 3), curve, vertices)


def _sorted(keys: Index, vertices: int) -> tuple[Index, Index]:
    """Keys sorted and the places from which they came, ties in the order of their places."""
    bits = len(keys).bit_length()
    if vertices**2 >= 2 ** (63 - bits):
        order = np.argsort(keys, kind="stable")
        return keys[order], order
    # Sorting one number per slot is several times faster than sorting places by their keys.
    packed = np.sort((keys << bits) | np.arange(len(keys)))
    return packed >> bits, packed & (2**bits - 1)


def net_of(points: Points, triangles: Index, sides: Index, crease: float | None = None) -> Net:
    """Net of the borders between regions, with its sheets, curves and corners found.

    Args:
        points: Vertices (mm), shape (n, 3).
        triangles: Vertex indices, shape (m, 3).
        sides: Regions behind and in front of each triangle, shape (m, 2).
        crease: Angle between normals (degrees) from which an edge is a curve, where the sheets
            on its two sides meet nowhere else; none without it.
    """
    pair = np.unique(sides, axis=0, return_inverse=True)[1].ravel()
    _, slots = edges_of(triangles, pair, len(points)).pairs
    one, two = (slots // 3).T
    if crease is not None:
        normals = unit(normals_of(points[triangles]))
        smooth = dots(normals[one], normals[two]) > np.cos(np.radians(crease))
        one, two = one[smooth], two[smooth]
    sheet = _components(one, two, len(triangles))
    edges = edges_of(triangles, sheet, len(points))
    return Net(points, triangles, sheet, _kinds(triangles, edges))


def _components(one: Index, two: Index, number: int) -> Index:
    joined = sparse.coo_array((np.ones(len(one), np.int8), (one, two)), shape=(number, number))
    return np.asarray(connected_components(joined, directed=False)[1], np.int64)


def _kinds(triangles: Index, edges: Edges) -> NDArray[np.int8]:
    """What each vertex may do.

    The triangles at a vertex fall into fans, joined across edges that are no curves. A vertex
    inside a sheet has one fan; one inside a curve has two curve edges, and as many fans, from the
    one edge to the other, as triangles meet there. All others are corners.
    """
    edge, slots = edges.pairs
    corner = triangles.ravel()
    nodes = []
    for end in range(2):
        at = edges.ends[edge, end]
        sides = []
        for k in range(2):
            triangle, position = np.divmod(slots[:, k], 3)
            there = corner[slots[:, k]] == at
            sides.append(3 * triangle + np.where(there, position, (position + 1) % 3))
        nodes.append(np.stack(sides))
    one, two = np.concatenate(nodes, axis=1)
    fan = _components(one, two, len(corner))
    home = np.zeros(fan.max() + 1, np.int64)
    home[fan] = corner
    fans = np.bincount(home, minlength=edges.vertices)

    ends = edges.ends[edges.curve]
    degree = np.bincount(ends.ravel(), minlength=edges.vertices)
    most = np.zeros(edges.vertices, np.int64)
    least = np.full(edges.vertices, np.iinfo(np.int64).max)
    for k in range(2):
        np.maximum.at(most, ends[:, k], edges.count[edges.curve])
        np.minimum.at(least, ends[:, k], edges.count[edges.curve])
    kind = np.full(edges.vertices, CORNER, np.int8)
    kind[(degree == 0) & (fans == 1)] = INSIDE
    straight = (degree == 2) & (most == least) & (fans == most)
    kind[straight & ~_returning(triangles, edges, fan)] = ALONG
    return kind


def _returning(triangles: Index, edges: Edges, fan: Index) -> Flags:
    """Vertices with a fan that has the same curve edge at both of its ends."""
    slots = np.flatnonzero(edges.curve[edges.within.ravel()])
    triangle, position = np.divmod(slots, 3)
    result = np.zeros(edges.vertices, bool)
    for at in (position, (position + 1) % 3):
        key = fan[3 * triangle + at] * len(edges.ends) + edges.within.ravel()[slots]
        order = np.argsort(key, kind="stable")
        again = np.flatnonzero(np.diff(key[order]) == 0)
        result[triangles[triangle[order[again]], at[order[again]]]] = True
    return result
