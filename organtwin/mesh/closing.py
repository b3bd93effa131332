"""Surfaces closed: holes filled, open ends capped, pieces cut out and filled again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from organtwin.errors import InputError, MeshError
from organtwin.mesh.defects import (
    Loop,
    boundary_loops,
    components,
    edges_of,
    fans,
    flips,
    part_boxes,
    part_volumes,
    places_of,
)
from organtwin.mesh.filling import LONGEST_RIM, flat_cap, least_area, lies_in
from organtwin.mesh.patchwork import (
    NEW,
    PATCH,
    WALL,
    Change,
    Index,
    Patchwork,
    RepairOptions,
    Step,
)
from organtwin.mesh.surface_files import Points, Triangles

#: Rims of so many mean edges and fewer are holes, longer ones open ends.
HOLE_EDGES = 12
#: Distance (parts of its radius) from a rim's plane at which another rim still lies in it.
COPLANAR = 0.2
#: Volume over area to the power 3/2 (0.09 for a ball) below which nothing is enclosed.
EMPTY = 1e-4
#: How far copies of a vertex move apart (parts of the mean edge).
NUDGE = 0.05
#: Pieces with a smaller share of their part's triangles go when something is cut out of it.
SPLINTER = 0.1


def close(
    work: Patchwork,
    caps: Mapping[str, Sequence[float]] | Sequence[str],
    options: RepairOptions,
    place: str,
) -> tuple[Patchwork, list[Change], dict[str, int]]:
    """Holes filled and open ends capped."""
    limit = HOLE_EDGES * work.edge if options.largest_hole is None else options.largest_hole
    loops = boundary_loops(work.points, work.triangles)
    for loop in loops:
        if not loop.closed:
            raise MeshError(
                place, f"the rim at {places_of(loop.place[None])} has two ends.", "Close it there."
            )
    holes = [loop for loop in loops if loop.length <= limit]
    ends = _nested(work.points, [loop for loop in loops if loop.length > limit])
    names = _names([end[0] for end in ends], caps, place)
    changes = []
    for loop in holes:
        work = filled(work, loop, place, PATCH)
    if holes:
        lengths = f"rims of up to {holes[0].length:.3g} mm"
        changes.append(
            Change("holes filled", len(holes), np.array([h.place for h in holes]), lengths)
        )
    whole = {end[0].vertices[0]: end for end in ends}
    for tag, (name, loop) in enumerate(names.items(), WALL + 1):
        work, change = _capped(work, whole[loop.vertices[0]], name, tag)
        changes.append(change)
    work, made = _without_sheets(work, place)
    changes += made
    return work, changes, {"wall": WALL} | {name: tag for tag, name in enumerate(names, WALL + 1)}


def _nested(points: Points, ends: list[Loop]) -> list[list[Loop]]:
    """Rims with those that lie within them: the ends of a wall that is open between."""
    groups: list[list[Loop]] = []
    for loop in ends:  # the longest first
        rim = points[loop.vertices]
        around = (g for g in groups if lies_in(rim, points[g[0].vertices], COPLANAR))
        home = next(around, None)
        if home is None:
            groups.append([loop])
        else:
            home.append(loop)
    return groups


def _without_sheets(work: Patchwork, place: str) -> Step:
    """Closed parts that enclose nothing go, for they were sheets."""
    part = components(edges_of(work.triangles))
    low, high = part_boxes(work.points, work.triangles, part)
    middle = 0.5 * (low + high)
    work_way = work.turned(flips(edges_of(work.triangles))[0])
    volume = np.abs(part_volumes(work.points, work_way.triangles, part, middle))
    area = np.bincount(part, work.areas)
    flat = volume < EMPTY * area**1.5
    if flat.all():
        raise MeshError(
            place,
            f"it is a sheet that encloses nothing, at {places_of(middle)}.",
            "Give it a thickness. If it is one surface in pieces with cracks between them, merge "
            "vertices that lie farther apart (`merge`).",
        )
    if not flat.any():
        return work, []
    change = Change("sheets that enclose nothing dropped", int(flat.sum()), middle[flat])
    return work.keep(~flat[part]), [change]


def _names(
    ends: list[Loop], caps: Mapping[str, Sequence[float]] | Sequence[str], place: str
) -> dict[str, Loop]:
    """Name → rim of each open end."""
    if len(caps) > len(ends):
        raise InputError(
            place,
            f"{len(caps)} caps are wanted, but it has {len(ends)} open ends.",
            "Name no more, or let shorter rims be ends by a smaller `largest_hole`.",
        )
    if isinstance(caps, Mapping):
        return _nearest(ends, caps, place)
    rest = [f"cap{k}" for k in range(len(ends) - len(caps))]
    return dict(zip([*caps, *rest], ends, strict=True))


def _nearest(ends: list[Loop], caps: Mapping[str, Sequence[float]], place: str) -> dict[str, Loop]:
    left = list(range(len(ends)))
    found: dict[str, Loop] = {}
    for name, near in caps.items():
        distance = [float(np.linalg.norm(ends[k].place - np.asarray(near))) for k in left]
        k = left[int(np.argmin(distance))]
        if min(distance) > ends[k].length:
            raise InputError(
                place,
                f"no open end near cap `{name}`; the nearest is {min(distance):.3g} mm away at "
                f"{places_of(ends[k].place[None])}.",
                "Correct its place.",
            )
        found[name] = ends[k]
        left.remove(k)
    return found | {f"cap{i}": ends[k] for i, k in enumerate(left)}


def filled(work: Patchwork, loop: Loop, place: str, origin: int = NEW) -> Patchwork:
    """With a patch over a rim; it is part of what most of the rim is."""
    rim = loop.vertices[::-1]
    if len(rim) > LONGEST_RIM:
        raise MeshError(
            place,
            f"the hole at {places_of(loop.place[None])} has a rim of {len(rim)} edges, too long "
            "for a patch.",
            "Make it an open end that gets a cap, by a smaller `largest_hole`.",
        )
    try:
        patch = least_area(work.points[rim], _barred(work.triangles, rim))
    except MeshError as error:
        raise MeshError(
            place, f"the hole at {places_of(loop.place[None])} can't be filled: {error.problem}"
        ) from None
    touching = np.isin(work.triangles, rim).sum(axis=1) >= 2
    part = int(np.bincount(work.part[touching]).argmax()) if touching.any() else WALL
    return work.add(np.empty((0, 3)), rim[patch], part, origin)


def _barred(triangles: Triangles, rim: Index) -> NDArray[np.bool_]:
    """Chords of a rim that are edges already."""
    number = np.full(int(triangles.max()) + 1, -1)
    number[rim] = np.arange(len(rim))
    ends = edges_of(triangles).ends
    both = number[ends]
    both = both[(both >= 0).all(axis=1)]
    barred = np.zeros((len(rim), len(rim)), bool)
    barred[both[:, 0], both[:, 1]] = barred[both[:, 1], both[:, 0]] = True
    return barred


def _capped(work: Patchwork, end: list[Loop], name: str, tag: int) -> tuple[Patchwork, Change]:
    rims = [loop.vertices[::-1] for loop in end]
    inner, triangles, deviation = flat_cap(
        work.points[rims[0]], name, [work.points[rim] for rim in rims[1:]]
    )
    numbers = np.concatenate([*rims, len(work.points) + np.arange(len(inner))])
    around = f"{len(end)} rims, the longest" if len(end) > 1 else "rim"
    detail = f"{around} {end[0].length:.3g} mm, {deviation:.2g} mm off its plane"
    change = Change(f"cap `{name}` added", len(triangles), end[0].place[None], detail)
    return work.add(inner, numbers[triangles], tag), change


def patched(work: Patchwork, cut: NDArray[np.bool_], place: str) -> Patchwork:
    """Without the triangles cut out, the splinters that this leaves, and the holes."""
    at_cut = cKDTree(work.points[np.unique(work.triangles[cut])])
    kept = split_vertices(work.keep(~cut & ~_splinters(work, cut, place)))
    reach = NUDGE * work.edge
    for loop in boundary_loops(kept.points, kept.triangles):
        far = at_cut.query(kept.points[loop.vertices], distance_upper_bound=reach)[0]
        if np.isfinite(far).all():
            kept = filled(kept, loop, place)
    return kept


def _splinters(work: Patchwork, cut: NDArray[np.bool_], place: str) -> NDArray[np.bool_]:
    """Pieces that a cut leaves of a part with less than a share of its triangles."""
    whole = components(edges_of(work.triangles))
    size = np.bincount(whole)
    piece = np.full(len(cut), -1)
    piece[~cut] = components(edges_of(work.triangles[~cut])) if not cut.all() else -1
    left = np.bincount(piece[~cut]) if not cut.all() else np.zeros(1)
    small = ~cut & (left[piece] < SPLINTER * size[whole])
    gone = np.setdiff1d(whole, whole[~cut & ~small])
    if len(gone):
        raise MeshError(
            place,
            f"a part cuts itself all over at {places_of(work.middles[whole == gone[0]][:1])}.",
            "Make it from the label map again.",
        )
    return small


def split_vertices(work: Patchwork) -> Patchwork:
    """Vertices where two rims meet become two, so that each rim is simple."""
    edges = edges_of(work.triangles)
    vertices, _ = fans(edges, work.triangles)
    if not len(vertices):
        return work
    return with_copies(work, corner_groups(work.triangles, edges.around(2)[1]))[0]


def corner_groups(triangles: Triangles, joined: Index) -> Index:
    """Corners that stay one vertex when only the joined sides hang together, shape (m, 3)."""
    m = len(triangles)
    t, k = joined // 3, joined % 3
    start, end = 3 * t + k, 3 * t + (k + 1) % 3
    same = triangles.ravel()[start[:, 0]] == triangles.ravel()[start[:, 1]]
    rows = np.concatenate([start[:, 0], end[:, 0]])
    columns = np.concatenate(
        [np.where(same, start[:, 1], end[:, 1]), np.where(same, end[:, 1], start[:, 1])]
    )
    graph = sparse.coo_array((np.ones(len(rows)), (rows, columns)), (3 * m, 3 * m))
    return np.asarray(connected_components(graph, directed=False)[1].reshape(m, 3), np.int64)


def with_copies(work: Patchwork, corner: Index) -> tuple[Patchwork, float]:
    """One vertex for each group of corners; copies of one vertex move towards their own side."""
    _, first, number = np.unique(corner.ravel(), return_index=True, return_inverse=True)
    old = work.triangles.ravel()[first]
    triangles = number.reshape(-1, 3)
    points = work.points[old].copy()
    copied = np.bincount(old)[old] > 1
    middle = np.zeros_like(points)
    for k in range(3):
        np.add.at(middle, triangles[:, k], work.middles)
    middle /= np.bincount(triangles.ravel())[:, None]
    inwards = middle - points
    length = np.maximum(np.linalg.norm(inwards, axis=1, keepdims=True), 1e-300)
    step = np.minimum(NUDGE * work.edge, 0.2 * length) * inwards / length
    points[copied] += step[copied]
    moved = float(np.linalg.norm(step[copied], axis=1).max(initial=0.0))
    result = Patchwork(points, triangles, work.vertex_from[old], work.triangle_from, work.part)
    return result, moved
