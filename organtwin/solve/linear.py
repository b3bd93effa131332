"""Linear solvers: factors that are kept, and Krylov methods where factors no longer fit.

A factorisation by MUMPS costs some fifty solves and 20 kB of memory per unknown. While it fits,
its factors serve many steps. Beyond, the displacement is preconditioned by two levels, quadratic
and linear elements, and the pressure by its mass matrix over a shear modulus.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from numpy.typing import NDArray
from petsc4py import PETSc

from organtwin.parallel import on_root, quantiles
from organtwin.solve import options
from organtwin.solve.assembly import compiled

logger = logging.getLogger(__name__)

Vector = NDArray[np.float64]

#: Unknowns up to which factors pay (see benchmarks/land_scaling.py).
DIRECT_UNKNOWNS = 100_000
#: Unknowns of the pressure up to which its block is factorised.
DIRECT_PRESSURE = 150_000
#: A kept preconditioner is renewed when it needs this many times the iterations that it did.
WORN = 1.6

#: Options of the Krylov solver; the user's have precedence.
KRYLOV = {
    "ksp_type": "fgmres",
    "ksp_gmres_restart": "80",
    "ksp_max_it": "160",
    "ksp_rtol": "1e-2",
}
#: Preconditioner of a saddle point: block upper triangular with the Schur complement.
SADDLE = {
    "pc_type": "fieldsplit",
    "pc_fieldsplit_schur_fact_type": "upper",
    "fieldsplit_u_ksp_type": "preonly",
    "fieldsplit_p_ksp_type": "preonly",
}
#: Two levels, of quadratic and linear elements; a V-cycle of algebraic multigrid on the coarse
#: one needs half the iterations that its factors do.
TWO_LEVEL = {
    "mg_levels_ksp_type": "chebyshev",
    "mg_levels_ksp_max_it": "1",
    "mg_levels_pc_type": "pbjacobi",
    "mg_coarse_ksp_type": "preonly",
    "mg_coarse_pc_type": "gamg",
    "mg_coarse_mg_levels_ksp_type": "chebyshev",
    "mg_coarse_mg_levels_ksp_max_it": "2",
    "mg_coarse_mg_levels_pc_type": "pbjacobi",
}
#: Algebraic multigrid that knows the rigid-body modes.
ALGEBRAIC = {
    "pc_type": "gamg",
    "pc_gamg_threshold": "0.02",
    "mg_levels_ksp_type": "chebyshev",
    "mg_levels_ksp_max_it": "3",
    "mg_levels_pc_type": "pbjacobi",
}
FACTORS = {"pc_type": "lu", "pc_factor_mat_solver_type": "mumps"}


class LinearSolver(Protocol):
    """An approximate, kept inverse of a matrix."""

    iterations: int  # of all solves so far

    def factorise(self) -> bool:
        """Take the matrix as it is now; whether that succeeded. Collective."""
        ...

    def solve(self, b: PETSc.Vec, x: PETSc.Vec) -> bool:
        """Solve for ``x``; whether that succeeded. Collective."""
        ...

    def description(self) -> str:
        """What is in effect, as PETSc tells it; collective."""
        ...

    def release(self) -> None:
        """Give factors and work space back; nothing can be solved afterwards. Collective."""
        ...


def solver_for(
    A: PETSc.Mat,
    W: fem.FunctionSpace,
    prefix: str,
    *,
    bcs: Sequence[fem.DirichletBC] = (),
    direct_unknowns: int = DIRECT_UNKNOWNS,
) -> LinearSolver:
    """Solver that suits the size of a matrix; ``-PREFIXpc_type lu`` overrides the choice.

    Args:
        A: Tangent over the unknowns of ``W``.
        W: Space of the displacement, or of displacement and pressure.
        prefix: PETSc options prefix, unique to this solver.
        bcs: Prescribed displacements; their rows of ``A`` are those of the identity.
        direct_unknowns: Unknowns up to which factors are used.
    """
    asked = options.get(f"{prefix}pc_type")
    small = A.getSize()[0] <= direct_unknowns
    if asked in ("lu", "cholesky") or (asked is None and small):
        return DirectSolver(A, prefix)
    return KrylovSolver(A, W, prefix, bcs=bcs)


class DirectSolver:
    """LU factors of a matrix by MUMPS, kept until `factorise` is called again.

    A factorisation costs some fifty times a solve, so keeping the factors over many steps is
    what makes a quasi-Newton iteration cheap.

    Args:
        A: Square matrix; it is read at each call of `factorise`.
        prefix: PETSc options prefix, unique to this solver.
    """

    def __init__(self, A: PETSc.Mat, prefix: str) -> None:
        self.iterations = 0
        self._prefix = prefix
        self._ksp = PETSc.KSP().create(A.comm)
        self._ksp.setOptionsPrefix(prefix)
        self._ksp.setOperators(A)
        self._ksp.setType("preonly")
        pc = self._ksp.getPC()
        pc.setType("lu")
        pc.setFactorSolverType("mumps")
        self._ksp.setFromOptions()
        self._ready = False

    def factorise(self) -> bool:
        """Factorise the matrix as it is now; whether that succeeded."""
        self._ksp.setOperators(*self._ksp.getOperators())
        if not self._ready:
            self._make_room()
        self._ksp.setUp()
        if not self._ready:
            options.require_used(self._prefix)
            self._ready = True
        return bool(self._ksp.getPC().getFailedReason() == 0)

    def solve(self, b: PETSc.Vec, x: PETSc.Vec) -> bool:
        """Solve for ``x`` with the kept factors; whether that succeeded."""
        self._ksp.solve(b, x)
        self.iterations += max(1, self._ksp.getIterationNumber())
        return bool(self._ksp.getConvergedReason() > 0)

    def description(self) -> str:
        """What is in effect, as PETSc tells it; collective."""
        return description(self._ksp)

    def release(self) -> None:
        """Give factors and work space back; nothing can be solved afterwards. Collective."""
        self._ksp.destroy()

    def _make_room(self) -> None:
        """Room for pivoting: saddle-point matrices need more than MUMPS reserves by itself."""
        pc = self._ksp.getPC()
        if pc.getType() != "lu" or pc.getFactorSolverType() != "mumps":
            return
        pc.setFactorSetUpSolverType()
        if options.get(f"{self._prefix}mat_mumps_icntl_14") is None:
            pc.getFactorMatrix().setMumpsIcntl(14, 60)


class KrylovSolver:
    """Flexible GMRES with a preconditioner that is kept while it serves.

    The displacement's block is treated by two levels (`TwoLevel`), or by algebraic multigrid for
    linear elements. With a pressure the preconditioner is block triangular: the Schur complement
    of an elastic block of shear modulus μ is close to the pressure's own block minus M/μ, with
    the mass matrix M of the pressure.

    When an iteration does not converge with a kept preconditioner, that is renewed; when it does
    not with a new one, MUMPS takes over and the reason is logged.

    Args:
        A: Matrix; it is read at each call of `factorise`.
        W: Space of the displacement, or of displacement and pressure.
        prefix: PETSc options prefix, unique to this solver.
        bcs: Prescribed displacements.

    Source:
        Elman, Silvester & Wathen (2014), Finite Elements and Fast Iterative Solvers, chapter 4.
    """

    def __init__(
        self,
        A: PETSc.Mat,
        W: fem.FunctionSpace,
        prefix: str,
        *,
        bcs: Sequence[fem.DirichletBC] = (),
    ) -> None:
        self.iterations = 0
        self.setups = 0
        self._A, self._prefix = A, prefix
        self._fields = Fields(W, bcs)
        self._direct: DirectSolver | None = None
        self._failures = 0
        self._fresh_iterations: int | None = None
        self._renew_next = True
        self._ksp = PETSc.KSP().create(A.comm)
        self._ksp.setOptionsPrefix(prefix)
        self._ksp.setOperators(A)
        self._schur: _Schur | None = None
        self._two_level: TwoLevel | None = None
        self._ready = False

    def factorise(self) -> bool:
        """Take the matrix as it is now; the preconditioner is renewed if it is worn."""
        if self._direct is not None and self._failures > 1:
            return self._direct.factorise()
        self._direct = None
        self._ksp.setOperators(self._A)
        if self._renew_next:
            self._set_up()
        return bool(self._ksp.getPC().getFailedReason() == 0)

    def solve(self, b: PETSc.Vec, x: PETSc.Vec) -> bool:
        """Solve for ``x``; whether that succeeded."""
        if self._direct is not None:
            return self._direct.solve(b, x)
        if self._iterate(b, x):
            return True
        if self._fresh_iterations is not None:
            self._set_up()
            if self._iterate(b, x):
                return True
        return self._fall_back(b, x)

    def description(self) -> str:
        """What is in effect, as PETSc tells it; collective."""
        return description(self._ksp)

    def release(self) -> None:
        """Give factors and work space back; nothing can be solved afterwards. Collective."""
        self._ksp.destroy()
        if self._direct is not None:
            self._direct.release()

    def _iterate(self, b: PETSc.Vec, x: PETSc.Vec) -> bool:
        x.set(0.0)
        self._ksp.solve(b, x)
        count = self._ksp.getIterationNumber()
        self.iterations += count
        if self._ksp.getConvergedReason() <= 0 or not np.isfinite(x.norm()):
            return False
        if self._fresh_iterations is None:
            self._fresh_iterations = max(count, 5)
        self._renew_next = count > WORN * self._fresh_iterations
        return True

    def _fall_back(self, b: PETSc.Vec, x: PETSc.Vec) -> bool:
        self._failures += 1
        self._renew_next = True
        logger.warning(
            "%s: the Krylov solver gave up after %d iterations (%s); MUMPS takes over.",
            self._prefix.rstrip("_"), self._ksp.getIterationNumber(), reason(self._ksp),
        )  # fmt: skip
        self._direct = DirectSolver(self._A, f"{self._prefix}fallback_")
        return self._direct.factorise() and self._direct.solve(b, x)

    def _set_up(self) -> None:
        """Renew the preconditioner."""
        self.setups += 1
        self._fresh_iterations = None
        self._renew_next = False
        pc = self._ksp.getPC()
        pc.setReusePreconditioner(False)
        defaults = options.Defaults(self._prefix, self._default_options())
        with defaults:
            if not self._ready:
                self._configure(pc)
            if self._schur is not None:
                self._schur.update(self._A)
                self._ksp.setUp()  # takes the blocks out of A
            if self._fields.is_quadratic and not self._ready:
                self._two_level = self._displacement_levels(pc)
            if self._two_level is not None:
                self._two_level.update()
            self._ksp.setUp()
            if not self._ready:
                self._ksp.setUpOnBlocks()
                options.require_used(self._prefix, defaults.names)
                self._ready = True
        pc.setReusePreconditioner(True)

    def _default_options(self) -> dict[str, str]:
        fields = self._fields
        inner = TWO_LEVEL if fields.is_quadratic else ALGEBRAIC
        if fields.p is None:
            return {**KRYLOV, **inner}
        if _size(fields.p) <= DIRECT_PRESSURE:
            pressure = FACTORS
        else:
            pressure = {"ksp_type": "chebyshev", "ksp_max_it": "4", "pc_type": "jacobi"}
        return {
            **KRYLOV,
            **SADDLE,
            **{f"fieldsplit_u_{name}": value for name, value in inner.items()},
            **{f"fieldsplit_p_{name}": value for name, value in pressure.items()},
        }

    def _configure(self, pc: PETSc.PC) -> None:
        """What options can't say: the fields, their rigid-body modes, the Schur complement."""
        fields = self._fields
        if fields.p is None:
            self._A.setNearNullSpace(fields.rigid_modes())
        elif options.get(f"{self._prefix}pc_type") == "fieldsplit":
            pc.setType("fieldsplit")
            pc.setFieldSplitType(PETSc.PC.CompositeType.SCHUR)
            pc.setFieldSplitIS(("u", fields.u), ("p", fields.p))
            self._schur = _Schur(fields)
            pc.setFieldSplitSchurPreType(PETSc.PC.SchurPreType.USER, self._schur.matrix)
        self._ksp.setFromOptions()

    def _displacement_levels(self, pc: PETSc.PC) -> TwoLevel | None:
        """Two levels for the displacement, unless the user asked for something else."""
        inner = self._prefix
        if self._schur is not None:
            pc = pc.getFieldSplitSchurGetSubKSP()[0].getPC()
            inner += "fieldsplit_u_"
        elif self._fields.p is not None:
            return None
        if options.get(f"{inner}pc_type") is not None:
            return None
        return TwoLevel(pc, self._fields)


class Fields:
    """Where displacement and pressure are among the unknowns."""

    def __init__(self, W: fem.FunctionSpace, bcs: Sequence[fem.DirichletBC]) -> None:
        self.W = W
        self.V, self.Q, dofs_u, dofs_p = parts(W)
        self.u = _index_set(W, dofs_u, self.V)
        self.u.setBlockSize(3)
        self.p = None if self.Q is None else _index_set(W, dofs_p, self.Q)
        self.u.compose("nearnullspace", self.rigid_modes())
        self.is_quadratic = self.V.element.basix_element.degree > 1
        held = [dofs[:owned] for dofs, owned in (bc.dof_indices() for bc in bcs)]
        place = np.full(_unknowns(W), -1, dtype=np.int32)
        place[dofs_u] = np.arange(len(dofs_u), dtype=np.int32)
        #: Owned prescribed unknowns, numbered among those of V.
        self.held = place[np.concatenate([np.empty(0, dtype=np.int32), *held])]

    @property
    def linear_space(self) -> fem.FunctionSpace:
        """Displacements that are linear in each cell."""
        return fem.functionspace(self.V.mesh, ("P", 1, (3,)))

    def rigid_modes(self) -> PETSc.NullSpace:
        """Translations and rotations of the displacement, over the unknowns of ``V``."""
        return rigid_modes(self.V)


class TwoLevel:
    """Quadratic elements smoothed, linear elements solved: a V-cycle of two levels.

    The coarse matrix is PᵀAP with the interpolation P of linear functions, so it knows as much
    about the material as the fine one.
    """

    def __init__(self, pc: PETSc.PC, fields: Fields) -> None:
        self._pc = pc
        V1 = fields.linear_space
        self._P = fem_petsc.interpolation_matrix(V1, fields.V)
        self._P.assemble()
        start, _ = self._P.getOwnershipRange()
        self._P.zeroRows((fields.held + start).astype(np.int32), diag=0.0)
        self._modes = rigid_modes(V1)
        self._coarse: PETSc.Mat | None = None
        self._blocked = PETSc.Mat()
        pc.setType("mg")
        pc.setMGLevels(2)
        pc.setMGInterpolation(1, self._P)
        pc.setFromOptions()

    def update(self) -> None:
        """Take over the displacement's block as it is now."""
        A, _ = self._pc.getOperators()
        self._coarse = A.ptap(self._P, result=self._coarse)
        _fill_diagonal(self._coarse)
        self._coarse.setBlockSize(3)
        self._coarse.setNearNullSpace(self._modes)
        self._pc.getMGCoarseSolve().setOperators(self._coarse)
        # Blocks of 3 by 3 halve what a product has to read.
        self._blocked = A.convert("baij", self._blocked)
        self._pc.getMGSmoother(1).setOperators(self._blocked)
        self._pc.setUp()


class _Schur:
    """A_pp − M/μ, with a shear modulus μ that is read off the displacement's block.

    The diagonal of an elastic block is close to μ times that of the vector Laplacian; the mean of
    their ratio over the nodes of a cell is that cell's μ.
    """

    def __init__(self, fields: Fields) -> None:
        assert fields.Q is not None
        self._fields = fields
        msh = fields.V.mesh
        element = basix.ufl.element("P", msh.basix_cell(), fields.V.element.basix_element.degree)
        self._nodes = fem.functionspace(msh, element)
        a, b = ufl.TrialFunction(self._nodes), ufl.TestFunction(self._nodes)
        form = compiled(ufl.inner(ufl.grad(a), ufl.grad(b)) * ufl.dx)
        laplacian = fem_petsc.assemble_matrix(form)
        laplacian.assemble()
        self._laplacian = laplacian.getDiagonal().array.copy()
        self._mu = fem.Function(fem.functionspace(msh, ("DG", 0)))
        p, q = ufl.TrialFunction(fields.Q), ufl.TestFunction(fields.Q)
        self._mass = compiled(-p * q / self._mu * ufl.dx)
        self.matrix = fem_petsc.create_matrix(self._mass)

    def update(self, A: PETSc.Mat) -> None:
        """Renew the approximation for the matrix as it is now."""
        self._mu.x.array[:] = self._moduli(A)
        self.matrix.zeroEntries()
        fem_petsc.assemble_matrix(self.matrix, self._mass)
        self.matrix.assemble()
        own = A.createSubMatrix(self._fields.p, self._fields.p)
        self.matrix.axpy(1.0, own, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)

    def _moduli(self, A: PETSc.Mat) -> Vector:
        """Shear modulus (kPa) of each cell."""
        diagonal = A.getDiagonal()
        start, _ = A.getOwnershipRange()
        entries = diagonal.array[self._fields.u.getIndices() - start].copy()
        held = np.zeros(len(entries), dtype=bool)
        held[self._fields.held] = True
        free = ~held.reshape(-1, 3).any(axis=1)
        ratio = np.abs(entries).reshape(-1, 3).mean(axis=1) / self._laplacian
        middle = float(quantiles(A.comm.tompi4py(), ratio[free], (0.5,))[0])
        nodal = fem.Function(self._nodes)
        nodal.x.array[: len(ratio)] = np.log(np.where(free & (ratio > 0), ratio, middle))
        nodal.x.scatter_forward()
        return np.asarray(np.exp(nodal.x.array[self._nodes.dofmap.list].mean(axis=1)))


def rigid_modes(V: fem.FunctionSpace) -> PETSc.NullSpace:
    """Orthonormal translations and rotations of a displacement space; collective."""
    count = V.dofmap.index_map.size_local
    x = V.tabulate_dof_coordinates()[:count]
    modes = np.zeros((6, count, 3))
    for i in range(3):
        modes[i, :, i] = 1.0
        j, k = (i + 1) % 3, (i + 2) % 3
        modes[3 + i, :, j], modes[3 + i, :, k] = -x[:, k], x[:, j]
    vectors: list[PETSc.Vec] = []
    for mode in modes:
        vector = PETSc.Vec().createWithArray(mode.ravel().copy(), comm=V.mesh.comm)
        for _ in range(2):
            for other in vectors:
                vector.axpy(-vector.dot(other), other)
        vector.normalize()
        vectors.append(vector)
    return PETSc.NullSpace().create(vectors=vectors, comm=V.mesh.comm)


def description(ksp: PETSc.KSP) -> str:
    """What ``KSPView`` writes about a solver, on every rank; collective."""
    comm = ksp.comm.tompi4py()
    folder = on_root(comm, lambda: tempfile.mkdtemp())
    path = Path(folder) / "view"
    viewer = PETSc.Viewer().createASCII(str(path), comm=ksp.comm)
    ksp.view(viewer)
    viewer.destroy()
    return on_root(comm, lambda: _read_and_remove(path))


def reason(ksp: PETSc.KSP) -> str:
    """Name of why an iteration ended."""
    number = ksp.getConvergedReason()
    names = {v: k for k, v in vars(PETSc.KSP.ConvergedReason).items() if isinstance(v, int)}
    return names.get(number, str(number))


def _read_and_remove(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    path.unlink()
    path.parent.rmdir()
    return text


def parts(
    W: fem.FunctionSpace,
) -> tuple[fem.FunctionSpace, fem.FunctionSpace | None, NDArray[np.int32], NDArray[np.int32]]:
    """Displacement and pressure spaces, and their unknowns (local, unrolled) in ``W``.

    The pressure's are None and empty in a space of displacements alone.
    """
    if W.num_sub_spaces != 2:
        return W, None, np.arange(_unknowns(W), dtype=np.int32), np.empty(0, dtype=np.int32)
    V, u = W.sub(0).collapse()
    Q, p = W.sub(1).collapse()
    return V, Q, np.ravel(u).astype(np.int32), np.ravel(p).astype(np.int32)


def _unknowns(W: fem.FunctionSpace) -> int:
    """Local unknowns, ghosts included."""
    nodes = W.dofmap.index_map
    return int((nodes.size_local + nodes.num_ghosts) * W.dofmap.index_map_bs)


def _index_set(W: fem.FunctionSpace, dofs: NDArray[np.int32], part: fem.FunctionSpace) -> PETSc.IS:
    """Global numbers in ``W`` of the owned unknowns of a part, in that part's order."""
    owned = part.dofmap.index_map.size_local * part.dofmap.index_map_bs
    start = W.dofmap.index_map.local_range[0] * W.dofmap.index_map_bs
    return PETSc.IS().createGeneral((dofs[:owned] + start).astype(np.int32), comm=W.mesh.comm)


def _size(indices: PETSc.IS) -> int:
    return int(indices.getSize())


def _fill_diagonal(A: PETSc.Mat) -> None:
    """One on the diagonal of rows without entries, of nodes whose neighbours are all held."""
    diagonal = A.getDiagonal()
    empty = diagonal.array == 0.0
    if A.comm.tompi4py().allreduce(bool(empty.any())):
        diagonal.array[empty] = 1.0
        A.setDiagonal(diagonal)
