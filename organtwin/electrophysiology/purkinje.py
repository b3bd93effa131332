"""Action potentials in a Purkinje tree: the cable equation, joined to the muscle by resistors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, depth_first_order, dijkstra

from organtwin.anatomy.purkinje import REGIONS, Tree
from organtwin.cells.kernel import Kernel
from organtwin.electrophysiology.conductivity import Tuned
from organtwin.electrophysiology.diffusion import Membrane
from organtwin.electrophysiology.junctions import JunctionMap, over_ranks
from organtwin.electrophysiology.reaction_diffusion import NOT_ACTIVATED, THRESHOLD
from organtwin.electrophysiology.stimulus import Balls, Stimulus
from organtwin.errors import InputError, SolverError

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Rate of the potential (mV/ms) below which nothing in the tree is in its upstroke.
_QUIET = 2.0
#: Root mean square of the algebraic error of a step (mV).
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Cable:
    """Electrical properties of the tree.

    Attributes:
        sigma: Conductivity of each region (mS/mm), > 0; see `tune_cable`.
        area: Cross-section of a branch (mm²), > 0. It has no effect on the velocity, but on how
            much current a branch can feed into the muscle.
        resistance: Of each Purkinje–muscle junction (kΩ), > 0. With the default values a junction
            that touches 1 to 4 mm³ of muscle (0.13 mS/mm, ten Tusscher's epicardial cells)
            excites it 1 to 3 ms after itself, and is excited 0.3 to 1.5 ms after the muscle; one
            that touches 16 mm³ does not excite it.
        membrane: Surface-to-volume ratio of the branches, and capacitance.
    """

    sigma: Mapping[str, float]
    area: float = 1.0
    resistance: float = 0.7
    membrane: Membrane = field(default_factory=Membrane)

    def __post_init__(self) -> None:
        if sorted(self.sigma) != sorted(REGIONS) or not all(s > 0 for s in self.sigma.values()):
            raise InputError(
                "Cable",
                f"conductivities {dict(self.sigma)}.",
                f"Give one above 0 for each of {', '.join(REGIONS)}.",
            )
        if not (self.area > 0 and self.resistance > 0):
            raise InputError(
                "Cable",
                f"area {self.area:g} mm², resistance {self.resistance:g} kΩ.",
                "Both must be > 0.",
            )


@dataclass(frozen=True)
class Pacing:
    """A current into the tree at its root: what arrives from the atria.

    Attributes:
        strength: Depolarising current per capacitance (mV/ms).
        duration: Length of each pulse (ms).
        onsets: Beginnings of the pulses (ms), ascending.
        period: Time after which all pulses come again (ms); infinite for never.
        length: How far from the root, along the tree, the current enters (mm).
    """

    strength: float = 60.0
    duration: float = 1.0
    onsets: tuple[float, ...] = (0.0,)
    period: float = np.inf
    length: float = 2.0

    def __post_init__(self) -> None:
        if not self.length >= 0:
            raise InputError("Pacing", f"a length of {self.length:g} mm.", "It must be ≥ 0.")

    @property
    def pulses(self) -> Stimulus:
        """When it flows; it enters the muscle nowhere."""
        nowhere = Balls({}, 0.0)
        return Stimulus(nowhere, self.strength, self.duration, self.onsets, self.period)


@dataclass(frozen=True)
class FineTree:
    """A tree cut into short pieces.

    Attributes:
        tree: The pieces; its nodes are numbered depth first, so that blocks of them are parts of
            the tree that hang together.
        number: New number of each node of the original tree.
    """

    tree: Tree
    number: Indices


def subdivided(tree: Tree, h: float) -> FineTree:
    """Cut each segment into equal pieces no longer than ``h`` (mm).

    Raises:
        InputError: h is not positive.
    """
    if not h > 0.0:
        raise InputError("Purkinje network", f"elements of {h:g} mm.", "Give a length > 0.")
    pieces = np.maximum(1, np.ceil(tree.lengths / h - 1e-9)).astype(np.int64)
    inner = pieces - 1
    n = len(tree.points)
    owner = np.repeat(np.arange(len(pieces)), inner)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(inner) - inner, inner) + 1
    a, b = tree.points[tree.segments[owner, 0]], tree.points[tree.segments[owner, 1]]
    points = np.concatenate([tree.points, a + (place / pieces[owner])[:, None] * (b - a)])
    region = np.concatenate([tree.region, tree.segment_region[owner]])
    chains = _chains(tree.segments, inner, n)
    order = _depth_first(chains, len(points), tree.root)
    number = np.argsort(order)
    fine = Tree(
        points[order], number[chains], np.sort(number[tree.junctions]), region[order],
        int(number[tree.root]),
    )  # fmt: skip
    return FineTree(fine, number[:n])


class PurkinjeNetwork:
    """χ (C_m ∂v/∂t + I_ion) = ∂(σ ∂v/∂s)/∂s along each branch, Kirchhoff's law where they meet.

    Linear elements of cross-section A with lumped mass; cells at the nodes, then an implicit step

        C_i (v_i − v_i*)/Δt + Σ_j A σ_ij/ℓ_ij (v_i − v_j) + (v_i − u_j)/R = 0,

    C_i = χ C_m A Σ ℓ/2. The last term, at junctions only, leaves the tree and enters the muscle,
    whose potential there is u: whether and how fast a wave gets across in either direction follows
    from the load that the two are for each other.

    Nodes are distributed over the ranks in blocks. Vectors over the junctions are the same on all
    ranks, in the order of ``tree.junctions``.

    Args:
        comm: Communicator; all methods are collective.
        tree: The tree.
        kernel: Cell model.
        states: Its states at the start, (n_states,).
        v: Potential at the start (mV).
        cable: Properties.
        pacing: Current at the root; None for none.
        h: Longest element (mm).
        dt: Time step in upstrokes (ms).
        dt_rest: Time step elsewhere (ms).

    Source:
        Vigmond & Clements (2007), IEEE Trans. Biomed. Eng. 54:389–399 (tree with resistive
        junctions; linear elements here instead of their cubic ones).
    """

    def __init__(
        self,
        comm: MPI.Comm,
        tree: Tree,
        kernel: Kernel,
        states: Array,
        v: float,
        cable: Cable,
        pacing: Pacing | None = None,
        *,
        h: float = 0.25,
        dt: float = 0.05,
        dt_rest: float = 0.2,
    ) -> None:
        self.comm, self.tree, self.cable = comm, tree, cable
        self.dt, self.dt_rest = dt, dt_rest
        fine = subdivided(tree, h)
        self._number = fine.number
        self._kernel = kernel
        self._pulses = pacing.pulses if pacing else None
        first, last = _block(comm, len(fine.tree.points))
        self._ends = fine.number[tree.junctions]
        self._end_here = np.flatnonzero((self._ends >= first) & (self._ends < last))
        self._end_node = self._ends[self._end_here] - first
        self._paced = _near_root(fine.tree, pacing.length if pacing else 0.0)[first:last]
        self._matrix = _CableMatrix(comm, fine.tree, cable, self._ends)
        n = last - first
        self.v = np.full(n, v)
        self.states = np.repeat(np.asarray(states, dtype=np.float64).reshape(-1, 1), n, axis=1)
        self.activation_time = np.full(n, NOT_ACTIVATED)
        self._beat = np.zeros(1)
        self._fastest = np.zeros(1)

    @property
    def state(self) -> Mapping[str, Array]:
        """Everything needed to go on from here (this rank's part)."""
        return {
            "purkinje_v": self.v,
            "purkinje_states": self.states,
            "purkinje_activation_time": self.activation_time,
            "purkinje_beat": self._beat,
            "purkinje_fastest": self._fastest,
        }

    @property
    def resting(self) -> bool:
        """Whether no upstroke is under way in the tree; the same on all ranks."""
        return bool(self._fastest[0] < _QUIET)

    @property
    def size(self) -> int:
        """Number of nodes of the elements."""
        return self._matrix.size

    def advance(self, t0: float, t1: float, tissue: Array | None = None) -> Array:
        """Advance in sub-steps that fit into the interval.

        Args:
            t0: Begin (ms).
            t1: End (ms).
            tissue: Potential of the muscle at the junctions (mV), (n_junctions,), held over the
                interval; None: the junctions are sealed.

        Returns:
            Mean current from the tree into the muscle at each junction (µA).

        Raises:
            SolverError: the potential of the muscle or of the tree is not finite, or the linear
                solver failed. On all ranks.
        """
        self._check_muscle(tissue, t0)
        driven = self._pulses is not None and self._pulses.overlaps(t0, t1)
        longest = self.dt_rest if self.resting and not driven else self.dt
        n = max(1, int(np.ceil((t1 - t0) / longest - 1e-9)))
        h = (t1 - t0) / n
        current = np.zeros(len(self._ends))
        for k in range(n):
            current += self.step(t0 + k * h, h, tissue) / n
        return current

    def step(self, t: float, dt: float, tissue: Array | None = None) -> Array:
        """One step; arguments and result as for `advance`."""
        self._start_beat(t)
        before = self.v.copy()
        self._kernel.step(self.states, self.v, t, dt)
        if self._pulses is not None:
            self.v[self._paced] += self._pulses.flows(t, t + dt) * self._pulses.strength
        here = None if tissue is None else tissue[self._end_here]
        solved = self._matrix.step(self.v, dt, self._end_node, here)
        self._fastest[0] = self._largest_rate(before, dt)
        if not np.isfinite(self._fastest[0]):
            raise SolverError(
                "Purkinje network",
                f"its own potential is not finite in the step at t = {t:g} ms.",
                "Use a smaller time step of the network.",
            )
        if not solved:
            raise SolverError(
                "Purkinje network",
                f"the linear solver of its cables failed in the step at t = {t:g} ms.",
                "Check the conductivities of the cables, or use shorter elements.",
            )
        self._mark_activation(before, t, dt)
        return self._currents(here)

    def activation(self) -> Array:
        """Activation time of each node of ``tree`` (ms), −1 where there was none; collective."""
        return self._everywhere(self.activation_time)

    def potential(self) -> Array:
        """Potential of each node of ``tree`` (mV); collective."""
        return self._everywhere(self.v)

    def charge(self) -> float:
        """Σ C_i v_i (nC) of the whole tree; collective."""
        return float(self.comm.allreduce(float(self._matrix.capacity @ self.v), op=MPI.SUM))

    def overlaps(self, t0: float, t1: float) -> bool:
        """Whether an upstroke or the pacing is under way between ``t0`` and ``t1`` (ms)."""
        driven = self._pulses is not None and self._pulses.overlaps(t0, t1)
        return driven or not self.resting

    def beat(self, t: float) -> int:
        """Number of the beat that ``t`` (ms) belongs to, 0 for the first."""
        return self._pulses.beat(t) if self._pulses is not None else 0

    def _check_muscle(self, tissue: Array | None, t: float) -> None:
        """Tell a fault of the muscle from one of the tree, which it would become at once."""
        if tissue is not None and not np.isfinite(tissue).all():
            lost = np.flatnonzero(~np.isfinite(tissue))
            x, y, z = self.tree.points[self.tree.junctions[lost[0]]]
            raise SolverError(
                "Purkinje network",
                f"the muscle's potential is not finite at t = {t:g} ms at {len(lost)} of "
                f"{len(self._ends)} junctions, one at ({x:.4g}, {y:.4g}, {z:.4g}) mm.",
                "Use a smaller time step of the muscle.",
            )

    def _everywhere(self, values: Array) -> Array:
        return np.asarray(np.concatenate(self.comm.allgather(values))[self._number])

    def _start_beat(self, t: float) -> None:
        if self.beat(t) != self._beat[0]:
            self._beat[0] = self.beat(t)
            self.activation_time[:] = NOT_ACTIVATED

    def _largest_rate(self, before: Array, dt: float) -> float:
        local = float(np.abs(self.v - before).max(initial=0.0)) / dt
        return float(self.comm.allreduce(local if np.isfinite(local) else np.inf, op=MPI.MAX))

    def _mark_activation(self, before: Array, t: float, dt: float) -> None:
        times = self.activation_time
        rising = (before < THRESHOLD) & (self.v >= THRESHOLD) & (times == NOT_ACTIVATED)
        share = (THRESHOLD - before[rising]) / (self.v[rising] - before[rising])
        times[rising] = t + dt * share

    def _currents(self, tissue: Array | None) -> Array:
        """Currents into the muscle (µA) at all junctions."""
        current = np.zeros(len(self._ends))
        if tissue is None:
            return current
        current[self._end_here] = (self.v[self._end_node] - tissue) / self.cable.resistance
        return over_ranks(self.comm, current, MPI.SUM)


class PurkinjeDrive:
    """The tree as a drive of the muscle: both take their turns in every step of the muscle.

    The muscle's potential at the junctions is that at the start of the step, and what leaves the
    tree in it enters the muscle in it: no charge is lost.

    Args:
        network: The tree.
        junctions: Where it touches the muscle.
        capacitance: χ C_m of the muscle (µF/mm³).
    """

    def __init__(
        self, network: PurkinjeNetwork, junctions: JunctionMap, capacitance: float
    ) -> None:
        self.network, self.junctions = network, junctions
        self._capacitance = capacitance

    @property
    def state(self) -> Mapping[str, Array]:
        """State of the tree, to be kept and restored with that of the muscle."""
        return self.network.state

    def apply(self, v: Array, t: float, dt: float) -> None:
        """Advance the tree and add the change of the muscle's v (mV) at the local nodes.

        Raises:
            SolverError: as for `PurkinjeNetwork.advance`, on all ranks.
        """
        current = self.network.advance(t, t + dt, self.junctions.average(v))
        v += dt / self._capacitance * self.junctions.density(current)

    def overlaps(self, t0: float, t1: float) -> bool:
        """Whether an upstroke in the tree or its pacing is under way."""
        return self.network.overlaps(t0, t1)

    def beat(self, t: float) -> int:
        """Number of the beat that ``t`` (ms) belongs to."""
        return self.network.beat(t)


def cable_velocity(
    kernel: Kernel,
    states: Array,
    v: float,
    sigma: float,
    *,
    h: float,
    membrane: Membrane,
    dt: float,
    length: float = 30.0,
) -> float:
    """Velocity (mm/ms) of an action potential in a straight cable, 0 if it does not get through.

    Args:
        kernel: Cell model.
        states: Its states at rest, (n_states,).
        v: Potential at rest (mV).
        sigma: Conductivity (mS/mm).
        h: Longest element (mm).
        membrane: χ and C_m.
        dt: Time step (ms).
        length: Of the cable (mm); the velocity is taken between 40 % and 80 % of it.
    """
    x = np.linspace(0.0, length, round(length) + 1)
    tree = straight_tree(x)
    cable = Cable(dict.fromkeys(REGIONS, sigma), membrane=membrane)
    network = PurkinjeNetwork(
        MPI.COMM_SELF, tree, kernel, states, v, cable, Pacing(length=0.1 * length), h=h, dt=dt
    )
    between = (x > 0.399 * length) & (x < 0.801 * length)
    for k in range(int(np.ceil(length / 0.1 / 2.0))):  # 0.1 mm/ms counts as dead
        network.advance(2.0 * k, 2.0 * (k + 1))
        times = network.activation()[between]
        if (times != NOT_ACTIVATED).all():
            return float(1.0 / np.polyfit(x[between], times, 1)[0])
    return 0.0


def tune_cable(
    kernel: Kernel,
    states: Array,
    v: float,
    velocity: float,
    *,
    h: float = 0.25,
    membrane: Membrane = Membrane(),
    dt: float = 0.05,
    tolerance: float = 0.002,
    iterations: int = 12,
) -> Tuned:
    """Conductivity that gives a velocity in the tree with these elements and time steps.

    Fixed point σ ← σ (c*/c)², exact where c ∝ √σ.

    Args:
        kernel: Cell model.
        states: Its states at rest, (n_states,).
        v: Potential at rest (mV).
        velocity: c* (mm/ms).
        h: Longest element (mm).
        membrane: χ and C_m.
        dt: Time step (ms).
        tolerance: Relative error of the velocity at which the search ends.
        iterations: Most evaluations.

    Raises:
        InputError: no conductivity gives this velocity.
    """
    sigma = 0.13 * (velocity / 0.6) ** 2
    for _ in range(iterations):
        found = cable_velocity(kernel, states, v, sigma, h=h, membrane=membrane, dt=dt)
        if found > 0 and abs(found / velocity - 1) < tolerance:
            return Tuned(sigma, found)
        factor = (velocity / found) ** 2 if found > 0 else 4.0
        sigma *= float(np.clip(factor, 0.1, 10.0))
    raise InputError(
        "Purkinje tree",
        f"no conductivity gives {velocity:g} mm/ms with elements of {h:g} mm.",
        "Use shorter elements and time steps, or ask for another velocity.",
    )


def straight_tree(x: Array, region: str = "his") -> Tree:
    """A cable along the first axis with nodes at ``x`` (mm), its root first, a junction last."""
    n = len(x)
    points = np.column_stack([x, np.zeros(n), np.zeros(n)])
    segments = np.column_stack([np.arange(n - 1), np.arange(1, n)])
    number = np.full(n, REGIONS.index(region), dtype=np.int8)
    return Tree(points, segments, np.array([n - 1]), number, 0)


class _CableMatrix:
    """Implicit steps of the cable equation, one matrix for each step size in use."""

    def __init__(self, comm: MPI.Comm, tree: Tree, cable: Cable, ends: Indices) -> None:
        n = len(tree.points)
        self.size = n
        self._comm = comm
        self._first, self._last = _block(comm, n)
        self._junction = 1.0 / cable.resistance
        sigma = np.array([cable.sigma[name] for name in REGIONS])[tree.segment_region]
        conductance = cable.area * sigma / tree.lengths
        i, j = tree.segments.T
        rows, columns = np.concatenate([i, j, i, j]), np.concatenate([j, i, i, j])
        values = np.concatenate([-conductance, -conductance, conductance, conductance])
        self._K = csr_array((values, (rows, columns)), shape=(n, n))[self._first : self._last]
        halves = np.bincount(tree.segments.ravel(), np.repeat(tree.lengths / 2, 2), minlength=n)
        # A node without segments, left over by a cut, is a short piece by itself.
        halves[halves == 0.0] = 0.5 * tree.lengths.min()
        capacity = cable.area * cable.membrane.chi * cable.membrane.C_m * halves
        self.capacity = capacity[self._first : self._last]
        open_ends = np.zeros(n)
        open_ends[ends] = self._junction
        self._open = open_ends[self._first : self._last]
        self._flow = self._petsc(self._K)
        self._b, self._v = self._flow.createVecLeft(), self._flow.createVecRight()
        self._delta = self._flow.createVecRight()
        self._solvers: dict[tuple[float, bool], PETSc.KSP] = {}

    def step(self, v: Array, dt: float, ends: Indices, tissue: Array | None) -> bool:
        """Add the change of ``v`` (local nodes) over ``dt``; whether the solver converged."""
        self._v.array[:] = v
        self._flow.mult(self._v, self._b)
        load = self._b.array
        load *= -1.0
        if tissue is not None:
            load[ends] += self._junction * (tissue - v[ends])
        ksp = self._solver(dt, tissue is not None)
        ksp.solve(self._b, self._delta)
        v += self._delta.array
        return bool(ksp.getConvergedReason() > 0)

    def _solver(self, dt: float, joined: bool) -> PETSc.KSP:
        key = (round(dt, 9), joined)
        if key not in self._solvers:
            self._solvers[key] = self._new_solver(dt, joined)
        return self._solvers[key]

    def _new_solver(self, dt: float, joined: bool) -> PETSc.KSP:
        diagonal = self.capacity / dt + (self._open if joined else 0.0)
        A = self._flow.copy()
        whole = A.getDiagonal()
        whole.array[:] += diagonal
        A.setDiagonal(whole)
        A.assemble()
        ksp = PETSc.KSP().create(self._comm)
        ksp.setOptionsPrefix(f"purkinje_{id(self)}_")
        ksp.setOperators(A)
        ksp.setType("cg")
        ksp.getPC().setType("jacobi")
        # The diagonal of A scales a residual to potentials (mV).
        ksp.setNormType(PETSc.KSP.NormType.PRECONDITIONED)
        ksp.setTolerances(rtol=1e-13, atol=_TOLERANCE * self.size**0.5, max_it=1000)
        ksp.setFromOptions()
        return ksp

    def _petsc(self, rows: csr_array) -> PETSc.Mat:
        local = (self._last - self._first, self.size)
        csr = (rows.indptr.astype(np.int32), rows.indices.astype(np.int32), rows.data)
        A = PETSc.Mat().createAIJ(
            ((local[0], self.size), (local[0], self.size)), csr=csr, comm=self._comm
        )
        A.assemble()
        return A


def _block(comm: MPI.Comm, n: int) -> tuple[int, int]:
    """First and one past the last of the nodes of this rank."""
    return n * comm.rank // comm.size, n * (comm.rank + 1) // comm.size


def _chains(segments: Indices, inner: Indices, n: int) -> Indices:
    """Elements between the ends of the segments through their ``inner`` nodes, numbered from n."""
    first = n + np.cumsum(inner) - inner
    pieces = []
    for (a, b), k, start in zip(segments, inner, first, strict=True):
        path = np.concatenate([[a], start + np.arange(k), [b]])
        pieces.append(np.column_stack([path[:-1], path[1:]]))
    return np.concatenate(pieces).astype(np.int64)


def _depth_first(elements: Indices, n: int, root: int) -> Indices:
    """Nodes by depth-first search: first the part with the root, then parts without it."""
    ones = np.ones(len(elements))
    graph = csr_array((ones, (elements[:, 0], elements[:, 1])), shape=(n, n))
    count, part = connected_components(graph, directed=False)
    starts = [root]
    starts += [int(np.argmax(part == k)) for k in range(count) if k != part[root]]
    orders = [depth_first_order(graph, s, False, return_predecessors=False) for s in starts]
    return np.concatenate(orders).astype(np.int64)


def _near_root(tree: Tree, length: float) -> NDArray[np.bool_]:
    """Nodes no farther than ``length`` (mm) from the root along the tree."""
    n = len(tree.points)
    graph = csr_array((tree.lengths, tuple(tree.segments.T)), shape=(n, n))
    return np.asarray(dijkstra(graph, directed=False, indices=tree.root) <= length)
