"""Flat cells of a mesh made better, with its tagged facets kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from organtwin.mesh.conforming.batches import Patch
from organtwin.mesh.conforming.cell_shape import shape_of, shapes
from organtwin.mesh.conforming.improvement import improve
from organtwin.mesh.conforming.vertex_moves import move
from organtwin.mesh.regions import faces
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Points = NDArray[np.float64]

#: Rounds of moves.
ROUNDS = 40


def without_flat_cells(mesh: TetrahedralMesh) -> TetrahedralMesh:
    """The mesh with fewer flat cells inside; as it was where a tagged facet would be lost."""
    better = improve(mesh.points, mesh.cells, mesh.regions, shift=np.zeros(len(mesh.points)))
    kept = np.unique(np.sort(mesh.facets, axis=1), axis=0)
    both = np.concatenate([kept, np.unique(faces(better.cells), axis=0)])
    if (np.unique(both, axis=0, return_counts=True)[1] == 2).sum() != len(kept):
        return mesh
    return replace(mesh, points=better.points, cells=better.cells, regions=better.regions)


def relaxed(mesh: TetrahedralMesh, room: Points, angle: float = 15.0) -> TetrahedralMesh:
    """The mesh with the vertices of flat and of inverted cells moved; all else stays.

    Args:
        mesh: Cells, of which a few may be inverted.
        room: How far each vertex may move (mm), shape (n,).
        angle: Smallest dihedral angle wanted (degrees).
    """
    goal = shape_of(angle)
    bad = shapes(mesh.points, mesh.cells) < goal
    if not bad.any():
        return mesh
    patch = Patch(
        mesh.points, mesh.cells, mesh.regions, mesh.points, room, np.ones(len(room), bool)
    )
    moved, _ = move(patch, np.unique(mesh.cells[bad]), goal, ROUNDS)
    return replace(mesh, points=moved.points)
