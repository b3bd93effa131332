"""Plates as drawn: outline, holes, thickness; straight ones and those of the tibial plateau."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from organtwin.errors import InputError, suggestion
from organtwin.implants.materials import ImplantMaterial
from organtwin.mesh.closest import on_segments
from organtwin.mesh.shapes.limits import within

type Points = NDArray[np.float64]

#: Smallest wall (mm) between holes or to the rim, our choice: thinner ones break in bending.
LEAST_WALL = 1.0
#: Chords of an arc of 90 degrees.
CHORDS = 8
KINDS = ("locking", "cortical")


@dataclass(frozen=True)
class Hole:
    """A round hole straight through a plate.

    Attributes:
        x: Its place along the plate (mm).
        y: Its place across (mm).
        diameter: Its diameter (mm).
        kind: ``locking`` or ``cortical``: what screw belongs there.
    """

    x: float
    y: float
    diameter: float
    kind: Literal["locking", "cortical"] = "locking"


@dataclass(frozen=True)
class Plate:
    """A plate, unbent, in its own frame: x along it, y across, z off the bone.

    Attributes:
        outline: Corners of its outline (mm), counter-clockwise, no two equal, shape (n, 2).
        holes: Called ``hole1``, ``hole2``, ... in this order.
        thickness: From underside to top (mm).
        edge: How much thinner its rim is (mm): a bevel of the top over the outermost triangles.
        name: Its name and size.
        material: Name of its material in the catalogue, or a material.
        side: ``left`` or ``right`` if it has one.
    """

    outline: Points
    holes: tuple[Hole, ...] = ()
    thickness: float = 3.0
    edge: float = 0.6
    name: str = "plate"
    material: str | ImplantMaterial = "Ti6Al4V"
    side: str | None = None

    def __post_init__(self) -> None:
        within(self.name, "thickness", self.thickness, 0.5, 10.0)
        within(self.name, "edge", self.edge, 0.0, 0.6 * self.thickness)
        if self.area <= 0.0:
            raise InputError(self.name, "its outline runs clockwise.", "Turn it round.")
        for number, hole in enumerate(self.holes, 1):
            within(self.name, f"diameter of hole {number}", hole.diameter, 0.8, 15.0)
            if hole.kind not in KINDS:
                raise InputError(
                    self.name, f"hole {number} is `{hole.kind}`.", suggestion(hole.kind, KINDS)
                )
        if self.walls.size and self.walls.min() < LEAST_WALL:
            worst = int(self.walls.argmin()) + 1
            raise InputError(
                self.name,
                f"only {self.walls.min():.2f} mm stay beside hole {worst}.",
                f"Leave {LEAST_WALL:g} mm: make it smaller, move it, or widen the plate.",
            )

    @property
    def area(self) -> float:
        """Area inside the outline (mm²), without taking off the holes."""
        x, y = self.outline.T
        return float(0.5 * np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))

    @property
    def walls(self) -> Points:
        """Smallest width (mm) of material beside each hole, negative outside, (holes,)."""
        if not self.holes:
            return np.empty(0)
        middles = np.array([(hole.x, hole.y) for hole in self.holes])
        radii = np.array([0.5 * hole.diameter for hole in self.holes])
        between = cdist(middles, middles) - radii[:, None] - radii
        np.fill_diagonal(between, np.inf)
        ends = np.stack([self.outline, np.roll(self.outline, -1, axis=0)], axis=1)
        flat = np.pad(ends, ((0, 0), (0, 0), (0, 1)))
        feet = on_segments(np.pad(middles, ((0, 0), (0, 1)))[:, None], flat[None])
        rim = np.linalg.norm(feet[..., :2] - middles[:, None], axis=2).min(axis=1)
        rim = np.where(inside(middles, self.outline), rim, -rim)
        return np.asarray(np.minimum(between.min(axis=1), rim - radii))

    @property
    def smallest_wall(self) -> float:
        """Smallest of its thickness at the rim and its widths beside holes (mm)."""
        return float(min(self.thickness - self.edge, self.walls.min(initial=np.inf)))


def inside(places: Points, outline: Points) -> NDArray[np.bool_]:
    """Whether places (n, 2) lie inside a polygon (m, 2), by the number of its edges above them."""
    start, end = outline, np.roll(outline, -1, axis=0)
    x, y = places[:, :1], places[:, 1:]
    spans = (start[:, 0] <= x) != (end[:, 0] <= x)
    run = np.where(start[:, 0] == end[:, 0], 1.0, end[:, 0] - start[:, 0])
    height = start[:, 1] + (x - start[:, 0]) / run * (end[:, 1] - start[:, 1])
    return np.asarray(((height > y) & spans).sum(axis=1) % 2 == 1)


def rounded(corners: Points, radii: Points) -> Points:
    """A polygon with its corners replaced by arcs.

    Args:
        corners: Corners, counter-clockwise, shape (n, 2).
        radii: Radius at each (mm), 0 for none, shape (n,).

    Raises:
        InputError: two arcs overlap.
    """
    before, after = np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0)
    back, on = before - corners, after - corners
    lengths = np.linalg.norm(on, axis=1)
    back, on = back / np.linalg.norm(back, axis=1)[:, None], on / lengths[:, None]
    half = 0.5 * np.arccos(np.clip((back * on).sum(axis=1), -1.0, 1.0))
    cut = radii / np.tan(half)
    if (cut + np.roll(cut, -1) > lengths * (1.0 + 1e-9)).any():
        raise InputError("outline", "its round corners overlap.", "Give smaller radii.")
    found = []
    for k, corner in enumerate(corners):
        if radii[k] == 0.0:
            found.append(corner[None])
            continue
        bisector = back[k] + on[k]
        middle = corner + bisector / np.linalg.norm(bisector) * radii[k] / np.sin(half[k])
        first, last = (corner + cut[k] * way[k] - middle for way in (back, on))
        turn = np.arctan2(first[0] * last[1] - first[1] * last[0], first @ last)
        angle = np.linspace(0.0, turn, max(2, int(np.ceil(abs(turn) / (0.5 * np.pi) * CHORDS)) + 1))
        c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
        across = np.array([-first[1], first[0]])
        found.append(middle + c * first + s * across)
    outline = np.concatenate(found)
    apart = np.linalg.norm(outline - np.roll(outline, 1, axis=0), axis=1) > 1e-9
    return np.asarray(outline[apart])


@dataclass(frozen=True)
class StraightPlate:
    """A straight plate with round ends and a row of holes, its middle at the origin.

    Attributes:
        length: Along x (mm).
        width: Across (mm).
        thickness: Of it (mm).
        holes: Number of holes.
        hole_diameter: Of each (mm).
        spacing: From hole to hole (mm).
        kind: ``locking`` or ``cortical``.
        edge: See `Plate`.
        name: Its name and size.
        material: Name of its material in the catalogue, or a material.
    """

    length: float = 86.0
    width: float = 11.0
    thickness: float = 3.3
    holes: int = 6
    hole_diameter: float = 5.0
    spacing: float = 13.0
    kind: Literal["locking", "cortical"] = "locking"
    edge: float = 0.6
    name: str = "straight plate"
    material: str | ImplantMaterial = "Ti6Al4V"

    def plate(self) -> Plate:
        """The plate.

        Raises:
            InputError: a dimension is out of its limits, or a hole has no room.
        """
        within(self.name, "width", self.width, 3.0, 30.0)
        within(self.name, "length", self.length, 1.5 * self.width, 400.0)
        within(self.name, "holes", self.holes, 0, 30, "")
        a, b = 0.5 * self.length, 0.5 * self.width
        corners = np.array([[-a, -b], [a, -b], [a, b], [-a, b]])
        places = (np.arange(self.holes) - 0.5 * (self.holes - 1)) * self.spacing
        return Plate(
            rounded(corners, np.full(4, 0.999 * b)),
            tuple(Hole(float(x), 0.0, self.hole_diameter, self.kind) for x in places),
            self.thickness, self.edge, self.name, self.material,
        )  # fmt: skip


@dataclass(frozen=True)
class TibialPlate:
    """Lateral plate of the tibial plateau: a head across the condyle, a shaft down the tibia.

    x runs up the tibia, z laterally; the middle of its length is the origin. ``anterior`` tells how
    much of the head's overhang lies in front of the shaft: 0.5 makes a T, 1 an L.

    Attributes:
        side: ``left`` or ``right``, of the patient.
        length: From the lower end to the upper edge of the head (mm).
        shaft_width: Of the shaft (mm).
        head_width: From front to back (mm).
        head_height: Of the head along x (mm).
        anterior: Part of the overhang in front.
        thickness: Of it (mm).
        head_holes: Number of holes in a row along the upper edge, for the screws that carry the
            joint's surface.
        shaft_holes: Number of holes along the shaft.
        hole_diameter: Of each (mm).
        spacing: From hole to hole along the shaft (mm).
        fillet: Radius between head and shaft (mm).
        edge: See `Plate`.
        name: Its name and size.
        material: Name of its material in the catalogue, or a material.
    """

    side: Literal["left", "right"] = "right"
    length: float = 100.0
    shaft_width: float = 13.0
    head_width: float = 36.0
    head_height: float = 14.0
    anterior: float = 0.7
    thickness: float = 2.8
    head_holes: int = 4
    shaft_holes: int = 5
    hole_diameter: float = 5.0
    spacing: float = 14.0
    fillet: float = 9.0
    edge: float = 0.6
    name: str = "tibial plate"
    material: str | ImplantMaterial = "Ti6Al4V"
    kinds: tuple[Literal["locking", "cortical"], ...] = field(default=("locking",))
    """Kinds of the holes, the head's first; the last one goes for all that follow."""

    def __post_init__(self) -> None:
        if self.side not in ("left", "right"):
            raise InputError(self.name, f"no side `{self.side}`.", "Give left or right.")
        for key, low, high in (
            ("shaft_width", 6.0, 25.0), ("head_height", 8.0, 30.0),
            ("length", 2.0 * self.head_height, 300.0), ("head_width", self.shaft_width, 60.0),
        ):  # fmt: skip
            within(self.name, key, getattr(self, key), low, high)
        within(self.name, "anterior", self.anterior, 0.0, 1.0, "")
        within(self.name, "head_holes", self.head_holes, 0, 8, "")
        within(self.name, "shaft_holes", self.shaft_holes, 0, 20, "")

    def plate(self) -> Plate:
        """The plate.

        Raises:
            InputError: a hole or a round corner has no room.
        """
        # With x up and z lateral, y is posterior on the right and anterior on the left.
        front = -1.0 if self.side == "right" else 1.0
        shaft, over = 0.5 * self.shaft_width, self.head_width - self.shaft_width
        fore, aft = shaft + self.anterior * over, shaft + (1.0 - self.anterior) * over
        high, low = (aft, fore) if front < 0 else (fore, aft)
        top, bottom = 0.5 * self.length, -0.5 * self.length
        neck = top - self.head_height
        round_ = 0.32 * self.head_height
        drawn = [
            (bottom, -shaft, 0.95 * shaft), (neck, -shaft, self._concave(low - shaft)),
            (neck, -low, min(round_, 0.45 * (low - shaft))), (top, -low, round_),
            (top, high, round_), (neck, high, min(round_, 0.45 * (high - shaft))),
            (neck, shaft, self._concave(high - shaft)), (bottom, shaft, 0.95 * shaft),
        ]  # fmt: skip
        # Without an overhang on one side its two corners fall together on a straight edge.
        kept = np.array([
            d for d in drawn
            if not (d[0] == neck and min(abs(-d[1] - low), abs(d[1] - high)) < 1e-9
                    and abs(abs(d[1]) - shaft) < 1e-9)
        ])  # fmt: skip
        outline = rounded(kept[:, :2], kept[:, 2])
        if not inside(np.array([[0.0, 0.0]]), outline)[0]:
            raise InputError(self.name, "its outline does not hold its middle.", "Change it.")
        return Plate(
            outline, self._holes(low, high), self.thickness, self.edge, self.name, self.material,
            self.side,
        )  # fmt: skip

    def _concave(self, overhang: float) -> float:
        """Radius between head and shaft that leaves room beside it."""
        return min(self.fillet, 0.5 * overhang)

    def _holes(self, low: float, high: float) -> tuple[Hole, ...]:
        rim = 0.5 * self.hole_diameter + 1.8
        x = 0.5 * self.length - rim
        across = np.linspace(-low + rim + 0.3, high - rim - 0.3, self.head_holes)
        along = -0.5 * self.length + 1.3 * rim + self.spacing * np.arange(self.shaft_holes)[::-1]
        places = [(x, float(y)) for y in across] + [(float(a), 0.0) for a in along]
        kinds = (*self.kinds, *([self.kinds[-1]] * len(places)))
        return tuple(
            Hole(a, b, self.hole_diameter, kind)
            for (a, b), kind in zip(places, kinds, strict=False)
        )
