"""The bidomain's diffusion in time: stable for any step, of order two."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.electrophysiology.bidomain import BidomainDiffusion, bidomain
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import (
    Discretisation,
    Interpolation,
    TimeSteps,
)

SIZE = (1.2, 1.2, 0.6)
#: Conductivities along and across fibres: of the cells, and outside of them.
CELLS = (0.17, 0.019)
OUTSIDE = {
    "unequal": (0.62, 0.24),
    "isotropic": (0.2, 0.2),
    "opposite": (0.1, 0.2),
}
EQUAL = (0.34, 0.038)
#: Conductivity of a bath above the tissue; there is none if it is zero.
BATHS = [0.0, 1.0]


class Passive:
    """No currents; a potential to start from."""

    state = {}

    def __init__(self, v):
        self._v = v

    def rest(self, n):
        return self._v

    def step(self, v, t, dt):
        pass

    def calcium(self, n):
        return np.zeros(n)

    def fault(self, v):
        return None


def noise(x):
    """As rough as the mesh, by place."""
    return np.sin(1e4 * (x @ np.array([1.0, 2.2, 3.7])) ** 2)


def front(x):
    return -85 + 100 / (
        1 + np.exp((np.hypot(np.hypot(x[:, 0], 1.5 * x[:, 1]), x[:, 2]) - 0.6) / 0.15)
    )


def tensor(along, across):
    return ufl.diag(ufl.as_vector([along, across, across]))


def halves(comm, bath):
    """A box, and where tissue and bath are in it."""
    box = mesh.create_box(comm, [[0.0, 0.0, 0.0], SIZE], [12, 12, 6])
    index_map = box.topology.index_map(3)
    cells = np.arange(index_map.size_local + index_map.num_ghosts, dtype=np.int32)
    above = mesh.compute_midpoints(box, 3, cells)[:, 2] > SIZE[2] / 2
    tags = mesh.meshtags(box, 3, cells, np.where(above, 2, 1).astype(np.int32))
    dx = ufl.Measure("dx", box, subdomain_data=tags)
    return (box, dx(1), dx(2)) if bath else (box, ufl.dx, None)


def diffusing(sigma_e, bath, start, dt, *, comm=MPI.COMM_SELF, accurate=True):
    box, dx, above = halves(comm, bath)
    V = fem.functionspace(box, ("P", 1))
    return bidomain(
        V, Passive(start(V.tabulate_dof_coordinates())), tensor(*CELLS), tensor(*sigma_e),
        scheme=Discretisation(
            interpolation=Interpolation.CURRENT, tolerance=1e-9 if accurate else 1e-4
        ),
        steps=TimeSteps.fixed(dt), dx=dx, tolerance=1e-11 if accurate else 1e-6,
        bath=(bath * ufl.Identity(3), above) if bath else None,
    )  # fmt: skip


def in_tissue(problem, bath):
    """The potential, but of nodes in the bath, which has none."""
    z = problem.v.function_space.tabulate_dof_coordinates()[:, 2]
    return problem.v.x.array[z < SIZE[2] / 2 + 1e-9] if bath else problem.v.x.array.copy()


@pytest.mark.parametrize("bath", BATHS)
@pytest.mark.parametrize("sigma_e", OUTSIDE.values(), ids=OUTSIDE)
def test_noise_does_not_grow(sigma_e, bath):
    """In steps many times longer than the mesh would let an explicit method take."""
    problem = diffusing(sigma_e, bath, noise, 0.4, accurate=False)
    largest = np.abs(in_tissue(problem, bath)).max()
    for step in range(40):
        assert problem.advance(0.4 * step, 0.4 * (step + 1)).converged
    assert np.abs(in_tissue(problem, bath)).max() < 0.3 * largest


@pytest.mark.parametrize("bath", BATHS)
@pytest.mark.parametrize("sigma_e", [*OUTSIDE.values(), EQUAL], ids=[*OUTSIDE, "equal"])
def test_order_two_in_time(sigma_e, bath):
    v = []
    for dt in (0.2, 0.1, 0.05):
        problem = diffusing(sigma_e, bath, front, dt)
        assert problem.advance(0.0, 1.6).converged
        v.append(in_tissue(problem, bath))
    coarse, fine = (np.sqrt(np.mean((v[k] - v[k + 1]) ** 2)) for k in range(2))
    assert np.log2(coarse / fine) > 1.7
    assert fine < 0.02


def test_equal_anisotropy_is_the_monodomain():
    """Step for step, and φₑ is a share of v that takes no iterations."""
    problem = diffusing(EQUAL, 0.0, front, 0.2)
    V = problem.v.function_space
    share = EQUAL[0] / (CELLS[0] + EQUAL[0])
    one = monodomain(
        V, Passive(front(V.tabulate_dof_coordinates())), share * tensor(*CELLS),
        scheme=Discretisation(interpolation=Interpolation.CURRENT, tolerance=1e-9),
        steps=TimeSteps.fixed(0.2),
    )  # fmt: skip
    for wave in (problem, one):
        assert wave.advance(0.0, 1.6).converged
    np.testing.assert_allclose(problem.v.x.array, one.v.x.array, atol=1e-6)
    assert isinstance(problem.spread, BidomainDiffusion)
    assert problem.spread.extracellular.solve(problem.v) == 0
    phi = problem.spread.extracellular.phi.x.array
    expected = -(1 - share) * problem.v.x.array
    np.testing.assert_allclose(phi - phi[0], expected - expected[0], atol=1e-6)


def test_failed_solve_leaves_nothing_to_the_next():
    problem = diffusing(OUTSIDE["isotropic"], 0.0, front, 0.2)
    assert isinstance(problem.spread, BidomainDiffusion)
    outside, v = problem.spread.extracellular, problem.v.x.array.copy()
    expected = outside.phi.x.array.copy()
    problem.v.x.array[0] = np.nan
    assert outside.solve(problem.v) == -1
    problem.v.x.array[:] = v
    assert outside.solve(problem.v) > 0
    np.testing.assert_allclose(outside.phi.x.array, expected, atol=1e-6)
