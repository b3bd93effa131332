"""Stimulus: when it flows, where it flows, and what it brings into the tissue."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.electrophysiology.monodomain import Membrane, Monodomain
from organtwin.electrophysiology.stimulus import Stimulus
from organtwin.errors import InputError
from organtwin.verify.geometry import box

CORNER = {"corner": np.zeros(3)}


@pytest.fixture(scope="module")
def domain():
    return box(MPI.COMM_SELF, (4.0, 4.0, 4.0), (4, 4, 4))


@pytest.mark.parametrize(
    ("t", "on"),
    [(4.9, False), (5.0, True), (6.9, True), (7.0, False), (104.9, False), (105.0, True)],
)
def test_flows_at_the_start_of_each_period(t, on):
    periodic = Stimulus(CORNER, 1.0, duration=2.0, start=5.0, period=100.0)
    assert periodic.is_on(t) is on
    # Times come from sums of steps, so neither side of the edge may depend on rounding.
    assert periodic.is_on(t + 1e-12) is periodic.is_on(t - 1e-12) is on


def test_single_stimulus_is_not_repeated():
    single = Stimulus(CORNER, 1.0)
    assert single.is_on(0.0) and not single.is_on(2.0) and not single.is_on(800.0)
    assert single.beat(0.0) == single.beat(5000.0) == 0


def test_beats_are_counted():
    periodic = Stimulus(CORNER, 1.0, start=5.0, period=100.0)
    assert [periodic.beat(t) for t in (0.0, 5.0, 104.9, 105.0 - 1e-12, 105.0, 305.0)] == [
        0, 0, 0, 1, 1, 3,
    ]  # fmt: skip


def test_nodes_lie_within_the_radius(domain):
    V = fem.functionspace(domain.mesh, ("P", 1))
    sites = {"corner": np.zeros(3), "far corner": np.full(3, 4.0)}
    nodes = Stimulus(sites, radius=1.2).nodes(V)
    x = V.tabulate_dof_coordinates()
    near = np.min([np.linalg.norm(x - p, axis=1) for p in sites.values()], axis=0) <= 1.2
    np.testing.assert_array_equal(nodes, np.flatnonzero(near))
    assert len(nodes) == 8


def test_site_off_the_tissue_is_refused(domain):
    V = fem.functionspace(domain.mesh, ("P", 1))
    with pytest.raises(InputError, match="stimulus site `lost`: no node of the mesh lies within"):
        Stimulus({**CORNER, "lost": np.full(3, 9.0)}, radius=1.0).nodes(V)


class Passive:
    """A membrane without currents."""

    def step(self, states, v, t, dt):
        pass

    def calcium(self, states):
        return states[0]


def test_charge_stays_in_the_tissue(domain):
    """χ C_m ∫ dv = ∫∫ I_stim with sealed boundaries, where I_stim is the nodes' interpolant."""
    membrane = Membrane(chi=100.0, C_m=0.02)
    stimulus = Stimulus(CORNER, radius=1.2, strength=30.0, duration=2.0, start=1.0)
    tissue = Monodomain(
        domain.mesh,
        Passive(),
        np.zeros(1),
        -80.0,
        0.5 * ufl.Identity(3),
        stimulus,
        membrane=membrane,
    )
    source = fem.Function(tissue.v.function_space)
    source.x.array[stimulus.nodes(tissue.v.function_space)] = 30.0
    injected = 2.0 * fem.assemble_scalar(fem.form(source * ufl.dx))
    for t in range(5):
        assert tissue.advance(float(t), t + 1.0).converged
    gained = fem.assemble_scalar(fem.form((tissue.v + 80.0) * ufl.dx))
    assert gained * membrane.chi * membrane.C_m == pytest.approx(injected, rel=1e-5)


def test_overlap_finds_short_pulses():
    """Also a pulse shorter than anything else in the interval, in every beat."""
    short = Stimulus({}, radius=1.0, duration=0.01, start=1.0, period=10.0)
    assert short.overlaps(0.0, 2.0)
    assert not short.overlaps(2.0, 4.0)
    assert not short.overlaps(0.0, 1.0)
    assert short.overlaps(10.0, 12.0)
    assert not short.overlaps(12.0, 20.0)
    single = Stimulus({}, radius=1.0, duration=2.0)
    assert single.overlaps(1.0, 3.0)
    assert not single.overlaps(10.0, 12.0)
