"""Indices in words, as reports tell them: values, thresholds, tables and a verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from organtwin.errors import InputError
from organtwin.index import Index, require_groups

#: Sources up to this length stand in a table, the others below it.
PLAIN = 12
_UNITS = {"degree": "°"}


def number(value: float) -> str:
    """Three digits that mean something; never in powers of ten where it can be helped."""
    size = abs(value)
    if size >= 100.0 or value == 0.0:
        text = f"{value:.0f}"
    elif size >= 10.0:
        text = f"{value:.1f}"
    elif size >= 0.01:
        text = f"{value:.2f}"
    else:
        text = f"{value:.2g}"
    return text.replace("-", "−")


def shown_value(one: Index) -> str:
    """Value with its unit as people write it."""
    return number(one.value) + _unit(one)


def threshold_in_words(one: Index) -> str:
    """Threshold: "up to 30 mL", "at least 4 mm", "0.8 to 1.1"; empty without one."""
    low, high = one.threshold
    if low is not None and high is not None:
        return f"{low:g} to {high:g}{_unit(one)}"
    if low is not None:
        return f"at least {low:g}{_unit(one)}"
    return f"up to {high:g}{_unit(one)}" if high is not None else ""


def _unit(one: Index) -> str:
    return "" if one.unit in ("1", "", "grade") else f"\u202f{_UNITS.get(one.unit, one.unit)}"


@dataclass(frozen=True)
class Wording:
    """How the indices of one kind of operation are told.

    Attributes:
        headings: Group → what it asks, in the order of a report.
        named: Name of an index from its key.
        shown: Its value with the unit.
        limits: Its threshold.
    """

    headings: Mapping[str, str]
    named: Callable[[str], str]
    shown: Callable[[Index], str] = shown_value
    limits: Callable[[Index], str] = threshold_in_words


def read_indices(folder: Path, wording: Wording) -> list[Index]:
    """Indices of a result directory; none where it was not judged.

    Raises:
        InputError: ``indices.json`` is damaged, or has indices of another kind of operation.
    """
    file = folder / "indices.json"
    if not file.is_file():
        return []
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
        found = [Index.from_record(one) for one in records]
        require_groups(found, tuple(wording.headings))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(str(file), f"can't be read ({error}).", "Judge it again.") from None
    return found


def by_group(indices: Sequence[Index], wording: Wording) -> dict[str, list[Index]]:
    """Indices under the headings of their groups, in the order of a report."""
    found = {
        heading: [one for one in indices if one.group == group]
        for group, heading in wording.headings.items()
    }
    return {heading: rows for heading, rows in found.items() if rows}


def table_of(indices: Sequence[Index], wording: Wording) -> dict[str, Any]:
    """What ``indices.html`` shows: rows by heading, and the long sources, numbered from 1 on."""
    sources = list(dict.fromkeys(one.source for one in indices if len(one.source) > PLAIN))
    return {
        "groups": {
            heading: [_row(one, wording, sources) for one in rows]
            for heading, rows in by_group(indices, wording).items()
        },
        "sources": sources,
    }


def _row(one: Index, wording: Wording, sources: Sequence[str]) -> dict[str, Any]:
    return {
        "key": one.name, "name": wording.named(one.name), "value": wording.shown(one),
        "threshold": wording.limits(one), "verdict": one.verdict, "formula": one.formula,
        "source": one.source,
        "number": sources.index(one.source) + 1 if one.source in sources else 0,
    }  # fmt: skip


def verdict_in_words(indices: Sequence[Index], subject: str, wording: Wording) -> str:
    """What the indices say about a valve or an implant, in a sentence: the worst of each group."""
    judged = [one for one in indices if one.verdict != "none"]
    outside = [one for one in judged if one.concerns]
    if not judged:
        return f"{subject}: nothing was judged."
    if not outside:
        return f"{subject}: all {len(judged)} indices that have a threshold lie within it."
    worst: dict[str, Index] = {}
    for one in outside:
        if one.group not in worst or excess(one) > excess(worst[one.group]):
            worst[one.group] = one
    told = "; ".join(
        f"{_small(wording.named(one.name))} {wording.shown(one)} ({wording.limits(one)})"
        for one in worst.values()
    )
    most = "Most by group" if len(outside) > len(worst) else "Namely"
    return (
        f"{subject}: {len(outside)} of {len(judged)} indices that have a threshold raise concern. "
        f"{most}: {told}."
    )


def excess(one: Index) -> float:
    """How far an index lies outside of its threshold, per the threshold's size."""
    low, high = one.threshold
    limit = low if one.verdict == "below" else high
    return 0.0 if limit is None else abs(one.value - limit) / max(abs(limit), 0.1)


def _small(words: str) -> str:
    """With a small first letter."""
    return words[:1].lower() + words[1:]
