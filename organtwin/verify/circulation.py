"""Verification problems of the closed-loop circulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from organtwin.circulation.limit_cycle import beat
from organtwin.circulation.network import AR_SYS, LV, RV, ClosedLoop
from organtwin.units import MMHG


@dataclass(frozen=True)
class LoopBeat:
    """What one settled beat of the lumped loop shows.

    Attributes:
        blood_drift: Largest change of the blood volume in the beat, relative to the stroke volume.
        periodicity: Largest relative difference of the states at its two ends.
        imbalance: Difference of the two stroke volumes, relative to the left one.
        peak_pressure: Largest left ventricular pressure (mmHg).
        diastolic_pressure: Smallest systemic arterial pressure (mmHg).
        ejection_fraction: Of the left ventricle (%).
    """

    blood_drift: float
    periodicity: float
    imbalance: float
    peak_pressure: float
    diastolic_pressure: float
    ejection_fraction: float


def settled_beat(beats: int = 25, dt: float = 1.0) -> LoopBeat:
    """One beat of the loop of Regazzoni et al. (2022), after ``beats`` others."""
    loop = ClosedLoop.regazzoni_2022()
    y = loop.rest()
    for _ in range(beats):
        y = beat(loop, y, dt)[-1]
    states, pressures = [y], [loop.pressures(y, 0.0)["lv"]]
    for step in range(round(loop.period / dt)):
        y, _ = loop.step(y, step * dt, dt)
        states.append(y)
        pressures.append(loop.pressures(y, (step + 1) * dt)["lv"])
    history, p = np.array(states), np.array(pressures)
    stroke = float(np.ptp(history[:, LV]))
    return LoopBeat(
        blood_drift=float(np.ptp([loop.blood(row).sum() for row in history])) / stroke,
        periodicity=float(np.max(np.abs(history[-1] / history[0] - 1))),
        imbalance=abs(float(np.ptp(history[:, RV])) / stroke - 1),
        peak_pressure=float(p.max()) / MMHG,
        diastolic_pressure=float(history[:, AR_SYS].min()) / MMHG,
        ejection_fraction=100 * stroke / float(history[:, LV].max()),
    )
