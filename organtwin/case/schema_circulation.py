"""The case file's keys of the circulation, and of how its conditions change over beats."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from organtwin.case.quantities import (
    Area,
    Compliance,
    Count,
    Elastance,
    FlowResistance,
    Frequency,
    Number,
    Pressure,
    Time,
    Volume,
)
from organtwin.case.section import Section
from organtwin.circulation.elements import COMPLIANCE, RESISTANCE
from organtwin.units import ML, MMHG

#: Beats per millisecond of one beat per minute.
PER_MINUTE = 1 / 60_000

#: Beats per time.
HeartRate = Annotated[Frequency, Field(ge=20 * PER_MINUTE, le=300 * PER_MINUTE)]
#: Beats of a lumped circulation, None for as many as its limit cycle takes.
WarmUp = Annotated[Count, Field(ge=0, le=1000)] | None


#: 1 mmHg/mL in kPa/mm³.
_ELASTANCE = MMHG / ML

#: Factor of the adult circulation's volumes and flows.
Scale = Annotated[Number, Field(gt=0.05, le=5.0)] | None

ValveName = Literal["mitral", "aortic", "tricuspid", "pulmonary"]


class HeartValve(Section):
    """The `mitral`, `aortic`, `tricuspid` or `pulmonary` valve, if it is not that of the source.

    Resistance and areas are scaled with the circulation: in a heart of half the volume the areas
    are half of these.
    """

    resistance: Annotated[FlowResistance, Field(gt=0.0)] = 0.0075 * RESISTANCE
    """Resistance when it is open."""

    area: Annotated[Area, Field(gt=5.0, le=1000.0)] | None = None
    """Effective orifice area of a narrow valve when it is open."""
    leak_area: Annotated[Area, Field(ge=0.0, le=500.0)] = 0.0
    """Effective regurgitant orifice area when it is closed."""

    @model_validator(mode="after")
    def _closes(self) -> Self:
        if self.area is not None and self.leak_area >= self.area:
            raise ValueError("`leak_area` is not below `area`: the valve would never close.")
        return self


class Atrium(Section):
    """A chamber with the pressure E(t) (V − V₀), E = passive + active · f(t), 0 ≤ f ≤ 1."""

    active_elastance: Annotated[Elastance, Field(ge=0.0)]
    """What contraction adds to the stiffness."""
    passive_elastance: Annotated[Elastance, Field(gt=0.0)]
    """Stiffness at rest."""
    unloaded_volume: Annotated[Volume, Field(ge=0.0)] = 4e3
    """Volume at zero pressure, V₀."""
    contraction_onset: Annotated[Time, Field(ge=-500.0, le=0.0)] = -170.0
    """Onset of contraction, before the next beat of the ventricles begins."""
    contraction_time: Annotated[Time, Field(gt=0.0, le=500.0)] = 100.0
    """From the onset to the strongest contraction."""
    relaxation_time: Annotated[Time, Field(gt=0.0, le=500.0)] = 100.0
    """From there to rest."""


class LeftAtrium(Atrium):
    """The left atrium: p = E(t) (V − V₀), E = passive + active · f(t), 0 ≤ f ≤ 1."""

    active_elastance: Annotated[Elastance, Field(ge=0.0)] = 0.07 * _ELASTANCE
    """What contraction adds to the stiffness."""
    passive_elastance: Annotated[Elastance, Field(gt=0.0)] = 0.18 * _ELASTANCE
    """Stiffness at rest."""


class RightAtrium(Atrium):
    """The right atrium: p = E(t) (V − V₀), E = passive + active · f(t), 0 ≤ f ≤ 1."""

    active_elastance: Annotated[Elastance, Field(ge=0.0)] = 0.06 * _ELASTANCE
    """What contraction adds to the stiffness."""
    passive_elastance: Annotated[Elastance, Field(gt=0.0)] = 0.07 * _ELASTANCE
    """Stiffness at rest."""


class ClosedCirculation(Section):
    """The rest of the body: atria, valves and vessels as a closed loop (Regazzoni et al. 2022).

    All values are those of the adult heart of the source. The circulation is scaled to the volume
    of the left ventricle, resistances down and compliances and areas up; pressures stay. With
    `scale = 1.0` values are those of this patient.
    """

    model: Literal["closed_loop"] = "closed_loop"
    heart_rate: HeartRate = 75 * PER_MINUTE
    """Beats per time."""
    warm_up_beats: WarmUp = None
    """Beats of the lumped loop alone, before the 3D heart takes the ventricles' place; without it
    until they repeat themselves."""
    valves: dict[ValveName, HeartValve] = {}
    """Narrow and leaking valves."""
    scale: Scale = None
    """Factor of the volumes and flows; without it the one that fits the left ventricle."""
    left_atrium: LeftAtrium = LeftAtrium()
    right_atrium: RightAtrium = RightAtrium()
    aortic_impedance: Annotated[FlowResistance, Field(ge=0.0)] = 0.0
    """Characteristic impedance of the aorta, between its valve and the arteries' compliance; the
    source has none. Arterial pressures are those at the aortic root, before it."""
    systemic_resistance: Annotated[FlowResistance, Field(gt=0.0)] = 0.733 * RESISTANCE
    """Resistance of the systemic arteries."""
    systemic_compliance: Annotated[Compliance, Field(gt=0.0)] = 1.372 * COMPLIANCE
    """Compliance of the systemic arteries."""
    systemic_venous_resistance: Annotated[FlowResistance, Field(gt=0.0)] = 0.32 * RESISTANCE
    """Resistance of the systemic veins."""
    pulmonary_resistance: Annotated[FlowResistance, Field(gt=0.0)] = 0.046 * RESISTANCE
    """Resistance of the pulmonary arteries."""
    pulmonary_compliance: Annotated[Compliance, Field(gt=0.0)] = 20.0 * COMPLIANCE
    """Compliance of the pulmonary arteries."""
    pulmonary_venous_resistance: Annotated[FlowResistance, Field(gt=0.0)] = 0.0015 * RESISTANCE
    """Resistance of the pulmonary veins: what the left atrium fills and, contracting, leaks by."""
    extra_volume: Annotated[Volume, Field(ge=-2e6, le=2e6)] = -200e3
    """Blood added to the loop (infusion) or, if negative, taken from it, before warm-up."""
    blood_volume: Annotated[Volume, Field(gt=0.0)] | None = None
    """Blood in chambers and compliances when the heart begins to beat, of the scaled circulation.
    With `scale` it is also that of the warm-up. The systemic veins are filled to it; without it the
    blood is what the warm-up left."""

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
    scale: Scale = None
    """Factor of the volumes and flows; without it the one that fits the left ventricle."""
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
