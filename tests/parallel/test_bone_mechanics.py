"""Bone on several ranks: loose pieces, displacement, recovered stress, marked cells."""

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.materials.bone import OrthotropicBone
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.recovery import Recovery
from organtwin.mechanics.small_strain import SmallStrain
from organtwin.mechanics.terms import Traction
from organtwin.solve import elastic
from organtwin.verify.geometry import box


def bar(comm, held=True):
    """A bar with a modulus of 1:2000 that is bent."""
    domain = box(comm, (1.0, 1.0, 2.0), (4, 4, 8))
    E = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)))
    x = E.function_space.tabulate_dof_coordinates()
    E.x.array[:] = 17e6 / 2000 ** np.modf(1e3 * np.abs(np.sin(x @ [12.9, 78.2, 37.7])))[0]
    load = ufl.as_vector([0.0, 0.0, fem.Constant(domain.mesh, 10.0)])
    supports = [Dirichlet("z0")] if held else [Dirichlet("z0", component=2)]
    bone = SmallStrain(OrthotropicBone.isotropic(E, 0.0), cartesian())
    return LinearElasticity(domain, [bone, Traction(("z1",), load)], dirichlet=supports, rtol=1e-11)


@pytest.mark.parametrize("few", [elastic.FEW, 0])
def test_same_answer_on_any_number_of_ranks(monkeypatch, few):
    monkeypatch.setattr(elastic, "FEW", few)
    found = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        problem = bar(comm)
        problem.solve()
        error = Recovery(problem).error()
        found.append([
            problem.strain_energy(), *problem.reaction("z0"), error.energy, error.square
        ])  # fmt: skip
    assert found[0] == pytest.approx(found[1], rel=1e-8, abs=1e-8)
    assert found[0][3] == pytest.approx(-10.0, rel=1e-8)


def test_free_motions_are_told_on_all_ranks():
    with pytest.raises(InputError, match=r"768 cells of `box`.*2 directions and turn about 1 axis"):
        bar(MPI.COMM_WORLD, held=False).solve()
