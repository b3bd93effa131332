"""A parametric aortic root whose areas, diameters, heights and calcium follow from its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import ellipe

from organtwin.errors import InputError
from organtwin.landmarks.fits import unit

type Vector = NDArray[np.float64]

#: The cusps, anticlockwise seen from the aorta.
CUSPS = ("right", "left", "non_coronary")
#: Depth below the annulus at which the outflow tract is measured (mm).
OUTFLOW_LEVEL = 4.0
#: Directions by which outlines without a closed form are integrated.
FINE = 1440


@dataclass(frozen=True)
class Coronary:
    """A straight coronary artery that leaves a sinus at right angles to the root's axis.

    Attributes:
        cusp: Sinus that it leaves: ``right`` or ``left``.
        height: Height of the lower edge of its ostium over the annulus (mm).
        diameter: Its inner diameter (mm).
        off: Angle from the middle of the sinus (degrees).
        length: How far it goes beyond the wall (mm).
    """

    cusp: str
    height: float
    diameter: float = 3.5
    off: float = 0.0
    length: float = 14.0


@dataclass(frozen=True)
class Nodule:
    """A ball of calcium.

    Attributes:
        cusp: Cusp under or on which it lies.
        part: ``leaflet``, ``annulus`` or ``outflow``.
        diameter: Its diameter (mm).
        along: Where between both commissures of the cusp, -1 to 1.
        across: On a leaflet the share of the way from its attachment to its free edge; in the
            outflow tract the depth below the annulus (mm).
        density: What a CT shows of it (HU).
    """

    cusp: str
    part: str
    diameter: float
    along: float = 0.0
    across: float = 0.5
    density: float = 1200.0


@dataclass(frozen=True)
class ParametricRoot:
    r"""Outflow tract, annulus, three sinuses, sinotubular junction and ascending aorta.

    The wall lies at the radius

    .. math::
        r(\theta, z) = e(\theta, z) + d_k \sin(\pi s) \cos^2\!\frac{\pi}{2}
            \frac{\theta - \theta_k}{w_k}, \qquad
        s = \frac{z - l}{J - l}, \quad l = C \left(\frac{\theta - \theta_k}{w_k}\right)^2

    around the axis :math:`z`, in sinus :math:`k` where :math:`0 < s < 1`. :math:`e` is an ellipse
    whose axes change linearly between ventricle, outflow tract, annulus (:math:`z = 0`), junction
    (:math:`z = J`) and ascending aorta; :math:`l` is the attachment of the leaflet, from its hinge
    point at height 0 to its commissures. Shape and formula are our choice.

    Attributes:
        annulus: Longest and shortest diameter (mm).
        turn: Direction of the longest diameter (degrees).
        outflow: Both diameters of the outflow tract at ``outflow_depth`` (mm).
        outflow_depth: Its length (mm); it opens into the ventricle below.
        ventricle: Diameter of the ventricle 15 mm below the outflow tract (mm).
        junction: Diameter of the sinotubular junction :math:`2 e(J)` (mm).
        junction_height: Its height :math:`J` over the annulus (mm).
        ascending: Diameter of the ascending aorta 20 mm above the junction (mm).
        depths: Depth :math:`d_k` of the sinuses: right, left, non-coronary (mm).
        commissures: Directions of the commissures right–left, left–non, non–right (degrees).
        commissure_height: Height :math:`C` of the commissures (mm).
        raphe: Number of the commissure at which two leaflets are fused, as in a bicuspid valve.
        leaflets: ``closed``, ``open`` or ``none``.
        thickness: Thickness of the leaflets (mm).
        coronaries: The coronary arteries.
        calcium: Nodules of calcium; they must not touch each other nor the border of a cusp.
        angulation: Angle between the annulus and the horizontal plane, seen from the front; the
            aorta leans to the patient's right (degrees).
        lean: The same seen from the side; the aorta leans forwards (degrees).
        centre: Middle of the annulus (LPS, mm), shape (3,).
    """

    annulus: tuple[float, float] = (26.0, 22.0)
    turn: float = 20.0
    outflow: tuple[float, float] = (27.0, 21.0)
    outflow_depth: float = 12.0
    ventricle: float = 40.0
    junction: float = 28.0
    junction_height: float = 22.0
    ascending: float = 31.0
    depths: tuple[float, float, float] = (5.0, 4.5, 5.0)
    commissures: tuple[float, float, float] = (-30.0, 90.0, 210.0)
    commissure_height: float = 16.0
    raphe: int | None = None
    leaflets: str = "closed"
    thickness: float = 0.8
    coronaries: tuple[Coronary, ...] = (
        Coronary("right", 14.0, 3.5, 5.0), Coronary("left", 12.5, 4.0, -8.0),
    )  # fmt: skip
    calcium: tuple[Nodule, ...] = ()
    angulation: float = 40.0
    lean: float = 15.0
    centre: Vector = field(default_factory=lambda: np.array([5.0, -30.0, 200.0]))

    def __post_init__(self) -> None:
        place = "ParametricRoot"
        widths = np.asarray(self.widths)
        sizes = (*self.annulus, *self.outflow, self.ventricle, self.junction, self.ascending)
        if min(sizes) <= 0.0 or not 0.0 < self.commissure_height < self.junction_height:
            raise InputError(
                place, "diameters must be positive, the commissures between annulus and junction.",
                f"The junction is at {self.junction_height:g} mm.",
            )  # fmt: skip
        if abs(widths.sum() - 180.0) > 1e-9 or widths.min() < 40.0:
            raise InputError(
                place, f"commissures at {self.commissures} make no three sinuses of 80° or more.",
                "Give rising angles, the last less than 360° beyond the first.",
            )  # fmt: skip
        if self.leaflets not in {"closed", "open", "none"}:
            raise InputError(place, f"no leaflets `{self.leaflets}`.", "closed, open or none.")
        for nodule in self.calcium:
            self._check(nodule)

    # -------------------------------------------------------------------------------------- frame

    @property
    def axes(self) -> Vector:
        """Rows are the directions of angle 0, of 90° and upwards in the patient, shape (3, 3)."""
        slopes = np.tan(np.radians([self.angulation, self.lean]))
        up = unit(np.array([-slopes[0], -slopes[1], 1.0]))
        back = np.array([0.0, 1.0, 0.0])
        second = unit(back - (back @ up) * up)
        return np.array([np.cross(second, up), second, up])

    def to_patient(self, points: Vector) -> Vector:
        """Patient's coordinates (LPS, mm) of points in the root's frame, shape (..., 3)."""
        return np.asarray(self.centre + points @ self.axes)

    def to_root(self, points: Vector) -> Vector:
        """Coordinates in the root's frame of points in the patient (mm), shape (..., 3)."""
        return np.asarray((points - self.centre) @ self.axes.T)

    # --------------------------------------------------------------------------------------- wall

    @property
    def middles(self) -> Vector:
        """Directions of the sinuses: right, left, non-coronary (degrees), shape (3,)."""
        first, second, third = self.commissures
        return np.array([0.5 * (third - 360.0 + first), 0.5 * (first + second),
                         0.5 * (second + third)])  # fmt: skip

    @property
    def widths(self) -> Vector:
        """Half of the angles of the sinuses (degrees), shape (3,)."""
        first, second, third = self.commissures
        return 0.5 * np.array([first - third + 360.0, second - first, third - second])

    def semi_axes(self, height: Vector | float) -> tuple[Vector, Vector]:
        """Longer and shorter half axis of the ellipse without sinuses at heights (mm)."""
        top = self.junction_height
        knots = (-self.outflow_depth - 15.0, -self.outflow_depth, 0.0, top, top + 20.0)
        tube = (self.junction, self.ascending)
        long, short = (
            np.interp(height, knots, 0.5 * np.array([self.ventricle, out, ring, *tube]))
            for out, ring in zip(self.outflow, self.annulus, strict=True)
        )
        return np.asarray(long), np.asarray(short)

    def cusp(self, turn: Vector) -> tuple[NDArray[np.int64], Vector]:
        """Number of the cusp in directions (radians), and where in it, -1 to 1."""
        off = np.degrees(turn)[..., None] - self.middles
        off = (off + 180.0) % 360.0 - 180.0
        share = off / self.widths
        best = np.argmin(np.abs(share), axis=-1)
        return np.asarray(best), np.take_along_axis(share, best[..., None], -1)[..., 0]

    def radius(self, turn: Vector, height: Vector) -> Vector:
        """Distance of the wall from the axis in directions (radians) at heights (mm)."""
        turn, height = np.broadcast_arrays(np.asarray(turn, float), np.asarray(height, float))
        long, short = self.semi_axes(height)
        bare = turn - np.radians(self.turn)
        base = long * short / np.hypot(short * np.cos(bare), long * np.sin(bare))
        cusp, share = self.cusp(turn)
        low = self.commissure_height * share**2
        rise = (height - low) / (self.junction_height - low)
        inside = (rise > 0.0) & (rise < 1.0)
        bulge = np.asarray(self.depths)[cusp] * np.cos(0.5 * np.pi * share) ** 2
        return np.asarray(base + np.where(inside, bulge * np.sin(np.pi * rise), 0.0))

    def wall(self, turn: Vector, height: Vector) -> Vector:
        """Points of the wall in the root's frame (mm), shape (..., 3)."""
        far = self.radius(turn, height)
        turn, height = np.broadcast_arrays(turn, height)
        return np.stack([far * np.cos(turn), far * np.sin(turn), height], axis=-1)

    def hinges(self) -> Vector:
        """Hinge points in the patient: right, left, non-coronary (LPS, mm), shape (3, 3)."""
        return self.to_patient(self.wall(np.radians(self.middles), np.zeros(3)))

    def ostium(self, coronary: Coronary) -> Vector:
        """Middle of an ostium in the patient (LPS, mm), shape (3,)."""
        turn = np.radians(self.middles[CUSPS.index(coronary.cusp)] + coronary.off)
        height = np.asarray(coronary.height + 0.5 * coronary.diameter)
        return self.to_patient(self.wall(np.asarray(turn), height))

    # ----------------------------------------------------------------------------------- leaflets

    def leaflet(self, cusp: int, along: Vector, across: Vector) -> Vector:
        """Points of a leaflet in the root's frame (mm), shape (..., 3).

        A ruled surface from the attachment to the free edge. Closed leaflets meet in the middle at
        the height of 0.7 of the commissures; open ones stand before their sinus. At a raphe the
        fused leaflets stay together half-way to the middle.

        Args:
            cusp: Its number in `CUSPS`.
            along: From the commissure before it (-1) to the one after it (1), shape (...).
            across: From the attachment (0) to the free edge (1), shape (...).
        """
        along, across = np.broadcast_arrays(np.asarray(along, float), np.asarray(across, float))
        middle, width = np.radians(self.middles[cusp]), np.radians(self.widths[cusp])
        turn = middle + along * width
        start = self.wall(turn, self.commissure_height * along**2)
        side = np.sign(along) * width
        post = self.wall(middle + side, np.full(along.shape, self.commissure_height))
        share = np.abs(along)[..., None]
        if self.leaflets == "open":
            before = self.wall(turn, np.zeros(along.shape)) * np.array([0.88, 0.88, 0.0])
            before[..., 2] = self.commissure_height
            edge = share**2 * post + (1.0 - share**2) * before
        else:
            edge = share * post + (1.0 - share) * np.array([0.0, 0.0, 0.7 * self.commissure_height])
        if self.raphe is not None and cusp in (self.raphe, (self.raphe + 1) % 3):
            fused = along * (1.0 if cusp == self.raphe else -1.0) > 0.0
            edge = np.where(fused[..., None], self._raphe(edge, post, share), edge)
        return np.asarray(start + across[..., None] * (edge - start))

    def _raphe(self, edge: Vector, post: Vector, share: Vector) -> Vector:
        """Free edge that ends before the raphe, half-way from the wall to the middle."""
        inner = post * np.array([0.5, 0.5, 0.9])
        return np.asarray(edge + share**2 * (inner - post))

    # -------------------------------------------------------------------------------------- truth

    def truth(self) -> dict[str, float]:
        """What `organtwin.aortic_root.measurements` should find, by the same names (mm, mm², °)."""
        long, short = self.annulus
        found = _ellipse("annulus", long, short)
        found["annulus_ellipticity"] = short / long
        below = self.semi_axes(-OUTFLOW_LEVEL)
        found |= _ellipse("outflow", 2.0 * float(below[0]), 2.0 * float(below[1]))
        level, across = self._sinuses()
        found |= {f"sinus_diameter_{c}": d for c, d in zip(CUSPS, across, strict=True)}
        found |= {"sinus_diameter_mean": float(np.mean(across)), "sinus_level": level}
        found |= {f"sinus_height_{c}": self.junction_height for c in CUSPS}
        found |= _ellipse("junction", self.junction, self.junction)
        found["junction_height"] = self.junction_height
        found |= {f"coronary_height_{c.cusp}": c.height for c in self.coronaries}
        return found | {"aortic_angulation": self.angulation}

    def _sinuses(self) -> tuple[float, Vector]:
        """Height of the largest section and its diameters through the middle by cusp (mm)."""
        turn = np.arange(FINE) * 2.0 * np.pi / FINE
        best = minimize_scalar(
            lambda z: -float(np.sum(self.radius(turn, z) ** 2)),
            bounds=(0.0, self.junction_height), method="bounded", options={"xatol": 1e-6},
        )  # fmt: skip
        outline = self.wall(turn, np.full(FINE, best.x))[:, :2]
        after = np.roll(outline, -1, axis=0)
        cross = outline[:, 0] * after[:, 1] - outline[:, 1] * after[:, 0]
        centre = np.sum((outline + after) * cross[:, None], axis=0) / (3.0 * np.sum(cross))
        away = outline - centre
        far, way = np.hypot(*away.T), np.arctan2(away[:, 1], away[:, 0])
        order = np.argsort(way)
        own = self.cusp(turn)[0]
        across = []
        for cusp in range(3):
            top = np.flatnonzero(own == cusp)[np.argmax(far[own == cusp])]
            other = np.interp(way[top] + np.pi, way[order], far[order], period=2.0 * np.pi)
            across.append(far[top] + other)
        return float(best.x), np.array(across)

    def calcium_volumes(self) -> dict[tuple[str, str], float]:
        """Volume of calcium by cusp, and ``valve`` above or ``outflow`` below the annulus (mm³)."""
        found = {(cusp, part): 0.0 for cusp in CUSPS for part in ("valve", "outflow")}
        for nodule in self.calcium:
            r, z = 0.5 * nodule.diameter, float(self.nodule_centre(nodule)[2])
            cap = float(np.clip(r + z, 0.0, 2.0 * r))  # height of the part above the annulus
            above = np.pi * cap**2 * (3.0 * r - cap) / 3.0
            found[nodule.cusp, "valve"] += above
            found[nodule.cusp, "outflow"] += 4.0 / 3.0 * np.pi * r**3 - above
        return found

    def nodule_centre(self, nodule: Nodule) -> Vector:
        """Middle of a nodule in the root's frame (mm), shape (3,)."""
        cusp = CUSPS.index(nodule.cusp)
        if nodule.part == "leaflet":
            return self.leaflet(cusp, np.asarray(nodule.along), np.asarray(nodule.across))
        turn = np.radians(self.middles[cusp] + nodule.along * self.widths[cusp])
        depth = nodule.across if nodule.part == "outflow" else 0.0
        return self.wall(np.asarray(turn), np.asarray(-depth))

    def _check(self, nodule: Nodule) -> None:
        """Refuse a nodule whose volume would not follow from its own numbers alone."""
        place = f"nodule of the cusp `{nodule.cusp}`"
        if nodule.cusp not in CUSPS or nodule.part not in {"leaflet", "annulus", "outflow"}:
            raise InputError(place, f"no part `{nodule.part}`.", "leaflet, annulus or outflow.")
        at, r = self.nodule_centre(nodule), 0.5 * nodule.diameter
        for other in self.calcium:
            gap = np.linalg.norm(self.nodule_centre(other) - at) - 0.5 * other.diameter - r
            if other is not nodule and gap < 0.0:
                raise InputError(place, "touches another one.", "Move it or make it smaller.")
        own = self.cusp(np.arctan2(at[1], at[0]))[0]
        for border in np.radians(self.commissures):
            ahead = at[0] * np.cos(border) + at[1] * np.sin(border)
            aside = abs(at[1] * np.cos(border) - at[0] * np.sin(border))
            if (aside if ahead > 0.0 else np.hypot(at[0], at[1])) < r:
                raise InputError(place, "reaches into the next cusp.", "Move it to the middle.")
        if CUSPS[int(own)] != nodule.cusp:
            raise InputError(place, "lies in another cusp.", "`along` goes from -1 to 1.")


def _ellipse(name: str, long: float, short: float) -> dict[str, float]:
    r"""Sizes of an ellipse with both diameters: :math:`A = \pi a b`, :math:`P = 4 a E(m)`."""
    area = 0.25 * np.pi * long * short
    least, most = min(long, short), max(long, short)
    perimeter = 2.0 * most * float(ellipe(1.0 - (least / most) ** 2))
    return {
        f"{name}_area": area,
        f"{name}_perimeter": perimeter,
        f"{name}_area_diameter": float(np.sqrt(4.0 * area / np.pi)),
        f"{name}_perimeter_diameter": perimeter / np.pi,
        f"{name}_diameter_min": least,
        f"{name}_diameter_max": most,
    }
