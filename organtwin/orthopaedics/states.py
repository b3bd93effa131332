"""What indices are made of: a solution by cells, facets of a surface and motions of fragments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.recovery import cell_strains, cell_stresses
from organtwin.mesh.domain import Domain
from organtwin.parallel import total

type Floats = NDArray[np.float64]
type Integers = NDArray[np.int64]

#: Middle of the reference cell.
CENTRE = np.full((1, 3), 0.25)


@dataclass(frozen=True)
class CellState:
    """A solution in this rank's cells of some regions, at their middles.

    Attributes:
        cells: Local numbers of the cells, shape (n,).
        middle: Middles (mm), shape (n, 3).
        volume: Volumes (mm³), shape (n,).
        strain: In six numbers as `mechanics.recovery` has them, shape (n, 6).
        stress: The same (kPa), shape (n, 6).
        energy: Strain energy density ½ σ : ε (kPa), shape (n,).
    """

    cells: Integers
    middle: Floats
    volume: Floats
    strain: Floats
    stress: Floats
    energy: Floats


def cell_state(problem: LinearElasticity, *regions: str) -> CellState:
    """The present solution in the cells of regions; of all without a name.

    The energy is that of the whole strain: regions with an eigenstrain are left to
    `mechanics.derived`.
    """
    domain = problem.domain
    owned = domain.mesh.topology.index_map(3).size_local
    cells = np.arange(owned) if not regions else domain.cells(*regions).astype(np.int64)
    cells = cells[cells < owned]
    corners = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0][cells][:, :4]]
    edges = corners[:, 1:] - corners[:, :1]
    strain = cell_strains(problem, CENTRE)[cells, 0]
    stress = cell_stresses(problem, CENTRE)[cells, 0]
    return CellState(
        cells, corners.mean(axis=1), np.abs(np.linalg.det(edges)) / 6.0, strain, stress,
        0.5 * (strain * stress).sum(axis=1),
    )  # fmt: skip


@dataclass(frozen=True)
class SurfaceState:
    """A displacement at this rank's facets of a surface, at their middles.

    Attributes:
        middle: Middles (mm), shape (n, 3).
        area: Areas (mm²), shape (n,).
        normal: Unit normals out of the cell behind each, shape (n, 3).
        moved: Displacement (mm), the mean over the corners, shape (n, 3).
    """

    middle: Floats
    area: Floats
    normal: Floats
    moved: Floats


def surface_state(domain: Domain, u: fem.Function, *surfaces: str) -> SurfaceState:
    """A displacement on outer surfaces.

    Args:
        domain: Mesh of tetrahedra with names.
        u: Displacement (mm), linear or quadratic.
        surfaces: Names.
    """
    msh = domain.mesh
    msh.topology.create_connectivity(2, 3)
    msh.topology.create_connectivity(3, 0)
    to_cell, owned = msh.topology.connectivity(2, 3), msh.topology.index_map(3).size_local
    facets = domain.facets(*surfaces)
    facets = np.array([f for f in facets if (to_cell.links(f) < owned).any()], dtype=np.int32)
    cells = np.array([min(to_cell.links(f)) for f in facets], dtype=np.int64)
    nodes = mesh.entities_to_geometry(msh, 2, facets).reshape(-1, 3)
    behind = msh.geometry.dofmaps[0][cells].reshape(len(cells), -1)
    corners = msh.geometry.x[nodes]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    double = np.linalg.norm(cross, axis=1)
    outwards = corners.mean(axis=1) - msh.geometry.x[behind[:, :4]].mean(axis=1)
    sign = np.sign((cross * outwards).sum(axis=1))
    # The first four dofs of a cell are those at its vertices, in the order of its geometry.
    values = u.x.array.reshape(-1, 3)[u.function_space.dofmap.list[cells][:, :4]]
    on = (behind[:, :4, None] == nodes[:, None]).any(axis=2)
    moved = values[on].reshape(-1, 3, 3).mean(axis=1)
    normal = (sign / double)[:, None] * cross
    return SurfaceState(corners.mean(axis=1), 0.5 * double, normal, moved)


@dataclass(frozen=True)
class RigidMotion:
    """Small rigid motion u(x) = t + ω × (x − c) that fits a displacement best.

    Attributes:
        centre: c (mm), shape (3,).
        shift: t (mm), shape (3,).
        turn: ω (radians), shape (3,).
        residual: Root mean square of what is left (mm): how much the fragment deforms.
    """

    centre: Floats
    shift: Floats
    turn: Floats
    residual: float

    def at(self, points: Floats) -> Floats:
        """Displacement (mm) at points (mm), shape (n, 3)."""
        return np.asarray(self.shift + np.cross(self.turn, points - self.centre))


def rigid_motion(position: Floats, moved: Floats, weight: Floats, *, comm: MPI.Comm) -> RigidMotion:
    """Motion of a fragment by weighted least squares over its points on all ranks; collective.

    Movement of a gap is the difference of two fragments' motions at the gap: that needs no pairs of
    points, and works where callus fills it.

    Args:
        position: This rank's points of the fragment (mm), shape (n, 3).
        moved: Their displacements (mm), shape (n, 3).
        weight: Their volumes or areas, shape (n,).
        comm: Communicator.

    Raises:
        InputError: the points are none, or on a line. Collective.
    """
    whole = total(comm, float(weight.sum()))
    if not whole > 0.0:
        raise InputError("rigid_motion", "no points.", "Check the region's name.")
    centre = np.asarray(comm.allreduce(weight @ position)) / whole
    shift = np.asarray(comm.allreduce(weight @ moved)) / whole
    arm, rest = position - centre, moved - shift
    spread = np.asarray(comm.allreduce((arm.T * weight) @ arm))
    inertia = np.trace(spread) * np.eye(3) - spread
    if np.linalg.cond(inertia) > 1e10:
        raise InputError("rigid_motion", "the points lie on a line.", "Take more of the fragment.")
    turn = np.linalg.solve(inertia, np.asarray(comm.allreduce(weight @ np.cross(arm, rest))))
    left = rest - np.cross(turn, arm)
    square = total(comm, float(weight @ (left**2).sum(axis=1)))
    return RigidMotion(centre, shift, turn, float(np.sqrt(square / whole)))
