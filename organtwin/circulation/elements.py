"""Elements of a lumped-parameter circulation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.units import ML, MMHG


class Ventricle(Protocol):
    """A heart chamber whose pressure is at any time a straight line over its volume."""

    def line(self, t: float, period: float) -> tuple[float, float]:
        """Slope (kPa/mm³) and intercept (kPa) of p over V, at ``t`` in beats of a period (ms)."""
        ...

    def scaled(self, size: float) -> Self:
        """The same pressures at ``size`` times the volumes."""
        ...


@dataclass(frozen=True)
class Chamber:
    """Heart chamber as a time-varying elastance, p = E(t) (V − V0).

        E(t) = E_B + E_A f(t),    f = ½(1 − cos πτ/T_C) while contracting,
                                  f = ½(1 + cos π(τ − T_C)/T_R) while relaxing, else 0

    with τ the time since the onset of contraction.

    Attributes:
        E_A: Active elastance (kPa/mm³).
        E_B: Passive elastance (kPa/mm³).
        onset: Time of contraction within the beat (ms).
        T_C: Duration of contraction (ms).
        T_R: Duration of relaxation (ms).
        V0: Volume at zero pressure (mm³).

    Source:
        Regazzoni et al. (2022), J. Comput. Phys. 457:111083.
    """

    E_A: float
    E_B: float
    onset: float
    T_C: float
    T_R: float
    V0: float

    def __post_init__(self) -> None:
        _refuse_unless_positive(self, "E_B", "T_C", "T_R")

    def elastance(self, t: float, period: float) -> float:
        """E(t) (kPa/mm³) in a beat of the given period (ms)."""
        tau = (t - self.onset) % period
        if tau < self.T_C:
            f = (1 - np.cos(np.pi * tau / self.T_C)) / 2
        elif tau < self.T_C + self.T_R:
            f = (1 + np.cos(np.pi * (tau - self.T_C) / self.T_R)) / 2
        else:
            f = 0.0
        return float(self.E_B + self.E_A * f)

    def line(self, t: float, period: float) -> tuple[float, float]:
        """E(t) (kPa/mm³) and −E(t) V0 (kPa)."""
        E = self.elastance(t, period)
        return E, -E * self.V0

    def scaled(self, size: float) -> Chamber:
        """The same pressures at ``size`` times the volumes."""
        return replace(self, E_A=self.E_A / size, E_B=self.E_B / size, V0=self.V0 * size)


@dataclass(frozen=True)
class Vessels:
    """Arteries and veins of one circulation, each a resistance, compliance and inertance.

    Attributes:
        R_ar, R_ven: Resistances (kPa·ms/mm³).
        C_ar, C_ven: Compliances (mm³/kPa).
        L_ar, L_ven: Inertances (kPa·ms²/mm³).
    """

    R_ar: float
    C_ar: float
    L_ar: float
    R_ven: float
    C_ven: float
    L_ven: float

    def __post_init__(self) -> None:
        _refuse_unless_positive(self, *self.__dataclass_fields__)

    def scaled(self, size: float) -> Vessels:
        """The same pressures at ``size`` times the flows and volumes."""
        return Vessels(
            self.R_ar / size, self.C_ar * size, self.L_ar / size,
            self.R_ven / size, self.C_ven * size, self.L_ven / size,
        )  # fmt: skip


#: 1 mmHg·s/mL in kPa·ms/mm³, and 1 mL/mmHg in mm³/kPa.
RESISTANCE, COMPLIANCE = MMHG * 1000 / ML, ML / MMHG
#: Density of blood (mg/mm³).
BLOOD_DENSITY = 1.06


@dataclass(frozen=True)
class Valve:
    """A valve that may be narrow and may leak.

        forwards:   Δp = R_open Q + ρ Q² / (2 A²)      A: effective orifice area
        backwards:  Q = Δp / R_closed − Q_leak,  |Δp| = R_open Q_leak + ρ Q_leak² / (2 A_leak²)

    The quadratic loss is Bernoulli's, the clinic's Δp = 4 v² (mmHg, m/s) with v = Q / A.

    Attributes:
        R_open, R_closed: Resistances (kPa·ms/mm³).
        area: Effective orifice area when open (mm²); a healthy valve has no quadratic loss.
        leak_area: Effective regurgitant orifice area when closed (mm²).

    Source:
        Baumgartner et al. (2009), Eur. J. Echocardiogr. 10:1–25 (pressure gradients and orifices).
    """

    R_open: float
    R_closed: float
    area: float = math.inf
    leak_area: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.R_open < self.R_closed:
            raise InputError(
                "Valve",
                f"R_open = {self.R_open}, R_closed = {self.R_closed}.",
                "The open resistance must be > 0 and below the closed one.",
            )
        if not 0 <= self.leak_area < self.area:
            raise InputError(
                "Valve",
                f"area = {self.area} mm², leak_area = {self.leak_area} mm².",
                "The orifice must be > 0 and larger than the leak.",
            )

    def flow(self, pressure_drop: float) -> tuple[float, float]:
        """Flow (mm³/ms) for a pressure drop in its direction (kPa), and its derivative."""
        if pressure_drop > 0:
            return self._through(pressure_drop, self.area)
        back, slope = self._through(-pressure_drop, self.leak_area)
        return pressure_drop / self.R_closed - back, 1 / self.R_closed + slope

    def scaled(self, size: float) -> Valve:
        """The same pressures at ``size`` times the flow."""
        return Valve(
            self.R_open / size, self.R_closed / size, self.area * size, self.leak_area * size
        )

    def _through(self, drop: float, area: float) -> tuple[float, float]:
        """Flow through an orifice and its derivative."""
        if area == 0:
            return 0.0, 0.0
        root = math.sqrt(self.R_open**2 + 2 * BLOOD_DENSITY * drop / area**2)
        return 2 * drop / (self.R_open + root), 1 / root


@dataclass(frozen=True)
class Valves:
    """The four valves of the heart.

    Attributes:
        mitral, aortic, tricuspid, pulmonary: Each of them.
    """

    mitral: Valve
    aortic: Valve
    tricuspid: Valve
    pulmonary: Valve

    @classmethod
    def alike(cls, valve: Valve) -> Valves:
        """Four of the same kind."""
        return cls(valve, valve, valve, valve)

    def flows(self, drops: Iterable[float]) -> NDArray[np.float64]:
        """Flows (mm³/ms) for pressure drops (kPa), and their derivatives, shape (4, 2)."""
        valves = (self.mitral, self.aortic, self.tricuspid, self.pulmonary)
        return np.array([v.flow(float(drop)) for v, drop in zip(valves, drops, strict=True)])

    def scaled(self, size: float) -> Valves:
        """The same pressures at ``size`` times the flows."""
        return Valves(
            self.mitral.scaled(size), self.aortic.scaled(size),
            self.tricuspid.scaled(size), self.pulmonary.scaled(size),
        )  # fmt: skip


@dataclass(frozen=True)
class Windkessel:
    """Arteries as three elements that end at a venous pressure.

        p = p_C + Z Q,    C ṗ_C = Q − (p_C − p_ven) / R

    Attributes:
        Z: Characteristic impedance (kPa·ms/mm³).
        C: Compliance (mm³/kPa).
        R: Peripheral resistance (kPa·ms/mm³).
        p_ven: Pressure that it drains to (kPa).

    Source:
        Westerhof, Lankhaar, Westerhof (2009), Med. Biol. Eng. Comput. 47:131–141.
    """

    Z: float
    C: float
    R: float
    p_ven: float = 0.0

    def __post_init__(self) -> None:
        _refuse_unless_positive(self, "Z", "C", "R")

    def scaled(self, size: float) -> Windkessel:
        """The same pressures at ``size`` times the flow."""
        return replace(self, Z=self.Z / size, C=self.C * size, R=self.R / size)


def pressure(chamber: Ventricle, volume: float, t: float, period: float) -> float:
    """Pressure (kPa) of a chamber of the given volume (mm³)."""
    slope, intercept = chamber.line(t, period)
    return slope * volume + intercept


def _refuse_unless_positive(element: object, *names: str) -> None:
    for name in names:
        value = getattr(element, name)
        if value <= 0:
            raise InputError(type(element).__name__, f"{name} = {value}.", "It must be > 0.")
