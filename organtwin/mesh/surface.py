"""Surface of the tissue: nets around voxels, smoothed, remeshed, volumes kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

import mmgpy
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from organtwin.errors import MeshError
from organtwin.image.geometry import REGIONS, Geometry
from organtwin.mesh.mmg import signals_kept

type Points = NDArray[np.float64]
type Triangles = NDArray[np.int64]

#: Boundary surface → its integer in `Surface.patches`, also its physical group.
SURFACES = {"lv_endo": 11, "rv_endo": 12, "epi": 13, "base": 14}
#: What tissue borders on → the surface between.
_BEYOND = {"lv_blood": "lv_endo", "rv_blood": "rv_endo", "outside": "epi", "above": "base"}
_TISSUE = ("lv", "rv")
#: Shortest and longest edge for MMG, in parts of the size.
SHORTEST, LONGEST = 0.9, 1.4


@dataclass(frozen=True)
class Surface:
    """Closed surface of the tissue, in grid coordinates: z = 0 on the base, negative below.

    Attributes:
        points: Vertices (mm), shape (n, 3).
        triangles: Vertex indices, normals out of the tissue, shape (m, 3).
        patches: Integer of `SURFACES` of each triangle, shape (m,).
    """

    points: Points
    triangles: Triangles
    patches: NDArray[np.int64]

    def select(self, name: str) -> Triangles:
        """Triangles of a surface."""
        return np.asarray(self.triangles[self.patches == SURFACES[name]])

    def enclosed(self, *names: str) -> float:
        """Volume (mm³) inside the named surfaces, closed by the base at z = 0."""
        triangles = np.concatenate([self.select(name) for name in names])
        a, b, c = (self.points[triangles[:, k]] for k in range(3))
        return float(np.einsum("ij,ij->", np.cross(a, b), c)) / 6.0

    def area(self, name: str) -> float:
        """Area (mm²) of a surface."""
        a, b, c = (self.points[self.select(name)[:, k]] for k in range(3))
        return 0.5 * float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum())


def surface_nets(geometry: Geometry) -> Surface:
    """Boundary of the tissue as a net of squares around its voxels, split into triangles.

    Every corner of the voxel grid that tissue and something else share becomes a vertex and every
    voxel face between them a square, so that the surface is closed by construction; it is a
    manifold because `Geometry` has well-composed tissue.

    Source:
        Gibson (1998), MICCAI, LNCS 1496:888-898.
    """
    values = geometry.labels.values
    labels = np.pad(values, 1)
    top = geometry.layers + 1  # first padded layer above the base
    above = max(REGIONS.values()) + 1
    labels[:, :, top:] = above
    names = {0: "outside", above: "above"} | {number: name for name, number in REGIONS.items()}
    table = np.zeros((above + 1, above + 1), np.int64)
    for inside in _TISSUE:
        for outside, name in names.items():
            if name in _BEYOND:
                table[REGIONS[inside], outside] = SURFACES[_BEYOND[name]]
    index, triangles, patch = nets(labels, table)
    # Corner c of the padded grid lies half a voxel below padded voxel c.
    points = (index - np.array([1.5, 1.5, top])) * float(geometry.labels.spacing[0])
    return Surface(points, triangles, patch)


def nets(
    labels: NDArray[np.uint8], table: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Triangles, NDArray[np.int64]]:
    """Squares between voxels of different labels, each split into two triangles.

    Args:
        labels: Voxels.
        table: Patch of a face by the labels inside and outside, 0 for none.

    Returns:
        Vertices as corner numbers, (n, 3): corner c lies half a voxel below voxel c; triangles,
        normals from inside to outside, (m, 3); their patches, (m,).
    """
    corner_shape = np.array(labels.shape) + 1
    quads, patches = [], []
    for axis in range(3):
        along = np.moveaxis(labels, axis, 0)
        low, high = along[:-1], along[1:]
        for inner, outer, flip in ((low, high, False), (high, low, True)):
            patch = table[inner, outer]
            place = np.array(np.nonzero(patch))
            quads.append(_squares(place, axis, corner_shape, flip))
            patches.append(patch[tuple(place)])
    squares, patch = np.concatenate(quads), np.concatenate(patches)
    used, numbered = np.unique(squares, return_inverse=True)
    squares = numbered.reshape(-1, 4)
    index = np.stack(np.unravel_index(used, corner_shape), axis=1)
    triangles = np.concatenate([squares[:, [0, 1, 2]], squares[:, [0, 2, 3]]])
    return index, triangles, np.concatenate([patch, patch])


def _squares(
    place: NDArray[np.int64], axis: int, shape: NDArray[np.int64], flip: bool
) -> NDArray[np.int64]:
    """Corner numbers of the faces above voxels ``place`` (axis first), normal along the axis."""
    others = [(axis + 1) % 3, (axis + 2) % 3]  # cyclic, hence right-handed with the axis
    kept = [k for k in range(3) if k != axis]
    base = np.empty((3, place.shape[1]), np.int64)
    base[axis] = place[0] + 1
    base[kept[0]], base[kept[1]] = place[1], place[2]
    first, second = (np.eye(3, dtype=np.int64)[k][:, None] for k in others)
    ring = [base, base + first, base + first + second, base + second]
    numbers = np.stack([np.ravel_multi_index(tuple(c), tuple(shape)) for c in ring], axis=1)
    return numbers[:, ::-1] if flip else numbers


def smooth(surface: Surface, rounds: int = 60) -> Surface:
    """Remove the stairs with Taubin's filter, which hardly shrinks.

    The base stays in its plane; vertices on its rims follow the rims only, so that these become
    smooth, too.

    Source:
        Taubin (1995), SIGGRAPH, 351-358 (pass-band from lambda 0.5, mu -0.53).
    """
    edges, rim = _edges(surface)
    n = len(surface.points)
    on_rim = np.zeros(n, bool)
    on_rim[edges[rim].ravel()] = True
    start = np.concatenate([edges[:, 0], edges[:, 1]])
    end = np.concatenate([edges[:, 1], edges[:, 0]])
    counts = ~on_rim[start] | np.tile(rim, 2)
    weight = sparse.csr_matrix((np.ones(counts.sum()), (start[counts], end[counts])), (n, n))
    degree = np.maximum(np.asarray(weight.sum(axis=1)).ravel(), 1.0)[:, None]
    in_base = np.unique(surface.select("base"))
    points = surface.points.copy()
    for _ in range(rounds):
        for factor in (0.5, -0.53):
            points += factor * (weight @ points / degree - points)
            points[in_base, 2] = 0.0
    return replace(surface, points=points)


def _edges(surface: Surface) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Edges, and whether each separates two patches.

    Raises:
        MeshError: an edge does not belong to two triangles.
    """
    t = surface.triangles
    pairs = np.sort(np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]]), axis=1)
    edges, count = np.unique(pairs, axis=0, return_counts=True)
    if (count != 2).any():
        raise MeshError(
            "surface",
            f"{int((count != 2).sum())} edges don't belong to two triangles.",
            "Use a finer [geometry] resolution or more smoothing.",
        )
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    patch = np.tile(surface.patches, 3)[order]
    return edges, patch[0::2] != patch[1::2]


def remesh(surface: Surface, size: float, deviation: float) -> Surface:
    """Triangles of about edge length ``size`` (mm) near the surface, by MMG.

    The sharp rims of the base are kept, and the base is exactly flat again after.

    Args:
        surface: Fine, smooth surface.
        size: Edge length (mm).
        deviation: Distance from the surface that is allowed (mm).
    """
    mesh = mmgpy.MmgMeshS()
    edges, rim = _edges(surface)
    mesh.set_mesh_size(len(surface.points), len(surface.triangles), int(rim.sum()))
    mesh.set_vertices(np.ascontiguousarray(surface.points))
    mesh.set_triangles(
        np.ascontiguousarray(surface.triangles, dtype=np.int32),
        np.ascontiguousarray(surface.patches),
    )
    mesh.set_edges(np.ascontiguousarray(edges[rim], dtype=np.int32))
    mesh.set_ridge_edges(np.arange(int(rim.sum()), dtype=np.int32))
    # angle=0 switches off the search for ridges: the rims are known, all else is smooth.
    try:
        with signals_kept():
            mesh.remesh(
                hmin=SHORTEST * size, hmax=LONGEST * size, hausd=deviation, hgrad=1.5, angle=0,
                verbose=-1,
            )  # fmt: skip
    except RuntimeError as error:
        raise MeshError("MMG", str(error)) from None
    triangles, patches = mesh.get_triangles_with_refs()
    result = Surface(
        np.array(mesh.get_vertices(), dtype=np.float64),
        np.asarray(triangles, np.int64),
        np.asarray(patches, np.int64).ravel(),
    )
    result.points[np.unique(result.select("base")), 2] = 0.0
    return result


def keep_volumes(surface: Surface, tissue: float, lv_blood: float, rv_blood: float) -> Surface:
    """Shift the surfaces along their normals until the volumes (mm³) are those wanted.

    Endocardia take the difference of their cavity, the epicardium that of the tissue then left.
    Newton's method with the area as the derivative; the shifts are parts of a voxel.
    """
    wanted = {"lv_endo": -lv_blood, "rv_endo": -rv_blood, "epi": tissue + lv_blood + rv_blood}
    in_base = np.unique(surface.select("base"))
    for _ in range(8):
        for name, volume in wanted.items():
            normals = _vertex_normals(surface, name)
            normals[in_base, 2] = 0.0
            shift = (volume - surface.enclosed(name)) / surface.area(name)
            surface = replace(surface, points=surface.points + shift * normals)
    return surface


def _vertex_normals(surface: Surface, name: str) -> Points:
    """Unit normals at the vertices of a surface, zero elsewhere, shape (n, 3)."""
    triangles = surface.select(name)
    a, b, c = (surface.points[triangles[:, k]] for k in range(3))
    vectors = np.cross(b - a, c - a)
    normals = np.zeros_like(surface.points)
    for k in range(3):
        np.add.at(normals, triangles[:, k], vectors)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
