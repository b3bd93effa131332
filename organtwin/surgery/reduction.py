"""Putting fragments back: matching of fracture faces, and what step and gap are left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.landmarks.fits import frame
from organtwin.mesh.closest import closest_on_triangles, on_segments
from organtwin.mesh.defects import components, edges_of
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.vectors import dots, lengths_of, unit
from organtwin.surgery.rigid import Rigid
from organtwin.surgery.tools import Tool

type Points = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: Share of the points that match best and count; the others may be comminuted bone.
KEPT = 0.85
#: Rounds, and the motion that ends them (mm).
ROUNDS, SETTLED = 60, 5e-3
#: Directions whose stiffness is below this part of the largest are not determined by the faces.
FREE = 1e-3
#: Root mean square (mm) above which faces do not belong to each other.
POOR = 2.0
#: Height from which on a place lies under another (mm).
OVER = 0.3
#: Motion of one round is at most this part of the size of the face.
STRIDE = 0.25


@dataclass(frozen=True)
class FaceFit:
    """Motion that brings a fracture face onto its counterpart.

    Attributes:
        motion: The motion of the fragment.
        rms: Root mean square distance of the faces, of the points kept (mm).
        largest: The 95th percentile of the distance of all points of the face (mm).
        kept: Share of the points that counted.
        rounds: Rounds that it took.
        free: How many of the six ways of moving the faces don't determine: a plane leaves three, a
            cylinder two, a sphere three.
        notes: What a surgeon should know, one sentence each.
    """

    motion: Rigid
    rms: float
    largest: float
    kept: float
    rounds: int
    free: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class StepOff:
    """How an articular surface goes on from one fragment to the next.

    Attributes:
        mean_step: Mean height between the two along the normal of the joint (mm), positive where
            the fragment is too high.
        largest_step: Largest of it by size (mm).
        mean_gap: Mean distance across the normal (mm).
        largest_gap: Largest of it (mm).
        extent: How far the line between the two reaches in its longest direction (mm).
    """

    mean_step: float
    largest_step: float
    mean_gap: float
    largest_gap: float
    extent: float


def faces_on(surface: TriangleSurface, border: Tool, within: float) -> Mask:
    """Triangles of a fragment that lie on the surface of a cut, shape (m,).

    Args:
        surface: Surface of a fragment.
        border: What cut it.
        within: Distance of their vertices from it (mm), about a voxel and half the gap.
    """
    near = np.abs(border.distance(surface.points)) <= within
    return np.asarray(near[surface.triangles].all(axis=1))


def grown_faces(surface: TriangleSurface, seed: Points, *, crease: float = 30.0) -> Mask:
    """Triangles around a place, up to the crease where the surface bends, shape (m,).

    Neighbours belong to it as long as the angle between them is small, and their angle with the
    triangle at the seed below twice that; for fracture faces of fragments segmented in a scan.

    Args:
        surface: Surface of a fragment.
        seed: A point on its fracture face (mm), shape (3,).
        crease: Angle that ends the face (degrees).
    """
    normals = _normals(surface)
    middles = surface.points[surface.triangles].mean(axis=1)
    one, two = edges_of(surface.triangles).around(2)[1].T // 3
    start = int(np.argmin(lengths_of(middles - seed)))
    inside = np.zeros(len(middles), bool)
    inside[start] = True
    least = np.cos(np.radians(crease))
    straight = dots(normals[one], normals[two]) >= least
    close = dots(normals, normals[start]) >= np.cos(np.radians(2.0 * crease))
    while True:
        touched = straight & (inside[one] != inside[two])
        more = np.zeros_like(inside)
        more[one[touched]] = more[two[touched]] = True
        more &= ~inside & close
        if not more.any():
            return inside
        inside |= more


def fit_faces(
    fragment: TriangleSurface,
    face: Mask,
    target: TriangleSurface,
    target_face: Mask,
    *,
    start: Rigid | None = None,
    gap: float = 0.0,
    kept: float = KEPT,
) -> FaceFit:
    r"""Move a fragment until its fracture face lies on that of another one.

    Iterated closest points: of the middles of the face's triangles against the planes of the
    nearest triangles of the target's face, and of the face's rim against the nearest lines of the
    target's rim, since a plane face alone would let the fragment slide:

    .. math:: \min_{R, t} \sum_i ((R x_i + t - y_i) \cdot n_i - g)^2
        + \sum_j ((R r_j + t - s_j) \cdot b_j)^2

    with the direction :math:`b_j` out of the target's rim, in the plane of its face.

    Only the share of the points that match best counts (Chetverikov's trimming), with both sums
    weighted to count equally. What neither determines is not moved.

    Args:
        fragment: Surface of the fragment.
        face: Its fracture face, see `faces_on` and `grown_faces`, shape (m,).
        target: Surface that it belongs to.
        target_face: Its fracture face, shape (k,).
        start: Motion to start from, such as that of landmark pairs.
        gap: Distance g that shall be left between the faces (mm).
        kept: Share of the points that count.

    Raises:
        InputError: a face has no triangles, or they don't match within 2 mm.

    Source:
        Y. Chen, G. Medioni, Image Vis. Comput. 10 (1992) 145-155 (distance to planes); the rims and
        the weights are our choice.
    """
    for mask, whose in ((face, "fragment"), (target_face, "target")):
        if np.count_nonzero(mask) < 10:
            raise InputError("reduction", f"the face of the {whose} has no triangles.", "Seed it.")
    x = fragment.points[fragment.triangles[face]].mean(axis=1)
    normals = _normals(fragment)[face]
    rim = fragment.points[np.unique(_rim(fragment.triangles[face]))]
    goal = target.select(target_face)
    goal_normals = _normals(goal)
    border = _border(goal)
    motion, rounds, free = start or Rigid.none(), 0, 0
    reach = float(np.linalg.norm(np.ptp(x, axis=0)))
    for rounds in range(1, ROUNDS + 1):  # noqa: B007 - told after the loop
        here, there = motion.points(x), motion.points(rim)
        feet, owner = closest_on_triangles(here, goal.points, goal.triangles)
        n = goal_normals[owner]
        facing = -dots(n, normals @ motion.rotation.T) > 0.0
        offs = lengths_of(here - feet)
        use = facing & (offs <= np.quantile(offs[facing], kept) + 1e-9) if facing.any() else facing
        face_rows = _Rows(here[use], feet[use] + gap * n[use], n[use])
        step, free = _step([face_rows, _rim_rows(there, border, kept)], reach)
        motion = step.after(motion)
        if float(lengths_of(step.points(here) - here).max()) < SETTLED:
            break
    return _judged(motion, x, goal, gap, kept, rounds, free)


def step_off(
    fragment: TriangleSurface,
    other: TriangleSurface,
    normal: Points,
    *,
    reach: float = 4.0,
    tilt: float = 50.0,
    region: Tool | None = None,
) -> StepOff:
    r"""Step and gap of a joint's surface between a fragment and its neighbour.

    Places of the fragment's articular surface (triangles that face along the joint's normal n
    within a tilt) that lie on its rim and within reach of the other's rim are paired with the
    nearest of those across n; with the difference v of a pair, step = :math:`v \cdot n`, gap =
    :math:`|v - (v \cdot n) n|`. Places that something lies over, such as the floor under a
    fragment, are no part of the joint. Edges are chamfered by parts of a voxel, by which a gap is
    too large. Our choice.

    Args:
        fragment: Surface of the fragment.
        other: Surface of its neighbour.
        normal: Normal of the joint's surface, out of the bone, shape (3,).
        reach: Largest gap of a pair (mm).
        tilt: Largest angle of an articular triangle with the normal (degrees).
        region: Where the joint is; only rims inside it count, so that ledges of the cortex don't.

    Raises:
        InputError: the two have no articular surfaces within reach.
    """
    up = np.asarray(normal, float) / np.linalg.norm(normal)
    rims = [_articular_rim(surface, (fragment, other), up, tilt) for surface in (fragment, other)]
    if region is not None:
        rims = [rim[region.distance(rim) <= 0.0] for rim in rims]
    flat = [points - (points @ up)[:, None] * up for points in rims]
    if not len(flat[0]) or not len(flat[1]):
        raise InputError("step-off", "no articular surface faces along the normal.", "Turn it.")
    away, partner = cKDTree(flat[1]).query(flat[0])
    back = cKDTree(flat[0]).query(flat[1][partner])[1]
    # Both must be each other's nearest, near enough: the line between the fragments.
    pair = (away <= reach) & (lengths_of(flat[0][back] - flat[0]) <= 0.5 * reach)
    if np.count_nonzero(pair) < 3:
        raise InputError(
            "step-off", f"no articular surface of the other is within {reach:g} mm.",
            "Give a larger reach, or check which fragments are neighbours.",
        )  # fmt: skip
    step = (rims[0][pair] - rims[1][partner[pair]]) @ up
    gap = away[pair]
    worst = int(np.argmax(np.abs(step)))
    line = flat[0][pair] - flat[0][pair].mean(axis=0)
    extent = float(np.ptp(line @ np.linalg.svd(line, full_matrices=False)[2][0]))
    return StepOff(
        float(step.mean()), float(step[worst]), float(gap.mean()), float(gap.max()), extent
    )


def _judged(
    motion: Rigid,
    x: Points,
    goal: TriangleSurface,
    gap: float,
    kept: float,
    rounds: int,
    free: int,
) -> FaceFit:
    here = motion.points(x)
    feet, _ = closest_on_triangles(here, goal.points, goal.triangles)
    away = np.abs(lengths_of(here - feet) - gap)
    best = np.sort(away)[: max(int(kept * len(away)), 1)]
    rms = float(np.sqrt(np.mean(best**2)))
    if rms > POOR:
        raise InputError(
            "reduction", f"the faces match within {rms:.1f} mm only.",
            "Start nearer, by landmark pairs, or check that they belong to each other.",
        )  # fmt: skip
    notes = []
    if free:
        notes.append(f"{free} of 6 ways of moving are not determined by the faces.")
    if rounds == ROUNDS:
        notes.append(f"It had not settled after {ROUNDS} rounds.")
    return FaceFit(motion, rms, float(np.quantile(away, 0.95)), kept, rounds, free, tuple(notes))


@dataclass(frozen=True)
class _Rows:
    """Places x, where they shall be y, and the unit vectors along which that counts, (n, 3)."""

    x: Points
    y: Points
    way: Points


@dataclass(frozen=True)
class _Border:
    """Edges of a face's rim (e, 2, 3) and unit vectors out of it in the face's plane (e, 3)."""

    lines: Points
    out: Points


def _border(face: TriangleSurface) -> _Border:
    edges = edges_of(face.triangles)
    triangle, side = np.nonzero(edges.count[edges.of] == 1)
    ends = face.triangles[triangle[:, None], np.stack([side, (side + 1) % 3], axis=1)]
    lines = face.points[ends]
    out = unit(np.cross(lines[:, 1] - lines[:, 0], _normals(face)[triangle]))
    return _Border(lines, out)


def _rim_rows(rim: Points, border: _Border, kept: float) -> _Rows:
    """Places of a rim and the nearest ones on a border, to be met in the plane of the face."""
    if not len(border.lines) or not len(rim):  # a closed surface has no rim to follow
        return _Rows(rim[:0], rim[:0], rim[:0])
    nearest = cKDTree(border.lines.mean(axis=1)).query(rim)[1]
    feet = on_segments(rim, border.lines[nearest])
    away = lengths_of(rim - feet)
    near = away <= np.quantile(away, kept) + 1e-9
    return _Rows(rim[near], feet[near], border.out[nearest[near]])


def _step(parts: Sequence[_Rows], reach: float) -> tuple[Rigid, int]:
    """One Gauss-Newton step about the middle of the face, and the number of free directions."""
    middle = np.concatenate([part.x for part in parts]).mean(axis=0)
    scale = 0.5 * reach
    matrix, wanted = np.zeros((6, 6)), np.zeros(6)
    for part in parts:
        # A small rotation w moves x by w x x; each part counts as much as the other.
        rows = np.hstack([np.cross(part.x - middle, part.way) / scale, part.way])
        matrix += rows.T @ rows / max(len(rows), 1)
        wanted += rows.T @ dots(part.y - part.x, part.way) / max(len(rows), 1)
    values, vectors = np.linalg.eigh(matrix)
    firm = values > FREE * values.max()
    solved = vectors[:, firm] @ ((vectors[:, firm].T @ wanted) / values[firm])
    solved *= min(1.0, STRIDE * reach / max(float(np.linalg.norm(solved)), 1e-300))
    angle = float(np.linalg.norm(solved[:3])) / scale
    axis = solved[:3] / max(float(np.linalg.norm(solved[:3])), 1e-300)
    turn = Rigid.turn(axis, np.degrees(angle), middle) if angle > 1e-14 else Rigid.none()
    return Rigid.by(solved[3:]).after(turn), int(np.count_nonzero(~firm))


def _rim(triangles: NDArray[np.int64]) -> NDArray[np.int64]:
    """Edges that only one of some triangles has, shape (e, 2)."""
    edges = edges_of(triangles)
    return np.asarray(edges.ends[edges.count == 1])


def _normals(surface: TriangleSurface) -> Points:
    a, b, c = (surface.points[surface.triangles[:, k]] for k in range(3))
    return unit(np.cross(b - a, c - a))


def _articular_rim(
    surface: TriangleSurface, both: Sequence[TriangleSurface], up: Points, tilt: float
) -> Points:
    """Rims (mm) of the parts of a surface that face a direction and lie open, shape (n, 3)."""
    facing = _normals(surface) @ up >= np.cos(np.radians(tilt))
    triangles = surface.triangles[facing]
    if not len(triangles):
        return np.zeros((0, 3))
    part = components(edges_of(triangles))
    areas = surface.areas[facing]
    hidden = _covered(surface.points[triangles].mean(axis=1), both, up)
    under = np.bincount(part, areas * hidden) > 0.5 * np.bincount(part, areas)
    return np.asarray(surface.points[np.unique(_rim(triangles[~under[part]]))])


def _covered(places: Points, surfaces: Sequence[TriangleSurface], up: Points) -> Mask:
    """Places that another part of the surfaces lies over, shape (n,)."""
    axes = frame(up)
    result = np.zeros(len(places), bool)
    flat, height = places @ axes[:2].T, places @ axes[2]
    for surface in surfaces:
        corners = surface.points[surface.triangles] @ axes.T
        a, b, c = (corners[:, k, :2] for k in range(3))
        size = float(np.linalg.norm(corners - corners.mean(axis=1, keepdims=True), axis=2).max())
        tree = cKDTree(corners[:, :, :2].mean(axis=1))
        for k, near in enumerate(tree.query_ball_point(flat, size)):
            if not near:
                continue
            p, q, r = a[near], b[near], c[near]
            area = _turn(q - p, r - p)
            w = np.stack([_turn(r - q, flat[k] - q), _turn(p - r, flat[k] - r),
                          _turn(q - p, flat[k] - p)], axis=1)  # fmt: skip
            w = w / np.where(np.abs(area) < 1e-12, np.inf, area)[:, None]
            over = (w > 0.0).all(axis=1)
            z = (w * corners[near, :, 2]).sum(axis=1)
            result[k] |= bool((over & (z > height[k] + OVER)).any())
    return result


def _turn(one: Points, other: Points) -> Points:
    return np.asarray(one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0])
