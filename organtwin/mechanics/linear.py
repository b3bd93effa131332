"""Linear elasticity at scale: one matrix, many loads.

Why not `Mechanics`: there the tangent is found again at every unknown, kept as factors and
corrected by secants, at the cost of LU factors or of solves to two digits. Where everything is
linear, as for bone, a million unknowns want one matrix, set up once, and conjugate gradients. The
terms, supports and ties are the same ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from numpy.typing import NDArray
from petsc4py import PETSc
from ufl.algorithms.ad import expand_derivatives
from ufl.algorithms.analysis import extract_coefficients

from organtwin.errors import InputError, SolverError
from organtwin.materials.kinematics import Directions, Material
from organtwin.mechanics.dirichlet import Dirichlet, Supports
from organtwin.mechanics.formulation import PENALTY_P1, Formulation
from organtwin.mechanics.fragments import Pieces, require_held
from organtwin.mechanics.small_strain import SmallStrain
from organtwin.mechanics.terms import Assembled, Fields, Refreshed, Term
from organtwin.mechanics.tie import Tie
from organtwin.mesh.domain import Domain
from organtwin.solve.assembly import compiled, integral
from organtwin.solve.elastic import ElasticSolver, elastic_solver
from organtwin.solve.linear import LinearSolver

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class LinearSolution:
    """Account of a solve.

    Attributes:
        iterations: Of conjugate gradients; 1 with factors.
        residual: Norm of the residual over that of the load.
        seconds: Time spent.
    """

    iterations: int
    residual: float
    seconds: float


class LinearElasticity:
    """Small displacements u with ∫ σ(u) : ε(δu) dx + springs + ties = loads.

    Args:
        domain: Mesh with names.
        terms: `SmallStrain` for the material, and loads and springs that are linear in u:
            `Traction`, `RigidLoad`, `BodyForce`, `Spring`, `Robin`, `SpringBed`, `Tie`.
        dirichlet: Prescribed displacements.
        formulation: `PENALTY_P1` for linear, `PENALTY` for quadratic elements.
        degree: Quadrature degree; exact for a modulus that is constant in each cell if None.
        rtol: Reduction of the preconditioned residual.
        name: PETSc options prefix.

    Attributes:
        u: Displacement (mm).
        V: Its space.
        seconds: Time that `assemble` spent on the ``matrix``, the check of its ``pieces`` and the
            set-up of the ``solver``.

    Raises:
        InputError: a term is not linear in u, there is no material, or the formulation has a
            pressure. Collective.
    """

    #: No scheme in time: `Tie` and `Contact` ask for it.
    levels = None
    #: Terms that no form expresses, of which this class knows what to do with them.
    _linked: tuple[type, ...] = (Tie,)

    def __init__(
        self,
        domain: Domain,
        terms: Sequence[Term],
        *,
        dirichlet: Sequence[Dirichlet] = (),
        formulation: Formulation = PENALTY_P1,
        degree: int | None = None,
        rtol: float = 1e-8,
        name: str = "linear",
    ) -> None:
        _check(formulation, terms)
        self.domain, self.terms, self.name, self.rtol = domain, tuple(terms), name, rtol
        self.V = self.W = formulation.space(domain.mesh)
        self.u = fem.Function(self.V, name="displacement")
        nodes = self.V.dofmap.index_map
        self._u_dofs = np.arange(3 * (nodes.size_local + nodes.num_ghosts), dtype=np.int32)
        self.supports = Supports(domain, self.V, self.V, self._u_dofs, dirichlet)
        self.fields = Fields(
            self.u, None, self.u, ufl.TestFunction(self.V), None,
            fem.Constant(domain.mesh, 1e9), 2 * (formulation.degree - 1) if degree is None
            else degree,
        )  # fmt: skip
        self._residual, self._stiffness = self._forms()
        self._ties = [term for term in self.terms if isinstance(term, Tie)]
        self._R = fem_petsc.create_vector(self.V)
        self._x = self._R.duplicate()
        self._A: PETSc.Mat | None = None
        self._solver: LinearSolver | None = None
        self.seconds: dict[str, float] = {}

    @property
    def displacement(self) -> fem.Function:
        """The displacement (mm)."""
        return self.u

    def at_level(self) -> Vector:
        """Values of the unknown, as ties ask for them."""
        return np.asarray(self.u.x.array)

    def assemble(self) -> None:
        """Assemble the matrix and set its solver up; again when moduli have changed. Collective.

        Raises:
            InputError: a piece of the mesh is held by nothing.
            SolverError: the solver can't be set up.
        """
        start = time.perf_counter()
        self._drop()
        A = self._A = self._matrix()
        matrix = time.perf_counter()
        require_held(A, Pieces(self.domain, self.V), f"LinearElasticity `{self.name}`")
        held = time.perf_counter()
        self._solver = elastic_solver(
            A, self.V, f"{self.name}_", rtol=self.rtol, bcs=self.supports.bcs
        )
        if not self._solver.factorise():
            raise SolverError(
                f"LinearElasticity `{self.name}`",
                "the linear solver could not be set up.",
                "See that all moduli are positive.",
            )
        end = time.perf_counter()
        self.seconds = {"matrix": matrix - start, "pieces": held - matrix, "solver": end - held}

    def solve(self) -> LinearSolution:
        """Displacement under the present loads and supports; collective.

        The matrix of the first call is kept: only loads and prescribed displacements may change
        without `assemble`.

        Raises:
            InputError: a piece of the mesh is held by nothing.
            SolverError: the solver did not converge.
        """
        if self._solver is None:
            self.assemble()
        assert self._solver is not None
        start, before = time.perf_counter(), self._solver.iterations
        self.supports.move()
        self.u.x.array[:] = 0.0
        self.u.x.array[:] = self.supports.change(self.u.x.array)
        load = self._evaluate()
        if not self._solver.solve(self._R, self._x):
            raise self._failure()
        self.u.x.array[: self._x.getLocalSize()] -= self._x.array
        self.u.x.scatter_forward()
        left = self._evaluate()
        return LinearSolution(
            self._solver.iterations - before,
            left / load if load > 0 else 0.0,
            time.perf_counter() - start,
        )

    def stress(self) -> ufl.core.expr.Expr:
        """Stress σ (kPa, 3×3, UFL) of the present displacement; zero where no material is."""
        return self._summed([(part, part.stress(self.u)) for part in self._materials])

    def of_materials(
        self, value: Callable[[Material, Directions | None], ufl.core.expr.Expr]
    ) -> ufl.core.expr.Expr:
        """A function of material and directions as a field (3×3, UFL) over all regions."""
        found = [(part, value(part.material, part.directions)) for part in self._materials]
        return self._summed(found)

    def strain_energy(self) -> float:
        """½ ∫ σ : (ε − ε₀) dx (µJ) of the material; collective."""
        half = ufl.Form([])
        for part in self._materials:
            dx = self.domain.dx(*part.regions, degree=self.fields.degree)
            half += ufl.inner(part.stress(self.u), part.elastic_strain(self.u)) / 2 * dx
        return integral(half)

    def reaction(self, surface: str) -> Vector:
        """Force (mN), shape (3,), that the supports exert on a surface's nodes; collective."""
        R = self._assembled_residual()
        nodes = fem.locate_dofs_topological(self.V, 2, self.domain.facets(surface))
        own = nodes[nodes < self.V.dofmap.index_map.size_local]
        here = R.array.reshape(-1, 3)[own].sum(axis=0)
        return np.asarray(self.domain.comm.allreduce(here))

    def solver_description(self) -> str:
        """Linear solver in effect, as PETSc tells it; collective."""
        if self._solver is None:
            self.assemble()
        assert self._solver is not None
        return self._solver.description()

    def release(self) -> None:
        """Give matrix and solver back; collective."""
        self._drop()

    # --- pieces

    @property
    def _materials(self) -> list[SmallStrain]:
        return [term for term in self.terms if isinstance(term, SmallStrain)]

    def _summed(
        self, parts: Sequence[tuple[SmallStrain, ufl.core.expr.Expr]]
    ) -> ufl.core.expr.Expr:
        if len(parts) == 1 and not parts[0][0].regions:
            return parts[0][1]
        start = ufl.zero(3, 3)
        return sum((_indicator(self.domain, p.regions) * value for p, value in parts), start)

    def _forms(self) -> tuple[fem.Form, fem.Form]:
        residual, stiffness = ufl.Form([]), ufl.Form([])
        for term in self.terms:
            if isinstance(term, (Assembled, Refreshed)) and not isinstance(term, self._linked):
                raise _nonlinear(term)
            form = term.form(self.domain, self.fields)
            if form.empty():
                continue
            residual += form
            slope = expand_derivatives(ufl.derivative(form, self.u))
            if self.u in extract_coefficients(slope):
                raise _nonlinear(term)
            stiffness += slope
        return compiled(residual), compiled(stiffness)

    def _matrix(self) -> PETSc.Mat:
        supports, skew = self.supports, self.supports.skew
        if not self._ties and skew is None:
            A = fem_petsc.create_matrix(self._stiffness)
            fem_petsc.assemble_matrix(A, self._stiffness, bcs=supports.bcs)
            A.assemble()
            return A
        return self._held(self._free_matrix())

    def _free_matrix(self) -> PETSc.Mat:
        """Stiffness and ties, without supports."""
        A = fem_petsc.create_matrix(self._stiffness)
        fem_petsc.assemble_matrix(A, self._stiffness)
        A.assemble()
        for tie in self._ties:
            tie.refresh(self)  # type: ignore[arg-type]
            pairs = tie.tangent()
            A.axpy(1.0, pairs, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
            pairs.destroy()
        return A

    def _held(self, A: PETSc.Mat) -> PETSc.Mat:
        """A matrix with the supports; the one given is used up."""
        if self.supports.skew is not None:
            A, free = self.supports.skew.constrain(A), A
            free.destroy()
        start, _ = A.getOwnershipRange()
        for bc in self.supports.bcs:
            dofs, owned = bc.dof_indices()
            A.zeroRowsColumns((start + dofs[:owned]).astype(PETSc.IntType), diag=1.0)
        A.setBlockSize(3)
        return A

    def _assembled_residual(self) -> PETSc.Vec:
        R = self._R
        with R.localForm() as local:
            local.set(0.0)
        fem_petsc.assemble_vector(R, self._residual)
        R.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        for tie in self._ties:
            tie.refresh(self)  # type: ignore[arg-type]
            tie.add_residual(R)
        return R

    def _evaluate(self) -> float:
        """Norm of the residual, zero where supported; collective."""
        R = self._assembled_residual()
        self.supports.project(R)
        return float(R.norm())

    def _failure(self) -> SolverError:
        reason = self._solver.reason() if isinstance(self._solver, ElasticSolver) else "factors"
        return SolverError(
            f"LinearElasticity `{self.name}`",
            f"the linear solver did not converge ({reason}).",
            "Look for cells of nearly no volume and for moduli that are nearly zero.",
        )

    def _drop(self) -> None:
        # On several ranks what is merely dropped is never given back.
        if self._solver is not None:
            self._solver.release()
        if self._A is not None:
            self._A.destroy()
        self._solver = self._A = None


def _check(formulation: Formulation, terms: Sequence[Term]) -> None:
    if not any(isinstance(term, SmallStrain) for term in terms):
        raise InputError("LinearElasticity", "no material.", "Add a `SmallStrain` term.")
    if formulation.pressure is not None:
        raise InputError(
            "LinearElasticity",
            f"formulation `{formulation.name}` has a pressure.",
            "Take PENALTY_P1 or PENALTY.",
        )


def _indicator(domain: Domain, regions: tuple[str, ...]) -> fem.Function:
    """One in the cells of the regions, in all cells without a name."""
    inside = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)))
    inside.x.array[:] = 0.0 if regions else 1.0
    if regions:
        inside.x.array[domain.cells(*regions)] = 1.0
    return inside


def _nonlinear(term: Term) -> InputError:
    remedy = "Solve with `Mechanics`, which takes `SmallStrain` as well."
    if type(term).__name__ == "Interface":
        remedy = "Solve with `FrictionalElasticity`."
    return InputError(
        "LinearElasticity", f"`{type(term).__name__}` is not linear in the displacement.", remedy
    )
