"""Cementless tapered hip stem: rounded sections swept down the shaft and up the neck."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.implants.implant import Implant, LocalFrame
from organtwin.implants.materials import ImplantMaterial, load_material
from organtwin.implants.sweeping import Faces, rounded_rectangle, tube
from organtwin.mesh.shapes.limits import within

type Points = NDArray[np.float64]

SURFACES = ("distal", "proximal_coating", "neck", "head_seat", "taper_end")
#: Points around a section as drawn; a multiple of 4.
AROUND = 64
#: Distance of the drawn sections (mm).
STEP = 1.6
#: Half widths at the bend, in parts of its radius, that still leave room for the sections to turn.
ROOM = 0.9
#: Versions of the neck: further offset and height of the head's centre (mm): plain, for a larger
#: offset, and for coxa vara. Our choice, of the order of what is sold (remembered).
NECKS = {"standard": (0.0, 0.0), "lateral": (7.0, 0.0), "varus": (7.0, -5.0)}
#: How far farther out than the plain one heads sit on the taper (mm). Our choice, likewise.
HEADS = (-4.0, 0.0, 4.0, 8.0)
#: Limits of the parameters: attribute → smallest, largest, unit. Our choice, wide enough for what
#: is sold and for studies beyond it.
LIMITS = {
    "ccd": (115.0, 150.0, "degrees"),
    "offset": (20.0, 70.0, "mm"),
    "neck_length": (22.0, 60.0, "mm"),
    "length": (60.0, 260.0, "mm"),
    "head_diameter": (22.0, 44.0, "mm"),
    "tip_width": (4.0, 25.0, "mm"),
    "tip_depth": (4.0, 20.0, "mm"),
    "medial_taper": (0.0, 8.0, "degrees"),
    "lateral_taper": (0.0, 8.0, "degrees"),
    "ap_taper": (0.0, 6.0, "degrees"),
    "flare": (0.0, 25.0, "mm"),
    "flare_height": (10.0, 120.0, "mm"),
    "bend_radius": (10.0, 80.0, "mm"),
    "corner": (0.5, 10.0, "mm"),
    "coating_height": (10.0, 250.0, "mm"),
    "neck_diameter": (8.0, 16.0, "mm"),
    "taper_diameter": (9.0, 16.0, "mm"),
    "taper_angle": (2.0, 8.0, "degrees"),
    "taper_length": (8.0, 20.0, "mm"),
    "head_length": (-8.0, 16.0, "mm"),
}


@dataclass(frozen=True)
class HipStem:
    """A tapered stem in its own frame.

    The origin is where the plane of the neck's resection meets the axis of the stem; z goes up that
    axis, x medially, so that the head's centre has y = 0. The stem is the same for both sides.

    The two axes are joined by an arc; sections perpendicular to that path are rectangles with round
    corners. Their half widths grow from the tip by the tapers; ``flare`` is added medially over
    ``flare_height`` below the bend. From the resection on they shrink to the neck's circle.

    Attributes:
        ccd: Angle between the axes of neck and stem (degrees), 180 for a straight one.
        offset: Distance of the head's centre from the stem's axis (mm).
        neck_length: From the plane of resection to the head's centre, along the neck (mm).
        length: From the origin down to the tip (mm).
        head_diameter: Of the head (mm); the stem ends with the taper in it.
        tip_width: Width from medial to lateral at the tip, without its rounding (mm).
        tip_depth: Depth from front to back at the tip (mm).
        medial_taper: Angle of the medial side with the axis (degrees).
        lateral_taper: Angle of the lateral side with the axis (degrees).
        ap_taper: Angle of front and back each with the axis (degrees).
        flare: Further medial width at the bend (mm).
        flare_height: Length over which it comes (mm).
        bend_radius: Radius of the arc between both axes (mm).
        corner: Radius of the sections' corners (mm).
        coating_height: From the plane of resection down along the path (mm).
        neck_diameter: Smallest diameter of the neck (mm).
        taper_diameter: Large end of the taper for the head (mm).
        taper_angle: Full angle of that cone (degrees).
        taper_length: Its length, which ends at the centre of the plain head (mm).
        head_length: How far farther out than that the head's centre lies on the neck's axis (mm).
        name: Its name and size.
        material: Name of its material in the catalogue, or a material.
    """

    ccd: float = 135.0
    offset: float = 42.0
    neck_length: float = 45.0
    length: float = 130.0
    head_diameter: float = 32.0
    tip_width: float = 9.0
    tip_depth: float = 7.5
    medial_taper: float = 1.5
    lateral_taper: float = 1.5
    ap_taper: float = 1.3
    flare: float = 5.0
    flare_height: float = 45.0
    bend_radius: float = 25.0
    corner: float = 2.5
    coating_height: float = 70.0
    neck_diameter: float = 12.5
    taper_diameter: float = 14.0
    taper_angle: float = 5.666
    taper_length: float = 13.0
    head_length: float = 0.0
    name: str = "tapered stem"
    material: str | ImplantMaterial = "Ti6Al4V"

    def __post_init__(self) -> None:
        for key, (low, high, unit) in LIMITS.items():
            within(self.name, key, getattr(self, key), low, high, unit)
        self._check_path()
        self._check_sections()

    def _check_path(self) -> None:
        if self.resection < self.bend[1]:
            most = self.offset / np.sin(self.turn) - self.bend_radius * np.tan(0.5 * self.turn)
            raise InputError(
                self.name,
                f"neck_length is {self.neck_length:g} mm: the resection lies in the bend.",
                f"Give {most:.1f} mm or less, a smaller bend_radius or a larger offset.",
            )
        if self.bend[0] < 0.3 * self.tip_length:
            raise InputError(
                self.name, f"length is {self.length:g} mm: the bend reaches below the tip.",
                "Make it longer or bend_radius smaller.",
            )  # fmt: skip
        if self.taper_length + 1.2 * self.blend > self.neck_length:
            raise InputError(
                self.name,
                f"no room for a taper of {self.taper_length:g} mm in a neck of "
                f"{self.neck_length:g} mm.",
                f"Give neck_length {self.taper_length + 1.2 * self.blend:.1f} mm or more.",
            )
        if self.coating_height > self.resection - self.tip_length:
            raise InputError(
                self.name,
                f"coating_height is {self.coating_height:g} mm, beyond the tip's rounding.",
                f"Give {self.resection - self.tip_length:.1f} mm or less.",
            )

    def _check_sections(self) -> None:
        small = 0.5 * min(self.tip_width, self.tip_depth)
        if self.corner > small:
            raise InputError(
                self.name, f"corner is {self.corner:g} mm, more than half of the tip.",
                f"Give {small:g} mm or less.",
            )  # fmt: skip
        medial = self.half_widths(np.linspace(*self.bend, 40))[1].max()
        if medial > ROOM * self.bend_radius:
            raise InputError(
                self.name,
                f"it is {medial:.1f} mm wide medially in a bend of {self.bend_radius:g} mm: "
                "its sections would cut each other.",
                "Give a larger bend_radius, or less taper, tip_width or flare.",
            )
        if self.neck_diameter > self.taper_diameter:
            raise InputError(
                self.name,
                f"a neck of {self.neck_diameter:g} mm under a taper of {self.taper_diameter:g} mm.",
                "Give neck_diameter at most taper_diameter.",
            )
        if self.taper_diameter > 0.7 * self.head_diameter:
            raise InputError(
                self.name,
                f"a taper of {self.taper_diameter:g} mm in a head of {self.head_diameter:g} mm.",
                "Give a larger head_diameter.",
            )

    @property
    def turn(self) -> float:
        """Angle between the two axes (radians)."""
        return float(np.radians(180.0 - self.ccd))

    @property
    def neck_axis(self) -> Points:
        """Unit vector from the stem to the head, shape (3,)."""
        return np.array([np.sin(self.turn), 0.0, np.cos(self.turn)])

    def with_neck(self, name: str) -> HipStem:
        """The stem with one of `NECKS`; below the resection's middle it stays nearly the same.

        Raises:
            InputError: that neck leaves no room for the bend or the taper.
        """
        beside, up = NECKS[name]
        if not (beside or up):
            return self
        # From head_centre: dz = (dn - do sin t) / cos t.
        longer = beside * np.sin(self.turn) + up * np.cos(self.turn)
        return replace(
            self, offset=self.offset + beside, neck_length=self.neck_length + float(longer),
            name=f"{self.name}, {name} neck",
        )  # fmt: skip

    def with_head(self, length: float) -> HipStem:
        """The stem with a head that sits farther out (mm)."""
        return replace(self, head_length=length)

    @property
    def head_point(self) -> Points:
        """Centre of the head that it has (mm), shape (3,)."""
        return np.asarray(self.head_centre + self.head_length * self.neck_axis)

    @property
    def head_centre(self) -> Points:
        """Centre of the plain head (mm), shape (3,)."""
        # The resection's centre R has R · n = 0, as the origin lies in its plane.
        return np.array([self.offset, 0.0, (self.neck_length - self.offset * np.sin(self.turn))
                         / np.cos(self.turn)])  # fmt: skip

    @property
    def crossing(self) -> float:
        """Height (mm) at which the two axes would meet."""
        return float(self.head_centre[2] - self.offset / np.tan(self.turn))

    @property
    def bend(self) -> tuple[float, float]:
        """Where along the path from the tip (mm) the arc begins and ends."""
        first = self.length + self.crossing - self.bend_radius * np.tan(0.5 * self.turn)
        return float(first), float(first + self.bend_radius * self.turn)

    @property
    def end(self) -> float:
        """Length (mm) of the path from the tip to the head's centre."""
        straight = self.offset / np.sin(self.turn) - self.bend_radius * np.tan(0.5 * self.turn)
        return float(self.bend[1] + straight)

    @property
    def resection(self) -> float:
        """Where along the path from the tip (mm) the neck is resected."""
        return self.end - self.neck_length

    @property
    def blend(self) -> float:
        """Length (mm) above the resection by which the section is round (our choice)."""
        return 13.0

    @property
    def tip_length(self) -> float:
        """Height (mm) of the rounding of the tip: half of its smaller width."""
        return 0.5 * min(self.tip_width, self.tip_depth)

    def path(self, s: Points) -> tuple[Points, Points]:
        """Places of the path and its medial normals at lengths ``s`` from the tip, (n, 3) each."""
        start, stop = self.bend
        angle = np.clip((s - start) / self.bend_radius, 0.0, self.turn)
        low, high = np.minimum(s, start), np.maximum(s - stop, 0.0)
        zero = np.zeros_like(s)
        x = self.bend_radius * (1.0 - np.cos(angle)) + high * np.sin(self.turn)
        z = low - self.length + self.bend_radius * np.sin(angle) + high * np.cos(self.turn)
        normal = np.stack([np.cos(angle), zero, -np.sin(angle)], axis=-1)
        return np.stack([x, zero, z], axis=-1), normal

    def half_widths(self, s: Points) -> tuple[Points, Points, Points, Points]:
        """Lateral, medial and front half widths and corner radius (mm) at lengths ``s``, (n,)."""
        s = np.asarray(s, float)
        medial, lateral, front = (
            np.tan(np.radians(x)) for x in (self.medial_taper, self.lateral_taper, self.ap_taper)
        )
        up = np.minimum(s, self.resection)
        part = np.clip((up - self.bend[0]) / self.flare_height + 1.0, 0.0, 1.0)
        out = 0.5 * self.tip_width + up * lateral
        m = 0.5 * self.tip_width + up * medial + self.flare * _smooth(part)
        b = 0.5 * self.tip_depth + up * front
        r = np.full_like(s, self.corner)
        neck = 0.5 * self.neck_diameter
        # The medial side begins to curve up to the neck below the resection already.
        start = self.resection - 0.8 * self.blend
        mix = _smooth(np.clip((s - start) / (1.8 * self.blend), 0.0, 1.0))
        out, m, b, r = (x + mix * (neck - x) for x in (out, m, b, r))
        # From the neck to the seat of the head, then up its cone.
        seat = self.end - self.taper_length
        cone = 0.5 * self.taper_diameter - np.tan(0.5 * np.radians(self.taper_angle)) * (s - seat)
        rise = np.clip((s - seat) / (0.2 * self.blend) + 1.0, 0.0, 1.0)
        round_ = np.where(s >= seat, cone, neck + rise * (0.5 * self.taper_diameter - neck))
        out, m, b, r = (np.where(rise > 0, round_, x) for x in (out, m, b, r))
        return out, m, b, r

    def area(self, s: Points) -> tuple[Points, Points]:
        """Area (mm²) of the sections at ``s`` and medial place of their middles (mm), (n,)."""
        out, m, b, r = self.half_widths(s)
        scale = self._tip_scale(s)
        return (2.0 * (out + m) * b - (4.0 - np.pi) * r**2) * scale**2, 0.5 * (m - out) * scale

    def _tip_scale(self, s: Points) -> Points:
        below = np.clip(1.0 - np.asarray(s, float) / self.tip_length, 0.0, 1.0)
        return np.asarray(np.sqrt(1.0 - below**2))

    @property
    def smallest_wall(self) -> float:
        """Smallest width (mm) of its sections above the rounding of the tip."""
        out, m, b, _ = self.half_widths(np.linspace(self.tip_length, self.end, 400))
        return float(np.minimum(out + m, 2.0 * b).min())

    def faces(self) -> Faces:
        """Its drawn surface."""
        breaks = self._breaks()
        s = np.concatenate([_steps(low, high) for low, high in pairwise(breaks)])
        tip = self.tip_length * (1.0 - np.cos(np.linspace(0.0, 0.5 * np.pi, 9)[1:-1]))
        s = np.unique(np.concatenate([tip, s]))
        out, m, b, r = self.half_widths(s)
        angle = 2.0 * np.pi * np.arange(AROUND) / AROUND
        half = 0.5 * (out + m)
        rays = np.stack([half[:, None] * np.cos(angle), b[:, None] * np.sin(angle)], axis=-1)
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        flat = rounded_rectangle(half[:, None], b[:, None], r[:, None], rays)
        flat[..., 0] += 0.5 * (m - out)[:, None]
        flat *= self._tip_scale(s)[:, None, None]
        centre, normal = self.path(s)
        rows = centre[:, None] + flat[..., :1] * normal[:, None]
        rows[..., 1] += flat[..., 1]
        middle = 0.5 * (s[1:] + s[:-1])
        bands = np.searchsorted(breaks[1:-1], middle)
        top, _ = self.path(np.array([self.end]))
        return tube(rows, bands, (np.array([0.0, 0.0, -self.length]), 0), (top[0], 4), SURFACES)

    def _breaks(self) -> list[float]:
        return [self.tip_length, self.resection - self.coating_height, self.resection,
                self.end - self.taper_length, self.end]  # fmt: skip

    def implant(self, size: float | None = None) -> Implant:
        """The stem as an implant.

        Surfaces are ``distal``, ``proximal_coating``, ``neck``, ``head_seat`` (the cone) and
        ``taper_end``; points ``head_centre``, ``resection`` (its middle on the neck's axis),
        ``tip``, ``shoulder`` and ``taper_start``; directions ``axis``, ``neck`` (also the normal of
        the plane of resection through the origin) and ``medial``.

        Args:
            size: Edge length (mm) of the triangles; None for those of the drawing, which are fine
                and slender.

        Raises:
            InputError: ``size`` is too large for its smallest parts.
            MeshError: no sound surface could be made.
        """
        if size is not None:
            within(self.name, "size", size, 0.2, 0.5 * self.smallest_wall)
        drawn = self.faces()
        surface = drawn.surface() if size is None else drawn.remeshed(size)
        base = np.array([self.resection, self.end - self.taper_length])
        places, normals = self.path(base)
        lateral = self.half_widths(base[:1])[0][0]
        made = load_material(self.material) if isinstance(self.material, str) else self.material
        return Implant(
            self.name, "stem", surface, LocalFrame.own(),
            {
                "head_centre": self.head_point, "resection": places[0],
                "tip": np.array([0.0, 0.0, -self.length]),
                "shoulder": places[0] - lateral * normals[0], "taper_start": places[1],
            },
            {"axis": np.array([0.0, 0.0, 1.0]), "neck": self.neck_axis,
             "medial": np.array([1.0, 0.0, 0.0])},
            made, self.smallest_wall,
        )  # fmt: skip


def _smooth(part: Points) -> Points:
    """0 to 1 with flat ends."""
    return np.asarray(part * part * (3.0 - 2.0 * part))


def _steps(low: float, high: float) -> Points:
    return np.linspace(low, high, max(2, int(np.ceil((high - low) / STEP)) + 1))
