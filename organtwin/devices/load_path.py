"""Loads put on a frame in steps that adapt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.equilibrium import BeamProblem
from organtwin.devices.newton import Attempt, Touching
from organtwin.errors import SolverError

Array = NDArray[np.float64]

#: Iterations of a step after which the next may be longer.
GOOD = 9
#: Growth of the longest step allowed, from step to step, after one that failed.
RECOVERY = 1.1
#: Failures in a row after which a frame may snap: shorter steps cost more than to find out.
PATIENCE = 7
#: First drag of a frame that snaps, over the stiffness of its nodes; its growth when even that
#: fails, and its decay after steps that were not easy and after those that were; most steps.
DRAG, TIGHTEN, LOOSEN, RELEASE, SETTLING = 1e-3, 8.0, 0.5, 0.25, 80
#: Drag that no longer matters; motion in a step (in element lengths) that ends near.
FADED, NEARLY = 1e-8, 1e-2


@dataclass(frozen=True)
class Path:
    """Account of a load path.

    Attributes:
        steps: Steps that were accepted.
        retries: Steps that failed.
        iterations: Newton corrections.
        snaps: Instabilities that the frame was led through by drag.
        dragged: Energy that the drag took (µJ).
    """

    steps: int
    retries: int
    iterations: int
    snaps: int = 0
    dragged: float = 0.0


class Loaded(Protocol):
    """A frame, alone or with what surrounds it."""

    @property
    def beams(self) -> BeamProblem:
        """The frame."""
        ...

    def solve(self, prescribed: Array | None = None) -> Attempt:
        """Find equilibrium, as `BeamProblem.solve` does."""
        ...

    def commit(self) -> None:
        """Accept the present state."""
        ...

    def keep(self) -> Callable[[], None]:
        """What brings everything back to the accepted state."""
        ...


class Drag:
    """Forces against the motion of the nodes in a step, −k (x − x_before).

    Attributes:
        stiffness: k (mN/mm), (n,).
        taken: Energy that they took in all accepted steps (µJ).
    """

    def __init__(self, stiffness: Array, x: Array) -> None:
        self.stiffness, self.taken = stiffness, 0.0
        self._before = x.copy()

    def foresee(self, x: Array, dx: Array) -> Touching:
        """No contact."""
        return np.zeros(len(x), bool)

    def push(self, x: Array, touching: Touching | None = None) -> tuple[Array, Array]:
        """Forces and their derivatives."""
        k = self.stiffness[:, None]
        return -k * (x - self._before), -k[:, :, None] * np.eye(3)

    def commit(self, x: Array) -> None:
        """Start the next step here."""
        self.taken += float(self.stiffness @ np.sum((x - self._before) ** 2, axis=1))
        self._before = x.copy()


def settle(problem: Loaded) -> tuple[bool, float]:
    """Let a frame go slowly to an equilibrium that it can't reach at once: it snaps there.

    Steps at a constant load, each with a drag on the nodes, until that has faded away.

    Returns:
        Whether it arrived, and the energy (µJ) that the drag took. If not, the state is not good.
    """
    beams = problem.beams
    stiffness = beams.tangent().diagonal().reshape(-1, 6)[:, :3].mean(axis=1)
    length = float(np.median(beams.elements.lengths))
    share, drag = DRAG, Drag(stiffness, beams.x)
    beams.actions.append(drag)
    try:
        for _ in range(SETTLING):
            drag.stiffness, before = share * stiffness, beams.x
            attempt = problem.solve()
            if attempt.converged:
                problem.commit()
                moved = float(np.abs(beams.x - before).max()) / length
                if moved < NEARLY and share < FADED:
                    break
                share *= RELEASE if attempt.iterations <= GOOD else LOOSEN
            elif share > 1e2:
                return False, drag.taken
            else:
                share *= TIGHTEN
    finally:
        beams.actions.remove(drag)
    return problem.solve().converged, drag.taken


def follow(
    problem: Loaded,
    apply: Callable[[float], Array | None],
    *,
    first: float = 0.1,
    largest: float = 1.0,
    smallest: float = 1e-3,
    on_accept: Callable[[float], None] | None = None,
) -> Path:
    """Put a load on in steps that adapt: shorter where one fails, longer where it was easy.

    Where no equilibrium is near, however short the step, the frame snaps: `settle` leads it to the
    next one. That is tried after `PATIENCE` failures, and once more at the shortest step.

    Args:
        problem: At equilibrium with the load of factor 0.
        apply: Sets loads and contact to a factor from 0 to 1; returns the motion of held components
            from the start on (as `BeamProblem.solve` takes it), or None.
        first: First step.
        largest: Largest step; small where the way counts, as with plasticity or friction.
        smallest: Step that is not made shorter.
        on_accept: Called with the factor after each accepted step.

    Raises:
        SolverError: no equilibrium is found; the problem is at the last good one.
    """
    factor, size, good = 0.0, min(first, largest), problem.keep()
    moved = apply(0.0)
    steps = retries = iterations = snaps = failed = 0
    dragged, ceiling = 0.0, largest
    while factor < 1.0:
        end = 1.0 if factor + 1.25 * size >= 1.0 and 1.0 - factor <= largest else factor + size
        target = apply(end)
        change = None if target is None or moved is None else target - moved
        attempt = problem.solve(change)
        iterations += attempt.iterations
        if not attempt.converged:
            retries, failed = retries + 1, failed + 1
            shortest = end - factor <= smallest
            arrived, taken = False, 0.0
            if change is None and (shortest or failed == PATIENCE):
                arrived, taken = settle(problem)
            if not arrived:
                good()
                apply(factor)
                if shortest:
                    raise SolverError(
                        "frame", f"stopped at load factor {factor:.4g}: {attempt.reason}",
                        "Take smaller steps, a finer mesh or a softer contact.",
                    )  # fmt: skip
                # What was given up before any correction costs little: it may be tried again.
                room = 0.7 if attempt.iterations else 1.0
                ceiling, size = room * (end - factor), 0.5 * (end - factor)
                continue
            snaps, dragged = snaps + 1, dragged + taken
            size, ceiling = 0.1 * largest, largest  # what stood in the way lies behind
        problem.commit()
        good, factor, moved = problem.keep(), end, target
        steps, failed = steps + 1, 0
        size = min(ceiling, size * (1.6 if attempt.iterations <= GOOD else 1.0))
        ceiling = min(largest, RECOVERY * ceiling)  # what failed is not tried again at once
        if on_accept is not None:
            on_accept(factor)
    return Path(steps, retries, iterations, snaps, dragged)
