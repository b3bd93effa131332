"""The convergence steward: follows a load from 0 to 1, goes back when a step fails, says why."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as File
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, SolverError
from organtwin.parallel import agree, on_root
from organtwin.solve.diagnosis import Distortion, Failing, cause, free_motions, switches
from organtwin.solve.nonlinear import Solution
from organtwin.solve.outcome import Outcome
from organtwin.solve.passage import Anchored, Damping, pass_through

logger = logging.getLogger(__name__)

Vector = NDArray[np.float64]

#: Iterations of a step that went well; the next one may then be longer.
GOOD = 10
#: Growth of the load step after one that went well, and after one that was laborious.
GROWTH, CAUTION = 2.0, 0.7
#: What is left of a load step that failed.
RETREAT = 0.4
#: Load step through an instability, over the first one.
STRIDE = 0.1


class Problem(Failing, Protocol):
    """What can be steered: `Mechanics`, or what looks like it."""

    @property
    def state(self) -> Mapping[str, Vector]:
        """Views of everything needed to come back."""
        ...

    def restore(self, saved: Mapping[str, Vector]) -> None:
        """Write a saved state back."""
        ...

    def commit(self) -> None:
        """Accept the present solution."""
        ...

    def solve(self) -> Solution:
        """Find equilibrium for the present loads from the present unknown."""
        ...


@dataclass(frozen=True)
class LoadStep:
    """Account of one attempt.

    Attributes:
        start: Load factor that it started from.
        end: Load factor that it aimed at.
        outcome: How it ended.
        iterations: Nonlinear iterations.
        factorisations: Tangents assembled and factorised.
        seconds: It took.
        passage: Whether it went through an instability (`pass_through`).
    """

    start: float
    end: float
    outcome: Outcome
    iterations: int
    factorisations: int
    seconds: float
    passage: bool = False

    @property
    def accepted(self) -> bool:
        """Whether it was kept."""
        return self.outcome is Outcome.CONVERGED


@dataclass(frozen=True)
class Path:
    """Account of a load path.

    Attributes:
        factor: Load factor reached; 1 when all of the load is on.
        attempts: All steps, also those that failed.
        reason: Why it was given up, in one sentence; empty if it was not.
        saved: Where the last good state lies, if it was given up.
        seconds: Time spent on ``residual``, ``tangent`` and ``solve``, and ``total``.
    """

    factor: float
    attempts: tuple[LoadStep, ...]
    reason: str = ""
    saved: File | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def converged(self) -> bool:
        """Whether the whole load is on."""
        return not self.reason

    @property
    def steps(self) -> int:
        """Load steps that were accepted."""
        return sum(attempt.accepted for attempt in self.attempts)

    @property
    def retries(self) -> int:
        """Load steps that failed."""
        return len(self.attempts) - self.steps

    @property
    def passages(self) -> int:
        """Instabilities that the path went through: there it is not smooth."""
        return sum(attempt.accepted and attempt.passage for attempt in self.attempts)

    @property
    def iterations(self) -> int:
        """Nonlinear iterations, those of failed steps included."""
        return sum(attempt.iterations for attempt in self.attempts)

    @property
    def factorisations(self) -> int:
        """Tangents assembled and factorised, those of failed steps included."""
        return sum(attempt.factorisations for attempt in self.attempts)

    def require(self) -> None:
        """Raise what went wrong.

        Raises:
            SolverError: the path was given up.
        """
        if not self.converged:
            raise SolverError("load path", self.reason, f"The last good state is in {self.saved}.")


def follow(
    problem: Problem,
    apply: Callable[[float], None],
    *,
    first: float = 0.1,
    largest: float = 1.0,
    smallest: float = 1e-4,
    start: float = 0.0,
    attempts: int = 200,
    damping: Damping | None = Damping(),
    on_accept: Callable[[float], None] | None = None,
    solve: Callable[[], Solution] | None = None,
    save_to: str | File | None = None,
) -> Path:
    """Put a load on step by step; collective.

    The first guess of a step extrapolates the last ones. A step that took few iterations is
    followed by a longer one. When a step fails, or leaves an element inside out, problem and
    histories go back to the last good state and a shorter step is tried, down to ``smallest``.
    Then the body may be at an instability, and is let go slowly to the next equilibrium
    (`pass_through`). If there is none, the state is written to disk and the reason is told.

    Args:
        problem: At equilibrium with the load of ``start``.
        apply: Sets all loads to a factor, from 0 (none) to 1.
        first: First step of the factor.
        largest: Largest step; smaller where the way counts, as with friction or plasticity.
        smallest: Smallest step before giving up.
        start: Factor to start from, as `resume` returns it.
        attempts: Most attempts before giving up.
        damping: Of the motion through an instability; None to give up there.
        on_accept: Called with the factor after each accepted step, for output.
        solve: Solves for the present loads; ``problem.solve()`` if None.
        save_to: Folder for the last good state; a new temporary one if None.

    Returns:
        Account. When the path was given up, ``problem`` is in the last good state.

    Raises:
        InputError: step sizes that can't be.
    """
    _check(first, largest, smallest, start)
    way = _Way(problem, apply, solve or problem.solve, start)
    size = first
    while way.factor < 1.0:
        size = _fitted(min(size, largest), 1.0 - way.factor)
        attempt = way.attempt(size)
        size *= _growth(attempt) if attempt.accepted else RETREAT
        if not attempt.accepted and size < smallest and way.may_pass(damping):
            size = _fitted(max(STRIDE * first, smallest), 1.0 - way.factor)
            attempt = way.attempt(size, damping)
        spent = len(way.attempts) >= attempts
        if not attempt.accepted:
            if spent or size < smallest or attempt.passage:
                return way.give_up(save_to)
            continue
        if on_accept is not None:
            on_accept(way.factor)
        if spent and way.factor < 1.0:
            return way.stop(f"{attempts} attempts were made.", save_to)
        size = max(size, smallest)
    return way.account()


class _Way:
    """Where the path is, and where it came from."""

    def __init__(
        self,
        problem: Problem,
        apply: Callable[[float], None],
        solve: Callable[[], Solution],
        factor: float,
    ) -> None:
        self.problem, self._apply, self._solve = problem, apply, solve
        self.factor = factor
        self.attempts: list[LoadStep] = []
        self._seconds = {"residual": 0.0, "tangent": 0.0, "solve": 0.0}
        self._began = time.perf_counter()
        self._good = _copy(problem.state)
        self._past: list[tuple[float, Vector]] = [(factor, problem.w.x.array.copy())]
        self._failure: Solution | None = None
        self._switches = 0
        self._distortion = Distortion(problem)

    def may_pass(self, damping: Damping | None) -> bool:
        """Whether an instability is to be passed: not a part that nothing holds."""
        may = damping is not None and isinstance(self.problem, Anchored)
        return may and not free_motions(self.problem)

    def attempt(self, size: float, damping: Damping | None = None) -> LoadStep:
        """Try a load step, directly or slowly through an instability."""
        began = time.perf_counter()
        # 1 − s + s is not always 1.
        end = 1.0 if self.factor + size > 1.0 - 1e-12 else self.factor + size
        if damping is None:
            self.problem.w.x.array[:] = self._extrapolated(end)
        self._apply(end)
        if damping is not None and isinstance(self.problem, Anchored):
            solution = pass_through(self.problem, self._soundly, damping)
        else:
            solution = self._sound(self._solve())
        for part, seconds in solution.seconds.items():
            self._seconds[part] = self._seconds.get(part, 0.0) + seconds
        step = LoadStep(
            self.factor, end, solution.outcome, solution.iterations, solution.factorisations,
            time.perf_counter() - began, damping is not None,
        )  # fmt: skip
        self.attempts.append(step)
        if step.accepted:
            self._accept(end)
            if step.passage:
                logger.info("%s: passed an instability at load %.4f", self.problem.name, end)
                del self._past[:-1]  # the path jumps: nothing to extrapolate
        else:
            self._go_back(solution)
        return step

    def account(self, reason: str = "", saved: File | None = None) -> Path:
        seconds = {**self._seconds, "total": time.perf_counter() - self._began}
        return Path(self.factor, tuple(self.attempts), reason, saved, seconds)

    def give_up(self, folder: str | File | None) -> Path:
        tried = self.attempts[-1]
        assert self._failure is not None
        motions = free_motions(self.problem)
        self._apply(tried.end)
        why = cause(self.problem, self._failure, motions, self._switches)
        self.problem.restore(self._good)
        self._apply(self.factor)
        return self.stop(why, folder)

    def stop(self, why: str, folder: str | File | None) -> Path:
        """Account with the reason; the last good state is written."""
        saved = save(self.problem, self.factor, folder)
        reason = (
            f"{why} The load factor reached is {self.factor:.4g}; a step to "
            f"{self.attempts[-1].end:.4g} was the last tried."
        )
        logger.warning("%s: %s State: %s", self.problem.name, reason, saved)
        return self.account(reason, saved)

    def _sound(self, solution: Solution) -> Solution:
        """The solution, refused if it turns an element inside out: laws are blind to that."""
        if solution.outcome is not Outcome.CONVERGED or self._distortion.smallest() > 0:
            return solution
        return replace(solution, outcome=Outcome.INVERTED, trial=self.problem.w.x.array.copy())

    def _soundly(self) -> Solution:
        """Solve; on failure, also by an element inside out, the unknown is as before."""
        w = self.problem.w.x.array
        before = w.copy()
        solution = self._sound(self._solve())
        if solution.outcome is not Outcome.CONVERGED:
            w[:] = before
        return solution

    def _accept(self, factor: float) -> None:
        self.problem.commit()
        self.factor = factor
        self._good = _copy(self.problem.state)
        self._past = [*self._past[-2:], (factor, self.problem.w.x.array.copy())]
        self._failure = None

    def _go_back(self, solution: Solution) -> None:
        self._failure, self._switches = solution, switches(self.problem)
        self.problem.restore(self._good)
        self._apply(self.factor)
        # Curvature of the path misled the guess, or was no smooth curve: a straight line next.
        self._past = self._past[-2:]

    def _extrapolated(self, factor: float) -> Vector:
        """Polynomial through the last good states, of degree 2 at most."""
        guess = np.zeros_like(self._past[0][1])
        for s, w in self._past:
            others = [other for other, _ in self._past if other != s]
            guess += float(np.prod([(factor - other) / (s - other) for other in others])) * w
        return guess


def save(problem: Problem, factor: float, folder: str | File | None = None) -> File:
    """Write the state of a problem, one file per rank; collective.

    Args:
        problem: What is written.
        factor: Load factor that it belongs to.
        folder: Where; a new temporary one if None.

    Returns:
        The folder.

    Raises:
        InputError: it can't be written there.
    """
    comm = problem.domain.comm
    target = on_root(comm, lambda: _folder(problem.name, folder))
    extra = {"load_factor": np.array(factor), "ranks": np.array(comm.size)}
    arrays: dict[str, Any] = {**problem.state, **extra}
    error = None
    try:
        np.savez(_file(target, problem.name, comm.rank), **arrays)
    except OSError as failure:
        error = InputError(
            str(target), f"the state can't be written ({failure.strerror}).", "Choose another."
        )
    agree(comm, error)
    return target


def resume(problem: Problem, folder: str | File) -> float:
    """Read a state written by `save` into the same problem on as many ranks; collective.

    Returns:
        Its load factor, for `follow` to start from.

    Raises:
        InputError: there is none, or it is that of another mesh or number of ranks.
    """
    comm = problem.domain.comm
    file = _file(File(folder), problem.name, comm.rank)
    found: Mapping[str, Vector] = {}
    error = None
    try:
        with np.load(file) as data:
            found = dict(data)
        error = _unlike(problem, found, file)
    except (OSError, ValueError, KeyError, BadZipFile):
        error = InputError(str(file), "no saved state here.", "Check folder, name and ranks.")
    agree(comm, error)
    problem.restore(found)
    return float(found["load_factor"])


def _unlike(problem: Problem, found: Mapping[str, Vector], file: File) -> InputError | None:
    """Why a saved state does not fit."""
    ranks = problem.domain.comm.size
    if int(found["ranks"]) != ranks:
        return InputError(
            str(file),
            f"written on {int(found['ranks'])} ranks, read on {ranks}.",
            "Run on as many ranks.",
        )
    for name, values in problem.state.items():
        if name not in found or found[name].shape != values.shape:
            return InputError(
                str(file),
                f"`{name}` does not fit this problem.",
                "Mesh, formulation and terms must be those that it was written with.",
            )
    return None


def _check(first: float, largest: float, smallest: float, start: float) -> None:
    if not 0 < smallest <= first or largest <= 0:
        raise InputError(
            "follow",
            f"first = {first}, largest = {largest}, smallest = {smallest}.",
            "Steps are positive, and the smallest is not larger than the first.",
        )
    if not 0 <= start < 1:
        raise InputError("follow", f"start = {start}.", "It is a load factor from 0 up to 1.")


def _fitted(size: float, rest: float) -> float:
    """The step, or the whole rest where next to nothing would remain."""
    return rest if size > 0.75 * rest else size


def _growth(attempt: LoadStep) -> float:
    if attempt.iterations <= GOOD and attempt.factorisations <= 1:
        return GROWTH
    return CAUTION if attempt.iterations > 2 * GOOD else 1.0


def _copy(state: Mapping[str, Vector]) -> dict[str, Vector]:
    return {name: values.copy() for name, values in state.items()}


def _folder(name: str, folder: str | File | None) -> File:
    if folder is None:
        return File(tempfile.mkdtemp(prefix=f"organtwin-{name}-"))
    File(folder).mkdir(parents=True, exist_ok=True)
    return File(folder)


def _file(folder: File, name: str, rank: int) -> File:
    return folder / f"{name}.{rank}.npz"
