"""The closed loop of four chambers and two circulations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from organtwin.circulation.elements import Chamber, Valve, Vessels
from organtwin.errors import InputError, SolverError
from organtwin.units import ML, MMHG

Vector = NDArray[np.float64]

#: Order of the loop's state: volumes (mm³), pressures (kPa), flows (mm³/ms).
STATES = (
    "V_la", "V_lv", "V_ra", "V_rv",
    "p_ar_sys", "p_ven_sys", "p_ar_pul", "p_ven_pul",
    "Q_ar_sys", "Q_ven_sys", "Q_ar_pul", "Q_ven_pul",
)  # fmt: skip
LA, LV, RA, RV, AR_SYS, VEN_SYS, AR_PUL, VEN_PUL, Q_AR_SYS, Q_VEN_SYS, Q_AR_PUL, Q_VEN_PUL = range(
    12
)

_RESISTANCE = MMHG * 1000 / ML  # 1 mmHg s/mL in kPa ms/mm³
_COMPLIANCE = ML / MMHG  # 1 mL/mmHg in mm³/kPa
_INERTANCE = MMHG * 1e6 / ML  # 1 mmHg s²/mL in kPa ms²/mm³
_ELASTANCE = MMHG / ML  # 1 mmHg/mL in kPa/mm³


class Flows(NamedTuple):
    """Flow through the four valves (mm³/ms = mL/s)."""

    mitral: float
    aortic: float
    tricuspid: float
    pulmonary: float


@dataclass(frozen=True)
class ClosedLoop:
    """Closed-loop circulation: chambers, valves, systemic and pulmonary vessels.

        V̇_LA = Q_ven,pul − Q_MV,              V̇_LV = Q_MV − Q_AV
        C_ar ṗ_ar = Q_AV − Q_ar,              C_ven ṗ_ven = Q_ar − Q_ven
        L_ar Q̇_ar = p_ar − p_ven − R_ar Q_ar,  L_ven Q̇_ven = p_ven − p_RA − R_ven Q_ven

    and likewise on the right. With a 3D ventricle its pressure is given instead of an elastance.

    Attributes:
        la, lv, ra, rv: Chambers.
        valve: All four valves.
        systemic, pulmonary: Vessels.
        period: Length of a beat (ms).

    Source:
        Regazzoni et al. (2022), J. Comput. Phys. 457:111083.
    """

    la: Chamber
    lv: Chamber
    ra: Chamber
    rv: Chamber
    valve: Valve
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
                R_ar * _RESISTANCE, C_ar * _COMPLIANCE, L_ar * _INERTANCE,
                R_ven * _RESISTANCE, C_ven * _COMPLIANCE, L_ven * _INERTANCE,
            )  # fmt: skip

        atrial = -170.0
        return cls(
            la=chamber(0.07, 0.18, atrial, 100.0, 100.0, 4.0),
            lv=chamber(4.482, 0.17, 0.0, 250.0, 150.0, 42.0),
            ra=chamber(0.06, 0.07, atrial, 100.0, 100.0, 4.0),
            rv=chamber(0.2, 0.029, 0.0, 250.0, 150.0, 16.0),
            valve=Valve(0.0075 * _RESISTANCE, 75006.2 * _RESISTANCE),
            systemic=vessels(0.733, 1.372, 0.005, 0.32, 11.363, 0.0005),
            pulmonary=vessels(0.046, 20.0, 0.0005, 0.0015, 16.0, 0.0005),
            period=period,
        )

    def rest(self) -> Vector:
        """Start that the loop settles from: the initial values of the source, shape (12,)."""
        volumes = np.array([87.183, 118.520, 86.833, 166.177]) * ML
        pressures = np.array([87.675, 35.898, 19.545, 15.004]) * MMHG
        flows = np.array([71.104, 94.039, 94.084, 473.279])
        return np.concatenate([volumes, pressures, flows])

    def scaled(self, size: float) -> ClosedLoop:
        """The loop of a heart with ``size`` times the volumes, at the same pressures."""
        parts = ("la", "lv", "ra", "rv", "valve", "systemic", "pulmonary")
        return replace(self, **{part: getattr(self, part).scaled(size) for part in parts})

    def blood_volume(self, y: Vector) -> float:
        """Blood in chambers and compliances (mm³); no step changes it."""
        C = np.array(
            [self.systemic.C_ar, self.systemic.C_ven, self.pulmonary.C_ar, self.pulmonary.C_ven]
        )
        return float(y[:4].sum() + C @ y[4:8])

    def chamber_pressures(self, y: Vector, t: float) -> Vector:
        """Pressures of LA, LV, RA, RV (kPa) as elastances."""
        chambers = (self.la, self.lv, self.ra, self.rv)
        return np.array(
            [
                chamber.elastance(t, self.period) * (V - chamber.V0)
                for chamber, V in zip(chambers, y[:4], strict=True)
            ]
        )

    def flows(self, y: Vector, t: float, ventricles: Vector | None = None) -> Flows:
        """Flow through the valves, with given ventricular pressures (LV, RV in kPa) if any."""
        p_la, p_lv, p_ra, p_rv = self._pressures(y, t, ventricles)
        drops = (p_la - p_lv, p_lv - y[AR_SYS], p_ra - p_rv, p_rv - y[AR_PUL])
        return Flows(*(float(d * self.valve.conductance(d)) for d in drops))

    def step(
        self, y: Vector, t: float, dt: float, ventricles: Vector | None = None
    ) -> tuple[Vector, Vector]:
        """One step of the implicit Euler method.

        For known valve positions the equations are linear, so the positions are iterated until
        they agree with the pressure drops: exact, and every volume is accounted for.

        Args:
            y: State at ``t``.
            t: Start (ms).
            dt: Step (ms).
            ventricles: Pressures of LV and RV at the end of the step (kPa), shape (2,), when the
                ventricles are modelled elsewhere; elastances otherwise.

        Returns:
            State at t + dt, and ∂(V_lv, V_rv)/∂(p_lv, p_rv), shape (2, 2) (zero without
            ``ventricles``).

        Raises:
            SolverError: the valve positions do not settle.
        """
        end = t + dt
        given = ventricles is not None
        guess = y
        seen: set[tuple[float, ...]] = set()
        while True:
            conductances = self._conductances(guess, end, ventricles)
            M, N, constant = self._system(conductances, end, given)
            A = np.eye(12) - dt * M
            rhs = y + dt * constant
            if ventricles is not None:
                rhs = rhs + dt * N @ ventricles
            new = np.linalg.solve(A, rhs)
            if conductances == self._conductances(new, end, ventricles):
                break
            if conductances in seen:
                raise SolverError(
                    "circulation",
                    f"the valves do not settle at t = {end:.2f} ms.",
                    "Halve the step.",
                )
            seen.add(conductances)
            guess = new
        slope = np.linalg.solve(A, dt * N)[[LV, RV]] if given else np.zeros((2, 2))
        return new, slope

    def settle(self, beats: int, dt: float = 1.0, extra_volume: float = 0.0) -> Vector:
        """State at the start of a beat after running the loop alone for some beats.

        Args:
            beats: How many.
            dt: Time step (ms).
            extra_volume: Blood added to the systemic veins before (mm³), negative to take some.
        """
        y = self.rest()
        y[VEN_SYS] += extra_volume / self.systemic.C_ven
        for step in range(round(beats * self.period / dt)):
            y, _ = self.step(y, step * dt, dt)
        return y

    def _pressures(self, y: Vector, t: float, ventricles: Vector | None) -> Vector:
        p = self.chamber_pressures(y, t)
        if ventricles is not None:
            p[[1, 3]] = ventricles
        return p

    def _conductances(self, y: Vector, t: float, ventricles: Vector | None) -> tuple[float, ...]:
        p_la, p_lv, p_ra, p_rv = self._pressures(y, t, ventricles)
        drops = (p_la - p_lv, p_lv - y[AR_SYS], p_ra - p_rv, p_rv - y[AR_PUL])
        return tuple(self.valve.conductance(float(drop)) for drop in drops)

    def _system(
        self, conductances: tuple[float, ...], t: float, given: bool
    ) -> tuple[Vector, Vector, Vector]:
        """M, N, k of ẏ = M y + N (p_lv, p_rv) + k for the given valve conductances."""
        # Every pressure is a row over (y, p_lv, p_rv, 1); flows and rates are sums of such rows.
        unit = np.eye(15)
        chambers = (self.la, self.lv, self.ra, self.rv)
        p = []
        for i, chamber in enumerate(chambers):
            E = chamber.elastance(t, self.period)
            p.append(E * (unit[i] - chamber.V0 * unit[14]))
        if given:
            p[1], p[3] = unit[12], unit[13]
        g_mv, g_av, g_tv, g_pv = conductances
        Q_mv, Q_av = g_mv * (p[0] - p[1]), g_av * (p[1] - unit[AR_SYS])
        Q_tv, Q_pv = g_tv * (p[2] - p[3]), g_pv * (p[3] - unit[AR_PUL])
        sys, pul = self.systemic, self.pulmonary
        Q_as, Q_vs, Q_ap, Q_vp = unit[8:12]
        p_as, p_vs, p_ap, p_vp = unit[4:8]
        rate = np.array(
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
                (p_vs - p[2] - sys.R_ven * Q_vs) / sys.L_ven,
                (p_ap - p_vp - pul.R_ar * Q_ap) / pul.L_ar,
                (p_vp - p[0] - pul.R_ven * Q_vp) / pul.L_ven,
            ]
        )
        return rate[:, :12], rate[:, 12:14], rate[:, 14]
