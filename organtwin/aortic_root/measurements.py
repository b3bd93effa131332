"""Measures of an aortic root for the planning of a transcatheter valve, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from organtwin.aortic_root.calcium import Blood, Calcium, calcium, threshold_of
from organtwin.aortic_root.definitions import DEFINITIONS, Quantity
from organtwin.aortic_root.inputs import (
    refuse_cut_off,
    refuse_outside,
    refuse_outside_points,
    refuse_without_contrast,
    seen_or_cut_off,
)
from organtwin.aortic_root.levels import Levels, RootFrame, frame_of
from organtwin.aortic_root.notes import notes_of
from organtwin.aortic_root.ostia import Ostium, ostium
from organtwin.aortic_root.outline import RING, SINUS, Outline, Walls, outline
from organtwin.aortic_root.parametric import CUSPS, OUTFLOW_LEVEL
from organtwin.aortic_root.septum import MembranousSeptum, membranous_septum
from organtwin.aortic_root.sizing import DeviceSize, Oversizing, oversizing
from organtwin.errors import InputError
from organtwin.image.markups import Markup
from organtwin.image.volume import Image, LabelMap
from organtwin.landmarks.aorta import HINGES, AorticLook, look_at_aorta
from organtwin.landmarks.catalogue import given_for, placed_by_hand
from organtwin.landmarks.fits import angle, fit_plane, frame, unit
from organtwin.landmarks.record import AUTOMATIC, Landmark, Plane, Point, find
from organtwin.landmarks.root import Lumen

type Vector = NDArray[np.float64]

#: Lowest level below the annulus and distance of the levels (mm).
LOWEST, BETWEEN = 10.0, 1.0
#: Depths below the annulus and heights over the junction at which the blood is looked at (mm).
TRACT, TUBE = (-8.0, -3.0), (3.0, 15.0)
#: Part of the radius around the middle that is taken for blood alone.
CORE = 0.6
#: Half the width of the box that holds a root (mm).
REACH = 38.0
#: A landmark that the shift of the wall moves farther (mm), or a plane that it turns by more
#: (degrees), was not found again.
STRAYED, TURNED = 5.0, 20.0
#: Share of a section that must lie below the junction.
WHOLE = 0.95


@dataclass(frozen=True)
class RootMeasures:
    """What a planner measures in an aortic root.

    Attributes:
        quantities: Name → value with its interval; see `organtwin.aortic_root.definitions`.
        landmarks: Hinge points, annulus, junction, ostia.
        outlines: ``annulus``, ``outflow``, ``sinuses`` and ``junction``.
        ostia: ``right`` and ``left``, as far as found.
        frame: Cylinder coordinates, with the commissures.
        levels: Sections parallel to the annulus.
        septum: Where the membranous septum lies.
        calcium: Calcium; none without a scan.
        notes: What to look at, one sentence each.
    """

    quantities: Mapping[str, Quantity]
    landmarks: tuple[Landmark, ...]
    outlines: Mapping[str, Outline]
    ostia: Mapping[str, Ostium]
    frame: RootFrame
    levels: Levels
    septum: MembranousSeptum
    calcium: Calcium | None
    notes: tuple[str, ...]

    def sizes(self, devices: Sequence[DeviceSize]) -> tuple[Oversizing, ...]:
        """Oversizing of each size of a device."""
        area, length = (self.quantities[f"annulus_{k}"] for k in ("area", "perimeter"))
        return tuple(
            oversizing(one, (area.value, area.low, area.high),
                       (length.value, length.low, length.high))
            for one in devices
        )  # fmt: skip


@dataclass(frozen=True)
class _Planes:
    """Where is measured.

    Attributes:
        annulus: Its plane, the normal upwards.
        hinges: Hinge points: right, left, non-coronary (mm), shape (3, 3).
        junction: Plane of the sinotubular junction.
    """

    annulus: Plane
    hinges: Vector
    junction: Plane

    @property
    def axes(self) -> Vector:
        """Axes of the annulus, the first towards the right hinge point, shape (3, 3)."""
        return frame(self.annulus.normal, self.hinges[0] - self.annulus.centre)


def measure_root(
    image: Image | None,
    labels: LabelMap,
    *,
    overrides: str | Path | Sequence[Markup] | None = None,
    rule: str = "adaptive",
) -> RootMeasures:
    """Measure an aortic root.

    The landmarks are those of `organtwin.landmarks.aorta`; what a person placed in 3D Slicer wins.
    Sections are outlined on the steepest edge of the scan, see `organtwin.aortic_root.outline`.
    Each interval comes from the wall half a voxel farther in and out: landmarks that were found are
    found again there, outlines and edges of ostia are shifted. It tells what the segmentation
    leaves open, not motion, phase or reading.

    Args:
        image: Contrast CT (HU) on the grid of the labels; without it there is no calcium, and
            borders are those of the labels.
        labels: Label map with the aorta, better with ``lv_blood``; the recipe
            ``heart_and_aorta_ct`` makes one.
        overrides: ``.mrk.json`` file of 3D Slicer, or markups.
        rule: Rule for the threshold of calcium, see `organtwin.aortic_root.calcium.RULES`.

    Raises:
        InputError: no contrast, the root is cut off by the field of view, a placed point lies
            outside of the image, or the root can't be seen.
    """
    grid = labels.grid
    if image is not None:
        refuse_without_contrast(image, labels)
    refuse_outside_points(given_for("aorta", overrides).values(), grid)
    given = placed_by_hand("aorta", labels, image, overrides)
    with seen_or_cut_off(labels):
        look = look_at_aorta(labels, image, given)
    planes = _planes(look.landmarks)
    refuse_cut_off(planes.annulus, planes.junction, grid)
    lumen = _lumen(look, image, labels)
    blood = Blood.of(_core(image, planes)) if image is not None else None
    lime = threshold_of(blood, rule) if blood is not None else float("inf")
    walls = Walls.around(
        lumen, look.found.root if look.found else None,
        0.5 * (planes.annulus.centre + planes.junction.centre), REACH, lime,
    )  # fmt: skip
    with seen_or_cut_off(labels):
        levels, drawn = _sections(walls, planes)
    refuse_outside(drawn, grid)
    coronaries = _ostia(walls, look.landmarks, planes)
    system = frame_of(planes.annulus.centre, planes.axes, planes.hinges, drawn["sinuses"])
    quantities, lost = _quantities(walls, look, planes, coronaries, drawn)
    return RootMeasures(
        quantities,
        look.landmarks,
        drawn,
        coronaries,
        system,
        levels,
        membranous_septum(levels, system),
        calcium(image, levels, system, blood, rule) if image is not None and blood else None,
        notes_of(
            look, planes.annulus, planes.hinges, planes.junction, coronaries, drawn, lost=lost
        ),
    )


def _lumen(look: AorticLook, image: Image | None, labels: LabelMap) -> Lumen:
    if look.walls is not None:
        return look.walls
    mask = labels.mask(*(n for n in labels.names if n not in {"calcium", "coronaries"}))
    return Lumen.of_image(image, mask) if image is not None else Lumen.of_labels(mask, labels.grid)


def _planes(landmarks: Sequence[Landmark]) -> _Planes:
    annulus = find(landmarks, "aortic_annulus").geometry
    junction = find(landmarks, "sinotubular_junction").geometry
    assert isinstance(annulus, Plane)
    assert isinstance(junction, Plane)
    up = annulus.normal
    if up @ (junction.centre - annulus.centre) < 0.0:
        up = -up
    points = [m.geometry.at for n in HINGES for m in landmarks
              if m.name == n and isinstance(m.geometry, Point)]  # fmt: skip
    if len(points) < 3:  # a person placed the plane alone: thirds from the front on
        axes = frame(up, np.array([0.0, -1.0, 0.0]))
        turn = np.radians([0.0, 120.0, 240.0])
        ring = 0.5 * (annulus.diameter or 24.0) * np.column_stack([np.cos(turn), np.sin(turn)])
        points = list(annulus.centre + ring @ axes[:2])
    across = junction.normal if junction.normal @ up > 0.0 else -junction.normal
    return _Planes(replace(annulus, normal=up), np.array(points), replace(junction, normal=across))


def _core(image: Image, planes: _Planes) -> Vector:
    """Grey values in the middle of outflow tract and ascending aorta, where no leaflets are."""
    values = []
    turn = np.arange(24) * 2.0 * np.pi / 24.0
    for plane, ends in ((planes.annulus, TRACT), (planes.junction, TUBE)):
        axes = frame(plane.normal)
        for height in np.arange(*ends, 0.5):
            for share in (0.0, 0.3, 0.6, 1.0):
                far = share * CORE * 0.5 * (plane.diameter or 20.0)
                ring = far * np.column_stack([np.cos(turn), np.sin(turn)])
                values.append(plane.centre + height * plane.normal + ring @ axes[:2])
    index = np.round(image.grid.index(np.concatenate(values))).astype(int)
    inside = np.all((index >= 0) & (index < image.grid.shape), axis=1)
    return np.asarray(image.values[tuple(np.unique(index[inside], axis=0).T)], float)


# ---------------------------------------------------------------------------------------- sections


def _sections(walls: Walls, planes: _Planes) -> tuple[Levels, dict[str, Outline]]:
    """Outlines at all levels, and those that are measured.

    Raises:
        InputError: none or too few are seen.
    """
    axes, ring = planes.axes, planes.annulus
    top = float(ring.height(planes.junction.centre))
    heights, outlines, centre = [], [], ring.centre
    for height in np.arange(-LOWEST, top + 0.5 * BETWEEN, BETWEEN):
        share = height / max(top, 1.0)
        centre = ring.centre + height * ring.normal
        if share > 0.0:  # towards the middle of the junction, in the plane of this height
            aside = planes.junction.centre - ring.centre - top * ring.normal
            centre = centre + share * aside
        found = outline(walls, centre, axes, RING if height <= 0.0 else SINUS)
        if found is not None:
            heights.append(height)
            outlines.append(found)
    if len(heights) < 5:
        raise InputError("aortic root", "its wall isn't seen in its sections.",
                         "Check labels and landmarks.")  # fmt: skip
    levels = Levels(np.array(heights), outlines)
    drawn = _wanted(walls, planes, _widest(levels, planes.junction))
    return levels, drawn


def _wanted(walls: Walls, planes: _Planes, widest: Vector) -> dict[str, Outline]:
    """The outlines that are measured.

    Raises:
        InputError: one of them isn't seen.
    """
    axes, ring, top = planes.axes, planes.annulus, planes.junction
    places = {
        "annulus": (ring.centre, axes, RING),
        "outflow": (ring.centre - OUTFLOW_LEVEL * ring.normal, axes, RING),
        "sinuses": (widest, axes, SINUS),
        "junction": (top.centre, frame(top.normal, axes[0]), RING),
    }
    drawn = {}
    for name, (centre, across, order) in places.items():
        hidden = planes.hinges if name == "annulus" else None
        found = outline(walls, centre, across, order, hidden)
        if found is None:
            raise InputError(f"section `{name}`", "no lumen is seen in it.",
                             "Check labels and landmarks in 3D Slicer.")  # fmt: skip
        drawn[name] = found
    return drawn


def _widest(levels: Levels, junction: Plane) -> Vector:
    """Middle of the widest section (mm), by a parabola through the areas near it, shape (3,).

    Sections that cross the junction, tilted against the annulus, are no sections of the sinuses.
    """
    whole = [np.mean(junction.height(one.points) < 0.0) > WHOLE for one in levels.outlines]
    inner = np.flatnonzero((levels.heights > 2.0) & np.array(whole))
    if len(inner) < 4:
        inner = np.flatnonzero(levels.heights > 2.0)
    areas = np.array([levels.outlines[int(k)].area for k in inner])
    best = int(np.argmax(areas))
    near = slice(max(best - 3, 0), best + 4)
    heights = levels.heights[inner]
    square, slope, _ = np.polyfit(heights[near] - heights[best], areas[near], 2)
    shift = float(np.clip(-0.5 * slope / square, -2.0, 2.0)) if square < 0.0 else 0.0
    one = levels.outlines[int(inner[best])]
    return np.asarray(one.centre + shift * one.axes[2])


def _ostia(walls: Walls, landmarks: Sequence[Landmark], planes: _Planes) -> dict[str, Ostium]:
    axis = unit(planes.junction.centre - planes.annulus.centre)
    found = {}
    for landmark in landmarks:
        for side in ("right", "left"):
            place = landmark.geometry
            if landmark.name == f"coronary_ostium_{side}" and isinstance(place, Point):
                found[side] = ostium(walls, place.at, (planes.annulus.centre, axis),
                                     firm=landmark.source != AUTOMATIC)  # fmt: skip
    return found


# --------------------------------------------------------------------------------------- measures


def _quantities(
    walls: Walls, look: AorticLook, planes: _Planes, coronaries: Mapping[str, Ostium],
    drawn: Mapping[str, Outline],
) -> tuple[dict[str, Quantity], bool]:  # fmt: skip
    """All measures, with the least and largest value over the three places of the wall.

    Also whether at one of them the landmarks weren't found again.
    """
    half = 0.5 * float(np.mean(walls.lumen.grid.spacing))
    value = _values(planes, drawn, coronaries, 0.0)
    looks, lost = [value], False
    for shift in (-half, half):
        other, own = _moved(look, planes, shift), dict(drawn)
        try:
            own = _wanted(walls, other, drawn["sinuses"].centre) if other else own
        except InputError:
            other = None
        lost |= other is None and look.found is not None
        looks.append(_values(other or planes, own, coronaries, shift))
    quantities = {
        name: Quantity(
            value[name], min(one[name] for one in looks), max(one[name] for one in looks),
            definition.unit, definition.about,
        )
        for name, definition in DEFINITIONS.items()
        if name in value
    }  # fmt: skip
    return quantities, lost


def _moved(look: AorticLook, planes: _Planes, shift: float) -> _Planes | None:
    """The planes with the wall so much farther out, as far as they weren't placed.

    Nothing where they aren't found again within reach.
    """
    other = look.moved(shift)
    if other is None:
        return None
    known = {landmark.name: landmark for landmark in look.landmarks}
    again = np.array([lobe.hinge for lobe in other.lobes])
    hinges = np.array([
        at if known.get(name) is not None and known[name].source != AUTOMATIC
        else again[np.argmin(np.linalg.norm(again - at, axis=1))]
        for name, at in zip(HINGES, planes.hinges, strict=True)
    ])  # fmt: skip
    annulus, junction = planes.annulus, planes.junction
    if known["aortic_annulus"].source == AUTOMATIC:
        fit = fit_plane(hinges)
        up = fit.normal if fit.normal @ annulus.normal > 0.0 else -fit.normal
        # The middle stays where the ring is; only its height and tilt are another.
        rise = float((fit.centre - annulus.centre) @ up) / float(up @ annulus.normal)
        annulus = replace(annulus, centre=annulus.centre + rise * annulus.normal, normal=up)
    if known["sinotubular_junction"].source == AUTOMATIC:
        junction = replace(other.junction, diameter=junction.diameter)
    strayed = [
        *np.linalg.norm(hinges - planes.hinges, axis=1),
        abs(float(planes.junction.height(junction.centre))),
    ]
    turned = angle(junction.normal, planes.junction.normal)
    if max(strayed) > STRAYED or turned > TURNED:
        return None
    return _Planes(annulus, hinges, junction)


def _values(
    planes: _Planes, drawn: Mapping[str, Outline], coronaries: Mapping[str, Ostium], shift: float
) -> dict[str, float]:
    """All measures with the wall at one place."""
    rings = {name: one.moved(shift) if shift else one for name, one in drawn.items()}
    up, ring = planes.annulus.normal, rings["annulus"]
    found = _ring("annulus", ring)
    found["annulus_ellipticity"] = found["annulus_diameter_min"] / found["annulus_diameter_max"]
    found |= _ring("outflow", rings["outflow"])
    across = _through(rings["sinuses"], planes)
    found |= {f"sinus_diameter_{cusp}": one for cusp, one in zip(CUSPS, across, strict=True)}
    found["sinus_diameter_mean"] = float(np.mean(across))
    found["sinus_level"] = float((rings["sinuses"].centre - ring.centre) @ up)
    below = -planes.junction.height(planes.hinges)
    found |= {f"sinus_height_{c}": float(one) for c, one in zip(CUSPS, below, strict=True)}
    found |= _ring("junction", rings["junction"])
    found["junction_height"] = float((rings["junction"].centre - ring.centre) @ up)
    for side, one in coronaries.items():
        edge = one.lower_edge(up, shift)
        found[f"coronary_height_{side}"] = float((edge - planes.annulus.centre) @ up)
    found["aortic_angulation"] = float(np.degrees(np.arctan2(-up[0], up[2])))
    return found


def _ring(name: str, ring: Outline) -> dict[str, float]:
    least, most = ring.calipers
    return {
        f"{name}_area": ring.area,
        f"{name}_perimeter": ring.perimeter,
        f"{name}_area_diameter": ring.area_diameter,
        f"{name}_perimeter_diameter": ring.perimeter_diameter,
        f"{name}_diameter_min": least,
        f"{name}_diameter_max": most,
    }


def _through(sinuses: Outline, planes: _Planes) -> Vector:
    """Diameters of a section through its middle from the farthest point by cusp (mm), (3,)."""
    system = frame_of(planes.annulus.centre, sinuses.axes, planes.hinges, sinuses)
    ask = np.linspace(0.0, 2.0 * np.pi, 1440, endpoint=False)
    far = sinuses.radius(ask)
    at = sinuses.centre + far[:, None] * (
        np.cos(ask)[:, None] * sinuses.axes[0] + np.sin(ask)[:, None] * sinuses.axes[1]
    )
    x, y, _ = system.coordinates(at)
    own = system.cusp(np.arctan2(y, x))
    across = []
    for cusp in range(3):
        top = np.flatnonzero(own == cusp)[np.argmax(far[own == cusp])]
        across.append(far[top] + sinuses.radius(ask[top : top + 1] + np.pi)[0])
    return np.array(across)
