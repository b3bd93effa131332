"""The quasi-Newton method on small dense systems."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.solve.nonlinear import Memory, Tolerances, solve
from organtwin.solve.outcome import Outcome

Vector = np.ndarray


class Dense:
    """r(z) = 0 with a Jacobian that is inverted when asked to."""

    def __init__(self, residual: Callable, jacobian: Callable, start: Vector) -> None:
        self.comm = MPI.COMM_SELF
        self.has_factors = False
        self.memory = Memory()
        self.z = np.array(start, dtype=float)
        self.residual, self.jacobian = residual, jacobian
        self.r = np.zeros_like(self.z)
        self.inverse = np.eye(len(self.z))

    def get(self) -> Vector:
        return self.z.copy()

    def set(self, z: Vector) -> None:
        self.z[:] = z

    def evaluate(self) -> float:
        with np.errstate(all="ignore"):
            self.r = self.residual(self.z)
        return float(np.linalg.norm(self.r))

    def correction(self) -> Vector:
        return -self.inverse @ self.r

    def closing(self, tolerance: float) -> Vector | None:
        return None

    def factorise(self) -> bool:
        self.has_factors = True
        self.memory.clear()
        self.inverse = np.linalg.inv(self.jacobian(self.z))
        return True


def stiff(c: float) -> Dense:
    """An exponential spring in series with a linear one, loaded by ``c``."""
    return Dense(
        lambda z: np.array([np.exp(8 * z[0]) - 1 - 3 * (z[1] - z[0]), 3 * (z[1] - z[0]) - c]),
        lambda z: np.array([[8 * np.exp(8 * z[0]) + 3, -3], [-3, 3]]),
        np.zeros(2),
    )


def test_stiff_exponential():
    system = stiff(50.0)
    solution = solve(system, Tolerances(increment=1e-12))
    assert solution.outcome is Outcome.CONVERGED
    exact = np.log(51.0) / 8
    assert system.z == pytest.approx([exact, exact + 50 / 3], rel=1e-10)


def test_old_factors_converge_superlinearly():
    """From factors of another load: fewer iterations than their linear rate would need."""
    system = stiff(1.0)
    solve(system)
    inverse = system.inverse.copy()
    system.residual = stiff(1.6).residual
    solution = solve(system, Tolerances(increment=1e-12))
    assert solution.outcome is Outcome.CONVERGED
    assert solution.factorisations == 0
    assert system.inverse == pytest.approx(inverse)  # kept
    assert solution.iterations < 10


def test_without_solution_the_unknown_is_restored():
    system = Dense(lambda z: z**2 + 1, lambda z: np.diag(2 * z), np.array([0.7]))
    solution = solve(system)
    assert solution.outcome is Outcome.NEWTON_STALLED
    assert system.z == pytest.approx([0.7])


def test_not_finite_is_told_and_nothing_moves():
    system = Dense(lambda z: np.log(z), lambda z: np.diag(1 / z), np.array([-1.0]))
    solution = solve(system)
    assert solution.outcome is Outcome.NOT_FINITE
    assert system.z == pytest.approx([-1.0])


def test_steps_out_of_the_domain_are_shortened():
    """log z + 3 = 0 from z = 1: the full step leaves the domain of the logarithm."""
    system = Dense(lambda z: np.log(z) + 3, lambda z: np.diag(1 / z), np.array([1.0]))
    assert solve(system, Tolerances(increment=1e-12)).outcome is Outcome.CONVERGED
    assert system.z == pytest.approx([np.exp(-3)], rel=1e-9)


def test_short_corrections_of_much_too_stiff_factors_are_no_convergence():
    system = stiff(1.0)
    system.inverse = 1e-9 * np.eye(2)
    system.has_factors = True
    solution = solve(system)
    assert solution.outcome is Outcome.CONVERGED
    assert solution.factorisations > 0
    assert system.z[0] == pytest.approx(np.log(2.0) / 8, rel=1e-6)


def test_a_linear_solver_that_fails_is_told():
    system = stiff(1.0)
    system.correction = lambda: np.full(2, np.nan)
    assert solve(system).outcome is Outcome.LINEAR_FAILED
    assert system.z.tolist() == [0.0, 0.0]


class Held(Dense):
    """x² + 2y = 5 with the constraint xy = 2, from (1.5, 1.5) to (1, 2)."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__(
            lambda z: np.array([z[0] ** 2 + 2 * z[1] - 5, z[0] * z[1] - 2]),
            lambda z: np.array([[2 * z[0], 2], [z[1], z[0]]]),
            np.array([1.5, 1.5]),
        )
        self.shift = shift

    def closing(self, tolerance: float) -> Vector | None:
        gap = self.residual(self.z)[1]
        if abs(gap) <= tolerance:
            return None
        return np.array([self.shift, -gap / self.z[0]])


def test_constraints_are_closed_beyond_the_increment():
    system = Held()
    solution = solve(system, Tolerances(increment=1e-2, constraint=1e-14))
    assert solution.outcome is Outcome.CONVERGED
    balance, gap = np.abs(system.residual(system.z))
    assert gap <= 1e-14
    assert 1e-12 < balance < 1e-2


def test_a_constraint_that_no_short_step_closes_takes_further_corrections():
    loose = Tolerances(increment=1e-2, constraint=1e-14)
    closed, corrected = Held(), Held(shift=1.0)
    iterations = [solve(system, loose).iterations for system in (closed, corrected)]
    assert iterations[1] > iterations[0]
    assert np.abs(corrected.residual(corrected.z)).max() <= 1e-14
