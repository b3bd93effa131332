"""Aortic root: annulus, three sinuses, sinotubular junction, leaflets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.mesh.shapes.limits import within

type Points = NDArray[np.float64]

#: Sinuses and their leaflets, counter-clockwise seen from the aorta.
CUSPS = ("right", "left", "non")
#: Space between neighbouring leaflets at the commissures, per thickness of a leaflet.
GAP = 2.0
#: Least part of its way to the free edge that a leaflet starts with towards the axis.
DEPARTURE = 1.0


@dataclass(frozen=True)
class AorticRoot:
    """Aortic root about the z axis, annulus at z = 0, aorta at positive z.

    With φ the angle from the middle of a sinus, a and s the radii of annulus and junction, h the
    height of the junction, the lumen has the radius

        r(φ, z) = a + (s - a) S(z/h) + b sin²(π z/h) cos²(3 φ/2),   0 ≤ z ≤ h

    with S(t) = 3 t² - 2 t³ and b so that the sinuses reach their diameter at h/2. Leaflets hang on
    half ellipses from commissure to nadir; their free edge is, seen from above, the hyperbola (of
    an open valve the ellipse) through both commissures that leaves the orifice free.

    Regions are ``wall`` and ``leaflet_right``, ``leaflet_left``, ``leaflet_non``; surfaces are
    ``inner``, ``outer``, ``inlet``, ``outlet``, of the leaflets ``ventricular``, ``aortic`` and
    ``free_edge``, and the attachments ``leaflet_right-wall``, ... The right sinus is at x > 0.

    Attributes:
        annulus: Diameter (mm) of the lumen at the nadirs.
        sinus: Largest diameter (mm), from the middle of a sinus through the axis, doubled.
        junction: Diameter (mm) at the sinotubular junction.
        aorta: Diameter (mm) of the ascending aorta at the outlet.
        height: Of the sinotubular junction over the annulus (mm).
        commissures: Height (mm) of the commissures over the annulus.
        below: Length (mm) of the outflow tract below the annulus.
        above: Length (mm) of the ascending aorta.
        wall: Thickness (mm) of the wall.
        leaflet: Thickness (mm) of the leaflets; 0 for a root without.
        orifice: Radius (mm) of the largest circle between the free edges.
        effective_height: Height (mm) of the middle of the free edges over the annulus.
        belly: How far (mm) leaflets sag below straight lines from wall to free edge.

    Source:
        Default diameters: means of 71 people in Chango-Azanza et al. (2021), Cardiovasc. Metab.
        Sci. 32:117-127, table 3, doi 10.35366/101304. The construction is our own.
    """

    annulus: float = 20.6
    sinus: float = 29.0
    junction: float = 25.7
    aorta: float = 28.3
    height: float = 20.0
    commissures: float = 18.0
    below: float = 5.0
    above: float = 15.0
    wall: float = 2.0
    leaflet: float = 0.8
    orifice: float = 3.0
    effective_height: float = 10.0
    belly: float = 3.0

    def __post_init__(self) -> None:
        place = "AorticRoot"
        for name in ("annulus", "junction", "aorta"):
            within(place, name, getattr(self, name), 3.0, 100.0)
        waist = 0.5 * (self.annulus + self.junction)
        within(place, "sinus", self.sinus, waist, 1.8 * waist)
        within(place, "height", self.height, 0.3 * self.annulus, 3.0 * self.annulus)
        within(place, "commissures", self.commissures, 0.4 * self.height, 0.97 * self.height)
        within(place, "below", self.below, 1.0, 100.0)
        within(place, "above", self.above, 1.0, 100.0)
        within(place, "wall", self.wall, 0.3, 10.0)
        if self.leaflet:
            within(place, "leaflet", self.leaflet, 0.1, 0.08 * self.annulus)
            within(place, "orifice", self.orifice, 1.2 * self.leaflet, 0.38 * self.annulus)
            low, high = 0.15 * self.commissures, 1.1 * self.commissures
            within(place, "effective_height", self.effective_height, low, high)
            within(place, "belly", self.belly, 0.0, 0.6 * self.effective_height)

    def radius(self, angle: Points, z: Points) -> Points:
        """Radius of the lumen (mm) at angles (rad), 0 the middle of a sinus, and heights (mm)."""
        start, end = 0.5 * self.annulus, 0.5 * self.junction
        t = np.clip(z / self.height, 0.0, 1.0)
        bulge = 0.5 * self.sinus - 0.5 * (start + end)
        lobe = bulge * np.sin(np.pi * t) ** 2 * np.cos(1.5 * angle) ** 2
        beyond = np.clip((z - self.height) / self.above, 0.0, 1.0)
        wider = (0.5 * self.aorta - end) * _step(beyond)
        return np.asarray(start + (end - start) * _step(t) + lobe + wider)

    def attachment(self, u: Points) -> tuple[Points, Points]:
        """Angle (rad) and height (mm) where a leaflet hangs in its sinus, u from -1 to 1."""
        reach = np.pi / 3 - (1.0 + GAP) * self.leaflet / self.junction
        u = np.asarray(u, np.float64)
        return reach * np.sin(0.5 * np.pi * u), self.commissures * (1 - np.cos(0.5 * np.pi * u))

    def across(self, u: Points, way: float) -> tuple[Points, Points]:
        """Angle and height ``way`` mm off the attachment in the wall, positive into the sinus."""
        angle, z = self.attachment(u)
        step = 1e-5
        ahead, behind = self.attachment(u + step), self.attachment(u - step)
        r = self.radius(angle, z)
        along, up = r * (ahead[0] - behind[0]), ahead[1] - behind[1]
        length = np.hypot(along, up)
        return angle - way * up / length / r, z + way * along / length

    def on_wall(self, angle: Points, z: Points, depth: float = 0.0) -> Points:
        """Points (n, 3) in mm, ``depth`` mm into the wall."""
        r = self.radius(angle, z) + depth
        return np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=-1)

    def free_edge(self, u: Points) -> Points:
        """Free edge of the leaflet of the sinus at x > 0, u from -1 to 1; (n, 3) in mm."""
        end = self.on_wall(*self.attachment(np.ones(1)))[0]
        x = np.sqrt(self.orifice**2 + (end[0] ** 2 - self.orifice**2) * u**2)
        z = self.effective_height + (self.commissures - self.effective_height) * u**2
        return np.stack([x, end[1] * u, z], axis=-1)

    def middle(self, u: Points, v: Points) -> Points:
        """Middle surface of that leaflet, v from 0 at the wall to 1 on the free edge; (n, 3)."""
        angle, z = self.attachment(u)
        start = self.on_wall(angle, z)
        chord = self.free_edge(u) - start
        inward = -np.stack([np.cos(angle), np.sin(angle), np.zeros_like(z)], axis=-1)
        # Leaflets that open along the wall leave it at an angle first.
        length = np.linalg.norm(chord, axis=-1)
        missing = np.maximum(DEPARTURE * length - np.einsum("ij,ij->i", chord, inward), 0.0)
        points = start + v[..., None] * chord
        points += (missing * v * (1.0 - v) ** 3)[..., None] * inward
        points[..., 2] -= 4.0 * self.belly * v * (1.0 - v) * (1.0 - u**2)
        return points


def _step(t: Points) -> Points:
    return np.asarray(t * t * (3.0 - 2.0 * t))
