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
#: Evaluations of the rates after which an integration counts as stuck.
_EVALUATIONS = 50_000
#: Steps that it then takes.
_HEUN_STEPS = 100_000
_Rates = Callable[[float, Array], Array]
#: What a stable solution may lie outside the range of the reference (mV).
_MARGIN = 100.0


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
        """ẏ of the cell's states and, last, its potential (mV/ms)."""
        dy, dv = kernel.rates(np.ascontiguousarray(y[:-1, None]), y[-1:].copy())
        return np.append(dy[:, 0], dv)

    start = np.append(kernel.initial_states()[:, 0], kernel.initial_potential)
    time, y, _ = integrate(
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
) -> tuple[Array, Array, bool]:
    """Integrate dy/dt = f(y), the potential stimulated at first.

    By LSODA. Where f jumps and holds the solution at the jump, no tolerance can be met: then by
    Heun's method in 100,000 steps.

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
        Times, shape (n,), y, shape (m, n), and whether the tolerance was met.

    Raises:
        SolverError: the integration fails.
    """
    stimulus = np.zeros_like(start)
    stimulus[potential] = strength
    y, pieces, met = start, [], True
    # Restarted where the stimulus ends, for no step to smear it.
    for t0, t1, extra in ((0.0, duration, stimulus), (duration, length, 0.0 * stimulus)):
        last = t1 == length
        wanted = None
        if times is not None:
            inside = (times >= t0) & ((times <= t1) if last else (times < t1))
            wanted = np.unique(np.append(times[inside], t1))

        def stimulated(_: float, y: Array, extra: Array = extra) -> Array:
            return rates(y) + extra

        found = _lsoda(stimulated, (t0, t1), y, rtol, wanted) if met else None
        if found is None:
            met = False
            found = _heun(stimulated, (t0, t1), y, length / _HEUN_STEPS, wanted)
        if not np.isfinite(found[1]).all():
            raise SolverError(
                f"cell model `{name}`",
                f"the reference integration fails between {t0:g} and {t1:g}.",
                "Check the equations and the initial values.",
            )
        y = found[1][:, -1]
        pieces.append(found if last else (found[0][:-1], found[1][:, :-1]))
    t = np.concatenate([piece[0] for piece in pieces])
    values = np.concatenate([piece[1] for piece in pieces], axis=1)
    if times is not None:
        chosen = np.isin(t, times)
        t, values = t[chosen], values[:, chosen]
    return t, values, met


class _StuckError(Exception):
    """An integrator makes no progress."""


def _lsoda(
    rates: _Rates, span: tuple[float, float], start: Array, rtol: float, wanted: Array | None
) -> tuple[Array, Array] | None:
    """Times and values; None if the tolerance can't be met with reasonable effort."""
    evaluations = 0

    def counted(t: float, y: Array) -> Array:
        nonlocal evaluations
        evaluations += 1
        if evaluations > _EVALUATIONS:
            raise _StuckError
        return rates(t, y)

    atol = rtol * 1e-2 * np.maximum(np.abs(start), 1e-4)
    length = span[1] - span[0]
    try:
        solution = solve_ivp(
            counted, span, start, method="LSODA", rtol=rtol, atol=atol, t_eval=wanted,
            first_step=1e-6 * length, max_step=length / 20,
        )  # fmt: skip
    except _StuckError:
        return None
    return (solution.t, solution.y) if solution.success else None


def _heun(
    rates: _Rates, span: tuple[float, float], start: Array, step: float, wanted: Array | None
) -> tuple[Array, Array]:
    n = max(1, round((span[1] - span[0]) / step))
    t = np.linspace(*span, n + 1)
    h = t[1] - t[0]
    y = np.empty((len(start), n + 1))
    y[:, 0] = start
    for k in range(n):
        first = rates(t[k], y[:, k])
        y[:, k + 1] = y[:, k] + 0.5 * h * (first + rates(t[k + 1], y[:, k] + h * first))
    if wanted is None:
        return t, y
    return wanted, np.array([np.interp(wanted, t, row) for row in y])


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
    potential, calcium = np.zeros(steps + 1), np.zeros(steps + 1)
    has_calcium = kernel.model.calcium is not None
    for n in range(steps + 1):
        potential[n] = v[0]
        if has_calcium:
            calcium[n] = kernel.calcium(states)[0]
        if n == steps:
            break
        share = min(1.0, max(0.0, (duration - n * dt) / dt))
        kernel.step(states, v, n * dt, dt, strength * share)
    time = np.linspace(0.0, steps * dt, steps + 1)
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
