"""Closed surfaces, nested or apart, to interfaces: who contains whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, MeshError
from organtwin.mesh.conforming.interfaces import Interfaces, refuse_reserved
from organtwin.mesh.defects import (
    components,
    edges_of,
    inspect,
    part_boxes,
    part_volumes,
    places_of,
    winding,
)
from organtwin.mesh.intersections import intersecting_pairs
from organtwin.mesh.surface_files import Points, Triangles, TriangleSurface

type Index = NDArray[np.int64]


@dataclass(frozen=True)
class _Parts:
    """Triangles of all surfaces and the parts of them that hang together.

    Attributes:
        points: Vertices of all surfaces (mm).
        triangles: Vertex indices.
        part: Part of each triangle.
        owner: Number of the region whose surface each part belongs to, from 1.
        volume: What each part encloses (mm³), negative for the wall of a hollow.
    """

    points: Points
    triangles: Triangles
    part: Index
    owner: Index
    volume: Points


def from_surfaces(surfaces: Mapping[str, TriangleSurface]) -> Interfaces:
    """Interfaces of closed surfaces that lie in each other or apart.

    A surface inside another cuts its region out of that: what lies between the two belongs to the
    outer one. A hollow of a surface belongs to what lies around it.

    Args:
        surfaces: Name of each region → its surface, facing outwards; regions are numbered in this
            order from 1.

    Raises:
        InputError: no surface, or one is called ``outside`` or ``cut``.
        MeshError: a surface has a defect, or two of them touch or cut each other.
    """
    if not surfaces:
        raise InputError("surfaces", "there is none.", "Name one.")
    refuse_reserved(surfaces, "surfaces")
    for name, surface in surfaces.items():
        _check(name, surface)
    parts = _parts(list(surfaces.values()))
    _refuse_contact(parts, list(surfaces))
    around = np.array([_around(parts, k) for k in range(len(parts.owner))])
    sides = np.column_stack([parts.owner, around])[parts.part]
    turned = sides[:, 0] < sides[:, 1]
    triangles = np.where(turned[:, None], parts.triangles[:, ::-1], parts.triangles)
    names = {name: number for number, name in enumerate(surfaces, 1)}
    return Interfaces(parts.points, triangles, np.sort(sides, axis=1)[:, ::-1], names)


def _check(name: str, surface: TriangleSurface) -> None:
    defects = inspect(surface, intersections=False).defects()
    if defects or not len(surface.triangles):
        raise MeshError(
            f"surface `{name}`",
            defects[0] if defects else "no triangles.",
            "Repair it first: organtwin surface FILE --repair OUT",
        )


def _parts(surfaces: list[TriangleSurface]) -> _Parts:
    used = [surface.select(np.ones(len(surface.triangles), bool)) for surface in surfaces]
    shift = np.cumsum([0, *(len(surface.points) for surface in used)])
    points = np.concatenate([surface.points for surface in used])
    triangles = np.concatenate([s.triangles + k for s, k in zip(used, shift[:-1], strict=True)])
    part = components(edges_of(triangles))
    first = np.unique(part, return_index=True)[1]
    owner = np.searchsorted(shift, triangles[first, 0], side="right")
    low, high = part_boxes(points, triangles, part)
    volume = part_volumes(points, triangles, part, 0.5 * (low + high))
    return _Parts(points, triangles, part, owner.astype(np.int64), volume)


def _refuse_contact(parts: _Parts, names: list[str]) -> None:
    pairs = intersecting_pairs(parts.points, parts.triangles)
    if not len(pairs):
        return
    one, two = parts.owner[parts.part[pairs]].T
    first = (one == one[0]) & (two == two[0])
    places = parts.points[parts.triangles[pairs[first]]].mean(axis=(1, 2))
    a, b = names[one[0] - 1], names[two[0] - 1]
    if a == b:
        raise MeshError(
            f"surface `{a}`",
            f"it cuts itself at {places_of(places)}.",
            "Repair it first: organtwin surface FILE --repair OUT",
        )
    raise MeshError(
        f"surfaces `{a}` and `{b}`",
        f"they cut or touch each other at {places_of(places)}.",
        f"Make labels of them and mesh those: organtwin surface {a}.stl {b}.stl "
        "--labels labels.seg.nrrd --voxel 0.5",
    )


def _around(parts: _Parts, part: int) -> int:
    """Region that lies on the other side of a part, 0 for the outside."""
    place = parts.points[parts.triangles[np.argmax(parts.part == part), 0]]
    containing = [
        (abs(parts.volume[k]), int(parts.owner[k]))
        for k in range(len(parts.owner))
        if parts.owner[k] != parts.owner[part] and parts.volume[k] > 0 and _inside(parts, k, place)
    ]
    filled = [pair for pair in containing if not _hollow(parts, pair[1], place)]
    return min(filled)[1] if filled else 0


def _hollow(parts: _Parts, region: int, place: Points) -> bool:
    """Whether a place lies in a hollow of a region's surface."""
    own = np.flatnonzero(parts.owner == region).tolist()
    turns = sum(int(np.sign(parts.volume[k])) for k in own if _inside(parts, k, place))
    return turns <= 0


def _inside(parts: _Parts, part: int, place: Points) -> bool:
    triangles = parts.triangles[parts.part == part]
    low, high = (f(parts.points[triangles], axis=(0, 1)) for f in (np.min, np.max))
    if (place < low).any() or (place > high).any():
        return False
    return abs(winding(parts.points, triangles, place)) > 0.5
