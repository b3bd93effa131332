"""Phases of a case: the same heart for some beats under each of several conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from organtwin.case.schema import Case
from organtwin.case.schema_circulation import Circulation, ClosedCirculation
from organtwin.case.schema_circulation import Phase as Section
from organtwin.case.schema_tension import Land2017, PrescribedTension, TensionLaw, Twitch


@dataclass(frozen=True)
class Phase:
    """Beats under one condition.

    Attributes:
        case: The case as it holds in them.
        beats: How many, or the most.
        limit_cycle: Blood that a beat may move for good, as a part of its stroke volume, when it
            counts as one of the limit cycle; None to do all beats.
        extra_volume: Blood beyond that of the case (mm³), of the adult of the circulation's source.
    """

    case: Case
    beats: int
    limit_cycle: float | None
    extra_volume: float = 0.0


def phases(case: Case) -> tuple[Phase, ...]:
    """The beats of ``[run]``, then those of each ``[[protocol]]``."""
    usual = Phase(case, case.run.beats, case.run.limit_cycle)
    return (usual, *(_changed(case, section) for section in case.protocol))


def _changed(case: Case, section: Section) -> Phase:
    mechanics = case.mechanics
    active = _tension(mechanics.active, section.contractility)
    changed = case.model_copy(
        update={
            "mechanics": mechanics.model_copy(update={"active": active}),
            "circulation": _circulation(case.circulation, section),
        }
    )
    return Phase(changed, section.beats, section.limit_cycle, section.extra_volume)


def _tension(law: TensionLaw, factor: float) -> TensionLaw:
    update: Mapping[str, object]
    match law:
        case Land2017():
            update = {"reference_tension": factor * law.reference_tension}
        case PrescribedTension():
            update = {"tensions": tuple(factor * tension for tension in law.tensions)}
        case Twitch():
            update = {"peak_tension": factor * law.peak_tension}
        case _:
            update = {"cross_bridge_tension": factor * law.cross_bridge_tension}
    return law.model_copy(update=update)


def _circulation(usual: Circulation, section: Section) -> Circulation:
    rate = {"heart_rate": section.heart_rate or usual.heart_rate}
    if isinstance(usual, ClosedCirculation):
        resistance = section.afterload * usual.systemic_resistance
        return usual.model_copy(update={**rate, "systemic_resistance": resistance})
    systemic = usual.systemic.model_copy(
        update={"resistance": section.afterload * usual.systemic.resistance}
    )
    return usual.model_copy(
        update={
            **rate,
            "systemic": systemic,
            "la_pressure": section.atrial_pressures * usual.la_pressure,
            "ra_pressure": section.atrial_pressures * usual.ra_pressure,
        }
    )
