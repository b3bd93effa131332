"""Pacing of a single cell, to start tissue from a steady state."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.cells.kernel import Kernel
from organtwin.errors import SolverError

Array = NDArray[np.float64]

#: Time after the stimulus that small steps are taken for (ms).
UPSTROKE = 20.0


@dataclass(frozen=True)
class PacedCell:
    """A cell right before the next stimulus, and its last beat.

    Attributes:
        states: States without the potential, shape (n_states,).
        v: Potential (mV).
        time: Times of the traces since the stimulus (ms).
        potential: v over the last beat (mV).
        calcium: Free calcium over the last beat (µM); zero if the model has none.
        apd30, apd50, apd90: Duration from the steepest rise to 30, 50, 90 % repolarisation (ms).
        drift: Largest relative change of a state from the beat before.
    """

    states: Array
    v: float
    time: Array
    potential: Array
    calcium: Array
    apd30: float
    apd50: float
    apd90: float
    drift: float

    @property
    def rest(self) -> float:
        """Potential before the stimulus (mV)."""
        return float(self.potential[0])

    @property
    def peak(self) -> float:
        """Largest potential (mV)."""
        return float(self.potential.max())

    @property
    def upstroke(self) -> float:
        """Steepest rise (mV/ms)."""
        return float(np.max(np.diff(self.potential) / np.diff(self.time)))

    def to_json(self) -> str:
        """As text."""
        plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(self).items()}
        return json.dumps(plain)

    @classmethod
    def from_json(cls, text: str) -> PacedCell:
        """From `to_json`."""
        plain: dict[str, Any] = json.loads(text)
        for name in ("states", "time", "potential", "calcium"):
            plain[name] = np.array(plain[name])
        return cls(**plain)


def pace(
    kernel: Kernel,
    *,
    cycle_length: float = 800.0,
    beats: int = 50,
    dt: float = 0.02,
    strength: float = 52.0,
    duration: float = 1.0,
) -> PacedCell:
    """Stimulate a single cell periodically.

    Args:
        kernel: Cell model.
        cycle_length: Time between stimuli (ms).
        beats: Number of beats, ≥ 1.
        dt: Time step in the upstroke (ms).
        strength: Stimulus (mV/ms).
        duration: Of the stimulus (ms).

    Raises:
        SolverError: the cell's state is no longer finite.
    """
    states, v = kernel.initial_states(1), np.array([kernel.initial_potential])
    time = _times(cycle_length, dt)
    steps = np.diff(time)
    potential, calcium = np.empty(len(time)), np.empty(len(time))
    before = states.copy()
    ions = [(kernel.states.index(k), per_mv) for k, per_mv in kernel.model.stimulus_ions.items()]
    for _ in range(max(1, beats)):
        before[:] = states
        for n, (t, h) in enumerate(zip(time[:-1], steps, strict=True)):
            potential[n], calcium[n] = v[0], _calcium(kernel, states)
            stimulus = strength if t < duration - 1e-9 else 0.0
            kernel.step(states, v, t, h, stimulus)
            for row, per_mv in ions:
                states[row] += per_mv * stimulus * h
    potential[-1], calcium[-1] = v[0], _calcium(kernel, states)
    if not np.isfinite(potential).all():
        raise SolverError("pacing", f"`{kernel.model.name}` diverged.", "Use a smaller time step.")
    apd30, apd50, apd90 = (_duration(time, potential, share) for share in (0.3, 0.5, 0.9))
    drift = float(np.max(np.abs(states - before) / np.maximum(np.abs(before), 1e-9)))
    return PacedCell(
        states[:, 0], float(v[0]), time, potential, calcium, apd30, apd50, apd90, drift
    )


def _calcium(kernel: Kernel, states: Array) -> float:
    return float(kernel.calcium(states)[0]) if kernel.model.calcium else 0.0


def _times(cycle_length: float, dt: float) -> Array:
    """Times of the steps of a beat: ``dt`` in the upstroke, up to five times that afterwards."""
    fast = min(UPSTROKE, cycle_length)
    early = np.linspace(0.0, fast, round(fast / dt) + 1)
    late = np.linspace(fast, cycle_length, int(np.ceil((cycle_length - fast) / (5 * dt))) + 1)
    return np.concatenate([early, late[1:]])


def _duration(time: Array, v: Array, share: float) -> float:
    """Time from the steepest rise until ``share`` of the amplitude is gone; NaN if it never is."""
    start, top = int(np.argmax(np.diff(v))), int(np.argmax(v))
    level = v[top] - share * (v[top] - v[0])
    below = np.flatnonzero(v[top:] < level)
    if not len(below):
        return float("nan")
    k = top + int(below[0])
    fraction = (v[k - 1] - level) / (v[k - 1] - v[k])
    return float(time[k - 1] + fraction * (time[k] - time[k - 1]) - time[start])
