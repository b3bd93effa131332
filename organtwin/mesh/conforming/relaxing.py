"""Vertices moved within the surface towards even triangles, back onto it, and around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from organtwin.mesh.conforming.collapse import LEAN
from organtwin.mesh.conforming.course import Course
from organtwin.mesh.conforming.original import Original, curve_marks
from organtwin.mesh.conforming.topology import (
    ALONG,
    INSIDE,
    Index,
    Net,
    Points,
    normals_of,
    shapes_of,
)
from organtwin.mesh.vectors import dots, lengths_of, unit

#: Part of the way to the middle of the neighbours.
_STEP = 0.8
#: Largest turn of a triangle in one step (cosine).
_TURN = 0.6
#: Bulge over a triangle, as part of the deviation, from which its distance is measured.
_BULGE = 0.3
#: Shape (see `shapes_of`) below which triangles must not get worse.
_SHAPE = 0.5


def relax(net: Net, sizes: NDArray[np.float64], original: Original) -> Net:
    """Move vertices to the middle of the triangles around them, then onto the original surface.

    Vertices of curves go to the middle of their two neighbours, then onto the curve. Vertices of
    triangles that would turn over or become slivers stay.

    Args:
        net: Triangles.
        sizes: Wanted edge length at each vertex (mm), shape (n,).
        original: Where vertices must be.
    """
    target = net.points.copy()
    inside, sheet = _inside(net)
    normals = net.vertex_normals[inside]
    move = _middles(net, sizes)[inside] - net.points[inside]
    move -= dots(move, normals)[:, None] * normals
    target[inside] = original.on_sheets(net.points[inside] + _STEP * move, sheet, normals).points
    along, middles, marks = _curve_middles(net)
    if len(along):
        places = net.points[along] + _STEP * (middles - net.points[along])
        target[along] = original.on_curves(places, marks)
    return settled(net, target, original)


def balance(net: Net, original: Original, largest: float) -> Net:
    """Move vertices inside sheets off the surface, so that triangles lie on both sides of it.

    Triangles between vertices on a curved surface lie on its inner side, which costs volume; the
    mean gap at the middles of their edges is exact for a quadratic surface.

    Args:
        net: Triangles with vertices on the surface.
        original: The surface.
        largest: Longest move (mm).
    """
    normals = net.normals
    double_area = lengths_of(normals)
    units = normals / np.maximum(double_area, 1e-300)[:, None]
    middles, sheet, facing, within = side_middles(net)
    off = original.on_sheets(middles, sheet, facing).points - middles
    gap = dots(off[within], units[:, None]).mean(axis=1)
    count = len(net.points)
    weight = np.repeat(double_area, 3)
    total = np.bincount(net.triangles.ravel(), weight, count)
    mean = np.bincount(net.triangles.ravel(), weight * np.repeat(gap, 3), count)
    shift = (mean / np.maximum(total, 1e-300)).clip(-largest, largest)
    shift[net.kind != INSIDE] = 0.0
    return settled(net, net.points + shift[:, None] * net.vertex_normals)


def side_middles(net: Net) -> tuple[Points, Index, Points, Index]:
    """Middles of edges, once for each sheet that an edge borders.

    Returns:
        The middles (mm), (k, 3); their sheets, (k,); unit normals of the sheets there, (k, 3);
        numbers of the middles of each triangle, (m, 3).
    """
    sheets = int(net.sheet.max()) + 1
    own = net.edges.within * sheets + net.sheet[:, None]
    keys, which = np.unique(own.ravel(), return_inverse=True)
    normals = np.repeat(unit(net.normals), 3, axis=0)
    total = [np.bincount(which, part, len(keys)) for part in normals.T]
    ends = net.edges.ends[keys // sheets]
    return (
        net.points[ends].mean(axis=1),
        keys % sheets,
        unit(np.stack(total, axis=1)),
        which.reshape(-1, 3),
    )


def settled(net: Net, target: Points, original: Original | None = None) -> Net:
    """Vertices moved to their targets, except where triangles would turn over or become slivers.

    Args:
        net: Triangles.
        target: Where the vertices should go (mm), shape (n, 3).
        original: Triangles must not leave it, and may turn far if that makes them face like it.
    """
    moved = (target != net.points).any(axis=1)
    around = np.flatnonzero(moved[net.triangles].any(axis=1))
    triangles = net.triangles[around]
    old, old_shape = net.normals[around], shapes_of(net.points[triangles])
    old_size = lengths_of(old)
    righted = np.zeros(len(around), bool)
    if original is not None:
        new = unit(normals_of(target[triangles]))
        turned = np.flatnonzero(dots(new, old) <= _TURN * old_size)
        feet = original.on_sheets(
            target[triangles[turned]].mean(axis=1), net.sheet[around[turned]], new[turned]
        )
        righted[turned] = dots(feet.normals, new[turned]) > _TURN
        left = leaving(net, replace(net, points=target), original)
        moved[net.triangles[left].ravel()] = False
    while True:
        points = np.where(moved[:, None], target, net.points)
        touched = np.flatnonzero(moved[triangles].any(axis=1))
        after = points[triangles[touched]]
        new = normals_of(after)
        size = lengths_of(new)
        bad = dots(new, old[touched]) <= _TURN * size * old_size[touched]
        shape = shapes_of(after)
        bad |= (shape < _SHAPE) & (shape < 0.9 * old_shape[touched])
        bad &= ~righted[touched]
        if not bad.any():
            return replace(net, points=points)
        moved[triangles[touched[bad]].ravel()] = False


def leaving(before: Net, after: Net, original: Original) -> Index:
    """Triangles that move too far from the surface, seen at the middles of their edges.

    Only those are looked at over which the surface bulges, to judge from its normals.
    """
    corners = after.points[after.triangles]
    units = unit(after.normals)
    course = Course.of(after)
    suspect = course.bulge(after.triangles, after.sheet, corners) > _BULGE * original.deviation
    suspect |= course.lean(after.triangles, after.sheet, units) < LEAN
    suspect |= (before.kind[before.triangles] != INSIDE).any(axis=1)
    looked = np.flatnonzero(suspect)
    # Each edge once for each sheet that it borders.
    edge, sheets = before.edges.within[looked], int(after.sheet.max()) + 1
    keys, first, which = np.unique(
        edge * sheets + after.sheet[looked, None], return_index=True, return_inverse=True
    )
    ends, sheet = before.edges.ends[keys // sheets], keys % sheets
    normals = units[looked[first // 3]]
    result = np.zeros(len(keys), bool)
    out = np.flatnonzero(~original.are_near(after.points[ends].mean(axis=1), sheet, normals))
    now, then = (
        original.on_sheets(net.points[ends[out]].mean(axis=1), sheet[out], normals[out]).distances
        for net in (after, before)
    )
    result[out] = now > then
    return looked[result[which.reshape(-1, 3)].any(axis=1)]


def _inside(net: Net) -> tuple[Index, Index]:
    """Vertices inside sheets, and their sheets."""
    sheet = np.full(len(net.points), -1)
    sheet[net.triangles.ravel()] = np.repeat(net.sheet, 3)
    inside = np.flatnonzero((net.kind == INSIDE) & (sheet >= 0))
    return inside, sheet[inside]


def _middles(net: Net, sizes: NDArray[np.float64]) -> Points:
    """Mean of the centres of the triangles at each vertex, weighted by area over size⁴."""
    count = len(net.points)
    corner = net.triangles.ravel()
    size = sizes[net.triangles].mean(axis=1)
    weight = lengths_of(net.normals) / size**4
    centre = net.points[net.triangles].mean(axis=1) * weight[:, None]
    total = np.bincount(corner, np.repeat(weight, 3), count)
    sums = [np.bincount(corner, np.repeat(centre[:, k], 3), count) for k in range(3)]
    return np.asarray(np.stack(sums, axis=1) / np.maximum(total, 1e-300)[:, None])


def _curve_middles(net: Net) -> tuple[Index, Points, NDArray[np.uint64]]:
    """Vertices inside curves, the middle of their two neighbours, and the marks of their curves."""
    ends = net.edges.ends[net.edges.curve]
    count = len(net.points)
    total = np.zeros((count, 3))
    marks = np.zeros(count, np.uint64)
    own = curve_marks(net)
    for k in range(2):
        at, other = ends[:, k], net.points[ends[:, 1 - k]]
        for axis in range(3):
            total[:, axis] += np.bincount(at, other[:, axis], count)
        marks[at] = own
    along = np.flatnonzero((net.kind == ALONG) & (np.bincount(ends.ravel(), minlength=count) == 2))
    return along, total[along] / 2.0, marks[along]
