"""Which edges and tetrahedra hang together, and which edges sets of triangles share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from organtwin.mesh.defects import components, edges_of
from organtwin.mesh.regions import neighbours

type Index = NDArray[np.int64]
type Mask = NDArray[np.bool_]


def common_edges(one: Index, two: Index) -> Index:
    """Edges that triangles of both sets have, shape (e, 2)."""
    both = np.concatenate([edges_of(one).ends, edges_of(two).ends])
    unique, count = np.unique(both, axis=0, return_counts=True)
    return np.asarray(unique[count == 2])


def have_edge(triangles: Index, edges: Index) -> Mask:
    """Which triangles have one of some edges."""
    own = edges_of(triangles)
    every = np.concatenate([edges, own.ends])
    number = np.unique(every, axis=0, return_inverse=True)[1].ravel()
    found = np.isin(number[len(edges) :], number[: len(edges)])
    return np.asarray(found[own.of].any(axis=1))


def hang_on(triangles: Index, edges: Index) -> Mask:
    """Which triangles are in one piece with some that have one of some edges."""
    piece = components(edges_of(triangles))
    return np.isin(piece, piece[have_edge(triangles, edges)])


def pieces_of_edges(edges: Index) -> Index:
    """Connected piece that each edge belongs to."""
    used, ends = np.unique(edges, return_inverse=True)
    ends = ends.reshape(-1, 2)
    graph = sparse.coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (len(used),) * 2)
    return np.asarray(csgraph.connected_components(graph, directed=False)[1][ends[:, 0]], np.int64)


def pieces_of_cells(cells: Index) -> Index:
    """Piece of each cell, where cells that share a face hang together."""
    return np.asarray(csgraph.connected_components(neighbours(cells), directed=False)[1], np.int64)
