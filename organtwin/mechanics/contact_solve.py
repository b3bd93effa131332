"""How problems with contact are solved: Newton's method that lets pairs open and close, Uzawa's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mechanics.contact import Contact
from organtwin.mechanics.contact_surface import Floats
from organtwin.solve import nonlinear
from organtwin.solve.outcome import Outcome

if TYPE_CHECKING:
    from organtwin.mechanics.equations import Equations
    from organtwin.mechanics.problem import Mechanics

#: Lengths of a Newton step that are tried, in this order.
LENGTHS = (1.0, 0.5, 0.25, 0.1)
#: Shares of the penalties that lead to the full ones where those are too stiff to begin with.
SOFTER = (0.03, 0.2, 1.0)
#: An iteration whose residual has grown by this factor is given up.
GIVE_UP = 30.0


@dataclass(frozen=True)
class Augmentation:
    """Account of an augmented Lagrangian solve.

    Attributes:
        converged: Whether every solve converged and the penetration is below its tolerance.
        rounds: Solves.
        penetration: Largest penetration at the end (mm).
    """

    converged: bool
    rounds: int
    penetration: float


def solve_in_contact(
    problem: Mechanics, contacts: Sequence[Contact], *, corrections: int = 30
) -> nonlinear.Solution:
    """Newton's method until the pairs in contact stay the same, then `solve`.

    A point that opens or closes changes the tangent at once, so that kept factors and the test of
    monotonicity of `solve` mislead. Here the tangent is new in each step, and of several lengths
    of the step the first is taken that lessens the residual, or the least bad one, since the way
    may lead over a larger residual. Where that does not end, a contact with soft penalties is
    solved first. Collective.

    Args:
        problem: Problem with these contacts among its terms.
        contacts: Contacts whose pairs are watched.
        corrections: Most steps with one penalty; `solve` is left alone with it when neither way
            ends.

    Returns:
        Account of `solve`, with the steps and factorisations before it. When it did not converge,
        the unknowns and what the contacts remember are those of the start.
    """
    start, done, kept = problem.w.x.array.copy(), 0, _remembered(contacts)
    problem.move_supports()
    for stages in ((1.0,), SOFTER):
        problem.w.x.array[:] = start
        # Factors of where the first way led to would mislead.
        problem._equations.has_factors &= done == 0
        problem._equations.follow_supports()
        for share in stages:
            settled, count = _settle(problem, contacts, share, corrections)
            done += count
            if not settled:
                break
        if settled:
            break
    else:
        problem.w.x.array[:] = start
    solution = problem.solve()
    if solution.outcome is not Outcome.CONVERGED:
        problem.w.x.array[:] = start
        _take_back(contacts, kept)
    return replace(
        solution,
        iterations=solution.iterations + done,
        factorisations=solution.factorisations + done,
    )


def _settle(
    problem: Mechanics, contacts: Sequence[Contact], share: float, corrections: int
) -> tuple[bool, int]:
    """Whether the pairs came to rest with a share of the penalties, and the steps that it took."""
    equations, comm = problem._equations, problem.domain.comm
    for contact in contacts:
        contact.soften(share)
    try:
        norm, before = equations.evaluate(), _pattern(contacts)
        limit = GIVE_UP * norm
        for done in range(1, corrections + 1):
            if not np.isfinite(norm) or not equations.factorise():
                return False, done
            norm = _best_step(equations, norm)
            after = _pattern(contacts)
            same, before = np.array_equal(before, after), after
            # Where the residual is not finite the pairs are not looked for.
            if np.isfinite(norm) and comm.allreduce(same, op=MPI.LAND):
                return True, done
            if not norm <= limit:
                return False, done
        return False, corrections
    finally:
        for contact in contacts:
            contact.soften(1.0)


def _best_step(equations: Equations, norm: float) -> float:
    """Go along the correction as far as it helps; norm of the residual there."""
    z, correction = equations.get(), equations.correction()
    found = []
    for length in LENGTHS:
        equations.set(z + length * correction)
        found.append(equations.evaluate())
        if found[-1] < norm:
            return found[-1]
    best = int(np.nanargmin([*found, np.finfo(float).max]))
    equations.set(z + LENGTHS[min(best, len(LENGTHS) - 1)] * correction)
    return equations.evaluate()


def _pattern(contacts: Sequence[Contact]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, dtype=np.int64), *(c.pattern() for c in contacts)])


def _remembered(contacts: Sequence[Contact]) -> list[Mapping[str, Floats]]:
    return [{name: values.copy() for name, values in c.state.items()} for c in contacts]


def _take_back(contacts: Sequence[Contact], kept: Sequence[Mapping[str, Floats]]) -> None:
    for contact, saved in zip(contacts, kept, strict=True):
        for name, values in contact.state.items():
            values[...] = saved[name]


def augmented(
    contacts: Sequence[Contact],
    solve: Callable[[], bool],
    *,
    penetration: float,
    rounds: int = 20,
) -> Augmentation:
    """Solve, and take the tractions as multipliers, until the penetration is small (Uzawa).

    Args:
        contacts: Contacts of the problem that ``solve`` solves.
        solve: One solve of the problem; whether it converged.
        penetration: Largest that is tolerated (mm).
        rounds: Most solves.

    Returns:
        Account. The multipliers stay, as the first guess of the next step, unless a solve did not
        converge: the contacts then remember what they did before the first.
    """
    if not penetration > 0:
        raise InputError("augmented", f"penetration = {penetration:g} mm.", "It must be > 0.")
    depth, kept = np.inf, _remembered(contacts)
    for done in range(1, rounds + 1):
        if not solve():
            _take_back(contacts, kept)
            return Augmentation(False, done, depth)
        depth = max((c.report().penetration for c in contacts), default=0.0)
        if depth <= penetration:
            return Augmentation(True, done, depth)
        for contact in contacts:
            contact.augment()
    return Augmentation(False, rounds, depth)
