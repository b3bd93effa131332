"""Direct and Krylov solvers on the tangent of a small incompressible body."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI
from petsc4py import PETSc

from organtwin.errors import InputError
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.kinematics import as_constants
from organtwin.mechanics.formulation import PENALTY_P1, TAYLOR_HOOD
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import Incompressibility, PassiveStress, Traction
from organtwin.solve import options
from organtwin.solve.linear import DirectSolver, KrylovSolver, rigid_modes, solver_for
from organtwin.verify.geometry import box

COMM = MPI.COMM_WORLD


def block(formulation, n=4) -> Mechanics:
    domain = box(COMM, (1.0, 1.0, 1.0), (n, n, n))
    problem = Mechanics(
        domain,
        [
            PassiveStress(as_constants(NeoHookean(10.0), domain.mesh)),
            Incompressibility(fem.Constant(domain.mesh, 100.0)),
            Traction(("x1",), fem.Constant(domain.mesh, [1.0, 0.5, 0.0])),
        ],
        formulation=formulation,
        dirichlet=[Dirichlet("x0")],
        degree=2,
    )
    problem.residual()
    problem._equations._assemble_tangent()
    return problem


@pytest.fixture(scope="module")
def mixed() -> Mechanics:
    return block(TAYLOR_HOOD)


@pytest.fixture(scope="module")
def linear() -> Mechanics:
    return block(PENALTY_P1)


def solved(problem, solver):
    """Relative residual of a solve, and whether it succeeded."""
    A, b = problem._equations._A, problem._equations._R
    x = b.duplicate()
    assert solver.factorise()
    succeeded = solver.solve(b, x)
    r = b.duplicate()
    A.mult(x, r)
    r.axpy(-1.0, b)
    return r.norm() / b.norm(), succeeded


def krylov(problem, prefix, **kwargs):
    return KrylovSolver(
        problem._equations._A, problem.W, prefix, bcs=problem.supports.bcs, **kwargs
    )


def test_size_decides(mixed):
    A = mixed._equations._A
    assert isinstance(solver_for(A, mixed.W, "size_"), DirectSolver)
    assert isinstance(solver_for(A, mixed.W, "size_", direct_unknowns=100), KrylovSolver)


def test_user_decides_before_size(mixed):
    options.put("asked_", {"pc_type": "lu"})
    A = mixed._equations._A
    assert isinstance(solver_for(A, mixed.W, "asked_", direct_unknowns=100), DirectSolver)


@pytest.mark.parametrize("name", ["mixed", "linear"])
def test_krylov_agrees_with_factors(name, request):
    problem = request.getfixturevalue(name)
    options.put(f"agree_{name}_", {"ksp_rtol": 1e-8})
    solver = krylov(problem, f"agree_{name}_")
    residual, succeeded = solved(problem, solver)
    assert succeeded
    assert residual < 2e-8
    assert solver.iterations < 60


def test_iterations_do_not_grow_with_the_mesh():
    counts = []
    for n in (3, 6):
        problem = block(TAYLOR_HOOD, n)
        solver = krylov(problem, f"mesh{n}_")
        solved(problem, solver)
        counts.append(solver.iterations)
    assert counts[1] < 1.5 * counts[0] + 3


def test_preconditioner_is_kept(mixed):
    solver = krylov(mixed, "keep_")
    for _ in range(3):
        solved(mixed, solver)
    assert solver.setups == 1


def test_factors_take_over_where_krylov_gives_up(mixed, caplog):
    options.put("giveup_", {"ksp_max_it": 2, "ksp_rtol": 1e-10})
    with caplog.at_level(logging.WARNING):
        residual, succeeded = solved(mixed, krylov(mixed, "giveup_"))
    assert succeeded
    assert residual < 1e-10
    assert "gave up after 2 iterations (DIVERGED_MAX_IT); MUMPS takes over" in caplog.text


def test_options_reach_the_solver_and_are_told(mixed):
    options.put("told_", {"ksp_rtol": 3e-4, "fieldsplit_u_mg_levels_ksp_max_it": 3})
    solver = krylov(mixed, "told_")
    solved(mixed, solver)
    text = solver.description()
    assert "relative=0.0003" in text
    assert "type: mg" in text
    assert "Schur preconditioner, factorization UPPER" in text
    direct = DirectSolver(mixed._equations._A, "told_direct_")
    solved(mixed, direct)
    assert "mumps" in direct.description()


@pytest.mark.parametrize("kind", [KrylovSolver, DirectSolver])
def test_options_that_nothing_reads_are_refused(mixed, kind):
    prefix = f"typing_{kind.__name__}_"
    options.put(prefix, {"ksp_rtoll": 1e-4})
    solver = krylov(mixed, prefix) if kind is KrylovSolver else kind(mixed._equations._A, prefix)
    with pytest.raises(InputError, match=f"-{prefix}ksp_rtoll.*Did you mean `ksp_rtol`"):
        solver.factorise()
    PETSc.Options().delValue(f"{prefix}ksp_rtoll")


def test_our_defaults_leave_no_trace(mixed):
    before = dict(PETSc.Options().getAll())
    solved(mixed, krylov(mixed, "trace_"))
    assert PETSc.Options().getAll() == before


def test_rigid_modes_are_orthonormal_and_strain_free(mixed):
    modes = rigid_modes(mixed.V).getVecs()
    products = np.array([[a.dot(b) for a in modes] for b in modes])
    assert products == pytest.approx(np.eye(6), abs=1e-12)
