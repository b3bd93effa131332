"""Bone screws: cortical, locking and pedicle, with a smooth or a helical thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.implants.implant import Implant, LocalFrame
from organtwin.implants.materials import ImplantMaterial, load_material
from organtwin.implants.sweeping import Faces, tube
from organtwin.mesh.shapes.limits import within
from organtwin.mesh.surface_files import TriangleSurface

type Points = NDArray[np.float64]

HEADS = ("spherical", "locking", "tulip")
SURFACES = ("tip", "thread", "shank", "head", "drive")
#: What the thread is drawn as: a cylinder of some diameter, or itself.
THREADS = ("core", "mean", "outer", "helix")
#: Points around as drawn: a multiple of 6 for the hexagon.
AROUND = 48
#: Rings per turn of a helix.
PER_TURN = 16
#: Parts of the pitch of a helix: crest, flank towards the head, which is the steep one as for an
#: asymmetrical thread, and flank towards the tip (our choice).
CREST, STEEP, FLAT = 0.1, 0.15, 0.35
#: Angle of the cone of a locking head with its axis (radians), our choice.
CONE = np.radians(5.0)
#: Limits of the parameters; our choice.
LIMITS = {
    "diameter": (1.0, 10.0, "mm"),
    "core": (0.6, 9.0, "mm"),
    "pitch": (0.3, 6.0, "mm"),
    "length": (6.0, 150.0, "mm"),
    "head_diameter": (1.5, 20.0, "mm"),
    "head_height": (0.8, 25.0, "mm"),
    "drive": (0.0, 10.0, "mm"),
}


@dataclass(frozen=True)
class BoneScrew:
    """A screw in its own frame.

    The origin is where its axis leaves the head, z runs from there to the tip at
    (0, 0, length).

    Attributes:
        diameter: Outer diameter of the thread (mm).
        core: Diameter of its core (mm).
        pitch: From turn to turn (mm).
        length: From the origin to the tip (mm).
        head: ``spherical`` below (cortical screws), ``locking`` (a cone that fills the hole of its
            plate) or ``tulip`` (the cylinder around the head of a pedicle screw).
        head_diameter: Its largest diameter (mm).
        head_height: Its height above the origin (mm).
        thread_length: Threaded length from the tip (mm); None for all of it. The rest is a shank as
            wide as the core.
        drive: Width across flats of the hexagonal recess (mm), 0 for none.
        thread: ``core``, ``mean`` or ``outer`` for a cylinder of that diameter, ``helix``.
        name: Its name and size.
        material: Name of its material in the catalogue, or a material.
    """

    diameter: float = 3.5
    core: float = 2.4
    pitch: float = 1.25
    length: float = 40.0
    head: Literal["spherical", "locking", "tulip"] = "spherical"
    head_diameter: float = 6.0
    head_height: float = 2.6
    thread_length: float | None = None
    drive: float = 2.5
    thread: Literal["core", "mean", "outer", "helix"] = "mean"
    name: str = "cortical screw"
    material: str | ImplantMaterial = "Ti6Al4V"

    def __post_init__(self) -> None:
        for key, (low, high, unit) in LIMITS.items():
            within(self.name, key, getattr(self, key), low, high, unit)
        for key, value, known in (("head", self.head, HEADS), ("thread", self.thread, THREADS)):
            if value not in known:
                raise InputError(self.name, f"no {key} `{value}`.", suggestion(value, known))
        if not self.core < self.diameter:
            raise InputError(
                self.name, f"a core of {self.core:g} mm in a thread of {self.diameter:g} mm.",
                "Give core < diameter.",
            )  # fmt: skip
        if self.diameter - self.core > 2.0 * self.pitch:
            raise InputError(
                self.name, f"a thread {self.depth:g} mm deep at a pitch of {self.pitch:g} mm.",
                "Give a larger pitch or core.",
            )  # fmt: skip
        least = self.tip_height + 2.0 * self.pitch
        if not least <= self.threaded <= self.length:
            raise InputError(
                self.name, f"thread_length is {self.threaded:g} mm of {self.length:g} mm.",
                f"Give {least:g} to {self.length:g} mm.",
            )  # fmt: skip
        self._check_head()

    def _check_head(self) -> None:
        if self.head_diameter < self.diameter + 0.2:
            raise InputError(
                self.name,
                f"a head of {self.head_diameter:g} mm on a thread of {self.diameter:g} mm.",
                "Give a head wider than the thread.",
            )
        if self.head_radius(0.0) < self._entry_radius - 1e-9:
            raise InputError(
                self.name,
                f"its head is {2 * self.head_radius(0.0):.2f} mm wide at the entry, less than what "
                "it stands on.",
                "Give a wider or lower head.",
            )
        if self.drive and self.smallest_wall < 0.3:
            raise InputError(
                self.name,
                f"a wall of {self.smallest_wall:.2f} mm stays around a drive of {self.drive:g} mm.",
                "Give a smaller drive or a larger head.",
            )

    @property
    def depth(self) -> float:
        """Depth of the thread (mm)."""
        return 0.5 * (self.diameter - self.core)

    @property
    def threaded(self) -> float:
        """Threaded length (mm)."""
        return self.length if self.thread_length is None else self.thread_length

    @property
    def cylinder(self) -> float:
        """Diameter (mm) of the cylinder that stands for the thread."""
        mean = 0.5 * (self.core + self.diameter)
        return {"core": self.core, "outer": self.diameter}.get(self.thread, mean)

    @property
    def tip_height(self) -> float:
        """Height (mm) of the blunt cone at the tip: half the core (our choice)."""
        return 0.5 * self.core

    @property
    def recess(self) -> float:
        """Depth (mm) of the drive: the smaller of its width and six tenths of the head."""
        return min(self.drive, 0.6 * self.head_height)

    @property
    def smallest_wall(self) -> float:
        """Smallest thickness (mm): of the core, or of the head around the corners of the drive."""
        if not self.drive:
            return self.core
        bottom = self.head_height - self.recess
        # Corners of a hexagon lie 1/√3 of its width from the middle; the head widens upwards.
        beside = self.head_radius(bottom) - self.drive / np.sqrt(3.0)
        return float(min(self.core, beside, bottom))

    @property
    def shear_factor(self) -> float:
        """0.5 + 0.57735 depth / pitch, the factor of the thread's shape in `pull_out`."""
        return 0.5 + 0.57735 * self.depth / self.pitch

    def pull_out(self, shear_strength: float, embedded: float) -> float:
        """Force (mN) that pulls the thread out of bone: strength · π · diameter · length · factor.

        Args:
            shear_strength: Shear strength of the bone (kPa).
            embedded: Length of thread in it (mm).

        Source:
            Chapman et al. (1996), J Biomech Eng 118:391, as remembered; not read.
        """
        within(self.name, "embedded", embedded, 0.0, self.threaded)
        return shear_strength * np.pi * self.diameter * embedded * self.shear_factor

    def interface_strength(self, shear_strength: float) -> float:
        """Shear stress (kPa) at which the interface of the smooth cylinder must give way.

        The cylinder then pulls out at the force of the thread, see `pull_out`.
        """
        return shear_strength * self.shear_factor * self.diameter / self.cylinder

    def faces(self) -> Faces:
        """Its drawn surface; the ends of a helix run out over one pitch."""
        rows: list[Points] = []
        bands: list[NDArray[np.int64]] = []
        names: list[str] = ["tip"]
        for name, ring in self._parts():
            if rows:  # the step between two parts; no band where they meet
                ring = ring[1:] if np.allclose(ring[0], rows[-1][-1]) else ring
                ring = np.concatenate([rows[-1][-1:], ring])
            bands += [np.full(AROUND, len(names), np.int64)] * (len(ring) - 1)
            rows.append(ring[1:] if rows else ring)
            names.append(name)
        if self.drive:
            # Each side of the hexagon is a face of its own, so that its edges stay sharp.
            sides = np.roll(np.arange(AROUND) // (AROUND // 6), -(AROUND // 12))
            bands[-1] = len(names) - 1 + sides
            names += ["drive"] * 6
        else:
            names.append("head")
        centre = np.array([0.0, 0.0, rows[-1][-1, 0, 2]])
        return tube(
            np.concatenate(rows), np.array(bands), (np.array([0.0, 0.0, self.length]), 0),
            (centre, len(names) - 1), names,
        )  # fmt: skip

    def _parts(self) -> list[tuple[str, Points]]:
        """Name and rings of points of each smooth part, from the tip to the drive."""
        low, high = self.length - self.tip_height, self.length - self.threaded
        core, thread = 0.5 * self.core, 0.5 * self.cylinder
        at_tip = core if self.thread == "helix" else thread
        parts = [("tip", _rings([0.3 * at_tip, at_tip], [self.length, low], 4))]
        if self.thread == "helix":
            parts.append(("thread", self._helix(low, high)))
        else:
            parts.append(("thread", _rings([thread, thread], [low, high])))
        if high > 0.0:
            parts.append(("shank", _rings([core, core], [high, 0.0])))
        parts += [("head", _rings(*corners)) for corners in self._head(float(self._entry_radius))]
        if self.drive:
            top = -self.head_height
            angle = 2.0 * np.pi * np.arange(AROUND) / AROUND
            hexagon = 0.5 * self.drive / np.cos((angle + np.pi / 6.0) % (np.pi / 3.0) - np.pi / 6.0)
            flat = np.stack([hexagon * np.cos(angle), hexagon * np.sin(angle)], axis=-1)
            rim, floor = (
                np.column_stack([flat, np.full(AROUND, z)]) for z in (top, top + self.recess)
            )
            parts += [("head", rim[None]), ("drive", np.stack([rim, floor]))]
        return parts

    @property
    def _entry_radius(self) -> float:
        smooth = self.length == self.threaded and self.thread != "helix"
        return 0.5 * (self.cylinder if smooth else self.core)

    def _head(self, inner: float) -> list[tuple[list[float], list[float]]]:
        """Radii and heights (mm) of the parts of the head's meridian, from the entry to the top."""
        outer, high = 0.5 * self.head_diameter, self.head_height
        if self.head == "locking":
            low = outer - np.tan(CONE) * high
            return [([low, outer], [0.0, -high])]
        if self.head == "tulip":
            cone = min(0.25 * high, outer - inner)
            return [([0.6 * outer, outer], [0.0, -cone]), ([outer, outer], [-cone, -high])]
        # A sphere about a place on the axis, through the shank's edge and the head's rim.
        rim = min(0.7 * high, np.sqrt(outer**2 - inner**2))
        middle = (outer**2 - inner**2 + rim**2) / (2.0 * rim)
        z = np.linspace(0.0, rim, 13)
        seat = np.sqrt(inner**2 + middle**2 - (middle - z) ** 2)
        return [(seat.tolist(), (-z).tolist()), ([outer, outer], [-rim, -high])]

    def head_radius(self, height: float) -> float:
        """Outer radius (mm) of the head at a height above the origin."""
        corners = self._head(self._entry_radius)
        radii = np.concatenate([part[0] for part in corners])
        heights = -np.concatenate([part[1] for part in corners])
        return float(np.interp(height, heights, radii))

    def _helix(self, low: float, high: float) -> Points:
        """Rings from the tip's end of the thread at ``low`` to the other at ``high``, z in mm."""
        number = max(4, int(np.ceil((low - high) / self.pitch * PER_TURN)))
        z = np.linspace(low, high, number + 1)[:, None]
        angle = (2.0 * np.pi * np.arange(AROUND) / AROUND)[None]
        shape = profile((z / self.pitch - angle / (2.0 * np.pi)) % 1.0)
        runout = np.clip(np.minimum(low - z, z - high) / self.pitch, 0.0, 1.0)
        radius = 0.5 * self.core + self.depth * runout * shape
        return np.stack(
            [radius * np.cos(angle), radius * np.sin(angle), np.broadcast_to(z, radius.shape)], -1
        )

    @property
    def helix_area(self) -> float:
        """Mean area (mm²) of the section of a full helical thread: π ⟨r²⟩ over a turn."""
        first = 0.5 * (STEEP + FLAT) + CREST
        second = (STEEP + FLAT) / 3.0 + CREST
        core = 0.5 * self.core
        return float(np.pi * (core**2 + 2.0 * core * self.depth * first + self.depth**2 * second))

    def implant(self, size: float | None = None) -> Implant:
        """The screw as an implant.

        Surfaces are ``tip``, ``thread``, ``shank`` where it has one, ``head`` and ``drive``; points
        ``entry``, ``tip`` and ``head_top``; direction ``axis`` from head to tip.

        Args:
            size: Edge length (mm) of the triangles; None for those of the drawing. A helix is not
                remeshed: it has `PER_TURN` rings per turn.

        Raises:
            InputError: ``size`` with a helix, or too large for its core.
            MeshError: no sound surface could be made.
        """
        if size is not None:
            if self.thread == "helix":
                raise InputError(self.name, "a helix has the size of its drawing.", "Give None.")
            within(self.name, "size", size, 0.1, 0.5 * self.core)
        made = load_material(self.material) if isinstance(self.material, str) else self.material
        return Implant(
            self.name, "screw", self._surface(size), LocalFrame.own(),
            {
                "entry": np.zeros(3), "tip": np.array([0.0, 0.0, self.length]),
                "head_top": np.array([0.0, 0.0, -self.head_height]),
            },
            {"axis": np.array([0.0, 0.0, 1.0])}, made, self.smallest_wall,
        )  # fmt: skip

    def _surface(self, size: float | None) -> TriangleSurface:
        return self.faces().surface() if size is None else self.faces().remeshed(size)


def profile(part: Points) -> Points:
    """Height of the thread over one pitch, 0 at the core to 1 at the crest.

    Args:
        part: Place along the pitch towards the tip, 0 to 1.
    """
    up = part / STEEP
    down = (STEEP + CREST + FLAT - part) / FLAT
    return np.asarray(np.clip(np.minimum(up, down), 0.0, 1.0))


def _rings(radii: list[float], heights: list[float], least: int = 2) -> Points:
    """Rings of points along a meridian (mm), shape (n, AROUND, 3), none far from the next."""
    corners = np.column_stack([radii, heights])
    steps = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    spacing = 2.0 * np.pi * max(radii) / AROUND * 2.0
    meridian = [corners[:1]]
    for k, step in enumerate(steps):
        number = max(least - 1 if len(steps) == 1 else 1, int(np.ceil(step / spacing)))
        part = np.arange(1, number + 1)[:, None] / number
        meridian.append(corners[k] + part * (corners[k + 1] - corners[k]))
    radius, height = np.concatenate(meridian).T
    angle = 2.0 * np.pi * np.arange(AROUND) / AROUND
    return np.stack(
        [radius[:, None] * np.cos(angle), radius[:, None] * np.sin(angle),
         np.broadcast_to(height[:, None], (len(height), AROUND))], axis=-1,
    )  # fmt: skip
