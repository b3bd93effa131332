"""Which edges, triangles and tetrahedra hang together, and which edges sets of triangles share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from organtwin.mesh.regions import faces

type Index = NDArray[np.int64]
type Mask = NDArray[np.bool_]


def common_edges(one: Index, two: Index) -> Index:
    """Edges that triangles of both sets have, shape (e, 2)."""
    both = np.concatenate([np.unique(_edges(one), axis=0), np.unique(_edges(two), axis=0)])
    unique, count = np.unique(both, axis=0, return_counts=True)
    return np.asarray(unique[count == 2])


def _edges(triangles: Index) -> Index:
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [0, 2]]])
    return np.sort(pairs, axis=1).reshape(-1, 2)


def have_edge(triangles: Index, edges: Index) -> Mask:
    """Which triangles have one of some edges."""
    every = np.concatenate([edges, _edges(triangles)])
    number = np.unique(every, axis=0, return_inverse=True)[1].ravel()
    found = np.isin(number[len(edges) :], number[: len(edges)])
    return np.asarray(found.reshape(3, -1).any(axis=0))


def pieces_of_edges(edges: Index) -> Index:
    """Connected piece that each edge belongs to."""
    used, ends = np.unique(edges, return_inverse=True)
    ends = ends.reshape(-1, 2)
    graph = sparse.coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (len(used),) * 2)
    return np.asarray(csgraph.connected_components(graph, directed=False)[1][ends[:, 0]], np.int64)


def pieces_of_triangles(triangles: Index) -> Index:
    """Piece of each triangle, where those that share an edge hang together."""
    edges = np.unique(_edges(triangles), axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(edges, kind="stable")
    same = np.flatnonzero(edges[order[1:]] == edges[order[:-1]])
    one, two = order[same] % len(triangles), order[same + 1] % len(triangles)
    graph = sparse.coo_matrix((np.ones(len(one)), (one, two)), (len(triangles),) * 2)
    return np.asarray(csgraph.connected_components(graph, directed=False)[1], np.int64)


def pieces_of_cells(cells: Index) -> Index:
    """Piece of each cell, where cells that share a face hang together."""
    face = faces(cells)
    order = np.lexsort(face.T[::-1])
    same = np.flatnonzero((face[order[1:]] == face[order[:-1]]).all(axis=1))
    one, two = order[same] % len(cells), order[same + 1] % len(cells)
    graph = sparse.coo_matrix((np.ones(len(one)), (one, two)), (len(cells),) * 2)
    return np.asarray(csgraph.connected_components(graph, directed=False)[1], np.int64)
