"""A wall cut out of a mesh of many regions, its surfaces named by what they border on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError, MeshError, suggestion
from organtwin.mesh.closest import distances
from organtwin.mesh.conforming.interfaces import BEYOND, CUT, OUTSIDE, called_by, facet_name
from organtwin.mesh.defects import components, edges_of
from organtwin.mesh.pieces import common_edges, hang_on, have_edge, pieces_of_cells, pieces_of_edges
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.regions import faces
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]
type Mask = NDArray[np.bool_]
#: A facet's name, the name of a region, or a point (mm, LPS) in an opening.
type Place = str | tuple[float, float, float]

#: A place of the wall's border belongs to its end if the nearest place inside is nearer than that
#: on the rim by no more than this share of it.
AT_RIM = 0.02
#: Samples along the edges of a rim, per edge.
SAMPLES = 9
#: A point is in an opening if it is nearer to its middle than this many times its radius.
NEAR = 2.0
#: Rims shorter than this share of the longest one of an opening are pinholes.
PINHOLE = 0.2


@dataclass(frozen=True)
class Borders:
    """All triangles between two regions, or between one and the outside.

    Attributes:
        triangles: Vertex indices, sorted, shape (k, 3).
        sides: Regions on both sides, the larger integer first, 0 for the outside, `BEYOND` where
            the image's border cuts, shape (k, 2).
    """

    triangles: Index
    sides: Index


@dataclass(frozen=True)
class Wall:
    """The surface of a wall, and the openings of what it surrounds.

    Attributes:
        points: Vertices of the mesh (mm), shape (n, 3).
        names: Name of a region → its integer.
        triangles: The wall's surface, shape (k, 3).
        beyond: Region beyond each triangle, 0 for the outside, `BEYOND` a cut, shape (k,).
        openings: Triangles of the lumen that do not touch the wall, shape (j, 3).
        sides: Region of the lumen and the one beyond of each opening's triangle, shape (j, 2).
        wall: Integers of the regions of the wall.
        lumen: Integers of the regions of the lumen.
        place: What messages call it, as ``[anatomy.vessels.aorta]``.
    """

    points: Points
    names: Mapping[str, int]
    triangles: Index
    beyond: Index
    openings: Index
    sides: Index
    wall: Index
    lumen: Index
    place: str

    @property
    def inner(self) -> Mask:
        """Triangles that touch the lumen."""
        return np.isin(self.beyond, self.lumen)

    def end(self, where: Place, key: str) -> Mask:
        """Triangles at which the wall ends: a contact, or the ring around an opening.

        A region's name stands for the contact with it and for the ring around the opening of the
        lumen towards it, with all that this opening hangs together with: blood of a ventricle meets
        atrium, aorta and the outside next to each other. ``cut`` is like a region, and the outside
        goes on beyond it: ``blood-outside`` has the openings of ``blood-cut``, too. The ring are
        the places on the wall's border whose nearest place on the inner surface lies on the rim of
        that surface.

        Args:
            where: Name of a facet (``wall-valve``, ``blood-outside``) or region, or a point.
            key: Key of the case file that names it.

        Raises:
            InputError: nothing is there.
        """
        if not isinstance(where, str):
            return self._ring(self._rim_at(np.asarray(where, float), key))
        pair = self._pair(where)
        if where == OUTSIDE:
            raise InputError(f"{self.place} {key}", "`outside` is no end.", self._known())
        known = {CUT: BEYOND, **self.names}
        if pair is None and where not in known:
            raise InputError(f"{self.place} {key}", f"nothing called `{where}`.", self._known())
        if pair is None:
            number = known[where]
            contact = (self.beyond == number) & ~self.inner
            opening = self.sides[:, 1] == number
        else:
            contact = self._contact(pair)
            sides = self.sides if BEYOND in pair else np.maximum(self.sides, 0)
            opening = (np.sort(sides, axis=1) == np.sort(pair)).all(axis=1)
        ring = self._ring(self._rims(opening)) if opening.any() else np.zeros_like(contact)
        if not (contact | ring).any():
            raise InputError(
                f"{self.place} {key}", f"the wall does not end at `{where}`.", self._known()
            )
        return np.asarray(contact | ring)

    def every_ring(self, key: str) -> Mask:
        """Triangles of the rings around all openings of the lumen.

        Raises:
            InputError: it has none.
        """
        found = self._ring(self._rims(np.ones(len(self.openings), bool)))
        if not found.any():
            raise InputError(key, "the blood has no opening.", "Name the `base`.")
        return found

    def _contact(self, pair: tuple[int, int]) -> Mask:
        """Triangles between the wall and the region that a facet's name has beside it."""
        other = [number for number in pair if number not in self.wall]
        if len(other) != 1:
            return np.zeros(len(self.beyond), bool)
        return np.asarray((self.beyond == other[0]) & ~self.inner)

    def _pair(self, name: str) -> tuple[int, int] | None:
        """Both regions of a facet's name; none if a region itself has that name."""
        if name in self.names:
            return None
        numbers = {OUTSIDE: 0, CUT: BEYOND, **self.names}
        for first in numbers:
            if name.startswith(f"{first}-") and name[len(first) + 1 :] in numbers:
                return numbers[first], numbers[name[len(first) + 1 :]]
        return None

    def _known(self) -> str:
        """What there is to end at."""
        called = called_by(self.names)
        pairs = {tuple(pair) for pair in self.sides.tolist()}
        openings = sorted(f"{called[a]}-{called[b]}" for a, b in pairs)
        touched = sorted(called[k] for k in set(self.beyond[~self.inner].tolist()))
        return (
            f"The wall touches {', '.join(touched) or 'nothing else'}; the lumen opens at "
            f"{', '.join(openings) or 'no place'}."
        )

    def _rims(self, chosen: Mask) -> Index:
        """Edges (e, 2) around whole openings on the inner surface, without those of pinholes."""
        piece = components(edges_of(self.openings))
        whole = np.isin(piece, piece[chosen])
        edges = common_edges(self.triangles[self.inner], self.openings[whole])
        if not len(edges):
            return edges
        ends = self.points[edges]
        length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
        piece = pieces_of_edges(edges)
        total = np.bincount(piece, weights=length)
        return np.asarray(edges[total[piece] > PINHOLE * total.max()])

    def _rim_at(self, point: Points, key: str) -> Index:
        """Edges of the rim whose middle is nearest to a point."""
        edges = common_edges(self.triangles[self.inner], self.openings)
        if not len(edges):
            raise InputError(f"{self.place} {key}", "the lumen has no opening.", self._known())
        piece = pieces_of_edges(edges)
        middles = self.points[edges].mean(axis=1)
        count = np.bincount(piece)
        centres = np.stack([np.bincount(piece, column) / count for column in middles.T], axis=1)
        away = np.linalg.norm(centres - point, axis=1)
        nearest = int(np.argmin(away))
        radius = np.linalg.norm(middles[piece == nearest] - centres[nearest], axis=1).mean()
        if away[nearest] > NEAR * radius:
            x, y, z = centres[nearest]
            raise InputError(
                f"{self.place} {key}",
                f"the nearest opening, at ({x:.1f}, {y:.1f}, {z:.1f}) mm, is {away[nearest]:.1f} "
                "mm away.",
                "Points are in patient coordinates (LPS, mm).",
            )
        return np.asarray(edges[piece == nearest])

    def _ring(self, edges: Index) -> Mask:
        """Triangles of the border that see the inner surface across some edges of its rim.

        Those that have such an edge belong to it in any case: a wall that tapers off has no ring.
        So does all that hangs together with the rim in a cut.
        """
        result = np.zeros(len(self.triangles), bool)
        if not len(edges):
            return result
        outside = np.flatnonzero(~self.inner)
        middles = self.points[self.triangles[outside]].mean(axis=1)
        share = np.linspace(0.0, 1.0, SAMPLES)[:, None, None]
        start, stop = self.points[edges[:, 0]], self.points[edges[:, 1]]
        rim = cKDTree((start + share * (stop - start)).reshape(-1, 3)).query(middles)[0]
        inside = distances(middles, self.points, self.triangles[self.inner])
        seen = rim <= (1.0 + AT_RIM) * inside
        result[outside] = seen | have_edge(self.triangles[outside], edges)
        cut = self.beyond == BEYOND
        result[cut] |= hang_on(self.triangles[cut], edges)
        return result


def borders_of(mesh: TetrahedralMesh) -> Borders:
    """Triangles between regions and to the outside."""
    face = faces(mesh.cells)
    order = np.lexsort(face.T[::-1])
    face, region = face[order], np.tile(mesh.regions, 4)[order]
    start = np.flatnonzero(np.append(True, (face[1:] != face[:-1]).any(axis=1)))
    single = np.diff(np.append(start, len(face))) == 1
    second = np.where(single, 0, region[np.minimum(start + 1, len(face) - 1)])
    sides = np.stack([region[start], second], axis=1)
    kept = sides[:, 0] != sides[:, 1]
    triangles, sides = face[start[kept]], -np.sort(-sides[kept], axis=1)
    sides[(sides[:, 1] == 0) & _are_cut(mesh, triangles), 1] = BEYOND
    return Borders(triangles, sides)


def _are_cut(mesh: TetrahedralMesh, triangles: Index) -> Mask:
    """Which triangles (sorted vertices) are facets in which the image's border cuts."""
    tags = [mesh.facet_names.get(facet_name(name, CUT), -1) for name in mesh.region_names]
    cut = np.sort(mesh.facets[np.isin(mesh.facet_tags, tags)], axis=1)
    order = np.array([len(mesh.points) ** 2, len(mesh.points), 1])
    return np.isin(triangles @ order, cut @ order)


def wall_of(
    mesh: TetrahedralMesh, borders: Borders, wall: Sequence[str], lumen: Sequence[str], place: str
) -> Wall:
    """The surface of some regions, and the openings of those they surround.

    Args:
        mesh: Mesh of all regions.
        borders: Its borders.
        wall: Regions of the wall.
        lumen: Regions that it surrounds; none if it stands alone.
        place: Section of the case file, for messages.

    Raises:
        InputError: a region is not there, or wall and lumen don't touch.
    """
    own = numbers_of(mesh, wall, place)
    inside = numbers_of(mesh, lumen, place)
    in_wall = np.isin(borders.sides, own)
    mine = in_wall.sum(axis=1) == 1
    beyond = np.where(in_wall[mine, 0], borders.sides[mine, 1], borders.sides[mine, 0])
    in_lumen = np.isin(borders.sides, inside)
    opening = (in_lumen.sum(axis=1) == 1) & ~in_wall.any(axis=1)
    sides = np.where(in_lumen[:, :1], borders.sides, borders.sides[:, ::-1])[opening]
    found = Wall(
        mesh.points, mesh.region_names, borders.triangles[mine], beyond,
        borders.triangles[opening], sides, own, inside, place,
    )  # fmt: skip
    if len(inside) and not found.inner.any():
        raise InputError(
            place, f"{_quoted(wall)} and {_quoted(lumen)} don't touch.", "Name others."
        )
    return found


def numbers_of(mesh: TetrahedralMesh, names: Sequence[str], place: str) -> Index:
    """Integers of regions.

    Raises:
        InputError: one of them is not there.
    """
    for name in names:
        if name not in mesh.region_names:
            known = mesh.region_names
            raise InputError(place, f"no region `{name}` in the mesh.", suggestion(name, known))
    return np.array([mesh.region_names[name] for name in names], np.int64)


def cut_out(
    mesh: TetrahedralMesh,
    regions: Mapping[str, Mask],
    surfaces: Mapping[str, Index],
    place: str,
) -> tuple[TetrahedralMesh, Index]:
    """The largest piece of some cells as a mesh of its own.

    Args:
        mesh: The whole.
        regions: New name → which cells it has.
        surfaces: New name → triangles, those of later names win.
        place: Section of the case file, for messages.

    Returns:
        The part, and the index of its cells in the whole.

    Raises:
        MeshError: no cells, or a surface without triangles on that piece.
    """
    number = np.zeros(len(mesh.cells), np.int64)
    for k, chosen in enumerate(regions.values(), 1):
        number[chosen] = k
    taken = np.flatnonzero(number)
    if not len(taken):
        raise MeshError(place, "no tetrahedra.", "Check the names of the regions.")
    piece = pieces_of_cells(mesh.cells[taken])
    volume = np.bincount(piece, signed_volumes(mesh.points, mesh.cells[taken]))
    taken = taken[piece == np.argmax(volume)]
    used, corners = np.unique(mesh.cells[taken], return_inverse=True)
    new = np.full(len(mesh.points), -1)
    new[used] = np.arange(len(used))
    facets, tags = _merged(surfaces)
    facets = new[facets]
    kept = (facets >= 0).all(axis=1)
    names = {name: k for k, name in enumerate(surfaces, 1)}
    for name, k in names.items():
        if not (tags[kept] == k).any():
            raise MeshError(place, f"surface `{name}` has no triangles.", "Check what it is named.")
    part = replace(
        mesh, points=mesh.points[used], cells=corners.reshape(-1, 4), regions=number[taken],
        region_names={name: k for k, name in enumerate(regions, 1)}, facets=facets[kept],
        facet_tags=tags[kept], facet_names=names, vertex_values={}, cell_values={}, fibres={},
    )  # fmt: skip
    return part, taken


def _merged(surfaces: Mapping[str, Index]) -> tuple[Index, Index]:
    """Triangles of all surfaces, each once, and their integers, from 1."""
    triangles = np.concatenate([np.sort(t, axis=1).reshape(-1, 3) for t in surfaces.values()])
    tags = np.concatenate([np.full(len(t), k) for k, t in enumerate(surfaces.values(), 1)])
    # The first of equal ones is kept: those of later names come first.
    _, first = np.unique(triangles[::-1], axis=0, return_index=True)
    return triangles[::-1][first], tags[::-1][first]


def _quoted(names: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)
