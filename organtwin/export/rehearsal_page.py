"""The page of a rehearsal, one HTML file made from the files of its result directory."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from organtwin.choice import shown
from organtwin.errors import InputError
from organtwin.export.atomic import write_text
from organtwin.export.pages import Picture, embedded, read_json, templates
from organtwin.export.rehearsal_pictures import (
    draw_boundary,
    draw_ranking,
    draw_tornado,
    interval,
)

logger = logging.getLogger(__name__)

#: Indices that boundary conditions are known to move, whether plans are ranked by them or not.
STIFFNESS = "*stiffness"
#: Change (%) that is rounding.
ROUNDED = 1e-3
#: Page that lets one turn the deployed valves, and how many of the best are on it.
COMPARISON, COMPARED = "comparison.html", 6


def write_rehearsal_page(folder: Path) -> Path:
    """Draw pictures and write ``rehearsal.html`` from ``ranking.json`` and ``sensitivity.json``.

    Raises:
        InputError: there is no ranking.
    """
    ranking = read_json(folder / "ranking.json")
    if not ranking:
        raise InputError(str(folder / "ranking.json"), "no ranking.", "Run the rehearsal first.")
    sensitivity = read_json(folder / "sensitivity.json")
    for one in sensitivity.get("indices", []):
        one["interval"] = interval(one)
    columns, rows = _table(ranking)
    bounds = boundary_changes(ranking, sensitivity)
    compared = _compare(folder, ranking)
    environment = templates()
    html = environment.get_template("rehearsal.html").render(
        ranking=ranking,
        sensitivity=sensitivity,
        pictures=list(_pictures(folder, ranking, sensitivity, bounds)),
        bounds=bounds,
        columns=columns,
        rows=rows,
        unknown=sorted({name for rank in ranking["ranks"] for name in rank["unknown"]}),
        verdict=verdict(ranking, sensitivity),
        comparison=COMPARISON if compared else "",
    )
    path = folder / "rehearsal.html"
    write_text(path, html)
    return path


def _compare(folder: Path, ranking: Mapping[str, Any]) -> bool:
    """Write the page on which the best deployments are turned, if their records are there."""
    from organtwin.export.tavr_comparison import write_comparison

    names = [rank["name"] for rank in ranking["ranks"][:COMPARED]]
    members = {name: folder / "members" / name for name in names}
    there = {name: one for name, one in members.items() if (one / "deployed.npz").is_file()}
    if not there:
        return False
    try:
        write_comparison(there, folder / COMPARISON, title=str(ranking["title"]))
    except InputError as error:
        logger.warning("No comparison: %s", error)
        return False
    return True


def verdict(ranking: Mapping[str, Any], sensitivity: Mapping[str, Any]) -> str:
    """What a rehearsal has found, in a few sentences."""
    ranks, members = ranking["ranks"], ranking["members"]
    done, failed = (
        sum(one["status"] == state for one in members) for state in ("finished", "failed")
    )
    also = f", {failed} failed" if failed else ""
    parts = [f"{done} of {len(members)} plans are finished{also}."]
    if ranks and ranks[0]["advised"]:
        parts.append(f"First is {ranks[0]['name']}: {_lowered(ranks[0]['why'])}")
    elif ranks:
        parts.append(f"None can be advised; {ranks[0]['name']} comes nearest.")
    rules = {one["name"] for one in ranking["rules"]}
    unjudged = (
        [name for name in ranks[0]["unknown"] if name.partition(" (")[0] in rules] if ranks else []
    )
    if unjudged:
        parts.append(f"Rules that {ranks[0]['name']} was not judged by: {', '.join(unjudged)}.")
    bounds = boundary_changes(ranking, sensitivity)
    if bounds:
        most = bounds[0]
        parts.append(
            f"Boundary conditions alone move {most['words']} of {sensitivity['of']} by "
            f"{_percent(max(most['changes'].values(), key=abs))}."
        )
    refused = sum(not rank["advised"] for rank in ranks)
    if refused and ranks[0]["advised"]:
        parts.append(f"{refused} {'is' if refused == 1 else 'are'} not advised.")
    unsure = [one["name"].replace("_", " ") for one in sensitivity.get("indices", [])
              if not one["sure"]]  # fmt: skip
    if unsure:
        parts.append(
            f"Of {sensitivity['of']} the intervals of {', '.join(unsure)} lie across a threshold."
        )
    return " ".join(parts)


def boundary_changes(
    ranking: Mapping[str, Any], sensitivity: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What other boundary conditions do to the indices by which plans are ranked, and to stiffness.

    Args:
        ranking: As in ``ranking.json``.
        sensitivity: As in ``sensitivity.json``.

    Returns:
        For each index that one of them moves, the most moved first: ``words`` and ``unit``, its
        ``value``, ``cells`` by change in words, ``changes`` (%) likewise, and ``others``, how far
        all other factors together move it down and up (%). Empty without such factors.
    """
    first = sensitivity.get("boundary", [])
    patterns = [one["index"] for one in (*ranking["criteria"], *ranking["rules"])]
    patterns.append(STIFFNESS)
    found = []
    for one in sensitivity.get("indices", []):
        value = one["value"]
        if not value or not any(fnmatchcase(one["name"], pattern) for pattern in patterns):
            continue
        values = {
            f"{by['factor']}: {change}": x
            for by in one["by"] if by["factor"] in first
            for change, x in by["values"].items() if x is not None
        }  # fmt: skip
        changes = {name: 100.0 * (x - value) / abs(value) for name, x in values.items()}
        if not any(abs(change) > ROUNDED for change in changes.values()):
            continue
        others = [
            100.0 / abs(value) * math.hypot(*(
                by[side] for by in one["by"] if by["factor"] not in first
            ))
            for side in ("below", "above")
        ]  # fmt: skip
        found.append({
            "words": one["name"].replace("_", " "), "unit": one["unit"],
            "value": shown(value, one["unit"]), "changes": changes, "others": others,
            "cells": {
                name: f"{shown(x, '1')} ({_percent(changes[name])})" for name, x in values.items()
            },
        })  # fmt: skip
    return sorted(found, key=lambda one: -max(abs(x) for x in one["changes"].values()))


def _percent(change: float) -> str:
    """A change in words: ``+12 %``."""
    digits = 0 if abs(change) >= 9.95 else 1
    return f"{change:+.{digits}f} %".replace("-", "−")


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _table(ranking: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """Indices that rules and criteria look at, plan by plan."""
    patterns = [one["index"] for one in (*ranking["criteria"], *ranking["rules"])]
    known = list(dict.fromkeys(name for rank in ranking["ranks"] for name in rank["indices"]))
    columns = [name for name in known if any(fnmatchcase(name, one) for one in patterns)]
    rows = [
        {"name": rank["name"], "cells": [_cell(rank["indices"].get(name)) for name in columns]}
        for rank in ranking["ranks"]
    ]
    return columns, rows


def _cell(one: Mapping[str, Any] | None) -> str:
    return "–" if one is None or one["value"] is None else shown(one["value"], one["unit"])


def _pictures(
    folder: Path, ranking: Mapping[str, Any], sensitivity: Mapping[str, Any],
    bounds: list[dict[str, Any]],
) -> Iterator[Picture]:  # fmt: skip
    if bounds:
        path = draw_boundary(bounds, folder / "pictures" / "boundary.png")
        caption = (
            "Points show what each boundary condition does to an index, bars what all other "
            "factors do together."
        )
        yield Picture(path.name, "Boundary conditions", caption, embedded(path))
    if ranking["ranks"]:
        path = draw_ranking(ranking["ranks"], folder / "pictures" / "ranking.png")
        caption = "The score of each plan, and what of it each criterion brings."
        yield Picture(path.name, "Ranks", caption, embedded(path))
    if any(one["largest"] for one in sensitivity.get("indices", [])):
        path = folder / "pictures" / "tornado.png"
        draw_tornado(_first(ranking, sensitivity), path, f"What moves the indices of "
                     f"{sensitivity['of']}")  # fmt: skip
        caption = (
            "Bars show how far each factor moves an index, the largest first; grey is the interval "
            "of all together, dashed the threshold."
        )
        yield Picture(path.name, "Sensitivity", caption, embedded(path))


def _first(ranking: Mapping[str, Any], sensitivity: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Intervals, first of those indices by which plans are ranked."""
    patterns = [one["index"] for one in ranking["criteria"]]
    indices = list(sensitivity["indices"])
    ranked = [one for one in indices if any(fnmatchcase(one["name"], p) for p in patterns)]
    return [*ranked, *(one for one in indices if one not in ranked)]
