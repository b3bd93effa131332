"""A Purkinje tree, and the waves in it, on all ranks equal those on one."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.geodesics import gather_surface
from organtwin.anatomy.purkinje import REGIONS, Growth, purkinje_tree, statistics
from organtwin.anatomy.tree_files import read_tree
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.population import Cells
from organtwin.electrophysiology.diffusion import Membrane
from organtwin.electrophysiology.junctions import JunctionMap
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.purkinje import Cable, Pacing, PurkinjeDrive, PurkinjeNetwork
from organtwin.electrophysiology.purkinje_times import Conduction, activate, tissue_at_junctions
from organtwin.electrophysiology.reaction_diffusion import TimeSteps, local_nodes
from organtwin.errors import InputError
from organtwin.parallel import on_root
from organtwin.verify.biventricle import biventricle

SPARSE = Growth(trunk=12.0, length=10.0, length_deviation=1.0, generations=4)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    comm = MPI.COMM_WORLD
    return on_root(comm, lambda: tmp_path_factory.mktemp("heart") / "heart.msh")


def heart(comm, path):
    domain = biventricle(comm, path)
    return domain, purkinje_tree(domain, coordinates(domain), left=SPARSE, right=SPARSE)


def test_trees_do_not_depend_on_the_ranks(path):
    domain, tree = heart(MPI.COMM_WORLD, path)
    alone, tree_alone = heart(MPI.COMM_SELF, path)
    for name in ("points", "segments", "junctions", "region", "root"):
        np.testing.assert_array_equal(getattr(tree, name), getattr(tree_alone, name))
    assert len(tree.junctions) > 20
    assert statistics(domain, tree) == statistics(alone, tree_alone)


def test_surfaces_do_not_depend_on_the_ranks(path):
    comm = MPI.COMM_WORLD
    there = gather_surface(biventricle(comm, path), "rv_endo")
    here = gather_surface(biventricle(MPI.COMM_SELF, path), "rv_endo")
    if comm.rank == 0:
        np.testing.assert_array_equal(there.points, here.points)
        np.testing.assert_array_equal(there.corners, here.corners)
    else:
        assert there is None


def wave(comm, path):
    """Tree and muscle after some ms: their times, potentials and the charge of the tree."""
    domain, tree = heart(comm, path)
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"), comm)
    states, v = kernel.initial_states()[:, 0], kernel.initial_potential
    membrane = Membrane()
    V = fem.functionspace(domain.mesh, ("P", 1))
    junctions = JunctionMap(V, tree, 2.0)
    # The junctions of this coarse mesh touch more muscle than usual.
    cable = Cable(dict.fromkeys(REGIONS, 4.0), area=20.0, resistance=0.05, membrane=membrane)
    network = PurkinjeNetwork(comm, tree, kernel, states, v, cable, Pacing(), h=0.5)
    muscle = monodomain(
        V, Cells.uniform(kernel, states, v, local_nodes(V)), 0.13 * ufl.Identity(3),
        membrane=membrane, steps=TimeSteps.fixed(0.05),
        drives=[PurkinjeDrive(network, junctions, membrane.capacitance)],
    )  # fmt: skip
    for t in np.arange(0.0, 50.0, 2.0):
        assert muscle.advance(t, t + 2.0).converged
    at = junctions.average(muscle.v.x.array), junctions.volume, junctions.distance
    return network.activation(), network.potential(), network.charge(), at, muscle


def test_waves_in_tree_and_muscle_do_not_depend_on_the_ranks(path):
    times, v, charge, at, muscle = wave(MPI.COMM_WORLD, path)
    times_alone, v_alone, charge_alone, at_alone, muscle_alone = wave(MPI.COMM_SELF, path)
    assert (times_alone >= 0.0).mean() > 0.8
    assert muscle_alone.activated_fraction() > 0.01
    assert muscle.activated_fraction() == muscle_alone.activated_fraction()
    np.testing.assert_allclose(times, times_alone, atol=1e-4)
    np.testing.assert_allclose(v, v_alone, atol=1e-3)
    assert charge == pytest.approx(charge_alone, rel=1e-6)
    for here, there in zip(at, at_alone, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-6, atol=1e-3)


def crow_flight(V):
    """Muscle with 0.6 mm/ms in a straight line."""
    x = V.tabulate_dof_coordinates()[: local_nodes(V)]

    def arrival(nodes, times):
        comm = V.mesh.comm
        sources = np.concatenate(comm.allgather(x[nodes]))
        starts = np.concatenate(comm.allgather(times))
        ways = np.linalg.norm(x[:, None] - sources, axis=2) / 0.6 + starts
        return ways.min(axis=1, initial=np.inf)

    return arrival


@pytest.mark.parametrize("blocked", [False, True])
def test_activation_times_do_not_depend_on_the_ranks(path, blocked):
    found = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        domain, tree = heart(comm, path)
        tree = tree.cut("left") if blocked else tree
        V = fem.functionspace(domain.mesh, ("P", 1))
        tissue = tissue_at_junctions(JunctionMap(V, tree, 5.0), crow_flight(V))
        found.append(activate(tree, Conduction(), tissue))
    here, alone = found
    assert here.rounds == alone.rounds
    for name in ("nodes", "stimuli", "tissue"):
        np.testing.assert_allclose(getattr(here, name), getattr(alone, name), rtol=1e-12)
    np.testing.assert_array_equal(here.retrograde, alone.retrograde)
    assert np.isfinite(alone.nodes).all()
    assert alone.retrograde.any() == blocked


def test_errors_reach_every_rank(path, tmp_path):
    domain, tree = heart(MPI.COMM_WORLD, path)
    V = fem.functionspace(domain.mesh, ("P", 1))
    with pytest.raises(InputError, match="lie up to"):
        JunctionMap(V, type(tree)(
            tree.points + 500.0, tree.segments, tree.junctions, tree.region, tree.root
        ), 1.0)  # fmt: skip
    with pytest.raises(InputError, match="no such file"):
        read_tree(tmp_path / "none.vtp", MPI.COMM_WORLD)
