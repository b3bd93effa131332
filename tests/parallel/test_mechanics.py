"""Equilibrium and motion on all ranks equal those on one."""

from __future__ import annotations

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.mechanics.dynamics import GeneralisedAlpha, SolidDynamics
from organtwin.mechanics.formulation import P1_P1, PENALTY_P1
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import BodyForce, Inertia, RigidLoad, Traction
from organtwin.solve.nonlinear import Tolerances
from organtwin.verify.geometry import box
from organtwin.verify.solids import Rubber, cook, patch_test

WORLD = MPI.COMM_WORLD
TIGHT = Tolerances(increment=1e-11)
TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])


def by_place(problem: Mechanics) -> np.ndarray:
    """Displacement of all nodes on all ranks, sorted by coordinates; collective."""
    V = problem.V
    own = V.dofmap.index_map.size_local
    x = np.concatenate(V.mesh.comm.allgather(V.tabulate_dof_coordinates()[:own]))
    u = np.concatenate(V.mesh.comm.allgather(problem.u.x.array.reshape(-1, 3)[:own]))
    return u[np.lexsort(np.round(x, 6).T)]


def slanted(comm: MPI.Comm) -> np.ndarray:
    """A turned block held along the normals of three faces, one of which moves, and loaded."""
    domain = box(comm, (1.0, 1.0, 1.0), (3, 3, 3))
    domain.mesh.geometry.x[:] = domain.mesh.geometry.x @ TURN.T
    gap = fem.Constant(domain.mesh, 0.0)
    load = fem.Constant(domain.mesh, np.array([0.1, 0.2, -0.2]))
    moment = fem.Constant(domain.mesh, np.array([0.05, 0.0, 0.1]))
    held = [Dirichlet("x0", gap, normal=True), *(Dirichlet(s, normal=True) for s in ("y0", "z0"))]
    block = Mechanics(
        domain,
        [
            *Rubber.on(domain, 3.0, 30.0).terms(),
            RigidLoad(domain, ("z1",), load, moment, (0.5, 0.5, 1.0)),
        ],
        formulation=PENALTY_P1,
        dirichlet=held,
        tolerances=TIGHT,
    )
    for gap.value in (0.0, 0.2):
        assert block.solve().outcome.name == "CONVERGED"
    return by_place(block)


def swinging(comm: MPI.Comm) -> np.ndarray:
    """Some steps of a bar that is pushed."""
    domain = box(comm, (1.0, 1.0, 3.0), (2, 2, 4))
    push = fem.Constant(domain.mesh, np.array([0.5, 0.0, 0.0]))
    density = fem.Constant(domain.mesh, 1.0)
    bar = Mechanics(
        domain,
        [*Rubber.on(domain, 10.0, 50.0).terms(), Inertia(density), BodyForce(push)],
        formulation=PENALTY_P1,
        dirichlet=[Dirichlet("z0")],
        scheme=GeneralisedAlpha.from_radius(0.8),
        tolerances=TIGHT,
    )
    process = SolidDynamics(bar)
    for i in range(5):
        assert process.advance(0.1 * i, 0.1 * (i + 1)).converged
    return by_place(bar)


def stretched(comm: MPI.Comm) -> np.ndarray:
    """Linear elements with a stabilised pressure."""
    domain = box(comm, (1.0, 1.0, 1.0), (3, 3, 3))
    pull = fem.Constant(domain.mesh, np.array([0.3, 0.0, 0.8]))
    bar = Mechanics(
        domain,
        [*Rubber.on(domain, 3.0, 1e4).terms(), Traction(("z1",), pull)],
        formulation=P1_P1,
        dirichlet=[Dirichlet("z0")],
        tolerances=TIGHT,
    )
    assert bar.solve().outcome.name == "CONVERGED"
    return by_place(bar)


@pytest.mark.parametrize("problem", [slanted, swinging, stretched], ids=lambda f: f.__name__)
def test_ranks_do_not_matter(problem):
    alone, together = problem(MPI.COMM_SELF), problem(WORLD)
    assert together == pytest.approx(alone, abs=1e-9 * np.abs(alone).max())
    assert np.abs(alone).max() > 0.01


def test_verification_problems_agree():
    assert patch_test(WORLD, PENALTY_P1) < 1e-12
    assert cook(WORLD, P1_P1, 4) == pytest.approx(cook(MPI.COMM_SELF, P1_P1, 4), rel=1e-6)
