from dataclasses import replace

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.anatomy.purkinje import REGIONS, Tree
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.population import Cells
from organtwin.electrophysiology.diffusion import Membrane
from organtwin.electrophysiology.junctions import JunctionMap
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.purkinje import (
    Cable,
    Pacing,
    PurkinjeDrive,
    PurkinjeNetwork,
    cable_velocity,
    straight_tree,
    subdivided,
    tune_cable,
)
from organtwin.electrophysiology.purkinje_times import (
    Conduction,
    activate,
    tissue_at_junctions,
    tree_times,
)
from organtwin.electrophysiology.reaction_diffusion import TimeSteps, local_nodes
from organtwin.electrophysiology.stimulus import Balls, Stimulus
from organtwin.errors import InputError, SolverError

#: Gives about 3 mm/ms with the cells below.
SIGMA = 4.0
MEMBRANE = Membrane()


@pytest.fixture(scope="module")
def kernel():
    return compile_kernel(CellModel.load("ten_tusscher_2006_epi"))


def network(kernel, tree, pacing=None, **cable):
    properties = Cable(dict.fromkeys(REGIONS, SIGMA), **cable)
    states, v = kernel.initial_states()[:, 0], kernel.initial_potential
    return PurkinjeNetwork(MPI.COMM_SELF, tree, kernel, states, v, properties, pacing)


def fork(left=10.0, right=10.0):
    """His bundle of 4 mm up to x = 0, then a left and a right branch along ±y."""
    x = np.concatenate([np.arange(-4.0, 0.5), np.zeros(8)])
    steps = np.arange(1.0, 5.0)
    y = np.concatenate([np.zeros(5), -left / 4 * steps, right / 4 * steps])
    points = np.column_stack([x, y, np.zeros(13)])
    path = [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 6], [6, 7], [7, 8], [4, 9], [9, 10]]
    segments = np.array([*path, [10, 11], [11, 12]])
    region = np.array([0] * 5 + [1] * 4 + [2] * 4, dtype=np.int8)
    return Tree(points, segments, np.array([8, 12]), region, 0)


CONDUCTION = Conduction({"his": 2.0, "left": 4.0, "right": 1.0}, 5.0, 2.0)


class Wire:
    """Muscle that leads from junction to junction in a given time."""

    def __init__(self, between, stimulus=None):
        self.between = np.asarray(between)
        self.stimulus = np.inf if stimulus is None else np.asarray(stimulus)
        self.calls = 0

    def __call__(self, times):
        self.calls += 1
        return np.minimum(self.stimulus, (times[:, None] + self.between).min(axis=0))


FAR = np.array([[0.0, 50.0], [50.0, 0.0]])


def test_times_in_the_tree_are_lengths_over_velocities():
    times = tree_times(fork(), CONDUCTION, np.array([0]), np.array([3.0]))
    assert times[4] == pytest.approx(3.0 + 4.0 / 2.0)
    assert times[8] == pytest.approx(5.0 + 10.0 / 4.0)
    assert times[12] == pytest.approx(5.0 + 10.0 / 1.0)
    assert np.isinf(tree_times(fork(), CONDUCTION, np.array([0]), np.array([np.inf]))).all()
    # From several sources, some before time 0, the earliest counts.
    both = tree_times(fork(), CONDUCTION, np.array([8, 12, 8]), np.array([-4.0, 0.0, 7.0]))
    assert both[4] == pytest.approx(-4.0 + 2.5)
    assert both[12] == 0.0


def test_muscle_that_is_late_gets_its_times_from_the_tree():
    found = activate(fork(), CONDUCTION, Wire(FAR))
    np.testing.assert_allclose(found.stimuli, [9.5, 17.0])
    np.testing.assert_allclose(found.tissue, found.stimuli)
    assert not found.retrograde.any()


def test_muscle_excites_the_tree_where_it_is_faster():
    found = activate(fork(), CONDUCTION, Wire([[0.0, 1.0], [1.0, 0.0]]))
    np.testing.assert_allclose(found.tissue, [9.5, 10.5])
    # Through the tree in 12 ms, no later than through the muscle: 10.5 + 2 ms.
    assert found.nodes[12] == pytest.approx(12.0)
    assert not found.retrograde.any()
    found = activate(fork(right=20.0), CONDUCTION, Wire([[0.0, 1.0], [1.0, 0.0]]))
    assert found.nodes[12] == pytest.approx(10.5 + 2.0)
    assert list(found.retrograde) == [False, True]
    # The two waves meet in the right branch.
    assert found.nodes[11] == pytest.approx(min(2.0 + 15.0, 12.5 + 5.0))


def test_paced_muscle_excites_the_whole_tree_backwards():
    wire = Wire(FAR, stimulus=[0.0, np.inf])
    found = activate(fork(), CONDUCTION, wire, start=np.inf)
    assert found.nodes[8] == pytest.approx(2.0)
    assert found.nodes[0] == pytest.approx(2.0 + 2.5 + 2.0)
    assert found.tissue[1] == pytest.approx(2.0 + 2.5 + 10.0 + 5.0)
    assert wire.calls <= 4


def test_left_bundle_branch_block_makes_the_left_side_late():
    healthy = activate(fork(), CONDUCTION, Wire(FAR))
    blocked = activate(fork().cut("left"), CONDUCTION, Wire(FAR))
    assert blocked.tissue[1] == healthy.tissue[1]
    assert blocked.tissue[0] == pytest.approx(17.0 + 50.0)
    # What lies behind the block is excited from the muscle.
    assert blocked.nodes[8] == pytest.approx(67.0 + 2.0)
    assert blocked.nodes[5] == pytest.approx(69.0 + 7.5 / 4.0)


def test_conduction_is_checked():
    with pytest.raises(InputError, match="no velocity of `right`"):
        Conduction({"his": 2.0, "left": 1.0})
    with pytest.raises(InputError, match="must be > 0"):
        Conduction({"his": 2.0, "left": 1.0, "right": 0.0})
    with pytest.raises(InputError, match="negative"):
        Conduction(retrograde_delay=-1.0)


def test_pieces_keep_the_tree(kernel):
    tree = fork(left=7.3)
    fine = subdivided(tree, 0.5)
    assert fine.tree.lengths.max() <= 0.5 + 1e-12
    assert fine.tree.lengths.sum() == pytest.approx(tree.lengths.sum())
    np.testing.assert_allclose(fine.tree.points[fine.number], tree.points)
    assert fine.tree.connected().all()
    assert fine.tree.root == fine.number[0]
    lengths = [fine.tree.lengths[fine.tree.segment_region == k].sum() for k in range(3)]
    np.testing.assert_allclose(lengths, [4.0, 7.3, 10.0])
    with pytest.raises(InputError, match="length > 0"):
        subdivided(tree, 0.0)


@pytest.mark.parametrize("wanted", [2.0, 3.0])
def test_cable_conducts_as_fast_as_tuned(kernel, wanted):
    states, v = kernel.initial_states()[:, 0], kernel.initial_potential
    tuned = tune_cable(kernel, states, v, wanted)
    longer = cable_velocity(
        kernel, states, v, tuned.sigma, h=0.25, membrane=MEMBRANE, dt=0.05, length=50.0
    )
    assert longer == pytest.approx(wanted, rel=0.02)
    finer = cable_velocity(kernel, states, v, tuned.sigma, h=0.1, membrane=MEMBRANE, dt=0.05)
    assert finer == pytest.approx(wanted, rel=0.02)


def test_wave_runs_through_forks_and_not_past_a_cut(kernel):
    for tree, reached in ((fork(), True), (fork().cut("left"), False)):
        net = network(kernel, tree, Pacing())
        net.advance(0.0, 12.0)
        times = net.activation()
        assert (times[9:] > times[4]).all()
        assert (times[5:9] > times[4]).all() if reached else (times[5:9] == -1.0).all()
        assert np.all(np.diff(times[9:]) > 0.0)


def test_resting_network_takes_long_steps_and_wakes_up(kernel):
    net = network(kernel, straight_tree(np.arange(0.0, 21.0)), Pacing(onsets=(40.0,)))
    net.advance(0.0, 40.0)
    assert net.resting and not net.overlaps(0.0, 40.0)
    assert net.overlaps(39.0, 41.0)
    net.advance(40.0, 42.0)
    assert not net.resting
    assert 40.0 < net.activation()[0] < 41.5


def test_state_restores_the_network(kernel):
    net = network(kernel, fork(), Pacing())
    net.advance(0.0, 2.0)
    saved = {name: values.copy() for name, values in net.state.items()}
    first = net.advance(2.0, 5.0, np.full(2, -85.0))
    times = net.activation()
    for name, values in net.state.items():
        values[...] = saved[name]
    np.testing.assert_array_equal(net.advance(2.0, 5.0, np.full(2, -85.0)), first)
    np.testing.assert_array_equal(net.activation(), times)


class Inert:
    """Cells without currents."""

    def step(self, states, v, t, dt):
        pass


def test_what_leaves_the_tree_is_the_current_that_it_returns():
    x = np.arange(0.0, 11.0)
    cable = Cable(dict.fromkeys(REGIONS, SIGMA), resistance=0.5)
    net = PurkinjeNetwork(MPI.COMM_SELF, straight_tree(x), Inert(), np.zeros(1), 20.0, cable)
    before = net.charge()
    assert before == pytest.approx(20.0 * 10.0 * 1.4)  # C = χ C_m A L
    out = sum(0.4 * net.advance(0.4 * k, 0.4 * (k + 1), np.array([-80.0])) for k in range(10))
    assert out[0] > 100.0
    assert before - net.charge() == pytest.approx(out[0], rel=1e-8)
    sealed = net.charge()
    np.testing.assert_array_equal(net.advance(4.0, 5.0), [0.0])
    assert net.charge() == pytest.approx(sealed, rel=1e-9)


@pytest.mark.parametrize(("duration", "span"), [(0.02, 0.25), (0.47, 0.25), (0.52, 3.0)])
def test_charge_of_the_pacing_does_not_depend_on_the_steps(duration, span):
    cable = Cable(dict.fromkeys(REGIONS, SIGMA))
    pacing = Pacing(4.0 / duration, duration, onsets=(0.33, 2.03), period=6.0, length=100.0)
    net = PurkinjeNetwork(
        MPI.COMM_SELF, straight_tree(np.arange(0.0, 11.0)), Inert(), np.zeros(1), -80.0, cable,
        pacing, dt=0.25,
    )  # fmt: skip
    for t in np.arange(0.0, 12.0, span):
        net.advance(t, t + span)
    np.testing.assert_allclose(net.v, -80.0 + 4 * 4.0, rtol=1e-9)


class Bursting:
    """Cells whose potential is lost after some time."""

    def __init__(self, until):
        self.until = until

    def step(self, states, v, t, dt):
        if t >= self.until - 1e-9:
            v[-1] = np.nan


@pytest.mark.parametrize(
    ("cells", "muscle", "told"),
    [
        (Inert(), np.nan, r"muscle's potential is not finite at t = 1 ms.*junctions.*\(3, 3, 4\)"),
        (Inert(), -np.inf, "muscle's potential is not finite"),
        (Bursting(1.0), -80.0, "its own potential is not finite in the step at t = 1 ms"),
    ],
)  # fmt: skip
def test_faults_of_muscle_and_tree_are_told_apart(cells, muscle, told):
    V, tree = block(), stalk()
    cable = Cable(dict.fromkeys(REGIONS, SIGMA))
    net = PurkinjeNetwork(MPI.COMM_SELF, tree, cells, np.zeros(1), -80.0, cable)
    drive = PurkinjeDrive(net, JunctionMap(V, tree, 1.0), MEMBRANE.capacitance)
    v = np.full(local_nodes(V), -80.0)
    drive.apply(v, 0.0, 1.0)
    v[np.argmin(np.linalg.norm(V.tabulate_dof_coordinates() - tree.points[-1], axis=1))] = muscle
    with pytest.raises(SolverError, match=told):
        drive.apply(v, 1.0, 0.2)


def test_pacing_is_checked():
    with pytest.raises(InputError, match="length of nan mm"):
        Pacing(length=np.nan)
    with pytest.raises(InputError, match="strength of nan"):
        _ = Pacing(strength=np.nan).pulses


def block(size=(6.0, 6.0, 4.0), n=(8, 8, 5), degree=1):
    msh = mesh.create_box(MPI.COMM_SELF, [[0.0] * 3, list(size)], list(n))
    return fem.functionspace(msh, ("P", degree))


def stalk(length=12.0):
    """A cable that comes down along z and ends at (3, 3, 4)."""
    tree = straight_tree(np.arange(0.0, length + 1.0))
    points = np.column_stack(
        [np.full(len(tree.points), 3.0)] * 2 + [4.0 + length - tree.points[:, 0]]
    )
    return replace(tree, points=points)


@pytest.mark.parametrize("degree", [1, 2])
def test_currents_into_the_muscle_keep_their_charge(degree):
    V = block(degree=degree)
    pair = Tree(
        np.array([[0.0, 0.0, 9.0], [3.0, 3.0, 4.0], [3.5, 3.0, 4.0]]),
        np.array([[0, 1], [0, 2]]), np.array([1, 2]), np.zeros(3, dtype=np.int8), 0,
    )  # fmt: skip
    junctions = JunctionMap(V, pair, 1.6)
    density = fem.Function(V)
    density.x.array[:] = junctions.density(np.array([7.0, -2.0]))
    into = fem.assemble_scalar(fem.form(density * ufl.dx))
    assert into == pytest.approx(5.0, rel=1e-12)
    linear = fem.Function(V)
    linear.x.array[:] = 3.0
    np.testing.assert_allclose(junctions.average(linear.x.array), 3.0)
    x = V.tabulate_dof_coordinates()
    far = np.linalg.norm(x[:, None] - pair.points[1:], axis=2).min(axis=1) > 1.6
    assert not density.x.array[far].any() and density.x.array[~far].any()


def test_junction_of_a_coarse_mesh_takes_the_nearest_node():
    V = block(n=(2, 2, 2))
    junctions = JunctionMap(V, stalk(), 0.01)
    assert junctions.distance[0] == pytest.approx(0.0, abs=1e-12)
    shifted = replace(stalk(), points=stalk().points + np.array([0.4, 0.3, 0.0]))
    junctions = JunctionMap(V, shifted, 0.01)
    assert junctions.distance[0] == pytest.approx(0.5)
    x = V.tabulate_dof_coordinates()
    assert junctions.average(x[:, 0])[0] == pytest.approx(3.0)
    with pytest.raises(InputError, match="1 of 1 junctions lie up to"):
        JunctionMap(V, replace(stalk(), points=stalk().points + 20.0), 1.0)
    with pytest.raises(InputError, match="must be > 0"):
        JunctionMap(V, stalk(), 0.0)


def joined(kernel, tree, stimuli=(), pacing=None, V=None):
    """The muscle and the tree above it."""
    V = block() if V is None else V
    net = network(kernel, tree, pacing)
    drive = PurkinjeDrive(net, JunctionMap(V, tree, 1.0), MEMBRANE.capacitance)
    states, v = kernel.initial_states()[:, 0], kernel.initial_potential
    cells = Cells.uniform(kernel, states, v, local_nodes(V))
    muscle = monodomain(
        V, cells, 0.13 * ufl.Identity(3), stimuli,
        membrane=MEMBRANE, steps=TimeSteps.fixed(0.05), drives=[drive],
    )  # fmt: skip
    return muscle, net, drive.junctions


def run(muscle, until):
    for t in np.arange(0.0, until, 2.0):
        assert muscle.advance(t, t + 2.0).converged


def test_tree_excites_the_muscle_after_a_delay(kernel):
    muscle, net, junctions = joined(kernel, stalk(), pacing=Pacing())
    run(muscle, 16.0)
    end, here = net.activation()[-1], junctions.average(muscle.activation_time.x.array)[0]
    assert 0.3 < here - end < 4.0
    assert muscle.activated_fraction() == 1.0


def test_muscle_excites_the_tree_backwards(kernel):
    corner = Stimulus(Balls({"corner": np.zeros(3)}, 1.2))
    muscle, net, junctions = joined(kernel, stalk(), [corner])
    run(muscle, 22.0)
    times = net.activation()
    here = junctions.average(muscle.activation_time.x.array)[0]
    assert times[-1] > here > 0.0
    # 3 mm/ms, faster where the wave runs into the sealed end.
    assert times[0] - times[-1] == pytest.approx(12.0 / 3.0, rel=0.25)
    assert np.all(np.diff(times) < 0.0)


def test_left_side_is_late_behind_a_cut_bundle(kernel):
    # A bar with the left junction at its one end and the right one at the other.
    V = block((14.0, 3.0, 3.0), (18, 4, 4))
    tree = fork(left=6.0, right=6.0)
    y = tree.points[:, 1]
    points = np.column_stack([7.0 + y, np.full(13, 1.5), 3.0 - tree.points[:, 0]])
    tree = replace(tree, points=points)
    late = []
    for case in (tree, tree.cut("left")):
        muscle, net, junctions = joined(kernel, case, pacing=Pacing(), V=V)
        run(muscle, 36.0)
        left, right = junctions.average(muscle.activation_time.x.array)
        late.append(left - right)
        assert right < 12.0
    assert abs(late[0]) < 1.0
    assert late[1] > 12.0 / 0.9
    # Excited from the muscle in the end: the tip first, the stump below the cut last.
    times = net.activation()
    assert times[5] > times[8] > left


def test_times_of_tree_and_muscle_agree_with_the_muscles_nodes():
    V = block()
    tree = stalk()
    junctions = JunctionMap(V, tree, 1.0)
    x = V.tabulate_dof_coordinates()

    def straight_ways(nodes, times):
        ways = np.linalg.norm(x[:, None] - x[nodes], axis=2) / 0.5 + times
        return np.minimum(ways.min(axis=1, initial=np.inf), np.linalg.norm(x, axis=1) / 0.5)

    found = activate(tree, Conduction(), tissue_at_junctions(junctions, straight_ways), start=50.0)
    near = np.linalg.norm(x - tree.points[-1], axis=1) <= 1.0
    assert found.tissue[0] == pytest.approx(np.linalg.norm(x[near], axis=1).min() / 0.5)
    assert found.nodes[-1] == pytest.approx(found.tissue[0] + 2.0)
    assert list(found.retrograde) == [True]


def test_cable_is_checked():
    with pytest.raises(InputError, match="conductivities"):
        Cable({"his": 1.0})
    with pytest.raises(InputError, match="resistance 0"):
        Cable(dict.fromkeys(REGIONS, 1.0), resistance=0.0)
