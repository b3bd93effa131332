"""Arrival times on all ranks equal those on one."""

from __future__ import annotations

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.purkinje import Growth, purkinje_tree
from organtwin.electrophysiology.eikonal import Eikonal, Velocity, slowness
from organtwin.electrophysiology.junctions import JunctionMap
from organtwin.electrophysiology.purkinje_times import Conduction, activate, tissue_at_junctions
from organtwin.electrophysiology.reaction_diffusion import NOT_ACTIVATED
from organtwin.errors import InputError
from organtwin.mesh.domain import cellwise_vectors
from organtwin.parallel import on_root
from organtwin.verify.biventricle import biventricle
from organtwin.verify.eikonal import head_wave, point_source, sphere

VELOCITY = Velocity(fibre=0.6, sheet=0.3, normal=0.2, endocardial_layer=1.8)


def by_place(T):
    """Times of all nodes on all ranks, sorted by coordinates; collective."""
    V = T.function_space
    own = V.dofmap.index_map.size_local
    x = np.concatenate(V.mesh.comm.allgather(V.tabulate_dof_coordinates()[:own]))
    values = np.concatenate(V.mesh.comm.allgather(T.x.array[:own]))
    return values[np.lexsort(np.round(x, 6).T)]


def frame(domain):
    """Directions that turn through the heart, without the help of a Laplace problem."""
    V = cellwise_vectors(domain)
    f0, s0, n0 = (fem.Function(V, name=name) for name in ("f0", "s0", "n0"))
    f0.interpolate(lambda x: np.stack([np.cos(x[2] / 20), np.sin(x[2] / 20), 0 * x[2]]))
    s0.interpolate(lambda x: np.stack([-np.sin(x[2] / 20), np.cos(x[2] / 20), 0 * x[2]]))
    n0.interpolate(lambda x: np.stack([0 * x[2], 0 * x[2], 1 + 0 * x[2]]))
    return f0, s0, n0


def heart(comm, path, **options):
    domain = biventricle(comm, path, size=7.0)
    V = fem.functionspace(domain.mesh, ("P", 1))
    return Eikonal(V, slowness(domain, VELOCITY, *frame(domain), **options)), V


def extremes(path):
    """Two nodes far apart, and their nearest copies on any number of ranks."""
    domain = biventricle(MPI.COMM_SELF, path, size=7.0)
    x = domain.mesh.geometry.x
    return x[[x[:, 2].argmin(), x[:, 2].argmax()]]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = on_root(MPI.COMM_WORLD, lambda: tmp_path_factory.mktemp("heart"))
    biventricle(MPI.COMM_WORLD, folder / "heart.msh", size=7.0)
    return folder / "heart.msh"


@pytest.mark.parametrize("options", [{}, {"endocardium": ("lv_endo",)}, {"factors": {"rv": 0.4}}])
def test_heart_does_not_depend_on_the_ranks(path, options):
    points, starts = extremes(path), np.array([5.0, 20.0])
    found = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        eikonal, _ = heart(comm, path, **options)
        found.append(by_place(eikonal.solve(*eikonal.around(points, starts, radius=12.0))))
    assert found[1].min() == pytest.approx(5.0)
    assert found[1].max() > 60.0
    np.testing.assert_allclose(found[0], found[1], rtol=0.0, atol=1e-10)


def test_further_waves_give_what_all_waves_together_give(path):
    points = extremes(path)
    eikonal, _ = heart(MPI.COMM_WORLD, path)
    T = eikonal.solve(*eikonal.around(points[:1], np.zeros(1), 0.0))
    alone = T.x.array.copy()
    eikonal.update(T, *eikonal.around(points[1:], np.full(1, 15.0), 0.0))
    both = eikonal.solve(*eikonal.around(points, np.array([0.0, 15.0]), 0.0))
    np.testing.assert_allclose(T.x.array, both.x.array, rtol=0.0, atol=1e-10)
    comm = MPI.COMM_WORLD
    assert comm.allreduce(float((alone - T.x.array).max()), op=MPI.MAX) > 10.0
    before = T.x.array.copy()
    eikonal.update(T, np.empty(0, dtype=np.int32), np.empty(0))
    np.testing.assert_array_equal(T.x.array, before)


@pytest.mark.parametrize("blocked", [False, True])
def test_tree_and_muscle_activate_each_other_alike_on_all_ranks(path, blocked):
    growth = Growth(trunk=12.0, length=10.0, length_deviation=1.0, generations=4)
    found = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        domain = biventricle(comm, path)
        tree = purkinje_tree(domain, coordinates(domain), left=growth, right=growth)
        tree = tree.cut("left") if blocked else tree
        V = fem.functionspace(domain.mesh, ("P", 1))
        eikonal = Eikonal(V, slowness(domain, VELOCITY, *frame(domain)))
        tissue = tissue_at_junctions(JunctionMap(V, tree, 5.0), eikonal.arrival)
        found.append(activate(tree, Conduction(), tissue))
    here, alone = found
    np.testing.assert_allclose(here.nodes, alone.nodes, rtol=0.0, atol=1e-10)
    np.testing.assert_allclose(here.tissue, alone.tissue, rtol=0.0, atol=1e-10)
    assert np.isfinite(alone.nodes).all()
    assert alone.retrograde.any() == blocked


def test_what_does_not_conduct_is_not_activated(path):
    points = extremes(path)
    counts = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        eikonal, V = heart(comm, path, factors={"rv": 0.0})
        T = by_place(eikonal.solve(*eikonal.around(points[:1], np.zeros(1), 0.0)))
        counts.append(np.count_nonzero(T == NOT_ACTIVATED))
        assert ((T == NOT_ACTIVATED) | (T >= 0.0)).all()
    assert counts[0] == counts[1]
    assert 0 < counts[0] < V.dofmap.index_map.size_global


@pytest.mark.parametrize(
    "problem",
    [
        lambda comm: point_source(comm, 8, radius=4.0, irregular=True),
        lambda comm: head_wave(comm, 4),
        lambda comm: sphere(comm, 3),
    ],
    ids=["tetrahedra", "layers", "triangles"],
)
def test_errors_of_problems_do_not_depend_on_the_ranks(problem):
    here, alone = problem(MPI.COMM_WORLD), problem(MPI.COMM_SELF)
    assert here.mean == pytest.approx(alone.mean, abs=1e-10)
    assert here.largest == pytest.approx(alone.largest, abs=1e-10)


def test_a_fault_on_one_rank_is_raised_on_all(path):
    eikonal, _ = heart(MPI.COMM_WORLD, path)
    times = np.array([-3.0 if MPI.COMM_WORLD.rank == 0 else 1.0])
    with pytest.raises(InputError, match="-3 ms"):
        eikonal.solve(np.zeros(1, dtype=np.int32), times)
