"""The equations of `Mechanics` as a nonlinear system: residual, tangent, cavities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc
from ufl.algorithms.analysis import extract_constants

from organtwin.mechanics.anchors import Anchors
from organtwin.mechanics.terms import Assembled, Fields, Refreshed, Term
from organtwin.solve import nonlinear
from organtwin.solve.assembly import compiled, integral
from organtwin.solve.linear import DirectSolver, LinearSolver, solver_for

if TYPE_CHECKING:
    from organtwin.mechanics.cavity import Cavity
    from organtwin.mechanics.problem import BloodSupply, Mechanics

Vector = NDArray[np.float64]


class Equations:
    """`nonlinear.System` of the unknowns (w, cavity pressures), the latter held by rank 0.

    With K = ∂R/∂w, b_c = ∂V_c/∂w and D = ∂V^blood/∂p, a correction solves

        K δw − Σ b_c δp_c = −R,     b_c·δw − (V^blood(p + δp) − V^blood(p))_c = V^blood_c − V_c

    by the Schur complement in δp; the columns K⁻¹ b_c are kept with the factors. The blood's
    volume is piecewise linear in p (valves open and close), so the small equation is iterated.

    In a dynamic problem b_c stands for the level of the forces, V_c for the end of the step.
    """

    def __init__(self, problem: Mechanics, terms: Sequence[Term], s: Fields) -> None:
        self.problem = problem
        self.comm = problem.domain.comm
        self.supply: BloodSupply | None = None
        self.has_factors = False
        self.memory = nonlinear.Memory()
        self._memory_is_supplied = False  # whether its pairs hold pressures
        self._anchors: Anchors | None = None
        self._dt_of_factors = 0.0
        self._share_of_factors = 0.0
        self._refreshed = [term for term in terms if isinstance(term, Refreshed)]
        self._assembled = [term for term in terms if isinstance(term, Assembled)]
        residual = sum((term.form(problem.domain, s) for term in terms), start=ufl.Form([]))
        self._cavities = [_Loaded(problem, cavity, s) for cavity in problem.cavities]
        for cavity in self._cavities:
            residual -= cavity.p * cavity.work
        self._has_rates = problem.dt in extract_constants(residual)
        self._residual = compiled(residual)
        self._tangent = compiled(ufl.derivative(residual, problem.w))
        self._A = fem_petsc.create_matrix(self._tangent)
        # Without and with supports, where the general tangent is used.
        self._K: PETSc.Mat | None = None
        self._free: PETSc.Mat | None = None
        self._R = fem_petsc.create_vector(problem.W)
        self._b = [self._R.duplicate() for _ in self._cavities]
        self._x = self._R.duplicate()
        self._columns = [self._R.duplicate() for _ in self._cavities]
        self._solver = self._solver_of(self._A)
        self._n = problem.W.dofmap.index_map.size_local * problem.W.dofmap.index_map_bs
        self._gap = np.zeros(len(self._cavities))
        self._schur = np.zeros((len(self._cavities), len(self._cavities)))

    def take_supply(self, supply: BloodSupply | None) -> None:
        """Let the cavity pressures be unknowns of a supply, or given if it is None."""
        if (supply is not None) != self._memory_is_supplied:
            self.memory.clear()  # of steps in other unknowns
        self.supply, self._memory_is_supplied = supply, supply is not None

    def anchor(self, share: float) -> None:
        """Tie the nodes to where they are (`Anchors`), or untie them if ``share`` is 0."""
        problem = self.problem
        if share == 0:
            self._anchors = None
            return
        if self._anchors is None:
            self.factorise()
            self._anchors = Anchors(problem.V, problem._u_dofs, problem.W, self._A)
        self._anchors.move(problem.w.x.array, share)

    # --- nonlinear.System

    def get(self) -> Vector:
        """Copy of the unknown."""
        own = self.problem.w.x.array[: self._n]
        return np.concatenate([own, self._pressures_here(self.problem.pressures)])

    def set(self, z: Vector) -> None:
        """Replace the unknown."""
        problem = self.problem
        problem.w.x.array[: self._n] = z[: self._n]
        problem.w.x.scatter_forward()
        if self.supply is not None:
            problem.pressures[:] = self.comm.bcast(z[self._n :])

    def evaluate(self) -> float:
        """Assemble and return the norm of the residual; collective."""
        self._assemble_residual()
        for vector in (self._R, *self._b):
            self.problem.supports.project(vector)
        if self.supply is not None:
            self._gap = self.volumes() - self.supply(self.problem.pressures)[0]
        # Volumes (mm³) weigh like forces (mN) at a pressure of 1 Pa.
        return float(np.hypot(self._R.norm(), 1e-3 * np.linalg.norm(self._gap)))

    def factorise(self) -> bool:
        """Renew the tangent and its factors; collective."""
        self.memory.clear()
        self._assemble_tangent()
        self._dt_of_factors = float(self.problem.dt.value)
        self._share_of_factors = self._share
        self.has_factors = self._solver.factorise()
        if not self.has_factors:
            self._renew_solver()
            return False
        for b, column in zip(self._b, self._columns, strict=True):
            self._solver.solve(b, column)
        return True

    def correction(self) -> Vector:
        """Correction of the unknown by the kept factors, NaN if that failed; collective."""
        if not self._solver.solve(self._R, self._x):
            self._renew_solver()
            self._x.set(np.nan)
        step = -self._x.array
        if self.supply is None:
            return np.concatenate([step, self._pressures_here(0 * self._gap)])
        here = np.array([b.array @ step for b in self._b])
        schur = np.array([[b.array @ z.array for z in self._columns] for b in self._b])
        here, self._schur = self.comm.allreduce(here), self.comm.allreduce(schur)
        if not np.isfinite(here).all():
            return np.concatenate([step, self._pressures_here(np.nan * self._gap)])
        return self._inflated(step, self._pressure_change(self._gap + here))

    def closing(self, tolerance: float) -> Vector | None:
        """Change of pressures, and what the body does then, that closes the gaps of the volumes.

        A short step of the valves' piecewise linear volumes, or one that a secant made, leaves
        gaps of second order that no increment shows.
        """
        if self.supply is None:
            return None
        volumes = self.volumes()
        gap = volumes - self.supply(self.problem.pressures)[0]
        if (np.abs(gap) <= tolerance * np.abs(volumes)).all():
            return None
        return self._inflated(np.zeros(self._n), self._pressure_change(gap))

    def _inflated(self, step: Vector, dp: Vector) -> Vector:
        """A step with what a change of the pressures adds to it, and that change."""
        for change, column in zip(dp, self._columns, strict=True):
            step = step + change * column.array
        return np.concatenate([step, self._pressures_here(dp)])

    def suit(self) -> bool:
        """Whether the factors, if any, are those of about this time step and these anchors.

        Those of a stiffer problem make every correction small, which would pass for convergence.
        """
        dt = float(self.problem.dt.value)
        if self._share != self._share_of_factors:
            return False
        return not self._has_rates or abs(dt - self._dt_of_factors) <= 0.1 * dt

    def tangent(self) -> PETSc.Mat:
        """Matrix of the linear solver, assembled anew without factors; collective."""
        self._assemble_tangent()
        self.has_factors = False
        return self._matrix

    def factors(self) -> Mapping[str, Vector]:
        """What the next solve begins with besides the state: matrix of the factors, and memory.

        Empty without factors, and where they are not those of one matrix that is still there:
        with contact, anchors or a Krylov method.
        """
        if not self.has_factors or not self._keeps_factors:
            return {}
        steps, changes = self.memory.pairs()
        return {
            "matrix": self._A.getValuesCSR()[2],
            "columns": np.array([column.array for column in self._columns]),
            "steps": steps,
            "changes": changes,
            "of": np.array([self._dt_of_factors, float(self._memory_is_supplied)]),
        }

    def take_factors(self, known: Mapping[str, Vector]) -> None:
        """Factorise the matrix that `factors` told, and remember what it did; collective.

        Without it, or if it is of another matrix, the next solve begins with factors of its own.
        """
        self.has_factors = False
        self.memory.clear()
        if not self._keeps_factors:
            return
        self._assemble_tangent()  # for its pattern
        rows, columns, values = self._A.getValuesCSR()
        fits = bool(known) and known["matrix"].shape == values.shape
        if not self.comm.allreduce(fits, op=MPI.LAND):
            return
        self._A.setValuesCSR(rows, columns, known["matrix"])
        self._A.assemble()
        self._dt_of_factors, self._share_of_factors = float(known["of"][0]), 0.0
        self.has_factors = self._solver.factorise()
        for column, saved in zip(self._columns, known["columns"], strict=True):
            column.array[:] = saved
        self.memory.take(known["steps"], known["changes"])
        self._memory_is_supplied = bool(known["of"][1])

    @property
    def _keeps_factors(self) -> bool:
        direct = isinstance(self._solver, DirectSolver)
        return direct and self._anchors is None and not self._is_general

    def solver_description(self) -> str:
        """Linear solver in effect."""
        return self._solver.description()

    def residual(self) -> Vector:
        """Owned entries of R, zero where supported."""
        self.evaluate()
        return np.asarray(self._R.array.copy())

    # --- supports that moved

    def follow_supports(self) -> bool:
        """Take prescribed displacements over, and what the tangent says the body does then.

        Moving the nodes of the supports alone may turn the cells beside them inside out.

        Returns:
            Whether there was something to do. Collective.
        """
        problem = self.problem
        w = problem.w.x.array
        change = problem.supports.change(w)
        largest = self.comm.allreduce(float(np.abs(change).max(initial=0.0)), op=MPI.MAX)
        size = self.comm.allreduce(float(np.abs(w).max(initial=0.0)), op=MPI.MAX)
        if largest <= 1e-13 * size:  # they are where they were, but for rounding
            w += change
            return False
        start = w.copy()
        self._assemble_residual()
        if not self.has_factors and not self.factorise():
            w += change
            return True
        self._lift(change)
        problem.supports.project(self._R)
        self._solver.solve(self._R, self._x)
        w += change
        w[: self._n] -= self._x.array
        problem.w.x.scatter_forward()
        if not np.isfinite(self.evaluate()):
            w[:] = start + change
        return True

    def _lift(self, change: Vector) -> None:
        """R += K δ, for a change δ of the supports."""
        if self._is_general:
            assert self._K is not None
            moved, force = self._R.duplicate(), self._R.duplicate()
            moved.array[:] = change[: self._n]
            self._K.mult(moved, force)
            self._R.axpy(1.0, force)
            return
        lifted = self._R.duplicate()
        w = self.problem.w.x.petsc_vec
        fem_petsc.apply_lifting(
            lifted, [self._tangent], [self.problem.supports.bcs], x0=[w], alpha=-1.0
        )
        lifted.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        self._R.axpy(1.0, lifted)

    # --- cavities

    def volumes(self) -> Vector:
        """Volumes of the cavities at the end of the step."""
        return np.array([cavity.volume() for cavity in self._cavities])

    def _pressure_change(self, gap: Vector) -> Vector:
        """Solve gap + S δp − [V^blood(p + δp) − V^blood(p)] = 0 by Newton's method."""
        assert self.supply is not None
        schur = self._schur
        p0 = self.problem.pressures
        blood0, _ = self.supply(p0)
        dp = np.zeros_like(gap)
        for _ in range(30):
            blood, slope = self.supply(p0 + dp)
            rest = gap + schur @ dp - (blood - blood0)
            change = np.linalg.solve(schur - slope, -rest)
            dp = dp + change
            if np.linalg.norm(change) < 1e-12 * (1 + np.linalg.norm(p0 + dp)):
                break
        return dp

    def _pressures_here(self, pressures: Vector) -> Vector:
        return pressures.copy() if self.comm.rank == 0 and self.supply is not None else np.zeros(0)

    # --- assembly

    @property
    def _share(self) -> float:
        return self._anchors.share if self._anchors else 0.0

    @property
    def _is_general(self) -> bool:
        """Whether the tangent is more than a form with conditions on degrees of freedom."""
        return bool(self._assembled) or self.problem.supports.skew is not None

    def _assemble_residual(self) -> None:
        """R and the cavities' loads, with the forces of the supports."""
        for term in self._refreshed:
            term.refresh(self.problem)
        for cavity, p in zip(self._cavities, self.problem.pressures, strict=True):
            cavity.prepare(p)
        assemble(self._R, self._residual)
        for b, cavity, p in zip(self._b, self._cavities, self.problem.pressures, strict=True):
            cavity.assemble(b)
            self._R.axpy(-p, cavity.rim.load)
        for extra in self._assembled:
            extra.add_residual(self._R)
        if self._anchors is not None:
            self._anchors.add_residual(self._R, self.problem.w.x.array)

    def _assemble_tangent(self) -> None:
        if self._is_general:
            self._assemble_general_tangent()
            return
        self._A.zeroEntries()
        fem_petsc.assemble_matrix(self._A, self._tangent, bcs=self.problem.supports.bcs)
        self._A.assemble()
        if self._anchors is not None:
            self._anchors.add_tangent(self._A)

    def _assemble_general_tangent(self) -> None:
        """Sum of form and other contributions, in the free directions."""
        supports = self.problem.supports
        self._A.zeroEntries()
        fem_petsc.assemble_matrix(self._A, self._tangent)
        self._A.assemble()
        K = self._A.copy()
        if self._anchors is not None:
            self._anchors.add_tangent(K)
        for term in self._assembled:
            # The pairs in contact, and so the pattern, may be new ones each time.
            pairs = term.tangent()
            K.axpy(1.0, pairs, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
            pairs.destroy()
        free = supports.skew.constrain(K) if supports.skew is not None else K.copy()
        for bc in supports.bcs:
            dofs, owned = bc.dof_indices()
            free.zeroRowsColumns(self._global(dofs[:owned]), diag=1.0)
        # On several ranks what is merely dropped is never given back.
        self._solver.release()
        for matrix in (self._K, self._free):
            if matrix is not None:
                matrix.destroy()
        self._K, self._free = K, free
        self._solver = self._solver_of(free)

    @property
    def _matrix(self) -> PETSc.Mat:
        return self._A if self._free is None else self._free

    def _renew_solver(self) -> None:
        """Take a new linear solver: PETSc does not factorise again after it failed to."""
        self._solver.release()
        self._solver = self._solver_of(self._matrix)
        self.has_factors = False

    def _solver_of(self, A: PETSc.Mat) -> LinearSolver:
        problem = self.problem
        return solver_for(A, problem.W, f"{problem.name}_", bcs=problem.supports.bcs)

    def _global(self, dofs: NDArray[np.int32]) -> NDArray[np.int32]:
        start, _ = self._A.getOwnershipRange()
        return (dofs + start).astype(np.int32)


class _Loaded:
    """A cavity with its pressure, and the forms of its volume and load."""

    def __init__(self, problem: Mechanics, cavity: Cavity, s: Fields) -> None:
        domain, w = problem.domain, problem.w
        self.comm = domain.comm
        self.problem = problem
        self.rim = _Rim(problem, cavity)
        self.p = fem.Constant(domain.mesh, 0.0)
        self._centre = fem.Constant(domain.mesh, np.zeros(3))
        self._centre_end = fem.Constant(domain.mesh, np.zeros(3))
        volume = cavity.volume_form(domain, s.u, self._centre)
        self.work = ufl.derivative(volume, w, ufl.TestFunction(problem.W))
        if problem.levels is not None:
            self.work = (1 / problem.levels.share) * self.work
        self._volume = compiled(cavity.volume_form(domain, problem.displacement, self._centre_end))
        self._load = compiled(self.work)
        self._areas = [compiled(cavity.area_form(domain, s.u, i)) for i in range(3)]

    def volume(self) -> float:
        self._centre_end.value[:] = self.rim.centre(self.problem.w.x.array)
        return integral(self._volume)

    def prepare(self, pressure: float) -> None:
        self._centre.value[:] = self.rim.centre(self.problem.at_level())
        self.p.value = pressure

    def assemble(self, b: PETSc.Vec) -> None:
        """∂V/∂u with the rim's share, which is kept by itself too."""
        assemble(b, self._load)
        self.rim.add(b, [integral(form) for form in self._areas])


class _Rim:
    """Rim of a cavity: its centre, and the load that acts through it."""

    def __init__(self, problem: Mechanics, cavity: Cavity) -> None:
        self.problem = problem
        nodes = cavity.rim(problem.domain, problem.V)
        self._X = problem.V.tabulate_dof_coordinates()[nodes]
        u_dofs = problem._u_dofs
        self._dofs = np.stack([u_dofs[3 * nodes + i] for i in range(3)], axis=1)
        self._count = problem.domain.comm.allreduce(len(nodes), op=MPI.SUM)
        self.load = fem_petsc.create_vector(problem.W)

    def centre(self, w: Vector) -> Vector:
        x = self._X + w[self._dofs]
        return np.asarray(self.problem.domain.comm.allreduce(x.sum(axis=0))) / self._count

    def add(self, b: PETSc.Vec, dV_dc: Sequence[float]) -> None:
        """Keep ∂V/∂c · ∂c/∂u as ``load`` and add it to ``b``."""
        self.load.set(0.0)
        local = self.load.array
        for i in range(3):
            local[self._dofs[:, i]] = dV_dc[i] / self._count
        b.axpy(1.0, self.load)


def assemble(b: PETSc.Vec, form: fem.Form) -> None:
    """Vector of a linear form, contributions of all ranks added; collective."""
    with b.localForm() as local:
        local.set(0.0)
    fem_petsc.assemble_vector(b, form)
    b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
