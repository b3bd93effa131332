"""Recorders on all ranks see what they see on one."""

from __future__ import annotations

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.electrophysiology.beats import Beats
from organtwin.electrophysiology.filaments import filaments, tips
from organtwin.electrophysiology.probes import Probes
from organtwin.electrophysiology.reentry import Reentry
from organtwin.electrophysiology.simplices import Simplices
from organtwin.electrophysiology.velocity import conduction_velocity
from organtwin.errors import InputError
from organtwin.verify.geometry import box

COMM = MPI.COMM_WORLD
SIZE = (24.0, 20.0, 4.0)
POINTS = {"a": np.array([3.3, 4.1, 0.7]), "b": np.array([20.9, 17.2, 3.9])}


def wave(x, t):
    """Two scroll waves with tilted filaments; the last bits must not depend on the numbering."""
    x = np.round(x, 6)
    v = np.empty(len(x))
    for side, centre in ((x[:, 0] < 12.0, 6.3), (x[:, 0] >= 12.0, 17.7)):
        away = x[side, :2] - [centre, 9.7] - 0.3 * (x[side, 2:] - 2.0)
        r = np.linalg.norm(away, axis=1)
        phase = 2 * np.pi * (t / 120.0 - r / 30.0) - np.arctan2(away[:, 1], away[:, 0])
        v[side] = -40.0 + 60.0 * np.tanh(r / 3.0) * np.cos(phase)
    return np.round(v, 9)


def watched(comm, degree):
    V = fem.functionspace(box(comm, SIZE, (12, 10, 3)).mesh, ("P", degree))
    x = V.tabulate_dof_coordinates()
    beats = Beats(len(x), comm, threshold=-40.0, repolarised=-60.0)
    reentry = Reentry(V, until=300.0)
    probes = Probes(V, POINTS, until=300.0, every=5.0)
    for t in np.arange(0.0, 300.0, 2.0):
        for recorder in (beats, reentry, probes):
            recorder.record(t, 2.0, wave(x, t), wave(x, t + 2.0))
    return V, beats, reentry, probes


def by_place(V, values):
    """Nodal values on all ranks in the order of their places; collective."""
    own = V.dofmap.index_map.size_local
    x = np.concatenate(V.mesh.comm.allgather(V.tabulate_dof_coordinates()[:own]))
    gathered = np.concatenate(V.mesh.comm.allgather(values[..., :own].T))
    return gathered[np.lexsort(np.round(x, 6).T)]


@pytest.mark.parametrize("degree", [1, 2])
def test_recorders_do_not_depend_on_the_ranks(degree):
    V, beats, reentry, probes = watched(COMM, degree)
    V_alone, beats_alone, reentry_alone, probes_alone = watched(MPI.COMM_SELF, degree)
    np.testing.assert_array_equal(
        by_place(V, beats.state["beats"]), by_place(V_alone, beats_alone.state["beats"])
    )
    np.testing.assert_array_equal(reentry.samples, reentry_alone.samples)
    assert (reentry.samples[:, 1] >= 2).all()
    np.testing.assert_allclose(reentry.sightings, reentry_alone.sightings, rtol=1e-12, atol=1e-12)
    if COMM.rank == 0:
        np.testing.assert_allclose(probes.table, probes_alone.table, atol=1e-9)
    else:
        assert len(probes.table) == 0

    here = reentry.activity(beats, end=300.0)
    alone = reentry_alone.activity(beats_alone, end=300.0)
    assert here.verdict == alone.verdict
    assert here.last_activation == alone.last_activation
    assert here.cycle_length == alone.cycle_length
    assert here.cycle_length_range == alone.cycle_length_range
    assert [r.lifetime for r in here.tracks] == [r.lifetime for r in alone.tracks]


def test_ghosts_follow_their_owners():
    V, beats, _, _ = watched(COMM, 1)
    for function in beats.fields(V).values():
        before = function.x.array.copy()
        function.x.scatter_forward()
        np.testing.assert_array_equal(function.x.array, before)


def test_filaments_tips_and_sets_do_not_depend_on_the_ranks():
    found = []
    for comm in (COMM, MPI.COMM_SELF):
        V = fem.functionspace(box(comm, SIZE, (12, 10, 3)).mesh, ("P", 1))
        simplices, x = Simplices.of(V), V.tabulate_dof_coordinates()
        a, b = wave(x, 37.0) + 40.0, wave(x, 32.0) + 40.0
        middle = simplices.x[simplices.cells].mean(axis=1)
        # A stripe that winds through the parts of several ranks, and three islands.
        stripe = np.abs(middle[:, 1] - 10.0 - 6.0 * np.sin(middle[:, 0] / 3.0)) < 2.0
        islands = np.mod(middle[:, 0], 8.0) < 3.0
        counts = [simplices.components(marked) for marked in (stripe, islands, ~islands)]
        found.append((filaments(simplices, a, b), tips(simplices, a, b), counts))
    (lines, points, counts), (lines_alone, points_alone, counts_alone) = found
    assert counts == counts_alone == [1, 3, 3]
    assert len(lines) == len(lines_alone) >= 2
    for line, other in zip(lines, lines_alone, strict=True):
        np.testing.assert_allclose(line.points, other.points, atol=1e-12)
    for tip, other in zip(points, points_alone, strict=True):
        assert tip.charge == other.charge
        np.testing.assert_allclose(tip.position, other.position, atol=1e-12)


def test_velocities_do_not_depend_on_the_ranks():
    found = []
    for comm in (COMM, MPI.COMM_SELF):
        domain = box(comm, SIZE, (12, 10, 3))
        T = fem.Function(fem.functionspace(domain.mesh, ("P", 1)))
        T.interpolate(lambda x: np.minimum(np.hypot(x[0], 2 * x[1]), 2 * np.hypot(x[0] - 24, x[1])))
        f0 = fem.Function(fem.functionspace(domain.mesh, ("DG", 0, (3,))))
        f0.x.array.reshape(-1, 3)[:] = [1.0, 0.0, 0.0]
        found.append(conduction_velocity(T, f0))
    here, alone = found
    for name in ("everywhere", "fibre", "cross"):
        ours, theirs = getattr(here, name), getattr(alone, name)
        assert ours.cells == theirs.cells > 0
        assert ours.median == pytest.approx(theirs.median, rel=1e-12)
        assert ours.q95 == pytest.approx(theirs.q95, rel=1e-12)
    missing = [np.isnan(v.c.x.array[: 3 * v.c.function_space.dofmap.index_map.size_local]).sum()
               for v in found]  # fmt: skip
    assert COMM.allreduce(missing[0]) == missing[1] > 0


def test_probe_off_the_mesh_is_refused_on_every_rank():
    V = fem.functionspace(box(COMM, SIZE, (4, 4, 2)).mesh, ("P", 1))
    with pytest.raises(InputError, match="probe `lost`"):
        Probes(V, {**POINTS, "lost": np.full(3, 99.0)}, until=1.0)
