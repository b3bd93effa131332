"""Stimulus: when it flows, where it flows, and what it brings into the tissue."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.electrophysiology.diffusion import Diffusion, Membrane, check_conductivity
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import (
    Discretisation,
    Interpolation,
    TimeSteps,
)
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
    ("t0", "t1", "flows"),
    [
        (0.0, 5.0, 0.0), (4.0, 6.0, 1.0), (5.5, 6.0, 0.5), (0.0, 50.0, 2.0), (6.5, 105.5, 1.0),
        (7.0, 105.0, 0.0), (5.0, 207.0, 6.0), (300.0, 306.5, 1.5),
    ],
)  # fmt: skip
def test_flows_at_the_start_of_each_period(t0, t1, flows):
    periodic = Stimulus(CORNER, duration=2.0, onsets=(5.0,), period=100.0)
    assert periodic.flows(t0, t1) == pytest.approx(flows, abs=1e-12)
    # Times come from sums of steps: rounding is no pulse.
    assert periodic.overlaps(t0 - 1e-12, t1 + 1e-12) is (flows > 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_time_of_flow_does_not_depend_on_the_cuts(seed):
    random = np.random.default_rng(seed)
    train = Stimulus(CORNER, duration=0.7, onsets=(0.3, 1.0, 5.2, 6.1), period=6.7)
    cuts = np.sort(np.concatenate([[0.0, 33.8], random.uniform(0.0, 33.8, 200)]))
    parts = [train.flows(a, b) for a, b in pairwise(cuts)]
    # Five periods: the last pulse of the fifth ends at 4 × 6.7 + 6.1 + 0.7 ms, and the first of
    # the sixth begins at 33.8 ms.
    assert sum(parts) == pytest.approx(5 * 4 * 0.7, rel=1e-12)
    assert train.flows(0.0, 33.8) == pytest.approx(5 * 4 * 0.7, rel=1e-12)


def test_single_stimulus_is_not_repeated():
    single = Stimulus(CORNER)
    assert single.flows(0.0, 5000.0) == 2.0 and single.flows(2.0, 5000.0) == 0.0
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
    assert [extra.flows(t, t + 1.0) for t in (0.0, 250.0, 501.0, 801.0, 1000.0)] == [
        1.0, 0.0, 1.0, 1.0, 0.0,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"duration": 0.0}, "duration > 0"),
        ({"onsets": ()}, "an onset at least"),
        ({"onsets": (5.0, 1.0)}, "in order"),
        ({"onsets": (0.0, 90.0), "period": 50.0}, "take longer than its period"),
        ({"onsets": (0.0, 49.0), "period": 50.0}, "take longer than its period"),
        ({"onsets": (0.0, 1.0)}, "2 ms begin 1 ms apart"),
        ({"onsets": (3.0, 3.0)}, "2 ms begin 0 ms apart"),
        ({"onsets": (-1.0,)}, "≥ 0 and finite"),
        ({"onsets": (np.nan,)}, "≥ 0 and finite"),
        ({"onsets": (0.0, np.inf)}, "≥ 0 and finite"),
        ({"duration": np.nan}, "duration > 0"),
        ({"duration": np.inf}, "duration > 0"),
        ({"strength": np.nan}, "must be finite"),
        ({"strength": -np.inf}, "must be finite"),
        ({"period": np.nan}, "take longer than its period"),
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


@pytest.mark.parametrize("dt", [0.05, 0.25, 0.4, 1.0])
@pytest.mark.parametrize("duration", [0.02, 0.47, 0.51, 0.52])
def test_charge_of_a_pulse_does_not_depend_on_the_steps(V, duration, dt):
    everywhere = Box((-1.0, -1.0, -1.0), (9.0, 9.0, 9.0))
    stimulus = Stimulus(everywhere, 1.4 / duration, duration, onsets=(0.33, 2.03), period=10.0)
    tissue = monodomain(
        V, Passive(), 0.1 * ufl.Identity(3), [stimulus],
        membrane=Membrane(140.0, 0.01), steps=TimeSteps.fixed(dt),
        scheme=Discretisation(interpolation=Interpolation.CURRENT),
    )  # fmt: skip
    for t in (0.0, 6.0):
        assert tissue.advance(t, t + 6.0).converged
    np.testing.assert_allclose(tissue.v.x.array, -80.0 + 3.0, rtol=1e-9)


def test_pulses_end_to_end_and_through_a_whole_period_are_accepted():
    assert Stimulus(CORNER, onsets=(0.0, 2.0)).flows(0.0, 5.0) == 4.0
    assert Stimulus(CORNER, duration=0.1, onsets=(0.1, 0.2), period=0.2).flows(
        0.1, 1.1
    ) == pytest.approx(1.0)


@pytest.mark.parametrize("dt", [0.4, 0.7, 3.0, 30.0])
def test_foot_current_keeps_its_charge_in_steps_across_the_beats(dt):
    arrival = Arrival(np.array([0.0, 8.9, 4.2]), 2.0, strength=6.0, duration=1.0, period=10.0)
    v, steps = np.zeros(3), 0
    while steps * dt < 90.0 - 1e-9:
        arrival.apply(v, steps * dt, dt)
        steps += 1
    beats = np.floor(steps * dt / 10.0 + 1e-9)
    rest = steps * dt - 10.0 * beats
    expected = beats + np.clip(rest - np.array([0.0, 8.9, 4.2]), 0.0, 1.0)
    np.testing.assert_allclose(v, 3.0 * expected, atol=1e-9)


def test_foot_current_of_the_next_beat_is_seen_by_a_step_into_it():
    arrival = Arrival(np.array([0.0, 3.0]), 1.0, strength=1.0, duration=1.0, period=100.0)
    assert arrival.overlaps(99.0, 101.0)
    assert not arrival.overlaps(50.0, 100.0)
    assert not Arrival(np.array([-1.0]), 1.0, period=100.0).overlaps(0.0, 1000.0)


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


# --- membrane and conductivity --------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("name", ["chi", "C_m"])
def test_membranes_are_checked(name, value):
    with pytest.raises(InputError, match="must be > 0 and finite"):
        Membrane(**{name: value})


@pytest.mark.parametrize(
    ("eigenvalues", "problem"),
    [
        # On this mesh the diagonal of the stiffness matrix is positive in spite of the last one.
        ((1.0, 1.0, -0.1), "negative eigenvalue"),
        ((-0.1, -0.1, -0.1), "negative eigenvalue"),
        ((0.1, float("nan"), 0.1), "is not finite"),
        ((0.1, float("inf"), 0.1), "is not finite"),
    ],
)
def test_conductivities_that_make_no_sense_are_refused(V, eigenvalues, problem):
    constant = fem.Constant(V.mesh, np.diag(eigenvalues))
    with pytest.raises(InputError, match=f"conductivity: the tensor .*{problem}"):
        Diffusion(V, constant, Membrane())
    with pytest.raises(InputError, match=f"sigma_e: .*{problem}"):
        check_conductivity(V.mesh, constant, name="sigma_e")


def test_conductivity_is_checked_where_the_tissue_is(V):
    """Outside of it there may be no directions; and a wire along one axis is none of the others."""
    msh = V.mesh
    sigma = fem.Function(fem.functionspace(msh, ("DG", 0, (3, 3))))
    sigma.interpolate(lambda x: np.outer(np.diag([0.1, 0.0, 0.0]).ravel(), 1.0 + 0 * x[0]))
    middle = msh.geometry.x[msh.geometry.dofmaps[0]].mean(axis=1)[:, 0]
    tags = mesh.meshtags(
        msh, 3, np.arange(len(middle), dtype=np.int32), (middle < 2.0).astype(np.int32)
    )
    dx = ufl.Measure("dx", msh, subdomain_data=tags)
    sigma.x.array.reshape(-1, 9)[middle > 2.0] = np.nan
    check_conductivity(msh, sigma, dx(1))
    with pytest.raises(InputError, match="not finite in the cell at"):
        check_conductivity(msh, sigma, dx)
