"""Which way collagen runs in each cell of an aortic root: around, along, through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dolfinx import fem, mesh
from numpy.typing import NDArray

from organtwin.anatomy.coordinates import laplace, surface_dofs
from organtwin.materials.kinematics import Directions
from organtwin.mesh.domain import Domain
from organtwin.tavr.root_axis import RootAxis

type Vector = NDArray[np.float64]

#: Where the depth is 0 and 1, in the wall and in the leaflets.
WALL = (("inner", "ostium_right", "ostium_left", "membranous_septum"), ("outer",))
LEAFLETS = (("ventricular",), ("aortic",))
#: Below this sine of the angle between a normal and the axis the cell lies across the axis.
FLAT = 0.2
#: A gradient of the depth (1/mm) that has no direction.
STILL = 1e-4


@dataclass(frozen=True)
class RootDirections:
    """Directions and depth in each cell.

    Attributes:
        around, along, out: Fields of one unit vector per cell: circumferential, axial, radial.
        depth: Depth in the middle of this rank's cells, 0 inside and 1 outside, ghosts too, (n,).
    """

    around: fem.Function
    along: fem.Function
    out: fem.Function
    depth: Vector

    @property
    def directions(self) -> Directions:
        """As laws want them."""
        return Directions(self.around, self.along, self.out)


def root_directions(domain: Domain, axis: RootAxis, leaflets: tuple[str, ...]) -> RootDirections:
    """Circumferential, axial and radial unit vectors of all cells; collective.

    With the depth φ, Δφ = 0 between the inner and the outer side (of leaflets the ventricular and
    the aortic one), and the direction t of the axis nearest to the cell,

        n = ∇φ / |∇φ|,   f ∥ t × n,   s = n × f.

    So f runs around the wall, and from commissure to commissure in a leaflet that hangs. Where the
    cell lies across the axis f is the direction around it; where ∇φ vanishes, since all corners
    lie on one side, n points away from the axis. Our choice.

    Args:
        domain: Mesh of a root.
        axis: Its axis.
        leaflets: Names of regions that lie between ``ventricular`` and ``aortic``.
    """
    depth, g = _depth(domain, WALL)
    if leaflets:
        inside, gradient = _depth(domain, LEAFLETS)
        cells = domain.cells(*leaflets)
        depth[cells], g[cells] = inside[cells], gradient[cells]
    space = fem.functionspace(domain.mesh, ("DG", 0, (3,)))

    def field(name: str, values: Vector) -> fem.Function:
        made = fem.Function(space, name=name)
        made.x.array.reshape(-1, 3)[space.dofmap.list[:, 0]] = values
        return made

    around, along, out = _axes(domain, axis, g)
    return RootDirections(field("around", around), field("along", along), field("out", out), depth)


def _depth(domain: Domain, sides: tuple[tuple[str, ...], ...]) -> tuple[Vector, Vector]:
    """Means of φ in this rank's cells, (n,), and its gradients, (n, 3); collective."""
    V = fem.functionspace(domain.mesh, ("Lagrange", 1))
    ends = {
        name: (surface_dofs(V, domain.facets(name)), float(value))
        for value, names in enumerate(sides)
        for name in names
        if name in domain.surfaces
    }
    found = laplace(V, ends, "through")
    return found.x.array[V.dofmap.list].mean(axis=1), _gradients(found)


def _gradients(field: fem.Function) -> Vector:
    """Gradient of a linear function in all cells of this rank, (n, 3)."""
    msh = field.function_space.mesh
    corners = msh.geometry.x[msh.geometry.dofmaps[0]]
    values = field.x.array[field.function_space.dofmap.list]
    edges = corners[:, 1:] - corners[:, :1]
    return np.asarray(np.linalg.solve(edges, (values[:, 1:] - values[:, :1])[:, :, None])[:, :, 0])


def _axes(domain: Domain, axis: RootAxis, g: Vector) -> tuple[Vector, Vector, Vector]:
    """Around, along and out of all cells, given the gradients of the depth."""
    cells = np.arange(len(g), dtype=np.int32)
    along, out = axis.seen_from(mesh.compute_midpoints(domain.mesh, 3, cells))
    size = np.linalg.norm(g, axis=1)[:, None]
    n = np.where(size < STILL, out, g / np.maximum(size, STILL))
    f, around = np.cross(along, n), np.cross(along, out)
    around -= np.einsum("ij,ij->i", around, n)[:, None] * n
    f = np.where(np.linalg.norm(f, axis=1)[:, None] < FLAT, around, f)
    # Flat, and right above or below the axis: any way will do.
    lost = np.linalg.norm(f, axis=1)[:, None] < STILL
    f = np.where(lost, np.cross(n, np.eye(3)[np.argmin(np.abs(n), axis=1)]), f)
    f /= np.linalg.norm(f, axis=1)[:, None]
    return f, np.cross(n, f), n
