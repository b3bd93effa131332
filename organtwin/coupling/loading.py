"""A load on a heart at rest, brought up slowly."""

from __future__ import annotations

import logging
from collections.abc import Callable

from organtwin.errors import SolverError
from organtwin.mechanics.problem import STATIC, Mechanics
from organtwin.solve.nonlinear import Solution
from organtwin.solve.outcome import Outcome

logger = logging.getLogger(__name__)


def ramp(
    mechanics: Mechanics, place: str, load: Callable[[float], Solution], duration: float
) -> None:
    """Solve under a growing share of a load, then hold it until nothing moves; collective.

    The load grows over ``duration``; then steps become longer until nothing moves. Viscosity
    carries the tissue through the soft toe of its law, and a step that stalls is halved.

    Args:
        mechanics: What is loaded.
        place: What is done, for messages.
        load: Solves under a share of the load.
        duration: Time of the ramp (ms).

    Raises:
        SolverError: no equilibrium is found.
    """
    t, dt = 0.0, duration / 20
    while dt < STATIC:
        if t < duration:
            dt = min(dt, duration - t)
        mechanics.dt.value = dt
        share = min((t + dt) / duration, 1.0)
        solution = load(share)
        if solution.outcome is Outcome.CONVERGED:
            mechanics.commit()
            t += dt
            dt *= 1.5 if t < duration else 4.0
            logger.info("%s: %.0f %%", place, 100 * share)
            continue
        dt /= 2
        if dt < duration / 2000:
            raise SolverError(
                place,
                f"stalled at {100 * share:.1f} % of the load ({solution.outcome.name}).",
                "Lower the filling pressure, or use a stiffer tissue or a finer mesh.",
            )
