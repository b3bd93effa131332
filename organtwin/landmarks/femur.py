"""Head, neck and shaft of a femur from its surface, whole or cut below the trochanters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from organtwin.landmarks.cuts import cut
from organtwin.landmarks.femoral_head import Facets, facets_of, find_head, radius_around
from organtwin.landmarks.fits import angle, fit_line, frame, unit
from organtwin.landmarks.record import (
    Confidence,
    Landmark,
    Line,
    Point,
    Sphere,
    against,
    favouring,
)
from organtwin.mesh.surface_files import TriangleSurface

type Vector = NDArray[np.float64]

#: Where the neck is looked for and where the shaft begins, from the head's centre (head radii).
NECK, SHAFT = (1.0, 1.7), 4.0
#: Where the lesser trochanter is, from the head's centre along the shaft (head radii).
LESSER = (2.0, 3.3)
#: A bone longer than this has its condyles (head radii).
WHOLE = 13.0
ROUNDS = 30
#: Change of a direction that ends the rounds (radians), far below what anything needs.
SETTLED = 1e-9
#: Tilts tried for the section of least area (degrees).
TILT = 12.0


def femur_landmarks(
    surface: TriangleSurface, given: Mapping[str, Landmark] | None = None
) -> tuple[Landmark, ...]:
    """Head, neck axis, shaft axis and, of a whole bone, the line behind the condyles.

    Nothing depends on the pose of the bone. Measures: neck-shaft angle with the neck axis,
    anteversion and side with the condylar line (of a cut bone the side with the shaft axis: 1 left,
    -1 right, from the lesser trochanter).

    Args:
        surface: Closed surface of one femur; it has at least the proximal part down to a few
            centimetres below the lesser trochanter.
        given: Landmarks placed by a person; they replace those of the same name, and others are
            made from them.

    Raises:
        InputError: the surface has no part that is a sphere as a femoral head is one, and no head
            or centre of it was placed.
    """
    known = dict(given or {})
    facets = facets_of(surface)
    head = known.get("femoral_head") or _head(surface, facets, known.get("femoral_head_centre"))
    known["femoral_head"] = head
    assert isinstance(head.geometry, Sphere)
    ball = head.geometry
    known.setdefault(
        "femoral_head_centre",
        Landmark("femoral_head_centre", Point(ball.centre), head.confidence, head.source),
    )
    shaft = _shaft(surface, facets, ball, head.confidence)
    if shaft is None:
        return tuple(known.values())
    shaft = known.setdefault("femoral_shaft_axis", shaft)
    assert isinstance(shaft.geometry, Line)
    neck = _neck(surface, ball, shaft.geometry, head.confidence)
    if neck is None:
        return tuple(known.values())
    neck = known.setdefault("femoral_neck_axis", neck)
    assert isinstance(neck.geometry, Line)
    line = _condyles(surface, ball, shaft.geometry, neck.geometry)
    if line is not None:
        known.setdefault("posterior_condylar_line", line)
    side = _side(surface, ball, shaft.geometry, neck.geometry)
    if side is not None:
        known.setdefault("lesser_trochanter", side)
    return tuple(known.values())


def _head(surface: TriangleSurface, facets: Facets, centre: Landmark | None) -> Landmark:
    """The head around a centre that a person placed, else the roundest part of the bone."""
    if centre is not None and isinstance(centre.geometry, Point):
        ball = Sphere(centre.geometry.at, radius_around(facets, centre.geometry.at))
        return replace(centre, name="femoral_head", geometry=ball)
    fit, confidence = find_head(surface)
    return Landmark("femoral_head", Sphere(fit.centre, fit.radius), confidence)


# ----------------------------------------------------------------------------------------- shaft


def _shaft(
    surface: TriangleSurface, facets: Facets, head: Sphere, trust: Confidence
) -> Landmark | None:
    """Line through the centroids of the shaft's sections, from its upper to its lower end."""
    centre = np.average(facets.middles, axis=0, weights=facets.areas)
    spread = facets.middles - centre
    down = np.linalg.eigh((spread.T * facets.areas) @ spread)[1][:, 2]
    # The bone goes on below the head; above it there is hardly more than the head itself.
    reach = (surface.points - head.centre) @ down
    down = down if reach.max() > -reach.min() else -down
    for _ in range(ROUNDS):
        heights = _shaft_heights(surface, head, down)
        if len(heights) < 4:
            return None
        sections = [_largest(surface, head.centre + h * down, down) for h in heights]
        middles = np.array([middle for middle in sections if middle is not None])
        if len(middles) < 4:
            return None
        point, direction, residual = fit_line(middles)
        done = np.linalg.norm(direction - down) < SETTLED
        down = direction
        if done:
            break
    ends = [point + ((middles[k] - point) @ down) * down for k in (0, -1)]
    length = float(np.linalg.norm(ends[1] - ends[0]))
    half = len(middles) // 2
    bend = angle(fit_line(middles[:half])[1], fit_line(middles[half:])[1]) if half > 1 else 90.0
    evidence = (
        favouring("length of shaft seen", length / head.radius, 1.5, "head radii"),
        against("distance of its centres from a line", 100.0 * residual / length, 4.0,
                "% of its length"),
        against("angle between its upper and lower half", bend, 20.0, "°"),
        favouring("confidence of the head", trust.value, 0.1),
    )  # fmt: skip
    return Landmark("femoral_shaft_axis", Line(*ends), Confidence(evidence))


def _shaft_heights(surface: TriangleSurface, head: Sphere, down: Vector) -> Vector:
    """Heights of sections below the lesser trochanter and above the condyles or the cut."""
    reach = float(((surface.points - head.centre) @ down).max())
    whole = reach > WHOLE * head.radius
    top = 0.27 * reach if whole else min(SHAFT * head.radius, 0.62 * reach)
    bottom = 0.72 * reach if whole else reach - 0.15 * head.radius
    return np.linspace(top, bottom, 24) if bottom - top > 0.3 * head.radius else np.zeros(0)


def _largest(surface: TriangleSurface, point: Vector, normal: Vector) -> Vector | None:
    """Centroid of the largest outline of a section; nothing where the plane misses the bone."""
    found = cut(surface, point, normal)
    return found.centres[int(np.argmax(found.areas))] if len(found.areas) else None


# ------------------------------------------------------------------------------------------ neck


def _neck(
    surface: TriangleSurface, head: Sphere, shaft: Line, trust: Confidence
) -> Landmark | None:
    """From the head's centre through the middle of the neck at its narrowest, to the shaft."""
    down = shaft.direction
    foot = shaft.start + ((head.centre - shaft.start) @ down) * down
    medial = head.centre - foot
    if np.linalg.norm(medial) < 0.3 * head.radius:
        return None
    direction = unit(-unit(medial) + down * 0.8)
    for _ in range(ROUNDS):
        areas, middles = _neck_sections(surface, head, direction)
        if not np.isfinite(areas).any():
            return None
        waist = areas <= 1.15 * areas.min()
        after = unit(np.average(middles[waist], axis=0, weights=1.0 / areas[waist]) - head.centre)
        done = np.linalg.norm(after - direction) < SETTLED
        direction = after
        if done:
            break
    low = int(np.argmin(areas))
    missed = np.linalg.norm(np.cross(middles[waist] - head.centre, direction), axis=1)
    end = head.centre + _to_axis(head.centre, direction, shaft) * direction
    evidence = (
        against("angle to the normal of the least section",
                _least_section(surface, middles[low], direction), 20.0, "°"),
        against("distance of the waist's centres from the axis",
                100.0 * float(missed.max()) / head.radius, 30.0, "% of the head's radius"),
        against("waist to head", float(areas[low] / (np.pi * head.radius**2)), 1.2),
        favouring("confidence of the head", trust.value, 0.1),
    )  # fmt: skip
    measures = {
        "neck-shaft angle °": angle(-direction, down),
        "head offset mm": float(np.linalg.norm(medial)),
        "waist area mm²": float(areas[low]),
    }
    return Landmark(
        "femoral_neck_axis", Line(head.centre, end), Confidence(evidence), measures=measures
    )


def _neck_sections(
    surface: TriangleSurface, head: Sphere, direction: Vector
) -> tuple[Vector, Vector]:
    """Areas and centroids of sections across the neck."""
    points = head.centre + np.linspace(*NECK, 15)[:, None] * head.radius * direction
    found = [cut(surface, point, direction).nearest(point) for point in points]
    areas = np.array([area if area > 0.0 else np.inf for area, _ in found])
    return areas, np.array([middle for _, middle in found])


def _least_section(surface: TriangleSurface, point: Vector, direction: Vector) -> float:
    """Angle from a direction to the normal of the smallest section through a point (degrees).

    Areas of tilted sections are fitted by a parabola in both tilts.
    """
    axes = frame(direction)
    tilts = np.tan(np.radians(TILT)) * (np.indices((3, 3)).reshape(2, 9).T - 1)
    areas = [cut(surface, point, unit(t @ axes[:2] + axes[2])).nearest(point)[0] for t in tilts]
    x, y = tilts.T
    terms = np.column_stack([np.ones(9), x, y, 0.5 * x * x, x * y, 0.5 * y * y])
    _, *slope, xx, xy, yy = np.linalg.lstsq(terms, np.array(areas))[0]
    bend = np.array([[xx, xy], [xy, yy]])
    if np.linalg.eigvalsh(bend)[0] <= 0.0:
        return 90.0
    return float(np.degrees(np.arctan(np.linalg.norm(np.linalg.solve(bend, np.array(slope))))))


def _to_axis(start: Vector, direction: Vector, axis: Line) -> float:
    """How far along a direction a line comes nearest to an axis (mm)."""
    across = direction - (direction @ axis.direction) * axis.direction
    gap = axis.start - start
    return float(gap @ across / (across @ across))


# ---------------------------------------------------------------------------- condyles and side


def _condyles(surface: TriangleSurface, head: Sphere, shaft: Line, neck: Line) -> Landmark | None:
    """Line that touches both condyles from behind, seen along the shaft."""
    down = shaft.direction
    height = (surface.points - head.centre) @ down
    if height.max() < WHOLE * head.radius:
        return None
    low = surface.points[height > height.max() - 1.6 * head.radius]
    medial = unit(-neck.direction + (neck.direction @ down) * down)
    across = np.array([medial, np.cross(down, medial)])
    flat = (low - shaft.start) @ across.T
    hull = flat[ConvexHull(flat).vertices]
    # Condyles stick out behind the shaft: the long edge of the hull on that side touches both.
    behind = np.sign(0.5 * (flat[:, 1].max() + flat[:, 1].min()))
    edges = np.roll(hull, -1, axis=0) - hull
    side = (0.5 * (np.roll(hull, -1, axis=0) + hull))[:, 1] * behind > 0.0
    place = int(np.argmax(np.where(side, np.linalg.norm(edges, axis=1), 0.0)))
    pair = np.array([hull[place], np.roll(hull, -1, axis=0)[place]])
    pair = pair[np.argsort(pair[:, 0])]  # lateral first
    ends = [low[int(np.argmin(np.sum((flat - end) ** 2, axis=1)))] for end in pair]
    line = pair[1] - pair[0]
    # Positive where the head lies in front of a plane through the shaft parallel to the line.
    version = float(np.degrees(np.arctan2(line[1], line[0]))) * behind
    width = float(np.ptp(flat[:, 0]))
    evidence = (
        favouring("distance of both points", 100.0 * float(np.linalg.norm(line)) / width, 25.0,
                  "% of the width"),
        favouring("how far the condyles lie behind the shaft",
                  abs(float(flat[:, 1].max() + flat[:, 1].min())) / 2.0, 4.0, "mm"),
    )  # fmt: skip
    # Left if medial, front and up are right-handed.
    left = float(np.sign(np.cross(medial, -behind * across[1]) @ -down))
    return Landmark(
        "posterior_condylar_line",
        Line(ends[0], ends[1]),
        Confidence(evidence),
        measures={"anteversion °": version, "side (1 left, -1 right)": left},
    )


def _side(surface: TriangleSurface, head: Sphere, shaft: Line, neck: Line) -> Landmark | None:
    """The lesser trochanter, behind and medial below the neck, and the side that follows."""
    down = shaft.direction
    height = (surface.points - head.centre) @ down
    medial = unit(-neck.direction + (neck.direction @ down) * down)
    across = np.array([medial, np.cross(down, medial)])
    flat = (surface.points - shaft.start) @ across.T
    turn = np.degrees(np.arctan2(flat[:, 1], flat[:, 0]))
    zone = (height > LESSER[0] * head.radius) & (height < LESSER[1] * head.radius)
    radius = np.linalg.norm(flat, axis=1)
    sides = []
    for sign in (1.0, -1.0):
        part = zone & (turn * sign > 35.0) & (turn * sign < 125.0)
        if not part.any():
            return None
        sides.append((float(radius[part].max()), int(np.argmax(np.where(part, radius, 0.0)))))
    more, less = (sides[0], sides[1]) if sides[0] > sides[1] else (sides[1], sides[0])
    behind = 1.0 if more is sides[0] else -1.0
    left = float(np.sign(np.cross(medial, -behind * across[1]) @ -down))
    evidence = (favouring("how far it sticks out", more[0] - less[0], 3.0, "mm"),)
    return Landmark(
        "lesser_trochanter",
        Point(surface.points[more[1]]),
        Confidence(evidence),
        measures={"side (1 left, -1 right)": left},
    )
