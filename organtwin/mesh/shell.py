"""A thin wall as a surface: triangles around a labelled cavity, open at its valves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
#: Distance from the smoothed net that triangles may keep (voxels, and parts of their size): what
#: the smoothing has left of the voxels must not be meshed.
DEVIATION = (0.15, 0.05)
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
    shell = _opened(_closed(labels, cavity, openings, size, resolution, smoothing), tuple(openings))
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
    patches = _tidy(triangles, patches, tuple(openings), resolution)
    deviation = DEVIATION[0] * resolution + DEVIATION[1] * size
    return remesh(smooth(Surface(points, triangles, patches)), size, deviation)


def _largest_piece(mask: NDArray[np.bool_], name: str) -> NDArray[np.bool_]:
    pieces, number = ndimage.label(mask)
    if number == 0:
        raise InputError(f"label `{name}`", "vanished in the smoothing.", "Smooth less.")
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == np.argmax(sizes))


def _tidy(
    triangles: Triangles, patches: NDArray[np.int64], openings: Sequence[str], voxel: float
) -> NDArray[np.int64]:
    """Rims straightened, then each opening in one piece without holes."""
    joined = _joined(triangles)
    kinds = WALL + np.arange(1 + len(openings))
    share = (patches[:, None] == kinds).astype(np.float64)
    for _ in range(RIM_ROUNDS):
        share = (share + joined @ share) / 4.0  # a triangle has three neighbours
    tidy = kinds[np.argmax(share, axis=1)]
    for kind, name in zip(kinds[1:], openings, strict=True):
        opening = ~_largest(joined, ~_largest(joined, tidy == kind))  # its holes are filled
        # A voxel's face is two triangles.
        if np.count_nonzero(opening) * voxel**2 / 2 < SMALLEST_OPENING:
            raise MeshError(
                "shell",
                f"the cavity hardly touches what lies beyond `{name}`.",
                "Name another label beyond it, or correct the segmentation.",
            )
        tidy[tidy == kind] = WALL
        tidy[opening] = kind
    return np.asarray(tidy)


def _joined(triangles: Triangles) -> sparse.csr_array:
    """Which triangles share an edge, (m, m)."""
    pairs = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, edge = np.unique(pairs, axis=0, return_inverse=True)
    owner = np.repeat(np.arange(len(triangles)), 3)[np.argsort(edge.ravel(), kind="stable")]
    a, b = owner[0::2], owner[1::2]
    rows, columns = np.concatenate([a, b]), np.concatenate([b, a])
    m = len(triangles)
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(m, m))


def _largest(joined: sparse.csr_array, marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Largest connected set of the marked triangles."""
    result = np.zeros(len(marked), bool)
    where = np.flatnonzero(marked)
    if len(where):
        _, piece = connected_components(joined[where][:, where], directed=False)
        result[where[piece == np.argmax(np.bincount(piece))]] = True
    return result


def _opened(closed: Surface, openings: Sequence[str]) -> Shell:
    """The wall without what lies in its openings."""
    borders = {}
    wall = _sides(closed.triangles[closed.patches == WALL])
    for kind, name in enumerate(openings, WALL + 1):
        beyond = _sides(closed.triangles[closed.patches == kind])
        borders[name] = wall[(wall[:, None] == beyond).all(axis=2).any(axis=1)]
    kept = closed.triangles[closed.patches == WALL]
    used, numbered = np.unique(kept, return_inverse=True)
    renumber = np.zeros(len(closed.points), np.int64)
    renumber[used] = np.arange(len(used))
    return Shell(
        closed.points[used],
        numbered.reshape(-1, 3),
        {name: renumber[edges] for name, edges in borders.items()},
    )


def _sides(triangles: Triangles) -> NDArray[np.int64]:
    """Edges that belong to one triangle only, (k, 2)."""
    pairs = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, count = np.unique(pairs, axis=0, return_counts=True)
    return np.asarray(edges[count == 1])


def _write(shell: Shell, cavity: str, path: Path) -> None:
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.option.setNumber("Mesh.MshFileVersion", 4.1)
        gmsh.model.add("shell")
        gmsh.model.addDiscreteEntity(2, 1)
        numbers = np.arange(1, len(shell.points) + 1)
        gmsh.model.mesh.addNodes(2, 1, numbers, shell.points.ravel())
        gmsh.model.mesh.addElementsByType(1, 2, [], shell.triangles.ravel() + 1)
        gmsh.model.addPhysicalGroup(2, [1], 1, name=cavity)
        for k, (name, edges) in enumerate(shell.borders.items(), 11):
            gmsh.model.addDiscreteEntity(1, k)
            gmsh.model.mesh.addElementsByType(k, 1, [], edges.ravel() + 1)
            gmsh.model.addPhysicalGroup(1, [k], k, name=name)
        gmsh.write(str(path))
    finally:
        gmsh.finalize()
