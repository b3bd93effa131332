"""Hexahedra of voxels, for bone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.volume import Image, LabelMap
from organtwin.mesh.hexahedral_mesh import CORNERS, FACES, HexahedralMesh, scaled_jacobians
from organtwin.mesh.slice_borders import graph
from organtwin.mesh.taubin import taubin
from organtwin.units import ML

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Names of what lies beyond the labels: background, and where the image ends.
OUTSIDE, EDGE = "outside", "edge"
#: Number of places beyond the image, which no label can have.
BEYOND = 256
#: Rounds that take back shifts before all are.
MENDING_ROUNDS = 8


@dataclass(frozen=True)
class VoxelOptions:
    """How voxels become hexahedra.

    Attributes:
        coarsening: Voxels along each edge of a hexahedron.
        pieces: Number of face-connected pieces that are kept, the largest first.
        smoothing: Rounds of smoothing of the surfaces; 0 leaves the voxels as they are.
        shift: Largest shift of a vertex, in parts of the shortest edge of a hexahedron.
        jacobian: Least scaled Jacobian that smoothing may leave.
    """

    coarsening: int = 1
    pieces: int = 1
    smoothing: int = 0
    shift: float = 0.45
    jacobian: float = 0.3

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("coarsening", self.coarsening, 1, 50), ("pieces", self.pieces, 1, 10000),
            ("smoothing", self.smoothing, 0, 1000), ("shift", self.shift, 0.0, 0.5),
            ("jacobian", self.jacobian, 0.0, 0.9),
        ):  # fmt: skip
            if not low <= value <= high:
                problem = f"{name} is {value:g}, outside {low:g} to {high:g}."
                raise InputError("VoxelOptions", problem, "Give one within.")


@dataclass(frozen=True)
class VoxelMesh:
    """Hexahedra of voxels, and what is known about them.

    Attributes:
        mesh: The hexahedra. Surfaces are ``bone-outside``, ``bone-edge`` where the image ends,
            ``bone-cartilage`` towards a label without cells, and ``cortical-trabecular`` between
            two regions, the larger integer first.
        labels: The label map they were made from.
        coarsening: Voxels along each edge.
        blocks: Place of each cell on the coarse grid, shape (m, 3).
        pieces: Number of face-connected pieces that there were.
        dropped_ml: Volume of the pieces that were left out (mL).
        jacobian: Smallest scaled Jacobian.
        moved: Largest shift of a vertex by smoothing (mm).
    """

    mesh: HexahedralMesh
    labels: LabelMap
    coarsening: int
    blocks: Index
    pieces: int
    dropped_ml: float
    jacobian: float
    moved: float


def voxel_hexahedra(
    labels: LabelMap, names: Sequence[str] = (), options: VoxelOptions | None = None
) -> VoxelMesh:
    """Hexahedra of the blocks of voxels that are fullest of wanted labels.

    As many blocks are taken as have the volume of the labels, and each gets the wanted label that
    most of its voxels have. Smoothing moves vertices of the
    surfaces only, towards the mean of their neighbours there (Taubin's filter), at most by
    ``shift``; where cells would get worse than ``jacobian``, shifts are taken back.

    Args:
        labels: Label map.
        names: Labels that become cells; all without.
        options: Coarsening, smoothing, pieces.

    Raises:
        InputError: no label of that name, or no voxel has one.
    """
    options = options or VoxelOptions()
    wanted = list(names) or list(labels.names)
    if not labels.mask(*wanted).any():
        raise InputError("voxel_hexahedra", f"no voxel is {wanted}.", "Choose other labels.")
    blocks = _coarse(labels, wanted, options.coarsening)
    numbers = [labels.names[name] for name in wanted]
    inside, pieces, dropped = _largest(np.isin(blocks, numbers), options.pieces)
    mesh, place = _cubes(labels, blocks, inside, wanted, options.coarsening)
    start = mesh.points
    if options.smoothing:
        mesh = _smoothed(mesh, float(labels.spacing.min()) * options.coarsening, options)
    moved = float(np.linalg.norm(mesh.points - start, axis=1).max())
    return VoxelMesh(
        mesh, labels, options.coarsening, place, pieces,
        dropped * labels.voxel_volume * options.coarsening**3 / ML,
        float(scaled_jacobians(mesh.points, mesh.cells).min()), moved,
    )  # fmt: skip


def cell_means(voxels: VoxelMesh, image: Image) -> NDArray[np.float64]:
    """Mean of an image over the voxels of each cell that carry the cell's label, shape (m,).

    On the grid of the labels these are the means of its voxels; on another grid it is
    interpolated linearly at the centres of the labels' voxels, and continued beyond its edge.

    Args:
        voxels: Hexahedra of a label map.
        image: Grey values, such as HU.
    """
    count = np.zeros(len(voxels.blocks))
    total = np.zeros(len(voxels.blocks))
    shape = np.array(voxels.labels.values.shape)
    values = np.asarray(image.values, np.float64)
    for step in np.indices((voxels.coarsening,) * 3).reshape(3, -1).T:
        index = voxels.blocks * voxels.coarsening + step
        known = (index < shape).all(axis=1)
        index = np.minimum(index, shape - 1)
        known &= voxels.labels.values[tuple(index.T)] == voxels.mesh.regions
        place = image.grid.index(voxels.labels.points(index))
        sample = ndimage.map_coordinates(values, place.T, order=1, mode="nearest")
        total += np.where(known, sample, 0.0)
        count += known
    return np.asarray(total / np.maximum(count, 1.0))


def _coarse(labels: LabelMap, wanted: Sequence[str], n: int) -> Index:
    """Label of each block: the most frequent wanted one in chosen blocks, another in the rest.

    A block that was not chosen since the image cuts it is `BEYOND` if its voxels are wanted ones.
    """
    if n == 1:
        return labels.values.astype(np.int64)
    size = -(-np.array(labels.values.shape) // n)
    padding = [(0, int(b * n - a)) for a, b in zip(labels.values.shape, size, strict=True)]
    fine = np.pad(labels.values.astype(np.int16), padding, constant_values=BEYOND)
    fine = fine.reshape(size[0], n, size[1], n, size[2], n)
    numbers = [labels.names[name] for name in wanted]
    filled = np.isin(fine, numbers).sum(axis=(1, 3, 5)) / n**3
    # Of blocks that are equally full the ones with full neighbours come first.
    rank = filled + 1e-3 * ndimage.gaussian_filter(filled, 1.0, mode="constant")
    count = round(float(filled.sum()))
    chosen = np.zeros(filled.size, bool)
    chosen[np.argsort(-rank.ravel(), kind="stable")[:count]] = True
    chosen = chosen.reshape(filled.shape) & (filled > 0)
    best = np.zeros(tuple(size), np.int64)
    result = np.zeros(tuple(size), np.int64)
    for number in np.unique(fine):
        own = np.equal(fine, number).sum(axis=(1, 3, 5))
        if number == BEYOND:
            own = np.where(own > 0, np.rint(filled * n**3).astype(np.int64), 0)
        wins = (own > best) & (chosen == (number in numbers))
        best[wins], result[wins] = own[wins], number
    return result


def _largest(mask: NDArray[np.bool_], pieces: int) -> tuple[NDArray[np.bool_], int, int]:
    """The largest pieces that hang together by faces, how many there were, blocks dropped."""
    part, count = ndimage.label(mask)
    size = np.bincount(part.ravel())[1:]
    kept = 1 + np.argsort(-size, kind="stable")[:pieces]
    inside = np.isin(part, kept)
    return inside, int(count), int(mask.sum() - inside.sum())


def _cubes(
    labels: LabelMap, blocks: Index, inside: NDArray[np.bool_], wanted: Sequence[str],
    n: int,
) -> tuple[HexahedralMesh, Index]:  # fmt: skip
    place = np.argwhere(inside)
    shape = np.array(blocks.shape) + 1
    corner = np.ravel_multi_index(tuple((place[:, None] + CORNERS).transpose(2, 0, 1)), shape)
    used, flat = np.unique(corner, return_inverse=True)
    cells = flat.reshape(-1, 8)
    index = np.stack(np.unravel_index(used, shape), axis=1)
    points = labels.points(n * index - 0.5)
    facets, pair = _faces(blocks, inside, place, cells)
    if np.linalg.det(labels.direction) < 0:
        cells, facets = cells[:, [0, 3, 2, 1, 4, 7, 6, 5]], facets[:, ::-1]
    name_of = {number: name for name, number in labels.names.items()}
    name_of |= {0: OUTSIDE, BEYOND: EDGE}
    found = np.unique(pair, axis=0)
    names = {f"{name_of.get(a, str(a))}-{name_of.get(b, str(b))}": k for k, (a, b) in
             enumerate(found.tolist(), 1)}  # fmt: skip
    tags = np.unique(pair, axis=0, return_inverse=True)[1].ravel() + 1
    regions = blocks[inside]
    present = {name: labels.names[name] for name in wanted if labels.names[name] in regions}
    return HexahedralMesh(points, cells, regions, present, facets, tags, names), place


def _faces(
    blocks: Index, inside: NDArray[np.bool_], place: Index, cells: Index
) -> tuple[Index, Index]:
    """Faces on borders and the labels on both sides, that of the cell first, (k, 4), (k, 2)."""
    value = np.pad(blocks, 1, constant_values=BEYOND)
    kept = np.pad(inside, 1)
    own = blocks[tuple(place.T)]
    facets, pairs = [], []
    for side, face in enumerate(FACES):
        step = np.zeros(3, np.int64)
        step[side // 2] = 2 * (side % 2) - 1
        there = tuple((place + 1 + step).T)
        other, filled = value[there], kept[there]
        # A dropped piece next to a kept one can't be: they would hang together.
        border = ~filled | (filled & (own > other))
        facets.append(cells[border][:, face])
        pairs.append(np.stack([own, other], axis=1)[border])
    return np.concatenate(facets), np.concatenate(pairs)


def _smoothed(mesh: HexahedralMesh, edge: float, options: VoxelOptions) -> HexahedralMesh:
    """Vertices of the surfaces moved by Taubin's filter, within the bounds."""
    f = mesh.facets
    pairs = np.concatenate([f[:, [k, (k + 1) % 4]] for k in range(4)])
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    on_surface = np.zeros(len(mesh.points), bool)
    on_surface[np.unique(f)] = True
    linked = graph(pairs, len(mesh.points))
    shift = taubin(mesh.points, linked, on_surface, options.smoothing, options.shift * edge)
    for k in range(MENDING_ROUNDS + 1):
        bad = scaled_jacobians(mesh.points + shift, mesh.cells) < options.jacobian
        shift[np.unique(mesh.cells[bad])] *= 0.7 if k < MENDING_ROUNDS else 0.0
        if not bad.any():
            break
    while (bad := scaled_jacobians(mesh.points + shift, mesh.cells) < options.jacobian).any():
        shift[np.unique(mesh.cells[bad])] = 0.0
    return replace(mesh, points=mesh.points + shift)
