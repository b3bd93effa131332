"""The reduced-order heart as a model to calibrate: four elastances in the closed loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.calibrate.closed_loops import Beats, limit_cycles
from organtwin.calibrate.observations import Observations
from organtwin.circulation.network import (
    AR_PUL,
    AR_SYS,
    LV,
    Q_AR_SYS,
    RV,
    ClosedLoop,
)
from organtwin.errors import InputError, suggestion
from organtwin.units import ML

logger = logging.getLogger(__name__)

type Array = NDArray[np.float64]
type Matrix = NDArray[np.float64]
type Beat = Mapping[str, Array]

#: Blood added to the loop, as in a case file.
EXTRA_VOLUME = -200.0 * ML


@dataclass(frozen=True)
class Adjustable:
    """A number of the reduced-order heart that can be calibrated.

    Attributes:
        unit, shown: organtwin's unit, and the one for people.
        part, field: Where it stands in `ClosedLoop`; no part for those of the loop as a whole.
        words: What it is.
    """

    unit: str
    shown: str
    part: str
    field: str
    words: str


def _chamber(part: str, words: str) -> dict[str, Adjustable]:
    elastance = ("kPa/mm^3", "mmHg/mL")
    return {
        f"{part}.active_elastance": Adjustable(*elastance, part, "E_A", f"{words} contractility"),
        f"{part}.passive_elastance": Adjustable(
            *elastance, part, "E_B", f"{words} passive stiffness"
        ),
        f"{part}.unloaded_volume": Adjustable(
            "mm^3", "mL", part, "V0", f"{words} volume at zero pressure"
        ),
        f"{part}.contraction_time": Adjustable(
            "ms", "ms", part, "T_C", f"{words} time of contraction"
        ),
        f"{part}.relaxation_time": Adjustable(
            "ms", "ms", part, "T_R", f"{words} time of relaxation"
        ),
        f"{part}.contraction_onset": Adjustable(
            "ms", "ms", part, "onset", f"{words} onset of contraction"
        ),
    }


_RESISTANCE, _COMPLIANCE = ("kPa*ms/mm^3", "mmHg*s/mL"), ("mm^3/kPa", "mL/mmHg")
#: Name → what can be calibrated.
ADJUSTABLE = {
    "circulation.systemic_resistance": Adjustable(
        *_RESISTANCE, "systemic", "R_ar", "systemic arterial resistance"
    ),
    "circulation.systemic_compliance": Adjustable(
        *_COMPLIANCE, "systemic", "C_ar", "systemic arterial compliance"
    ),
    "circulation.systemic_venous_resistance": Adjustable(
        *_RESISTANCE, "systemic", "R_ven", "systemic venous resistance"
    ),
    "circulation.pulmonary_resistance": Adjustable(
        *_RESISTANCE, "pulmonary", "R_ar", "pulmonary arterial resistance"
    ),
    "circulation.pulmonary_compliance": Adjustable(
        *_COMPLIANCE, "pulmonary", "C_ar", "pulmonary arterial compliance"
    ),
    "circulation.pulmonary_venous_resistance": Adjustable(
        *_RESISTANCE, "pulmonary", "R_ven", "pulmonary venous resistance"
    ),
    "circulation.heart_rate": Adjustable("1/ms", "1/min", "", "heart_rate", "heart rate"),
    "circulation.extra_volume": Adjustable("mm^3", "mL", "", "extra_volume", "added blood"),
    "circulation.blood_volume": Adjustable(
        "mm^3", "mL", "", "blood_volume", "blood in chambers and compliances"
    ),
    "activation.delay": Adjustable(
        "ms", "ms", "", "delay", "time from the R wave to contraction of the ventricles"
    ),
    **_chamber("lv", "LV"),
    **_chamber("rv", "RV"),
    **_chamber("la", "LA"),
    **_chamber("ra", "RA"),
}


def adjustable(name: str, place: str) -> Adjustable:
    """What a name stands for.

    Raises:
        InputError: nothing that can be calibrated.
    """
    if name not in ADJUSTABLE:
        raise InputError(
            place,
            f"the reduced-order heart has no parameter `{name}`.",
            suggestion(name, ADJUSTABLE),
        )
    return ADJUSTABLE[name]


@dataclass(frozen=True)
class ClosedLoopModel:
    """Predicts observations from parameters of the closed loop at its limit cycle.

    What is not among the parameters is as in `ClosedLoop.regazzoni_2022`, but for what ``given``
    sets; stretched to the length of its beat: times of contraction stay.

    Attributes:
        names: Parameters, in the order of the columns.
        observations: What to predict, in their order.
        given: Name → value of what is known, in organtwin's units.
        steps: Of a beat, at the first attempt.
    """

    names: tuple[str, ...]
    observations: Observations
    given: tuple[tuple[str, float], ...] = ()
    steps: int = 200

    def __post_init__(self) -> None:
        present = {*self.names, *(name for name, _ in self.given)}
        if {"circulation.blood_volume", "circulation.extra_volume"} <= present:
            raise InputError(
                "calibration",
                "both `circulation.blood_volume` and `circulation.extra_volume`.",
                "Each sets the blood of the loop: keep one.",
            )
        for name in (*self.names, *(name for name, _ in self.given)):
            adjustable(name, "calibration")
        for one in self.observations.all:
            if one.name not in PREDICTED and one.name not in CURVES:
                raise InputError(
                    one.source or one.key,
                    f"the reduced-order heart predicts no {one.quantity.words}.",
                    f"It predicts {', '.join((*PREDICTED, *CURVES))}.",
                )

    @property
    def batch(self) -> int:
        """Loops that are stepped at once."""
        return 200

    @property
    def fingerprint(self) -> str:
        """Settings and observations that the predictions depend on."""
        return f"closed loop 1 {self.names} {self.given} {self.steps} {self.observations.keys}"

    def __call__(self, values: Matrix, attempt: int) -> Matrix:
        """Predictions (members, observations); NaN for loops without a limit cycle."""
        with np.errstate(all="ignore"):
            beats, members = self.beats(values, attempt)
            summaries = {name: of(beats) for name, of in PREDICTED.items()}
            result = np.empty((len(values), len(self.observations.all)))
            for k, one in enumerate(self.observations.all):
                if one.time is None:
                    result[:, k] = summaries[one.name]
                else:
                    delay = np.array([member.get("activation.delay", 0.0) for member in members])
                    result[:, k] = _at(beats, CURVES[one.name](beats), one.time - delay)
        result[~beats.settled] = np.nan
        return result

    def beats(self, values: Matrix, attempt: int = 0) -> tuple[Beats, list[dict[str, float]]]:
        """The beat of each member, (members, parameters), and all of its numbers by name."""
        members = [
            dict(self.given) | dict(zip(self.names, map(float, row), strict=True)) for row in values
        ]
        loops = [_possible(member) for member in members]
        start = np.array([_start(loop, one) for loop, one in zip(loops, members, strict=True)])
        return limit_cycles(loops, start, steps=self.steps * 2**attempt), members


def _possible(member: Mapping[str, float]) -> ClosedLoop:
    """The loop of a member; one that fails where its numbers are impossible."""
    try:
        return _loop(member)
    except InputError as error:
        logger.info("%s", error)
        plain = ClosedLoop.regazzoni_2022()
        return replace(plain, la=replace(plain.la, E_A=np.nan))


def _loop(member: Mapping[str, float]) -> ClosedLoop:
    rate = member.get("circulation.heart_rate")
    loop = ClosedLoop.regazzoni_2022() if rate is None else ClosedLoop.regazzoni_2022(1.0 / rate)
    changes: dict[str, dict[str, float]] = {}
    for name, value in member.items():
        what = ADJUSTABLE[name]
        if what.part:
            changes.setdefault(what.part, {})[what.field] = value
    parts: dict[str, Any] = {
        part: replace(getattr(loop, part), **fields) for part, fields in changes.items()
    }
    return replace(loop, **parts)


def _start(loop: ClosedLoop, member: Mapping[str, float]) -> Array:
    """A state with the blood of a member, by default that of a case file's default."""
    y = loop.rest()
    if "circulation.blood_volume" in member:
        return loop.filled_to(y, member["circulation.blood_volume"])
    return loop.filled(y, member.get("circulation.extra_volume", EXTRA_VOLUME))


def _at(beats: Beats, curve: Array, t: Array) -> Array:
    """Value of each loop's curve at a time (ms) of the periodic beat."""
    return np.array(
        [
            np.interp(time % own[-1], own, values)
            for own, values, time in zip(beats.t, curve, t, strict=True)
        ]
    )


def _state(k: int) -> Callable[[Beats], Array]:
    return lambda beats: beats.states[:, :, k]


def _ejection_fraction(k: int) -> Callable[[Beats], Array]:
    def of(beats: Beats) -> Array:
        most = beats.states[:, :, k].max(axis=1)
        return np.asarray(1.0 - beats.states[:, :, k].min(axis=1) / most)

    return of


def _most(curve: Callable[[Beats], Array]) -> Callable[[Beats], Array]:
    return lambda beats: np.asarray(curve(beats).max(axis=1))


def _least(curve: Callable[[Beats], Array]) -> Callable[[Beats], Array]:
    return lambda beats: np.asarray(curve(beats).min(axis=1))


def _stroke(curve: Callable[[Beats], Array]) -> Callable[[Beats], Array]:
    return lambda beats: np.asarray(np.ptp(curve(beats), axis=1))


def _mean(curve: Callable[[Beats], Array]) -> Callable[[Beats], Array]:
    return lambda beats: np.asarray(curve(beats)[:, 1:].mean(axis=1))


def _pressure(k: int) -> Callable[[Beats], Array]:
    return lambda beats: beats.pressures[:, :, k]


def _rate(k: int) -> Callable[[Beats], Array]:
    return lambda beats: np.asarray(np.diff(beats.pressures[:, :, k]) / np.diff(beats.t))


def _first(curve: Callable[[Beats], Array]) -> Callable[[Beats], Array]:
    return lambda beats: curve(beats)[:, 0]


#: Curves over the beat, (loops, times).
CURVES: dict[str, Callable[[Beats], Array]] = {
    "lv_volume": _state(LV),
    "rv_volume": _state(RV),
    "arterial_pressure": _state(AR_SYS),
    "lv_pressure": _pressure(1),
}
#: What is read off a beat, (loops,). It starts as the ventricles begin to contract.
PREDICTED: dict[str, Callable[[Beats], Array]] = {
    "lv_end_diastolic_volume": _most(_state(LV)),
    "lv_end_systolic_volume": _least(_state(LV)),
    "lv_stroke_volume": _stroke(_state(LV)),
    "lv_ejection_fraction": _ejection_fraction(LV),
    "rv_end_diastolic_volume": _most(_state(RV)),
    "rv_end_systolic_volume": _least(_state(RV)),
    "rv_stroke_volume": _stroke(_state(RV)),
    "rv_ejection_fraction": _ejection_fraction(RV),
    "arterial_systolic_pressure": _most(_state(AR_SYS)),
    "arterial_diastolic_pressure": _least(_state(AR_SYS)),
    "arterial_mean_pressure": _mean(_state(AR_SYS)),
    "pulmonary_systolic_pressure": _most(_state(AR_PUL)),
    "pulmonary_diastolic_pressure": _least(_state(AR_PUL)),
    "pulmonary_mean_pressure": _mean(_state(AR_PUL)),
    "lv_peak_pressure": _most(_pressure(1)),
    "lv_end_diastolic_pressure": _first(_pressure(1)),
    "rv_peak_pressure": _most(_pressure(3)),
    "rv_end_diastolic_pressure": _first(_pressure(3)),
    "lv_dpdt_max": _most(_rate(1)),
    "lv_dpdt_min": _least(_rate(1)),
    "rv_dpdt_max": _most(_rate(3)),
    "rv_dpdt_min": _least(_rate(3)),
    "la_mean_pressure": _mean(_pressure(0)),
    "ra_mean_pressure": _mean(_pressure(2)),
    "cardiac_output": _mean(_state(Q_AR_SYS)),
    "heart_rate": lambda beats: np.asarray(1.0 / beats.t[:, -1]),
}
