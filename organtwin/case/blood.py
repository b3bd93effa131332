"""The circulation that a case asks for, and the state that it starts from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from organtwin.case.schema_circulation import (
    Arteries,
    Atrium,
    Circulation,
    ClosedCirculation,
    HeartValve,
    OpenCirculation,
    ValveName,
)
from organtwin.circulation import stepping
from organtwin.circulation.elements import Chamber, Valves, Windkessel
from organtwin.circulation.limit_cycle import beat, limit_cycle
from organtwin.circulation.network import ClosedLoop
from organtwin.circulation.open_loop import OpenLoop
from organtwin.circulation.stepping import Vector


def circulation(section: Circulation) -> stepping.Circulation:
    """Circulation of a case, at the size of the adult heart of its source."""
    if isinstance(section, OpenCirculation):
        return _open(section)
    return closed_loop(section)


def warmed_up(section: Circulation, loop: stepping.Circulation) -> tuple[Vector, str]:
    """State of a circulation by itself at the start of a beat, and what was done, in words.

    Raises:
        SolverError: it has no limit cycle.
    """
    y = loop.rest()
    if isinstance(section, ClosedCirculation) and isinstance(loop, ClosedLoop):
        y = _with_blood(section, loop, y)
    if section.warm_up_beats is None:
        cycle = limit_cycle(loop, y)
        return cycle.state, (
            f"The circulation by itself was brought to its limit cycle in {cycle.beats} beats; "
            f"the last changed it by {cycle.change:.1e}."
        )
    for _ in range(section.warm_up_beats):
        y = beat(loop, y)[-1]
    return y, f"The circulation ran {section.warm_up_beats} beats by itself before."


def _with_blood(section: ClosedCirculation, loop: ClosedLoop, y: Vector) -> Vector:
    """The state with the blood of a case, at the size of the source's heart."""
    if section.blood_volume is None or section.scale is None:
        return loop.filled(y, section.extra_volume)
    return loop.filled_to(y, section.blood_volume / section.scale)


def closed_loop(section: ClosedCirculation) -> ClosedLoop:
    """Closed loop of a case, at the size of the adult heart of its source."""
    loop = ClosedLoop.regazzoni_2022(section.cycle_length)
    systemic = replace(
        loop.systemic,
        R_ar=section.systemic_resistance,
        C_ar=section.systemic_compliance,
        R_ven=section.systemic_venous_resistance,
        Z_ar=section.aortic_impedance,
    )
    pulmonary = replace(
        loop.pulmonary,
        R_ar=section.pulmonary_resistance,
        C_ar=section.pulmonary_compliance,
        R_ven=section.pulmonary_venous_resistance,
    )
    return replace(
        loop,
        la=_atrium(section.left_atrium),
        ra=_atrium(section.right_atrium),
        valves=_valves(section.valves, loop.valves),
        systemic=systemic,
        pulmonary=pulmonary,
    )


def _atrium(section: Atrium) -> Chamber:
    return Chamber(
        section.active_elastance, section.passive_elastance, section.contraction_onset,
        section.contraction_time, section.relaxation_time, section.unloaded_volume,
    )  # fmt: skip


def _open(section: OpenCirculation) -> OpenLoop:
    loop = OpenLoop.adult(section.cycle_length)
    return replace(
        loop,
        valves=_valves(section.valves, loop.valves),
        systemic=_windkessel(section.systemic),
        pulmonary=_windkessel(section.pulmonary),
        la_pressure=section.la_pressure,
        ra_pressure=section.ra_pressure,
    )


def _windkessel(section: Arteries) -> Windkessel:
    return Windkessel(
        section.impedance, section.compliance, section.resistance, section.venous_pressure
    )


def _valves(sections: Mapping[ValveName, HeartValve], healthy: Valves) -> Valves:
    diseased = {
        name: replace(
            getattr(healthy, name),
            R_open=section.resistance,
            area=section.area or math.inf,
            leak_area=section.leak_area,
        )
        for name, section in sections.items()
    }
    return replace(healthy, **diseased)
