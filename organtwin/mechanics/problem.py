"""Equilibrium of an incompressible body whose cavities may be filled by a circulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc
from ufl.core.expr import Expr

from organtwin.mechanics.cavity import Cavity
from organtwin.mechanics.terms import Fields, Term
from organtwin.mesh.domain import Domain
from organtwin.parallel import total
from organtwin.solve import nonlinear, options
from organtwin.solve.linear import DirectSolver

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


@dataclass(frozen=True)
class Dirichlet:
    """Prescribed displacement on a surface.

    Attributes:
        surface: Name.
        value: Displacement (mm) as a UFL expression, evaluated when the problem is made; zero if
            None.
    """

    surface: str
    value: Expr | None = None


class Mechanics:
    """Displacement u (quadratic) and pressure p (linear) with δW(u, p) = Σ p_c ∂V_c/∂u.

    Either the cavity pressures are given (`solve` with ``pressures``) or they are unknowns of the
    constraints V_c(u) = V_c^blood(p), solved together with u and p (`solve` with ``supply``).

    Args:
        domain: Mesh with names.
        terms: Summands of the weak form.
        cavities: Blood cavities, in the order of the pressures.
        dirichlet: Prescribed displacements.
        degree: Quadrature degree of volume terms.
        tolerances: Of the nonlinear solver.
        name: PETSc options prefix.
    """

    def __init__(
        self,
        domain: Domain,
        terms: Sequence[Term],
        *,
        cavities: Sequence[Cavity] = (),
        dirichlet: Sequence[Dirichlet] = (),
        degree: int = 4,
        tolerances: nonlinear.Tolerances = nonlinear.Tolerances(),
        name: str = "mechanics",
    ) -> None:
        self.domain = domain
        self.cavities = tuple(cavities)
        self.tolerances = tolerances
        self.name = name
        msh = domain.mesh
        element = basix.ufl.mixed_element(
            [
                basix.ufl.element("P", msh.basix_cell(), 2, shape=(3,)),
                basix.ufl.element("P", msh.basix_cell(), 1),
            ]
        )
        self.W = fem.functionspace(msh, element)
        self.V, u_dofs = self.W.sub(0).collapse()
        self.Q, p_dofs = self.W.sub(1).collapse()
        self._u_dofs, self._p_dofs = np.ravel(u_dofs), np.ravel(p_dofs)
        self.w = fem.Function(self.W)
        self.w_old = fem.Function(self.W)
        self.dt = fem.Constant(msh, STATIC)
        self.pressures = np.zeros(len(self.cavities))
        u, p = ufl.split(self.w)
        u_test, p_test = ufl.TestFunctions(self.W)
        u_old, _ = ufl.split(self.w_old)
        fields = Fields(u, p, u_old, u_test, p_test, self.dt, degree)
        residual = sum((term.form(domain, fields) for term in terms), start=ufl.Form([]))
        self._bcs = [self._dirichlet(condition) for condition in dirichlet]
        self._equations = _Equations(self, residual, u)

    @property
    def u(self) -> fem.Function:
        """Displacement (mm), a copy in its own space ``V``."""
        return self._part(self.V, self._u_dofs, "displacement")

    @property
    def p(self) -> fem.Function:
        """Hydrostatic pressure (kPa), a copy in its own space ``Q``."""
        return self._part(self.Q, self._p_dofs, "pressure")

    @property
    def displacement(self) -> Expr:
        """Displacement as a UFL expression of the solution."""
        return ufl.split(self.w)[0]

    def volumes(self) -> Vector:
        """Volumes of the cavities (mm³) at the present displacement; collective."""
        return self._equations.volumes()

    def solve(
        self,
        *,
        pressures: Sequence[float] | Vector | None = None,
        supply: BloodSupply | None = None,
        fresh: bool = False,
    ) -> nonlinear.Solution:
        """Find equilibrium, from the present ``w`` and ``pressures`` as a first guess; collective.

        Args:
            pressures: Cavity pressures (kPa), if they are given.
            supply: Blood volumes as a function of the pressures, if those are unknowns.
            fresh: Assemble and factorise the tangent first.

        Returns:
            Account; when not converged, the unknowns are those of the start.
        """
        if pressures is not None:
            self.pressures[:] = pressures
        self._equations.supply = supply
        for bc in self._bcs:
            fem_petsc.set_bc(self.w.x.petsc_vec, [bc])
        self.w.x.scatter_forward()
        return nonlinear.solve(self._equations, self.tolerances, fresh=fresh)

    def guess(self, u: Expr) -> None:
        """Take a displacement (mm, UFL) as the first guess of the next solve."""
        self.w.x.array[self._u_dofs] = self._interpolated(u).x.array

    def _interpolated(self, u: Expr) -> fem.Function:
        function = fem.Function(self.V)
        points = self.V.element.interpolation_points
        function.interpolate(fem.Expression(u, points, jit_options=options.jit()))
        return function

    def _dirichlet(self, condition: Dirichlet) -> fem.DirichletBC:
        facets = self.domain.facets(condition.surface)
        self.domain.mesh.topology.create_connectivity(2, 3)
        dofs = fem.locate_dofs_topological((self.W.sub(0), self.V), 2, facets)
        value = (
            self._interpolated(condition.value)
            if condition.value is not None
            else fem.Function(self.V)
        )
        return fem.dirichletbc(value, dofs, self.W.sub(0))

    def _part(self, space: fem.FunctionSpace, dofs: NDArray[np.int32], name: str) -> fem.Function:
        part = fem.Function(space, name=name)
        part.x.array[:] = self.w.x.array[dofs]
        return part


class _Equations:
    """`nonlinear.System` of the unknowns (w, cavity pressures), the latter held by rank 0.

    With K = ∂R/∂w, b_c = ∂V_c/∂w and D = ∂V^blood/∂p, a correction solves

        K δw − Σ b_c δp_c = −R,     b_c·δw − (V^blood(p + δp) − V^blood(p))_c = V^blood_c − V_c

    by the Schur complement in δp; the columns K⁻¹ b_c are kept with the factors. The blood's
    volume is piecewise linear in p (valves open and close), so the small equation is iterated.
    """

    def __init__(self, problem: Mechanics, residual: ufl.Form, u: Expr) -> None:
        self.problem = problem
        self.comm = problem.domain.comm
        self.supply: BloodSupply | None = None
        self.has_factors = False
        domain, w = problem.domain, problem.w
        msh, cavities = domain.mesh, problem.cavities
        test = ufl.TestFunction(problem.W)
        self._centres = [fem.Constant(msh, np.zeros(3)) for _ in cavities]
        self._p = [fem.Constant(msh, 0.0) for _ in cavities]
        volumes = [
            c.volume_form(domain, u, x) for c, x in zip(cavities, self._centres, strict=True)
        ]
        loads = [ufl.derivative(volume, w, test) for volume in volumes]
        for p, load in zip(self._p, loads, strict=True):
            residual -= p * load
        self._residual = _compile(residual)
        self._tangent = _compile(ufl.derivative(residual, w))
        self._volumes = [_compile(form) for form in volumes]
        self._loads = [_compile(form) for form in loads]
        self._areas = [[_compile(c.area_form(domain, u, i)) for i in range(3)] for c in cavities]
        self._rims = [_Rim(problem, cavity) for cavity in cavities]
        self._A = fem_petsc.create_matrix(self._tangent)
        self._R = fem_petsc.create_vector(problem.W)
        self._b = [self._R.duplicate() for _ in cavities]
        self._x = self._R.duplicate()
        self._columns = [self._R.duplicate() for _ in cavities]
        self._solver = DirectSolver(self._A, f"{problem.name}_")
        self._n = problem.W.dofmap.index_map.size_local * problem.W.dofmap.index_map_bs
        self._gap = np.zeros(len(cavities))

    # --- nonlinear.System

    def get(self) -> Vector:
        own = self.problem.w.x.array[: self._n]
        return np.concatenate([own, self._pressures_here(self.problem.pressures)])

    def set(self, z: Vector) -> None:
        problem = self.problem
        problem.w.x.array[: self._n] = z[: self._n]
        problem.w.x.scatter_forward()
        if self.supply is not None:
            problem.pressures[:] = self.comm.bcast(z[self._n :])

    def evaluate(self) -> float:
        volumes = self.volumes()
        for constant, p in zip(self._p, self.problem.pressures, strict=True):
            constant.value = p
        _assemble(self._R, self._residual)
        for b, load, area, rim in zip(self._b, self._loads, self._areas, self._rims, strict=True):
            _assemble(b, load)
            rim.add(b, [_integral(self.comm, form) for form in area])
        for p, rim in zip(self.problem.pressures, self._rims, strict=True):
            self._R.axpy(-p, rim.load)
        self._impose(self._R, *self._b)
        if self.supply is not None:
            self._gap = volumes - self.supply(self.problem.pressures)[0]
        # Volumes (mm³) weigh like forces (mN) at a pressure of 1 Pa.
        return float(np.hypot(self._R.norm(), 1e-3 * np.linalg.norm(self._gap)))

    def factorise(self) -> bool:
        self._A.zeroEntries()
        fem_petsc.assemble_matrix(self._A, self._tangent, bcs=self.problem._bcs)
        self._A.assemble()
        self.has_factors = self._solver.factorise()
        if not self.has_factors:
            return False
        for b, column in zip(self._b, self._columns, strict=True):
            self._solver.solve(b, column)
        return True

    def correction(self) -> Vector:
        self._solver.solve(self._R, self._x)
        step = -self._x.array
        if self.supply is None:
            return np.concatenate([step, self._pressures_here(0 * self._gap)])
        here = np.array([b.array @ step for b in self._b])
        schur = np.array([[b.array @ z.array for z in self._columns] for b in self._b])
        here, schur = self.comm.allreduce(here), self.comm.allreduce(schur)
        dp = self._pressure_change(self._gap + here, schur)
        for change, column in zip(dp, self._columns, strict=True):
            step = step + change * column.array
        return np.concatenate([step, self._pressures_here(dp)])

    # --- cavities

    def volumes(self) -> Vector:
        for centre, rim in zip(self._centres, self._rims, strict=True):
            centre.value[:] = rim.centre()
        return np.array([_integral(self.comm, form) for form in self._volumes])

    def _pressure_change(self, gap: Vector, schur: Vector) -> Vector:
        """Solve gap + S δp − [V^blood(p + δp) − V^blood(p)] = 0 by Newton's method."""
        assert self.supply is not None
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

    def _impose(self, *vectors: PETSc.Vec) -> None:
        """Zero the rows of prescribed displacements, which start at their values."""
        for bc in self.problem._bcs:
            dofs, owned = bc.dof_indices()
            for vector in vectors:
                vector.array[dofs[:owned]] = 0.0


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

    def centre(self) -> Vector:
        x = self._X + self.problem.w.x.array[self._dofs]
        return np.asarray(self.problem.domain.comm.allreduce(x.sum(axis=0))) / self._count

    def add(self, b: PETSc.Vec, dV_dc: Sequence[float]) -> None:
        """Keep ∂V/∂c · ∂c/∂u as ``load`` and add it to ``b``."""
        self.load.set(0.0)
        local = self.load.array
        for i in range(3):
            local[self._dofs[:, i]] = dV_dc[i] / self._count
        b.axpy(1.0, self.load)


def _compile(form: ufl.Form) -> fem.Form:
    return fem.form(form, jit_options=options.jit())


def _integral(comm: MPI.Comm, form: fem.Form) -> float:
    return total(comm, fem.assemble_scalar(form))


def _assemble(b: PETSc.Vec, form: fem.Form) -> None:
    with b.localForm() as local:
        local.set(0.0)
    fem_petsc.assemble_vector(b, form)
    b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
