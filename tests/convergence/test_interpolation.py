"""Integrated currents converge with the mesh to what nodal ones converge to."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.population import Cells
from organtwin.electrophysiology.diffusion import Mass
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import (
    Discretisation,
    Interpolation,
    TimeSteps,
    local_nodes,
)

LENGTH, END, DT = 16.0, 4.0, 0.01


def wave(n, mass, interpolation, degree=1):
    """A front on its way through a cable of n elements: v at 17 points."""
    cable = mesh.create_interval(MPI.COMM_SELF, n, [0.0, LENGTH])
    V = fem.functionspace(cable, ("P", degree))
    kernel = compile_kernel(CellModel.load("mitchell_schaeffer_2003"))
    cells = Cells.uniform(kernel, kernel.initial_states()[:, 0], -80.0, local_nodes(V))
    scheme = Discretisation(mass=mass, interpolation=interpolation)
    problem = monodomain(
        V, cells, fem.Constant(cable, 1.0) * ufl.Identity(1), scheme=scheme,
        steps=TimeSteps.fixed(DT),
    )  # fmt: skip
    x = V.tabulate_dof_coordinates()[:, 0]
    problem.v.x.array[:] = -80.0 + 90.0 / (1.0 + np.exp(x - 6.0))
    assert problem.advance(0.0, END).converged
    order = np.argsort(x)
    return problem.v.x.array[order][:: degree * n // 16]


def rms(v):
    """Root mean square."""
    return np.sqrt((v**2).mean())


@pytest.fixture(scope="module")
def exact():
    return wave(256, Mass.CONSISTENT, Interpolation.CURRENT, degree=2)


@pytest.mark.parametrize("interpolation", list(Interpolation))
@pytest.mark.parametrize("mass", [Mass.CONSISTENT, Mass.BLENDED])
def test_order_two_in_space(exact, mass, interpolation):
    """On the finest mesh no element has a front any more, and all interpolations are one."""
    errors = np.array([rms(wave(n, mass, interpolation) - exact) for n in (16, 32, 64, 128)])
    orders = np.log2(errors[:-1] / errors[1:])
    assert errors[-1] < 0.015
    assert orders.mean() > 1.8
    assert orders[:2].min() > 1.35
