"""Volumes of bodies kept by shifting the patches between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import cg

from organtwin.mesh.conforming.interfaces import cones
from organtwin.mesh.conforming.net import Net
from organtwin.mesh.conforming.room import Room

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Rounds of Newton's method.
_ROUNDS = 30
#: Part of its promise that a step has to keep, and the shortest part of a step that is tried.
_PROGRESS, _SHORTEST = 0.02, 0.02
#: Relative error of the volume of one of several bodies with a label.
_BODY = 0.02
#: Tries of a step, without what was stuck in those before.
_TRIES = 4
#: Longest shift of a vertex in a round (voxels).
_LONGEST = 0.25
#: Part of the volume that shifts of this length sweep which a body gets in a round.
_WITHIN = 0.5
#: Relative residual and most steps of the conjugate gradients; Newton's method does the rest.
_RESIDUAL, _STEPS = 1e-3, 100

#: Part of the largest diagonal entry below which a body counts as stuck.
_STUCK = 1e-12


@dataclass(frozen=True)
class Goal:
    """What rounds of Newton's method aim at.

    Attributes:
        wanted: Volumes (mm³) that bodies are to get, from those that they lack.
        reached: Whether what they lack is little enough.
    """

    wanted: Callable[[Points], Points]
    reached: Callable[[Points], bool]


class Keeper:
    """Keeps the volumes of a net's bodies.

    A patch is what two bodies share, or a body and a plane of the image's border. All vertices of
    patch p move by t_p along its normals, those of several patches by the sum. The offsets are the
    smallest that give the volumes:
    minimise Σ A_p t_p² under K t = ΔV, with K the change of the bodies' volumes by the offsets.
    """

    def __init__(self, net: Net, spacing: Points, sizes: Points) -> None:
        self.net, self.spacing, self.sizes = net, spacing, sizes
        number = len(net.kinds)
        keys = (net.planes * number + net.bodies[:, 0]) * number + net.bodies[:, 1]
        pairs, patch = np.unique(keys, return_inverse=True)
        behind, front = np.divmod(pairs % number**2, number)
        count = np.arange(len(pairs))
        signs = np.repeat([1.0, -1.0], len(pairs))
        place = (np.concatenate([behind, front]), np.tile(count, 2))
        # The outside, body 0, takes what it gets.
        self.signs = sparse.csr_matrix((signs, place), (number, len(pairs)))[1:]
        vertices = len(net.corners)
        keys = np.repeat(patch, 4) * vertices + net.quads.ravel()
        entries, self.entry = np.unique(keys, return_inverse=True)
        self.patch, self.vertex = np.divmod(entries, vertices)
        self.patch_of = np.tile(patch, 2)

    def kept(self, moved: Points, triangles: Index, room: Room, tolerance: float) -> Points:
        """Shifts (voxels) with which the bodies have their sizes.

        Args:
            moved: Shift of each vertex (voxels), shape (n, 3).
            triangles: Two for each square, first halves first, shape (2 q, 3).
            room: Where vertices may go.
            tolerance: Relative error of a label's volume at which it ends; that of a body may be
                `_BODY`.
        """
        bodies = Goal(lambda x: x, lambda x: bool((np.abs(x) <= _BODY * self.sizes[1:]).all()))
        labels = Goal(self._of_labels, lambda x: self._labels_near(x, tolerance))
        for goal in (bodies, labels):
            moved = self._nearer(moved, triangles, room, goal)
        return moved

    def _nearer(self, moved: Points, triangles: Index, room: Room, goal: Goal) -> Points:
        """Newton's method while what is wanted gets less; what is stuck adds the same each time."""
        missing = self.missing(moved, triangles)
        part, step = 1.0, np.empty(0)
        for _ in range(_ROUNDS):
            if goal.reached(missing) or part < _SHORTEST:
                break
            if not len(step):
                step = self._step(moved, room, goal.wanted(missing))
            there = room.clip(moved + part * step)
            left = self.missing(there, triangles)
            before, after = (float(np.abs(goal.wanted(x)).sum()) for x in (missing, left))
            if after < (1.0 - _PROGRESS * part) * before:
                moved, missing, part, step = there, left, min(1.0, 2.0 * part), np.empty(0)
            else:
                part *= 0.5
        return moved

    def near(self, moved: Points, triangles: Index, tolerance: float) -> bool:
        """Whether the volumes of labels are those wanted."""
        return self._labels_near(self.missing(moved, triangles), tolerance)

    def _labels_near(self, missing: Points, tolerance: float) -> bool:
        sizes, kinds = self.sizes[1:], self.net.kinds[1:]
        size, error = np.bincount(kinds, sizes)[1:], np.abs(np.bincount(kinds, missing))[1:]
        return bool((error <= tolerance * size).all())

    def _of_labels(self, missing: Points) -> Points:
        """What labels lack, shared out among their bodies by size."""
        sizes, kinds = self.sizes[1:], self.net.kinds[1:]
        label = np.bincount(kinds, missing) / np.maximum(np.bincount(kinds, sizes), 1e-300)
        return np.asarray(np.where(kinds > 0, sizes * label[kinds], 0.0))

    def missing(self, moved: Points, triangles: Index) -> Points:
        """Volumes (mm³) that the bodies lack, the outside left out, shape (b - 1,)."""
        points = (self.net.corners + moved) * self.spacing
        x = points[triangles] - points.mean(axis=0)
        through = np.bincount(self.patch_of, cones(x), self.signs.shape[1])
        return np.asarray(self.sizes[1:] - self.signs @ through)

    def _step(self, moved: Points, room: Room, missing: Points) -> Points:
        """Shifts (voxels) that add the missing volumes (mm³) to first order."""
        area = self._area_vectors((self.net.corners + moved) * self.spacing)
        size = np.linalg.norm(area, axis=1)
        normal = area / np.maximum(size, 1e-300)[:, None] / self.spacing
        flux = self.signs @ self._matrix(area * self.spacing)
        weight = 1.0 / np.maximum(np.bincount(self.patch, size, self.signs.shape[1]), 1e-300)
        # Steps that had to be cut afterwards would not fit each other any more.
        swept = np.bincount(self.patch, np.linalg.norm(area * self.spacing, axis=1))
        most = _WITHIN * _LONGEST * (abs(self.signs) @ swept)
        missing = np.clip(missing, -most, most)
        step = np.zeros_like(moved)
        for _ in range(_TRIES):
            motion = self._matrix(normal)
            offsets = _smallest(flux @ motion.T, weight, missing)
            step = np.asarray((motion.T @ offsets).reshape(-1, 3))
            stuck = room.blocks(moved, step)[self.vertex]
            if not (stuck & (normal != 0.0)).any():
                break
            normal[stuck] = 0.0
        return np.clip(step, -_LONGEST, _LONGEST)

    def _area_vectors(self, points: Points) -> Points:
        """A third of the area vectors (mm²) around each vertex in each patch."""
        a, b, c, d = (points[self.net.quads[:, k]] for k in range(4))
        # Each corner of a square gets a quarter of it, half the product of the diagonals.
        share = np.repeat(0.125 * np.cross(c - a, d - b), 4, axis=0)
        number = len(self.patch)
        return np.stack([np.bincount(self.entry, share[:, k], number) for k in range(3)], axis=1)

    def _matrix(self, values: Points) -> sparse.csr_matrix:
        """Sparse matrix of one vector per vertex of each patch, shape (patches, 3 n)."""
        rows = np.repeat(self.patch, 3)
        columns = (3 * self.vertex[:, None] + np.arange(3)).ravel()
        shape = (self.signs.shape[1], 3 * len(self.net.corners))
        return sparse.csr_matrix((values.ravel(), (rows, columns)), shape)


def _smallest(change: sparse.csr_matrix, weight: Points, missing: Points) -> Points:
    """Offsets t with the least Σ t² / weight under change @ t = missing."""
    matrix = (change @ sparse.diags(weight) @ change.T).tocsr()
    diagonal = matrix.diagonal()
    # A body whose patches are all stuck has to wait.
    scale = np.where(diagonal > _STUCK * diagonal.max(), diagonal, np.inf) ** -0.5
    if not scale.any():
        return np.zeros(change.shape[1])
    scaled = sparse.diags(scale) @ matrix @ sparse.diags(scale)
    solved, _ = cg(scaled, scale * missing, rtol=_RESIDUAL, maxiter=_STEPS)
    return np.asarray(weight * (change.T @ (scale * solved)))
