"""Aortic root with three equal sinuses: a shape by its diameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.mesh.shapes.limits import within
from organtwin.mesh.shapes.root_form import RootForm, Valve, hang
from organtwin.mesh.shapes.root_wall import RootWall

type Points = NDArray[np.float64]

#: Sinuses and their leaflets, counter-clockwise seen from the aorta.
CUSPS = ("right", "left", "non")


@dataclass(frozen=True)
class AorticRoot:
    """Aortic root about the z axis, annulus at z = 0, aorta at positive z.

    The lumen is that of `organtwin.mesh.shapes.root_wall.RootWall`, round and with three equal
    sinuses; leaflets are those of `organtwin.mesh.shapes.root_form.Leaflet`. Other roots are
    meshed by their `RootForm`.

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

    @property
    def lumen(self) -> RootWall:
        """Its wall."""
        ring, depth = (self.annulus, self.annulus), 0.5 * self.sinus
        depth -= 0.25 * (self.annulus + self.junction)
        return RootWall(
            ring, 0.0, ring, self.below, self.annulus, self.junction, self.height, self.aorta,
            self.above, (depth, depth, depth), (60.0, 180.0, 300.0), self.commissures,
        )  # fmt: skip

    def radius(self, angle: Points, z: Points) -> Points:
        """Radius of the lumen (mm) at angles (rad), 0 the middle of a sinus, and heights (mm)."""
        return self.lumen.radius(angle, z)

    def form(self) -> RootForm:
        """What is meshed."""
        lumen, leaflets = self.lumen, None
        hinges, ends = lumen.posts()
        if self.leaflet:
            orifices = (self.orifice, self.orifice, self.orifice)
            valve = Valve(self.leaflet, orifices, self.effective_height, self.belly)
            leaflets = hang(lumen.wall, CUSPS, hinges, ends, valve, "AorticRoot")
        top = self.height + self.above
        return RootForm(lumen.wall, -self.below, top, self.wall, leaflets or (), "AorticRoot")
