"""Annulus, sinotubular junction and centreline of the aorta, from labels and, if there, a scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.volume import Image, LabelMap
from organtwin.landmarks.aorta_line import STRAIGHT, way_out
from organtwin.landmarks.attachment import Attachment
from organtwin.landmarks.contacts import contact, contact_plane
from organtwin.landmarks.coronaries import ostia
from organtwin.landmarks.fits import angle, fit_plane, unit
from organtwin.landmarks.looks import again, first_look, moved, straightened
from organtwin.landmarks.names import AORTA
from organtwin.landmarks.record import (
    AUTOMATIC,
    Confidence,
    Evidence,
    Landmark,
    Plane,
    Point,
    against,
    favouring,
)
from organtwin.landmarks.root import Lumen
from organtwin.landmarks.sections import Section, section
from organtwin.landmarks.sinuses import Lobe, Sinuses, hinge_normal

type Vector = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: Shifts of the wall's level that show how much a landmark hangs on it.
PERTURBED = (-0.25, 0.25)
HINGES = ("hinge_right", "hinge_left", "hinge_non_coronary")


@dataclass(frozen=True)
class AorticLook:
    """Landmarks of an aorta, and what they were seen in.

    Attributes:
        landmarks: Centreline, hinge points, annulus, sinotubular junction and ostia candidates.
        lumen: What was looked at.
        walls: What sections are measured in: the scan, or the smooth surface of the labels.
        found: The sinuses; nothing where only what a person placed is known.
        placed: Sinotubular junction that a person placed.
    """

    landmarks: tuple[Landmark, ...]
    lumen: Lumen | None = None
    walls: Lumen | None = None
    found: Sinuses | None = None
    placed: Plane | None = None

    def moved(self, outwards: float) -> Sinuses | None:
        """The sinuses with the wall so many mm farther out; nothing where none are seen then."""
        if self.lumen is None or self.found is None:
            return None
        try:
            return moved(self.lumen, self.found, outwards, self.placed)
        except InputError:
            return None


def aorta_landmarks(
    labels: LabelMap, image: Image | None = None, given: Mapping[str, Landmark] | None = None
) -> tuple[Landmark, ...]:
    """The landmarks that `look_at_aorta` finds."""
    return look_at_aorta(labels, image, given).landmarks


def look_at_aorta(
    labels: LabelMap, image: Image | None = None, given: Mapping[str, Landmark] | None = None
) -> AorticLook:
    """Centreline, hinge points, annulus, sinotubular junction and ostia candidates.

    The lumen around the root is unrolled: the radius of its wall over height and angle. Its three
    lobes are the sinuses. Under the middle of each the radius bends from the sinus into the outflow
    tract: the hinge point, the lowest of a leaflet's attachment. The annulus is the plane through
    the three. Above, where the sinuses bend into the tube all around, lies the sinotubular
    junction. The hinge points are named after the patient's axes: the right one is the most
    anterior, of the others the left one lies more to the left.

    Args:
        labels: Label map with ``aorta`` or the parts of it that a recipe or another program names
            (`organtwin.landmarks.names`); with ``lv_blood`` the outflow tract is seen too and the
            root is at its contact, with ``heart`` at the end inside the heart, else at the anterior
            end.
        image: Scan with contrast medium; the wall is then taken from grey values.
        given: Landmarks placed by a person; they replace those of the same name, and the annulus
            is made from hinge points among them. The centreline, the sinotubular junction and the
            hinge points or the annulus are not needed from the shape where they were placed.

    Raises:
        InputError: there is no aorta, or the root can't be unrolled and no person placed what it
            would have shown.
    """
    known = dict(given or {})
    mask = _aorta(labels)
    way = way_out(labels, mask, known)
    voxel = float(np.mean(labels.spacing if image is None else image.grid.spacing))
    seen = _seen(labels, mask, image, way, known)
    for landmark in _hinges(seen, voxel) if seen is not None else ():
        known.setdefault(landmark.name, landmark)
    if "aortic_annulus" not in known:
        known["aortic_annulus"] = _annulus(labels, mask, seen, known, unit(way[1] - way[0]), voxel)
    if "sinotubular_junction" not in known and seen is not None:
        known["sinotubular_junction"] = _junction(seen, known, voxel)
    for landmark in _ostia(seen, known, voxel):
        known.setdefault(landmark.name, landmark)
    if seen is None:
        return AorticLook(tuple(known.values()))
    return AorticLook(
        tuple(known.values()), seen.lumen, seen.walls, seen.found, _junction_of(given or {})
    )


def _junction_of(given: Mapping[str, Landmark]) -> Plane | None:
    """The sinotubular junction that a person placed."""
    placed = given.get("sinotubular_junction")
    return placed.geometry if placed and isinstance(placed.geometry, Plane) else None


@dataclass(frozen=True)
class _Seen:
    """The sinuses as they are, and with the wall at other levels."""

    lumen: Lumen
    walls: Lumen
    found: Sinuses
    others: tuple[Sinuses, ...]


def _seen(
    labels: LabelMap, mask: Mask, image: Image | None, way: tuple[Vector, Vector],
    known: Mapping[str, Landmark],
) -> _Seen | None:  # fmt: skip
    """The sinuses; nothing if they can't be seen and a person placed what they would give."""
    junction = _junction_of(known)
    try:
        lumen = _lumen(labels, mask, image, way[0])
        end, beyond = way if junction is None else _through(junction, way[0])
        found = straightened(lumen, first_look(lumen, end, beyond, junction), junction)
    except InputError as error:
        missing = _missing(known)
        if not missing:
            return None
        raise InputError(
            error.place,
            error.problem,
            f"{error.remedy} Or place {missing} in 3D Slicer (`--overrides`).",
        ) from None
    others = []
    for shift in PERTURBED:
        try:
            others.append(again(lumen.shifted(shift), found, junction))
        except InputError:
            continue
    return _Seen(lumen, _walls(labels, lumen, found.middle), found, tuple(others))


def _through(junction: Plane, end: Vector) -> tuple[Vector, Vector]:
    """Axis of a root through a junction that was placed: across it, from the end's height on."""
    rise = float(junction.height(end))
    up = -junction.normal if rise > 0.0 else junction.normal
    start = junction.centre + rise * junction.normal
    return start, start + up


def _missing(known: Mapping[str, Landmark]) -> str:
    """What a person still has to place where nothing can be found."""
    hinges = [f"`{name}`" for name in HINGES if name not in known]
    ring = ", ".join(hinges) if hinges and "aortic_annulus" not in known else ""
    junction = "`sinotubular_junction`" if "sinotubular_junction" not in known else ""
    return " and ".join(part for part in (ring, junction) if part)


def _ostia(seen: _Seen | None, known: Mapping[str, Landmark], voxel: float) -> list[Landmark]:
    if seen is None or not {*HINGES, "aortic_annulus", "sinotubular_junction"} <= set(known):
        return []
    looks = [seen.found.root, *(other.root for other in seen.others)]
    return ostia(looks, seen.found.widest, known, voxel)


# ------------------------------------------------------------------------------------------ vessel


def _aorta(labels: LabelMap) -> Mask:
    there = [name for name in AORTA if name in labels.names]
    if not there:
        raise InputError("aorta", "no label `aorta`.", "Name the label of the aorta so.")
    mask = labels.mask(*there)
    if not mask.any():
        raise InputError("aorta", "the label `aorta` has no voxels.", "Segment it first.")
    return mask


def _blood(labels: LabelMap) -> Mask:
    """Aorta and, where labelled, the ventricle below it."""
    return labels.mask(*(name for name in (*AORTA, "lv_blood") if name in labels.names))


def _walls(labels: LabelMap, lumen: Lumen, middle: Vector) -> Lumen:
    """What sections are measured in: the scan, or the surface of the labels."""
    return lumen if lumen.grey else Lumen.of_surface(_blood(labels), labels.grid, middle)


def _lumen(labels: LabelMap, mask: Mask, image: Image | None, end: Vector) -> Lumen:
    if image is None:
        return Lumen.of_labels(_blood(labels), labels.grid)
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


def _hinges(seen: _Seen, voxel: float) -> list[Landmark]:
    found, others = seen.found, seen.others
    order = _in_order(np.array([lobe.hinge for lobe in found.lobes]))
    landmarks = []
    for name, lobe in zip(HINGES, [found.lobes[k] for k in order], strict=True):
        shifts = [_shift(lobe, other, hinge_normal(found)) for other in others]
        evidence = (*_bend_evidence(lobe, voxel), _stable("shift", shifts, 2.0, "mm"))
        landmarks.append(Landmark(name, Point(lobe.hinge), Confidence(evidence)))
    return landmarks


def _shift(lobe: Lobe, other: Sinuses, up: Vector) -> float:
    """How far a hinge point moves in another look (mm).

    Along a leaflet's attachment the lowest place wanders easily, without harm: its height counts.
    """
    away = min((o.hinge - lobe.hinge for o in other.lobes), key=lambda v: float(v @ v))
    leaflet = lobe.border is not None and lobe.border.darkness > 0.0
    return abs(float(away @ up)) if leaflet else float(np.linalg.norm(away))


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
    return (
        favouring("height of the sinus over its hinge", bend.rise / voxel, 1.0, "voxels"),
        _border_evidence(lobe.border),
        favouring("outflow tract seen below", bend.beyond, 1.5, "mm"),
    )


def _border_evidence(border: Attachment | None) -> Evidence:
    """How well the border of a sinus is known; neighbouring samples err together."""
    if border is None:
        return Evidence("samples of its border", 0.0, "", 0.6)
    return against("standard error of its height", border.uncertainty, 0.6, "mm")


def _stable(what: str, changes: Sequence[float], half: float, unit: str) -> Evidence:
    """Mean of what looks with other levels of the wall leave; those that saw nothing leave none."""
    name = f"{what} by another level of the wall"
    factor = sum(against(name, change, half).factor for change in changes) / len(PERTURBED)
    return Evidence(name, max(changes, default=float("nan")), unit, factor)


def _annulus(
    labels: LabelMap,
    mask: Mask,
    seen: _Seen | None,
    known: Mapping[str, Landmark],
    up: Vector,
    voxel: float,
) -> Landmark:
    """Plane through the three hinge points, those that a person placed among them."""
    points = np.array([_at(known[name]) for name in HINGES])
    fit = fit_plane(points)
    normal = fit.normal if fit.normal @ up > 0.0 else -fit.normal
    placed = all(known[name].source != AUTOMATIC for name in HINGES)
    if seen is None:  # the points themselves are all that is known
        reach = float(np.linalg.norm(points - fit.centre, axis=1).max())
        plane, sizes = Plane(fit.centre, normal, 2.0 * reach), {"diameter mm": 2.0 * reach}
    else:
        plane, sizes = _sized(section(seen.walls, fit.centre, normal), normal)
    trusted = () if placed or seen is None else _ring(labels, mask, seen, known, plane)
    return Landmark(
        "aortic_annulus",
        plane,
        Confidence(trusted),
        known[HINGES[0]].source if placed else AUTOMATIC,
        measures={**sizes, "diameter in voxels": plane.diameter / voxel},
    )


def _sized(cut: Section, normal: Vector) -> tuple[Plane, dict[str, float]]:
    """Plane and sizes of a section; TAVR devices are chosen by its area or its perimeter."""
    sizes = {
        "diameter mm": cut.diameter,
        "area mm²": cut.area,
        "perimeter mm": cut.perimeter,
    }
    return Plane(cut.centre, normal, cut.diameter), sizes


def _ring(
    labels: LabelMap, mask: Mask, seen: _Seen, known: Mapping[str, Landmark], plane: Plane
) -> tuple[Evidence, ...]:
    """What speaks for and against an annulus."""
    lobes = np.sort([lobe.angle for lobe in seen.found.lobes])
    gaps = np.degrees(np.diff(np.append(lobes, lobes[0] + 2.0 * np.pi)) % (2.0 * np.pi))
    least = min(known[name].confidence.value for name in HINGES)
    middle = np.mean([_at(known[name]) for name in HINGES], axis=0)
    evidence = [
        Evidence("least confidence of a hinge point", least, "", least),
        against("lobes off from 120°", float(np.abs(gaps - 120.0).max()), 50.0, "°"),
        favouring("third harmonic over the fourth", _threefold(seen.found), 1.0),
    ]
    touching = contact(labels.mask("lv_blood"), mask, labels.grid) if (
        "lv_blood" in labels.names) else None  # fmt: skip
    if touching is not None:
        valve, trust, _ = contact_plane(touching)
        off = abs(float((valve.centre - middle) @ plane.normal))
        tilt = angle(plane.normal, valve.normal)
        evidence += [
            _as_far_as(trust.value, against("angle to the contact with the LV", tilt, 25.0, "°")),
            _as_far_as(trust.value, against("distance to the contact with the LV", off, 6.0, "mm")),
        ]
    return tuple(evidence)


def _as_far_as(trust: float, evidence: Evidence) -> Evidence:
    """Evidence by something that itself is trusted only so far."""
    return replace(evidence, factor=1.0 - trust * (1.0 - evidence.factor))


def _at(landmark: Landmark) -> Vector:
    assert isinstance(landmark.geometry, Point)
    return landmark.geometry.at


def _threefold(found: Sinuses) -> float:
    """How much stronger three lobes are than four, where the root is widest."""
    near = np.abs(found.root.heights - found.widest) < 6.0
    three, four = (abs(np.nanmean(found.root.harmonic(k)[near])) for k in (3, 4))
    return float(three / max(four, 1e-9))


def _junction(seen: _Seen, known: Mapping[str, Landmark], voxel: float) -> Landmark:
    found, others, plane = seen.found, seen.others, seen.found.junction
    sized, sizes = _sized(section(seen.walls, plane.centre, plane.normal), plane.normal)
    turns = [angle(plane.normal, other.junction.normal) for other in others]
    lifts = [abs(float(plane.height(other.junction.centre))) for other in others]
    annulus = known["aortic_annulus"].geometry
    above = aside = float("nan")
    if isinstance(annulus, Plane):
        above = float(annulus.height(sized.centre))
        aside = angle(sized.centre - annulus.centre, annulus.normal)
    below = [known[name].confidence.value for name in HINGES if name in known]
    evidence = (
        favouring("height of the sinuses over it", found.junction_rise / voxel, 0.5, "voxels"),
        against("distance of the bends from the plane", found.junction_residual, 3.0, "mm"),
        _stable("turn", turns, 15.0, "°"),
        _stable("shift", lifts, 3.0, "mm"),
        favouring("height over the annulus", above, 5.0, "mm"),
        against("angle off the axis of the annulus", aside, 30.0, "°"),
        favouring("mean confidence of the hinge points", float(np.mean(below or [1.0])), 0.1),
    )
    return Landmark(
        "sinotubular_junction",
        sized,
        Confidence(evidence),
        measures={**sizes, "height over the annulus mm": above},
    )
