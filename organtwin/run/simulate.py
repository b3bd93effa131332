"""The only time loop. It knows no physics."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from organtwin.errors import SolverError
from organtwin.process import Process
from organtwin.solve.outcome import Step

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Looks at the process at output times."""

    every: float  # ms; 0 for each step

    def observe(self, t: float, step: Step) -> None:
        """Called on every rank at t = start and then each ``every`` ms."""
        ...


@dataclass
class Statistics:
    """What a run cost.

    Attributes:
        steps: Accepted steps.
        refused: Steps that failed and were halved.
        newton: Nonlinear iterations.
        krylov: Linear iterations.
        factorisations: Factorisations.
        slowest: Most nonlinear iterations in one step, with its time (ms).
    """

    steps: int = 0
    refused: int = 0
    newton: int = 0
    krylov: int = 0
    factorisations: int = 0
    slowest: tuple[int, float] = field(default=(0, 0.0))

    def add(self, step: Step) -> None:
        """Count a step."""
        if not step.converged:
            self.refused += 1
            return
        self.steps += 1
        self.newton += step.newton
        self.krylov += step.krylov
        self.factorisations += step.factorisations
        self.slowest = max(self.slowest, (step.newton, step.t1))


def on_grid(t: float, t_end: float, dt: float) -> float:
    """First time from ``t`` on (ms) that lies whole steps before ``t_end``.

    A run that failed within a step goes on from a time off the grid, and comes back to it first.
    """
    return t_end - dt * math.floor((t_end - t) / dt + 1e-6)


def simulate(
    process: Process,
    *,
    t_start: float = 0.0,
    t_end: float,
    dt: float,
    observers: Sequence[Observer] = (),
    smallest: float | None = None,
    progress: Callable[[float], None] | None = None,
    on_failure: Callable[[float, Step], None] | None = None,
    seen: bool = False,
    statistics: Statistics | None = None,
    wanted: Callable[[], float] | None = None,
) -> Statistics:
    """Advance a process to ``t_end``.

    Steps are counted in integers, so that output times are hit exactly and no error adds up.
    A refused step is cut in halves, down to ``smallest``.

    Args:
        process: What moves.
        t_start: Start (ms).
        t_end: End (ms).
        dt: Step (ms); ``t_end − t_start`` and the observers' intervals are multiples of it.
        observers: Who looks at it, and when.
        smallest: Smallest step before giving up (ms); dt/16 by default.
        progress: Called with the time that is reached.
        on_failure: Called before giving up, with the time that the process stands at and the step
            that failed; a place to save the state.
        seen: Whether the observers have seen the start.
        statistics: Account that is gone on with.
        wanted: Gives the length that the next step should have (ms), the same on all ranks; it
            then has a power of two of ``dt``, not more than that and not beyond the next time at
            which an observer looks. Without it each step has one ``dt``.

    Returns:
        What the run cost.

    Raises:
        SolverError: a step failed at the smallest size; the process is then as it was before
            that step, and every observer has seen it there.
    """
    smallest = dt / 16 if smallest is None else smallest
    n_steps = round((t_end - t_start) / dt)
    n_before = round(t_start / dt)  # a resumed run keeps to the output times of the first
    statistics = statistics or Statistics()
    strides = [max(1, round(observer.every / dt)) for observer in observers]
    step = Step(t_start, t_start)
    for observer in () if seen else observers:
        observer.observe(t_start, step)
    stops = [stride for observer, stride in zip(observers, strides, strict=True) if observer.every]
    n = 0
    while n < n_steps:
        size = _size(wanted() / dt, n_before + n, n_steps - n, stops) if wanted else 1
        t0, t1 = t_start + n * dt, t_start + (n + size) * dt
        n += size
        step = _advance(process, t0, t1, smallest, statistics)
        if not step.converged:
            if on_failure is not None:
                on_failure(step.t0, step)
            raise SolverError(
                "simulate",
                f"the step from t = {step.t0:g} to {step.t1:g} ms failed ({step.outcome.name}); "
                f"everything up to {step.t0:g} ms is kept.{_told(step)}",
                f"{step.outcome.value} Running the case again goes on from there.",
            )
        for observer, stride in zip(observers, strides, strict=True):
            if (n_before + n) % stride == 0:
                observer.observe(t1, step)
        if progress is not None:
            progress(t1)
    return statistics


def _size(wanted: float, n: int, left: int, stops: Sequence[int]) -> int:
    """Units of the next step from ``n``: a power of two that divides ``n`` and passes no stop."""
    most = min([left, *(stop - n % stop for stop in stops)])
    size = 1
    while 2 * size <= min(most, wanted * (1 + 1e-9)) and n % (2 * size) == 0:
        size *= 2
    return size


def _told(step: Step) -> str:
    return f" {step.detail[0].upper()}{step.detail[1:]}." if step.detail else ""


def _advance(
    process: Process, t0: float, t1: float, smallest: float, statistics: Statistics
) -> Step:
    """Advance in one step or, when it is refused, in halves; the last step that was tried."""
    step = process.advance(t0, t1)
    statistics.add(step)
    if step.converged or (t1 - t0) / 2 < smallest * (1 - 1e-9):
        return step
    logger.info("step at t = %g ms refused (%s): halved", t0, step.outcome.name)
    middle = (t0 + t1) / 2
    first = _advance(process, t0, middle, smallest, statistics)
    if not first.converged:
        return first
    return _advance(process, middle, t1, smallest, statistics)
