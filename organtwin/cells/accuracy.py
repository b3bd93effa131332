"""Errors of a kernel's time step, against a tight integration of the same right-hand side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from organtwin.cells.kernel import Kernel
from organtwin.errors import SolverError

Array = NDArray[np.float64]

#: Steps that are tried if nothing else is said (ms).
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
#: Relative error of the duration that counts as accurate.
ACCURATE = 0.01
#: What a stable solution may lie outside the range of the reference (mV).
_MARGIN = 200.0


@dataclass(frozen=True)
class Beat:
    """A single beat.

    Attributes:
        time: Since the stimulus (ms), shape (n,).
        potential: v (mV), shape (n,).
        calcium: Free calcium (µM), shape (n,), if the model has it.
        states: At the end, without the potential, shape (n_states,).
    """

    time: Array
    potential: Array
    calcium: Array | None
    states: Array

    @property
    def peak(self) -> float:
        """Largest potential (mV)."""
        return float(self.potential.max())

    @property
    def calcium_peak(self) -> float | None:
        """Largest free calcium (µM), if the model has it."""
        return None if self.calcium is None else float(self.calcium.max())

    @property
    def apd90(self) -> float:
        """Time (ms) from half of the upstroke until 90 % of it are gone; NaN if they never are."""
        t, v = self.time, self.potential
        top = int(np.argmax(v))
        rest, height = v[0], v[top] - v[0]
        if top == 0 or height <= 0.0:
            return float("nan")
        rise = _crossing(t[: top + 1], v[: top + 1], rest + 0.5 * height)
        return _crossing(t[top:], -v[top:], -(rest + 0.1 * height)) - rise


@dataclass(frozen=True)
class StepError:
    """What a time step does to one beat.

    Attributes:
        dt: Step (ms).
        stable: Whether the potential stays near the range of the reference.
        apd90: APD90 less that of the reference (ms); NaN if there is none.
        apd90_relative: The same relative to the reference.
        peak: Peak of the potential less that of the reference (mV).
        calcium_relative: Relative error of the peak of calcium, if the model has it.
    """

    dt: float
    stable: bool
    apd90: float
    apd90_relative: float
    peak: float
    calcium_relative: float | None

    @property
    def accurate(self) -> bool:
        """Whether the duration is right within 1 %."""
        return self.stable and abs(self.apd90_relative) < ACCURATE


def reference_beat(
    kernel: Kernel,
    *,
    length: float = 800.0,
    strength: float = 52.0,
    duration: float = 1.0,
    rtol: float = 1e-8,
    times: Array | None = None,
) -> Beat:
    """One beat from the initial state by LSODA.

    Args:
        kernel: Cell model; its ``rates`` are integrated, not its ``step``.
        length: Time from the stimulus to the end (ms).
        strength: Stimulus (mV/ms).
        duration: Of the stimulus (ms).
        rtol: Relative tolerance; each component's absolute one is this times its size.
        times: Of the trace (ms), increasing in [0, length]; where the integrator stops if none.

    Raises:
        SolverError: the integration fails.
    """

    def rates(y: Array) -> Array:
        dy, dv = kernel.rates(np.ascontiguousarray(y[:-1, None]), y[-1:].copy())
        return np.append(dy[:, 0], dv)

    start = np.append(kernel.initial_states()[:, 0], kernel.initial_potential)
    time, y = integrate(
        rates, start, -1, length, strength, duration, rtol, times, kernel.model.name
    )
    calcium = None
    if kernel.model.calcium is not None:
        calcium = kernel.calcium(np.ascontiguousarray(y[:-1]))
    return Beat(time, y[-1], calcium, y[:-1, -1])


def integrate(
    rates: Callable[[Array], Array],
    start: Array,
    potential: int,
    length: float,
    strength: float,
    duration: float,
    rtol: float = 1e-8,
    times: Array | None = None,
    name: str = "cell",
) -> tuple[Array, Array]:
    """Integrate dy/dt = f(y), the potential stimulated at first, by LSODA.

    Args:
        rates: f.
        start: y(0), shape (m,).
        potential: Row of y that takes the stimulus.
        length: End.
        strength: Stimulus, in the unit of the potential per that of time.
        duration: Of the stimulus.
        rtol: Relative tolerance.
        times: Wanted ones, increasing; the integrator's own if none.
        name: For messages.

    Returns:
        Times, shape (n,), and y, shape (m, n).

    Raises:
        SolverError: the integration fails.
    """
    stimulus = np.zeros_like(start)
    stimulus[potential] = strength
    scale = np.maximum(np.abs(start), 1e-4)
    y, pieces = start, []
    # Restarted where the stimulus ends, for no step to smear it.
    for t0, t1, extra in ((0.0, duration, stimulus), (duration, length, 0.0 * stimulus)):
        wanted = None
        if times is not None:
            last = times <= t1 if t1 == length else times < t1
            wanted = np.unique(np.append(times[(times >= t0) & last], t1))
        solution = solve_ivp(
            lambda _, y, extra=extra: rates(y) + extra, (t0, t1), y,
            method="LSODA", rtol=rtol, atol=rtol * 1e-2 * scale, t_eval=wanted,
            first_step=1e-6 * length, max_step=length / 20,
        )  # fmt: skip
        if not solution.success or not np.isfinite(solution.y).all():
            raise SolverError(
                f"cell model `{name}`",
                f"the reference integration stops at {solution.t[-1] if solution.t.size else t0} ms.",
                "Check the equations and the initial values.",
            )
        y = solution.y[:, -1]
        pieces.append((solution.t, solution.y))
    t = np.concatenate([pieces[0][0][:-1], pieces[1][0]])
    values = np.concatenate([pieces[0][1][:, :-1], pieces[1][1]], axis=1)
    if times is None:
        return t, values
    chosen = np.isin(t, times)
    return t[chosen], values[:, chosen]


def stepped_beat(
    kernel: Kernel,
    dt: float,
    *,
    length: float = 800.0,
    strength: float = 52.0,
    duration: float = 1.0,
) -> Beat:
    """One beat from the initial state in steps of ``dt`` (ms) throughout.

    The stimulus has the right charge also where its duration is no multiple of the step.
    """
    steps = max(1, round(length / dt))
    states, v = kernel.initial_states(1), np.array([kernel.initial_potential])
    potential, calcium = np.empty(steps + 1), np.empty(steps + 1)
    has_calcium = kernel.model.calcium is not None
    for n in range(steps + 1):
        potential[n] = v[0]
        if has_calcium:
            calcium[n] = kernel.calcium(states)[0]
        if n == steps:
            break
        share = min(1.0, max(0.0, (duration - n * dt) / dt))
        kernel.step(states, v, n * dt, dt, strength * share)
    time = dt * np.arange(steps + 1)
    return Beat(time, potential, calcium if has_calcium else None, states[:, 0])


def step_errors(
    kernel: Kernel,
    steps: Sequence[float] = STEPS,
    *,
    length: float = 800.0,
    strength: float = 52.0,
    duration: float = 1.0,
    reference: Beat | None = None,
) -> list[StepError]:
    """Errors of one beat from the initial state by time step.

    Args:
        kernel: Cell model, with the scheme that is to be judged.
        steps: Time steps (ms), constant over the beat.
        length: Longest time that is computed (ms); it ends soon after 90 % repolarisation.
        strength: Stimulus (mV/ms).
        duration: Of the stimulus (ms).
        reference: `reference_beat` with the same stimulus; computed if none.

    Raises:
        SolverError: the reference can't be computed.
    """
    if reference is None:
        reference = reference_beat(kernel, length=length, strength=strength, duration=duration)
    if np.isfinite(reference.apd90):
        length = min(length, 1.2 * reference.apd90 + 20.0)
    reference = _until(reference, length)
    return [
        _step_error(
            dt, reference,
            stepped_beat(kernel, dt, length=length, strength=strength, duration=duration),
        )
        for dt in steps
    ]  # fmt: skip


def largest_steps(errors: Sequence[StepError]) -> tuple[float | None, float | None]:
    """Largest accurate and largest stable step (ms), no smaller one failing; None if none is."""
    return _largest(errors, lambda e: e.accurate), _largest(errors, lambda e: e.stable)


def _largest(errors: Sequence[StepError], good: Callable[[StepError], bool]) -> float | None:
    found = None
    for error in sorted(errors, key=lambda e: e.dt):
        if not good(error):
            break
        found = error.dt
    return found


def _until(beat: Beat, length: float) -> Beat:
    kept = beat.time <= length + 1e-9
    calcium = None if beat.calcium is None else beat.calcium[kept]
    return Beat(beat.time[kept], beat.potential[kept], calcium, beat.states)


def _step_error(dt: float, reference: Beat, beat: Beat) -> StepError:
    low, high = reference.potential.min() - _MARGIN, reference.potential.max() + _MARGIN
    # A comparison with NaN is false.
    stable = bool(np.all((beat.potential > low) & (beat.potential < high)))
    if not stable:
        missing = None if beat.calcium is None else float("nan")
        return StepError(dt, False, float("nan"), float("nan"), float("nan"), missing)
    apd90 = beat.apd90 - reference.apd90
    calcium = None
    if beat.calcium_peak is not None and reference.calcium_peak:
        calcium = beat.calcium_peak / reference.calcium_peak - 1.0
    return StepError(dt, True, apd90, apd90 / reference.apd90, beat.peak - reference.peak, calcium)


def _crossing(t: Array, v: Array, level: float) -> float:
    """First time that ``v`` rises to ``level``, interpolated; NaN if it never does."""
    above = np.flatnonzero(v >= level)
    if not len(above):
        return float("nan")
    k = int(above[0])
    if k == 0:
        return float(t[0])
    return float(t[k - 1] + (level - v[k - 1]) / (v[k] - v[k - 1]) * (t[k] - t[k - 1]))
