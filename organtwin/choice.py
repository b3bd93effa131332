r"""Which plan to choose: hard rules first, then a weighted sum, each told in words.

A plan is known by its indices, the records of ``indices.json``. Rules are broken or not; a
plan that breaks one is not advised, whatever else it does. The others are ordered by

.. math:: s = \frac{\sum_k w_k p_k}{\sum_k w_k}, \qquad p_k = \max\left(0,
    \frac{x_k - g_k}{b_k - g_k}\right)

with the value x of each criterion, g where nothing more is to be gained, b where it is bad, and
weights w: 0 is the best, 1 is bad in everything. Rules, limits and weights are our choice, a start
for a discussion among planners; limits that are published are those of the indices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from organtwin.errors import InputError, suggestion

#: Part of the weighted sum by which two plans must differ to be told apart.
ALIKE = 0.005
#: Criteria that a rank is explained by.
TOLD = 4


@dataclass(frozen=True)
class IndexValue:
    """An index of a plan.

    Attributes:
        name: Its key.
        value: In its unit; NaN where it could not be computed.
        unit: Unit.
        low: Threshold that it should not be below, if any.
        high: Threshold that it should not exceed, if any.
    """

    name: str
    value: float
    unit: str = "1"
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Rule:
    """What a plan must not do.

    It looks only at indices that have a threshold, so that one which is meant for another family of
    devices does not count.

    Attributes:
        name: Short name, for the case file.
        index: Key of the index, ``*`` for any part of it; each of several counts.
        words: What is wrong where it is broken above: ``{value}``, ``{limit}``, and ``{part}`` for
            what ``*`` stands for.
        words_low: The same where it is broken below.
        low, high: Limits in place of the index's own.
        parts: What ``*`` stands for in all indices that it must look at; one that is missing was
            not judged. Without them any index will do.
    """

    name: str
    index: str
    words: str = ""
    words_low: str = ""
    low: float | None = None
    high: float | None = None
    parts: tuple[str, ...] = ()

    def missing(self, found: Sequence[IndexValue]) -> tuple[str, ...]:
        """What of it can't be judged: its name, or ``name (part)``."""
        known = {_part(self.index, one.name) for one in _known(self.index, found)}
        if not known:
            return (self.name,)
        return tuple(f"{self.name} ({part})" for part in self.parts if part not in known)

    def broken(self, one: IndexValue) -> str:
        """What an index breaks, in words; empty if nothing."""
        low = one.low if one.low is None or self.low is None else self.low
        high = one.high if one.high is None or self.high is None else self.high
        if low is not None and one.value < low:
            words, limit = self.words_low or self.words, low
        elif high is not None and one.value > high:
            words, limit = self.words or self.words_low, high
        else:
            return ""
        return words.format(
            value=shown(one.value, one.unit), limit=shown(limit, one.unit),
            part=_part(self.index, one.name),
        )  # fmt: skip


@dataclass(frozen=True)
class Criterion:
    """What is better or worse about a plan.

    Attributes:
        name: Short name, for the case file.
        index: As in `Rule`; the worst of several counts.
        weight: Weight w.
        good: Value g from which on nothing is gained.
        bad: Value b that is bad; larger than g where less is better. None takes the threshold of
            the index, which may be another for each family of devices.
        words: What it is: ``{value}`` with its unit, ``{percent}`` the value as per cent, and
            ``{grade}``.
        grades: Words from a value on, the least first.
    """

    name: str
    index: str
    weight: float
    good: float
    bad: float | None
    words: str
    grades: tuple[tuple[float, str], ...] = ()

    def penalty(self, one: IndexValue) -> float:
        """The p of an index; 1 where it is not known, as if it were bad."""
        return max(0.0, self._way(one))

    def _way(self, one: IndexValue) -> float:
        """Where an index is between good, 0, and bad, 1; also beyond both."""
        bad = self.bad
        if bad is None:
            bad = one.high if one.high is not None else one.low
        if math.isnan(one.value) or bad is None or bad == self.good:
            return 1.0
        return (one.value - self.good) / (bad - self.good)

    def worst(self, found: Sequence[IndexValue]) -> IndexValue:
        """The index that costs most of those that it looks at; NaN if there is none."""
        known = _known(self.index, found)
        return max(known, key=self._way) if known else IndexValue(self.index, math.nan)

    def told(self, one: IndexValue) -> str:
        """An index in words."""
        if math.isnan(one.value):
            return f"{self.name} not known"
        grade = ""
        for start, word in self.grades:
            grade = word if one.value >= start else grade
        percent = f"{100.0 * one.value:.0f} %"
        return self.words.format(value=shown(one.value, one.unit), grade=grade, percent=percent)


@dataclass(frozen=True)
class Rank:
    """Where a plan stands, and why.

    Attributes:
        place: From 1 on; those that are not advised come last.
        name: Of the plan.
        advised: Whether it breaks no rule.
        score: s, 0 is the best.
        broken: Rules that it breaks, in words.
        reasons: Each criterion in words, what costs most first.
        shares: Criterion → its part of the score.
        behind: What sets it behind the one before it.
        unknown: Rules, ``rule (part)`` and criteria whose index is not there.
    """

    place: int
    name: str
    advised: bool
    score: float
    broken: tuple[str, ...]
    reasons: tuple[str, ...]
    shares: Mapping[str, float]
    behind: str
    unknown: tuple[str, ...]

    @property
    def why(self) -> str:
        """What counts most of it, in a sentence or two."""
        first = "" if self.advised else f"Not advised: {'; '.join(self.broken)}. "
        text = "; ".join(self.reasons[:TOLD])
        left = f"Not judged: {', '.join(self.unknown)}." if self.unknown else ""
        parts = (f"{first}{text[:1].upper()}{text[1:]}.", self.behind, left)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Choice:
    """Rules and criteria by which plans are ranked."""

    rules: tuple[Rule, ...]
    criteria: tuple[Criterion, ...]

    def adjusted(
        self,
        weights: Mapping[str, float],
        limits: Mapping[str, Sequence[float]],
        without: Sequence[str] = (),
        place: str = "[choice]",
    ) -> Choice:
        """With other weights and limits.

        Args:
            weights: Criterion → weight; 0 leaves it out.
            limits: Criterion → good and bad value.
            without: Rules to leave out.
            place: Of these in the case file, for messages.

        Raises:
            InputError: a name is unknown, a weight negative, or both limits are the same.
        """
        own = {one.name: one for one in self.criteria}
        rules = {one.name: one for one in self.rules}
        for key, names, known in (
            ("weights", weights, own), ("limits", limits, own), ("without_rules", without, rules),
        ):  # fmt: skip
            for name in names:
                if name not in known:
                    raise InputError(f"{place} {key}", f"no `{name}`.", suggestion(name, known))
        for name, weight in weights.items():
            if not weight >= 0.0:
                raise InputError(f"{place} weights.{name}", f"{weight:g}.", "Write 0 or more.")
            own[name] = replace(own[name], weight=weight)
        for name, pair in limits.items():
            if len(pair) != 2 or pair[0] == pair[1]:
                raise InputError(
                    f"{place} limits.{name}", f"{list(pair)}.",
                    "Write the good and the bad value, which differ.",
                )  # fmt: skip
            own[name] = replace(own[name], good=float(pair[0]), bad=float(pair[1]))
        if not any(one.weight > 0.0 for one in own.values()):
            raise InputError(f"{place} weights", "all are zero.", "Leave one positive.")
        kept = tuple(one for one in self.rules if one.name not in without)
        return Choice(kept, tuple(one for one in own.values() if one.weight > 0.0))

    def ranked(self, plans: Mapping[str, Sequence[IndexValue]]) -> tuple[Rank, ...]:
        """Plans from the best to the worst.

        A criterion whose index none of them has is left out; where only some lack it, it counts as
        bad for these.

        Args:
            plans: Name → indices.
        """
        known = Choice(self.rules, tuple(
            one for one in self.criteria
            if any(_known(one.index, found) for found in plans.values())
        ))  # fmt: skip
        left = tuple(one.name for one in self.criteria if one not in known.criteria)
        looks = [known._look(name, found, left) for name, found in plans.items()]
        looks.sort(key=lambda one: (not one.advised, len(one.broken), round(one.score, 9)))
        ranks: list[Rank] = []
        for place, one in enumerate(looks, start=1):
            behind = self._behind(one, ranks[-1]) if ranks else ""
            ranks.append(replace(one, place=place, behind=behind))
        return tuple(ranks)

    def _look(self, name: str, found: Sequence[IndexValue], left: tuple[str, ...]) -> Rank:
        broken: list[str] = []
        unknown: list[str] = []
        for rule in self.rules:
            unknown += rule.missing(found)
            broken += [text for text in map(rule.broken, _known(rule.index, found)) if text]
        total = sum(one.weight for one in self.criteria)
        parts: list[tuple[float, str, str]] = []
        for criterion in self.criteria:
            worst = criterion.worst(found)
            if math.isnan(worst.value):
                unknown.append(criterion.name)
            part = criterion.weight * criterion.penalty(worst) / total
            parts.append((part, criterion.name, criterion.told(worst)))
        reasons = tuple(text for _, _, text in sorted(parts, key=lambda one: -one[0]))
        shares = {criterion: part for part, criterion, _ in parts}
        return Rank(0, name, not broken, sum(shares.values()), tuple(broken), reasons, shares, "",
                    tuple(dict.fromkeys((*unknown, *left))))  # fmt: skip

    def _behind(self, one: Rank, before: Rank) -> str:
        """What sets one behind the other."""
        if before.advised and not one.advised:
            return ""
        if len(one.broken) > len(before.broken):
            return f"It breaks more rules than {before.name}."
        if one.score - before.score < ALIKE:
            return f"As good as {before.name} by these criteria."
        most = max(one.shares, key=lambda name: one.shares[name] - before.shares[name])
        return f"Behind {before.name} by {most} above all."


def found_in(records: Sequence[Mapping[str, Any]]) -> tuple[IndexValue, ...]:
    """Indices from the records of ``indices.json``.

    Raises:
        InputError: a record has no name or value.
    """
    found = []
    for record in records:
        try:
            value, threshold = record["value"], record.get("threshold")
            low, high = _limits(threshold)
            number = math.nan if value is None or isinstance(value, str) else float(value)
            found.append(
                IndexValue(str(record["name"]), number, str(record.get("unit", "1")), low, high)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "indices.json", f"a record can't be read ({error!r}).", "Compute it anew."
            ) from None
    return tuple(found)


def shown(value: float, unit: str) -> str:
    """A number with its unit as people write it; shares as per cent."""
    if math.isnan(value):
        return "–"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if abs(value) > 1e-12 else 0
    text = f"{value:.{min(digits, 4)}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    text = text.replace("-", "−")
    return text if unit in ("1", "") else f"{text} {unit}"


def _limits(threshold: Any) -> tuple[float | None, float | None]:
    if threshold is None:
        return None, None
    if isinstance(threshold, Mapping):
        low, high = threshold.get("low"), threshold.get("high")
    else:
        low, high = threshold
    return (None if low is None else float(low)), (None if high is None else float(high))


def _known(pattern: str, found: Sequence[IndexValue]) -> list[IndexValue]:
    """Indices that a pattern means and whose value is known."""
    return [one for one in found if fnmatchcase(one.name, pattern) and not math.isnan(one.value)]


def _part(pattern: str, name: str) -> str:
    """What ``*`` stands for in a name: ``right``."""
    before, _, after = pattern.partition("*")
    return name.removeprefix(before).removesuffix(after).replace("_", " ")
