"""Recovered stresses: fields in the nodes, and the split where the stiffness jumps."""

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.materials.bone import OrthotropicBone
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.derived import UNITS, averaged_fields
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.recovery import Recovery
from organtwin.mechanics.small_strain import SmallStrain
from organtwin.mechanics.terms import Traction
from organtwin.verify.geometry import box


def bar(ratio):
    """A bar of two halves side by side, stretched alike: its stress jumps by the ratio."""
    domain = box(MPI.COMM_SELF, (1.0, 1.0, 2.0), (4, 2, 4))
    E = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)))
    x = E.function_space.tabulate_dof_coordinates()
    E.x.array[:] = np.where(x[:, 0] < 0.5, 1000.0 * ratio, 1000.0)
    stretch = fem.Constant(domain.mesh, 0.01)
    problem = LinearElasticity(
        domain, [SmallStrain(OrthotropicBone.isotropic(E, 0.0), cartesian())],
        dirichlet=[Dirichlet("z0"), Dirichlet("z1", ufl.as_vector([0.0, 0.0, stretch]))],
    )  # fmt: skip
    problem.solve()
    return problem


@pytest.fixture(scope="module")
def halves():
    return bar(20.0)


def test_patches_stop_where_the_stiffness_jumps(halves):
    """The elements are exact: strain 0.005 everywhere, stress 5 kPa beside 100 kPa."""
    split = Recovery(halves, jump=10.0)
    assert split.error().relative < 1e-9
    stress = split.nodes[:, :, 2]
    centre = split.corners[:, :, 0].mean(axis=1)
    expected = np.where(centre < 0.5, 100.0, 5.0)
    assert stress == pytest.approx(np.repeat(expected[:, None], 4, axis=1), rel=1e-8)


def test_without_the_split_the_jump_is_smeared_and_looks_like_an_error(halves):
    assert Recovery(halves).error().relative > 0.05
    # A step of a thousand holds both halves.
    assert Recovery(halves, jump=1000.0).error().relative > 0.05


def test_averaged_fields_of_uniform_tension():
    domain = box(MPI.COMM_SELF, (1.0, 1.0, 2.0), (2, 2, 4))
    pull = Traction(("z1",), ufl.as_vector([0.0, 0.0, fem.Constant(domain.mesh, 10.0)]))
    problem = LinearElasticity(
        domain, [SmallStrain(OrthotropicBone.isotropic(1000.0, 0.0), cartesian()), pull],
        dirichlet=[Dirichlet("z0")],
    )  # fmt: skip
    problem.solve()
    fields = averaged_fields(problem)
    assert set(fields) == set(UNITS)
    for name, value in (
        ("von_mises_stress", 10.0), ("largest_principal_stress", 10.0),
        ("smallest_principal_stress", 0.0), ("largest_principal_strain", 0.01),
        ("smallest_principal_strain", 0.0), ("strain_energy_density", 0.05),
    ):  # fmt: skip
        assert fields[name].x.array == pytest.approx(value, abs=1e-8), name
