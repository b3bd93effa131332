"""Prescribed waves that turn, or don't: rotors, fronts, cycle lengths are known."""

import numpy as np
import pytest
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.electrophysiology.beats import Beats
from organtwin.electrophysiology.filaments import filaments, tips
from organtwin.electrophysiology.reentry import Reentry, Verdict, tracks, verdict
from organtwin.electrophysiology.simplices import Simplices
from organtwin.errors import InputError
from organtwin.export.tables import read_table
from organtwin.verify.geometry import box

PERIOD, WAVELENGTH, SIZE = 200.0, 60.0, 40.0
CENTRE = np.array([21.3, 18.7])


def turning(x, t, centre=CENTRE, turn=1):
    """v (mV) of a spiral wave; ``turn`` 1 is counter-clockwise seen from +z."""
    away = x[:, :2] - centre
    r = np.linalg.norm(away, axis=1)
    angle = turn * np.arctan2(away[:, 1], away[:, 0])
    phase = 2 * np.pi * (t / PERIOD - r / WAVELENGTH) - angle
    return -40.0 + 60.0 * np.tanh(r / 3.0) * np.cos(phase)


def plane(x, t):
    return -40.0 + 60.0 * np.cos(2 * np.pi * (t / PERIOD - x[:, 0] / WAVELENGTH))


def eight(x, t):
    """Two spirals that turn in opposite directions, mirrored at x = 20."""
    left = turning(x, t, np.array([10.0, 20.0]), 1)
    right = turning(x, t - PERIOD / 2, np.array([30.0, 20.0]), -1)
    return np.where(x[:, 0] < 20.0, left, right)


def slab(degree=1, cells=(20, 20, 3)):
    return fem.functionspace(box(MPI.COMM_SELF, (SIZE, SIZE, 4.0), cells).mesh, ("P", degree))


def sheet(degree=1):
    corners = [[0.0, 0.0], [SIZE, SIZE]]
    return fem.functionspace(mesh.create_rectangle(MPI.COMM_SELF, corners, [20, 20]), ("P", degree))


def watched(V, wave, end=600.0, dt=1.0, **options):
    x = V.tabulate_dof_coordinates()
    reentry = Reentry(V, until=end, **options)
    beats = Beats(len(x), threshold=-40.0, repolarised=-60.0)
    for t in np.arange(0.0, end, dt):
        for recorder in (reentry, beats):
            recorder.record(t, dt, wave(x, t), wave(x, t + dt))
    return reentry, beats


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("turn", [1, -1])
def test_a_spiral_has_one_filament_through_the_wall(degree, turn):
    V = slab(degree)
    reentry, beats = watched(V, lambda x, t: turning(x, t, turn=turn))
    seen = reentry.activity(beats, end=600.0, lasting=500.0)
    assert seen.verdict is Verdict.SUSTAINED
    assert set(seen.rotors) == {1}
    assert set(seen.tips) == {2}
    assert set(seen.wavefronts) <= {1, 2}  # the arm may leave the square and come back
    assert np.bincount(seen.wavefronts).argmax() == 1
    assert seen.cycle_length == pytest.approx(PERIOD, rel=1e-6)
    assert np.allclose(seen.cycle_length_range, PERIOD)
    assert seen.last_activation > 595.0
    assert len(seen.times) == 60
    (rotor,) = seen.tracks
    assert rotor.lifetime == 590.0
    assert np.abs(rotor.positions[:, :2] - CENTRE).max() < 0.1
    assert np.abs(rotor.positions[:, 2] - 2.0).max() < 0.05
    np.testing.assert_allclose(rotor.lengths, 4.0, rtol=0.02)


@pytest.mark.parametrize("turn", [1, -1])
def test_filaments_and_tips_tell_the_sense_of_rotation(turn):
    V = slab()
    simplices, x = Simplices.of(V), V.tabulate_dof_coordinates()
    a, b = (turning(x, t, turn=turn) + 40.0 for t in (37.0, 32.0))
    (line,) = filaments(simplices, a, b)
    assert not line.is_ring
    assert line.points[-1, 2] - line.points[0, 2] == pytest.approx(4.0 * turn)
    below, above = sorted(tips(simplices, a, b), key=lambda tip: tip.position[2])
    assert (below.charge, above.charge) == (-turn, turn)
    np.testing.assert_allclose(line.points[-1], (above if turn > 0 else below).position)


def test_a_figure_of_eight_has_two_rotors_of_opposite_charge():
    V = sheet()
    reentry, beats = watched(V, eight, end=100.0)
    seen = reentry.activity(beats, end=100.0)
    assert sorted(rotor.charge for rotor in seen.tracks) == [-1, 1]
    assert set(seen.rotors) == {2}
    for rotor in seen.tracks:
        middle = [10.0, 20.0] if rotor.charge == 1 else [30.0, 20.0]
        assert np.abs(rotor.positions[:, :2] - middle).max() < 0.3
        assert rotor.lifetime == 90.0
    assert seen.verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("space", [slab, sheet])
def test_a_plane_wave_has_no_rotor_and_one_front_per_wavelength(space):
    reentry, beats = watched(space(), plane, end=400.0)
    seen = reentry.activity(beats, end=400.0)
    assert not seen.rotors.any()
    assert not seen.tips.any()
    assert not seen.tracks
    assert set(seen.wavefronts) == {0, 1}
    assert 0.3 < seen.excited.mean() < 0.7
    assert seen.cycle_length == pytest.approx(PERIOD, rel=1e-6)


def test_a_scroll_ring_is_a_closed_filament():
    V = slab(cells=(20, 20, 4))
    x = V.tabulate_dof_coordinates()
    rho = np.linalg.norm(x[:, :2] - CENTRE, axis=1) - 9.1
    (ring,) = filaments(Simplices.of(V), rho, x[:, 2] - 1.7)
    assert ring.is_ring
    assert ring.length == pytest.approx(2 * np.pi * 9.1, rel=0.01)
    np.testing.assert_allclose(ring.centre, [*CENTRE, 1.7], atol=0.05)
    assert not tips(Simplices.of(V), rho, x[:, 2] - 1.7)


@pytest.mark.parametrize("degree", [1, 2])
def test_simplices_fill_the_mesh_and_its_skin_is_closed(degree):
    simplices = Simplices.of(slab(degree, cells=(4, 3, 2)))
    corners = simplices.x[simplices.cells]
    edges = corners[:, 1:] - corners[:, :1]
    volumes = np.linalg.det(edges) / 6
    assert (volumes > 0).all()
    assert volumes.sum() == pytest.approx(SIZE * SIZE * 4.0)
    corners = simplices.x[simplices.skin]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    assert np.einsum("fk,fk", normals, corners.mean(axis=1)) / 3 == pytest.approx(SIZE**2 * 4.0)
    assert np.linalg.norm(normals, axis=1).sum() == pytest.approx(2 * SIZE**2 + 4 * SIZE * 4.0)


def test_connected_sets_are_counted():
    simplices = Simplices.of(slab())
    x = simplices.x[simplices.cells].mean(axis=1)[:, 0]
    assert simplices.components(np.zeros(len(x), dtype=bool)) == 0
    assert simplices.components(np.ones(len(x), dtype=bool)) == 1
    assert simplices.components((x < 8.0) | ((x > 12.0) & (x < 20.0)) | (x > 30.0)) == 3


def test_a_gate_can_take_the_place_of_the_delay():
    V = sheet()
    x = V.tabulate_dof_coordinates()
    now = [0.0]
    gate = (lambda: turning(x, now[0] - PERIOD / 4), -40.0)
    reentry = Reentry(V, until=50.0, gate=gate)
    for t in np.arange(0.0, 50.0):
        now[0] = t + 1.0
        reentry.record(t, 1.0, turning(x, t), turning(x, t + 1.0))
    assert (reentry.samples[:, 1] == 1).all()
    assert (reentry.sightings[:, 11] == 1).all()
    assert np.abs(reentry.sightings[:, 1:3] - CENTRE).max() < 0.2


def test_activity_that_ends():
    def dying(x, t):
        return np.where(t < 250.0, turning(x, t), -85.0)

    reentry, beats = watched(sheet(), dying)
    seen = reentry.activity(beats, end=600.0)
    assert seen.verdict is Verdict.TERMINATED
    assert seen.last_activation == pytest.approx(250.0, abs=2.0)
    assert seen.rotors[-1] == 0
    assert seen.wavefronts[-1] == 0
    assert seen.tracks[0].lifetime == pytest.approx(230.0, abs=11.0)


def test_nothing_at_all():
    reentry, beats = watched(sheet(), lambda x, t: np.full(len(x), -85.0), end=50.0)
    seen = reentry.activity(beats, end=50.0)
    assert seen.verdict is Verdict.TERMINATED
    assert np.isnan(seen.last_activation)
    assert np.isnan(seen.cycle_length)
    assert not seen.wavefronts.any()


def test_verdicts():
    common = {"end": 2000.0, "quiet": 100.0, "lasting": 1000.0}
    assert verdict(last=1950.0, stimulated=900.0, **common) is Verdict.SUSTAINED
    assert verdict(last=1950.0, stimulated=1100.0, **common) is Verdict.UNDECIDED
    assert verdict(last=1890.0, stimulated=100.0, **common) is Verdict.TERMINATED


def test_rotors_that_jump_or_pause_are_others():
    def row(t, x, charge):
        return [t, *[x, 0.0, 0.0] * 3, 0.0, charge]

    rows = np.array(
        [row(0, 0, 1), row(0, 3, -1), row(1, 1, 1), row(1, 2, -1), row(2, 30, 1), row(4, 30, 1)]
    )
    found = tracks(rows, np.arange(5.0), reach=10.0)
    assert [(rotor.charge, rotor.lifetime) for rotor in found] == [(1, 1), (-1, 1), (1, 0), (1, 0)]


def test_a_step_that_is_taken_back_leaves_no_trace(tmp_path):
    V = sheet()
    x = V.tabulate_dof_coordinates()
    plain, disturbed = Reentry(V, until=60.0), Reentry(V, until=60.0)
    for t in np.arange(0.0, 60.0, 2.0):
        step = (t, 2.0, turning(x, t), turning(x, t + 2.0))
        plain.record(*step)
        saved = {name: values.copy() for name, values in disturbed.state.items()}
        disturbed.record(t, 2.0, step[2], eight(x, t))
        for name, values in disturbed.state.items():
            values[...] = saved[name]
        disturbed.record(*step)
    np.testing.assert_array_equal(plain.samples, disturbed.samples)
    np.testing.assert_array_equal(plain.sightings, disturbed.sightings)
    plain.write(tmp_path)
    assert read_table(tmp_path / "activity.csv")["rotors"].tolist() == [1.0] * 6
    assert len(read_table(tmp_path / "rotors.csv")["x [mm]"]) == 6


def test_delays_and_elements_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="delay"):
        Reentry(sheet(), until=10.0, every=2.0, delay=5.0)
    with pytest.raises(InputError, match="degree 3"):
        Reentry(sheet(3), until=10.0)
