"""Loads taken in steps: press fit first, then a cycle of forces; halved where they are too long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from dolfinx import fem

from organtwin.errors import InputError, SolverError
from organtwin.mechanics.frictional import FrictionalElasticity, FrictionalSolution
from organtwin.mechanics.interface import Interface, InterfaceReport

#: Share of a step below which it is given up.
SMALLEST = 1 / 32


@dataclass(frozen=True)
class LoadStep:
    """A part of the history of loads.

    Attributes:
        name: For messages and observers.
        apply: Sets the loads for a share of the step, 0 at its start and 1 at its end.
        increments: Number of equal parts that it is taken in at least.
    """

    name: str
    apply: Callable[[float], None]
    increments: int = 1

    def __post_init__(self) -> None:
        if self.increments < 1:
            problem = f"increments = {self.increments}."
            raise InputError(f"LoadStep `{self.name}`", problem, "It must be at least 1.")


@dataclass(frozen=True)
class StepRecord:
    """What became of a step.

    Attributes:
        name: Of the step.
        increments: Taken.
        newton: Iterations of Newton's method in all of them.
        iterations: Of the linear solver.
        seconds: Time spent.
        reports: Of each interface at its end.
    """

    name: str
    increments: int
    newton: int
    iterations: int
    seconds: float
    reports: tuple[InterfaceReport, ...]


def press_fit(interfaces: Sequence[Interface], increments: int = 1) -> LoadStep:
    """The step in which interferences come into effect, from none to all of them."""

    def apply(share: float) -> None:
        for interface in interfaces:
            interface.share = share

    return LoadStep("press fit", apply, increments)


def ramp(
    name: str,
    targets: Sequence[tuple[fem.Constant, float | Sequence[float]]],
    increments: int = 1,
) -> LoadStep:
    """A step that takes constants from what they are when it begins to their targets, linearly."""
    starts: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = []

    def apply(share: float) -> None:
        if share == 0.0:
            starts[:] = [np.array(constant.value, dtype=np.float64) for constant, _ in targets]
        for (constant, target), start in zip(targets, starts, strict=True):
            # In place, so that every form that holds the constant sees it.
            constant.value[...] = (1 - share) * start + share * np.asarray(target)

    return LoadStep(name, apply, increments)


def follow(
    problem: FrictionalElasticity,
    steps: Sequence[LoadStep],
    *,
    observe: Callable[[str, float], None] | None = None,
    smallest: float = SMALLEST,
) -> tuple[StepRecord, ...]:
    """Take all steps, each in increments that are solved and committed; collective.

    An increment without equilibrium is halved, and the next ones grow again.

    Args:
        problem: Bodies and interfaces.
        steps: In order.
        observe: Called after each increment with the step's name and the share of it.
        smallest: Share of a step below which an increment is given up.

    Raises:
        SolverError: an increment of that share has no equilibrium; the problem is as it was
            after the last one that has, and the message names the step and the share.
    """
    return tuple(_taken(problem, step, observe, smallest) for step in steps)


def _taken(
    problem: FrictionalElasticity,
    step: LoadStep,
    observe: Callable[[str, float], None] | None,
    smallest: float,
) -> StepRecord:
    done, size, solutions = 0.0, 1.0 / step.increments, list[FrictionalSolution]()
    step.apply(0.0)
    while done < 1.0:
        share = 1.0 if done + size > 1.0 - 1e-9 else done + size
        step.apply(share)
        try:
            solutions.append(problem.solve())
        except SolverError as problem_found:
            size = (share - done) / 2
            if size < smallest:
                step.apply(done)
                raise _stopped(step, done, share, problem_found) from problem_found
            continue
        problem.commit()
        done, size = share, min(2 * size, 1.0 / step.increments)
        if observe is not None:
            observe(step.name, done)
    return StepRecord(
        step.name, len(solutions), sum(s.newton for s in solutions),
        sum(s.iterations for s in solutions), sum(s.seconds for s in solutions),
        tuple(interface.report() for interface in problem.interfaces),
    )  # fmt: skip


def _stopped(step: LoadStep, done: float, share: float, cause: SolverError) -> SolverError:
    return SolverError(
        f"step `{step.name}`",
        f"{100 * done:.1f} % of it has equilibrium, {100 * share:.1f} % was not found to: {cause}",
        "Look at what slides or is open there; a load of that size may be what it holds.",
    )
