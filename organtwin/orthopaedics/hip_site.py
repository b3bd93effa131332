"""Where a hip stem goes: the femur, made whole where its image ends, its cut and directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.volume import Image
from organtwin.landmarks.catalogue import landmarks_of
from organtwin.landmarks.record import Landmark, Line, Plane, Point, Sphere, find
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.orthopaedics.assembly import Fineness
from organtwin.orthopaedics.bone_model import (
    ALIKE,
    Completed,
    CortexLaw,
    completed,
    extended,
    merged,
    painted,
)
from organtwin.orthopaedics.hip_centre import Restored
from organtwin.surgery.sides import femur_side

type Points = NDArray[np.float64]

#: Cortex and density of a femur without a scan, by the height over the lesser trochanter.
FEMUR = CortexLaw(
    (-60.0, -25.0, 0.0, 30.0, 50.0), (6.0, 5.5, 4.0, 1.8, 1.5), (-50.0, -50.0, 80.0, 200.0, 350.0)
)
#: Distance (mm) from the end of the bone at which its section is taken for a longer shaft.
END = 5.0
#: Least confidence of the shaft's axis.
SEEN = 0.3


@dataclass(frozen=True)
class HipStemOptions:
    """How a stem is chosen, placed and meshed.

    Attributes:
        family: Implant file of stems, of the catalogue or a path.
        size: One of its sizes; without it the largest that fits.
        calcar: Height of the neck's cut over the lesser trochanter (mm).
            Without it what brings the hip's centre back, see `organtwin.orthopaedics.hip_centre`;
            so with ``neck`` and ``head``.
        neck: One of `organtwin.implants.stem.NECKS`.
        head: How much farther out than the plain one the head sits (mm).
        stop: Where a cut along the shaft ends that of the neck (mm from the shaft's axis).
        version: Turn of the stem about the shaft against the neck (rad), by the right hand.
        ream: Depth to which cortex may be broached away (mm).
        keep: Thickness of bone that must stay around the stem (mm).
        law: Cortex and density where no scan tells.
        longer: Whether a shaft that ends too early goes on straight.
        beyond: Length of bone below the stem's tip (mm).
        fineness: Edge lengths.
    """

    family: str | Path = "tapered_stem"
    size: str | None = None
    calcar: float | None = None
    neck: str | None = None
    head: float | None = None
    stop: float = 4.0
    version: float = 0.0
    ream: float = 1.0
    keep: float = 2.0
    law: CortexLaw = FEMUR
    longer: bool = True
    beyond: float = 35.0
    fineness: Fineness = field(default_factory=lambda: Fineness(3.0, 2.2, 1.8, 1.6))


@dataclass(frozen=True)
class Site:
    """The femur and where things are in it.

    Attributes:
        bone: Its closed surface, with a shaft that is long enough.
        marks: Its landmarks.
        plane: Cut of the neck, its normal to the head.
        up: Direction of the shaft to the head, shape (3,).
        zero: The lesser trochanter (mm), from which heights are counted, shape (3,).
    """

    bone: TriangleSurface
    marks: tuple[Landmark, ...]
    plane: Plane
    up: Points
    zero: Points

    @property
    def head(self) -> Points:
        """Centre of the head (mm), shape (3,)."""
        geometry = find(self.marks, "femoral_head").geometry
        assert isinstance(geometry, Sphere)
        return np.asarray(geometry.centre)

    def line(self, name: str) -> Line:
        """A landmark that is a line."""
        geometry = find(self.marks, name).geometry
        assert isinstance(geometry, Line)
        return geometry


def whole_femur(
    bone: TriangleSurface,
    template: TriangleSurface,
    side: str | None,
    asked: HipStemOptions,
    notes: list[str],
) -> Completed:
    """The bone with what a template has below it."""
    if side is None:
        raise InputError("hip stem", "no side with a template.", "Say `left` or `right`.")
    other = landmarks_of("femur", template)
    heads = [find(m, "femoral_head").geometry for m in (landmarks_of("femur", bone), other)]
    one, two = heads
    assert isinstance(one, Sphere)
    assert isinstance(two, Sphere)
    made = completed(
        bone, template, (one, two), mirrored=femur_side(other) != side, up=np.eye(3)[2],
        voxel=asked.fineness.voxel,
    )  # fmt: skip
    notes.append(
        f"Below z = {made.border[2]:.0f} mm the bone is not the patient's: the image ends there. "
        f"It is another person's femur, scaled by {made.scale:.2f} to the head and fitted to what "
        f"the image shows within {made.rms:.1f} mm (r.m.s. of the best "
        f"{100 * ALIKE:.0f} %); canal and cortex there follow the law."
    )
    return made


def refuse_short(marks: Sequence[Landmark], template: TriangleSurface | None) -> None:
    """Refuse bones whose shaft was not seen."""
    known = {mark.name: mark for mark in marks}
    shaft = known.get("femoral_shaft_axis")
    if shaft is not None and shaft.confidence.value >= SEEN and "lesser_trochanter" in known:
        return
    said = "no shaft" if shaft is None else f"a shaft of confidence {shaft.confidence.value:.2f}"
    raise InputError(
        "hip stem", f"the bone shows {said}: its image ends too early.",
        "Give a template, or place femoral_shaft_axis and lesser_trochanter in 3D Slicer."
        if template is None else "Place femoral_shaft_axis in 3D Slicer.",
    )  # fmt: skip


def image_of(
    site: Site,
    asked: HipStemOptions,
    scan: Image | None,
    border: Completed | None,
    notes: list[str],
) -> Image:
    """Grey values (HU) of all of the bone: the scan's as far as it goes, then those of the law."""
    law = asked.law
    by_law = painted(site.bone, law, site.up, site.zero, 1.5)
    told = ", ".join(
        f"{t:g} mm at {h:+g} mm" for h, t in zip(law.heights, law.thickness, strict=True)
    )
    where = "No scan" if scan is None else "Where the scan does not reach"
    notes.append(
        f"{where}: cortex of {told} from the lesser trochanter, {law.level:g} HU in it "
        f"({law.source})."
    )
    if scan is None:
        return by_law
    if border is not None:
        return merged(scan, by_law, border.border, border.up)
    return merged(scan, by_law, scan.grid.points(np.zeros((1, 3)))[0] - 1e3 * site.up, site.up)


def site_of(
    bone: TriangleSurface,
    marks: tuple[Landmark, ...],
    asked: HipStemOptions,
    placed: Restored,
    notes: list[str],
) -> Site:
    """Cut, directions, and a shaft that is long enough."""
    stem = placed.stem
    plane = placed.plane
    shaft = find(marks, "femoral_shaft_axis").geometry
    low = find(marks, "lesser_trochanter").geometry
    head = find(marks, "femoral_head").geometry
    assert isinstance(shaft, Line)
    assert isinstance(low, Point)
    assert isinstance(head, Sphere)
    up = shaft.direction if (head.centre - shaft.end) @ shaft.direction > 0.0 else -shaft.direction
    axis = _origin(plane, shaft)
    tip = float((axis - stem.length * up - bone.points.mean(axis=0)) @ up)
    end = float(((bone.points - bone.points.mean(axis=0)) @ up).min())
    missing = end + END - tip + asked.beyond
    if missing > 0.0:
        room = float((axis - bone.points.mean(axis=0)) @ up) - end - asked.beyond
        if not asked.longer:
            raise InputError(
                "hip stem",
                f"the shaft ends {missing:.0f} mm too early for a stem of {stem.length:.0f} mm.",
                f"Stems of up to {room:.0f} mm fit, or let the shaft go on (longer).",
            )
        plane_at = bone.points.mean(axis=0) + (end + END) * up
        bone = extended(bone, -up, plane_at, missing, voxel=asked.fineness.voxel)
        notes.append(
            f"The image ends {end - tip:.0f} mm above the stem's tip: the shaft goes "
            f"on straight for {missing:.0f} mm with the section that it has {END:g} mm above its "
            "end. Nothing is known of that bone."
        )
    return Site(bone, marks, plane, up, low.at)


def _origin(plane: Plane, shaft: Line) -> Points:
    """Where the shaft's axis meets the neck's cut."""
    way = shaft.direction
    return np.asarray(
        shaft.start + float((plane.centre - shaft.start) @ plane.normal)
        / float(way @ plane.normal) * way
    )  # fmt: skip
