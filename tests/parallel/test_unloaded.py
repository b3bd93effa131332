import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.terms import FollowerPressure, Incompressibility, PassiveStress
from organtwin.mechanics.unloaded import FixedPoint, LoadedBody, unload, unload_by_fixed_point
from organtwin.verify.geometry import box
from organtwin.verify.unloaded import Rubber, recovered_ventricle


def held(comm):
    """A block glued to a wall, under a pressure on one side: bent, so that no rank is idle."""
    domain = box(comm, (2.0, 1.0, 1.0), (4, 2, 2))
    load = fem.Constant(domain.mesh, 0.0)
    law = Rubber(fem.Constant(domain.mesh, 10.0), fem.Constant(domain.mesh, 0.0))
    return LoadedBody(
        domain,
        [PassiveStress(law), Incompressibility(), FollowerPressure(("x1",), load)],
        dirichlet=[Dirichlet("x0")],
        scale=lambda share: setattr(load, "value", 6.0 * share),
    )


def sorted_nodes(comm, U):
    owned = U.function_space.dofmap.index_map.size_local
    rows = np.hstack(
        [U.function_space.tabulate_dof_coordinates()[:owned], U.x.array.reshape(-1, 3)[:owned]]
    )
    rows = np.concatenate(comm.allgather(rows))
    return rows[np.lexsort(rows[:, :3].round(9).T)]


@pytest.mark.parametrize("method", [unload, unload_by_fixed_point])
def test_the_reference_state_does_not_depend_on_the_number_of_ranks(method):
    comm = MPI.COMM_WORLD
    options = () if method is unload else (FixedPoint(tolerance=1e-7),)
    state, alone = method(held(comm), *options), method(held(MPI.COMM_SELF), *options)
    assert sorted_nodes(comm, state.U) == pytest.approx(
        sorted_nodes(MPI.COMM_SELF, alone.U), abs=1e-7
    )
    assert state.largest_displacement == pytest.approx(alone.largest_displacement, rel=1e-6)


@pytest.mark.slow
def test_a_ventricle_is_recovered_on_any_number_of_ranks(shared_tmp_path):
    found = recovered_ventricle(
        MPI.COMM_WORLD, shared_tmp_path / "ellipsoid.msh", size=5.0, pressure=1.0
    )
    assert found.direct < 1e-6
    assert found.fixed_point < 1e-5
