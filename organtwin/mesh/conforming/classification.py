"""Regions of tetrahedra from the interfaces around them, and the proof that these are faces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from organtwin.errors import MeshError

if TYPE_CHECKING:
    from organtwin.mesh.conforming.interfaces import Interfaces

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Corners of the face opposite each vertex, seen from outside of a positive tetrahedron.
_FACES = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])
#: Three numbers below this make one of 63 bits.
_MOST_POINTS = 2_097_151


def classify(interfaces: Interfaces, points: Points, cells: Index) -> Index:
    """Region of each tetrahedron: what the triangles say, spread across all other faces.

    Args:
        interfaces: Their points are the first of the mesh.
        points: Vertices (mm), shape (n, 3).
        cells: With positive volumes, shape (m, 4).

    Returns:
        Shape (m,).

    Raises:
        MeshError: a triangle is no face of the mesh, a face has more than two cells, or two
            triangles contradict each other; the text names the place.
    """
    if len(points) > _MOST_POINTS:
        raise MeshError("fill", f"{len(points)} vertices are too many.", "Use a larger size.")
    face = cells[:, _FACES].reshape(-1, 3)
    everything = np.concatenate([face, interfaces.triangles])
    number, odd = _numbered(everything, len(points))
    of_face, of_triangle = number[: len(face)], number[len(face) :]
    cells_at = np.bincount(of_face, minlength=int(number.max()) + 1)
    _check(interfaces, points, cells_at[of_triangle])
    if cells_at.max() > 2:
        place = points[face[np.nonzero(cells_at[of_face] > 2)[0][0]]].mean(axis=0)
        raise MeshError("fill", f"a face has more than two cells, {_near(place)}.")
    triangle = np.full(len(cells_at), -1)
    triangle[of_triangle] = np.arange(len(of_triangle))
    on = triangle[of_face]
    piece = _pieces(of_face[on < 0], np.nonzero(on < 0)[0] // 4, len(cells))
    touching = np.nonzero(on >= 0)[0]
    # A face of a cell looks outwards: turned like the triangle it has its cell behind it.
    front = odd[touching] != odd[len(face) + on[touching]]
    told = interfaces.sides[on[touching], front.astype(np.int64)]
    region = np.zeros(int(piece.max()) + 1, np.int64)
    region[piece[touching // 4]] = told
    denied = region[piece[touching // 4]] != told
    if denied.any():
        place = points[face[touching[denied][0]]].mean(axis=0)
        raise MeshError("fill", f"two regions run into each other, {_near(place)}.")
    return region[piece]


def _numbered(triples: Index, points: int) -> tuple[Index, NDArray[np.bool_]]:
    """A number for each set of three vertices and whether their order is an odd one."""
    a, b, c = triples.T
    odd = (a > b) ^ (a > c) ^ (b > c)
    low, high = triples.min(axis=1), triples.max(axis=1)
    key = (low * points + (triples.sum(axis=1) - low - high)) * points + high
    order = np.argsort(key, kind="stable")
    number = np.empty(len(key), np.int64)
    number[order] = np.cumsum(np.append(False, np.diff(key[order]) != 0))
    return number, odd


def _pieces(face: Index, cell: Index, count: int) -> Index:
    """Number of the connected piece of each cell; cells with the same face are connected."""
    order = np.argsort(face, kind="stable")
    same = face[order][1:] == face[order][:-1]
    one, two = cell[order[:-1][same]], cell[order[1:][same]]
    graph = sparse.csr_matrix((np.ones(len(one), np.int8), (one, two)), (count, count))
    return csgraph.connected_components(graph, directed=False)[1].astype(np.int64)


def _check(interfaces: Interfaces, points: Points, cells_at: Index) -> None:
    """Every triangle needs a cell on each side that is not outside."""
    wanted = (interfaces.sides > 0).sum(axis=1)
    lost = np.nonzero(cells_at != wanted)[0]
    if not len(lost):
        return
    names = {number: name for name, number in interfaces.names.items()} | {0: "outside"}
    behind, front = (names.get(int(k), str(k)) for k in interfaces.sides[lost[0]])
    place = points[interfaces.triangles[lost[0]]].mean(axis=0)
    raise MeshError(
        "fill",
        f"{len(lost)} of {len(cells_at)} triangles are not faces of the mesh, the first between "
        f"`{behind}` and `{front}`, {_near(place)}.",
        "Use a smaller size there.",
    )


def _near(place: Points) -> str:
    return f"near ({place[0]:.2f}, {place[1]:.2f}, {place[2]:.2f}) mm"
