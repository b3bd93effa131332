"""A wall grown on the surface of blood, joined with the blood inside."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.conforming.interfaces import facet_name
from organtwin.mesh.conforming.sizes import SizeField
from organtwin.mesh.defects import edges_of
from organtwin.mesh.joining import filled, joined
from organtwin.mesh.layers import GrownWall, Growth, grow
from organtwin.mesh.quality import dihedral_angles
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Index = NDArray[np.int64]


@dataclass(frozen=True)
class Walled:
    """Blood in its wall.

    Attributes:
        mesh: Both regions. Facets are ``blood-wall``, ``wall-outside``, ``aortic`` for a cap of the
            blood and ``wall-aortic`` for the ring around it.
        wall: The wall alone, with its thickness.
        min_dihedral: Smallest dihedral angle (degrees).
    """

    mesh: TetrahedralMesh
    wall: GrownWall
    min_dihedral: float


def walled(
    surface: TriangleSurface, growth: Growth, *, caps: tuple[str, ...] = (),
    size: SizeField | None = None, name: str = "blood",
) -> Walled:  # fmt: skip
    """Grow a wall outwards on a closed surface and fill the inside; both share its triangles.

    Args:
        surface: Closed, facing outwards (mm).
        growth: Thickness, layers and name of the wall.
        caps: Names of parts of the surface that no wall grows on.
        size: Edge lengths inside; those of the triangles spread inwards without.
        name: What the inside is called.

    Raises:
        InputError: the surface is open, the wall should grow inwards, no cap of that name.
        MeshError: the surface faces inwards, has no room for the wall or can't be filled.
    """
    if growth.inward or name == growth.name:
        problem = "is called as the inside is." if name == growth.name else "should grow inwards."
        remedy = "Use another name; for layers inside take organtwin.mesh.boundary_layers."
        raise InputError("walled", f"the wall {problem}", remedy)
    if (edges_of(surface.triangles).count == 1).any():
        raise InputError(
            "walled", "the surface is open.", "Close its ends with caps (organtwin.mesh.repair)."
        )
    grown = grow(surface, growth, caps=caps)
    n, k = len(surface.points), len(grown.vertices)
    number = np.concatenate([grown.vertices, n + np.arange(len(grown.mesh.points) - k)])
    points = np.concatenate([surface.points, grown.mesh.points[k:]])
    cells = number[grown.mesh.cells]
    sides = np.tile([[2, 0]], (len(surface.triangles), 1))
    inside = filled(points, surface.triangles, sides, {name: 2}, size)
    mesh = joined(points, (cells, np.ones(len(cells), np.int64)), [inside],
                  {growth.name: 1, name: 2})  # fmt: skip
    mesh = _named(mesh, surface, caps, grown, number, growth.name)
    return Walled(mesh, grown, float(dihedral_angles(mesh.points, mesh.cells).min()))


def _named(
    mesh: TetrahedralMesh, surface: TriangleSurface, caps: tuple[str, ...], grown: GrownWall,
    number: Index, wall: str,
) -> TetrahedralMesh:  # fmt: skip
    """The mesh with names of caps and of the rings around them."""
    known = {cap: surface.triangles[surface.triangle_values["part"] == surface.names[cap]]
             for cap in caps}  # fmt: skip
    for ring, tag in grown.mesh.facet_names.items():
        if ring not in ("inner", "outer"):
            found = number[grown.mesh.facets[grown.mesh.facet_tags == tag]]
            known[facet_name(wall, ring)] = found
    tags, names = mesh.facet_tags.copy(), dict(mesh.facet_names)
    own = np.sort(mesh.facets, axis=1)
    for name, triangles in known.items():
        both = np.unique(np.concatenate([own, np.sort(triangles, axis=1)]), axis=0,
                         return_inverse=True)[1].ravel()  # fmt: skip
        names[name] = max(names.values()) + 1
        tags[np.isin(both[: len(own)], both[len(own) :])] = names[name]
    used = set(np.unique(tags).tolist())
    return replace(mesh, facet_tags=tags, facet_names={k: v for k, v in names.items() if v in used})
