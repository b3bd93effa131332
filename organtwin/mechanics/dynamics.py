"""Motion in time: the schemes that inertia is integrated by, and the process that steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray
from ufl.core.expr import Expr

from organtwin.errors import InputError
from organtwin.mechanics.terms import Inertia as Inertia
from organtwin.process import write_back
from organtwin.solve.nonlinear import Solution, together
from organtwin.solve.outcome import Outcome, Step

if TYPE_CHECKING:
    from organtwin.mechanics.problem import Mechanics

Array = NDArray[np.float64]


@dataclass(frozen=True)
class QuasiStatic:
    """No inertia: forces balance at the end of each step, rates are backward differences."""


@dataclass(frozen=True)
class GeneralisedAlpha:
    """The generalised-α method; with both α zero, Newmark's.

        M a_{n+1−αm} + f_int(u_{n+1−αf}) = f_ext(t_{n+1−αf}),     x_{n+1−α} = (1−α) x_{n+1} + α x_n
        u_{n+1} = u_n + Δt v_n + Δt² [(½−β) a_n + β a_{n+1}]
        v_{n+1} = v_n + Δt [(1−γ) a_n + γ a_{n+1}]

    Second order and, for linear problems, unconditionally stable with γ = ½ − αm + αf and
    β = ¼ (1 − αm + αf)², which are taken unless others are given.

    Attributes:
        alpha_m: αm, weight of the old acceleration.
        alpha_f: αf, weight of the old displacement and velocity, and of the old time.
        beta: β of Newmark.
        gamma: γ of Newmark.

    Raises:
        InputError: the parameters do not make a stable scheme.

    Source:
        Chung & Hulbert (1993), J. Appl. Mech. 60:371–375.
    """

    alpha_m: float
    alpha_f: float
    beta: float = float("nan")
    gamma: float = float("nan")

    def __post_init__(self) -> None:
        if np.isnan(self.gamma):
            object.__setattr__(self, "gamma", 0.5 - self.alpha_m + self.alpha_f)
        if np.isnan(self.beta):
            object.__setattr__(self, "beta", (1 - self.alpha_m + self.alpha_f) ** 2 / 4)
        slack = 1e-12
        if not (
            self.alpha_m <= self.alpha_f + slack
            and 0 <= self.alpha_f <= 0.5 + slack
            and self.gamma >= 0.5 - self.alpha_m + self.alpha_f - slack
            and self.beta >= self.gamma / 2 - slack
        ):
            raise InputError(
                "GeneralisedAlpha",
                f"αm = {self.alpha_m}, αf = {self.alpha_f}, β = {self.beta}, γ = {self.gamma} "
                "is not an unconditionally stable scheme.",
                "It needs αm ≤ αf ≤ ½, γ ≥ ½ − αm + αf and β ≥ γ/2; "
                "`GeneralisedAlpha.from_radius(0.8)` chooses all of them.",
            )

    @classmethod
    def from_radius(cls, rho_inf: float) -> Self:
        """The scheme that damps the highest frequencies by ``rho_inf`` per step and low ones least.

        Args:
            rho_inf: Spectral radius at infinite frequency: 1 damps nothing, 0 everything.

        Raises:
            InputError: outside 0 to 1.
        """
        if not 0 <= rho_inf <= 1:
            raise InputError("GeneralisedAlpha", f"rho_inf = {rho_inf}.", "It must be 0 to 1.")
        return cls((2 * rho_inf - 1) / (rho_inf + 1), rho_inf / (rho_inf + 1))

    @classmethod
    def newmark(cls, beta: float = 0.25, gamma: float = 0.5) -> Self:
        """Newmark's method; by default the average acceleration, which damps nothing."""
        return cls(0.0, 0.0, beta, gamma)


Scheme = QuasiStatic | GeneralisedAlpha

QUASI_STATIC = QuasiStatic()
#: Average acceleration: second order, without damping.
NEWMARK = GeneralisedAlpha.newmark()


class Levels:
    """Displacement, velocity and acceleration at the level where a scheme evaluates forces.

    The parameters are constants of the forms, so other schemes recompile nothing.

    Args:
        scheme: Of the time integration.
        V: Space of the displacement.
        dt: Time step (ms).
    """

    def __init__(self, scheme: GeneralisedAlpha, V: fem.FunctionSpace, dt: fem.Constant) -> None:
        self.scheme = scheme
        self.velocity = fem.Function(V, name="velocity")
        self.acceleration = fem.Function(V, name="acceleration")
        self._comm = V.mesh.comm
        self._dt = dt
        self._alpha_m, self._alpha_f, self._beta, self._gamma = (
            fem.Constant(V.mesh, float(value))
            for value in (scheme.alpha_m, scheme.alpha_f, scheme.beta, scheme.gamma)
        )

    @property
    def dt(self) -> Expr:
        """Time from the start of the step to the level of the forces (ms)."""
        return (1 - self._alpha_f) * self._dt

    @property
    def share(self) -> Expr:
        """∂u/∂u_{n+1} = 1 − αf."""
        return 1 - self._alpha_f

    def u(self, new: Expr, old: Expr) -> Expr:
        """u_{n+1−αf}."""
        return (1 - self._alpha_f) * new + self._alpha_f * old

    def u_dot(self, new: Expr, old: Expr) -> Expr:
        """v_{n+1−αf}."""
        v, a, dt, beta, gamma = (
            self.velocity, self.acceleration, self._dt, self._beta, self._gamma,
        )  # fmt: skip
        v_new = gamma / (beta * dt) * (new - old) + (1 - gamma / beta) * v
        v_new += dt * (1 - gamma / (2 * beta)) * a
        return (1 - self._alpha_f) * v_new + self._alpha_f * v

    def u_ddot(self, new: Expr, old: Expr) -> Expr:
        """a_{n+1−αm}."""
        v, a, dt, beta = self.velocity, self.acceleration, self._dt, self._beta
        a_new = (new - old - dt * v) / (beta * dt**2) - (1 / (2 * beta) - 1) * a
        return (1 - self._alpha_m) * a_new + self._alpha_m * a

    def set(self, alpha_m: float, alpha_f: float, beta: float, gamma: float) -> None:
        """Put other parameters in."""
        constants = (self._alpha_m, self._alpha_f, self._beta, self._gamma)
        for constant, value in zip(constants, (alpha_m, alpha_f, beta, gamma), strict=True):
            constant.value = value

    def reset(self) -> None:
        """Put the scheme's parameters back in."""
        s = self.scheme
        self.set(s.alpha_m, s.alpha_f, s.beta, s.gamma)

    def at_end(self) -> None:
        """Let the expressions mean the end of the step; `reset` undoes it."""
        s = self.scheme
        self.set(0.0, 0.0, s.beta, s.gamma)

    def guess(self, u_old: Array) -> Array:
        """Displacement at the end of the step if the acceleration stays; collective.

        That of nodes which tremble leads astray: ``u_old``, if the largest acceleration would undo
        the largest velocity within the step.
        """
        dt = float(self._dt.value)
        v, a = self.velocity.x.array, self.acceleration.x.array
        fastest, change = (
            self._comm.allreduce(float(np.abs(rate).max(initial=0.0)), op=MPI.MAX)
            for rate in (v, dt * a)
        )
        return np.asarray(u_old + dt * v + dt**2 / 2 * a if change <= fastest else u_old)

    def take(self, u_new: Array, u_old: Array) -> None:
        """Move velocity and acceleration to the end of the step that led to ``u_new``."""
        dt, s = float(self._dt.value), self.scheme
        v, a = self.velocity.x.array, self.acceleration.x.array
        a_new = (u_new - u_old - dt * v) / (s.beta * dt**2) - (0.5 / s.beta - 1) * a
        v[:] += dt * ((1 - s.gamma) * a + s.gamma * a_new)
        a[:] = a_new


#: Length of the step that the first acceleration is found by, relative to the first step.
FIRST = 1e-2


def no_loads(t: float) -> None:
    """Loads that do not change."""


class SolidDynamics:
    """Motion of a body in time, a `Process`.

    Each step sets the loads at the level where the scheme balances forces, the prescribed
    displacements at its end, and solves: from where the acceleration leads and, if that fails, from
    where the body is. The acceleration at the start is solved for in the first step. A quasi-static
    problem is stepped in the same way.

    Args:
        problem: What moves, at rest unless ``problem.w`` and the velocity say otherwise.
        loads: Sets the constants and functions of the loads and of prescribed motion to a time
            (ms), and returns the cavity pressures (kPa) if there are cavities.
    """

    def __init__(
        self, problem: Mechanics, loads: Callable[[float], Array | None] = no_loads
    ) -> None:
        self.problem = problem
        self.loads = loads
        self._started = np.zeros(1)
        problem.w_old.x.array[:] = problem.w.x.array

    @property
    def state(self) -> Mapping[str, Array]:
        """Everything needed to go on from here."""
        return {**self.problem.state, "started": self._started}

    def advance(self, t0: float, t1: float) -> Step:
        """One step; on failure everything is as it was at ``t0``."""
        saved = {name: values.copy() for name, values in self.state.items()}
        problem, levels = self.problem, self.problem.levels
        problem.dt.value = t1 - t0
        if levels is not None and not self._started[0] and not self._start(t0, t1 - t0):
            self.restore(saved)
            return Step(t0, t1, Outcome.NOT_FINITE, detail="no acceleration at the start")
        if levels is not None:
            u = levels.guess(problem.w_old.x.array[problem._u_dofs])
            problem.w.x.array[problem._u_dofs] = u
        solution = self._solve(t0, t1)
        if levels is not None and solution.outcome is not Outcome.CONVERGED:
            problem.w.x.array[:] = problem.w_old.x.array
            solution = together([solution, self._solve(t0, t1)])
        step = Step(
            t0, t1, solution.outcome, solution.iterations, 0,
            solution.factorisations, solution.residual,
        )  # fmt: skip
        if not step.converged:
            self.restore(saved)
            return step
        problem.commit()
        return step

    def restore(self, saved: Mapping[str, Array]) -> None:
        """Write a saved state back."""
        write_back(self.state, saved)

    def _solve(self, t0: float, t1: float) -> Solution:
        problem, levels = self.problem, self.problem.levels
        self.loads(t1)
        problem.move_supports()
        share = 0.0 if levels is None else levels.scheme.alpha_f
        pressures = self.loads((1 - share) * t1 + share * t0)
        return problem.solve(pressures=pressures, move=False)

    def _start(self, t0: float, dt: float) -> bool:
        """Find the acceleration that belongs to displacement, velocity and loads at ``t0``.

        A step so short that displacement and loads hardly change is an equation for the
        acceleration a, u = u₀ + h v₀ + h²/2 a, and of an incompressible body for the pressure.
        Its forces are those of ``t0`` but for O(h), a hundredth of the first step's own error.

        Returns:
            Whether there is one: the forces are finite.
        """
        problem, levels = self.problem, self.problem.levels
        assert levels is not None
        w, w_old = problem.w.x.array, problem.w_old.x.array
        dofs, h = problem._u_dofs, FIRST * dt
        problem.dt.value = h
        levels.set(0.0, 0.0, 0.5, 1.0)
        pressures = self.loads(t0 + h)
        if pressures is not None:
            problem.pressures[:] = pressures
        problem.move_supports()
        w[dofs] = w_old[dofs] + h * levels.velocity.x.array
        residual = problem.correct(times=3)
        levels.reset()
        problem.dt.value = dt
        if not np.isfinite(residual):
            return False
        a = 2 / h**2 * (w[dofs] - w_old[dofs] - h * levels.velocity.x.array)
        levels.acceleration.x.array[:] = a
        w_old[problem._p_dofs] = w[problem._p_dofs]
        w[dofs] = w_old[dofs]
        self._started[0] = 1.0
        return True
