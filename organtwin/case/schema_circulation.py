"""The case file's keys of the circulation, and of how its conditions change over beats."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from organtwin.case.quantities import (
    Area,
    Compliance,
    Count,
    FlowResistance,
    Frequency,
    Number,
    Pressure,
    Volume,
)
from organtwin.case.section import Section

#: Beats per millisecond of one beat per minute.
PER_MINUTE = 1 / 60_000

#: Beats per time.
HeartRate = Annotated[Frequency, Field(ge=20 * PER_MINUTE, le=300 * PER_MINUTE)]
#: Beats of a lumped circulation, None for as many as its limit cycle takes.
WarmUp = Annotated[Count, Field(ge=0, le=1000)] | None


ValveName = Literal["mitral", "aortic", "tricuspid", "pulmonary"]


class HeartValve(Section):
    """A narrow or leaking `mitral`, `aortic`, `tricuspid` or `pulmonary` valve.

    Areas are scaled with the circulation: in a heart of half the volume they are half of these.
    """

    area: Annotated[Area, Field(gt=5.0, le=1000.0)] | None = None
    """Effective orifice area of a narrow valve when it is open."""
    leak_area: Annotated[Area, Field(ge=0.0, le=500.0)] = 0.0
    """Effective regurgitant orifice area when it is closed."""

    @model_validator(mode="after")
    def _closes(self) -> Self:
        if self.area is not None and self.leak_area >= self.area:
            raise ValueError("`leak_area` is not below `area`: the valve would never close.")
        return self


class ClosedCirculation(Section):
    """The rest of the body: atria, valves and vessels as a closed loop (Regazzoni et al. 2022).

    All values are those of the adult heart of the source. The circulation is scaled to the volume
    of the left ventricle, resistances down and compliances and areas up; pressures stay.
    """

    model: Literal["closed_loop"] = "closed_loop"
    heart_rate: HeartRate = 75 * PER_MINUTE
    """Beats per time."""
    warm_up_beats: WarmUp = None
    """Beats of the lumped loop alone, before the 3D heart takes the ventricles' place; without it
    until they repeat themselves."""
    valves: dict[ValveName, HeartValve] = {}
    """Narrow and leaking valves."""
    systemic_resistance: Annotated[FlowResistance, Field(gt=0.0)] = 0.733 * 0.133322387415
    """Resistance of the systemic arteries."""
    systemic_compliance: Annotated[Compliance, Field(gt=0.0)] = 1.372e3 / 0.133322387415
    """Compliance of the systemic arteries."""
    pulmonary_resistance: Annotated[FlowResistance, Field(gt=0.0)] = 0.046 * 0.133322387415
    """Resistance of the pulmonary arteries."""
    pulmonary_compliance: Annotated[Compliance, Field(gt=0.0)] = 20e3 / 0.133322387415
    """Compliance of the pulmonary arteries."""
    extra_volume: Annotated[Volume, Field(ge=-2e6, le=2e6)] = -200e3
    """Blood added to the loop (infusion) or, if negative, taken from it, before warm-up."""

    @property
    def cycle_length(self) -> float:
        """Length of a beat (ms)."""
        return 1 / self.heart_rate


class Arteries(Section):
    """A Windkessel of three elements that drains to a venous pressure."""

    impedance: Annotated[FlowResistance, Field(gt=0.0)]
    """Characteristic impedance of the great artery."""
    compliance: Annotated[Compliance, Field(gt=0.0)]
    """Compliance of all arteries."""
    resistance: Annotated[FlowResistance, Field(gt=0.0)]
    """Peripheral resistance."""
    venous_pressure: Pressure = 0.0
    """Pressure behind it."""


class OpenCirculation(Section):
    """Ventricles that fill from given atrial pressures and eject into Windkessels.

    Values are those beside ventricles of Regazzoni et al. (2022). The circulation is scaled to the
    volume of the left ventricle, resistances down and compliances and areas up; pressures stay.
    """

    model: Literal["open_loop"]
    heart_rate: HeartRate = 75 * PER_MINUTE
    """Beats per time."""
    warm_up_beats: WarmUp = None
    """Beats of the lumped loop alone, before the 3D heart takes the ventricles' place; without it
    until they repeat themselves."""
    valves: dict[ValveName, HeartValve] = {}
    """Narrow and leaking valves."""
    la_pressure: Annotated[Pressure, Field(gt=0.0)]
    """Pressure that the left ventricle fills from."""
    ra_pressure: Annotated[Pressure, Field(gt=0.0)]
    """Pressure that the right ventricle fills from."""
    systemic: Arteries
    """Aorta and what follows."""
    pulmonary: Arteries
    """Pulmonary artery and what follows."""

    @property
    def cycle_length(self) -> float:
        """Length of a beat (ms)."""
        return 1 / self.heart_rate


Circulation = ClosedCirculation | OpenCirculation


#: Part of the stroke volume.
StrokeShare = Annotated[Number, Field(gt=0.0, le=0.5)]
Factor = Annotated[Number, Field(gt=0.0, le=10.0)]


class Phase(Section):
    """Beats under changed conditions, after those of `[run]` and of the phases before.

    All changes are to the values of the case, not to those of the phase before; what is not given
    is as in the case. They act from the first beat of the phase on.
    """

    beats: Annotated[Count, Field(ge=1, le=1000)]
    """Heartbeats of the phase."""
    limit_cycle: StrokeShare | None = None
    """As in `[run]`; `beats` is then the most."""
    heart_rate: HeartRate | None = None
    """Beats per time; the cells take it over as they are paced."""
    contractility: Factor = 1.0
    """Factor of the active tension."""
    afterload: Factor = 1.0
    """Factor of the systemic arteries' resistance."""
    extra_volume: Annotated[Volume, Field(ge=-2e6, le=2e6)] = 0.0
    """Preload of a closed loop: blood infused into the systemic veins or, if negative, taken."""
    atrial_pressures: Factor = 1.0
    """Preload of an open loop: factor of both atrial pressures."""
