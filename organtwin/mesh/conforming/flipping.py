"""Edges between two triangles flipped, for even numbers of neighbours or for larger angles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from organtwin.mesh.conforming.original import Original
from organtwin.mesh.conforming.topology import (
    CORNER,
    FROZEN,
    INSIDE,
    Flags,
    Index,
    Net,
    normals_of,
)
from organtwin.mesh.vectors import dots, lengths_of, unit

#: Smallest cosine between the normals of the two triangles, before and after.
_BEND = 0.7
#: Smallest angle (degrees) that flips for even numbers of neighbours may make.
_SMALLEST = 20.0


@dataclass(frozen=True)
class _Pair:
    """Two triangles (a, b, c) and (b, a, d) with the edge a-b between them, and their slots."""

    a: Index
    b: Index
    c: Index
    d: Index
    slots: Index

    def of(self, chosen: Flags | Index) -> _Pair:
        parts = (self.a, self.b, self.c, self.d, self.slots)
        return _Pair(*(part[chosen] for part in parts))


def flip(net: Net, original: Original, *, even: bool, rounds: int = 4) -> tuple[Net, int]:
    """Flip edges inside sheets while that is better.

    Args:
        net: Triangles.
        original: What new edges must stay near.
        even: Bring the number of neighbours of each vertex near six; else enlarge the smallest
            angle of the two triangles.
        rounds: Largest number of rounds; in each of them a triangle changes once at most.

    Returns:
        The net and the number of flips.
    """
    total = 0
    for _ in range(rounds):
        pair, gain = _candidates(net, even)
        pair = pair.of(_best(net, pair, gain))
        pair = pair.of(_near(net, pair, original))
        if not len(pair.a):
            break
        triangles = net.triangles.copy()
        triangles[pair.slots[:, 0] // 3] = np.stack([pair.c, pair.a, pair.d], axis=1)
        triangles[pair.slots[:, 1] // 3] = np.stack([pair.d, pair.b, pair.c], axis=1)
        net = replace(net, triangles=triangles)
        total += len(pair.a)
    return net, total


def _candidates(net: Net, even: bool) -> tuple[_Pair, NDArray[np.float64]]:
    """Pairs that a flip would better, and how much."""
    _, slots = net.edges.pairs
    corner = net.triangles.ravel()
    triangle, position = np.divmod(slots, 3)
    a, b = (corner[3 * triangle[:, 0] + (position[:, 0] + k) % 3] for k in range(2))
    c, d = (corner[3 * triangle[:, k] + (position[:, k] + 2) % 3] for k in range(2))
    pair = _Pair(a, b, c, d, slots)
    gain = _evenness(net, pair) if even else _angle_gain(net, pair)
    good = np.flatnonzero(gain > 0)
    pair, gain = pair.of(good), gain[good]
    sound = (net.edges.find(pair.c, pair.d) < 0) & (pair.c != pair.d)
    sound &= (net.kind[pair.a] != FROZEN) | (net.kind[pair.b] != FROZEN)
    sound &= _flat(net, pair)
    if even:
        sound &= _angle_after(net, pair) > np.minimum(_angle_before(net, pair), _SMALLEST)
    return pair.of(sound), gain[sound]


def _evenness(net: Net, pair: _Pair) -> NDArray[np.float64]:
    """By how much the squared distances from the wanted number of neighbours fall."""
    number = np.bincount(net.edges.ends.ravel(), minlength=net.edges.vertices)
    wanted = np.full(net.edges.vertices, 6)
    # On a curve, each of the sheets that meet there has two edges of its own at a vertex.
    ends = net.edges.ends[net.edges.curve]
    sheets = np.zeros(net.edges.vertices, np.int64)
    for k in range(2):
        np.maximum.at(sheets, ends[:, k], net.edges.count[net.edges.curve])
    on_curve = net.kind != INSIDE
    wanted[on_curve] = 2 + 2 * sheets[on_curve]
    excess = number - wanted
    excess[net.kind >= CORNER] = 0
    change = np.zeros(len(pair.a))
    for vertex, step in ((pair.a, -1), (pair.b, -1), (pair.c, 1), (pair.d, 1)):
        free = net.kind[vertex] < CORNER
        change += np.where(free, (excess[vertex] + step) ** 2 - excess[vertex] ** 2, 0)
    bare = np.minimum(number[pair.a], number[pair.b]) <= 3
    return np.where(bare, 0.0, -change)


def _angle_gain(net: Net, pair: _Pair) -> NDArray[np.float64]:
    """By how much the smallest of the six angles grows (degrees)."""
    number = np.bincount(net.edges.ends.ravel(), minlength=net.edges.vertices)
    bare = np.minimum(number[pair.a], number[pair.b]) <= 3
    gain = _angle_after(net, pair) - _angle_before(net, pair) - 0.1
    return np.where(bare, 0.0, gain)


def _angle_before(net: Net, pair: _Pair) -> NDArray[np.float64]:
    return np.minimum(
        _smallest(net, pair.a, pair.b, pair.c), _smallest(net, pair.b, pair.a, pair.d)
    )


def _angle_after(net: Net, pair: _Pair) -> NDArray[np.float64]:
    return np.minimum(
        _smallest(net, pair.c, pair.a, pair.d), _smallest(net, pair.d, pair.b, pair.c)
    )


def _smallest(net: Net, a: Index, b: Index, c: Index) -> NDArray[np.float64]:
    return smallest_angles(net.points[np.stack([a, b, c], axis=1)])


def smallest_angles(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smallest angle of triangles (degrees); corners (m, 3, 3) to (m,)."""
    sides = lengths_of(corners - np.roll(corners, -1, axis=1))
    short, middle, long = np.sort(sides, axis=1).T
    cosine = (middle**2 + long**2 - short**2) / np.maximum(2.0 * middle * long, 1e-300)
    return np.asarray(np.degrees(np.arccos(cosine.clip(-1.0, 1.0))))


def _flat(net: Net, pair: _Pair) -> Flags:
    """Whether all four triangles, old and new, face about one way."""
    corners = (
        ((pair.a, pair.b, pair.c), (pair.b, pair.a, pair.d)),
        (
            (pair.c, pair.a, pair.d),
            (pair.d, pair.b, pair.c),
        ),
    )
    units = [
        unit(normals_of(net.points[np.stack(triangle, axis=1)]))
        for both in corners
        for triangle in both
    ]
    middle = unit(units[0] + units[1])
    flat = dots(units[0], units[1]) > _BEND
    for new in units[2:]:
        flat &= dots(new, middle) > _BEND
    return np.asarray(flat)


def _near(net: Net, pair: _Pair, original: Original) -> Flags:
    """Whether new edges and triangles are near the surface, or new edges nearer than the old."""
    sheet = net.sheet[pair.slots[:, 0] // 3]
    normals = unit(net.normals[pair.slots // 3].sum(axis=1))
    a, b, c, d = (net.points[k] for k in (pair.a, pair.b, pair.c, pair.d))
    old, new = (original.on_sheets(0.5 * (p + q), sheet, normals) for p, q in ((a, b), (c, d)))
    near = new.near
    for end in (a, b):
        near &= original.are_near((end + c + d) / 3.0, sheet, normals)
    return np.asarray(near | (new.distances < 0.5 * old.distances))


def _best(net: Net, pair: _Pair, gain: NDArray[np.float64]) -> Index:
    """Pairs whose two triangles have no better flip, none making the edge of another."""
    order = np.lexsort((pair.slots[:, 0], -np.round(gain, 6)))
    rank = np.empty(len(gain), np.int64)
    rank[order] = np.arange(len(gain))
    least = np.full(len(net.triangles), len(gain))
    for k in range(2):
        np.minimum.at(least, pair.slots[:, k] // 3, rank)
    mine = np.flatnonzero((least[pair.slots // 3] == rank[:, None]).all(axis=1))
    mine = mine[np.argsort(rank[mine])]
    made = np.minimum(pair.c, pair.d)[mine] * len(net.points) + np.maximum(pair.c, pair.d)[mine]
    return mine[np.unique(made, return_index=True)[1]]
