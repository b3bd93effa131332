"""Simple solids: box, slab, sphere, tube and plate, built by gmsh's CAD kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import gmsh
import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.shapes.limits import within

type Points = NDArray[np.float64]
type Entities = list[tuple[int, int]]
#: Name and thickness (mm) of layers, the innermost or lowest first.
type Layers = tuple[tuple[str, float], ...]

#: Smallest and largest length (mm) of a shape.
SMALLEST, LARGEST = 0.01, 2000.0
#: How far (parts of the shape) a point of a face may lie off it.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Box:
    """Block from the origin; region ``box``, surfaces ``x0``, ``x1``, ``y0``, ... ``z1``.

    Attributes:
        size: Edge lengths along x, y, z (mm).
    """

    size: tuple[float, float, float] = (20.0, 20.0, 20.0)

    def __post_init__(self) -> None:
        for axis, length in zip("xyz", self.size, strict=True):
            within("Box", f"size along {axis}", length, SMALLEST, LARGEST)

    def solids(self) -> Mapping[str, Entities]:
        """Solids of each region in the open gmsh model."""
        return {"box": [(3, gmsh.model.occ.addBox(0, 0, 0, *self.size))]}

    def surface(self, points: Points) -> str:
        """Name of the outer face with these points."""
        return side(points, self.size)

    def volumes(self) -> Mapping[str, float]:
        """Volume of each region (mm³)."""
        return {"box": float(np.prod(self.size))}


@dataclass(frozen=True)
class Slab:
    """Piece of wall from the origin, in layers along z.

    Surfaces are ``endo`` (z = 0), ``epi``, ``x0``, ``x1``, ``y0``, ``y1``.

    Attributes:
        length: Along x (mm).
        width: Along y (mm).
        layers: Regions from ``endo`` to ``epi`` with their thickness (mm).
    """

    length: float = 20.0
    width: float = 7.0
    layers: Layers = (("slab", 3.0),)

    def __post_init__(self) -> None:
        within("Slab", "length", self.length, SMALLEST, LARGEST)
        within("Slab", "width", self.width, SMALLEST, LARGEST)
        check_layers("Slab", self.layers)

    @property
    def size(self) -> tuple[float, float, float]:
        """Edge lengths along x, y, z (mm)."""
        return self.length, self.width, sum(thickness for _, thickness in self.layers)

    def solids(self) -> Mapping[str, Entities]:
        """Solids of each region in the open gmsh model."""
        z = bounds(0.0, self.layers)
        boxes = [
            (3, gmsh.model.occ.addBox(0, 0, low, self.length, self.width, high - low))
            for low, high in pairwise(z)
        ]
        return joined([name for name, _ in self.layers], boxes)

    def surface(self, points: Points) -> str:
        """Name of the outer face with these points."""
        name = side(points, self.size)
        return {"z0": "endo", "z1": "epi"}.get(name, name)

    def volumes(self) -> Mapping[str, float]:
        """Volume of each region (mm³)."""
        return {name: self.length * self.width * thickness for name, thickness in self.layers}


@dataclass(frozen=True)
class Sphere:
    """Ball, or a shell around a hollow, about the origin.

    Region ``sphere``; surfaces ``outer`` and, of a shell, ``inner``.

    Attributes:
        radius: Outer radius (mm).
        hollow: Radius (mm) of the hollow; 0 for a ball.
    """

    radius: float = 10.0
    hollow: float = 0.0

    def __post_init__(self) -> None:
        within("Sphere", "radius", self.radius, SMALLEST, LARGEST)
        within("Sphere", "hollow", self.hollow, 0.0, 0.999 * self.radius)

    def solids(self) -> Mapping[str, Entities]:
        """Solids of each region in the open gmsh model."""
        ball = [(3, gmsh.model.occ.addSphere(0, 0, 0, self.radius))]
        if self.hollow > 0:
            inner = [(3, gmsh.model.occ.addSphere(0, 0, 0, self.hollow))]
            ball, _ = gmsh.model.occ.cut(ball, inner)
        return {"sphere": ball}

    def surface(self, points: Points) -> str:
        """Name of the outer face with these points."""
        middle = 0.5 * (self.radius + self.hollow)
        return "outer" if np.linalg.norm(points, axis=1).mean() > middle else "inner"

    def volumes(self) -> Mapping[str, float]:
        """Volume of each region (mm³)."""
        return {"sphere": 4 / 3 * np.pi * (self.radius**3 - self.hollow**3)}


@dataclass(frozen=True)
class Tube:
    """Vessel in layers: straight along z from the origin, or an arc of a circle.

    Surfaces are ``inner``, ``outer``, ``inlet`` (z = 0), ``outlet``. With a lumen, ``inner`` is the
    border ``wall-blood`` of the two regions, and the ends of the wall are ``inlet_wall`` and
    ``outlet_wall``. A bent tube starts along z and turns towards positive x.

    Attributes:
        radius: Radius of the lumen (mm).
        length: Length of the centreline (mm).
        layers: Regions from the lumen outwards with their thickness (mm).
        bend: Angle between both ends (degrees); 0 for a straight tube.
        lumen: Name of a region that fills the lumen, empty for none.
    """

    radius: float = 10.0
    length: float = 40.0
    layers: Layers = (("wall", 2.0),)
    bend: float = 0.0
    lumen: str = ""

    def __post_init__(self) -> None:
        within("Tube", "radius", self.radius, SMALLEST, LARGEST)
        within("Tube", "length", self.length, SMALLEST, LARGEST)
        within("Tube", "bend", self.bend, 0.0, 350.0, "degrees")
        check_layers("Tube", self.layers)
        if self.bend and self.bend_radius <= self.radii[-1]:
            raise InputError(
                "Tube",
                f"its centreline has radius {self.bend_radius:.3g} mm, its outside "
                f"{self.radii[-1]:.3g} mm: it would cut itself.",
                "Bend less or make it longer.",
            )

    @property
    def radii(self) -> tuple[float, ...]:
        """Radii (mm) of the surfaces between layers, ``inner`` first and ``outer`` last."""
        return bounds(self.radius, self.layers)

    @property
    def bend_radius(self) -> float:
        """Radius (mm) of the centreline; infinite for a straight tube."""
        return self.length / np.radians(self.bend) if self.bend else np.inf

    def solids(self) -> Mapping[str, Entities]:
        """Solids of each region in the open gmsh model."""
        occ = gmsh.model.occ
        names = [name for name, _ in self.layers]
        discs = [(2, occ.addDisk(0, 0, 0, radius, radius)) for radius in self.radii]
        _, parts = occ.fragment(discs[:1], discs[1:])
        rings = [sorted(set(b) - set(a)) for a, b in pairwise(parts)]
        if self.lumen:
            names, rings = [self.lumen, *names], [parts[0], *rings]
        flat = [face for ring in rings for face in ring]
        swept = [entity for entity in self._sweep(flat) if entity[0] == 3]
        occ.remove(occ.getEntities(2), recursive=True)
        return dict(zip(names, [[solid] for solid in swept], strict=True))

    def _sweep(self, faces: Entities) -> Entities:
        occ = gmsh.model.occ
        if not self.bend:
            return list(occ.extrude(faces, 0, 0, self.length))
        centre = self.bend_radius
        return list(occ.revolve(faces, centre, 0, 0, 0, 1, 0, np.radians(self.bend)))

    def surface(self, points: Points) -> str:
        """Name of the outer face with these points."""
        along, across = self.local(points)
        near = TOLERANCE * max(self.length, self.radii[-1])
        ring = "_wall" if self.lumen and across.max() > self.radius + near else ""
        if along.max() < near:
            return "inlet" + ring
        if along.min() > self.length - near:
            return "outlet" + ring
        return "inner" if across.mean() < 0.5 * (self.radii[0] + self.radii[-1]) else "outer"

    def local(self, points: Points) -> tuple[Points, Points]:
        """Place along the centreline and distance from it (mm), both (n,)."""
        if not self.bend:
            return points[:, 2], np.hypot(points[:, 0], points[:, 1])
        from_axis = np.hypot(self.bend_radius - points[:, 0], points[:, 2])
        angle = np.arctan2(points[:, 2], self.bend_radius - points[:, 0])
        angle = np.where(angle < -1e-6, angle + 2 * np.pi, angle)
        return angle * self.bend_radius, np.hypot(from_axis - self.bend_radius, points[:, 1])

    def volumes(self) -> Mapping[str, float]:
        """Volume of each region (mm³): its section times the centreline (Pappus)."""
        ends = pairwise(self.radii)
        found = {
            name: np.pi * (outer**2 - inner**2) * self.length
            for (name, _), (inner, outer) in zip(self.layers, ends, strict=True)
        }
        return {self.lumen: np.pi * self.radius**2 * self.length, **found} if self.lumen else found


@dataclass(frozen=True)
class Plate:
    """Flat plate from the origin with round holes through it, as for osteosynthesis.

    Region ``plate``; surfaces ``bottom`` (z = 0), ``top``, ``sides``, ``hole1``, ``hole2``, ...

    Attributes:
        length: Along x (mm).
        width: Along y (mm).
        thickness: Along z (mm).
        holes: x, y and radius (mm) of each hole.
    """

    length: float = 60.0
    width: float = 12.0
    thickness: float = 3.0
    holes: tuple[tuple[float, float, float], ...] = ()

    def __post_init__(self) -> None:
        for name in ("length", "width", "thickness"):
            within("Plate", name, getattr(self, name), SMALLEST, LARGEST)
        for number, (x, y, radius) in enumerate(self.holes, 1):
            room = min(x, self.length - x, y, self.width - y)
            within("Plate", f"radius of hole {number}", radius, SMALLEST, 0.99 * max(room, 0.0))
        for number, (x, y, radius) in enumerate(self.holes, 1):
            for a, b, other in self.holes[number:]:
                if np.hypot(x - a, y - b) <= radius + other:
                    raise InputError(
                        "Plate",
                        f"hole {number} cuts the one at ({a:g}, {b:g}) mm.",
                        "Move them apart or make them smaller.",
                    )

    def solids(self) -> Mapping[str, Entities]:
        """Solids of each region in the open gmsh model."""
        occ = gmsh.model.occ
        plate = [(3, occ.addBox(0, 0, 0, self.length, self.width, self.thickness))]
        drills = [(3, occ.addCylinder(x, y, 0, 0, 0, self.thickness, r)) for x, y, r in self.holes]
        return {"plate": occ.cut(plate, drills)[0] if drills else plate}

    def surface(self, points: Points) -> str:
        """Name of the outer face with these points."""
        flat = side(points, (self.length, self.width, self.thickness), whole=True)
        if flat:
            return {"z0": "bottom", "z1": "top"}.get(flat, "sides")
        off = [
            np.abs(np.hypot(points[:, 0] - x, points[:, 1] - y) - r).max() for x, y, r in self.holes
        ]
        return f"hole{int(np.argmin(off)) + 1}"

    def volumes(self) -> Mapping[str, float]:
        """Volume of each region (mm³)."""
        area = self.length * self.width - sum(np.pi * r**2 for _, _, r in self.holes)
        return {"plate": area * self.thickness}


def side(points: Points, size: tuple[float, float, float], *, whole: bool = False) -> str:
    """Side of a block, ``x0`` to ``z1``, that points lie on; empty if none and ``whole``."""
    off = np.stack([np.abs(points).max(axis=0), np.abs(points - size).max(axis=0)], axis=1)
    k = int(off.argmin())
    if whole and off.ravel()[k] > TOLERANCE * max(size):
        return ""
    return f"{'xyz'[k // 2]}{k % 2}"


def bounds(start: float, layers: Layers) -> tuple[float, ...]:
    """Places (mm) where layers begin and end."""
    return tuple(float(x) for x in start + np.cumsum([0.0, *(width for _, width in layers)]))


def joined(names: list[str], solids: Entities) -> dict[str, Entities]:
    """Solids that share the faces in which they touch, by name."""
    if len(solids) == 1:
        return {names[0]: solids}
    _, parts = gmsh.model.occ.fragment(solids[:1], solids[1:])
    return dict(zip(names, parts, strict=True))


def check_layers(place: str, layers: Layers) -> None:
    """Refuse layers without name or thickness, and names that occur twice.

    Raises:
        InputError: so it is.
    """
    names = [name for name, _ in layers]
    if not names or not all(names) or len(set(names)) < len(names):
        raise InputError(place, f"layers are named {names}.", "Give each layer a name of its own.")
    for name, thickness in layers:
        within(place, f"thickness of `{name}`", thickness, SMALLEST, LARGEST)
