"""Why equilibrium was not found: one sentence that names place and part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import basix
import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from ufl.core.expr import Expr

from organtwin.mesh.domain import Domain
from organtwin.solve import options
from organtwin.solve.linear import parts
from organtwin.solve.nonlinear import Solution
from organtwin.solve.outcome import Outcome

Vector = NDArray[np.float64]
Labels = NDArray[np.int64]

#: Force of a motion relative to that of a stretch of the same size, below which it is free.
FREE = 1e-6
#: Size of the trial motion relative to the part.
TRIAL = 1e-7
#: Most parts that are looked at.
MOST_PARTS = 20


class Failing(Protocol):
    """What can be looked into."""

    name: str
    domain: Domain
    terms: tuple[Any, ...]
    W: fem.FunctionSpace
    w: fem.Function

    @property
    def displacement(self) -> Expr:
        """Displacement as an expression of ``w``."""
        ...

    def residual(self) -> Vector:
        """Owned entries of the residual, zero where the displacement is prescribed."""
        ...

    def free(self, w: PETSc.Vec) -> None:
        """Remove what supports prevent from a change of the unknown."""
        ...


@runtime_checkable
class Switching(Protocol):
    """A term whose points are in contact or not."""

    switches: int  # points of this rank that changed in the last evaluation of the residual


@dataclass(frozen=True)
class Inversion:
    """The most distorted place of a body.

    Attributes:
        volume_ratio: J there, zero or less where the element is inside out.
        place: Reference position (mm).
        region: Name.
    """

    volume_ratio: float
    place: tuple[float, float, float]
    region: str


@dataclass(frozen=True)
class Motion:
    """A rigid motion of a part that nothing resists.

    Attributes:
        part: Regions that it consists of.
        cells: Number of its cells.
        kind: Translation or rotation, with its axis.
    """

    part: tuple[str, ...]
    cells: int
    kind: str


def cause(
    problem: Failing, failure: Solution, motions: Sequence[Motion] = (), flipping: int = 0
) -> str:
    """Sentence that says why a solve failed; collective.

    Args:
        problem: In its last good state, with the load of the failed solve.
        failure: Account of the failed solve.
        motions: Rigid motions that nothing resists in the last good state.
        flipping: Points that changed contact in the last iteration of the failed solve.
    """
    if motions:
        return " ".join(_told_motion(motion) for motion in motions)
    w = problem.w.x.array
    good = w.copy()
    _take(problem, failure.trial)
    told = _told_trial(problem, failure.outcome, flipping)
    w[:] = good
    return told


def switches(problem: Failing) -> int:
    """Points of all ranks that changed contact in the last evaluation of the residual."""
    own = sum(term.switches for term in problem.terms if isinstance(term, Switching))
    return int(problem.domain.comm.allreduce(own))


def _told_trial(problem: Failing, outcome: Outcome, flipping: int) -> str:
    worst = most_distorted(problem)
    x, y, z = worst.place
    if worst.volume_ratio <= 0:
        return (
            f"An element is inverted at ({x:.2f}, {y:.2f}, {z:.2f}) mm in region "
            f"`{worst.region}` (J = {worst.volume_ratio:.2g})."
        )
    if flipping:
        return f"Contact chatters: {flipping} points still went in or out of contact at the end."
    if outcome is Outcome.LINEAR_FAILED:
        return "The tangent is singular, though every part is held: material or load has a limit."
    return _told_stall(problem, problem.residual(), worst)


class Distortion:
    """J = det F at the quadrature points of all cells.

    Args:
        problem: Whose displacement it follows.
        degree: Of the quadrature.
    """

    def __init__(self, problem: Failing, degree: int = 4) -> None:
        self._domain = problem.domain
        self._msh = problem.domain.mesh
        self._points, _ = basix.make_quadrature(self._msh.basix_cell(), degree)
        F = ufl.Identity(3) + ufl.grad(problem.displacement)
        self._J = self._expression(ufl.det(F))
        self._cells = np.arange(self._msh.topology.index_map(3).size_local, dtype=np.int32)

    def smallest(self) -> float:
        """Smallest J; collective."""
        return float(self._domain.comm.allreduce(self._values().min(initial=np.inf), op=MPI.MIN))

    def worst(self) -> Inversion:
        """Where J is smallest; collective."""
        comm, J = self._domain.comm, self._values()
        smallest = float(J.min(initial=np.inf))
        found = None
        if len(self._cells):
            cell, point = (int(i) for i in np.unravel_index(int(J.argmin()), J.shape))
            at = self._expression(ufl.SpatialCoordinate(self._msh))
            x = np.ravel(at.eval(self._msh, self._cells[[cell]])).reshape(-1, 3)[point]
            place = float(x[0]), float(x[1]), float(x[2])
            found = Inversion(smallest, place, _region(self._domain, cell))
        _, owner = comm.allreduce((smallest, comm.rank), op=MPI.MINLOC)
        worst = comm.bcast(found, root=owner)
        assert worst is not None
        return worst

    def _values(self) -> Vector:
        J = np.asarray(self._J.eval(self._msh, self._cells)).reshape(len(self._cells), -1)
        return np.where(np.isfinite(J), J, -np.inf)

    def _expression(self, expression: Expr) -> fem.Expression:
        return fem.Expression(expression, self._points, jit_options=options.jit())


def most_distorted(problem: Failing, degree: int = 4) -> Inversion:
    """Where J is smallest, over the quadrature points of all cells; collective."""
    return Distortion(problem, degree).worst()


def free_motions(problem: Failing) -> list[Motion]:
    """Rigid motions, part by part, that neither supports nor springs nor contact resist.

    A part is what hangs together through vertices. The residual's change with each of six rigid
    motions is compared with that of a stretch; combinations that cost nothing are free. Collective.
    """
    labels, count = connected_parts(problem.domain)
    probe = _Probe(problem)
    found = []
    for part in range(min(count, MOST_PARTS)):
        inside = labels == part
        motion = probe.free_motion(inside)
        if motion is not None:
            found.append(Motion(*_named(problem.domain, inside), motion))
    problem.residual()
    return found


def connected_parts(domain: Domain) -> tuple[Labels, int]:
    """Number of the part that each local cell belongs to, and the number of parts; collective."""
    msh, comm = domain.mesh, domain.comm
    cells = msh.topology.index_map(3)
    n = cells.size_local + cells.num_ghosts
    vertices = msh.topology.connectivity(3, 0)
    map_ = msh.topology.index_map(0)
    local = _components(np.repeat(np.arange(n), np.diff(vertices.offsets)), vertices.array, n)
    # Parts of different ranks are one where they meet in a vertex: its owner tells.
    counts = comm.allgather(int(local.max(initial=-1)) + 1)
    offset, total = sum(counts[: comm.rank]), sum(counts)
    label_of_vertex = np.full(map_.size_local + map_.num_ghosts, -1, dtype=np.int64)
    label_of_vertex[vertices.array] = offset + np.repeat(local, np.diff(vertices.offsets))
    ghosts = np.column_stack([map_.ghosts, label_of_vertex[map_.size_local :]])
    asked = np.concatenate(comm.allgather(ghosts[ghosts[:, 1] >= 0]))
    mine = (asked[:, 0] >= map_.local_range[0]) & (asked[:, 0] < map_.local_range[1])
    owners = label_of_vertex[asked[mine, 0] - map_.local_range[0]]
    same = np.column_stack([asked[mine, 1], owners])
    same = np.unique(same[owners >= 0], axis=0)
    pairs = np.concatenate(comm.allgather(same))
    merged = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(total, total))
    count, joined = connected_components(merged, directed=False)
    return joined[offset + local].astype(np.int64), int(count)


class _Probe:
    """Forces that answer small motions of a part."""

    def __init__(self, problem: Failing) -> None:
        self._problem = problem
        self._comm = problem.domain.comm
        self._V, _, self._places, _ = parts(problem.W)
        self._x = self._V.tabulate_dof_coordinates()
        self._owned = self._V.dofmap.index_map.size_local
        self._rest = problem.residual()
        self._w = problem.w.x.array.copy()

    def free_motion(self, cells: NDArray[np.bool_]) -> str | None:
        """The freest rigid motion of a part, if nothing resists it."""
        nodes = np.unique(self._V.dofmap.list[np.flatnonzero(cells)])
        inside = np.zeros(len(self._x), dtype=bool)
        inside[nodes] = True
        inside = self._shared(inside)
        nodes = np.flatnonzero(inside)
        x = self._present()[nodes]
        own = nodes < self._owned
        centre = self._sum(x[own]) / max(self._comm.allreduce(int(own.sum())), 1)
        reach = self._comm.allreduce(float(np.abs(x - centre).max(initial=0.0)), op=MPI.MAX)
        arm = (x - centre) / max(reach, 1e-300)
        motions = [np.tile(axis, (len(nodes), 1)) for axis in np.eye(3)]
        motions += [np.cross(axis, arm) for axis in np.eye(3)]
        size = TRIAL * reach
        stiffness = float(np.sqrt(self._sum(self._answer(nodes, arm, size)[0] ** 2)))
        answers = [np.concatenate(self._scaled(nodes, m, size, stiffness)) for m in motions]
        gram = self._comm.allreduce(np.array([[a @ b for b in answers] for a in answers]))
        values, vectors = np.linalg.eigh(gram)
        if values[0] > FREE**2:
            return None
        return _kind(vectors[:, 0], centre)

    def _scaled(self, nodes: Labels, motion: Vector, size: float, stiffness: float) -> list[Vector]:
        force, held = self._answer(nodes, motion, size)
        count = self._comm.allreduce(len(nodes))
        return [force / max(stiffness, 1e-300), held / size / np.sqrt(max(count, 1))]

    def _answer(self, nodes: Labels, motion: Vector, size: float) -> tuple[Vector, Vector]:
        """Change of the residual, and what the supports prevented of a motion."""
        problem = self._problem
        moved = fem.Function(problem.W)
        places = self._places.reshape(-1, 3)[nodes]
        moved.x.array[places.ravel()] = size * motion.ravel()
        wanted = moved.x.array.copy()
        vector = fem_petsc.create_vector(problem.W)
        n = vector.getLocalSize()
        vector.array[:] = wanted[:n]
        problem.free(vector)
        moved.x.array[:n] = vector.array
        moved.x.scatter_forward()
        problem.w.x.array[:] = self._w + moved.x.array
        force = problem.residual() - self._rest
        problem.w.x.array[:] = self._w
        return force, wanted[:n] - moved.x.array[:n]

    def _present(self) -> Vector:
        return np.asarray(self._x + self._w[self._places].reshape(-1, 3))

    def _shared(self, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Nodes that are inside on any rank."""
        marker = fem.Function(self._V)
        marker.x.array[:] = np.repeat(inside, 3)
        marker.x.petsc_vec.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        marker.x.scatter_forward()
        return np.asarray(marker.x.array[::3] > 0)

    def _sum(self, values: Vector) -> Vector:
        return np.asarray(self._comm.allreduce(values.sum(axis=0)))


def _components(cells: Labels, vertices: NDArray[np.int32], n: int) -> Labels:
    """Part of each of ``n`` local cells, from pairs of cell and vertex."""
    m = int(vertices.max(initial=-1)) + 1
    graph = coo_matrix((np.ones(len(cells)), (cells, n + vertices)), shape=(n + m, n + m))
    _, labels = connected_components(graph, directed=False)
    return np.unique(labels[:n], return_inverse=True)[1].astype(np.int64)


def _take(problem: Failing, trial: Vector | None) -> None:
    """Go to the unknown at which a solve failed."""
    if trial is None:
        return
    n = problem.W.dofmap.index_map.size_local * problem.W.dofmap.index_map_bs
    problem.w.x.array[:n] = trial[:n]
    problem.w.x.scatter_forward()


def _told_motion(motion: Motion) -> str:
    names = " and ".join(f"`{name}`" for name in motion.part)
    return (
        f"The tangent is singular: the part {names} ({motion.cells} cells) is not held, "
        f"{motion.kind} costs nothing."
    )


def _told_stall(problem: Failing, residual: Vector, worst: Inversion) -> str:
    name, place = _largest(problem, residual)
    x, y, z = place
    return (
        f"The residual stalls in the {name}, most at ({x:.2f}, {y:.2f}, {z:.2f}) mm; "
        f"no element is inverted (J ≥ {worst.volume_ratio:.2g})."
    )


def _largest(problem: Failing, residual: Vector) -> tuple[str, Vector]:
    """Field and place of the largest entry of a residual."""
    comm = problem.domain.comm
    V, Q, u, p = parts(problem.W)
    found = []
    for space, places, names in ((V, u, "xyz"), (Q, p, "")):
        if space is None:
            continue
        width = max(len(names), 1)
        own = space.dofmap.index_map.size_local
        entries = np.abs(residual[places[: width * own]].reshape(-1, width))
        entries = np.where(np.isfinite(entries), entries, np.inf)
        if entries.size:
            node, i = np.unravel_index(int(entries.argmax()), entries.shape)
            name = f"{names[i]} component of the forces" if names else "volume constraint"
            x = space.tabulate_dof_coordinates()[node]
            found.append((float(entries[node, i]), name, x))
    best = max(found, key=lambda entry: entry[0], default=(-1.0, "residual", np.zeros(3)))
    _, name, place = max(comm.allgather(best), key=lambda entry: entry[0])
    return name, place


def _kind(mode: Vector, centre: Vector) -> str:
    """Name of a combination of three translations and three rotations."""
    shift, turn = np.linalg.norm(mode[:3]), np.linalg.norm(mode[3:])
    if turn < 0.1 * shift:
        return f"moving it along {_direction(mode[:3])}"
    if shift < 0.1 * turn:
        return f"turning it about {_direction(mode[3:])} through {_direction(centre, 2)} mm"
    return f"turning it about {_direction(mode[3:])} while it moves along {_direction(mode[:3])}"


def _direction(v: Vector, digits: int | None = None) -> str:
    if digits is None:
        v = v / np.linalg.norm(v)
        v = v * (1.0 if v[np.abs(v).argmax()] > 0 else -1.0)
        digits = 2
    return "(" + ", ".join(f"{x + 0.0:.{digits}f}" for x in np.round(v, digits)) + ")"


def _named(domain: Domain, cells: NDArray[np.bool_]) -> tuple[tuple[str, ...], int]:
    """Regions and number of cells of a part; collective."""
    own = domain.mesh.topology.index_map(3).size_local
    inside = np.flatnonzero(cells[:own])
    tags = domain.cell_tags
    here = set(tags.values[np.isin(tags.indices, inside)].tolist())
    present = set().union(*domain.comm.allgather(here))
    names = tuple(sorted(name for name, tag in domain.regions.items() if tag in present))
    return names, int(domain.comm.allreduce(len(inside)))


def _region(domain: Domain, cell: int) -> str:
    tags = domain.cell_tags
    found = tags.values[tags.indices == cell]
    return next((name for name, tag in domain.regions.items() if tag in found), "unnamed")
