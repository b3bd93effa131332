"""Tetrahedra between interfaces: every triangle of theirs is a face, every region is filled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import MeshError
from organtwin.mesh.conforming.chambers import NAMED, Chambers, chambers
from organtwin.mesh.conforming.child import in_child
from organtwin.mesh.conforming.classification import classify
from organtwin.mesh.conforming.delaunay import HXT, Lattice, delaunay
from organtwin.mesh.conforming.interfaces import OUTSIDE, Interfaces
from organtwin.mesh.conforming.polishing import polish
from organtwin.mesh.conforming.sizes import SizeField
from organtwin.mesh.intersections import intersecting_pairs
from organtwin.mesh.quality import signed_volumes

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Points of the lattice from which gmsh reads sizes, at most.
LATTICE = 300_000
#: Growth of edge lengths with the distance from the triangles.
GRADATION = 0.3
#: Time that gmsh gets (s), and how much more for each triangle.
PATIENCE = (90.0, 1e-3)


def fill(
    interfaces: Interfaces,
    size: SizeField | None = None,
    *,
    algorithm: int = HXT,
    polished: bool = False,
) -> tuple[Points, Index, Index]:
    """Conforming tetrahedra of all regions.

    gmsh fills each chamber between the interfaces; no triangle is changed. The region of a cell is
    then found again from the triangles, across all other faces, and compared with the chamber it
    was made for.

    Args:
        interfaces: Triangles between regions, closed and free of crossings.
        size: Edge lengths inside; none: those of the triangles spread inwards.
        algorithm: gmsh's 3D algorithm, see `organtwin.mesh.conforming.delaunay`.
        polished: Whether MMG makes the cells rounder, which takes longer than all else.

    Returns:
        Vertices (mm), the first of which are those of the interfaces in order, (n, 3); tetrahedra
        with positive volumes, (m, 4); region of each, (m,).

    Raises:
        MeshError: the interfaces enclose nothing or can't be filled; the text names the place.
    """
    interfaces = interfaces.uncut()
    lattice = None if size is None else _lattice(interfaces, size)
    try:
        rooms = chambers(interfaces)
        _check_complete(interfaces, rooms)
        points, cells, numbers = _delaunay(interfaces, rooms.sides, lattice, algorithm)
    except MeshError as error:
        raise _explained(error, interfaces) from None
    if polished:
        points, cells, numbers = polish(points, cells, numbers, len(interfaces.points))
    volumes = signed_volumes(points, cells)
    if (volumes <= 0).any():
        raise _wrong("are flat or inverted", points, cells[volumes <= 0])
    regions = classify(interfaces, points, cells)
    strange = regions != rooms.regions[numbers]
    if strange.any():
        raise _wrong("lie in another region than they were made for", points, cells[strange])
    return points, cells, regions


def _delaunay(
    interfaces: Interfaces, sides: Index, lattice: Lattice | None, algorithm: int
) -> tuple[Points, Index, Index]:
    """Cells by gmsh in another process: some borders make it hang, some crash."""
    limit = PATIENCE[0] + PATIENCE[1] * len(interfaces.triangles)
    points, cells, numbers = in_child(
        lambda: delaunay(interfaces.points, interfaces.triangles, sides, lattice, algorithm),
        limit,
        "gmsh",
    )
    return points.astype(np.float64), cells.astype(np.int64), numbers.astype(np.int64)


def _check_complete(interfaces: Interfaces, rooms: Chambers) -> None:
    """Refuse regions that enclose nothing."""
    missing = [name for name, number in interfaces.names.items() if number not in rooms.regions]
    if missing or len(rooms.regions) < 2:
        raise MeshError(
            "fill",
            f"`{'`, `'.join(missing) or 'every region'}` encloses no volume.",
            "Look whether the label is empty or thinner than a triangle.",
        )


def _explained(error: MeshError, interfaces: Interfaces) -> MeshError:
    """The failure with the places where triangles cross, which is what gmsh fails at mostly."""
    pairs = intersecting_pairs(interfaces.points, interfaces.triangles)
    if not len(pairs):
        return error
    called = {number: name for name, number in interfaces.names.items()} | {0: OUTSIDE}
    places = interfaces.corners[np.unique(pairs[:, 0])[:NAMED]].mean(axis=1)
    concerned = sorted({called[int(k)] for k in np.unique(interfaces.sides[pairs.ravel()])})
    told = ", ".join(f"({x:.2f}, {y:.2f}, {z:.2f})" for x, y, z in places)
    return MeshError(
        error.place,
        f"{error.problem} {len(pairs)} pairs of triangles around `{'`, `'.join(concerned)}` cross, "
        f"near {told} mm{' and others' if len(np.unique(pairs[:, 0])) > NAMED else ''}.",
        "Smooth the interfaces less or use a smaller size there.",
    )


def _wrong(what: str, points: Points, cells: Index) -> MeshError:
    x, y, z = points[cells[0]].mean(axis=0)
    return MeshError(
        "fill",
        f"{len(cells)} cells {what}, the first near ({x:.2f}, {y:.2f}, {z:.2f}) mm.",
        "Use a smaller size or another algorithm.",
    )


def _lattice(interfaces: Interfaces, size: SizeField) -> Lattice:
    """Sizes on a lattice around the interfaces, growing slowly from those of the triangles.

    gmsh never ends where sizes jump at small triangles.
    """
    points = interfaces.points
    edges = _edges_at(interfaces)
    low, high = points.min(axis=0), points.max(axis=0)
    step = float(np.prod(high - low + edges.mean()) / LATTICE) ** (1.0 / 3.0)
    step = max(step, 0.5 * float(np.percentile(edges, 5)))
    shape = np.ceil((high - low) / step).astype(np.int64) + 2
    corner = 0.5 * (low + high) - 0.5 * step * (shape - 1)
    places = corner + step * np.indices(tuple(shape)).reshape(3, -1).T
    distance, near = cKDTree(points).query(places)
    values = np.minimum(size.at(places), edges[near] + GRADATION * distance)
    return Lattice(values.reshape(shape), corner, np.full(3, step))


def _edges_at(interfaces: Interfaces) -> Points:
    """Mean length (mm) of the edges around each vertex, shape (n,)."""
    corners = interfaces.corners
    length = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).mean(axis=1)
    where = interfaces.triangles.ravel()
    n = len(interfaces.points)
    number = np.maximum(np.bincount(where, minlength=n), 1)
    return np.asarray(np.bincount(where, np.repeat(length, 3), n) / number)
