"""What a calibration found: parameters with intervals, predictions, and what informs what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.calibrate.observations import Observations
from organtwin.calibrate.parameters import Parameter, values_of

type Vector = NDArray[np.float64]
type Matrix = NDArray[np.float64]

#: Half-width of a 95 % interval of a normal number.
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Posterior:
    """Ensembles before and after, and their predictions of all observations.

    Attributes:
        parameters: What was found.
        observations: What was measured.
        prior, posterior: In standard normal coordinates, (members, parameters).
        predicted_before, predicted: Of both, (members, observations).
        checked: What the full model predicts in the middle of the posterior, (observations,), where
            ensembles were computed by an emulator of it.
    """

    parameters: tuple[Parameter, ...]
    observations: Observations
    prior: Matrix
    posterior: Matrix
    predicted_before: Matrix
    predicted: Matrix
    checked: Vector | None = None

    @property
    def middle(self) -> Vector:
        """Values of the parameters at the mean of the posterior, (parameters,)."""
        return values_of(self.parameters, self.posterior.mean(axis=0, keepdims=True))[0]

    @property
    def best(self) -> Vector:
        """What is predicted: by the full model if it was run, else the ensemble's mean."""
        return self.predicted.mean(axis=0) if self.checked is None else self.checked

    def intervals(self, *, before: bool = False) -> Matrix:
        """Lower end, middle and upper end of the 95 % intervals, (parameters, 3).

        The mean and 1.96 standard deviations in standard normal coordinates, taken to values: the
        smoother knows the first two moments there, and quantiles of a small ensemble are noisy.
        """
        z = self.prior if before else self.posterior
        return bounds(self.parameters, z)

    @property
    def correlations(self) -> Matrix:
        """Of the parameters, in standard normal coordinates, (parameters, parameters)."""
        return np.atleast_2d(np.corrcoef(self.posterior, rowvar=False))

    @property
    def contraction(self) -> Vector:
        """1 − variance after / variance before of each parameter: 0 nothing learned, 1 all."""
        after, before = self.posterior.var(axis=0, ddof=1), self.prior.var(axis=0, ddof=1)
        return np.asarray(1.0 - after / before)

    def prediction_intervals(self, *, before: bool = False) -> Matrix:
        """Lower end, mean and upper end of the predictions' 95 % intervals, (observations, 3)."""
        y = self.predicted_before if before else self.predicted
        mean, half = y.mean(axis=0), Z95 * y.std(axis=0, ddof=1)
        return np.stack([mean - half, mean, mean + half], axis=1)

    @property
    def misfits(self) -> Vector:
        """(predicted − measured) / √(variance of prediction + of measurement), (observations,)."""
        spread = np.hypot(self.predicted.std(axis=0, ddof=1), self.observations.standard_errors)
        return np.asarray((self.best - self.observations.values) / spread)

    @property
    def chi_square(self) -> float:
        """Mean of ((predicted − measured) / error)² over what was calibrated to.

        At most about 1 if the model and the errors are right.
        """
        used = self.observations.is_used
        residual = self.best - self.observations.values
        return float(np.mean((residual / self.observations.standard_errors)[used] ** 2))

    @property
    def jacobian(self) -> Matrix:
        """Slopes of the predictions by z over the posterior, per standard error.

        By linear regression over the ensemble, (observations, parameters).
        """
        z = self.posterior - self.posterior.mean(axis=0)
        y = (self.predicted - self.predicted.mean(axis=0)) / self.observations.standard_errors
        return np.asarray(np.linalg.lstsq(z, y, rcond=None)[0].T)

    @property
    def informing(self) -> tuple[str, ...]:
        """Quantities that are calibrated to, in order; a curve is one."""
        return tuple(dict.fromkeys(o.name for o in self.observations.used.all))

    @property
    def influence(self) -> Matrix:
        """How much each quantity that is measured reduces the variance of each parameter.

            1 − Var(with it) / Var(without it),  Var = diag (I + Σ gᵢ gᵢᵀ)⁻¹,

        with gᵢ the rows of `jacobian` and all other measurements in place: 0 if the others tell as
        much without it. Shape (`informing`, parameters).
        """
        g = self.jacobian[self.observations.is_used]
        names = np.array([o.name for o in self.observations.used.all])
        precision = np.eye(g.shape[1]) + g.T @ g
        with_it = np.diag(np.linalg.inv(precision))
        rows = [g[names == name] for name in self.informing]
        without = [np.diag(np.linalg.inv(precision - row.T @ row)) for row in rows]
        return np.asarray(1.0 - with_it / np.array(without))

    @property
    def information(self) -> tuple[Vector, Matrix]:
        """Eigenvalues (largest first) and eigenvectors (columns) of the Fisher information.

        In standard normal coordinates: along a direction with an eigenvalue below 1 the prior tells
        more than the measurements do, that combination of parameters can't be identified.
        """
        g = self.jacobian[self.observations.is_used]
        values, vectors = np.linalg.eigh(g.T @ g)
        return values[::-1], vectors[:, ::-1]


def bounds(parameters: tuple[Parameter, ...], z: Matrix) -> Matrix:
    """Ends and middle of the 95 % intervals of an ensemble, (parameters, 3)."""
    mean, half = z.mean(axis=0), Z95 * z.std(axis=0, ddof=1)
    return values_of(parameters, np.stack([mean - half, mean, mean + half])).T


def unidentified(posterior: Posterior, threshold: float = 0.2) -> tuple[str, ...]:
    """Parameters that the measurements told next to nothing about, by `Posterior.contraction`."""
    pairs = zip(posterior.parameters, posterior.contraction, strict=True)
    return tuple(p.name for p, c in pairs if c < threshold)
