"""Activation times of a Purkinje tree, and of the tree and the muscle together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from organtwin.anatomy.purkinje import REGIONS, Tree
from organtwin.electrophysiology.junctions import JunctionMap
from organtwin.errors import InputError, SolverError, suggestion

Array = NDArray[np.float64]

#: Change of a time that still counts as one (ms).
_CHANGE = 1e-9


@dataclass(frozen=True)
class Conduction:
    """Velocities in the tree and delays at its junctions.

    Attributes:
        velocity: Velocity of each region of the tree (mm/ms), > 0.
        antegrade_delay: From the arrival at a junction to the excitation of the muscle (ms), ≥ 0.
        retrograde_delay: From the excitation of the muscle to that of the junction (ms), ≥ 0.
    """

    velocity: Mapping[str, float] = field(
        default_factory=lambda: {"his": 2.0, "left": 3.0, "right": 3.0}
    )
    antegrade_delay: float = 5.0
    retrograde_delay: float = 2.0

    def __post_init__(self) -> None:
        for name in REGIONS:
            if name not in self.velocity:
                raise InputError("Conduction", f"no velocity of `{name}`.", "Give one.")
        for name, value in self.velocity.items():
            if name not in REGIONS:
                raise InputError("Conduction", f"no region `{name}`.", suggestion(name, REGIONS))
            if not value > 0.0:
                raise InputError("Conduction", f"velocity of `{name}` {value}.", "It must be > 0.")
        if not (self.antegrade_delay >= 0.0 and self.retrograde_delay >= 0.0):
            raise InputError(
                "Conduction",
                f"delays {self.antegrade_delay} and {self.retrograde_delay} ms.",
                "None may be negative.",
            )


class Tissue(Protocol):
    """Eikonal model of the muscle as the tree sees it."""

    def __call__(self, times: Array) -> Array:
        """When the muscle at each junction is excited (ms), the same on all ranks; collective.

        Args:
            times: When junctions excite the muscle around them (ms), infinite for never,
                (n_junctions,).

        Returns:
            Times of the muscle around each junction, infinite for never, (n_junctions,): the
            earliest of what the junctions, other stimuli and the waves between them do.
        """
        ...


@dataclass(frozen=True)
class ActivatedTree:
    """Times of the tree and of the muscle at its junctions (ms), infinite for never.

    Attributes:
        nodes: Of the tree's nodes, (n,).
        stimuli: When junctions excite the muscle, had it not been excited before,
            (n_junctions,).
        tissue: Of the muscle around the junctions, (n_junctions,).
        retrograde: Which junctions the muscle excited, (n_junctions,).
        rounds: Solutions of the muscle that were needed.
    """

    nodes: Array
    stimuli: Array
    tissue: Array
    retrograde: NDArray[np.bool_]
    rounds: int


def tree_times(
    tree: Tree, conduction: Conduction, sources: NDArray[np.integer], times: Array
) -> Array:
    """Earliest arrival at each node of the tree, by Dijkstra's algorithm.

        t_i = min over sources s and paths s → i of t_s + Σ length/velocity

    Args:
        tree: The tree, which may have loops.
        conduction: Velocities.
        sources: Nodes that are excited from outside, (k,).
        times: When (ms), (k,); infinite for never.

    Returns:
        Times (ms), (n,); infinite where no path leads.
    """
    n = len(tree.points)
    given = np.isfinite(times)
    sources, times = np.asarray(sources)[given], np.asarray(times, dtype=np.float64)[given]
    if not len(sources):
        return np.full(n, np.inf)
    speed = np.array([conduction.velocity[name] for name in REGIONS])[tree.segment_region]
    # A node beyond the tree is the one source; its edges need weights above 0.
    shift = times.min() - 1.0
    first, time = _earliest(sources, times)
    rows = np.concatenate([tree.segments[:, 0], tree.segments[:, 1], np.full(len(first), n)])
    columns = np.concatenate([tree.segments[:, 1], tree.segments[:, 0], first])
    weights = np.concatenate([tree.lengths / speed, tree.lengths / speed, time - shift])
    graph = csr_array((weights, (rows, columns)), shape=(n + 1, n + 1))
    return np.asarray(dijkstra(graph, indices=n)[:n] + shift)


def activate(
    tree: Tree,
    conduction: Conduction,
    tissue: Tissue,
    *,
    start: float = 0.0,
    rounds: int = 100,
) -> ActivatedTree:
    """Times of tree and muscle that excite each other; collective.

    The tree excites the muscle at its junctions after the antegrade delay, the muscle the tree
    after the retrograde delay. Each round can only make times earlier, so it ends when none
    changes.

    Args:
        tree: The tree.
        conduction: Velocities and delays.
        tissue: Model of the muscle.
        start: When the root is excited (ms), infinite for never.
        rounds: Most solutions of the muscle.

    Raises:
        SolverError: times still change after the last round.
    """
    n = len(tree.junctions)
    sources = np.concatenate([[tree.root], tree.junctions])
    nodes = tree_times(tree, conduction, sources[:1], np.array([start]))
    previous = np.full(n, np.inf)
    for used in range(1, rounds + 1):
        stimuli = nodes[tree.junctions] + conduction.antegrade_delay
        arrival = np.minimum(previous, tissue(stimuli))
        backwards = arrival + conduction.retrograde_delay
        new = np.minimum(
            nodes, tree_times(tree, conduction, sources, np.concatenate([[start], backwards]))
        )
        unchanged = _same(new, nodes) and _same(arrival, previous)
        nodes, previous = new, arrival
        if unchanged or _same(nodes[tree.junctions] + conduction.antegrade_delay, stimuli):
            at_junctions = nodes[tree.junctions]
            retrograde = np.isfinite(backwards) & (at_junctions > backwards - _CHANGE)
            return ActivatedTree(nodes, stimuli, arrival, retrograde, used)
    raise SolverError(
        "Purkinje tree and muscle",
        f"their activation times still change after {rounds} rounds.",
        "Check that the muscle's times never get later when its stimuli get earlier.",
    )


def tissue_at_junctions(
    junctions: JunctionMap, arrival: Callable[[NDArray[np.int32], Array], Array]
) -> Tissue:
    """Model of the muscle at the junctions from one at the nodes of its mesh.

    Args:
        junctions: Which nodes touch the junctions.
        arrival: (local nodes, their times) → times at all local nodes (ms), infinite for never;
            collective.
    """

    def tissue(times: Array) -> Array:
        return junctions.earliest(arrival(*junctions.onto_nodes(times)))

    return tissue


def _earliest(nodes: NDArray[np.integer], times: Array) -> tuple[NDArray[np.int64], Array]:
    """Each node once, with the earliest of its times."""
    unique, which = np.unique(nodes, return_inverse=True)
    earliest = np.full(len(unique), np.inf)
    np.minimum.at(earliest, which, times)
    return unique.astype(np.int64), earliest


def _same(a: Array, b: Array) -> bool:
    return bool(np.isclose(a, b, rtol=0.0, atol=_CHANGE).all())
