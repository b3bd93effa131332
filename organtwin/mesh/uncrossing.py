"""Surfaces that cut each other or themselves: united, smoothed, cut out and filled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyvista as pv
import vtk
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from organtwin.errors import MeshError
from organtwin.mesh.closing import filled, patched, split_vertices
from organtwin.mesh.defects import (
    boundary_loops,
    components,
    edges_of,
    part_boxes,
    part_volumes,
    places_of,
)
from organtwin.mesh.intersections import intersecting_pairs
from organtwin.mesh.mending import (
    face_one_way,
    face_outwards,
    merge,
    remove_degenerate,
    remove_duplicates,
)
from organtwin.mesh.patchwork import Change, Index, Patchwork, RepairOptions, Step
from organtwin.mesh.surface_files import Points, Triangles

#: What a change is called by which bodies lose what they have inside each other.
UNITED = "bodies that cut each other united"
#: How often vertices around self-intersections are moved.
RELAXATIONS = 12
#: Largest share of the triangles that is replaced to undo self-intersections.
LARGEST_LOSS = 0.2


def without_intersections(work: Patchwork, options: RepairOptions, place: str) -> Step:
    """Parts that cut each other united, then what still cuts itself cut out and filled."""
    pairs = intersecting_pairs(work.points, work.triangles)
    if not len(pairs):
        return work, []
    part = components(edges_of(work.triangles))
    changes = []
    if (part[pairs[:, 0]] != part[pairs[:, 1]]).any():
        work, made = _united(work, part, pairs, place)
        changes += made
        pairs = intersecting_pairs(work.points, work.triangles)
    if len(pairs):
        work, pairs, made = _relaxed(work, pairs)
        changes += made
    if len(pairs):
        work, made = _refilled(work, pairs, options, place)
        changes += made
    return work, changes


def _relaxed(work: Patchwork, pairs: Index) -> tuple[Patchwork, Index, list[Change]]:
    """Vertices around intersections drawn to the middle of their neighbours, which ends folds.

    Rims of caps stay. What this does not end within `RELAXATIONS` is left as it was found.
    """
    points, around = work.points.copy(), _neighbours(work)
    degree = np.maximum(around.sum(axis=1), 1)[:, None]
    fixed = _rims(work)
    moving = np.zeros(len(points), bool)
    now = pairs
    for _ in range(RELAXATIONS):
        moving[work.triangles[now]] = True
        free = moving & ~fixed
        points[free] = 0.5 * (points + (around @ points) / degree)[free]
        now = intersecting_pairs(points, work.triangles, moving[work.triangles].any(axis=1))
        if not len(now):
            break
    places = work.middles[pairs].mean(axis=1)
    cured = ~np.isin(work.triangles[pairs].reshape(len(pairs), 6), work.triangles[now]).any(axis=1)
    if not cured.any():
        return work, pairs, []
    # Where it failed the vertices go back.
    back = np.zeros(len(points), bool)
    back[work.triangles[_widened(work.triangles, _member(work, now), 1)]] = True
    points[back] = work.points[back]
    moved = np.linalg.norm(points - work.points, axis=1)
    result = replace(work, points=points)
    left = intersecting_pairs(points, work.triangles)
    if len(left) > len(pairs):
        return work, pairs, []
    detail = f"{np.count_nonzero(moved)} vertices moved by up to {moved.max():.2g} mm"
    change = Change("folds smoothed out", len(pairs) - len(left), places[cured], detail)
    return result, left, [change] if len(left) < len(pairs) else []


def _member(work: Patchwork, pairs: Index) -> NDArray[np.bool_]:
    marked = np.zeros(len(work.triangles), bool)
    marked[pairs] = True
    return marked


def _neighbours(work: Patchwork) -> sparse.csr_array:
    """Vertices joined by an edge."""
    a, b = edges_of(work.triangles).ends.T
    rows, columns = np.concatenate([a, b]), np.concatenate([b, a])
    n = len(work.points)
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), (n, n))


def _rims(work: Patchwork) -> NDArray[np.bool_]:
    """Vertices where parts meet."""
    low = np.full(len(work.points), np.iinfo(np.int64).max)
    high = np.full(len(work.points), -1)
    for k in range(3):
        np.minimum.at(low, work.triangles[:, k], work.part)
        np.maximum.at(high, work.triangles[:, k], work.part)
    return np.asarray(low < high)


def _refilled(work: Patchwork, pairs: Index, options: RepairOptions, place: str) -> Step:
    first, count, total = work.middles[pairs].mean(axis=1), len(pairs), len(work.triangles)
    removed = 0
    for ring in range(options.rounds):
        cut = np.zeros(len(work.triangles), bool)
        cut[pairs] = True
        cut = _widened(work.triangles, cut, ring)
        removed += int(cut.sum())
        if removed > LARGEST_LOSS * total:
            break
        work = patched(work, cut, place)
        pairs = intersecting_pairs(work.points, work.triangles)
        if not len(pairs):
            detail = f"{removed} triangles were cut out and filled again"
            return work, [Change("self-intersections removed", count, first, detail)]
    raise MeshError(
        place,
        f"it cuts itself in {len(pairs)} pairs of triangles, first at "
        f"{places_of(work.middles[pairs].mean(axis=1)[:1])}, and cutting out {removed} of {total} "
        "triangles did not end it.",
        "Correct the surface there, or make it from the label map again.",
    )


def _widened(triangles: Triangles, cut: NDArray[np.bool_], rings: int) -> NDArray[np.bool_]:
    for _ in range(rings):
        vertices = np.zeros(int(triangles.max()) + 1, bool)
        vertices[triangles[cut]] = True
        cut = vertices[triangles].any(axis=1)
    return cut


def _united(work: Patchwork, part: Index, pairs: Index, place: str) -> Step:
    """Union of the bodies that cut each other, by VTK."""
    between = part[pairs]
    between = between[between[:, 0] != between[:, 1]]
    number = int(part.max()) + 1
    graph = sparse.coo_array((np.ones(len(between)), between.T), (number, number))
    group = connected_components(graph, directed=False)[1]
    where = work.middles[pairs].mean(axis=1)
    _refuse_hollows(work, part, pairs, place)
    result = work.keep(~np.isin(part, between))
    for g in np.unique(group[between]):
        bodies = [work.keep(part == k) for k in np.flatnonzero(group == g)]
        whole = bodies[0].polydata
        for body in bodies[1:]:
            whole = _union(whole, body.polydata, place, where)
        result = result.joined(_from_vtk(whole, work))
    change = Change(UNITED, len(np.unique(between)), where)
    return _cleaned(result, place), [change]


def _refuse_hollows(work: Patchwork, part: Index, pairs: Index, place: str) -> None:
    """The wall of a hollow that cuts the surface around it leaves no wall between."""
    low, high = part_boxes(work.points, work.triangles, part)
    hollow = part_volumes(work.points, work.triangles, part, 0.5 * (low + high)) < 0
    bad = hollow[part[pairs]].any(axis=1) & (part[pairs[:, 0]] != part[pairs[:, 1]])
    if bad.any():
        raise MeshError(
            place,
            "the wall between an outer and an inner surface has no thickness at "
            f"{places_of(work.middles[pairs[bad]].mean(axis=1))}, where they cut each other.",
            "Correct the segmentation there, or make the outer surface from the inner one and a "
            "thickness.",
        )


def _cleaned(work: Patchwork, place: str) -> Patchwork:
    """The seam of a union has slivers and double vertices."""
    options = RepairOptions()
    for step in (merge, remove_degenerate, remove_duplicates, face_one_way):
        work, _ = step(work, options, place)
    work = split_vertices(work)
    for loop in boundary_loops(work.points, work.triangles):
        work = filled(work, loop, place)
    return face_outwards(work, options, place)[0]


def _union(one: pv.PolyData, two: pv.PolyData, place: str, where: Points) -> pv.PolyData:
    display = vtk.vtkObject.GetGlobalWarningDisplay()
    vtk.vtkObject.SetGlobalWarningDisplay(0)
    try:
        whole = one.boolean_union(two).triangulate()
    except Exception:  # of an empty result
        whole = pv.PolyData()
    finally:
        vtk.vtkObject.SetGlobalWarningDisplay(display)
    if not whole.n_cells:
        raise MeshError(
            place,
            f"bodies cut each other at {places_of(where[:1])} and can't be united.",
            "Unite them in the program they come from. If they are pieces of one surface with "
            "cracks between them, merge vertices that lie farther apart (`merge`).",
        )
    return whole


def _from_vtk(body: pv.PolyData, old: Patchwork) -> Patchwork:
    """Triangles that VTK made; they come from the nearest ones there were."""
    triangles = np.asarray(body.regular_faces, np.int64)
    points = np.asarray(body.points, np.float64)
    near = cKDTree(old.points).query(points)[1]
    home = cKDTree(old.middles).query(points[triangles].mean(axis=1))[1]
    return Patchwork(
        points, triangles, old.vertex_from[near], old.triangle_from[home], old.part[home]
    )
