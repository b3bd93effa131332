"""Edges that are too short collapsed, many at a time, the topology kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from organtwin.mesh.closest import on_segments
from organtwin.mesh.conforming.course import Course
from organtwin.mesh.conforming.original import Original
from organtwin.mesh.conforming.topology import (
    ALONG,
    CORNER,
    INSIDE,
    Edges,
    Flags,
    Index,
    Net,
    normals_of,
    shapes_of,
)
from organtwin.mesh.vectors import dots, lengths_of, unit

#: Edges shorter than this part of the size collapse, and none longer than `LONG` may be made.
SHORT, LONG = 0.8, 4.0 / 3.0
#: Corners nearer to each other than this part of the size, and than the deviation, become one.
_MERGED = 0.5
#: Smallest cosine between a triangle and the surface at its corners.
LEAN = 0.5
#: Largest turn of a triangle in one collapse (cosine).
_TURN = 0.7
#: Shape (see `shapes_of`) that new triangles have, unless the old ones were as bad.
_SHAPE = 0.4
#: Steps of the length by which short edges are preferred; ties are broken by a hash.
_STEPS = 8.0
#: Part of the triangles below which so few collapses end the rounds.
_FEW = 3e-4
_NONE = np.iinfo(np.int64).max


def collapse(
    net: Net, sizes: NDArray[np.float64], original: Original, *, rounds: int = 60
) -> tuple[Net, int]:
    """Collapse short edges until none is left that may.

    A vertex moves onto a neighbour: within its sheet onto any, along its curve onto the next of
    the curve, and a corner onto another that is as near as surfaces may deviate. The link
    condition keeps the topology of sheets and curves.

    Args:
        net: Triangles.
        sizes: Wanted edge length at each vertex (mm), shape (n,).
        original: What the triangles must stay near.
        rounds: Largest number of rounds, in each of which a set of collapses is made that don't
            touch each other.

    Returns:
        The net with all its vertices, some unused, and the number of collapses.

    Source:
        Dey, Edelsbrunner, Guha and Nekhayev (1999), Publ Inst Math 66:23-45, for the condition.
    """
    refused = np.empty(0, np.int64)
    total = 0
    course = Course.of(net)
    for turn in range(rounds):
        one, two = _candidates(net, sizes, refused, turn, original.deviation)
        if not len(one):
            break
        good = _allowed(net, one, two, sizes)
        for test in (_fair, _near_curve, _near_surface):
            kept = np.flatnonzero(good)
            good[kept] = test(net, one[kept], two[kept], course, original)
        refused = np.sort(np.concatenate([refused, _directed(net, one[~good], two[~good])]))
        net = _made(net, one[good], two[good])
        made = int(good.sum())
        total += made
        if made < _FEW * len(net.triangles):
            break
    return net, total


def _directed(net: Net, one: Index, two: Index) -> Index:
    return one * len(net.points) + two


def _candidates(
    net: Net, sizes: NDArray[np.float64], refused: Index, turn: int, deviation: float
) -> tuple[Index, Index]:
    """Vertices that go, no two of them neighbours, and those that they go to; the best first."""
    edges = net.edges
    size = sizes[edges.ends].mean(axis=1)
    short = np.flatnonzero(net.lengths < SHORT * size)
    one, two = np.concatenate([edges.ends[short], edges.ends[short][:, ::-1]]).T
    rank = np.tile(net.lengths[short] / size[short], 2)
    curve = np.tile(edges.curve[short], 2)
    free = (net.kind[one] == INSIDE) | ((net.kind[one] == ALONG) & curve)
    close = np.tile(net.lengths[short] < np.minimum(_MERGED * size[short], deviation), 2)
    free |= curve & close & (net.kind[one] == CORNER) & (net.kind[two] >= CORNER)
    free &= ~_among(_directed(net, one, two), refused)
    one, two, rank = one[free], two[free], rank[free]
    mixed = (one * 2654435761 + two * 40503 + turn * 97) % 1048573
    # One sorted number, the place in its last bits, is several times faster than sorted columns.
    bits = len(one).bit_length()
    key = (np.floor(_STEPS * rank).astype(np.int64) << 20) + mixed
    order = np.sort((key << bits) | np.arange(len(one))) & (2**bits - 1)
    # Each vertex that goes has one way to go.
    best = np.full(len(net.points), _NONE)
    np.minimum.at(best, one[order], np.arange(len(one)))
    first = order[np.sort(best[best < _NONE])]
    chosen = first[_apart(edges, one[first])]
    # Neighbours stand near each other in memory then.
    chosen = chosen[np.argsort(one[chosen])]
    return one[chosen], two[chosen]


def _among(values: Index, known: Index) -> Flags:
    if not len(known):
        return np.zeros(len(values), bool)
    place = np.searchsorted(known, values).clip(max=len(known) - 1)
    return np.asarray(known[place] == values)


def _apart(edges: Edges, vertices: Index) -> Index:
    """Positions of vertices, sorted by preference, of which no two are neighbours."""
    rank = np.full(edges.vertices, _NONE)
    rank[vertices] = np.arange(len(vertices))
    near = (rank[edges.ends] < _NONE).any(axis=1)
    ends = edges.ends[near]
    taken = np.zeros(edges.vertices, bool)
    for _ in range(4):
        best = rank.copy()
        np.minimum.at(best, ends[:, 0], rank[ends[:, 1]])
        np.minimum.at(best, ends[:, 1], rank[ends[:, 0]])
        taken |= (best == rank) & (rank < _NONE)
        rank[taken] = _NONE
        beside = ends[taken[ends].any(axis=1)]
        rank[beside.ravel()] = _NONE
    return np.flatnonzero(taken[vertices])


def _allowed(net: Net, one: Index, two: Index, sizes: NDArray[np.float64]) -> Flags:
    """Which collapses keep the topology and make no long edges."""
    edges = net.edges
    owner, beside, edge = edges.neighbours(one)
    across = edges.find(beside, two[owner])
    common = (across >= 0) & (beside != two[owner])
    own = edges.find(one, two)
    number = np.bincount(owner[common], minlength=len(one))
    good = number == edges.count[own]
    # Along a curve, the next vertex must not be tied to the target by a curve, too.
    tied = common & edges.curve[edge] & edges.curve[across]
    good[owner[tied]] = False
    target = two[owner]
    span = np.linalg.norm(net.points[beside] - net.points[target], axis=1)
    too_long = span > LONG * 0.5 * (sizes[beside] + sizes[target])
    good[owner[too_long & (beside != target)]] = False
    good[_made_twice(net, owner, beside, target, across, good)] = False
    return good


def _made_twice(
    net: Net, owner: Index, beside: Index, target: Index, across: Index, good: Flags
) -> Index:
    """Collapses that make an edge which a preferred one makes, too."""
    new = np.flatnonzero((across < 0) & (beside != target) & good[owner])
    low, high = np.minimum(beside, target)[new], np.maximum(beside, target)[new]
    first = np.unique(low * len(net.points) + high, return_index=True)[1]
    again = np.ones(len(new), bool)
    again[first] = False
    return owner[new[again]]


def _fair(net: Net, one: Index, two: Index, course: Course, original: Original) -> Flags:
    """Whether triangles don't turn or bulge far and are well shaped."""
    owner, triangle, corners = _changed(net, one, two)
    before, after = net.points[net.triangles[triangle]], net.points[corners]
    old, new = unit(normals_of(before)), unit(normals_of(after))
    bad = dots(old, new) <= _TURN
    worst = np.ones(len(one))
    np.minimum.at(worst, owner, shapes_of(before))
    bad |= shapes_of(after) < np.minimum(_SHAPE, 0.9 * worst[owner])
    sheet = net.sheet[triangle]
    bad |= course.lean(corners, sheet, new) < LEAN
    bad |= course.bulge(corners, sheet, after) > original.deviation
    away = net.points[one[owner]] - net.points[two[owner]]
    nearest = np.full(len(one), np.inf)
    np.minimum.at(nearest, owner, np.abs(dots(away, new)))
    result = nearest <= original.deviation
    result[owner[bad]] = False
    return result & ~_doubled(net, one, two, owner, triangle)


def _changed(net: Net, one: Index, two: Index) -> tuple[Index, Index, Index]:
    """Triangles that stay but change: (the collapse, the triangle, its corners after)."""
    owner, slot = net.stars.of_rows(one)
    triangle, position = np.divmod(slot, 3)
    kept = (net.triangles[triangle] != two[owner][:, None]).all(axis=1)
    owner, triangle, position = owner[kept], triangle[kept], position[kept]
    corners = net.triangles[triangle]
    corners[np.arange(len(corners)), position] = two[owner]
    return owner, triangle, corners


def _near_surface(net: Net, one: Index, two: Index, course: Course, original: Original) -> Flags:
    """Whether triangles are near the original at their centres and at one new edge each."""
    owner, triangle, corners = _changed(net, one, two)
    places = net.points[corners]
    sheet, normals = net.sheet[triangle], unit(normals_of(places))
    near = original.are_near(places.mean(axis=1), sheet, normals)
    of = corners == two[owner][:, None]
    turn = (of.argmax(axis=1)[:, None] + np.arange(2)) % 3
    side = net.points[np.take_along_axis(corners, turn, axis=1)].mean(axis=1)
    left = np.flatnonzero(near)
    near[left] = original.are_near(side[left], sheet[left], normals[left])
    result = np.ones(len(one), bool)
    result[owner[~near]] = False
    return result


def _doubled(net: Net, one: Index, two: Index, owner: Index, triangle: Index) -> Flags:
    """Whether a triangle would be made that is there already."""
    corners = net.triangles[triangle]
    others = np.where(corners == one[owner][:, None], -1, corners)
    others = np.sort(others, axis=1)[:, 1:]
    joined = net.edges.find(others[:, 0], two[owner]) >= 0
    joined &= net.edges.find(others[:, 1], two[owner]) >= 0
    doubtful = np.flatnonzero(joined)
    near, slot = net.stars.of_rows(two[owner[doubtful]])
    wanted = np.sort(np.column_stack([others[doubtful], two[owner[doubtful]]]), axis=1)
    found = (np.sort(net.triangles[slot // 3], axis=1) == wanted[near]).all(axis=1)
    result = np.zeros(len(one), bool)
    result[owner[doubtful[near[found]]]] = True
    return result


def _near_curve(net: Net, one: Index, two: Index, course: Course, original: Original) -> Flags:
    """Whether vertices of a curve stay near the straight line that replaces its two edges."""
    owner, beside, edge = net.edges.neighbours(one)
    other = np.flatnonzero(net.edges.curve[edge] & (beside != two[owner]))
    of = owner[other]
    start, end, gone = net.points[beside[other]], net.points[two[of]], net.points[one[of]]
    away = np.maximum(
        lengths_of(gone - on_segments(gone, np.stack([start, end], axis=1))),
        course.bow(beside[other], two[of], end - start),
    )
    result = np.ones(len(one), bool)
    result[of] = away <= original.deviation
    return result


def _made(net: Net, one: Index, two: Index) -> Net:
    new = np.arange(len(net.points))
    new[one] = two
    triangles = new[net.triangles]
    a, b, c = triangles.T
    left = (a != b) & (b != c) & (c != a)
    return replace(net, triangles=triangles[left], sheet=net.sheet[left])
