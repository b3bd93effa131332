"""The case file's keys of infarcts, of gel that is injected around them, and of leads by name."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from organtwin.case.quantities import Angle, Count, Length, Number, Pressure, Volume
from organtwin.case.section import Section

Segment = Annotated[Count, Field(ge=1, le=17)]
#: Factor of a tension or a velocity.
Share = Annotated[Number, Field(ge=0.0, le=1.0)]
#: Factor of a stress.
Stiffening = Annotated[Number, Field(gt=0.0, le=100.0)]
#: A place for a lead: the right ventricular apex, or the epicardial middle of a segment.
LeadSite = Literal[
    "rv_apex",
    "basal_anterior", "basal_anteroseptal", "basal_inferoseptal", "basal_inferior",
    "basal_inferolateral", "basal_anterolateral", "mid_anterior", "mid_anteroseptal",
    "mid_inferoseptal", "mid_inferior", "mid_inferolateral", "mid_anterolateral",
    "apical_anterior", "apical_septal", "apical_inferior", "apical_lateral",
]  # fmt: skip


class WallPlace(Section):
    """A place in the wall of the left ventricle, half-way through it."""

    height: Annotated[Number, Field(ge=0.0, le=1.0)]
    """Apicobasal coordinate: 0 at the apex, 1 at the base."""
    angle: Annotated[Angle, Field(ge=-180.0, le=180.0)]
    """Rotational coordinate: 0 in the middle of the septum, 60 degrees at the anterior and -60
    degrees at the posterior insertion of the right ventricle, 180 degrees on the free wall."""


class Infarct(Section):
    """A scar through the wall with a border zone: segments, or a ball about a place.

    The same scar is that of the mechanics and of the electrophysiology.
    """

    segments: tuple[Segment, ...] = ()
    """AHA segments that are scar."""
    centre: WallPlace | None = None
    """Middle of a ball of scar, in place of `segments`."""
    radius: Annotated[Length, Field(gt=0.0, le=100.0)] | None = None
    """Radius of the ball."""
    border_width: Annotated[Length, Field(ge=0.0, le=50.0)] = 10.0
    """Distance from the scar up to which tissue is border zone."""
    contractility: Share = 0.0
    """Factor of the active tension in the scar."""
    border_contractility: Share = 0.67
    """Factor of the active tension in the border zone (Wenk et al. 2012)."""
    stiffness: Stiffening = 10.0
    """Factor of the passive stress in the scar."""
    border_stiffness: Stiffening = 1.0
    """Factor of the passive stress in the border zone."""
    conduction: Share = 0.0
    """Factor of the conduction velocity in the scar; 0 makes it an insulator."""
    border_conduction: Annotated[Number, Field(gt=0.0, le=1.0)] = 0.5
    """Factor of the conduction velocity in the border zone."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        ball = self.centre is not None or self.radius is not None
        if bool(self.segments) == ball:
            raise ValueError("give either `segments` or `centre` and `radius`.")
        if ball and (self.centre is None or self.radius is None):
            raise ValueError("a ball has both `centre` and `radius`.")
        return self


class Injection(Section):
    """Gel that is injected into the border zone of the infarcts and stays there.

    It stiffens the tissue the same in all directions; the volume that it adds to the wall is left
    out.
    """

    sites: Annotated[Count, Field(ge=1, le=200)] = 15
    """Injections, spread evenly over the border zone; 10 to 19 in patients (Lee et al. 2013,
    doi 10.3791/50096)."""
    volume: Annotated[Volume, Field(gt=0.0, le=5000.0)] = 300.0
    """Gel of each; 0.25 to 0.35 mL in dogs (Sabbah et al. 2013, JACC Heart Fail. 1:252–258)."""
    shear_modulus: Annotated[Pressure, Field(gt=0.0, le=1000.0)] = 14.3
    """Of the gel: a third of the 43 kPa of the stiffer gel of Ifkovits et al. (2010), PNAS
    107:11507–11512."""
