"""Valve planes, apices and long axes of the ventricles, from a label map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap
from organtwin.landmarks.contacts import contact, contact_plane
from organtwin.landmarks.fits import angle, unit
from organtwin.landmarks.names import (
    LEFT_ATRIUM,
    OUTFLOW,
    PULMONARY_ARTERY,
    RIGHT_ATRIUM,
    labelled,
)
from organtwin.landmarks.record import (
    Confidence,
    Landmark,
    Line,
    Plane,
    Point,
    against,
    favouring,
)

type Vector = NDArray[np.float64]

#: Valve → (ventricle, names that what it opens into may have).
VALVES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "mitral_valve": ("lv_blood", LEFT_ATRIUM),
    "aortic_valve": ("lv_blood", OUTFLOW),
    "tricuspid_valve": ("rv_blood", RIGHT_ATRIUM),
    "pulmonary_valve": ("rv_blood", PULMONARY_ARTERY),
}
#: Angle of the long axis to its other estimate that halves its confidence (degrees); the axes of
#: both ventricles, from apex to inflow valve, are not parallel.
INCLINED = {"lv": 25.0, "rv": 50.0}
#: Rounds in which the apex and the axis through it settle.
ROUNDS = 20


def ventricle_landmarks(
    labels: LabelMap, given: Mapping[str, Landmark] | None = None
) -> tuple[Landmark, ...]:
    """Valve planes, apices and long axes as far as the labels show them.

    A valve plane lies where a ventricle touches its atrium or artery; its normal leaves the
    ventricle. A ventricle without any gets an ``opening`` where it touches the background. The apex
    is the point of the cavity that lies farthest from the inflow valve along the long axis, which
    runs from the apex to the middle of that valve.

    Args:
        labels: Label map with ``lv_blood``, and what else there is: ``rv_blood``,
            ``lv_myocardium``, the atria, the aorta or its root, the pulmonary artery, by the names
            in `organtwin.landmarks.names`, those of the recipes among them.
        given: Landmarks placed by a person; they replace those of the same name, and others are
            made from them.

    Raises:
        InputError: there is no ventricle.
    """
    if not {"lv_blood", "rv_blood"} & set(labels.names):
        raise InputError(
            "ventricles", "neither `lv_blood` nor `rv_blood` is labelled.", "Name the labels so."
        )
    known = dict(given or {})
    labels = cropped(labels)
    for name, (ventricle, beyond) in VALVES.items():
        _take(known, _valve(labels, name, ventricle, beyond))
    for side, inflow in (("lv", "mitral_valve"), ("rv", "tricuspid_valve")):
        if f"{side}_blood" in labels.names:
            _take(known, _opening(labels, side, known))
            for landmark in _axis(labels, side, inflow, known):
                _take(known, landmark)
    return tuple(known.values())


def cropped(labels: LabelMap) -> LabelMap:
    """The part of a label map that has labels, and one voxel around it."""
    found = ndimage.find_objects((labels.values > 0).astype(np.int8))
    if not found:
        return labels
    box = tuple(
        slice(max(part.start - 1, 0), min(part.stop + 1, size))
        for part, size in zip(found[0], labels.values.shape, strict=True)
    )
    return replace(
        labels,
        values=np.ascontiguousarray(labels.values[box]),
        origin=labels.points(np.array([[part.start for part in box]]))[0],
    )


def _take(known: dict[str, Landmark], landmark: Landmark | None) -> None:
    """Keep a landmark unless a person has placed it."""
    if landmark is not None:
        known.setdefault(landmark.name, landmark)


def _valve(labels: LabelMap, name: str, ventricle: str, beyond: tuple[str, ...]) -> Landmark | None:
    there = labelled(labels, beyond)
    if ventricle not in labels.names or not there:
        return None
    found = contact(labels.mask(ventricle), labels.mask(*there), labels.grid)
    if found is None:
        return None
    plane, confidence, measures = contact_plane(found)
    return Landmark(name, plane, confidence, measures=measures)


def _opening(labels: LabelMap, side: str, known: Mapping[str, Landmark]) -> Landmark | None:
    """Where a ventricle without valves ends in the background."""
    cavity = f"{side}_blood"
    if any(name in known for name, (own, _) in VALVES.items() if own == cavity):
        return None
    found = contact(labels.mask(cavity), labels.values == 0, labels.grid)
    if found is None:
        return None
    plane, confidence, measures = contact_plane(found)
    return Landmark(f"{side}_opening", plane, confidence, measures=measures)


def _axis(
    labels: LabelMap, side: str, inflow: str, known: Mapping[str, Landmark]
) -> tuple[Landmark, ...]:
    """Apex and long axis of a ventricle, and the tip of the LV's outer wall."""
    cavity = labels.points(np.argwhere(labels.mask(f"{side}_blood")))
    valve = next(
        (known[name] for name in (inflow, f"{side}_opening") if name in known),
        known.get("aortic_valve" if side == "lv" else "pulmonary_valve"),
    )
    if valve is None or not isinstance(valve.geometry, Plane):
        return ()
    middle, half = valve.geometry.centre, 0.5 * float(np.linalg.norm(labels.spacing))
    away = _away(known, middle, side)
    apex = _settled(cavity, middle, away, half)
    length = float(np.linalg.norm(apex - middle))
    other, what, along = _otherwise(cavity, middle, apex, known, side, half)
    own = Confidence((
        against(f"distance of the tip along {what}",
                100.0 * float(np.linalg.norm(other - apex)) / length, 20.0, "% of the length"),
        favouring("length in voxels", length / (2.0 * half), 10.0),
        favouring("confidence of the valve", valve.confidence.value, 0.1),
    ))  # fmt: skip
    tip = known.get(f"{side}_apex", Landmark(f"{side}_apex", Point(apex), own))
    axis = Line(tip.geometry.at if isinstance(tip.geometry, Point) else apex, middle)
    off = against(f"angle to {what}", angle(axis.direction, along), INCLINED[side], "°")
    trusted = Confidence((*tip.confidence.evidence, off))
    line = Landmark(f"{side}_long_axis", axis, trusted, measures={"length mm": length})
    outer = _outer(labels, axis, own, half) if side == "lv" else ()
    return (tip, line, *outer)


def _settled(cavity: Vector, middle: Vector, away: Vector, half: float) -> Vector:
    """Point farthest from the valve along the axis through that point itself."""
    apex = cavity[np.argmax(np.sum((cavity - away) ** 2, axis=1))]
    for _ in range(ROUNDS):
        after = _tip(cavity, unit(apex - middle), half)
        done = np.linalg.norm(after - apex) < 1e-6
        apex = after
        if done:
            break
    return np.asarray(apex)


def _otherwise(
    cavity: Vector,
    middle: Vector,
    apex: Vector,
    known: Mapping[str, Landmark],
    side: str,
    half: float,
) -> tuple[Vector, str, Vector]:
    """Another estimate of the tip and of the axis: by inertia, or by the other ventricle.

    The moments of a right ventricle follow its outflow tract, so the left one's axis is used.
    """
    left = known.get("lv_long_axis")
    if side == "rv" and left is not None and isinstance(left.geometry, Line):
        along, what = left.geometry.direction, "the LV's long axis"
    else:
        along, what = _principal(cavity, middle - apex), "the axis of inertia"
    return _tip(cavity, -along, half), what, along


def _away(known: Mapping[str, Landmark], middle: Vector, side: str) -> Vector:
    """Where the apex is far from: the middle of both valves, so that no outflow tract is taken."""
    other = known.get("aortic_valve" if side == "lv" else "pulmonary_valve")
    if other is None or not isinstance(other.geometry, Plane):
        return middle
    return np.asarray(0.5 * (middle + other.geometry.centre))


def _tip(cavity: Vector, direction: Vector, half: float) -> Vector:
    """End of a cavity in a direction: the middle of its last two voxels' height, at its end."""
    height = cavity @ direction
    last = cavity[height >= height.max() - 4.0 * half]
    middle = last.mean(axis=0)
    end = float(height.max()) + half / np.sqrt(3.0)
    return np.asarray(middle + (end - middle @ direction) * direction)


def _principal(points: Vector, towards: Vector) -> Vector:
    """Direction of the largest extent, on the side of another direction."""
    vectors = np.linalg.eigh(np.cov(points.T))[1]
    axis = vectors[:, 2]
    return np.asarray(axis if axis @ towards > 0.0 else -axis)


def _outer(labels: LabelMap, axis: Line, own: Confidence, half: float) -> tuple[Landmark, ...]:
    """Tip of the outer wall and the thickness of the wall there."""
    if "lv_myocardium" not in labels.names:
        return ()
    wall = labels.points(np.argwhere(labels.mask("lv_myocardium", "lv_blood")))
    tip = _tip(wall, -axis.direction, half)
    thickness = float(np.linalg.norm(tip - axis.start))
    aside = against(
        "distance from the long axis",
        float(np.linalg.norm(np.cross(tip - axis.start, axis.direction))),
        15.0,
        "mm",
    )
    return (
        Landmark(
            "lv_apex_outside",
            Point(tip),
            Confidence((*own.evidence, aside)),
            measures={"distance from lv_apex mm": thickness},
        ),
    )
