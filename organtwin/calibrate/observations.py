"""Observations: measured values with their errors, in organtwin's units."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from organtwin.calibrate.quantities import Quantity, known
from organtwin.errors import InputError, suggestion

type Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Observation:
    """A measured value.

    Attributes:
        name: Of the quantity, see `quantities.QUANTITIES`.
        value: In organtwin's unit of the quantity.
        standard_error: One standard deviation of the measurement, in the same unit, > 0.
        time: Time in the beat (ms) of a quantity that has a value at every time; else None.
        held_out: Whether it is kept from the calibration, to be predicted.
        source: File and row or field that it comes from.
    """

    name: str
    value: float
    standard_error: float
    time: float | None = None
    held_out: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        place = self.source or self.name
        quantity = known(self.name, place)
        if not math.isfinite(self.value):
            raise InputError(place, f"{self.name} = {self.value}.", "Give a finite value.")
        if not (math.isfinite(self.standard_error) and self.standard_error > 0):
            raise InputError(
                place,
                f"the standard error of {self.name} is {self.standard_error}.",
                "It must be > 0: nothing is measured exactly.",
            )
        if quantity.over_time != (self.time is not None):
            raise InputError(
                place,
                f"{self.name} {'needs a' if quantity.over_time else 'has no'} time.",
                'Give the time from the R wave, for example "120 ms".'
                if quantity.over_time
                else "Leave the time out.",
            )

    @property
    def quantity(self) -> Quantity:
        """What is measured."""
        return known(self.name, self.source)

    @property
    def key(self) -> str:
        """Its name, with the time if it has one: ``lv_volume@120ms``."""
        return self.name if self.time is None else f"{self.name}@{self.time:g}ms"


@dataclass(frozen=True)
class Observations:
    """Observations in a fixed order, none twice.

    Attributes:
        all: All of them, those held out too.
    """

    all: tuple[Observation, ...]

    def __post_init__(self) -> None:
        twice = [key for key, number in Counter(o.key for o in self.all).items() if number > 1]
        if twice:
            places = ", ".join(o.source for o in self.all if o.key == twice[0])
            raise InputError(
                "observations", f"`{twice[0]}` is given twice ({places}).", "Keep one of them."
            )

    @property
    def used(self) -> Observations:
        """Those that parameters are calibrated to."""
        return Observations(tuple(o for o in self.all if not o.held_out))

    @property
    def keys(self) -> tuple[str, ...]:
        """Their keys."""
        return tuple(o.key for o in self.all)

    @property
    def values(self) -> Vector:
        """Measured values, shape (n,)."""
        return np.array([o.value for o in self.all])

    @property
    def standard_errors(self) -> Vector:
        """Their standard errors, shape (n,)."""
        return np.array([o.standard_error for o in self.all])

    @property
    def is_used(self) -> NDArray[np.bool_]:
        """Whether each is calibrated to, shape (n,)."""
        return np.array([not o.held_out for o in self.all], dtype=np.bool_)

    def with_values(self, values: Vector) -> Observations:
        """The same observations with other values, shape (n,)."""
        return Observations(
            tuple(replace(o, value=float(v)) for o, v in zip(self.all, values, strict=True))
        )

    def holding_out(self, names: Sequence[str]) -> Observations:
        """The same, with those of the given keys, or of all times of a name, held out.

        Raises:
            InputError: there is none of a name.
        """
        present = {o.key for o in self.all} | {o.name for o in self.all}
        for name in names:
            if name not in present:
                raise InputError(
                    "[calibration.observations] hold_out",
                    f"no observation `{name}`.",
                    suggestion(name, present),
                )
        held = set(names)
        return Observations(
            tuple(replace(o, held_out=o.held_out or bool({o.key, o.name} & held)) for o in self.all)
        )


def together(sets: Iterable[Observations]) -> Observations:
    """One set of several.

    Raises:
        InputError: an observation is in two of them.
    """
    return Observations(tuple(o for one in sets for o in one.all))
