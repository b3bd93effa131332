"""Every tissue model on all ranks equals itself on one."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import pace
from organtwin.cells.population import Cells
from organtwin.electrophysiology.eikonal import uniform_slowness
from organtwin.electrophysiology.reaction_diffusion import NOT_ACTIVATED, local_nodes
from organtwin.electrophysiology.stimulus import Balls, Stimulus
from organtwin.electrophysiology.tissue import Model, Tissue, activate, extracellular
from organtwin.errors import InputError
from organtwin.parallel import on_root
from organtwin.verify.geometry import box

SIZE = (10.0, 5.0, 2.0)
#: Half of the tissue is activated by then (ms).
T_END = 12.0
SIGMA_I, SIGMA_E = np.array([0.17, 0.019, 0.019]), np.array([0.62, 0.24, 0.24])


def diagonal(sigma):
    return ufl.diag(ufl.as_vector([float(s) for s in sigma]))


def corner_wave(comm, **changes):
    domain = box(comm, SIZE, (20, 10, 4))
    V = fem.functionspace(domain.mesh, ("P", 1))
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"), comm)
    cell = on_root(comm, lambda: pace(kernel, cycle_length=400.0, beats=2))
    parts = {
        "cells": Cells.uniform(kernel, cell.states, cell.v, local_nodes(V)),
        "paced": cell,
        "slowness": uniform_slowness(domain.mesh, np.diag([0.55, 0.2, 0.2]) ** 2),
        "conductivity": diagonal(SIGMA_I * SIGMA_E / (SIGMA_I + SIGMA_E)),
        "sigma_i": diagonal(SIGMA_I),
        "sigma_e": diagonal(SIGMA_E),
        "stimuli": (Stimulus(Balls({"corner": np.zeros(3)}, radius=1.6), period=400.0),),
    }
    return Tissue(V, **(parts | changes))


def on_grid(V, values):
    """Nodal values on all ranks, by place instead of by number; collective."""
    own = V.dofmap.index_map.size_local
    x = np.concatenate(V.mesh.comm.allgather(V.tabulate_dof_coordinates()[:own]))
    gathered = np.concatenate(V.mesh.comm.allgather(values[:own]))
    return gathered[np.lexsort(np.round(x / 0.25).T)]


def half_way(comm, model):
    tissue = corner_wave(comm)
    wave = activate(model, tissue)
    for t in np.arange(0.0, T_END, 2.0):
        assert wave.advance(t, t + 2.0).converged
    outside = extracellular(tissue)
    assert outside.solve(wave.v) > 0
    fields = (wave.v.x.array, wave.activation_time.x.array, wave.calcium, outside.phi.x.array)
    return wave.activated_fraction(), [on_grid(tissue.V, field) for field in fields]


@pytest.mark.parametrize("model", Model)
def test_ranks_agree_with_one(model):
    share, (v, times, calcium, phi) = half_way(MPI.COMM_WORLD, model)
    share_alone, (v_alone, times_alone, calcium_alone, phi_alone) = half_way(MPI.COMM_SELF, model)
    assert 0.2 < share_alone < 0.9
    assert share == share_alone
    np.testing.assert_array_equal(times == NOT_ACTIVATED, times_alone == NOT_ACTIVATED)
    np.testing.assert_allclose(times, times_alone, rtol=1e-5)
    np.testing.assert_allclose(v, v_alone, atol=1e-3)
    np.testing.assert_allclose(calcium, calcium_alone, rtol=1e-4)
    np.testing.assert_allclose(phi, phi_alone, atol=1e-3)


def test_late_wave_is_met_with_short_steps_on_every_rank():
    """A rank that the wave has not reached yet, or has left, takes the steps of the others."""
    tissue = corner_wave(MPI.COMM_WORLD)
    wave = activate(Model.REACTION_EIKONAL_DIFFUSION, tissue)
    for t in np.arange(0.0, 40.0, 4.0):
        assert wave.advance(t, t + 4.0).converged
        (dt,) = wave.state["dt"]
        assert len(set(MPI.COMM_WORLD.allgather(float(dt)))) == 1
    assert wave.activated_fraction() == 1.0


@pytest.mark.parametrize("model", Model)
def test_missing_parts_are_told_on_every_rank(model):
    bare = corner_wave(MPI.COMM_WORLD, slowness=None, conductivity=None, sigma_i=None, sigma_e=None)
    with pytest.raises(InputError, match="the tissue has no"):
        activate(model, bare)
