"""A parametric aortic root whose areas, diameters, heights and calcium follow from its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import ellipe

from organtwin.errors import InputError
from organtwin.landmarks.fits import unit
from organtwin.mesh.shapes.root_form import Leaflet, RootForm, Valve, hang
from organtwin.mesh.shapes.root_wall import RootWall

type Vector = NDArray[np.float64]

#: The cusps, anticlockwise seen from the aorta.
CUSPS = ("right", "left", "non_coronary")
#: Their leaflets in a mesh.
LEAFLETS = ("right", "left", "non")
#: Depth below the annulus at which the outflow tract is measured (mm).
OUTFLOW_LEVEL = 4.0
#: Height of the middle of closed leaflets, per that of the commissures; distance of open ones from
#: the axis, per radius of the annulus.
CLOSED, OPEN = 0.7, 0.88
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
class ParametricRoot(RootWall):
    """A parametric root in the patient, with leaflets, coronary arteries and calcium.

    Its wall is that of `organtwin.mesh.shapes.root_wall.RootWall`, its leaflets those of
    `organtwin.mesh.shapes.root_form.Leaflet` without belly.

    Attributes:
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
        super().__post_init__()
        place = "ParametricRoot"
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

    # ------------------------------------------------------------------------------------- points

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
        own = self._leaflet(cusp)
        start, edge = own.foot(along), own.free_edge(along)
        if self.raphe is not None and cusp in (self.raphe, (self.raphe + 1) % 3):
            fused = along * (1.0 if cusp == self.raphe else -1.0) > 0.0
            post = own.foot(np.where(along > 0.0, 1.0, -1.0))
            torn = self._raphe(edge, post, np.abs(along)[..., None])
            edge = np.where(fused[..., None], torn, edge)
        return np.asarray(start + across[..., None] * (edge - start))

    def _leaflet(self, cusp: int) -> Leaflet:
        """Attachment and free edge of a leaflet, from commissure to commissure."""
        hinges, ends = self.posts()
        before, last = ends[cusp - 1], ends[cusp]
        if cusp == 0:
            before = (before[0] - 2.0 * np.pi, before[1])
        stands = self.leaflets == "open"
        tip = (1.0 if stands else CLOSED) * self.commissure_height
        reach = OPEN * float(self.radius(np.asarray(hinges[cusp][0]), np.asarray(0.0)))
        return Leaflet(
            CUSPS[cusp], self.wall, hinges[cusp], before, last, np.array([0.0, 0.0, tip]),
            np.array([0.0, 0.0, 1.0]), self.thickness, reach if stands else 0.0,
        )  # fmt: skip

    def _raphe(self, edge: Vector, post: Vector, share: Vector) -> Vector:
        """Free edge that ends before the raphe, half-way from the wall to the middle."""
        inner = post * np.array([0.5, 0.5, 0.9])
        return np.asarray(edge + share**2 * (inner - post))

    def form(self, wall: float = 2.0, below: float = 10.0, above: float = 25.0) -> RootForm:
        """What is meshed of it in the patient, by `organtwin.mesh.shapes.root_mesh.mesh_root`.

        The leaflets are those of a measured root, `organtwin.aortic_root.anatomy`: they have a
        belly and do not touch.

        Args:
            wall: Thickness of the wall (mm).
            below: Length of the outflow tract (mm).
            above: Length of the ascending aorta over the junction (mm).

        Raises:
            InputError: two leaflets are fused.
        """
        if self.raphe is not None:
            raise InputError("ParametricRoot", "fused leaflets can't be meshed.", "Take no raphe.")

        def place(turn: Vector, height: Vector, depth: float = 0.0) -> Vector:
            return self.to_patient(self.wall(turn, height, depth))

        leaflets: tuple[Leaflet, ...] = ()
        if self.leaflets != "none":
            hinges, ends = self.posts()
            radii = self.radius(np.radians(self.middles), np.zeros(3))
            valve = Valve.standing(self.leaflets, self.thickness, radii, self.commissure_height)
            leaflets = hang(place, LEAFLETS, hinges, ends, valve, "ParametricRoot")
        return RootForm(place, -below, self.junction_height + above, wall, leaflets)

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
