"""Equilibrium or motion of a body whose cavities may be filled by a circulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray
from petsc4py import PETSc
from ufl.core.expr import Expr

from organtwin.errors import InputError
from organtwin.mechanics.cavity import Cavity
from organtwin.mechanics.dirichlet import Dirichlet as Dirichlet
from organtwin.mechanics.dirichlet import Supports, interpolated
from organtwin.mechanics.dynamics import QUASI_STATIC, GeneralisedAlpha, Levels, Scheme
from organtwin.mechanics.equations import Equations
from organtwin.mechanics.formulation import TAYLOR_HOOD, Formulation
from organtwin.mechanics.terms import Fields, History, Term
from organtwin.mesh.domain import Domain
from organtwin.process import write_back
from organtwin.solve import nonlinear
from organtwin.solve.linear import parts
from organtwin.solve.outcome import Outcome

Vector = NDArray[np.float64]

#: Time step that stands for "static" (ms): rates vanish.
STATIC = 1e9


class BloodSupply(Protocol):
    """What fills the cavities: the volume that they hold at the end of a step.

    Given the pressures of all cavities (kPa) at the end of the step, it returns their volumes
    (mm³) and the matrix ∂V/∂p.
    """

    def __call__(self, pressures: Vector) -> tuple[Vector, Vector]:
        """Volumes, and their derivative by the pressures."""
        ...


class Mechanics:
    """Displacement u and pressure p with δW(u, p) = Σ p_c ∂V_c/∂u.

    Either the cavity pressures are given (`solve` with ``pressures``) or they are unknowns of the
    constraints V_c(u) = V_c^blood(p), solved together with u and p (`solve` with ``supply``).

    Args:
        domain: Mesh with names.
        terms: Summands of the weak form.
        formulation: Finite elements of u and p.
        cavities: Blood cavities, in the order of the pressures.
        dirichlet: Prescribed displacements.
        degree: Quadrature degree of volume terms.
        scheme: Integration in time, if there is inertia.
        tolerances: Of the nonlinear solver.
        name: PETSc options prefix.

    Attributes:
        w: Unknown (u, p) at the end of the step; of u alone in a penalty formulation. In a dynamic
            problem p is that of the level where forces are evaluated.
        w_old: The same at the start of the step.
        dt: Time step (ms).
        pressures: Of the cavities (kPa).
        V: Space of u.
        Q: Space of p, None in a penalty formulation.

    Raises:
        InputError: formulation, terms and scheme do not fit each other or the mesh.
    """

    def __init__(
        self,
        domain: Domain,
        terms: Sequence[Term],
        *,
        formulation: Formulation = TAYLOR_HOOD,
        cavities: Sequence[Cavity] = (),
        dirichlet: Sequence[Dirichlet] = (),
        degree: int = 4,
        scheme: Scheme = QUASI_STATIC,
        tolerances: nonlinear.Tolerances = nonlinear.Tolerances(),
        name: str = "mechanics",
    ) -> None:
        self.domain = domain
        self.terms = tuple(terms)
        self.formulation = formulation
        self.cavities = tuple(cavities)
        self.scheme = scheme
        self.tolerances = tolerances
        self.name = name
        self.W = formulation.space(domain.mesh)
        self.V, self.Q, self._u_dofs, self._p_dofs = parts(self.W)
        self.w = fem.Function(self.W)
        self.w_old = fem.Function(self.W)
        self.dt = fem.Constant(domain.mesh, STATIC)
        self.pressures = np.zeros(len(self.cavities))
        self.levels = (
            Levels(scheme, self.V, self.dt) if isinstance(scheme, GeneralisedAlpha) else None
        )
        self._histories = {
            f"term{i}": term for i, term in enumerate(self.terms) if isinstance(term, History)
        }
        self.supports = Supports(domain, self.W, self.V, self._u_dofs, dirichlet)
        self.fields = self._fields(degree)
        self._equations = Equations(self, self.terms, self.fields)

    @property
    def u(self) -> fem.Function:
        """Displacement (mm), a copy in its own space ``V``."""
        return self._part(self.V, self._u_dofs, "displacement")

    @property
    def p(self) -> fem.Function:
        """Pressure (kPa), a copy in its own space ``Q``; tension is positive.

        Raises:
            InputError: a penalty formulation has no such unknown.
        """
        if self.Q is None:
            raise InputError(
                "Mechanics.p",
                f"formulation `{self.formulation.name}` has no pressure.",
                "Form κ/2 (J − 1/J) from the displacement, or take TAYLOR_HOOD.",
            )
        return self._part(self.Q, self._p_dofs, "pressure")

    @property
    def displacement(self) -> Expr:
        """Displacement at the end of the step as a UFL expression of the solution."""
        return self.w if self.Q is None else ufl.split(self.w)[0]

    @property
    def state(self) -> Mapping[str, Vector]:
        """Views of everything needed to go on from here, or to come back here."""
        state = {"w": self.w.x.array, "w_old": self.w_old.x.array, "pressures": self.pressures}
        if self.levels is not None:
            state["velocity"] = self.levels.velocity.x.array
            state["acceleration"] = self.levels.acceleration.x.array
        for name, term in self._histories.items():
            state |= {f"{name}.{key}": values for key, values in term.state.items()}
        return state

    def restore(self, saved: Mapping[str, Vector]) -> None:
        """Write a saved `state` back."""
        write_back(self.state, saved)

    def commit(self) -> None:
        """Accept the present solution: it becomes the start of the next step.

        Histories of terms, velocity and acceleration move to the end of the step. Collective.
        """
        if self.levels is not None:
            self.levels.at_end()
        for term in self._histories.values():
            term.commit()
        if self.levels is not None:
            self.levels.reset()
            u, u_old = (w.x.array[self._u_dofs] for w in (self.w, self.w_old))
            self.levels.take(u, u_old)
        self.w_old.x.array[:] = self.w.x.array

    def volumes(self) -> Vector:
        """Volumes of the cavities (mm³) at the present displacement; collective."""
        return self._equations.volumes()

    def move_supports(self) -> None:
        """Evaluate prescribed displacements that change in time; collective."""
        if self.supports.moves:
            self.supports.move()

    def follow_supports(self) -> None:
        """Take prescribed displacements over, with what the body does then; collective."""
        self._equations.follow_supports()

    def solve(
        self,
        *,
        pressures: Sequence[float] | Vector | None = None,
        supply: BloodSupply | None = None,
        fresh: bool = False,
        move: bool = True,
    ) -> nonlinear.Solution:
        """Find equilibrium, from the present ``w`` and ``pressures`` as a first guess; collective.

        Args:
            pressures: Cavity pressures (kPa), if they are given.
            supply: Blood volumes as a function of the pressures, if those are unknowns.
            fresh: Assemble and factorise the tangent first.
            move: Call `move_supports` first.

        Returns:
            Account; when not converged, the unknowns are those of the start.
        """
        if pressures is not None:
            self.pressures[:] = pressures
        if move:
            self.move_supports()
        self._equations.take_supply(supply)
        start = self.w.x.array.copy()
        self._equations.follow_supports()
        fresh = fresh or not self._equations.suit()
        solution = nonlinear.solve(self._equations, self.tolerances, fresh=fresh)
        if solution.outcome is not Outcome.CONVERGED:
            self.w.x.array[:] = start
        return solution

    def correct(self, times: int = 1) -> float:
        """Some Newton corrections without any test, for equations that are nearly linear.

        Returns:
            Norm of the residual, not finite when the linear solver failed. Collective.
        """
        equations = self._equations
        equations.take_supply(None)
        equations.follow_supports()
        norm = equations.evaluate()
        for _ in range(times):
            if not np.isfinite(norm) or not equations.factorise():
                return float("nan")
            equations.set(equations.get() + equations.correction())
            norm = equations.evaluate()
        return norm

    def anchor(self, share: float) -> None:
        """Tie all nodes to where they are by springs, for solves that pass an instability.

        Args:
            share: Stiffness of a node's spring over the mean one that the tangent has at a node;
                0 unties them. Collective.
        """
        self._equations.anchor(share)

    def residual(self) -> Vector:
        """Owned entries of the residual for the present unknown and loads; collective.

        They are zero where the displacement is prescribed.
        """
        return self._equations.residual()

    def tangent(self) -> PETSc.Mat:
        """Derivative of `residual` by the unknown, where both are now; collective.

        Rows and columns of prescribed displacements are those of the identity. It is the problem's
        own matrix: it changes with the next one, or with the next `solve`.
        """
        return self._equations.tangent()

    def factors(self) -> Mapping[str, Vector]:
        """What the next solve begins with besides `state`, of this rank; may be empty."""
        return self._equations.factors()

    def take_factors(self, known: Mapping[str, Vector]) -> None:
        """Begin the next solve with what `factors` told on as many ranks; collective."""
        self._equations.take_factors(known)

    def solver_description(self) -> str:
        """Linear solver in effect, as PETSc tells it; collective."""
        return self._equations.solver_description()

    def free(self, change: PETSc.Vec) -> None:
        """Remove from a change of ``w`` what prescribed displacements prevent."""
        self.supports.project(change)

    def guess(self, u: Expr) -> None:
        """Take a displacement (mm, UFL) as the first guess of the next solve."""
        function = fem.Function(self.V)
        function.interpolate(interpolated(u, self.V))
        self.w.x.array[self._u_dofs] = function.x.array

    def at_level(self) -> Vector:
        """Values of ``w`` with the displacement at the level where forces are evaluated."""
        if self.levels is None:
            return self.w.x.array
        share = 1 - self.levels.scheme.alpha_f
        return np.asarray(share * self.w.x.array + (1 - share) * self.w_old.x.array)

    def _fields(self, degree: int) -> Fields:
        if self.Q is None:
            u, p, u_old = self.w, None, self.w_old
            u_test, p_test = ufl.TestFunction(self.W), None
        else:
            u, p = ufl.split(self.w)
            u_old, _ = ufl.split(self.w_old)
            u_test, p_test = ufl.TestFunctions(self.W)
        stabilised, levels = self.formulation.stabilised, self.levels
        if levels is None:
            return Fields(u, p, u_old, u_test, p_test, self.dt, degree, stabilised)
        rates = levels.u_dot(u, u_old), levels.u_ddot(u, u_old)
        level = levels.u(u, u_old)
        return Fields(level, p, u_old, u_test, p_test, levels.dt, degree, stabilised, rates)

    def _part(self, space: fem.FunctionSpace, dofs: NDArray[np.int32], name: str) -> fem.Function:
        part = fem.Function(space, name=name)
        part.x.array[:] = self.w.x.array[dofs]
        return part
