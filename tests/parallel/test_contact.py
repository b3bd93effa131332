"""Contact and ties on all ranks equal themselves on one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.mechanics.contact import Contact, ContactLaw
from organtwin.mechanics.contact_solve import solve_in_contact
from organtwin.mechanics.formulation import PENALTY_P1
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.rigid import Obstacle, Sphere, read_solid
from organtwin.mechanics.terms import Incompressibility, PassiveStress
from organtwin.mechanics.tie import Tie
from organtwin.parallel import on_root
from organtwin.solve.nonlinear import Tolerances
from organtwin.solve.outcome import Outcome
from organtwin.verify.contact import KAPPA, SKIN, E, two_blocks

LAW = ContactLaw(stiffness=E, friction=0.2)


def led(comm, path, link):
    """The upper block is pressed onto the lower one and moved sideways."""
    domain = two_blocks(comm, path)
    term = link(domain)
    place = fem.Constant(domain.mesh, np.zeros(3))
    problem = Mechanics(
        domain,
        [PassiveStress(SKIN), Incompressibility(KAPPA), term],
        formulation=PENALTY_P1,
        dirichlet=[Dirichlet("lower_bottom"), Dirichlet("upper_top", place)],
        tolerances=Tolerances(increment=1e-10),
    )
    contacts = [term] if isinstance(term, Contact) else []
    for x in ((0, 0, -0.01), (0.011, 0.004, -0.02), (0.033, 0.012, -0.02)):
        place.value[:] = x
        assert solve_in_contact(problem, contacts).outcome is Outcome.CONVERGED
        problem.commit()
    return problem, term


def numbers(problem, term):
    norm = problem.w.x.petsc_vec.norm()
    if isinstance(term, Tie):
        return [norm, *term.force()]
    report, field = term.report(), term.pressure()
    peak = problem.domain.comm.allreduce(field.x.array.max(initial=0.0), op=MPI.MAX)
    return [norm, *report.force, report.area, report.pressure, report.penetration, peak]


@pytest.mark.parametrize(
    "link",
    [
        lambda domain: Contact(domain, "upper_bottom", "lower_top", LAW, two_pass=True),
        lambda domain: Tie(domain, "upper_bottom", "lower_top", stiffness=E),
    ],
    ids=["contact", "tie"],
)
def test_ranks_do_not_matter(shared_tmp_path, link):
    comm = MPI.COMM_WORLD
    alone = on_root(comm, lambda: numbers(*led(MPI.COMM_SELF, shared_tmp_path / "one.msh", link)))
    together = numbers(*led(comm, shared_tmp_path / "all.msh", link))
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-9)


def test_all_ranks_learn_that_one_is_lost(shared_tmp_path):
    """A displacement that is not finite on one rank makes the residual NaN; none waits for it."""
    domain = two_blocks(MPI.COMM_WORLD, shared_tmp_path / "lost.msh")
    V = fem.functionspace(domain.mesh, ("P", 1, (3,)))
    w, nodes = fem.Function(V), V.dofmap.index_map.size_local + V.dofmap.index_map.num_ghosts
    dofs = np.arange(3 * nodes, dtype=np.int32)
    problem = SimpleNamespace(
        domain=domain, V=V, W=V, w=w, _u_dofs=dofs, levels=None, at_level=lambda: w.x.array
    )
    if domain.comm.rank == 0:
        w.x.array[0] = np.nan
    contact, R = Contact(domain, "upper_bottom", "lower_top", LAW), fem_petsc.create_vector(V)
    contact.refresh(problem)
    contact.add_residual(R)
    assert np.isnan(R.norm())


def test_all_ranks_refuse_an_unreadable_solid(shared_tmp_path):
    comm, path = MPI.COMM_WORLD, shared_tmp_path / "ball.stl"
    on_root(comm, lambda: path.write_text("no surface"))
    with pytest.raises(InputError, match="no surface can be read"):
        read_solid(path, comm, spacing=0.1, margin=0.1)


def test_all_ranks_refuse_bodies_that_start_inside_each_other(shared_tmp_path):
    domain = two_blocks(MPI.COMM_WORLD, shared_tmp_path / "blocks.msh")
    ball = Obstacle(Sphere((0.5, 0.5, 0.9), 0.8))
    contact = Contact(domain, "upper_top", ball, LAW)
    with pytest.raises(InputError, match="inside the obstacle"):
        Mechanics(
            domain,
            [PassiveStress(SKIN), Incompressibility(KAPPA), contact],
            formulation=PENALTY_P1,
            dirichlet=[Dirichlet("lower_bottom")],
        ).solve()
