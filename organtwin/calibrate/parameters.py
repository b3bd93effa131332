"""Parameters to be found, with what is known of them before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from organtwin.errors import InputError

type Vector = NDArray[np.float64]
type Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Normal:
    """x = mean + deviation z.

    Attributes:
        mean, deviation: In the parameter's unit; the deviation is > 0.
    """

    mean: float
    deviation: float

    def __post_init__(self) -> None:
        _refuse_unless(self.deviation > 0, self, "The deviation must be > 0.")

    def value(self, z: Vector) -> Vector:
        """Value at a standard normal number."""
        return np.asarray(self.mean + self.deviation * z)

    def standard(self, value: Vector) -> Vector:
        """The inverse of `value`."""
        return np.asarray((value - self.mean) / self.deviation)


@dataclass(frozen=True)
class LogNormal:
    """x = median exp(spread z), which is never negative.

    Attributes:
        median: In the parameter's unit, > 0.
        spread: Standard deviation of ln x; 0.2 means about 20 %.
    """

    median: float
    spread: float

    def __post_init__(self) -> None:
        _refuse_unless(self.median > 0 and self.spread > 0, self, "Median and spread must be > 0.")

    def value(self, z: Vector) -> Vector:
        """Value at a standard normal number."""
        return np.asarray(self.median * np.exp(self.spread * z))

    def standard(self, value: Vector) -> Vector:
        """The inverse of `value`."""
        return np.asarray(np.log(value / self.median) / self.spread)


@dataclass(frozen=True)
class Uniform:
    """x = low + (high − low) Φ(z), with Φ the distribution of a standard normal number.

    Attributes:
        low, high: Bounds, in the parameter's unit; low < high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _refuse_unless(self.low < self.high, self, "The lower bound must be below the upper.")

    def value(self, z: Vector) -> Vector:
        """Value at a standard normal number."""
        return np.asarray(self.low + (self.high - self.low) * ndtr(z))

    def standard(self, value: Vector) -> Vector:
        """The inverse of `value`."""
        return np.asarray(ndtri((value - self.low) / (self.high - self.low)))


Prior = Normal | LogNormal | Uniform


@dataclass(frozen=True)
class Parameter:
    """A number of a model that measurements tell something about.

    Attributes:
        name: Dotted path, as in case files: ``circulation.systemic_resistance``.
        prior: What is known before; by it every parameter is a function of a standard normal z.
        unit: organtwin's unit.
        shown: Unit for people.
    """

    name: str
    prior: Prior
    unit: str
    shown: str


def values_of(parameters: Sequence[Parameter], z: Matrix) -> Matrix:
    """Values of members in standard normal coordinates, shapes (members, parameters)."""
    return np.stack([p.prior.value(z[:, k]) for k, p in enumerate(parameters)], axis=1)


def standard_of(parameters: Sequence[Parameter], values: Matrix) -> Matrix:
    """The inverse of `values_of`."""
    return np.stack([p.prior.standard(values[:, k]) for k, p in enumerate(parameters)], axis=1)


def draw(
    parameters: Sequence[Parameter],
    members: int,
    seed: int,
    place: str = "[calibration.smoother] members",
) -> Matrix:
    """Members of the prior in standard normal coordinates, shape (members, parameters).

    A Latin hypercube, moved and scaled to mean 0 and deviation 1 in each parameter and made
    uncorrelated, so that the ensemble's first two moments are exactly those of the prior.

    Args:
        parameters: What to draw.
        members: How many.
        seed: Of the random numbers.
        place: Setting that gave the number, for the message.

    Raises:
        InputError: fewer members than two more than there are parameters.
    """
    n = len(parameters)
    if members < n + 2:
        raise InputError(
            place,
            f"{members} members for {n} parameters.",
            f"At least {n + 2} are needed; a hundred or more give usable intervals.",
        )
    cube = qmc.LatinHypercube(n, rng=np.random.default_rng(seed)).random(members)
    z = ndtri(np.clip(cube, 1e-12, 1 - 1e-12))
    z -= z.mean(axis=0)
    factor = np.linalg.cholesky(np.atleast_2d(np.cov(z, rowvar=False)))
    return np.asarray(np.linalg.solve(factor, z.T).T)


def as_mapping(parameters: Sequence[Parameter], values: Vector) -> Mapping[str, float]:
    """Name → value of one member."""
    return {p.name: float(v) for p, v in zip(parameters, values, strict=True)}


def _refuse_unless(right: bool, prior: Prior, remedy: str) -> None:
    if not right:
        raise InputError("prior", f"{prior}.", remedy)
