"""Plane waves with the numbers of Niederer et al. (2011), Phil. Trans. R. Soc. A 369:4331–4351."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import gmsh
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from dolfinx.io import gmsh as gmshio
from mpi4py import MPI

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.population import Cells
from organtwin.electrophysiology.conductivity import conduction_velocity, structured_bar, tune
from organtwin.electrophysiology.diffusion import Mass, Membrane
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import (
    COARSE,
    Splitting,
    TimeSteps,
    local_nodes,
)
from organtwin.electrophysiology.stimulus import Box, Stimulus

#: Velocity along the fibres in the continuum (mm/ms): a separate one-dimensional computation with
#: central differences, h = 0.025 mm, Δt = 0.0025 ms.
LIMIT = 0.612
SIGMA = 0.1334177
MEMBRANE = Membrane(chi=140.0, C_m=0.01)


@pytest.fixture(scope="module")
def cell():
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"))
    return kernel, kernel.initial_states()[:, 0], kernel.initial_potential


def velocity(cell, h, mass):
    """With tetrahedra of mean edge ``h`` (mm); extrapolated to Δt = 0 with order one."""
    scheme = replace(COARSE, mass=mass, splitting=Splitting.GODUNOV, theta=1.0)
    slow, fast = (
        conduction_velocity(*cell, (SIGMA,) * 3, structured_bar(h), MEMBRANE, dt, scheme=scheme)
        for dt in (0.01, 0.005)
    )
    return 2 * fast - slow


def test_lumped_and_consistent_mass_bracket_the_limit(cell):
    """One comes from below, the other from above, and both extrapolate to the same velocity."""
    for mass in (Mass.LUMPED, Mass.CONSISTENT):
        coarse, fine = (velocity(cell, h, mass) for h in (0.16, 0.08))
        if mass is Mass.LUMPED:
            assert coarse < fine < LIMIT
        else:
            assert LIMIT < fine < coarse
        assert fine == pytest.approx(LIMIT, rel=0.015)
        assert (4 * fine - coarse) / 3 == pytest.approx(LIMIT, rel=0.01)


# --- meshes as hearts have them -------------------------------------------------------------------

LENGTH, WIDTH, DT = 30.0, 8.0, 0.05
PAIRS = list(combinations(range(4), 2))


def tissue(algorithm, size):
    """Slab that gmsh meshes by one of its algorithms, refined as a heart is."""
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Verbosity", 0)
        solid = gmsh.model.occ.addBox(0, 0, 0, LENGTH, WIDTH, WIDTH)
        gmsh.model.occ.synchronize()
        gmsh.model.addPhysicalGroup(3, [solid], 1)
        gmsh.option.setNumber("Mesh.Algorithm3D", algorithm)
        gmsh.option.setNumber("Mesh.MeshSizeMin", size)
        gmsh.option.setNumber("Mesh.MeshSizeMax", size)
        gmsh.model.mesh.generate(3)
        coarse = gmshio.model_to_mesh(gmsh.model, MPI.COMM_SELF, 0, gdim=3).mesh
    finally:
        gmsh.finalize()
    coarse.topology.create_entities(1)
    return mesh.refine(coarse)[0]


def mean_edge(msh):
    """Over the cells."""
    x = msh.geometry.x[msh.geometry.dofmaps[0]]
    return float(np.mean([np.linalg.norm(x[:, i] - x[:, j], axis=1) for i, j in PAIRS]))


def plane_wave(cell, msh, sigma):
    """Slope of place over activation time in the middle of the bar (mm/ms)."""
    stimulus = Stimulus(Box((0.0, 0.0, 0.0), (3.0, WIDTH, WIDTH)), strength=100.0)
    V = fem.functionspace(msh, ("P", 1))
    cells = Cells.uniform(*cell, local_nodes(V))
    steps = TimeSteps.fixed(DT)
    tensor = sigma * ufl.Identity(3)
    bar = monodomain(V, cells, tensor, [stimulus], membrane=MEMBRANE, scheme=COARSE, steps=steps)
    for t in np.arange(0.0, 100.0, 2.0):
        bar.advance(t, t + 2.0)
        if bar.activated_fraction() == 1.0:
            break
    x = bar.v.function_space.tabulate_dof_coordinates()[:, 0]
    middle = (x > 0.3 * LENGTH) & (x < 0.8 * LENGTH)
    return 1 / np.polyfit(x[middle], bar.activation_time.x.array[middle], 1)[0]


DELAUNAY, FRONTAL, HXT = 1, 4, 10


@pytest.mark.parametrize(
    ("algorithm", "size", "target"), [(DELAUNAY, 2.2, 0.6), (FRONTAL, 2.0, 0.3), (HXT, 2.0, 0.6)]
)
def test_tuned_conductivity_carries_over_to_other_meshes(cell, algorithm, size, target):
    """Conductivities are tuned on a bar; a heart's mesh is another."""
    msh = tissue(algorithm, size)
    h = mean_edge(msh)
    assert 1.1 < h < 1.5
    tuned, *_ = tune(*cell, (target,) * 3, h, membrane=MEMBRANE, dt=DT, scheme=COARSE)
    found = plane_wave(cell, msh, tuned.sigma)
    assert found == pytest.approx(target, rel=0.08)
