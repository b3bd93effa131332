"""Arrival times of a wave from its velocities alone: the anisotropic eikonal equation."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.electrophysiology.conductivity import cells_touching
from organtwin.electrophysiology.reaction_diffusion import NOT_ACTIVATED
from organtwin.electrophysiology.stimulus import Stimulus
from organtwin.errors import InputError, suggestion
from organtwin.mesh.domain import Domain
from organtwin.parallel import agree, on_root
from organtwin.solve.native import STRICT, compiled

Array = NDArray[np.float64]
Nodes = NDArray[np.int32]
_Local = NDArray[np.int64]

#: Change of a time that is not passed on (ms).
TOLERANCE = 1e-13
#: Edges that waves run along before ranks exchange times: late times that another rank will make
#: earlier are not passed on in vain.
WINDOW = 4.0
#: Relative difference of slowness tensors within which tissue counts as the same.
_SAME = 0.2
#: Relative error of shares and coordinates that ranks may differ by.
_ROUNDING = 1e-9
_DOUBLES = np.ctypeslib.ndpointer(dtype=np.float64, flags="C_CONTIGUOUS")
_SIZES = np.ctypeslib.ndpointer(dtype=np.uintp, flags="C_CONTIGUOUS")
_INTEGERS = np.ctypeslib.ndpointer(dtype=np.int32, flags="C_CONTIGUOUS")


@dataclass(frozen=True)
class Velocity:
    """Conduction velocity along fibre, sheet and normal, and in the endocardial layer (mm/ms).

    Attributes:
        fibre, sheet, normal: Of the working myocardium.
        endocardial_layer: Of the layer of cells on the endocardium, in all directions; it stands
            for the Purkinje network.

    Raises:
        InputError: a velocity is not positive.
    """

    fibre: float
    sheet: float
    normal: float
    endocardial_layer: float = 2.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 < value < np.inf:
                raise InputError(
                    f"velocity `{field.name}`", f"{value:g} mm/ms.", "It must be > 0 and finite."
                )


@dataclass(frozen=True)
class Slowness:
    """Time that a wave takes along a vector e within a cell: √(e·M e), M = D⁻¹.

    Attributes:
        tensor: M (ms²/mm²) of this rank's own cells, (n_cells, 3, 3).
        conducting: Which of them a wave can enter, (n_cells,).
    """

    tensor: Array
    conducting: NDArray[np.bool_]

    def slowed(self, factor: Array) -> Slowness:
        """With velocities multiplied by a factor in each cell, (n_cells,) or with ghosts too.

        Nothing conducts where it is 0.
        """
        own = factor[: len(self.tensor)]
        scale = np.where(own > 0.0, own, 1.0) ** -2.0
        return Slowness(scale[:, None, None] * self.tensor, self.conducting & (own > 0.0))


def uniform_slowness(msh: mesh.Mesh, D: Array) -> Slowness:
    """The same D (mm²/ms²), (3, 3), in all cells; c² 1 for isotropic tissue and for surfaces.

    Raises:
        InputError: D is not symmetric and positive definite.
    """
    n = msh.topology.index_map(msh.topology.dim).size_local
    if not np.allclose(D, np.transpose(D)) or np.linalg.eigvalsh(D).min() <= 0.0:
        raise InputError(
            "uniform_slowness", f"D = {np.asarray(D).tolist()}.", "It must be positive definite."
        )
    return Slowness(np.tile(np.linalg.inv(D), (n, 1, 1)), np.ones(n, dtype=bool))


def slowness(
    domain: Domain,
    velocity: Velocity,
    f0: fem.Function,
    s0: fem.Function,
    n0: fem.Function,
    *,
    endocardium: tuple[str, ...] = (),
    factors: Mapping[str, float] | None = None,
) -> Slowness:
    """Slowness of fibrous tissue; collective.

        D = k² (c_f² f⊗f + c_s² s⊗s + c_n² n⊗n),   k² c_e² 1 in cells that touch the endocardium

    Args:
        domain: Mesh with its regions.
        velocity: Velocities (mm/ms).
        f0: Fibre direction in the cells (piecewise constant), of unit length.
        s0: Sheet direction.
        n0: Normal direction.
        endocardium: Surfaces that carry the fast layer; none if empty.
        factors: k of regions, by name: 1 if omitted, 0 where nothing conducts.

    Raises:
        InputError: no region of that name, a negative factor, or directions that vanish.
    """
    n = domain.mesh.topology.index_map(domain.mesh.topology.dim).size_local
    factor = _factors(domain, factors or {}, n)
    D = np.zeros((n, 3, 3))
    for speed, function in ((velocity.fibre, f0), (velocity.sheet, s0), (velocity.normal, n0)):
        d = _directions(function, n)
        D += speed**2 * d[:, :, None] * d[:, None, :]
    if endocardium:
        layer = cells_touching(domain, endocardium)
        D[layer[layer < n]] = velocity.endocardial_layer**2 * np.eye(3)
    _check_directions(domain, D, velocity)
    conducting = factor > 0.0
    scale = np.where(conducting, factor, 1.0) ** -2.0
    return Slowness(scale[:, None, None] * np.linalg.inv(D), conducting)


def stimulated(V: fem.FunctionSpace, stimuli: Sequence[Stimulus]) -> tuple[Nodes, Array]:
    """Local nodes where stimuli start waves and when their first pulses begin (ms); collective.

    A node is a source if half of its volume at least lies in the place of a stimulus that
    depolarises. A place that holds no such node starts a wave at the node with the largest share.
    """
    earliest = np.full(_count(V), np.inf)
    for stimulus in stimuli:
        if stimulus.strength > 0.0:
            inside = _sources(V, stimulus.place.share(V))
            earliest[inside] = np.minimum(earliest[inside], stimulus.onsets[0])
    nodes = np.flatnonzero(np.isfinite(earliest)).astype(np.int32)
    return nodes, earliest[nodes]


def _sources(V: fem.FunctionSpace, share: Array) -> NDArray[np.bool_]:
    """Local nodes inside a place; ties of the largest share go to the smallest coordinates."""
    comm = V.mesh.comm
    most = comm.allreduce(float(share.max(initial=0.0)), op=MPI.MAX)
    # Ranks may round a share, or a coordinate, in different ways.
    inside = share >= min(most, 0.5) * (1.0 - _ROUNDING)
    if most >= 0.5 * (1.0 - _ROUNDING):
        return np.asarray(inside)
    for x in V.tabulate_dof_coordinates().T:
        least = comm.allreduce(float(x[inside].min(initial=np.inf)), op=MPI.MIN)
        inside &= x <= least + _ROUNDING * (1.0 + abs(least))
    return np.asarray(inside)


class Eikonal:
    """Arrival times T with √(∇T·D ∇T) = 1 on linear tetrahedra, or triangles in space.

    At every node x that is no source T is the earliest that the faces opposite to it allow,

        T(x) = min over cells and points y of the opposite face of  T(y) + √((x−y)·M (x−y))

    with T linear on the face. The minimum is exact: within the face if it lies there, else on its
    edges or at its corners, so that obtuse cells need no splitting and T never comes before what
    it comes from. These equations have one solution, in whatever order they are solved. Nodes that
    have changed stand in a list, as in the fast iterative method, but the earliest goes first and
    looks only at the cells it belongs to; it may come back.

    The error is of first order in the length h of the cells, and of order h log h if a wave starts
    at a point, where T is not smooth. `around` gives exact times in a ball around such points.
    Measured in a cube of 20 mm with velocities of 0.6, 0.3 and 0.2 mm/ms, mean error over the nodes
    (T goes up to 75 ms):

        h (mm)                  2.5      1.25     0.625    0.3125   orders
        from the node alone     2.25     1.52     0.97     0.59     0.57  0.65  0.70
        ball of 4 mm            1.88     0.82     0.39     0.18     1.19  1.08  1.10

    Times are never early in uniform tissue, and exact for plane waves.

    In parallel every rank solves its own cells and the ranks exchange the times of the nodes they
    share until none gets earlier. Results do not depend on the number of ranks but for rounding.

    Args:
        V: Linear Lagrange space on tetrahedra or triangles.
        slowness: Of its cells.

    Attributes:
        passes: How often nodes of this rank have passed their time on in the last solve.
        rounds: Exchanges between ranks in the last solve.

    Raises:
        InputError: the space is not linear, or the tensors do not belong to its mesh.

    Source:
        Fu, Kirby & Whitaker (2013), SIAM J. Sci. Comput. 35:C473–C494 (active list, tetrahedra);
        Bornemann & Rasch (2006), Comput. Vis. Sci. 9:57–69 (the discrete equations).
    """

    def __init__(self, V: fem.FunctionSpace, slowness: Slowness) -> None:
        msh = V.mesh
        _check_space(V, slowness)
        self._V, self._x, self._comm = V, V.tabulate_dof_coordinates(), msh.comm
        conducting = slowness.conducting
        self._nodes = V.dofmap.list[: len(conducting)][conducting]
        self._tensors = np.ascontiguousarray(slowness.tensor[conducting])
        width = self._nodes.shape[1]
        content = f"#define WIDTH {width}\n{_source()}"
        built = on_root(msh.comm, lambda: str(compiled(content, flags=STRICT)))
        self._native = _functions(built)
        self._cells = _cells(self._nodes)
        n = len(self._x)
        self._native.measure(self._x, self._tensors, self._cells.ctypes.data, len(self._cells))
        self._offsets = np.zeros(n + 1, dtype=np.int32)
        self._corners = np.empty(width * len(self._cells), dtype=np.int32)
        self._native.around(
            self._cells.ctypes.data, len(self._cells), self._offsets, n, self._corners
        )
        self._heap = np.empty(max(2 * n, 2))
        self._place = np.full(n, -1, dtype=np.int32)
        self._shared = _SharedNodes(V)
        self._alive = self._conducting()
        self._window = self._reach()
        self.passes = self.rounds = 0

    def solve(self, nodes: Nodes, times: Array) -> fem.Function:
        """Arrival times (ms) of waves that start at nodes; `NOT_ACTIVATED` where none comes.

        Args:
            nodes: Local nodes, owned or ghosts, (k,); each node by at least one rank.
            times: When they start (ms), (k,), ≥ 0; infinite for never.

        Raises:
            InputError: no wave starts in conducting tissue, or times are negative or NaN.
                Collective.
        """
        T = fem.Function(self._V, name="activation_time")
        T.x.array[:] = NOT_ACTIVATED
        self.update(T, nodes, times)
        if not self._comm.allreduce(bool((T.x.array >= 0.0).any()), op=MPI.LOR):
            raise InputError(
                "eikonal",
                "no wave starts in conducting tissue.",
                "Give a source on the mesh, outside of regions with a factor of 0.",
            )
        return T

    def update(self, T: fem.Function, nodes: Nodes, times: Array) -> None:
        """Let further waves start in a solution, which becomes earlier in place; collective.

        Args:
            T: What `solve` gave.
            nodes: Local nodes, (k,).
            times: When waves start there (ms), (k,), ≥ 0; infinite for never.

        Raises:
            InputError: times are negative or NaN.
        """
        values = T.x.array
        earliest = np.where(values == NOT_ACTIVATED, np.inf, values)
        earliest = self._spread(earliest, nodes, times)
        values[:] = np.where(np.isfinite(earliest), earliest, NOT_ACTIVATED)

    def arrival(self, nodes: Nodes, times: Array) -> Array:
        """As `solve`, at all local nodes, but infinite where no wave comes, also if none starts."""
        return self._spread(np.full(len(self._x), np.inf), nodes, times)

    def around(self, points: Array, times: Array, radius: float) -> tuple[Nodes, Array]:
        """Nodes around points where waves start, and when they get there (ms); collective.

            T = t₀ + √(d·M d)

        with the mean of M in the cells around the node that is nearest to the point. A ball
        reaches as far as cells whose M is within 20 % of it: not across cavities, scars or
        endocardial layers, nor where fibres turn much. With a radius that stays the same when
        the mesh is refined, errors go down in proportion to the length of the cells. Meant for
        few points: each is looked for among all nodes.

        Args:
            points: Where waves start (mm), (k, 3), the same on all ranks.
            times: When (ms), (k,), the same on all ranks.
            radius: Of the balls (mm); the nearest node at least belongs to each.

        Raises:
            InputError: a point lies farther from conducting tissue than the longest edge.
        """
        earliest = np.full(len(self._x), np.inf)
        for point, start in zip(np.atleast_2d(points), np.atleast_1d(times), strict=True):
            d = self._x - point
            ball, M = self._ball(np.linalg.norm(d, axis=1), radius, point)
            exact = start + np.sqrt(np.einsum("ni,ij,nj->n", d[ball], M, d[ball]))
            earliest[ball] = np.minimum(earliest[ball], exact)
        nodes = np.flatnonzero(np.isfinite(earliest)).astype(np.int32)
        return nodes, earliest[nodes]

    def _spread(self, T: Array, nodes: Nodes, times: Array) -> Array:
        nodes, times = np.asarray(nodes, dtype=np.int32), np.asarray(times, dtype=np.float64)
        self._check_sources(nodes, times)
        before = T.copy()
        live = self._alive[nodes]
        np.minimum.at(T, nodes[live], times[live])
        self.passes = self.rounds = 0
        waiting = np.zeros(1, dtype=np.uintp)
        while True:
            self._shared.minimum(T)
            with np.errstate(invalid="ignore"):
                changed = np.flatnonzero(before - T > TOLERANCE).astype(np.int32)
            first = T[changed].min(initial=self._heap[0] if waiting[0] else np.inf)
            first = self._comm.allreduce(first, op=MPI.MIN)
            if first == np.inf:
                return T
            self.passes += self._native.spread(
                self._cells.ctypes.data, self._offsets, self._corners, T, changed, len(changed),
                TOLERANCE, first + self._window, self._heap, self._place, waiting,
            )  # fmt: skip
            self.rounds += 1
            before[:] = T

    def _conducting(self) -> NDArray[np.bool_]:
        """Local nodes with a cell, here or on another rank, that conducts."""
        dead = np.where(np.diff(self._offsets) > 0, 0.0, 1.0)
        self._shared.minimum(dead)
        return np.asarray(dead == 0.0)

    def _reach(self) -> float:
        """How far waves run before ranks exchange times (ms): on one, for ever."""
        if self._comm.size == 1:
            return np.inf
        squares = self._cells["square"]
        found = (float(np.sqrt(squares).sum()), squares.size)
        summed, count = (self._comm.allreduce(part, op=MPI.SUM) for part in found)
        return WINDOW * summed / max(count, 1)

    def _ball(self, distance: Array, radius: float, point: Array) -> tuple[Nodes, Array]:
        """Local nodes that a ball holds together, and M at its middle."""
        nearest = self._nearest(distance, point)
        cells, M = self._nodes, self._tensors
        touching = nearest[cells].any(axis=1)
        summed = np.append(M[touching].sum(axis=0).ravel(), touching.sum())
        self._comm.Allreduce(MPI.IN_PLACE, summed)
        mean = (summed[:9] / summed[9]).reshape(3, 3)
        inside = (distance <= radius) & self._alive | nearest
        in_ball = np.flatnonzero(inside[cells].all(axis=1))
        difference = np.linalg.norm(M[in_ball] - mean, axis=(1, 2))
        same = cells[in_ball[difference <= _SAME * np.linalg.norm(mean)]]
        return self._connected(nearest, same), mean

    def _nearest(self, distance: Array, point: Array) -> NDArray[np.bool_]:
        """The conducting local nodes that are nearest to a point."""
        least = self._comm.allreduce(distance[self._alive].min(initial=np.inf), op=MPI.MIN)
        topology = self._V.mesh.topology
        own = np.arange(topology.index_map(topology.dim).size_local, dtype=np.int32)
        longest = float(self._V.mesh.h(topology.dim, own).max(initial=0.0))
        if not least <= self._comm.allreduce(longest, op=MPI.MAX):
            raise InputError(
                "eikonal",
                f"the point {np.round(point, 3).tolist()} lies {least:.3g} mm from tissue that "
                "conducts.",
                "Move it onto the tissue.",
            )
        return np.asarray((distance <= least * (1 + 1e-9) + 1e-9) & self._alive)

    def _connected(self, start: NDArray[np.bool_], cells: Nodes) -> Nodes:
        """Local nodes that can be reached from ``start`` through cells of all ranks."""
        outside = np.where(start, 0.0, 1.0)
        while True:
            before = outside.copy()
            while True:
                corners = outside[cells]
                reached = cells[corners.min(axis=1, initial=1.0) < corners.max(axis=1, initial=0.0)]
                if not len(reached):
                    break
                outside[reached] = 0.0
            self._shared.minimum(outside)
            if not self._comm.allreduce(bool((outside != before).any()), op=MPI.LOR):
                return np.flatnonzero(outside == 0.0).astype(np.int32)

    def _check_sources(self, nodes: Nodes, times: Array) -> None:
        error = None
        if nodes.shape != times.shape or not (times >= 0.0).all():
            error = InputError(
                "eikonal",
                f"{nodes.size} nodes with {times.size} times from {times.min(initial=0.0):g} ms.",
                "Give each node a time ≥ 0.",
            )
        elif len(nodes) and not 0 <= nodes.min() <= nodes.max() < len(self._x):
            error = InputError(
                "eikonal",
                f"source nodes {nodes.min()} to {nodes.max()}, of {len(self._x)}.",
                "Give local nodes of the space.",
            )
        agree(self._comm, error)


class _SharedNodes:
    """Nodes that ranks have in common: owners learn the ghosts' values, and ghosts the owners'."""

    def __init__(self, V: fem.FunctionSpace) -> None:
        index_map = V.dofmap.index_map
        self._comm, self._owned = V.mesh.comm, index_map.size_local
        first = index_map.local_range[0]
        ghosts, owners = index_map.ghosts, index_map.owners
        #: Ghosts (as local nodes) by owner.
        self._ghosts = {
            int(rank): self._owned + np.flatnonzero(owners == rank) for rank in np.unique(owners)
        }
        wanted: list[Any] = [None] * self._comm.size
        for rank, local in self._ghosts.items():
            wanted[rank] = ghosts[local - self._owned]
        told = self._comm.alltoall(wanted)
        #: Owned nodes by the rank that has them as ghosts.
        self._copies = {
            rank: np.asarray(nodes - first) for rank, nodes in enumerate(told) if nodes is not None
        }

    def minimum(self, values: Array) -> None:
        """Give each node the least of its values on all ranks, in place; collective."""
        for nodes, theirs in self._exchange(values, self._ghosts, self._copies):
            values[nodes] = np.minimum(values[nodes], theirs)
        for nodes, theirs in self._exchange(values, self._copies, self._ghosts):
            values[nodes] = theirs

    def _exchange(
        self, values: Array, there: Mapping[int, _Local], here: Mapping[int, _Local]
    ) -> list[tuple[_Local, Array]]:
        """Send values to ranks; nodes and values that come from ranks."""
        sent = [values[nodes] for nodes in there.values()]
        received = [np.empty(len(nodes)) for nodes in here.values()]
        requests = [self._comm.Irecv(room, rank) for rank, room in zip(here, received, strict=True)]
        requests += [self._comm.Isend(part, rank) for rank, part in zip(there, sent, strict=True)]
        MPI.Request.Waitall(requests)
        return list(zip(here.values(), received, strict=True))


def _count(V: fem.FunctionSpace) -> int:
    return int(V.dofmap.index_map.size_local + V.dofmap.index_map.num_ghosts)


def _factors(domain: Domain, factors: Mapping[str, float], n: int) -> Array:
    result = np.ones(n)
    for name, value in factors.items():
        if name not in domain.regions:
            raise InputError("velocity", f"no region `{name}`.", suggestion(name, domain.regions))
        if not 0.0 <= value < np.inf:
            raise InputError(
                f"velocity in region `{name}`",
                f"factor {value:g}.",
                "It must be > 0, or 0 where nothing conducts.",
            )
        cells = domain.cells(name)
        result[cells[cells < n]] = value
    return result


def _directions(function: fem.Function, n: int) -> Array:
    V = function.function_space
    if V.element.basix_element.degree != 0 or V.dofmap.bs != 3:
        raise InputError(
            "velocity",
            f"`{function.name}` is not a vector for each cell.",
            "Interpolate it into `cellwise_vectors`.",
        )
    return np.asarray(function.x.array.reshape(-1, 3)[V.dofmap.list[:n, 0]])


def _check_directions(domain: Domain, D: Array, velocity: Velocity) -> None:
    # Orthonormal directions give the product of the squared velocities.
    slowest = min(velocity.fibre, velocity.sheet, velocity.normal, velocity.endocardial_layer)
    bad = ~(np.linalg.det(D) > 0.01 * slowest**6)
    count = domain.comm.allreduce(int(bad.sum()), op=MPI.SUM)
    if count:
        raise InputError(
            "velocity",
            f"fibre, sheet and normal span no space in {count} cells.",
            "Give three directions of unit length at right angles.",
        )


def _check_space(V: fem.FunctionSpace, slowness: Slowness) -> None:
    msh = V.mesh
    kinds = (mesh.CellType.triangle, mesh.CellType.tetrahedron)
    if (
        V.element.basix_element.degree != 1
        or V.dofmap.bs != 1
        or msh.topology.cell_type not in kinds
    ):
        raise InputError(
            "eikonal",
            f"elements of degree {V.element.basix_element.degree} on "
            f"{msh.topology.cell_type.name}s.",
            "Use scalar linear ones on tetrahedra or triangles.",
        )
    n = msh.topology.index_map(msh.topology.dim).size_local
    error = None
    if slowness.tensor.shape != (n, 3, 3) or slowness.conducting.shape != (n,):
        error = InputError(
            "eikonal",
            f"slowness of {len(slowness.tensor)} cells on a mesh with {n}.",
            "Give it for each of this rank's own cells.",
        )
    agree(msh.comm, error)


def _cells(nodes: Nodes) -> NDArray[Any]:
    """Cells as eikonal.c has them, tetrahedra within a cache line each."""
    count, width = nodes.shape
    edges = width * (width - 1) // 2
    kind = np.dtype([("square", "f8", edges), ("node", "i4", width + width % 2)])
    room = np.empty(count * kind.itemsize + 64, dtype=np.uint8)
    start = -room.ctypes.data % 64
    cells = room[start : start + count * kind.itemsize].view(kind)
    cells["node"][:, :width] = nodes
    return cells


def _source() -> str:
    return (files("organtwin.electrophysiology") / "eikonal.c").read_text("utf-8")


@cache
def _functions(library: str) -> Any:
    code = ctypes.CDLL(library)
    size, number, address = ctypes.c_size_t, ctypes.c_double, ctypes.c_void_p
    code.measure.argtypes = [_DOUBLES, _DOUBLES, address, size]
    code.measure.restype = None
    code.around.argtypes = [address, size, _INTEGERS, size, _INTEGERS]
    code.around.restype = None
    code.spread.argtypes = [
        address, _INTEGERS, _INTEGERS, _DOUBLES, _INTEGERS, size, number, number, _DOUBLES,
        _INTEGERS, _SIZES,
    ]  # fmt: skip
    code.spread.restype = size
    return code
