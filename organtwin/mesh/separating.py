"""Regions that share their faces taken apart along chosen borders, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from organtwin.errors import InputError, suggestion
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]
type Flags = NDArray[np.bool_]

#: Corners of the faces of a tetrahedron of positive volume, seen counter-clockwise from outside.
OUTWARDS = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])


def separate(mesh: TetrahedralMesh, pairs: Sequence[tuple[str, str]]) -> TetrahedralMesh:
    """Split a mesh between regions, so that each has nodes of its own where they touch.

    Around each vertex the cells fall into groups that hang together by faces that are not cut.
    The group of the first cell keeps the vertex and the others get copies of it. Where an interface
    ends inside glued material (at a third region, or at a crack's tip) there is one group, and the
    vertex stays one.

    Cells keep their order. The facets on both sides are the surfaces ``<a>_at_<b>``, of the cells
    of a, and ``<b>_at_<a>``, each seen from outside its region; a tag that they had is replaced.
    Other facets follow their cells, with their names.

    Args:
        mesh: Regions that share faces.
        pairs: Names of the regions to take apart, in either order.

    Raises:
        InputError: no region of that name, a pair of one region, or two that share no face.
    """
    wanted = _numbers(mesh, pairs)
    facets, cells, which = _inner_faces(mesh.cells)
    region = np.sort(mesh.regions[cells], axis=1)
    pair = np.full(len(facets), -1)
    for k, numbers in enumerate(wanted):
        pair[(region == sorted(numbers)).all(axis=1)] = k
    for k, (a, b) in enumerate(pairs):
        if not (pair == k).any():
            raise InputError(
                "separate",
                f"`{a}` and `{b}` share no face.",
                "Name regions of one conforming mesh that touch, each pair once.",
            )
    cut = pair >= 0
    corners, origin = _split_corners(mesh, cells[~cut], facets[~cut], facets[cut])
    kept = _facets_of_cells(mesh, corners, facets[cut])
    both = _both_sides(corners, mesh.regions, cells[cut], which[cut], pair[cut], wanted)
    names, facets, tags = _named(mesh, kept, both, pairs)
    return replace(
        mesh,
        points=mesh.points[origin],
        cells=corners,
        facets=facets,
        facet_tags=tags,
        facet_names=names,
        vertex_values={name: np.asarray(v)[origin] for name, v in mesh.vertex_values.items()},
    )


def _numbers(mesh: TetrahedralMesh, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    """Integers of the regions of each pair."""
    for name in {name for pair in pairs for name in pair}:
        if name not in mesh.region_names:
            raise InputError(
                "separate", f"no region `{name}`.", suggestion(name, mesh.region_names)
            )
    for a, b in pairs:
        if a == b:
            raise InputError("separate", f"`{a}` from itself.", "Name two regions.")
    return [(mesh.region_names[a], mesh.region_names[b]) for a, b in pairs]


def _inner_faces(cells: Index) -> tuple[Index, Index, Index]:
    """Faces between cells: sorted vertices (f, 3), both cells (f, 2), the face in each (f, 2)."""
    every = np.sort(cells[:, OUTWARDS].reshape(-1, 3), axis=1)
    order = np.lexsort(every.T[::-1])
    same = np.flatnonzero((every[order[1:]] == every[order[:-1]]).all(axis=1))
    sides = np.sort(np.column_stack([order[same], order[same + 1]]), axis=1)
    return every[sides[:, 0]], sides // 4, sides % 4


def _split_corners(
    mesh: TetrahedralMesh, glued: Index, shared: Index, cut: Index
) -> tuple[Index, Index]:
    """Corners of the cells with copies where groups part; the old number of each vertex.

    Args:
        mesh: As it was.
        glued: Cells at both sides of each face that is not cut, (f, 2).
        shared: Vertices of these faces, (f, 3).
        cut: Vertices of the faces that are cut.
    """
    cells, count = mesh.cells, len(mesh.points)
    touched = np.zeros(count, bool)
    touched[cut] = True
    # A corner of a cell at a touched vertex is a node of a graph, faces are its links.
    number = np.full(cells.shape, -1)
    at = touched[cells]
    number[at] = np.arange(int(at.sum()))
    vertex, links = cells[at], []
    for k in range(3):
        v = shared[:, k]
        some = touched[v]
        sides, v = glued[some], v[some]
        ends = [number[c, (cells[c] == v[:, None]).argmax(axis=1)] for c in sides.T]
        links.append(np.column_stack(ends))
    one, two = np.concatenate(links).T
    n = len(vertex)
    graph = coo_matrix((np.ones(len(one)), (one, two)), shape=(n, n))
    _, group = connected_components(graph, directed=False)
    # Groups in the order of their first cells; the first one at a vertex keeps it.
    _, first, of = np.unique(group, return_index=True, return_inverse=True)
    owner = vertex[first]
    order = np.lexsort([first, owner])
    is_copy = np.zeros(len(first), bool)
    is_copy[order[1:]] = owner[order[1:]] == owner[order[:-1]]
    new = owner.copy()
    new[is_copy] = count + np.arange(int(is_copy.sum()))
    corners = cells.copy()
    corners[at] = new[of.ravel()]
    return corners, np.concatenate([np.arange(count), owner[is_copy]])


def _facets_of_cells(mesh: TetrahedralMesh, corners: Index, cut: Index) -> tuple[Index, Index]:
    """Tagged facets that are not cut, with the vertices that their cells have now, and tags."""
    if not len(mesh.facets):
        return mesh.facets, mesh.facet_tags
    count = len(mesh.points)
    every = _keys(mesh.cells[:, OUTWARDS].reshape(-1, 3), count)
    keys = _keys(mesh.facets, count)
    stays = ~np.isin(keys, _keys(cut, count))
    order = np.argsort(every, kind="stable")
    place = np.searchsorted(every, keys, sorter=order).clip(max=len(every) - 1)
    face = order[place]
    known = every[face] == keys
    # Corner by corner, so that the facet keeps its orientation.
    cell = face // 4
    old, new = mesh.cells[cell], corners[cell]
    where = (old[:, None, :] == mesh.facets[:, :, None]).argmax(axis=2)
    moved = np.take_along_axis(new, where, axis=1)
    facets = np.where(known[:, None], moved, mesh.facets)
    return facets[stays], mesh.facet_tags[stays]


def _both_sides(
    corners: Index,
    regions: Index,
    cells: Index,
    which: Index,
    pair: Index,
    wanted: Sequence[tuple[int, int]],
) -> list[tuple[Index, Index]]:
    """Facets of the first and of the second region of each pair, in the same order."""
    made = []
    for k, (a, _) in enumerate(wanted):
        own, face = cells[pair == k], which[pair == k]
        swap = regions[own[:, 0]] != a
        own[swap], face[swap] = own[swap, ::-1], face[swap, ::-1]
        sides = [
            np.take_along_axis(corners[own[:, i]], OUTWARDS[face[:, i]], axis=1) for i in (0, 1)
        ]
        made.append((sides[0], sides[1]))
    return made


def _named(
    mesh: TetrahedralMesh,
    kept: tuple[Index, Index],
    both: Sequence[tuple[Index, Index]],
    pairs: Sequence[tuple[str, str]],
) -> tuple[dict[str, int], Index, Index]:
    """Names of all surfaces that have facets, the facets, their tags."""
    names = dict(mesh.facet_names)
    facets, tags = [kept[0]], [kept[1]]
    for (a, b), sides in zip(pairs, both, strict=True):
        for name, side in zip((f"{a}_at_{b}", f"{b}_at_{a}"), sides, strict=True):
            tag = names.setdefault(name, max(names.values(), default=0) + 1)
            facets.append(side)
            tags.append(np.full(len(side), tag))
    every = np.concatenate(tags)
    present = set(every.tolist())
    return {n: k for n, k in names.items() if k in present}, np.concatenate(facets), every


def _keys(triangles: Index, count: int) -> Index:
    """One integer for the vertices of each triangle, in any order."""
    t = np.sort(triangles, axis=1).astype(np.int64)
    if count**3 < 2**63:
        return np.asarray((t[:, 0] * count + t[:, 1]) * count + t[:, 2])
    raise InputError("separate", f"{count} vertices are too many.", "Split the mesh.")
