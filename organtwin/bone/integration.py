"""Averages of an image over cells, by integration of its trilinear interpolant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.volume import Image

type Array = NDArray[np.float64]
type Index = NDArray[np.int64]
#: A quantity of a value of the image, elementwise.
type Of = Callable[[Array], Array]

#: Barycentric coordinates of the four points that integrate quadratics on a tetrahedron exactly.
_FAR, _NEAR = (5.0 + 3.0 * 5.0**0.5) / 20.0, (5.0 - 5.0**0.5) / 20.0
#: Samples taken at once, which bounds the memory.
BATCH = 1_000_000
#: Most pieces along an edge: an edge of so many voxels is sampled well by fewer.
MOST_PIECES = 48
#: How far beyond the centres of the outermost voxels a cell may reach, in voxels.
BEYOND = 0.5
#: Corners of the six tetrahedra of a hexahedron, whose corner i + 2 j + 4 k is at (i, j, k).
SIX = np.array([
    [0, 2**a, 2**a + 2**b, 7] for a, b, _ in permutations(range(3))
])  # fmt: skip


@dataclass(frozen=True)
class Averages:
    """What an integrand has in each of some tetrahedra.

    Attributes:
        moments: (1/V) ∫ λ_k f for the corners k of each, shape (n, 4); their sum is the mean.
        least, most: Smallest and largest sample, shape (n,).
    """

    moments: Array
    least: Array
    most: Array

    @property
    def means(self) -> Array:
        """(1/V) ∫ f of each, shape (n,)."""
        return np.asarray(self.moments.sum(axis=1))


@cache
def sample_points(parts: int) -> Array:
    """Barycentric coordinates of equally weighted samples of a tetrahedron, shape (4 parts³, 4).

    The tetrahedron is cut into parts³ pieces of one volume (Kuhn's triangulation of the cubes of a
    lattice); each has the four points of the rule that is exact for quadratics.
    """
    cube = np.indices((parts,) * 3).reshape(3, -1).T
    pieces = []
    for order in permutations(range(3)):
        steps = np.zeros((4, 3))
        for k, axis in enumerate(order):
            steps[k + 1 :, axis] = 1.0
        corners = cube[:, None, :] + steps
        x, y, z = corners.mean(axis=1).T
        pieces.append(corners[(x > y) & (y > z)])
    corners = np.concatenate(pieces) / parts
    weights = np.full((4, 4), _NEAR) + (_FAR - _NEAR) * np.eye(4)
    points = np.einsum("qc,pcx->pqx", weights, corners).reshape(-1, 3)
    x, y, z = points.T
    return np.column_stack([1.0 - x, x - y, y - z, z])


def averages(
    corners: Array, image: Image, integrands: dict[str, Of], piece: float = 1.0
) -> dict[str, Averages]:
    """Integrals of quantities of an image over tetrahedra of any size against its voxels.

    The image is interpolated linearly between the centres of voxels. Each tetrahedron is cut into
    equal pieces until none is longer than ``piece`` voxels along any axis of the grid, and each
    piece has four points of a rule for quadratics. So the error does not depend on how large
    elements are against voxels; it is that of the rule at the kinks of the interpolant, of second
    order in ``piece``.

    Args:
        corners: Of each tetrahedron (mm, LPS), shape (n, 4, 3).
        image: Values; what lies within half a voxel beyond its outermost centres has their value.
        integrands: Name → quantity of a value of the image.
        piece: Longest edge of a piece, in voxels.

    Raises:
        InputError: a tetrahedron leaves the image, or ``piece`` is not positive.
    """
    if not piece > 0.0:
        raise InputError("piece", f"{piece:g} voxels.", "Take 1, or less for more accuracy.")
    index = image.grid.index(corners.reshape(-1, 3)).reshape(-1, 4, 3)
    refuse_outside(index, image)
    # The same order on any number of ranks, so that the same points are sampled.
    order = _sorted_corners(corners)
    index = np.take_along_axis(index, order[:, :, None], axis=1)
    edges = index[:, [0, 0, 0, 1, 1, 2]] - index[:, [1, 2, 3, 2, 3, 3]]
    longest = np.linalg.norm(edges, axis=2).max(axis=1, initial=0.0)
    parts = np.clip(np.ceil(longest / piece - 1e-9), 1, MOST_PIECES).astype(np.int64)
    empty = {name: np.empty((len(index), 6)) for name in integrands}
    values = np.asarray(image.values)
    for number in np.unique(parts):
        barycentric = sample_points(int(number))
        chosen = np.flatnonzero(parts == number)
        step = max(1, BATCH // len(barycentric))
        for first in range(0, len(chosen), step):
            here = chosen[first : first + step]
            places = np.einsum("qc,ncx->nqx", barycentric, index[here])
            sampled = trilinear(values, places.reshape(-1, 3)).reshape(len(here), -1)
            for name, of in integrands.items():
                f = of(sampled)
                empty[name][here, :4] = f @ barycentric / len(barycentric)
                empty[name][here, 4], empty[name][here, 5] = f.min(axis=1), f.max(axis=1)
    back = np.argsort(order, axis=1)
    return {
        name: Averages(np.take_along_axis(row[:, :4], back, axis=1), row[:, 4], row[:, 5])
        for name, row in empty.items()
    }


def trilinear(values: NDArray[np.generic], index: Array) -> Array:
    """Values between voxel centres, linear along each axis; beyond the ends that of the end.

    Args:
        values: Of an image, shape (i, j, k).
        index: Places in voxels, shape (n, 3).
    """
    out = np.empty(len(index))
    ndimage.map_coordinates(values, index.T, output=out, order=1, mode="nearest")
    return out


def refuse_outside(index: Array, image: Image) -> None:
    """Stop where places leave the image.

    Args:
        index: Corners of cells in voxels, shape (n, c, 3).
        image: The image.

    Raises:
        InputError: some cells do.
    """
    last = np.array(image.grid.shape) - 1 + BEYOND
    out = ((index < -BEYOND) | (index > last)).any(axis=(1, 2))
    if not out.any():
        return
    low, high = image.grid.box()
    where = image.grid.points(index[out].mean(axis=(0, 1)))
    raise InputError(
        "bone density",
        f"{int(out.sum())} of {len(index)} cells leave the image, around "
        f"{np.round(where, 1).tolist()} mm; the image has {np.round(low, 1).tolist()} to "
        f"{np.round(high, 1).tolist()} mm.",
        "Mesh and CT must be in the same coordinates (mm, LPS); cut the mesh where the scan ends.",
    )


def _sorted_corners(corners: Array) -> Index:
    """Order of the corners of each tetrahedron by x, then y, then z, shape (n, 4)."""
    keys = tuple(corners[:, :, axis] for axis in (2, 1, 0))
    return np.asarray(np.lexsort(keys, axis=1))
