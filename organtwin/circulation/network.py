"""The closed loop of four chambers and two circulations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from organtwin.circulation.elements import (
    COMPLIANCE,
    RESISTANCE,
    Chamber,
    Valve,
    Valves,
    Ventricle,
    Vessels,
    pressure,
)
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
from organtwin.units import ML, MMHG

#: Order of the loop's state: volumes (mm³), pressures (kPa), flows (mm³/ms).
STATES = (
    "V_la", "V_lv", "V_ra", "V_rv",
    "p_ar_sys", "p_ven_sys", "p_ar_pul", "p_ven_pul",
    "Q_ar_sys", "Q_ven_sys", "Q_ar_pul", "Q_ven_pul",
)  # fmt: skip
LA, LV, RA, RV, AR_SYS, VEN_SYS, AR_PUL, VEN_PUL, Q_AR_SYS, Q_VEN_SYS, Q_AR_PUL, Q_VEN_PUL = range(
    12
)

#: Order of the chambers in the state.
CHAMBERS = ("la", "lv", "ra", "rv")

_INERTANCE = MMHG * 1e6 / ML  # 1 mmHg s²/mL in kPa ms²/mm³
_ELASTANCE = MMHG / ML  # 1 mmHg/mL in kPa/mm³


@dataclass(frozen=True)
class ClosedLoop:
    """Closed-loop circulation: chambers, valves, systemic and pulmonary vessels.

        V̇_LA = Q_ven,pul − Q_MV,              V̇_LV = Q_MV − Q_AV
        C_ar ṗ_ar = Q_AV − Q_ar,              C_ven ṗ_ven = Q_ar − Q_ven
        L_ar Q̇_ar = p_ar − p_ven − R_ar Q_ar,  L_ven Q̇_ven = p_ven − p_RA − R_ven Q_ven

    and likewise on the right. With a 3D ventricle its pressure is given instead of an elastance.
    The pressure at the root of a great artery is p_ar + Z_ar Q; the source has no impedance Z_ar.

    Attributes:
        la, lv, ra, rv: Chambers.
        valves: The four valves.
        systemic, pulmonary: Vessels.
        period: Length of a beat (ms).

    Source:
        Regazzoni et al. (2022), J. Comput. Phys. 457:111083.
    """

    la: Chamber
    lv: Ventricle
    ra: Chamber
    rv: Ventricle
    valves: Valves
    systemic: Vessels
    pulmonary: Vessels
    period: float

    def __post_init__(self) -> None:
        if self.period <= 0:
            raise InputError("ClosedLoop", f"period = {self.period} ms.", "It must be > 0.")

    @classmethod
    def regazzoni_2022(cls, period: float = 800.0) -> ClosedLoop:
        """Adult heart at rest; ventricles contract at t = 0, atria 170 ms before the next beat.

        Elastances, resistances, compliances and inertances as in the source; the onsets are set
        for beats that start with the ventricles.
        """

        def chamber(
            E_A: float, E_B: float, onset: float, T_C: float, T_R: float, V0: float
        ) -> Chamber:
            return Chamber(E_A * _ELASTANCE, E_B * _ELASTANCE, onset, T_C, T_R, V0 * ML)

        def vessels(
            R_ar: float, C_ar: float, L_ar: float, R_ven: float, C_ven: float, L_ven: float
        ) -> Vessels:
            return Vessels(
                R_ar * RESISTANCE, C_ar * COMPLIANCE, L_ar * _INERTANCE,
                R_ven * RESISTANCE, C_ven * COMPLIANCE, L_ven * _INERTANCE,
            )  # fmt: skip

        atrial = -170.0
        return cls(
            la=chamber(0.07, 0.18, atrial, 100.0, 100.0, 4.0),
            lv=chamber(4.482, 0.17, 0.0, 250.0, 150.0, 42.0),
            ra=chamber(0.06, 0.07, atrial, 100.0, 100.0, 4.0),
            rv=chamber(0.2, 0.029, 0.0, 250.0, 150.0, 16.0),
            valves=Valves.alike(Valve(0.0075 * RESISTANCE, 75006.2 * RESISTANCE)),
            systemic=vessels(0.733, 1.372, 0.005, 0.32, 11.363, 0.0005),
            pulmonary=vessels(0.046, 20.0, 0.0005, 0.0015, 16.0, 0.0005),
            period=period,
        )

    @property
    def ventricles(self) -> list[int]:
        """Where the volumes of LV and RV stand in the state."""
        return [LV, RV]

    def rest(self) -> Vector:
        """Start that the loop settles from: the initial values of the source, shape (12,)."""
        volumes = np.array([87.183, 118.520, 86.833, 166.177]) * ML
        pressures = np.array([87.675, 35.898, 19.545, 15.004]) * MMHG
        flows = np.array([71.104, 94.039, 94.084, 473.279])
        return np.concatenate([volumes, pressures, flows])

    def filled(self, y: Vector, extra_volume: float) -> Vector:
        """The state with blood (mm³) added to the systemic veins, negative to take some."""
        y = y.copy()
        y[VEN_SYS] += extra_volume / self.systemic.C_ven
        return y

    def filled_to(self, y: Vector, blood: float) -> Vector:
        """The state whose systemic veins were filled until the loop has that much blood (mm³)."""
        return self.filled(y, blood - float(self.blood(y).sum()))

    def scaled(self, size: float) -> ClosedLoop:
        """The loop of a heart with ``size`` times the volumes, at the same pressures."""
        parts = ("la", "lv", "ra", "rv", "valves", "systemic", "pulmonary")
        return replace(self, **{part: getattr(self, part).scaled(size) for part in parts})

    def scaled_state(self, y: Vector, size: float) -> Vector:
        """The state of `scaled` that belongs to ``y``: pressures stay."""
        return np.concatenate([size * y[:4], y[4:8], size * y[8:]])

    def blood(self, y: Vector) -> Vector:
        """Blood in chambers and compliances (mm³); no step changes the sum."""
        C = np.array(
            [self.systemic.C_ar, self.systemic.C_ven, self.pulmonary.C_ar, self.pulmonary.C_ven]
        )
        return np.concatenate([y[:4], C * y[4:8]])

    def with_ventricles(self, lv: Ventricle, rv: Ventricle) -> ClosedLoop:
        """The same loop around other ventricles."""
        return replace(self, lv=lv, rv=rv)

    def pressures(self, y: Vector, t: float, given: Vector | None = None) -> dict[str, float]:
        """Pressures (kPa) of chambers, great arteries at their roots, and veins.

        Those of ``lv`` and ``rv`` are the given ones, if any.
        """
        found = {
            name: pressure(chamber, float(V), t, self.period)
            for name, chamber, V in zip(CHAMBERS, self._chambers, y[:4], strict=True)
        }
        if given is not None:
            found["lv"], found["rv"] = map(float, given)
        flows = self.flows(y, t, given)
        return found | {
            "ar_sys": float(y[AR_SYS]) + self.systemic.Z_ar * flows.aortic,
            "ven_sys": float(y[VEN_SYS]),
            "ar_pul": float(y[AR_PUL]) + self.pulmonary.Z_ar * flows.pulmonary,
            "ven_pul": float(y[VEN_PUL]),
        }

    def volumes(self, y: Vector) -> dict[str, float]:
        """Volumes of the chambers (mm³)."""
        return dict(zip(CHAMBERS, map(float, y[:4]), strict=True))

    def flows(self, y: Vector, t: float, given: Vector | None = None) -> Flows:
        """Flow through the valves, with given pressures of LV and RV (kPa) if any."""
        drops = self.rows(t, given is not None).drops @ extended(y, given)
        return Flows(*self.resistances.flows(drops)[0].tolist())

    def step(
        self, y: Vector, t: float, dt: float, pressures: Vector | None = None
    ) -> tuple[Vector, Matrix]:
        """One step of the implicit Euler method, see `Circulation.step`."""
        end = t + dt
        rows = self.rows(end, pressures is not None)
        new, slope = implicit_step(y, dt, rows, self.resistances, pressures, end)
        return new, slope[self.ventricles]

    @cached_property
    def resistances(self) -> Valves:
        """The valves, those of the great arteries with their impedances behind them."""
        return self.valves.before(self.systemic.Z_ar, self.pulmonary.Z_ar)

    @property
    def _chambers(self) -> tuple[Ventricle, ...]:
        return self.la, self.lv, self.ra, self.rv

    def rows(self, t: float, given: bool) -> Rows:
        """The circulation at a time (ms); ``given``: the ventricles' pressures are."""
        lines = [chamber.line(t, self.period) for chamber in self._chambers]
        return self.parts.rows(lines, given)

    @cached_property
    def parts(self) -> Parts:
        """The vessels, and how they join the chambers `CHAMBERS`."""
        y, (p_la, p_lv, p_ra, p_rv), _, flows = np.split(np.eye(21), [12, 16, 17])
        p_as, p_vs, p_ap, p_vp, Q_as, Q_vs, Q_ap, Q_vp = y[4:]
        Q_mv, Q_av, Q_tv, Q_pv = flows
        sys, pul = self.systemic, self.pulmonary
        drops = np.array([p_la - p_lv, p_lv - p_as, p_ra - p_rv, p_rv - p_ap])
        rates = np.array(
            [
                Q_vp - Q_mv,
                Q_mv - Q_av,
                Q_vs - Q_tv,
                Q_tv - Q_pv,
                (Q_av - Q_as) / sys.C_ar,
                (Q_as - Q_vs) / sys.C_ven,
                (Q_pv - Q_ap) / pul.C_ar,
                (Q_ap - Q_vp) / pul.C_ven,
                (p_as - p_vs - sys.R_ar * Q_as) / sys.L_ar,
                (p_vs - p_ra - sys.R_ven * Q_vs) / sys.L_ven,
                (p_ap - p_vp - pul.R_ar * Q_ap) / pul.L_ar,
                (p_vp - p_la - pul.R_ven * Q_vp) / pul.L_ven,
            ]
        )
        return Parts(drops[:, :17], rates[:, :17], rates[:, 17:], (LA, LV, RA, RV), (1, 3))
