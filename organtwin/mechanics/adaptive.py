"""Meshes that are refined where the estimated error is, until it is small enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.recovery import ErrorEstimate, Recovery
from organtwin.mesh.domain import Domain, refine_cells
from organtwin.parallel import total

Floats = NDArray[np.float64]
Cells = NDArray[np.int32]


@dataclass(frozen=True)
class Stage:
    """One mesh on the way.

    Attributes:
        cells: Number of cells on all ranks.
        unknowns: Number of unknowns.
        estimate: Of the error.
    """

    cells: int
    unknowns: int
    estimate: ErrorEstimate


@dataclass(frozen=True)
class Adapted:
    """The last mesh and its solution.

    Attributes:
        problem: Solved.
        stages: All meshes, the last one included.
        parent: Cell of the first mesh (local index) that each own cell of the last came from.
        reached: Whether the error is as small as was asked for.
    """

    problem: LinearElasticity
    stages: tuple[Stage, ...]
    parent: Cells
    reached: bool


def adapt(
    domain: Domain,
    make: Callable[[Domain, Cells], LinearElasticity],
    *,
    target: float = 0.05,
    share: float = 0.7,
    unknowns: int = 1_000_000,
    jump: float | None = None,
) -> Adapted:
    """Solve, estimate the error, refine the cells that make most of it, and again.

    Args:
        domain: First mesh.
        make: Problem on a mesh. It gets the mesh and, of each own cell, the cell of the first mesh
            that it lies in, by which moduli that are constant in each cell are carried along.
        target: Relative error in the energy norm to reach (`ErrorEstimate.relative`).
        share: Part of the squared error that the refined cells have (Dörfler's marking).
        unknowns: Most unknowns; a mesh is not refined when the next one is likely to have more.
        jump: Of the `Recovery`.

    Raises:
        InputError: target or share is not between 0 and 1. Collective.
    """
    for name, value in (("target", target), ("share", share)):
        if not 0 < value < 1:
            raise InputError("adapt", f"{name} = {value:g}.", "It must lie between 0 and 1.")
    count = domain.mesh.topology.index_map(3).size_local
    parent, stages = np.arange(count, dtype=np.int32), list[Stage]()
    while True:
        problem = make(domain, parent)
        problem.solve()
        estimate = Recovery(problem, jump=jump).error()
        size = problem.V.dofmap.index_map.size_global * 3
        cells = domain.mesh.topology.index_map(3).size_global
        stages.append(Stage(cells, size, estimate))
        reached = estimate.relative <= target
        marked = marked_cells(domain.comm, estimate.of_cell, share)
        # Each marked cell becomes eight, and some beside it two.
        part = total(domain.comm, float(len(marked))) / cells
        if reached or size * (1 + 8 * part) > unknowns:
            return Adapted(problem, tuple(stages), parent, reached)
        problem.release()
        step = refine_cells(domain, marked)
        domain, parent = step.fine, parent[step.parent]


def marked_cells(comm: MPI.Comm, squares: Floats, share: float) -> Cells:
    """Own cells, of all those with the largest squared errors that make a share of the sum.

    Bisection for the threshold instead of a sort over all ranks; collective.
    """
    goal = share * total(comm, float(squares.sum()))
    low, high = 0.0, float(comm.allreduce(float(squares.max(initial=0.0)), op=MPI.MAX))
    for _ in range(60):
        middle = (low + high) / 2
        if total(comm, float(squares[squares >= middle].sum())) >= goal:
            low = middle
        else:
            high = middle
    return np.flatnonzero((squares >= low) & (squares > 0)).astype(np.int32)
