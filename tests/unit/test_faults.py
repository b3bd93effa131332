"""What is told when cells diverge, and what is kept."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.population import Cells
from organtwin.electrophysiology.diffusion import Membrane
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import ReactionDiffusion, local_nodes
from organtwin.electrophysiology.tissue import NoSpread
from organtwin.errors import SolverError
from organtwin.run.simulate import simulate
from organtwin.solve.outcome import Outcome
from organtwin.verify.geometry import box

NODE = 7


@pytest.fixture(scope="module")
def domain():
    return box(MPI.COMM_SELF, (4.0, 4.0, 4.0), (4, 4, 4))


def tissue(domain, *, coupled=True):
    V = fem.functionspace(domain.mesh, ("P", 1))
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"))
    cells = Cells.uniform(kernel, kernel.initial_states()[:, 0], -85.0, local_nodes(V))
    if coupled:
        return monodomain(V, cells, 0.1 * ufl.Identity(3), domain=domain)
    return ReactionDiffusion(V, cells, NoSpread(), Membrane(), domain=domain)


@pytest.mark.parametrize("coupled", [True, False])
def test_a_diverging_cell_is_named_and_the_state_is_kept(domain, coupled):
    problem = tissue(domain, coupled=coupled)
    assert problem.advance(0.0, 1.0).converged
    states = problem.cells.state["states"]
    row = problem.cells.populations[0].kernel.states.index("j")
    states[row, NODE] = np.nan
    before = {name: values.copy() for name, values in problem.state.items()}
    step = problem.advance(1.0, 2.0)
    assert step.outcome is Outcome.NOT_FINITE
    x = problem.v.function_space.tabulate_dof_coordinates()[NODE]
    assert f"node at ({x[0]:.4g}, {x[1]:.4g}, {x[2]:.4g}) mm in region box" in step.detail
    assert "`j` of `ten_tusscher_2006_epi` is nan" in step.detail
    for name, values in problem.state.items():
        np.testing.assert_array_equal(values, before[name])


class Poison:
    """A drive that makes a potential infinite in one call of `apply`."""

    state = {}

    def __init__(self, call):
        self.calls, self.call = 0, call

    def apply(self, v, t, dt):
        self.calls += 1
        if self.calls == self.call:
            v[NODE] = np.nan

    def overlaps(self, t0, t1):
        return True

    def beat(self, t):
        return 0


@pytest.mark.parametrize("call", [1, 2, 39, 40])
def test_what_is_lost_in_a_half_step_fails_that_step(domain, call):
    """Also in the last one, after which nothing else would look at it."""
    V = fem.functionspace(domain.mesh, ("P", 1))
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"))
    cells = Cells.uniform(kernel, kernel.initial_states()[:, 0], -85.0, local_nodes(V))
    problem = monodomain(V, cells, 0.1 * ufl.Identity(3), drives=[Poison(call)], domain=domain)
    step = problem.advance(0.0, 1.0)
    assert step.outcome is Outcome.NOT_FINITE
    assert "is nan" in step.detail
    assert (problem.v.x.array == -85.0).all()


def test_states_that_are_lost_at_the_end_are_found(domain):
    problem = tissue(domain)
    states = problem.cells.state["states"]
    step_cells = problem.cells.step

    def spoiled(v, t, dt):
        step_cells(v, t, dt)
        if t + dt > 1.0 - 1e-9:
            states[2, NODE] = np.nan

    problem.cells.step = spoiled
    assert problem.advance(0.0, 1.0).outcome is Outcome.NOT_FINITE
    assert np.isfinite(states).all()


def test_a_drive_that_fails_refuses_the_step(domain):
    class Broken(Poison):
        def apply(self, v, t, dt):
            v += 1.0
            raise SolverError("drive", "it broke.")

    V = fem.functionspace(domain.mesh, ("P", 1))
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"))
    cells = Cells.uniform(kernel, kernel.initial_states()[:, 0], -85.0, local_nodes(V))
    problem = monodomain(V, cells, 0.1 * ufl.Identity(3), drives=[Broken(0)])
    step = problem.advance(0.0, 1.0)
    assert not step.converged
    assert "it broke" in step.detail
    assert (problem.v.x.array == -85.0).all()


def test_the_run_ends_with_what_happened(domain):
    problem = tissue(domain)
    problem.cells.state["states"][0, NODE] = np.inf
    with pytest.raises(SolverError, match=r"everything up to 0 ms is kept\. In the step.*`Xr1` of"):
        simulate(problem, t_end=2.0, dt=1.0)


def test_steps_follow_the_activity(domain):
    """At rest steps are long; their number tells, as each has a recorder's call."""

    class Count:
        state = {}
        steps = 0

        def record(self, t, dt, before, after):
            self.steps += 1

    count = Count()
    V = fem.functionspace(domain.mesh, ("P", 1))
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"))
    cells = Cells.uniform(kernel, kernel.initial_states()[:, 0], -85.23, local_nodes(V))
    problem = monodomain(V, cells, 0.1 * ufl.Identity(3), recorders=[count])
    for t in range(0, 20, 2):
        assert problem.advance(float(t), t + 2.0).converged
    # 400 steps of 0.05 ms would be short ones throughout, 50 long ones.
    assert 50 <= count.steps < 120
