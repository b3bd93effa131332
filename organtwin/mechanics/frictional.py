"""Linear bodies with frictional interfaces: Newton's method about a stiffness assembled once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from petsc4py import PETSc

from organtwin.errors import InputError, SolverError
from organtwin.mechanics.coupling_matrix import outer_blocks
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.formulation import PENALTY_P1, Formulation
from organtwin.mechanics.fragments import Pieces, loose_pieces, require_held
from organtwin.mechanics.interface import Interface
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.terms import Term
from organtwin.mechanics.tie import Tie
from organtwin.mesh.domain import Domain
from organtwin.process import Places, keyed, write_back
from organtwin.solve.elastic import ElasticSolver, elastic_solver

Vector = NDArray[np.float64]

#: Share of an interface's stiffness that the tangent keeps where a point is open or slides. The
#: tangent of a body that has come loose on the way is then still regular; equilibrium is the same.
LEAST = 1e-6
#: Lengths of a Newton step that are tried, in this order.
LENGTHS = (1.0, 0.5, 0.25, 0.1)
#: Iterations that have to halve the residual: beyond what friction holds it stays.
PATIENCE = 12
#: What to do about a body that no interface holds at the start.
REMEDY = (
    "Let it touch something: give its `Interface` an interference, or leave the gap out "
    "(geometric=False); hold it by `Spring` or `Dirichlet` until it does; or leave it out."
)


@dataclass(frozen=True)
class FrictionalSolution:
    """Account of a solve.

    Attributes:
        newton: Iterations of Newton's method.
        iterations: Of the linear solver in all of them; one each with factors.
        residual: Norm of the residual over that of the forces.
        seconds: Time spent.
    """

    newton: int
    iterations: int
    residual: float
    seconds: float


class FrictionalElasticity(LinearElasticity):
    """Small displacements of linear bodies that interfaces hold together, press and rub.

    Newton's method on  K u + ∫ (p n + τ)·(δu − δū) dA = loads,  where K is assembled once and only
    the interfaces' part of the tangent is new in each iteration, in a pattern that stays. What the
    law has of kinks makes the method semi-smooth; a step is taken at the first of several lengths
    that lessens the residual. What has been found is the start of the next `solve`, and becomes the
    past by `commit`: friction depends on the way, so take the loads in steps (`load_steps.follow`).

    Args:
        domain: Mesh with names; bodies on both sides of an interface share no nodes there.
        terms: Those of `LinearElasticity`, and `Interface`s.
        dirichlet: Prescribed displacements.
        formulation: `PENALTY_P1` for linear, `PENALTY` for quadratic elements.
        degree: Quadrature degree of the bodies; exact for a constant modulus if None.
        rtol: Reduction of the linear residual in each iteration, if there are no factors.
        tolerance: Norm of the residual over that of the forces.
        corrections: Most iterations of Newton's method.
        symmetric: Leave out of the tangent how the limit of friction follows the pressure.
            Conjugate gradients can solve it then, in some more iterations of Newton's method. If
            None, that is done where there are no factors.
        name: PETSc options prefix.

    Attributes:
        interfaces: Among the terms.

    Raises:
        InputError: a term is neither linear nor an interface, there is no material, or the
            formulation has a pressure. Collective.
    """

    _linked = (Tie, Interface)

    def __init__(
        self,
        domain: Domain,
        terms: Sequence[Term],
        *,
        dirichlet: Sequence[Dirichlet] = (),
        formulation: Formulation = PENALTY_P1,
        degree: int | None = None,
        rtol: float = 1e-5,
        tolerance: float = 1e-7,
        corrections: int = 40,
        symmetric: bool | None = None,
        name: str = "frictional",
    ) -> None:
        super().__init__(
            domain, terms, dirichlet=dirichlet, formulation=formulation, degree=degree, rtol=rtol,
            name=name,
        )  # fmt: skip
        self.interfaces = tuple(t for t in self.terms if isinstance(t, Interface))
        if self.supports.skew is not None:
            raise InputError(
                self._place,
                "a support along no axis, together with interfaces.",
                "Hold components along the axes, or put a stiff `Robin` spring along the normal.",
            )
        self.tolerance, self.corrections = tolerance, corrections
        self.symmetric = True if symmetric is None else symmetric
        self._choose = symmetric is None
        self._linear: PETSc.Mat | None = None
        self._links: PETSc.Mat | None = None
        self._step, self._force = self._R.duplicate(), self._R.duplicate()
        self._bulk = self._R.duplicate()
        self._masks: list[Vector] = []
        self._load = self._scale = 0.0

    @property
    def state(self) -> Mapping[str, Vector]:
        """Views of everything needed to go on from here, or to come back here."""
        state = {"u": self.u.x.array}
        for i, interface in enumerate(self.interfaces):
            state |= {f"interface{i}.{key}": values for key, values in interface.state.items()}
        return state

    def places(self) -> Places:
        """Where the entries of `state` are; vertices by their numbers in the mesh's file.

        Both sides of an interface have vertices in the same places.

        Raises:
            InputError: the elements are not linear.
        """
        if self.V.element.basix_element.degree != 1:
            raise InputError(self._place, "only linear elements have places.", "Take degree 1.")
        geometry, index_map = self.V.mesh.geometry, self.V.dofmap.index_map
        numbers = np.zeros((index_map.size_local + index_map.num_ghosts, 3))
        nodes = np.asarray(geometry.input_global_indices)[geometry.dofmaps[0].ravel()]
        numbers[self.V.dofmap.list.ravel(), 0] = nodes
        found = Places({"unknowns": keyed(numbers, 3)}, {"u": "unknowns"})
        for i, interface in enumerate(self.interfaces):
            found |= interface.places().within(f"interface{i}.")
        return found

    def restore(self, saved: Mapping[str, Vector]) -> None:
        """Write a saved `state` back; collective."""
        write_back(self.state, saved)
        self._refresh()

    def commit(self) -> None:
        """Accept the present solution: slips are permanent from here on."""
        for interface in self.interfaces:
            interface.commit()

    def assemble(self) -> None:
        """Assemble the bodies' stiffness; again when moduli have changed. Collective.

        Raises:
            InputError: a piece of the mesh is held by nothing, interfaces as they are included.
            SolverError: the solver can't be set up.
        """
        start = time.perf_counter()
        self._drop()
        self._linear = self._matrix()
        self._refresh()
        self._masks = [self._mask(interface) for interface in self.interfaces]
        self._make_pattern()
        assert self._A is not None
        matrix = time.perf_counter()
        self._renew_tangent(least=0.0, symmetric=True)
        require_held(self._A, self._pieces(), self._place, REMEDY)
        held = time.perf_counter()
        self._solver = elastic_solver(
            self._A, self.V, f"{self.name}_", rtol=self.rtol, bcs=self.supports.bcs
        )
        if self._choose:
            self.symmetric = isinstance(self._solver, ElasticSolver)
        self.seconds = {"matrix": matrix - start, "pieces": held - matrix, "solver": 0.0}

    def solve(self) -> FrictionalSolution:  # type: ignore[override]
        """Equilibrium under the present loads and supports; collective.

        Raises:
            InputError: a piece of the mesh is held by nothing at the start.
            SolverError: there is no equilibrium, or it was not found; what slides, is open and is
                loose is told. The displacement is that of the start.
        """
        begun = time.perf_counter()
        if self._solver is None:
            self.assemble()
        assert self._solver is not None
        start, before = self.u.x.array.copy(), self._solver.iterations
        self.supports.move()
        self.u.x.array[:] += self.supports.change(self.u.x.array)
        self._reassemble()
        norms = [self._norm()]
        while not norms[-1] <= self.tolerance * self._scale:
            found = None
            if len(norms) <= self.corrections and not _stagnates(norms):
                found = self._correct(norms[-1])
            if found is None:
                problem = self._why(len(norms) - 1, norms[-1] / self._scale)
                self.u.x.array[:] = start
                self._refresh()
                raise problem
            norms.append(found)
        residual = norms[-1] / self._scale if self._scale > 0 else 0.0
        taken = time.perf_counter() - begun
        return FrictionalSolution(len(norms) - 1, self._solver.iterations - before, residual, taken)

    # --- Newton's method

    def _correct(self, norm: float) -> float | None:
        """One step; norm of the residual after it, None if the linear solver found none."""
        assert self._solver is not None
        assert self._linear is not None
        self._renew_tangent(least=LEAST, symmetric=self.symmetric)
        start = time.perf_counter()
        ready = self._solver.factorise()
        self.seconds["solver"] += time.perf_counter() - start
        if not ready or not self._solver.solve(self._R, self._x):
            return None
        self._linear.mult(self._x, self._step)
        u, bulk, found = self.u.x.array.copy(), self._bulk.copy(), list[float]()
        for length in LENGTHS:
            found.append(self._go(u, bulk, length))
            if found[-1] < norm:
                break
        else:
            best = int(np.argmin(np.nan_to_num(found, nan=np.inf)))
            found.append(self._go(u, bulk, LENGTHS[best]))
        bulk.destroy()
        return found[-1]

    def _go(self, u: Vector, bulk: PETSc.Vec, length: float) -> float:
        """Take a part of the step; norm of the residual there."""
        own = self._x.getLocalSize()
        self.u.x.array[:own] = u[:own] - length * self._x.array
        self.u.x.scatter_forward()
        bulk.copy(self._bulk)
        self._bulk.axpy(-length, self._step)
        return self._norm()

    def _norm(self) -> float:
        """Norm of the residual; it and the size of the forces are kept. Collective."""
        self._refresh()
        self._force.set(0.0)
        for interface in self.interfaces:
            interface.add_residual(self._force)
        self.supports.project(self._force)
        self._bulk.copy(self._R)
        self._R.axpy(1.0, self._force)
        self._scale = max(float(self._force.norm()), self._load)
        return float(self._R.norm())

    def _reassemble(self) -> None:
        """Residual of the bodies alone, and the size of what acts on them, at the present u."""
        kept = self.u.x.array.copy()
        self._load = 0.0
        for u in (self.supports.change(np.zeros_like(kept)), kept):
            self.u.x.array[:] = u
            R = super()._assembled_residual()
            self.supports.project(R)
            if u is not kept or self._load == 0.0:  # where nothing acts, what was left of before
                self._load = float(R.norm())
        R.copy(self._bulk)

    def _refresh(self) -> None:
        for interface in self.interfaces:
            interface.refresh(self)  # type: ignore[arg-type]

    def _assembled_residual(self) -> PETSc.Vec:
        R = super()._assembled_residual()
        self._refresh()
        for interface in self.interfaces:
            interface.add_residual(R)
        return R

    # --- the tangent

    def _mask(self, interface: Interface) -> Vector:
        """Zero for entries of the blocks in rows or columns of supports, else one."""
        fixed = np.zeros(len(self.u.x.array), dtype=bool)
        for bc in self.supports.bcs:
            fixed[bc.dof_indices()[0]] = True
        free = interface.pairs.supported(fixed)
        return np.asarray((free[:, :, None] * free[:, None, :]).ravel())

    def _make_pattern(self) -> None:
        """The matrix that all tangents are written into, and that of the interfaces' part."""
        assert self._linear is not None
        if not self.interfaces:
            self._A = self._linear.copy()
            return
        rows, columns, values = outer_blocks([
            (i.pairs.blocks(np.broadcast_to(np.eye(3), (len(i.pairs.points.area), 3, 3))))
            for i in self.interfaces
        ])  # fmt: skip
        links = PETSc.Mat().create(self.domain.comm)
        links.setSizes(self._linear.getSizes())
        links.setType("aij")
        links.setPreallocationCOO(rows.astype(PETSc.IntType), columns.astype(PETSc.IntType))
        # Entries that cancel stay in the pattern.
        links.setValuesCOO(np.ones_like(values))
        self._links = links
        whole = self._linear.copy()
        whole.axpy(1.0, links, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        whole.setBlockSize(3)
        self._A = whole

    def _renew_tangent(self, *, least: float, symmetric: bool) -> None:
        """K and the interfaces' part at the present displacement."""
        assert self._A is not None
        assert self._linear is not None
        self._A.zeroEntries()
        subset = PETSc.Mat.Structure.SUBSET_NONZERO_PATTERN
        self._A.axpy(1.0, self._linear, structure=subset)
        if self._links is None:
            return
        values = [
            i.pairs.blocks(i.slope(symmetric=symmetric, least=least))[1].ravel() * mask
            for i, mask in zip(self.interfaces, self._masks, strict=True)
        ]
        self._links.setValuesCOO(np.concatenate(values))
        self._A.axpy(1.0, self._links, structure=subset)

    # --- pieces

    @property
    def _place(self) -> str:
        return f"FrictionalElasticity `{self.name}`"

    def _pieces(self) -> Pieces:
        return Pieces(self.domain, self.V)

    def _why(self, done: int, residual: float) -> SolverError:
        """What stood in the way, at the last iterate."""
        lines = []
        for interface in self.interfaces:
            r = interface.report()
            lines.append(
                f"`{interface.surface}` on `{interface.other}`: {100 * r.sticking:.0f} % sticks, "
                f"{100 * r.sliding:.0f} % slides, {100 * r.open:.0f} % is open"
            )
        assert self._A is not None
        self._renew_tangent(least=0.0, symmetric=True)
        loose = loose_pieces(self._A, self._pieces())
        solver = self._solver.reason() if isinstance(self._solver, ElasticSolver) else "factors"
        return SolverError(
            self._place,
            f"no equilibrium after {done} iterations (residual {residual:.1e}, {solver}). "
            + "; ".join(lines) + f". {loose}".rstrip(),
            "The load may be more than friction and supports can hold. Take smaller load steps, "
            "press the parts together first, or hold the loose one by weak springs.",
        )  # fmt: skip

    def _drop(self) -> None:
        super()._drop()
        for matrix in (self._linear, self._links):
            if matrix is not None:
                matrix.destroy()
        self._linear = self._links = None


def _stagnates(norms: Sequence[float]) -> bool:
    """Whether the residual is not finite, or the last iterations have not even halved it."""
    if not np.isfinite(norms[-1]):
        return True
    return len(norms) > PATIENCE and min(norms[-PATIENCE:]) > min(norms[:-PATIENCE]) / 2
