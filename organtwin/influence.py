"""How far each uncertain setting moves each index of a plan, and all of them together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from organtwin.choice import IndexValue

#: Part of an index by which solvers leave it unsure.
ROUNDING = 1e-5
#: How the names of indices end that are parts of a whole, and the whole in their units.
PARTS, WHOLE = ("_share", "_fraction"), {"1": 1.0, "%": 100.0}


@dataclass(frozen=True)
class Trial:
    """A plan with one setting changed.

    Attributes:
        factor: What was changed: ``depth``.
        change: How, in words: ``5 mm``.
        indices: Its indices; None if it failed or was not computed yet.
        mirrored: Whether, if it is its factor's only one, the opposite change is taken to do the
            opposite: of a number, not of a law or of something that is on or off.
    """

    factor: str
    change: str
    indices: tuple[IndexValue, ...] | None
    mirrored: bool = True


@dataclass(frozen=True)
class Influence:
    """What a factor does to an index.

    Attributes:
        factor: What was changed.
        below, above: How far it moves the index down and up (its unit), both 0 or more.
        share: Of the squared excursions of all factors, 0 to 1.
        values: Change → value of the index; NaN where the run is missing.
    """

    factor: str
    below: float
    above: float
    share: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Interval:
    r"""An index with its interval.

    .. math::
        x^+ = x + \sqrt{\sum_j \max_r (x_{jr} - x)_+^2}, \qquad
        x^- = x - \sqrt{\sum_j \max_r (x - x_{jr})_+^2}

    over the runs r of each factor j, one at a time. Of an index that answers all factors evenly to
    both sides it is the value ± the root sum of squares of the half-ranges. Our choice: factors are
    taken as independent and their effects as additive, and each change as equally likely. An index
    that no run takes past zero has no interval past it, and a part of a whole none beyond that.

    Attributes:
        index: The index of the unchanged plan.
        low, high: Ends of its interval.
        by: Influences, the largest first.
        missing: Factors of which a run is missing: the interval does not know of these.
        turns: Changes that take the index over its threshold or back.
    """

    index: IndexValue
    low: float
    high: float
    by: tuple[Influence, ...]
    missing: tuple[str, ...]
    turns: tuple[str, ...]

    @property
    def largest(self) -> str:
        """The factor that moves it most; empty if none does."""
        return self.by[0].factor if self.by and self.by[0].share > 0.0 else ""

    @property
    def sure(self) -> bool:
        """Whether the whole interval lies on one side of each threshold."""
        limits = (self.index.low, self.index.high)
        return all(limit is None or not self.low < limit < self.high for limit in limits)


def intervals(base: Sequence[IndexValue], trials: Sequence[Trial]) -> tuple[Interval, ...]:
    """Intervals of all indices whose value is known.

    A factor with a single run, of a number, is taken to move the index as far to the other side.

    Args:
        base: Indices of the unchanged plan.
        trials: Deployments with one setting changed each.
    """
    known = [one for one in base if math.isfinite(one.value)]
    return tuple(_interval(one, trials) for one in known)


def _interval(index: IndexValue, trials: Sequence[Trial]) -> Interval:
    factors = list(dict.fromkeys(trial.factor for trial in trials))
    parts: dict[str, tuple[float, float, dict[str, float]]] = {}
    missing: list[str] = []
    for factor in factors:
        own = [trial for trial in trials if trial.factor == factor]
        values = {trial.change: _value(index.name, trial) for trial in own}
        seen = [_excursion(one, index.value) for one in values.values() if math.isfinite(one)]
        if len(seen) < len(own):
            missing.append(factor)
        if len(own) == 1 and own[0].mirrored:
            seen += [-one for one in seen]
        parts[factor] = (
            max((-one for one in seen if one < 0.0), default=0.0),
            max((one for one in seen if one > 0.0), default=0.0),
            values,
        )
    squares = {name: below**2 + above**2 for name, (below, above, _) in parts.items()}
    total = sum(squares.values())
    by = [
        Influence(name, below, above, squares[name] / total if total > 0.0 else 0.0, values)
        for name, (below, above, values) in parts.items()
    ]
    by.sort(key=lambda one: -one.share)
    low = index.value - math.sqrt(sum(one.below**2 for one in by))
    high = index.value + math.sqrt(sum(one.above**2 for one in by))
    seen = [index.value, *(x for one in by for x in one.values.values() if math.isfinite(x))]
    low = max(low, 0.0) if min(seen) >= 0.0 else low
    high = min(high, 0.0) if max(seen) <= 0.0 else high
    if index.name.endswith(PARTS):
        high = min(high, WHOLE.get(index.unit, math.inf))
    return Interval(index, low, high, tuple(by), tuple(missing), tuple(_turns(index, trials)))


def _excursion(value: float, base: float) -> float:
    """How far a run moves an index; 0 for what is rounding."""
    moved = value - base
    return moved if abs(moved) > ROUNDING * abs(base) else 0.0


def _value(name: str, trial: Trial) -> float:
    for one in trial.indices or ():
        if one.name == name:
            return one.value
    return math.nan


def _turns(index: IndexValue, trials: Sequence[Trial]) -> list[str]:
    """Changes by which the index gets to the other side of a threshold."""
    found = []
    for trial in trials:
        value = _value(index.name, trial)
        if math.isfinite(value) and _within(index, value) != _within(index, index.value):
            found.append(f"{trial.factor} {trial.change}")
    return found


def _within(index: IndexValue, value: float) -> bool:
    above = index.low is None or value >= index.low
    return above and (index.high is None or value <= index.high)
