"""A wave on all ranks equals the wave on one."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.population import Cells
from organtwin.electrophysiology.diffusion import Mass
from organtwin.electrophysiology.ecg import PseudoECG, standing_adult
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import (
    NOT_ACTIVATED,
    Discretisation,
    Interpolation,
    Splitting,
    local_nodes,
)
from organtwin.electrophysiology.stimulus import Balls, Stimulus
from organtwin.errors import InputError
from organtwin.verify.geometry import box

SIZE = np.array([12.0, 6.0, 3.0])
T_END = 14.0


SCHEMES = {
    "linear": (1, Discretisation()),
    "quadratic": (2, Discretisation(mass=Mass.CONSISTENT)),
    "lumped": (1, Discretisation(mass=Mass.LUMPED)),
    "nodal currents": (1, Discretisation(interpolation=Interpolation.CURRENT)),
    "state interpolation": (1, Discretisation(interpolation=Interpolation.STATE)),
    "Godunov": (1, Discretisation(splitting=Splitting.GODUNOV, theta=1.0)),
}


def wave(comm, degree, scheme):
    """Tissue after `T_END`, half of it activated, its ECG at several times, and its domain."""
    domain = box(comm, tuple(SIZE), (24, 12, 6))
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"), comm)
    sigma = ufl.as_matrix(np.diag([0.2, 0.08, 0.08]).tolist())
    V = fem.functionspace(domain.mesh, ("P", degree))
    cells = Cells.uniform(
        kernel, kernel.initial_states()[:, 0], kernel.initial_potential, local_nodes(V)
    )
    stimulus = Stimulus(Balls({"corner": np.zeros(3)}, radius=1.6))
    tissue = monodomain(V, cells, sigma, [stimulus], scheme=scheme)
    ecg = PseudoECG(tissue.v.function_space, sigma, standing_adult(domain))
    leads = []
    for t in np.arange(0.0, T_END, 2.0):
        assert tissue.advance(t, t + 2.0).converged
        leads.append(list(ecg(tissue.v).values()))
    return tissue, np.array(leads)


def on_grid(tissue, values):
    """Nodal values on all ranks, by place instead of by number; collective."""
    V = tissue.v.function_space
    own = V.dofmap.index_map.size_local
    x = np.concatenate(tissue.comm.allgather(V.tabulate_dof_coordinates()[:own]))
    gathered = np.concatenate(tissue.comm.allgather(values[:own]))
    return gathered[np.lexsort(np.round(x / 0.25).T)]


@pytest.mark.parametrize(("degree", "scheme"), SCHEMES.values(), ids=SCHEMES)
def test_wave_does_not_depend_on_the_ranks(degree, scheme):
    here, leads = wave(MPI.COMM_WORLD, degree, scheme)
    alone, leads_alone = wave(MPI.COMM_SELF, degree, scheme)
    activation, activation_alone = (on_grid(w, w.activation_time.x.array) for w in (here, alone))
    np.testing.assert_array_equal(activation == NOT_ACTIVATED, activation_alone == NOT_ACTIVATED)
    assert 0.2 < alone.activated_fraction() < 0.9
    assert here.activated_fraction() == alone.activated_fraction()
    np.testing.assert_allclose(activation, activation_alone, rtol=1e-6)
    np.testing.assert_allclose(
        on_grid(here, here.v.x.array), on_grid(alone, alone.v.x.array), atol=1e-6 * 100
    )
    np.testing.assert_allclose(
        on_grid(here, here.calcium), on_grid(alone, alone.calcium), rtol=1e-5
    )
    np.testing.assert_allclose(leads, leads_alone, atol=1e-6 * np.abs(leads_alone).max())


def test_ghosts_follow_their_owners():
    here, _ = wave(MPI.COMM_WORLD, 1, Discretisation())
    for function in (here.v, here.activation_time):
        before = function.x.array.copy()
        function.x.scatter_forward()
        np.testing.assert_allclose(function.x.array, before, rtol=1e-9)


def test_site_off_the_tissue_is_refused_on_every_rank():
    domain = box(MPI.COMM_WORLD, tuple(SIZE), (4, 2, 2))
    V = fem.functionspace(domain.mesh, ("P", 1))
    with pytest.raises(InputError, match="no node of the mesh lies within"):
        Balls({"lost": np.full(3, 99.0)}, radius=1.0).share(V)
