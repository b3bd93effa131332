"""Flat tetrahedra of a conforming mesh made better where they are; everything else stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from organtwin.errors import InputError, MeshError
from organtwin.mesh.conforming.batches import OPPOSITE, Mask, Patch, apply, neighbours
from organtwin.mesh.conforming.cavities import contract, insert
from organtwin.mesh.conforming.cell_shape import OBTUSE, Index, Points, shape_of, shapes
from organtwin.mesh.conforming.faces_between import crossing_vertices, interface_triangles
from organtwin.mesh.conforming.swaps import remove_edges, remove_faces
from organtwin.mesh.conforming.vertex_moves import move
from organtwin.mesh.quality import dihedral_angles, signed_volumes

#: Rounds of moves within a round of improvement.
MOVES = 10
#: What is tried in the first round, in the second, and in those after.
STEPS = (
    ("edge swaps", "face swaps", "moves inside"),
    ("edge swaps", "interface turns", "face swaps", "moves"),
    ("edge swaps", "interface turns", "face swaps", "contractions", "insertions", "moves"),
)
#: Part of what is missing to good shapes that, if it is left after a round, was not worth it.
STUCK = 0.999
#: What changes aim at, in parts of the goal: a last step to it alone could be too small to count.
BEYOND = 1.001
#: How often improving is done, each time with more vertices that stay, before it is given up.
TRIES = 4
#: Number of cells among which the extreme angles are looked for first.
WORST = 20000


@dataclass(frozen=True)
class Improved:
    """A mesh after `improve`, and what became of it.

    Attributes:
        points: Vertices (mm), shape (n, 3); those of the interfaces keep their numbers.
        cells: Vertex indices, positive volumes, shape (m, 4).
        regions: Region of each cell, shape (m,).
        shifted: Largest distance that a vertex of an interface moved (mm).
        smallest: Smallest dihedral angle before and after (degrees).
        largest: Largest dihedral angle before and after (degrees).
        done: What was done → how often.
        volumes: Region → change of its volume (mm³).
        below: Cells that stayed below the target.
        reasons: Why they did → how many.
    """

    points: Points
    cells: Index
    regions: Index
    shifted: float
    smallest: tuple[float, float]
    largest: tuple[float, float]
    done: Mapping[str, int]
    volumes: Mapping[int, float]
    below: Index
    reasons: Mapping[str, int]


def improve(
    points: Points,
    cells: Index,
    regions: Index,
    *,
    shift: Points,
    target: float = 12.0,
    rounds: int = 12,
) -> Improved:
    """Raise the smallest dihedral angle of a multi-material mesh by local changes.

    Around cells below the target, in turn: edges and faces are swapped within regions, edges of
    interfaces are turned where the interface stays within reach, vertices are moved, inserted and
    contracted. Each change raises the worst cell of those that it touches. Neighbouring regions
    keep their common faces; away from bad cells nothing changes.

    Args:
        points: Vertices (mm), shape (n, 3).
        cells: Vertex indices, positive volumes, shape (m, 4).
        regions: Region of each cell, shape (m,).
        shift: How far a vertex may move if it lies on an interface or on the outer boundary (mm),
            shape (n,); others move freely.
        target: Smallest dihedral angle wanted (degrees); the largest one wanted is the angle with
            the same worth, 162.7 for 12.
        rounds: Number of rounds at most.

    Returns:
        The mesh and what was done.

    Raises:
        InputError: no usable target, shifts or regions.
        MeshError: the mesh has inverted or flat cells to begin with, or its outer boundary comes to
            cross itself.
    """
    shape = shapes(points, cells)
    _check(points, shape, regions, shift, target)
    goal = shape_of(target)
    reach = _reach(points, cells, regions, shift)
    start = Patch(points, cells, regions, points, reach, np.ones(len(points), bool))
    mesh, now, done = _without_crossings(start, shape, goal, rounds)
    (low, high), (lowest, highest) = (
        _extremes(m.points, m.cells, s) for m, s in ((start, shape), (mesh, now))
    )
    below = np.flatnonzero(now < goal)
    used, number = _used(mesh, cells, len(points))
    return Improved(
        points=mesh.points[used],
        cells=number[mesh.cells],
        regions=mesh.regions,
        shifted=_shifted(mesh),
        smallest=(low, lowest),
        largest=(high, highest),
        done=done,
        volumes=_change(start, mesh),
        below=below,
        reasons=_reasons(mesh, below, target) if len(below) else {},
    )


def _without_crossings(
    mesh: Patch, shape: Points, goal: float, rounds: int
) -> tuple[Patch, Points, dict[str, int]]:
    """`_in_rounds`, again without the vertices that made the outer boundary cross itself.

    Between regions no crossing can come about, for no cell is inverted; across a gap outside of
    all regions it can.

    Raises:
        MeshError: the boundary crosses itself all the same.
    """
    for _ in range(TRIES):
        made = _in_rounds(mesh, shape, goal, rounds)
        crossing = crossing_vertices(mesh, made[0])
        if not len(crossing):
            return made
        reach = mesh.reach.copy()
        reach[crossing] = 0.0
        mesh = replace(mesh, reach=reach)
    raise MeshError("improve", f"the outer boundary crosses itself in {TRIES} tries.")


def _in_rounds(
    mesh: Patch, shape: Points, goal: float, rounds: int
) -> tuple[Patch, Points, dict[str, int]]:
    """Rounds of changes around bad cells, until none are left or three in turn change little."""
    done: Counter[str] = Counter()
    idle = 0
    for round_ in range(rounds):
        bad = shape < goal
        if not bad.any() or idle == 3:
            break
        near, patch, kept = _extract(mesh, bad)
        better = _improved(patch, goal, done, STEPS[min(round_, len(STEPS) - 1)])
        _same_borders(patch, better)
        now = shapes(better.points, better.cells)
        idle = idle + 1 if _deficit(now, goal) > STUCK * _deficit(shape[near], goal) else 0
        mesh, shape = _put_back(mesh, near, better, kept), np.concatenate([shape[~near], now])
    return mesh, shape, dict(done)


def _check(points: Points, shape: Points, regions: Index, shift: Points, target: float) -> None:
    if not 0.0 < target <= 40.0:
        raise InputError("improve", f"a target of {target:g} degrees.", "Try 10 to 15.")
    if shift.shape != (len(points),) or not (shift >= 0).all():
        raise InputError(
            "improve", "`shift` has not one distance for each vertex.", "Give mm, 0 or more."
        )
    if len(regions) and regions.min() < 1:
        raise InputError("improve", f"a region {regions.min()}.", "Number regions from 1.")
    inverted = int((shape <= 0).sum())
    if inverted:
        raise MeshError("improve", f"{inverted} inverted or flat tetrahedra to begin with.")


def _reach(points: Points, cells: Index, regions: Index, shift: Points) -> Points:
    reach = np.full(len(points), np.inf)
    border = np.unique(interface_triangles(cells, regions)[0])
    reach[border] = shift[border]
    return reach


def _extract(mesh: Patch, bad: Mask) -> tuple[Mask, Patch, Index]:
    """Cells within two rings of bad ones, in own numbers; which cells and vertices they are."""
    near = bad
    for _ in range(2):
        touched = np.zeros(len(mesh.points), bool)
        touched[mesh.cells[near]] = True
        near = touched[mesh.cells].any(axis=1)
    whole = np.ones(len(mesh.points), bool)
    whole[mesh.cells[~near]] = False
    kept = np.unique(mesh.cells[near])
    number = np.zeros(len(mesh.points), np.int64)
    number[kept] = np.arange(len(kept))
    reach = np.where(whole, mesh.reach, 0.0)[kept]
    return near, Patch(
        mesh.points[kept], number[mesh.cells[near]], mesh.regions[near], mesh.start[kept], reach,
        whole[kept],
    ), kept  # fmt: skip


def _put_back(mesh: Patch, near: Mask, patch: Patch, kept: Index) -> Patch:
    points = mesh.points.copy()
    points[kept] = patch.points[: len(kept)]
    new = len(patch.points) - len(kept)
    number = np.concatenate([kept, len(points) + np.arange(new)])
    fresh = patch.points[len(kept) :]
    return Patch(
        np.concatenate([points, fresh]),
        np.concatenate([mesh.cells[~near], number[patch.cells]]),
        np.concatenate([mesh.regions[~near], patch.regions]),
        np.concatenate([mesh.start, fresh]),
        np.concatenate([mesh.reach, np.full(new, np.inf)]),
        np.concatenate([mesh.whole, np.ones(new, bool)]),
    )


def _improved(patch: Patch, goal: float, done: Counter[str], steps: tuple[str, ...]) -> Patch:
    """One round of changes."""
    for name in steps:
        bad = shapes(patch.points, patch.cells) < goal
        if not bad.any():
            break
        patch, count = _CHANGES[name](patch, bad, BEYOND * goal)
        done[name] += count
    return patch


def _moved(patch: Patch, bad: Mask, goal: float) -> tuple[Patch, int]:
    return move(patch, np.unique(patch.cells[bad]), goal, MOVES)


def _moved_inside(patch: Patch, bad: Mask, goal: float) -> tuple[Patch, int]:
    corners = np.unique(patch.cells[bad])
    return move(patch, corners[np.isinf(patch.reach[corners])], goal, MOVES)


_CHANGES: dict[str, Callable[[Patch, Mask, float], tuple[Patch, int]]] = {
    "edge swaps": lambda patch, bad, goal: apply(patch, remove_edges(patch, bad, goal)[0]),
    "face swaps": lambda patch, bad, goal: apply(patch, remove_faces(patch, bad, goal)),
    "moves inside": _moved_inside,
    "interface turns": lambda patch, bad, goal: apply(patch, remove_edges(patch, bad, goal)[1]),
    "moves": _moved,
    "contractions": lambda patch, bad, goal: apply(patch, contract(patch, bad, goal)),
    "insertions": lambda patch, bad, goal: apply(patch, insert(patch, bad, goal)),
}


def _deficit(shape: Points, goal: float) -> float:
    """How much is missing on the whole."""
    return float(np.maximum(goal - shape, 0.0).sum())


def _change(before: Patch, after: Patch) -> dict[int, float]:
    """Change of the volume of each region (mm³)."""
    count = int(before.regions.max()) + 1
    old, new = (
        np.bincount(patch.regions, signed_volumes(patch.points, patch.cells), count)
        for patch in (before, after)
    )
    return {int(region): float(new[region] - old[region]) for region in np.unique(before.regions)}


def _shifted(mesh: Patch) -> float:
    """Largest distance that a vertex of an interface moved (mm)."""
    border = np.isfinite(mesh.reach)
    away = np.linalg.norm(mesh.points[border] - mesh.start[border], axis=1)
    return float(away.max(initial=0.0))


def _same_borders(before: Patch, after: Patch) -> None:
    """Check that as many triangles as before lie between each two regions, and no cell is inverted.

    Raises:
        MeshError: so it is not.
    """
    old, new = (
        Counter(map(tuple, interface_triangles(patch.cells, patch.regions)[1].tolist()))
        for patch in (before, after)
    )
    inverted = int((signed_volumes(after.points, after.cells) <= 0).sum())
    if old != new or inverted:
        raise MeshError("improve", f"borders {old} became {new}, {inverted} inverted tetrahedra.")


def _extremes(points: Points, cells: Index, shape: Points) -> tuple[float, float]:
    """Smallest and largest dihedral angle (degrees), which the worst cells have."""
    many = min(len(cells), WORST) - 1
    worst = shape <= np.partition(shape, many)[many]
    angles = dihedral_angles(points, cells[worst])
    low, high = float(angles.min()), float(angles.max())
    # Cells with a better shape can't have more extreme angles than these.
    bound = shape[worst].max()
    if not worst.all() and (shape_of(low) > bound or OBTUSE * shape_of(high) > bound):
        angles = dihedral_angles(points, cells)
        low, high = float(angles.min()), float(angles.max())
    return low, high


def _used(mesh: Patch, cells: Index, count: int) -> tuple[Mask, Index]:
    """Vertices to keep, all of the first ``count`` that no change took out, and new numbers."""
    used = np.arange(len(mesh.points)) < count
    used[cells] = False
    used[mesh.cells] = True
    return used, np.cumsum(used) - 1


def _reasons(mesh: Patch, bad: Index, target: float) -> dict[str, int]:
    """What holds the cells that stayed bad."""
    corners = np.isfinite(mesh.reach)[mesh.cells[bad]].sum(axis=1)
    beyond = neighbours(mesh.cells)[bad]
    there = np.where(beyond >= 0, mesh.regions[beyond], 0)
    fixed = there != mesh.regions[bad][:, None]
    thin = fixed & (_corner_angles(mesh, bad) < target)
    wedge = fixed.sum(axis=1) >= 2
    kinds = {
        "on a thin triangle of an interface": thin.any(axis=1),
        "wedge between triangles of interfaces": wedge,
        "all corners on interfaces": corners == 4,
        "beside an interface": corners > 0,
        "inside a region": corners == 0,
    }
    left = np.ones(len(bad), bool)
    found = {}
    for name, kind in kinds.items():
        found[name] = int((left & kind).sum())
        left &= ~kind
    return {name: count for name, count in found.items() if count}


def _corner_angles(mesh: Patch, cells: Index) -> Points:
    """Smallest angle (degrees) of each face of some cells, shape (k, 4)."""
    corners = mesh.points[mesh.cells[cells][:, OPPOSITE]]
    sides = np.roll(corners, -1, axis=2) - corners
    sides /= np.maximum(np.linalg.norm(sides, axis=3, keepdims=True), 1e-300)
    cosine = -np.einsum("cfki,cfki->cfk", sides, np.roll(sides, 1, axis=2))
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))).min(axis=2))
