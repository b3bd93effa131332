"""An open circulation: given atrial pressures, and Windkessels behind both ventricles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from organtwin.circulation.elements import (
    COMPLIANCE,
    RESISTANCE,
    Valves,
    Ventricle,
    Windkessel,
    pressure,
)
from organtwin.circulation.network import ClosedLoop
from organtwin.circulation.stepping import (
    Flows,
    Matrix,
    Parts,
    Rows,
    Vector,
    extended,
    implicit_step,
)
from organtwin.errors import InputError
from organtwin.units import MMHG

#: Order of the state: volumes (mm³), pressures of the compliances (kPa), and the blood that came
#: in through the atria less what drained into the veins (mm³).
STATES = ("V_lv", "V_rv", "p_sys", "p_pul", "V_in")
LV, RV, SYS, PUL, IN = range(5)


@dataclass(frozen=True)
class OpenLoop:
    """Two ventricles that fill from given pressures and eject into Windkessels.

        V̇_LV = Q_MV − Q_AV,    C_sys ṗ_sys = Q_AV − (p_sys − p_ven) / R_sys,
        Δp_MV = p_la − p_LV,    Δp_AV = p_LV − p_sys,    Z in series with the open outflow valve

    and likewise on the right.

    Attributes:
        lv, rv: Ventricles, if none are modelled elsewhere.
        valves: The four valves.
        systemic, pulmonary: Arteries.
        la_pressure, ra_pressure: Filling pressures (kPa).
        period: Length of a beat (ms).
    """

    lv: Ventricle
    rv: Ventricle
    valves: Valves
    systemic: Windkessel
    pulmonary: Windkessel
    la_pressure: float
    ra_pressure: float
    period: float

    def __post_init__(self) -> None:
        if self.period <= 0:
            raise InputError("OpenLoop", f"period = {self.period} ms.", "It must be > 0.")

    @classmethod
    def adult(cls, period: float = 800.0) -> OpenLoop:
        """Ventricles and valves of Regazzoni et al. (2022), Windkessels of round values.

        The systemic resistance is that of its arteries and veins together; the other values of the
        Windkessels and the filling pressures are of the size that adults have at rest, from no
        source. Cases give their own.
        """
        closed = ClosedLoop.regazzoni_2022(period)
        return cls(
            closed.lv, closed.rv, closed.valves,
            Windkessel(0.05 * RESISTANCE, 1.3 * COMPLIANCE, 1.05 * RESISTANCE, 8.0 * MMHG),
            Windkessel(0.005 * RESISTANCE, 4.0 * COMPLIANCE, 0.06 * RESISTANCE, 12.0 * MMHG),
            la_pressure=15.0 * MMHG, ra_pressure=6.0 * MMHG, period=period,
        )  # fmt: skip

    @property
    def ventricles(self) -> list[int]:
        """Where the volumes of LV and RV stand in the state."""
        return [LV, RV]

    def rest(self) -> Vector:
        """Ventricles filled to the atrial pressures, arteries at 80 and 15 mmHg, shape (5,)."""
        pressures = np.array([self.la_pressure, self.ra_pressure])
        slope, intercept = np.transpose([c.line(0.0, self.period) for c in (self.lv, self.rv)])
        volumes = (pressures - intercept) / slope
        return np.array([*volumes, 80.0 * MMHG, 15.0 * MMHG, 0.0])

    def step(
        self, y: Vector, t: float, dt: float, pressures: Vector | None = None
    ) -> tuple[Vector, Matrix]:
        """One step of the implicit Euler method, see `Circulation.step`."""
        end = t + dt
        rows = self.rows(end, pressures is not None)
        new, slope = implicit_step(y, dt, rows, self._with_impedances, pressures, end)
        return new, slope[self.ventricles]

    def pressures(self, y: Vector, t: float, given: Vector | None = None) -> dict[str, float]:
        """Pressures (kPa); of ``lv`` and ``rv`` those given, if any, of arteries at their roots."""
        lv = pressure(self.lv, float(y[LV]), t, self.period)
        rv = pressure(self.rv, float(y[RV]), t, self.period)
        if given is not None:
            lv, rv = map(float, given)
        flows = self.flows(y, t, given)
        return {
            "la": self.la_pressure, "lv": lv, "ra": self.ra_pressure, "rv": rv,
            "ar_sys": float(y[SYS]) + self.systemic.Z * flows.aortic,
            "ar_pul": float(y[PUL]) + self.pulmonary.Z * flows.pulmonary,
        }  # fmt: skip

    def volumes(self, y: Vector) -> dict[str, float]:
        """Volumes of the ventricles (mm³)."""
        return {"lv": float(y[LV]), "rv": float(y[RV])}

    def flows(self, y: Vector, t: float, given: Vector | None = None) -> Flows:
        """Flow through the valves, with given pressures of LV and RV (kPa) if any."""
        drops = self.rows(t, given is not None).drops @ extended(y, given)
        return Flows(*self._with_impedances.flows(drops)[0].tolist())

    def blood(self, y: Vector) -> Vector:
        """Blood in ventricles and arteries, and what came in (mm³, negative), shape (5,)."""
        return y * np.array([1.0, 1.0, self.systemic.C, self.pulmonary.C, -1.0])

    def with_ventricles(self, lv: Ventricle, rv: Ventricle) -> OpenLoop:
        """The same circulation around other ventricles."""
        return replace(self, lv=lv, rv=rv)

    def scaled(self, size: float) -> OpenLoop:
        """That of a heart with ``size`` times the volumes, at the same pressures."""
        parts = ("lv", "rv", "valves", "systemic", "pulmonary")
        return replace(self, **{part: getattr(self, part).scaled(size) for part in parts})

    def scaled_state(self, y: Vector, size: float) -> Vector:
        """The state of `scaled` that belongs to ``y``: pressures stay."""
        return y * np.array([size, size, 1.0, 1.0, size])

    @cached_property
    def _with_impedances(self) -> Valves:
        return self.valves.before(self.systemic.Z, self.pulmonary.Z)

    def rows(self, t: float, given: bool) -> Rows:
        """The circulation at a time (ms); ``given``: the ventricles' pressures are."""
        lines = [chamber.line(t, self.period) for chamber in (self.lv, self.rv)]
        return self._parts.rows(lines, given)

    @cached_property
    def _parts(self) -> Parts:
        """Atria and arteries, and how they join the ventricles."""
        y, (p_lv, p_rv), (one,), flows = np.split(np.eye(12), [5, 7, 8])
        Q_mv, Q_av, Q_tv, Q_pv = flows
        sys, pul = self.systemic, self.pulmonary
        out_sys = (y[SYS] - sys.p_ven * one) / sys.R
        out_pul = (y[PUL] - pul.p_ven * one) / pul.R
        drops = np.array(
            [
                self.la_pressure * one - p_lv,
                p_lv - y[SYS],
                self.ra_pressure * one - p_rv,
                p_rv - y[PUL],
            ]
        )
        rates = np.array(
            [
                Q_mv - Q_av,
                Q_tv - Q_pv,
                (Q_av - out_sys) / sys.C,
                (Q_pv - out_pul) / pul.C,
                Q_mv + Q_tv - out_sys - out_pul,
            ]
        )
        return Parts(drops[:, :8], rates[:, :8], rates[:, 8:], (LV, RV), (0, 1))
