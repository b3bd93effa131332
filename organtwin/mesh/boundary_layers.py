"""Layers of flat cells along the borders of regions, inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError, MeshError, suggestion
from organtwin.mesh.conforming.cuts import Cuts
from organtwin.mesh.conforming.interfaces import Interfaces, facet_name
from organtwin.mesh.conforming.sizes import SizeField
from organtwin.mesh.joining import filled, joined
from organtwin.mesh.layer_ends import End, ends_of, slid, slopes_at
from organtwin.mesh.layers import Growth, rims_of, shell_on, vertex_normals
from organtwin.mesh.prisms import split_squares
from organtwin.mesh.quality import dihedral_angles
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Distance up to which vertices of rounded ends make way, per thickness and part of the room.
REACH = 2.2
#: Rounds in which layers get thinner at ends whose triangles would turn over.
THINNER = 12
#: Part of the way to the medial axis that layers take by default.
ROOM = 0.5


@dataclass(frozen=True)
class BoundaryLayers:
    """Layers along a border, inside a region.

    Attributes:
        first: Height of the layer at the border (mm).
        layers: Their number.
        ratio: Height of a layer per that of the one before it, counted from the border.
        room: Part of the way to the medial axis that all layers may take; where that is less than
            their heights, all get thinner alike.
    """

    first: float
    layers: int = 3
    ratio: float = 1.2
    room: float = ROOM

    @property
    def growth(self) -> Growth:
        """The same as a lining.

        Raises:
            InputError: a number is out of bounds.
        """
        total = self.first * float(sum(self.ratio**k for k in range(self.layers)))
        return Growth(total, self.layers, self.ratio, inward=True, room=self.room)


@dataclass(frozen=True)
class Lined:
    """A mesh with layers.

    Attributes:
        mesh: All regions; facets are named by pairs of regions, ``blood-wall``.
        in_layers: Which of its cells belong to layers, shape (m,).
        vertices: Vertices of the border that the layers stand on, shape (k,).
        thickness: Of all layers together at each of them (mm), shape (k,).
        limited: Number of vertices where there was less room than asked for.
        min_dihedral: Smallest dihedral angle (degrees) of all cells; flat layers have small ones.
        core_dihedral: Smallest one outside the layers.
    """

    mesh: TetrahedralMesh
    in_layers: NDArray[np.bool_]
    vertices: Index
    thickness: Points
    limited: int
    min_dihedral: float
    core_dihedral: float


@dataclass(frozen=True)
class _Stand:
    """What layers stand on.

    Attributes:
        points: Vertices (mm).
        triangles: Their triangles, the normals out of the region.
        rims: Open edges.
        vertices: Numbers of the vertices in the interfaces.
        obstacles: Other places of the region's boundary (mm).
        slopes: Normals of the ends at rims, zero elsewhere.
    """

    points: Points
    triangles: Index
    rims: list[Index]
    vertices: Index
    obstacles: Points
    slopes: Points


def lined(
    interfaces: Interfaces, region: str, along: Sequence[str], layers: BoundaryLayers,
    size: SizeField | None = None,
) -> Lined:  # fmt: skip
    """Conforming tetrahedra of all regions, one of them with layers along some of its borders.

    Layers of prisms, each split into three tetrahedra, stand on the triangles of the borders. They
    end on the borders beside, whose vertices make way within them; the moves are harmonic. What is
    left of the region, and the other regions, are filled by gmsh. All other triangles of borders
    stay; volumes stay exactly if the ends are flat, and nearly so if they are rounded.

    Args:
        interfaces: Borders of regions, free of crossings.
        region: The region that gets layers.
        along: Borders that layers stand on, ``blood-wall``.
        layers: Heights and number.
        size: Edge lengths away from borders; those of the triangles spread inwards without.

    Raises:
        InputError: no region or border of that name.
        MeshError: a rim of the layers lies in several borders, there is no room for layers, or the
            rest can't be filled.
    """
    own = interfaces.sides == interfaces.number(region)
    outwards = np.where(own[:, :1], interfaces.triangles, interfaces.triangles[:, ::-1])
    stands = _chosen(interfaces, region, along)
    vertices, base = np.unique(outwards[stands], return_inverse=True)
    base = base.reshape(-1, 3)
    start = interfaces.points[vertices]
    rims = rims_of(start, base)
    rest = own.any(axis=1) & ~stands
    growth = layers.growth
    reach = REACH * growth.thickness / growth.room
    ends = ends_of(interfaces, rest, [vertices[rim] for rim in rims], vertices, reach)
    at_ends = np.concatenate([np.empty(0, np.int64), *(end.triangles for end in ends)])
    still = np.setdiff1d(outwards[rest], np.concatenate([vertices, *(e.inner for e in ends)]))
    normals = vertex_normals(interfaces.points, outwards[stands])
    slopes = slopes_at(interfaces, ends, normals, growth.thickness)[vertices]
    stand = _Stand(start, base, rims, vertices, interfaces.points[still], slopes)
    points, shell, thickness = _making_way(interfaces, stand, ends, growth, reach)
    number, far = _numbers(len(interfaces.points), vertices, len(shell.points))
    borders, sides = _with_rings(interfaces, outwards, at_ends, far, ends, rims, number, layers)
    cells, regions = number[shell.cells], np.full(len(shell.cells), interfaces.number(region))
    core = far[outwards[own.any(axis=1)]]
    made = filled(points, core, np.tile([[1, 0]], (len(core), 1)), {region: 1}, size)
    fillings = [(*made[:2], np.full(len(made[1]), interfaces.number(region)))]
    if len(interfaces.names) > 1:
        others = _without(borders, sides, interfaces.number(region))
        names = {name: k for name, k in interfaces.names.items() if name != region}
        fillings.append(filled(points, *others, names, size))
    cuts = Cuts.of(interfaces)
    mesh = joined(points, (cells, regions), fillings, interfaces.names, cuts)
    in_layers = np.arange(len(mesh.cells)) < len(cells)
    angles = dihedral_angles(mesh.points, mesh.cells).min(axis=1)
    limited = int(np.count_nonzero(thickness < 0.999 * growth.thickness))
    return Lined(mesh, in_layers, vertices, thickness, limited, float(angles.min()),
                 float(angles[~in_layers].min()))  # fmt: skip


def _numbers(n: int, vertices: Index, count: int) -> tuple[Index, Index]:
    """Numbers in the mesh of the vertices of layers, and of those above vertices of borders."""
    number = np.concatenate([vertices, n + np.arange(count - len(vertices))])
    far = np.arange(n)
    far[vertices] = number[-len(vertices) :]
    return number, far


def _making_way(
    interfaces: Interfaces, stand: _Stand, ends: list[End], growth: Growth, reach: float
) -> tuple[Points, TetrahedralMesh, Points]:
    """Vertices of borders and layers, the layers, their thickness; thinner where ends turn over."""
    most = np.full(len(stand.points), growth.thickness)
    for _ in range(THINNER):
        shell, thickness = shell_on(
            stand.points, stand.triangles, stand.rims, growth, stand.obstacles, stand.slopes, most
        )
        far = _numbers(len(interfaces.points), stand.vertices, len(shell.points))[1]
        points = np.concatenate([interfaces.points, shell.points[len(most) :]])
        turned = np.empty((0, 3))
        for end in ends:
            triangles = interfaces.triangles[end.triangles]
            points, bad = slid(points, triangles, far, end)
            turned = np.concatenate([turned, interfaces.points[triangles[bad]].mean(axis=1)])
        if not len(turned):
            return points, shell, thickness
        near = cKDTree(turned).query(stand.points)[0] < reach
        most[near & stand.slopes.any(axis=1)] *= 0.8
    x, y, z = turned[0]
    raise MeshError(
        "lined",
        f"no room for layers on the end near ({x:.1f}, {y:.1f}, {z:.1f}) mm.",
        "Ask for thinner layers, or smooth the surface there.",
    )


def _without(triangles: Index, sides: Index, number: int) -> tuple[Index, Index]:
    """Borders where a region is outside."""
    others = np.where(sides == number, 0, np.maximum(sides, 0))
    turned = others[:, 0] < others[:, 1]
    around = np.where(turned[:, None], triangles[:, ::-1], triangles)
    kept = others.any(axis=1)
    return around[kept], np.sort(others[kept], axis=1)[:, ::-1]


def _chosen(interfaces: Interfaces, region: str, along: Sequence[str]) -> NDArray[np.bool_]:
    """Which triangles layers stand on."""
    known = {facet_name(a, b): (a, b) for a, b in interfaces.pairs if region in (a, b)}
    chosen = np.zeros(len(interfaces.triangles), bool)
    for name in along:
        if name not in known:
            raise InputError("lined", f"`{region}` has no border `{name}`.",
                             suggestion(name, known))  # fmt: skip
        chosen |= interfaces.between(*known[name])
    if not chosen.any():
        raise InputError("lined", "no border was named.", f"Name some of {', '.join(known)}.")
    return chosen


def _with_rings(
    interfaces: Interfaces, outwards: Index, at_ends: Index, far: Index, ends: list[End],
    rims: list[Index], number: Index, layers: BoundaryLayers,
) -> tuple[Index, Index]:  # fmt: skip
    """All borders with the rims of layers in them, and the regions behind and in front."""
    k = len(number) // (layers.layers + 1)
    triangles = interfaces.triangles.copy()
    triangles[at_ends] = far[triangles[at_ends]]
    rings, sides = [], []
    for end in ends:
        first = end.triangles[0]
        behind = np.array_equal(outwards[first], interfaces.triangles[first])
        for rim in (rims[j] for j in end.rims):
            ring = [split_squares(rim + j * k, rim + (j + 1) * k) for j in range(layers.layers)]
            # Rims run as the triangles of the layers do, so that rings face into the region.
            ways = number[np.concatenate(ring)]
            rings.append(ways[:, ::-1] if behind else ways)
            sides.append(np.tile(interfaces.sides[first], (len(ways), 1)))
    return np.concatenate([triangles, *rings]), np.concatenate([interfaces.sides, *sides])
