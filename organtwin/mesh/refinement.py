"""Tetrahedra cut into eight each, in a way that doesn't depend on how they are numbered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.quality import mean_ratio
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Edges of a tetrahedron; numbers 0 to 3 below are its vertices, 4 to 9 the middles of these.
EDGES = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])
#: The four tetrahedra at the vertices.
CORNERS = np.array([[0, 4, 5, 6], [4, 1, 7, 8], [5, 7, 2, 9], [6, 8, 9, 3]])
#: The three diagonals of the octahedron left between them and the ring around each.
DIAGONALS = np.array([[4, 9], [5, 8], [6, 7]])
RINGS = np.array([[5, 6, 8, 7], [4, 7, 9, 6], [4, 5, 9, 8]])
#: Edges of a triangle and the four that it is cut into.
TRIANGLE_EDGES = np.array([[0, 1], [1, 2], [2, 0]])
TRIANGLES = np.array([[0, 3, 5], [3, 1, 4], [5, 4, 2], [3, 4, 5]])
#: Lengths and shapes that differ by less, relatively, are equal.
EQUAL = 1e-9
#: Direction that decides between diagonals which are equal in all else.
LEANING = np.array([1.0, np.sqrt(2.0), np.sqrt(5.0)])


def red(mesh: TetrahedralMesh) -> TetrahedralMesh:
    """Cut every tetrahedron into eight and every facet into four at the middles of the edges.

    The octahedron within a tetrahedron is cut along its shortest diagonal; of equal ones that with
    the better of the worst tetrahedra, then the one that leans most towards `LEANING`. All three
    are geometric, so the refined mesh is the same for every numbering. Regions, tags, values of
    cells and fibres pass to the parts, values at vertices are averaged at the middles.

    Args:
        mesh: Tetrahedra with positive volumes; any facets are faces of them.

    Returns:
        The refined mesh; vertices of ``mesh`` come first, the parts of each cell follow each other.

    Raises:
        InputError: a facet that is no face of the mesh, or whole numbers at vertices, which have
            no mean.

    Source:
        Bey (1995), Computing 55:355-378 (regular refinement); the shortest diagonal keeps shapes
        bounded in practice.
    """
    edges, of_cell = _edges(mesh.cells, len(mesh.points))
    points = np.concatenate([mesh.points, mesh.points[edges].mean(axis=1)])
    local = np.concatenate([mesh.cells, len(mesh.points) + of_cell], axis=1)
    parts = eighths(points, local)
    facets = _cut_facets(mesh, edges)
    return TetrahedralMesh(
        points=points,
        cells=parts.reshape(-1, 4),
        regions=np.repeat(mesh.regions, 8),
        region_names=mesh.region_names,
        facets=facets,
        facet_tags=np.repeat(mesh.facet_tags, 4),
        facet_names=mesh.facet_names,
        vertex_values={
            name: _averaged(name, value, edges) for name, value in mesh.vertex_values.items()
        },
        cell_values={name: np.repeat(v, 8, axis=0) for name, v in mesh.cell_values.items()},
        fibres={name: np.repeat(v, 8, axis=0) for name, v in mesh.fibres.items()},
    )


def eighths(points: Points, local: Index) -> Index:
    """The parts of tetrahedra, shape (m, 8, 4): those at the vertices, then those between them.

    Args:
        points: Vertices and middles of edges, shape (n, 3).
        local: Vertices of each tetrahedron, then the middles of its `EDGES`, shape (m, 10).
    """
    diagonal = _diagonal(points, local)
    return np.concatenate([local[:, CORNERS], _around(local, diagonal)], axis=1)


def _edges(cells: Index, count: int) -> tuple[Index, Index]:
    """Edges (e, 2), the smaller vertex first, and those of each cell (m, 6)."""
    pairs = np.sort(cells[:, EDGES].reshape(-1, 2), axis=1)
    key, number = np.unique(pairs[:, 0] * count + pairs[:, 1], return_inverse=True)
    return np.stack(np.divmod(key, count), axis=1), number.reshape(-1, 6)


def _diagonal(points: Points, local: Index) -> Index:
    """Which diagonal each octahedron is cut along, shape (m,)."""
    ends = points[local[:, DIAGONALS]]
    along = ends[:, :, 1] - ends[:, :, 0]
    length = along[..., 0] ** 2 + along[..., 1] ** 2 + along[..., 2] ** 2
    left = length <= length.min(axis=1, keepdims=True) * (1.0 + EQUAL)
    tied = np.flatnonzero(left.sum(axis=1) > 1)
    worst = np.stack([_worst(points, local[tied], k) for k in range(3)], axis=1)
    worst = np.where(left[tied], worst, -np.inf)
    left[tied] &= worst >= worst.max(axis=1, keepdims=True) - EQUAL
    lean = np.abs(
        along[..., 0] * LEANING[0] + along[..., 1] * LEANING[1] + along[..., 2] * LEANING[2]
    )
    return np.asarray(np.argmax(np.where(left, lean, -np.inf), axis=1))


def _worst(points: Points, local: Index, diagonal: int) -> Points:
    """Mean ratio of the worst of the four tetrahedra around a diagonal, shape (m,)."""
    parts = _around(local, np.full(len(local), diagonal))
    return np.asarray(mean_ratio(points, parts.reshape(-1, 4)).reshape(-1, 4).min(axis=1))


def _around(local: Index, diagonal: Index) -> Index:
    """The four tetrahedra around the diagonal of each octahedron, shape (m, 4, 4)."""
    row = np.arange(len(local))[:, None]
    ends, ring = local[row, DIAGONALS[diagonal]], local[row, RINGS[diagonal]]
    return np.stack([
        np.concatenate([ends, ring[:, [k, (k + 1) % 4]]], axis=1) for k in range(4)
    ], axis=1)  # fmt: skip


def _cut_facets(mesh: TetrahedralMesh, edges: Index) -> Index:
    count = len(mesh.points)
    pairs = np.sort(mesh.facets[:, TRIANGLE_EDGES].reshape(-1, 2), axis=1)
    known, wanted = edges[:, 0] * count + edges[:, 1], pairs[:, 0] * count + pairs[:, 1]
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    if (known[at] != wanted).any():
        lost = int(np.argmax(known[at] != wanted)) // 3
        raise InputError(
            "red", f"facet {lost} is no face of the mesh.", "Drop the facets or mend the mesh."
        )
    local = np.concatenate([mesh.facets, count + at.reshape(-1, 3)], axis=1)
    return np.asarray(local[:, TRIANGLES].reshape(-1, 3))


def _averaged(name: str, value: NDArray[np.generic], edges: Index) -> NDArray[np.float64]:
    if value.dtype.kind != "f":
        raise InputError(
            "red", f"`{name}` at the vertices holds {value.dtype}.", "Drop it or make it floats."
        )
    floats = np.asarray(value, np.float64)
    return np.concatenate([floats, floats[edges].mean(axis=1)])
