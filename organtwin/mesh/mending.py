"""Surfaces made manifold: merged, cleaned, turned, taken apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from organtwin.errors import MeshError
from organtwin.mesh.closing import corner_groups, patched, with_copies
from organtwin.mesh.defects import (
    Edges,
    boundary_loops,
    components,
    degenerate,
    duplicates,
    edges_of,
    fans,
    flips,
    part_boxes,
    part_volumes,
    places_of,
    wrong_way,
)
from organtwin.mesh.patchwork import Change, Index, Patchwork, RepairOptions, Step
from organtwin.mesh.surface_files import Points, Triangles

#: Walls and flaps that are looked at, and dropped, at most.
LARGEST_SHEETS = 30
#: Rounds of handing over corners of degenerate triangles at most.
ROUNDS = 100


def merge(work: Patchwork, options: RepairOptions, place: str) -> Step:
    """Vertices at one place become one."""
    diagonal = float(np.linalg.norm(np.ptp(work.points, axis=0)))
    reach = 1e-6 * diagonal if options.merge is None else options.merge
    pairs = cKDTree(work.points).query_pairs(reach, output_type="ndarray")
    if not len(pairs):
        return work, []
    n = len(work.points)
    graph = sparse.coo_array((np.ones(len(pairs)), pairs.T), (n, n))
    group = connected_components(graph, directed=False)[1]
    first = np.unique(group, return_index=True)[1]
    moved = float(np.linalg.norm(work.points - work.points[first[group]], axis=1).max())
    triangles = first[group][work.triangles]
    gone = np.setdiff1d(np.arange(n), first)
    change = Change(
        "vertices merged", len(gone), work.points[gone], f"moved by up to {moved:.2g} mm"
    )
    merged = replace(work, triangles=triangles)
    return merged.keep(np.ones(len(triangles), bool)), [change]


def remove_degenerate(work: Patchwork, options: RepairOptions, place: str) -> Step:
    """Triangles without height go.

    One whose corner lies on its opposite edge hands the corner over to the neighbour there, which
    is cut in two.
    """
    count, places = 0, []
    for _ in range(ROUNDS):
        if not len(work.triangles):
            break
        flat = degenerate(work.points, work.triangles)
        if not flat.any():
            break
        count += int(flat.sum())
        places.append(work.middles[flat])
        work = _without_flat(work, flat)
    if not count:
        return work, []
    return work, [Change("degenerate triangles removed", count, np.concatenate(places))]


def _without_flat(work: Patchwork, flat: NDArray[np.bool_]) -> Patchwork:
    edges = edges_of(work.triangles)
    owners = np.argsort(edges.of.ravel(), kind="stable")
    starts = np.concatenate([[0], np.cumsum(edges.count)])
    beside: dict[int, list[int]] = {}
    for t in np.flatnonzero(flat).tolist():
        edge = edges.of[t, _longest_side(work, t)]
        around = owners[starts[edge] : starts[edge + 1]].tolist()
        if len(set(work.triangles[t].tolist())) == 3:
            beside[t] = [side for side in around if side // 3 != t]
    sound = {t: [s for s in sides if not flat[s // 3]] for t, sides in beside.items()}
    # Flat ones beside flat ones wait for those, unless all of them wait.
    chosen = sound if any(sound.values()) else beside
    kept, taken = ~flat, np.zeros(len(flat), bool)
    new: list[tuple[int, int, int]] = []
    origin: list[int] = []
    for t, sides in chosen.items():
        free = [side for side in sides if not taken[side // 3]]
        if not free or taken[t]:
            kept[t] = bool(beside[t]) and not taken[t]  # at a rim it goes
            continue
        other = free[0] // 3
        taken[[t, other]] = True
        kept[other] = False
        a, b, c = np.roll(work.triangles[other], -(free[0] % 3)).tolist()
        corner = int(work.triangles[t, (_longest_side(work, t) + 2) % 3])
        new += [(a, corner, c), (corner, b, c)]
        origin += [other, other]
    grown = Patchwork(
        work.points,
        np.concatenate([work.triangles[kept], np.array(new, np.int64).reshape(-1, 3)]),
        work.vertex_from,
        np.concatenate([work.triangle_from[kept], work.triangle_from[origin]]),
        np.concatenate([work.part[kept], work.part[origin]]),
    )
    return grown.keep(np.ones(len(grown.triangles), bool))


def _longest_side(work: Patchwork, triangle: int) -> int:
    x = work.points[work.triangles[triangle]]
    return int(np.argmax(np.linalg.norm(np.roll(x, -1, axis=0) - x, axis=1)))


def remove_duplicates(work: Patchwork, options: RepairOptions, place: str) -> Step:
    """One of equal triangles stays; none of two that lie back to back between others."""
    extra = duplicates(work.triangles) | _back_to_back(work.triangles)
    if not extra.any():
        return work, []
    change = Change("duplicated triangles removed", int(extra.sum()), work.middles[extra])
    return work.keep(~extra), [change]


def _back_to_back(triangles: Triangles) -> NDArray[np.bool_]:
    """Triangles that cancel each other and leave what is around them closed: glued faces, fins.

    A surface that is doubled as a whole, or in a region, keeps one layer.
    """
    key = np.sort(triangles, axis=1)
    _, group = np.unique(key, axis=0, return_inverse=True)
    even = sum((triangles == np.roll(key, k, axis=1)).all(axis=1) for k in range(3))
    facing = np.bincount(group.ravel(), np.where(even, 1, -1))
    cancels = (facing == 0)[group.ravel()]
    if not cancels.any():
        return cancels
    edges = edges_of(triangles)
    rest = np.bincount(edges.of[~cancels].ravel(), minlength=len(edges.ends))[edges.of]
    patch = components(edges_of(triangles[cancels]))
    odd = np.bincount(patch, (rest[cancels] % 2).any(axis=1)) > 0
    held = np.bincount(patch, (rest[cancels] >= 2).any(axis=1)) > 0
    result = cancels.copy()
    result[cancels] = (held & ~odd)[patch]
    return result


def drop_sheets(work: Patchwork, options: RepairOptions, place: str) -> Step:
    """Walls inside a body and flaps on it, which make three triangles meet in an edge."""
    places = []
    for _ in range(LARGEST_SHEETS):
        edges = edges_of(work.triangles)
        if not (odd := (edges.count > 2) & (edges.count % 2 == 1)).any():
            break
        sheet = _sheet(work, odd, edges)
        places.append(work.middles[sheet])
        work = work.keep(~sheet)
    if not places:
        return work, []
    where = np.concatenate(places)
    change = Change("triangles of inner walls and flaps dropped", len(where), where)
    return work, [change]


def _sheet(work: Patchwork, odd: NDArray[np.bool_], edges: Edges) -> NDArray[np.bool_]:
    """The patch at odd edges without which fewest are left, then most volume is enclosed."""
    patch = _patches(edges)
    candidates = np.unique(patch[odd[edges.of].any(axis=1)])
    if len(candidates) > LARGEST_SHEETS:
        size = np.bincount(patch)[candidates]
        candidates = candidates[np.argsort(size)[:LARGEST_SHEETS]]
    rated = []
    for k in candidates:
        rest = work.triangles[patch != k]
        left = edges_of(rest)
        volume = _enclosed(work.points, rest, flips(left)[0])
        rated.append((int((left.count % 2).sum()), -volume, int(k)))
    return np.asarray(patch == min(rated)[2])


def _patches(edges: Edges) -> Index:
    """Number of the patch of each triangle; patches end at edges of more than two triangles."""
    m = len(edges.of)
    one, two = (edges.around(2)[1] // 3).T
    graph = sparse.coo_array((np.ones(len(one)), (one, two)), (m, m))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _enclosed(points: Points, triangles: Triangles, flip: NDArray[np.bool_]) -> float:
    """Volume (mm³) of all parts of a surface, each for itself."""
    if not len(triangles):
        return 0.0
    facing = triangles.copy()
    facing[flip] = facing[flip][:, ::-1]
    part = components(edges_of(facing))
    low, high = part_boxes(points, facing, part)
    return float(np.abs(part_volumes(points, facing, part, 0.5 * (low + high))).sum())


def face_one_way(work: Patchwork, options: RepairOptions, place: str) -> Step:
    """Triangles that face against most of their part are turned."""
    flip, one_sided = flips(edges_of(work.triangles))
    if one_sided.any():
        raise MeshError(
            place,
            "has one side only, like a Möbius band, at "
            f"{places_of(work.middles[one_sided][:1])}, so that nothing is inside.",
            "Cut the surface open there in the program it comes from.",
        )
    if not flip.any():
        return work, []
    change = Change("triangles turned to face one way", int(flip.sum()), work.middles[flip])
    return work.turned(flip), [change]


def take_apart(work: Patchwork, options: RepairOptions, place: str) -> Step:
    """Parts that touch in edges or vertices become separate, sheets between them are dropped."""
    edges = edges_of(work.triangles)
    shared = np.flatnonzero(edges.count > 2)
    touching, _ = fans(edges, work.triangles)
    if not len(shared) and not len(touching):
        return work, []
    places = np.concatenate([work.points[edges.ends[shared]].mean(axis=1), work.points[touching]])
    joined = [edges.around(2)[1], *(_paired(work, side) for side in _sides_of(edges, shared))]
    work, moved = with_copies(work, corner_groups(work.triangles, np.concatenate(joined)))
    detail = f"moved by up to {moved:.2g} mm"
    changes = [Change("edges and vertices taken apart", len(places), places, detail)]
    left = _slits(work)
    if left.any():
        # Such an edge ends inside a part: it can't be opened, only be made anew.
        changes.append(Change("triangles renewed there", int(left.sum()), work.middles[left]))
        work = patched(work, left, place)
    return work, changes


def _slits(work: Patchwork) -> NDArray[np.bool_]:
    """Triangles at edges that still have more than two, or at rims that do not close."""
    edges = edges_of(work.triangles)
    bad = np.zeros(len(work.points), bool)
    bad[edges.ends[edges.count > 2]] = True
    for loop in boundary_loops(work.points, work.triangles, edges):
        if not loop.closed:
            bad[loop.vertices] = True
    return np.asarray(bad[work.triangles].any(axis=1))


def _sides_of(edges: Edges, shared: Index) -> list[Index]:
    """Sides ``3 * triangle + k`` at each of the edges."""
    counts = np.unique(edges.count[shared])
    return [side for n in counts for side in edges.around(int(n))[1]]


def _paired(work: Patchwork, sides: Index) -> Index:
    """Which sides at an edge belong together, shape (k, 2).

    Going round the edge, what faces backwards bounds a body with what next faces forwards. Where
    that leaves some over, those that continue each other most straightly are joined.
    """
    t, k = sides // 3, sides % 3
    start, end = work.triangles[t, k], work.triangles[t, (k + 1) % 3]
    low, high = min(start[0], end[0]), max(start[0], end[0])
    axis = work.points[high] - work.points[low]
    axis = axis / np.linalg.norm(axis)
    arm = work.points[work.triangles[t, (k + 2) % 3]] - work.points[low]
    arm -= np.outer(arm @ axis, axis)
    first = arm[0] / np.linalg.norm(arm[0])
    angle = np.arctan2(arm @ np.cross(axis, first), arm @ first)
    order = np.argsort(angle)
    forward = (start == low)[order]
    if len(sides) % 2 == 0 and (forward != np.roll(forward, 1)).all():
        opening = np.flatnonzero(~forward)
        return np.stack([sides[order][opening], sides[order][(opening + 1) % len(sides)]], axis=1)
    return _straightest(sides, angle)


def _straightest(sides: Index, angle: Points) -> Index:
    left, pairs = list(range(len(sides))), []
    while len(left) > 1:
        options = [
            (abs(abs(angle[i] - angle[j]) - np.pi), i, j) for i in left for j in left if i < j
        ]
        _, i, j = min(options)
        pairs.append((sides[i], sides[j]))
        left = [k for k in left if k not in (i, j)]
    return np.array(pairs, np.int64).reshape(-1, 2)


def drop_small(work: Patchwork, options: RepairOptions, place: str) -> Step:
    """Parts with little area go."""
    part = components(edges_of(work.triangles))
    area = np.bincount(part, work.areas)
    small = area < options.smallest_part * area.max()
    if not small.any():
        return work, []
    low, high = part_boxes(work.points, work.triangles, part)
    middle = 0.5 * (low + high)
    volume = np.abs(part_volumes(work.points, work.triangles, part, middle))
    sizes = ", ".join(f"{v:.3g}" for v in volume[small][:5])
    more = ", ..." if small.sum() > 5 else ""
    detail = f"volumes {sizes}{more} mm³, largest kept part {volume[~small].max():.4g} mm³"
    change = Change("small parts dropped", int(small.sum()), middle[small], detail)
    return work.keep(~small[part]), [change]


def face_outwards(work: Patchwork, options: RepairOptions, place: str) -> Step:
    """Closed parts face outwards, those that bound a hollow into it."""
    part = components(edges_of(work.triangles))
    boxes = part_boxes(work.points, work.triangles, part)
    middle = 0.5 * (boxes[0] + boxes[1])
    volume = part_volumes(work.points, work.triangles, part, middle)
    closed = np.ones(len(volume), bool)
    wrong = wrong_way(work.points, work.triangles, part, volume, boxes, closed)
    if not wrong.any():
        return work, []
    change = Change("parts turned outwards", int(wrong.sum()), middle[wrong])
    return work.turned(wrong[part]), [change]
