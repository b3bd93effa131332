"""The case file's keys of active tension."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from organtwin.case.quantities import Concentration, Number, Pressure, Time, Unit
from organtwin.case.section import Section
from organtwin.errors import InputError
from organtwin.materials.active import TensionCurve

Tension = Annotated[Pressure, Field(ge=0.0, le=1000.0)]
Potential = Annotated[float, Unit("mV", "mV")]
SarcomereLength = Annotated[float, Unit("um", "um")]
ShorteningVelocity = Annotated[float, Unit("1/ms", "1/s"), Field(gt=0.0)]
CrossFibreFraction = Annotated[Number, Field(ge=0.0, le=1.0)]


class Land2017(Section):
    """Active tension of human myocardium driven by calcium, Land et al. (2017)."""

    law: Literal["land_2017"] = "land_2017"
    reference_tension: Annotated[Pressure, Field(gt=0.0, le=1000.0)] = 220.0
    """Tension at full activation and resting length, T_ref, of the whole wall; the source has
    120 kPa for single cells."""
    half_activation: Annotated[Concentration, Field(gt=0.0)] = 805.0
    """Free calcium that binds to half of the troponin at resting length, [Ca]_T50. The length
    dependence β₁ stays the part of it that it is in the source."""
    troponin_cooperativity: Annotated[Number, Field(ge=1.0, le=6.0)] = 2.0
    """Hill exponent of that binding, n_TRPN: with more the muscle relaxes earlier and fully."""
    cross_fibre_fraction: CrossFibreFraction = 0.4
    """Share of the tension that also acts along the sheet normal (fibre dispersion)."""


class RDQ20MF(Section):
    """Active tension of human myocardium driven by calcium, RDQ20-MF of Regazzoni et al. (2020)."""

    law: Literal["rdq20_mf"]
    cross_bridge_tension: Annotated[Pressure, Field(gt=0.0, le=1e6)] = 22894.0
    """Tension per mean distortion of the cross-bridges, a_XB; the source's value makes 120 kPa at
    full activation of a sarcomere that is held at 2.2 µm."""
    dissociation: Annotated[Concentration, Field(gt=0.0)] = 381.0
    """Dissociation constant of calcium from troponin at a sarcomere length of 2.15 µm, K_d0."""
    sarcomere_length: Annotated[SarcomereLength, Field(gt=1.6, lt=2.4)] = 2.2
    """Sarcomere length where the stretch is 1."""
    cross_fibre_fraction: CrossFibreFraction = 0.4
    """Share of the tension that also acts along the sheet normal (fibre dispersion)."""


class PrescribedTension(Section):
    """Active tension that follows a curve from each point's excitation on, whatever calcium is."""

    law: Literal["prescribed"]
    times: tuple[Time, ...]
    """Instants after excitation, increasing."""
    tensions: tuple[Tension, ...]
    """Tension at each instant; linear between them, constant beyond them."""
    threshold: Potential = -20.0
    """Transmembrane potential that a point is excited at when it rises through it."""
    repolarised: Potential = -60.0
    """Potential below which a point can be excited again."""
    length_dependence: Annotated[Number, Field(ge=0.0)] = 0.0
    """Strength β₀ of the length dependence; 2.3 is that of `land_2017`."""
    shortening_velocity: ShorteningVelocity | None = None
    """Lengths per time at which the tension, in proportion, vanishes; by default it never does."""
    cross_fibre_fraction: CrossFibreFraction = 0.4
    """Share of the tension that also acts along the sheet normal (fibre dispersion)."""

    def curve(self) -> TensionCurve:
        """Tension over the time since excitation."""
        return TensionCurve(self.times, self.tensions)

    @model_validator(mode="after")
    def _can_be_followed(self) -> Self:
        _check_excited(self)
        return self


class Twitch(Section):
    """Active tension with a plateau from each point's excitation on, by a formula of few numbers.

    T = T_peak tanh²(s / τ_c) tanh²((t_dur − s) / τ_r), s the time since `delay` after excitation
    (Niederer et al. 2011). It is made to be fitted to a patient.
    """

    law: Literal["twitch"]
    peak_tension: Annotated[Pressure, Field(gt=0.0, le=1000.0)] = 120.0
    """T_peak at resting length."""
    contraction_time: Annotated[Time, Field(gt=0.0, le=1000.0)] = 100.0
    """τ_c of the rise."""
    relaxation_time: Annotated[Time, Field(gt=0.0, le=1000.0)] = 80.0
    """τ_r of the fall."""
    duration: Annotated[Time, Field(gt=0.0, le=2000.0)] = 400.0
    """t_dur from the onset of tension to its end."""
    delay: Annotated[Time, Field(ge=0.0, le=200.0)] = 15.0
    """From excitation to the onset of tension."""
    threshold: Potential = -20.0
    """Transmembrane potential that a point is excited at when it rises through it."""
    repolarised: Potential = -60.0
    """Potential below which a point can be excited again, below `threshold`."""
    length_dependence: Annotated[Number, Field(ge=0.0)] = 2.3
    """Strength β₀ of the length dependence; 2.3 is that of `land_2017`."""
    shortening_velocity: ShorteningVelocity | None = None
    """Lengths per time at which the tension, in proportion, vanishes; by default it never does."""
    cross_fibre_fraction: CrossFibreFraction = 0.4
    """Share of the tension that also acts along the sheet normal (fibre dispersion)."""

    def curve(self) -> TensionCurve:
        """Tension over the time since excitation."""
        return TensionCurve.twitch(
            self.peak_tension,
            self.contraction_time,
            self.relaxation_time,
            self.duration,
            self.delay,
        )

    @model_validator(mode="after")
    def _can_be_followed(self) -> Self:
        _check_excited(self)
        return self


#: Laws that follow a curve from excitation on, and need no calcium.
ExcitedTension = PrescribedTension | Twitch
TensionLaw = Land2017 | RDQ20MF | ExcitedTension


def _check_excited(section: ExcitedTension) -> None:
    """See that there is a curve, and that it can start again."""
    try:
        section.curve()
    except InputError as error:
        raise ValueError(f"{error.problem} {error.remedy}") from None
    if section.repolarised > section.threshold:
        raise ValueError("repolarised is above threshold: a point would stay excitable.")
