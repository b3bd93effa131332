"""A shell on all ranks is the one on a single rank, and carries the same wave."""

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.population import Cells
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import TimeSteps, local_nodes
from organtwin.electrophysiology.reentry import Reentry
from organtwin.electrophysiology.stimulus import Stimulus, Surface
from organtwin.mesh.domain import read_domain
from tests.shells import ball_shell

COMM = MPI.COMM_WORLD


def wave(domain):
    """Activation times (ms) by place, and the samples of a recorder; from the valve."""
    V = fem.functionspace(domain.mesh, ("P", 1))
    kernel = compile_kernel(CellModel.load("mitchell_schaeffer_2003"), domain.comm)
    n = local_nodes(V)
    cells = Cells.uniform(kernel, kernel.initial_states()[:, 0], kernel.initial_potential, n)
    reentry = Reentry(V, until=40.0)
    tissue = monodomain(
        V, cells, fem.Constant(domain.mesh, 0.2) * ufl.Identity(3),
        [Stimulus(Surface(domain, ("valve",)))], steps=TimeSteps.fixed(0.1), recorders=[reentry],
    )  # fmt: skip
    tissue.advance(0.0, 40.0)
    own = V.dofmap.index_map.size_local
    x = np.concatenate(domain.comm.allgather(V.tabulate_dof_coordinates()[:own]))
    times = np.concatenate(domain.comm.allgather(tissue.activation_time.x.array[:own]))
    return times[np.lexsort(np.round(x, 6).T)], reentry.samples


def test_shell_and_its_wave_do_not_depend_on_the_ranks(shared_tmp_path):
    path = shared_tmp_path / "shell.msh"
    together = ball_shell(COMM, path)
    alone = read_domain(path, MPI.COMM_SELF)
    assert np.isclose(together.volume("atrium"), alone.volume("atrium"), rtol=1e-12)
    assert np.isclose(together.area("valve"), alone.area("valve"), rtol=1e-12)
    (times, samples), (expected, expected_samples) = wave(together), wave(alone)
    assert 5.0 < expected.max() < 40.0
    np.testing.assert_allclose(times, expected, atol=1e-3)
    np.testing.assert_allclose(samples, expected_samples, atol=1e-3)
