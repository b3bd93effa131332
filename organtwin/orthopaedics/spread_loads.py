"""Forces of muscles and joints spread over patches of a bone's surface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mechanics.terms import Fields
from organtwin.mesh.domain import Domain
from organtwin.parallel import total

type Floats = NDArray[np.float64]
type Integers = NDArray[np.int64]

#: Condition of resultants, in units of the patch's size, above which it takes no moment.
SINGULAR = 1e10
#: Weights of the middles of a triangle's edges: exact for polynomials of degree two.
EDGES = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5]])


@dataclass(frozen=True)
class Patch:
    """Where a force acts on a body.

    Attributes:
        point: Point that its line of action passes through (mm), shape (3,).
        surfaces: Surfaces that it is spread over.
        radius: Distance from the point (mm) within which the surface takes part: facets whose
            middle lies there; None for the whole surfaces, as for the joint's force on a taper.
    """

    point: Sequence[float]
    surfaces: tuple[str, ...]
    radius: float | None = None


class SpreadForces:
    """A term: forces on patches, each spread as a rigid body would take it.

        t = a + b × (X − c) on the patch,     ∫ t ds = force,     ∫ (X − c) × t ds = moment

    as `RigidLoad` does, but as one field: any number of patches, which may overlap, cost
    one form, and other forces need no new one. Facets keep their names. It keeps its direction
    while the body moves, and acts on the reference area.

    Args:
        domain: Mesh of tetrahedra with names.
        patches: By name.

    Attributes:
        traction: t (kPa), linear in each cell, zero off the patches.
        areas: Area (mm²) of each patch.
        shift: Distance (mm) of each patch's middle from its point.

    Raises:
        InputError: no such surface; it lies inside the mesh; a patch has no facet or no extent.
            Collective.
    """

    def __init__(self, domain: Domain, patches: Mapping[str, Patch]) -> None:
        self.domain, self.patches = domain, dict(patches)
        self.surfaces = tuple(dict.fromkeys(s for p in patches.values() for s in p.surfaces))
        if not self.surfaces:
            raise InputError("SpreadForces", "no patches.", "Give at least one.")
        space = fem.functionspace(domain.mesh, ("DG", 1, (3,)))
        self.traction = fem.Function(space, name="traction")
        self._nodes = space.tabulate_dof_coordinates()
        self._dofs = space.dofmap.list
        self._cells: dict[str, Integers] = {}
        self._solve: dict[str, Floats] = {}
        self.areas: dict[str, float] = {}
        self.shift: dict[str, float] = {}
        cells, corners = self._facets()
        for name, patch in self.patches.items():
            self._prepare(name, patch, cells, corners)

    def set(
        self, forces: Mapping[str, Floats], moments: Mapping[str, Floats] | None = None
    ) -> None:
        """Take other forces (mN) on the patches; those not named get none.

        Args:
            forces: By name of the patch, shape (3,).
            moments: Moments (mN·mm) about the points of patches, shape (3,).

        Raises:
            InputError: no such patch, or a force that is no number.
        """
        moments = moments or {}
        for name, value in (*forces.items(), *moments.items()):
            if name not in self.patches or not np.isfinite(value).all():
                raise InputError("SpreadForces", f"{value} mN on `{name}`.",
                                 f"Patches: {', '.join(self.patches)}; finite forces.")  # fmt: skip
        values = np.zeros((len(self._nodes), 3))
        for name in dict.fromkeys((*forces, *moments)):
            load = np.concatenate([forces.get(name, np.zeros(3)), moments.get(name, np.zeros(3))])
            a, b = (self._solve[name] @ load).reshape(2, 3)
            dofs = self._dofs[self._cells[name]]
            arm = self._nodes[dofs] - np.asarray(self.patches[name].point, float)
            values[dofs] += a + np.cross(b, arm)
        self.traction.x.array[:] = values.ravel()
        self.traction.x.scatter_forward()

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """−∫ t · δu ds, integrated as exactly as moments need it also for linear elements."""
        ds = domain.ds(*self.surfaces, degree=max(s.degree, 3))
        return -ufl.dot(self.traction, s.u_test) * ds

    def _facets(self) -> tuple[dict[str, Integers], dict[str, Floats]]:
        """Cells at this rank's facets of each surface, and the facets' corners (n, 3, 3)."""
        msh = self.domain.mesh
        msh.topology.create_connectivity(2, 3)
        msh.topology.create_connectivity(2, 0)
        to_cell = msh.topology.connectivity(2, 3)
        outer = set(mesh.exterior_facet_indices(msh.topology).tolist())
        owned = msh.topology.index_map(3).size_local
        cells, corners = {}, {}
        for name in self.surfaces:
            facets = self.domain.facets(name)
            facets = facets[[len(to_cell.links(f)) > 0 for f in facets]]
            cell = np.array([to_cell.links(f)[0] for f in facets], dtype=np.int64)
            mine = cell < owned
            inner = sum(int(f) not in outer for f in facets[mine])
            if total(self.domain.comm, inner):
                raise InputError(
                    "SpreadForces", f"`{name}` lies between regions.",
                    "Forces are spread over outer surfaces; separate the regions first.",
                )  # fmt: skip
            cells[name] = cell[mine]
            at = mesh.entities_to_geometry(msh, 2, facets[mine].astype(np.int32))
            corners[name] = msh.geometry.x[at].reshape(-1, 3, 3)
        return cells, corners

    def _prepare(
        self, name: str, patch: Patch, cells: Mapping[str, Integers], corners: Mapping[str, Floats]
    ) -> None:
        """Cells of a patch, and the inverse of its resultants."""
        comm, point = self.domain.comm, np.asarray(patch.point, float)
        cell = np.concatenate([cells[s] for s in patch.surfaces])
        away = np.concatenate([corners[s].mean(axis=1) for s in patch.surfaces]) - point
        distance = np.linalg.norm(away, axis=1)
        near = distance <= (np.inf if patch.radius is None else patch.radius)
        chosen = np.unique(cell[near])
        # A cell's traction acts on all of its loaded facets.
        every = np.concatenate([cells[s] for s in self.surfaces])
        shape = np.concatenate([corners[s] for s in self.surfaces])[np.isin(every, chosen)]
        matrix, area, middle = _resultants(shape, point)
        area = total(comm, area)
        if not area > 0.0:
            nearest = comm.allreduce(float(distance.min(initial=np.inf)), op=MPI.MIN)
            raise InputError(
                f"patch `{name}`", f"no facet of {', '.join(patch.surfaces)} has its middle within "
                f"{patch.radius} mm; the nearest is {nearest:.1f} mm away.",
                "Give a larger radius, or check point and side.",
            )  # fmt: skip
        size = np.sqrt(area)
        scale = np.diag([1.0, 1.0, 1.0, size, size, size])
        summed = np.asarray(comm.allreduce(matrix))
        if np.linalg.cond(np.linalg.solve(scale, summed) @ np.linalg.inv(scale)) > SINGULAR:
            raise InputError(f"patch `{name}`", "it has no extent to take a force by.",
                             "Give a larger radius or another surface.")  # fmt: skip
        self._cells[name], self._solve[name] = chosen, np.linalg.inv(summed)
        self.areas[name] = area
        self.shift[name] = float(np.linalg.norm(np.asarray(comm.allreduce(middle)) / area))


def _resultants(corners: Floats, point: Floats) -> tuple[Floats, float, Floats]:
    """Force and moment of the six unit tractions, area, and first moment, of some facets."""
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    weight = np.repeat(np.linalg.norm(cross, axis=1) / 6.0, 3)
    arm = np.einsum("qk,nkd->nqd", EDGES, corners).reshape(-1, 3) - point
    matrix = np.zeros((6, 6))
    for j in range(6):
        unit = np.eye(6)[j]
        t = unit[:3] + np.cross(unit[3:], arm)
        matrix[:3, j] = weight @ t
        matrix[3:, j] = weight @ np.cross(arm, t)
    return matrix, float(weight.sum()), np.asarray(weight @ arm)
