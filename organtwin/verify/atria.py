"""Atria from formulas: ellipsoidal shells with veins, an appendage and the ring of a valve.

In patient coordinates (LPS, mm): x to the left, y to the back, z up, the centre of the body at the
origin. Both are idealised; only who lies next to whom is that of a heart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gmsh
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.mesh.domain import Domain, read_domain
from organtwin.mesh.tetrahedra import gmsh_session
from organtwin.parallel import on_root

type Triple = tuple[float, float, float]
type Entities = list[tuple[int, int]]

#: Length (mm) of a box that holds everything beyond a valve.
_BEYOND = 200.0


@dataclass(frozen=True)
class Pipe:
    """A straight tube out of the body.

    Attributes:
        towards: Its direction from the origin, of any length.
        end: Distance (mm) of its end from the origin.
        radius: Outer radius (mm).
        closed: Whether the wall closes it, as that of an appendage.
    """

    towards: Triple
    end: float
    radius: float
    closed: bool = False

    @property
    def direction(self) -> NDArray[np.float64]:
        """Unit vector along it, (3,)."""
        return np.asarray(self.towards) / np.linalg.norm(self.towards)

    @property
    def tip(self) -> NDArray[np.float64]:
        """Centre of its end (mm), (3,)."""
        return self.end * self.direction

    def solid(self, less: float) -> tuple[int, int]:
        """The full cylinder, thinner by ``less`` (mm) and, where closed, shorter."""
        start = 0.5 * self.tip
        along = (self.end * 0.5 - less * self.closed) * self.direction
        return 3, gmsh.model.occ.addCylinder(*start, *along, self.radius - less)


@dataclass(frozen=True)
class Atrium:
    """Shape of an atrium.

    Attributes:
        radii: Outer radii (mm) of the body along x, y, z.
        wall: Thickness (mm) of the wall.
        valve: Name of the valve's ring.
        towards: Direction from the origin to the valve, of any length.
        distance: Distance (mm) of the valve's plane from the origin.
        pipes: Veins and appendage by name.
    """

    radii: Triple
    wall: float
    valve: str
    towards: Triple
    distance: float
    pipes: Mapping[str, Pipe]

    @property
    def out(self) -> NDArray[np.float64]:
        """Unit normal of the valve's plane, out of the atrium, (3,)."""
        return np.asarray(self.towards) / np.linalg.norm(self.towards)

    @property
    def rings(self) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Name → centre (mm) and unit normal of each opening."""
        veins = {n: (p.tip, p.direction) for n, p in self.pipes.items() if not p.closed}
        radii = np.asarray(self.radii)
        # Middle of the ellipse in which the plane cuts the ellipsoid.
        centre = self.distance * radii**2 * self.out / np.sum((radii * self.out) ** 2)
        return {self.valve: (centre, self.out)} | veins

    def solid(self, less: float) -> Entities:
        """The full atrium inside the surface that lies ``less`` (mm) under the outer one."""
        occ = gmsh.model.occ
        body = (3, occ.addSphere(0, 0, 0, 1))
        occ.dilate([body], 0, 0, 0, *(radius - less for radius in self.radii))
        whole, _ = occ.fuse([body], [pipe.solid(less) for pipe in self.pipes.values()])
        beyond = (3, occ.addCylinder(*(self.distance * self.out), *(_BEYOND * self.out), _BEYOND))
        kept, _ = occ.cut(whole, [beyond])
        return list(kept)


LEFT = Atrium(
    radii=(26.0, 21.0, 22.0),
    wall=2.5,
    valve="mitral",
    towards=(0.0, 0.0, -1.0),
    distance=14.0,
    pipes={
        "left_superior_vein": Pipe((0.85, 0.25, 0.45), 36.0, 6.5),
        "left_inferior_vein": Pipe((0.75, 0.75, -0.1), 36.0, 6.5),
        "right_superior_vein": Pipe((-0.85, 0.25, 0.45), 36.0, 6.5),
        "right_inferior_vein": Pipe((-0.75, 0.75, -0.1), 36.0, 6.5),
        "appendage": Pipe((0.75, -0.65, 0.15), 42.0, 7.5, closed=True),
    },
)

RIGHT = Atrium(
    radii=(22.0, 24.0, 28.0),
    wall=2.5,
    valve="tricuspid",
    towards=(0.75, -0.65, -0.1),
    distance=14.0,
    pipes={
        "superior_cava": Pipe((0.0, 0.3, 1.0), 40.0, 8.5),
        "inferior_cava": Pipe((0.0, 0.3, -1.0), 40.0, 9.5),
        "coronary_sinus": Pipe((0.6, 0.6, -0.5), 34.0, 5.0),
        "appendage": Pipe((-0.55, -0.65, 0.55), 44.0, 8.0, closed=True),
    },
)


def write_atrium(atrium: Atrium, path: Path, size: float = 4.0) -> Path:
    """Write a wall as a gmsh file with region ``wall``, surfaces ``endo``, ``epi`` and the rings.

    Args:
        atrium: `LEFT` or `RIGHT`.
        path: The ``.msh`` file.
        size: Edge length (mm).

    Returns:
        ``path``.
    """
    with gmsh_session():
        gmsh.model.add("atrium")
        wall = _wall(atrium)
        for option in ("Mesh.MeshSizeMin", "Mesh.MeshSizeMax"):
            gmsh.option.setNumber(option, size)
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.optimize("Netgen")
        gmsh.model.addPhysicalGroup(3, [wall], name="wall")
        gmsh.write(str(path))
    return path


def idealised_atrium(comm: MPI.Comm, atrium: Atrium, path: Path, size: float = 4.0) -> Domain:
    """The wall, distributed; ``path`` is written by rank 0 unless it is there. Collective."""
    on_root(comm, lambda: path if path.exists() else write_atrium(atrium, path, size))
    return read_domain(path, comm)


def _wall(atrium: Atrium) -> int:
    """Volume tag of the wall, the only one left in the model; its surfaces are named."""
    occ = gmsh.model.occ
    _, parts = occ.fragment(atrium.solid(0.0), atrium.solid(atrium.wall))
    occ.synchronize()
    blood = {tag for _, tag in parts[1]}
    (wall,) = {tag for _, tag in parts[0]} - blood
    named: dict[str, list[int]] = {}
    for _, face in gmsh.model.getBoundary([(3, wall)], oriented=False):
        inside = blood & {int(tag) for tag in gmsh.model.getAdjacencies(2, face)[0]}
        named.setdefault("endo" if inside else _outside(atrium, face), []).append(face)
    gmsh.model.removeEntities([(3, tag) for tag in blood])
    own = gmsh.model.getBoundary([(3, wall)], oriented=False)
    gmsh.model.removeEntities(list(set(gmsh.model.getEntities(2)) - set(own)))
    for name, faces in named.items():
        gmsh.model.addPhysicalGroup(2, faces, name=name)
    return int(wall)


def _outside(atrium: Atrium, face: int) -> str:
    """The ring in whose plane a face lies, or ``epi``."""
    middle = np.array(gmsh.model.occ.getCenterOfMass(2, face))
    if gmsh.model.getType(2, face) != "Plane":
        return "epi"
    for name, (centre, normal) in atrium.rings.items():
        if abs((middle - centre) @ normal) < 1e-3 and np.all(np.abs(middle - centre) < 3.0):
            return name
    return "epi"
