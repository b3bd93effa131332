"""A thin wall as a surface: triangles around a labelled cavity, open at its valves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gmsh
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components

from organtwin.errors import InputError, MeshError, suggestion
from organtwin.image.resample import Grid, corners, smoothed
from organtwin.image.volume import LabelMap
from organtwin.image.wellcomposed import well_composed
from organtwin.mesh.surface import Points, Surface, Triangles, nets, remesh, smooth

#: Patch of the wall among those of the closed surface; openings are numbered after it.
WALL = 1
#: Radius of curvature (mm) that triangles of the size wanted still follow.
RADIUS = 6.0
#: Rounds in which each triangle takes the patch of most around it, which straightens the rims.
RIM_ROUNDS = 12
#: Smallest opening (mm²); smaller contacts are leaks of the segmentation.
SMALLEST_OPENING = 25.0


@dataclass(frozen=True)
class Shell:
    """Surface with borders.

    Attributes:
        points: Vertices (mm, patient coordinates), shape (n, 3).
        triangles: Vertex indices, normals out of the cavity, shape (m, 3).
        borders: Edges along each opening by its name, shape (k, 2) each.
    """

    points: Points
    triangles: Triangles
    borders: Mapping[str, NDArray[np.int64]]

    @property
    def area(self) -> float:
        """Area of the wall (mm²)."""
        a, b, c = (self.points[self.triangles[:, k]] for k in range(3))
        return 0.5 * float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum())


def shell_from_labels(
    labels: LabelMap,
    cavity: str,
    openings: Mapping[str, str],
    *,
    size: float = 1.0,
    resolution: float = 1.0,
    smoothing: float = 1.5,
    path: Path,
) -> Shell:
    """Mesh the wall around a labelled cavity and write it as MSH 4.1 for `read_domain`.

    The label is smoothed, wrapped into a net around its voxels, which is smoothed and remeshed;
    what borders on the label beyond an opening is left away. Elsewhere the surface is closed:
    veins end where their label does. The physical surface is named like the cavity, the physical
    curves like the openings.

    Args:
        labels: Label map.
        cavity: Label of the blood that the wall surrounds.
        openings: Name of each opening → label that lies beyond it.
        size: Edge length (mm).
        resolution: Voxel size to work on (mm).
        smoothing: Standard deviation of the Gaussian that smooths the labels (mm).
        path: File to write, ``.msh``.

    Raises:
        InputError: a label is missing, there is no opening, or the sizes are out of range.
        MeshError: an opening does not touch the cavity, or the surface is no manifold.
    """
    _check(labels, cavity, openings, size, resolution)
    shell = _opened(_closed(labels, cavity, openings, size, resolution, smoothing), openings)
    _write(shell, cavity, path)
    return shell


def _check(
    labels: LabelMap, cavity: str, openings: Mapping[str, str], size: float, resolution: float
) -> None:
    for name in (cavity, *openings.values()):
        if name not in labels.names:
            raise InputError("shell", f"no label `{name}`.", suggestion(name, labels.names))
    if not openings:
        raise InputError("shell", "it has no opening.", "Name the label beyond a valve.")
    for what, value, low, high in (
        ("size", size, 0.3, 5.0),
        ("resolution", resolution, 0.3, 3.0),
    ):
        if not low <= value <= high:
            raise InputError(
                f"shell {what}", f"{value:g} mm is outside {low:g} to {high:g} mm.", "Try 1 mm."
            )


def _closed(
    labels: LabelMap,
    cavity: str,
    openings: Mapping[str, str],
    size: float,
    resolution: float,
    smoothing: float,
) -> Surface:
    """Closed surface of the cavity in patient coordinates, its openings marked as patches."""
    room = 4.0 * resolution
    grid = Grid.around(corners(labels, cavity), resolution, np.eye(3), room)
    fine = smoothed(labels, grid, (cavity, *openings.values()), smoothing)
    inside = _largest_piece(fine.mask(cavity), cavity)
    values = np.where(inside, np.uint8(1), np.uint8(0))
    for k, name in enumerate(openings.values()):
        values[fine.mask(name)] = 2 + k
    values = well_composed(values, (1,), 1, top=values.shape[2])
    table = np.zeros((2 + len(openings),) * 2, np.int64)
    table[1, 0] = WALL
    table[1, 2:] = WALL + 1 + np.arange(len(openings))
    index, triangles, patches = nets(values, table)
    # Corner c of the grid lies half a voxel below voxel c.
    points = grid.origin + (index - 0.5) * resolution
    patches = _tidy(points, triangles, patches, openings)
    smoothed_surface = smooth(Surface(points, triangles, patches))
    return remesh(smoothed_surface, size, size**2 / (8.0 * RADIUS))


def _largest_piece(mask: NDArray[np.bool_], name: str) -> NDArray[np.bool_]:
    pieces, number = ndimage.label(mask)
    if number == 0:
        raise InputError(f"label `{name}`", "vanished in the smoothing.", "Smooth less.")
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == np.argmax(sizes))


def _tidy(
    points: Points,
    triangles: Triangles,
    patches: NDArray[np.int64],
    openings: Mapping[str, str],
) -> NDArray[np.int64]:
    """Each opening in one piece without holes, rims straightened."""
    neighbours = _neighbours(triangles)
    for _ in range(RIM_ROUNDS):
        votes = [
            (1.5 * np.eye(1)[0, 0]) * (patches == k) + neighbours @ (patches == k).astype(float)
            for k in range(WALL, WALL + 1 + len(openings))
        ]
        patches = WALL + np.argmax(votes, axis=0)
    for k, (name, label) in enumerate(openings.items(), WALL + 1):
        patches = np.where(patches == k, WALL, patches) | 0
    return patches
