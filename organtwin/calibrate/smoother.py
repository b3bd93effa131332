"""Ensemble smoother with multiple data assimilation: from a prior to a posterior ensemble."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from organtwin.calibrate.members import Runner
from organtwin.calibrate.observations import Observations
from organtwin.calibrate.parameters import draw, values_of
from organtwin.errors import InputError, SolverError

type Matrix = NDArray[np.float64]

#: Share of the members that may be lost in one round before there is nothing to learn from it.
_MOST_LOST = 0.3
#: How often members that failed are drawn again.
_MOST_DRAWS = 8


@dataclass(frozen=True)
class Smoother:
    """How an ensemble is calibrated.

    Attributes:
        members: Size of the ensemble.
        inflation: Factors α of the observations' variances, one for each assimilation; Σ 1/α = 1.
        seed: Of all random numbers.
    """

    members: int = 200
    inflation: tuple[float, ...] = (4.0, 4.0, 4.0, 4.0)
    seed: int = 1

    def __post_init__(self) -> None:
        total = sum(1.0 / alpha for alpha in self.inflation)
        if not self.inflation or abs(total - 1.0) > 1e-6:
            raise InputError(
                "[calibration.smoother] inflation",
                f"the inverses of {list(self.inflation)} sum to {total:.4g}.",
                "They must sum to 1, or the measurements count more or less than once.",
            )


@dataclass(frozen=True)
class Redrawn:
    """A member that failed for good and was replaced.

    Attributes:
        round: Which time the ensemble was run.
        member: Which member.
    """

    round: int
    member: int


@dataclass(frozen=True)
class Course:
    """Ensembles from the prior to the posterior, in standard normal coordinates.

    Attributes:
        ensembles: Before each assimilation and at the end, each (members, parameters).
        predictions: Of each of them, (members, all observations).
        redrawn: Members that were replaced.
    """

    ensembles: list[Matrix] = field(default_factory=list)
    predictions: list[Matrix] = field(default_factory=list)
    redrawn: list[Redrawn] = field(default_factory=list)


def assimilate(
    runner: Runner,
    observations: Observations,
    smoother: Smoother,
    *,
    start: Matrix | None = None,
    changes: Sequence[bool] | None = None,
) -> Course:
    """Condition an ensemble on the observations that are not held out.

        z_j ← z_j + C_zd (C_dd + α C_e)⁻¹ (d + √α e_j − g(z_j)),    e_j ~ N(0, C_e),

    once for each α, with the ensemble's covariances C_zd, C_dd. For a linear model and a normal
    prior the mean and the covariance tend to the exact ones as the ensemble grows. Measurement
    errors are taken as independent. A member that failed for good is replaced by one drawn from
    the normal distribution of those that did not.

    Args:
        runner: Runs members; its model predicts all observations, in their order.
        observations: Measured values; those held out are predicted only.
        smoother: Size, inflation, seed.
        start: Ensemble to begin from, (members, parameters); by default the prior.
        changes: Whether each parameter may change; all by default.

    Raises:
        SolverError: too many members failed.
        InputError: nothing is measured.

    Source:
        Emerick & Reynolds (2013), Comput. Geosci. 55:3–15; computed by the package dageo.
    """
    used = observations.is_used
    if not used.any():
        raise InputError("observations", "all are held out.", "Keep some to calibrate to.")
    from dageo import esmda

    errors = observations.standard_errors[used]
    course = Course()
    z = draw(runner.parameters, smoother.members, smoother.seed) if start is None else start
    forward = _forward(runner, course, smoother.seed)
    gates = None if changes is None else np.outer(changes, np.ones(used.sum()))
    with redirect_stdout(io.StringIO()):  # it prints each step
        # In units of their errors all observations have a say in the inverse, whatever their units.
        esmda(
            z, lambda members: forward(members)[:, used] / errors,
            observations.values[used] / errors, np.ones(len(errors)),
            alphas=np.asarray(smoother.inflation), localization_matrix=gates,
            random=np.random.default_rng([smoother.seed, 1]),
        )  # fmt: skip
    return course


def _forward(runner: Runner, course: Course, seed: int) -> Callable[[Matrix], Matrix]:
    """The model of whole ensembles; replaces members that failed in place, as esmda goes on."""

    def forward(z: Matrix) -> Matrix:
        predicted = runner.run(values_of(runner.parameters, z))
        number = len(course.ensembles)
        rng = np.random.default_rng([seed, 2, number])
        for _ in range(_MOST_DRAWS):
            lost = _lost(predicted)
            if not lost.any():
                break
            _refuse_too_many(lost, number, runner)
            z[lost] = _drawn_like(z[~lost], int(lost.sum()), rng)
            course.redrawn.extend(Redrawn(number, int(k)) for k in np.flatnonzero(lost))
            again = runner.run(values_of(runner.parameters, z[lost]))
            predicted[lost] = again if again.shape[1] else np.nan
        _refuse_any(_lost(predicted), number)
        course.ensembles.append(z.copy())
        course.predictions.append(predicted)
        return predicted

    return forward


def _lost(predicted: Matrix) -> NDArray[np.bool_]:
    return ~np.isfinite(predicted).all(axis=1) | (predicted.shape[1] == 0)


def _refuse_any(lost: NDArray[np.bool_], number: int) -> None:
    if lost.any():
        raise SolverError(
            "calibration",
            f"{lost.sum()} members of round {number} failed however they were drawn.",
            "Narrow the priors to what the model can compute, or look at the failures.",
        )


def _refuse_too_many(lost: NDArray[np.bool_], number: int, runner: Runner) -> None:
    if lost.mean() > _MOST_LOST:
        raise SolverError(
            "calibration",
            f"{lost.sum()} of {len(lost)} members failed in round {number}, the last because: "
            f"{runner.failures[-1].reason.rstrip('.')}.",
            "Narrow the priors to what the model can compute, or look at the failures.",
        )


def _drawn_like(z: Matrix, number: int, rng: np.random.Generator) -> Matrix:
    cov = np.atleast_2d(np.cov(z, rowvar=False))
    return np.asarray(rng.multivariate_normal(z.mean(axis=0), cov, number, method="svd"))
