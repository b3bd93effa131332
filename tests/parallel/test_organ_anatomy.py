"""Directions and coordinates on an organ's mesh on all ranks equal those on one."""

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.case.organ import OrganCase
from organtwin.case.organ_directions import First, in_ventricles, in_vessel
from organtwin.case.organ_tissues import Ventricles, Vessel
from organtwin.mesh.distribute import collect, distribute
from organtwin.mesh.tissue import borders_of

from tests.voxel_meshes import heart, tube  # isort: skip

COMMS = (MPI.COMM_WORLD, MPI.COMM_SELF)


def test_a_mesh_is_spread_with_its_names_and_fields_come_back_in_order():
    mesh = heart(6.0)
    mesh.facet_names["outside"] = 3
    borders = borders_of(mesh)
    outer = borders.triangles[borders.sides[:, 1] == 0]
    object.__setattr__(mesh, "facets", outer)
    object.__setattr__(mesh, "facet_tags", np.full(len(outer), 3))
    domain = distribute(mesh if MPI.COMM_WORLD.rank == 0 else None, MPI.COMM_WORLD)
    assert domain.volume("rv_wall") == pytest.approx(mesh.volume("rv_wall"))
    assert domain.area("outside") == pytest.approx(len(outer) * 18.0)
    field = fem.Function(fem.functionspace(domain.mesh, ("Lagrange", 1, (3,))))
    field.interpolate(lambda x: x)
    found = collect(domain, field)
    assert (found is None) == (MPI.COMM_WORLD.rank > 0)
    if found is not None:
        np.testing.assert_allclose(found, mesh.points[mesh.cells].mean(axis=1), atol=1e-12)


def compare(run):
    """Fields of rank 0 of all ranks, and of rank 0 alone."""
    together, alone = (run(First(comm)) for comm in COMMS)
    if together is None:
        return
    np.testing.assert_array_equal(together.cells, alone.cells)
    assert [row[0] for row in together.account.numbers] == [row[0] for row in alone.account.numbers]
    for here, there in ((together.f0, alone.f0), (together.s0, alone.s0)):
        cosine = np.abs(np.einsum("ij,ij->i", here, there))
        assert cosine.min() > 1.0 - 1e-8
    for name, values in together.scalars.items():
        turn = np.abs(np.exp(1j * values) - np.exp(1j * alone.scalars[name]))
        difference = turn if name == "rotational" else np.abs(values - alone.scalars[name])
        # Lengths of trajectories are least squares with a small regularisation.
        assert difference.max() < (1e-4 if name == "apicobasal" else 1e-5), name


def test_directions_in_a_vessel_do_not_depend_on_the_ranks():
    mesh = tube()
    section = Vessel(wall="wall", lumen="blood", inlet=[9.5, 9.5, 0], outlets=[9.5, 9.5, 14])
    compare(lambda first: in_vessel(first, mesh, borders_of(mesh), "pipe", section, 2))


def test_directions_in_ventricles_do_not_depend_on_the_ranks():
    mesh = heart(5.0)
    section = Ventricles(
        muscle=["lv_myocardium", "rv_wall"], lv_blood="lv_blood", rv_blood="rv_blood"
    )
    case = OrganCase.model_construct(source=None)
    compare(lambda first: in_ventricles(first, mesh, borders_of(mesh), section, case, 1))
