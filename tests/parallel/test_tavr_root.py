"""A prestressed root on all ranks equals itself on one."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.mesh.domain import read_domain
from organtwin.mesh.shapes.aortic_root import AorticRoot
from organtwin.mesh.shapes.meshing import mesh_shape
from organtwin.parallel import on_root, total
from organtwin.tavr.root_axis import RootAxis
from organtwin.tavr.root_tissue import blood_pressure, root_problem, wall_stress
from organtwin.units import MMHG
from organtwin.verify.problem import shared_file

AXIS = RootAxis.straight([0.0, 0.0, -5.0], [0.0, 0.0, 35.0], annulus=5.0)


def numbers(comm, file):
    """Stress of a root under the pressure of its scan, and its displacement under more."""
    problem = root_problem(read_domain(file, comm), AXIS)
    own = problem.domain.mesh.topology.index_map(3).size_local
    stress = wall_stress(problem)[:own]
    highest = comm.allreduce(float(stress.max()), op=MPI.MAX)
    sums = [total(comm, float((stress**k).sum())) for k in (1, 2)]
    blood_pressure(problem).set(110 * MMHG, 60 * MMHG)
    problem.solve()
    return np.array([highest, *sums, problem.w.x.petsc_vec.norm()])


@pytest.mark.slow
def test_ranks_do_not_matter():
    comm = MPI.COMM_WORLD
    with shared_file(comm, "root.msh") as file:
        on_root(comm, lambda: mesh_shape(AorticRoot(leaflet=1.0, orifice=7.0), 4.0, file) and None)
        alone = on_root(comm, lambda: numbers(MPI.COMM_SELF, file))
        together = numbers(comm, file)
    np.testing.assert_allclose(together, alone, rtol=1e-4)
