"""Borders of bodies for conforming meshes: apart with their gaps, or with faces in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.conforming.from_surfaces import from_surfaces
from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.conforming.wrapping import Wrapping, wrap
from organtwin.surgery.bodies import Bodies

type Points = NDArray[np.float64]

#: Rounds of Newton's method, and how far from where voxels put it a vertex may go (voxels).
ROUNDS, REACH = 6, 0.9
#: Step of differences (voxels), and the least part of a direction's share that counts.
STEP, WEAK = 0.25, 0.05
#: Gaps (voxels) that are none, and that voxels show.
CLOSED, OPEN = 0.02, 1.2
#: Part of the way that a vertex goes along the surface to the middle of its neighbours, each round.
EVEN = 0.5


def apart(bodies: Bodies) -> Interfaces:
    """Borders of bodies that don't touch, each with its own faces; see `from_surfaces`.

    A gap may be far below a voxel: contact needs faces of their own on both sides.

    Raises:
        MeshError: two bodies touch or cut each other; take `in_common` for those.
    """
    return from_surfaces(bodies.surfaces())


def in_common(bodies: Bodies) -> Interfaces:
    r"""Borders of bodies that share the faces where they touch, for bonded parts.

    The net around the bodies' voxels, whose topology fits everywhere, is moved onto the borders: by
    Gauss-Newton steps on :math:`d_a - d_b = 0` between two bodies and :math:`d_a = 0` at the
    outside; where two bodies and the outside meet, on the first and on both of the second, a
    voxel into each body; between steps vertices move along the borders to the middle of
    their neighbours.

    Raises:
        InputError: two bodies are apart by a gap narrower than voxels can show; see
            `organtwin.mesh.conforming.wrapping.wrap_and_tell`.
    """
    _refuse_narrow(bodies)
    made = wrap(bodies.labels(), Wrapping())
    names = {number: name for name, number in made.names.items()}
    points, start = made.points.copy(), made.points
    pairs = _pairs(made)
    kinds, of = np.unique(pairs, axis=0, return_inverse=True)
    neighbours = _neighbours(made)
    for _ in range(ROUNDS):
        points += EVEN * (_middles(points, neighbours, pairs) - points)
        for kind, members in enumerate(kinds):
            own = np.flatnonzero(of.ravel() == kind)
            points[own] += _step(bodies, names, members[members >= 0], points[own])
        away = points - start
        far = np.linalg.norm(away, axis=1, keepdims=True) / (REACH * bodies.voxel)
        points = start + away / np.maximum(far, 1.0)
    return replace(made, points=points)


def _refuse_narrow(bodies: Bodies) -> None:
    """Both distances together are the width of a gap inside it."""
    for one, other in combinations(bodies.names, 2):
        a, b = bodies.field(one), bodies.field(other)
        both = (np.abs(a) < bodies.voxel) & (np.abs(b) < bodies.voxel)
        for third in bodies.names:  # what another body fills is no gap
            if both.any() and third not in (one, other):
                both &= bodies.field(third) > 0.5 * bodies.voxel
        gap = float((a + b)[both].min()) if both.any() else 0.0
        if CLOSED * bodies.voxel < gap < OPEN * bodies.voxel:
            raise InputError(
                f"bodies `{one}` and `{other}`",
                f"a gap of {gap:.2g} mm is between them, voxels have {bodies.voxel:.2g} mm.",
                "Mesh them apart, cut them without a gap, or take smaller voxels.",
            )


def _pairs(made: Interfaces) -> NDArray[np.int64]:
    """Regions that meet at each vertex, sorted, -1 where there are no more, shape (n, k)."""
    vertex = np.repeat(made.triangles.ravel(), 2)
    region = np.maximum(np.repeat(made.sides, 3, axis=0).ravel(), 0)
    both = np.unique(np.stack([vertex, region], axis=1), axis=0)
    first = np.searchsorted(both[:, 0], np.arange(len(made.points)))
    place = np.arange(len(both)) - first[both[:, 0]]
    result = np.full((len(made.points), int(place.max()) + 1), -1)
    result[both[:, 0], place] = both[:, 1]
    return result


def _step(
    bodies: Bodies, names: dict[int, str], members: NDArray[np.int64], points: Points
) -> Points:
    """Shortest step (mm) to where all members have the same distance, shape (n, 3)."""
    solid = [names[k] for k in members.tolist() if k]
    if len(members) > 3 or len(solid) > 2:
        return np.zeros_like(points)  # a single place, where more than one curve ends
    across = np.zeros_like(points)
    if len(members) == 3:
        across = _slopes(lambda x: bodies.at(solid[1], x) - bodies.at(solid[0], x), points, bodies)
        across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12) / bodies.voxel

    def values(where: Points) -> Points:
        each = [bodies.at(name, where) for name in solid]
        if len(members) == 2:
            return (each[0] - each[1] if len(solid) == 2 else each[0])[:, None]
        # In all of their common face both distances are 0; aside of it they tell where it ends.
        beside = [bodies.at(n, where + k * across) for n, k in zip(solid, (1.0, -1.0), strict=True)]
        return np.stack([each[0] - each[1], *beside], axis=1)

    now, h = values(points), STEP * bodies.voxel
    slope = np.stack(
        [(values(points + h * e) - values(points - h * e)) / (2.0 * h) for e in np.eye(3)], axis=2
    )
    inverse = np.linalg.pinv(slope, rcond=WEAK)
    step = -np.einsum("nij,nj->ni", inverse, now)
    far = np.linalg.norm(step, axis=1, keepdims=True) / (0.5 * bodies.voxel)
    return np.asarray(step / np.maximum(far, 1.0))


def _slopes(values: Callable[[Points], Points], points: Points, bodies: Bodies) -> Points:
    """Central differences of a field (n,), shape (n, 3)."""
    h = STEP * bodies.voxel
    return np.stack(
        [(values(points + h * e) - values(points - h * e)) / (2.0 * h) for e in np.eye(3)], axis=1
    )


def _neighbours(made: Interfaces) -> NDArray[np.int64]:
    """Edges both ways, shape (e, 2)."""
    t = made.triangles
    ends = np.sort(np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]]), axis=1)
    edges = np.unique(ends, axis=0)
    return np.concatenate([edges, edges[:, ::-1]])


def _middles(points: Points, edges: NDArray[np.int64], pairs: NDArray[np.int64]) -> Points:
    """Middle of the neighbours that at least the same regions meet at, for each vertex."""
    number = (pairs >= 0).sum(axis=1)
    alike = number[edges[:, 1]] >= number[edges[:, 0]]
    chosen = edges[alike]
    count = np.bincount(chosen[:, 0], minlength=len(points)).astype(float)
    sums = np.stack(
        [np.bincount(chosen[:, 0], points[chosen[:, 1], k], len(points)) for k in range(3)], axis=1
    )
    lone = count < 2.0
    result = sums / np.maximum(count, 1.0)[:, None]
    result[lone] = points[lone]
    return np.asarray(result)
