"""Eikonal problems with known arrival times."""

from __future__ import annotations

from dataclasses import dataclass

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.electrophysiology.eikonal import Eikonal, Slowness, uniform_slowness

Array = NDArray[np.float64]

#: Edge of the cube (mm).
EDGE = 20.0
#: Velocities along the axes of the tissue (mm/ms), and these axes: none along an edge of the mesh.
SPEEDS = (0.6, 0.3, 0.2)
#: Fast layer under a slow one: velocities (mm/ms), thickness of the slow layer and length (mm).
SLOW, FAST, THICKNESS, LENGTH = 0.3, 1.0, 2.0, 24.0


@dataclass(frozen=True)
class Errors:
    """Errors of arrival times over all nodes (ms).

    Attributes:
        mean: Of their absolute values.
        largest: Of their absolute values.
    """

    mean: float
    largest: float


def plane_wave(comm: MPI.Comm, n: int) -> Errors:
    """Oblique plane wave T = k·x in an irregular mesh of anisotropic tissue, given on its boundary.

    T is linear and k·D k = 1, so that only rounding remains.

    Args:
        comm: Communicator.
        n: Divisions of the cube's edge.
    """
    cube = Cube.of(comm, n, irregular=True)
    V, msh = cube.V, cube.V.mesh
    k = np.array([0.4, 0.7, 0.5])
    exact = V.tabulate_dof_coordinates() @ (k / np.sqrt(k @ cube.D @ k))
    msh.topology.create_connectivity(2, 3)
    facets = mesh.locate_entities_boundary(msh, 2, lambda x: np.full(x.shape[1], True))
    nodes = fem.locate_dofs_topological(V, 2, facets)
    return _errors(cube.eikonal.solve(nodes, exact[nodes]), exact)


@dataclass(frozen=True)
class Cube:
    """Cube of anisotropic tissue with a wave that starts in its middle.

    Attributes:
        V: Space of the times.
        D: Tensor of all cells (mm²/ms²).
        eikonal: Solver.
        exact: Exact times at the local nodes (ms).
    """

    V: fem.FunctionSpace
    D: Array
    eikonal: Eikonal
    exact: Array

    @classmethod
    def of(cls, comm: MPI.Comm, n: int, *, irregular: bool = False) -> Cube:
        """Cube with ``n`` divisions of its edge, an even number."""
        msh, D = _cube(comm, n, irregular=irregular), _tensor()
        V = fem.functionspace(msh, ("P", 1))
        d = V.tabulate_dof_coordinates() - 0.5 * EDGE
        exact = np.sqrt(np.einsum("ni,ij,nj->n", d, np.linalg.inv(D), d))
        return cls(V, D, Eikonal(V, uniform_slowness(msh, D)), exact)

    def start(self, radius: float) -> tuple[NDArray[np.int32], Array]:
        """Local nodes of the ball in the middle, and their times; collective."""
        return self.eikonal.around(np.full(3, 0.5 * EDGE), np.zeros(1), radius)


def point_source(comm: MPI.Comm, n: int, *, radius: float = 0.0, irregular: bool = False) -> Errors:
    """Wave from the middle of a cube of anisotropic tissue, T = √(d·D⁻¹ d).

    Args:
        comm: Communicator.
        n: Divisions of the cube's edge, even.
        radius: Of the ball with exact times (mm).
        irregular: Whether the nodes within the cube are moved.
    """
    cube = Cube.of(comm, n, irregular=irregular)
    return _errors(cube.eikonal.solve(*cube.start(radius)), cube.exact)


def head_wave(comm: MPI.Comm, n: int) -> Errors:
    """Wave from a line on slow tissue over fast tissue, on the slow surface beyond the crossover.

        T = x/c₂ + 2 h √(1/c₁² − 1/c₂²)   where it comes before x/c₁

    It runs down into the fast tissue, along it, and up again at the critical angle of Snell's law.

    Args:
        comm: Communicator.
        n: Divisions of the slow tissue's thickness h.
    """
    size, cells = (LENGTH, THICKNESS / n, 2 * THICKNESS), (round(LENGTH / THICKNESS) * n, 1, 2 * n)
    msh = mesh.create_box(comm, [np.zeros(3), np.array(size)], list(cells))
    V = fem.functionspace(msh, ("P", 1))
    owned = msh.topology.index_map(3).size_local
    height = msh.geometry.x[msh.geometry.dofmaps[0][:owned]].mean(axis=1)[:, 2]
    speed = np.where(height > THICKNESS, SLOW, FAST)
    tensor = speed[:, None, None] ** -2.0 * np.eye(3)
    eikonal = Eikonal(V, Slowness(tensor, np.ones(owned, dtype=bool)))
    line = np.array([[0.0, y, size[2]] for y in (0.0, size[1])])
    T = eikonal.solve(*eikonal.around(line, np.zeros(2), 0.5 * THICKNESS))
    x = V.tabulate_dof_coordinates()
    delay = 2 * THICKNESS * np.sqrt(SLOW**-2 - FAST**-2)
    crossover = delay / (1 / SLOW - 1 / FAST)
    seen = np.isclose(x[:, 2], size[2]) & (x[:, 0] > crossover)
    return _errors(T, x[:, 0] / FAST + delay, seen)


def sphere(comm: MPI.Comm, refinements: int, *, radius: float = 0.0) -> Errors:
    """Wave from a pole of a sphere of triangles, T = R ϑ/c along great circles.

    Args:
        comm: Communicator.
        refinements: How often the edges of an octahedron are halved.
        radius: Of the ball with straight times (mm).
    """
    R, c = 10.0, 0.5
    msh = _octahedron(comm)
    for _ in range(refinements):
        msh.topology.create_entities(1)
        msh = mesh.refine(msh, partitioner=None)[0]
        msh.geometry.x[:] *= R / np.linalg.norm(msh.geometry.x, axis=1)[:, None]
    V = fem.functionspace(msh, ("P", 1))
    eikonal = Eikonal(V, uniform_slowness(msh, c**2 * np.eye(3)))
    T = eikonal.solve(*eikonal.around(np.array([0.0, 0.0, R]), np.zeros(1), radius))
    angle = np.arccos(np.clip(V.tabulate_dof_coordinates()[:, 2] / R, -1.0, 1.0))
    return _errors(T, R / c * angle)


def _tensor() -> Array:
    """D (mm²/ms²) of the anisotropic cube."""
    a, b = 0.5, 0.3
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    axes = about_z @ about_x
    return np.asarray(axes @ np.diag(np.square(SPEEDS)) @ axes.T)


def _cube(comm: MPI.Comm, n: int, *, irregular: bool) -> mesh.Mesh:
    msh = mesh.create_box(comm, [np.zeros(3), np.full(3, EDGE)], [n, n, n])
    if irregular:
        # By place, so that all ranks move a node to the same place; the middle and the faces stay.
        x = msh.geometry.x
        inner = np.prod(np.sin(np.pi * x / EDGE) * np.sign(np.abs(x - 0.5 * EDGE) + 1e-300), axis=1)
        inner[np.linalg.norm(x - 0.5 * EDGE, axis=1) < 1e-9] = 0.0
        turn = np.array([[12.9, 78.2, 37.7], [39.3, 11.1, 83.2], [73.1, 52.2, 9.15]])
        x += 0.2 * EDGE / n * np.where(inner > 1e-9, 1.0, 0.0)[:, None] * np.sin(x @ turn)
    return msh


def _octahedron(comm: MPI.Comm) -> mesh.Mesh:
    points = np.array(
        [[10, 0, 0], [0, 10, 0], [-10, 0, 0], [0, -10, 0], [0, 0, 10], [0, 0, -10]], dtype=float
    )
    around = [(0, 1), (1, 2), (2, 3), (3, 0)]
    triangles = [(a, b, 4) for a, b in around] + [(b, a, 5) for a, b in around]
    corners = np.array(triangles, dtype=np.int64)
    if comm.rank > 0:
        points, corners = points[:0], corners[:0]
    element = ufl.Mesh(basix.ufl.element("Lagrange", "triangle", 1, shape=(3,)))
    return mesh.create_mesh(comm, corners, element, points)


def _errors(T: fem.Function, exact: Array, chosen: NDArray[np.bool_] | None = None) -> Errors:
    """Over the nodes of all ranks, or those chosen; nodes without a time count as infinite."""
    comm = T.function_space.mesh.comm
    owned = T.function_space.dofmap.index_map.size_local
    error = np.where(T.x.array >= 0.0, np.abs(T.x.array - exact), np.inf)[:owned]
    if chosen is not None:
        error = error[chosen[:owned]]
    count = comm.allreduce(len(error), op=MPI.SUM)
    summed = comm.allreduce(float(error.sum()), op=MPI.SUM)
    return Errors(summed / count, comm.allreduce(float(error.max(initial=0.0)), op=MPI.MAX))
