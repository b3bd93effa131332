"""Plateau, axis and slope of a tibia from its surface, whole or cut below the plateau."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.landmarks.cuts import cut
from organtwin.landmarks.fits import (
    PlaneFit,
    angle,
    fit_line,
    fit_plane,
    fit_plane_robustly,
    frame,
    unit,
)
from organtwin.landmarks.record import (
    AUTOMATIC,
    Confidence,
    Evidence,
    Landmark,
    Line,
    Plane,
    Point,
    against,
    favouring,
)
from organtwin.landmarks.upwards import UPWARDS, facets, upwards
from organtwin.mesh.surface_files import TriangleSurface

type Vector = NDArray[np.float64]

#: Share of the width around the height of most triangles that face upwards, for the plateau.
LAYER = 0.10
#: Parts of the width that are left out: the eminence between both surfaces, and the rims.
EMINENCE, RIM = 0.12, 0.06
#: Where sections of the shaft are taken, below the plateau (share of the width) at most and at
#: least above the lower end.
BELOW, ABOVE = 0.30, 0.05
#: A long bone is measured down to this many widths.
LONGEST = 4.0
ROUNDS = 20
SETTLED = 1e-9


@dataclass(frozen=True)
class _Top:
    """Upward facing triangles of the plateau, in a frame of their own."""

    middles: Vector
    areas: Vector
    axes: Vector
    origin: Vector
    width: float

    @property
    def across(self) -> Vector:
        """Place along the width, from the middle (mm)."""
        return np.asarray((self.middles - self.origin) @ self.axes[0])


def tibia_landmarks(
    surface: TriangleSurface,
    given: Mapping[str, Landmark] | None = None,
    *,
    fibula: Vector | None = None,
) -> tuple[Landmark, ...]:
    """Plateau plane, both of its halves, the axis of the shaft and the slope of the plateau.

    Measures of the axis: ``slope °`` of the plateau against it, positive where it falls backwards,
    and ``tilt °`` sideways. Backwards is where the plateau overhangs the shaft.

    Args:
        surface: Closed surface of one tibia with its plateau.
        given: Landmarks placed by a person; they replace those of the same name, and others are
            made from them.
        fibula: Any points of the fibula of the same leg (mm), shape (n, 3); it tells lateral from
            medial.

    Raises:
        InputError: the bone shows no plateau, or too little of its shaft.
    """
    known = dict(given or {})
    top, up = _top(surface, known.get("tibial_plateau"))
    halves = _halves(top)
    plane = known.get("tibial_plateau") or _plane(top, halves, up)
    known["tibial_plateau"] = plane
    assert isinstance(plane.geometry, Plane)
    for name, mask in _named(top, halves, fibula).items() if len(top.areas) else ():
        sure = _sure(top, halves, fibula)
        known.setdefault(name, _half(top, mask, plane.geometry, name, sure))
    axis = known.get("tibial_axis") or _axis(surface, top, up)
    known["tibial_axis"] = _inclined(axis, plane.geometry, top)
    return tuple(known.values())


def _top(surface: TriangleSurface, placed: Landmark | None) -> tuple[_Top, Vector]:
    """The plateau and its upward normal; without triangles where only a placed plane is known."""
    try:
        return _settled(surface)
    except InputError:
        if placed is None or not isinstance(placed.geometry, Plane):
            raise
    plane = placed.geometry
    bone = surface.points - plane.centre
    up = plane.normal if bone.mean(axis=0) @ plane.normal < 0.0 else -plane.normal
    flat = bone - np.outer(bone @ up, up)
    axes = frame(up, np.linalg.eigh(flat.T @ flat)[1][:, 2])
    width = float(np.ptp(bone @ axes[0]))
    return _Top(np.zeros((0, 3)), np.zeros(0), axes, plane.centre, width), up


def _settled(surface: TriangleSurface) -> tuple[_Top, Vector]:
    """The plateau and the normal of it that finds the same plateau again."""
    up = upwards(surface)
    for _ in range(ROUNDS):
        top = _plateau(surface, up)
        after = _both(top, _halves(top))[0].normal
        after = after if after @ up > 0.0 else -after
        done = np.linalg.norm(after - up) < SETTLED
        up = after
        if done:
            break
    return top, up


def _plateau(surface: TriangleSurface, up: Vector) -> _Top:
    """Triangles that face upwards in the layer where most of these are."""
    middles, cross, areas = facets(surface)
    facing = cross @ up > np.cos(np.radians(UPWARDS)) * areas
    flat = middles - np.average(middles, axis=0, weights=areas)
    flat = flat - np.outer(flat @ up, up)
    width = float(np.ptp(flat @ np.linalg.eigh((flat.T * areas) @ flat)[1][:, 2]))
    height = middles @ up
    facing &= height > height.max() - 0.35 * width
    if np.count_nonzero(facing) < 20:
        raise InputError(
            "tibia", "no surface faces upwards as a plateau does.",
            "Check that it is a tibia, or place `tibial_plateau` in 3D Slicer.",
        )  # fmt: skip
    order = np.argsort(height[facing])
    total = np.cumsum(areas[facing][order])
    middle = height[facing][order][np.searchsorted(total, 0.5 * total[-1])]
    layer = facing & (np.abs(height - middle) < LAYER * width)
    points, weights = middles[layer], areas[layer]
    centre = np.average(points, axis=0, weights=weights)
    flat = (points - centre) - np.outer((points - centre) @ up, up)
    broad = np.linalg.eigh((flat.T * weights) @ flat)[1][:, 2]
    # The eigenvector's sign depends on rounding; the larger half decides.
    broad = broad if np.sum(weights * np.sign(flat @ broad)) > 0.0 else -broad
    axes = frame(up, broad)
    place = (points - centre) @ axes[0]
    ends = np.array([place.min(), place.max()])
    return _Top(points, weights, axes, centre + ends.mean() * axes[0], float(np.ptp(ends)))


def _axis(surface: TriangleSurface, top: _Top, up: Vector) -> Landmark:
    """Line through the centroids of sections below the plateau."""
    low = float(((surface.points - top.origin) @ up).min())
    start = -BELOW * top.width
    end = max(low + ABOVE * top.width, -LONGEST * top.width)
    if start - end < 0.05 * top.width:
        raise InputError(
            "tibia",
            f"only {-low:.0f} mm of the bone lie below the plateau, too little for an axis.",
            "Take a longer piece, or give `tibial_axis` in a .mrk.json file.",
        )
    along = up
    for _ in range(ROUNDS):
        steps = np.linspace(start, end, 20)
        cuts = [cut(surface, top.origin + s * along, along) for s in steps]
        whole = [found for found in cuts if len(found.areas)]
        if len(whole) < 4:
            raise InputError("tibia", "no shaft lies below the plateau.", "Check `tibial_plateau`.")
        middles = np.array([found.centres[int(np.argmax(found.areas))] for found in whole])
        point, direction, residual = fit_line(middles)
        # Sections of a short piece stay parallel to the plateau: the rims would turn them round.
        if start - end < top.width or np.linalg.norm(along + direction) < SETTLED:
            break
        along = -direction
    ends = [point + ((middles[k] - point) @ direction) * direction for k in (0, -1)]
    length = float(np.linalg.norm(ends[1] - ends[0]))
    half = len(middles) // 2
    bend = angle(fit_line(middles[:half])[1], fit_line(middles[half:])[1])
    evidence = (
        favouring("length of shaft seen", length / top.width, 0.5, "widths"),
        against("distance of its centres from a line", 100.0 * residual / length, 4.0,
                "% of its length"),
        against("angle between its upper and lower half", bend, 20.0, "°"),
    )  # fmt: skip
    return Landmark("tibial_axis", Line(*ends), Confidence(evidence))


def _halves(top: _Top) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Triangles of both sides, without the eminence and the rims."""
    share = top.across / top.width
    inner = (np.abs(share) > EMINENCE) & (np.abs(share) < 0.5 - RIM)
    return inner & (share < 0.0), inner & (share > 0.0)


def _plane(top: _Top, halves: tuple[NDArray[np.bool_], NDArray[np.bool_]], up: Vector) -> Landmark:
    """Plane through both halves with equal say."""
    fit, used = _both(top, halves)
    normal = fit.normal if fit.normal @ up > 0.0 else -fit.normal
    # An independent estimate: each half's own plane, their normals averaged.
    single = [fit_plane_robustly(top.middles[h], top.areas[h]).normal for h in halves]
    single = [n if n @ up > 0.0 else -n for n in single]
    other = unit(single[0] + single[1])
    evidence = (
        against("distance from the plane", fit.residual, 2.0, "mm"),
        against("angle to the mean of both halves' planes", angle(normal, other), 8.0, "°"),
        against("angle between the halves", angle(single[0], single[1]), 20.0, "°"),
        favouring("share of the width covered", used, 0.4),
    )
    plane = Plane(fit.centre, normal, 2.0 * float(np.sqrt(float(top.areas.sum()) / np.pi)))
    measures = {"width mm": top.width}
    return Landmark("tibial_plateau", plane, Confidence(evidence), measures=measures)


def _inclined(axis: Landmark, plane: Plane, top: _Top) -> Landmark:
    """The axis with what the plateau makes with it: slope backwards and tilt sideways."""
    assert isinstance(axis.geometry, Line)
    up = -axis.geometry.direction
    axes = frame(up, top.axes[0])
    overhang = float((plane.centre - axis.geometry.start) @ axes[1])
    back = axes[1] * np.sign(overhang)
    measures = {
        "slope °": float(np.degrees(np.arctan2(plane.normal @ back, plane.normal @ up))),
        "tilt °": float(np.degrees(np.arctan2(abs(plane.normal @ axes[0]), plane.normal @ up))),
    }
    if axis.source != AUTOMATIC:
        return replace(axis, measures=measures)
    evidence = favouring("overhang at the back", 100.0 * abs(overhang) / top.width, 2.0,
                         "% of the width")  # fmt: skip
    trust = Confidence((*axis.confidence.evidence, evidence))
    return replace(axis, confidence=trust, measures=measures)


def _both(top: _Top, halves: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> tuple[PlaneFit, float]:
    """Robust plane through both halves, each with weight one, and how much of the width has any."""
    weights = np.zeros(len(top.areas))
    for half in halves:
        if np.count_nonzero(half) < 5:
            raise InputError(
                "tibia", "one half of the plateau is missing.",
                "Check the surface, or place `tibial_plateau` in 3D Slicer.",
            )  # fmt: skip
        weights[half] = top.areas[half] / top.areas[half].sum()
    inner = weights > 0.0
    fit = fit_plane_robustly(top.middles[inner], weights[inner])
    bins = np.floor(20.0 * (top.across[inner] / top.width + 0.5)).astype(int)
    return fit, len(np.unique(bins)) / 20.0


def _named(
    top: _Top, halves: tuple[NDArray[np.bool_], NDArray[np.bool_]], fibula: Vector | None
) -> dict[str, NDArray[np.bool_]]:
    """Names of both halves; without a fibula the larger one is the medial one."""
    if fibula is not None:
        lateral = int((np.mean(fibula, axis=0) - top.origin) @ top.axes[0] > 0.0)
    else:
        lateral = int(top.areas[halves[1]].sum() < top.areas[halves[0]].sum())
    return {"plateau_lateral": halves[lateral], "plateau_medial": halves[1 - lateral]}


def _sure(
    top: _Top, halves: tuple[NDArray[np.bool_], NDArray[np.bool_]], fibula: Vector | None
) -> Evidence:
    """How sure medial and lateral are told apart."""
    if fibula is not None:
        off = abs(float((np.mean(fibula, axis=0) - top.origin) @ top.axes[0]))
        return favouring("fibula to one side", 100.0 * off / top.width, 10.0, "% of the width")
    areas = sorted(float(top.areas[half].sum()) for half in halves)
    return favouring("medial larger than lateral", 100.0 * (areas[1] / areas[0] - 1.0), 20.0, "%")


def _half(top: _Top, mask: NDArray[np.bool_], plane: Plane, name: str, sure: Evidence) -> Landmark:
    """Middle of one half of the plateau."""
    fit = fit_plane(top.middles[mask], top.areas[mask])
    evidence = (
        against("height over the plateau plane", abs(float(plane.height(fit.centre))), 4.0, "mm"),
        against("distance from a plane of its own", fit.residual, 2.0, "mm"),
        sure,
    )
    return Landmark(
        name,
        Point(fit.centre),
        Confidence(evidence),
        measures={"area mm²": float(top.areas[mask].sum())},
    )
