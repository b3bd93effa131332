"""What aortic roots are meshed from: the wall over angle and height, and how leaflets hang."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.vectors import unit

type Points = NDArray[np.float64]

#: Space between neighbouring leaflets at a commissure, per thickness of a leaflet.
GAP = 2.0
#: Least part of its way to the free edge that a leaflet starts with towards the axis.
DEPARTURE = 1.0
#: How far a hinge point may lie off the middle of its cusp, per width of the cusp.
ASIDE = 0.23
#: How leaflets stand → distance of the middle of their free edges from the axis per radius of the
#: annulus, effective height and belly per height of the commissures. Our choice.
STANDS = {"closed": (0.12, 0.55, 0.17), "open": (0.68, 0.9, 0.03)}
#: Least distance of a free edge from the axis per thickness.
APART = 1.2


class Place(Protocol):
    """Points of a wall, (n, 3) in mm."""

    def __call__(self, angle: Points, height: Points, depth: float = 0.0, /) -> Points:
        """Points at angles (rad) and heights (mm), ``depth`` mm into the wall."""


@dataclass(frozen=True)
class Leaflet:
    r"""A leaflet that hangs on a wall from commissure to hinge point to commissure.

    With u from -1 to 1 between the commissures and hinge point :math:`(\theta_0, z_0)`,
    commissures :math:`(\theta_\pm, z_\pm)`, the attachment is

    .. math::
        \theta = \theta_0 + \tfrac12 (\theta_+ - \theta_-) u
            + (\tfrac12 (\theta_+ + \theta_-) - \theta_0) u^2, \quad
        z = z_0 + (\tfrac12 (z_+ + z_-) - z_0) u^2 + \tfrac12 (z_+ - z_-) u^3

    and the free edge, with the ends :math:`C + a \pm b + h_\pm n` of the attachment as seen from
    the point :math:`C` in the middle of the valve along its axis :math:`n`,

    .. math::
        C + a \sqrt{\epsilon^2 (1 - u^2) + u^2} + b u
            + (\tfrac12 (h_+ + h_-) u^2 + \tfrac12 (h_+ - h_-) u^3) n, \quad \epsilon = o / |a|

    a hyperbola seen from above, of an open valve an ellipse, that leaves the orifice :math:`o`
    free. Its asymptotes are the lines from the middle to the commissures, so neighbours do not
    cross. Our choice.

    Attributes:
        name: ``right``, ``left`` or ``non``.
        place: The wall.
        hinge: Angle (rad) and height (mm) of its lowest point.
        before: The same of the end of the attachment at the smaller angle.
        after: The same at the larger angle.
        centre: Where the free edges of closed leaflets meet (mm), shape (3,).
        up: Unit vector of the valve's axis to the aorta, shape (3,).
        thickness: Thickness (mm).
        orifice: Distance of the middle of the free edge from the centre (mm).
        belly: How far (mm) it sags below straight lines from wall to free edge.
        departure: Least part of its way that it starts with towards the axis.
    """

    name: str
    place: Place
    hinge: tuple[float, float]
    before: tuple[float, float]
    after: tuple[float, float]
    centre: Points
    up: Points
    thickness: float
    orifice: float
    belly: float = 0.0
    departure: float = DEPARTURE

    def attachment(self, u: Points) -> tuple[Points, Points]:
        """Angle (rad) and height (mm) where it hangs, u from -1 to 1."""
        u = np.asarray(u, np.float64)
        (first, low), (start, rise), (last, end) = self.hinge, self.before, self.after
        angle = first + 0.5 * (last - start) * u + (0.5 * (last + start) - first) * u**2
        z = low + (0.5 * (rise + end) - low) * u**2 + 0.5 * (end - rise) * u**3
        return angle, z

    def foot(self, u: Points) -> Points:
        """Points of the attachment, (n, 3) in mm."""
        return self.place(*self.attachment(u))

    def across(self, u: Points, way: float) -> tuple[Points, Points]:
        """Angle and height ``way`` mm off the attachment in the wall, positive into the sinus."""
        angle, z = self.attachment(u)
        step = 1e-5
        ahead, behind = self.attachment(u + step), self.attachment(u - step)
        turn, rise = (ahead[k] - behind[k] for k in range(2))
        by_angle = (self.place(angle + step, z) - self.place(angle - step, z)) / (2.0 * step)
        by_height = (self.place(angle, z + step) - self.place(angle, z - step)) / (2.0 * step)
        e, f, g = (
            np.einsum("ij,ij->i", a, b)
            for a, b in ((by_angle, by_angle), (by_angle, by_height), (by_height, by_height))
        )
        length = np.sqrt(e * turn**2 + 2.0 * f * turn * rise + g * rise**2)
        scale = way / (np.sqrt(e * g - f**2) * length)
        return angle - scale * (f * turn + g * rise), z + scale * (e * turn + f * rise)

    def free_edge(self, u: Points) -> Points:
        """Free edge, (n, 3) in mm."""
        behind, ahead = self.foot(np.array([-1.0, 1.0])) - self.centre
        low, high = float(behind @ self.up), float(ahead @ self.up)
        behind, ahead = behind - low * self.up, ahead - high * self.up
        a, b = 0.5 * (ahead + behind), 0.5 * (ahead - behind)
        share = self.orifice / float(np.linalg.norm(a))
        u = np.asarray(u, np.float64)[..., None]
        rise = 0.5 * (high + low) * u**2 + 0.5 * (high - low) * u**3
        return np.asarray(
            self.centre + np.sqrt(share**2 * (1.0 - u**2) + u**2) * a + u * b + rise * self.up
        )

    def middle(self, u: Points, v: Points) -> Points:
        """Middle surface, v from 0 at the wall to 1 on the free edge; (n, 3) in mm."""
        start = self.foot(u)
        chord = self.free_edge(u) - start
        inward = self.centre - start
        inward = unit(inward - (inward @ self.up)[:, None] * self.up)
        # Leaflets that open along the wall leave it at an angle first.
        length = np.linalg.norm(chord, axis=-1)
        missing = self.departure * length - np.einsum("ij,ij->i", chord, inward)
        points = start + v[..., None] * chord
        points += (np.maximum(missing, 0.0) * v * (1.0 - v) ** 3)[..., None] * inward
        sag = 4.0 * self.belly * v * (1.0 - v) * (1.0 - u**2)
        return np.asarray(points - sag[..., None] * self.up)


@dataclass(frozen=True)
class RootForm:
    """An aortic root in angles about its axis and heights along it.

    Attributes:
        place: The wall of the lumen; angles, heights and depths make a right-handed system.
        low: Height of the inlet (mm).
        high: Height of the outlet (mm).
        wall: Thickness of the wall (mm).
        leaflets: Three by rising angle, or none.
        title: What it is called in messages.
    """

    place: Place
    low: float
    high: float
    wall: float
    leaflets: tuple[Leaflet, ...] = ()
    title: str = "aortic root"

    @property
    def seam(self) -> float:
        """Angle before the first leaflet at which the lumen is cut open (rad)."""
        if not self.leaflets:
            return 0.0
        return 0.5 * (self.leaflets[0].before[0] + self.leaflets[-1].after[0]) - np.pi

    @property
    def radius(self) -> float:
        """Mean radius of its sections (mm)."""
        turn = np.linspace(0.0, 2.0 * np.pi, 73)
        heights = np.linspace(self.low, self.high, 9)
        rings = [self.place(turn, np.full(73, z)) for z in heights]
        around = [np.linalg.norm(np.diff(ring, axis=0), axis=1).sum() for ring in rings]
        return float(np.mean(around)) / (2.0 * np.pi)


@dataclass(frozen=True)
class Valve:
    """How leaflets stand, with all lengths in mm.

    Attributes:
        thickness: Thickness of the leaflets.
        orifices: Distance of the middle of each free edge from the middle of the valve.
        effective_height: Height of the middle of the valve over the mean of the hinge points.
        belly: How far leaflets sag below straight lines from wall to free edge.
    """

    thickness: float
    orifices: tuple[float, float, float]
    effective_height: float
    belly: float

    @classmethod
    def standing(cls, how: str, thickness: float, radii: Points, height: float) -> Valve:
        """Closed or open leaflets.

        Args:
            how: ``closed`` or ``open``.
            thickness: Thickness of the leaflets (mm).
            radii: Distance of the wall from the axis at each hinge point (mm), shape (3,).
            height: Height of the commissures over the hinge points (mm).
        """
        share, effective, belly = STANDS[how]
        first, second, third = (max(share * float(r), APART * thickness) for r in radii)
        return cls(thickness, (first, second, third), effective * height, belly * height)


def hang(
    place: Place,
    names: Sequence[str],
    hinges: Sequence[tuple[float, float]],
    commissures: Sequence[tuple[float, float]],
    valve: Valve,
    title: str = "aortic root",
) -> tuple[Leaflet, Leaflet, Leaflet]:
    """Three leaflets on a wall.

    Args:
        place: The wall.
        names: Their names, by rising angle.
        hinges: Angle (rad) and height (mm) of each hinge point, by rising angle.
        commissures: The same of the commissure after each of them; angles go on rising.
        valve: How they stand.
        title: What the root is called in messages.

    Raises:
        InputError: a hinge point lies too near to a commissure, or not below it.
    """
    ends = [(commissures[2][0] - 2.0 * np.pi, commissures[2][1]), *commissures]
    posts = place(*np.array(commissures).T)
    up = unit(np.cross(posts[1] - posts[0], posts[2] - posts[0]))
    low = place(*np.array(hinges).T).mean(axis=0)
    middle = posts.mean(axis=0)
    centre = middle + (valve.effective_height - float((middle - low) @ up)) * up
    found = []
    for k, name in enumerate(names):
        (start, _), (last, _) = ends[k], ends[k + 1]
        width, height = last - start, min(ends[k][1], ends[k + 1][1]) - hinges[k][1]
        off = abs(hinges[k][0] - 0.5 * (start + last))
        if not 0.0 < width < np.pi or off > ASIDE * width or height <= 0.0:
            raise InputError(
                title,
                f"the hinge point `{name}` lies {np.degrees(off):.0f}° off the middle of its cusp, "
                f"which is {np.degrees(width):.0f}° wide, and {height:.1f} mm below its lower "
                "commissure: no leaflet hangs so.",
                "Correct hinge points and commissures.",
            )
        radius = np.linalg.norm(posts - middle, axis=1)
        trim = 0.5 * (1.0 + GAP) * valve.thickness / radius[[k - 1, k]]
        found.append(Leaflet(
            name, place, hinges[k], (start + float(trim[0]), ends[k][1]),
            (last - float(trim[1]), ends[k + 1][1]), centre, up, valve.thickness,
            valve.orifices[k], valve.belly,
        ))  # fmt: skip
    return found[0], found[1], found[2]
