"""What to look at in a measured root: one sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from organtwin.aortic_root.ostia import Ostium
from organtwin.aortic_root.outline import Outline
from organtwin.landmarks.aorta import HINGES, AorticLook
from organtwin.landmarks.fits import angle
from organtwin.landmarks.record import AUTOMATIC, Landmark, Plane, Point

type Vector = NDArray[np.float64]

#: Angle between annulus and junction beyond which it is told (degrees).
ASKEW = 25.0
#: A hinge point this much nearer to the junction than the other two, or farther, is told.
UNEVEN = 0.6
#: Confidence of a landmark, and of an ostium, below which it is told to be doubtful.
UNSURE, DOUBTFUL = 0.3, 0.1
#: Share of an outline that must be seen.
SEEN = 0.6


def notes_of(
    look: AorticLook, annulus: Plane, hinges: Vector, junction: Plane,
    coronaries: Mapping[str, Ostium], drawn: Mapping[str, Outline], *, lost: bool,
) -> tuple[str, ...]:  # fmt: skip
    """What to look at.

    Args:
        look: What was found.
        annulus: Its plane.
        hinges: Hinge points: right, left, non-coronary (mm), shape (3, 3).
        junction: Plane of the sinotubular junction.
        coronaries: Ostia, as far as found.
        drawn: Outlines that are measured.
        lost: Whether landmarks weren't found again with the wall moved.
    """
    known = {landmark.name: landmark for landmark in look.landmarks}
    notes = []
    if lost:
        notes.append("With the wall half a voxel off hinge points or junction lie elsewhere: the "
                     "intervals hold the shift of the outlines alone.")  # fmt: skip
    notes += _anatomy(known, annulus, hinges, junction)
    notes += _without_leaflet(look, known)
    notes += _ostia(known, coronaries)
    for name in (*HINGES, "aortic_annulus", "sinotubular_junction"):
        if name in known and known[name].confidence.value < UNSURE:
            notes.append(f"`{name}` has a confidence of {known[name].confidence.value:.2f}; "
                         "look at the picture and correct it in 3D Slicer.")  # fmt: skip
    for name, one in drawn.items():
        if one.seen < SEEN:
            notes.append(f"Of the outline `{name}` {100.0 * one.seen:.0f} % were seen; the rest is "
                         "carried on smoothly.")  # fmt: skip
    return tuple(notes)


def _anatomy(
    known: Mapping[str, Landmark], annulus: Plane, hinges: Vector, junction: Plane
) -> Iterator[str]:
    """Hinge points that lie as they seldom should; the thresholds are our choice."""
    found = [name for name in HINGES if name in known and known[name].source == AUTOMATIC]
    askew = angle(annulus.normal, junction.normal)
    askew = min(askew, 180.0 - askew)
    if askew > ASKEW and found:
        least = min(found, key=lambda name: known[name].confidence.value)
        yield (
            f"Annulus and junction are tilted {askew:.0f}° against each other: look at the hinge "
            f"points, first at `{least}`."
        )
    depths = np.abs(junction.height(hinges))
    for k, name in enumerate(HINGES):
        other = np.delete(depths, k)
        if name in found and not UNEVEN < depths[k] / other.mean() < 1.0 / UNEVEN:
            yield (
                f"`{name}` lies {depths[k]:.0f} mm below the junction, the others "
                f"{other[0]:.0f} and {other[1]:.0f} mm: look at it."
            )


def _without_leaflet(look: AorticLook, known: Mapping[str, Landmark]) -> Iterator[str]:
    """Hinge points of a scan that were not found by a leaflet."""
    if look.found is None or look.lumen is None or not look.lumen.grey:
        return
    bare = [lobe.hinge for lobe in look.found.lobes
            if lobe.border is None or not lobe.border.darkness]  # fmt: skip
    places = {name: known[name].geometry for name in HINGES if name in known}
    names = [name for name, place in places.items()
             if isinstance(place, Point) and any(place.at is at for at in bare)]  # fmt: skip
    if names:
        yield (
            f"No closed leaflet is seen at {', '.join(f'`{name}`' for name in names)}: the bend of "
            "the wall is taken, which lies some mm lower where the septum bulges."
        )


def _ostia(known: Mapping[str, Landmark], coronaries: Mapping[str, Ostium]) -> Iterator[str]:
    for side in ("right", "left"):
        name = f"coronary_ostium_{side}"
        if side not in coronaries:
            yield f"No {side} coronary ostium was found; place `{name}` in 3D Slicer."
        elif not coronaries[side].diameter:
            yield (
                f"The {side} coronary artery wasn't seen beyond its ostium; its height is "
                "that of the point, not of the lower edge."
            )
        if name in known and known[name].confidence.value < DOUBTFUL:
            yield (
                f"The {side} coronary ostium is doubtful "
                f"({known[name].confidence.value:.2f}); look at it."
            )
