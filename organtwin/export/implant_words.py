"""Indices of an implant in a bone in words: groups, names, and a verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from organtwin.errors import InputError
from organtwin.export.tavr_words import shown_value, threshold_in_words
from organtwin.index import Index, require_groups
from organtwin.orthopaedics.index_groups import GROUPS

#: Groups in words, with what they ask.
HEADINGS = {
    "place": "Place: is the joint where it was",
    "micromotion": "Micromotion: does bone grow in",
    "gap": "Fracture gap: does it heal",
    "shielding": "Stress shielding: what the bone loses",
    "bone": "Bone: does it yield",
    "implant": "Implant: does it hold",
    "screw": "Screws: are they pulled out",
    "joint": "Joint: does its surface stay",
}
_ENDINGS = {
    "_999": ", 99.9 %", "_95": ", 95 %", "_99": ", 99 %", "_50": ", median", "_max": ", largest",
    "_mean": ", mean",
}  # fmt: skip


def read_implant_indices(folder: Path) -> list[Index]:
    """Indices of a result directory; none where it was not judged.

    Raises:
        InputError: ``indices.json`` is damaged.
    """
    file = folder / "indices.json"
    if not file.is_file():
        return []
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
        found = [Index.from_record(one) for one in records]
        require_groups(found, GROUPS)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(str(file), f"can't be read ({error}).", "Judge it again.") from None
    return found


def in_words(key: str) -> str:
    """Name of an index: ``walking_micromotion_95`` → "Walking micromotion, 95 %"."""
    for end, words in _ENDINGS.items():
        if key.endswith(end):
            return key.removesuffix(end).replace("_", " ").capitalize() + words
    return key.replace("_", " ").capitalize()


def by_group(indices: Sequence[Index]) -> dict[str, list[Index]]:
    """Indices under the headings of their groups, in the order of a report."""
    found = {HEADINGS[group]: [one for one in indices if one.group == group] for group in GROUPS}
    return {heading: rows for heading, rows in found.items() if rows}


def verdict_in_words(indices: Sequence[Index], name: str) -> str:
    """What the indices say, in a sentence or two: the worst of each group."""
    judged = [one for one in indices if one.verdict != "none"]
    outside = [one for one in judged if one.concerns]
    if not judged:
        return f"{name}: nothing was judged."
    if not outside:
        return f"{name}: all {len(judged)} indices that have a threshold lie within it."
    worst: dict[str, Index] = {}
    for one in outside:
        if one.group not in worst or excess(one) > excess(worst[one.group]):
            worst[one.group] = one
    told = "; ".join(
        f"{in_words(one.name)} {shown_value(one)} ({threshold_in_words(one)})"
        for one in worst.values()
    )
    return (
        f"{name}: {len(outside)} of {len(judged)} indices that have a threshold raise concern. "
        f"The farthest off of each group: {told}."
    )


def excess(one: Index) -> float:
    """How far an index lies outside of its threshold, per the threshold's size."""
    low, high = one.threshold
    limit = low if one.verdict == "below" else high
    return 0.0 if limit is None else abs(one.value - limit) / max(abs(limit), 0.1)
