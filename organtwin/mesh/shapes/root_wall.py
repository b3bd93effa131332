"""The parametric wall of an aortic root, for shapes and for synthetic scans alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError

type Vector = NDArray[np.float64]


@dataclass(frozen=True)
class RootWall:
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
        ascending: Diameter of the ascending aorta ``ascending_length`` above the junction (mm).
        ascending_length: Length over which it changes (mm).
        depths: Depth :math:`d_k` of the sinuses: right, left, non-coronary (mm).
        commissures: Directions of the commissures right–left, left–non, non–right (degrees).
        commissure_height: Height :math:`C` of the commissures (mm).
    """

    annulus: tuple[float, float] = (26.0, 22.0)
    turn: float = 20.0
    outflow: tuple[float, float] = (27.0, 21.0)
    outflow_depth: float = 12.0
    ventricle: float = 40.0
    junction: float = 28.0
    junction_height: float = 22.0
    ascending: float = 31.0
    ascending_length: float = 20.0
    depths: tuple[float, float, float] = (5.0, 4.5, 5.0)
    commissures: tuple[float, float, float] = (-30.0, 90.0, 210.0)
    commissure_height: float = 16.0

    def __post_init__(self) -> None:
        place = type(self).__name__
        widths = np.asarray(self.widths)
        sizes = (*self.annulus, *self.outflow, self.ventricle, self.junction, self.ascending,
                 self.outflow_depth, self.ascending_length)  # fmt: skip
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
        knots = (-self.outflow_depth - 15.0, -self.outflow_depth, 0.0, top,
                 top + self.ascending_length)  # fmt: skip
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

    def wall(self, turn: Vector, height: Vector, depth: float = 0.0) -> Vector:
        """Points of the wall, ``depth`` mm outside of the lumen (mm), shape (..., 3)."""
        far = self.radius(turn, height) + depth
        turn, height = np.broadcast_arrays(turn, height)
        return np.stack([far * np.cos(turn), far * np.sin(turn), height], axis=-1)

    def posts(self) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Angle (rad) and height (mm) of the hinge points, and of the commissure after each."""
        hinges = [(float(turn), 0.0) for turn in np.radians(self.middles)]
        ends = [(float(turn), self.commissure_height) for turn in np.radians(self.commissures)]
        return hinges, ends
