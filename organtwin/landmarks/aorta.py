"""Annulus, sinotubular junction and centreline of the aorta, from labels and, if there, a scan."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.image.volume import Image, LabelMap
from organtwin.landmarks.contacts import contact, contact_plane
from organtwin.landmarks.coronaries import ostia
from organtwin.landmarks.fits import angle, fit_plane
from organtwin.landmarks.record import (
    AUTOMATIC,
    Confidence,
    Curve,
    Evidence,
    Landmark,
    Plane,
    Point,
    against,
    favouring,
)
from organtwin.landmarks.root import Lumen, section_diameter, unroll
from organtwin.landmarks.sinuses import Lobe, Sinuses, again, hinge_normal, look_at, straightened
from organtwin.segment.centreline import Centreline, along_skeleton, trace

type Vector = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: Names that the aorta and what tells its root may have.
AORTA = ("aorta", "ascending_aorta", "aorta_ascending")
#: Length of the vessel that gives the first axis of the root (mm).
STRAIGHT = 40.0
#: Shifts of the wall's level that show how much a landmark hangs on it.
PERTURBED = (-0.25, 0.25)
HINGES = ("hinge_right", "hinge_left", "hinge_non_coronary")


def aorta_landmarks(
    labels: LabelMap, image: Image | None = None, given: Mapping[str, Landmark] | None = None
) -> tuple[Landmark, ...]:
    """Centreline, hinge points, annulus, sinotubular junction and ostia candidates.

    The lumen around the root is unrolled: the radius of its wall over height and angle. Its three
    lobes are the sinuses. Under the middle of each the radius bends from the sinus into the outflow
    tract: the hinge point, the lowest of a leaflet's attachment. The annulus is the plane through
    the three. Above, where the sinuses bend into the tube all around, lies the sinotubular
    junction. The hinge points are named after the patient's axes: the right one is the most
    anterior, of the others the left one lies more to the left.

    Args:
        labels: Label map with ``aorta``; with ``lv_blood`` the outflow tract is seen too and the
            root is at its contact, with ``heart`` at the end inside the heart, else at the anterior
            end.
        image: Scan with contrast medium; the wall is then taken from grey values.
        given: Landmarks placed by a person; they replace those of the same name, and the annulus
            is made from hinge points among them.

    Raises:
        InputError: there is no aorta, or the root can't be unrolled.
    """
    known = dict(given or {})
    mask = _aorta(labels)
    line = _centreline(labels, mask)
    known.setdefault("aortic_centreline", _line_landmark(mask, labels, line))
    lumen = _lumen(labels, mask, image, line.points[0])
    beyond = line.points[min(int(np.searchsorted(line.along, STRAIGHT)), len(line.points) - 1)]
    found = straightened(lumen, look_at(unroll(lumen, line.points[0], beyond)))
    others = []
    for shift in PERTURBED:
        try:
            others.append(look_at(again(lumen.shifted(shift), found.root)))
        except InputError:
            continue
    voxel = float(np.mean(labels.spacing if image is None else image.grid.spacing))
    for landmark in _hinges(found, others, voxel):
        known.setdefault(landmark.name, landmark)
    known.setdefault("aortic_annulus", _annulus(labels, mask, lumen, found, others, known, voxel))
    known.setdefault("sinotubular_junction", _junction(lumen, found, others, known, voxel))
    looks = [found.root, *(other.root for other in others)]
    for landmark in ostia(looks, found.widest, known, voxel):
        known.setdefault(landmark.name, landmark)
    return tuple(known.values())


# ---------------------------------------------------------------------------- vessel and centreline


def _aorta(labels: LabelMap) -> Mask:
    there = [name for name in AORTA if name in labels.names]
    if not there:
        raise InputError("aorta", "no label `aorta`.", "Name the label of the aorta so.")
    mask = labels.mask(*there)
    if not mask.any():
        raise InputError("aorta", "the label `aorta` has no voxels.", "Segment it first.")
    return mask


def _centreline(labels: LabelMap, mask: Mask) -> Centreline:
    """Middle line that begins at the heart."""
    line = along_skeleton(mask, labels.grid)
    ends = line.points[[0, -1]]
    heart = next((name for name in ("lv_blood", "heart") if name in labels.names), None)
    if heart is not None and labels.mask(heart).any():
        inside = labels.points(np.argwhere(labels.mask(heart)))
        middle = inside.mean(axis=0) if heart == "heart" else None
        distance = (
            np.linalg.norm(ends - middle, axis=1)
            if middle is not None
            else cKDTree(inside).query(ends)[0]
        )
        return line.reversed() if distance[1] < distance[0] else line
    return line.reversed() if ends[1, 1] < ends[0, 1] else line


def _line_landmark(mask: Mask, labels: LabelMap, line: Centreline) -> Landmark:
    """The centreline; another weight of depth against length shows how sure it is."""
    other = trace(mask, labels.grid, line.points[0], line.points[-1], pull=1.5)
    away = float(np.median(cKDTree(other.points).query(line.points)[0]))
    radius = float(np.median(line.radius))
    evidence = (
        against("distance to a path with half the pull to the middle", away / radius * 100.0, 30.0,
                "% of the radius"),
        favouring("radius in voxels", radius / float(np.mean(labels.spacing)), 2.0),
        favouring("length in radii", line.length / radius, 2.0),
    )  # fmt: skip
    return Landmark(
        "aortic_centreline", Curve(line.points, line.radius), Confidence(evidence),
        measures={"length mm": line.length},
    )  # fmt: skip


def _lumen(labels: LabelMap, mask: Mask, image: Image | None, end: Vector) -> Lumen:
    if image is None:
        names = [name for name in (*AORTA, "lv_blood") if name in labels.names]
        return Lumen.of_labels(labels.mask(*names), labels.grid)
    if not image.grid.matches(labels.grid):
        raise InputError(
            "aorta", "scan and labels lie on different grids.", "Resample the labels to the scan."
        )
    index = np.argwhere(mask)
    index = index[np.linalg.norm(labels.points(index) - end, axis=1) < STRAIGHT]
    core = np.zeros_like(mask)
    core[tuple(index.T)] = True
    return Lumen.of_image(image, core)


# ------------------------------------------------------------------------------------- landmarks


def _hinges(found: Sinuses, others: list[Sinuses], voxel: float) -> list[Landmark]:
    order = _in_order(np.array([lobe.hinge for lobe in found.lobes]))
    landmarks = []
    for name, lobe in zip(HINGES, [found.lobes[k] for k in order], strict=True):
        shift = _shift(lobe.hinge, [[o.hinge for o in other.lobes] for other in others])
        evidence = (*_bend_evidence(lobe, voxel),
                    against("shift by another level of the wall", shift, 2.0, "mm"))  # fmt: skip
        landmarks.append(Landmark(name, Point(lobe.hinge), Confidence(evidence)))
    return landmarks


def _in_order(points: Vector) -> list[int]:
    """Right, left and non-coronary: the most anterior, of the others the one more to the left."""
    right = int(np.argmin(points[:, 1]))
    rest = [k for k in range(3) if k != right]
    rest.sort(key=lambda k: -points[k, 0])
    return [right, *rest]


def _bend_evidence(lobe: Lobe, voxel: float) -> tuple[Evidence, ...]:
    if lobe.bend is None:
        return (Evidence("outflow tract seen below", 0.0, "mm", 0.3),)
    bend = lobe.bend
    if lobe.kind == "leaflet":
        return (
            favouring("length of the leaflet at its hinge", bend.beyond / voxel, 1.5, "voxels"),
        )
    return (
        favouring("height of the sinus over its hinge", bend.rise / voxel, 1.0, "voxels"),
        favouring("height of the sinus over the residual", bend.rise / max(bend.residual, 1e-9),
                  3.0),
        favouring("outflow tract seen below", bend.beyond, 1.5, "mm"),
    )  # fmt: skip


def _shift(point: Vector, others: list[list[Vector]]) -> float:
    """Largest distance to the nearest of the same landmarks in other looks (mm)."""
    if len(others) < len(PERTURBED):
        return float("nan")
    return max(min(float(np.linalg.norm(p - point)) for p in look) for look in others)


def _annulus(
    labels: LabelMap,
    mask: Mask,
    lumen: Lumen,
    found: Sinuses,
    others: list[Sinuses],
    known: Mapping[str, Landmark],
    voxel: float,
) -> Landmark:
    """Plane through the three hinge points, those that a person placed among them."""
    points = np.array([_at(known[name]) for name in HINGES])
    fit = fit_plane(points)
    normal = fit.normal if fit.normal @ found.root.axes[2] > 0.0 else -fit.normal
    placed = sum(known[name].source != AUTOMATIC for name in HINGES)
    centre, diameter = section_diameter(lumen, fit.centre, normal)
    turn = [angle(normal, hinge_normal(other)) for other in others] or [float("nan")]
    lobes = np.sort([lobe.angle for lobe in found.lobes])
    gaps = np.degrees(np.diff(np.append(lobes, lobes[0] + 2.0 * np.pi)) % (2.0 * np.pi))
    least = min(known[name].confidence.value for name in HINGES)
    evidence = [
        Evidence("least confidence of a hinge point", least, "", least),
        against("lobes off from 120°", float(np.abs(gaps - 120.0).max()), 50.0, "°"),
        favouring("third harmonic over the fourth", _threefold(found), 1.0),
        against("turn by another level of the wall", max(turn), 15.0, "°"),
    ]
    touching = contact(labels.mask("lv_blood"), mask, labels.grid) if (
        "lv_blood" in labels.names) else None  # fmt: skip
    if touching is not None:
        valve = contact_plane(touching)[0]
        evidence += [
            against("angle to the contact with the LV", angle(normal, valve.normal), 30.0, "°"),
            against("distance to the contact with the LV",
                    abs(float((valve.centre - fit.centre) @ normal)), 6.0, "mm"),
        ]  # fmt: skip
    return Landmark(
        "aortic_annulus",
        Plane(centre, normal, diameter),
        Confidence(tuple(evidence) if placed < 3 else ()),
        known[HINGES[0]].source if placed == 3 else AUTOMATIC,
        measures={"diameter mm": diameter, "diameter in voxels": diameter / voxel},
    )


def _at(landmark: Landmark) -> Vector:
    assert isinstance(landmark.geometry, Point)
    return landmark.geometry.at


def _threefold(found: Sinuses) -> float:
    """How much stronger three lobes are than four, where the root is widest."""
    near = np.abs(found.root.heights - found.widest) < 6.0
    three, four = (abs(np.nanmean(found.root.harmonic(k)[near])) for k in (3, 4))
    return float(three / max(four, 1e-9))


def _junction(
    lumen: Lumen, found: Sinuses, others: list[Sinuses], known: Mapping[str, Landmark], voxel: float
) -> Landmark:
    plane = found.junction
    centre, diameter = section_diameter(lumen, plane.centre, plane.normal)
    turn = [angle(plane.normal, other.junction.normal) for other in others] or [float("nan")]
    lift = [abs(float(plane.height(other.junction.centre))) for other in others] or [float("nan")]
    annulus = known["aortic_annulus"].geometry
    above = float(annulus.height(centre)) if isinstance(annulus, Plane) else float("nan")
    evidence = (
        favouring("height of the sinuses over it", found.junction_rise / voxel, 0.5, "voxels"),
        against("distance of the bends from the plane", found.junction_residual, 3.0, "mm"),
        against("turn by another level of the wall", max(turn), 15.0, "°"),
        against("shift by another level of the wall", max(lift), 3.0, "mm"),
        favouring("height over the annulus", above, 5.0, "mm"),
    )
    return Landmark(
        "sinotubular_junction",
        Plane(centre, plane.normal, diameter),
        Confidence(evidence),
        measures={"diameter mm": diameter, "height over the annulus mm": above},
    )
