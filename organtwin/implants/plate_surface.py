"""Surface of a plate from its drawing: flat, or laid on a bone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import gmsh
import numpy as np
from numpy.typing import NDArray

from organtwin.errors import MeshError
from organtwin.implants.implant import Implant, LocalFrame
from organtwin.implants.materials import load_material
from organtwin.implants.plates import Plate
from organtwin.mesh.defects import inspect
from organtwin.mesh.shapes.limits import within
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.tetrahedra import gmsh_session

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]
#: Places on the plate's underside, (n, 2), to points and unit normals off the bone, (n, 3) each.
type Underside = Callable[[Points], tuple[Points, Points]]


@dataclass(frozen=True)
class Drawing:
    """Triangles of a plate's outline with its holes.

    Attributes:
        places: Vertices (mm), shape (n, 2).
        triangles: Counter-clockwise, shape (m, 3).
        rims: Directed edges with the plate on their left, shape (k, 2).
        hole: Number of the hole of each rim's edge from 1, 0 for the outline, shape (k,).
    """

    places: Points
    triangles: Index
    rims: Index
    hole: Index


def flat_plate(plate: Plate, size: float) -> Implant:
    """The plate, not bent, in its own frame.

    Surfaces are ``bottom``, ``top``, ``sides``, ``hole1``, ...; points ``middle`` and the holes'
    middles on the underside; directions ``normal`` off the bone and the holes' axes off the bone.

    Args:
        plate: Its drawing.
        size: Edge length (mm) of the triangles.

    Raises:
        InputError: ``size`` is too large for its smallest wall.
        MeshError: no sound surface could be made.
    """

    def underside(places: Points) -> tuple[Points, Points]:
        up = np.broadcast_to([0.0, 0.0, 1.0], (len(places), 3))
        return np.pad(places, ((0, 0), (0, 1))), up

    return raised(plate, drawing(plate, size), underside, size, LocalFrame.own())


def raised(
    plate: Plate,
    drawn: Drawing,
    underside: Underside,
    size: float,
    frame: LocalFrame,
    notes: tuple[str, ...] = (),
) -> Implant:
    """The plate on an underside.

    Args:
        plate: Its drawing.
        drawn: Triangles of it.
        underside: Where its places come to lie.
        size: Edge length (mm), for the walls.
        frame: Its frame.
        notes: What is known of it.

    Raises:
        MeshError: it cuts itself.
    """
    points, normals = underside(drawn.places)
    outer = np.unique(drawn.rims[drawn.hole == 0])
    height = np.full(len(points), plate.thickness)
    height[outer] -= plate.edge
    layers = max(2, round(plate.thickness / size))
    surface = _closed(drawn, points, normals, height, layers, len(plate.holes))
    defects = inspect(surface).defects()
    if defects:
        raise MeshError(
            plate.name, f"its surface has {defects[0]}",
            "Make it thinner or shorter, or lay it where the bone is less curved.",
        )  # fmt: skip
    middles = np.array([(0.0, 0.0), *((hole.x, hole.y) for hole in plate.holes)])
    feet, axes = underside(middles)
    holes = {f"hole{k}": k for k in range(1, len(plate.holes) + 1)}
    made = plate.material
    return Implant(
        plate.name, "plate", surface, frame,
        {"middle": feet[0], **{name: feet[k] for name, k in holes.items()}},
        {"normal": axes[0], **{name: axes[k] for name, k in holes.items()}},
        load_material(made) if isinstance(made, str) else made,
        plate.smallest_wall, plate.side, notes,
    )  # fmt: skip


def drawing(plate: Plate, size: float) -> Drawing:
    """Triangles of about edge length ``size`` (mm) in the outline, by gmsh.

    Raises:
        InputError: ``size`` is too large for its smallest wall.
        MeshError: gmsh can't.
    """
    within(plate.name, "size", size, 0.2, min(plate.thickness, 0.25 * np.sqrt(plate.area)))
    loops = [_subdivided(plate.outline, size)]
    for hole in plate.holes:
        number = max(16, int(np.ceil(np.pi * hole.diameter / size)))
        angle = -2.0 * np.pi * np.arange(number) / number
        circle = np.column_stack([np.cos(angle), np.sin(angle)])
        loops.append(np.array([hole.x, hole.y]) + 0.5 * hole.diameter * circle)
    places, triangles = _triangulated(loops, size, plate.name)
    rims = _rims(triangles)
    # gmsh's first nodes are those of the loops, in their order.
    owner = np.repeat(np.arange(len(loops)), [len(loop) for loop in loops])
    return Drawing(places, triangles, rims, owner[rims[:, 0]])


def _subdivided(outline: Points, size: float) -> Points:
    found = []
    for start, end in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        number = max(1, int(np.ceil(np.linalg.norm(end - start) / size)))
        found.append(start + np.arange(number)[:, None] / number * (end - start))
    return np.concatenate(found)


def _triangulated(loops: list[Points], size: float, name: str) -> tuple[Points, Index]:
    with gmsh_session():
        gmsh.model.add("plate")
        geo = gmsh.model.geo
        curves = []
        for loop in loops:
            corners = [geo.addPoint(x, y, 0.0, size) for x, y in loop.tolist()]
            ends = zip(corners, corners[1:] + corners[:1], strict=True)
            lines = [geo.addLine(a, b) for a, b in ends]
            for line in lines:
                geo.mesh.setTransfiniteCurve(line, 2)
            curves.append(geo.addCurveLoop(lines))
        geo.addPlaneSurface(curves)
        geo.synchronize()
        gmsh.option.setNumber("Mesh.Algorithm", 6)
        try:
            gmsh.model.mesh.generate(2)
        except Exception as error:  # gmsh raises bare Exceptions
            raise MeshError(name, f"gmsh: {error}.", "Try another size.") from None
        tags, coordinates, _ = gmsh.model.mesh.getNodes()
        _, nodes = gmsh.model.mesh.getElementsByType(2)
    number = np.full(int(tags.max()) + 1, -1)
    order = np.argsort(tags)
    number[tags[order].astype(np.int64)] = np.arange(len(tags))
    places = coordinates.reshape(-1, 3)[order, :2]
    triangles = number[nodes.astype(np.int64)].reshape(-1, 3)
    a, b, c = (places[triangles[:, k]] for k in range(3))
    u, v = b - a, c - a
    turned = u[:, 0] * v[:, 1] < u[:, 1] * v[:, 0]
    return places, np.where(turned[:, None], triangles[:, ::-1], triangles)


def _rims(triangles: Index) -> Index:
    """Edges of one triangle only, as it runs."""
    edges = triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    _, first, count = np.unique(
        np.sort(edges, axis=1), axis=0, return_index=True, return_counts=True
    )
    return np.asarray(edges[first[count == 1]])


def _closed(
    drawn: Drawing, points: Points, normals: Points, height: Points, layers: int, holes: int
) -> TriangleSurface:
    n = len(points)
    levels = [points + (k / layers) * height[:, None] * normals for k in range(layers + 1)]
    # Inner levels have vertices at the rims only.
    at_rim = np.unique(drawn.rims)
    number = [np.arange(n)]
    all_points = [levels[0]]
    count = n
    for level in levels[1:-1]:
        own = np.full(n, -1)
        own[at_rim] = count + np.arange(len(at_rim))
        number.append(own)
        all_points.append(level[at_rim])
        count += len(at_rim)
    number.append(count + np.arange(n))
    all_points.append(levels[-1])
    a, b = drawn.rims.T
    walls, tags = [], []
    for low, high in pairwise(number):
        walls += [
            np.column_stack([low[a], low[b], high[b]]), np.column_stack([low[a], high[b], high[a]])
        ]  # fmt: skip
        tags += [drawn.hole + 3] * 2
    t = drawn.triangles
    triangles = np.concatenate([number[0][t[:, ::-1]], number[-1][t], *walls])
    part = np.concatenate([np.full(len(t), 1), np.full(len(t), 2), *tags])
    names = {"bottom": 1, "top": 2, "sides": 3}
    names |= {f"hole{k}": 3 + k for k in range(1, holes + 1)}
    return TriangleSurface(
        np.concatenate(all_points), triangles, triangle_values={"part": part}, names=names
    )
