"""Placing devices by landmarks, planned or moved by a person in 3D Slicer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.markups import Markup, read_markups
from organtwin.landmarks.fits import frame, unit
from organtwin.landmarks.placed import placed, same
from organtwin.landmarks.record import Landmark, Line, Plane
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.surgery.rigid import PairFit, Rigid, fit_pairs
from organtwin.surgery.screws import Screw

type Points = NDArray[np.float64]

#: Sine of the angle below which two directions don't make a frame.
PARALLEL = 1e-3


@dataclass(frozen=True)
class Frame:
    """A place with directions.

    Attributes:
        origin: Its origin (mm), shape (3,).
        axes: Rows are its right-handed unit vectors x, y, z, shape (3, 3).
    """

    origin: Points
    axes: Points

    @classmethod
    def of(cls, origin: Points, z: Points, x: Points) -> Frame:
        """Frame whose third axis is a direction and whose first is near another one.

        Raises:
            InputError: the two directions are parallel or zero.
        """
        lengths = float(np.linalg.norm(z) * np.linalg.norm(x))
        if not np.linalg.norm(np.cross(z, x)) > PARALLEL * lengths:
            raise InputError("frame", "its two directions are parallel.", "Place another point.")
        return cls(np.asarray(origin, float), frame(np.asarray(z, float), np.asarray(x, float)))

    @classmethod
    def of_points(cls, origin: Points, along: Points, beside: Points) -> Frame:
        """Frame at a point, its third axis to a second one, its first towards a third one."""
        return cls.of(origin, np.asarray(along, float) - origin, np.asarray(beside, float) - origin)

    def to(self, other: Frame) -> Rigid:
        """Motion that brings this frame onto another one."""
        rotation = other.axes.T @ self.axes
        return Rigid(rotation, other.origin - rotation @ self.origin)


@dataclass(frozen=True)
class Device:
    """An implant as a closed surface with a frame.

    Attributes:
        name: What it is called.
        surface: Its closed surface, where it is (mm).
        frame: Its own frame: for a stem the point on its axis at the neck's cut, z up the axis and
            x medially; for a plate the middle of its underside, z off the bone, x along it.
        points: Further named points of it, such as holes.
        side: ``left`` or ``right`` if it has one.
    """

    name: str
    surface: TriangleSurface
    frame: Frame
    points: Mapping[str, Points] = field(default_factory=dict)
    side: str | None = None

    def moved(self, motion: Rigid) -> Device:
        """The device after a motion."""
        return replace(
            self,
            surface=motion.surface(self.surface),
            frame=Frame(motion.points(self.frame.origin), self.frame.axes @ motion.rotation.T),
            points={name: motion.points(point) for name, point in self.points.items()},
        )

    def at(self, target: Frame) -> Device:
        """The device with its frame on another one."""
        return self.moved(self.frame.to(target))

    def by_points(self, landmarks: Mapping[str, Points]) -> tuple[Device, PairFit]:
        """The device with its points on landmarks of the same names; see `fit_pairs`."""
        fit = fit_pairs(self.points, landmarks)
        return self.moved(fit.motion), fit


def planned(
    defaults: Sequence[Landmark], overrides: str | Path | Sequence[Markup] | None = None
) -> tuple[Landmark, ...]:
    """Landmarks of a plan, those that a person placed or moved instead of the default ones.

    Args:
        defaults: The plan: cuts as planes, screws as lines from head to tip, points of plates.
        overrides: ``.mrk.json`` file of 3D Slicer with markups of the same names, or markups; those
            that lie where the plan has them leave it as it is.

    Raises:
        InputError: a markup has no name of the plan, or is of another kind; see `read_markups`.
    """
    if overrides is None:
        return tuple(defaults)
    kinds = {landmark.name: type(landmark.geometry) for landmark in defaults}
    if isinstance(overrides, str | Path):
        given = placed(read_markups(overrides), kinds, f"markups {Path(overrides).name}")
    else:
        given = placed(overrides, kinds, "markups")
    return tuple(
        given[old.name]
        if old.name in given and not same(given[old.name].geometry, old.geometry)
        else old
        for old in defaults
    )


def screw_at(
    landmark: Landmark, diameter: float, core: float, *, thread: float | None = None
) -> Screw:
    """Screw along a line from head to tip.

    Raises:
        InputError: the landmark is no line, or the diameters are impossible.
    """
    if not isinstance(landmark.geometry, Line):
        raise InputError(f"`{landmark.name}`", "it is no line.", "Draw it from head to tip.")
    line = landmark.geometry
    return Screw(line.start, line.end, diameter, core, thread, landmark.name)


def stem_frame(
    head: Points, neck: Line, shaft: Line, cut: Plane, *, anteversion: float = 0.0
) -> Frame:
    """Frame of a hip stem in a femur.

    The origin is where the shaft's axis meets the cut of the neck, z goes up the shaft, x towards
    the head, turned about z by an angle if the stem shall have another version than the neck.

    Args:
        head: Centre of the femoral head (mm), shape (3,).
        neck: Axis of the neck.
        shaft: Axis of the shaft.
        cut: Cut of the neck.
        anteversion: Angle by which the stem is turned about the shaft against the neck, positive by
            the right hand about z (degrees).

    Raises:
        InputError: the cut is parallel to the shaft.
    """
    up = unit(shaft.end - shaft.start)
    up = up if (head - 0.5 * (shaft.start + shaft.end)) @ up > 0.0 else -up
    steep = float(up @ cut.normal)
    if abs(steep) < PARALLEL:
        raise InputError("stem", "the cut runs along the shaft.", "Check the cut's normal.")
    origin = shaft.start + float((cut.centre - shaft.start) @ cut.normal) / steep * up
    along = neck.end - neck.start
    medial = along if (head - origin) @ along > 0.0 else -along
    turn = Rigid.turn(up, anteversion, np.zeros(3)) if anteversion else Rigid.none()
    return Frame.of(origin, up, turn.points(medial))
