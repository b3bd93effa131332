"""Intervals of a plan's indices: what is not known well is varied, one thing at a time."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from organtwin.case.members import (
    Ensemble,
    Member,
    State,
    Work,
    Workers,
    finished,
    read_indices,
)
from organtwin.case.quantities import Unit, marks
from organtwin.case.schema_rehearsal import HALF_A_VOXEL, Factor, RehearsalCase, Value
from organtwin.case.sweep import Outcome, Plans, name_of, number, provenance
from organtwin.choice import found_in
from organtwin.credibility import write_credibility
from organtwin.errors import InputError, suggestion
from organtwin.export.atomic import write_text
from organtwin.influence import Interval, Trial, intervals
from organtwin.units import quantity

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Variation:
    """A member with one factor changed.

    Attributes:
        factor: Which.
        change: How, in words.
        member: The member.
        mirrored: Whether the opposite change is taken to do the opposite, if it is the only one.
    """

    factor: str
    change: str
    member: Member
    mirrored: bool = True


@dataclass(frozen=True)
class Sensitivity:
    """Intervals of the indices of one plan.

    Attributes:
        of: Its name.
        variations: What was varied.
        states: How far each of these is.
        intervals: Of each index.
    """

    of: str
    variations: tuple[Variation, ...]
    states: tuple[State, ...]
    intervals: tuple[Interval, ...]


def vary(
    case: RehearsalCase,
    plans: Plans,
    outcome: Outcome | None,
    *,
    out: Path,
    of: str | None = None,
    runs: int | None = None,
    workers: Workers | None = None,
    work: Work | None = None,
) -> Sensitivity | None:
    """Vary what is not known well around one plan of a rehearsal; collective.

    Members lie in ``sensitivity/<name>/members`` and are kept and gone on with as those of the
    sweep.

    Args:
        case: The rehearsal.
        plans: Of which kind.
        outcome: What its sweep has come to (rank 0).
        out: Its result directory.
        of: Name of the plan; without it as the case says.
        runs: Runs of each factor, 1 or 2; likewise.
        workers: Who does them; this process without it.
        work: Does a member, in place of the plans' own.

    Returns:
        The intervals; None on other ranks than 0.

    Raises:
        InputError: the plan is not there or not finished, or a factor is no setting.
    """
    own = work or plans.trials

    def all_of_it(run: Callable[[Ensemble], None]) -> Sensitivity:
        assert outcome is not None
        base = chosen(outcome, of or case.sensitivity.of)
        variations = variations_of(case, plans, base, runs)
        members = [one.member for one in variations]
        run(Ensemble(members, own, folder_of(out, base.name) / "members"))
        found = look(outcome, base, variations, own, out)
        factors = factors_of(case, plans)
        first = [name for name in factors if name in plans.boundary]
        write_sensitivity(case, factors, found, out, first)
        if (out / "members" / base.name / "run.json").is_file():
            write_credibility(out / "members" / base.name)
        return found

    return (workers or Workers()).lead(all_of_it)


def folder_of(out: Path, name: str) -> Path:
    """Where the variations of a plan lie."""
    return out / "sensitivity" / name


def chosen(outcome: Outcome, of: str) -> Member:
    """The plan whose indices get intervals.

    Raises:
        InputError: there is no such one, or it is not finished.
    """
    if of == "best":
        best = outcome.best
        if best is None:
            raise InputError(
                "[sensitivity] of", "no member of the sweep is finished.", "Finish the sweep first."
            )
        return best
    known = {one.name: one for one in outcome.members}
    if of not in known:
        raise InputError("[sensitivity] of", f"no member `{of}`.", suggestion(of, known))
    if of not in outcome.indices:
        raise InputError("[sensitivity] of", f"`{of}` is not finished.", "Finish it first.")
    return known[of]


def factors_of(case: RehearsalCase, plans: Plans) -> Mapping[str, Factor]:
    """What is varied: what the case names, or else what is usually not known well."""
    return case.sensitivity.factors or plans.factors


def variations_of(
    case: RehearsalCase, plans: Plans, base: Member, runs: int | None = None
) -> tuple[Variation, ...]:
    """Members with one factor changed, factor by factor.

    Args:
        case: The rehearsal.
        plans: Of which kind.
        base: The plan that is varied.
        runs: Of each factor; those of the case without it.

    Raises:
        InputError: a factor is no number of the case, or changes nothing.
    """
    whole = plans.load(base.settings)
    found = []
    for name, factor in factors_of(case, plans).items():
        place = f'[sensitivity.factors."{name}"]'
        changes = list(_changes(plans, whole, factor, place))
        changed = [one for one in changes if not _is_there(whole, one, place)]
        if case.sensitivity.factors and len(changed) < len(changes):
            same = next(one for one in changes if one not in changed)
            raise InputError(place, f"{same} changes nothing.", "Give it another value.")
        # Alternatives are all tried, unless one is asked for; numbers have two sides at most.
        most = runs or case.sensitivity.runs
        for change in changed if factor.runs and most > 1 else changed[:most]:
            words = ", ".join(_in_words(key, value) for key, value in change.items())
            member = Member(
                f"{name.replace(' ', '_')}-{name_of(change)}", {**base.settings, **change}
            )
            found.append(Variation(name, words, member, not factor.runs))
    return tuple(found)


def _is_there(case: BaseModel, change: Mapping[str, Value], place: str) -> bool:
    """Whether a case has the settings of a change already."""
    return all(
        _value(case, key, place) == _as_read(case, key, value, place)
        for key, value in change.items()
    )


def _in_words(key: str, value: Value) -> str:
    """A setting's value; of one that is on or off what is done about what."""
    if isinstance(value, bool):
        return f"{'with' if value else 'without'} {key.rpartition('.')[2]}"
    if isinstance(value, tuple):
        return " and ".join(str(one) for one in value)
    return str(value)


def look(
    outcome: Outcome, base: Member, variations: Sequence[Variation], work: Work, out: Path
) -> Sensitivity:
    """Intervals from what is finished."""
    folder = folder_of(out, base.name) / "members"
    states = Ensemble([one.member for one in variations], work, folder).states()
    known = {one.name: found_in(read_indices(folder / one.name)) for one in finished(states)}
    trials = [
        Trial(one.factor, one.change, known.get(one.member.name), one.mirrored)
        for one in variations
    ]
    made = intervals(outcome.indices[base.name], trials)
    return Sensitivity(base.name, tuple(variations), tuple(states), made)


# ----------------------------------------------------------------------------------------- factors


def _changes(
    plans: Plans, case: BaseModel, factor: Factor, place: str
) -> Iterator[Mapping[str, Value]]:
    """Settings of each run of a factor."""
    if factor.runs:
        yield from factor.runs
        return
    for key in factor.keys if factor.change is not None else ():
        step = _step(plans, factor.change or "", _mark(case, key, place), place)
        both = plans.both_ways(case, key, step)
        if both:
            yield from both
            return
    for side in (-1.0, 1.0):
        yield {key: _moved(plans, case, key, factor, side, place) for key in factor.keys}


def _moved(
    plans: Plans, case: BaseModel, key: str, factor: Factor, side: float, place: str
) -> Value:
    """A setting less (side −1) or more (1)."""
    value, mark = _value(case, key, place), _mark(case, key, place)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InputError(place, f"`{key}` is not a number.", "Give its runs instead.")
    if factor.times is not None:
        return _text(value * factor.times**side, mark)
    assert factor.change is not None
    return _text(value + side * _step(plans, factor.change, mark, place), mark)


def _step(plans: Plans, change: str, mark: Unit | None, place: str) -> float:
    """Width of a change in the unit of its setting."""
    if change == HALF_A_VOXEL:
        if mark is None or mark.inside != "mm":
            raise InputError(
                f"{place} change", f'"{HALF_A_VOXEL}" is a length, its setting is none.',
                "Write a number, with the unit of the setting.",
            )  # fmt: skip
        return 0.5 * plans.voxel()
    if mark is not None:
        return quantity(change, mark.inside, f"{place} change")
    try:
        return float(change)
    except ValueError:
        raise InputError(f"{place} change", f'"{change}" is not a number.') from None


def _text(value: float, mark: Unit | None) -> Value:
    return float(f"{value:.6g}") if mark is None else mark.text(float(f"{value:.6g}"))


def _value(case: BaseModel, key: str, place: str) -> Any:
    """Value of a setting.

    Raises:
        InputError: there is no such one.
    """
    section: Any = case
    for name in key.split("."):
        known = type(section).model_fields if isinstance(section, BaseModel) else {}
        if name not in known:
            raise InputError(place, f"no setting `{key}`.", suggestion(name, known))
        section = getattr(section, name)
    return section


def _mark(case: BaseModel, key: str, place: str) -> Unit | None:
    """Unit of a setting, in the section that the case has: one of several laws, for example.

    Raises:
        InputError: there is no such one.
    """
    way, _, name = key.rpartition(".")
    section = _value(case, way, place) if way else case
    _value(case, key, place)
    field = type(section).model_fields[name]
    return next((mark for mark in marks(field) if isinstance(mark, Unit)), None)


def _as_read(case: BaseModel, key: str, value: Value, place: str) -> Any:
    """A value of the case file as the case would have it."""
    mark = _mark(case, key, place)
    if isinstance(value, tuple):
        return tuple(_one_as_read(one, mark, place) for one in value)
    return _one_as_read(value, mark, place)


def _one_as_read(value: Any, mark: Unit | None, place: str) -> Any:
    return quantity(str(value), mark.inside, place) if mark is not None else value


# ----------------------------------------------------------------------------------------- writing


def write_sensitivity(
    case: RehearsalCase, factors: Mapping[str, Factor], found: Sensitivity, out: Path,
    boundary: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write ``sensitivity.json`` and ``sensitivity.csv``.

    Args:
        case: The rehearsal.
        factors: What was varied.
        found: What came out.
        out: Result directory.
        boundary: Those of the factors that are boundary conditions.
    """
    record: dict[str, Any] = {
        **provenance(case),
        "of": found.of,
        "how": "one factor at a time; interval = value + root sum of squares of the excursions up, "
        "- that of those down; factors independent, effects additive (our choice)",
        "boundary": list(boundary),
        "factors": {name: one.model_dump(exclude_none=True) for name, one in factors.items()},
        "runs": [
            {"factor": one.factor, "change": one.change, **asdict(state)}
            for one, state in zip(found.variations, found.states, strict=True)
        ],
        "indices": [_record(one) for one in found.intervals],
    }  # fmt: skip
    write_text(out / "sensitivity.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    with (out / "sensitivity.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["index", "unit", "value", "low", "high", "largest", "share",
                       "crosses its threshold with", "missing"])  # fmt: skip
        for one in found.intervals:
            rows.writerow([
                one.index.name, one.index.unit, f"{one.index.value:.6g}", f"{one.low:.6g}",
                f"{one.high:.6g}", one.largest, f"{one.by[0].share:.3f}" if one.by else "",
                "; ".join(one.turns), "; ".join(one.missing),
            ])  # fmt: skip


def _record(one: Interval) -> dict[str, Any]:
    return {
        "name": one.index.name, "unit": one.index.unit, "value": one.index.value,
        "low": one.low, "high": one.high, "threshold": [one.index.low, one.index.high],
        "sure": one.sure, "largest": one.largest, "turns": list(one.turns),
        "missing": list(one.missing),
        "by": [
            {"factor": by.factor, "below": by.below, "above": by.above, "share": by.share,
             "values": {change: number(value) for change, value in by.values.items()}}
            for by in one.by
        ],
    }  # fmt: skip
