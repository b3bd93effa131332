"""Pacing of a single cell, to start tissue from a steady state."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.cells.kernel import Kernel
from organtwin.errors import InputError, SolverError

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

#: Time after the stimulus that small steps are taken for (ms).
UPSTROKE = 20.0
#: Difference of the last two action potentials (relative) that tells of a stimulus without effect.
ALTERNANS = 0.2


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
        InputError: the time between stimuli, the step or the number of beats is not positive.
        SolverError: the cell's state is no longer finite.
    """
    _check(cycle_length=cycle_length, beats=beats, dt=dt)
    states, v = kernel.initial_states(1), np.array([kernel.initial_potential])
    time = _times(cycle_length, dt)
    potential, calcium = np.empty(len(time)), np.empty(len(time))
    before, earlier = states.copy(), np.nan
    for k in range(beats):
        before[:] = states
        if k == beats - 1 > 0:
            earlier = _duration(time, potential, 0.9)
        for n in beat(kernel, states, v, time, strength=strength, duration=duration):
            potential[n], calcium[n] = v[0], _calcium(kernel, states)
        potential[-1], calcium[-1] = v[0], _calcium(kernel, states)
    if not np.isfinite(potential).all():
        raise SolverError("pacing", f"`{kernel.model.name}` diverged.", "Use a smaller time step.")
    apd30, apd50, apd90 = (_duration(time, potential, share) for share in (0.3, 0.5, 0.9))
    if beats > 1 and not abs(apd90 - earlier) < ALTERNANS * earlier:
        logger.warning(
            "`%s` does not follow a stimulus every %g ms: its last two action potentials take "
            "%.0f and %.0f ms.", kernel.model.name, cycle_length, earlier, apd90,
        )  # fmt: skip
    drift = float(np.max(np.abs(states - before) / np.maximum(np.abs(before), 1e-9)))
    return PacedCell(
        states[:, 0], float(v[0]), time, potential, calcium, apd30, apd50, apd90, drift
    )


def beat(
    kernel: Kernel, states: Array, v: Array, time: Array, *, strength: float, duration: float
) -> Iterator[int]:
    """Advance a cell from a stimulus to the next, in place; yields the step that is to come.

    Of a step that the stimulus ends in, it flows for a part: its charge does not depend on steps.

    Args:
        kernel: Cell model.
        states: States without the potential, (n_states, 1).
        v: Potential (mV), (1,).
        time: Times of the steps since the stimulus (ms), rising from 0.
        strength: Stimulus (mV/ms).
        duration: Of the stimulus (ms).
    """
    steps = np.diff(time)
    shares = np.clip((duration - time[:-1]) / steps, 0.0, 1.0)
    ions = [(kernel.states.index(k), per_mv) for k, per_mv in kernel.model.stimulus_ions.items()]
    for n, (t, h, share) in enumerate(zip(time, steps, shares, strict=False)):
        yield n
        kernel.step(states, v, t, h, strength * share)
        for row, per_mv in ions:
            states[row] += per_mv * strength * share * h


def _check(**positive: float) -> None:
    for name, value in positive.items():
        if not value > 0:
            raise InputError("pacing", f"{name} = {value:g}.", "It must be positive.")


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
