"""Hexahedra of shapes that a grid of bricks can be bent to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.hexahedral_mesh import CORNERS, FACES, HexahedralMesh
from organtwin.mesh.shapes.solids import Box, Slab, Tube, bounds

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]


def mesh_hexahedra(shape: Box | Slab | Tube, size: float) -> HexahedralMesh:
    """Bricks of a box or slab, or rings of bricks of a tube, with the names of the tetrahedra.

    Args:
        shape: `Box`, `Slab`, or `Tube` without a lumen.
        size: Edge length (mm), which is rounded so that bricks fit; each layer of a wall has one
            at least.

    Raises:
        InputError: no usable size, or a lumen.
    """
    if not size > 0:
        raise InputError("mesh_hexahedra", f"size is {size:g} mm.", "Give an edge length over 0.")
    if isinstance(shape, Box):
        return _block(shape.size, (("box", shape.size[2]),), size, ("z0", "z1"))
    if isinstance(shape, Slab):
        return _block(shape.size, shape.layers, size, ("endo", "epi"))
    if shape.lumen:
        raise InputError("mesh_hexahedra", "bricks can't fill a lumen.", "Use mesh_shape.")
    return _rings(shape, size)


def _block(
    extent: Sequence[float], layers: Sequence[tuple[str, float]], size: float,
    ends: tuple[str, str],
) -> HexahedralMesh:  # fmt: skip
    x, y = (np.linspace(0.0, length, _count(length, size) + 1) for length in extent[:2])
    z, region = _across(0.0, layers, size)
    points = np.stack(np.meshgrid(x, y, z, indexing="ij"), axis=-1)
    names = ("x0", "x1", "y0", "y1", *ends)
    return _bricks(points, region, [name for name, _ in layers], names, closed=False)


def _rings(tube: Tube, size: float) -> HexahedralMesh:
    """Axes of the grid: along the tube, around it, outwards."""
    middle = 0.5 * (tube.radii[0] + tube.radii[-1])
    around = max(8, 4 * round(0.5 * np.pi * middle / size))
    # Clockwise: along, around and outwards then make a right-handed grid.
    angle = -2 * np.pi / around * np.arange(around)
    r, region = _across(tube.radius, tube.layers, size)
    along = np.linspace(0.0, tube.length, _count(tube.length, size) + 1)
    s, a, rho = np.meshgrid(along, angle, r, indexing="ij")
    x, y, z = rho * np.cos(a), rho * np.sin(a), s
    if tube.bend:
        centre, turn = tube.bend_radius, s / tube.bend_radius
        x, z = centre - (centre - x) * np.cos(turn), (centre - x) * np.sin(turn)
    names = ("inlet", "outlet", "", "", "inner", "outer")
    return _bricks(
        np.stack([x, y, z], axis=-1), region, [name for name, _ in tube.layers], names, closed=True
    )


def _across(start: float, layers: Sequence[tuple[str, float]], size: float) -> tuple[Points, Index]:
    """Borders of bricks through layers (mm), and the layer of each brick, from 1."""
    ends = bounds(start, tuple(layers))
    counts = [_count(width, size) for _, width in layers]
    parts = [
        np.linspace(low, high, n + 1)[:-1]
        for (low, high), n in zip(pairwise(ends), counts, strict=True)
    ]
    return np.append(np.concatenate(parts), ends[-1]), np.repeat(np.arange(len(counts)), counts) + 1


def _bricks(
    grid: Points, region: Index, regions: Sequence[str], names: Sequence[str], *, closed: bool
) -> HexahedralMesh:
    """Bricks between points ``[i, j, k, 3]``; the second axis may close in a ring."""
    shape = np.array(grid.shape[:3])
    cells_shape = shape - [1, 0 if closed else 1, 1]
    place = np.indices(tuple(cells_shape)).reshape(3, -1).T
    corner = (place[:, None] + CORNERS) % shape
    cells = np.ravel_multi_index(tuple(corner.transpose(2, 0, 1)), tuple(shape))
    own = region[place[:, 2]]
    facets, tags, found = [], [], dict[str, int]()
    for side, face in enumerate(FACES):
        axis, upper = divmod(side, 2)
        ends = place[:, axis] == (cells_shape[axis] - 1 if upper else 0)
        between = (place[:, 2] > 0) & (own > region[place[:, 2] - 1]) & (side == 4)
        groups = [(names[side], ends)] if names[side] else []
        groups += [
            (f"{regions[k]}-{regions[k - 1]}", between & (own == k + 1))
            for k in range(1, len(regions))
            if side == 4
        ]
        for name, chosen in groups:
            number = found.setdefault(name, len(regions) + len(found) + 1)
            facets.append(cells[chosen][:, face])
            tags.append(np.full(int(chosen.sum()), number))
    return HexahedralMesh(
        grid.reshape(-1, 3), cells, own, {name: k for k, name in enumerate(regions, 1)},
        np.concatenate(facets), np.concatenate(tags), found,
    )  # fmt: skip


def _count(length: float, size: float) -> int:
    return max(1, round(length / size))
