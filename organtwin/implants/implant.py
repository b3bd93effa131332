"""`Implant`: a closed surface with names, a frame, reference points and a material."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.implants.mass import MassProperties, mass_properties
from organtwin.implants.materials import ImplantMaterial
from organtwin.mesh.surface_files import TriangleSurface, write_surface

type Points = NDArray[np.float64]

#: How far a rotation may be from orthonormal.
ORTHONORMAL = 1e-9


@dataclass(frozen=True)
class LocalFrame:
    """A place with directions.

    Attributes:
        origin: Its origin (mm), shape (3,).
        axes: Rows are its right-handed unit vectors x, y, z, shape (3, 3).
    """

    origin: Points
    axes: Points

    def __post_init__(self) -> None:
        axes = np.asarray(self.axes, float)
        if np.abs(axes @ axes.T - np.eye(3)).max() > ORTHONORMAL or np.linalg.det(axes) < 0:
            raise InputError(
                "frame", "its axes are no right-handed orthonormal system.", "Normalise them."
            )

    @classmethod
    def own(cls) -> LocalFrame:
        """The frame in which generators draw: the axes of the coordinates."""
        return cls(np.zeros(3), np.eye(3))

    def out(self, local: Points) -> Points:
        """Places given in this frame, in the coordinates around it, shape (..., 3)."""
        return np.asarray(self.origin + np.asarray(local) @ self.axes)

    def into(self, places: Points) -> Points:
        """Places around it, given in this frame, shape (..., 3)."""
        return np.asarray((np.asarray(places) - self.origin) @ self.axes.T)


@dataclass(frozen=True)
class Implant:
    """An implant.

    Attributes:
        name: What it is, with its size.
        kind: ``stem``, ``screw``, ``plate`` or ``imported``.
        surface: Closed, facing outwards; `TriangleSurface.part` gives its named surfaces.
        frame: Its own frame, moved along with it.
        points: Name → reference point (mm), such as ``head_centre``, shape (3,).
        directions: Name → unit vector, such as ``neck`` or ``hole1``, shape (3,).
        material: What it is made of.
        smallest_wall: Smallest thickness of material (mm) that its parameters make; None where it
            is not known.
        side: ``left`` or ``right`` if it has one.
        notes: What was decided or measured in making it, one sentence each.
    """

    name: str
    kind: str
    surface: TriangleSurface
    frame: LocalFrame
    points: Mapping[str, Points]
    directions: Mapping[str, Points]
    material: ImplantMaterial
    smallest_wall: float | None = None
    side: str | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def mass(self) -> float:
        """Mass (mg)."""
        return self.material.density * self.surface.volume

    @property
    def body(self) -> MassProperties:
        """Volume, centre and inertia."""
        return mass_properties(self.surface)

    def point(self, name: str) -> Points:
        """A reference point (mm).

        Raises:
            InputError: no point of that name.
        """
        if name not in self.points:
            raise InputError(self.name, f"no point `{name}`.", suggestion(name, self.points))
        return self.points[name]

    def direction(self, name: str) -> Points:
        """A unit vector.

        Raises:
            InputError: no direction of that name.
        """
        if name not in self.directions:
            known = suggestion(name, self.directions)
            raise InputError(self.name, f"no direction `{name}`.", known)
        return self.directions[name]

    def moved(self, rotation: Points, shift: Points) -> Implant:
        """The implant after x → rotation x + shift.

        Raises:
            InputError: the rotation is none.
        """
        turn = LocalFrame(np.zeros(3), np.asarray(rotation, float)).axes
        shift = np.asarray(shift, float)
        return replace(
            self,
            surface=replace(self.surface, points=self.surface.points @ turn.T + shift),
            frame=LocalFrame(turn @ self.frame.origin + shift, self.frame.axes @ turn.T),
            points={name: turn @ place + shift for name, place in self.points.items()},
            directions={name: turn @ along for name, along in self.directions.items()},
        )

    def at(self, frame: LocalFrame) -> Implant:
        """The implant with its frame on another one."""
        turn = frame.axes.T @ self.frame.axes
        return self.moved(turn, frame.origin - turn @ self.frame.origin)

    def write(self, path: str | Path) -> None:
        """Write the surface; ``.vtp`` keeps the names, ``.stl`` the shape only.

        Raises:
            InputError: no known suffix.
        """
        write_surface(self.surface, path)
