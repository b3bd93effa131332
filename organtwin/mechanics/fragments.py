"""Pieces of a mesh that hang together, and those that nothing holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dolfinx import fem, la
from numpy.typing import NDArray
from petsc4py import PETSc
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from organtwin.errors import InputError
from organtwin.mesh.domain import Domain

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Energy of a rigid motion over that of its unconnected nodes below which nothing holds it.
FREE = 1e-13
#: Loose pieces that a message names.
NAMED = 3


@dataclass(frozen=True)
class Piece:
    """Cells that share nodes, directly or through others.

    Attributes:
        cells: Their number.
        volume: mm³.
        centre: Centre of the nodes (mm).
        regions: Names of its regions.
    """

    cells: int
    volume: float
    centre: tuple[float, float, float]
    regions: tuple[str, ...]

    def __str__(self) -> str:
        place = ", ".join(f"{x:.1f}" for x in self.centre)
        names = ", ".join(f"`{name}`" for name in self.regions)
        return f"{self.cells} cells of {names} ({self.volume:.3g} mm³) around ({place}) mm"


class Pieces:
    """The pieces of a mesh, the largest first; the same on any number of ranks.

    Args:
        domain: Mesh with names.
        V: Displacements, whose nodes are told apart.

    Attributes:
        of_node: Piece of each owned node of ``V``.
        volumes: mm³, (pieces,).
        nodes: Number of nodes, (pieces,).
        centres: Of the nodes (mm), (pieces, 3).
    """

    def __init__(self, domain: Domain, V: fem.FunctionSpace) -> None:
        self.domain, self.V = domain, V
        own, cells = V.dofmap.index_map.size_local, domain.mesh.topology.index_map(3).size_local
        label, count = _labels(V)
        of_cell = label[V.dofmap.list[:cells, 0]]
        here = np.bincount(of_cell, _volumes(domain), minlength=count)
        volumes = domain.comm.allreduce(here)
        order = np.argsort(-volumes, kind="stable")
        rank = np.argsort(order)
        self.volumes, self.of_node, self._of_cell = volumes[order], rank[label[:own]], rank[of_cell]
        x, at = V.tabulate_dof_coordinates()[:own], self.of_node
        self.nodes = domain.comm.allreduce(np.bincount(at, minlength=count))
        sums = np.array([np.bincount(at, x[:, i], minlength=count) for i in range(3)])
        self.centres = domain.comm.allreduce(sums).T / self.nodes[:, None]

    def __len__(self) -> int:
        """Their number."""
        return len(self.volumes)

    def describe(self, i: int) -> Piece:
        """Number ``i``; collective."""
        comm, cell_tags = self.domain.comm, self.domain.cell_tags
        mine = np.flatnonzero(self._of_cell == i)
        tags = set(cell_tags.values[np.isin(cell_tags.indices, mine)].tolist())
        there = set().union(*comm.allgather(tags))
        names = tuple(name for name, tag in self.domain.regions.items() if tag in there)
        x, y, z = (float(c) for c in self.centres[i])
        return Piece(comm.allreduce(len(mine)), float(self.volumes[i]), (x, y, z), names)


#: What to do about pieces that nothing holds.
REMEDY = (
    "Support each piece, tie it to its neighbour, give it springs, or leave it out of the mesh."
)


def require_held(A: PETSc.Mat, pieces: Pieces, place: str, remedy: str = REMEDY) -> None:
    """Refuse a matrix in which some piece of the mesh could move as a rigid body.

    Rigid motions R of each piece give the matrix RᵀAR, whose null space is what nothing holds:
    neither supports, whose rows of ``A`` are those of the identity, nor springs, nor ties.

    Args:
        A: Elastic matrix with its supports.
        pieces: Of the mesh.
        place: Where the message says it is.
        remedy: What it advises.

    Raises:
        InputError: which piece, how large, where, and how it could move. Collective.
    """
    problem = loose_pieces(A, pieces)
    if problem:
        raise InputError(place, problem, remedy)


def loose_pieces(A: PETSc.Mat, pieces: Pieces) -> str:
    """Which pieces can move as a rigid body and how, in words; empty if none can. Collective."""
    loose = _free_motions(A, pieces)
    if not loose:
        return ""
    lines = [f"{pieces.describe(i)} can {motion}" for i, motion in loose[:NAMED]]
    more = f"; so can {len(loose) - NAMED} others" if len(loose) > NAMED else ""
    start = f"{len(loose)} of {len(pieces)} pieces of the mesh can move as a rigid body: "
    return start + "; ".join(lines) + more + "."


def _free_motions(A: PETSc.Mat, pieces: Pieces) -> list[tuple[int, str]]:
    """Pieces that can move, and how; the same on all ranks."""
    n = len(pieces)
    rows, columns, values, scale = _rigid_energy(A, pieces)
    unit = 1 / np.sqrt(np.maximum(scale, np.finfo(float).tiny))
    values = values * unit[rows] * unit[columns]
    strong = np.abs(values) > FREE
    links = coo_matrix((strong[strong], (rows[strong] // 6, columns[strong] // 6)), shape=(n, n))
    count, group = connected_components(links, directed=False)
    G = csr_matrix((values, (rows, columns)), shape=(6 * n, 6 * n))
    found: list[tuple[int, str]] = []
    for g in range(count):
        members = np.flatnonzero(group == g)
        own = (6 * members[:, None] + np.arange(6)).ravel()
        energies, motions = np.linalg.eigh(G[own][:, own].toarray())
        free = motions[:, energies < FREE].reshape(len(members), 6, -1)
        if free.shape[2]:
            moved = members[np.linalg.norm(free, axis=(1, 2)) > 1e-3]
            also = len(moved) - 1
            tied = f", with {also} tied to it" if also else ""
            found.append((int(moved[0]), _ways(free) + tied))
    return sorted(found)


def _ways(free: Floats) -> str:
    """Free motions (pieces, six, motions) in words."""
    turns = int(np.linalg.matrix_rank(free[:, 3:].reshape(-1, free.shape[2]), tol=1e-3))
    shifts = free.shape[2] - turns
    words = [f"shift in {shifts} direction{'s'[: shifts - 1]}"] if shifts else []
    if turns:
        words.append(f"turn about {turns} ax{'es' if turns > 1 else 'is'}")
    return " and ".join(words)


def _rigid_energy(A: PETSc.Mat, pieces: Pieces) -> tuple[Integers, Integers, Floats, Floats]:
    """Entries of RᵀAR, and what its diagonal would be if nodes were unconnected.

    Columns of R are three shifts and three turns of each piece about its centre, the turns over
    its radius of gyration. On all ranks.
    """
    comm, n = A.comm.tompi4py(), len(pieces)
    motions = _motions(pieces)
    diagonal = np.abs(A.getDiagonal().array).reshape(-1, 3, 1)
    scale = np.zeros((n, 6))
    np.add.at(scale, pieces.of_node, (diagonal * motions**2).sum(axis=1))
    (start, end), columns = A.getOwnershipRange(), 6 * pieces.of_node[:, None] + np.arange(6)
    R = PETSc.Mat().createAIJ(((end - start, None), (None, 6 * n)), nnz=6, comm=A.comm)
    indptr = np.arange(0, 6 * (end - start) + 1, 6)
    R.setValuesCSR(
        indptr.astype(PETSc.IntType),
        np.repeat(columns, 3, axis=0).astype(PETSc.IntType).ravel(),
        motions.ravel(),
    )
    R.assemble()
    product = A.ptap(R)
    first, _ = product.getOwnershipRange()
    starts, places, values = product.getValuesCSR()
    rows = first + np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    parts = comm.allgather((rows, places, values))
    product.destroy()
    R.destroy()
    rows, places, values = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return rows.astype(np.int64), places.astype(np.int64), values, comm.allreduce(scale).ravel()


def _motions(pieces: Pieces) -> Floats:
    """Shifts and turns of each owned node with its piece, (nodes, 3, 6)."""
    comm, at = pieces.domain.comm, pieces.of_node
    x = pieces.V.tabulate_dof_coordinates()[: len(at)]
    r = x - pieces.centres[at]
    square = np.bincount(at, (r**2).sum(axis=1), minlength=len(pieces))
    r /= np.sqrt(comm.allreduce(square) / pieces.nodes)[at, None]
    motions = np.zeros((len(x), 3, 6))
    for i in range(3):
        motions[:, i, i] = 1.0
        j, k = (i + 1) % 3, (i + 2) % 3
        motions[:, j, 3 + i], motions[:, k, 3 + i] = -r[:, k], r[:, j]
    return motions


def _labels(V: fem.FunctionSpace) -> tuple[Integers, int]:
    """Number of the piece of each local node, ghosts included, and how many there are."""
    comm, nodes = V.mesh.comm, V.dofmap.index_map
    count = nodes.size_local + nodes.num_ghosts
    cells = V.dofmap.list
    links = coo_matrix(
        (np.ones(cells.size), (np.repeat(cells[:, 0], cells.shape[1]), cells.ravel())),
        shape=(count, count),
    )
    here, local = connected_components(links, directed=False)
    offset = int(sum(comm.allgather(here)[: comm.rank]))
    label = la.vector(nodes, 1, dtype=np.int64)
    label.array[:] = local + offset
    label.scatter_forward()
    mine, theirs = local[nodes.size_local :] + offset, label.array[nodes.size_local :]
    pairs = np.concatenate(comm.allgather(np.unique(np.column_stack([mine, theirs]), axis=0)))
    size = int(comm.allreduce(here))
    merged = coo_matrix((np.ones(len(pairs)), tuple(pairs.T)), shape=(size, size))
    number, piece = connected_components(merged, directed=False)
    return piece[local + offset].astype(np.int64), int(number)


def _volumes(domain: Domain) -> Floats:
    """Volumes (mm³) of this rank's own cells with straight edges."""
    msh = domain.mesh
    x = msh.geometry.x[msh.geometry.dofmaps[0][: msh.topology.index_map(3).size_local, :4]]
    edges = x[:, 1:] - x[:, :1]
    return np.asarray(np.abs(np.linalg.det(edges)) / 6)
