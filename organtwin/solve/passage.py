"""Through an instability: where the next equilibrium is not near, the body is let go to it slowly.

A shell that snaps through, a balloon beyond its highest pressure or a buckling strut have no
equilibrium beside the last one, and no load step is short enough. Here nodes are tied to where
they are by springs, equilibrium is found, the anchors move there, and the springs become softer
while that goes well: backward Euler steps of a motion damped by mass, with growing time steps.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from organtwin.solve.nonlinear import Solution, together
from organtwin.solve.outcome import Outcome

logger = logging.getLogger(__name__)


@runtime_checkable
class Anchored(Protocol):
    """A problem whose nodes can be tied."""

    def anchor(self, share: float) -> None:
        """Tie all nodes to where they are, with a share of their stiffness; 0 unties them."""
        ...


@dataclass(frozen=True)
class Damping:
    """How strongly nodes are tied on the way through an instability.

    Attributes:
        first: Share of a node's mean stiffness of the first springs.
        last: Share at which the body is let go.
        softer: Factor on the share after a solve that went well.
        stiffer: Factor after one that failed.
        largest: Share at which the passage is given up.
        solves: Most solves.
    """

    first: float = 1e-2
    last: float = 1e-6
    softer: float = 0.3
    stiffer: float = 10.0
    largest: float = 10.0
    solves: int = 60


def pass_through(
    problem: Anchored, solve: Callable[[], Solution], damping: Damping = Damping()
) -> Solution:
    """Find equilibrium for the present loads, however far it is; collective.

    Args:
        problem: At equilibrium with slightly smaller loads.
        solve: Solves for the present loads and leaves the unknown as it was if that fails.
        damping: How the motion is damped.

    Returns:
        Account of all solves. It has converged if the last one did, without springs.

    Source:
        Kelley & Keyes (1998), SIAM J. Numer. Anal. 35:508–523 (pseudo-transient continuation).
    """
    share = damping.first
    spent: list[Solution] = []
    while len(spent) < damping.solves and share <= damping.largest:
        free = share <= damping.last
        problem.anchor(0.0 if free else share)
        spent.append(solve())
        logger.debug("tied by %.1e: %s", share, spent[-1].outcome.name)
        good = spent[-1].outcome is Outcome.CONVERGED
        if good and free:
            return together(spent)
        share *= damping.softer if good else damping.stiffer
    problem.anchor(0.0)
    return replace(together(spent), outcome=Outcome.NEWTON_STALLED)
