"""Stimulus: when it flows, where it flows, and what it brings into the tissue."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.electrophysiology.diffusion import Membrane
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import Discretisation, Interpolation
from organtwin.electrophysiology.stimulus import (
    Arrival,
    Balls,
    Box,
    Region,
    Stimulus,
    Surface,
    pacing_train,
    s1_s2,
)
from organtwin.errors import InputError
from organtwin.verify.geometry import box

CORNER = Balls({"corner": np.zeros(3)}, 1.2)


@pytest.fixture(scope="module")
def domain():
    return box(MPI.COMM_SELF, (4.0, 4.0, 4.0), (4, 4, 4))


@pytest.fixture(scope="module")
def V(domain):
    return fem.functionspace(domain.mesh, ("P", 1))


# --- when -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("t", "on"),
    [(4.9, False), (5.0, True), (6.9, True), (7.0, False), (104.9, False), (105.0, True)],
)
def test_flows_at_the_start_of_each_period(t, on):
    periodic = Stimulus(CORNER, duration=2.0, onsets=(5.0,), period=100.0)
    assert periodic.is_on(t) is on
    # Times come from sums of steps, so neither side of the edge may depend on rounding.
    assert periodic.is_on(t + 1e-12) is periodic.is_on(t - 1e-12) is on


def test_single_stimulus_is_not_repeated():
    single = Stimulus(CORNER)
    assert single.is_on(0.0) and not single.is_on(2.0) and not single.is_on(800.0)
    assert single.beat(0.0) == single.beat(5000.0) == 0


def test_beats_are_counted():
    periodic = Stimulus(CORNER, onsets=(5.0,), period=100.0)
    assert [periodic.beat(t) for t in (0.0, 5.0, 104.9, 105.0 - 1e-12, 105.0, 305.0)] == [
        0, 0, 0, 1, 1, 3,
    ]  # fmt: skip


def test_overlap_finds_short_pulses():
    """Also a pulse shorter than anything else in the interval, in every beat."""
    short = Stimulus(CORNER, duration=0.01, onsets=(1.0,), period=10.0)
    assert short.overlaps(0.0, 2.0)
    assert not short.overlaps(2.0, 4.0)
    assert not short.overlaps(0.0, 1.0)
    assert short.overlaps(10.0, 12.0)
    assert not short.overlaps(12.0, 20.0)
    single = Stimulus(CORNER, duration=2.0)
    assert single.overlaps(1.0, 3.0)
    assert not single.overlaps(10.0, 12.0)


def test_protocols():
    assert pacing_train(400.0, 3, start=10.0) == (10.0, 410.0, 810.0)
    extra = Stimulus(CORNER, onsets=s1_s2(500.0, 2, [300.0]))
    assert [extra.is_on(t) for t in (0.0, 250.0, 501.0, 801.0, 1000.0)] == [
        True, False, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"duration": 0.0}, "duration > 0"),
        ({"onsets": ()}, "an onset at least"),
        ({"onsets": (5.0, 1.0)}, "in order"),
        ({"onsets": (0.0, 90.0), "period": 50.0}, "take longer than its period"),
    ],
)
def test_impossible_protocols_are_refused(changes, problem):
    with pytest.raises(InputError, match=problem):
        Stimulus(CORNER, **changes)


# --- where ----------------------------------------------------------------------------------------


def test_balls(V):
    centres = {"corner": np.zeros(3), "far corner": np.full(3, 4.0)}
    share = Balls(centres, 1.2).share(V)
    x = V.tabulate_dof_coordinates()
    near = np.min([np.linalg.norm(x - p, axis=1) for p in centres.values()], axis=0) <= 1.2
    np.testing.assert_array_equal(share, near)
    assert share.sum() == 8


def test_box_counts_the_volume_inside(V):
    """Nodes on its border belong to it by the part of their cells inside; none is lost."""
    share = Box((0.0, 0.0, 0.0), (2.0, 4.0, 4.0)).share(V)
    x = V.tabulate_dof_coordinates()
    np.testing.assert_allclose(share[x[:, 0] < 1.5], 1.0)
    np.testing.assert_allclose(share[x[:, 0] > 2.5], 0.0)
    inside = fem.Function(V)
    inside.x.array[:] = share
    assert fem.assemble_scalar(fem.form(inside * ufl.dx)) == pytest.approx(32.0, rel=1e-12)


def test_surfaces_and_regions(domain, V):
    x = V.tabulate_dof_coordinates()
    np.testing.assert_array_equal(Surface(domain, ("x1",)).share(V), np.isclose(x[:, 0], 4.0))
    np.testing.assert_allclose(Region(domain, tuple(domain.regions)).share(V), 1.0)


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        (Balls({"lost": np.full(3, 9.0)}, 1.0), "site `lost`: no node of the mesh lies within"),
        (Box((9.0, 9.0, 9.0), (10.0, 10.0, 10.0)), "does not touch the mesh"),
    ],
)
def test_places_off_the_tissue_are_refused(V, place, problem):
    with pytest.raises(InputError, match=problem):
        place.share(V)


# --- what -----------------------------------------------------------------------------------------


class Passive:
    """A membrane without currents."""

    state = {}

    def rest(self, n):
        return np.full(n, -80.0)

    def step(self, v, t, dt):
        pass

    def calcium(self, n):
        return np.zeros(n)

    def fault(self, v):
        return None


def test_charge_stays_in_the_tissue(V):
    """χ C_m ∫ dv = ∫∫ I_stim with sealed boundaries, where I_stim is the nodes' interpolant."""
    membrane = Membrane(chi=100.0, C_m=0.02)
    stimulus = Stimulus(CORNER, strength=30.0, duration=2.0, onsets=(1.0,))
    scheme = Discretisation(interpolation=Interpolation.CURRENT, tolerance=1e-9)
    tissue = monodomain(
        V, Passive(), 0.5 * ufl.Identity(3), [stimulus], membrane=membrane, scheme=scheme
    )
    source = fem.Function(V)
    source.x.array[:] = 30.0 * CORNER.share(V)
    injected = 2.0 * fem.assemble_scalar(fem.form(source * ufl.dx))
    for t in range(5):
        assert tissue.advance(float(t), t + 1.0).converged
    gained = fem.assemble_scalar(fem.form((tissue.v + 80.0) * ufl.dx))
    assert gained * membrane.capacitance == pytest.approx(injected, rel=1e-5)


def test_foot_current_comes_with_the_wave():
    """Each node gets its whole pulse at its own time, whatever the steps are."""
    arrival = Arrival(np.array([0.0, 1.03, 2.5, -1.0]), 2.0, strength=6.0, duration=1.0)
    v = np.zeros(4)
    for k in range(10):
        arrival.apply(v, 0.4 * k, 0.4)
    np.testing.assert_allclose(v, [3.0, 3.0, 3.0, 0.0])
    assert arrival.overlaps(3.2, 3.6) and not arrival.overlaps(3.6, 4.0)


def test_foot_current_returns_with_each_beat():
    arrival = Arrival(np.array([1.0]), 1.0, strength=1.0, duration=1.0, period=100.0)
    v = np.zeros(1)
    arrival.apply(v, 101.0, 1.0)
    assert v[0] == pytest.approx(1.0)
    assert arrival.beat(250.0) == 2
