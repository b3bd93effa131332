"""Rounder tetrahedra by MMG, the interfaces between regions untouched."""

from __future__ import annotations

import mmgpy
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import MeshError
from organtwin.mesh.mmg import signals_kept

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]


def polish(points: Points, cells: Index, regions: Index, fixed: int) -> tuple[Points, Index, Index]:
    """Move, split and swap inside the regions; all triangles between them stay.

    Args:
        points: Vertices (mm), the first ``fixed`` of which are those of the interfaces, (n, 3).
        cells: Positive tetrahedra, shape (m, 4).
        regions: Region of each, shape (m,).
        fixed: Number of vertices that keep place and number.

    Returns:
        Vertices, cells and regions in the same order of things.

    Raises:
        MeshError: MMG failed or moved vertices of the interfaces.
    """
    mesh = mmgpy.MmgMesh3D()
    mesh.set_mesh_size(len(points), len(cells))
    mesh.set_vertices(np.ascontiguousarray(points))
    mesh.set_tetrahedra(np.ascontiguousarray(cells, dtype=np.int32), np.ascontiguousarray(regions))
    try:
        with signals_kept():
            mesh.remesh(optim=1, nosurf=1, verbose=-1)
    except RuntimeError as error:
        raise MeshError("MMG", str(error)) from None
    found = np.array(mesh.get_vertices(), dtype=np.float64)
    made, labels = mesh.get_tetrahedra_with_refs()
    distance, at = cKDTree(found).query(points[:fixed])
    if distance.max() > 1e-6 or len(np.unique(at)) < fixed:
        raise MeshError("MMG", "vertices of the interfaces were moved.")
    rest = np.setdiff1d(np.arange(len(found)), at)
    index = np.empty(len(found), np.int64)
    index[at], index[rest] = np.arange(fixed), np.arange(fixed, len(found))
    everything = np.concatenate([points[:fixed], found[rest]])
    return everything, index[np.asarray(made, np.int64)], np.array(labels, np.int64).ravel()
