"""Interfaces on all ranks equal themselves on one: press fit, friction, memory, failures."""

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.materials.bone import OrthotropicBone
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.frictional import FrictionalElasticity
from organtwin.mechanics.interface import Interface
from organtwin.mechanics.interface_law import InterfaceLaw
from organtwin.mechanics.load_steps import follow, press_fit, ramp
from organtwin.mechanics.small_strain import SmallStrain
from organtwin.mechanics.terms import Traction
from organtwin.mesh.distribute import distribute
from organtwin.mesh.separating import separate
from organtwin.parallel import total
from organtwin.solve import elastic
from organtwin.verify.solid_grids import tubes

E = 1e6


def stem(comm, interference=0.01):
    """A stem pressed into a tube, whose upper face is loaded obliquely."""
    mesh = None
    if comm.rank == 0:
        levels = np.linspace(0.0, 10.0, 5)
        whole = tubes((1.0, 4.0, 8.0), ("stem", "bone"), (1, 2), 12, levels)
        mesh = separate(whole, [("stem", "bone")])
    domain = distribute(mesh, comm)
    force = fem.Constant(domain.mesh, np.zeros(3))
    law = InterfaceLaw(stiffness=E, friction=0.2)
    link = Interface(domain, "bone_at_stem", "stem_at_bone", law, interference=interference)
    parts = [SmallStrain(OrthotropicBone.isotropic(k * E, 0.3), cartesian(), (name,))
             for k, name in ((100.0, "stem"), (1.0, "bone"))]  # fmt: skip
    problem = FrictionalElasticity(
        domain, [*parts, link, Traction(("stem_z1",), force)], dirichlet=[Dirichlet("rim")],
        rtol=1e-8, tolerance=1e-9,
    )  # fmt: skip
    return problem, link, force


def numbers(problem, link):
    report, points = link.report(), link.points()
    comm = problem.domain.comm
    pressure = link.fields()["contact_pressure"]  # its vector lives no longer than it does
    slip = total(comm, float((points.area[:, None] * points.slip**2).sum()))
    own = problem.u.x.array[: 3 * problem.V.dofmap.index_map.size_local]
    return [
        np.sqrt(total(comm, float(own @ own))), *report.force, report.area, report.sticking,
        report.pressure,
        report.slip, np.sqrt(slip), pressure.x.petsc_vec.norm(), problem.strain_energy(),
    ]  # fmt: skip


@pytest.mark.parametrize("few", [elastic.FEW, 0])
def test_ranks_do_not_matter(monkeypatch, few):
    monkeypatch.setattr(elastic, "FEW", few)
    found = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        problem, link, force = stem(comm)
        top, low = [600.0, 0.0, -2.5e3], [60.0, 0.0, -250.0]
        values = []
        for step in (press_fit([link]), ramp("load", [(force, top)]), ramp("rest", [(force, low)])):
            follow(problem, [step])
            values += numbers(problem, link)
        assert problem.symmetric == (few == 0)
        found.append(values)
        problem.release()
    np.testing.assert_allclose(*found, rtol=2e-5, atol=1e-6 * np.abs(found[0]).max())
    # Something slips, or nothing would be tested.
    assert 0.05 < found[0][16] < 0.99


def test_all_ranks_learn_what_is_loose():
    problem, _, _ = stem(MPI.COMM_WORLD, interference=-0.01)
    with pytest.raises(InputError, match=r"cells of `stem`.*shift in 3 directions"):
        problem.solve()


def test_a_separated_mesh_has_its_names_on_all_ranks():
    problem, _, _ = stem(MPI.COMM_WORLD)
    domain = problem.domain
    one, two = domain.area("bone_at_stem"), domain.area("stem_at_bone")
    assert one == pytest.approx(two)
    assert one == pytest.approx(10.0 * 12 * 2 * 4.0 * np.sin(np.pi / 12))
