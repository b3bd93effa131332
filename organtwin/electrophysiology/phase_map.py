"""Fibrillation from the first instant: each place starts somewhere in a beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organtwin.cells.kernel import Kernel
from organtwin.cells.pacing import beat
from organtwin.errors import SolverError

Array = NDArray[np.float64]

#: Plane waves in a random field.
WAVES = 12


def random_phases(x: Array, *, wavelength: float = 40.0, seed: int = 1) -> Array:
    """Phases, 0 to 1, that vary smoothly and all meet at some points.

    The angle of a pair of random fields, each a sum of plane waves; waves turn around the points
    where both fields are zero. A point has the same phase on any number of ranks.

    Args:
        x: Points (mm), (n, 3).
        wavelength: Of the plane waves (mm): the shorter, the more rotors.
        seed: Of the random directions and shifts.

    Source:
        Matene & Jacquemet (2012), Europace 14 (suppl. 5):v17–v24 start episodes from phases, but
        choose the points to turn around.
    """
    random = np.random.default_rng(seed)
    real, imaginary = (_random_field(x, wavelength, random) for _ in range(2))
    return np.asarray(np.arctan2(imaginary, real) / (2 * np.pi) % 1.0)


def states_at_phases(
    kernel: Kernel,
    phases: Array,
    *,
    cycle_length: float = 250.0,
    beats: int = 10,
    dt: float = 0.05,
    strength: float = 52.0,
    duration: float = 1.0,
) -> tuple[Array, Array]:
    """States of a paced cell at phases of its last beat.

    Args:
        kernel: Cell model.
        phases: 0 at the stimulus, 1 right before the next, (n,).
        cycle_length: Time between stimuli (ms).
        beats: Number of beats.
        dt: Time step (ms).
        strength: Stimulus (mV/ms).
        duration: Of the stimulus (ms).

    Returns:
        States without the potential, (n_states, n), and the potential (mV), (n,).

    Raises:
        SolverError: the cell's state is no longer finite.
    """
    states, v = kernel.initial_states(1), np.array([kernel.initial_potential])
    steps = max(1, round(cycle_length / dt))
    time = np.linspace(0.0, cycle_length, steps + 1)
    last = np.empty((steps, kernel.n_states + 1))
    for _ in range(beats):
        for k in beat(kernel, states, v, time, strength=strength, duration=duration):
            last[k, :-1], last[k, -1] = states[:, 0], v[0]
    if not np.isfinite(last).all():
        raise SolverError("pacing", f"`{kernel.model.name}` diverged.", "Use a smaller time step.")
    chosen = last[np.minimum((phases * steps).astype(np.int64), steps - 1)]
    return np.ascontiguousarray(chosen[:, :-1].T), chosen[:, -1].copy()


def _random_field(x: Array, wavelength: float, random: np.random.Generator) -> Array:
    directions = random.normal(size=(WAVES, 3))
    k = 2 * np.pi / wavelength * directions / np.linalg.norm(directions, axis=1)[:, None]
    return np.asarray(np.cos(x @ k.T + random.uniform(0.0, 2 * np.pi, WAVES)).sum(axis=1))
