"""Planes where two labels touch: valves seen as the border of a chamber and what it opens into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from organtwin.image.volume import Grid
from organtwin.landmarks.fits import angle, fit_plane, frame
from organtwin.landmarks.record import Confidence, Plane, against, favouring

type Vector = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: Sectors that are left out in turn to see how much the plane depends on each.
SECTORS = 8


@dataclass(frozen=True)
class Contact:
    """Faces between the voxels of two labels, those of the largest connected patch.

    Attributes:
        points: Middles of the faces (mm), shape (n, 3).
        normals: Unit normals from the first label into the second, shape (n, 3).
        areas: Areas of the faces (mm²), shape (n,).
        share: Area of this patch in that of all contact, 0 to 1.
        voxel: Diagonal of a voxel (mm).
    """

    points: Vector
    normals: Vector
    areas: Vector
    share: float
    voxel: float


def contact(one: Mask, other: Mask, grid: Grid) -> Contact | None:
    """Where two masks touch face to face; nothing if they don't."""
    sides = [_faces(one, other, axis) for axis in range(3)]
    index = np.concatenate([found for found, _ in sides])
    if len(index) < 3:
        return None
    axis = np.repeat(np.arange(3), [len(found) for found, _ in sides])
    sign = np.concatenate([turn for _, turn in sides])
    areas = grid.voxel_volume / grid.spacing[axis]
    points = grid.points(index)
    voxel = float(np.linalg.norm(grid.spacing))
    patch = _patches(points, voxel)
    size = np.bincount(patch, areas)
    kept = patch == np.argmax(size)
    return Contact(
        points[kept],
        (grid.direction.T[axis] * sign[:, None])[kept],
        areas[kept],
        float(size.max() / size.sum()),
        voxel,
    )


def _faces(one: Mask, other: Mask, axis: int) -> tuple[Vector, Vector]:
    """Voxel indices of face middles along an axis, and the sign of the way to the other."""
    lower = tuple(slice(None, -1) if k == axis else slice(None) for k in range(3))
    upper = tuple(slice(1, None) if k == axis else slice(None) for k in range(3))
    forward = np.argwhere(one[lower] & other[upper])
    backward = np.argwhere(other[lower] & one[upper])
    index = np.concatenate([forward, backward]) + 0.5 * np.eye(3)[axis]
    return index, np.repeat([1.0, -1.0], [len(forward), len(backward)])


def _patches(points: Vector, reach: float) -> NDArray[np.int64]:
    pairs = cKDTree(points).query_pairs(reach, output_type="ndarray")
    graph = sparse.coo_matrix(
        (np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(points), len(points))
    )
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def contact_plane(found: Contact) -> tuple[Plane, Confidence, dict[str, float]]:
    r"""Plane of a contact, how far to trust it, and its measures.

    The sum of the face normals, weighted by area, is that of any other sheet with the same rim
    (Gauss), so it doesn't see the staircase: it gives the normal and, by its length, the area. The
    plane of least squares is an independent estimate of the normal.

    .. math:: A\, n = \sum_f a_f n_f, \qquad d = 2 \sqrt{A / \pi}

    Returns:
        The plane, its normal from the first label into the second; the confidence; ``area mm²``
        and ``roundness`` (ratio of the short to the long extent, 1 of a circle).
    """
    vector = found.areas @ found.normals
    area = float(np.linalg.norm(vector))
    if area == 0.0:  # a closed shell around a grain has no direction
        vector = fit_plane(found.points).normal
    normal = vector / np.linalg.norm(vector)
    weights = found.areas * np.maximum(found.normals @ normal, 0.0)
    weights = weights if weights.sum() > 0.0 else found.areas
    fit = fit_plane(found.points, weights)
    diameter = 2.0 * float(np.sqrt(area / np.pi))
    off = angle(normal, fit.normal)
    # Without its rim the length of the normal sum can't exceed the area: what a dish has more.
    flat = area / float(np.sum(found.areas * np.abs(found.normals @ normal)))
    evidence = (
        favouring("diameter in voxels", diameter / found.voxel, 3.0),
        against("distance from the plane", fit.residual / max(diameter, 1e-9) * 100.0, 12.0,
                "% of the diameter"),
        against("angle to the plane of least squares", min(off, 180.0 - off), 20.0, "°"),
        against("turn without an eighth of it", _spread(found, normal, weights), 20.0, "°"),
        against("contact elsewhere or folded", 100.0 * (1.0 - found.share * flat), 40.0, "%"),
    )  # fmt: skip
    roundness = float(fit.spread[1] / max(fit.spread[0], 1e-9))
    measures = {"area mm²": area, "roundness": roundness}
    return Plane(fit.centre, normal, diameter), Confidence(evidence), measures


def _spread(found: Contact, normal: Vector, weights: Vector) -> float:
    """Largest angle by which the fitted plane turns if a sector is left out (degrees)."""
    axes = frame(normal)
    local = (found.points - np.average(found.points, axis=0, weights=weights)) @ axes[:2].T
    turn = (np.arctan2(local[:, 1], local[:, 0]) / (2.0 * np.pi)) % 1.0
    sector = np.minimum((turn * SECTORS).astype(int), SECTORS - 1)
    whole = fit_plane(found.points, weights + 1e-12).normal
    turns = []
    for left_out in range(SECTORS):
        kept = sector != left_out
        if np.count_nonzero(kept) < 3:
            return 90.0
        off = angle(whole, fit_plane(found.points[kept], weights[kept] + 1e-12).normal)
        turns.append(min(off, 180.0 - off))
    return max(turns)
