"""A heart from formulas: two truncated ellipsoids, placed as in a patient.

Local axes: z from the apex to the base, x from the left to the right ventricle. They are turned
into patient coordinates (LPS, mm) so that the apex points to the left, forwards and downwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gmsh
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.anatomy.coordinates import LongAxis, coordinates
from organtwin.anatomy.fibres import FibreAngles, Fibres, fibres
from organtwin.anatomy.landmarks import SITES, activation_sites
from organtwin.mesh.domain import Domain, cellwise_vectors, read_domain, refine
from organtwin.mesh.tetrahedra import gmsh_session
from organtwin.parallel import on_root

#: Height of the base plane over the ellipsoids' centres (mm).
BASE = 15.0
#: Columns: local x, y, z in patient coordinates (LPS).
_z = np.array([-0.62, 0.42, 0.66]) / np.linalg.norm([-0.62, 0.42, 0.66])
_x = np.array([-0.75, -0.60, 0.0]) - np.dot([-0.75, -0.60, 0.0], _z) * _z
_x /= np.linalg.norm(_x)
ROTATION: NDArray[np.float64] = np.column_stack([_x, np.cross(_z, _x), _z])


@dataclass(frozen=True)
class Ellipsoid:
    """Centre on the local x axis and semi-axes (mm)."""

    centre: float
    semi_axes: tuple[float, float, float]

    def level(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Below 1 inside, 1 on the surface; ``x`` has shape (n, 3), local axes."""
        shifted = (x - [self.centre, 0.0, 0.0]) / self.semi_axes
        return np.asarray(np.sum(shifted**2, axis=1))

    def solid(self) -> tuple[int, int]:
        """The full ellipsoid as an OCC volume."""
        tag = gmsh.model.occ.addSphere(0, 0, 0, 1)
        gmsh.model.occ.dilate([(3, tag)], 0, 0, 0, *self.semi_axes)
        gmsh.model.occ.translate([(3, tag)], self.centre, 0, 0)
        return 3, tag


LV_INNER = Ellipsoid(0.0, (22.0, 22.0, 58.0))
LV_OUTER = Ellipsoid(0.0, (32.0, 32.0, 68.0))
RV_INNER = Ellipsoid(24.0, (32.0, 34.0, 54.0))
RV_OUTER = Ellipsoid(24.0, (37.0, 39.0, 59.0))


@dataclass(frozen=True)
class Ventricles:
    """The heart with what activation needs.

    Attributes:
        domain: Mesh.
        directions: Fibre, sheet and normal in its cells.
        axis: Long axis.
        sites: Points of early activation by name (mm).
    """

    domain: Domain
    directions: Fibres
    axis: LongAxis
    sites: Mapping[str, NDArray[np.float64]]


def ventricles(
    comm: MPI.Comm, path: Path, *, size: float, refinements: int, scale: float = 1.0
) -> Ventricles:
    """The heart with fibres from +60° inside to −60° outside; collective.

    Args:
        comm: Communicator.
        path: Where rank 0 writes the gmsh file.
        size: Edge length before it is halved (mm), of the heart of full size.
        refinements: Times that it is halved.
        scale: Of the heart; a half gives about that of a rabbit.
    """
    coarse = biventricle(comm, path, size, scale)
    at = coordinates(coarse, degree=2)
    domain = refine(coarse, refinements).fine
    angles = FibreAngles(alpha_endo=60.0, alpha_epi=-60.0, beta_endo=-65.0, beta_epi=25.0)
    directions = fibres(domain, angles, cellwise_vectors(domain))
    return Ventricles(domain, directions, at.axis, activation_sites(coarse, at, list(SITES)))


def write_biventricle(path: Path, size: float = 10.0, scale: float = 1.0) -> Path:
    """Write the heart as a gmsh file with regions lv, rv and surfaces lv_endo, rv_endo, epi, base.

    Args:
        path: The ``.msh`` file.
        size: Edge length (mm), before scaling; 10 gives some 1500 tetrahedra, 7 some 4000.
        scale: Of all lengths.

    Returns:
        ``path``.
    """
    with gmsh_session():
        gmsh.model.add("biventricle")
        lv, rv = _solids()
        gmsh.option.setNumber("Mesh.MeshSizeMin", 0.8 * size)
        gmsh.option.setNumber("Mesh.MeshSizeMax", size)
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.optimize("Netgen")
        _name_parts(lv, rv)
        affine = np.column_stack([scale * ROTATION, np.zeros(3)]).ravel()
        gmsh.model.mesh.affineTransform(affine.tolist())
        gmsh.write(str(path))
    return path


def biventricle(comm: MPI.Comm, path: Path, size: float = 10.0, scale: float = 1.0) -> Domain:
    """The heart, distributed; ``path`` is written by rank 0 unless it is there. Collective."""
    on_root(comm, lambda: path if path.exists() else write_biventricle(path, size, scale))
    return read_domain(path, comm)


def _solids() -> tuple[list[int], list[int]]:
    """Volume tags of the left and the right ventricular wall, sharing their interface."""
    occ = gmsh.model.occ
    lv, _ = occ.cut([LV_OUTER.solid()], [LV_INNER.solid()])
    rv, _ = occ.cut([RV_OUTER.solid()], [RV_INNER.solid(), LV_OUTER.solid()])
    lid = (3, occ.addBox(-100, -100, BASE, 200, 200, 100))
    walls, _ = occ.cut([*lv, *rv], [lid])
    _, pieces = occ.fragment([walls[0]], walls[1:])
    occ.synchronize()
    left = [tag for _, tag in pieces[0]]
    right = [tag for piece in pieces[1:] for _, tag in piece]
    return left, right


def _name_parts(lv: list[int], rv: list[int]) -> None:
    gmsh.model.addPhysicalGroup(3, lv, name="lv")
    gmsh.model.addPhysicalGroup(3, rv, name="rv")
    outer = gmsh.model.getBoundary([(3, t) for t in lv + rv], combined=True, oriented=False)
    named: dict[str, list[int]] = {"lv_endo": [], "rv_endo": [], "epi": [], "base": []}
    for _, tag in outer:
        points = gmsh.model.mesh.getNodes(2, tag, includeBoundary=True)[1].reshape(-1, 3)
        named[_surface_of(points)].append(tag)
    for name, tags in named.items():
        gmsh.model.addPhysicalGroup(2, tags, name=name)


def _surface_of(points: NDArray[np.float64]) -> str:
    def lies_on(solid: Ellipsoid) -> bool:
        return bool(np.all(np.abs(solid.level(points) - 1.0) < 1e-4))

    if np.all(np.abs(points[:, 2] - BASE) < 1e-6):
        return "base"
    if lies_on(LV_INNER):
        return "lv_endo"
    if lies_on(RV_INNER):
        return "rv_endo"
    septal = lies_on(LV_OUTER) and np.all(RV_INNER.level(points) < 1.0 + 1e-4)
    return "rv_endo" if septal else "epi"
