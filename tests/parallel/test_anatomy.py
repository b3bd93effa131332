"""Anatomy on all ranks equals anatomy on one."""

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.anatomy.atria import atrial_fibres, bundles
from organtwin.anatomy.atria_bundles import RightAtrium
from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.fibres import FibreAngles, fibres
from organtwin.anatomy.landmarks import SITES, activation_sites
from organtwin.anatomy.segments import aha_segments
from organtwin.anatomy.ventricular_coordinates import ventricular_coordinates
from organtwin.coupling.wall_motion import WallMotion
from organtwin.mesh.domain import cellwise_vectors
from organtwin.parallel import on_root
from organtwin.solve.assembly import integral
from organtwin.verify.atria import RIGHT, idealised_atrium
from organtwin.verify.biventricle import biventricle


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    comm = MPI.COMM_WORLD
    return on_root(comm, lambda: tmp_path_factory.mktemp("heart") / "heart.msh")


def anatomy(comm, path):
    domain = biventricle(comm, path)
    at = coordinates(domain, degree=2)
    found = fibres(domain, FibreAngles(), fem.functionspace(domain.mesh, ("DG", 0, (3,))), at=at)
    return domain, at, found


def test_axis_sites_and_fibres_do_not_depend_on_the_ranks(path):
    comm = MPI.COMM_WORLD
    domain, at, found = anatomy(comm, path)
    alone, at_alone, found_alone = anatomy(MPI.COMM_SELF, path)
    np.testing.assert_allclose(at.axis.direction, at_alone.axis.direction, atol=1e-12)
    np.testing.assert_array_equal(at.axis.apex, at_alone.axis.apex)
    sites = activation_sites(domain, at, list(SITES))
    for name, point in activation_sites(alone, at_alone, list(SITES)).items():
        np.testing.assert_array_equal(sites[name], point)

    own = domain.mesh.topology.original_cell_index
    place = np.empty_like(own, shape=len(alone.mesh.topology.original_cell_index))
    place[alone.mesh.topology.original_cell_index] = np.arange(len(place))
    for here, there in ((found.f0, found_alone.f0), (found.s0, found_alone.s0)):
        difference = here.x.array.reshape(-1, 3) - there.x.array.reshape(-1, 3)[place[own]]
        assert comm.allreduce(np.abs(difference).max(), op=MPI.MAX) < 1e-7


def test_motion_and_stretches_of_the_wall_do_not_depend_on_the_ranks(path):
    def measured(comm):
        domain = biventricle(comm, path)
        u = fem.Function(fem.functionspace(domain.mesh, ("P", 2, (3,))))
        u.interpolate(lambda x: np.stack([0.002 * x[1] * x[2], -0.2 * x[1], 1e-3 * x[0] ** 2]))
        return WallMotion(u, domain, coordinates(domain, degree=2))()

    alone = measured(MPI.COMM_SELF)
    assert sum("stretch" in name for name in alone) == 5
    assert measured(MPI.COMM_WORLD) == pytest.approx(alone, rel=1e-8)


def test_ventricular_coordinates_and_segments_do_not_depend_on_the_ranks(path):
    def integrals(comm):
        domain = biventricle(comm, path)
        found = ventricular_coordinates(domain)
        x = ufl.SpatialCoordinate(domain.mesh)
        fields = (found.apicobasal, found.transmural, found.rotational, aha_segments(domain))
        return [integral(field * (1.0 + 0.1 * x[0]) * domain.dx()) for field in fields]

    np.testing.assert_allclose(integrals(MPI.COMM_WORLD), integrals(MPI.COMM_SELF), rtol=1e-7)


def test_atrial_fibres_and_bundles_do_not_depend_on_the_ranks(path):
    comm, atrium = MPI.COMM_WORLD, RightAtrium(appendage=tuple(RIGHT.pipes["appendage"].tip))

    def in_cells(comm):
        domain = idealised_atrium(comm, RIGHT, path.with_name("atrium.msh"), 5.0)
        found = atrial_fibres(domain, cellwise_vectors(domain), atrium)
        columns = (u.x.array.reshape(-1, 3) for u in (found.f0, found.s0, found.n0))
        number = bundles(domain, atrium).x.array
        return domain.mesh.topology.original_cell_index, np.column_stack([*columns, number])

    here, values = in_cells(comm)
    there, alone = in_cells(MPI.COMM_SELF)
    difference = values - alone[np.argsort(there)[here]]
    assert comm.allreduce(np.abs(difference).max(), op=MPI.MAX) < 1e-6
