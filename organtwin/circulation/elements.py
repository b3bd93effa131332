"""Elements of a lumped-parameter circulation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.units import ML, MMHG

type Array = NDArray[np.float64]


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
        return float(elastance(t, period, self.E_A, self.E_B, self.onset, self.T_C, self.T_R))

    def line(self, t: float, period: float) -> tuple[float, float]:
        """E(t) (kPa/mm³) and −E(t) V0 (kPa)."""
        E = self.elastance(t, period)
        return E, -E * self.V0

    def scaled(self, size: float) -> Chamber:
        """The same pressures at ``size`` times the volumes."""
        return replace(self, E_A=self.E_A / size, E_B=self.E_B / size, V0=self.V0 * size)


def elastance(
    t: Array | float,
    period: Array | float,
    E_A: Array | float,
    E_B: Array | float,
    onset: Array | float,
    T_C: Array | float,
    T_R: Array | float,
) -> Array:
    """E(t) (kPa/mm³) of `Chamber`, of as many at once as the shapes of its numbers say."""
    tau = (t - onset) % period
    # One cosine for both parts: its phase goes from 0 to π in contraction, to 2π in relaxation.
    phase = np.minimum(tau / T_C, 1.0) + np.minimum(np.maximum((tau - T_C) / T_R, 0.0), 1.0)
    return np.asarray(E_B + E_A * (1 - np.cos(np.pi * phase)) / 2)


@dataclass(frozen=True)
class Vessels:
    """Arteries and veins of one circulation, each a resistance, compliance and inertance.

    Attributes:
        R_ar, R_ven: Resistances (kPa·ms/mm³).
        C_ar, C_ven: Compliances (mm³/kPa).
        L_ar, L_ven: Inertances (kPa·ms²/mm³).
        Z_ar: Characteristic impedance of the great artery (kPa·ms/mm³), between valve and
            compliance: at its root the pressure is p_ar + Z_ar Q.
    """

    R_ar: float
    C_ar: float
    L_ar: float
    R_ven: float
    C_ven: float
    L_ven: float
    Z_ar: float = 0.0

    def __post_init__(self) -> None:
        _refuse_unless_positive(self, "R_ar", "C_ar", "L_ar", "R_ven", "C_ven", "L_ven")
        if self.Z_ar < 0:
            raise InputError("Vessels", f"Z_ar = {self.Z_ar}.", "It must be ≥ 0.")

    def scaled(self, size: float) -> Vessels:
        """The same pressures at ``size`` times the flows and volumes."""
        return Vessels(
            self.R_ar / size, self.C_ar * size, self.L_ar / size,
            self.R_ven / size, self.C_ven * size, self.L_ven / size, self.Z_ar / size,
        )  # fmt: skip


#: 1 mmHg·s/mL in kPa·ms/mm³, and 1 mL/mmHg in mm³/kPa.
RESISTANCE, COMPLIANCE = MMHG * 1000 / ML, ML / MMHG
#: Density of blood (mg/mm³).
BLOOD_DENSITY = 1.06
#: Pressure drop (kPa) that makes no difference.
_SMALLEST = 1e-300


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

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """What `valve_flows` asks for."""
        return self.R_open, self.R_closed, _loss(self.area), _loss(self.leak_area)

    def flow(self, pressure_drop: float) -> tuple[float, float]:
        """Flow (mm³/ms) for a pressure drop in its direction (kPa), and its derivative."""
        flow, slope = valve_flows(pressure_drop, *self.numbers)
        return float(flow), float(slope)

    def scaled(self, size: float) -> Valve:
        """The same pressures at ``size`` times the flow."""
        return Valve(
            self.R_open / size, self.R_closed / size, self.area * size, self.leak_area * size
        )


def _loss(area: float) -> float:
    """2 ρ / A² (kPa·ms²/mm⁶) of an orifice (mm²), infinite if it is closed."""
    return 2 * BLOOD_DENSITY / area**2 if area > 0 else math.inf


def valve_flows(
    drop: Array | float,
    R_open: Array | float,
    R_closed: Array | float,
    loss: Array | float,
    leak_loss: Array | float,
) -> tuple[Array, Array]:
    """Flows (mm³/ms) through valves for pressure drops (kPa) and their derivatives, see `Valve`.

    Args:
        drop: Of as many valves as there are, in any shape.
        R_open: Resistance of the open valve (kPa·ms/mm³).
        R_closed: Resistance of the closed valve (kPa·ms/mm³).
        loss: Of the orifice, 2 ρ / A² (kPa·ms²/mm⁶).
        leak_loss: The same of the leak, infinite without one.
    """
    ahead = drop > 0
    # Without a drop no flow, through a closed orifice too: hence not quite zero times infinity.
    size = np.maximum(np.abs(drop), _SMALLEST)
    root = np.sqrt(R_open * R_open + np.where(ahead, loss, leak_loss) * size)
    closed = np.where(ahead, 0.0, 1.0 / R_closed)
    return 2.0 * drop / (R_open + root) + closed * drop, 1.0 / root + closed


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

    @cached_property
    def numbers(self) -> Array:
        """Those of each valve, shape (4 numbers, 4 valves)."""
        valves = (self.mitral, self.aortic, self.tricuspid, self.pulmonary)
        return np.array([valve.numbers for valve in valves]).T

    def flows(self, drops: Array) -> tuple[Array, Array]:
        """Flows (mm³/ms) for pressure drops (kPa), and their derivatives, each of shape (4,)."""
        return valve_flows(drops, *self.numbers)

    def before(self, Z_sys: float, Z_pul: float) -> Valves:
        """With the impedances (kPa·ms/mm³) of the great arteries in series: one resistance each."""
        return replace(
            self,
            aortic=replace(self.aortic, R_open=self.aortic.R_open + Z_sys),
            pulmonary=replace(self.pulmonary, R_open=self.pulmonary.R_open + Z_pul),
        )

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
