"""Which tetrahedra are LV and which are RV."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from organtwin.image.geometry import Geometry
from organtwin.mesh.quality import signed_volumes
from organtwin.units import ML

#: Region → physical group.
REGION_TAGS = {"lv": 1, "rv": 2}

#: How often a cell takes the mean of itself and its neighbours, which straightens the border.
SMOOTHING_ROUNDS = 2

type Cells = NDArray[np.int64]


def assign_regions(
    points: NDArray[np.float64], cells: Cells, geometry: Geometry
) -> NDArray[np.int64]:
    """Region of each cell: that of the nearer voxels, each region in one piece.

    Cells are ordered by how much nearer LV voxels are than RV voxels, a mean over neighbours; from
    the LV side on as many become ``lv`` as fill its volume. Cells all but surrounded by the other
    region, and islands, then change sides.

    Args:
        points: Vertices in grid coordinates (mm), z = 0 on the base.
        cells: Vertex indices of the tetrahedra.
        geometry: Regions on voxels.
    """
    spacing = float(geometry.labels.spacing[0])
    shift = np.array([0.0, 0.0, geometry.layers - 0.5])
    centres = points[cells].mean(axis=1)
    to_lv, to_rv = (
        cKDTree((np.argwhere(geometry.labels.mask(name)) - shift) * spacing).query(centres)[0]
        for name in REGION_TAGS
    )
    around = neighbours(cells)
    nearer = to_lv - to_rv
    degree = np.asarray(around.sum(axis=1)).ravel()
    for _ in range(SMOOTHING_ROUNDS):
        nearer = (nearer + around @ nearer) / (1.0 + degree)
    order = np.argsort(nearer, kind="stable")
    filled = np.cumsum(signed_volumes(points, cells)[order])
    number = int(np.argmin(np.abs(filled - geometry.volumes_ml["lv"] * ML))) + 1
    in_lv = np.zeros(len(cells), bool)
    in_lv[order[:number]] = True
    in_lv = _one_piece_each(around, in_lv)
    return np.where(in_lv, REGION_TAGS["lv"], REGION_TAGS["rv"])


def faces(cells: Cells) -> Cells:
    """The four faces of each tetrahedron, sorted vertices, opposite vertex 0 of all cells first."""
    corners = ([1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2])
    return np.sort(np.concatenate([cells[:, k] for k in corners]), axis=1)


def neighbours(cells: Cells) -> sparse.csr_matrix:
    """Cells that share a face, as a symmetric matrix of ones."""
    face = faces(cells)
    order = np.lexsort(face.T[::-1])
    same = (face[order[1:]] == face[order[:-1]]).all(axis=1)
    one, two = order[:-1][same] % len(cells), order[1:][same] % len(cells)
    n = len(cells)
    half = sparse.csr_matrix((np.ones(len(one)), (one, two)), (n, n))
    return half + half.T


def _one_piece_each(neighbours: sparse.csr_matrix, in_lv: NDArray[np.bool_]) -> NDArray[np.bool_]:
    number = np.asarray(neighbours.sum(axis=1)).ravel()
    for _ in range(3):
        lv_around = neighbours @ in_lv.astype(float)
        other = np.where(in_lv, number - lv_around, lv_around)
        flip = (other > 0.5) & (other >= number - 1.0)
        in_lv = in_lv ^ flip
    pairs = neighbours.tocoo()
    same = in_lv[pairs.row] == in_lv[pairs.col]
    graph = sparse.csr_matrix(
        (pairs.data[same], (pairs.row[same], pairs.col[same])), neighbours.shape
    )
    piece = csgraph.connected_components(graph, directed=False)[1]
    largest = {side: np.bincount(piece[in_lv == side]).argmax() for side in (True, False)}
    island = np.where(in_lv, piece != largest[True], piece != largest[False])
    return np.asarray(in_lv ^ island)
