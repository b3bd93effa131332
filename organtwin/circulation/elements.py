"""Elements of a lumped-parameter circulation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from organtwin.errors import InputError


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
        for name in ("E_B", "T_C", "T_R"):
            if getattr(self, name) <= 0:
                raise InputError("Chamber", f"{name} = {getattr(self, name)}.", "It must be > 0.")

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
        for name in self.__dataclass_fields__:
            if getattr(self, name) <= 0:
                raise InputError("Vessels", f"{name} = {getattr(self, name)}.", "It must be > 0.")

    def scaled(self, size: float) -> Vessels:
        """The same pressures at ``size`` times the flows and volumes."""
        return Vessels(
            self.R_ar / size, self.C_ar * size, self.L_ar / size,
            self.R_ven / size, self.C_ven * size, self.L_ven / size,
        )  # fmt: skip


@dataclass(frozen=True)
class Valve:
    """A diode: Q = Δp / R with R small forwards and large backwards.

    Attributes:
        R_open, R_closed: Resistances (kPa·ms/mm³).
    """

    R_open: float
    R_closed: float

    def __post_init__(self) -> None:
        if not 0 < self.R_open < self.R_closed:
            raise InputError(
                "Valve",
                f"R_open = {self.R_open}, R_closed = {self.R_closed}.",
                "The open resistance must be > 0 and below the closed one.",
            )

    def conductance(self, pressure_drop: float) -> float:
        """1/R (mm³/(kPa·ms)) for the pressure drop along the direction of flow (kPa)."""
        return 1 / self.R_open if pressure_drop > 0 else 1 / self.R_closed

    def scaled(self, size: float) -> Valve:
        """The same pressures at ``size`` times the flow."""
        return Valve(self.R_open / size, self.R_closed / size)
