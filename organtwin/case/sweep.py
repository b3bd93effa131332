"""A rehearsal: plans of one kind for one patient, done one by one, and ranked."""

from __future__ import annotations

import csv
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from organtwin.case.manifest import git_commit, machine, versions
from organtwin.case.members import (
    CLAIM,
    Ensemble,
    Member,
    State,
    Work,
    Workers,
    finished,
    read_indices,
)
from organtwin.case.schema_rehearsal import Factor, RehearsalCase, Value
from organtwin.choice import Choice, IndexValue, Rank, found_in
from organtwin.errors import InputError
from organtwin.export.atomic import write_text
from organtwin.run.lock import claimed


class Plans(Protocol):
    """What is rehearsed: the kind of plan, what does one, and what it is judged by."""

    @property
    def work(self) -> Work:
        """Does one."""
        ...

    @property
    def trials(self) -> Work:
        """Does one of which the indices alone are wanted."""
        ...

    @property
    def choice(self) -> Choice:
        """Usual rules and criteria."""
        ...

    @property
    def factors(self) -> Mapping[str, Factor]:
        """What is usually not known well."""
        ...

    @property
    def boundary(self) -> tuple[str, ...]:
        """Those of the factors that are boundary conditions, which a page shows first."""
        ...

    def prepare(self) -> None:
        """Find out what decides which members there are."""
        ...

    def members(self) -> tuple[Member, ...]:
        """Members of the sweep; none while they are not known.

        Raises:
            InputError: there is nothing to do, or a setting is wrong.
        """
        ...

    def load(self, settings: Mapping[str, Value]) -> BaseModel:
        """The case of one plan: all members' settings, and these."""
        ...

    def voxel(self) -> float:
        """Mean edge of the scan's voxels (mm)."""
        ...

    def both_ways(self, case: BaseModel, key: str, step: float) -> tuple[dict[str, Value], ...]:
        """Settings less and more by a step, where that is not just another number; else none."""
        ...

    def progress(self, out: Path) -> str:
        """Where a member that is not finished is, in words."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What a rehearsal has come to.

    Attributes:
        members: Of the sweep.
        states: How far each is.
        indices: Name → indices of those that are finished.
        ranks: These, best first.
        choice: What they were ranked by.
    """

    members: tuple[Member, ...]
    states: tuple[State, ...]
    indices: Mapping[str, tuple[IndexValue, ...]]
    ranks: tuple[Rank, ...]
    choice: Choice

    @property
    def best(self) -> Member | None:
        """The one that is ranked first; None while there is none."""
        first = self.ranks[0].name if self.ranks else ""
        return next((one for one in self.members if one.name == first), None)


def run_rehearsal(
    case: RehearsalCase,
    plans: Plans,
    *,
    out: Path,
    workers: Workers | None = None,
    work: Work | None = None,
) -> Outcome | None:
    """Do the members of a sweep and rank them; collective.

    Args:
        case: What to do.
        plans: Of which kind.
        out: Result directory; members that it holds are used again or gone on with.
        workers: Who does them; this process without it.
        work: Does a member, in place of the plans' own.

    Returns:
        What it has come to; None on other ranks than 0.

    Raises:
        InputError: the case does not fit together.
    """

    def all_of_it(run: Callable[[Ensemble], None]) -> Outcome:
        choice_of(case, plans)  # refused before anything is computed
        if work is None:
            with claimed(out / CLAIM, wait=True):
                plans.prepare()
        members, own = plans.members(), work or plans.work
        run(Ensemble(members, own, out / "members"))
        outcome = look(case, plans, own, out)
        write_ranking(case, outcome, out)
        return outcome

    return (workers or Workers()).lead(all_of_it)


def require_different(members: Sequence[Member]) -> None:
    """Refuse members of one name.

    Raises:
        InputError: two have the same name.
    """
    names = [one.name for one in members]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError("[sweep]", f"`{min(twice)}` is there twice.", "Leave one value out.")


def name_of(settings: Mapping[str, Value], bare: str = "") -> str:
    """Name of a folder that tells settings apart: ``sapien3_like-23-depth_4mm``.

    Args:
        settings: Dotted path → value.
        bare: Section whose values are told without their key, files by their name.
    """
    parts = []
    for key, value in settings.items():
        own = bool(bare) and key.startswith(f"{bare}.")
        text = Path(str(value)).stem if own and str(value).endswith(".toml") else str(value)
        if isinstance(value, tuple):
            text = "+".join(str(one) for one in value)
        text = re.sub(r"[^A-Za-z0-9._+-]", "", text.lower() if isinstance(value, bool) else text)
        parts.append(text if own else f"{key.rpartition('.')[2]}_{text}")
    return "-".join(parts)


def mean_voxel(file: Path, series: tuple[str | int, ...] | None = None) -> float:
    """Mean edge of an image's voxels (mm).

    Raises:
        InputError: it has several phases.
    """
    from organtwin.image.readers import read_image
    from organtwin.image.volume import Image

    image = read_image(file, series)
    if not isinstance(image, Image):
        raise InputError(str(file), "the scan has phases.", "Give one of them.")
    return float(image.grid.spacing.mean())


def choice_of(case: RehearsalCase, plans: Plans) -> Choice:
    """Rules and criteria of a case."""
    own = case.choice
    return plans.choice.adjusted(own.weights, own.limits, own.without_rules)


def look(case: RehearsalCase, plans: Plans, work: Work, out: Path) -> Outcome:
    """What a rehearsal has come to, from its files."""
    choice, members = choice_of(case, plans), plans.members()
    states = Ensemble(members, work, out / "members").states()
    indices = {
        one.name: found_in(read_indices(out / "members" / one.name)) for one in finished(states)
    }
    return Outcome(tuple(members), tuple(states), indices, choice.ranked(indices), choice)


# ----------------------------------------------------------------------------------------- writing


def write_ranking(case: RehearsalCase, outcome: Outcome, out: Path) -> None:
    """Write ``ranking.json`` and ``ranking.csv``."""
    settings = {one.name: dict(one.settings) for one in outcome.members}
    record: dict[str, Any] = {
        **provenance(case),
        "ranks": [
            {
                **asdict(rank), "why": rank.why, "settings": settings[rank.name],
                "indices": {
                    one.name: {"value": number(one.value), "unit": one.unit}
                    for one in outcome.indices[rank.name]
                },
            }
            for rank in outcome.ranks
        ],
        "members": [
            {"name": one.name, "status": one.status, "reason": one.reason,
             "seconds": one.seconds, "settings": settings[one.name]}
            for one in outcome.states
        ],
        "rules": [asdict(one) for one in outcome.choice.rules],
        "criteria": [asdict(one) for one in outcome.choice.criteria],
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "ranking.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    with (out / "ranking.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(_rows(outcome))


def _rows(outcome: Outcome) -> Iterator[list[str]]:
    """Ranked members, then the others, with settings and all indices."""
    keys = list(dict.fromkeys(key for one in outcome.members for key in one.settings))
    units = {one.name: one.unit for found in outcome.indices.values() for one in found}
    yield ["place", "name", *keys, "status", "advised", "score",
           *(name if unit in ("1", "") else f"{name} [{unit}]" for name, unit in units.items()),
           "why"]  # fmt: skip
    settings = {one.name: one.settings for one in outcome.members}
    for rank in outcome.ranks:
        values = {one.name: one.value for one in outcome.indices[rank.name]}
        yield [
            str(rank.place), rank.name, *(str(settings[rank.name].get(key, "")) for key in keys),
            "finished", "yes" if rank.advised else "no", f"{rank.score:.3f}",
            *(_cell(values.get(name, math.nan)) for name in units), rank.why,
        ]  # fmt: skip
    for state in outcome.states:
        if state.status != "finished":
            own = settings[state.name]
            yield ["", state.name, *(str(own.get(key, "")) for key in keys), state.status, "", "",
                   *("" for _ in units), state.reason]  # fmt: skip


def provenance(case: RehearsalCase) -> dict[str, Any]:
    """What a record begins with."""
    return {
        "title": case.title, "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "case": case.model_dump(mode="json", exclude_none=True), "versions": versions(),
        "git_commit": git_commit(), "machine": machine(),
    }  # fmt: skip


def number(value: float) -> float | None:
    """As JSON knows it."""
    return value if math.isfinite(value) else None


def _cell(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""
