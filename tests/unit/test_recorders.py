"""Observers of prescribed waves: their times, speeds and potentials are known."""

import csv
from itertools import pairwise

import numpy as np
import pytest
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.electrophysiology.beats import Beats
from organtwin.electrophysiology.probes import Probes
from organtwin.electrophysiology.reaction_diffusion import NOT_ACTIVATED
from organtwin.electrophysiology.recorders import Schedule, between
from organtwin.electrophysiology.velocity import conduction_velocity
from organtwin.errors import InputError
from organtwin.export.tables import read_table
from organtwin.verify.geometry import box

REST, PEAK, RISE, FALL = -85.0, 35.0, 2.0, 300.0
SPEED = 0.6


def action_potential(s):
    """v (mV) a time s (ms) after the foot: up in `RISE`, then straight down in `FALL`."""
    up = REST + (PEAK - REST) * s / RISE
    down = PEAK - (PEAK - REST) * (s - RISE) / FALL
    return np.clip(np.minimum(up, down), REST, None)


def run(recorders, v, steps):
    """Show recorders the potential v(t) in steps between the given times."""
    for t, end in pairwise(steps):
        for recorder in recorders:
            recorder.record(t, end - t, v(t), v(end))


def steps_of_all_lengths(end, seed=1):
    lengths = np.random.default_rng(seed).choice([0.05, 0.1, 0.2, 0.4], size=int(end / 0.1))
    return np.concatenate([[0.0], np.cumsum(lengths)])


def test_times_of_a_plane_wave_are_exact_where_it_is_linear_in_time():
    x = np.linspace(0.0, 60.0, 41)
    foot = 1.0 + x / SPEED
    beats = Beats(len(x))
    # Steps that end at the corners of every action potential, so that interpolation is exact.
    corners = np.concatenate([foot, foot + RISE, foot + RISE + FALL])
    steps = np.unique(np.round(np.concatenate([steps_of_all_lengths(480.0), corners]), 12))
    steps = steps[np.diff(steps, prepend=-1.0) > 1e-9]
    run([beats], lambda t: action_potential(t - foot), steps)
    activation = foot + RISE * (0.0 - REST) / (PEAK - REST)
    repolarisation = foot + RISE + 0.9 * FALL
    np.testing.assert_allclose(beats.activation, activation, atol=1e-9)
    np.testing.assert_allclose(beats.first_activation, activation, atol=1e-9)
    np.testing.assert_allclose(beats.repolarisation, repolarisation, atol=1e-9)
    np.testing.assert_allclose(beats.apd, repolarisation - activation, atol=1e-9)
    np.testing.assert_allclose(beats.upstroke, (PEAK - REST) / RISE, rtol=1e-6)
    np.testing.assert_array_equal(beats.count, 1)
    np.testing.assert_array_equal(beats.cycle_length, NOT_ACTIVATED)


def test_repolarisation_at_a_potential():
    beats = Beats(1, threshold=-20.0, repolarised=-60.0)
    run([beats], lambda t: action_potential(np.array([t - 3.0])), np.arange(0.0, 400.0, 0.25))
    up, down = 3.0 + RISE * 65.0 / 120.0, 3.0 + RISE + FALL * 95.0 / 120.0
    assert beats.activation[0] == pytest.approx(up, abs=1e-9)
    assert beats.apd[0] == pytest.approx(down - up, abs=1e-9)


def test_a_train_of_beats_and_a_premature_one():
    onsets = np.array([10.0, 410.0, 810.0, 1130.0])
    beats = Beats(2)

    def v(t):
        train = np.max([action_potential(t - onset) for onset in onsets])
        return np.array([train, REST])

    run([beats], v, np.arange(0.0, 1500.0, 0.5))
    assert beats.count.tolist() == [4, 0]
    assert beats.cycle_length[0] == pytest.approx(320.0, abs=1e-9)
    assert beats.first_activation[0] == pytest.approx(10.0 + RISE * 85.0 / 120.0, abs=1e-9)
    for row in (beats.activation, beats.first_activation, beats.repolarisation, beats.apd):
        assert row[1] == NOT_ACTIVATED
    assert beats.upstroke[1] == 0.0


def test_the_own_amplitude_counts_not_the_tallest():
    beats = Beats(2)
    tall = np.array([1.0, 0.8])
    run(
        [beats],
        lambda t: REST + tall * (action_potential(np.full(2, t - 1.0)) - REST),
        np.arange(0.0, 400.0, 0.5),
    )
    np.testing.assert_allclose(beats.repolarisation, 1.0 + RISE + 0.9 * FALL, atol=1e-9)


def test_wobbling_around_the_threshold_is_one_activation():
    beats = Beats(1)
    wobble = [-85.0, 5.0, -5.0, 5.0, -5.0, 20.0, -85.0, 20.0]
    run([beats], lambda t: np.array([wobble[round(t)]]), np.arange(8.0))
    assert beats.count[0] == 2
    assert beats.cycle_length[0] == pytest.approx(6.0 + 85.0 / 105.0 - 85.0 / 90.0)


def test_a_step_that_is_taken_back_leaves_no_trace():
    foot = np.linspace(0.0, 50.0, 20)
    plain, disturbed = Beats(20), Beats(20)
    for t in np.arange(0.0, 400.0, 0.5):
        step = (t, 0.5, action_potential(t - foot), action_potential(t + 0.5 - foot))
        plain.record(*step)
        saved = {name: values.copy() for name, values in disturbed.state.items()}
        disturbed.record(t, 0.5, step[2], np.full(20, 50.0 - t))
        for name, values in disturbed.state.items():
            values[...] = saved[name]
        disturbed.record(*step)
    np.testing.assert_array_equal(plain.state["beats"], disturbed.state["beats"])


def test_levels_in_the_wrong_order_are_refused():
    with pytest.raises(InputError, match="below the threshold"):
        Beats(1, repolarised=10.0)
    with pytest.raises(InputError, match="share"):
        Beats(1, share=1.0)


def test_samples_come_at_their_times_whatever_the_steps():
    steps = steps_of_all_lengths(20.0)
    schedule = Schedule(0.3, offset=-0.1)
    found = [t for a, b in pairwise(steps) for t in schedule.due(a, b - a)]
    expected = np.arange(1, len(found) + 1) * 0.3 - 0.1
    np.testing.assert_allclose(found, expected)
    out = np.empty(1)
    between(0.75, 0.5, 1.0, np.array([0.0]), np.array([8.0]), out)
    assert out[0] == 2.0
    with pytest.raises(InputError, match="interval"):
        Schedule(0.0)


@pytest.fixture(scope="module")
def bar():
    return box(MPI.COMM_SELF, (20.0, 10.0, 4.0), (20, 10, 4))


def times(bar, degree, function):
    T = fem.Function(fem.functionspace(bar.mesh, ("P", degree)))
    T.interpolate(function)
    return T


def along(bar, direction):
    f0 = fem.Function(fem.functionspace(bar.mesh, ("DG", 0, (3,))))
    f0.x.array.reshape(-1, 3)[:] = direction
    return f0


@pytest.mark.parametrize("degree", [1, 2])
def test_velocity_of_a_plane_wave_is_exact(bar, degree):
    way = np.array([2.0, -1.0, 2.0]) / 3.0
    T = times(bar, degree, lambda x: 20.0 + way @ x / SPEED)
    found = conduction_velocity(T, along(bar, -way))
    velocity = found.c.x.array.reshape(-1, 3)
    np.testing.assert_allclose(velocity, np.tile(SPEED * way, (len(velocity), 1)), atol=1e-9)
    assert found.fibre.cells == found.everywhere.cells == 4800
    assert found.fibre.median == pytest.approx(SPEED)
    assert found.cross.cells == 0
    assert np.isnan(found.cross.median)


@pytest.mark.parametrize("degree", [1, 2])
def test_velocity_leaves_out_stimuli_collisions_and_what_was_not_reached(bar, degree):
    def arrival(x):
        behind = np.maximum(np.minimum(x[0], 16.0 - x[0]) - 2.0, 0.0) / SPEED
        return np.where(x[0] > 15.99, NOT_ACTIVATED, behind)

    found = conduction_velocity(times(bar, degree, arrival))
    velocity = found.c.x.array.reshape(-1, 3)
    x = bar.mesh.geometry.x[bar.mesh.geometry.dofmaps[0]].mean(axis=1)[:, 0]
    stimulated, collision, never = x < 2.0, np.abs(x - 8.0) < 1.0, x > 15.0
    assert np.isnan(velocity[stimulated | collision | never]).all()
    clear = ((x > 3.0) & (x < 7.0)) | ((x > 9.0) & (x < 13.0))
    np.testing.assert_allclose(np.abs(velocity[clear, 0]), SPEED, rtol=1e-9)
    assert (np.sign(velocity[clear, 0]) == np.sign(8.0 - x[clear])).all()
    assert found.everywhere.q05 == pytest.approx(SPEED)
    assert found.everywhere.q95 == pytest.approx(SPEED)


def test_velocity_along_and_across_fibres_of_an_elliptic_wave(bar):
    def arrival(x):
        far = np.sqrt((x[0] / 0.6) ** 2 + (x[1] / 0.25) ** 2 + (x[2] / 0.25) ** 2)
        return np.maximum(far - 5.0, 0.0)

    found = conduction_velocity(times(bar, 2, arrival), along(bar, [1.0, 0.0, 0.0]))
    assert found.fibre.cells > 20
    assert found.fibre.median == pytest.approx(0.6, rel=0.03)
    assert found.cross.median == pytest.approx(0.25, rel=0.06)
    assert 0.25 < found.everywhere.median < 0.6


def test_fibres_that_vary_within_cells_are_refused(bar):
    f0 = fem.Function(fem.functionspace(bar.mesh, ("P", 1, (3,))))
    with pytest.raises(InputError, match="DG0"):
        conduction_velocity(times(bar, 1, lambda x: x[0]), f0)


def test_velocity_on_a_surface():
    plane = mesh.create_rectangle(MPI.COMM_SELF, [[0.0, 0.0], [10.0, 5.0]], [20, 10])
    T = fem.Function(fem.functionspace(plane, ("P", 1)))
    T.interpolate(lambda x: (x[0] + x[1]) / SPEED)
    c = conduction_velocity(T).c.x.array.reshape(-1, 2)
    np.testing.assert_allclose(c, SPEED / 2, atol=1e-12)


@pytest.mark.parametrize("degree", [1, 2])
def test_probes_see_a_linear_field_exactly_between_nodes_and_steps(bar, degree, tmp_path):
    V = fem.functionspace(bar.mesh, ("P", degree))
    x = V.tabulate_dof_coordinates()
    points = {"a": np.array([3.3, 4.1, 0.7]), "b": np.array([19.9, 9.9, 3.9])}
    points["just outside"] = np.array([10.0, 10.3, 2.0])
    calcium = x @ [1.0, 0.0, 0.0]
    probes = Probes(V, points, until=9.0, every=1.5, fields={"Ca [uM]": lambda: calcium})
    run([probes], lambda t: x @ [1.0, 2.0, 3.0] + 7.0 * t, np.arange(0.0, 12.0, 0.4))
    places = np.array([points["a"], points["b"], [10.0, 10.0, 2.0]])
    t = np.arange(0.0, 9.1, 1.5)
    np.testing.assert_allclose(probes.table[:, 0], t)
    np.testing.assert_allclose(
        probes.table[:, 1:4], places @ [1.0, 2.0, 3.0] + 7.0 * t[:, None], atol=1e-6
    )
    np.testing.assert_allclose(probes.table[:, 4:], np.tile(places[:, 0], (len(t), 1)), atol=1e-6)
    probes.write(tmp_path / "deep" / "probes.csv")
    table = read_table(tmp_path / "deep" / "probes.csv")
    assert list(table)[:2] == ["t [ms]", "v a [mV]"]
    assert list(table)[-1] == "Ca [uM] just outside"
    np.testing.assert_allclose(table["v b [mV]"], probes.table[:, 2], rtol=1e-9)


def test_probes_off_the_mesh_are_refused_by_name(bar):
    V = fem.functionspace(bar.mesh, ("P", 1))
    with pytest.raises(InputError, match=r"probe `lost`.*2 mm away"):
        Probes(V, {"here": np.ones(3), "lost": np.array([22.0, 5.0, 2.0])}, until=1.0)


def test_headings_with_commas_survive(bar, tmp_path):
    V = fem.functionspace(bar.mesh, ("P", 1))
    probes = Probes(V, {"1, 1, 1": np.ones(3)}, until=1.0)
    run([probes], lambda t: np.full(len(V.tabulate_dof_coordinates()), t), np.arange(3.0))
    probes.write(tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [["t [ms]", "v 1, 1, 1 [mV]"], ["0", "0"], ["1", "1"]]
