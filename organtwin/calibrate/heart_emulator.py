"""The 3D ventricles between their runs: pressure by time, volume and parameters, by regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.circulation.emulator import BeatTrace, TracedVentricle
from organtwin.errors import InputError

type Vector = NDArray[np.float64]
type Matrix = NDArray[np.float64]
type Array = NDArray[np.float64]

#: What a slope's departure from that of an elastance costs, in runs.
_TRUST = 1.0
#: Part of the beat, its last, in which the ventricles fill.
_FILLING = 0.33


@dataclass(frozen=True)
class Run:
    """A beat of the 3D heart under known parameters.

    Attributes:
        z: Parameters of the tissue, standard normal, (k,).
        trace: Volumes and pressures of the ventricles.
        findings: What else the run told, (m,).
        weight: How often it counts.
    """

    z: Vector
    trace: BeatTrace
    findings: Vector
    weight: float = 1.0


@dataclass(frozen=True)
class HeartEmulator:
    """Ventricles whose pressure is a line over the volume at any time, and depends on parameters.

        p(t, V, z) = φ(z)·a(t) + φ(z)·b(t) (V − V̄(t)),      φ(z) = (1, z₁, …, z_k),

    V̄ the mean volume of the runs at that time. a and b fit the runs by least squares; b is drawn
    towards the slope of an elastance, p̄ / (V̄ − V₀), or that of the filling, where it is steeper, as
    if one further run had told it (our choice). The filling is an exponential through the runs'
    last third.
    Findings depend linearly on (z, V̄ at the beat's start, smallest V) of the left ventricle.

    Attributes:
        times: Ends of the steps since the beat began (ms), (n,).
        middle: V̄ of LV and RV (mm³), (n, 2).
        levels, slopes: a (kPa) and b (kPa/mm³), (n, 2, k + 1).
        told: Coefficients of the findings, (k + 3, m).
    """

    times: Vector
    middle: Matrix
    levels: Array
    slopes: Array
    told: Matrix

    @classmethod
    def of(cls, runs: Sequence[Run]) -> HeartEmulator:
        """Fit the runs.

        Raises:
            InputError: too few runs, or beats of different lengths.
        """
        k = len(runs[0].z)
        if len(runs) < 2 * k + 2:
            raise InputError(
                "[calibration.emulator] runs",
                f"{len(runs)} runs for {k} parameters of the tissue.",
                f"At least {2 * k + 2} are needed.",
            )
        times = runs[0].trace.times
        for run in runs:
            if run.trace.times.shape != times.shape or not np.allclose(run.trace.times, times):
                raise InputError(
                    "[calibration.emulator]",
                    "the runs have beats or steps of different lengths.",
                    "Leave heart rate and time step out of the parameters, and steps fixed.",
                )
        weights = np.array([run.weight for run in runs])
        volumes = np.stack([run.trace.volumes for run in runs])
        pressures = np.stack([run.trace.pressures for run in runs])
        middle = np.average(volumes, axis=0, weights=weights)
        z = np.stack([run.z for run in runs])
        features = np.column_stack([np.ones(len(z)), z])
        levels, slopes = _lines(features, volumes, pressures, weights, middle)
        told = _findings(runs, features, volumes, weights)
        return cls(times, middle, levels, slopes, told)

    def ventricles(self, z: Vector) -> tuple[TracedVentricle, TracedVentricle]:
        """LV and RV under the tissue's parameters, (k,)."""
        phi = np.concatenate([[1.0], z])
        slopes = np.maximum(self.slopes @ phi, 0.0)
        intercepts = self.levels @ phi - slopes * self.middle
        lv, rv = (TracedVentricle(self.times, slopes[:, s], intercepts[:, s]) for s in (0, 1))
        return lv, rv

    def findings(self, z: Vector, end_diastolic: float, end_systolic: float) -> Vector:
        """What else a run would tell, (m,); volumes (mm³) of the left ventricle."""
        return np.asarray(np.concatenate([[1.0], z, [end_diastolic, end_systolic]]) @ self.told)


def _lines(
    features: Matrix, volumes: Array, pressures: Array, weights: Vector, middle: Matrix
) -> tuple[Array, Array]:
    """A and b at each time, for each ventricle."""
    k = features.shape[1]
    root = np.sqrt(weights)[:, None]
    n = pressures.shape[1]
    levels, slopes = np.empty((n, 2, k)), np.empty((n, 2, k))
    for side in (0, 1):
        empty = 0.5 * middle[:, side].min()
        late = slice(round((1 - _FILLING) * n), None)
        filling = _filling_slope(volumes[:, late, side], pressures[:, late, side], middle[:, side])
        for i in range(n):
            dV, p = volumes[:, i, side] - middle[i, side], pressures[:, i, side]
            spread = max(float(np.std(dV)), 1.0)  # mm³
            elastance = max(float(np.average(p, weights=weights)), 0.0) / (middle[i, side] - empty)
            known = np.zeros(2 * k)
            known[k] = max(elastance, filling[i]) * spread
            design = np.column_stack([features, features * (dV / spread)[:, None]]) * root
            held = np.zeros((k, 2 * k))
            held[:, k:] = np.sqrt(_TRUST) * np.eye(k)
            A = np.vstack([design, held])
            b = np.concatenate([root[:, 0] * p - design @ known, np.zeros(k)])
            found = known + np.linalg.lstsq(A, b, rcond=None)[0]
            levels[i, side], slopes[i, side] = found[:k], found[k:] / spread
    return levels, slopes


def _filling_slope(volumes: Matrix, pressures: Matrix, at: Vector) -> Vector:
    """dp/dV (kPa/mm³) at some volumes of p = A exp(k V) + B, fitted to (runs, times)."""
    V, p = volumes.ravel(), pressures.ravel()
    size = max(float(np.ptp(V)), 1.0)
    best, slope = np.inf, np.zeros_like(at)
    for k in np.linspace(0.05, 6.0, 60) / size:
        rise = np.exp(k * (V - V.max()))
        design = np.column_stack([rise, np.ones_like(V)])
        found, *_ = np.linalg.lstsq(design, p, rcond=None)
        error = float(np.sum((design @ found - p) ** 2))
        if error < best:
            best, slope = error, found[0] * k * np.exp(k * (np.minimum(at, V.max()) - V.max()))
    return np.asarray(np.maximum(slope, 0.0))


def _findings(runs: Sequence[Run], features: Matrix, volumes: Array, weights: Vector) -> Matrix:
    """Coefficients of the findings, of columns scaled alike."""
    left = volumes[:, :, 0]
    columns = np.column_stack([features, left[:, -1], left.min(axis=1)])
    scale = np.maximum(np.abs(columns).max(axis=0), 1e-12)
    root = np.sqrt(weights)[:, None]
    values = np.stack([run.findings for run in runs])
    found = np.linalg.lstsq(root * columns / scale, root * values, rcond=1e-6)[0]
    return np.asarray(found / scale[:, None])
