"""Newton's method for what turns far and touches: frames alone, or with the tissue around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Touching = NDArray[np.bool_]
#: What a correction takes contact of one kind to be: which points touch, or what else a system
#: tells it by.
Guess = NDArray[Any]
#: Where a system is: what `System.put` takes to bring it back there.
Place = tuple[Array, ...]

#: A Newton correction may turn a node by this much (rad), or a chord relative to its length.
REACH = 1.0
#: What a correction may leave, as the next one by the same factors, over its own size. Below 1 it
#: would be monotone; corners of metals and contact need some room (tried: 1, 4, 30; 4 was best).
GROWTH = 4.0
#: Most iterations, halvings of a correction, and size of a correction that ends the iteration.
ITERATIONS, HALVINGS, TOLERANCE = 18, 5, 1e-9
#: Most times that the contact of a correction is guessed; at first for all points at once, then for
#: one after the other.
ROUNDS, ALL_AT_ONCE = 14, 5
#: Corrections after which one that is `REACH` on the average tells that the iteration runs away.
EARLY = 3
#: Growth of a correction over the smallest one so far that tells the same.
RUNAWAY = 10.0
#: Size of a correction below which the next one may be judged by the same factors.
NEAR = 1e-2


@dataclass(frozen=True)
class Attempt:
    """How a solve ended.

    Attributes:
        converged: Whether it is an equilibrium.
        iterations: Newton corrections.
        reason: Why it is not; empty if it is.
    """

    converged: bool
    iterations: int
    reason: str = ""


class Linear(Protocol):
    """Equations linearised at a place, with factors."""

    def step(self, residual: Array) -> Array:
        """−A⁻¹ r as a step, zero where components are held."""
        ...

    def lifted(self, motion: Array) -> Array:
        """What a motion of the held components adds to the residual."""
        ...


class System[Response](Protocol):
    """Equations of bodies in contact; steps are vectors of translations and spins."""

    def respond(
        self, before: Response | None = None, step: Array | None = None, share: float = 1.0
    ) -> Response:
        """What the bodies do where they are now.

        Args:
            before: What they did before a step; None if there was none.
            step: The step; their forces are foreseen from it.
            share: Part of the step that was taken.
        """
        ...

    def residual(
        self, here: Response, touching: Sequence[Guess], *, expected: bool = False
    ) -> Array:
        """Of the free components, with the contact given; from foreseen forces if ``expected``."""
        ...

    def linearise(self, here: Response, touching: Sequence[Guess]) -> Linear | None:
        """Factors at the present place; None if they are singular."""
        ...

    def touched(self) -> list[Guess]:
        """What is or was in contact when a solve begins, for each kind of contact."""
        ...

    def foresee(self, step: Array) -> list[Guess]:
        """What a straight step would bring or leave in contact."""
        ...

    def held(self, motion: Array) -> Array:
        """Step that moves the held components alone."""
        ...

    def place(self) -> Place:
        """Where everything is."""
        ...

    def put(self, place: Place) -> None:
        """Go back."""
        ...

    def move(self, step: Array) -> None:
        """Go on."""
        ...

    def size(self, step: Array) -> float:
        """Root-mean-square of a step, in lengths of elements and rad."""
        ...

    def largest(self, step: Array) -> float:
        """Largest of its components."""
        ...


@dataclass(frozen=True)
class Correction:
    """A step that leads on.

    Attributes:
        step: As the system moves by it.
        linear: Equations that it solves.
        touching: Contact when it is done.
    """

    step: Array
    linear: Linear
    touching: list[Guess]


def find_equilibrium[R](
    system: System[R],
    prescribed: Array | None = None,
    correct: Correcting[R] | None = None,
    tolerance: float = TOLERANCE,
) -> Attempt:
    """Find equilibrium from the present place, which is kept if there is none.

    Newton's method in which the geometric part of the tangent takes the resultants that the
    last correction led to expect, not those at the state that it led to: finite rotations by a
    straight correction stretch slender beams, and the forces of that spurious stretch spoil the
    tangent. The equations are the same, but steps may be many times longer. A correction is
    halved until the residual with the expected resultants, divided by the same factors, is not
    much longer than the correction (a lenient natural monotonicity test).

    Args:
        system: Equations.
        prescribed: Motion of the held components, as the system's `held` takes it.
        correct: What finds a correction, if the system has its own way.
        tolerance: Size of what a correction leaves that ends the iteration.

    Source:
        Magisano, Leonetti & Garcea (2017), Comput. Methods Appl. Mech. Eng. 313:986–1005 (as
        remembered), for the tangent; Deuflhard (2011), Newton Methods for Nonlinear Problems,
        section 3.3, for the test.
    """
    before = system.place()
    correct = correct or partial(_correction, system)
    attempt = _iterated(system, prescribed, correct, tolerance)
    if not attempt.converged:
        system.put(before)
    return attempt


#: Finds a correction from what the bodies do, the motion of held components and a first guess of
#: the contact; None if the equations are singular.
type Correcting[R] = Callable[[R, Array | None, list[Guess]], Correction | None]


def _iterated[R](
    system: System[R], prescribed: Array | None, correct: Correcting[R], tolerance: float
) -> Attempt:
    here, touching = system.respond(), system.touched()
    smallest = np.inf
    for iteration in range(1, ITERATIONS + 1):
        moves = prescribed is not None and iteration == 1
        found = correct(here, prescribed if moves else None, touching)
        if found is None:
            return Attempt(False, iteration, "The tangent is singular: something is loose.")
        step, touching = found.step, found.touching
        size = system.size(step)
        if not np.isfinite(size):
            return Attempt(False, iteration, "The correction is not finite.")
        if iteration > EARLY and size > min(REACH, max(RUNAWAY * smallest, NEAR)):
            return Attempt(False, iteration, "The corrections grow.")
        smallest = min(size, smallest)
        moved = _searched(
            system, here, step, found.linear, touching, whole=moves, tolerance=tolerance
        )
        if moved is None:
            return Attempt(False, iteration, "No part of the correction leads on.")
        here, rest = moved
        if rest < tolerance and size < NEAR:
            return Attempt(True, iteration)
    return Attempt(False, ITERATIONS, f"No equilibrium after {ITERATIONS} corrections.")


def _correction[R](
    system: System[R], here: R, prescribed: Array | None, guess: list[Guess]
) -> Correction | None:
    """Correction whose contact is what it brings about, its factors and its contact.

    The linearised contact is solved before anything moves: points that penetrate are not all
    pressed back at once, which may ask for forces many times the true ones. When guesses go
    round in a circle, the first wrong point alone is changed, which comes to an end where the
    tangent is symmetric and positive.

    Source:
        Murty (1974), Opsearch 11:123–130, for the rule of the first wrong one.
    """
    round_ = 0
    while True:
        round_ += 1
        linear = system.linearise(here, guess)
        if linear is None:
            return None
        residual = system.residual(here, guess)
        if prescribed is None:
            step = linear.step(residual)
        else:
            start = system.held(prescribed)
            step = start + linear.step(residual + linear.lifted(start))
        found = system.foresee(step)
        same = all(np.array_equal(a, b) for a, b in zip(guess, found, strict=True))
        if same or round_ == ROUNDS:
            return Correction(step, linear, guess)
        guess = found if round_ <= ALL_AT_ONCE else _one_changed(guess, found)


def _searched[R](
    system: System[R], here: R, step: Array, linear: Linear, touching: list[Guess], *,
    whole: bool, tolerance: float,
) -> tuple[R, float] | None:  # fmt: skip
    """Move by the step or a part of it; the answer there, and size of what would follow."""
    start, size = system.place(), system.size(step)
    enough, at_start = max(GROWTH * size, tolerance), system.residual(here, touching)
    share = 1.0 if whole else min(1.0, REACH / max(system.largest(step), 1e-300))
    for halved in range(HALVINGS + 1):
        system.put(start)
        system.move(share * step)
        there = system.respond(here, step, share)
        rest = _following(system, linear, system.residual(there, touching))
        if whole or rest <= enough:
            return there, rest
        if halved == 0:
            # What presses now and will not would go on to press.
            enough = max(enough, GROWTH * _following(system, linear, at_start))
        if _following(system, linear, system.residual(there, touching, expected=True)) <= enough:
            return there, rest
        share *= 0.5
    return None


def _following[R](system: System[R], linear: Linear, residual: Array) -> float:
    """Size of the correction for a residual by given factors."""
    return system.size(linear.step(residual))


def _one_changed(guess: list[Guess], found: list[Guess]) -> list[Guess]:
    """The guess with its first wrong entry changed."""
    flat, wrong = (
        np.concatenate(guess),
        np.flatnonzero(np.concatenate(guess) != np.concatenate(found)),
    )
    flat[wrong[0]] = ~flat[wrong[0]]
    return list(np.split(flat, np.cumsum([len(part) for part in guess])[:-1]))
