"""Twin experiments: calibrate to what a model itself predicts, where the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from organtwin.calibrate.members import Model, Runner
from organtwin.calibrate.observations import Observations
from organtwin.calibrate.parameters import Parameter, values_of
from organtwin.calibrate.posterior import Posterior
from organtwin.calibrate.smoother import Smoother
from organtwin.calibrate.stages import calibrate
from organtwin.errors import SolverError

type Vector = NDArray[np.float64]
type Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Twin:
    """A calibration beside the truth.

    Attributes:
        truth: Values of the parameters, (parameters,).
        intervals: Lower end, middle, upper end of the 95 % intervals, (parameters, 3).
        posterior: All that was found.
    """

    truth: Vector
    intervals: Matrix
    posterior: Posterior

    @property
    def errors(self) -> Vector:
        """Middle / truth − 1, (parameters,)."""
        return np.asarray(self.intervals[:, 1] / self.truth - 1.0)

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Whether each interval holds the truth, (parameters,)."""
        return (self.intervals[:, 0] <= self.truth) & (self.truth <= self.intervals[:, 2])


def twin_experiment(
    model_of: Callable[[Observations], Model],
    parameters: Sequence[Parameter],
    observations: Observations,
    smoother: Smoother,
    executor: Executor,
    *,
    seed: int,
) -> Twin:
    """Draw a truth from the prior, measure it with errors, and look for it.

    With the truth from the prior and normal errors, the intervals of an exact Bayesian method hold
    it 95 times in a hundred on average.

    Args:
        model_of: The model that predicts given observations.
        parameters: With their priors.
        observations: What is measured and how well; the values are not looked at.
        smoother: How it is calibrated; its seed is replaced.
        executor: Where members run.
        seed: Of the truth, the errors and the smoother.

    Raises:
        SolverError: the model fails at the truth.
    """
    rng = np.random.default_rng([seed, 3])
    truth = values_of(parameters, rng.standard_normal((1, len(parameters))))
    exact = model_of(observations)(truth, 0)[0]
    if not np.isfinite(exact).all():
        raise SolverError("twin experiment", "the model fails at the truth.", "Narrow the priors.")
    noise = rng.standard_normal(len(exact)) * observations.standard_errors
    measured = observations.with_values(exact + noise)
    runner = Runner(model_of(measured), parameters, executor)
    posterior, _ = calibrate(runner, measured, replace(smoother, seed=seed))
    return Twin(truth[0], posterior.intervals(), posterior)
