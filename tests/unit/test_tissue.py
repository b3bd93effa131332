"""The tissue models side by side on a small box."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import pace
from organtwin.cells.population import Cells
from organtwin.electrophysiology.bidomain import BidomainDiffusion
from organtwin.electrophysiology.eikonal import uniform_slowness
from organtwin.electrophysiology.reaction_diffusion import NOT_ACTIVATED, TimeSteps, local_nodes
from organtwin.electrophysiology.stimulus import Box, Stimulus
from organtwin.electrophysiology.tissue import Model, Tissue, activate, extracellular
from organtwin.errors import InputError
from organtwin.verify.geometry import box

SIZE = (8.0, 2.0, 1.0)
PERIOD = 400.0
#: Velocity of a plane wave in the box below along x (mm/ms).
SPEED = 0.52
SIGMA_I, SIGMA_E = np.array([0.17, 0.019, 0.019]), np.array([0.62, 0.24, 0.24])
WITH_CELLS = [model for model in Model if model is not Model.EIKONAL]
EIKONAL = [Model.EIKONAL, Model.REACTION_EIKONAL, Model.REACTION_EIKONAL_DIFFUSION]


def diagonal(sigma):
    return ufl.diag(ufl.as_vector([float(s) for s in sigma]))


@cache
def paced():
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"))
    return kernel, pace(kernel, cycle_length=PERIOD, beats=3)


def plane_stimulus(**options):
    return Stimulus(Box((0.0, 0.0, 0.0), (0.6, 2.0, 1.0)), **{"period": PERIOD, **options})


def box_tissue(**changes):
    kernel, cell = paced()
    domain = box(MPI.COMM_SELF, SIZE, (20, 5, 3))
    V = fem.functionspace(domain.mesh, ("P", 1))
    tissue = Tissue(
        V,
        cells=Cells.uniform(kernel, cell.states, cell.v, local_nodes(V)),
        paced=cell,
        slowness=uniform_slowness(domain.mesh, np.diag([SPEED, 0.2, 0.2]) ** 2),
        conductivity=diagonal(SIGMA_I * SIGMA_E / (SIGMA_I + SIGMA_E)),
        sigma_i=diagonal(SIGMA_I),
        sigma_e=diagonal(SIGMA_E),
        stimuli=(plane_stimulus(),),
    )
    return replace(tissue, **changes)


def run(problem, t_end, start=0.0, dt=2.0):
    for t in np.arange(start, t_end, dt):
        assert problem.advance(t, t + dt).converged
    return problem


@pytest.mark.parametrize("model", Model)
def test_wave_passes_in_the_same_time(model):
    """A plane wave takes as long as its velocity says, after the millisecond of the foot."""
    wave = run(activate(model, box_tissue()), 24.0)
    assert wave.activated_fraction() == 1.0
    x = wave.v.function_space.tabulate_dof_coordinates()[:, 0]
    times = wave.activation_time.x.array
    inner = (x > 1.5) & (x < 6.5)
    slope, at = np.polyfit(x[inner], times[inner], 1)
    # Diffusion carries the wave on a little ahead of its arrival times.
    assert 1 / slope == pytest.approx(SPEED, rel=0.08)
    assert at + 6.0 * slope == pytest.approx(11.4, abs=1.5)
    assert wave.v.x.array.min() > -90.0 and wave.v.x.array.max() < 60.0
    assert wave.calcium.max() > 0.0


def test_bidomain_plane_wave_is_the_monodomain_one():
    """On an axis of the conductivities both are the same equation."""
    mono, both = (
        run(activate(model, box_tissue(), steps=TimeSteps.fixed(0.05)), 24.0)
        for model in (Model.MONODOMAIN, Model.BIDOMAIN)
    )
    np.testing.assert_allclose(
        both.activation_time.x.array, mono.activation_time.x.array, atol=0.05
    )


@pytest.mark.parametrize("stage", ["upstroke", "plateau"])
def test_potential_outside_the_cells_from_the_monodomain(stage):
    """The pseudo-bidomain's φₑ is the bidomain's within 2 % of its range."""
    t_end = {"upstroke": 10.0, "plateau": 40.0}[stage]
    tissue = box_tissue()
    pseudo = run(activate(Model.PSEUDO_BIDOMAIN, tissue), t_end)
    phi = extracellular(tissue)
    assert phi.solve(pseudo.v) > 0
    both = run(activate(Model.BIDOMAIN, box_tissue()), t_end)
    assert isinstance(both.spread, BidomainDiffusion)
    both.spread.extracellular.solve(both.v)
    expected = both.spread.extracellular.phi.x.array
    assert np.ptp(expected) > {"upstroke": 15.0, "plateau": 0.1}[stage]
    error = np.sqrt(np.mean((phi.phi.x.array - expected) ** 2))
    assert error < 0.02 * np.ptp(expected)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (Model.EIKONAL, "paced"),
        (Model.EIKONAL, "slowness"),
        (Model.REACTION_EIKONAL, "cells"),
        (Model.REACTION_EIKONAL, "slowness"),
        (Model.REACTION_EIKONAL_DIFFUSION, "conductivity"),
        (Model.MONODOMAIN, "cells"),
        (Model.MONODOMAIN, "conductivity"),
        (Model.PSEUDO_BIDOMAIN, "sigma_e"),
        (Model.BIDOMAIN, "sigma_i"),
        (Model.BIDOMAIN, "sigma_e"),
    ],
)
def test_missing_part_is_named(model, name):
    with pytest.raises(InputError, match=f"{model} model.*no `{name}`"):
        activate(model, box_tissue(**{name: None}))


@pytest.mark.parametrize("model", EIKONAL)
def test_arrival_times_tell_of_one_wave(model):
    """Trains and unlike periods need a model that knows refractoriness."""
    train = plane_stimulus(onsets=(0.0, 150.0))
    with pytest.raises(InputError, match="several pulses"):
        activate(model, box_tissue(stimuli=(train,)))
    with pytest.raises(InputError, match="different periods"):
        activate(model, box_tissue(stimuli=(plane_stimulus(), plane_stimulus(period=300.0))))


@pytest.mark.parametrize("model", EIKONAL)
def test_wave_slower_than_its_beat_is_refused(model):
    with pytest.raises(InputError, match="takes 15 ms, and comes again after 12 ms"):
        activate(model, box_tissue(stimuli=(plane_stimulus(period=12.0),)))


@pytest.mark.parametrize("model", EIKONAL)
def test_sources_come_again_with_their_period(model):
    """A Purkinje tree excites nodes without any stimulus."""
    tissue = box_tissue(stimuli=(), period=PERIOD)
    x = tissue.V.tabulate_dof_coordinates()[:, 0]
    end = np.flatnonzero(x > SIZE[0] - 1e-9).astype(np.int32)
    wave = activate(model, replace(tissue, sources=(end, np.full(len(end), 5.0))))
    first = run(wave, 30.0).activation_time.x.array.copy()
    assert first[end].min() >= 5.0 and first[end].max() < first[x < 1e-9].min()
    second = run(wave, PERIOD + 30.0, start=30.0).activation_time.x.array
    np.testing.assert_allclose(second - PERIOD, first, atol=1.0)


@pytest.mark.parametrize("model", Model)
def test_second_beat_follows_the_first(model):
    wave = activate(model, box_tissue())
    first = run(wave, 24.0).activation_time.x.array.copy()
    run(wave, PERIOD - 2.0, start=24.0)
    assert wave.v.x.array.max() < -80.0
    run(wave, PERIOD, start=PERIOD - 2.0)
    run(wave, PERIOD + 0.5, start=PERIOD, dt=0.5)
    assert wave.activated_fraction() < 0.2
    second = run(wave, PERIOD + 24.5, start=PERIOD + 0.5).activation_time.x.array
    np.testing.assert_allclose(second - PERIOD, first, atol=1.0)


def test_eikonal_tissue_without_a_period_stays_at_rest_after_its_beat():
    wave = activate(Model.EIKONAL, box_tissue(stimuli=(plane_stimulus(period=np.inf),)))
    late = run(wave, 500.0, dt=10.0)
    assert late.v.x.array.max() < -80.0
    assert late.activated_fraction() == 1.0


@pytest.mark.parametrize("model", Model)
def test_going_on_from_a_state(model):
    """A new problem with the state of another does what the other does."""
    wave = run(activate(model, box_tissue()), 8.0)
    again = activate(model, box_tissue())
    saved = {name: values.copy() for name, values in wave.state.items()}
    state = again.state
    assert state.keys() == saved.keys()
    for name, values in saved.items():
        state[name][...] = values
    for problem in (wave, again):
        run(problem, 16.0, start=8.0)
    np.testing.assert_allclose(again.v.x.array, wave.v.x.array, atol=2e-2)
    np.testing.assert_allclose(
        again.activation_time.x.array, wave.activation_time.x.array, atol=1e-3
    )
    np.testing.assert_allclose(again.calcium, wave.calcium, rtol=1e-4)


def test_nodes_out_of_reach_stay_at_rest():
    tissue = box_tissue()
    conducting = tissue.slowness.conducting.copy()
    x = ufl.SpatialCoordinate(tissue.V.mesh)
    middle = fem.Function(fem.functionspace(tissue.V.mesh, ("DG", 0)))
    middle.interpolate(fem.Expression(x[0], middle.function_space.element.interpolation_points))
    conducting[middle.x.array > 4.0] = False
    cut = replace(tissue, slowness=replace(tissue.slowness, conducting=conducting))
    wave = run(activate(Model.EIKONAL, cut), 40.0)
    beyond = tissue.V.tabulate_dof_coordinates()[:, 0] > 4.9
    assert (wave.activation_time.x.array[beyond] == NOT_ACTIVATED).all()
    np.testing.assert_allclose(wave.v.x.array[beyond], paced()[1].rest)


@pytest.mark.parametrize("name", ["sigma_i", "sigma_e"])
def test_negative_conductivities_of_the_bidomain_are_named(name):
    tissue = replace(box_tissue(), **{name: ufl.diag(ufl.as_vector([0.1, 0.1, -0.05]))})
    which = {"sigma_i": "intracellular", "sigma_e": "extracellular"}[name]
    with pytest.raises(InputError, match=f"{which} conductivity: .* negative eigenvalue"):
        activate(Model.BIDOMAIN, tissue)
