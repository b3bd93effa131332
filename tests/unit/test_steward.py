"""Load paths that succeed after retries, and deliberately bad problems that say why they fail."""

from __future__ import annotations

import re

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.errors import InputError, SolverError
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.kinematics import as_constants
from organtwin.mechanics.formulation import PENALTY_P1
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import Incompressibility, PassiveStress, Spring, Traction
from organtwin.mesh.domain import Domain
from organtwin.solve.diagnosis import connected_parts, free_motions, most_distorted
from organtwin.solve.nonlinear import Tolerances
from organtwin.solve.outcome import Outcome
from organtwin.solve.steward import follow, resume, save
from organtwin.verify.geometry import box

COMM = MPI.COMM_WORLD


class Nudge:
    """A force (kPa) along y that may turn round each time it is asked: it never settles."""

    def __init__(self, domain: Domain) -> None:
        self.force = fem.Constant(domain.mesh, np.zeros(3))

    def refresh(self, problem: Mechanics) -> None:
        self.force.value[1] *= -1

    def form(self, domain: Domain, s) -> ufl.Form:
        return -ufl.dot(self.force, s.u_test) * domain.ds("x1")


class Contact(Nudge):
    """The same, of three points that go in and out of contact."""

    @property
    def switches(self) -> int:
        return 3 if COMM.rank == 0 else 0


class Block:
    """A block pulled at its end ``x1`` by a traction (kPa); all blocks share one form."""

    def __init__(self, domain: Domain, conditions=(), nudge=Nudge, full=10.0, **settings) -> None:
        self.traction = fem.Constant(domain.mesh, np.zeros(3))
        self.bed = fem.Constant(domain.mesh, 0.0)
        self.nudge = nudge(domain)
        self.full = full
        self.problem = Mechanics(
            domain,
            [
                PassiveStress(as_constants(NeoHookean(10.0), domain.mesh)),
                Incompressibility(fem.Constant(domain.mesh, 50.0)),
                Traction(("x1",), self.traction),
                Spring(("x0", "x1"), self.bed),
                self.nudge,
            ],
            formulation=PENALTY_P1,
            dirichlet=conditions,
            degree=1,
            **settings,
        )

    def apply(self, factor: float) -> None:
        self.traction.value[0] = self.full * factor


def cube() -> Domain:
    return box(COMM, (1.0, 1.0, 1.0), (2, 2, 2))


def two_cubes() -> Domain:
    """The first and last third of a bar, `near` (x < 1) and `far` (x > 2), with a gap between."""
    bar = mesh.create_box(COMM, [[0.0, 0.0, 0.0], [3.0, 1.0, 1.0]], [6, 2, 2])
    n = bar.topology.index_map(3).size_local
    x = mesh.compute_midpoints(bar, 3, np.arange(n, dtype=np.int32))[:, 0]
    kept = np.flatnonzero((x < 1) | (x > 2)).astype(np.int32)
    msh = mesh.create_submesh(bar, 3, kept)[0]
    cells = np.arange(msh.topology.index_map(3).size_local, dtype=np.int32)
    far = mesh.compute_midpoints(msh, 3, cells)[:, 0] > 1.5
    cell_tags = mesh.meshtags(msh, 3, cells, np.where(far, 2, 1).astype(np.int32))
    msh.topology.create_connectivity(2, 3)
    ends = [mesh.locate_entities_boundary(msh, 2, lambda x, at=at: np.isclose(x[0], at))
            for at in (0.0, 3.0)]  # fmt: skip
    tags = np.repeat([1, 2], [len(end) for end in ends]).astype(np.int32)
    facets = np.concatenate(ends)
    order = np.argsort(facets)
    facet_tags = mesh.meshtags(msh, 2, facets[order], tags[order])
    return Domain(msh, cell_tags, facet_tags, {"near": 1, "far": 2}, {"x0": 1, "x1": 2})


@pytest.fixture(scope="module")
def held() -> Block:
    return Block(cube(), [Dirichlet("x0")])


def test_the_whole_load_in_few_steps(held):
    accepted = []
    path = follow(held.problem, held.apply, first=0.25, on_accept=accepted.append)
    assert path.converged
    assert path.factor == accepted[-1] == 1.0
    assert path.steps == len(accepted)
    assert path.iterations == sum(a.iterations for a in path.attempts)
    assert set(path.seconds) == {"residual", "tangent", "solve", "total"}


def test_the_end_does_not_depend_on_the_steps(held):
    ends = []
    for first, largest in ((0.25, 1.0), (0.1, 0.1)):
        held.problem.w.x.array[:] = 0.0
        follow(held.problem, held.apply, first=first, largest=largest).require()
        ends.append(held.problem.w.x.array.copy())
    assert ends[0] == pytest.approx(ends[1], abs=1e-5)


def test_a_failed_step_goes_back_to_the_last_good_state(held):
    """A solve that fails after spoiling the unknown: the next one starts from the good one."""
    problem = held.problem
    problem.w.x.array[:] = 0.0
    calls = []

    def solve():
        calls.append(problem.w.x.array.copy())
        solution = problem.solve()
        if len(calls) == 2:
            problem.w.x.array[:] = np.nan
            return type(solution)(Outcome.NEWTON_STALLED, 40, 1, 1.0)
        return solution

    path = follow(problem, held.apply, first=0.2, solve=solve)
    assert path.converged
    assert path.retries == 1
    assert [a.accepted for a in path.attempts[:3]] == [True, False, True]
    retry = path.attempts[2]
    assert retry.start == pytest.approx(0.2)
    assert retry.end == pytest.approx(0.2 + 0.4 * 0.4)
    assert np.isfinite(calls[2]).all()


def test_inverted_element_is_named_and_the_state_kept(tmp_path_factory):
    """A block that is pressed to less than nothing."""
    folder = COMM.bcast(tmp_path_factory.mktemp("state") if COMM.rank == 0 else None)
    domain = cube()
    end = fem.Constant(domain.mesh, np.zeros(3))
    block = Block(
        domain,
        [Dirichlet("x0"), Dirichlet("x1", ufl.as_vector([end[i] for i in range(3)]))],
        tolerances=Tolerances(iterations=12),
    )

    def apply(factor: float) -> None:
        end.value[0] = -1.5 * factor

    path = follow(block.problem, apply, first=0.2, smallest=0.02, save_to=folder)
    assert not path.converged
    assert 0.2 < path.factor < 0.67
    assert path.attempts[-1].outcome in (Outcome.INVERTED, Outcome.NEWTON_STALLED)
    assert "inverted at (" in path.reason
    assert "region `box`" in path.reason
    assert f"load factor reached is {path.factor:.4g}" in path.reason
    with pytest.raises(SolverError, match="inverted"):
        path.require()
    assert most_distorted(block.problem).volume_ratio > 0  # the last good state is back
    good = block.problem.w.x.array.copy()
    block.problem.w.x.array[:] = 0.0
    assert resume(block.problem, path.saved) == pytest.approx(path.factor)
    assert block.problem.w.x.array == pytest.approx(good)


def test_part_without_support_is_named():
    block = Block(two_cubes(), [Dirichlet("x0")])
    path = follow(block.problem, block.apply, first=0.1, smallest=0.05)
    assert not path.converged
    assert "the part `far`" in path.reason
    assert "is not held" in path.reason
    assert "`near`" not in path.reason


def test_a_body_that_may_slide_is_told_along_what():
    """Held along x at one end: it may still move along y and z, and turn about x."""
    block = Block(cube(), [Dirichlet("x0", component=0)])
    (motion,) = free_motions(block.problem)
    assert motion.part == ("box",)
    assert motion.cells == 48
    assert "(1.00, 0.00, 0.00)" not in motion.kind or "turning" in motion.kind


def test_springs_hold(held):
    assert free_motions(held.problem) == []
    bedded = Block(cube())
    assert len(free_motions(bedded.problem)) == 1
    bedded.bed.value = 0.01
    assert free_motions(bedded.problem) == []


def test_parts_are_what_hangs_together():
    labels, count = connected_parts(two_cubes())
    assert count == 2
    assert set().union(*COMM.allgather(set(labels.tolist()))) == {0, 1}
    assert connected_parts(cube())[1] == 1


def restless(nudge) -> str:
    """Why a block under a force that keeps turning round is given up."""
    block = Block(cube(), [Dirichlet("x0")], nudge, full=0.0, tolerances=Tolerances(iterations=8))
    block.nudge.force.value[1] = 3.0
    return follow(block.problem, block.apply, first=0.1, smallest=0.05).reason


def test_chatter_is_told():
    assert "Contact chatters: 3 points" in restless(Contact)


def test_a_stall_names_field_and_place():
    reason = restless(Nudge)
    assert re.search(r"stalls in the [xy] component of the forces, most at \(1\.00", reason)
    assert "load factor reached is 0;" in reason


def test_states_of_another_problem_are_refused(held, tmp_path_factory):
    folder = COMM.bcast(tmp_path_factory.mktemp("state") if COMM.rank == 0 else None)
    save(held.problem, 0.5, folder)
    other = Block(box(COMM, (1.0, 1.0, 1.0), (3, 2, 2)), [Dirichlet("x0")])
    with pytest.raises(InputError, match="does not fit"):
        resume(other.problem, folder)
    with pytest.raises(InputError, match="no saved state"):
        resume(other.problem, folder / "elsewhere")


@pytest.mark.parametrize("wrong", [{"first": 0.0}, {"smallest": 0.5}, {"start": 1.0}])
def test_impossible_steps_are_refused(held, wrong):
    with pytest.raises(InputError, match="follow"):
        follow(held.problem, held.apply, **wrong)
