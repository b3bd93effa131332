"""Conduction velocity in every cell, from activation times."""

from __future__ import annotations

from dataclasses import dataclass

import basix
import numpy as np
from dolfinx import fem, la
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.electrophysiology.reaction_diffusion import NOT_ACTIVATED
from organtwin.errors import InputError
from organtwin.parallel import quantiles

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Speeds:
    """Quantiles of speeds over cells (mm/ms), NaN over none.

    Attributes:
        cells: Number of cells.
        median: Half of the cells are slower.
        q05, q25, q75, q95: 5, 25, 75 and 95 % of the cells are slower.
    """

    cells: int
    median: float
    q05: float
    q25: float
    q75: float
    q95: float


@dataclass(frozen=True)
class ConductionVelocity:
    """Velocity of a wave.

    Attributes:
        c: Velocity of each cell (mm/ms), normal to the front; NaN where there is none.
        everywhere: Speed in all cells that have one.
        fibre: Where the wave runs along the fibres; None without fibres.
        cross: Where it runs across them; None without fibres.
    """

    c: fem.Function
    everywhere: Speeds
    fibre: Speeds | None = None
    cross: Speeds | None = None


def conduction_velocity(
    T: fem.Function,
    f0: fem.Function | None = None,
    *,
    fastest: float = 10.0,
    coherence: float = 0.8,
    cone: float = 15.0,
) -> ConductionVelocity:
    """Velocity c = ∇T / |∇T|² from the gradient at the midpoint of each cell; collective.

    Left out are cells with a node that was not activated, cells that a stimulus activates at once
    (|∇T| < 1/``fastest``), and cells where waves begin or collide: around one of their vertices
    the gradients of the cells K point in different directions,

        |Σ_K |K| ∇T_K| < coherence · Σ_K |K| |∇T_K|

    Args:
        T: Activation time (ms), Lagrange of any degree, `NOT_ACTIVATED` or NaN for never.
        f0: Fibre direction of each cell, DG0; its sign does not matter.
        fastest: Speed above which cells count as stimulated (mm/ms).
        coherence: 0 keeps all cells, 1 those with plane waves around them.
        cone: Largest angle to the fibre, or to the plane across it, of a wave that runs along it,
            or across it (degrees).

    Raises:
        InputError: the fibres are not constant in cells.

    Source:
        Velocity from gradients of T after Bayly et al. (1998), IEEE Trans. Biomed. Eng.
        45:563–571, with elements for the polynomials.
    """
    msh = T.function_space.mesh
    gradient = _gradient(T)
    slowness = np.linalg.norm(gradient, axis=1)
    with np.errstate(invalid="ignore"):
        kept = (slowness > 1 / fastest) & (_coherence(T, gradient, slowness) >= coherence)
    velocity = np.full_like(gradient, np.nan)
    velocity[kept] = gradient[kept] / slowness[kept, None] ** 2
    c = fem.Function(
        fem.functionspace(msh, ("DG", 0, (msh.geometry.dim,))), name="conduction_velocity"
    )
    cells = c.function_space.dofmap.list[: len(velocity), 0]
    c.x.array.reshape(-1, msh.geometry.dim)[cells] = velocity
    c.x.scatter_forward()
    speed = np.linalg.norm(velocity, axis=1)
    everywhere = _speeds(msh.comm, speed[kept])
    if f0 is None:
        return ConductionVelocity(c, everywhere)
    along = _alignment(velocity / speed[:, None], f0)
    fibre, cross = np.cos(np.deg2rad(cone)), np.sin(np.deg2rad(cone))
    return ConductionVelocity(
        c,
        everywhere,
        _speeds(msh.comm, speed[kept & (along >= fibre)]),
        _speeds(msh.comm, speed[kept & (along <= cross)]),
    )


def _gradient(T: fem.Function) -> Array:
    """∇T at the midpoint of this rank's cells (ms/mm), NaN where a node has no time."""
    V = T.function_space
    msh = V.mesh
    owned = msh.topology.index_map(msh.topology.dim).size_local
    element = V.element.basix_element
    midpoint = basix.geometry(element.cell_type).mean(axis=0)[None]
    phi = element.tabulate(1, midpoint)[1:, 0, :, 0]
    values = T.x.array[V.dofmap.list[:owned]]
    values = np.where(values == NOT_ACTIVATED, np.nan, values)
    corners = msh.geometry.x[msh.geometry.dofmaps[0][:owned]][:, : msh.topology.dim + 1]
    edges = (corners[:, 1:] - corners[:, :1])[..., : msh.geometry.dim]
    reference = np.einsum("id,cd->ci", phi, values)
    return np.asarray(np.einsum("cki,ci->ck", np.linalg.pinv(edges), reference))


def _coherence(T: fem.Function, gradient: Array, slowness: Array) -> Array:
    """Least agreement of the gradients around a vertex of each cell, 0 to 1."""
    msh = T.function_space.mesh
    P = fem.functionspace(msh, ("P", 1))
    nodes = P.dofmap.list[: len(gradient)]
    corners = msh.geometry.x[msh.geometry.dofmaps[0][: len(gradient)]][:, : nodes.shape[1]]
    edges = corners[:, 1:] - corners[:, :1]
    size = np.sqrt(np.abs(np.linalg.det(np.einsum("cik,cjk->cij", edges, edges))))
    known = np.isfinite(slowness)
    totals = []
    for part in (*gradient.T, slowness):
        total = fem.Function(P)
        weights = np.broadcast_to((size[known] * part[known])[:, None], nodes[known].shape)
        np.add.at(total.x.array, nodes[known], weights)
        total.x.scatter_reverse(la.InsertMode.add)
        total.x.scatter_forward()
        totals.append(total.x.array)
    mean = np.linalg.norm(totals[:-1], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((mean / totals[-1])[nodes].min(axis=1, initial=1.0))


def _alignment(direction: Array, f0: fem.Function) -> Array:
    """|cos| of the angle to the fibres, NaN without a direction."""
    V = f0.function_space
    if V.element.basix_element.degree != 0:
        raise InputError(
            "conduction velocity",
            "the fibres are not constant in each cell.",
            "Interpolate them into DG0.",
        )
    fibres = f0.x.array.reshape(-1, V.dofmap.bs)[V.dofmap.list[: len(direction), 0]]
    with np.errstate(invalid="ignore"):
        fibres = fibres / np.linalg.norm(fibres, axis=1)[:, None]
        return np.asarray(np.abs(np.einsum("ck,ck->c", direction, fibres)))


def _speeds(comm: MPI.Comm, speeds: Array) -> Speeds:
    """Quantiles over all ranks."""
    low, first, median, third, high = (
        float(q) for q in quantiles(comm, speeds, (0.05, 0.25, 0.5, 0.75, 0.95))
    )
    return Speeds(comm.allreduce(len(speeds)), median, low, first, third, high)
