"""Global sensitivity: which parameter moves which prediction, before anything is calibrated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from organtwin.calibrate.members import Runner
from organtwin.calibrate.parameters import values_of
from organtwin.errors import InputError, SolverError

type Vector = NDArray[np.float64]
type Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Sensitivity:
    """Sobol' indices of each prediction by each parameter, over the prior.

    Attributes:
        names: Parameters.
        keys: Predictions.
        first: Share of a prediction's variance that a parameter explains by itself,
            (predictions, parameters).
        total: The same with all its interactions.
        first_error, total_error: Half-widths of their 95 % intervals.
        variance: Of each prediction over the prior, (predictions,).
        runs: Members that were run.
        lost: Blocks of members left out because one of them failed.
    """

    names: tuple[str, ...]
    keys: tuple[str, ...]
    first: Matrix
    total: Matrix
    first_error: Matrix
    total_error: Matrix
    variance: Vector
    runs: int
    lost: int

    def signals(self, errors: Vector) -> Vector:
        """How far each parameter moves the predictions, in their measurements' standard errors.

            √(Σ total index · variance / error²) over all predictions, (parameters,)

        Args:
            errors: Standard errors of the measurements, (predictions,).
        """
        return np.asarray(np.sqrt(np.sum(np.clip(self.total.T, 0, None) * self.variance / errors**2,
                                         axis=1)))  # fmt: skip

    def without_influence(self, errors: Vector) -> tuple[str, ...]:
        """Parameters whose signal is below one standard error: no calibration can tell them."""
        return tuple(
            name for name, s in zip(self.names, self.signals(errors), strict=True) if s < 1.0
        )


def sobol(runner: Runner, keys: tuple[str, ...], samples: int, seed: int) -> Sensitivity:
    """Sobol' indices by Saltelli's sampling, in samples·(parameters + 2) runs.

    Args:
        runner: Runs members; the priors of its parameters are what is varied.
        keys: Names of what its model predicts.
        samples: Blocks, a power of two.
        seed: Of the samples.

    Raises:
        InputError: ``samples`` is no power of two.
        SolverError: fewer than half of the blocks are complete.

    Source:
        Saltelli et al. (2010), Comput. Phys. Commun. 181:259–270; computed by the package SALib
        (Iwanaga, Usher & Herman 2022).
    """
    if samples < 8 or samples & (samples - 1):
        raise InputError(
            "[calibration.sensitivity] samples",
            f"{samples} is not a power of two of at least 8.",
            "Write for example 64.",
        )
    from SALib.analyze import sobol as analysis
    from SALib.sample import sobol as sampling

    names = tuple(p.name for p in runner.parameters)
    problem = {"num_vars": len(names), "names": list(names), "bounds": [[0.0, 1.0]] * len(names)}
    cube = sampling.sample(problem, samples, calc_second_order=False, seed=seed)
    z = ndtri(np.clip(cube, 1e-6, 1 - 1e-6))
    predicted = runner.run(values_of(runner.parameters, z))
    whole = _whole_blocks(predicted, len(names) + 2)
    found = [_indices(analysis, problem, predicted[whole][:, k], seed) for k in range(len(keys))]
    first, total, first_error, total_error = map(np.stack, zip(*found, strict=True))
    lost = samples - int(whole.sum()) // (len(names) + 2)
    variance = predicted[whole].var(axis=0)
    return Sensitivity(names, keys, first, total, first_error, total_error, variance, len(z), lost)


def _whole_blocks(predicted: Matrix, size: int) -> NDArray[np.bool_]:
    """Members of the blocks in which none failed."""
    fine = np.isfinite(predicted).all(axis=1) & (predicted.shape[1] > 0)
    blocks = fine.reshape(-1, size).all(axis=1)
    if blocks.mean() < 0.5:
        raise SolverError(
            "sensitivity",
            f"{(~fine).sum()} of {len(fine)} members failed.",
            "Narrow the priors to what the model can compute.",
        )
    return np.repeat(blocks, size)


def _indices(
    analysis: object, problem: dict[str, object], y: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.float64], ...]:
    names = problem["names"]
    if np.ptp(y) <= 1e-9 * np.abs(y).max():  # nothing moves it
        zero = np.zeros(len(names))  # type: ignore[arg-type]
        return zero, zero, zero, zero
    y = (y - y.mean()) / y.std()
    found = analysis.analyze(problem, y, calc_second_order=False, seed=seed)  # type: ignore[attr-defined]
    return tuple(np.asarray(found[name]) for name in ("S1", "ST", "S1_conf", "ST_conf"))
