"""Which neck, which head and which cut bring the centre of the hip back to where it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.implants.stem import HEADS, NECKS, HipStem
from organtwin.index import Index
from organtwin.landmarks.record import Landmark, Line, Plane, Sphere, find
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.surgery.cuts import resection_plane
from organtwin.surgery.placement import Frame, stem_frame

type Points = NDArray[np.float64]

#: Heights of the neck's cut over the lesser trochanter (mm) among which one is chosen: our choice,
#: around the 10 to 15 mm that surgeons speak of.
CUTS = (5.0, 20.0)
#: Heights that are tried; between them the stem's height is interpolated.
TRIED = 4
#: Errors (mm) that are taken as alike: the plainer neck and head are preferred then.
ALIKE = 1.0
#: Largest change of the leg's length and of the offset (mm) without concern.
LONGER, BESIDE = 10.0, 5.0


@dataclass(frozen=True)
class Restored:
    """A stem with neck and head, and the cut that it is put at.

    Attributes:
        stem: With that neck and head.
        cut: Height of the neck's cut over the lesser trochanter (mm).
        plane: The cut, its normal to the head.
        frame: Of the stem.
        leg: By how much the leg gets longer (mm).
        offset: By how much the head's centre gets farther from the stem's axis (mm).
        note: What was chosen, in words; empty if nothing was.
    """

    stem: HipStem
    cut: float
    plane: Plane
    frame: Frame
    leg: float
    offset: float
    note: str = ""


def restored(
    bone: TriangleSurface,
    marks: Sequence[Landmark],
    stem: HipStem,
    *,
    cut: float | None = None,
    neck: str | None = None,
    head: float | None = None,
    version: float = 0.0,
) -> Restored:
    """The neck, head and cut whose head's centre comes nearest to that of the bone.

    A lower cut lowers the stem by as much, a longer head moves the centre along the neck, a neck
    moves it as `organtwin.implants.stem.NECKS` says. Of choices whose error, the distance in the
    plane of stem and neck, is alike within `ALIKE`, the first neck and the shortest change of the
    head is taken.

    Args:
        bone: Closed surface of the femur.
        marks: Its landmarks.
        stem: With its plain neck and head.
        cut: Height over the lesser trochanter (mm); one of `CUTS` if None.
        neck: One of `NECKS`; any if None.
        head: By how much the head sits farther out than the plain one (mm); one of `HEADS` if None.
        version: Turn of the stem about the shaft against the neck (rad).

    Raises:
        InputError: no such neck, none can be made for this stem, or no cut on the neck.
    """
    if neck is not None and neck not in NECKS:
        raise InputError("hip stem neck", f"no neck `{neck}`.", suggestion(neck, NECKS))
    sphere, axis, shaft = (
        find(marks, name).geometry
        for name in ("femoral_head", "femoral_neck_axis", "femoral_shaft_axis")
    )
    assert isinstance(sphere, Sphere)
    assert isinstance(axis, Line)
    assert isinstance(shaft, Line)
    native = np.asarray(sphere.centre)

    def cut_at(height: float) -> tuple[Plane, Frame]:
        plane = resection_plane(bone, marks, height=height, tilt=stem.ccd - 90.0)
        turn = float(np.degrees(version))
        return plane, stem_frame(native, axis, shaft, plane, anteversion=turn)

    def change(made: HipStem, at: Frame) -> tuple[float, float]:
        off = at.origin + made.head_point @ at.axes - native
        return float(off @ at.axes[2]), float(off @ at.axes[0])

    cuts, frames = _possible(cut_at, cut)
    found: list[tuple[float, HipStem, float]] = []
    for made in _versions(stem, neck, head):
        both = np.array([change(made, at) for at in frames])
        best = cuts[0]
        if len(cuts) > 1:  # the leg gets longer with the height of the cut
            best = float(np.interp(0.0, both[:, 0], cuts))
        off = [float(np.interp(best, cuts, both[:, k])) for k in (0, 1)]
        found.append((math.hypot(*off), made, best))
    if not found:
        raise InputError(
            f"hip stem {stem.name}",
            f"it can't have the neck `{neck}`.",
            "Take another neck or size.",
        )
    least = min(error for error, _, _ in found)
    taken, height = next((made, best) for error, made, best in found if error <= least + ALIKE)
    plane, at = cut_at(height)
    leg, offset = change(taken, at)
    note = ""
    if None in (cut, neck, head):
        note = (
            f"The neck is cut {height:.1f} mm above the lesser trochanter, for {taken.name} and "
            f"a head of {taken.head_length:+g} mm: the nearest to the hip's own centre "
            f"(leg {leg:+.1f} mm, offset {offset:+.1f} mm)."
        )
    return Restored(taken, height, plane, at, leg, offset, note)


def centre_indices(leg: float, offset: float) -> list[Index]:
    """Change of the leg's length and of the offset as indices."""
    source = (
        "threshold remembered: differences of the legs above 10 mm are felt by many patients; that "
        "of the offset, 5 mm, is remembered from studies of gait"
    )
    return [
        Index.of("place", "leg_longer", leg, "mm", "motion of the head's centre up the shaft",
                 source, -LONGER, LONGER),
        Index.of("place", "offset_larger", offset, "mm",
                 "motion of the head's centre away from the stem's axis", source, -BESIDE, BESIDE),
    ]  # fmt: skip


def _possible(
    cut_at: Callable[[float], tuple[Plane, Frame]], cut: float | None
) -> tuple[list[float], list[Frame]]:
    """Heights that can be cut, ascending, and where the stem comes with each."""
    heights = [cut] if cut is not None else np.linspace(*CUTS, TRIED).tolist()
    cuts, frames, refused = [], [], None
    for height in heights:
        try:
            frames.append(cut_at(height)[1])
            cuts.append(float(height))
        except InputError as error:
            refused = error
    if not cuts:
        assert refused is not None
        raise refused
    return cuts, frames


def _versions(stem: HipStem, neck: str | None, head: float | None) -> Iterator[HipStem]:
    """Stems with each neck and head, the plainest first."""
    for name in NECKS if neck is None else [neck]:
        try:
            made = stem.with_neck(name)
        except InputError:
            continue
        for length in sorted(HEADS, key=abs) if head is None else [head]:
            yield made.with_head(length)
